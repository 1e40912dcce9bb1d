"""Area under the precision-recall curve, with anchors on precision."""

from typing import Unpack

from torch import Tensor

from gobj._area_module import AreaLoss
from gobj._checks import Number, Reduction
from gobj._documentation import documented
from gobj._forms import Problem
from gobj._points import OperatingPoints
from gobj._state import AreaState
from gobj._stateful import Options
from gobj._surrogates import Surrogate
from gobj.duals._rule import DualRule
from gobj.objectives._area import Span, area_loss
from gobj.objectives._initial import DEFAULT_RULE
from gobj.objectives.recall_at_precision import recall_at_precision


def recall_at_precisions(rates: Tensor, points: OperatingPoints) -> Problem:  # noqa: ARG001
    """Pose: at each anchor the most recall at its precision."""
    return recall_at_precision(rates)


@documented()
def precision_recall_auc_loss(
    logits: Tensor,
    labels: Tensor,
    state: AreaState,
    *,
    precision_range: Span = (0.0, 1.0),
    weights: Number | None = None,
    surrogate: Surrogate | None = None,
    rule: DualRule = DEFAULT_RULE,
    label_priors: Number | None = None,
    reduction: Reduction = "mean",
) -> tuple[Tensor, AreaState]:
    r"""Maximise the area under the precision-recall curve over a range of precisions.

    .. math:: \min \frac{1}{K} \sum_k FN_k \quad\text{s.t.}\quad
        a_k\,FP_k + (1 - a_k)(FN_k - P) \le 0 \quad\text{for each anchor } a_k

    A Riemann sum of :func:`gobj.recall_at_precision_loss` over anchors on precision: a perfect
    scorer has loss 0. Its cost hardly grows with the number of anchors.
    """
    batch, span = (logits, labels, weights, label_priors), ("precision_range", precision_range)
    name = "precision_recall_auc_loss"
    return area_loss(name, recall_at_precisions, span, batch, state, surrogate, rule, reduction)


class PrecisionRecallAUCLoss(AreaLoss):
    """Module of :func:`gobj.precision_recall_auc_loss`; arguments as :class:`gobj.nn.AreaLoss`."""

    def __init__(
        self,
        num_labels: int = 1,
        num_anchors: int | Tensor = 8,
        precision_range: Span = (0.0, 1.0),
        **options: Unpack[Options],
    ) -> None:
        """Make the state."""
        span = ("precision_range", precision_range)
        super().__init__(recall_at_precisions, span, num_labels, num_anchors, **options)
