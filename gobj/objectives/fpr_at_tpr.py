"""False positive rate at a true positive rate."""

from typing import Unpack

from torch import Tensor

from gobj._checks import Number, Reduction, check_target
from gobj._documentation import documented
from gobj._forms import Problem
from gobj._module import DualLoss
from gobj._state import DualState
from gobj._stateful import Options
from gobj._surrogates import Surrogate
from gobj.duals._rule import DualRule
from gobj.objectives._constrained import constrained_loss
from gobj.objectives._initial import DEFAULT_RULE
from gobj.objectives.precision_at_recall import precision_at_recall


@documented("True positive rate :math:`t`")
def fpr_at_tpr(target: Number) -> Problem:
    r"""Pose: the fewest false alarms at a true positive rate or better.

    .. math:: \min FP \quad\text{s.t.}\quad FN - (1 - t)\,P \le 0

    This is the problem of :func:`precision_at_recall`: at a given true positive rate, which is
    recall, the fewest false alarms give the lowest false positive rate and the highest precision.
    """
    check_target("fpr_at_tpr", "target", target)
    return precision_at_recall(target)


@documented("True positive rate :math:`t`")
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
    r"""Minimise the false positive rate at a true positive rate or better.

    .. math:: \min FP \quad\text{s.t.}\quad FN - (1 - t)\,P \le 0
    """
    batch, target = (logits, labels, weights, label_priors), ("target_tpr", target_tpr)
    return constrained_loss(fpr_at_tpr, target, batch, state, surrogate, rule, reduction)


class FPRAtTPRLoss(DualLoss):
    """Module of :func:`gobj.fpr_at_tpr_loss`; arguments as :class:`gobj.nn.DualLoss`."""

    def __init__(self, target_tpr: Number, num_labels: int = 1, **options: Unpack[Options]) -> None:
        """Make the state."""
        target = ("target_tpr", target_tpr)
        super().__init__(fpr_at_tpr, target, num_labels, **options)
