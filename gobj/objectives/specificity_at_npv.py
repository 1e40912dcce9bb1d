"""Specificity at a negative predictive value."""

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
def specificity_at_npv(target: Number) -> Problem:
    r"""Pose: the fewest false alarms while the negative predictive value stays at or above a target.

    .. math:: \min FP \quad\text{s.t.}\quad v\,FN + (1 - v)(FP - N) \le 0

    Args:
        target: Negative predictive value :math:`v`, {open_unit}

    {posed}

    Example:
        >>> import gobj
        >>> gobj.specificity_at_npv(0.75).cost == gobj.LinearForm(false_positive=1.0)
        True

    {paper}
    """
    check_target("specificity_at_npv", "target", target)
    held = LinearForm(false_negative=target, false_positive=1 - target, negatives=target - 1)
    return Problem(LinearForm(false_positive=1.0), held)


@documented
def specificity_at_npv_loss(
    logits: Tensor,
    labels: Tensor,
    state: DualState,
    *,
    target_npv: Number,
    weights: Number | None = None,
    surrogate: Surrogate | None = None,
    rule: DualRule = DEFAULT_RULE,
    label_priors: Number | None = None,
    reduction: Reduction = "mean",
) -> tuple[Tensor, DualState]:
    r"""Maximise specificity while the negative predictive value stays at or above a target.

    .. math:: \min FP \quad\text{s.t.}\quad v\,FN + (1 - v)(FP - N) \le 0

    Args:
        {batch}
        target_npv: Negative predictive value :math:`v`, {open_unit}
        {options}

    {outcome}

    Example:
        >>> import gobj, torch
        >>> logits, labels = torch.tensor([2.0, 1.0, -1.0]), torch.tensor([1, 0, 0])
        >>> loss, state = gobj.specificity_at_npv_loss(
        ...     logits, labels, gobj.init_state(), target_npv=0.75
        ... )
        >>> loss.isfinite(), state.threshold.shape
        (tensor(True), torch.Size([]))

    {paper}
    """
    target = ("target_npv", target_npv)
    options = (weights, surrogate, rule, label_priors, reduction)
    return constrained_loss(specificity_at_npv, target, logits, labels, state, *options)


class SpecificityAtNPVLoss(DualLoss):
    """Maximise specificity while the negative predictive value stays at or above a target.

    Module of :func:`gobj.specificity_at_npv_loss`, drop-in for ``torch.nn.BCEWithLogitsLoss``;
    :class:`gobj.nn.DualLoss` says what its other arguments mean.
    """

    def __init__(self, target_npv: Number, num_labels: int = 1, **options: Unpack[Options]) -> None:
        """Make the state; see the class."""
        target = ("target_npv", target_npv)
        super().__init__(specificity_at_npv, target, num_labels, **options)
