"""Surrogates: bounds of the indicator by themselves, their values and their derivatives."""

import math
import pickle
from collections.abc import Callable

import pytest
import torch

import gobj
from tests import oracles
from tests.cases import gradient

SURROGATES: dict[str, tuple[gobj.Surrogate, oracles.Cost]] = {
    "cross_entropy": (gobj.cross_entropy, oracles.bits),
    "hinge": (gobj.hinge, oracles.ramp),
    "squared_hinge": (gobj.squared_hinge, oracles.squared_ramp),
    "gentlest": (gobj.generalized_cross_entropy(q=1e-6), oracles.box_cox(1e-6, 1.0)),
    "gentle": (gobj.generalized_cross_entropy(q=0.1), oracles.box_cox(0.1, 1.0)),
    "default": (gobj.generalized_cross_entropy(), oracles.box_cox(0.7, 1.0)),
    "steep": (gobj.generalized_cross_entropy(1.0, 0.25), oracles.box_cox(1.0, 0.25)),
    "sigmoid": (gobj.sigmoid(), oracles.twice_sigmoid(1.0)),
    "wide sigmoid": (gobj.sigmoid(4.0), oracles.twice_sigmoid(4.0)),
    "zero_one": (gobj.zero_one, oracles.indicator),
}
CONVEX = ["cross_entropy", "hinge", "squared_hinge"]
SMOOTH = ["cross_entropy", "gentle", "default", "steep", "sigmoid", "wide sigmoid"]
GRID = torch.linspace(-40, 40, 3201, dtype=torch.float64)

each_surrogate = pytest.mark.parametrize("name", SURROGATES)
each_smooth = pytest.mark.parametrize("name", SMOOTH)


@each_surrogate
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_a_surrogate_bounds_the_indicator_of_an_error(name: str, dtype: torch.dtype) -> None:
    margins = GRID.to(dtype)
    cost = SURROGATES[name][0](margins)
    assert cost.dtype == dtype
    assert (cost >= (margins <= 0).to(dtype)).all()


@each_surrogate
def test_a_surrogate_has_its_textbook_values(name: str) -> None:
    surrogate, plain = SURROGATES[name]
    expected = torch.tensor([plain(m) for m in GRID.tolist()], dtype=torch.float64)
    limit = 1e-7 if name == "gentlest" else 1e-12  # the oracle cancels
    torch.testing.assert_close(surrogate(GRID), expected, rtol=limit, atol=limit)


@each_surrogate
def test_a_surrogate_costs_one_on_the_threshold(name: str) -> None:
    assert SURROGATES[name][0](torch.tensor(0.0)).item() == pytest.approx(1.0, abs=1e-6)


@each_surrogate
def test_a_surer_score_never_costs_more(name: str) -> None:
    assert (SURROGATES[name][0](GRID).diff() <= 0).all()


@pytest.mark.parametrize("name", CONVEX)
def test_the_unbounded_surrogates_are_convex(name: str) -> None:
    assert (SURROGATES[name][0](GRID).diff().diff() >= -1e-12).all()


@each_surrogate
def test_the_slope_beside_the_cost_is_its_derivative(name: str) -> None:
    surrogate, margins = SURROGATES[name][0], GRID + 1e-3  # off the kinks
    cost, slope = surrogate.terms(margins)
    torch.testing.assert_close(cost, surrogate(margins))
    torch.testing.assert_close(slope, gradient(lambda m: surrogate(m).sum(), margins))
    step = 1e-6
    differences = (surrogate(margins + step) - surrogate(margins - step)) / (2 * step)
    torch.testing.assert_close(slope, differences, rtol=1e-6, atol=1e-7)


