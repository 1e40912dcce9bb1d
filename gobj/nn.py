"""Modules: the losses with their state in buffers, drop-in for those of ``torch.nn``."""

from gobj.classical import AUCPRLoss, AUCROCLoss, PRLoss, TPRFPRLoss
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
from gobj.modules import ConstrainedLoss, StatefulLoss
from gobj.objectives.average_precision import AveragePrecisionLoss
from gobj.objectives.fpr_at_tpr import FPRAtTPRLoss
from gobj.objectives.precision_at_recall import PrecisionAtRecallLoss
from gobj.objectives.precision_recall_auc import PrecisionRecallAUCLoss
from gobj.objectives.recall_at_budget import RecallAtBudgetLoss
from gobj.objectives.recall_at_precision import RecallAtPrecisionLoss
from gobj.objectives.roc_auc import ROCAUCLoss
from gobj.objectives.specificity_at_npv import SpecificityAtNPVLoss
from gobj.objectives.tpr_at_fpr import TPRAtFPRLoss
from gobj.stateless import StatelessLoss

# fmt: off
__all__ = [
    "AUCPRLoss", "AUCROCLoss", "AccuracyLoss", "AveragePrecisionLoss", "BalancedAccuracyLoss",
    "BinomialDevianceLoss", "ConfusionMetricLoss", "ConstrainedLoss", "FBetaLoss",
    "FPRAtTPRLoss", "GeometricMeanLoss", "JaccardLoss", "MatthewsLoss", "PRLoss",
    "PairwiseROCAUCLoss", "Poly1CrossEntropyLoss", "Poly1FocalLoss", "PrecisionAtRecallLoss",
    "PrecisionLoss", "PrecisionRecallAUCLoss", "ROCAUCLoss", "RecallAtBudgetLoss",
    "RecallAtPrecisionLoss", "RecallLoss", "SpecificityAtNPVLoss", "StatefulLoss",
    "StatelessLoss", "TPRAtFPRLoss", "TPRFPRLoss",
]
# fmt: on
