"""The three methods, each with the best of the same settings."""

from collections.abc import Callable

import pytest
import torch

from gobj.study.comparison import METHODS, Outcome, compare
from gobj.study.goals import make_goal
from gobj.study.splits import Splits, split
from gobj.study.tables import Table
from gobj.study.training import Model, Setting

SETTINGS = (Setting("Adam", 0.01), Setting("Adam", 0.3), Setting("SGD", 1.0))


def splits_of(seeds: int = 3) -> Splits:
    generator = torch.Generator().manual_seed(5)
    features = torch.randn(300, 6, generator=generator, dtype=torch.float64)
    labels = (features[:, 0] + torch.randn(300, generator=generator) > 1.5).float()
    return split(Table(features, labels, None, "", {}), seeds)


def run(objective: str, settings: tuple[Setting, ...] = SETTINGS) -> list[Outcome]:
    goal = make_goal(objective, 0.6)
    return compare(goal, splits_of(), Model((), settings), 20, lambda: None)


@pytest.mark.parametrize(("objective", "best"), [("recall_at_precision", max), ("fpr_at_tpr", min)])
def test_the_setting_of_each_method_is_the_best_on_the_validation_rows(
    objective: str, best: Callable[[tuple[float, ...]], float]
) -> None:
    chosen = [outcome.validation.mean().item() for outcome in run(objective)]
    alone = [run(objective, (setting,)) for setting in SETTINGS]
    values = [[outcome.validation.mean().item() for outcome in each] for each in alone]
    assert chosen == [best(method) for method in zip(*values, strict=True)]


def test_cross_entropy_gets_a_threshold_that_meets_the_target_on_training_rows() -> None:
    for outcome in run("precision_at_recall")[:2]:
        assert outcome.train["recall"].min() >= 0.6
        assert outcome.test["recall"].min() < 0.6


def test_the_objective_keeps_the_threshold_that_it_tracked() -> None:
    outcome = run("recall_at_precision")[2]
    assert outcome.models.duals is not None
    assert torch.equal(outcome.threshold, outcome.models.duals[1][-1])


def test_class_weights_find_more_of_a_rare_class_at_probability_one_half() -> None:
    plain, weighted, _ = run("recall_at_precision", SETTINGS[1:2])
    assert (weighted.test_at_zero["recall"] > plain.test_at_zero["recall"]).all()


def test_outcomes_come_in_the_order_of_the_methods_and_progress_counts_steps() -> None:
    steps: list[None] = []
    goal = make_goal("recall_at_precision", 0.6)
    outcomes = compare(goal, splits_of(2), Model((3,), SETTINGS), 2, lambda: steps.append(None))
    assert tuple(outcome.models.method for outcome in outcomes) == METHODS
    assert len(steps) == 3 * 3 * 2
