"""False positive rate at a true positive rate."""

from typing import Unpack

from torch import Tensor

from gobj._checks import Number, Reduction, check_target
from gobj._documentation import documented
from gobj._forms import Problem
from gobj._module import DualLoss, Options
from gobj._state import DualState
from gobj._surrogates import Surrogate
from gobj.duals._rule import DualRule
from gobj.objectives._constrained import DEFAULT_RULE, constrained_loss
from gobj.objectives.precision_at_recall import precision_at_recall


@documented
def fpr_at_tpr(target: Number) -> Problem:
    r"""Pose: the fewest false alarms while the true positive rate stays at or above a target.

    .. math:: \min FP \quad\text{s.t.}\quad FN - (1 - t)\,P \le 0

    This is the problem of :func:`precision_at_recall`: at a given true positive rate, which is
    recall, the fewest false alarms give the lowest false positive rate and the highest precision.

    Args:
        target: True positive rate :math:`t`, {open_unit}

    {posed}

    Example:
        >>> import gobj
        >>> gobj.fpr_at_tpr(0.75).cost == gobj.LinearForm(false_positive=1.0)
        True

    {paper}
    """
    check_target("fpr_at_tpr", "target", target)
    return precision_at_recall(target)


@documented
def fpr_at_tpr_loss(
    logits: Tensor,
    labels: Tensor,
    state: DualState,
    *,
    target_tpr: Number,
    weights: Number | None = None,
    surrogate: Surrogate | None = None,
    rule: DualRule = DEFAULT_RULE,
    label_priors: Number | None = None,
    reduction: Reduction = "mean",
) -> tuple[Tensor, DualState]:
    r"""Minimise the false positive rate while the true positive rate stays at or above a target.

    .. math:: \min FP \quad\text{s.t.}\quad FN - (1 - t)\,P \le 0

    Args:
        {batch}
        target_tpr: True positive rate :math:`t`, {open_unit}
        {options}

    {outcome}

    Example:
        >>> import gobj, torch
        >>> logits, labels = torch.tensor([2.0, 1.0, -1.0]), torch.tensor([1, 0, 0])
        >>> loss, state = gobj.fpr_at_tpr_loss(
        ...     logits, labels, gobj.init_state(), target_tpr=0.75
        ... )
        >>> loss.isfinite(), state.threshold.shape
        (tensor(True), torch.Size([]))

    {paper}
    """
    target = ("target_tpr", target_tpr)
    options = (weights, surrogate, rule, label_priors, reduction)
    return constrained_loss(fpr_at_tpr, target, logits, labels, state, *options)


class FPRAtTPRLoss(DualLoss):
    """Minimise the false positive rate while the true positive rate stays at or above a target.

    Module of :func:`gobj.fpr_at_tpr_loss`, drop-in for ``torch.nn.BCEWithLogitsLoss``;
    :class:`gobj.nn.DualLoss` says what its other arguments mean.
    """

    def __init__(self, target_tpr: Number, num_labels: int = 1, **options: Unpack[Options]) -> None:
        """Make the state; see the class."""
        target = ("target_tpr", target_tpr)
        super().__init__(fpr_at_tpr, target, num_labels, **options)
