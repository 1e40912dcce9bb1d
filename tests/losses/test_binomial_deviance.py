"""Binomial deviance: published numbers, a loop over pairs, embeddings of any size."""

import itertools
import math
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.func import grad, jacrev, vmap

from gobj.losses.binomial_deviance import BinomialDevianceLoss, binomial_deviance_loss
from gobj.losses.pairs import Pairs, binomial_deviance_of_pairs, pairs_from_labels
from tests.losses.published import check, check_gradient, each_published, optional, tensor
from tests.strategies import numbers

BATCHES = st.integers(1, 6).flatmap(
    lambda n: st.tuples(
        st.lists(st.tuples(numbers(-3, 3), numbers(-3, 3)), min_size=n, max_size=n),
        st.lists(st.integers(0, 2), min_size=n, max_size=n),
        st.lists(st.sampled_from([0.0, 0.5, 1.0, 2.0]), min_size=n, max_size=n),
    )
)


def batch(n: int = 7) -> tuple[Tensor, Tensor]:
    return torch.randn(n, 4, dtype=torch.float64), torch.arange(n) % 3


def looped(
    rows: list[tuple[float, float]],
    labels: list[int],
    weights: list[float],
    negative_cost: float,
) -> float:
    """Mean cost over the positive pairs plus mean cost over the negative ones."""
    kinds: dict[bool, list[tuple[float, float]]] = {True: [], False: []}
    units = [[value / (math.hypot(*row) or 1.0) for value in row] for row in rows]
    for i, j in itertools.permutations(range(len(rows)), 2):
        cosine = sum(a * b for a, b in zip(units[i], units[j], strict=True))
        same = labels[i] == labels[j]
        mask = 1.0 if same else -negative_cost
        cost = math.log1p(math.exp(-2.0 * (cosine - 0.5) * mask))
        kinds[same].append((weights[i] * weights[j], cost))
    totals = {kind: sum(weight for weight, _ in pairs) for kind, pairs in kinds.items()}
    return sum(w * cost / totals[kind] for kind in kinds for w, cost in kinds[kind] if w)


@each_published("binomial_deviance")
def test_published_numbers_are_met(published: dict[str, Any]) -> None:
    inputs, expected = published["inputs"], published["expected"]
    settings = {name: published["params"][name] for name in ("alpha", "beta")}
    similarity = optional(expected.get("similarity", inputs.get("similarity")))
    assert similarity is not None
    similarity.requires_grad_()
    if inputs.get("mask") is None:
        cost = published["params"]["negative_cost"]
        labels = torch.tensor(inputs["labels"])
        pairs = pairs_from_labels(labels, negative_cost=cost, dtype=torch.float64)
        check(pairs.mask, expected["mask"])
        check(pairs.weights, expected["weight"])
    else:
        pairs = Pairs(tensor(inputs["mask"]), tensor(inputs["weight"]))
    settings["weights"] = pairs.weights
    total = binomial_deviance_of_pairs(similarity, pairs.mask, **settings)
    check(total, expected["loss_sum"])
    check_gradient(total, similarity, expected["grad_similarity_sum"])
    each = binomial_deviance_of_pairs(similarity, pairs.mask, reduction="none", **settings)
    check(each, expected["loss_none"])
    mean = binomial_deviance_of_pairs(similarity, pairs.mask, reduction="mean", **settings)
    check(mean, expected.get("loss_weighted_mean", 0.0))


@given(drawn=BATCHES, negative_cost=st.sampled_from([0.0, 1.0, 25.0]))
def test_the_loss_is_that_of_a_loop_over_pairs(drawn: Any, negative_cost: float) -> None:
    rows, labels, weights = drawn
    got = binomial_deviance_loss(
        tensor(rows),
        torch.tensor(labels),
        negative_cost=negative_cost,
        weights=tensor(weights),
    )
    check(got, looped(rows, labels, weights, negative_cost), 1e-9)


