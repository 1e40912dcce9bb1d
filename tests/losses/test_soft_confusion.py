"""Soft confusion counts: against published numbers, plain Python and exact slopes."""

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.func import grad, hessian, jacrev, vmap

from gobj.losses.soft_confusion import annealed_amplification, soft_confusion
from tests.oracles import count

REFERENCE = json.loads(
    (Path(__file__).parents[1] / "data/reference_cases.json").read_text(encoding="utf-8")
)
CASES = [case for case in REFERENCE["cases"] if case["family"] == "anyloss"]
STEPS: list[dict[str, Any]] = [
    {},
    {"amplification": 8.0, "threshold": 0.3},
    {"amplification": 300.0},
    {"temperature": 1.0},
    {"temperature": 0.5, "threshold": 0.8},
]
each_case = pytest.mark.parametrize("case", CASES, ids=lambda case: case["id"])
each_step = pytest.mark.parametrize("step", STEPS, ids=str)
finite = st.floats(-8, 8, allow_subnormal=False)
examples = st.lists(
    st.tuples(finite, st.sampled_from([0.0, 1.0]), st.floats(0.1, 4)), min_size=1, max_size=9
)


def tensor(values: object) -> Tensor:
    """Make a float64 tensor."""
    return torch.tensor(values, dtype=torch.float64)


def sigmoid(x: float) -> float:
    """Return the sigmoid, right to rounding on both sides."""
    return 1 / (1 + math.exp(-x)) if x > 0 else math.exp(x) / (1 + math.exp(x))


def degree(
    logit: float,
    amplification: float = 73.0,
    threshold: float = 0.5,
    temperature: float | None = None,
) -> tuple[float, float, float]:
    """Return how far a score counts as positive and as negative, and the slope of the first."""
    if temperature is None:
        x = amplification * (sigmoid(logit) - threshold)
        inner = amplification * sigmoid(logit) * sigmoid(-logit)
    else:
        x, inner = (logit - math.log(threshold / (1 - threshold))) / temperature, 1 / temperature
    return sigmoid(x), sigmoid(-x), inner * sigmoid(x) * sigmoid(-x)


def softmax(logits: list[float]) -> list[float]:
    """Return the class probabilities."""
    shares = [math.exp(z - max(logits)) for z in logits]
    return [share / sum(shares) for share in shares]


def gradient(function: Callable[[Tensor], Tensor], at: Tensor) -> Tensor:
    """Differentiate with torch's tape."""
    at = at.detach().clone().requires_grad_()
    (slope,) = torch.autograd.grad(function(at), at)
    return slope


def class_arguments(case: dict[str, Any]) -> dict[str, Any]:
    """Return the settings of a published case."""
    classes = {"class_dim": 1} if case["params"]["link"] == "softmax" else {}
    return {"amplification": float(case["params"]["L"]), **classes}


@each_case
def test_the_published_counts_are_reproduced(case: dict[str, Any]) -> None:
    inputs, settings = case["inputs"], class_arguments(case)
    labels = torch.tensor(inputs["labels"])
    for scores in ("logits", "probs"):
        counts = soft_confusion(
            tensor(inputs[scores]), labels, probabilities=scores == "probs", **settings
        )
        for count_, name in zip(counts, ("TP", "FP", "FN", "TN"), strict=True):
            expected = tensor(case["expected"][name])
            torch.testing.assert_close(count_.reshape(-1), expected, rtol=0, atol=1e-10)


@given(examples)
def test_every_count_is_the_weighted_sum_of_its_definition(
    batch: list[tuple[float, float, float]],
) -> None:
    logits, labels, weights = map(list, zip(*batch, strict=True))
    for step in STEPS:
        counts = soft_confusion(tensor(logits), tensor(labels), weights=tensor(weights), **step)
        called = [degree(z, **step)[0] for z in logits]
        passed = [degree(z, **step)[1] for z in logits]
        expected = [
            sum(w * y * a for w, y, a in zip(weights, labels, called, strict=True)),
            sum(w * (1 - y) * a for w, y, a in zip(weights, labels, called, strict=True)),
            sum(w * y * b for w, y, b in zip(weights, labels, passed, strict=True)),
            sum(w * (1 - y) * b for w, y, b in zip(weights, labels, passed, strict=True)),
        ]
        torch.testing.assert_close(torch.stack(counts), tensor(expected), rtol=1e-11, atol=0)


