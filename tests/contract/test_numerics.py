"""Every public loss on the batches that real data brings: empty, one-sided, weighted, broken."""

import math
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

import gobj
from tests.cases import (
    Case,
    State,
    assert_same_state,
    changed,
    each_aimed,
    each_case,
    each_constrained,
    each_stateful,
    gradient,
    leaves,
    sample,
    warmed,
    weighted,
)
from tests.strategies import batches, repetition, some_weight

DTYPES = [torch.bfloat16, torch.float16, torch.float32, torch.float64]
each_weighted = pytest.mark.parametrize(
    "case", [case for case in each_case.args[1] if case.takes("weights")], ids=str
)


def close(got: tuple[Tensor, State], want: tuple[Tensor, State], tolerance: float = 1e-9) -> None:
    """Compare loss and state up to rounding."""
    options = {"rtol": tolerance, "atol": tolerance}
    torch.testing.assert_close(got[0], want[0], **options)
    torch.testing.assert_close(leaves(got[1]), leaves(want[1]), **options)


def finite(loss: Tensor, state: State) -> bool:
    """Tell whether all is finite."""
    return all(tensor.isfinite().all() for tensor in (loss, *leaves(state)))


def differ(one: tuple[Tensor, State], other: tuple[Tensor, State]) -> bool:
    """Tell whether loss or state differ."""
    pairs = zip(leaves(one), leaves(other), strict=True)
    return any(not torch.equal(*pair) for pair in pairs)


@each_case
@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_an_empty_batch_costs_nothing_and_teaches_nothing(case: Case, reduction: str) -> None:
    options = {"reduction": reduction} if case.takes("reduction") else {}
    logits, labels, _ = sample(case, 0)
    state = warmed(case, (3,))
    logits.requires_grad_()
    loss, after = case(logits, labels, state, **options)
    loss.backward()
    assert loss.item() == 0
    assert logits.grad is not None
    assert logits.grad.shape == logits.shape
    assert_same_state(after, state)


@each_weighted
@pytest.mark.parametrize("junk", [0.0, 3.0, math.nan, math.inf])
def test_a_batch_without_weight_costs_nothing_and_teaches_nothing(case: Case, junk: float) -> None:
    logits, labels, weights = sample(case)
    logits, state = torch.full_like(logits, junk).requires_grad_(), warmed(case, (3,))
    loss, after = case(logits, labels, state, weights=weights * 0)
    loss.backward()
    assert loss.item() == 0
    torch.testing.assert_close(logits.grad, torch.zeros_like(logits), rtol=0, atol=0)
    assert_same_state(after, state)


@each_stateful
def test_a_label_without_weight_keeps_its_state_while_the_others_learn(case: Case) -> None:
    logits, labels, _ = sample(case)
    weights = torch.tensor([1.0, 0.0, 1.0]).expand(20, 3)
    state = warmed(case, (3,))
    _, after = case(logits, labels, state, weights=weights)
    pairs = zip(leaves(after), leaves(state), strict=True)
    moved = torch.stack([(new != old).reshape(3, -1).any(1) for new, old in pairs]).any(0)
    assert moved.tolist() == [True, False, True]


@each_case
@pytest.mark.parametrize("only", [0, 1])
def test_a_batch_of_one_class_is_finite(case: Case, only: int) -> None:
    logits, labels, _ = sample(case)
    state = case.start((3,))
    for _ in range(3):
        loss, state = case(logits, torch.full_like(labels, only), state)
        assert finite(loss, state)
    slope = gradient(lambda x: case(x, torch.full_like(labels, only), state)[0], logits)
    assert slope.isfinite().all()


@each_case
@pytest.mark.parametrize("size", [30.0, 1e4])
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("right", [True, False], ids=["right", "wrong"])
def test_huge_scores_are_finite_wherever_they_stand(
    case: Case, size: float, dtype: torch.dtype, right: bool
) -> None:
    logits, labels, _ = sample(case)
    if case.spec.inputs == "binary":
        logits = (labels * 2 - 1) * (size if right else -size)
    else:
        logits = logits.sign() * size
    logits, state = logits.to(dtype), case.start((3,))
    for _ in range(3):
        loss, state = case(logits, labels, state)
        assert finite(loss, state)
    slope = gradient(lambda x: case(x, labels, state)[0], logits)
    assert slope.isfinite().all()