@each_published("binomial_deviance")
def test_the_similarity_of_embeddings_is_their_cosine(published: dict[str, Any]) -> None:
    given_rows = published["inputs"].get("embeddings", [[3.0, 4.0], [4.0, 3.0], [-3.0, 4.0]])
    embeddings = tensor(given_rows).requires_grad_()
    labels = torch.arange(len(given_rows))
    each = binomial_deviance_loss(embeddings, labels, reduction="none")
    pairs = len(given_rows) * (len(given_rows) - 1)
    for i, j in itertools.permutations(range(len(given_rows)), 2):
        a, b = given_rows[i], given_rows[j]
        product = sum(x * y for x, y in zip(a, b, strict=True))
        cosine = product / math.hypot(*a) / math.hypot(*b)
        check(each[i, j], math.log1p(math.exp(2.0 * (cosine - 0.5))) / pairs)


def test_reductions_relate_to_the_terms() -> None:
    embeddings, labels = batch()
    each, total, mean = (
        binomial_deviance_loss(embeddings, labels, reduction=r) for r in ("none", "sum", "mean")
    )
    assert each.shape == (7, 7)
    torch.testing.assert_close(total, each.sum())
    torch.testing.assert_close(mean, each.sum() / 2)
    assert not each.diagonal().any()


@pytest.mark.parametrize("size", [1e-30, 1e-12, 1.0, 1e12, 1e30])
def test_only_the_directions_of_embeddings_matter(size: float) -> None:
    embeddings, labels = torch.randn(6, 3), torch.arange(6) % 2
    got = binomial_deviance_loss(embeddings * size, labels)
    torch.testing.assert_close(got, binomial_deviance_loss(embeddings, labels))
    slopes = grad(binomial_deviance_loss)(embeddings * size, labels)
    torch.testing.assert_close(slopes * size, grad(binomial_deviance_loss)(embeddings, labels))


def test_an_embedding_of_zeros_is_orthogonal_to_all_and_learns_nothing() -> None:
    embeddings, labels = batch()
    embeddings[2] = 0
    each = binomial_deviance_loss(embeddings, labels, reduction="none")
    pairs = pairs_from_labels(labels, dtype=torch.float64)
    orthogonal = binomial_deviance_of_pairs(
        torch.zeros(7, 7, dtype=torch.float64), pairs.mask, weights=pairs.weights, reduction="none"
    )
    torch.testing.assert_close(each[2], orthogonal[2])
    slopes = grad(binomial_deviance_loss)(embeddings, labels)
    assert slopes.isfinite().all()
    assert not slopes[2].any()
    assert slopes[[0, 1, 3, 4, 5, 6]].all()


def test_a_missing_embedding_is_loud() -> None:
    embeddings, labels = batch()
    embeddings[2, 1] = math.nan
    assert binomial_deviance_loss(embeddings, labels).isnan()


@pytest.mark.parametrize("similarity", [1e4, -1e4, 1e30, math.inf, -math.inf])
@pytest.mark.parametrize("mask", [1.0, -1.0, 0.0])
def test_extreme_similarities_cost_a_finite_amount(similarity: float, mask: float) -> None:
    value = torch.tensor([similarity])
    loss = binomial_deviance_of_pairs(value, torch.tensor([mask]))
    assert loss.isfinite()
    if mask == 0:
        torch.testing.assert_close(loss, torch.tensor(math.log(2)))
    elif abs(similarity) == 1e4:
        torch.testing.assert_close(loss, (-2 * (value - 0.5) * mask).relu().sum())
    assert grad(binomial_deviance_of_pairs)(value, torch.tensor([mask])).isfinite().all()


