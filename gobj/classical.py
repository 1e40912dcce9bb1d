"""Modules under the names of earlier libraries, in the classical mode by default."""

from typing import Any, Unpack

import torch

from gobj._checks import Number, check_count, refuse
from gobj.modules import ModuleOptions, StatefulLoss
from gobj.objectives.fpr_at_tpr import fpr_at_tpr
from gobj.objectives.precision_at_recall import precision_at_recall
from gobj.objectives.precision_recall_auc import PrecisionRecallAUCLoss
from gobj.objectives.recall_at_precision import recall_at_precision
from gobj.objectives.roc_auc import ROCAUCLoss
from gobj.objectives.tpr_at_fpr import tpr_at_fpr

PROBLEMS: dict[str, Any] = {
    "target_recall": precision_at_recall,
    "target_precision": recall_at_precision,
    "target_fpr": tpr_at_fpr,
    "target_tpr": fpr_at_tpr,
}
RATE_FACTOR = 0.1  # of the earlier libraries


class _OneOfTwo(StatefulLoss):
    """Choose the objective by the target that is given."""

    def __init__(
        self, num_labels: int, targets: dict[str, Number | None], **options: Unpack[ModuleOptions]
    ) -> None:
        given = {name: value for name, value in targets.items() if value is not None}
        if len(given) != 1:
            first, other = targets
            refuse(first, f"be given, or else `{other}`, and not both", targets)
        if "rule" not in options:
            options.setdefault("dual_rate_factor", RATE_FACTOR)
        super().__init__(PROBLEMS[next(iter(given))], num_labels, given, **options)


class PRLoss(_OneOfTwo):
    """Keep recall or precision at a target, under the name and in the mode of earlier libraries.

    ``target_recall`` makes it a :class:`gobj.nn.PrecisionAtRecallLoss`, ``target_precision`` a
    :class:`gobj.nn.RecallAtPrecisionLoss`.

    Args:
        num_labels: Number of labels, each with its own multiplier and threshold.
        target_recall: Recall, a number in (0, 1) or a tensor that broadcasts to ``[num_labels]``.
        target_precision: Precision, likewise; exactly one of the two is given.
        **options: Those of :class:`gobj.nn.StatefulLoss`; ``dual_rate_factor`` is 0.1, and None for
            a dual rule in place of the classical mode.

    Example:
        >>> import gobj
        >>> len(list(gobj.nn.PRLoss(target_recall=0.9).lambda_parameters()))
        1
    """

    def __init__(
        self,
        num_labels: int = 1,
        *,
        target_recall: Number | None = None,
        target_precision: Number | None = None,
        **options: Unpack[ModuleOptions],
    ) -> None:
        targets = {"target_recall": target_recall, "target_precision": target_precision}
        super().__init__(num_labels, targets, **options)


class TPRFPRLoss(_OneOfTwo):
    """Keep FPR or TPR at a target, under the name and in the mode of earlier libraries.

    ``target_fpr`` makes it a :class:`gobj.nn.TPRAtFPRLoss`, ``target_tpr`` a
    :class:`gobj.nn.FPRAtTPRLoss`.

    Args:
        num_labels: Number of labels, each with its own multiplier and threshold.
        target_fpr: FPR, a number in (0, 1) or a tensor that broadcasts to ``[num_labels]``.
        target_tpr: TPR, likewise; exactly one of the two is given.
        **options: Those of :class:`gobj.nn.StatefulLoss`; ``dual_rate_factor`` is 0.1, and None for
            a dual rule in place of the classical mode.

    Example:
        >>> import gobj
        >>> gobj.nn.TPRFPRLoss(target_fpr=0.1)
        TPRFPRLoss(target_fpr=0.1, num_labels=1)
    """

    def __init__(
        self,
        num_labels: int = 1,
        *,
        target_fpr: Number | None = None,
        target_tpr: Number | None = None,
        **options: Unpack[ModuleOptions],
    ) -> None:
        targets = {"target_fpr": target_fpr, "target_tpr": target_tpr}
        super().__init__(num_labels, targets, **options)


class AUCPRLoss(PrecisionRecallAUCLoss):
    """Area under the precision-recall curve, under the name and in the mode of earlier libraries.

    It is a :class:`gobj.nn.PrecisionRecallAUCLoss` whose anchors lie :math:`k / (K + 1)` of the way
    through the range.

    Args:
        num_labels: Number of labels, each with its own multipliers and thresholds.
        num_anchors: Number of anchors :math:`K`.
        precision_range_lower: Lower end of the range of precisions, in [0, 1].
        precision_range_upper: Upper end of the range of precisions, in [0, 1].
        **options: Those of :class:`gobj.nn.StatefulLoss`; ``dual_rate_factor`` is 0.1, and None for
            a dual rule in place of the classical mode.

    Example:
        >>> import gobj
        >>> gobj.nn.AUCPRLoss(num_anchors=3).anchors
        tensor([[0.2500, 0.5000, 0.7500]])
    """

    def __init__(
        self,
        num_labels: int = 1,
        num_anchors: int = 20,
        precision_range_lower: float = 0.0,
        precision_range_upper: float = 1.0,
        **options: Unpack[ModuleOptions],
    ) -> None:
        check_count("num_anchors", num_anchors)
        if "rule" not in options:
            options.setdefault("dual_rate_factor", RATE_FACTOR)
        span = (precision_range_lower, precision_range_upper)
        inside = torch.linspace(0, 1, num_anchors + 2)[1:-1]
        super().__init__(num_labels, inside, span, **options)


class AUCROCLoss(ROCAUCLoss):
    """Area under the ROC curve, under the name and in the mode of earlier libraries.

    It is a :class:`gobj.nn.ROCAUCLoss`; :class:`gobj.nn.PairwiseROCAUCLoss` is the mean over pairs.

    Args:
        num_labels: Number of labels, each with its own multipliers and thresholds.
        num_anchors: Number of anchors.
        **options: Those of :class:`gobj.nn.StatefulLoss`; ``dual_rate_factor`` is 0.1, and None for
            a dual rule in place of the classical mode.

    Example:
        >>> import gobj
        >>> gobj.nn.AUCROCLoss(num_anchors=4).threshold.shape
        torch.Size([1, 4])
    """

    def __init__(
        self, num_labels: int = 1, num_anchors: int = 20, **options: Unpack[ModuleOptions]
    ) -> None:
        if "rule" not in options:
            options.setdefault("dual_rate_factor", RATE_FACTOR)
        super().__init__(num_labels, num_anchors, **options)
