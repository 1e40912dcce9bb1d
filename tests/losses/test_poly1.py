"""Poly-1 cross entropy: published numbers, plain arithmetic, torch's own loss as a special case."""

import math
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.func import grad, hessian, vmap
from torch.nn import functional

from gobj.losses.poly1 import Poly1CrossEntropyLoss, poly1_cross_entropy_loss
from tests.losses.published import check, check_gradient, each_published, optional, tensor
from tests.strategies import numbers

FORMS = ["whole", "ce_only", "pt_scaled"]
MEANS = ["all_weights", "weights", "class_weights", "elements"]
CLASS_WEIGHTS = tensor([0.5, 1.0, 4.0])
each_form = pytest.mark.parametrize("form", FORMS)
each_mean = pytest.mark.parametrize("mean_over", MEANS)

SETTINGS: dict[str, dict[str, Any]] = {
    "plain": {},
    "class weights": {"class_weights": CLASS_WEIGHTS},
    "ce only": {"class_weights": CLASS_WEIGHTS, "weight_form": "ce_only"},
    "pt scaled": {"class_weights": CLASS_WEIGHTS, "weight_form": "pt_scaled"},
    "smoothed": {"class_weights": CLASS_WEIGHTS, "label_smoothing": 0.2},
}
each_setting = pytest.mark.parametrize("setting", SETTINGS.values(), ids=SETTINGS.keys())
each_target = pytest.mark.parametrize("probabilities", [False, True], ids=["index", "probability"])


def batch(*shape: int, classes: int = 3) -> tuple[Tensor, Tensor]:
    """Draw logits and class indices, class axis at position 1."""
    n, *rest = shape
    logits = torch.randn(n, classes, *rest, dtype=torch.float64) * 3
    return logits, torch.randint(classes, shape)


def slope(logits: Tensor, labels: Tensor, **options: Any) -> Tensor:
    return grad(poly1_cross_entropy_loss)(logits, labels, **options)


def softmax(scores: list[float]) -> list[float]:
    exponentials = [math.exp(score - max(scores)) for score in scores]
    return [value / sum(exponentials) for value in exponentials]


def cost(
    scores: list[float], target: list[float], epsilon: float, weights: list[float], form: str
) -> float:
    """Expected cost of one element under a distribution of its class."""
    total = 0.0
    for q, p, c in zip(target, softmax(scores), weights, strict=True):
        average = sum(weights) / len(weights)
        total += (
            q
            * {
                "whole": c * (epsilon * (1 - p) - math.log(p)),
                "ce_only": epsilon * (1 - p) - c * math.log(p),
                "pt_scaled": epsilon * (1 - p * c / average) - c * math.log(p),
            }[form]
        )
    return total


@each_published("poly1_cross_entropy")
def test_published_numbers_are_met(published: dict[str, Any]) -> None:
    settings, expected = published["params"], published["expected"]
    logits = tensor(published["inputs"]["logits"]).requires_grad_()
    labels = torch.tensor(published["inputs"]["labels"])
    losses = {
        reduction: poly1_cross_entropy_loss(
            logits,
            labels,
            epsilon=settings["epsilon"],
            class_weights=optional(settings["class_weights"]),
            weight_form=settings["weight_form"],
            label_smoothing=settings.get("label_smoothing", 0.0),
            reduction=reduction,
            mean_over="elements",
        )
        for reduction in ("none", "sum", "mean")
    }
    for reduction, loss in losses.items():
        check(loss, expected[f"loss_{reduction}"])
    check_gradient(losses[settings["reduction"]], logits, expected["grad_logits"])


