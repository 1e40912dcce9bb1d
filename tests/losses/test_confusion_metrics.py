"""Losses from confusion metrics: published numbers, textbook formulas, absent classes."""

import json
import math
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.func import grad, vmap
from torch.nn import functional

from gobj.losses import confusion_losses as losses
from gobj.losses import confusion_metrics as metrics
from gobj.losses.confusion_losses import confusion_metric_loss
from gobj.losses.soft_confusion import SoftConfusion, soft_confusion

REFERENCE = json.loads(
    (Path(__file__).parents[1] / "data/reference_cases.json").read_text(encoding="utf-8")
)
CASES = [case for case in REFERENCE["cases"] if case["family"] == "anyloss"]
PUBLISHED: dict[str, Callable[..., Tensor]] = {
    "accuracy": losses.accuracy_loss,
    "precision": losses.precision_loss,
    "fbeta": losses.f_beta_loss,
    "gmean": losses.geometric_mean_loss,
    "balanced_accuracy": losses.balanced_accuracy_loss,
    "confusion_error": partial(
        confusion_metric_loss,
        metric=lambda counts: 1 - counts.false_positives - counts.false_negatives,
    ),
}
NAMES = (
    "accuracy",
    "precision",
    "recall",
    "f_beta",
    "balanced_accuracy",
    "geometric_mean",
    "jaccard",
    "matthews",
)
LOSSES: dict[str, Callable[..., Tensor]] = {
    **{name: getattr(losses, f"{name}_loss") for name in NAMES},
    "user": partial(
        confusion_metric_loss,
        metric=lambda c: 1 - (c.false_positives + 5 * c.false_negatives) / sum(c),
    ),
}
each_case = pytest.mark.parametrize("case", CASES, ids=lambda case: case["id"])
each_loss = pytest.mark.parametrize("loss", LOSSES.values(), ids=LOSSES)
each_named_loss = pytest.mark.parametrize("name", NAMES)
cells = st.integers(1, 50)


def tensor(values: object) -> Tensor:
    """Make a float64 tensor."""
    return torch.tensor(values, dtype=torch.float64)


def gradient(function: Callable[[Tensor], Tensor], at: Tensor) -> Tensor:
    """Differentiate with torch's tape."""
    at = at.detach().clone().requires_grad_()
    (slope,) = torch.autograd.grad(function(at), at)
    return slope


def textbook(name: str, tp: float, fp: float, fn: float, tn: float) -> float:
    """Return a metric as books print it."""
    sensitivity, specificity = tp / (tp + fn), tn / (tn + fp)
    precision = tp / (tp + fp)
    if name == "matthews":
        covariance = tp * tn - fp * fn
        return covariance / math.sqrt((tp + fp) * (tp + fn) * (tn + fp) * (tn + fn))
    return {
        "accuracy": (tp + tn) / (tp + fp + fn + tn),
        "precision": precision,
        "recall": sensitivity,
        "f_beta": 2 / (1 / precision + 1 / sensitivity),
        "balanced_accuracy": (sensitivity + specificity) / 2,
        "geometric_mean": math.sqrt(sensitivity * specificity),
        "jaccard": tp / (tp + fp + fn),
    }[name]


@each_case
@pytest.mark.parametrize("scores", ["logits", "probs"])
def test_published_losses_and_gradients_are_reproduced(case: dict[str, Any], scores: str) -> None:
    params, inputs, expected = case["params"], case["inputs"], case["expected"]
    settings: dict[str, Any] = {"amplification": float(params["L"])}
    settings |= {"class_dim": 1} if params["link"] == "softmax" else {}
    settings |= {"beta": params["beta"]} if params["metric"] == "fbeta" else {}
    settings |= {"average": "micro"} if params["average"] == "micro" else {}

    def loss(x: Tensor) -> Tensor:
        labels = torch.tensor(inputs["labels"])
        function = PUBLISHED[params["metric"]]
        return function(x, labels, probabilities=scores == "probs", **settings)

    got, slopes = loss(tensor(inputs[scores])), gradient(loss, tensor(inputs[scores]))
    if "loss" in expected:
        torch.testing.assert_close(got, tensor(expected["loss"]), rtol=1e-10, atol=1e-10)
        published = tensor(expected[f"grad_{scores}"])
        torch.testing.assert_close(slopes, published, rtol=1e-10, atol=1e-10)
    else:
        assert got.isfinite()
        assert slopes.isfinite().all()


