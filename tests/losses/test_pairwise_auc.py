"""The pairwise loss: a double loop over pairs, published numbers, and scores of every spread."""

import math
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.func import grad, jacfwd, jacrev, vmap

import gobj
from gobj.losses import _pair_sums
from gobj.losses.pairwise_auc import PairwiseROCAUCLoss, pairwise_roc_auc_loss
from tests.losses.published import check, check_gradient, each_published, optional, tensor
from tests.oracles import Cost, bits, box_cox, ramp, squared_ramp, twice_sigmoid
from tests.strategies import numbers

COSTS: dict[str, tuple[gobj.Surrogate, Cost]] = {
    "cross_entropy": (gobj.cross_entropy, bits),
    "hinge": (gobj.hinge, ramp),
    "squared_hinge": (gobj.squared_hinge, squared_ramp),
    "generalized_cross_entropy": (gobj.generalized_cross_entropy(0.4, 0.5), box_cox(0.4, 0.5)),
    "sigmoid": (gobj.sigmoid(2.0), twice_sigmoid(2.0)),
}
SMOOTH = ("cross_entropy", "generalized_cross_entropy", "sigmoid")

each_cost = pytest.mark.parametrize("name", COSTS)
each_smooth = pytest.mark.parametrize("name", SMOOTH)


def loss_of(name: str, *inputs: Tensor, **options: Any) -> Tensor:
    return pairwise_roc_auc_loss(*inputs, surrogate=COSTS[name][0], **options)


