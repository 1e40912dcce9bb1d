"""What each method is worth: a threshold from validation rows, its rates on test rows."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

import gobj
from gobj.study.data import Data
from gobj.study.goals import Goal, problem_of
from gobj.study.measures import count_rates
from gobj.study.methods import Fitted, Method, Work
from gobj.study.plan import Parts


class Reading(NamedTuple):
    """Thresholds that were chosen on validation rows, each value ``[S, labels]``.

    Attributes:
        threshold: An example is called positive where its score is above it.
        feasible: Whether the validation rows have, or support, such a threshold.
        value: Of the optimized rate on test rows; the worst where none is feasible.
        constrained: The constrained rate on test rows.
        rates: Precision, recall, FPR, specificity, NPV and share flagged on test rows.
    """

    threshold: Tensor
    feasible: Tensor
    value: Tensor
    constrained: Tensor
    rates: dict[str, Tensor]

    def held(self, goal: Goal, label: int) -> int:
        """Count the splits in which the constraint held on test rows."""
        rates = self.constrained[self.feasible[:, label], label]
        return int(((rates * goal.way) >= goal.target * goal.way).sum())


class Outcome(NamedTuple):
    """What a method is worth in the setting that is best on validation rows.

    Attributes:
        method: The method.
        models: What it fitted, with the scores.
        validation: The optimized rate on validation rows, at the threshold of theirs that is best,
            ``[S, labels]``.
        fitted: With the best threshold that meets the target on the validation rows.
        certified: With the threshold at which it is met on new data, with confidence.
    """

    method: Method
    models: Fitted
    validation: Tensor
    fitted: Reading
    certified: Reading


def fit_settings(method: Method, work: Work) -> list[Fitted]:
    """Fit a method in each of its settings."""
    work.progress.begin(method.name)
    return [method.fit(work, setting) for setting in method.settings]


def validation_value(fitted: Fitted, work: Work) -> Tensor:
    """Return the optimized rate at the best threshold on validation rows."""
    goals, data, rows = work.goals, work.stage.data, work.stage.rows
    point = _fit_threshold(goals, data, rows.validation, fitted.validation)
    return _read(goals, data, rows.validation, fitted.validation, point).value


def measure(method: Method, tried: Sequence[Fitted], work: Work) -> Outcome:
    """Choose the setting and the thresholds on validation rows, and count on test rows."""
    values = [validation_value(fitted, work) for fitted in tried]
    sign = work.goals[0].sign
    best = max(range(len(tried)), key=lambda index: sign * values[index].mean().item())
    fitted = tried[best]
    goals, data, rows = work.goals, work.stage.data, work.stage.rows
    point = _fit_threshold(goals, data, rows.validation, fitted.validation)
    sure = _certify(goals, data, rows.validation, fitted.validation, work.options.confidence)
    return Outcome(
        method,
        fitted,
        values[best],
        _read(goals, data, rows.test, fitted.test, point),
        _read(goals, data, rows.test, fitted.test, sure),
    )


def problem_of_columns(goals: Sequence[Goal], splits: int) -> gobj.Problem:
    """Return the problem whose columns are the labels of each split."""
    targets = torch.tensor([goal.target for goal in goals], dtype=torch.float64)
    return problem_of(goals[0].objective, targets.repeat(splits))


def _fit_threshold(
    goals: Sequence[Goal], data: Data, rows: Tensor, scores: Tensor
) -> tuple[Tensor, Tensor]:
    """Fit a threshold to each column, and tell where one meets the target."""
    problem = problem_of_columns(goals, len(rows))
    truth, weights = data.side_by_side(data.truth, rows), data.weights_of(rows)
    point = gobj.fit_threshold(scores, truth, problem, weights=weights)
    return point.threshold, point.feasible


def _certify(
    goals: Sequence[Goal], data: Data, rows: Tensor, scores: Tensor, confidence: float
) -> tuple[Tensor, Tensor]:
    """Certify a threshold for each column; none where weights are no whole numbers."""
    truth, weights = data.side_by_side(data.truth, rows), data.weights_of(rows, as_counts=True)
    if not can_certify(data):
        nothing = torch.full(scores.shape[1:], torch.inf, dtype=torch.float64)
        return nothing, torch.zeros_like(nothing, dtype=torch.bool)
    problem = problem_of_columns(goals, len(rows))
    found = gobj.certify(scores, truth, problem, confidence=confidence, weights=weights)
    return found.threshold, found.feasible


def can_certify(data: Data) -> bool:
    """Tell whether weights are numbers of examples, which is what a certificate counts."""
    return data.counts is None or bool((data.counts == data.counts.round()).all())


def _read(goals: Sequence[Goal], data: Data, rows: Tensor, scores: Tensor, point: Any) -> Reading:
    """Count the rates at thresholds."""
    threshold, feasible = point
    truth, weights = data.side_by_side(data.truth, rows), data.weights_of(rows)
    every = count_rates(threshold, scores, truth, weights)
    shape = (len(rows), len(data.labels))
    rates = {name: rate.view(shape) for name, rate in every.items()}
    goal, feasible = goals[0], feasible.view(shape)
    value = torch.where(feasible, rates[goal.objective.optimized], goal.worst)
    return Reading(threshold.view(shape), feasible, value, rates[goal.objective.constrained], rates)


def overlap(rows: Parts) -> float:
    """Return the ratio of test to training rows, which the intervals are corrected by."""
    return float((rows.test >= 0).sum() / (rows.train >= 0).sum())
