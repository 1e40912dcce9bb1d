"""The best threshold of a sample, against trying every one."""

import math
from typing import Any

import pytest
import torch
from torch import Tensor

import gobj
from gobj.metrics import curve_init, curve_points, curve_update
from tests.operating_point.samples import AIMS, Aim

each_aim = pytest.mark.parametrize("aim", AIMS.values(), ids=AIMS)


def rates_at(scores: Tensor, labels: Tensor, weights: Tensor, threshold: float) -> dict[str, float]:
    """Count at one threshold."""
    called = scores > threshold
    tp, fp = weights[called & labels].sum(), weights[called & ~labels].sum()
    fn, tn = weights[~called & labels].sum(), weights[~called & ~labels].sum()
    total = tp + fp + fn + tn
    shares = {
        "recall": (tp, tp + fn),
        "precision": (tp, tp + fp),
        "fpr": (fp, fp + tn),
        "npv": (tn, tn + fn),
        "flagged": (tp + fp, total),
        "missed": (fn, total),
        "alarms": (fp, total),
    }
    return {name: (a / b).item() if b else math.nan for name, (a, b) in shares.items()}


def best(aim: Aim, target: float, *sample: Tensor) -> tuple[float, bool]:
    """Return the least cost over every threshold, and whether any meets the target."""
    cost = "missed" if "recall at" in aim.builder.__name__.replace("_", " ") else "alarms"
    cost = "missed" if aim.builder in (gobj.tpr_at_fpr, gobj.recall_at_budget) else cost
    scores = sample[0]
    found = []
    for threshold in [math.inf, *scores.unique().tolist(), -math.inf]:
        rates = rates_at(*sample, threshold)
        rate = rates[aim.rate]
        # of nothing that is called there is no precision; NaN compares as false
        if rate >= target - 1e-9 if aim.at_least else rate <= target + 1e-9:
            found.append(rates[cost])
    return (min(found), True) if found else (math.nan, False)


@each_aim
@pytest.mark.parametrize("target", [0.1, 0.35, 0.6, 0.9])
@pytest.mark.parametrize("ties", [False, True])
def test_no_threshold_of_the_sample_is_better(aim: Aim, target: float, ties: bool) -> None:
    generator = torch.Generator().manual_seed(1)
    labels = torch.rand(40, 3, generator=generator) < 0.3
    scores = torch.randn(40, 3, generator=generator, dtype=torch.float64) + labels
    scores = scores.round() if ties else scores
    weights = torch.rand(40, 3, generator=generator, dtype=torch.float64)
    problem = aim.builder(target)
    point = gobj.fit_threshold(scores, labels, problem, weights=weights)
    for label in range(3):
        sample = scores[:, label], labels[:, label], weights[:, label]
        cost, feasible = best(aim, target, *sample)
        assert bool(point.feasible[label]) == feasible
        seen = rates_at(*sample, point.threshold[label].item())
        for name in ("recall", "precision", "fpr", "npv", "flagged"):
            value = getattr(point, name)[label].item()
            assert value == pytest.approx(0 if math.isnan(seen[name]) else seen[name])
        if feasible:
            assert point.cost[label].item() == pytest.approx(cost)
            assert point.constraint[label] <= 1e-9


@each_aim
def test_batches_of_a_curve_give_the_same_point(aim: Aim) -> None:
    scores, labels = torch.randn(60), torch.rand(60) < 0.4
    state = curve_init()
    for rows in (slice(0, 25), slice(25, None)):
        state = curve_update(state, scores[rows], labels[rows])
    problem = aim.builder(0.4)
    streamed = gobj.fit_threshold_to_curve(curve_points(state), problem)
    torch.testing.assert_close(streamed, gobj.fit_threshold(scores, labels, problem))


@each_aim
def test_order_and_repetition_do_not_matter(aim: Aim) -> None:
    scores, labels = torch.randn(50).round(decimals=1), torch.rand(50) < 0.4
    counts = torch.randint(0, 4, (50,))
    problem = aim.builder(0.4)
    want = gobj.fit_threshold(scores, labels, problem, weights=counts)
    shuffled = torch.randperm(50)
    again = gobj.fit_threshold(
        scores[shuffled], labels[shuffled], problem, weights=counts[shuffled]
    )
    repeated = [x.repeat_interleave(counts) for x in (scores, labels)]
    torch.testing.assert_close(again, want)
    torch.testing.assert_close(gobj.fit_threshold(*repeated, problem), want)


def test_a_target_out_of_reach_comes_as_close_as_it_can() -> None:
    scores, labels = torch.tensor([3.0, 2.0, 1.0, 0.0]), torch.tensor([0, 1, 0, 0])
    impossible = gobj.Problem(
        gobj.LinearForm(false_negative=1.0),
        gobj.LinearForm(false_negative=1.0, false_positive=1.0, positives=0.1),
    )
    point = gobj.fit_threshold(scores, labels, impossible)
    assert not point.feasible
    assert point.constraint > 0
    values = [
        gobj.lagrangian(
            scores,
            labels,
            gobj.Problem(impossible.constraint, impossible.cost),
            0.0,
            cut,
            surrogate=gobj.zero_one,
        )
        for cut in (9.0, 2.5, 1.5, 0.5, -1.0)
    ]
    torch.testing.assert_close(point.constraint.float(), min(values))


def test_to_call_nobody_meets_no_precision() -> None:
    scores, labels = torch.tensor([2.0, 1.0, 0.0]), torch.tensor([0, 0, 1])
    point = gobj.fit_threshold(scores, labels, gobj.recall_at_precision(0.9))
    assert not point.feasible
    assert point.precision == pytest.approx(1 / 3)  # the closest
    turned = gobj.fit_threshold(-scores, 1 - labels, gobj.specificity_at_npv(0.9))
    assert not turned.feasible


def test_labels_have_targets_of_their_own() -> None:
    scores, labels = torch.randn(80, 2), torch.rand(80, 2) < 0.4
    targets = torch.tensor([0.3, 0.6], dtype=torch.float64)
    both = gobj.fit_threshold(scores, labels, gobj.tpr_at_fpr(targets))
    for i in range(2):
        one = gobj.fit_threshold(scores[:, i], labels[:, i], gobj.tpr_at_fpr(targets[i]))
        torch.testing.assert_close(both.threshold[i], one.threshold)


@pytest.mark.parametrize("wrong", [gobj.roc_auc(), None, 0.5], ids=["an area", "none", "a number"])
def test_a_point_has_one_problem(wrong: Any) -> None:
    sample = torch.randn(8), torch.arange(8) % 2
    for function in (gobj.fit_threshold, gobj.certify):
        message = rf"^{function.__name__}: `problem` must be a gobj.Problem"
        with pytest.raises(ValueError, match=message):
            function(*sample, wrong)
