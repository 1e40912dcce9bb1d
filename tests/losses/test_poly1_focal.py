"""Poly-1 focal loss: published numbers, plain arithmetic, finite slopes at any score."""

import math
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.func import grad, hessian, vmap
from torch.nn import functional

from gobj.losses.poly1_focal import Poly1FocalLoss, poly1_focal_loss
from tests.losses.published import check, check_gradient, each_published, optional, tensor
from tests.oracles import logistic
from tests.strategies import numbers

GAMMAS = [0.0, 0.1, 0.5, 1.0, 1.5, 2.0, 5.0]
each_gamma = pytest.mark.parametrize("gamma", GAMMAS)
PER_LABEL = tensor([0.5, 3.0])
SETTINGS: dict[str, dict[str, Any]] = {
    "plain": {},
    "no alpha": {"alpha": None, "gamma": 0.5},
    "weighted": {"class_weights": PER_LABEL, "pos_weight": PER_LABEL.flip(0)},
    "ce only": {"class_weights": PER_LABEL, "weight_form": "ce_only", "gamma": 1.5},
}
each_setting = pytest.mark.parametrize("setting", SETTINGS.values(), ids=SETTINGS.keys())


def batch(*shape: int) -> tuple[Tensor, Tensor]:
    return torch.randn(shape, dtype=torch.float64) * 3, torch.randint(2, shape)


def slope(logits: Tensor, labels: Tensor, **options: Any) -> Tensor:
    return grad(poly1_focal_loss)(logits, labels, **options)


@each_published("poly1_focal")
def test_published_numbers_are_met(published: dict[str, Any]) -> None:
    settings, expected = published["params"], published["expected"]
    logits = tensor(published["inputs"]["logits"]).requires_grad_()
    labels = torch.tensor(published["inputs"]["labels"])
    if not settings["label_is_onehot"]:
        labels = functional.one_hot(labels, logits.shape[1])
    losses = {
        reduction: poly1_focal_loss(
            logits,
            labels,
            epsilon=settings["epsilon"],
            gamma=settings["gamma"],
            alpha=settings["alpha"] if settings["alpha"] >= 0 else None,
            pos_weight=optional(settings["pos_weight"]),
            class_weights=optional(settings["weight"]),
            weight_form="ce_only",
            reduction=reduction,
            mean_over="elements",
        )
        for reduction in ("none", "sum", "mean")
    }
    for reduction, loss in losses.items():
        check(loss, expected[f"loss_{reduction}"])
    check_gradient(losses[settings["reduction"]], logits, expected["grad_logits"])


@pytest.mark.parametrize("form", ["whole", "ce_only"])
@given(
    score=numbers(-9, 9),
    label=st.sampled_from([0.0, 0.3, 1.0]),
    epsilon=numbers(-2, 3),
    gamma=numbers(0, 4),
    alpha=st.sampled_from([None, 0.0, 0.25, 1.0]),
    factor=st.sampled_from([0.0, 0.5, 3.0]),
    share=st.sampled_from([1.0, 4.0]),
)
def test_an_element_costs_what_its_definition_says(
    form: Any,
    score: float,
    label: float,
    epsilon: float,
    gamma: float,
    alpha: float | None,
    factor: float,
    share: float,
) -> None:
    right, wrong = logistic(score), logistic(-score)
    miss = label * wrong + (1 - label) * right
    balance = 1.0 if alpha is None else alpha * label + (1 - alpha) * (1 - label)
    entropy = -share * label * math.log(right) - (1 - label) * math.log(wrong)
    focal, first = balance * entropy * miss**gamma, epsilon * miss ** (gamma + 1)
    expected = factor * (focal + first) if form == "whole" else factor * focal + first
    got = poly1_focal_loss(
        tensor([score]),
        tensor([label]),
        epsilon=epsilon,
        gamma=gamma,
        alpha=alpha,
        pos_weight=tensor([share]),
        class_weights=tensor([factor]),
        weight_form=form,
        reduction="none",
    )
    check(got, [expected])


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
def test_without_epsilon_gamma_and_alpha_it_is_the_binary_cross_entropy_of_torch(
    reduction: Any,
) -> None:
    logits, labels = batch(5, 2)
    ours = Poly1FocalLoss(
        epsilon=0.0, gamma=0.0, alpha=None, pos_weight=PER_LABEL, reduction=reduction
    )
    theirs = nn.BCEWithLogitsLoss(pos_weight=PER_LABEL, reduction=reduction)
    torch.testing.assert_close(ours(logits, labels), theirs(logits, labels.double()))


@each_gamma
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("size", [40.0, 90.0, 110.0, 1e4, math.inf])
def test_sure_and_right_scores_have_a_finite_slope_that_is_almost_nothing(
    gamma: float, dtype: torch.dtype, size: float
) -> None:
    scores = torch.tensor([size, -size], dtype=dtype)
    slopes = slope(scores, torch.tensor([1, 0]), gamma=gamma)
    assert slopes.isfinite().all()
    assert slopes.abs().max() < 1e-15