@given(examples)
def test_each_count_lies_strictly_between_0_and_its_class_total(
    batch: list[tuple[float, float, float]],
) -> None:
    logits, labels, weights = map(list, zip(*batch, strict=True))
    tp, fp, fn, tn = soft_confusion(
        tensor(logits), tensor(labels), weights=tensor(weights), amplification=20.0
    )
    positives = sum(w for w, y in zip(weights, labels, strict=True) if y)
    negatives = sum(w for w, y in zip(weights, labels, strict=True) if not y)
    for part, total in ((tp, positives), (fn, positives), (fp, negatives), (tn, negatives)):
        assert 0 < part.item() < total or total == part.item() == 0


@given(examples)
def test_the_counts_of_a_class_add_up_to_its_weight(
    batch: list[tuple[float, float, float]],
) -> None:
    logits, labels, weights = map(list, zip(*batch, strict=True))
    tp, fp, fn, tn = soft_confusion(tensor(logits), tensor(labels), weights=tensor(weights))
    positives = sum(w for w, y in zip(weights, labels, strict=True) if y)
    torch.testing.assert_close(tp + fn, tensor(positives))
    torch.testing.assert_close(fp + tn, tensor(sum(weights) - positives))


@given(examples, st.floats(0.1, 0.9))
def test_the_counts_tend_to_the_hard_ones(
    batch: list[tuple[float, float, float]], threshold: float
) -> None:
    cut = math.log(threshold / (1 - threshold))
    batch = [(z if abs(z - cut) > 0.05 else z + 0.1, y, w) for z, y, w in batch]
    logits, labels, weights = map(list, zip(*batch, strict=True))
    hard = tensor(list(count(logits, labels, weights, threshold=cut)))
    for step in ({"amplification": 2e5}, {"temperature": 1e-3}):
        soft = soft_confusion(
            tensor(logits), tensor(labels), weights=tensor(weights), threshold=threshold, **step
        )
        torch.testing.assert_close(torch.stack(soft), hard, rtol=0, atol=1e-12)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@each_step
def test_the_slope_is_right_to_rounding_wherever_it_is_representable(
    step: dict[str, Any], dtype: torch.dtype
) -> None:
    logits = torch.linspace(-60, 60, 241, dtype=dtype)
    slopes = gradient(
        lambda z: soft_confusion(z, torch.ones_like(z), **step).true_positives, logits
    )
    exact = tensor([degree(z, **step)[2] for z in logits.tolist()])
    amplification = 1 / step.get("temperature", 1 / step.get("amplification", 73.0))
    normal = exact / amplification > torch.finfo(dtype).tiny
    # a rounding error of x, which is up to 60 times the amplification, is relative in exp(x)
    steepness = 60 * amplification if "temperature" in step else 4 * amplification
    torch.testing.assert_close(
        slopes.double()[normal], exact[normal], rtol=steepness * torch.finfo(dtype).eps, atol=0
    )


def test_the_slope_lives_where_the_usual_formula_has_lost_it() -> None:
    logits = torch.tensor([1.5, 3.0, 10.0])
    usual = gradient(lambda z: torch.sigmoid(73 * (torch.sigmoid(z) - 0.5)).sum(), logits)
    here = gradient(lambda z: soft_confusion(z, torch.ones(3)).true_positives, logits)
    torch.testing.assert_close(usual, torch.zeros(3), rtol=0, atol=0)
    assert (here > 0).all()


@each_step
def test_the_compiled_slope_does_not_saturate_either(step: dict[str, Any]) -> None:
    torch._dynamo.reset()

    def hits_of(z: Tensor) -> Tensor:
        return soft_confusion(z, torch.ones(5), **step).true_positives

    compiled = torch.compile(hits_of, fullgraph=True, backend="aot_eager")
    logits = torch.tensor([-12.0, -1.5, 0.0, 1.5, 12.0])
    torch.testing.assert_close(
        gradient(compiled, logits), gradient(hits_of, logits), rtol=1e-3, atol=1e-35
    )


