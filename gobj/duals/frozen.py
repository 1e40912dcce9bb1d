"""The rule that moves nothing."""

from dataclasses import dataclass
from typing import NamedTuple

from torch import Tensor

from gobj._checks import Number
from gobj._forms import Problem
from gobj._points import OperatingPoints
from gobj._state import DualState
from gobj.duals._rule import DualRule


class NoStatistics(NamedTuple):
    """A rule without memory of its own."""


@dataclass(frozen=True)
class FrozenDual(DualRule):
    """Leave the state as it is: evaluation, or duals that the user moves.

    The loss is exactly the mean over labels of ``gobj.lagrangian`` at the state's multiplier and
    threshold. It accepts the state of any rule.

    Example:
        >>> import gobj, torch
        >>> state = gobj.init_state()._replace(multiplier=torch.tensor(2.0))
        >>> logits, labels = torch.tensor([1.0, -1.0]), torch.tensor([1, 0])
        >>> loss, after = gobj.tpr_at_fpr_loss(
        ...     logits, labels, state, target_fpr=0.1, rule=gobj.FrozenDual()
        ... )
        >>> after is state
        True
    """

    def init(self, like: Tensor) -> NoStatistics:  # noqa: ARG002
        """Return nothing to remember."""
        return NoStatistics()

    def step(
        self, points: OperatingPoints, problem: Problem, state: DualState, prior: Tensor
    ) -> tuple[Tensor, Number, DualState]:
        """Return the Lagrangian example by example, its constant, and the state that came."""
        form = problem.lagrangian(state.multiplier)
        return points.elements(form), form.constant(prior), state