@given(cells, cells, cells, cells)
def test_every_metric_is_the_one_in_the_books(tp: int, fp: int, fn: int, tn: int) -> None:
    counts = SoftConfusion(*tensor([tp, fp, fn, tn]))
    for name in NAMES:
        got = getattr(metrics, name)(counts).item()
        assert got == pytest.approx(textbook(name, tp, fp, fn, tn), rel=1e-12, abs=1e-12)


@given(cells, cells, cells, st.floats(0.1, 9))
def test_f_beta_weighs_recall_beta_times(tp: int, fp: int, fn: int, beta: float) -> None:
    got = metrics.f_beta(SoftConfusion(*tensor([tp, fp, fn, 1])), beta=beta).item()
    precision, recall = tp / (tp + fp), tp / (tp + fn)
    expected = (1 + beta**2) * precision * recall / (beta**2 * precision + recall)
    assert got == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize(
    ("counts", "expected"),
    [
        # no positives: accuracy, precision, recall, F1, balanced, G-mean, Jaccard, Matthews
        ([0, 3, 0, 1], [0.25, 0, 1, 0, 0.625, 0.5, 0, 0]),
        ([0, 0, 0, 4], [1, 1, 1, 1, 1, 1, 1, 1]),
        # no negatives
        ([1, 0, 3, 0], [0.25, 1, 0.25, 0.4, 0.625, 0.5, 0.25, 0]),
        # nobody is called positive
        ([0, 0, 1, 3], [0.75, 1, 0, 0, 0.5, 0, 0, 0]),
        ([0, 0, 0, 0], [1, 1, 1, 1, 1, 1, 1, 1]),
    ],
)
def test_nothing_over_nothing_is_no_error(counts: list[float], expected: list[float]) -> None:
    got = [getattr(metrics, name)(SoftConfusion(*tensor(counts))).item() for name in NAMES]
    assert got == pytest.approx(expected, abs=1e-12)


@each_loss
@pytest.mark.parametrize("label", [0, 1])
@pytest.mark.parametrize("settings", [{}, {"temperature": 1}, {"temperature": 0.01}], ids=str)
def test_one_class_alone_has_a_finite_loss_and_gradient(
    loss: Callable[..., Tensor], label: int, settings: dict[str, float]
) -> None:
    labels = torch.full((5,), label)
    for logits in (torch.randn(5), torch.full((5,), 1e4), torch.full((5,), -1e4)):
        assert loss(logits, labels, **settings).isfinite()
        assert gradient(lambda z: loss(z, labels, **settings), logits).isfinite().all()


@pytest.mark.parametrize("name", ["accuracy", "balanced_accuracy", "geometric_mean"])
def test_false_positives_cost_even_where_no_positive_is(name: str) -> None:
    labels = torch.zeros(4, dtype=torch.float64)
    slopes = gradient(
        lambda z: getattr(losses, f"{name}_loss")(z, labels, amplification=8),
        torch.randn(4, dtype=torch.float64),
    )
    assert (slopes > 0).all()


@pytest.mark.parametrize("name", ["precision", "f_beta", "jaccard", "matthews"])
def test_smoothing_gives_a_batch_without_positives_a_gradient(name: str) -> None:
    loss, labels = getattr(losses, f"{name}_loss"), torch.zeros(4, dtype=torch.float64)
    logits = torch.randn(4, dtype=torch.float64)
    dead = gradient(lambda z: loss(z, labels, amplification=8), logits)
    live = gradient(lambda z: loss(z, labels, amplification=8, smoothing=0.01), logits)
    torch.testing.assert_close(dead, torch.zeros_like(dead))
    assert (live > 0).all()


