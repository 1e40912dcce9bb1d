"""Compare losses on networks as people train them: ``python -m benchmarks.networks``.

A trunk shared by many labels, a small convolutional network on images of which one in fifty is
positive, and networks with a hidden layer on tables. Every method trains from the same start, with
two learning rates, two weight decays and the numbers of its own, and takes the setting that is best
on validation rows in the mean over seeds; it is judged on test rows, after a fifth of the steps
("short") and at the best of several stops ("long").

The losses of the deep-AUC library (``pip install --no-deps libauc``) have its own optimisers, and
where there is one label the half of positives that its sampler draws; they are left out where it is
not installed.
"""

import argparse
import importlib.util
import itertools
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

import gobj
from benchmarks.aims import Aim, areas, average_precision, point, roc_area
from benchmarks.comparing import for_each
from benchmarks.deep import TASKS, Parts, Rows, Task
from gobj.metrics import curve_compute, curve_init, curve_update
from gobj.study.measures import estimate

STOPS = 0.2, 0.4, 0.7, 1.0
BATCH = 256
RATES, DECAYS = (0.01, 0.003), (0.0, 0.001)
FPR = 0.05
Criterion = Callable[[Tensor, Tensor, Tensor], Tensor]  # of logits, labels and places of the rows


class Method(NamedTuple):
    """A loss, how it is tried, and what it is judged by.

    Attributes:
        make: Returns the criterion for the training rows, given a number of its own.
        tuned: Its own numbers to try, or one that does nothing.
        measures: What it is meant for; empty for all.
        optimizer: Name of the class in the library, or of torch's Adam.
        half: Whether half of each batch is drawn from the positives.
    """

    make: Callable[[Rows, float], Criterion]
    tuned: tuple[float, ...] = (0.0,)
    measures: tuple[str, ...] = ()
    optimizer: str = "Adam"
    half: bool = False


def plain(_rows: Rows, _: float) -> Criterion:
    """Return binary cross entropy."""
    return lambda logits, labels, _: functional.binary_cross_entropy_with_logits(logits, labels)


def weighted(rows: Rows, _: float) -> Criterion:
    """Return cross entropy with both classes at half of the weight."""
    share = rows.labels.mean(0).clamp(1e-4, 1 - 1e-4)
    of_positives, of_negatives = 0.5 / share, 0.5 / (1 - share)

    def loss(logits: Tensor, labels: Tensor, _: Tensor) -> Tensor:
        weights = torch.where(labels > 0, of_positives, of_negatives)
        return functional.binary_cross_entropy_with_logits(logits, labels, weights)

    return loss


def focal(_: Rows, gamma: float) -> Criterion:
    """Return the focal loss."""

    def loss(logits: Tensor, labels: Tensor, _: Tensor) -> Tensor:
        each = functional.binary_cross_entropy_with_logits(logits, labels, reduction="none")
        return (each * (1 - (-each).exp()) ** gamma).mean()

    return loss


def smooth_average_precision(_: Rows, temperature: float) -> Criterion:
    """Return Smooth-AP: ranks among all examples and among positives, by sigmoids of pairs."""

    def loss(logits: Tensor, labels: Tensor, _: Tensor) -> Tensor:
        above = torch.sigmoid((logits.unsqueeze(0) - logits.unsqueeze(1)) / temperature)
        other = 1 - torch.eye(len(logits)).unsqueeze(2)
        rank = 1 + (above * other).sum(1)
        among = 1 + (above * other * labels.unsqueeze(0)).sum(1)
        found = labels.sum(0)
        precision = (labels * among / rank).sum(0) / found.clamp(min=1)
        return ((1 - precision) * (found > 0)).mean()

    return loss


