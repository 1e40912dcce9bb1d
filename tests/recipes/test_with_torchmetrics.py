"""torchmetrics and gobj.metrics read the same numbers, and where they differ."""

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from torchmetrics.classification import BinaryRecallAtFixedPrecision

from gobj.metrics import curve_compute, curve_init, curve_update

Names = dict[str, Any]


@pytest.fixture
def names(recipe: Callable[[str], Names]) -> Names:
    return recipe("with_torchmetrics")


@pytest.fixture
def held_out(names: Names) -> tuple[Tensor, Tensor]:
    with torch.no_grad():
        return names["model"](names["x"][6000:]).squeeze(1), names["y"][6000:] == 1


def theirs(scores: Tensor, labels: Tensor, precision: float = 0.8) -> tuple[float, float]:
    recall, threshold = BinaryRecallAtFixedPrecision(precision)(scores, labels.int())
    return recall.item(), threshold.item()


def ours(logits: Tensor, labels: Tensor, precision: float = 0.8) -> tuple[float, float]:
    curve = curve_update(curve_init(), logits, labels)
    found = curve_compute(curve, target_precision=precision)
    return (
        found["recall_at_precision"].item(),
        found["recall_at_precision_threshold"].item(),
    )


def test_recall_and_areas_are_the_same(names: Names) -> None:
    got, expected = names["ours"], names["theirs"]
    for name in ("roc_auc", "average_precision"):
        assert got[name].item() == pytest.approx(expected[name].item(), abs=1e-6)
    assert got["recall_at_precision"].item() == pytest.approx(expected["at"][0].item(), abs=1e-6)


def test_their_threshold_is_the_last_row_that_is_called_and_ours_the_first_that_is_not(
    names: Names, held_out: tuple[Tensor, Tensor]
) -> None:
    logits, labels = held_out
    probabilities, cut = logits.sigmoid(), names["theirs"]["at"][1]
    flagged = logits > names["threshold"]
    assert torch.equal(flagged, probabilities >= cut)
    assert (flagged & ~(probabilities > cut)).sum() == 1
    assert logits[~flagged].max() == names["threshold"]
    assert (flagged & labels).sum() / flagged.sum() >= 0.8


def test_their_numbers_depend_on_the_batches_of_logits_and_ours_do_not(
    held_out: tuple[Tensor, Tensor],
) -> None:
    logits, labels = (values[:500] for values in held_out)
    whole, parts = BinaryRecallAtFixedPrecision(0.8), BinaryRecallAtFixedPrecision(0.8)
    whole.update(logits, labels.int())
    curve = curve_init()
    for row in range(len(logits)):
        parts.update(logits[row : row + 1], labels[row : row + 1].int())
        curve = curve_update(curve, logits[row : row + 1], labels[row : row + 1])
    assert abs(whole.compute()[0] - parts.compute()[0]) > 0.01
    found = curve_compute(curve, target_precision=0.8)["recall_at_precision"].item()
    assert found == pytest.approx(whole.compute()[0].item(), abs=1e-6)


def test_scores_that_a_sigmoid_rounds_to_one_rank_as_logits(
    held_out: tuple[Tensor, Tensor],
) -> None:
    logits, labels = held_out
    expected = ours(logits, labels)[0]
    assert theirs((logits * 100).sigmoid(), labels)[0] < expected - 0.1
    assert ours(logits * 100, labels)[0] == expected


def test_a_target_out_of_reach_is_a_nan_there_and_no_call_here() -> None:
    logits, labels = torch.tensor([3.0, 2.0, 1.0, 0.0]), torch.tensor([0, 1, 0, 1])
    recall, threshold = theirs(logits.sigmoid(), labels, 0.9)
    assert recall == 0
    assert math.isnan(threshold)
    assert ours(logits, labels, 0.9) == (0, float("inf"))