def test_smoothing_adds_a_share_of_the_weight_to_the_right_calls() -> None:
    logits, labels = torch.randn(6, dtype=torch.float64), torch.tensor([1, 0, 0, 1, 0, 0])
    tp, fp, fn, tn = (count.item() for count in soft_confusion(logits, labels, weights=2.0))
    got = losses.matthews_loss(logits, labels, weights=2.0, smoothing=0.25).item()
    assert got == pytest.approx(1 - textbook("matthews", tp + 3, fp, fn, tn + 3), rel=1e-12)


@each_loss
def test_nothing_with_weight_is_a_loss_of_0_without_gradient(loss: Callable[..., Tensor]) -> None:
    logits, labels = torch.randn(4, 2), torch.randint(0, 2, (4, 2))
    for z, y, weights in ((logits, labels, 0.0), (logits[:0], labels[:0], None)):
        assert loss(z, y, weights=weights) == 0
        slopes = gradient(lambda at, y=y, w=weights: loss(at, y, weights=w), z)
        torch.testing.assert_close(slopes, torch.zeros_like(z))


@each_loss
def test_a_label_without_weight_leaves_the_others_alone(loss: Callable[..., Tensor]) -> None:
    logits, labels = torch.randn(4, 2), torch.tensor([[1, 0], [0, 1], [1, 1], [0, 0]])
    weights = torch.tensor([[1.0, 0.0]]).expand(4, 2)
    got = loss(logits, labels, weights=weights, average="none")
    torch.testing.assert_close(
        got, torch.stack([loss(logits[:, 0], labels[:, 0]), tensor(0)]).float()
    )


@each_named_loss
def test_averages_are_of_metrics_or_of_counts(name: str) -> None:
    loss = getattr(losses, f"{name}_loss")
    logits, labels = torch.randn(8, 3, dtype=torch.float64), torch.randint(0, 3, (8,))
    counts = torch.stack(soft_confusion(logits, labels, class_dim=1))
    each = [1 - textbook(name, *counts[:, index].tolist()) for index in range(3)]
    for average, expected in (
        ("none", each),
        ("macro", sum(each) / 3),
        ("micro", 1 - textbook(name, *counts.sum(1).tolist())),
    ):
        got = loss(logits, labels, class_dim=1, average=average)
        torch.testing.assert_close(got, tensor(expected), rtol=1e-10, atol=1e-10)


@each_loss
@given(scale=st.floats(1e-3, 1e3))
def test_the_scale_of_the_weights_does_not_matter(
    loss: Callable[..., Tensor], scale: float
) -> None:
    logits, labels = tensor([[1, -2], [0.5, 1], [-1, 0], [0, 3]]), tensor([[1, 0], [0, 1]] * 2)
    weights = tensor([[1, 2], [3, 0.5], [0, 1], [1, 1]])
    for smoothing in (0.0, 0.1):
        settings = {"amplification": 8, "smoothing": smoothing}
        torch.testing.assert_close(
            loss(logits, labels, weights=scale * weights, **settings),
            loss(logits, labels, weights=weights, **settings),
        )


@pytest.mark.parametrize("name", ["accuracy", "balanced_accuracy", "geometric_mean", "matthews"])
def test_metrics_of_both_classes_do_not_care_which_is_positive(name: str) -> None:
    loss, logits = getattr(losses, f"{name}_loss"), torch.randn(7, dtype=torch.float64)
    labels = torch.tensor([1, 0, 0, 1, 0, 0, 0])
    torch.testing.assert_close(loss(logits, labels), loss(-logits, 1 - labels))


@pytest.mark.parametrize("weight", [1e-9, 1.0, 1e12])
def test_matthews_neither_overflows_nor_cancels_in_float32(weight: float) -> None:
    logits, labels = torch.tensor([-1.0, -1.5, -2.0, -1.2]), torch.tensor([1, 0, 0, 1])
    got = losses.matthews_loss(logits, labels, weights=torch.full((4,), weight))
    exact = losses.matthews_loss(logits.double(), labels)
    torch.testing.assert_close(got.double(), exact, rtol=1e-4, atol=0)


