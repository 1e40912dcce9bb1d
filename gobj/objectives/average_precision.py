"""Average precision, with anchors on recall."""

from typing import Unpack

from torch import Tensor

from gobj._area_module import AreaLoss
from gobj._checks import Number, Reduction
from gobj._documentation import documented
from gobj._forms import LinearForm, Problem
from gobj._points import OperatingPoints
from gobj._state import AreaState
from gobj._stateful import Options
from gobj._surrogates import Surrogate
from gobj.duals._rule import DualRule
from gobj.objectives._area import area_loss
from gobj.objectives._initial import DEFAULT_RULE
from gobj.objectives.precision_at_recall import precision_at_recall


def precision_at_recalls(rates: Tensor, points: OperatingPoints) -> Problem:
    r"""Pose: at each anchor the fewest false alarms at its recall, priced by what they cost there.

    At a recall :math:`\rho` the precision is :math:`p = \rho P / (\rho P + FP)`, and its derivative
    in :math:`FP` is :math:`-p^2 / (\rho P)`.
    """
    hits = rates * points.positives()
    precision = hits / (hits + points.counted().false_positive)
    held = precision_at_recall(rates).constraint
    return Problem(LinearForm(false_positive=precision.square() / rates), held)


@documented()
def average_precision_loss(
    logits: Tensor,
    labels: Tensor,
    state: AreaState,
    *,
    weights: Number | None = None,
    surrogate: Surrogate | None = None,
    rule: DualRule = DEFAULT_RULE,
    label_priors: Number | None = None,
    reduction: Reduction = "mean",
) -> tuple[Tensor, AreaState]:
    r"""Maximise the average precision, the mean of precision over all recalls.

    .. math:: \min \frac{1}{K} \sum_k \frac{p_k^2}{\rho_k} FP_k \quad\text{s.t.}\quad
        FN_k - (1 - \rho_k) P \le 0 \quad\text{for each anchor } \rho_k

    A sum of :func:`gobj.precision_at_recall_loss` over anchors on recall. Each weighs as much as a
    false alarm costs the precision :math:`p_k` there, which is counted and held constant. Its cost
    hardly grows with the number of anchors, and eight are enough.
    """
    batch, span = (logits, labels, weights, label_priors), ("anchors", (0.0, 1.0))
    name = "average_precision_loss"
    return area_loss(name, precision_at_recalls, span, batch, state, surrogate, rule, reduction)


class AveragePrecisionLoss(AreaLoss):
    """Module of :func:`gobj.average_precision_loss`; arguments as :class:`gobj.nn.AreaLoss`."""

    def __init__(
        self,
        num_labels: int = 1,
        num_anchors: int | Tensor = 8,
        **options: Unpack[Options],
    ) -> None:
        """Make the state."""
        span = ("anchors", (0.0, 1.0))
        super().__init__(precision_at_recalls, span, num_labels, num_anchors, **options)
