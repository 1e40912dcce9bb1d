"""Losses over ranks, labels, targets and steps: ``python -m benchmarks.scale``.

- ``wire``: bytes and calls of each loss in one step, counted on two ranks.
- ``ranks``: time of a step on 1, 2 and 4 processes of this machine, the whole batch or that of a
  rank being the same, beside cross entropy in the same processes.
- ``projection``: what the counted bytes cost on many ranks, by latency and bandwidth of a link.
- ``head``: a linear head of very many labels, in chunks and with all its logits.
- ``sweep``: 32 targets of one objective at once.
- ``long``: a million updates of a state.
- ``gpu``: compiled steps on a GPU beside cross entropy, where there is one.
"""

import argparse
import math
import resource
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any
from unittest import mock

import torch
import torch.distributed as dist
from torch import Tensor, multiprocessing
from torch.nn import functional

import gobj
from benchmarks import speed
from gobj.state import leaves, unflatten

ROWS = 4096
LATENCY, BANDWIDTH, STEP = 10e-6, 25e9, 0.1  # seconds a hop, bytes a second, seconds a step
TIMED = (
    "recall_at_precision_loss",
    "average_precision_loss",
    "f_beta_loss",
    "pairwise_roc_auc_loss",
)
GATHERED = ("binomial_deviance_loss",)  # sends rows, which grow with the ranks, and not sums
HEAD_ROWS, HEAD_WIDTH = 4096, 256
TARGETS = 32

Step = Callable[[Tensor, Tensor], Tensor]


def joined(labels: tuple[int, ...]) -> Iterator[tuple[str, Step, str]]:
    """Yield every public loss over all ranks, under the default rules, and what it takes."""
    group = {"process_group": dist.group.WORLD}
    for name, loss in speed.constrained_losses(torch.Size(labels)):
        rule = name.split()[1]
        call, state = loss.args  # type: ignore[attr-defined]
        if rule == ("focus" if isinstance(state, gobj.AreaState) else "implicit"):
            yield name.split()[0], partial(loss.func, partial(call, **group), state), "binary"  # type: ignore[attr-defined]
    seen = set()
    for name, function, _, _ in speed.stateless_losses():
        if name not in seen:
            inputs = {"poly1_cross_entropy_loss": "classes", "binomial_deviance_loss": "pairs"}
            yield name, partial(function, **group), inputs.get(name, "binary")
        seen.add(name)


def batch_for(inputs: str, rows: int, labels: tuple[int, ...]) -> tuple[Tensor, Tensor]:
    """Draw a batch for a loss of labels, of classes or of embeddings."""
    if inputs == "binary":
        return speed.batch_of((rows, *labels))
    logits, _ = speed.batch_of((rows, 64))
    return logits, torch.arange(rows) % 64


def on_ranks(ranks: int, work: Callable[..., Any], *arguments: Any) -> Any:
    """Call a function on each of some processes that form a group; return what the first says."""
    with tempfile.TemporaryDirectory() as folder:
        spawned: Any = multiprocessing.spawn  # type: ignore[attr-defined]
        spawned(_run, (ranks, folder, work, arguments), ranks)
        return torch.load(Path(folder, "said.pt"), weights_only=False)


def _run(rank: int, ranks: int, folder: str, work: Callable[..., Any], arguments: Any) -> None:
    torch.set_num_threads(1)
    store = f"file://{folder}/store"
    dist.init_process_group("gloo", init_method=store, rank=rank, world_size=ranks)
    said = work(*arguments)
    if rank == 0:
        torch.save(said, Path(folder, "said.pt"))
    dist.barrier()
    dist.destroy_process_group()


def count_bytes(rows: int, labels: tuple[int, ...]) -> list[tuple[str, int, int]]:
    """Count calls and bytes of each loss in one step, forward and backward."""
    reduce, found = dist.all_reduce, []
    for name, loss, inputs in joined(labels):
        sizes: list[int] = []

        def counting(
            tensor: Tensor, *arguments: Any, kept: list[int] = sizes, **options: Any
        ) -> Any:
            kept.append(tensor.numel() * tensor.element_size())
            return reduce(tensor, *arguments, **options)

        with mock.patch.object(dist, "all_reduce", counting):
            loss(*batch_for(inputs, rows, labels)).backward()  # type: ignore[no-untyped-call]
        found.append((name, len(sizes), sum(sizes)))
    return found


def wire(rows: int = ROWS) -> list[tuple[str, int, int, int]]:
    """Print and return what each loss sends in a step: calls, and bytes for 1 and 100 labels."""
    few, many = (on_ranks(2, count_bytes, rows, labels) for labels in ((), (100,)))
    print(f"\nbytes that a rank hands to all-reduce in a step of {rows} rows a rank")
    print(f"{'loss':28s} {'calls':>6s} {'1 label':>12s} {'100 labels':>12s}")
    lines = [
        (name, calls, one, hundred)
        for (name, calls, one), (_, _, hundred) in zip(few, many, strict=True)
    ]
    for name, calls, one, hundred in lines:
        print(f"{name:28s} {calls:6d} {one:12,d} {hundred:12,d}")
    return lines


