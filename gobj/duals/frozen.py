"""The rule that moves nothing."""

from dataclasses import dataclass
from typing import NamedTuple

from torch import Tensor

from gobj._attached import evaluation_point
from gobj._batch import Batch
from gobj._checks import Number
from gobj._forms import Problem
from gobj._lagrangian import known_elements
from gobj._state import DualState
from gobj._surrogates import Surrogate
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
        self, batch: Batch, problem: Problem, state: DualState, surrogate: Surrogate, prior: Tensor
    ) -> tuple[Tensor, Number, DualState]:
        """Return the Lagrangian example by example, its constant, and the state that came."""
        form = problem.lagrangian(state.multiplier)
        distance = evaluation_point(batch.scores) - state.threshold
        elements = known_elements(batch, form, state.threshold, surrogate, distance)
        return elements, form.constant(prior), state