@each_form
@given(
    scores=st.lists(numbers(-9, 9), min_size=3, max_size=3),
    label=st.integers(0, 2),
    epsilon=numbers(-2, 5),
    smoothing=st.sampled_from([0.0, 0.3]),
)
def test_an_element_costs_what_its_definition_says(
    form: Any, scores: list[float], label: int, epsilon: float, smoothing: float
) -> None:
    weights = [0.25, 3.0, 1.0]
    target = [(1 - smoothing) * (k == label) + smoothing / 3 for k in range(3)]
    expected = cost(scores, target, epsilon, weights, form)
    options = {"epsilon": epsilon, "class_weights": tensor(weights), "weight_form": form}
    got = poly1_cross_entropy_loss(
        tensor([scores]),
        torch.tensor([label]),
        label_smoothing=smoothing,
        reduction="sum",
        **options,
    )
    check(got, expected)
    check(
        poly1_cross_entropy_loss(tensor(scores), tensor(target), reduction="sum", **options),
        expected,
    )


@each_mean
@given(
    labels=st.lists(st.sampled_from([0, 1, 2, -100]), min_size=1, max_size=6),
    data=st.data(),
)
def test_the_mean_divides_by_what_it_names(mean_over: Any, labels: list[int], data: Any) -> None:
    n, table = len(labels), [0.5, 0.0, 4.0]
    weights = data.draw(st.lists(st.sampled_from([0.0, 0.5, 3.0]), min_size=n, max_size=n))
    rows = data.draw(st.lists(st.tuples(*[numbers(-5, 5)] * 3), min_size=n, max_size=n))
    total = mass = 0.0
    for row, label, weight in zip(rows, labels, weights, strict=True):
        if label >= 0:
            onehot = [float(k == label) for k in range(3)]
            total += weight * cost(list(row), onehot, 1.0, table, "whole")
            mass += {
                "all_weights": weight * table[label],
                "weights": weight,
                "class_weights": table[label],
                "elements": 1.0,
            }[mean_over]
    got = poly1_cross_entropy_loss(
        tensor(rows),
        torch.tensor(labels),
        class_weights=tensor(table),
        weights=tensor(weights),
        mean_over=mean_over,
    )
    check(got, total / mass if mass else 0.0)


@each_target
@pytest.mark.parametrize("rest", [(), (4,), (2, 3)], ids=str)
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
def test_epsilon_zero_is_the_cross_entropy_of_torch(
    probabilities: bool, rest: tuple[int, ...], smoothing: float, weighted: bool, reduction: Any
) -> None:
    logits, labels = batch(5, *rest)
    labels.flatten()[::4] = -100
    target = torch.randn_like(logits).softmax(1) if probabilities else labels
    weight = CLASS_WEIGHTS if weighted else None

    def ours(logits: Tensor) -> Tensor:
        return poly1_cross_entropy_loss(
            logits,
            target,
            epsilon=0.0,
            class_weights=weight,
            label_smoothing=smoothing,
            reduction=reduction,
        )

    def theirs(logits: Tensor) -> Tensor:
        return functional.cross_entropy(
            logits, target, weight=weight, label_smoothing=smoothing, reduction=reduction
        )

    exact = {"rtol": 1e-14, "atol": 1e-14}
    torch.testing.assert_close(ours(logits), theirs(logits), **exact)
    slopes = [grad(lambda z, f=f: f(z).sum())(logits) for f in (ours, theirs)]
    torch.testing.assert_close(slopes[0], slopes[1], **exact)


@given(scores=st.lists(numbers(-4, 4), min_size=3, max_size=3), label=st.integers(0, 2))
def test_epsilon_of_minus_one_leaves_the_series_without_its_first_term(
    scores: list[float], label: int
) -> None:
    rest = 1 - softmax(scores)[label]
    series = sum(rest**j / j for j in range(2, 60_000))
    got = poly1_cross_entropy_loss(
        tensor([scores]),
        torch.tensor([label]),
        epsilon=-1.0,
        class_weights=CLASS_WEIGHTS,
        reduction="sum",
    )
    check(got, CLASS_WEIGHTS[label].item() * series, 1e-9)


