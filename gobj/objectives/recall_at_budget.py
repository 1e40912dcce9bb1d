"""Recall at an alert budget."""

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
def recall_at_budget(target: Number) -> Problem:
    r"""Pose: the fewest missed positives while at most a share of the examples is flagged.

    .. math:: \min FN \quad\text{s.t.}\quad TP + FP - q\,(P + N) \le 0

    Flagged positives :math:`TP = P - FN` reward missed ones, which an upper bound of :math:`FN`
    cannot bound. Their own indicator can: :math:`1[f > b] \le s(b - f)`, so that the bound of the
    constraint counts every example, positive or negative, by the surrogate of being flagged.

    Args:
        target: Largest share of examples to flag :math:`q`, {open_unit}

    {posed}

    Example:
        >>> import gobj
        >>> gobj.recall_at_budget(0.25).cost == gobj.LinearForm(false_negative=1.0)
        True

    {paper}
    """
    check_target("recall_at_budget", "target", target)
    held = LinearForm(true_positive=1.0, false_positive=1.0, positives=-target, negatives=-target)
    return Problem(LinearForm(false_negative=1.0), held)


@documented
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

    Args:
        {batch}
        budget: Largest share of examples to flag :math:`q`, {open_unit}
        {options}

    {outcome}

    Example:
        >>> import gobj, torch
        >>> logits, labels = torch.tensor([2.0, 1.0, -1.0]), torch.tensor([1, 0, 0])
        >>> loss, state = gobj.recall_at_budget_loss(
        ...     logits, labels, gobj.init_state(), budget=0.25
        ... )
        >>> loss.isfinite(), state.threshold.shape
        (tensor(True), torch.Size([]))

    {paper}
    """
    target = ("budget", budget)
    options = (weights, surrogate, rule, label_priors, reduction)
    return constrained_loss(recall_at_budget, target, logits, labels, state, *options)


class RecallAtBudgetLoss(DualLoss):
    """Maximise recall while at most a share of the examples is flagged.

    Module of :func:`gobj.recall_at_budget_loss`, drop-in for ``torch.nn.BCEWithLogitsLoss``;
    :class:`gobj.nn.DualLoss` says what its other arguments mean.
    """

    def __init__(self, budget: Number, num_labels: int = 1, **options: Unpack[Options]) -> None:
        """Make the state; see the class."""
        target = ("budget", budget)
        super().__init__(recall_at_budget, target, num_labels, **options)
