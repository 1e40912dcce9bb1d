import math
from typing import Any

import hypothesis.strategies as st
import pytest
import torch
from hypothesis import given
from sklearn.metrics import average_precision_score, roc_auc_score
from torch import Tensor

from gobj.metrics import (
    CurveState,
    curve_compute,
    curve_init,
    curve_merge,
    curve_points,
    curve_update,
)
from tests.metrics.curve_oracles import (
    OBJECTIVES,
    Row,
    best_value,
    counts,
    pairwise_auc,
    partial_area,
    reference_cases,
)

ROWS = st.lists(
    st.tuples(
        st.integers(-4, 4).map(lambda k: k / 4),
        st.integers(0, 1),
        st.sampled_from([0.0, 0.5, 1.0, 1.0, 3.0]),
    ),
    max_size=25,
)
EIGHTHS = st.integers(0, 8).map(lambda k: k / 8)


def tensors(rows: list[Row]) -> list[Tensor]:
    columns = list(zip(*rows, strict=True)) or [(), (), ()]
    return [torch.tensor(column, dtype=torch.float64) for column in columns]


def curve(rows: list[Row], cells: int | None = None) -> CurveState:
    scores, labels, weights = tensors(rows)
    return curve_update(curve_init(cells=cells), scores, labels, weights=weights)


def check(got: Tensor, expected: float | list[float] | Tensor, tolerance: float = 1e-12) -> None:
    expected = torch.as_tensor(expected, dtype=torch.float64)
    torch.testing.assert_close(got, expected, rtol=tolerance, atol=tolerance)


CASES = reference_cases("metric")
AREAS = {"pauc_raw": "raw", "pauc_normalized": "normalised", "pauc_mcclish": "mcclish"}


def reference_value(state: CurveState, quantity: str, params: dict[str, Any]) -> Tensor:
    if quantity in AREAS:
        result = curve_compute(state, max_fpr=params["max_fpr"], area=AREAS[quantity])
        return result["partial_auc"]
    targets = {OBJECTIVES[quantity].argument: params["target"]} if quantity in OBJECTIVES else {}
    return curve_compute(state, **targets)[quantity]


@pytest.mark.parametrize("name", CASES)
def test_an_epoch_of_batches_gives_the_published_numbers(name: str) -> None:
    case = CASES[name]
    first = torch.tensor(case["inputs"]["batches"][0]["scores"])
    state = curve_init(first.shape[1:])
    for batch, expected in zip(case["inputs"]["batches"], case["expected"]["batches"], strict=True):
        scores = torch.tensor(batch["scores"], dtype=torch.float64)
        weights = batch["weights"] and torch.tensor(batch["weights"], dtype=torch.float64)
        state = curve_update(state, scores, torch.tensor(batch["labels"]), weights=weights)
        for quantity in case["params"]["quantities"]:
            value = reference_value(state, quantity, case["params"]).reshape(-1)
            if quantity in expected:
                check(value, expected[quantity], 1e-10)
            else:
                assert value.isfinite().all()


@given(ROWS.filter(lambda rows: {y for _, y, w in rows if w} == {0, 1}), EIGHTHS.filter(bool))
def test_areas_equal_those_of_scikit_learn_with_ties_and_weights(
    rows: list[Row], max_fpr: float
) -> None:
    scores, labels, weights = (column.numpy() for column in tensors(rows))
    result = curve_compute(curve(rows), max_fpr=max_fpr)
    check(result["roc_auc"], roc_auc_score(labels, scores, sample_weight=weights))
    partial = roc_auc_score(labels, scores, sample_weight=weights, max_fpr=max_fpr)
    check(result["partial_auc"], partial)
    expected = average_precision_score(labels, scores, sample_weight=weights)
    check(result["average_precision"], expected)


@given(ROWS)
def test_roc_auc_is_the_share_of_pairs_in_order(rows: list[Row]) -> None:
    check(curve_compute(curve(rows))["roc_auc"], float(pairwise_auc(rows)))


@given(ROWS.filter(lambda rows: {y for _, y, w in rows if w} == {0, 1}), EIGHTHS.filter(bool))
def test_the_raw_partial_area_is_that_under_the_polyline(rows: list[Row], max_fpr: float) -> None:
    area = float(partial_area(rows, max_fpr))
    raw = curve_compute(curve(rows), max_fpr=max_fpr, area="raw")["partial_auc"]
    normalised = curve_compute(curve(rows), max_fpr=max_fpr, area="normalised")["partial_auc"]
    check(raw, area)
    check(normalised, area / max_fpr)


