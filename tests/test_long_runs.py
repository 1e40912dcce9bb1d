"""Counts and averages after very many examples, and after very many batches."""

from typing import Any

import pytest
import torch
from torch import Tensor

import gobj
from gobj.metrics import curve_compute, curve_init, curve_update
from tests.cases import STATEFUL, Case, changed, each_stateful, leaves, sample, warmed

BILLION = 1e9
EXACT = 2**24  # where float32 adds 1 for the last time


@each_stateful
def test_a_batch_of_a_billion_examples_is_a_batch(case: Case) -> None:
    logits, labels, _ = (x.float() for x in sample(case, 4096))
    state = changed(warmed(case, (3,)), Tensor.float)
    want, after = case(logits, labels, state)
    got, moved = case(logits, labels, state, weights=BILLION / 4096)
    torch.testing.assert_close(got, want)
    torch.testing.assert_close(leaves(moved), leaves(after))


COUNTING = [case for case in STATEFUL if case.rule_name in ("implicit", "focus", "weigh_first")]


@pytest.mark.parametrize("case", COUNTING, ids=str)
@pytest.mark.parametrize("steps", [1e6, EXACT - 1, EXACT, 2 * EXACT, BILLION])
def test_a_state_that_has_seen_very_many_batches_goes_on(case: Case, steps: float) -> None:
    """From a thousand batches on, how many there were does not matter."""
    state = changed(warmed(case, (3,)), Tensor.float)

    def aged(number: float) -> Any:
        counted = torch.full_like(state.statistics.steps, number)
        return state._replace(statistics=state.statistics._replace(steps=counted))

    old, young = aged(steps), aged(1e3)
    for seed in range(20):
        logits, labels, _ = (x.float() for x in sample(case, 64, seed=seed))
        want, young = case(logits, labels, young)
        got, old = case(logits, labels, old)
        torch.testing.assert_close(got, want)
        torch.testing.assert_close(old.threshold, young.threshold)
        torch.testing.assert_close(old.multiplier, young.multiplier)
    assert bool((old.statistics.steps >= steps).all())


def test_averages_do_not_drift() -> None:
    """The same batch again and again: the state settles, and stays to the last bit or two."""
    case = Case("recall_at_precision_loss", "implicit")
    logits, labels, _ = (x.float() for x in sample(case, 64))
    problem, state = case.problem, gobj.init_state((3,))
    states = []
    for step in range(6000):
        sums = gobj.observe(problem, logits, labels, state)
        state = gobj.update(problem, state, sums)
        if step in (2999, 5999):
            states.append(state.statistics.averages[..., :4])
    torch.testing.assert_close(*states, rtol=2e-2, atol=1e-5)


def test_parts_are_counted_one_by_one_beyond_what_float32_counts() -> None:
    rule = gobj.ImplicitMultiplier(order="weigh_first")
    criterion = gobj.nn.TPRAtFPRLoss(0.2, rule=rule)
    logits, labels = torch.tensor([1.0, -1.0, 0.5]), torch.tensor([1, 0, 0])
    with criterion.accumulating(total_weight=BILLION):
        criterion(logits, labels, BILLION)
        for _ in range(50):
            criterion(logits, labels)
        assert criterion.sums is not None
        assert criterion.sums.weight == 3 * BILLION + 150
        assert criterion.sums.positives == BILLION + 50


@pytest.mark.parametrize("cells", [None, 64])
def test_curves_count_one_by_one_after_a_billion(cells: int | None) -> None:
    state = curve_init(cells=cells)
    logits, labels = torch.linspace(-1, 1, 5), torch.tensor([0, 1, 0, 1, 1])
    state = curve_update(state, logits, labels, weights=BILLION)
    for _ in range(3):
        state = curve_update(state, logits, labels)
    assert curve_compute(state)["positives"] == 3 * BILLION + 9