@each_smooth
def test_cost_and_slope_have_derivatives_of_any_order(name: str) -> None:
    surrogate = SURROGATES[name][0]
    margins = torch.tensor([-2.0, -0.3, 0.0, 0.7, 3.0], dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(surrogate.terms, (margins,))
    assert torch.autograd.gradgradcheck(surrogate.terms, (margins,))


@each_smooth
def test_forward_derivatives_agree_with_backward_ones(name: str) -> None:
    surrogate, ones = SURROGATES[name][0], torch.ones_like(GRID)
    for function in (surrogate, lambda m: surrogate.terms(m)[1]):
        _, forward = torch.func.jvp(function, (GRID,), (ones,))
        backward = gradient(lambda m, function=function: function(m).sum(), GRID)
        torch.testing.assert_close(forward, backward)


@each_smooth
def test_plain_forward_mode_works(name: str) -> None:
    surrogate, forward_ad = SURROGATES[name][0], torch.autograd.forward_ad
    with forward_ad.dual_level():
        dual = surrogate(forward_ad.make_dual(GRID, torch.ones_like(GRID)))
        slope = forward_ad.unpack_dual(dual).tangent
    torch.testing.assert_close(slope, gradient(lambda m: surrogate(m).sum(), GRID))


@each_surrogate
def test_vmap_changes_nothing(name: str) -> None:
    surrogate, margins = SURROGATES[name][0], GRID.reshape(3, -1)
    for got, expected in zip(
        torch.vmap(surrogate.terms)(margins), surrogate.terms(margins), strict=True
    ):
        torch.testing.assert_close(got, expected, rtol=0, atol=0)


@each_surrogate
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_cost_and_slope_are_finite_at_extreme_margins(name: str, dtype: torch.dtype) -> None:
    margins = torch.tensor([-1e4, -750.0, -90.0, 90.0, 750.0, 1e4, math.inf], dtype=dtype)
    cost, slope = SURROGATES[name][0].terms(margins)
    assert cost.isfinite().all()
    assert slope.isfinite().all()
    assert 0 <= cost[-1] < 1e-16  # what is flat to rounding may end before infinity
    assert -1e-16 < slope[-1] <= 0


@each_surrogate
def test_a_missing_margin_is_loud(name: str) -> None:
    assert SURROGATES[name][0](torch.tensor(math.nan)).isnan()


@pytest.mark.parametrize("q", [0.4, 0.7, 1.0])
def test_the_bounded_surrogates_stay_below_their_cap(q: float) -> None:
    cost = gobj.generalized_cross_entropy(q)(torch.tensor([-1e4, -100.0]))
    torch.testing.assert_close(cost, torch.full((2,), 1 / (1 - 2**-q)))


def test_the_sigmoid_is_the_end_of_the_generalized_family() -> None:
    torch.testing.assert_close(
        gobj.sigmoid(3.0)(GRID), gobj.generalized_cross_entropy(1, 3.0)(GRID)
    )


def test_a_small_power_comes_close_to_cross_entropy() -> None:
    margins = torch.linspace(-5, 5, 101, dtype=torch.float64)
    near = gobj.generalized_cross_entropy(1e-6)(margins)
    torch.testing.assert_close(near, gobj.cross_entropy(margins), rtol=1e-5, atol=1e-5)


@each_surrogate
def test_surrogates_are_values(name: str) -> None:
    surrogate = SURROGATES[name][0]
    twin = pickle.loads(pickle.dumps(surrogate))
    assert twin == surrogate
    assert hash(twin) == hash(surrogate)
    assert sum(other == surrogate for other, _ in SURROGATES.values()) == 1


def test_surrogates_refuse_to_change() -> None:
    with pytest.raises(AttributeError):
        gobj.sigmoid().temperature = 2.0


BUILDERS: list[tuple[Callable[..., gobj.Surrogate], str, list[float]]] = [
    (gobj.generalized_cross_entropy, "q", [0.0, -0.5, 1.5, math.nan]),
    (gobj.generalized_cross_entropy, "temperature", [0.0, -1.0, math.inf, math.nan]),
    (gobj.sigmoid, "temperature", [0.0, -1.0, math.inf, math.nan]),
]


@pytest.mark.parametrize(
    ("builder", "argument", "values"), BUILDERS, ids=["power", "width", "width of the sigmoid"]
)
def test_builders_refuse_what_is_out_of_range(
    builder: Callable[..., gobj.Surrogate], argument: str, values: list[float]
) -> None:
    for value in values:
        form = rf"^{builder.__name__}: `{argument}` must be a number in .+; got {value}\.$"
        with pytest.raises(ValueError, match=form):
            builder(**{argument: value})


def test_a_surrogate_of_ones_own_serves_a_loss() -> None:
    class Exponential(gobj.Surrogate):
        def terms(self, margin: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            return torch.exp(-margin), -torch.exp(-margin)

    scores, labels = torch.tensor([1.0, -1.0]).double(), torch.tensor([1, 0])
    value = gobj.lagrangian(scores, labels, gobj.tpr_at_fpr(0.1), 2.0, 0.0, surrogate=Exponential())
    expected = math.exp(-1) / 2 + 2 * (math.exp(-1) / 2 - 0.1 / 2)
    assert value.item() == pytest.approx(expected)


@each_smooth
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_the_compiler_finds_finite_derivatives_at_extreme_margins(
    name: str, dtype: torch.dtype
) -> None:
    margins = torch.tensor([-1e4, -750.0, -90.0, 90.0, 750.0, 1e4], dtype=dtype)
    surrogate = SURROGATES[name][0]
    own = gradient(lambda m: surrogate.terms(m)[0].sum(), margins)  # what is traced under vmap
    torch.testing.assert_close(own, surrogate.terms(margins)[1])
