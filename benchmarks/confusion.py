"""Compare confusion losses with a tuned threshold: ``python -m benchmarks.confusion``.

On each table a single layer and a network with one hidden layer are trained from the same start in
ten folds, full-batch with Adam, on binary cross entropy and on the loss of the metric in question,
with the published step (amplification 73) and with a temperature of 1. Test rows are called at
probability .5; those of cross entropy also at the threshold that is best on the training rows of
the fold. Differences are paired over folds and compared with twice their standard error, which
takes no account of the rows that training sets share.

A second part starts from sure scores and shows where the published step stalls.
"""

import argparse
from collections.abc import Callable
from functools import partial
from itertools import pairwise
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from benchmarks.tables import table
from gobj.losses import confusion_metrics as metrics
from gobj.losses.confusion_losses import (
    balanced_accuracy_loss,
    f_beta_loss,
    geometric_mean_loss,
)
from gobj.losses.soft_confusion import SoftConfusion, annealed_amplification

TABLES = (
    "mlc_churn",
    "wa_churn",
    "credit_data",
    "lending_club",
    "Caravan",
    "attrition",
    "ad_data",
    "Default",
    "OJ",
    "digits",
    "breast_cancer",
)
GOALS = {
    "F1": (f_beta_loss, metrics.f_beta),
    "balanced accuracy": (balanced_accuracy_loss, metrics.balanced_accuracy),
    "G-mean": (geometric_mean_loss, metrics.geometric_mean),
}
METHODS = ("BCE at .5", "BCE tuned", "published step", "temperature 1")
Loss = Callable[..., Tensor]
Optimizer = Callable[[list[Tensor]], torch.optim.Optimizer]
ADAM: Optimizer = partial(torch.optim.Adam, lr=0.03)
SGD: Optimizer = partial(torch.optim.SGD, lr=1.0)
STALLS: tuple[tuple[str, Optimizer, int], ...] = (
    ("SGD", SGD, 1),
    ("SGD", SGD, 10),
    ("SGD", SGD, 30),
    ("Adam", ADAM, 10),
    ("Adam", ADAM, 30),
)


class Scale(NamedTuple):
    """How large the runs are."""

    tables: int = len(TABLES)
    folds: int = 10
    steps: int = 200
    rows: int = 2000


class Folds(NamedTuple):
    """Features ``[folds, n, d]``, scaled by their training rows, labels ``[n]`` and those rows."""

    features: Tensor
    labels: Tensor
    training: Tensor


def make_folds(name: str, scale: Scale) -> Folds:
    """Deal the rows of each class over the folds; each fold is the test set of one model."""
    full, draw = table(name), torch.Generator().manual_seed(0)
    rows = torch.randperm(len(full.labels), generator=draw)[: scale.rows]
    rows = rows[full.labels[rows].argsort(stable=True)]
    features, labels = full.features[rows], full.labels[rows]
    training = (torch.arange(len(rows)) % scale.folds) != torch.arange(scale.folds)[:, None]
    known = features.isfinite() & training[..., None]
    count = known.sum(1, keepdim=True).clamp(min=1)
    centred = features - torch.where(known, features, 0).sum(1, keepdim=True) / count
    spread = (torch.where(known, centred, 0).square().sum(1, keepdim=True) / count).sqrt()
    scaled = torch.where(features.isfinite() & (spread > 0), centred / spread, 0)
    return Folds(scaled.clamp(-10, 10).float(), labels, training)


def start(folds: Folds, hidden: int, spread: float = 1.0) -> list[Tensor]:
    """Draw the parameters of one model per fold, with scores of about the given spread."""
    draw, sizes = torch.Generator().manual_seed(1), [folds.features.shape[2], hidden, 1]
    sizes = [size for size in sizes if size]
    shapes = [(len(folds.features), *pair) for pair in pairwise(sizes)]
    weights = [torch.randn(s, generator=draw) * spread / s[1] ** 0.5 for s in shapes]
    biases = [torch.zeros(s[0], 1, s[2]) for s in shapes]
    return [part.requires_grad_() for pair in zip(weights, biases, strict=True) for part in pair]


