"""Verdicts of rows whose numbers are known."""

import copy
from typing import Any

import pytest
import torch

from benchmarks.study import check_verdict
from gobj.study.command import Result
from gobj.study.comparison import Outcome, Reading
from gobj.study.goals import make_goal
from gobj.study.methods import Fitted, Method
from gobj.study.verdict import judge

REACH = 0.95
GOAL = make_goal("recall_at_precision", 0.9)
NOISE = torch.tensor([0.01, -0.01, 0.02, -0.02, 0.0, 0.01])
SHIFTS = torch.randn(5, 6, 1, generator=torch.Generator().manual_seed(0)).mul(1e-3)


def row(
    name: str, family: Any, value: float, *, precision: float = 0.9, feasible: bool = True
) -> Outcome:
    values = (value + NOISE).double()[:, None]
    held = torch.full_like(values, precision)
    found = torch.full_like(values, feasible, dtype=torch.bool)
    reading = Reading(values, found, values, held, {})
    fitted = Fitted({}, 0.0, [], values, values, 0.0)
    method = Method(name, family, name.startswith("objective"), (), None, 1)
    return Outcome(method, fitted, values, reading, reading)


def rows(
    linear: float, network: float, trees: float, bce: float = 0.5, **own: Any
) -> list[Outcome]:
    every = [
        row("BCE, linear", "linear", bce),
        row("objective, linear", "linear", linear, **own),
        row("BCE, network", "network", bce + 0.001),
        row("objective, network", "network", network, **own),
        row("gradient boosting", "trees", trees),
    ]
    return [
        outcome._replace(fitted=outcome.fitted._replace(value=outcome.fitted.value + shift))
        for outcome, shift in zip(every, SHIFTS.unbind(), strict=True)
    ]


@pytest.mark.parametrize(
    ("values", "kind", "stronger"),
    [
        ((0.6, 0.7, 0.4), "helps", False),
        ((0.6, 0.5, 0.8), "helps its family", True),
        ((0.5, 0.501, 0.4), "makes no difference", False),
        ((0.5, 0.501, 0.8), "makes no difference", True),
        ((0.3, 0.4, 0.4), "does not help", True),
    ],
)
def test_the_verdict_and_the_stronger_row(
    values: tuple[float, float, float], kind: str, stronger: bool
) -> None:
    verdict = judge(GOAL, rows(*values), 0, 0.5, REACH)
    assert (verdict.kind, verdict.stronger) == (kind, stronger)
    assert verdict.rival.method.name.lower() in verdict.sentence.lower() or not stronger


def test_a_low_value_is_good_where_alarms_count() -> None:
    goal = make_goal("fpr_at_tpr", 0.9)
    assert judge(goal, rows(0.3, 0.4, 0.5), 0, 0.5, REACH).kind == "helps"
    assert judge(goal, rows(0.7, 0.6, 0.6), 0, 0.5, REACH).kind == "does not help"


def test_a_value_that_was_paid_for_with_the_constraint_does_not_help() -> None:
    assert (
        judge(GOAL, rows(0.6, 0.7, 0.4, precision=0.85), 0, 0.5, REACH).kind
        == "makes no difference"
    )


def test_a_target_that_no_row_meets_is_out_of_reach() -> None:
    assert judge(GOAL, rows(0.6, 0.7, 0.4), 0, 0.5, 0.89).kind == "out of reach"


def test_more_overlap_of_the_splits_makes_the_verdict_more_careful() -> None:
    outcomes = rows(0.5, 0.504, 0.4)
    narrow, wide = (judge(GOAL, outcomes, 0, overlap, REACH).difference for overlap in (0.0, 1.0))
    assert wide.half_width == pytest.approx(narrow.half_width * 7**0.5)


def test_scipy_draws_the_same_verdict_from_the_values_of_each_split(result: Result) -> None:
    report = result.report
    assert check_verdict(report) == []
    turned = copy.deepcopy(report)
    turned["labels"][0]["verdict"]["kind"] = "helps"
    turned["labels"][0]["verdict"]["families"][0]["helps"] = True
    assert check_verdict(turned)
