"""The steps of a job: fit every row, choose targets, judge, and fit the model to take away."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

import gobj
from gobj.study.baselines import baseline_methods
from gobj.study.comparison import Outcome, fit_settings, measure, overlap
from gobj.study.data import Data
from gobj.study.final import Final, finish
from gobj.study.goals import (
    Goal,
    find_objective,
    make_goal,
    rate_by_chance,
    targets_to_try,
    usual_target,
)
from gobj.study.measures import count_rates, draw_columns
from gobj.study.methods import Fitted, Method, Work, make_stage, trained_methods
from gobj.study.options import Options
from gobj.study.progress import Progress
from gobj.study.verdict import Verdict, best_of, judge

WORTHWHILE = 0.25  # found of the positives (NPV: negatives), or the target is not proposed
SHORT = 0.02  # of what a logistic regression explains: how much less a converged model may explain


class Study(NamedTuple):
    """What a job found.

    Attributes:
        data: The table.
        options: What was asked.
        goals: The goal of each label.
        reasons: How each target was chosen.
        reaches: How far the constrained rate goes on validation rows, for each label.
        outcomes: The rows of the table.
        verdicts: The answer for each label.
        final: The model to take away.
        overlap: Ratio of test to training rows.
        excess: Cross entropy of the linear model above that of logistic regression, and how much is
            allowed; None where no logistic regression was fitted.
    """

    data: Data
    options: Options
    goals: list[Goal]
    reasons: list[str]
    reaches: list[float]
    outcomes: list[Outcome]
    verdicts: list[Verdict]
    final: Final
    overlap: float
    excess: tuple[float, float] | None

    @property
    def is_short(self) -> bool:
        """Tell whether the linear models stopped short of a logistic regression."""
        return self.excess is not None and self.excess[0] > self.excess[1]


def run(data: Data, options: Options, progress: Progress) -> Study:
    """Run the job on a table."""
    stage = make_stage(data, data.plan.splits)
    every = options.methods == "all" and data.ranks.number == 1
    methods = [*(baseline_methods(data) if every else []), *trained_methods(options)]
    progress.expect(sum(method.cost * len(method.settings) for method in methods))
    work = Work(stage, (), options, progress)
    tried = {
        method.name: fit_settings(method, work) for method in methods if not method.is_objective
    }
    chosen = [_choose_goal(work, label, list(tried.values())) for label in range(len(data.labels))]
    goals = [goal for goal, _ in chosen]
    work = work._replace(goals=goals)
    for method in methods:
        if method.is_objective:
            tried[method.name] = fit_settings(method, work)
    outcomes = [measure(method, tried[method.name], work) for method in methods]
    ratio = overlap(data.plan.splits)
    models = [outcome.models for outcome in outcomes]
    reaches = [_reach(work, goal, label, models) for label, goal in enumerate(goals)]
    verdicts = [
        judge(goal, outcomes, label, ratio, reach)
        for label, (goal, reach) in enumerate(zip(goals, reaches, strict=True))
    ]
    final = finish(best_of(outcomes, goals[0]), work)
    return Study(
        data,
        options,
        goals,
        [reason for _, reason in chosen],
        reaches,
        outcomes,
        verdicts,
        final,
        ratio,
        _excess(data, methods, outcomes, tried),
    )


def _choose_goal(work: Work, label: int, tried: list[list[Fitted]]) -> tuple[Goal, str]:
    """Return the goal of a label and how its target was chosen."""
    options, share = work.options, work.stage.data.labels[label].share
    objective = find_objective(options.objective)
    if options.targets:
        target = options.targets[label if len(options.targets) > 1 else 0]
        return make_goal(objective.name, target), "the one asked for"
    usual, others = usual_target(objective), targets_to_try(objective, share)[::-1]
    goal = Goal(objective, usual if usual in others else others[0])
    every = [fitted for of_method in tried for fitted in of_method]
    reach = _reach(work, goal, label, every)
    if objective.constrained in ("precision", "npv"):
        by_chance = rate_by_chance(objective, share)
        lowest = min(others)
        easier = [by_chance + (lowest - by_chance) * step for step in (0.8, 0.6, 0.4, 0.2)]
        harder = [target for target in others if target < goal.target]
        for target in [goal.target, *harder, *(float(f"{target:.2g}") for target in easier)]:
            found = goal._replace(target=target)
            if found.is_met(reach) and _best_value(work, found, label, every) >= WORTHWHILE:
                return found, f"the hardest up to {goal.target:g} at which a quarter is found"
    return goal, "the usual one"


def _best_value(work: Work, goal: Goal, label: int, tried: Sequence[Fitted]) -> float:
    """Return the optimized rate of the best row on validation rows, mean over splits."""
    values = []
    for scores, truth, weights in _on_validation(work, label, tried):
        point = gobj.fit_threshold(scores, truth, goal.problem, weights=weights)
        rate = count_rates(point.threshold, scores, truth, weights)[goal.objective.optimized]
        values.append(torch.where(point.feasible, rate, goal.worst).mean().item())
    return max(values)


def _reach(work: Work, goal: Goal, label: int, tried: Sequence[Fitted]) -> float:
    """Return how far the constrained rate goes on validation rows, in the median over splits."""
    reaches = [
        goal.reach(draw_columns(*sample)).median().item()
        for sample in _on_validation(work, label, tried)
    ]
    return max(reaches, key=lambda rate: rate * goal.way)


def _on_validation(
    work: Work, label: int, tried: Sequence[Fitted]
) -> Iterator[tuple[Tensor, Tensor, Tensor | None]]:
    """Return scores, truth and weights of a label on validation rows, a column for each split."""
    data, rows = work.stage.data, work.stage.rows.validation
    columns = slice(label, None, len(data.labels))
    truth, weights = data.side_by_side(data.truth, rows)[:, columns], data.weights_of(rows)
    own = None if weights is None else weights[:, columns]
    for fitted in tried:
        yield fitted.validation[:, columns], truth, own


def _excess(
    data: Data,
    methods: Sequence[Method],
    outcomes: Sequence[Outcome],
    tried: dict[str, list[Fitted]],
) -> tuple[float, float] | None:
    """Compare the cross entropy of linear models with that of logistic regression."""
    names = [method.name for method in methods]
    if "logistic regression" not in names:
        return None
    converged = outcomes[names.index("logistic regression")].models.train_loss
    linear = min(fitted.train_loss for fitted in tried["BCE, linear"])
    shares = torch.tensor([label.share for label in data.labels], dtype=torch.float64)
    nothing = torch.nn.functional.binary_cross_entropy(shares, shares).item()
    return linear - converged, max(SHORT * (nothing - converged), 0.001)