@pytest.mark.parametrize("margin", [0.0, 3.0, 20.0, 40.0])
def test_the_slope_of_a_sure_softmax_is_right_to_rounding(margin: float) -> None:
    logits = torch.tensor([[margin, 0.0, -1.0]])
    slopes = gradient(
        lambda z: soft_confusion(z, torch.tensor([0]), class_dim=1, temperature=1).true_positives[
            0
        ],
        logits,
    )
    others = math.exp(-margin) + math.exp(-margin - 1)
    p = 1 / (1 + others)
    exact = tensor([[p * p * others, -p * p * math.exp(-margin), -p * p * math.exp(-margin - 1)]])
    torch.testing.assert_close(slopes.double(), exact, rtol=2e-5, atol=0)


def test_dense_classes_are_counted_pixel_by_pixel() -> None:
    logits, labels = torch.randn(2, 3, 4, 5, dtype=torch.float64), torch.randint(0, 3, (2, 4, 5))
    weights = torch.rand(2, 4, 5, dtype=torch.float64)
    expected = [[0.0] * 3 for _ in range(4)]
    for image in range(2):
        for row in range(4):
            for column in range(5):
                p = softmax(logits[image, :, row, column].tolist())
                weight = weights[image, row, column].item()
                for index in range(3):
                    called = sigmoid(20 * (p[index] - 0.5))
                    cell = 0 if labels[image, row, column] == index else 1
                    expected[cell][index] += weight * called
                    expected[cell + 2][index] += weight * (1 - called)
    counts = soft_confusion(logits, labels, weights=weights, class_dim=1, amplification=20)
    torch.testing.assert_close(torch.stack(counts), tensor(expected), rtol=1e-11, atol=0)


@each_step
def test_two_classes_are_one_label(step: dict[str, Any]) -> None:
    logits, labels = torch.randn(9, 2, dtype=torch.float64), torch.randint(0, 2, (9,))
    two = soft_confusion(logits, labels, class_dim=1, **step)
    one = soft_confusion(logits[:, 1] - logits[:, 0], labels, **step)
    torch.testing.assert_close(torch.stack(two)[:, 1], torch.stack(one), rtol=1e-10, atol=0)


@pytest.mark.parametrize("class_dim", [0, 1, 2, -1])
def test_the_class_dimension_may_be_any(class_dim: int) -> None:
    logits, labels = torch.randn(4, 3, 5), torch.randint(0, 3, (4, 5))
    moved = soft_confusion(logits.movedim(1, class_dim), labels, class_dim=class_dim)
    torch.testing.assert_close(moved, soft_confusion(logits, labels, class_dim=1))


def test_class_shares_may_take_the_place_of_class_indices() -> None:
    logits, labels = torch.randn(6, 3), torch.randint(0, 3, (6,))
    shares = torch.nn.functional.one_hot(labels, 3)
    torch.testing.assert_close(
        soft_confusion(logits, shares, class_dim=1), soft_confusion(logits, labels, class_dim=1)
    )


@each_step
def test_probabilities_give_the_counts_of_their_logits(step: dict[str, Any]) -> None:
    logits, labels = torch.randn(6, 3, dtype=torch.float64), torch.randint(0, 2, (6, 3))
    torch.testing.assert_close(
        soft_confusion(torch.sigmoid(logits), labels, probabilities=True, **step),
        soft_confusion(logits, labels, **step),
    )


@each_step
@pytest.mark.parametrize("probabilities", [True, False])
def test_sure_scores_have_finite_counts_and_slopes(
    step: dict[str, Any], probabilities: bool
) -> None:
    ends = [0.0, 1.0] if probabilities else [-math.inf, math.inf, -1e4, 1e4]
    scores, labels = torch.tensor(ends), torch.arange(len(ends)) % 2
    counts = soft_confusion(scores, labels, probabilities=probabilities, **step)
    slopes = gradient(
        lambda z: soft_confusion(z, labels, probabilities=probabilities, **step)[0], scores
    )
    assert torch.stack(counts).isfinite().all()
    assert slopes.isfinite().all()


