"""Which rows are for what: no row is in two parts, and none that was kept apart is compared."""

import numpy as np
import pytest
import torch
from torch import Tensor

from gobj.study.plan import Plan, make_plan

ROWS, SEEDS = 400, 3
LABELS = (torch.arange(ROWS) % 8 == 0).float()[:, None]
GROUPS = np.array([f"group {row % 37}" for row in range(ROWS)])
TIMES = np.random.default_rng(0).permutation(ROWS).astype(float)
PLANS = {
    "random": make_plan(LABELS, SEEDS),
    "groups": make_plan(LABELS, SEEDS, groups=GROUPS),
    "time": make_plan(LABELS, SEEDS, times=TIMES),
    "several labels": make_plan(LABELS.repeat(1, 2), SEEDS),
}


def there(rows: Tensor) -> list[int]:
    return [int(row) for row in rows if row >= 0]


@pytest.mark.parametrize("plan", PLANS.values(), ids=PLANS)
def test_parts_share_no_row_and_rows_kept_apart_are_not_compared(plan: Plan) -> None:
    kept = set(there(plan.final.test[0]))
    for split in range(SEEDS):
        every = [row for part in plan.splits for row in there(part[split])]
        assert len(set(every)) == len(every)
        assert not kept & set(every)
    final = [row for part in plan.final for row in there(part[0])]
    assert sorted(final) == list(range(ROWS))


@pytest.mark.parametrize("plan", PLANS.values(), ids=PLANS)
def test_parts_have_their_shares_of_the_rows(plan: Plan) -> None:
    whole = len(there(plan.final.train[0])) + len(there(plan.final.validation[0]))
    assert whole == pytest.approx(0.8 * ROWS, rel=0.1)
    sizes = [len(there(part[0])) for part in plan.splits]
    assert np.array(sizes) / sum(sizes) == pytest.approx([0.5, 0.25, 0.25], abs=0.05)


def test_random_parts_have_the_tables_share_of_positives() -> None:
    for part in (*PLANS["random"].splits, *PLANS["random"].final):
        for rows in part:
            assert LABELS[rows].mean().item() == pytest.approx(1 / 8, abs=0.01)


def test_splits_differ() -> None:
    first, second, _ = PLANS["random"].splits.train
    assert set(there(first)) != set(there(second))


def test_a_group_is_in_one_part() -> None:
    plan = PLANS["groups"]
    for split in range(SEEDS):
        parts = [set(GROUPS[there(part[split])]) for part in plan.splits]
        assert sum(map(len, parts)) == len(set.union(*parts))
    compared = {group for part in plan.splits for row in part for group in GROUPS[there(row)]}
    assert not compared & set(GROUPS[there(plan.final.test[0])])


def test_no_part_is_before_one_that_comes_before_it() -> None:
    plan = PLANS["time"]
    for parts in (plan.splits, plan.final):
        for rows in zip(*parts, strict=True):
            train, validation, test = (TIMES[there(part)] for part in rows)
            assert train.max() < validation.min()
            assert validation.max() < test.min()
    assert plan.splits.test.max() >= 0
    latest = max(TIMES[there(row)].max() for row in plan.splits.test)
    assert latest < TIMES[there(plan.final.test[0])].min()


def test_rows_of_one_time_are_in_one_part() -> None:
    times = np.arange(ROWS) // 9.0
    plan = make_plan(LABELS, SEEDS, times=times)
    for parts in (plan.splits, plan.final):
        for rows in zip(*parts, strict=True):
            train, validation, test = (set(times[there(part)]) for part in rows)
            assert not train & validation
            assert not validation & test
    compared = {time for part in plan.splits for rows in part for time in times[there(rows)]}
    assert not compared & set(times[there(plan.final.test[0])])
