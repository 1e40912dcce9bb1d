"""The model to take away, its thresholds, and what other targets would give."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

import gobj
from gobj.metrics import curve_init, curve_points, curve_update
from gobj.metrics._curve import Curve
from gobj.study.comparison import Outcome, can_certify
from gobj.study.data import Data
from gobj.study.goals import Goal, problem_of, targets_to_try
from gobj.study.measures import count_rates
from gobj.study.methods import Stage, Work, make_stage
from gobj.study.model import Decision, Model

LARGEST = 3e38  # a threshold that flags nobody, or with minus everybody, as a finite float32


class Step(NamedTuple):
    """What one target gives, counted on the rows that were kept apart.

    Attributes:
        target: Of the constrained rate.
        threshold: Fitted to the validation rows.
        feasible: Whether it meets the target there.
        value: The optimized rate at it.
        constrained: The constrained rate at it.
        certified_threshold: At which the target is met on new data, with confidence.
        certifiable: Whether there are rows enough for one.
        certified_value: The optimized rate at it.
        examples_needed: How many rows would support one, if that can be told.
    """

    target: float
    threshold: float
    feasible: bool
    value: float
    constrained: float
    certified_threshold: float
    certifiable: bool
    certified_value: float
    examples_needed: float


class Final(NamedTuple):
    """The model to take away.

    Attributes:
        model: The model with its decisions.
        setting: That it was fitted in.
        chosen: Of each label, what its target gives.
        trade_off: Of each label, what six other targets give.
        curves: Of each label, on the rows that were kept apart.
        scores: Of the rows kept apart, ``[n, labels]``.
        rows: Their numbers.
    """

    model: Model
    setting: dict[str, Any]
    chosen: list[Step]
    trade_off: list[list[Step]]
    curves: list[Curve]
    scores: Tensor
    rows: Tensor


def finish(outcome: Outcome, work: Work) -> Final:
    """Fit the method of an outcome to more rows, and choose its thresholds."""
    data, goals = work.stage.data, work.goals
    stage = make_stage(data, data.plan.final)
    work.progress.expect(outcome.method.cost)
    work.progress.begin(f"{outcome.method.name}, to take away")
    fitted = outcome.method.fit(work._replace(stage=stage), outcome.models.setting)
    model = _as_model(outcome, fitted.models[0], stage)
    scores = torch.from_numpy(data.ranks.joined(model.score_features(data.features)))
    steps = [_steps(data, scores, work, label, [goal.target]) for label, goal in enumerate(goals)]
    every = [
        sorted({goal.target, *targets_to_try(goal.objective, data.labels[label].share)})
        for label, goal in enumerate(goals)
    ]
    trade_off = [_steps(data, scores, work, label, targets) for label, targets in enumerate(every)]
    chosen = [step[0] for step in steps]
    decisions = [
        _decide(goal, step, data.labels[label], work.options.confidence)
        for label, (goal, step) in enumerate(zip(goals, chosen, strict=True))
    ]
    rows = data.plan.final.test[0]
    curves = [_curve(data, scores, rows, label) for label in range(len(goals))]
    return Final(
        model._replace(decisions=decisions),
        outcome.models.setting,
        chosen,
        trade_off,
        curves,
        scores[rows],
        rows,
    )


def _as_model(outcome: Outcome, fitted: list[Any], stage: Stage) -> Model:
    """Return what a method fitted to one split as a model."""
    trees = outcome.method.family == "trees"
    layers = fitted if isinstance(fitted[0], Tensor) else []
    return Model(
        outcome.method.name,
        stage.data.schema,
        stage.scalings[0],
        trees,
        layers,
        [] if layers else fitted,
        [],
    )


def _steps(
    data: Data, scores: Tensor, work: Work, label: int, targets: Sequence[float]
) -> list[Step]:
    """Fit and certify a threshold for each target."""
    validation, kept = (
        _columns(data, scores, rows[0], label, len(targets))
        for rows in (data.plan.final.validation, data.plan.final.test)
    )
    goal = work.goals[label]
    problem = problem_of(goal.objective, torch.tensor(targets, dtype=torch.float64))
    fitted = gobj.fit_threshold(*validation[:2], problem, weights=validation[2])
    rates = count_rates(fitted.threshold, *kept)
    if can_certify(data):
        counts = _expanded(data.counts, data.plan.final.test[0], label, len(targets))
        sure = gobj.certify(*kept[:2], problem, confidence=work.options.confidence, weights=counts)
        columns = sure.threshold, sure.feasible, sure.examples_needed
    else:
        nothing = torch.full((len(targets),), torch.inf, dtype=torch.float64)
        columns = nothing, torch.zeros_like(nothing, dtype=torch.bool), nothing
    certain = count_rates(columns[0], *kept)
    name = goal.objective.optimized
    return [
        Step(
            target,
            fitted.threshold[index].item(),
            bool(fitted.feasible[index]),
            rates[name][index].item(),
            rates[goal.objective.constrained][index].item(),
            columns[0][index].item(),
            bool(columns[1][index]),
            certain[name][index].item(),
            columns[2][index].item(),
        )
        for index, target in enumerate(targets)
    ]


def _columns(
    data: Data, scores: Tensor, rows: Tensor, label: int, number: int
) -> tuple[Tensor, Tensor, Tensor | None]:
    """Return scores, labels and weights of rows, the same for a number of targets."""
    scores, truth = (
        values[rows, label].unsqueeze(1).expand(-1, number) for values in (scores, data.truth)
    )
    return scores, truth, _expanded(data.weights, rows, label, number)


def _expanded(values: Tensor | None, rows: Tensor, label: int, number: int) -> Tensor | None:
    """Return values of rows for a number of targets."""
    return None if values is None else values[rows, label].unsqueeze(1).expand(-1, number)


def _decide(goal: Goal, step: Step, label: Any, confidence: float) -> Decision:
    """Take the certified threshold where there is one."""
    threshold = step.certified_threshold if step.certifiable else step.threshold
    return Decision(
        label.name,
        label.positive,
        goal.condition,
        _finite(threshold),
        step.certifiable,
        _finite(step.threshold),
        confidence,
    )


def _finite(threshold: float) -> float:
    return min(max(threshold, -LARGEST), LARGEST)


def _curve(data: Data, scores: Tensor, rows: Tensor, label: int) -> Curve:
    """Return the curve of a label on some rows."""
    weights = None if data.weights is None else data.weights[rows, label]
    truth = data.truth[rows, label]
    return curve_points(curve_update(curve_init(), scores[rows, label], truth, weights=weights))