@pytest.mark.parametrize("junk", [math.nan, math.inf, 1e30])
def test_an_example_without_weight_is_as_if_absent(junk: float) -> None:
    embeddings, labels = batch()
    weights = torch.rand(7, dtype=torch.float64)
    weights[3] = 0
    embeddings[3] = junk
    kept = [0, 1, 2, 4, 5, 6]
    got = binomial_deviance_loss(embeddings, labels, weights=weights)
    expected = binomial_deviance_loss(embeddings[kept], labels[kept], weights=weights[kept])
    torch.testing.assert_close(got, expected)
    slopes = grad(binomial_deviance_loss)(embeddings, labels, weights=weights)
    assert not slopes[3].any()
    expected = grad(binomial_deviance_loss)(embeddings[kept], labels[kept], weights=weights[kept])
    torch.testing.assert_close(slopes[kept], expected)


def test_a_pair_without_weight_costs_nothing_whatever_its_similarity() -> None:
    similarity = torch.tensor([math.nan, 1.0])
    weights = torch.tensor([0.0, 1.0])
    loss = binomial_deviance_of_pairs(similarity, torch.ones(2), weights=weights)
    torch.testing.assert_close(loss, torch.tensor(math.log1p(math.exp(-1.0))))
    assert binomial_deviance_of_pairs(similarity, torch.ones(2)).isnan()


@pytest.mark.parametrize("factor", [1e-25, 1e-3, 1e25])
def test_only_the_ratios_of_weights_matter(factor: float) -> None:
    embeddings, labels = torch.randn(7, 4), torch.arange(7) % 3
    weights = torch.rand(7) + 0.1
    got = binomial_deviance_loss(embeddings, labels, weights=weights * factor)
    torch.testing.assert_close(got, binomial_deviance_loss(embeddings, labels, weights=weights))


@pytest.mark.parametrize("labels", [[0, 0, 0], [0, 1, 2], [5], []], ids=str)
def test_batches_of_one_kind_of_pair_or_none_are_finite(labels: list[int]) -> None:
    embeddings = torch.randn(len(labels), 4)
    loss = binomial_deviance_loss(embeddings, torch.tensor(labels))
    slopes = grad(binomial_deviance_loss)(embeddings, torch.tensor(labels))
    assert loss.isfinite()
    assert slopes.isfinite().all()
    assert bool(loss) == (len(labels) > 1)


@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_a_batch_without_weight_costs_nothing_and_teaches_nothing(reduction: Any) -> None:
    embeddings, labels = batch()
    options = {"weights": 0.0, "reduction": reduction}
    assert binomial_deviance_loss(embeddings * math.nan, labels, **options) == 0
    assert not grad(binomial_deviance_loss)(embeddings, labels, **options).any()


@given(order=st.permutations(range(7)), names=st.permutations(range(3)))
def test_neither_the_order_of_examples_nor_the_names_of_classes_matter(
    order: list[int], names: list[int]
) -> None:
    embeddings, labels = batch()
    got = binomial_deviance_loss(embeddings[order], torch.tensor(names)[labels[order]])
    torch.testing.assert_close(got, binomial_deviance_loss(embeddings, labels))


def test_gradients_of_many_batches_map_as_they_loop() -> None:
    embeddings, labels = torch.randn(4, 6, 3), torch.randint(3, (4, 6))
    got = vmap(grad(binomial_deviance_loss))(embeddings, labels)
    expected = [grad(binomial_deviance_loss)(x, y) for x, y in zip(embeddings, labels, strict=True)]
    torch.testing.assert_close(got, torch.stack(expected))


def test_gradients_of_single_examples_add_up_to_that_of_the_batch() -> None:
    embeddings, labels = batch()

    def of_example(embeddings: Tensor) -> Tensor:
        return binomial_deviance_loss(embeddings, labels, reduction="none").sum(1)

    per_example = jacrev(of_example)(embeddings)
    assert per_example.shape == (7, 7, 4)
    torch.testing.assert_close(per_example.sum(0), grad(binomial_deviance_loss)(embeddings, labels))