@each_case
def test_one_huge_score_among_ordinary_ones_is_finite(case: Case) -> None:
    logits, labels, _ = sample(case)
    state = warmed(case, (3,))
    logits[0], logits[1] = 1e4, -1e4
    loss, after = case(logits, labels, state)
    assert finite(loss, after)
    assert gradient(lambda x: case(x, labels, state)[0], logits).isfinite().all()


@each_constrained
@pytest.mark.parametrize("rule", ["implicit", "exact", "surrogate"])
@pytest.mark.parametrize(
    "surrogate", [gobj.cross_entropy, gobj.hinge, gobj.squared_hinge, gobj.sigmoid()], ids=str
)
def test_infinite_scores_on_the_right_side_are_very_sure_scores(
    case: Case, rule: str, surrogate: gobj.Surrogate
) -> None:
    case = Case(case.name, rule)
    logits, labels, _ = sample(case, 20, ())
    labels[0], labels[1] = 1, 0
    bounded = isinstance(surrogate, type(gobj.sigmoid()))
    if case.goal.bounded_by_errors(0.5) or bounded:
        logits[0] = math.inf
    logits[1] = -math.inf
    state = warmed(case)
    loss, after = case(logits, labels, state, surrogate=surrogate)
    assert finite(loss, after)
    sure = case(logits.clamp(-9e3, 9e3), labels, state, surrogate=surrogate)[0]
    torch.testing.assert_close(loss, sure)
    slope = gradient(lambda x: case(x, labels, state, surrogate=surrogate)[0], logits)
    assert slope.isfinite().all()


@each_stateful
@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_a_missing_score_is_loud_and_kept_out_of_the_state(case: Case, reduction: str) -> None:
    logits, labels, _ = sample(case)
    logits[4, 1] = math.nan
    state = warmed(case, (3,))
    loss, after = case(logits, labels, state, reduction=reduction)
    assert loss.isnan()
    for new, old in zip(leaves(after), leaves(state), strict=True):
        torch.testing.assert_close(new[1], old[1], rtol=0, atol=0)
    for label in (0, 2):
        assert any((n != o)[label].any() for n, o in zip(leaves(after), leaves(state), strict=True))


@each_stateful
def test_a_missing_label_with_weight_is_loud_and_kept_out_of_the_state(case: Case) -> None:
    logits, labels, _ = sample(case, 20, ())
    labels[4] = math.nan
    state = warmed(case)
    loss, after = case(logits, labels, state)
    assert loss.isnan()
    assert_same_state(after, state)


@each_weighted
@pytest.mark.parametrize("junk", [math.nan, math.inf, -math.inf, 1e30])
@pytest.mark.parametrize("reduction", ["mean", "none"])
def test_what_has_no_weight_is_as_if_absent(case: Case, junk: float, reduction: str) -> None:
    if reduction == "none" and not case.relative:  # its elements do not know of each other
        reduction = "sum"
    options = {"reduction": reduction} if case.takes("reduction") else {}
    logits, labels, weights = sample(case)
    weights[3] = weights[11] = 0
    kept = [i for i in range(20) if i not in (3, 11)]
    state = warmed(case, (3,))
    broken, missing = logits.clone(), labels.clone()
    broken[3], broken[11] = junk, -junk
    if labels.is_floating_point():
        missing[3] = math.nan
        missing[11] = junk

    def run(logits: Tensor, labels: Tensor, weights: Tensor) -> tuple[Tensor, Tensor, State]:
        leaf = logits.clone().requires_grad_()
        loss, after = case(leaf, labels, state, weights=weights, **options)
        loss.sum().backward()
        assert leaf.grad is not None
        return loss, leaf.grad, after

    loss, slope, after = run(broken, missing, weights)
    clean_loss, clean_slope, clean_after = run(logits, labels, weights)
    torch.testing.assert_close(loss, clean_loss, rtol=0, atol=0)
    torch.testing.assert_close(slope, clean_slope, rtol=0, atol=0)
    assert_same_state(after, clean_after)
    assert not slope[[3, 11]].any()
    less = run(logits[kept], labels[kept], weights[kept])
    scale = len(kept) / 20 if reduction == "none" else 1.0  # each is relative to the batch
    if reduction == "none":
        loss = loss[kept]
    close((loss * scale, (slope[kept] * scale, after)), (less[0], less[1:]))


