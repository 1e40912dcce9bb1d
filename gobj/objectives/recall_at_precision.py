"""Recall at a precision."""

from typing import Unpack

from torch import Tensor

from gobj._checks import Number, Reduction, check_target
from gobj._documentation import documented
from gobj._forms import LinearForm, Problem
from gobj._module import DualLoss
from gobj._state import DualState
from gobj._stateful import Options
from gobj._surrogates import Surrogate
from gobj.duals._rule import DualRule
from gobj.objectives._constrained import constrained_loss
from gobj.objectives._initial import DEFAULT_RULE


@documented("Precision :math:`a`")
def recall_at_precision(target: Number) -> Problem:
    r"""Pose: the fewest missed positives while precision stays at or above a target.

    .. math:: \min FN \quad\text{s.t.}\quad a\,FP + (1 - a)(FN - P) \le 0
    """
    check_target("recall_at_precision", "target", target)
    held = LinearForm(false_negative=1 - target, false_positive=target, positives=target - 1)
    return Problem(LinearForm(false_negative=1.0), held)


@documented("Precision :math:`a`")
def recall_at_precision_loss(
    logits: Tensor,
    labels: Tensor,
    state: DualState,
    *,
    target_precision: Number,
    weights: Number | None = None,
    surrogate: Surrogate | None = None,
    rule: DualRule = DEFAULT_RULE,
    label_priors: Number | None = None,
    reduction: Reduction = "mean",
) -> tuple[Tensor, DualState]:
    r"""Maximise recall while precision stays at or above a target.

    .. math:: \min FN \quad\text{s.t.}\quad a\,FP + (1 - a)(FN - P) \le 0
    """
    batch, target = (logits, labels, weights, label_priors), ("target_precision", target_precision)
    return constrained_loss(recall_at_precision, target, batch, state, surrogate, rule, reduction)


class RecallAtPrecisionLoss(DualLoss):
    """Module of :func:`gobj.recall_at_precision_loss`; arguments as :class:`gobj.nn.DualLoss`."""

    def __init__(
        self, target_precision: Number, num_labels: int = 1, **options: Unpack[Options]
    ) -> None:
        """Make the state."""
        target = ("target_precision", target_precision)
        super().__init__(recall_at_precision, target, num_labels, **options)
