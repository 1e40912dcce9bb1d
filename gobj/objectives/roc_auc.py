"""Area under the ROC curve, whole or partial, with anchors on the false positive rate."""

from functools import partial
from typing import Unpack

import torch
from torch import Tensor

from gobj._area_module import AreaLoss
from gobj._checks import Number, Reduction, check_range
from gobj._documentation import documented
from gobj._forms import LinearForm, Problem
from gobj._points import OperatingPoints
from gobj._state import AreaState
from gobj._stateful import Options
from gobj._surrogates import Surrogate
from gobj.duals._rule import DualRule
from gobj.objectives._area import Span, area_loss
from gobj.objectives._initial import DEFAULT_RULE
from gobj.objectives.tpr_at_fpr import tpr_at_fpr

SOFTNESS = 0.05  # of the ends of a range of true positive rates


def tpr_at_fprs(tpr_range: Span, rates: Tensor, points: OperatingPoints) -> Problem:
    """Pose: at each anchor the most true positives at its false positive rate.

    Where a part of the area is wanted, an anchor counts as far as its true positive rate is there.
    """
    problem, (low, high) = tpr_at_fpr(rates), tpr_range
    if (low, high) == (0, 1):
        return problem
    positives = points.positives()
    rate, inside = points.counted().true_positive / positives, torch.ones_like(rates)
    if low > 0:
        inside = inside * torch.sigmoid((rate - low) / SOFTNESS)
    if high < 1:
        inside = inside * torch.sigmoid((high - rate) / SOFTNESS)
    return Problem(LinearForm(false_negative=inside), problem.constraint)


@documented()
def roc_auc_loss(
    logits: Tensor,
    labels: Tensor,
    state: AreaState,
    *,
    fpr_range: Span = (0.0, 1.0),
    tpr_range: Span = (0.0, 1.0),
    weights: Number | None = None,
    surrogate: Surrogate | None = None,
    rule: DualRule = DEFAULT_RULE,
    label_priors: Number | None = None,
    reduction: Reduction = "mean",
) -> tuple[Tensor, AreaState]:
    r"""Maximise the area under the ROC curve, or a part of it.

    .. math:: \min \frac{1}{K} \sum_k o_k FN_k \quad\text{s.t.}\quad
        FP_k - f_k\,N \le 0 \quad\text{for each anchor } f_k

    A sum of :func:`gobj.tpr_at_fpr_loss` over anchors in a range of false positive rates. With a
    range of true positive rates as well, each weighs :math:`o_k`, which falls softly from 1 to 0
    where the rate that is counted leaves the range; else :math:`o_k` is 1. Its cost hardly grows
    with the number of anchors.
    """
    name = "roc_auc_loss"
    check_range(name, "tpr_range", tpr_range)
    batch, span = (logits, labels, weights, label_priors), ("fpr_range", fpr_range)
    build = partial(tpr_at_fprs, tpr_range)
    return area_loss(name, build, span, batch, state, surrogate, rule, reduction)


class ROCAUCLoss(AreaLoss):
    """Module of :func:`gobj.roc_auc_loss`; arguments as :class:`gobj.nn.AreaLoss`."""

    def __init__(
        self,
        num_labels: int = 1,
        num_anchors: int | Tensor = 8,
        fpr_range: Span = (0.0, 1.0),
        tpr_range: Span = (0.0, 1.0),
        **options: Unpack[Options],
    ) -> None:
        """Make the state."""
        check_range(type(self).__name__, "tpr_range", tpr_range)
        span, build = ("fpr_range", fpr_range), partial(tpr_at_fprs, tpr_range)
        super().__init__(build, span, num_labels, num_anchors, **options)
