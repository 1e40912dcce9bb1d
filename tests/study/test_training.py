"""Models side by side."""

import numpy as np
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.utils.class_weight import compute_class_weight
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits
from torch.testing import assert_close

import gobj
from gobj.study.splits import Part
from gobj.study.training import balanced, cross_entropy_loss, init_layers, score, train

GENERATOR = torch.Generator().manual_seed(0)
FEATURES = torch.randn(3, 90, 4, generator=GENERATOR)
LABELS = (FEATURES[..., 0] + torch.randn(3, 90, generator=GENERATOR) > 0.5).float()
PART = Part(FEATURES, LABELS, None)


def alone(layers: list[Tensor], model: int, features: Tensor) -> Tensor:
    first, first_bias, second, second_bias = (layer[model] for layer in layers)
    return ((features @ first + first_bias).relu() @ second + second_bias).squeeze(1)


def test_each_model_scores_its_own_split() -> None:
    layers = init_layers(3, (4, 5, 1))
    expected = [alone(layers, model, FEATURES[model]) for model in range(3)]
    assert_close(score(layers, FEATURES), torch.stack(expected, 1))


def test_each_model_descends_as_if_it_were_alone() -> None:
    before = init_layers(3, (4, 5, 1))
    options = {"hidden": (5,), "steps": 1, "optimizer": "SGD", "lr": 0.3}
    after, _ = train(PART, cross_entropy_loss, None, **options)
    for model in range(3):
        loss = binary_cross_entropy_with_logits(
            alone(before, model, FEATURES[model]), LABELS[model]
        )
        gradients = torch.autograd.grad(loss, before)
        for old, new, gradient in zip(before, after, gradients, strict=True):
            assert_close(new[model], (old - 0.3 * gradient)[model].detach())


def test_long_training_finds_the_logistic_regression() -> None:
    layers, _ = train(PART, cross_entropy_loss, None, steps=400, lr=0.1)
    oracle = LogisticRegression(C=1e9, tol=1e-9).fit(FEATURES[1], LABELS[1])
    expected = torch.from_numpy(oracle.decision_function(FEATURES[1])).float()
    assert_close(score(layers, FEATURES)[:, 1], expected, rtol=0.02, atol=0.02)


def test_balanced_weights_are_those_of_scikit_learn() -> None:
    weights = balanced(PART).weights
    assert weights is not None
    per_class = compute_class_weight("balanced", classes=np.array([0, 1]), y=LABELS[2].numpy())
    assert_close(weights[2], torch.from_numpy(per_class).float()[LABELS[2].int()])


def test_balanced_classes_have_equal_weight_under_case_weights() -> None:
    case = torch.rand(3, 90, generator=GENERATOR)
    weights = balanced(PART._replace(weights=case)).weights
    assert weights is not None
    assert_close((weights * LABELS).sum(1), (weights * (1 - LABELS)).sum(1))
    assert_close(weights.sum(1), case.sum(1))


def test_a_weight_of_two_is_a_row_twice() -> None:
    logits, labels = FEATURES[0, :, :3], LABELS.T
    weights = 1 + (torch.arange(90) % 2).float()
    rows = torch.arange(90).repeat_interleave(weights.int())
    weighted, _ = cross_entropy_loss(logits, labels, weights[:, None].expand(-1, 3), None)
    repeated, _ = cross_entropy_loss(logits[rows], labels[rows], None, None)
    assert_close(weighted, repeated)


def test_training_repeats_bit_for_bit() -> None:
    runs = [train(PART, cross_entropy_loss, None, steps=5, batch=20)[0] for _ in range(2)]
    assert all(torch.equal(*layers) for layers in zip(*runs, strict=True))


def test_every_step_draws_rows_and_weights_that_belong_together() -> None:
    part = Part(FEATURES, FEATURES[..., 0], FEATURES[..., 1])
    seen = []

    def loss(
        logits: Tensor, labels: Tensor, weights: Tensor | None, state: None
    ) -> tuple[Tensor, None]:
        seen.append((labels, weights))
        return logits.mean(), state

    train(part, loss, None, steps=2, batch=30)
    pairs = {(a, b) for row in FEATURES[2].tolist() for a, b in [row[:2]]}
    drawn = [zip(a[:, 2].tolist(), b[:, 2].tolist(), strict=True) for a, b in seen]
    assert len(seen) == 2
    assert all(pair in pairs for step in drawn for pair in step)


def test_the_state_that_comes_back_is_recorded_after_every_step() -> None:
    steps: list[float] = []

    def loss(
        logits: Tensor, labels: Tensor, weights: Tensor | None, state: gobj.DualState
    ) -> tuple[Tensor, gobj.DualState]:
        options = {"target_recall": 0.8, "weights": weights}
        return gobj.precision_at_recall_loss(logits, labels, state, **options)

    def record(_: list[Tensor], state: gobj.DualState) -> None:
        steps.append(state.threshold[0].item())

    _, state = train(PART, loss, gobj.init_state((3,)), steps=4, record=record)
    assert len(steps) == 4
    assert steps[-1] == state.threshold[0].item()