def test_epsilon_of_minus_one_makes_the_slope_of_sure_elements_vanish_quadratically() -> None:
    logits = torch.eye(3, dtype=torch.float64) * 12
    options = {"class_weights": CLASS_WEIGHTS, "reduction": "sum"}
    published = slope(logits, torch.arange(3), epsilon=-1.0, weight_form="ce_only", **options)
    assert slope(logits, torch.arange(3), epsilon=-1.0, **options).abs().max() < 1e-8
    assert published.abs().max() > 1e-6


def test_a_class_of_weight_zero_costs_nothing_unless_only_the_cross_entropy_is_weighted() -> None:
    logits, labels = torch.randn(4, 3), torch.zeros(4, dtype=torch.long)
    none = torch.tensor([0.0, 1.0, 1.0])
    options = {"class_weights": none, "reduction": "none"}
    assert not poly1_cross_entropy_loss(logits, labels, **options).any()
    assert (poly1_cross_entropy_loss(logits, labels, weight_form="ce_only", **options) > 0).all()
    for form in ("whole", "pt_scaled"):
        options = {"class_weights": none, "reduction": "sum", "weight_form": form}
        assert not slope(logits, labels, **options).any()


@each_setting
def test_class_indices_are_probabilities_of_one_class(setting: dict[str, Any]) -> None:
    logits, labels = batch(6, 4)
    onehot = functional.one_hot(labels, 3).movedim(-1, 1)
    got = poly1_cross_entropy_loss(logits, onehot, reduction="none", **setting)
    expected = poly1_cross_entropy_loss(logits, labels, reduction="none", **setting)
    torch.testing.assert_close(got, expected)


@pytest.mark.parametrize("dtype", [torch.bool, torch.uint8, torch.int32, torch.float32], ids=str)
def test_labels_of_any_dtype_mean_the_same(dtype: torch.dtype) -> None:
    logits, labels = batch(7, classes=2)
    got = poly1_cross_entropy_loss(logits, labels.to(dtype))
    torch.testing.assert_close(got, poly1_cross_entropy_loss(logits, labels), rtol=0, atol=0)


def test_a_label_of_one_byte_is_not_taken_for_the_ignored_one() -> None:
    label = torch.tensor([156], dtype=torch.uint8)  # -100 modulo 256
    assert poly1_cross_entropy_loss(torch.zeros(1, 200), label, epsilon=0.0) > 5


@each_setting
@each_target
@pytest.mark.parametrize("junk", [math.nan, math.inf, -math.inf, 1e30])
def test_what_has_no_weight_is_as_if_absent(
    setting: dict[str, Any], probabilities: bool, junk: float
) -> None:
    logits, labels = batch(6, 2)
    target = torch.randn_like(logits).softmax(1) if probabilities else labels.double()
    weights = torch.rand(6, dtype=torch.float64)
    weights[2] = 0
    broken, missing = logits.clone(), target.clone()
    broken[2], missing[2] = junk, math.nan
    got = poly1_cross_entropy_loss(broken, missing, weights=weights, **setting)
    kept = [0, 1, 3, 4, 5]
    expected = poly1_cross_entropy_loss(
        logits[kept], target[kept], weights=weights[kept], **setting
    )
    torch.testing.assert_close(got, expected)
    slopes = slope(broken, missing, weights=weights, **setting)
    assert not slopes[2].any()
    torch.testing.assert_close(
        slopes[kept], slope(logits[kept], target[kept], weights=weights[kept], **setting)
    )


@each_setting
@each_mean
def test_ignored_labels_are_as_if_absent(setting: dict[str, Any], mean_over: Any) -> None:
    logits, labels = batch(6)
    labels[1] = labels[4] = 7
    broken = logits.clone()
    broken[1], broken[4] = math.nan, math.inf
    options = {"ignore_index": 7, "mean_over": mean_over, **setting}
    got = poly1_cross_entropy_loss(broken, labels, **options)
    kept = [0, 2, 3, 5]
    torch.testing.assert_close(got, poly1_cross_entropy_loss(logits[kept], labels[kept], **options))
    assert not slope(broken, labels, **options)[[1, 4]].any()
    each = poly1_cross_entropy_loss(broken, labels, **{**options, "reduction": "none"})
    assert not each[[1, 4]].any()