def score(parameters: list[Tensor], features: Tensor) -> Tensor:
    """Return the logits of every fold's model for all rows, shape ``[n, folds]``."""
    *inner, weight, bias = parameters
    for matrix, offset in zip(inner[::2], inner[1::2], strict=True):
        features = torch.relu(torch.baddbmm(offset, features, matrix))
    return torch.baddbmm(bias, features, weight).squeeze(2).T


def train(
    folds: Folds,
    loss: Loss,
    parameters: list[Tensor],
    steps: int,
    optimizer: Optimizer = ADAM,
) -> Tensor:
    """Train the models of all folds side by side, as labels of one batch; return their logits."""
    stepper, weights = optimizer(parameters), folds.training.T.float()
    labels = folds.labels[:, None].expand_as(weights)
    for step in range(steps):
        stepper.zero_grad()
        progress = {"progress": step / steps} if loss is annealed else {}
        each = loss(score(parameters, folds.features), labels, weights=weights, **progress)
        torch.autograd.backward(each.sum())
        stepper.step()
    return score(parameters, folds.features).detach()


def cross_entropy(logits: Tensor, labels: Tensor, *, weights: Tensor) -> Tensor:
    """Return the weighted mean of every column."""
    losses = functional.binary_cross_entropy_with_logits(logits, labels, reduction="none")
    return (losses * weights).sum(0) / weights.sum(0)


def f1(logits: Tensor, labels: Tensor, **settings: Any) -> Tensor:
    """Return the F1 loss of every column."""
    return f_beta_loss(logits, labels, average="none", **settings)


def annealed(logits: Tensor, labels: Tensor, *, weights: Tensor, progress: float) -> Tensor:
    """Return the F1 loss with an amplification that rises to the published one."""
    amplification = torch.as_tensor(annealed_amplification(progress))
    return f1(logits, labels, weights=weights, amplification=amplification)


def usual(logits: Tensor, labels: Tensor, *, weights: Tensor) -> Tensor:
    """Return the F1 loss of the published step as it is usually written."""
    called = torch.sigmoid(73 * (torch.sigmoid(logits) - 0.5))
    hits = (weights * labels * called).sum(0)
    return 1 - 2 * hits / ((weights * called).sum(0) + (weights * labels).sum(0))


def count(called: Tensor, folds: Folds, rows: Tensor) -> SoftConfusion:
    """Count the confusion matrix of every fold over the marked rows, shape ``[n, folds]``."""
    positive = (folds.labels > 0)[:, None]
    cells = (called & positive, called & ~positive, ~called & positive, ~called & ~positive)
    return SoftConfusion(*((cell & rows).sum(0).double() for cell in cells))


def tuned(logits: Tensor, folds: Folds, metric: Callable[[SoftConfusion], Tensor]) -> Tensor:
    """Return per fold the threshold with the best metric on its training rows."""
    thresholds = []
    for scores, rows in zip(logits.T, folds.training, strict=True):
        ranked, order = scores[rows].sort(descending=True)
        positive = folds.labels[rows][order].double()
        hits, alarms = positive.cumsum(0), (1 - positive).cumsum(0)
        cells = hits, alarms, positive.sum() - hits, (1 - positive).sum() - alarms
        best = metric(SoftConfusion(*cells)).argmax()
        thresholds.append(ranked[best : best + 2].mean())
    return torch.stack(thresholds)


