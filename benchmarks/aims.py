"""What losses with a state are for: each with its measure and, for a table, its target."""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import torch
from sklearn.metrics import auc, average_precision_score, roc_curve  # type: ignore[import-untyped]
from torch import Tensor

import gobj
from benchmarks.comparing import Measure
from gobj.metrics._reading import OBJECTIVES
from gobj.study.goals import Goal, make_goal
from gobj.study.measures import draw_curve
from gobj.study.splits import Part, Splits
from gobj.study.training import cross_entropy_loss, score, train

ANCHORS = 8


class Aim(NamedTuple):
    """A loss with a state, and what it is for.

    Attributes:
        loss: Called with logits, labels and a state.
        measure: Of a part and its scores, for each seed; higher is better.
        goal: Objective and target; None for an area, which has anchors.
    """

    loss: Callable[..., Any]
    measure: Measure
    goal: Goal | None

    def start(self, seeds: int, rule: gobj.DualRule | None = None) -> Any:
        """Return the first state of a rule, one label for each seed."""
        return gobj.init_state((seeds,), anchors=None if self.goal else ANCHORS, rule=rule)

    def step(self, rule: gobj.DualRule | None = None) -> Callable[..., Any]:
        """Return the loss under a rule, as models are trained on."""

        def step(logits: Tensor, labels: Tensor, weights: Tensor | None, state: Any) -> Any:
            return self.loss(logits, labels, state, weights=weights, rule=rule)

        return step


def average_precision(labels: np.ndarray, scores: np.ndarray) -> float:
    """Return the average precision."""
    return float(average_precision_score(labels, scores))


def roc_area(labels: np.ndarray, scores: np.ndarray, most: float = 1.0) -> float:
    """Return the mean true positive rate over false positive rates up to the given one."""
    fpr, tpr, _ = roc_curve(labels, scores, drop_intermediate=False)
    if most == 1.0:
        return float(auc(fpr, tpr))
    inside = fpr < most
    ends = np.append(fpr[inside], most), np.append(tpr[inside], np.interp(most, fpr, tpr))
    return float(auc(*ends)) / most


def of_area(metric: Callable[..., float], part: Part, scores: Tensor) -> Tensor:
    """Return an area for each seed."""
    pairs = zip(part.labels.numpy(), scores.T.numpy(), strict=True)
    return torch.tensor([metric(labels, row) for labels, row in pairs])


def of_point(goal: Goal, part: Part, scores: Tensor) -> Tensor:
    """Return what an objective reaches at its target, the best over thresholds, for each seed."""
    return goal.sign * goal.best(draw_curve(scores, part))[0]


def areas() -> dict[str, Aim]:
    """Return the areas, by name."""
    found = {
        "average_precision": Aim(
            gobj.average_precision_loss, partial(of_area, average_precision), None
        ),
        "roc_auc": Aim(gobj.roc_auc_loss, partial(of_area, roc_area), None),
    }
    for most in (0.05, 0.1):
        loss = partial(gobj.roc_auc_loss, fpr_range=(0.0, most))
        metric = partial(of_area, partial(roc_area, most=most))
        found[f"roc_auc_to_{most}"] = Aim(loss, metric, None)
    return found


def point(name: str, target: float) -> Aim:
    """Return the aim of a named objective."""
    goal = make_goal(name, target)
    loss = partial(vars(gobj)[f"{name}_loss"], **{goal.objective.argument: target})
    return Aim(loss, partial(of_point, goal), goal)


def points(splits: Splits) -> dict[str, Aim]:
    """Return the six objectives by name, with targets that suit a table.

    The precision is the one that a linear model reaches at half of the recall on validation rows
    after 500 steps of cross entropy, the negative predictive value leaves half as many missed as
    there are positives, and the budget is the share of positives.
    """
    layers, _ = train(splits.train, cross_entropy_loss, None)
    scores = score(layers, splits.validation.features)
    reached = of_point(make_goal("precision_at_recall", 0.5), splits.validation, scores).mean()
    share = splits.train.labels.mean()
    targets = {
        "recall_at_precision": round(reached.clamp(0.02, 0.98).item(), 2),
        "precision_at_recall": 0.8,
        "tpr_at_fpr": 0.05,
        "fpr_at_tpr": 0.9,
        "specificity_at_npv": round((1 - share / 2).item(), 4),
        "recall_at_budget": round(share.item(), 4),
    }
    return {
        objective.name: point(objective.name, targets[objective.name]) for objective in OBJECTIVES
    }