@pytest.mark.parametrize("sign", [-1.0, 1.0])
def test_the_gradient_of_a_positive_does_not_drown_in_that_of_a_negative(sign: float) -> None:
    # all called alike: the rate of one class is nearly 0 and its root very steep
    logits = sign * torch.tensor([2.0, 3.0, 2.5, 0.05])
    labels = torch.tensor([1, 0, 0, 1]) if sign > 0 else torch.tensor([0, 1, 1, 0])
    settings = {"amplification": 40.0}
    single = gradient(lambda z: losses.geometric_mean_loss(z, labels, **settings), logits)
    double = gradient(lambda z: losses.geometric_mean_loss(z, labels, **settings), logits.double())
    torch.testing.assert_close(single.double(), double, rtol=1e-4, atol=0)


@each_loss
def test_gradients_are_those_of_the_loss(loss: Callable[..., Tensor]) -> None:
    logits = torch.randn(6, 3, dtype=torch.float64, requires_grad=True)
    labels, weights = torch.randint(0, 3, (6,)), torch.rand(6, dtype=torch.float64)
    for settings in ({"amplification": 9, "smoothing": 0.1}, {"temperature": 0.7}):
        function = partial(loss, labels=labels, weights=weights, class_dim=1, **settings)
        assert torch.autograd.gradcheck(lambda z, f=function: f(z), logits, check_forward_ad=True)


@each_loss
def test_vmap_is_a_loop(loss: Callable[..., Tensor]) -> None:
    logits, labels = torch.randn(5, 3), torch.tensor([[1, 0, 0], [0, 1, 1]] * 2 + [[1, 1, 0]])
    function = partial(loss, amplification=8.0)
    for each in (function, grad(function)):
        looped = [each(logits[:, index], labels[:, index]) for index in range(3)]
        torch.testing.assert_close(vmap(each, (1, 1))(logits, labels), torch.stack(looped))
    native = loss(logits, labels, amplification=8.0, average="none")
    torch.testing.assert_close(vmap(function, (1, 1))(logits, labels), native)


@each_loss
def test_one_full_graph_serves_every_batch(loss: Callable[..., Tensor]) -> None:
    torch._dynamo.reset()
    labels, weights = torch.tensor([[1, 0], [0, 1], [1, 1], [0, 0]]), torch.rand(4).double()
    function = partial(loss, labels=labels, weights=weights, smoothing=0.1, temperature=1.0)
    compiled = torch.compile(function, fullgraph=True, backend="aot_eager")
    gradient(compiled, torch.randn(4, 2, dtype=torch.float64))
    with torch.compiler.set_stance("fail_on_recompile"):
        at = torch.randn(4, 2, dtype=torch.float64)
        torch.testing.assert_close(gradient(compiled, at), gradient(function, at))
        torch.testing.assert_close(compiled(at.requires_grad_()), function(at))


def test_a_user_writes_any_metric_of_the_counts() -> None:
    def informedness(counts: SoftConfusion) -> Tensor:
        tp, fp, fn, tn = counts
        return tp / (tp + fn) + tn / (tn + fp) - 1

    logits, labels = torch.randn(6, 2, dtype=torch.float64), torch.tensor([[1, 0], [0, 1]] * 3)
    got = confusion_metric_loss(logits, labels, metric=informedness)
    expected = 2 * losses.balanced_accuracy_loss(logits, labels)
    torch.testing.assert_close(got, expected)


def mistakes_left(settings: dict[str, Any]) -> int:
    """Train scores that start surely wrong, and count those that stay so."""
    labels = torch.tensor([1.0, 0.0, 0.0, 1.0])
    logits = (3 * (1 - 2 * labels)).requires_grad_()
    optimizer = torch.optim.SGD([logits], lr=20.0)
    for _ in range(300):
        optimizer.zero_grad()
        losses.f_beta_loss(logits, labels, **settings).backward()
        optimizer.step()
    return int(((logits > 0) != (labels > 0)).sum())


@pytest.mark.parametrize(
    ("settings", "left"), [({}, 4), ({"amplification": 4.0}, 0), ({"temperature": 1.0}, 0)], ids=str
)
def test_sure_mistakes_stay_at_the_published_step_and_are_mended_by_the_remedies(
    settings: dict[str, Any], left: int
) -> None:
    assert mistakes_left(settings) == left