def stateful(aim: Aim, rule: gobj.DualRule) -> Any:
    """Return a maker of one of our losses under a rule."""

    def make(rows: Rows, _: float) -> Criterion:
        step, states = aim.step(rule), [aim.start(rows.labels.shape[1], rule)]

        def loss(logits: Tensor, labels: Tensor, _: Tensor) -> Tensor:
            value: Tensor
            value, states[0] = step(logits, labels, None, states[0])
            return value

        return loss

    return make


def of_library(name: str, *, squashed: bool) -> Any:
    """Return a maker of a loss of the deep-AUC library, the mean over labels.

    Its examples squash the scores by a sigmoid first, which not every loss is the better for.
    """

    def make(rows: Rows, gamma: float) -> Criterion:
        losses = importlib.import_module("libauc.losses.auc")
        number, several = rows.labels.shape
        each = [getattr(losses, name)(data_len=number, gamma=gamma) for _ in range(several)]

        def loss(logits: Tensor, labels: Tensor, places: Tensor) -> Tensor:
            scores = logits.sigmoid() if squashed else logits
            found = [
                criterion(column, truth, places)
                for criterion, column, truth in zip(each, scores.T, labels.T, strict=True)
                if truth.sum() > 1
            ]
            return torch.stack(found).mean() if found else logits.sum() * 0

        return loss

    return make


AP, TOP, TPR = "AP", f"ROC area to FPR {FPR}", f"TPR at FPR {FPR}"
METHODS = {
    "BCE": Method(plain),
    "class-weighted BCE": Method(weighted),
    "focal": Method(focal, (1.0, 2.0)),
    "Smooth-AP": Method(smooth_average_precision, (0.1, 1.0)),
}
for kind, what, aim in (
    ("AP", AP, areas()["average_precision"]),
    ("ROC area", TOP, areas()[f"roc_auc_to_{FPR}"]),
    ("TPR", TPR, point("tpr_at_fpr", FPR)),
):
    for words, rule in (
        ("implicit", gobj.ImplicitMultiplier()),
        ("focus", gobj.FocusedCrossEntropy()),
    ):
        METHODS[f"{kind}, {words}"] = Method(stateful(aim, rule), measures=(what,))
if importlib.util.find_spec("libauc") is not None:
    for title, loss, solver in (("AP", "APLoss", "SOAP"), ("pAUC", "pAUC_DRO_Loss", "SOPAs")):
        for squashed, words in ((False, ""), (True, ", sigmoid")):
            make = of_library(loss, squashed=squashed)
            METHODS[f"library's {title}{words}"] = Method(make, (0.1, 0.9), (), solver, half=True)


def measure(labels: Tensor, scores: Tensor) -> dict[str, float]:
    """Return every measure, the mean over labels."""
    pairs = list(zip(labels.T.numpy(), scores.T.numpy(), strict=True))
    metrics: dict[str, Any] = {AP: average_precision, TOP: partial(roc_area, most=FPR)}
    found = {name: sum(f(*pair) for pair in pairs) / len(pairs) for name, f in metrics.items()}
    curve = curve_update(curve_init(labels.shape[1:]), scores, labels)
    reached = curve_compute(curve, target_fpr=FPR)["tpr_at_fpr"]
    return found | {TPR: reached.mean().item()}


