"""Precision at a recall."""

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
def precision_at_recall(target: Number) -> Problem:
    r"""Pose: the fewest false alarms while recall stays at or above a target.

    .. math:: \min FP \quad\text{s.t.}\quad FN - (1 - r)\,P \le 0

    Args:
        target: Recall :math:`r`, {open_unit}

    {posed}

    Example:
        >>> import gobj
        >>> gobj.precision_at_recall(0.75).cost == gobj.LinearForm(false_positive=1.0)
        True

    {paper}
    """
    check_target("precision_at_recall", "target", target)
    held = LinearForm(false_negative=1.0, positives=target - 1)
    return Problem(LinearForm(false_positive=1.0), held)


@documented
def precision_at_recall_loss(
    logits: Tensor,
    labels: Tensor,
    state: DualState,
    *,
    target_recall: Number,
    weights: Number | None = None,
    surrogate: Surrogate | None = None,
    rule: DualRule = DEFAULT_RULE,
    label_priors: Number | None = None,
    reduction: Reduction = "mean",
) -> tuple[Tensor, DualState]:
    r"""Maximise precision while recall stays at or above a target.

    .. math:: \min FP \quad\text{s.t.}\quad FN - (1 - r)\,P \le 0

    Args:
        {batch}
        target_recall: Recall :math:`r`, {open_unit}
        {options}

    {outcome}

    Example:
        >>> import gobj, torch
        >>> logits, labels = torch.tensor([2.0, 1.0, -1.0]), torch.tensor([1, 0, 0])
        >>> loss, state = gobj.precision_at_recall_loss(
        ...     logits, labels, gobj.init_state(), target_recall=0.75
        ... )
        >>> loss.isfinite(), state.threshold.shape
        (tensor(True), torch.Size([]))

    {paper}
    """
    target = ("target_recall", target_recall)
    options = (weights, surrogate, rule, label_priors, reduction)
    return constrained_loss(precision_at_recall, target, logits, labels, state, *options)


class PrecisionAtRecallLoss(DualLoss):
    """Maximise precision while recall stays at or above a target.

    Module of :func:`gobj.precision_at_recall_loss`, drop-in for ``torch.nn.BCEWithLogitsLoss``;
    :class:`gobj.nn.DualLoss` says what its other arguments mean.
    """

    def __init__(
        self, target_recall: Number, num_labels: int = 1, **options: Unpack[Options]
    ) -> None:
        """Make the state; see the class."""
        target = ("target_recall", target_recall)
        super().__init__(precision_at_recall, target, num_labels, **options)
