"""Modules: the losses with their state in buffers, drop-in for those of ``torch.nn``."""

from typing import Unpack

import torch

from gobj._area_module import AreaLoss
from gobj._checks import Number, require
from gobj._module import DualLoss
from gobj._stateful import Options, StatefulLoss
from gobj.losses.binomial_deviance import BinomialDevianceLoss
from gobj.losses.confusion_losses import (
    AccuracyLoss,
    BalancedAccuracyLoss,
    ConfusionMetricLoss,
    FBetaLoss,
    GeometricMeanLoss,
    JaccardLoss,
    MatthewsLoss,
    PrecisionLoss,
    RecallLoss,
)
from gobj.losses.pairwise_auc import PairwiseROCAUCLoss
from gobj.losses.poly1 import Poly1CrossEntropyLoss
from gobj.losses.poly1_focal import Poly1FocalLoss
from gobj.objectives.average_precision import AveragePrecisionLoss
from gobj.objectives.fpr_at_tpr import FPRAtTPRLoss, fpr_at_tpr
from gobj.objectives.precision_at_recall import PrecisionAtRecallLoss, precision_at_recall
from gobj.objectives.precision_recall_auc import PrecisionRecallAUCLoss
from gobj.objectives.recall_at_budget import RecallAtBudgetLoss
from gobj.objectives.recall_at_precision import RecallAtPrecisionLoss, recall_at_precision
from gobj.objectives.roc_auc import ROCAUCLoss
from gobj.objectives.specificity_at_npv import SpecificityAtNPVLoss
from gobj.objectives.tpr_at_fpr import TPRAtFPRLoss, tpr_at_fpr

__all__ = [
    "AUCPRLoss",
    "AUCROCLoss",
    "AccuracyLoss",
    "AreaLoss",
    "AveragePrecisionLoss",
    "BalancedAccuracyLoss",
    "BinomialDevianceLoss",
    "ConfusionMetricLoss",
    "DualLoss",
    "FBetaLoss",
    "FPRAtTPRLoss",
    "GeometricMeanLoss",
    "JaccardLoss",
    "MatthewsLoss",
    "PRLoss",
    "PairwiseROCAUCLoss",
    "Poly1CrossEntropyLoss",
    "Poly1FocalLoss",
    "PrecisionAtRecallLoss",
    "PrecisionLoss",
    "PrecisionRecallAUCLoss",
    "ROCAUCLoss",
    "RecallAtBudgetLoss",
    "RecallAtPrecisionLoss",
    "RecallLoss",
    "SpecificityAtNPVLoss",
    "StatefulLoss",
    "TPRAtFPRLoss",
    "TPRFPRLoss",
]


class _ClassicalLoss(DualLoss):
    """Choose the objective by the target that is given, in the classical mode by default."""

    def __init__(
        self, num_labels: int, targets: dict[str, Number | None], **options: Unpack[Options]
    ) -> None:
        builders = {
            "target_recall": precision_at_recall,
            "target_precision": recall_at_precision,
            "target_fpr": tpr_at_fpr,
            "target_tpr": fpr_at_tpr,
        }
        given = [(name, value) for name, value in targets.items() if value is not None]
        first, *others = targets
        requirement = f"be given, or else `{others[0]}`, and not both"
        require(len(given) == 1, type(self).__name__, first, requirement, targets)
        options.setdefault("dual_rate_factor", 0.1)
        super().__init__(builders[given[0][0]], given[0], num_labels, **options)


class PRLoss(_ClassicalLoss):
    """Alias in the style of earlier libraries, in the classical mode by default.

    ``target_recall`` makes a :class:`PrecisionAtRecallLoss`, ``target_precision`` a
    :class:`RecallAtPrecisionLoss`; pass ``dual_rate_factor=None`` for a dual rule instead.
    """

    def __init__(
        self,
        num_labels: int = 1,
        *,
        target_recall: Number | None = None,
        target_precision: Number | None = None,
        **options: Unpack[Options],
    ) -> None:
        """Make the state; see :class:`DualLoss`."""
        targets = {"target_recall": target_recall, "target_precision": target_precision}
        super().__init__(num_labels, targets, **options)


class TPRFPRLoss(_ClassicalLoss):
    """Alias in the style of earlier libraries, in the classical mode by default.

    ``target_fpr`` makes a :class:`TPRAtFPRLoss`, ``target_tpr`` an :class:`FPRAtTPRLoss`; pass
    ``dual_rate_factor=None`` for a dual rule instead.
    """

    def __init__(
        self,
        num_labels: int = 1,
        *,
        target_fpr: Number | None = None,
        target_tpr: Number | None = None,
        **options: Unpack[Options],
    ) -> None:
        """Make the state; see :class:`DualLoss`."""
        targets = {"target_fpr": target_fpr, "target_tpr": target_tpr}
        super().__init__(num_labels, targets, **options)


class AUCPRLoss(PrecisionRecallAUCLoss):
    """Alias in the style of earlier libraries, in the classical mode by default.

    It is a :class:`PrecisionRecallAUCLoss` with 20 anchors, :math:`k / 21` of the way through a
    range that has two arguments; pass ``dual_rate_factor=None`` for a dual rule instead.
    """

    def __init__(
        self,
        num_labels: int = 1,
        num_anchors: int = 20,
        precision_range_lower: float = 0.0,
        precision_range_upper: float = 1.0,
        **options: Unpack[Options],
    ) -> None:
        """Make the state; see :class:`AreaLoss`."""
        options.setdefault("dual_rate_factor", 0.1)
        span = (precision_range_lower, precision_range_upper)
        whole = isinstance(num_anchors, int) and num_anchors >= 1
        require(whole, type(self).__name__, "num_anchors", "be a whole number above 0", num_anchors)
        inside = torch.linspace(0, 1, num_anchors + 2)[1:-1]
        super().__init__(num_labels, inside, span, **options)


class AUCROCLoss(ROCAUCLoss):
    """Alias in the style of earlier libraries, in the classical mode by default.

    It is a :class:`ROCAUCLoss` with 20 anchors; pass ``dual_rate_factor=None`` for a dual rule
    instead, and see :class:`PairwiseROCAUCLoss` for the mean over pairs.
    """

    def __init__(
        self, num_labels: int = 1, num_anchors: int = 20, **options: Unpack[Options]
    ) -> None:
        """Make the state; see :class:`AreaLoss`."""
        options.setdefault("dual_rate_factor", 0.1)
        super().__init__(num_labels, num_anchors, **options)