@each_step
def test_sure_classes_have_finite_counts_and_slopes(step: dict[str, Any]) -> None:
    logits = torch.tensor([[math.inf, 0, 1], [-math.inf, 2, 0], [1e4, -1e4, 0], [-math.inf] * 3])
    labels = torch.tensor([0, 1, 0, 2])
    counts = soft_confusion(logits, labels, class_dim=1, **step)
    slopes = gradient(lambda z: soft_confusion(z, labels, class_dim=1, **step)[0].sum(), logits)
    assert torch.stack(counts).isfinite().all()
    assert slopes.isfinite().all()


def test_what_has_weight_0_is_not_counted() -> None:
    logits, labels = torch.randn(5, 3), torch.randint(0, 2, (5, 3)).float()
    weights = torch.ones(5, 3)
    logits[0, 0], labels[1, 1], weights[0, 0], weights[1, 1] = math.nan, math.nan, 0, 0
    counts = torch.stack(soft_confusion(logits, labels, weights=weights))
    slopes = gradient(lambda z: soft_confusion(z, labels, weights=weights)[0].sum(), logits)
    for label, dropped in ((0, 0), (1, 1)):
        kept = [row for row in range(5) if row != dropped]
        alone = soft_confusion(logits[kept, label], labels[kept, label])
        torch.testing.assert_close(counts[:, label], torch.stack(alone))
        assert slopes[dropped, label] == 0
    assert slopes.isfinite().all()


def test_an_ignored_class_index_is_not_counted() -> None:
    logits, labels = torch.randn(4, 3, 2), torch.randint(0, 3, (4, 2))
    labels[1, 0], logits[1, :, 0] = 255, math.nan
    there = torch.ones(4, 2, dtype=torch.bool)
    there[1, 0] = False
    alone = soft_confusion(logits.movedim(1, 2)[there], labels[there], class_dim=1)
    counts = soft_confusion(logits, labels, class_dim=1, ignore_index=255)
    torch.testing.assert_close(counts, alone)


def test_a_nan_score_is_loud() -> None:
    counts = soft_confusion(torch.tensor([math.nan, 1.0]), torch.tensor([1, 0]))
    assert all(part.isnan() for part in counts)


@given(examples)
def test_a_whole_weight_is_a_repetition(batch: list[tuple[float, float, float]]) -> None:
    logits, labels, weights = map(list, zip(*batch, strict=True))
    times = [int(w) for w in weights]
    repeated = [index for index, k in enumerate(times) for _ in range(k)]
    torch.testing.assert_close(
        soft_confusion(tensor(logits), tensor(labels), weights=tensor(times)),
        soft_confusion(tensor(logits)[repeated], tensor(labels)[repeated]),
    )


@given(st.permutations(range(3)), st.permutations(range(6)))
def test_counts_follow_the_classes_and_not_the_order_of_the_batch(
    classes: list[int], order: list[int]
) -> None:
    logits = tensor([[1, 0, 2], [0, 0, 0], [3, -1, 1], [0.2, 0.1, 0], [-2, 1, 1], [0, 5, 4]])
    labels = torch.tensor([0, 1, 2, 2, 1, 0])
    renamed = tensor([classes.index(label) for label in labels.tolist()]).long()
    before = soft_confusion(logits, labels, class_dim=1)
    after = soft_confusion(logits[order][:, classes], renamed[order], class_dim=1)
    torch.testing.assert_close(torch.stack(after), torch.stack(before)[:, classes])


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_counted_in_float32(dtype: torch.dtype) -> None:
    logits, labels = torch.randn(3000).to(dtype), torch.randint(0, 2, (3000,))
    torch.testing.assert_close(
        soft_confusion(logits, labels), soft_confusion(logits.float(), labels), rtol=0, atol=0
    )


