"""Many anchors at once: plain double loops, every transform, and scores of every kind."""

import math
from collections.abc import Callable

import pytest
import torch
import torch._dynamo.testing
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.func import grad, jacfwd, jacrev, vmap

import gobj
from gobj import _anchor_blocks, _anchored_labels
from gobj._anchor_examples import Examples
from gobj._anchor_fields import splines_at
from gobj._anchor_grid import EDGE, ladder, lay_grid
from gobj._anchored import AnchoredSums
from gobj._anchored_labels import AnchoredLabels
from tests.oracles import (
    Cost,
    bits,
    box_cox,
    indicator,
    logistic,
    ramp,
    squared_ramp,
    twice_sigmoid,
)

LN2 = math.log(2)


def box_cox_fall(q: float, temperature: float) -> Cost:
    """Slope of the bounded cost, sign reversed."""

    def fall(margin: float) -> float:
        right = logistic(margin / temperature)
        return q / temperature * right**q * logistic(-margin / temperature) / (1 - 0.5**q)

    return fall


# the surrogate, its cost and how steep it falls; what a temperature is
COSTS: dict[str, tuple[gobj.Surrogate, Cost, Cost, float]] = {
    "cross_entropy": (gobj.cross_entropy, bits, lambda m: logistic(-m) / LN2, 1.0),
    "bounded": (
        gobj.generalized_cross_entropy(0.4, 0.5),
        box_cox(0.4, 0.5),
        box_cox_fall(0.4, 0.5),
        0.5,
    ),
    "default": (gobj.generalized_cross_entropy(), box_cox(0.7, 1.0), box_cox_fall(0.7, 1.0), 1.0),
    "sigmoid": (gobj.sigmoid(2.0), twice_sigmoid(2.0), box_cox_fall(1.0, 2.0), 2.0),
    "hinge": (gobj.hinge, ramp, lambda m: float(m < 1), 1.0),
    "squared_hinge": (gobj.squared_hinge, squared_ramp, lambda m: 2 * ramp(m), 1.0),
    "zero_one": (gobj.zero_one, indicator, lambda _: 0.0, 1.0),
}
SMOOTH = ("cross_entropy", "bounded", "default", "sigmoid")

each_cost = pytest.mark.parametrize("name", COSTS)
each_smooth = pytest.mark.parametrize("name", SMOOTH)
both_paths = pytest.mark.usefixtures("path")


@pytest.fixture(autouse=True)
def _together(monkeypatch: pytest.MonkeyPatch) -> None:
    """Take the path of large batches."""
    monkeypatch.setattr(_anchored_labels, "FEW_ANCHORS", 0)
    monkeypatch.setattr(_anchored_labels, "FEW_COSTS", 0)


