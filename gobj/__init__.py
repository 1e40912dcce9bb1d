"""Losses for the goal that a classifier really has, as pure functions with explicit dual state."""

from gobj import metrics as metrics
from gobj import nn as nn
from gobj._forms import LinearForm as LinearForm
from gobj._forms import Problem as Problem
from gobj._lagrangian import lagrangian as lagrangian
from gobj._merging import merge_states as merge_states
from gobj._state import AreaState as AreaState
from gobj._state import DualState as DualState
from gobj._state import load_state_dict as load_state_dict
from gobj._state import state_dict as state_dict
from gobj._surrogates import Surrogate as Surrogate
from gobj._surrogates import cross_entropy as cross_entropy
from gobj._surrogates import generalized_cross_entropy as generalized_cross_entropy
from gobj._surrogates import hinge as hinge
from gobj._surrogates import sigmoid as sigmoid
from gobj._surrogates import squared_hinge as squared_hinge
from gobj._surrogates import zero_one as zero_one
from gobj.duals._rule import DualRule as DualRule
from gobj.duals.ascent import DualAscent as DualAscent
from gobj.duals.frozen import FrozenDual as FrozenDual
from gobj.duals.implicit import ImplicitMultiplier as ImplicitMultiplier
from gobj.labels import multilabel_from_multiclass as multilabel_from_multiclass
from gobj.losses.binomial_deviance import binomial_deviance_loss as binomial_deviance_loss
from gobj.losses.confusion_losses import accuracy_loss as accuracy_loss
from gobj.losses.confusion_losses import balanced_accuracy_loss as balanced_accuracy_loss
from gobj.losses.confusion_losses import f_beta_loss as f_beta_loss
from gobj.losses.confusion_losses import geometric_mean_loss as geometric_mean_loss
from gobj.losses.confusion_losses import jaccard_loss as jaccard_loss
from gobj.losses.confusion_losses import matthews_loss as matthews_loss
from gobj.losses.confusion_losses import precision_loss as precision_loss
from gobj.losses.confusion_losses import recall_loss as recall_loss
from gobj.losses.confusion_metric_loss import confusion_metric_loss as confusion_metric_loss
from gobj.losses.pairs import Pairs as Pairs
from gobj.losses.pairs import binomial_deviance_of_pairs as binomial_deviance_of_pairs
from gobj.losses.pairs import pairs_from_labels as pairs_from_labels
from gobj.losses.pairwise_auc import pairwise_roc_auc_loss as pairwise_roc_auc_loss
from gobj.losses.poly1 import poly1_cross_entropy_loss as poly1_cross_entropy_loss
from gobj.losses.poly1_focal import poly1_focal_loss as poly1_focal_loss
from gobj.losses.soft_confusion import SoftConfusion as SoftConfusion
from gobj.losses.soft_confusion import annealed_amplification as annealed_amplification
from gobj.losses.soft_confusion import soft_confusion as soft_confusion
from gobj.objectives._initial import init_state as init_state
from gobj.objectives.average_precision import average_precision_loss as average_precision_loss
from gobj.objectives.fpr_at_tpr import fpr_at_tpr as fpr_at_tpr
from gobj.objectives.fpr_at_tpr import fpr_at_tpr_loss as fpr_at_tpr_loss
from gobj.objectives.precision_at_recall import precision_at_recall as precision_at_recall
from gobj.objectives.precision_at_recall import precision_at_recall_loss as precision_at_recall_loss
from gobj.objectives.precision_recall_auc import (
    precision_recall_auc_loss as precision_recall_auc_loss,
)
from gobj.objectives.recall_at_budget import recall_at_budget as recall_at_budget
from gobj.objectives.recall_at_budget import recall_at_budget_loss as recall_at_budget_loss
from gobj.objectives.recall_at_precision import recall_at_precision as recall_at_precision
from gobj.objectives.recall_at_precision import recall_at_precision_loss as recall_at_precision_loss
from gobj.objectives.roc_auc import roc_auc_loss as roc_auc_loss
from gobj.objectives.specificity_at_npv import specificity_at_npv as specificity_at_npv
from gobj.objectives.specificity_at_npv import specificity_at_npv_loss as specificity_at_npv_loss
from gobj.objectives.tpr_at_fpr import tpr_at_fpr as tpr_at_fpr
from gobj.objectives.tpr_at_fpr import tpr_at_fpr_loss as tpr_at_fpr_loss
from gobj.weight_map import unet_weight_map as unet_weight_map
from gobj.weighting import class_weights_from_counts as class_weights_from_counts
from gobj.weighting import weighted_sum_over_heads as weighted_sum_over_heads
from gobj.weighting import weights_from_labels as weights_from_labels

__version__ = "0.1.0"