@each_stateful
def test_one_missing_label_is_ignored_for_that_label_alone(case: Case) -> None:
    logits, labels, _ = sample(case)
    weights = torch.ones(20, 3)
    weights[2, 0] = weights[5, 1] = 0
    labels[2, 0] = labels[5, 1] = math.nan
    state = warmed(case, (3,))
    _, after = case(logits, labels, state, weights=weights)
    for label, dropped in enumerate((2, 5, None)):
        kept = [i for i in range(20) if i != dropped]
        alone = changed(state, lambda leaf, label=label: leaf[label])
        _, expected = case(logits[kept, label], labels[kept, label], alone)
        got = [leaf[label] for leaf in leaves(after)]
        bounds = {"rtol": 1e-10, "atol": 1e-12}
        torch.testing.assert_close(got, leaves(expected), **bounds)


@pytest.mark.parametrize(  # a repeated embedding makes pairs with itself
    "case", [c for c in each_weighted.args[1] if c.spec.inputs != "embeddings"], ids=str
)
@given(data=st.data(), warm=st.booleans())
def test_a_whole_weight_is_a_repetition(case: Case, data: st.DataObject, warm: bool) -> None:
    batch = data.draw(batches(case, labels=(), weights=repetition))
    shape = tuple(batch.logits.shape[1:])
    state = warmed(case, shape) if warm else case.start(shape)
    times = batch.weights.long()
    repeated = (tensor.repeat_interleave(times, 0) for tensor in batch[:2])
    weighted_outcome = case(batch.logits, batch.labels, state, weights=batch.weights)
    close(weighted_outcome, case(*repeated, state), 1e-9)


@each_weighted
@given(data=st.data(), factor=st.floats(1e-3, 1e3), warm=st.booleans())
def test_only_the_ratios_of_weights_matter(
    case: Case, data: st.DataObject, factor: float, warm: bool
) -> None:
    batch = data.draw(batches(case, weights=some_weight))
    shape = tuple(batch.logits.shape[1:])
    state = warmed(case, shape) if warm else case.start(shape)
    scaled = case(batch.logits, batch.labels, state, weights=batch.weights * factor)
    plain = case(batch.logits, batch.labels, state, weights=batch.weights)
    close(scaled, plain, 1e-9)


@each_stateful
def test_weights_keep_their_meaning_over_many_batches(case: Case) -> None:
    plain = scaled = repeated = case.start((2,))
    for seed in range(8):
        logits, labels, _ = sample(case, 30, (2,), seed)
        times = torch.arange(30) % 3
        _, plain = case(logits, labels, plain, weights=times)
        _, scaled = case(logits, labels, scaled, weights=times * 0.37)
        twice = (tensor.repeat_interleave(times, 0) for tensor in (logits, labels))
        _, repeated = case(*twice, repeated)
    bounds = {"rtol": 1e-9, "atol": 1e-9}
    torch.testing.assert_close(leaves(scaled), leaves(plain), **bounds)
    torch.testing.assert_close(leaves(repeated), leaves(plain), **bounds)


@each_case
@given(st.data())
def test_the_order_of_examples_does_not_matter(case: Case, data: st.DataObject) -> None:
    batch = data.draw(batches(case))
    order = torch.tensor(data.draw(st.permutations(range(len(batch.logits)))))
    shuffled = [tensor[order] for tensor in batch]
    state = case.start(tuple(batch.logits.shape[1:]))
    close(
        case(*shuffled[:2], state, **weighted(case, shuffled[2])),
        case(*batch[:2], state, **weighted(case, batch.weights)),
    )


