"""True positive rate at a false positive rate."""

from typing import Unpack

from torch import Tensor

from gobj._checks import Number, Reduction, check_target
from gobj._documentation import documented
from gobj._forms import LinearForm, Problem
from gobj._module import DualLoss, Options
from gobj._state import DualState
from gobj._surrogates import Surrogate
from gobj.duals._rule import DualRule
from gobj.objectives._constrained import DEFAULT_RULE, constrained_loss


@documented
def tpr_at_fpr(target: Number) -> Problem:
    r"""Pose: the fewest missed positives while the false positive rate stays at or below a target.

    .. math:: \min FN \quad\text{s.t.}\quad FP - f\,N \le 0

    Args:
        target: False positive rate :math:`f`, {open_unit}

    {posed}

    Example:
        >>> import gobj
        >>> gobj.tpr_at_fpr(0.25).cost == gobj.LinearForm(false_negative=1.0)
        True

    {paper}
    """
    check_target("tpr_at_fpr", "target", target)
    held = LinearForm(false_positive=1.0, negatives=-target)
    return Problem(LinearForm(false_negative=1.0), held)


@documented
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
    r"""Maximise the true positive rate while the false positive rate stays at or below a target.

    .. math:: \min FN \quad\text{s.t.}\quad FP - f\,N \le 0

    Args:
        {batch}
        target_fpr: False positive rate :math:`f`, {open_unit}
        {options}

    {outcome}

    Example:
        >>> import gobj, torch
        >>> logits, labels = torch.tensor([2.0, 1.0, -1.0]), torch.tensor([1, 0, 0])
        >>> loss, state = gobj.tpr_at_fpr_loss(
        ...     logits, labels, gobj.init_state(), target_fpr=0.25
        ... )
        >>> loss.isfinite(), state.threshold.shape
        (tensor(True), torch.Size([]))

    {paper}
    """
    target = ("target_fpr", target_fpr)
    options = (weights, surrogate, rule, label_priors, reduction)
    return constrained_loss(tpr_at_fpr, target, logits, labels, state, *options)


class TPRAtFPRLoss(DualLoss):
    """Maximise the true positive rate while the false positive rate stays at or below a target.

    Module of :func:`gobj.tpr_at_fpr_loss`, drop-in for ``torch.nn.BCEWithLogitsLoss``;
    :class:`gobj.nn.DualLoss` says what its other arguments mean.
    """

    def __init__(self, target_fpr: Number, num_labels: int = 1, **options: Unpack[Options]) -> None:
        """Make the state; see the class."""
        target = ("target_fpr", target_fpr)
        super().__init__(tpr_at_fpr, target, num_labels, **options)
