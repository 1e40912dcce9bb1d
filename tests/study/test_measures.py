"""Measures held to scikit-learn and SciPy, and what follows from them."""

import numpy as np
import pytest
import torch
from scipy import stats
from sklearn import metrics
from torch import Tensor
from torch.testing import assert_close

from gobj.metrics._curve import Curve
from gobj.study.comparison import Outcome, Trained
from gobj.study.findings import answer, caution, find, is_reached
from gobj.study.goals import make_goal
from gobj.study.measures import draw_curve, estimate, rates_at
from gobj.study.splits import Part
from gobj.study.training import Setting

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


def outcome_of(method: str, value: list[float], held: str, rate: float = 0.9) -> Outcome:
    values, rates = torch.tensor(value), {held: torch.tensor([rate, rate, rate])}
    trained = Trained(method, Setting("SGD", 0.3), 1.0, [], None, None)
    reach = torch.ones(3)
    curve = curve_of([0], [0])
    return Outcome(trained, values, values, reach, reach, values, rates, rates, rates, curve)


@pytest.mark.parametrize(
    ("objective", "own", "begins"),
    [
        ("recall_at_precision", [0.6, 0.7, 0.8], "It helps"),
        ("recall_at_precision", [0.2, 0.3, 0.4], "It does not help"),
        ("recall_at_precision", [0.3, 0.7, 0.5], "It makes no difference"),
        ("fpr_at_tpr", [0.2, 0.3, 0.4], "It helps"),
        ("fpr_at_tpr", [0.6, 0.7, 0.8], "It does not help"),
    ],
)
def test_the_answer_follows_the_paired_difference(
    objective: str, own: list[float], begins: str
) -> None:
    goal = make_goal(objective, 0.9)
    held = goal.objective.constrained
    values = {"BCE": [0.4, 0.5, 0.61], "class-weighted BCE": [0.41, 0.5, 0.6], "objective": own}
    outcomes = [outcome_of(method, value, held) for method, value in values.items()]
    assert answer(find(goal, outcomes)).startswith(begins)


@pytest.mark.parametrize(
    ("objective", "baseline"),
    [("recall_at_precision", "BCE"), ("fpr_at_tpr", "class-weighted BCE")],
)
def test_the_objective_is_compared_with_the_better_cross_entropy(
    objective: str, baseline: str
) -> None:
    goal = make_goal(objective, 0.9)
    values = {"BCE": [0.5] * 3, "class-weighted BCE": [0.4] * 3, "objective": [0.4, 0.5, 0.6]}
    outcomes = [outcome_of(*item, goal.objective.constrained) for item in values.items()]
    assert find(goal, outcomes).baseline.models.method == baseline


def test_a_target_that_only_training_rows_meet_is_out_of_reach() -> None:
    goal = make_goal("recall_at_precision", 0.9)
    outcome = outcome_of("BCE", [0.1, 0.2, 0.3], "precision")._replace(test_reach=torch.zeros(3))
    assert answer(find(goal, [outcome] * 3)).startswith("The target is out of reach")


def test_a_target_is_reached_where_one_method_meets_it_for_half_of_the_seeds() -> None:
    goal = make_goal("recall_at_precision", 0.9)
    reaches: list[Tensor] = [torch.tensor([0.1, 0.2, 0.3]), torch.tensor([0.1, 0.91, 0.95])]
    assert is_reached(goal, reaches)
    assert not is_reached(goal, reaches[:1])


@pytest.mark.parametrize(
    ("objective", "rate", "warns"),
    [
        ("recall_at_precision", 0.8, True),
        ("recall_at_precision", 0.95, False),
        ("tpr_at_fpr", 0.95, True),
        ("tpr_at_fpr", 0.8, False),
    ],
)
def test_a_threshold_that_misses_on_test_rows_is_warned_of(
    objective: str, rate: float, warns: bool
) -> None:
    goal = make_goal(objective, 0.9)
    outcome = outcome_of("objective", [0.1, 0.2, 0.3], goal.objective.constrained, rate)
    assert bool(caution(find(goal, [outcome] * 3))) == warns


def test_a_miss_within_the_interval_is_no_miss() -> None:
    goal = make_goal("recall_at_precision", 0.9)
    outcome = outcome_of("objective", [0.1, 0.2, 0.3], "precision")
    noisy = outcome._replace(test={"precision": torch.tensor([0.8, 0.85, 0.95])})
    assert caution(find(goal, [noisy] * 3)) == ""
