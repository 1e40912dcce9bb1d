"""Weights of samples, classes, labels, pixels and heads: how they are made and composed."""

import math
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.func import grad, vmap
from torch.nn import functional

from gobj.losses.poly1 import poly1_cross_entropy_loss
from gobj.losses.poly1_focal import poly1_focal_loss
from gobj.weight_map import unet_weight_map
from gobj.weights import (
    class_weights_from_counts,
    weighted_sum_over_heads,
    weights_from_labels,
)
from tests.losses.published import check, check_gradient, each_published, optional, tensor

DENOMINATORS = {
    "count": "elements",
    "sample_weight_sum": "weights",
    "torch_ce": "class_weights",
    "sample_times_class_weight_sum": "all_weights",
}


def binary(inputs: dict[str, Any], settings: dict[str, Any], logits: Tensor, **options: Any) -> Any:
    """Weigh binary cross entropy by the class of each label, and by the sample."""
    labels = tensor(inputs["labels"])
    weights = torch.ones_like(labels)
    if inputs["sample_weight"] is not None:
        sample = tensor(inputs["sample_weight"])
        weights = weights * sample.reshape(sample.shape + (1,) * (labels.dim() - sample.dim()))
    if settings["class_weights"] is not None:
        weights = weights * weights_from_labels(labels, tensor(settings["class_weights"]))
    return poly1_focal_loss(
        logits,
        labels,
        epsilon=0.0,
        gamma=0.0,
        alpha=None,
        pos_weight=optional(settings["pos_weight"]),
        weights=weights,
        **options,
    )


def multiclass(
    inputs: dict[str, Any], settings: dict[str, Any], logits: Tensor, **options: Any
) -> Tensor:
    """Weigh the cross entropy of classes."""
    return poly1_cross_entropy_loss(
        logits,
        torch.tensor(inputs["labels"]),
        epsilon=0.0,
        class_weights=optional(settings["class_weights"]),
        label_smoothing=settings["label_smoothing"],
        ignore_index=settings["ignore_index"],
        weights=optional(inputs["sample_weight"]),
        **options,
    )


@each_published("weighting")
def test_published_numbers_are_met(published: dict[str, Any]) -> None:
    inputs, settings, expected = (published[key] for key in ("inputs", "params", "expected"))
    loss = binary if settings["loss"] == "bce" else multiclass
    logits = tensor(inputs["logits"]).requires_grad_()
    check(loss(inputs, settings, logits, reduction="none"), expected["loss_none"])
    for reduction in ("sum", "mean"):
        mean_over = DENOMINATORS[settings["mean_over"]]
        value = loss(inputs, settings, logits, reduction=reduction, mean_over=mean_over)
        check(value, expected[f"loss_{reduction}"])
        check_gradient(value, logits, expected[f"grad_logits_{reduction}"])


def test_weights_of_samples_classes_and_pixels_multiply() -> None:
    logits, labels = torch.randn(2, 3, 4, 5), torch.randint(3, (2, 4, 5))
    samples, pixels, classes = torch.rand(2), torch.rand(2, 4, 5), torch.rand(3)
    got = poly1_cross_entropy_loss(
        logits,
        labels,
        weights=samples.reshape(2, 1, 1) * pixels,
        class_weights=classes,
        reduction="none",
    )
    assert got.shape == labels.shape
    plain = poly1_cross_entropy_loss(logits, labels, reduction="none")
    for n, i, j in torch.cartesian_prod(*map(torch.arange, labels.shape)).tolist():
        factor = samples[n] * pixels[n, i, j] * classes[labels[n, i, j]]
        torch.testing.assert_close(got[n, i, j], factor * plain[n, i, j])


@given(times=st.lists(st.integers(0, 3), min_size=5, max_size=5))
def test_a_whole_weight_is_a_repetition_in_the_default_mean(times: list[int]) -> None:
    logits, labels = torch.randn(5, 3, dtype=torch.float64), torch.randint(3, (5,))
    options = {"class_weights": tensor([1.0, 2.0, 0.5])}
    repeated = [tensor_.repeat_interleave(torch.tensor(times), 0) for tensor_ in (logits, labels)]
    got = poly1_cross_entropy_loss(logits, labels, weights=tensor(times), **options)
    torch.testing.assert_close(got, poly1_cross_entropy_loss(*repeated, **options))


@given(factor=st.floats(1e-3, 1e3))
def test_the_default_mean_knows_only_the_ratios_of_weights(factor: float) -> None:
    logits, labels = torch.randn(6, 3, dtype=torch.float64), torch.randint(3, (6,))
    weights, classes = torch.rand(6, dtype=torch.float64), torch.rand(3, dtype=torch.float64)
    plain = poly1_cross_entropy_loss(logits, labels, weights=weights, class_weights=classes)
    for scaled in ((weights * factor, classes), (weights, classes * factor)):
        options = dict(zip(("weights", "class_weights"), scaled, strict=True))
        torch.testing.assert_close(poly1_cross_entropy_loss(logits, labels, **options), plain)