def time_steps(rows: int, repeats: int) -> dict[str, float]:
    """Time steps of some losses and of cross entropy in turn; return medians in milliseconds."""
    bce = functional.binary_cross_entropy_with_logits
    losses: dict[str, Step] = {name: loss for name, loss, _ in joined(()) if name in TIMED}
    losses["cross entropy"] = bce
    logits, labels = speed.batch_of((rows,))
    seconds: dict[str, list[float]] = {name: [] for name in losses}
    for _ in range(repeats):
        for name, loss in losses.items():
            dist.barrier()
            start = time.perf_counter()
            loss(logits, labels).backward()  # type: ignore[no-untyped-call]
            seconds[name].append(time.perf_counter() - start)
    return {name: 1e3 * statistics.median(each) for name, each in seconds.items()}


def over_ranks(repeats: int = 100) -> None:
    """Print how the time of a step depends on the number of ranks."""
    for kind, size in (("strong: 65536 rows in all", 65536), ("weak: 16384 rows a rank", 16384)):
        print(f"\n{kind}; milliseconds of a step")
        columns = {}
        for ranks in (1, 2, 4):
            rows = size // ranks if kind.startswith("strong") else size
            columns[ranks] = on_ranks(ranks, time_steps, rows, repeats)
        print(f"{'loss':28s}" + "".join(f"{ranks:>8d}" for ranks in columns) + "   processes")
        for name in columns[1]:
            print(f"{name:28s}" + "".join(f"{times[name]:8.2f}" for times in columns.values()))


def project(lines: Sequence[tuple[str, int, int, int]]) -> None:
    """Print what a step costs on many ranks: latency of a tree, and twice the bytes over a link."""
    print(
        f"\nprojection: {1e6 * LATENCY:.0f} us a hop, {BANDWIDTH / 1e9:.0f} GB/s, "
        f"a step of {1e3 * STEP:.0f} ms, 100 labels; microseconds, and share of the step"
    )
    print(f"{'loss':28s}" + "".join(f"{ranks:>18d}" for ranks in (8, 64, 1024)) + "   ranks")
    for name, calls, _, size in lines:
        cells = []
        for ranks in (8, 64, 1024):
            grown = size * ranks / 2 if name in GATHERED else size  # counted on two ranks
            hops = 2 * math.ceil(math.log2(ranks))
            seconds = calls * hops * LATENCY + 2 * grown / BANDWIDTH
            cells.append(f"{1e6 * seconds:10,.0f} {100 * seconds / STEP:5.1f} %")
        print(f"{name:28s}" + "".join(f"{cell:>18s}" for cell in cells))


def _head(kind: str, labels: int, answer: Any) -> None:
    """Take steps with a head in this process alone, whose peak of memory is then its own."""
    draw = torch.Generator().manual_seed(0)
    hidden = torch.randn(HEAD_ROWS, HEAD_WIDTH, generator=draw).requires_grad_()
    weight = (torch.randn(labels, HEAD_WIDTH, generator=draw) / 16).requires_grad_()
    columns = torch.randint(labels, (HEAD_ROWS,), generator=draw)
    places = torch.stack([torch.arange(HEAD_ROWS), columns])
    shape, ones = (HEAD_ROWS, labels), torch.ones(HEAD_ROWS)
    named = torch.sparse_coo_tensor(places, ones, shape, check_invariants=True)
    problem, state = gobj.recall_at_precision(0.5), gobj.init_state((labels,))
    dense = named.to_dense() if kind == "plain" else None
    for tensor in (hidden, weight):
        tensor.grad = torch.zeros_like(tensor)
    before, times = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, []
    for _ in range(3):
        start = time.perf_counter()
        if dense is None:
            loss, state = gobj.linear_constrained_loss(problem, hidden, weight, named, state)
        else:
            loss, state = gobj.constrained_loss(problem, hidden @ weight.mT, dense, state)
        loss.backward()  # type: ignore[no-untyped-call]
        times.append(time.perf_counter() - start)
    after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    answer.put(((after - before) / 1024, min(times)))


def head(numbers: Sequence[tuple[str, int]]) -> None:
    """Print memory and time of heads, beside that of all logits at a number that fits."""
    print(f"\nlinear head, {HEAD_ROWS} rows of {HEAD_WIDTH}: peak beside arguments, and seconds")
    context: Any = multiprocessing.get_context("spawn")
    for kind, labels in numbers:
        answer = context.SimpleQueue()
        process = context.Process(target=_head, args=(kind, labels, answer))
        process.start()
        megabytes, seconds = answer.get()
        process.join()
        print(f"{kind:10s} {labels:8,d} labels {megabytes:8,.0f} MB {seconds:8.2f} s")


