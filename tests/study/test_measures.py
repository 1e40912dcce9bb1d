"""Measures held to scikit-learn and SciPy, and what follows from them."""

import numpy as np
import pytest
import torch
from scipy import stats
from sklearn import metrics
from torch.testing import assert_close

from gobj.metrics._curve import Curve
from gobj.metrics._reading import OBJECTIVES, Objective
from gobj.study.goals import Goal, make_goal, targets_to_try
from gobj.study.measures import Estimate, draw_curve, estimate, rates_at
from gobj.study.numbers import interval, written
from gobj.study.splits import Part

GENERATOR = torch.Generator().manual_seed(1)
LABELS = (torch.rand(2, 60, generator=GENERATOR) > 0.6).float()
LOGITS = (torch.randn(2, 60, generator=GENERATOR) + LABELS).T
WEIGHTS = torch.rand(2, 60, generator=GENERATOR) + 0.1
PART = Part(torch.zeros(2, 60, 1), LABELS, WEIGHTS)


@pytest.mark.parametrize("seed", [0, 1])
def test_rates_at_a_threshold_are_those_of_scikit_learn(seed: int) -> None:
    flags, labels, weights = LOGITS[:, seed] > 0.2, LABELS[seed], WEIGHTS[seed]
    rates = rates_at(torch.full((2,), 0.2), LOGITS, PART)
    options = {"sample_weight": weights}
    expected = {
        "precision": metrics.precision_score(labels, flags, **options),
        "recall": metrics.recall_score(labels, flags, **options),
        "fpr": 1 - metrics.recall_score(labels, flags, pos_label=0, **options),
        "npv": metrics.precision_score(labels, flags, pos_label=0, **options),
        "flagged": np.average(flags, weights=weights),
    }
    assert {name: rates[name][seed].item() for name in expected} == pytest.approx(expected)


def test_the_best_recall_at_a_precision_is_that_of_scikit_learns_curve() -> None:
    goal = make_goal("recall_at_precision", 0.7)
    value, _ = goal.best(draw_curve(LOGITS, PART))
    for seed in range(2):
        precision, recall, _ = metrics.precision_recall_curve(
            LABELS[seed], LOGITS[:, seed], sample_weight=WEIGHTS[seed]
        )
        assert value[seed].item() == pytest.approx(recall[precision >= 0.7].max())


def test_the_interval_is_students() -> None:
    values = torch.tensor([0.1, 0.4, 0.2, 0.35], dtype=torch.float64)
    interval = stats.ttest_1samp(values.numpy(), 0).confidence_interval(0.95)
    mean, error, half_width = estimate(values)
    assert (mean - half_width, mean + half_width) == pytest.approx(tuple(interval))
    assert error == pytest.approx(stats.sem(values.numpy()))


def test_the_interval_of_splits_that_overlap_is_that_of_nadeau_and_bengio() -> None:
    values = torch.tensor([0.1, 0.4, 0.2, 0.35], dtype=torch.float64)
    variance = values.var().item() * (1 / 4 + 0.5)
    found = estimate(values, overlap=0.5)
    assert found.half_width == pytest.approx(stats.t.ppf(0.975, 3) * variance**0.5)


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.5, "0.500"), (0.0123, "0.012"), (0.00123, "0.0012"), (0.0, "0.000"), (-0.25, "-0.250")],
)
def test_digits_follow_the_size_of_a_number(value: float, text: str) -> None:
    assert written(value) == text


def test_an_interval_of_a_rate_stays_a_rate() -> None:
    assert interval(Estimate(0.95, 0.1, 0.2)) == (0.75, 1.0)
    assert interval(Estimate(0.05, 0.1, 0.2)) == (0.0, 0.25)


def curve_of(hits: list[float], alarms: list[float]) -> Curve:
    counts = [torch.tensor([values]) for values in (hits, alarms)]
    return Curve(torch.linspace(3, -3, len(hits))[None], *counts)


def test_one_lucky_example_does_not_reach_a_precision() -> None:
    curve = curve_of([0, 1, 4, 6, 9, 10], [0, 0, 1, 2, 11, 90])
    assert_close(make_goal("recall_at_precision", 0.9).reach(curve), torch.tensor([0.75]))


def test_one_lucky_example_does_not_reach_a_negative_predictive_value() -> None:
    curve = curve_of([0, 60, 88, 90], [0, 2, 9, 10])
    goal = make_goal("specificity_at_npv", 0.9)
    assert_close(goal.reach(curve), torch.tensor([8 / 38]))


@pytest.mark.parametrize(
    ("name", "reach"),
    [("precision_at_recall", 1), ("fpr_at_tpr", 1), ("tpr_at_fpr", 0), ("recall_at_budget", 0)],
)
def test_every_other_target_is_within_reach(name: str, reach: float) -> None:
    curve = curve_of([0, 1, 2], [0, 1, 2])
    assert make_goal(name, 0.3).reach(curve).item() == reach


@pytest.mark.parametrize(
    ("name", "target"),
    [("recall_at_precision", 0.9), ("tpr_at_fpr", 0.1), ("recall_at_budget", 0.1)],
)
def test_a_rate_that_has_to_stay_low_has_a_low_target_by_default(name: str, target: float) -> None:
    assert make_goal(name).target == target


@pytest.mark.parametrize("objective", OBJECTIVES, ids=[objective.name for objective in OBJECTIVES])
@pytest.mark.parametrize("share", [0.01, 0.2, 0.7, 0.95])
def test_six_targets_go_from_easy_to_hard_and_ask_for_more_than_chance(
    objective: Objective, share: float
) -> None:
    targets = targets_to_try(objective, share)
    way = Goal(objective, 0.5).way
    by_chance = {"precision": share, "npv": 1 - share}.get(objective.constrained, 0.0)
    assert len(targets) == 6
    assert targets == sorted(targets, reverse=way < 0)
    assert all(0 < target < 1 for target in targets)
    assert min(targets) > by_chance or way < 0