@each_case
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
def test_half_precision_scores_are_computed_in_single_precision(
    case: Case, dtype: torch.dtype
) -> None:
    logits, labels, _ = sample(case)
    half, state = logits.to(dtype), case.start((3,), dtype=torch.float32)
    loss, after = case(half, labels, state)
    expected = case(half.float(), labels, state)
    assert loss.dtype == torch.float32
    torch.testing.assert_close(loss, expected[0], rtol=0, atol=0)
    assert_same_state(after, expected[1])
    assert gradient(lambda x: case(x, labels, state)[0], half).dtype == dtype


@each_case
def test_double_precision_scores_are_computed_in_double_precision(case: Case) -> None:
    logits, labels, _ = sample(case)
    state = case.start((3,), dtype=torch.float32)
    loss, after = case(logits, labels, state)
    wide, _ = case(logits, labels, changed(state, torch.Tensor.double))
    assert loss.dtype == torch.float64
    updated = case.takes("state") and case.rule.order == "update_first"
    rounding = 1e-6 if updated else 1e-12  # of the state that it is taken at
    torch.testing.assert_close(loss, wide, rtol=rounding, atol=rounding)
    assert all(leaf.dtype == torch.float32 for leaf in leaves(after))


@each_weighted
@pytest.mark.parametrize("spread", ["number", "scalar", "examples", "columns"])
def test_weights_broadcast_from_the_left(case: Case, spread: str) -> None:
    logits, labels, weights = sample(case)
    per_example = {
        "number": torch.full((20,), 2.0),
        "scalar": torch.full((20,), 2.0),
        "examples": weights,
        "columns": weights,
    }[spread]
    given_ = {
        "number": 2.0,
        "scalar": torch.tensor(2.0),
        "examples": weights,
        "columns": weights.unsqueeze(1),
    }[spread]
    if case.spec.inputs != "binary" and spread == "columns":
        given_ = weights
    full = per_example.reshape(20, *[1] * (labels.dim() - 1)).expand(labels.shape)
    state = warmed(case, (3,))
    close(case(logits, labels, state, weights=given_), case(logits, labels, state, weights=full))


@each_weighted
@pytest.mark.parametrize("dtype", [torch.bool, torch.int64, torch.float16], ids=str)
def test_weights_of_any_dtype_mean_the_same(case: Case, dtype: torch.dtype) -> None:
    logits, labels, weights = sample(case)
    state, weights = warmed(case, (3,)), (weights > 0.5).double()
    close(
        case(logits, labels, state, weights=weights.to(dtype)),
        case(logits, labels, state, weights=weights),
        0.0,
    )


@each_constrained
@pytest.mark.parametrize("rule", ["implicit", "exact", "surrogate"])
def test_targets_of_several_labels_are_those_of_separate_calls(case: Case, rule: str) -> None:
    case = Case(case.name, rule)
    logits, labels, weights = sample(case)
    name, _ = case.target
    several = torch.tensor([0.2, 0.5, 0.9], dtype=torch.float64)
    state = warmed(case, (3,))
    each, after = case(logits, labels, state, weights=weights, reduction="none", **{name: several})
    for label, target in enumerate(several.tolist()):
        alone = changed(state, lambda leaf, label=label: leaf[label])
        outcome = case(
            logits[:, label],
            labels[:, label],
            alone,
            weights=weights,
            reduction="none",
            **{name: target},
        )
        got = each[:, label], changed(after, lambda leaf, label=label: leaf[label])
        close(got, outcome, 1e-12)


@each_stateful
def test_priors_of_several_labels_are_those_of_separate_calls(case: Case) -> None:
    logits, labels, _ = sample(case)
    priors = torch.tensor([0.1, 0.3, 0.6], dtype=torch.float64)
    state = warmed(case, (3,))
    each, after = case(logits, labels, state, label_priors=priors, reduction="none")
    for label, prior in enumerate(priors.tolist()):
        alone = changed(state, lambda leaf, label=label: leaf[label])
        outcome = case(
            logits[:, label], labels[:, label], alone, label_priors=prior, reduction="none"
        )
        got = each[:, label], changed(after, lambda leaf, label=label: leaf[label])
        close(got, outcome, 1e-12)