@each_named_loss
def test_every_loss_has_a_module(name: str) -> None:
    module = getattr(losses, "".join(part.title() for part in name.split("_")) + "Loss")
    logits, labels, weights = torch.randn(5, 2), torch.randint(0, 2, (5, 2)), torch.rand(5)
    got = module(temperature=0.5, average="micro")(logits, labels, weights)
    loss = getattr(losses, f"{name}_loss")
    expected = loss(logits, labels, weights=weights, temperature=0.5, average="micro")
    torch.testing.assert_close(got, expected)
    assert "temperature=0.5" in repr(module(temperature=0.5))


def test_the_module_of_a_users_metric_takes_it() -> None:
    logits, labels = torch.randn(5), torch.tensor([1, 0, 0, 1, 1])
    module = losses.ConfusionMetricLoss(metric=metrics.specificity)
    _, fp, _, tn = soft_confusion(logits, labels)
    torch.testing.assert_close(module(logits, labels), 1 - tn / (tn + fp))


def test_a_metric_in_words_is_refused() -> None:
    form = r"^confusion_metric_loss: `metric` must be a function; got 'f1'\.$"
    with pytest.raises(ValueError, match=form):
        losses.confusion_metric_loss(torch.zeros(3), torch.ones(3), metric="f1")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"average": "mean"}, "`average` must be 'macro', 'micro' or 'none'; got 'mean'"),
        ({"smoothing": -0.1}, r"`smoothing` must be a number in \[0, inf\]; got -0.1"),
        ({"beta": 0.0}, r"`beta` must be a number in \(0, inf\); got 0.0"),
        ({"threshold": 2.0}, r"`threshold` must be a number in \(0, 1\); got 2.0"),
    ],
)
def test_a_wrong_argument_is_named_with_the_loss(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=f"^f_beta_loss: {message}"):
        losses.f_beta_loss(torch.zeros(3), torch.ones(3), **arguments)


JUDGING_NEGATIVES = ("accuracy", "balanced_accuracy", "geometric_mean")


@pytest.mark.parametrize("name", NAMES)
def test_a_class_that_no_example_has_is_left_out_of_the_mean(name: str) -> None:
    loss, classes = getattr(losses, f"{name}_loss"), torch.tensor([0, 1, 3, 0, 1, 3])
    right = 20.0 * functional.one_hot(classes, 4).double() - 10
    mixed = torch.randn(6, 4, dtype=torch.float64)
    assert loss(right, classes, class_dim=1, amplification=50).item() < 0.05
    each = loss(mixed, classes, class_dim=1, average="none")
    skipped, counted = (loss(mixed, classes, class_dim=1, absent=p) for p in ("skip", "count"))
    torch.testing.assert_close(skipped, each[[0, 1, 3]].mean())
    assert each[2] == 0
    of_all = loss(mixed, classes, class_dim=1, average="none", absent="count")
    torch.testing.assert_close(counted, of_all.mean())
    torch.testing.assert_close(of_all[[0, 1, 3]], each[[0, 1, 3]])


@pytest.mark.parametrize("name", NAMES)
def test_labels_without_a_positive_are_left_out_unless_their_negatives_are_judged(
    name: str,
) -> None:
    loss = getattr(losses, f"{name}_loss")
    labels = torch.tensor([[1, 0], [0, 0], [1, 0], [0, 0]])
    logits = torch.randn(4, 2, dtype=torch.float64)
    alone = loss(logits[:, 0], labels[:, 0])
    counted = loss(logits, labels, absent="count")
    if name in JUDGING_NEGATIVES:
        torch.testing.assert_close(loss(logits, labels), counted)
        assert loss(logits[:, 1], labels[:, 1]) > 0
    else:
        torch.testing.assert_close(loss(logits, labels), alone)
        assert loss(logits[:, 1], labels[:, 1]) == 0
    second = loss(logits[:, 1], labels[:, 1], absent="count")
    torch.testing.assert_close(counted, (alone + second) / 2)


def test_a_policy_for_absent_classes_is_one_of_two() -> None:
    with pytest.raises(ValueError, match=r"`absent` must be 'skip' or 'count'; got 'drop'\.$"):
        losses.f_beta_loss(torch.zeros(3), torch.zeros(3), absent="drop")