@pytest.fixture(params=["each", "together"])
def path(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Take one anchor after the other, or all together."""
    if request.param == "each":
        monkeypatch.setattr(_anchored_labels, "FEW_COSTS", math.inf)
    name: str = request.param
    return name


def batch(n: int = 60, labels: int = 2, anchors: int = 5, width: float = 8.0) -> list[Tensor]:
    """Draw scores, sides, thresholds, and coefficients of positives and of negatives."""
    scores = width * (torch.rand(n, labels, dtype=torch.float64) - 0.5) * 1.5
    sides = torch.where(torch.rand(n, labels) < 0.4, 1.0, -1.0).double()
    thresholds = width * (torch.rand(labels, anchors, dtype=torch.float64) - 0.5)
    return [scores, sides, thresholds, *torch.rand(2, labels, anchors, dtype=torch.float64)]


def anchored_costs(
    scores: Tensor,
    sides: Tensor,
    thresholds: Tensor,
    positives: Tensor,
    negatives: Tensor,
    surrogate: gobj.Surrogate,
) -> Tensor:
    """Sum over anchors."""
    anchored = AnchoredLabels(Examples(scores, sides, None), thresholds, surrogate)
    return anchored.costs(positives, negatives)


def anchored_sums(
    scores: Tensor,
    sides: Tensor,
    weights: Tensor | None,
    thresholds: Tensor,
    surrogate: gobj.Surrogate,
) -> AnchoredSums:
    """Sum over examples."""
    return AnchoredLabels(Examples(scores, sides, weights), thresholds, surrogate).sums()


def costs_of(name: str, *inputs: Tensor) -> Tensor:
    return anchored_costs(*inputs, COSTS[name][0])


def looped_costs(cost: Cost, *inputs: Tensor) -> Tensor:
    """Sum over anchors, one example after the other."""
    scores, sides, thresholds, positives, negatives = (x.tolist() for x in inputs)
    rows = []
    for row, side in zip(scores, sides, strict=True):
        rows.append([])
        for label, (score, sign) in enumerate(zip(row, side, strict=True)):
            weights = positives[label] if sign > 0 else negatives[label]
            terms = zip(weights, thresholds[label], strict=True)
            rows[-1].append(sum(weight * cost(sign * (score - at)) for weight, at in terms))
    return torch.tensor(rows, dtype=torch.float64)


def looped_sums(
    value: Callable[[float, float], float],
    scores: Tensor,
    sides: Tensor,
    weights: Tensor,
    thresholds: Tensor,
    side: int,
) -> Tensor:
    """Sum a function of distance and side over the examples of a class, anchor by anchor."""
    rows = []
    for label, points in enumerate(thresholds.tolist()):
        examples = [x[:, label].tolist() for x in (scores, sides, weights)]
        rows.append(
            [
                sum(
                    weight * value(score - at, sign)
                    for score, sign, weight in zip(*examples, strict=True)
                    if sign == side
                )
                for at in points
            ]
        )
    return torch.tensor(rows, dtype=torch.float64)


def assert_sums(got: AnchoredSums, name: str, examples: list[Tensor]) -> None:
    """Compare sums with loops: counts exactly, all else to a thousandth of the largest."""
    fall = COSTS[name][2]
    values = [lambda distance, _: float(distance > 0), lambda d, sign: fall(sign * d)]
    expected = [looped_sums(value, *examples, side) for value in values for side in (1, -1)]
    torch.testing.assert_close(list(got[:2]), expected[:2], rtol=1e-12, atol=1e-12)
    for near, exact in zip(got[2:], expected[2:], strict=True):
        torch.testing.assert_close(near, exact, rtol=1e-3, atol=1e-3 * exact.max().item())


@each_cost
def test_costs_are_those_of_a_double_loop(name: str, path: str) -> None:
    inputs = batch()
    exact = path == "each" or name not in SMOOTH
    expected = looped_costs(COSTS[name][1], *inputs)
    tolerance = 1e-10 if exact else 2e-6
    torch.testing.assert_close(costs_of(name, *inputs), expected, rtol=tolerance, atol=tolerance)


@each_cost
def test_slopes_are_those_of_a_double_loop(name: str, path: str) -> None:
    inputs = batch()
    exact = path == "each" or name not in SMOOTH
    slopes = grad(lambda x: costs_of(name, x, *inputs[1:]).sum())(inputs[0])
    expected = -looped_costs(COSTS[name][2], *inputs) * inputs[1]
    tolerance = 1e-10 if exact else 2e-5
    torch.testing.assert_close(slopes, expected, rtol=tolerance, atol=tolerance)


def errors(name: str, inputs: list[Tensor]) -> tuple[float, float]:
    """Measure the errors of values, and of slopes per temperature, in single precision."""
    surrogate, _, _, temperature = COSTS[name]
    scores, *others = (x.float() for x in inputs)
    value = anchored_costs(scores, *others, surrogate)
    slope = grad(lambda x: anchored_costs(x, *others, surrogate).sum())(scores)
    sides, thresholds = others[0].double().unsqueeze(-1), others[1].double()
    weights = torch.where(sides > 0, others[2].double(), others[3].double())
    cost, fall = surrogate.terms(sides * (scores.double().unsqueeze(-1) - thresholds))
    expected, total = (weights * cost).sum(-1), weights.sum(-1)
    of_values = (value - expected).abs() / (total + expected)
    of_slopes = (slope - (weights * sides * fall).sum(-1)).abs() / total * temperature
    return of_values.max().item(), of_slopes.max().item()


@each_smooth
@pytest.mark.parametrize("width", [12.0, 25.0, 40.0])
@pytest.mark.parametrize("one", [False, True])
def test_single_precision_holds_its_bounds(name: str, width: float, one: bool) -> None:
    width = width * COSTS[name][3]
    _, _, _, positives, negatives = batch(1, 1, 20)
    scores = torch.linspace(-2 * width, 2 * width, 2001, dtype=torch.float64).unsqueeze(1)
    sides = torch.where(torch.arange(2001) % 2 > 0, 1.0, -1.0).unsqueeze(1)
    thresholds = torch.linspace(-width / 2, width / 2, 20).unsqueeze(0)
    if one:
        positives[:, 1:], negatives[:, :-1] = 0, 0
    of_values, of_slopes = errors(name, [scores, sides, thresholds, positives, negatives])
    assert of_values < (2e-6 if one else 1e-6)
    assert of_slopes < (4e-5 if one else 1e-5)


@pytest.mark.parametrize("off", [0.0, 0.3, 0.5, 0.8])
def test_a_grid_that_just_holds_its_thresholds_moves_none(off: float) -> None:
    reach, nodes = 17.0, 320
    for spacing in ladder(reach, nodes)[1:]:
        width = spacing * (nodes - 2 * EDGE) - 2 * reach
        ends = spacing * off + width * torch.tensor([[-0.4999, 0.4999]], dtype=torch.float64)
        grid, _ = lay_grid(ends, reach, nodes)
        assert grid.spacing.item() == spacing
        field = torch.arange(nodes, dtype=torch.float64).expand(1, 2, -1)
        expected = ((ends - grid.middle) / spacing + nodes / 2).expand(1, 2, -1)
        torch.testing.assert_close(splines_at(grid, ends, reach).read(field), expected)


@both_paths
@each_cost
@pytest.mark.parametrize("weighted", [False, True])
def test_sums_are_those_of_a_double_loop(name: str, weighted: bool) -> None:
    scores, sides, thresholds, *_ = batch(400, 2, 6)
    weights = torch.rand(400, 2, dtype=torch.float64) if weighted else torch.ones_like(scores)
    given = weights if weighted else None
    got = anchored_sums(scores, sides, given, thresholds, COSTS[name][0])
    assert_sums(got, name, [scores, sides, weights, thresholds])


@each_cost
def test_thresholds_far_apart_leave_sums_right(name: str) -> None:
    width = 40 * COSTS[name][3]
    scores, sides, thresholds, *_ = batch(3000, 1, 7, width)
    got = anchored_sums(scores, sides, None, thresholds, COSTS[name][0])
    assert_sums(got, name, [scores, sides, torch.ones_like(scores), thresholds])


@each_smooth
@pytest.mark.parametrize(("spread", "bound"), [(1.2, 1e-4), (0.0, 1e-3)])
def test_pulls_are_close_and_closer_where_scores_are_spread(
    name: str, spread: float, bound: float
) -> None:
    surrogate, _, _, temperature = COSTS[name]
    for width in (4 * temperature, 12 * temperature, 40 * temperature):
        thresholds = torch.linspace(-width / 2, width / 2, 20, dtype=torch.float64).unsqueeze(0)
        scores = torch.linspace(-1, 1, 5000, dtype=torch.float64).unsqueeze(1)
        scores = 0.3 * temperature + spread * width / 2 * scores
        sides = torch.where(torch.arange(5000) % 3 > 0, 1.0, -1.0).double().unsqueeze(1)
        pulls = anchored_sums(scores, sides, None, thresholds, surrogate)[2:]
        fall = -surrogate.terms((scores - thresholds) * sides)[1]
        for got, side in zip(pulls, (1, -1), strict=True):
            exact = (fall * (sides == side)).sum(0)
            assert (got - exact).abs().max() < bound * exact.max()


@each_smooth
def test_pulls_are_right_where_next_to_nothing_pulls(name: str) -> None:
    surrogate, _, _, temperature = COSTS[name]
    scores = torch.linspace(-1, 1, 3001).unsqueeze(1) * temperature
    thresholds = torch.linspace(-20, 20, 9).unsqueeze(0) * temperature
    sides = torch.where(torch.arange(3001) % 2 > 0, 1.0, -1.0).unsqueeze(1)
    pulls = anchored_sums(scores, sides, None, thresholds, surrogate)[2:]
    fall = -surrogate.terms((scores.double() - thresholds) * sides)[1]
    for got, side in zip(pulls, (1, -1), strict=True):
        exact = (fall * (sides == side)).sum(0, keepdim=True)
        torch.testing.assert_close(got.double(), exact, rtol=1e-3, atol=1e-9)


@given(
    st.lists(st.sampled_from([-2.0, -1.0, 0.0, 1.0, 1.5, 2.0]), min_size=1, max_size=8),
    st.lists(st.sampled_from([-1.0, 0.0, 0.5, 1.0, 2.0]), min_size=1, max_size=9),
)
@pytest.mark.parametrize("name", ["hinge", "squared_hinge", "zero_one"])
def test_ties_cost_what_they_cost_alone(
    name: str, scores: list[float], thresholds: list[float]
) -> None:
    doubled = torch.tensor([*scores, *scores], dtype=torch.float64).unsqueeze(1)
    sides = torch.ones_like(doubled)
    sides[len(scores) :] = -1
    at = torch.tensor([thresholds], dtype=torch.float64)
    coefficients = torch.linspace(0.5, 2, len(thresholds), dtype=torch.float64).unsqueeze(0)
    inputs = doubled, sides, at, coefficients, coefficients.flip(1)
    expected = looped_costs(COSTS[name][1], *inputs)
    torch.testing.assert_close(costs_of(name, *inputs), expected, rtol=1e-12, atol=1e-12)
    slopes = grad(lambda x: costs_of(name, x, *inputs[1:]).sum())(doubled)
    falls = looped_costs(COSTS[name][2], *inputs)
    torch.testing.assert_close(slopes, -falls * sides, rtol=1e-12, atol=1e-12)
    sums = anchored_sums(doubled, sides, None, at, COSTS[name][0])
    assert_sums(sums, name, [doubled, sides, torch.ones_like(doubled), at])


@given(st.lists(st.integers(0, 40), min_size=3, max_size=40), st.integers(1, 130))
def test_counts_tell_neighbours_apart(steps: list[int], anchors: int) -> None:
    line = torch.tensor(1.0).expand(41).clone()
    for k in range(1, 41):  # as close as single precision has them
        line[k] = line[k - 1].nextafter(torch.tensor(2.0))
    scores = line[steps].unsqueeze(1)
    thresholds = line[torch.arange(anchors) * 7 % 41].unsqueeze(0)
    got = anchored_sums(scores, torch.ones_like(scores), None, thresholds, gobj.cross_entropy).hits
    expected = [float(sum(s > k * 7 % 41 for s in steps)) for k in range(anchors)]
    assert got.tolist() == [expected]


@both_paths
@each_cost
def test_a_score_without_bounds_counts_as_a_huge_one(name: str) -> None:
    _, _, thresholds, positives, negatives = batch(4, 1, 5)
    scores = torch.tensor([[math.inf], [-math.inf], [1e4], [-1e4]], dtype=torch.float64)
    for side, right in ((1.0, [0, 2]), (-1.0, [1, 3])):
        sides = torch.full_like(scores, side)
        inputs = scores, sides, thresholds, positives, negatives
        value = costs_of(name, *inputs)
        slope = grad(lambda x: costs_of(name, x, *inputs[1:]).sum())(scores)  # noqa: B023
        assert value.isfinite().all()
        assert slope.isfinite().all()
        assert value[right].tolist() == [[0.0], [0.0]]
        assert slope[right].tolist() == [[0.0], [0.0]]
        finite = looped_costs(COSTS[name][1], scores[2:], sides[2:], *inputs[2:])
        torch.testing.assert_close(value[2:], finite, rtol=3e-6, atol=1e-9)
        sums = anchored_sums(scores, sides, None, thresholds, COSTS[name][0])
        assert all(x.isfinite().all() for x in sums)
        assert sums[side < 0].tolist() == [[2.0] * 5]


@both_paths
@each_cost
@pytest.mark.parametrize("which", [0, 1])
def test_what_is_missing_is_loud_in_its_label_alone(name: str, which: int) -> None:
    inputs = batch(40, 3)
    clean = costs_of(name, *inputs)
    sums = anchored_sums(*inputs[:2], None, inputs[2], COSTS[name][0])
    inputs[which][7, 1] = math.nan
    value = costs_of(name, *inputs)
    missing = torch.zeros_like(value, dtype=torch.bool)
    missing[7, 1] = True
    assert torch.equal(value.isnan(), missing)
    torch.testing.assert_close(value[~missing], clean[~missing])
    kept = [0, 2]
    for got, before in zip(
        anchored_sums(*inputs[:2], None, inputs[2], COSTS[name][0]), sums, strict=True
    ):
        torch.testing.assert_close(got[kept], before[kept], rtol=0, atol=0)


@each_smooth
@both_paths
def test_a_missing_score_makes_the_pulls_of_its_label_loud(name: str) -> None:
    scores, sides, thresholds, *_ = batch(40, 2)
    scores[3, 0] = math.nan
    sums = anchored_sums(scores, sides, None, thresholds, COSTS[name][0])
    assert sums.pulls_of_positives[0].isnan().all()
    assert sums.pulls_of_negatives[0].isnan().all()
    assert sums.hits.isfinite().all()


@each_smooth
def test_a_missing_threshold_is_loud_in_its_label_alone(name: str) -> None:
    inputs = batch(40, 2)
    clean = costs_of(name, *inputs)
    inputs[2][0, 1] = math.nan
    value = costs_of(name, *inputs)
    assert value[:, 0].isnan().all()
    torch.testing.assert_close(value[:, 1], clean[:, 1])
    sums = anchored_sums(*inputs[:2], None, inputs[2], COSTS[name][0])
    assert sums.pulls_of_negatives[0].isnan().all()
    assert sums.pulls_of_negatives[1].isfinite().all()


@both_paths
@each_cost
def test_a_whole_weight_is_a_repetition(name: str) -> None:
    scores, sides, thresholds, *_ = batch(50, 2)
    times = torch.arange(50) % 4
    weighted = anchored_sums(scores, sides, times.double().unsqueeze(1), thresholds, COSTS[name][0])
    again = [x.repeat_interleave(times, 0) for x in (scores, sides)]
    repeated = anchored_sums(*again, None, thresholds, COSTS[name][0])
    torch.testing.assert_close(tuple(weighted), tuple(repeated), rtol=1e-6, atol=1e-6)


@both_paths
@each_cost
def test_labels_side_by_side_are_labels_alone(name: str) -> None:
    inputs = batch(40, 3)
    expected = costs_of(name, *inputs)
    alone = [
        costs_of(name, *(x[:, k : k + 1] for x in inputs[:2]), *(x[k : k + 1] for x in inputs[2:]))
        for k in range(3)
    ]
    torch.testing.assert_close(torch.cat(alone, 1), expected, rtol=1e-12, atol=1e-12)

    def single(z: Tensor, side: Tensor, *per_label: Tensor) -> Tensor:
        return costs_of(name, z.unsqueeze(1), side.unsqueeze(1), *(x[None] for x in per_label))

    mapped = vmap(single, in_dims=(1, 1, 0, 0, 0), out_dims=1)(*inputs)
    torch.testing.assert_close(mapped.squeeze(2), expected, rtol=1e-12, atol=1e-12)
    slopes = vmap(grad(lambda *x: single(*x).sum()), in_dims=(1, 1, 0, 0, 0), out_dims=1)(*inputs)
    native = grad(lambda z: costs_of(name, z, *inputs[1:]).sum())(inputs[0])
    torch.testing.assert_close(slopes, native, rtol=1e-12, atol=1e-12)


@both_paths
@each_cost
def test_sums_of_labels_side_by_side_are_those_alone(name: str) -> None:
    scores, sides, thresholds, *_ = batch(40, 3)
    native = anchored_sums(scores, sides, sides.abs(), thresholds, COSTS[name][0])

    def single(z: Tensor, side: Tensor, at: Tensor) -> AnchoredSums:
        z, side = z.unsqueeze(1), side.unsqueeze(1)
        return anchored_sums(z, side, side.abs(), at[None], COSTS[name][0])

    mapped = vmap(single, in_dims=(1, 1, 0))(scores, sides, thresholds)
    for got, expected in zip(mapped, native, strict=True):
        torch.testing.assert_close(got.squeeze(1), expected, rtol=1e-9, atol=1e-9)


@each_cost
def test_thresholds_alone_map_over_blocks_of_rows(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_anchor_blocks, "MOST", 10)
    scores, sides, thresholds, positives, negatives = batch(40, 2)
    several = torch.stack((thresholds, thresholds + 1))
    mapped = vmap(lambda at: costs_of(name, scores, sides, at, positives, negatives))(several)
    expected = [costs_of(name, scores, sides, at, positives, negatives) for at in several]
    torch.testing.assert_close(mapped, torch.stack(expected), rtol=1e-12, atol=1e-12)
    sums = vmap(lambda at: anchored_sums(scores, sides, None, at, COSTS[name][0]))(several)
    for k, at in enumerate(several):
        one = anchored_sums(scores, sides, None, at, COSTS[name][0])
        for got, alone in zip(sums, one, strict=True):
            torch.testing.assert_close(got[k], alone, rtol=1e-9, atol=1e-9)


@each_cost
def test_blocks_change_nothing(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    inputs = batch(70, 5)
    weights = torch.rand(70, 1).double()
    examples = *inputs[:2], weights, inputs[2], COSTS[name][0]
    value, sums = costs_of(name, *inputs), anchored_sums(*examples)
    monkeypatch.setattr(_anchor_blocks, "MOST", 30)
    monkeypatch.setattr(_anchor_blocks, "COUNTABLE", 8000)
    torch.testing.assert_close(costs_of(name, *inputs), value, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(tuple(anchored_sums(*examples)), tuple(sums), rtol=1e-9, atol=1e-9)


@both_paths
@each_cost
@pytest.mark.parametrize("weighted", [False, True])
def test_a_mean_is_that_of_the_costs_and_slopes_stay(
    name: str, weighted: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    scores, sides, thresholds, *coefficients = batch(70, 5)
    weights = torch.rand(70, 5).double() if weighted else None
    mass = 70.0 if weights is None else weights.sum(0)
    monkeypatch.setattr(_anchor_blocks, "MOST", 30)
    monkeypatch.setattr(_anchor_blocks, "COUNTABLE", 8000)

    def costs(x: Tensor, mass: torch.Tensor | float | None) -> Tensor:
        anchored = AnchoredLabels(Examples(x, sides, weights), thresholds, COSTS[name][0])
        return anchored.costs(*coefficients, mass=mass)

    share = torch.ones_like(scores) if weights is None else weights
    expected = (costs(scores, None) * share).sum(0) / mass
    torch.testing.assert_close(costs(scores, mass), expected.expand_as(scores))
    slopes = [grad(lambda x: (costs(x, m) * share).sum())(scores) for m in (None, mass)]  # noqa: B023
    torch.testing.assert_close(*slopes)


@both_paths
@each_smooth
def test_costs_have_derivatives_of_two_orders(name: str) -> None:
    inputs = batch(6, 1)
    scores = inputs[0].clone().requires_grad_()

    def function(x: Tensor) -> Tensor:
        return costs_of(name, x, *inputs[1:])

    assert torch.autograd.gradcheck(function, (scores,))
    assert torch.autograd.gradgradcheck(function, (scores,))
    total = lambda x: function(x).sum()  # noqa: E731
    torch.testing.assert_close(jacfwd(total)(inputs[0]), jacrev(total)(inputs[0]))


def test_nothing_but_the_scores_has_a_gradient() -> None:
    inputs = [x.requires_grad_() for x in batch()]
    costs_of("bounded", *inputs).sum().backward()
    assert inputs[0].grad is not None
    assert all(x.grad is None for x in inputs[1:])
    sums = anchored_sums(*inputs[:2], None, inputs[2], gobj.cross_entropy)
    assert not any(x.requires_grad for x in sums)


@each_cost
def test_the_compiler_takes_all_in_one_graph(name: str) -> None:
    torch._dynamo.reset()
    surrogate = COSTS[name][0]

    def both(*inputs: Tensor) -> tuple[Tensor, ...]:
        sums = anchored_sums(*inputs[:2], None, inputs[2], surrogate)
        return (anchored_costs(*inputs, surrogate), *sums)

    counter = torch._dynamo.testing.CompileCounterWithBackend("aot_eager")
    compiled = torch.compile(both, fullgraph=True, backend=counter)
    for _ in range(2):
        inputs = batch(70, 3)
        scores = inputs[0].requires_grad_()
        expected, got = both(*inputs), compiled(*inputs)
        torch.testing.assert_close(got, expected, rtol=1e-9, atol=1e-9)
        slopes = [torch.autograd.grad(x[0].sum(), scores)[0] for x in (expected, got)]
        torch.testing.assert_close(*slopes, rtol=1e-9, atol=1e-9)
    assert counter.frame_count == 1


@both_paths
@each_cost
def test_equal_thresholds_are_one_with_the_sum_of_coefficients(name: str) -> None:
    scores, sides, thresholds, positives, negatives = batch()
    same = thresholds[:, :1]
    many = costs_of(name, scores, sides, same.expand_as(thresholds), positives, negatives)
    totals = (x.sum(1, keepdim=True) for x in (positives, negatives))
    one = costs_of(name, scores, sides, same, *totals)
    torch.testing.assert_close(many, one, rtol=1e-9, atol=1e-9)
    sums = anchored_sums(scores, sides, None, same.expand_as(thresholds), COSTS[name][0])
    for got, alone in zip(
        sums, anchored_sums(scores, sides, None, same, COSTS[name][0]), strict=True
    ):
        torch.testing.assert_close(got, alone.expand_as(got), rtol=1e-9, atol=1e-9)


@each_cost
def test_the_order_of_anchors_does_not_matter(name: str) -> None:
    scores, sides, *per_anchor = batch()
    order = torch.tensor([3, 1, 4, 0, 2])
    shuffled = [x[:, order] for x in per_anchor]
    torch.testing.assert_close(
        costs_of(name, scores, sides, *shuffled), costs_of(name, scores, sides, *per_anchor)
    )
    sums = anchored_sums(scores, sides, None, per_anchor[0], COSTS[name][0])
    others = anchored_sums(scores, sides, None, shuffled[0], COSTS[name][0])
    torch.testing.assert_close(others[:4], tuple(x[:, order] for x in sums))


@each_smooth
def test_costs_stay_close_with_thresholds_400_temperatures_apart(name: str) -> None:
    inputs = far_apart(400 * COSTS[name][3])
    value, expected = costs_of(name, *inputs), looped_costs(COSTS[name][1], *inputs)
    torch.testing.assert_close(value, expected, rtol=1e-2, atol=1e-2)


@each_smooth
def test_costs_stay_sane_with_thresholds_however_far_apart(name: str) -> None:
    inputs = far_apart(1e5 * COSTS[name][3])
    scores, sides, thresholds, positives, negatives = inputs
    value, cost = costs_of(name, *inputs), COSTS[name][1]
    total = (positives + negatives).sum()
    worst = cost(-4e5 * COSTS[name][3])
    assert (value >= -0.2 * total).all()
    assert (value <= 1.2 * total * worst).all()
    hits = anchored_sums(scores, sides, None, thresholds, COSTS[name][0]).hits
    ones = torch.ones_like(scores)
    exact = looped_sums(lambda d, _: float(d > 0), scores, sides, ones, thresholds, 1)
    assert torch.equal(hits, exact)


def far_apart(width: float) -> list[Tensor]:
    """Draw a batch with two clusters of thresholds, and one between them."""
    scores, sides, _, *coefficients = batch(100, 1, 5, width)
    thresholds = width * torch.tensor([[-0.5, -0.4999, 0.0, 0.4999, 0.5]]).double()
    return [scores, sides, thresholds, *coefficients]


@both_paths
@each_cost
def test_an_empty_batch_adds_up_to_nothing(name: str) -> None:
    scores, sides, *per_anchor = batch(0)
    assert costs_of(name, scores, sides, *per_anchor).shape == (0, 2)
    sums = anchored_sums(scores, sides, None, per_anchor[0], COSTS[name][0])
    torch.testing.assert_close(tuple(sums), (torch.zeros(2, 5, dtype=torch.float64),) * 4)


@each_cost
def test_inputs_are_kept_and_calls_repeat(name: str) -> None:
    inputs = [x.float() for x in batch()]
    before = [x.clone() for x in inputs]
    first, second = (costs_of(name, *inputs) for _ in range(2))
    assert torch.equal(first, second)
    sums = [anchored_sums(*inputs[:2], None, inputs[2], COSTS[name][0]) for _ in range(2)]
    assert all(torch.equal(*pair) for pair in zip(*sums, strict=True))
    assert all(torch.equal(*pair) for pair in zip(inputs, before, strict=True))


def test_a_surrogate_of_ones_own_is_summed_one_by_one() -> None:
    class Exponential(gobj.Surrogate):
        def terms(self, margin: Tensor) -> tuple[Tensor, Tensor]:
            return torch.exp(-margin), -torch.exp(-margin)

    inputs = batch()
    expected = looped_costs(lambda m: math.exp(-m), *inputs)
    torch.testing.assert_close(anchored_costs(*inputs, Exponential()), expected)


def test_small_batches_and_few_anchors_are_exact(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    for inputs in (batch(100, 1, 20), batch(5000, 1, 2)):
        expected = looped_costs(bits, *inputs)
        torch.testing.assert_close(
            costs_of("cross_entropy", *inputs), expected, rtol=1e-11, atol=1e-11
        )