@pytest.fixture(params=[0, _pair_sums.FEW], ids=["on a grid", "pair by pair"])
def few(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> int:
    """Sum few examples in both ways."""
    monkeypatch.setattr(_pair_sums, "FEW", request.param)
    return request.param


def batch(n: int = 9, *labels: int) -> tuple[Tensor, Tensor, Tensor]:
    """Draw scores, labels of both kinds, and weights."""
    scores = 2 * torch.randn(n, *labels, dtype=torch.float64)
    classes = torch.rand(n, *labels) < 0.4
    classes[0], classes[1] = True, False
    return scores, classes, torch.rand(n, *labels, dtype=torch.float64) + 0.1


def kept_of(total: float, before: float, weight: float, start: float, stop: float) -> float:
    """Measure the part of a weight that lies in a range of the total, given what comes before."""
    return max(0.0, min(before + weight, stop * total) - max(before, start * total))


def looped(
    cost: Cost,
    scores: list[float],
    labels: list[float],
    weights: list[float],
    fpr_range: tuple[float, float] = (0.0, 1.0),
) -> float:
    """Mean cost over the pairs, one after the other."""
    examples = list(zip(scores, labels, weights, strict=True))
    negatives = sorted(((s, w) for s, y, w in examples if y <= 0 and w), reverse=True)
    total, before = sum(w for _, w in negatives), 0.0
    costs, mass = 0.0, 0.0
    for low, weight in negatives:
        kept = kept_of(total, before, weight, *fpr_range)
        before += weight
        for high, label, other in examples:
            if label > 0 and other:
                costs += kept * other * cost(high - low)
                mass += kept * other
    return costs / mass if mass else 0.0


EXAMPLES = st.lists(
    st.tuples(
        st.one_of(st.sampled_from([-1.0, 0.0, 1.0]), numbers(-30, 30)),
        st.sampled_from([0.0, 1.0]),
        st.sampled_from([0.0, 0.25, 1.0, 3.0]),
    ),
    min_size=1,
    max_size=9,
)
RANGES = st.sampled_from([(0.0, 1.0), (0.0, 0.5), (0.3, 1.0), (0.1, 0.7)])


@each_cost
@given(examples=EXAMPLES, fpr_range=RANGES)
def test_the_loss_is_the_mean_of_a_loop_over_pairs(
    name: str, examples: Any, fpr_range: tuple[float, float]
) -> None:
    scores, labels, weights = map(list, zip(*examples, strict=True))
    got = loss_of(
        name, tensor(scores), tensor(labels), weights=tensor(weights), fpr_range=fpr_range
    )
    check(got, looped(COSTS[name][1], scores, labels, weights, fpr_range))


@each_cost
@given(examples=EXAMPLES)
def test_without_weights_all_pairs_count_alike(name: str, examples: Any) -> None:
    scores, labels, _ = map(list, zip(*examples, strict=True))
    got = loss_of(name, tensor(scores), tensor(labels))
    check(got, looped(COSTS[name][1], scores, labels, [1.0] * len(scores)))


@each_cost
@given(examples=EXAMPLES)
def test_the_loss_bounds_one_minus_the_area_where_ties_count_one_half(
    name: str, examples: Any
) -> None:
    scores, labels, weights = map(list, zip(*examples, strict=True))
    lost = looped(lambda d: 0.5 * (d <= 0) + 0.5 * (d < 0), scores, labels, weights)
    got = loss_of(name, tensor(scores), tensor(labels), weights=tensor(weights))
    assert got >= lost - 1e-12


@each_cost
def test_a_batch_of_ties_costs_one_and_is_pushed_apart(name: str) -> None:
    scores, labels = torch.full((6,), 3.0, dtype=torch.float64), torch.arange(6) < 2
    check(loss_of(name, scores, labels), 1.0)
    slopes = grad(lambda scores: loss_of(name, scores, labels))(scores)
    assert (slopes[:2] < 0).all()
    assert (slopes[2:] > 0).all()


@each_published("roc_auc")
def test_published_numbers_are_met(published: dict[str, Any]) -> None:
    (inputs,), (expected,) = published["inputs"]["batches"], published["expected"]["batches"]
    logits = tensor(inputs["logits"]).requires_grad_()
    labels, weights = tensor(inputs["labels"]), optional(inputs["weights"])
    entropy = published["params"]["surrogate"] == "xent"
    surrogate = gobj.cross_entropy if entropy else gobj.hinge
    each = pairwise_roc_auc_loss(
        logits, labels, surrogate=surrogate, weights=weights, reduction="none"
    )
    mass = torch.ones_like(logits) if weights is None else weights
    pairs = (mass * labels).sum(0) * (mass * (1 - labels)).sum(0)
    each = each * pairs * (math.log(2) if entropy else 1.0) / len(logits) ** 2
    check(each, expected["loss"])
    check(each.mean(), expected["loss_mean"])
    check_gradient(each.mean(), logits, expected["grad_logits_mean"])


@each_cost
@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
def test_gradients_are_right_in_both_modes(name: str, reduction: str) -> None:
    scores, labels, weights = batch(7, 2)

    def loss(scores: Tensor) -> Tensor:
        return loss_of(name, scores, labels, weights=weights, reduction=reduction)

    leaf = scores.requires_grad_()
    assert torch.autograd.gradcheck(loss, (leaf,), check_forward_ad=True)


@each_smooth
@pytest.mark.parametrize("reduction", ["mean", "none"])
def test_second_derivatives_are_right(name: str, reduction: str) -> None:
    scores, labels, weights = batch(5)

    def loss(scores: Tensor) -> Tensor:
        return loss_of(name, scores, labels, weights=weights, reduction=reduction).square()

    assert torch.autograd.gradgradcheck(loss, (scores.requires_grad_(),))


@each_smooth
def test_hessians_agree_by_the_orders_of_modes_that_torch_nests(name: str) -> None:
    scores, labels, _ = batch(5)

    def loss(scores: Tensor) -> Tensor:
        return loss_of(name, scores, labels)

    hessians = [jacrev(jacrev(loss)), jacfwd(jacrev(loss)), jacrev(jacfwd(loss))]
    first, second, third = (hessian(scores) for hessian in hessians)
    torch.testing.assert_close(second, first)
    torch.testing.assert_close(third, first)


@each_cost
@pytest.mark.parametrize("reduction", ["mean", "none"])
def test_labels_natively_by_vmap_and_in_a_loop_are_the_same(name: str, reduction: str) -> None:
    scores, labels, weights = batch(11, 3)

    def loss(scores: Tensor, labels: Tensor, weights: Tensor) -> Tensor:
        return loss_of(name, scores, labels, weights=weights, reduction=reduction)

    rows = [loss(*(x[:, label] for x in (scores, labels, weights))) for label in range(3)]
    together = torch.stack(rows, -1)
    mapped = vmap(loss, in_dims=1, out_dims=-1)(scores, labels, weights)
    torch.testing.assert_close(mapped, together)
    native = loss(scores, labels, weights)
    torch.testing.assert_close(native, together if reduction == "none" else together.mean())


@each_cost
def test_gradients_map_over_batches_that_share_labels(name: str) -> None:
    scores, labels, weights = torch.randn(4, 9, dtype=torch.float64), *batch(9)[1:]

    def slope(scores: Tensor) -> Tensor:
        return grad(lambda s: loss_of(name, s, labels, weights=weights, fpr_range=(0, 0.5)))(scores)

    torch.testing.assert_close(vmap(slope)(scores), torch.stack([slope(row) for row in scores]))


@each_cost
def test_one_graph_serves_every_batch(name: str) -> None:
    torch.compiler.reset()
    surrogate = COSTS[name][0]

    def loss(scores: Tensor, labels: Tensor, weights: Tensor) -> Tensor:
        return pairwise_roc_auc_loss(scores, labels, surrogate=surrogate, weights=weights)

    compiled = torch.compile(loss, fullgraph=True, backend="aot_eager")
    scores, labels, weights = batch(16)
    scores.requires_grad_()
    torch.testing.assert_close(compiled(scores, labels, weights), loss(scores, labels, weights))
    moved = (scores * 3 + 1).detach().requires_grad_()
    with torch.compiler.set_stance("fail_on_recompile"):
        got = compiled(moved, ~labels, weights)
    torch.testing.assert_close(got, loss(moved, ~labels, weights))
    slopes = [
        torch.autograd.grad(value, moved)[0] for value in (got, loss(moved, ~labels, weights))
    ]
    torch.testing.assert_close(*slopes)


def matrix(
    cost: gobj.Surrogate, scores: Tensor, labels: Tensor, weights: Tensor
) -> tuple[Tensor, Tensor]:
    """Return loss and gradient of the matrix of pairs, in float64."""
    leaf = scores.double().clone().requires_grad_()
    differences = leaf[labels].unsqueeze(1) - leaf[~labels]
    pairs = weights[labels].double().unsqueeze(1) * weights[~labels].double()
    value = (cost(differences) * pairs).sum() / pairs.sum()
    return value.detach(), torch.autograd.grad(value, leaf)[0]


SPREADS = {
    "narrow": lambda x: 1e-6 * x + 5,
    "ordinary": lambda x: 2 * x,
    "wide": lambda x: 20 * x,
    "two clusters": lambda x: torch.where(x > 0.3, x + 700, x),
    "one outlier above": lambda x: torch.where(x == x.max(), 1e4, x),
    "one outlier below": lambda x: torch.where(x == x.min(), -1e4, x),
    "outliers on both sides": lambda x: torch.where(x.abs() > 1.8, 5e3 * x.sign() + x, x),
    "a gap just within reach": lambda x: torch.where(x > 0.5, x + 39.5, x),
    "a gap just beyond reach": lambda x: torch.where(x > 0.5, x + 40.5, x),
    "shifted": lambda x: x - 1e5,
}


@each_cost
@pytest.mark.parametrize("spread", SPREADS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_scores_of_any_spread_give_the_value_and_slopes_of_the_matrix(
    name: str, spread: str, dtype: torch.dtype
) -> None:
    scores, labels, weights = batch(300)
    scores = SPREADS[spread](scores / 2).to(dtype)
    weights = weights.to(dtype)
    value, slopes = matrix(COSTS[name][0], scores, labels, weights)
    leaf = scores.clone().requires_grad_()
    got = loss_of(name, leaf, labels, weights=weights)
    got.backward()
    assert leaf.grad is not None
    of_value, of_slopes = (1e-10, 1e-9) if dtype == torch.float64 else (1e-6, 1e-5)
    torch.testing.assert_close(got.double(), value, rtol=of_value, atol=0)
    error = (leaf.grad.double() - slopes).abs().max() / slopes.abs().max()
    assert error < of_slopes
    each = loss_of(name, scores, labels, weights=weights, reduction="none")
    torch.testing.assert_close(each.double().mean(), value, rtol=of_value, atol=0)


@each_cost
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_repeating_a_batch_until_it_is_large_changes_nothing(name: str, dtype: torch.dtype) -> None:
    scores, labels, _ = batch(200)
    times = 50
    leaf = scores.to(dtype).repeat(times).requires_grad_()
    value = loss_of(name, leaf, labels.repeat(times))
    slopes = torch.autograd.grad(value, leaf)[0].view(times, 200).double().sum(0)
    wanted, of_one = matrix(COSTS[name][0], scores.to(dtype), labels, torch.ones(200))
    tolerance = 1e-10 if dtype == torch.float64 else 1e-5
    torch.testing.assert_close(value.double(), wanted, rtol=tolerance, atol=0)
    torch.testing.assert_close(slopes, of_one, rtol=tolerance, atol=tolerance)


@each_cost
def test_scores_far_apart_on_the_right_side_cost_next_to_nothing(name: str) -> None:
    scores = torch.tensor([1e4, math.inf, -1e4, -math.inf])
    labels = torch.tensor([1, 1, 0, 0])
    assert loss_of(name, scores, labels) < 1e-5
    assert grad(lambda x: loss_of(name, x, labels))(scores).abs().max() < 1e-5


@each_cost
@pytest.mark.parametrize("labels", [[1, 1, 1], [0, 0, 0], [1], []], ids=str)
def test_a_batch_without_pairs_costs_nothing_and_teaches_nothing(
    name: str, labels: list[int]
) -> None:
    scores = torch.randn(len(labels))
    assert loss_of(name, scores, torch.tensor(labels)) == 0
    assert not grad(lambda x: loss_of(name, x, torch.tensor(labels)))(scores).any()


@each_cost
def test_a_label_without_pairs_leaves_the_others_alone(name: str) -> None:
    scores, labels, _ = batch(8, 2)
    labels[:, 1] = True
    check(loss_of(name, scores, labels), loss_of(name, scores[:, 0], labels[:, 0]).item() / 2)


@each_cost
@pytest.mark.parametrize("where", ["score", "label"])
def test_something_missing_is_loud_in_its_own_label_only(name: str, where: str) -> None:
    scores, labels, _ = batch(8, 2)
    labels = labels.double()
    (scores if where == "score" else labels)[3, 1] = math.nan
    each = loss_of(name, scores, labels, reduction="none")
    assert each[:, 1].isnan().all()
    expected = loss_of(name, scores[:, 0], labels[:, 0], reduction="none")
    torch.testing.assert_close(each[:, 0], expected)
    assert loss_of(name, scores, labels).isnan()


@each_cost
@pytest.mark.parametrize("junk", [math.nan, math.inf, -math.inf, 1e30])
def test_what_has_no_weight_is_in_no_pair(name: str, junk: float) -> None:
    scores, labels, weights = batch(8)
    labels = labels.double()
    weights[3], scores[3], labels[3] = 0, junk, math.nan
    kept = [0, 1, 2, 4, 5, 6, 7]
    expected = loss_of(name, scores[kept], labels[kept], weights=weights[kept])
    check(loss_of(name, scores, labels, weights=weights), expected.item())
    slopes = grad(lambda x: loss_of(name, x, labels, weights=weights))(scores)
    assert not slopes[3]
    assert slopes.isfinite().all()


@pytest.mark.parametrize("factor", [1e-30, 1e-3, 1e30])
@pytest.mark.parametrize("kind", [True, False], ids=["positives", "negatives"])
def test_only_the_ratios_of_weights_within_a_class_matter(factor: float, kind: bool) -> None:
    scores, labels, weights = (x.float() for x in batch(30))
    scaled = torch.where((labels > 0) == kind, weights * factor, weights)
    for name in COSTS:
        got = loss_of(name, scores, labels, weights=scaled)
        torch.testing.assert_close(got, loss_of(name, scores, labels, weights=weights))


def test_the_top_of_the_negatives_is_the_two_way_split_of_the_whole() -> None:
    scores, labels, weights = batch(40)
    parts = [
        pairwise_roc_auc_loss(scores, labels, weights=weights, fpr_range=ends)
        for ends in ((0.0, 0.25), (0.25, 1.0))
    ]
    whole = pairwise_roc_auc_loss(scores, labels, weights=weights)
    torch.testing.assert_close(0.25 * parts[0] + 0.75 * parts[1], whole)


def test_half_precision_scores_are_computed_in_single_precision() -> None:
    scores, labels, _ = batch(50)
    got = pairwise_roc_auc_loss(scores.bfloat16(), labels)
    assert got.dtype == torch.float32
    torch.testing.assert_close(got, pairwise_roc_auc_loss(scores.bfloat16().float(), labels))


def test_the_module_is_the_function() -> None:
    scores, labels, weights = batch(20)
    settings = {"surrogate": gobj.sigmoid(), "fpr_range": (0.0, 0.3), "reduction": "sum"}
    torch.testing.assert_close(
        PairwiseROCAUCLoss(**settings)(scores, labels, weights),
        pairwise_roc_auc_loss(scores, labels, weights=weights, **settings),
    )


REFUSED: list[tuple[str, dict[str, Any]]] = [
    ("logits", {"logits": torch.zeros(4, dtype=torch.long)}),
    ("labels", {"labels": torch.zeros(3)}),
    ("surrogate", {"surrogate": gobj.zero_one}),
    ("surrogate", {"surrogate": "hinge"}),
    ("fpr_range", {"fpr_range": (0.5, 0.5)}),
    ("fpr_range", {"fpr_range": (0.6, 0.5)}),
    ("fpr_range", {"fpr_range": (-0.1, 0.5)}),
    ("fpr_range", {"fpr_range": (0.0, 1.1)}),
    ("fpr_range", {"fpr_range": (0.0, math.nan)}),
    ("fpr_range", {"fpr_range": 0.5}),
    ("fpr_range", {"fpr_range": (0.0, 0.5, 1.0)}),
    ("weights", {"weights": torch.ones(4, 2)}),
    ("reduction", {"reduction": "average"}),
]


@pytest.mark.parametrize(("argument", "options"), REFUSED)
def test_what_does_not_fit_is_refused(argument: str, options: dict[str, Any]) -> None:
    arguments = {"logits": torch.zeros(4), "labels": torch.zeros(4), **options}
    pattern = rf"^pairwise_roc_auc_loss: `{argument}` must [^`]+; got .+\.$"
    with pytest.raises(ValueError, match=pattern):
        pairwise_roc_auc_loss(**arguments)
