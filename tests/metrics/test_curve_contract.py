import inspect
import math

import pytest
import torch
from torch import Tensor
from torch._dynamo.testing import CompileCounterWithBackend

import gobj.metrics
from gobj.metrics import (
    CurveState,
    curve_compute,
    curve_init,
    curve_merge,
    curve_points,
    curve_update,
)

each_state = pytest.mark.parametrize("cells", [None, 64])
TARGETS = {
    "target_precision": 0.9,
    "target_recall": 0.5,
    "target_fpr": 0.1,
    "target_tpr": 0.9,
    "target_npv": 0.9,
    "budget": 0.2,
}


def batch(*labels: int) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(40, *labels, generator=generator, dtype=torch.float64).mul(4).round() / 4
    truth = torch.rand(40, *labels, generator=generator) < logits.sigmoid()
    return logits, truth.double(), torch.rand(40, *labels, generator=generator, dtype=torch.float64)


def read(state: CurveState) -> dict[str, Tensor]:
    return curve_compute(state, max_fpr=0.2, **TARGETS)


def same(got: object, expected: object) -> None:
    torch.testing.assert_close(got, expected, rtol=0, atol=0, equal_nan=True)


@each_state
def test_labels_side_by_side_are_separate_curves(cells: int | None) -> None:
    logits, labels, weights = batch(3)
    together = read(curve_update(curve_init((3,), cells=cells), logits, labels, weights=weights))
    for index in range(3):
        alone = curve_update(
            curve_init(cells=cells), logits[:, index], labels[:, index], weights=weights[:, index]
        )
        expected = read(alone)
        torch.testing.assert_close({k: v[index] for k, v in together.items()}, expected)


@each_state
def test_a_vmap_over_labels_is_the_native_call(cells: int | None) -> None:
    logits, labels, weights = batch(3)
    start = curve_update(curve_init((3,), cells=cells), logits, labels)
    native = curve_update(start, logits * 2, labels, weights=weights)

    def update(state: CurveState, *columns: Tensor) -> CurveState:
        return curve_update(state, *columns[:2], weights=columns[2])

    mapped = torch.vmap(update, in_dims=(0, 1, 1, 1))(start, logits * 2, labels, weights)
    assert type(mapped) is type(native)
    torch.testing.assert_close(mapped, native)
    torch.testing.assert_close(torch.vmap(read)(mapped), read(native))
    torch.testing.assert_close(
        torch.vmap(curve_update, in_dims=(0, 1, 1))(native, logits, labels),
        curve_update(native, logits, labels),
    )


@each_state
@pytest.mark.parametrize("varying", [0, 1, 2])
def test_a_vmap_over_one_argument_shares_the_others(cells: int | None, varying: int) -> None:
    columns = batch()
    many = torch.stack([columns[varying], columns[varying].flip(0)])
    state = curve_init(cells=cells)

    def update(varied: Tensor) -> dict[str, Tensor]:
        logits, labels, weights = (*columns[:varying], varied, *columns[varying + 1 :])
        return read(curve_update(state, logits, labels, weights=weights))

    mapped = torch.vmap(update)(many)
    for index, one in enumerate(many):
        torch.testing.assert_close({k: v[index] for k, v in mapped.items()}, update(one))


@pytest.mark.parametrize("weighted", [False, True])
def test_the_update_of_a_grid_compiles_once_into_one_graph(weighted: bool) -> None:
    torch._dynamo.reset()
    logits, labels, weights = batch(3)
    graphs = CompileCounterWithBackend("aot_eager")
    compiled = torch.compile(curve_update, backend=graphs, fullgraph=True)
    state = plain = curve_init((3,), cells=64)
    for step in range(3):
        state = compiled(state, logits * step, labels, weights=weights if weighted else None)
        plain = curve_update(plain, logits * step, labels, weights=weights if weighted else None)
    same(state, plain)
    assert graphs.frame_count == 1


@each_state
def test_inputs_stay_and_calls_repeat_bit_for_bit(cells: int | None) -> None:
    logits, labels, weights = batch(2)
    state = curve_update(curve_init((2,), cells=cells), logits, labels)
    before = [tensor.clone() for tensor in (*state, logits, labels, weights)]
    first = curve_update(state, logits, labels, weights=weights)
    same(curve_update(state, logits, labels, weights=weights), first)
    same(read(state), read(state))
    same([*state, logits, labels, weights], before)


@each_state
def test_a_state_is_detached_and_wide(cells: int | None) -> None:
    logits, labels, weights = batch()
    logits, weights = logits.half().requires_grad_(), weights.requires_grad_()
    state = curve_update(curve_init(cells=cells), logits, labels, weights=weights)
    assert all(leaf.dtype == torch.float64 and not leaf.requires_grad for leaf in state)


@each_state
def test_a_single_precision_state_stays_so(cells: int | None) -> None:
    state = curve_init(cells=cells, dtype=torch.float32)
    state = curve_merge(state, curve_update(state, *batch()[:2]))
    assert {leaf.dtype for leaf in (*state, *read(state).values())} == {torch.float32}
    wide = read(curve_update(curve_init(cells=cells), *batch()[:2]))
    torch.testing.assert_close(read(state), wide, check_dtype=False)


