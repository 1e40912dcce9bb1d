"""True positive rate at a false positive rate."""

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


@documented("False positive rate :math:`f`")
def tpr_at_fpr(target: Number) -> Problem:
    r"""Pose: the fewest missed positives at a bounded false positive rate.

    .. math:: \min FN \quad\text{s.t.}\quad FP - f\,N \le 0
    """
    check_target("tpr_at_fpr", "target", target)
    held = LinearForm(false_positive=1.0, negatives=-target)
    return Problem(LinearForm(false_negative=1.0), held)


@documented("False positive rate :math:`f`")
def tpr_at_fpr_loss(
    logits: Tensor,
    labels: Tensor,
    state: DualState,
    *,
    target_fpr: Number,
    weights: Number | None = None,
    surrogate: Surrogate | None = None,
    rule: DualRule = DEFAULT_RULE,
    label_priors: Number | None = None,
    reduction: Reduction = "mean",
) -> tuple[Tensor, DualState]:
    r"""Maximise the true positive rate at a bounded false positive rate.

    .. math:: \min FN \quad\text{s.t.}\quad FP - f\,N \le 0
    """
    batch, target = (logits, labels, weights, label_priors), ("target_fpr", target_fpr)
    return constrained_loss(tpr_at_fpr, target, batch, state, surrogate, rule, reduction)


class TPRAtFPRLoss(DualLoss):
    """Module of :func:`gobj.tpr_at_fpr_loss`; arguments as :class:`gobj.nn.DualLoss`."""

    def __init__(self, target_fpr: Number, num_labels: int = 1, **options: Unpack[Options]) -> None:
        """Make the state."""
        target = ("target_fpr", target_fpr)
        super().__init__(tpr_at_fpr, target, num_labels, **options)