@each_setting
@each_target
def test_infinite_scores_on_the_right_side_are_very_sure(
    setting: dict[str, Any], probabilities: bool
) -> None:
    scores = tensor([[math.inf, 0.0, 1.0], [-math.inf, 2.0, -math.inf], [0.0, -1e4, 1e4]])
    labels = torch.tensor([0, 1, 2])
    target = functional.one_hot(labels, 3) if probabilities else labels
    got = poly1_cross_entropy_loss(scores, target, reduction="none", **setting)
    assert got.isfinite().all()
    if setting.get("label_smoothing", 0.0) == 0:
        sure = poly1_cross_entropy_loss(
            scores.clamp(-1e4, 1e4), target, reduction="none", **setting
        )
        torch.testing.assert_close(got, sure)
    assert slope(scores, target, **setting).isfinite().all()


@each_setting
@each_target
def test_a_missing_score_with_weight_is_loud(setting: dict[str, Any], probabilities: bool) -> None:
    logits, labels = batch(4)
    logits[1, 2] = math.nan
    target = functional.one_hot(labels, 3) if probabilities else labels
    assert poly1_cross_entropy_loss(logits, target, **setting).isnan()


@each_setting
def test_dense_targets_are_so_many_examples(setting: dict[str, Any]) -> None:
    logits, labels = batch(2, 3, 4)
    weights = torch.rand(2, 3, 4, dtype=torch.float64)
    got = poly1_cross_entropy_loss(logits, labels, weights=weights, **setting)
    flat = logits.movedim(1, -1).reshape(-1, 3)
    expected = poly1_cross_entropy_loss(
        flat, labels.flatten(), weights=weights.flatten(), **setting
    )
    torch.testing.assert_close(got, expected)


@each_setting
def test_gradients_of_single_examples_map_over_a_batch(setting: dict[str, Any]) -> None:
    logits, labels = batch(5)
    options = {**setting, "mean_over": "elements"}
    got = vmap(grad(lambda z, y: poly1_cross_entropy_loss(z, y, **options)))(logits, labels)
    torch.testing.assert_close(got, slope(logits, labels, **{**options, "reduction": "sum"}))


def test_labels_map_over_logits_that_do_not() -> None:
    logits, labels = torch.randn(4, 3), torch.randint(3, (6, 4))
    got = vmap(lambda y: slope(logits, y))(labels)
    torch.testing.assert_close(got, torch.stack([slope(logits, y) for y in labels]))


@each_setting
@each_target
def test_first_and_second_derivatives_are_right_in_both_modes(
    setting: dict[str, Any], probabilities: bool
) -> None:
    logits, labels = batch(3, 2)
    logits.div_(3).requires_grad_()
    target = functional.one_hot(labels, 3).movedim(-1, 1) if probabilities else labels
    weights = torch.rand(3, 2, dtype=torch.float64)

    def loss(logits: Tensor) -> Tensor:
        return poly1_cross_entropy_loss(logits, target, epsilon=2.0, weights=weights, **setting)

    assert torch.autograd.gradcheck(loss, (logits,), check_forward_ad=True)
    assert torch.autograd.gradgradcheck(loss, (logits,))
    assert hessian(loss)(logits.detach()).isfinite().all()