@pytest.mark.parametrize("dtype", [torch.bool, torch.uint8, torch.int64, torch.float16])
def test_labels_mean_the_same_in_every_dtype(dtype: torch.dtype) -> None:
    logits, labels = torch.randn(9), torch.randint(0, 2, (9,))
    torch.testing.assert_close(
        soft_confusion(logits, labels.to(dtype)), soft_confusion(logits, labels.float())
    )


@each_step
@pytest.mark.parametrize("class_dim", [None, 1])
def test_derivatives_of_both_orders_and_modes_agree(
    step: dict[str, Any], class_dim: int | None
) -> None:
    logits = torch.randn(4, 3, dtype=torch.float64, requires_grad=True)
    labels = torch.tensor([0, 2, 1, 1]) if class_dim else torch.randint(0, 2, (4, 3))
    step = {**step, "amplification": min(step.get("amplification", 73.0), 20.0)}

    def loss(z: Tensor) -> Tensor:
        tp, fp, fn, tn = soft_confusion(
            z, labels, weights=tensor([1, 2, 0.5, 3]), class_dim=class_dim, **step
        )
        return (tp * tn / (fp + fn)).sum()

    assert torch.autograd.gradcheck(loss, logits, check_forward_ad=True)
    assert torch.autograd.gradgradcheck(loss, logits, check_fwd_over_rev=True)
    at = logits.detach()
    torch.testing.assert_close(hessian(loss)(at), jacrev(jacrev(loss))(at))


def hits(logits: Tensor, labels: Tensor, weights: Tensor, amplification: Tensor) -> Tensor:
    """Return a smooth scalar of all four counts."""
    counts = soft_confusion(logits, labels, weights=weights, amplification=amplification)
    return (torch.stack(counts) * tensor([1, 2, 3, 5])).sum()


@pytest.mark.parametrize("mapped", range(4))
@pytest.mark.parametrize("differentiated", [False, True])
def test_vmap_over_any_argument_is_a_loop(mapped: int, differentiated: bool) -> None:
    function = grad(hits) if differentiated else hits
    arguments = [torch.randn(6), torch.randint(0, 2, (6,)), torch.rand(6), torch.tensor(9.0)]
    arguments = [argument.double() for argument in arguments]
    stack = torch.stack([arguments[mapped], arguments[mapped].flip(0) if mapped < 3 else tensor(2)])
    looped = [function(*arguments[:mapped], row, *arguments[mapped + 1 :]) for row in stack]
    in_dims = tuple(0 if index == mapped else None for index in range(4))
    batched = vmap(function, in_dims)(*arguments[:mapped], stack, *arguments[mapped + 1 :])
    torch.testing.assert_close(batched, torch.stack(looped))


@pytest.mark.parametrize("class_dim", [None, 1])
def test_one_full_graph_serves_every_amplification(class_dim: int | None) -> None:
    labels = torch.tensor([0, 2, 1, 1]) if class_dim else torch.randint(0, 2, (4, 3))

    def loss(z: Tensor, amplification: Tensor) -> Tensor:
        counts = soft_confusion(z, labels, amplification=amplification, class_dim=class_dim)
        return counts.true_positives.sum() - counts.true_negatives.square().sum()

    torch._dynamo.reset()
    compiled = torch.compile(loss, fullgraph=True, backend="aot_eager")
    compiled(torch.randn(4, 3, dtype=torch.float64, requires_grad=True), tensor(1.0)).backward()
    with torch.compiler.set_stance("fail_on_recompile"):
        for amplification in (tensor(5.0), tensor(73.0)):
            at = 3 * torch.randn(4, 3, dtype=torch.float64)
            torch.testing.assert_close(
                gradient(lambda z, a=amplification: compiled(z, a), at),
                gradient(lambda z, a=amplification: loss(z, a), at),
            )