@each_state
@pytest.mark.parametrize("dtype", [torch.bool, torch.int64, torch.uint8, torch.bfloat16])
def test_labels_mean_the_same_in_every_dtype(cells: int | None, dtype: torch.dtype) -> None:
    logits, labels, _ = batch()
    state = curve_update(curve_init(cells=cells), logits, labels.to(dtype))
    same(state, curve_update(curve_init(cells=cells), logits, labels))


@each_state
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32])
def test_logits_are_ranked_as_they_are_in_every_dtype(
    cells: int | None, dtype: torch.dtype
) -> None:
    logits, labels, _ = batch()
    narrow = read(curve_update(curve_init(cells=cells), logits.to(dtype), labels))
    wide = read(curve_update(curve_init(cells=cells), logits.to(dtype).double(), labels))
    torch.testing.assert_close(narrow, wide)


@each_state
@pytest.mark.parametrize("shape", [(), (40,), (40, 1), (40, 2)])
def test_weights_broadcast_from_the_left(cells: int | None, shape: tuple[int, ...]) -> None:
    logits, labels, _ = batch(2)
    weights = torch.rand(shape, dtype=torch.float64)
    spread = weights.reshape(shape + (1,) * (2 - len(shape))).expand(40, 2)
    state = curve_update(curve_init((2,), cells=cells), logits, labels, weights=weights)
    same(state, curve_update(curve_init((2,), cells=cells), logits, labels, weights=spread))


@each_state
def test_the_scale_of_the_weights_does_not_matter(cells: int | None) -> None:
    logits, labels, weights = batch()
    one, two = (
        read(curve_update(curve_init(cells=cells), logits, labels, weights=weights * scale))
        for scale in (1, 8)
    )
    torch.testing.assert_close(one["average_precision"], two["average_precision"])
    torch.testing.assert_close(one["roc_auc"], two["roc_auc"])
    same(one["recall_at_precision_threshold"], two["recall_at_precision_threshold"])


@each_state
@pytest.mark.parametrize("lost", [math.nan, math.inf, -math.inf, 1e4])
def test_what_has_no_weight_is_ignored(cells: int | None, lost: float) -> None:
    logits, labels, weights = batch()
    logits = torch.cat([logits, torch.tensor([lost, 1.0, lost])])
    labels = torch.cat([labels, torch.tensor([1.0, math.nan, math.nan])])
    padded = torch.cat([weights, torch.zeros(3)])
    kept = curve_update(curve_init(cells=cells), logits[:40], labels[:40], weights=weights)
    state = curve_update(curve_init(cells=cells), logits, labels, weights=padded)
    same(read(state), read(kept))


@each_state
@pytest.mark.parametrize("where", [0, 1, 2])
def test_a_nan_that_counts_is_loud_in_its_label_alone(cells: int | None, where: int) -> None:
    columns = batch(2)
    clean = read(curve_update(curve_init((2,), cells=cells), *columns[:2], weights=columns[2]))
    columns[where][3, 0] = math.nan
    state = curve_update(curve_init((2,), cells=cells), *columns[:2], weights=columns[2])
    state = curve_update(state, *batch(2)[:2], weights=0)
    result = read(state)
    assert all(value[0].isnan() for value in result.values())
    same({name: value[1] for name, value in result.items()}, {k: v[1] for k, v in clean.items()})


@each_state
@pytest.mark.parametrize("size", [0, 5])
def test_a_batch_without_weight_changes_no_result(cells: int | None, size: int) -> None:
    state = curve_update(curve_init(cells=cells), *batch()[:2])
    more = curve_update(state, torch.full((size,), 9.0), torch.ones(size), weights=0)
    same(read(more), read(state))


EVERYTHING, NOTHING = -math.inf, math.inf


@each_state
@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        ([], {"roc_auc": 0.5, "partial_auc": 0.5, "average_precision": 0.0}),
        ([0, 0], {"roc_auc": 0.5, "partial_auc": 0.5, "average_precision": 0.0}),
        ([1, 1], {"roc_auc": 0.5, "partial_auc": 0.5, "average_precision": 1.0}),
    ],
)
def test_areas_without_both_classes_are_those_of_chance(
    cells: int | None, labels: list[int], expected: dict[str, float]
) -> None:
    state = curve_update(
        curve_init(cells=cells), torch.arange(len(labels)) / 2, torch.tensor(labels)
    )
    result = read(state)
    assert {name: result[name].item() for name in expected} == expected
    assert not any(value.isnan() for value in result.values())