@pytest.mark.filterwarnings("ignore:.*should not be instantiated:DeprecationWarning")
@each_setting
def test_one_graph_serves_every_batch(setting: dict[str, Any]) -> None:
    torch.compiler.reset()
    compiled = torch.compile(poly1_cross_entropy_loss, fullgraph=True, backend="aot_eager")

    def run(seed: int) -> None:
        torch.manual_seed(seed)
        logits, labels = batch(5, 2)
        options = {"weights": torch.rand(5, dtype=torch.float64), **setting}
        leaves = [logits.clone().requires_grad_() for _ in range(2)]
        losses = [
            f(z, labels, **options)
            for f, z in zip((compiled, poly1_cross_entropy_loss), leaves, strict=True)
        ]
        torch.testing.assert_close(*losses)
        slopes = [torch.autograd.grad(loss, z)[0] for loss, z in zip(losses, leaves, strict=True)]
        torch.testing.assert_close(*slopes)

    run(0)
    with torch.compiler.set_stance("fail_on_recompile"):
        run(1)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
def test_half_precision_scores_are_computed_in_single_precision(dtype: torch.dtype) -> None:
    logits, labels = torch.randn(9, 3).to(dtype), torch.randint(3, (9,))
    got = poly1_cross_entropy_loss(logits, labels, class_weights=CLASS_WEIGHTS)
    expected = poly1_cross_entropy_loss(logits.float(), labels, class_weights=CLASS_WEIGHTS)
    assert got.dtype == torch.float32
    torch.testing.assert_close(got, expected, rtol=0, atol=0)


VIEWS = {"detach", "view", "view_as"}


def test_the_module_is_the_function_and_keeps_its_weights_in_a_buffer() -> None:
    logits, labels = batch(5)
    settings = {"epsilon": -0.5, "class_weights": CLASS_WEIGHTS.float(), "ignore_index": 1}
    module = Poly1CrossEntropyLoss(**settings)
    assert list(module.state_dict()) == ["class_weights"]
    module.double()
    weights = torch.rand(5, dtype=torch.float64)
    expected = poly1_cross_entropy_loss(logits, labels, weights=weights, **settings)
    torch.testing.assert_close(module(logits, labels, weights), expected)


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize("rest", [(), (2, 3)], ids=str)
def test_the_module_drops_in_for_that_of_torch(reduction: str, rest: tuple[int, ...]) -> None:
    logits, labels = batch(4, *rest)
    ours = Poly1CrossEntropyLoss(epsilon=0.0, class_weights=CLASS_WEIGHTS, reduction=reduction)
    theirs = nn.CrossEntropyLoss(weight=CLASS_WEIGHTS, reduction=reduction)
    torch.testing.assert_close(ours(logits, labels), theirs(logits, labels))


def test_the_module_shows_the_settings_of_the_function_and_takes_no_others() -> None:
    assert "epsilon=3.0" in repr(Poly1CrossEntropyLoss(epsilon=3.0))
    with pytest.raises(TypeError, match="gamma"):
        Poly1CrossEntropyLoss(gamma=2.0)


REFUSED: list[tuple[str, dict[str, Any]]] = [
    ("logits", {"logits": torch.zeros(4, 3, dtype=torch.long)}),
    ("labels", {"labels": torch.zeros(3, dtype=torch.long)}),
    ("labels", {"labels": torch.zeros(4, 2)}),
    ("labels", {"labels": torch.zeros(4, 1, dtype=torch.long)}),
    ("epsilon", {"epsilon": math.nan}),
    ("class_weights", {"class_weights": torch.ones(4)}),
    ("weight_form", {"weight_form": "both"}),
    ("label_smoothing", {"label_smoothing": 1.5}),
    ("weights", {"weights": torch.ones(4, 3)}),
    ("weights", {"weights": -1.0}),
    ("reduction", {"reduction": "average"}),
    ("mean_over", {"mean_over": "count"}),
]


@pytest.mark.parametrize(("argument", "options"), REFUSED)
def test_what_does_not_fit_is_refused(argument: str, options: dict[str, Any]) -> None:
    arguments = {"logits": torch.zeros(4, 3), "labels": torch.zeros(4, dtype=torch.long), **options}
    pattern = rf"^poly1_cross_entropy_loss: `{argument}` must [^`]+; got .+\.$"
    with pytest.raises(ValueError, match=pattern):
        poly1_cross_entropy_loss(**arguments)
