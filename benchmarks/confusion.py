"""Compare confusion losses with a tuned threshold: ``python -m benchmarks.confusion``.

On each table linear models and networks with one hidden layer are trained on cross entropy and on
the loss of the metric in question, with the published step (amplification 73) and with a
temperature of 1, all in the same settings and with the same stops. Beside them stand what a careful
user has: a logistic regression that has converged, cross entropy with both classes at half of the
weight, and histogram boosting. A setting, and a threshold where there is one, is the best on
validation rows; what is reported comes from test rows, paired over splits.

A second part starts from sure scores and shows where the published step stalls.
"""

import argparse
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor

from benchmarks.comparing import (
    MODELS,
    Fit,
    Scale,
    boosters,
    fits,
    for_each,
    logistic_regressions,
    verdict,
)
from benchmarks.tables import table
from gobj.losses import confusion_metrics as metrics
from gobj.losses.confusion_losses import balanced_accuracy_loss, f_beta_loss, geometric_mean_loss
from gobj.losses.soft_confusion import SoftConfusion, annealed_amplification
from gobj.study.measures import draw_curve, estimate
from gobj.study.splits import Part, Splits, split
from gobj.study.training import balanced, init_layers, score

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
ORDINARY = "best ordinary"  # of those above it in the list, on validation rows
METHODS = (
    "BCE at .5",
    "BCE",
    "weighted BCE",
    "logistic regression",
    ORDINARY,
    "published step",
    "temperature 1",
    "temperature 1, threshold",
    "boosting",
)
Metric = Callable[[SoftConfusion], Tensor]


class Value(NamedTuple):
    """The metric on validation and test rows, one per seed."""

    validation: Tensor
    test: Tensor


def counts(part: Part, scores: Tensor) -> tuple[Tensor, SoftConfusion]:
    """Return thresholds and the confusion matrix at each, ``[S, n + 1]``."""
    curve = draw_curve(scores, part)
    hits, alarms = curve.true_positives, curve.false_positives
    missed, left = hits[:, -1:] - hits, alarms[:, -1:] - alarms
    return curve.threshold, SoftConfusion(hits, alarms, missed, left)


def at(threshold: Tensor, metric: Metric, part: Part, scores: Tensor) -> Tensor:
    """Return the metric of each seed where examples above a threshold are called positive."""
    called, positive = (scores > threshold).T, part.labels > 0
    cells = called & positive, called & ~positive, ~called & positive, ~called & ~positive
    return metric(SoftConfusion(*(cell.sum(1).double() for cell in cells)))


def at_zero(metric: Metric, splits: Splits, fit: Fit) -> Value:
    """Call at the logit 0."""
    zero = torch.zeros(fit.test.shape[1])
    return Value(
        at(zero, metric, splits.validation, fit.validation), at(zero, metric, splits.test, fit.test)
    )


def at_best(metric: Metric, splits: Splits, fit: Fit) -> Value:
    """Call at the threshold that is best on validation rows."""
    thresholds, table_of_counts = counts(splits.validation, fit.validation)
    best = metric(table_of_counts).nan_to_num().max(1)
    threshold = thresholds.gather(1, best.indices.unsqueeze(1)).squeeze(1)
    return Value(best.values, at(threshold, metric, splits.test, fit.test))


def chosen(found: list[Value]) -> Value:
    """Return the best on validation rows in the mean over seeds."""
    return max(found, key=lambda value: value.validation.mean().item())


def confusion(loss: Callable[..., Tensor], **options: Any) -> Any:
    """Return a confusion loss as models are trained on, the mean over seeds."""

    def step(
        logits: Tensor, labels: Tensor, weights: Tensor | None, state: Any
    ) -> tuple[Tensor, Any]:
        each = loss(logits, labels, weights=weights, average="none", **options)
        return each.mean(), state

    return step