@each_aimed
def test_the_target_is_not_ignored(case: Case) -> None:
    logits, labels, _ = sample(case)
    (name, value), state = case.target, warmed(case, (3,))
    assert differ(case(logits, labels, state), case(logits, labels, state, **{name: value * 0.5}))


@each_stateful
@pytest.mark.parametrize("argument", ["weights", "surrogate", "rule", "reduction"])
def test_no_argument_is_ignored(case: Case, argument: str) -> None:
    logits, labels, weights = sample(case)
    other = {
        "weights": {"weights": weights},
        "surrogate": {"surrogate": gobj.hinge},
        "rule": {"rule": gobj.FrozenDual()},
        "reduction": {"reduction": "sum"},
    }[argument]
    state = warmed(case, (3,))
    if argument == "surrogate" and case.rule.surrogate is None:
        with pytest.raises(ValueError, match=r"`surrogate` must be .+ None for a rule without one"):
            case(logits, labels, state, **other)
        return
    assert differ(case(logits, labels, state), case(logits, labels, state, **other))


@each_aimed
def test_priors_matter_where_the_classes_have_a_price(case: Case) -> None:
    logits, labels, _ = sample(case)
    state = warmed(case, (3,))
    with_prior = case(logits, labels, state, label_priors=0.9)
    assert differ(case(logits, labels, state), with_prior) == case.goal.needs_prior(case.target[1])


@each_case
def test_loss_and_state_live_where_the_scores_do(case: Case, device: torch.device) -> None:
    logits, labels, weights = sample(case)
    expected = case(logits, labels, warmed(case, (3,)), **weighted(case, weights))
    state = changed(warmed(case, (3,)), lambda leaf: leaf.to(device))
    loss, after = case(
        logits.to(device), labels.to(device), state, **weighted(case, weights.to(device))
    )
    assert {tensor.device.type for tensor in (loss, *leaves(after))} == {device.type}
    close((loss.cpu(), changed(after, torch.Tensor.cpu) if after else ()), expected)


@each_case
def test_no_value_is_read_back_from_the_device(case: Case) -> None:
    # Tensors of the meta device have no values: whoever reads one raises.
    logits, labels, weights = (tensor.to("meta") for tensor in sample(case))
    state = case.start((3,), device="meta")
    for _ in range(2):
        loss, state = case(logits, labels, state, **weighted(case, weights))
    assert loss.shape == ()
    assert gradient(lambda x: case(x, labels, state)[0], logits).shape == logits.shape


BINARY = [c for c in each_case.args[1] if c.spec.inputs == "binary"]
each_binary = pytest.mark.parametrize("case", BINARY, ids=str)


@pytest.mark.parametrize(
    ("case", "reduction"),
    [
        pytest.param(case, reduction, id=f"{case}-{reduction}")
        for case in BINARY
        for reduction in ("mean", "sum")
        if case.name != "poly1_focal_loss" and (reduction == "mean" or case.takes("reduction"))
    ],
)
def test_a_soft_label_is_that_share_of_a_positive(case: Case, reduction: str) -> None:
    # The focal loss is no sum over both classes; it has the published form of its own.
    options = {"reduction": reduction} if case.takes("reduction") else {}
    logits, _, weights = sample(case)
    shares = torch.linspace(0, 1, 60, dtype=torch.float64).reshape(20, 3)
    weights = weights.unsqueeze(1).expand(20, 3)
    parts = torch.cat([torch.ones(20, 3), torch.zeros(20, 3)]).double()
    split = torch.cat([weights * shares, weights * (1 - shares)])
    for state in (case.start((3,)), warmed(case, (3,))):
        soft = case(logits, shares, state, weights=weights, **options)
        hard = case(logits.repeat(2, 1), parts, state, weights=split, **options)
        if reduction == "sum":  # which grows with the number of examples
            hard = hard[0] / 2, hard[1]
        close(soft, hard)


