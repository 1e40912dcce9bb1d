"""Specificity at a negative predictive value."""

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


@documented("Negative predictive value :math:`v`")
def specificity_at_npv(target: Number) -> Problem:
    r"""Pose: the fewest false alarms at a negative predictive value or better.

    .. math:: \min FP \quad\text{s.t.}\quad v\,FN + (1 - v)(FP - N) \le 0
    """
    check_target("specificity_at_npv", "target", target)
    held = LinearForm(false_negative=target, false_positive=1 - target, negatives=target - 1)
    return Problem(LinearForm(false_positive=1.0), held)


@documented("Negative predictive value :math:`v`")
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
    r"""Maximise specificity at a negative predictive value or better.

    .. math:: \min FP \quad\text{s.t.}\quad v\,FN + (1 - v)(FP - N) \le 0
    """
    batch, target = (logits, labels, weights, label_priors), ("target_npv", target_npv)
    return constrained_loss(specificity_at_npv, target, batch, state, surrogate, rule, reduction)


class SpecificityAtNPVLoss(DualLoss):
    """Module of :func:`gobj.specificity_at_npv_loss`; arguments as :class:`gobj.nn.DualLoss`."""

    def __init__(self, target_npv: Number, num_labels: int = 1, **options: Unpack[Options]) -> None:
        """Make the state."""
        target = ("target_npv", target_npv)
        super().__init__(specificity_at_npv, target, num_labels, **options)