def compare(name: str, scale: Scale) -> dict[tuple[str, str], dict[str, Value]]:
    """Return the values of every method, by model and metric."""
    splits = split(table(name), scale.seeds)
    even = splits._replace(train=balanced(splits.train))
    boosted, found = boosters(splits), {}
    for model in MODELS:
        fit = partial(fits, model=model, steps=scale.steps)
        plain, weighted = fit(splits), fit(even)
        converged = logistic_regressions(splits) if model == "linear" else []
        for goal, (loss, metric) in GOALS.items():
            smooth = fit(splits, loss=confusion(loss, temperature=1.0))
            zero, best = partial(at_zero, metric, splits), partial(at_best, metric, splits)
            tried = {
                "BCE at .5": list(map(zero, plain)),
                "BCE": list(map(best, plain)),
                "weighted BCE": list(map(best, weighted)),
                "logistic regression": list(map(best, converged)),
                "published step": list(map(zero, fit(splits, loss=confusion(loss)))),
                "temperature 1": list(map(zero, smooth)),
                "temperature 1, threshold": list(map(best, smooth)),
                "boosting": list(map(best, boosted)),
            }
            values = {key: chosen(value) for key, value in tried.items() if value}
            ordinary = [values[key] for key in METHODS[: METHODS.index(ORDINARY)] if key in values]
            found[model, goal] = values | {ORDINARY: chosen(ordinary)}
    return found


def print_comparison(scale: Scale, names: list[str], jobs: int) -> None:
    """Print every table, then each method's mean and how often it is better than the ordinary."""
    every: dict[tuple[str, str], dict[str, list[Tensor]]] = {}
    for name, found in zip(
        names, for_each(partial(compare, scale=scale), names, jobs), strict=True
    ):
        for key, values in found.items():
            for method in METHODS:
                if method in values:
                    test = values[method].test
                    every.setdefault(key, {}).setdefault(method, []).append(test)
                    mean, error, _ = estimate(test)
                    words = f"{key[0]:8}{key[1]:20}{method:26}"
                    print(f"{name:16}{words}{mean:7.3f}+-{error:.3f}", flush=True)
    print(f"\n{len(names)} tables, against the best ordinary method by validation rows")
    for key, methods in every.items():
        for method, tests in methods.items():
            mean = torch.stack([test.mean() for test in tests]).mean().item()
            against = verdict(zip(tests, methods[ORDINARY], strict=True))
            print(f"{key[0]:8}{key[1]:20}{method:26}{mean:7.3f}  {against}")


def usual(logits: Tensor, labels: Tensor) -> Tensor:
    """Return the F1 loss of the published step as it is usually written, for each column."""
    called = torch.sigmoid(73 * (torch.sigmoid(logits) - 0.5))
    return 1 - 2 * (labels * called).sum(0) / (called.sum(0) + labels.sum(0))


def print_stall(scale: Scale) -> None:
    """Print the F1 on training rows after training from sure scores, in full batches."""
    part = split(table("mlc_churn"), scale.seeds).train
    smooth = partial(f_beta_loss, average="none")
    losses: dict[str, Callable[..., Tensor]] = {
        "published, usual formula": usual,
        "published step": smooth,
        "amplification 4": partial(smooth, amplification=4.0),
        "annealed 1 to 73": smooth,
        "temperature 1": partial(smooth, temperature=1.0),
    }
    starts = (("SGD", 1.0, 1), ("SGD", 1.0, 10), ("SGD", 1.0, 30), ("Adam", 0.03, 10))
    print("mlc_churn, linear, F1 on training rows; the scores start with a spread")
    print(" " * 26 + "".join(f"{name:>9} {spread:2}" for name, _, spread in starts))
    for name, loss in losses.items():
        cells = []
        for optimizer, rate, spread in starts:
            layers = init_layers(scale.seeds, (part.features.shape[2], 1))
            layers[0].data *= spread / score(layers, part.features).std().item()
            stepper = vars(torch.optim)[optimizer](layers, lr=rate)
            for step in range(scale.steps):
                progress = torch.tensor(annealed_amplification(step / scale.steps))
                options = {"amplification": progress} if name.startswith("annealed") else {}
                each = loss(score(layers, part.features), part.labels.T, **options)
                stepper.zero_grad()
                torch.autograd.backward(each.sum())
                stepper.step()
            reached = at(
                torch.zeros(scale.seeds), metrics.f_beta, part, score(layers, part.features)
            )
            cells.append(reached.mean().item())
        print(f"{name:26}" + "".join(f"{cell:12.3f}" for cell in cells), flush=True)


def main(arguments: list[str] | None = None) -> int:
    """Print both parts."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--steps", type=int, default=500)
    parser.add_argument("--tables", default=",".join(TABLES), help="names, with commas between")
    parser.add_argument("--jobs", type=int, default=2, help="tables at once")
    options = parser.parse_args(arguments)
    scale = Scale(options.seeds, options.steps)
    print_stall(scale)
    print_comparison(scale, options.tables.split(","), options.jobs)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
