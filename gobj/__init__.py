"""Losses for the goal that a classifier really has, as pure functions with explicit dual state."""

from gobj import metrics as metrics
from gobj import nn as nn
from gobj._forms import LinearForm as LinearForm
from gobj._forms import Problem as Problem
from gobj._lagrangian import lagrangian as lagrangian
from gobj._state import DualState as DualState
from gobj._state import load_state_dict as load_state_dict
from gobj._state import merge_states as merge_states
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
from gobj.objectives._constrained import init_state as init_state
from gobj.objectives.fpr_at_tpr import fpr_at_tpr as fpr_at_tpr
from gobj.objectives.fpr_at_tpr import fpr_at_tpr_loss as fpr_at_tpr_loss
from gobj.objectives.precision_at_recall import precision_at_recall as precision_at_recall
from gobj.objectives.precision_at_recall import precision_at_recall_loss as precision_at_recall_loss
from gobj.objectives.recall_at_budget import recall_at_budget as recall_at_budget
from gobj.objectives.recall_at_budget import recall_at_budget_loss as recall_at_budget_loss
from gobj.objectives.recall_at_precision import recall_at_precision as recall_at_precision
from gobj.objectives.recall_at_precision import recall_at_precision_loss as recall_at_precision_loss
from gobj.objectives.specificity_at_npv import specificity_at_npv as specificity_at_npv
from gobj.objectives.specificity_at_npv import specificity_at_npv_loss as specificity_at_npv_loss
from gobj.objectives.tpr_at_fpr import tpr_at_fpr as tpr_at_fpr
from gobj.objectives.tpr_at_fpr import tpr_at_fpr_loss as tpr_at_fpr_loss

__version__ = "0.1.0"
