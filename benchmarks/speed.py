"""Time every loss beside torch's own: ``python -m benchmarks.speed``.

Forward and backward are interleaved with torch's loss of such inputs in one process and on one
thread; torch's is ``binary_cross_entropy_with_logits`` for all but the losses of classes. What is
printed is the ratio of the minima, eager to eager and compiled to compiled, the seconds that
compiling takes, and the peak of the memory that a call takes in multiples of the logits.
"""

import argparse
import inspect
import math
import time
from collections.abc import Callable, Iterator
from functools import partial

import torch
from torch import Tensor
from torch.nn import functional
from torch.profiler import ProfilerActivity, profile

import gobj

Loss = Callable[[Tensor, Tensor], Tensor]
SHAPES = ((512,), (4096,), (65536,), (1_000_000,), (4096, 256), (512, 1000))
ANCHORS = 8
CLASSES, EMBEDDINGS = (65536, 100), (1024, 64)
RULES = {
    "implicit": gobj.ImplicitMultiplier(),
    "focus": gobj.FocusedCrossEntropy(),
    "ascent": gobj.DualAscent(),
}


def constrained_losses(labels: torch.Size) -> Iterator[tuple[str, Loss]]:
    """Yield every public loss with a state, under each moving rule."""
    for name, function in vars(gobj).items():
        parameters = inspect.signature(function).parameters if name.endswith("_loss") else {}
        if "state" not in parameters or "problem" in parameters:
            continue
        targets = [key for key, p in parameters.items() if p.default is p.empty][3:-1]
        for rule_name, rule in RULES.items():
            anchors = None if targets else ANCHORS  # an area has anchors in place of a target
            state = gobj.init_state(tuple(labels), rule=rule, anchors=anchors)
            call = partial(function, rule=rule, **dict.fromkeys(targets, 0.3))
            yield f"{name} {rule_name}", partial(_without_state, call, state)


def _without_state(
    call: Callable[..., tuple[Tensor, object]], state: object, *batch: Tensor
) -> Tensor:
    return call(*batch, state)[0]


def stateless_losses() -> Iterator[tuple[str, Loss, Loss, tuple[int, ...]]]:
    """Yield every public loss without a state, torch's own beside it, and the shape of inputs."""
    bce = functional.binary_cross_entropy_with_logits
    for name, function in vars(gobj).items():
        parameters = inspect.signature(function).parameters if name.endswith("_loss") else {}
        given = [p for p in parameters.values() if p.kind is not p.VAR_KEYWORD]
        required = [p for p in given if p.default is p.empty]
        if len(required) != 2:  # scores and labels alone: no state and no metric of the user's
            continue
        if name == "poly1_cross_entropy_loss":
            yield name, function, functional.cross_entropy, CLASSES
        elif name == "binomial_deviance_loss":
            yield name, function, _bce_of_pairs, EMBEDDINGS
        else:
            yield from ((name, function, bce, shape) for shape in SHAPES[:4])


def _bce_of_pairs(embeddings: Tensor, labels: Tensor) -> Tensor:
    same = labels.unsqueeze(1) == labels
    similarity = embeddings @ embeddings.mT
    return functional.binary_cross_entropy_with_logits(similarity, same.to(similarity.dtype))


def batch_of(shape: tuple[int, ...], positives: float = 0.05) -> tuple[Tensor, Tensor]:
    """Draw logits that take a gradient, and labels."""
    draw = torch.Generator().manual_seed(0)
    logits = torch.randn(shape, generator=draw).requires_grad_()
    if shape in (CLASSES, EMBEDDINGS):
        return logits, torch.randint(shape[1], shape[:1], generator=draw)
    return logits, (torch.rand(shape, generator=draw) < positives).to(logits.dtype)


def timed(losses: dict[str, Loss], batch: tuple[Tensor, Tensor], repeats: int) -> dict[str, float]:
    """Return the least seconds of forward and backward, the losses taking turns."""
    seconds = dict.fromkeys(losses, math.inf)
    for _ in range(repeats):
        for name, loss in losses.items():
            start = time.perf_counter()
            torch.autograd.backward(loss(*batch))
            seconds[name] = min(seconds[name], time.perf_counter() - start)
            batch[0].grad = None
    return seconds


def compiled(
    losses: dict[str, Loss], batch: tuple[Tensor, Tensor]
) -> tuple[dict[str, Loss], dict[str, float]]:
    """Compile the losses; return them with the seconds of their first call."""
    torch.compiler.reset()
    fused = {name: torch.compile(loss, fullgraph=True) for name, loss in losses.items()}
    return fused, timed(fused, batch, 1)


def peak_memory(loss: Loss, batch: tuple[Tensor, Tensor]) -> float:
    """Return the peak of what forward and backward allocate, in multiples of the logits."""
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as record:
        torch.autograd.backward(loss(*batch))
    batch[0].grad = None
    results = record.profiler.kineto_results.events()
    held, peak = 0, 0
    for event in sorted((e for e in results if e.name() == "[memory]"), key=lambda e: e.start_ns()):
        held += event.nbytes()
        peak = max(peak, held)
    return peak / batch[0].nbytes


def report(
    losses: dict[str, Loss], batch: tuple[Tensor, Tensor], repeats: int, *, both: bool
) -> None:
    """Print a line for each loss, with its times relative to those of the first."""
    ways, waiting = [timed(losses, batch, repeats)], dict.fromkeys(losses, math.nan)
    if both:
        fused, waiting = compiled(losses, batch)
        ways.append(timed(fused, batch, repeats))
    first = next(iter(losses))
    for name, loss in losses.items():
        ratios = "".join(f"{seconds[name] / seconds[first]:10.2f}" for seconds in ways)
        shape, memory = str(tuple(batch[0].shape)), peak_memory(loss, batch)
        print(f"{name:40}{shape:>16}{ratios:20}{waiting[name]:8.1f}{memory:8.1f}", flush=True)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=200)
    parser.add_argument("--only", default="", help="losses whose name holds this")
    parser.add_argument("--eager", action="store_true", help="leave out the compiled losses")
    options = parser.parse_args()
    torch.set_num_threads(1)
    print(f"{'loss':40}{'shape':>16}{'eager':>10}{'compiled':>10}{'seconds':>8}{'memory':>8}")
    for shape in SHAPES:
        repeats = max(min(options.repeats, 10**7 // math.prod(shape)), 3)
        bce: Loss = functional.binary_cross_entropy_with_logits
        every = constrained_losses(torch.Size(shape[1:]))
        chosen = {name: loss for name, loss in every if options.only in name}
        if chosen:
            losses = {"bce": bce} | chosen
            report(losses, batch_of(shape), repeats, both=not options.eager)
    for name, loss, own, inputs in stateless_losses():
        if options.only in name:
            losses = {"own": own, name: loss}
            report(losses, batch_of(inputs), options.repeats, both=not options.eager)


if __name__ == "__main__":
    main()