@pytest.mark.parametrize("compiled", [False, True])
def test_labels_and_weights_are_constants(compiled: bool) -> None:
    def right(logits: Tensor, labels: Tensor, weights: Tensor) -> Tensor:
        counts = soft_confusion(logits, labels, weights=weights)
        return counts.true_positives + counts.true_negatives

    torch._dynamo.reset()
    function = torch.compile(right, fullgraph=True, backend="aot_eager") if compiled else right
    logits, labels, weights = (torch.rand(4, requires_grad=True) for _ in range(3))
    function(logits, labels, weights).backward()
    assert logits.grad is not None
    assert labels.grad is None
    assert weights.grad is None


def test_inputs_are_not_modified_and_calls_repeat_bit_for_bit() -> None:
    logits, labels, weights = torch.randn(7, 3), torch.rand(7, 3), torch.rand(7)
    before = [logits.clone(), labels.clone(), weights.clone()]
    first = soft_confusion(logits, labels, weights=weights)
    second = soft_confusion(logits, labels, weights=weights)
    torch.testing.assert_close(first, second, rtol=0, atol=0)
    torch.testing.assert_close([logits, labels, weights], before, rtol=0, atol=0)


def test_an_empty_batch_counts_nothing() -> None:
    for shape in ((0,), (0, 3)):
        counts = soft_confusion(torch.zeros(shape), torch.zeros(shape))
        torch.testing.assert_close(torch.stack(counts), torch.zeros(4, *shape[1:]))
    counts = soft_confusion(torch.zeros(0, 3), torch.zeros(0, dtype=torch.long), class_dim=1)
    torch.testing.assert_close(torch.stack(counts), torch.zeros(4, 3))


@pytest.mark.parametrize("rare", [1e-12, 1e12])
def test_slopes_of_the_classes_may_be_orders_of_magnitude_apart(rare: float) -> None:
    logits, labels = torch.randn(6), torch.tensor([1.0, 1, 1, 0, 0, 0])

    def total(logits: Tensor) -> Tensor:
        counts = soft_confusion(logits, labels, temperature=1.0)
        return rare * counts.true_positives + counts.false_positives

    slopes = torch.sigmoid(logits) * torch.sigmoid(-logits)
    expected = slopes * torch.where(labels > 0, rare, 1.0)
    torch.testing.assert_close(grad(total)(logits), expected, rtol=1e-5, atol=0)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"logits": torch.tensor([1, 2])}, "`logits` must be a floating-point tensor"),
        ({"labels": torch.ones(3)}, r"`labels` must have the logits' shape \[4, 3\]; got"),
        ({"threshold": 1.0}, r"`threshold` must be a number in \(0, 1\); got 1.0"),
        ({"amplification": 0}, r"`amplification` must be a number in \(0, inf\); got 0"),
        ({"amplification": torch.ones(3)}, "`amplification` must be a floating-point scalar"),
        ({"temperature": -1.0}, r"`temperature` must be a number in \(0, inf\); got -1.0"),
        ({"weights": torch.ones(3)}, "`weights` must be a scalar or match the leading dimensions"),
        ({"class_dim": 2}, r"`class_dim` must be a dimension of \[4, 3\]"),
        ({"class_dim": 1, "labels": torch.ones(3)}, r"`labels` must have shape \[4\] \(class ind"),
        ({"class_dim": 0, "logits": torch.ones(1, 3)}, "with at least 2 classes"),
    ],
)
def test_a_wrong_argument_is_named(arguments: dict[str, Any], message: str) -> None:
    arguments = {"logits": torch.zeros(4, 3), "labels": torch.ones(4, 3), **arguments}
    with pytest.raises(ValueError, match=f"^soft_confusion: .*{message}"):
        soft_confusion(**arguments)


def test_annealing_rises_by_equal_factors_between_its_ends() -> None:
    course = [annealed_amplification(s, start=2, end=50) for s in (-1, 0, 0.25, 0.5, 0.75, 1, 2)]
    inner = [2 * 5**0.5, 10, 10 * 5**0.5]
    torch.testing.assert_close(tensor(course), tensor([2, 2, *inner, 50, 50]))
    as_tensors = annealed_amplification(tensor([-1, 0.5, 2]), start=2, end=50)
    torch.testing.assert_close(as_tensors, tensor([2, 10, 50]))
