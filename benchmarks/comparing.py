"""How methods are compared: all in the same settings, each chosen on validation rows.

A setting is an optimiser with its learning rate and weight decay, and the number of steps after
which training stops. What is chosen is the setting that is best in the mean over seeds; what is
reported comes from test rows.
"""

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from typing import Any, NamedTuple, TypeVar

import torch
from sklearn.base import clone  # type: ignore[import-untyped]
from sklearn.ensemble import HistGradientBoostingClassifier  # type: ignore[import-untyped]
from sklearn.linear_model import LogisticRegression  # type: ignore[import-untyped]
from torch import Tensor

from gobj.study.measures import estimate
from gobj.study.splits import Part, Splits
from gobj.study.training import Loss, Model, Setting, State, cross_entropy_loss, score, train

MODELS = {
    "linear": Model(
        (),
        (
            Setting("Adam", 0.05),
            Setting("Adam", 0.01),
            Setting("Adam", 0.05, 0.01),
            Setting("SGD", 0.3),
        ),
    ),
    "hidden": Model(
        (32,),
        (
            Setting("Adam", 0.005),
            Setting("Adam", 0.01),
            Setting("Adam", 0.01, 0.001),
            Setting("SGD", 0.3),
        ),
    ),
}
STOPS = 0.2, 0.5, 1.0  # shares of the steps after which a model is looked at
PENALTIES = 0.003, 0.03, 0.3, 3.0, 100.0  # scikit-learn's C; the last hardly penalises
BOOSTERS = (
    {"learning_rate": 0.05, "max_leaf_nodes": 7},
    {"learning_rate": 0.05, "max_leaf_nodes": 31},
    {"learning_rate": 0.1, "max_leaf_nodes": 15},
)

Result = TypeVar("Result")
Measure = Callable[[Part, Tensor], Tensor]


class Line(NamedTuple):
    """What was measured for a row of the table, and whether its bound holds."""

    row: str
    what: str
    measured: str
    bound: str
    holds: bool


class Scale(NamedTuple):
    """How large the runs are."""

    seeds: int = 10
    steps: int = 500


class Fit(NamedTuple):
    """What a method made of every split in one setting.

    Attributes:
        setting: What was set, in words.
        last: Whether these are the models after the last step.
        train: Scores of the training rows, ``[n, S]``.
        validation: Scores of the validation rows.
        test: Scores of the test rows.
        state: What the loss remembers at the end.
    """

    setting: str
    last: bool
    train: Tensor
    validation: Tensor
    test: Tensor
    state: Any


def fits(
    splits: Splits,
    model: str,
    steps: int,
    loss: Loss[State] = cross_entropy_loss,
    state: State = None,  # type: ignore[assignment]  # cross entropy has none
    batch: int = 512,
) -> list[Fit]:
    """Train on a loss in every setting of a model, and look at it at every stop."""
    found: list[Fit] = []
    stops = sorted({max(round(share * steps), 1) for share in STOPS})
    for setting in MODELS[model].settings:
        seen: list[Any] = []

        def record(layers: list[Tensor], after: Any, seen: list[Any] = seen) -> None:
            seen.append(None)
            if len(seen) in stops:
                seen[-1] = [layer.detach().clone() for layer in layers], after

        options = {"hidden": MODELS[model].hidden, "batch": batch, **setting._asdict()}
        train(splits.train, loss, state, steps=steps, record=record, **options)
        for stop, (layers, after) in zip(stops, filter(None, seen), strict=True):
            train_scores, *held_out = (score(layers, part.features) for part in splits)
            words = f"{setting.optimizer} {setting.lr:g} {setting.decay:g} step {stop}"
            fit = Fit(words, stop == steps, train_scores, held_out[0], held_out[1], after)
            found.append(fit)
    return found


def logistic_regressions(splits: Splits) -> list[Fit]:
    """Fit scikit-learn's logistic regression until it converges, for every penalty."""
    return [
        _by_scikit_learn(splits, LogisticRegression(C=c, max_iter=5000), f"C {c}")
        for c in PENALTIES
    ]


def boosters(splits: Splits) -> list[Fit]:
    """Fit scikit-learn's histogram boosting, in every setting."""
    return [
        _by_scikit_learn(splits, HistGradientBoostingClassifier(**options), str(options))
        for options in BOOSTERS
    ]


def _by_scikit_learn(splits: Splits, classifier: Any, setting: str) -> Fit:
    """Fit a classifier to every split."""
    columns: list[list[Tensor]] = [[], [], []]
    for seed, (features, labels) in enumerate(zip(*splits.train[:2], strict=True)):
        fitted = clone(classifier).fit(features.numpy(), labels.numpy())
        for column, part in zip(columns, splits, strict=True):
            scores = fitted.decision_function(part.features[seed].numpy())
            column.append(torch.as_tensor(scores, dtype=torch.float32))
    of_train, of_validation, of_test = (torch.stack(column, 1) for column in columns)
    return Fit(setting, True, of_train, of_validation, of_test, None)


def chosen(measure: Measure, splits: Splits, found: Iterable[Fit]) -> Fit:
    """Return the setting that is best on validation rows in the mean over seeds."""
    return max(found, key=lambda fit: _mean(measure(splits.validation, fit.validation)))


def judged(measure: Measure, splits: Splits, found: Iterable[Fit]) -> Tensor:
    """Return the test value of each seed in the setting that is best on validation rows."""
    return measure(splits.test, chosen(measure, splits, found).test).double()


def _mean(values: Tensor) -> float:
    return values.double().mean().item()


def compared(ours: Tensor, baseline: Tensor) -> tuple[str, float, float]:
    """Describe two test values per seed; return the words, the mean gain and its error."""
    gain = estimate(ours - baseline)
    words = f"{baseline.mean():.3f} to {ours.mean():.3f}, {gain.mean:+.3f}+-{gain.error:.3f}"
    return words, gain.mean, gain.error


def verdict(pairs: Iterable[tuple[Tensor, Tensor]]) -> str:
    """Count how often the first of two values per seed is better beyond two standard errors."""
    gains = [estimate(ours - baseline) for ours, baseline in pairs]
    won = sum(gain.mean > 2 * gain.error for gain in gains)
    lost = sum(gain.mean < -2 * gain.error for gain in gains)
    mean = sum(gain.mean for gain in gains) / len(gains)
    return f"won {won}, level {len(gains) - won - lost}, lost {lost}, mean {mean:+.4f}"


def for_each(work: Callable[[str], Result], names: Iterable[str], jobs: int) -> Iterator[Result]:
    """Yield what work returns for each name, in order; several processes with a thread each."""
    if jobs == 1:
        yield from map(work, names)
        return
    with ProcessPoolExecutor(jobs, initializer=torch.set_num_threads, initargs=(1,)) as pool:
        yield from pool.map(work, names)
