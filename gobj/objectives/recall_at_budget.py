"""Recall at an alert budget."""

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


@documented("Largest share of examples to flag :math:`q`")
def recall_at_budget(target: Number) -> Problem:
    r"""Pose: the fewest missed positives while at most a share of the examples is flagged.

    .. math:: \min FN \quad\text{s.t.}\quad TP + FP - q\,(P + N) \le 0

    Flagged positives :math:`TP = P - FN` reward missed ones, which an upper bound of :math:`FN`
    cannot bound. Their own indicator can: :math:`1[f > b] \le s(b - f)`, so that the bound of the
    constraint counts every example, positive or negative, by the surrogate of being flagged.
    """
    check_target("recall_at_budget", "target", target)
    held = LinearForm(true_positive=1.0, false_positive=1.0, positives=-target, negatives=-target)
    return Problem(LinearForm(false_negative=1.0), held)


@documented("Largest share of examples to flag :math:`q`")
def recall_at_budget_loss(
    logits: Tensor,
    labels: Tensor,
    state: DualState,
    *,
    budget: Number,
    weights: Number | None = None,
    surrogate: Surrogate | None = None,
    rule: DualRule = DEFAULT_RULE,
    label_priors: Number | None = None,
    reduction: Reduction = "mean",
) -> tuple[Tensor, DualState]:
    r"""Maximise recall while at most a share of the examples is flagged.

    .. math:: \min FN \quad\text{s.t.}\quad TP + FP - q\,(P + N) \le 0
    """
    batch, target = (logits, labels, weights, label_priors), ("budget", budget)
    return constrained_loss(recall_at_budget, target, batch, state, surrogate, rule, reduction)


class RecallAtBudgetLoss(DualLoss):
    """Module of :func:`gobj.recall_at_budget_loss`; arguments as :class:`gobj.nn.DualLoss`."""

    def __init__(self, budget: Number, num_labels: int = 1, **options: Unpack[Options]) -> None:
        """Make the state."""
        target = ("budget", budget)
        super().__init__(recall_at_budget, target, num_labels, **options)