@each_state
@pytest.mark.parametrize(
    ("name", "argument", "labels", "value", "threshold"),
    [
        ("recall_at_precision", "target_precision", [0, 1, 0], 0.0, NOTHING),
        ("tpr_at_fpr", "target_fpr", [0, 1, 0], 0.0, NOTHING),
        ("recall_at_budget", "budget", [0, 1, 0], 0.0, NOTHING),
        ("precision_at_recall", "target_recall", [0, 0, 0], 0.0, EVERYTHING),
        ("fpr_at_tpr", "target_tpr", [0, 0, 0], 1.0, EVERYTHING),
        ("specificity_at_npv", "target_npv", [0, 0, 1], 0.0, EVERYTHING),
    ],
)
def test_a_target_out_of_reach_gives_its_fallback(
    cells: int | None, name: str, argument: str, labels: list[int], value: float, threshold: float
) -> None:
    state = curve_update(curve_init(cells=cells), torch.tensor([3.0, 2, 1]), torch.tensor(labels))
    result = curve_compute(
        state, **{argument: 0.1 if argument in {"target_fpr", "budget"} else 0.9}
    )
    assert (result[name].item(), result[f"{name}_threshold"].item()) == (value, threshold)


@each_state
def test_infinite_scores_are_very_sure_ones(cells: int | None) -> None:
    scores = torch.tensor([-math.inf, -1e4, 1e4, math.inf])
    result = read(curve_update(curve_init(cells=cells), scores, torch.tensor([0, 0, 1, 1])))
    assert (result["roc_auc"].item(), result["average_precision"].item()) == (1.0, 1.0)


@each_state
@pytest.mark.parametrize("weights", [None, 2**24])
def test_counting_goes_on_where_single_precision_stops(
    cells: int | None, weights: int | None
) -> None:
    state = curve_init(cells=cells)
    state = curve_update(state, torch.zeros(1), torch.ones(1), weights=2**24)
    for _ in range(10):
        state = curve_update(state, torch.zeros(1), torch.ones(1))
    if weights is not None:
        state = curve_merge(
            state, curve_update(curve_init(cells=cells), torch.zeros(1), torch.ones(1))
        )
    assert curve_compute(state)["positives"].item() == 2**24 + 10 + (weights is not None)


@each_state
@pytest.mark.parametrize("labels", [torch.tensor([0, 1, 1]), torch.eye(2)[[0, 1, 1]]])
def test_two_class_columns_are_refused_with_the_column_to_pass(
    cells: int | None, labels: Tensor
) -> None:
    probabilities = torch.randn(3, 2).softmax(1)
    message = r"`logits` must hold one score per label: .*`probabilities\[..., 1\]`.*shape \[3, 2\]"
    with pytest.raises(ValueError, match=message):
        curve_update(curve_init(cells=cells), probabilities, labels)


def test_the_positive_column_and_the_difference_of_logits_rank_alike() -> None:
    logits, labels, _ = batch(2)
    column = curve_update(curve_init(), logits.softmax(1)[:, 1], labels[:, 0])
    difference = curve_update(curve_init(), logits[:, 1] - logits[:, 0], labels[:, 0])
    for name in ("roc_auc", "average_precision"):
        same(curve_compute(column)[name], curve_compute(difference)[name])


STATE = curve_init()
WRONG = {
    "logits` must be a floating-point": lambda: curve_update(
        STATE, torch.ones(3).int(), torch.ones(3)
    ),
    "labels` must have the logits' shape": lambda: curve_update(
        STATE, torch.ones(3), torch.ones(2)
    ),
    "logits` must have shape": lambda: curve_update(STATE, torch.ones(3, 4), torch.ones(3, 4)),
    "weights` must": lambda: curve_update(
        STATE, torch.ones(3), torch.ones(3), weights=torch.ones(2)
    ),
    "state` must come from": lambda: curve_update(torch.ones(3), torch.ones(3), torch.ones(3)),
    "state` must come": lambda: curve_compute(None),
    "state` must": lambda: curve_points(torch.ones(2)),
    "cells` must": lambda: curve_init(cells=3),
    "cells` must be a whole": lambda: curve_init(cells=64.5),
    "dtype` must be": lambda: curve_init(dtype=torch.float16),
    "states` must hold": curve_merge,
    "states` must be of one": lambda: curve_merge(STATE, curve_init(cells=64)),
    "states` must be": lambda: curve_merge(curve_init(cells=32), curve_init(cells=64)),
    "max_fpr` must be": lambda: curve_compute(STATE, max_fpr=0.0),
    "area` must be": lambda: curve_compute(STATE, max_fpr=0.5, area="half"),
    "target_npv` must be": lambda: curve_compute(STATE, target_npv=1.5),
    "budget` must be": lambda: curve_compute(STATE, budget=torch.ones(3)),
}


@pytest.mark.parametrize("message", WRONG)
def test_a_wrong_argument_is_named(message: str) -> None:
    with pytest.raises(ValueError, match=rf"^curve_\w+: `{message}"):
        WRONG[message]()


@pytest.mark.parametrize("name", [name for name in gobj.metrics.__all__ if name[0] == "c"])
def test_every_argument_is_documented_in_order(name: str) -> None:
    function = getattr(gobj.metrics, name)
    doc = inspect.getdoc(function)
    places = [
        doc.index(f"\n    {argument}: ") for argument in inspect.signature(function).parameters
    ]
    assert places == sorted(places)