def test_gradients_by_one_parameter_vector_map_over_the_examples_that_share_it() -> None:
    points, labels = batch()
    matrix = torch.randn(4, 2, dtype=torch.float64)

    def of_anchor(matrix: Tensor, anchor: Tensor) -> Tensor:
        terms = binomial_deviance_loss(points @ matrix, labels, reduction="none")
        return (terms * anchor.unsqueeze(1)).sum()

    anchors = torch.eye(7, dtype=torch.float64)
    got = vmap(grad(of_anchor), in_dims=(None, 0))(matrix, anchors)
    expected = [grad(of_anchor)(matrix, anchor) for anchor in anchors]
    torch.testing.assert_close(got, torch.stack(expected))


def test_first_and_second_derivatives_are_right_in_both_modes() -> None:
    embeddings, labels = batch(5)
    weights = torch.rand(5, dtype=torch.float64)

    def loss(embeddings: Tensor) -> Tensor:
        return binomial_deviance_loss(embeddings, labels, negative_cost=3.0, weights=weights)

    leaf = embeddings.requires_grad_()
    assert torch.autograd.gradcheck(loss, (leaf,), check_forward_ad=True)
    assert torch.autograd.gradgradcheck(loss, (leaf,))


def test_one_graph_serves_every_batch() -> None:
    torch.compiler.reset()
    compiled = torch.compile(binomial_deviance_loss, fullgraph=True, backend="aot_eager")
    embeddings, labels = batch()
    torch.testing.assert_close(
        compiled(embeddings, labels), binomial_deviance_loss(embeddings, labels)
    )
    with torch.compiler.set_stance("fail_on_recompile"):
        got = compiled(embeddings * 2 + 1, labels.flip(0))
    torch.testing.assert_close(got, binomial_deviance_loss(embeddings * 2 + 1, labels.flip(0)))


def test_half_precision_embeddings_are_computed_in_single_precision() -> None:
    embeddings, labels = torch.randn(7, 4).bfloat16(), torch.arange(7) % 3
    got = binomial_deviance_loss(embeddings, labels)
    assert got.dtype == torch.float32
    torch.testing.assert_close(got, binomial_deviance_loss(embeddings.float(), labels))


def test_the_module_is_the_function() -> None:
    embeddings, labels = batch()
    settings = {"alpha": 4.0, "beta": 0.2, "negative_cost": 25.0}
    weights = torch.rand(7, dtype=torch.float64)
    torch.testing.assert_close(
        BinomialDevianceLoss(**settings)(embeddings, labels, weights),
        binomial_deviance_loss(embeddings, labels, weights=weights, **settings),
    )


REFUSED: list[tuple[str, dict[str, Any]]] = [
    ("embeddings", {"embeddings": torch.zeros(4)}),
    ("embeddings", {"embeddings": torch.zeros(4, 2, dtype=torch.long)}),
    ("labels", {"labels": torch.zeros(3)}),
    ("labels", {"labels": torch.zeros(4, 1)}),
    ("negative_cost", {"negative_cost": -1.0}),
    ("weights", {"weights": torch.ones(4, 2)}),
]


@pytest.mark.parametrize(("argument", "options"), REFUSED)
def test_what_does_not_fit_is_refused(argument: str, options: dict[str, Any]) -> None:
    arguments = {"embeddings": torch.zeros(4, 2), "labels": torch.zeros(4), **options}
    with pytest.raises(ValueError, match=rf"_[a-z]+: `{argument}` must [^`]+; got .+\.$"):
        binomial_deviance_loss(**arguments)


@pytest.mark.parametrize(
    ("argument", "options"),
    [
        ("similarity", {"similarity": torch.zeros(2, dtype=torch.long)}),
        ("mask", {"mask": torch.ones(3)}),
        ("alpha", {"alpha": 0.0}),
        ("beta", {"beta": math.nan}),
        ("reduction", {"reduction": "average"}),
    ],
)
def test_pairs_that_do_not_fit_are_refused(argument: str, options: dict[str, Any]) -> None:
    arguments = {"similarity": torch.zeros(2), "mask": torch.ones(2), **options}
    pattern = rf"^binomial_deviance_of_pairs: `{argument}` must [^`]+; got .+\.$"
    with pytest.raises(ValueError, match=pattern):
        binomial_deviance_of_pairs(**arguments)