def compare(name: str, hidden: int, scale: Scale) -> dict[str, Tensor]:
    """Return the metric of every goal on the test rows, shape ``[methods, folds]``."""
    folds = make_folds(name, scale)
    fit = partial(train, folds, steps=scale.steps)
    plain, values = fit(cross_entropy, start(folds, hidden)), {}
    for goal, (loss, metric) in GOALS.items():
        each = partial(loss, average="none")
        called = [
            plain > 0,
            plain > tuned(plain, folds, metric),
            fit(each, start(folds, hidden)) > 0,
            fit(partial(each, temperature=1.0), start(folds, hidden)) > 0,
        ]
        test = ~folds.training.T
        values[goal] = torch.stack([metric(count(calls, folds, test)) for calls in called])
    return values


def estimate(values: Tensor) -> tuple[float, float]:
    """Return mean and standard error."""
    return values.mean().item(), (values.std() / len(values) ** 0.5).item()


def judge(values: Tensor, against: int) -> list[int]:
    """Return for every method 1, 0 or -1: better, as good or worse by two standard errors."""
    pairs = [estimate(method - values[against]) for method in values]
    return [int(mean > 2 * error) - int(mean < -2 * error) for mean, error in pairs]


def print_comparison(scale: Scale) -> None:
    """Print every table, then where the losses beat the tuned threshold and where not."""
    for hidden, model in ((0, "single layer"), (16, "one hidden layer")):
        verdicts: dict[str, list[Tensor]] = {goal: [] for goal in GOALS}
        print(f"\n{model:38}" + "".join(f"{method:>18}" for method in METHODS))
        for name in TABLES[: scale.tables]:
            for goal, values in compare(name, hidden, scale).items():
                signs = judge(values, against=1)
                marks = [" -=+"[sign + 2] if index > 1 else " " for index, sign in enumerate(signs)]
                cells = [
                    f"{m:8.3f} ± {e:.3f} {s}"
                    for (m, e), s in zip(map(estimate, values), marks, strict=True)
                ]
                print(f"{name:18}{goal:20}" + "".join(f"{cell:>18}" for cell in cells), flush=True)
                verdicts[goal].append(values)
        for goal, tables in verdicts.items():
            for index in (2, 3):
                print_verdict(f"{model}, {goal}: {METHODS[index]}", index, tables)


def print_verdict(what: str, index: int, tables: list[Tensor]) -> None:
    """Say on how many tables a loss is better than cross entropy, at .5 and tuned."""
    for against in (0, 1):
        signs = [judge(values, against)[index] for values in tables]
        mean, error = estimate(torch.stack([(v[index] - v[against]).mean() for v in tables]))
        print(
            f"{what} against {METHODS[against]}: better on {signs.count(1)}, as good on "
            f"{signs.count(0)}, worse on {signs.count(-1)} of {len(signs)} tables; "
            f"mean difference {mean:+.3f} ± {error:.3f}"
        )


def print_stall(scale: Scale) -> None:
    """Print the F1 on training rows from sure starts, under steps that stall or do not."""
    folds = make_folds("mlc_churn", scale)
    losses: dict[str, Loss] = {
        "published, usual formula": usual,
        "published step": f1,
        "amplification 4": partial(f1, amplification=4.0),
        "annealed 1 to 73": annealed,
        "temperature 1": partial(f1, temperature=1.0),
    }
    print("\nmlc_churn, single layer, F1 on training rows after training; scores start with spread")
    print(" " * 26 + "".join(f"{name:>9} {spread:2}" for name, _, spread in STALLS))
    for name, loss in losses.items():
        cells = []
        for _, optimizer, spread in STALLS:
            logits = train(folds, loss, start(folds, 0, spread), scale.steps, optimizer)
            cells.append(metrics.f_beta(count(logits > 0, folds, folds.training.T)).mean().item())
        print(f"{name:26}" + "".join(f"{cell:12.3f}" for cell in cells), flush=True)


def main(arguments: list[str] | None = None) -> None:
    """Print both parts."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--short", action="store_true", help="two tables, three folds, 20 steps")
    short = parser.parse_args(arguments).short
    scale = Scale(tables=2, folds=3, steps=20, rows=500) if short else Scale()
    print_stall(scale)
    print_comparison(scale)


if __name__ == "__main__":
    main()
