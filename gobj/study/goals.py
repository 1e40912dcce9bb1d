"""The question of a study: an objective and its target."""

import math
from typing import NamedTuple

import torch
from torch import Tensor

import gobj
from gobj._checks import check_number
from gobj.metrics._curve import Curve
from gobj.metrics._reading import LOW_IS_GOOD, OBJECTIVES, Objective, operating_point, rates
from gobj.study.refusal import require

ACRONYMS = ("fpr", "npv", "tpr")
EASY = 0.45  # a rate that chance reaches, below which the usual targets ask for something
FEWEST_HITS = 5  # examples on the right side, below which a ratio is met by luck


class Goal(NamedTuple):
    """An objective and its target.

    Attributes:
        objective: Which rate is optimized while which is constrained.
        target: In (0, 1).
    """

    objective: Objective
    target: float

    @property
    def title(self) -> str:
        """Say the goal, such as ``recall at precision 0.9``."""
        return f"{spell(self.objective.name)} {self.target:g}"

    @property
    def way(self) -> int:
        """Return +1 where the rate must stay at or above the target, -1 where below."""
        return -1 if self.objective.constrained in LOW_IS_GOOD else 1

    @property
    def condition(self) -> str:
        """Say the constraint, such as ``precision >= 0.9``."""
        sign = ">=" if self.way > 0 else "<="
        return f"{spell(self.objective.constrained)} {sign} {self.target:g}"

    @property
    def sign(self) -> int:
        """Return +1 where a high value is good, -1 where a low one is."""
        return -1 if self.objective.optimized in LOW_IS_GOOD else 1

    def loss(
        self, logits: Tensor, labels: Tensor, weights: Tensor | None, state: gobj.DualState
    ) -> tuple[Tensor, gobj.DualState]:
        """Return the objective's loss, the mean over labels, and its next state."""
        function = getattr(gobj, f"{self.objective.name}_loss")
        options = {self.objective.argument: self.target, "weights": weights}
        result: tuple[Tensor, gobj.DualState] = function(logits, labels, state, **options)
        return result

    @property
    def problem(self) -> gobj.Problem:
        """Return the objective as the pair of linear forms that thresholds are chosen by."""
        return problem_of(self.objective, self.target)

    @property
    def worst(self) -> float:
        """Return the value that counts where no threshold meets the target."""
        return 0.0 if self.sign > 0 else 1.0

    def best(self, curve: Curve) -> tuple[Tensor, Tensor]:
        """Return the best value on a curve that meets the target, and its threshold, per label."""
        point = operating_point(curve, self.objective, self.target)
        return point[self.objective.name], point[f"{self.objective.name}_threshold"]

    def reach(self, curve: Curve) -> Tensor:
        """Return how far the constrained rate goes on a curve, per label.

        One lucky example makes a perfect precision or NPV: of use are thresholds with some examples
        on the right side.
        """
        negatives = curve.false_positives[..., -1:] - curve.false_positives
        hits = {"precision": curve.true_positives, "npv": negatives}.get(self.objective.constrained)
        rate = rates(curve)[self.objective.constrained] * self.way
        useful = rate if hits is None else torch.where(hits >= FEWEST_HITS, rate, 0)
        return useful.amax(-1) * self.way

    def near(self, reach: float, share: float) -> float | None:
        """Return a target a little below how far a rate goes, if it asks for more than chance."""
        target = math.floor(95 * reach) / 100
        fine = self.way > 0 and rate_by_chance(self.objective, share) < target < 1
        return target if fine else None

    def is_met(self, rate: float) -> bool:
        """Tell whether a rate meets the target."""
        return rate * self.way >= self.target * self.way


def spell(name: str) -> str:
    """Write the name of a rate or objective as a reader would."""
    words = "share_flagged" if name == "flagged" else name
    return " ".join(word.upper() if word in ACRONYMS else word for word in words.split("_"))


def problem_of(objective: Objective, target: float | Tensor) -> gobj.Problem:
    """Return an objective as a problem; a tensor has a target for each label."""
    problem: gobj.Problem = getattr(gobj, objective.name)(target)
    return problem


def find_objective(name: str) -> Objective:
    """Return the objective of a name.

    Raises:
        ValueError: If there is none.
    """
    known = {objective.name: objective for objective in OBJECTIVES}
    require(name in known, "--objective", f"be one of {', '.join(known)}", repr(name))
    return known[name]


def usual_target(objective: Objective) -> float:
    """Return the target that is taken where none is given: 0.9, or 0.1 of what has to stay low."""
    return 0.1 if objective.constrained in LOW_IS_GOOD else 0.9


def rate_by_chance(objective: Objective, share: float) -> float:
    """Return what the constrained rate is for any model, where a share of the rows is positive."""
    return {"precision": share, "npv": 1 - share}.get(objective.constrained, 0.0)


def targets_to_try(objective: Objective, share: float) -> list[float]:
    """Return six targets from easy to hard, where a share of the rows is positive.

    A precision below the share of positives, or an NPV below that of negatives, is met by any
    model: their targets go from half of the way to 1 upwards.
    """
    fixed = {
        "recall": [0.5, 0.7, 0.8, 0.9, 0.95, 0.99],
        "fpr": [0.2, 0.1, 0.05, 0.02, 0.01, 0.001],
        "flagged": [0.3, 0.2, 0.1, 0.05, 0.02, 0.01],
    }
    if objective.constrained in fixed:
        return fixed[objective.constrained]
    by_chance = rate_by_chance(objective, share)
    if by_chance < EASY:
        return [0.5, 0.6, 0.7, 0.8, 0.9, 0.95]
    steps = (0.5, 0.4, 0.3, 0.2, 0.1, 0.05)
    return [round(1 - float(f"{(1 - by_chance) * step:.2g}"), 12) for step in steps]


def make_goal(name: str, target: float | None = None) -> Goal:
    """Return the goal of a named objective; without a target 0.9, or 0.1 of what has to stay low.

    Raises:
        ValueError: If there is no such objective or the target is outside (0, 1).
    """
    objective = find_objective(name)
    target = usual_target(objective) if target is None else target
    check_number("--target", target, low=0, high=1, function="gobj")
    return Goal(objective, target)
