"""Projected dual ascent."""

from dataclasses import dataclass
from typing import Literal, NamedTuple

from torch import Tensor

from gobj._checks import Number, check_number, kind, require
from gobj._forms import Problem
from gobj._points import OperatingPoints
from gobj._state import DualState
from gobj.duals._rule import DualRule


class AscentStatistics(NamedTuple):
    """The violation of the last batch, which the proportional term looks back at."""

    violation: Tensor


@dataclass(frozen=True)
class DualAscent(DualRule):
    r"""Raise the multiplier while the constraint is violated, lower it while there is slack.

    .. math:: \lambda \leftarrow \operatorname{clip}\bigl(\lambda
        + \eta\,(v_t + \kappa\,(v_t - v_{t-1})),\ 0,\ \text{cap}\bigr)

    The loss is exactly the Lagrangian at the incoming multiplier and threshold. The projection acts
    on the multiplier itself, so that nothing winds up behind it: one violated batch after any
    number of satisfied ones moves it. The threshold descends the Lagrangian by ``threshold_rate``
    per step; at the default of 0 it stays, and the model's own bias does the work.

    Args:
        rate: Step size :math:`\eta`, multiplier per unit of violation (a share of the batch) and
            step, above 0.
        signal: ``"exact"`` counts the violation, ``"surrogate"`` takes its upper bound, which is
            the gradient of the Lagrangian in the multiplier; of an area that is one bound for each
            anchor, and takes as long.
        proportional: Weight :math:`\kappa` of the change of the violation, at or above 0; damps
            oscillation.
        cap: Largest multiplier, above 0.
        threshold_rate: Step size of the threshold, at or above 0.

    Raises:
        ValueError: If an argument is out of range.

    Example:
        >>> import gobj, torch
        >>> rule = gobj.DualAscent(rate=0.5)
        >>> state = gobj.init_state(rule=rule)
        >>> logits, labels = torch.tensor([3.0, 2.0, 1.0, -1.0]), torch.tensor([1, 0, 0, 0])
        >>> _, state = gobj.tpr_at_fpr_loss(logits, labels, state, target_fpr=0.1, rule=rule)
        >>> state.multiplier  # two of three negatives flagged: 1 + 0.5 * (2 / 4 - 0.1 * 3 / 4)
        tensor(1.2125)

    References:
        Sohrabi et al., `On PI Controllers for Updating Lagrange Multipliers in Constrained
        Optimization <https://arxiv.org/abs/2406.04558>`_, ICML 2024.
    """

    rate: float = 0.1
    signal: Literal["exact", "surrogate"] = "exact"
    proportional: float = 0.0
    cap: float = 1e3
    threshold_rate: float = 0.0

    def __post_init__(self) -> None:
        """Check the arguments."""
        check_number("DualAscent", "rate", self.rate, low=0)
        fine = self.signal in ("exact", "surrogate")
        require(fine, "DualAscent", "signal", "be 'exact' or 'surrogate'", kind(self.signal))
        check_number("DualAscent", "proportional", self.proportional, low=0, closed=True)
        check_number("DualAscent", "cap", self.cap, low=0)
        check_number("DualAscent", "threshold_rate", self.threshold_rate, low=0, closed=True)

    def init(self, like: Tensor) -> AscentStatistics:
        """Return a last violation of zero."""
        return AscentStatistics(like.new_zeros(like.shape))

    def step(
        self, points: OperatingPoints, problem: Problem, state: DualState, prior: Tensor
    ) -> tuple[Tensor, Number, DualState]:
        """Return the Lagrangian example by example, its constant, and the state one step on."""
        form, held = problem.lagrangian(state.multiplier), problem.constraint
        if self.signal == "exact":
            violation = held.value(points.counted(), prior)
        else:
            violation = points.bounded(held) + held.constant(prior)
        change = violation + self.proportional * (violation - state.statistics.violation)
        multiplier = (state.multiplier + self.rate * change).clamp(0, self.cap)
        threshold = state.threshold
        if self.threshold_rate:
            threshold = threshold - self.threshold_rate * points.climb(form)
        after = DualState(multiplier, threshold, AscentStatistics(violation))
        return points.elements(form), form.constant(prior), after
