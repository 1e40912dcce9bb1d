"""Losses for the goal that a classifier really has, as pure functions with explicit dual state.

    state = gobj.init_state()
    loss, state = gobj.recall_at_precision_loss(logits, labels, state, target_precision=0.9)

Objectives: recall_at_precision_loss, precision_at_recall_loss, tpr_at_fpr_loss, fpr_at_tpr_loss,
    specificity_at_npv_loss, recall_at_budget_loss; each has a module in gobj.nn.
Areas: average_precision_loss, precision_recall_auc_loss, roc_auc_loss, pairwise_roc_auc_loss.
State: init_state, state_dict, load_state_dict.
A problem of your own: LinearForm, Problem, constrained_loss, or its steps observe, update, weigh;
    linear_constrained_loss for a head of very many labels.
Rules: ImplicitMultiplier (the default), FocusedCrossEntropy, DualAscent, FrozenDual,
    OptimizerAscent; one of your own: DualRule, LagrangianRule.
Surrogates: cross_entropy, hinge, squared_hinge, generalized_cross_entropy, sigmoid, zero_one.
Soft counts: f_beta_loss and others, confusion_metric_loss, soft_confusion.
Other losses: poly1_cross_entropy_loss, poly1_focal_loss, binomial_deviance_loss.
Labels and weights: multilabel_from_multiclass, class_weights_from_counts, weights_from_labels,
    weighted_sum_over_heads, unet_weight_map.
Thresholds for new data: fit_threshold, fit_threshold_to_curve, certify, explain, adjust_threshold;
    what to watch: diagnose.
Curves over batches, and the threshold to deploy: gobj.metrics.
"""

from gobj import metrics, nn
from gobj._batch import Points, Sums
from gobj.constrained import constrained_loss, observe, update, weigh
from gobj.diagnosis import Diagnosis, diagnose
from gobj.duals.focus import FocusedCrossEntropy
from gobj.duals.implicit import ImplicitMultiplier
from gobj.duals.lagrangian import DualAscent, FrozenDual, LagrangianRule, OptimizerAscent
from gobj.duals.rule import DualRule
from gobj.initial import init_state
from gobj.labels import multilabel_from_multiclass
from gobj.lagrangian import lagrangian
from gobj.linear import linear_constrained_loss
from gobj.losses.binomial_deviance import binomial_deviance_loss
from gobj.losses.confusion_losses import (
    accuracy_loss,
    balanced_accuracy_loss,
    confusion_metric_loss,
    f_beta_loss,
    geometric_mean_loss,
    jaccard_loss,
    matthews_loss,
    precision_loss,
    recall_loss,
)
from gobj.losses.pairs import Pairs, binomial_deviance_of_pairs, pairs_from_labels
from gobj.losses.pairwise_auc import pairwise_roc_auc_loss
from gobj.losses.poly1 import poly1_cross_entropy_loss
from gobj.losses.poly1_focal import poly1_focal_loss
from gobj.losses.soft_confusion import SoftConfusion, annealed_amplification, soft_confusion
from gobj.objectives.average_precision import average_precision, average_precision_loss
from gobj.objectives.fpr_at_tpr import fpr_at_tpr, fpr_at_tpr_loss
from gobj.objectives.precision_at_recall import precision_at_recall, precision_at_recall_loss
from gobj.objectives.precision_recall_auc import precision_recall_auc, precision_recall_auc_loss
from gobj.objectives.recall_at_budget import recall_at_budget, recall_at_budget_loss
from gobj.objectives.recall_at_precision import recall_at_precision, recall_at_precision_loss
from gobj.objectives.roc_auc import roc_auc, roc_auc_loss
from gobj.objectives.specificity_at_npv import specificity_at_npv, specificity_at_npv_loss
from gobj.objectives.tpr_at_fpr import tpr_at_fpr, tpr_at_fpr_loss
from gobj.operating_point import (
    Certificate,
    OperatingPoint,
    Shift,
    adjust_threshold,
    certify,
    explain,
    fit_threshold,
    fit_threshold_to_curve,
)
from gobj.problem import LinearForm, Problem
from gobj.state import AreaState, DualState, load_state_dict, state_dict
from gobj.surrogates import (
    Surrogate,
    cross_entropy,
    generalized_cross_entropy,
    hinge,
    sigmoid,
    squared_hinge,
    zero_one,
)
from gobj.weight_map import unet_weight_map
from gobj.weights import class_weights_from_counts, weighted_sum_over_heads, weights_from_labels

__version__ = "0.1.0"

# fmt: off
__all__ = [
    "AreaState", "Certificate", "Diagnosis", "DualAscent", "DualRule", "DualState",
    "FocusedCrossEntropy", "FrozenDual", "ImplicitMultiplier", "LagrangianRule", "LinearForm",
    "OperatingPoint", "OptimizerAscent", "Pairs", "Points", "Problem", "Shift", "SoftConfusion",
    "Sums", "Surrogate", "accuracy_loss", "adjust_threshold", "annealed_amplification",
    "average_precision", "average_precision_loss", "balanced_accuracy_loss",
    "binomial_deviance_loss", "binomial_deviance_of_pairs", "certify", "class_weights_from_counts",
    "confusion_metric_loss", "constrained_loss", "cross_entropy", "diagnose", "explain",
    "f_beta_loss", "fit_threshold", "fit_threshold_to_curve", "fpr_at_tpr", "fpr_at_tpr_loss",
    "generalized_cross_entropy", "geometric_mean_loss", "hinge", "init_state", "jaccard_loss",
    "lagrangian", "linear_constrained_loss", "load_state_dict", "matthews_loss", "metrics",
    "multilabel_from_multiclass", "nn", "observe", "pairs_from_labels", "pairwise_roc_auc_loss",
    "poly1_cross_entropy_loss", "poly1_focal_loss", "precision_at_recall",
    "precision_at_recall_loss", "precision_loss", "precision_recall_auc",
    "precision_recall_auc_loss", "recall_at_budget", "recall_at_budget_loss", "recall_at_precision",
    "recall_at_precision_loss", "recall_loss", "roc_auc", "roc_auc_loss", "sigmoid",
    "soft_confusion", "specificity_at_npv", "specificity_at_npv_loss", "squared_hinge",
    "state_dict", "tpr_at_fpr", "tpr_at_fpr_loss", "unet_weight_map", "update", "weigh",
    "weighted_sum_over_heads", "weights_from_labels", "zero_one",
]
# fmt: on
