"""The question of a study: an objective and its target."""

from typing import NamedTuple

import torch
from torch import Tensor

import gobj
from gobj._checks import check_number
from gobj.metrics._curve import Curve
from gobj.metrics._reading import LOW_IS_GOOD, OBJECTIVES, Objective, operating_point, rates
from gobj.study.refusal import require

ACRONYMS = ("fpr", "npv", "tpr")
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

    def is_met(self, rate: float) -> bool:
        """Tell whether a rate meets the target."""
        return rate * self.way >= self.target * self.way


def spell(name: str) -> str:
    """Write the name of a rate or objective as a reader would."""
    words = "share_flagged" if name == "flagged" else name
    return " ".join(word.upper() if word in ACRONYMS else word for word in words.split("_"))


def make_goal(name: str, target: float | None = None) -> Goal:
    """Return the goal of a named objective; without a target 0.9, or 0.1 of what has to stay low.

    Raises:
        ValueError: If there is no such objective or the target is outside (0, 1).
    """
    known = {objective.name: objective for objective in OBJECTIVES}
    require(name in known, "--objective", f"be one of {', '.join(known)}", repr(name))
    if target is None:
        target = 0.1 if known[name].constrained in LOW_IS_GOOD else 0.9
    check_number("--target", target, low=0, high=1, function="gobj")
    return Goal(known[name], target)
