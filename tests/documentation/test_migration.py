"""The page on migration: no published name, and no argument of an alias, is left out."""

import inspect
import re
from pathlib import Path

import pytest

import gobj

PAGE = (Path(__file__).parents[2] / "docs" / "migration.md").read_text()
SECTIONS = dict(
    part.partition("\n")[::2] for part in re.split(r"^## ", PAGE, flags=re.MULTILINE)[1:]
)
# Every function, argument and output of the original, from its signatures.
ORIGINAL = """
    recall_at_precision_loss precision_at_recall_loss precision_recall_auc_loss roc_auc_loss
    true_positive_rate_at_false_positive_rate_loss false_positive_rate_at_true_positive_rate_loss
    labels logits target_precision target_recall target_rate precision_range num_anchors weights
    dual_rate_factor label_priors surrogate_type lambdas_initializer reuse variables_collections
    trainable scope lambdas biases true_positives_lower_bound false_positives_upper_bound
"""
# Of the losses of LibAUC 2.0.1 that have a counterpart here.
LIBAUC = """
    AUCMLoss PairwiseAUCLoss APLoss AveragePrecisionLoss mAPLoss MultiLabelAUCMLoss pAUC_CVaR_Loss
    pAUC_DRO_Loss pAUCLoss tpAUC_KL_Loss CompositionalAUCLoss FocalLoss
    y_pred y_true index data_len pos_len imratio margin hparam surr_loss beta Lambda gamma gammas
    eta tau version mode k auto num_labels task_id device
    DualSampler TriSampler PESG SOAP SOPA SOPAs SOTAs epoch_decay
"""


def first_column(section: str) -> set[str]:
    """Return the words of code in the first column of the tables of a section."""
    cells = re.findall(r"^\| (.*?) \|", SECTIONS[section], re.MULTILINE)
    code = " ".join(re.findall(r"`([^`]*)`", " ".join(cells)))
    return set(re.findall(r"\w+", code))


@pytest.mark.parametrize(
    ("section", "names"),
    [("From global_objectives", ORIGINAL), ("From LibAUC", LIBAUC)],
    ids=["global_objectives", "libauc"],
)
def test_every_published_name_stands_in_a_table(section: str, names: str) -> None:
    assert set(names.split()) - first_column(section) == set()


@pytest.mark.parametrize("alias", ["PRLoss", "TPRFPRLoss", "AUCPRLoss", "AUCROCLoss"])
def test_every_argument_of_an_alias_stands_in_the_tables_of_the_ports(alias: str) -> None:
    cells = re.findall(r"^\| .*", SECTIONS["From the PyTorch ports"], re.MULTILINE)
    named = set(re.findall(r"\w+", " ".join(re.findall(r"`([^`]*)`", " ".join(cells)))))
    given = set(inspect.signature(getattr(gobj.nn, alias)).parameters) - {"options"}
    assert given
    assert given - named == set()