def fit(
    task: Task,
    parts: Parts,
    method: Method,
    setting: tuple[float, float, float],
    seed: int,
    steps: int,
) -> list[tuple[dict[str, float], dict[str, float]]]:
    """Train once; return the measures of validation and test rows at every stop."""
    torch.manual_seed(seed)
    network, rows = task.network(parts.train), parts.train
    network(rows.inputs[:2])  # lazy layers find their sizes
    number, rate, decay = setting
    criterion = method.make(rows, number)
    optimizer = make_optimizer(method, network, rate, decay)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    stops, found = {max(round(share * steps), 1) for share in STOPS}, []
    classes = [(rows.labels[:, 0] == label).nonzero().squeeze(1) for label in (1, 0)]
    for step in range(1, steps + 1):
        places = torch.randint(len(rows.labels), (BATCH,))
        if method.half and rows.labels.shape[1] == 1:
            halves = [which[torch.randint(len(which), (BATCH // 2,))] for which in classes]
            places = torch.cat(halves)
        loss = criterion(network(rows.inputs[places]), rows.labels[places], places)
        optimizer.zero_grad()
        torch.autograd.backward(loss)
        optimizer.step()
        schedule.step()
        if step in stops:
            with torch.no_grad():
                held_out = [measure(part.labels, network(part.inputs)) for part in parts[1:]]
            found.append((held_out[0], held_out[1]))
    return found


def make_optimizer(method: Method, network: nn.Module, rate: float, decay: float) -> Any:
    """Return the optimiser of a method."""
    if method.optimizer == "Adam":
        return torch.optim.Adam(network.parameters(), lr=rate, weight_decay=decay)
    optimizers: Any = importlib.import_module("libauc.optimizers")
    make = getattr(optimizers, method.optimizer)
    return make(network.parameters(), lr=rate, mode="adam", verbose=False)


class Result(NamedTuple):
    """Test values of a method in its best setting, one per seed."""

    task: str
    measure: str
    method: str
    short: Tensor
    long: Tensor
    setting: str


def results(name: str, methods: list[str], seeds: int, share: float) -> list[Result]:
    """Train every method on a task."""
    task = TASKS[name]
    steps = max(round(share * task.steps), 1)
    runs: dict[str, dict[str, list[Any]]] = {key: {} for key in methods}
    for seed in range(seeds):
        parts = task.parts(seed)
        for key in methods:
            for setting in itertools.product(METHODS[key].tuned, RATES, DECAYS):
                run = fit(task, parts, METHODS[key], setting, seed, steps)
                runs[key].setdefault(" ".join(f"{x:g}" for x in setting), []).append(run)
    return [
        Result(name, what, key, *_chosen(runs[key], what))
        for key in methods
        for what in METHODS[key].measures or (AP, TOP, TPR)
    ]


def _chosen(runs: dict[str, list[Any]], what: str) -> tuple[Tensor, Tensor, str]:
    """Return the test values at the first stop and at the best one, and the last's setting."""
    tables = {
        key: torch.tensor([[[part[what] for part in stop] for stop in run] for run in seeds])
        for key, seeds in runs.items()
    }  # [seeds, stops, 2]
    first = max(tables.values(), key=lambda table: table[:, 0, 0].mean().item())[:, 0, 1]
    key, stop = max(
        ((key, stop) for key, table in tables.items() for stop in range(table.shape[1])),
        key=lambda pair: tables[pair[0]][:, pair[1], 0].mean().item(),
    )
    return first, tables[key][:, stop, 1], f"{key}, stop {stop + 1}"


def main(arguments: list[str] | None = None) -> int:
    """Print every method beside cross entropy."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--share", type=float, default=1.0, help="of the steps")
    parser.add_argument("--tasks", default=";".join(TASKS), help="names, with semicolons between")
    parser.add_argument("--methods", default=";".join(METHODS), help="the same")
    parser.add_argument("--jobs", type=int, default=2, help="tasks at once")
    options = parser.parse_args(arguments)
    methods = list(dict.fromkeys(["BCE", *options.methods.split(";")]))
    work = partial(results, methods=methods, seeds=options.seeds, share=options.share)
    for found in for_each(work, options.tasks.split(";"), options.jobs):
        base = {result.measure: result for result in found if result.method == "BCE"}
        for result in sorted(found, key=lambda result: result.measure):
            words = f"{result.task:22}{result.measure:22}{result.method:20}"
            for ours, own in (
                (result.short, base[result.measure].short),
                (result.long, base[result.measure].long),
            ):
                gain = estimate(ours - own)
                words += f"{ours.mean():7.3f} {gain.mean:+.3f}+-{gain.error:.3f}"
            print(words, f"  {result.setting}", flush=True)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
