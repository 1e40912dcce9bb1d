"""Precision at a recall."""

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


@documented("Recall :math:`r`")
def precision_at_recall(target: Number) -> Problem:
    r"""Pose: the fewest false alarms while recall stays at or above a target.

    .. math:: \min FP \quad\text{s.t.}\quad FN - (1 - r)\,P \le 0
    """
    check_target("precision_at_recall", "target", target)
    held = LinearForm(false_negative=1.0, positives=target - 1)
    return Problem(LinearForm(false_positive=1.0), held)


@documented("Recall :math:`r`")
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
    """
    batch, target = (logits, labels, weights, label_priors), ("target_recall", target_recall)
    return constrained_loss(precision_at_recall, target, batch, state, surrogate, rule, reduction)


class PrecisionAtRecallLoss(DualLoss):
    """Module of :func:`gobj.precision_at_recall_loss`; arguments as :class:`gobj.nn.DualLoss`."""

    def __init__(
        self, target_recall: Number, num_labels: int = 1, **options: Unpack[Options]
    ) -> None:
        """Make the state."""
        target = ("target_recall", target_recall)
        super().__init__(precision_at_recall, target, num_labels, **options)