def test_weights_of_zero_take_a_slice_of_a_sparse_label_vector() -> None:
    logits, labels = torch.randn(3, 50), (torch.rand(3, 50) > 0.95).float()
    chosen = torch.rand(3, 50) > 0.8
    got = poly1_focal_loss(logits, labels, weights=chosen)
    torch.testing.assert_close(got, poly1_focal_loss(logits[chosen], labels[chosen]))
    slopes = grad(poly1_focal_loss)(logits, labels, weights=chosen)
    torch.testing.assert_close(
        slopes[chosen], grad(poly1_focal_loss)(logits[chosen], labels[chosen])
    )
    assert not slopes[~chosen].any()


@given(counts=st.lists(st.integers(0, 50), min_size=1, max_size=6), data=st.data())
def test_class_weights_give_occurring_classes_equal_totals_and_examples_weight_one(
    counts: list[int], data: st.DataObject
) -> None:
    dtype = data.draw(st.sampled_from([torch.float64, torch.int64]))
    weights = class_weights_from_counts(torch.tensor(counts, dtype=dtype)).tolist()
    present = [count for count in counts if count]
    for count, weight in zip(counts, weights, strict=True):
        wanted = sum(counts) / (count * len(present)) if count else 0.0
        assert weight == pytest.approx(wanted, rel=1e-5)


@pytest.mark.parametrize("power", [0.0, 0.5, 1.0, 2.0])
def test_class_weights_fall_with_the_power_of_the_count(power: float) -> None:
    counts = [1.0, 4.0, 16.0]
    weights = class_weights_from_counts(tensor(counts), power=power).tolist()
    assert weights[0] / weights[1] == pytest.approx(4**power)
    assert weights[1] / weights[2] == pytest.approx(4**power)
    total = sum(weight * count for weight, count in zip(weights, counts, strict=True))
    assert total == pytest.approx(sum(counts))


def test_class_weights_of_several_outputs_are_those_of_each() -> None:
    counts = torch.tensor([[3, 1, 0], [2, 2, 2]])
    rows = torch.stack([class_weights_from_counts(row) for row in counts])
    torch.testing.assert_close(class_weights_from_counts(counts), rows)
    torch.testing.assert_close(vmap(class_weights_from_counts)(counts), rows)


def test_weights_of_both_kinds_undo_an_imbalance_of_weights() -> None:
    labels = torch.tensor([0, 0, 0, 0, 1, 1])
    weights = tensor([0.01, 0.03, 0.05, 0.02, 0.01, 0.02])
    classes = class_weights_from_counts(torch.bincount(labels, weights))
    totals = [(weights * classes[labels])[labels == k].sum().item() for k in (0, 1)]
    assert totals[0] == pytest.approx(totals[1])
    assert classes[1] / classes[0] == pytest.approx(0.11 / 0.03)


@given(
    labels=st.lists(
        st.tuples(st.sampled_from([0, 1, 2, -100]), st.sampled_from([0, 1, 2, -100])), min_size=1
    )
)
def test_each_output_of_a_sequence_has_its_own_class_weights(labels: list[Any]) -> None:
    table = [[1.0, 2.0, 3.0], [5.0, 7.0, 0.5]]
    got = weights_from_labels(torch.tensor(labels), tensor(table))
    steps = []
    for targets in labels:
        weight = 0.0
        for output, target in enumerate(targets):
            weight += table[output][target] if target >= 0 else 0.0
        steps.append(weight)
    check(got.sum(-1), steps)


@pytest.mark.parametrize("dtype", [torch.bool, torch.uint8, torch.int32, torch.float32], ids=str)
def test_labels_of_any_dtype_have_the_same_weights(dtype: torch.dtype) -> None:
    labels = torch.tensor([[0, 1], [1, 1]])
    got = weights_from_labels(labels.to(dtype), torch.tensor([1.0, 50.0]))
    torch.testing.assert_close(got, torch.tensor([[1.0, 50.0], [50.0, 50.0]]))


def test_missing_labels_weigh_nothing() -> None:
    labels = torch.tensor([0.0, math.nan, 1.0, -1.0])
    got = weights_from_labels(labels, torch.tensor([2.0, 3.0]), ignore_index=-1)
    torch.testing.assert_close(got, torch.tensor([2.0, 0.0, 3.0, 0.0]))


def test_weights_of_labels_map_as_they_loop() -> None:
    labels, table = torch.randint(3, (5, 2)), torch.rand(2, 3)
    got = vmap(weights_from_labels, in_dims=(0, None))(labels, table)
    torch.testing.assert_close(got, weights_from_labels(labels, table))


def test_a_sum_over_heads_is_that_of_their_dense_label() -> None:
    logits, labels = torch.randn(4, 3, 6), torch.randint(6, (4, 3))
    heads = [poly1_cross_entropy_loss(logits[:, k], labels[:, k]) for k in range(3)]
    together = poly1_cross_entropy_loss(logits.mT, labels)
    torch.testing.assert_close(weighted_sum_over_heads(heads) / 3, together)