@each_case
def test_a_hard_label_may_come_in_any_dtype(case: Case) -> None:
    unsigned = [torch.uint8, torch.uint16, torch.uint32, torch.uint64]
    dtypes = [torch.int8, torch.int16, torch.int32, torch.int64, *unsigned]
    if case.spec.inputs == "binary":
        dtypes += [torch.bool, torch.bfloat16, torch.float16, torch.float32]
    logits, labels, _ = sample(case)
    expected = case(logits, labels, case.start((3,)))
    for dtype in dtypes:
        close(case(logits, labels.to(dtype), case.start((3,))), expected, 0.0)


@each_binary
@pytest.mark.parametrize("label", [-1.0, -100.0, 1.5, 2.0, 156.0, 255.0, math.nan, math.inf])
def test_what_is_no_label_is_loud_and_kept_out_of_the_state(case: Case, label: float) -> None:
    logits, labels, weights = sample(case, 20, ())
    labels[4] = label
    state = warmed(case)
    for more in ({}, {"weights": weights}):
        loss, after = case(logits, labels, state, **more)
        assert loss.isnan()
        assert_same_state(after, state)
    if label.is_integer():
        narrow = torch.int64 if label < 0 else torch.uint8
        assert case(logits, labels.to(narrow), state)[0].isnan()
    silent = case(logits, labels, state, weights=torch.arange(20) != 4)[0]
    assert silent.isfinite()


@pytest.mark.parametrize("case", [c for c in each_case.args[1] if not c.takes("state")], ids=str)
def test_a_class_that_is_none_is_loud(case: Case) -> None:
    if case.spec.inputs == "embeddings":
        return  # any number is a class
    logits, labels, _ = sample(case)
    for wrong in (-1, 3, 255):
        spoiled = labels.clone()
        spoiled[0] = wrong
        assert case(logits, spoiled, ())[0].isnan()


@each_weighted
@pytest.mark.parametrize("weight", [-1.0, -1e-30, math.nan])
def test_a_weight_below_zero_is_loud_and_kept_out_of_the_state(case: Case, weight: float) -> None:
    logits, labels, weights = sample(case, 20, (3,) if case.spec.inputs != "binary" else ())
    weights[4] = weight
    state = warmed(case, tuple(labels.shape[1:])) if case.takes("state") else ()
    loss, after = case(logits, labels, state, weights=weights)
    assert loss.isnan()
    assert_same_state(after, state)


@pytest.mark.parametrize("case", [c for c in each_case.args[1] if c.takes("ignore_index")], ids=str)
@pytest.mark.parametrize("index", [-100, 255])
@pytest.mark.parametrize("weighted_too", [False, True])
def test_what_is_to_be_ignored_is_as_if_absent(case: Case, index: int, weighted_too: bool) -> None:
    logits, labels, weights = sample(case)
    kept = [i for i in range(20) if i not in (3, 11)]
    marked, broken = labels.clone(), logits.clone()
    marked[3] = marked[11] = index
    broken[3] = math.nan
    broken[11] = math.inf
    state = warmed(case, (3,)) if case.takes("state") else ()

    def run(rows: list[int], logits: Tensor, labels: Tensor, **options: Any) -> tuple[Any, ...]:
        leaf = logits[rows].clone().requires_grad_()
        given = {"weights": weights[rows]} if weighted_too else {}
        loss, after = case(leaf, labels[rows], state, **given, **options)
        loss.backward()
        return loss.detach(), leaf.grad, after

    loss, slope, after = run(list(range(20)), broken, marked, ignore_index=index)
    less = run(kept, logits, labels)
    close((loss, (slope[kept], after)), (less[0], less[1:]))
    assert not slope[[3, 11]].any()
    wide = marked.to(torch.int64 if index < 0 else torch.uint8)
    assert run(list(range(20)), broken, wide, ignore_index=index)[0] == loss


@each_binary
def test_numbers_may_be_those_of_numpy(case: Case) -> None:
    logits, labels, _ = sample(case)
    state = case.start((3,))
    options = {"weights": (2.0, np.float32(2.0))}
    if case.spec.goal:
        name, value = case.target
        options[name] = (float(np.float32(value)), np.float32(value))
    plain = case(logits, labels, state, **{k: v[0] for k, v in options.items()})
    close(case(logits, labels, state, **{k: v[1] for k, v in options.items()}), plain, 0.0)