def sweep(rows: int = ROWS, repeats: int = 100, backend: str = "inductor") -> dict[str, float]:
    """Print how much more 32 targets take than one, compiled: as labels, and by vmap."""
    targets = torch.linspace(0.05, 0.5, TARGETS)
    logits, labels = speed.batch_of((rows,))

    def one(x: Tensor) -> Tensor:
        return gobj.tpr_at_fpr_loss(x, labels, single, target_fpr=0.1)[0]

    def native(x: Tensor) -> Tensor:
        wide, same = (t.unsqueeze(1).expand(-1, TARGETS) for t in (x, labels))
        return gobj.tpr_at_fpr_loss(wide, same, several, target_fpr=targets)[0]

    def mapped(x: Tensor) -> Tensor:
        def at(target: Tensor, state: gobj.DualState) -> Tensor:
            return gobj.tpr_at_fpr_loss(x, labels, state, target_fpr=target)[0]

        return torch.func.vmap(at)(targets, several).mean()

    single, several = gobj.init_state(), gobj.init_state((TARGETS,))
    losses = {"one": one, "native": native, "vmap": mapped}
    compile_all: Any = partial(torch.compile, fullgraph=True, backend=backend)
    compiled = {name: compile_all(loss) for name, loss in losses.items()}
    seconds: dict[str, list[float]] = {name: [] for name in compiled}
    for _ in range(repeats):
        for name, loss in compiled.items():
            start = time.perf_counter()
            loss(logits).backward()
            seconds[name].append(time.perf_counter() - start)
    medians = {name: statistics.median(each) for name, each in seconds.items()}
    ratios = {name: median / medians["one"] for name, median in medians.items()}
    print(f"\n{TARGETS} targets over one, {rows} rows, compiled")
    print("  ".join(f"{name} {ratio:.1f}x" for name, ratio in ratios.items()))
    return ratios


def long_run(steps: int = 1_000_000, backend: str = "inductor") -> None:
    """Print a state after very many updates by batches of one distribution."""
    problem, state = gobj.recall_at_precision(0.8), gobj.init_state()
    draw = torch.Generator().manual_seed(0)
    labels = (torch.rand(64, 256, generator=draw) < 0.2).float()
    logits = torch.randn(64, 256, generator=draw) + 2 * labels
    move: Any = torch.compile(_moved, fullgraph=True, backend=backend)
    print(f"\n{steps:,} updates by 64 batches of 256 in turn")
    for step in range(steps):
        state = move(problem, logits[step % 64], labels[step % 64], state)
        if step + 1 in {steps // 1000, steps // 100, steps // 10, steps // 2, steps}:
            called = logits > state.threshold
            precision = labels[called].mean()
            print(
                f"{step + 1:10,d}  threshold {state.threshold:.4f}  precision {precision:.4f}  "
                f"multiplier {state.multiplier:.4f}"
            )


def _moved(problem: gobj.Problem, logits: Tensor, labels: Tensor, state: Any) -> Any:
    return gobj.update(problem, state, gobj.observe(problem, logits, labels, state))


def gpu(repeats: int = 50) -> None:
    """Print the time of compiled steps on the GPU over that of cross entropy, by its own clock."""
    bce = functional.binary_cross_entropy_with_logits
    for rows in (4096, 8_388_608):
        logits, labels = (x.detach().cuda() for x in speed.batch_of((rows,)))
        logits.requires_grad_()
        losses: dict[str, Step] = {"cross entropy": bce}
        for name, loss in speed.constrained_losses(torch.Size(())):
            call, state = loss.args  # type: ignore[attr-defined]
            there = unflatten(state, [leaf.cuda() for leaf in leaves(state)])
            losses[name] = partial(loss.func, call, there)  # type: ignore[attr-defined]
        compiled = {name: torch.compile(loss, fullgraph=True) for name, loss in losses.items()}
        times: dict[str, list[float]] = {name: [] for name in losses}
        for repeat in range(repeats + 5):
            for name, loss in compiled.items():
                timer: Any = partial(torch.cuda.Event, enable_timing=True)
                begin, end = timer(), timer()
                begin.record()
                loss(logits, labels).backward()  # type: ignore[no-untyped-call]
                end.record()
                end.synchronize()
                if repeat >= 5:
                    times[name].append(begin.elapsed_time(end))
        unit = statistics.median(times["cross entropy"])
        print(f"\n[{rows}] on {torch.cuda.get_device_name()}: cross entropy {unit:.3f} ms")
        for name, each in times.items():
            print(f"{name:40s} {statistics.median(each) / unit:6.1f}x")


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parts = ["wire", "ranks", "projection", "head", "sweep", "long"]
    parts += ["gpu"] * torch.cuda.is_available()
    parser.add_argument("--only", nargs="+", choices=parts, default=parts)
    chosen = parser.parse_args(arguments).only
    torch.set_num_threads(1)
    if {"wire", "projection"} & set(chosen):
        lines = wire()
        if "projection" in chosen:
            project(lines)
    if "ranks" in chosen:
        over_ranks()
    if "head" in chosen:
        head([("plain", 10_000), ("chunked", 10_000), ("chunked", 100_000)])
    if "sweep" in chosen:
        sweep()
    if "long" in chosen:
        long_run()
    if "gpu" in chosen:
        gpu()


if __name__ == "__main__":
    main()