@pytest.mark.parametrize("kind", [list, torch.tensor])
def test_a_head_of_weight_zero_is_left_out_whatever_its_loss(kind: Any) -> None:
    def total(losses: Tensor) -> Tensor:
        return weighted_sum_over_heads(list(losses), kind([0.5, 0.0]))

    losses = torch.tensor([9.0, math.nan])
    assert total(losses) == 4.5
    torch.testing.assert_close(grad(total)(losses), torch.tensor([0.5, 0.0]))


def looped_map(ids: list[list[int]], border: float, width: float) -> list[list[float]]:
    """Weight map by the distances from every pixel to every pixel."""
    pixels = [(i, j) for i, row in enumerate(ids) for j, _ in enumerate(row)]
    rows = [[1.5] * len(row) for row in ids]
    for i, j in pixels:
        if ids[i][j] == 0:
            nearest: dict[int, float] = {}
            for k, l in pixels:  # noqa: E741
                far = math.hypot(i - k, j - l)
                nearest[ids[k][l]] = min(far, nearest.get(ids[k][l], math.inf))
            distances = sorted(far for name, far in nearest.items() if name != 0)[:2]
            bump = border * math.exp(-(sum(distances) ** 2) / (2 * width**2))
            rows[i][j] = 0.5 + (bump if len(distances) == 2 else 0.0)
    return rows


@each_published("unet_weight_map")
def test_the_published_map_is_met(published: dict[str, Any]) -> None:
    settings = published["params"]
    got = unet_weight_map(
        torch.tensor(published["inputs"]["instances"]),
        class_weights=tuple(settings["class_weights"]),
        border_weight=settings["w0"],
        border_width=settings["sigma"],
        dtype=torch.float64,
    )
    check(got, published["expected"]["weight_map"])


@given(
    ids=st.integers(1, 7).flatmap(
        lambda width: st.lists(
            st.lists(st.sampled_from([0, 0, 0, 1, 2, 3, -7]), min_size=width, max_size=width),
            min_size=1,
            max_size=7,
        )
    ),
    width=st.sampled_from([0.4, 1.0, 3.0, 1e9]),
)
def test_the_map_is_that_of_a_loop_over_all_pixels(ids: list[list[int]], width: float) -> None:
    got = unet_weight_map(
        torch.tensor(ids),
        class_weights=(0.5, 1.5),
        border_weight=4.0,
        border_width=width,
        dtype=torch.float64,
    )
    check(got, looped_map(ids, 4.0, width), 1e-12)


def test_images_have_maps_of_their_own() -> None:
    instances = torch.randint(0, 4, (5, 6, 7))
    got = unet_weight_map(instances)
    expected = torch.stack([unet_weight_map(image) for image in instances])
    torch.testing.assert_close(got, expected, rtol=0, atol=0)
    torch.testing.assert_close(vmap(unet_weight_map)(instances), expected, rtol=0, atol=0)


def test_what_lies_beyond_the_reach_of_the_map_is_below_rounding() -> None:
    instances = torch.zeros(1, 60, dtype=torch.long)
    instances[0, 0], instances[0, 59] = 1, 2
    got = unet_weight_map(instances, border_weight=100.0, border_width=5.0, dtype=torch.float64)
    expected = 1 + 100 * math.exp(-(59**2) / 50)
    check(got[0, 1:59], [expected] * 58, 1e-12)


def test_a_pixel_map_weighs_the_loss_of_segmentation_as_a_mean_over_pixels() -> None:
    instances = torch.tensor([[[1, 0, 2, 2], [0, 0, 0, 3]]])
    logits, labels = torch.randn(1, 2, 2, 4, dtype=torch.float64), (instances > 0).long()
    pixels = unet_weight_map(instances, dtype=torch.float64)
    got = poly1_cross_entropy_loss(
        logits, labels, epsilon=0.0, weights=pixels, mean_over="elements"
    )
    by_hand = functional.cross_entropy(logits, labels, reduction="none") * pixels
    torch.testing.assert_close(got, by_hand.mean())


@pytest.mark.parametrize(
    ("call", "argument"),
    [
        (lambda: class_weights_from_counts(torch.tensor(3.0)), "counts"),
        (lambda: class_weights_from_counts(torch.ones(2), power=math.nan), "power"),
        (lambda: weights_from_labels([0, 1], torch.ones(2)), "labels"),
        (lambda: weights_from_labels(torch.zeros(4, 2), torch.ones(3, 5)), "class_weights"),
        (lambda: weighted_sum_over_heads([]), "losses"),
        (lambda: weighted_sum_over_heads([torch.ones(())], [1.0, 2.0]), "weights"),
        (lambda: unet_weight_map(torch.zeros(3, 3)), "instances"),
        (lambda: unet_weight_map(torch.zeros(3, dtype=torch.int)), "instances"),
        (
            lambda: unet_weight_map(torch.zeros(3, 3, dtype=torch.int), border_width=0.0),
            "border_width",
        ),
    ],
)
def test_what_does_not_fit_is_refused(call: Any, argument: str) -> None:
    with pytest.raises(ValueError, match=rf"^\w+: `{argument}` must [^`]+; got .+\.$"):
        call()