@pytest.mark.parametrize("name", OBJECTIVES)
@given(ROWS, EIGHTHS)
def test_no_threshold_does_better_at_the_target(name: str, rows: list[Row], target: float) -> None:
    value = curve_compute(curve(rows), **{OBJECTIVES[name].argument: target})[name]
    check(value, float(best_value(rows, name, target)))


@pytest.mark.parametrize("cells", [None, 16])
@pytest.mark.parametrize("name", OBJECTIVES)
@given(ROWS, EIGHTHS)
def test_a_value_is_what_counting_gives_at_its_threshold(
    cells: int | None, name: str, rows: list[Row], target: float
) -> None:
    objective = OBJECTIVES[name]
    result = curve_compute(curve(rows, cells), **{objective.argument: target})
    count = counts(rows, result[f"{name}_threshold"].item())
    check(result[name], float(objective.value(count)))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32])
def test_a_threshold_separates_neighbouring_scores_of_every_dtype(dtype: torch.dtype) -> None:
    low = torch.tensor(1.0, dtype=dtype)
    high = (low + torch.finfo(dtype).eps).to(dtype)
    logits = torch.stack([low, high])
    state = curve_update(curve_init(), logits, torch.tensor([0, 1]))
    threshold = curve_compute(state, target_precision=1.0)["recall_at_precision_threshold"]
    assert (logits > threshold).tolist() == [False, True]


def test_a_rate_equal_to_a_single_precision_target_meets_it() -> None:
    state = curve_update(curve_init(), torch.arange(5.0), torch.tensor([1, 0, 0, 1, 1]))
    result = curve_compute(state, target_precision=torch.tensor(0.6))
    assert result["recall_at_precision"].item() == 1.0


def test_each_label_has_its_own_target() -> None:
    scores = torch.tensor([[3.0, 3.0], [2.0, 2.0], [1.0, 1.0]])
    state = curve_update(curve_init((2,)), scores, torch.tensor([[1, 1], [0, 0], [1, 1]]))
    result = curve_compute(state, target_precision=torch.tensor([0.6, 0.9]))
    check(result["recall_at_precision"], [1.0, 0.5])


def test_an_epoch_is_not_the_mean_of_its_batches() -> None:
    batches = [(torch.tensor([0.1, 0.2]), torch.tensor([0, 1]))]
    batches += [(torch.tensor([0.8, 0.9]), torch.tensor([0, 1]))]
    apart = [curve_compute(curve_update(curve_init(), *batch))["roc_auc"] for batch in batches]
    state = curve_init()
    for batch in batches:
        state = curve_update(state, *batch)
    check(torch.stack(apart).mean(), 1.0)
    check(curve_compute(state)["roc_auc"], 0.75)


@given(ROWS, st.integers(0, 25), st.integers(0, 25))
def test_merging_shards_is_concatenating_them(rows: list[Row], first: int, second: int) -> None:
    first, second = sorted((first, second))
    shards = [curve(part) for part in (rows[:first], rows[first:second], rows[second:])]
    merged = curve_compute(curve_merge(*shards), target_fpr=0.25)
    torch.testing.assert_close(merged, curve_compute(curve(rows), target_fpr=0.25), rtol=0, atol=0)


@given(ROWS)
def test_an_integer_weight_is_a_repetition(rows: list[Row]) -> None:
    doubled = [(s, y, 2 * w) for s, y, w in rows]
    repeated = [(s, y, 1.0) for s, y, w in doubled for _ in range(int(w))]
    torch.testing.assert_close(
        curve_compute(curve(doubled), target_npv=0.5),
        curve_compute(curve(repeated), target_npv=0.5),
    )


def test_the_points_are_the_polyline_to_draw() -> None:
    rows = [(0.5, 1, 1.0), (0.5, 0, 1.0), (0.25, 1, 2.0)]
    points = curve_points(curve(rows))
    check(points.threshold, [math.inf, math.inf, 0.25, -math.inf])
    check(points.true_positives, [0.0, 0.0, 1.0, 3.0])
    check(points.false_positives, [0.0, 0.0, 1.0, 1.0])