@each_gamma
def test_sure_and_wrong_scores_have_the_slope_of_the_cross_entropy(gamma: float) -> None:
    slopes = slope(torch.tensor([1e4, -1e4]), torch.tensor([0, 1]), gamma=gamma, alpha=None)
    torch.testing.assert_close(slopes, torch.tensor([0.5, -0.5]))


@each_gamma
def test_curvature_is_finite_at_sure_scores(gamma: float) -> None:
    scores, labels = torch.tensor([60.0, -60.0, 110.0, 1e4]), torch.tensor([1, 0, 1, 0])
    assert hessian(lambda z: poly1_focal_loss(z, labels, gamma=gamma))(scores).isfinite().all()


def test_small_powers_keep_small_probabilities_apart() -> None:
    scores = torch.tensor([20.0, 25.0, 30.0])
    got = poly1_focal_loss(
        scores, torch.ones(3), epsilon=1.0, gamma=0.1, alpha=0.0, reduction="none"
    )
    expected = [math.exp(-1.1 * math.log1p(math.exp(score))) for score in scores.tolist()]
    torch.testing.assert_close(got, torch.tensor(expected), rtol=1e-5, atol=0)


@each_setting
def test_first_and_second_derivatives_are_right_in_both_modes(setting: dict[str, Any]) -> None:
    logits = (torch.rand(4, 2, dtype=torch.float64) * 6 - 3).requires_grad_()
    labels = tensor([[0, 1], [1, 0], [0.3, 0.5], [1, 1]])
    weights = torch.rand(4, dtype=torch.float64)

    def loss(logits: Tensor) -> Tensor:
        return poly1_focal_loss(logits, labels, weights=weights, **setting)

    assert torch.autograd.gradcheck(loss, (logits,), check_forward_ad=True)
    assert torch.autograd.gradgradcheck(loss, (logits,))


@each_setting
@pytest.mark.parametrize("junk", [math.nan, math.inf, -math.inf, 1e30])
def test_missing_labels_are_as_if_absent(setting: dict[str, Any], junk: float) -> None:
    logits, labels = batch(5, 2)
    weights = torch.rand(5, 2, dtype=torch.float64)
    weights[1, 0] = weights[3] = 0
    broken, missing = logits.clone(), labels.double()
    broken[3], missing[1, 0], missing[3] = junk, math.nan, junk
    got = poly1_focal_loss(broken, missing, weights=weights, **setting)
    torch.testing.assert_close(got, poly1_focal_loss(logits, labels, weights=weights, **setting))
    slopes = slope(broken, missing, weights=weights, **setting)
    assert slopes.isfinite().all()
    assert not slopes[weights == 0].any()
    assert slopes[weights > 0].all()


def test_a_missing_score_with_weight_is_loud() -> None:
    assert poly1_focal_loss(torch.tensor([math.nan, 1.0]), torch.ones(2)).isnan()


@each_setting
def test_batches_map_as_they_loop(setting: dict[str, Any]) -> None:
    logits, labels = batch(3, 4, 2)
    got = vmap(lambda z, y: slope(z, y, **setting))(logits, labels)
    expected = [slope(z, y, **setting) for z, y in zip(logits, labels, strict=True)]
    torch.testing.assert_close(got, torch.stack(expected))


@each_setting
def test_one_graph_serves_every_batch(setting: dict[str, Any]) -> None:
    torch.compiler.reset()
    compiled = torch.compile(poly1_focal_loss, fullgraph=True, backend="aot_eager")

    def run(seed: int) -> None:
        torch.manual_seed(seed)
        logits, labels = batch(5, 2)
        leaves = [logits.clone().requires_grad_() for _ in range(2)]
        functions = (compiled, poly1_focal_loss)
        losses = [f(z, labels, **setting) for f, z in zip(functions, leaves, strict=True)]
        torch.testing.assert_close(*losses)
        slopes = [torch.autograd.grad(loss, z)[0] for loss, z in zip(losses, leaves, strict=True)]
        torch.testing.assert_close(*slopes)

    run(0)
    with torch.compiler.set_stance("fail_on_recompile"):
        run(1)


REFUSED: list[tuple[str, dict[str, Any]]] = [
    ("logits", {"logits": torch.zeros(4, 2, dtype=torch.long)}),
    ("labels", {"labels": torch.zeros(4)}),
    ("labels", {"labels": torch.zeros(4, 1)}),
    ("epsilon", {"epsilon": math.inf}),
    ("gamma", {"gamma": -0.5}),
    ("alpha", {"alpha": 1.25}),
    ("pos_weight", {"pos_weight": torch.ones(3)}),
    ("class_weights", {"class_weights": torch.ones(4)}),
    ("weight_form", {"weight_form": "pt_scaled"}),
    ("reduction", {"reduction": "average"}),
    ("mean_over", {"mean_over": "count"}),
]


@pytest.mark.parametrize(("argument", "options"), REFUSED)
def test_what_does_not_fit_is_refused(argument: str, options: dict[str, Any]) -> None:
    arguments = {"logits": torch.zeros(4, 2), "labels": torch.zeros(4, 2), **options}
    pattern = rf"^poly1_focal_loss: `{argument}` must [^`]+; got .+\.$"
    with pytest.raises(ValueError, match=pattern):
        poly1_focal_loss(**arguments)
