"""Half-precision logits, scaled gradients and skipped steps beside a state in float32."""

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import gobj

Names = dict[str, Any]
HALF = [torch.float16, torch.bfloat16]


@pytest.fixture
def names(recipe: Callable[[str], Names]) -> Names:
    return recipe("mixed_precision")


def task() -> tuple[nn.Linear, Tensor, Tensor]:
    features = 3 * torch.randn(512, 10)
    return nn.Linear(10, 1), features, features[:, 0] + torch.randn(512) > 1.5


def test_the_state_has_counted_every_step_that_the_optimiser_took(names: Names) -> None:
    assert names["skipped"] > 0
    assert names["state"].statistics.steps.item() == 200 - names["skipped"]


def test_logits_are_half_and_every_tensor_of_the_state_is_not(names: Names) -> None:
    assert names["logits"].dtype == torch.float16
    assert names["loss"].dtype == torch.float32
    assert {leaf.dtype for leaf in gobj.state_dict(names["state"]).values()} == {torch.float32}


def test_precision_on_training_rows_is_near_its_target(names: Names) -> None:
    with torch.no_grad():
        flagged = names["model"](names["features"][:6000]).squeeze(1) > names["state"].threshold
    precision = names["labels"][:6000][flagged].float().mean().item()
    assert precision == pytest.approx(0.8, abs=0.02)


@pytest.mark.parametrize("dtype", HALF)
def test_a_module_within_autocast_is_as_outside_of_it(dtype: torch.dtype) -> None:
    model, features, labels = task()
    inner, outer = gobj.nn.RecallAtPrecisionLoss(0.8), gobj.nn.RecallAtPrecisionLoss(0.8)
    for _ in range(3):
        with torch.autocast("cpu", dtype=dtype):
            logits = model(features).squeeze(1)
            within = inner(logits, labels)
        assert logits.dtype == dtype
        assert torch.equal(within, outer(logits, labels))
    assert {buffer.dtype for buffer in inner.buffers()} == {torch.float32}
    assert torch.equal(inner.threshold, outer.threshold)


@pytest.mark.parametrize("dtype", HALF)
def test_a_threshold_of_half_precision_logits_is_near_that_of_whole_ones(
    dtype: torch.dtype,
) -> None:
    model, features, labels = task()
    half, whole = gobj.nn.RecallAtPrecisionLoss(0.8), gobj.nn.RecallAtPrecisionLoss(0.8)
    for _ in range(300):
        with torch.autocast("cpu", dtype=dtype):
            half(model(features).squeeze(1), labels)
        whole(model(features).squeeze(1), labels)
    assert half.state.statistics.steps.item() == 300  # in bfloat16 a count would stop at 256
    torch.testing.assert_close(half.threshold, whole.threshold, rtol=0, atol=0.02)


def test_a_skipped_step_leaves_the_weights_and_a_module_that_has_counted_the_batch() -> None:
    model, features, labels = task()
    criterion, twin = gobj.nn.RecallAtPrecisionLoss(0.8), gobj.nn.RecallAtPrecisionLoss(0.8)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.05)
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**24)
    before = model.weight.detach().clone()
    with torch.autocast("cpu", dtype=torch.float16):
        logits = model(features).squeeze(1)
        loss = criterion(logits, labels)
    scaler.scale(loss).backward()
    scaler.step(optimizer)
    scaler.update()
    assert loss.isfinite()
    assert not model.weight.grad.isfinite().all()
    assert scaler.get_scale() == 2.0**23
    assert torch.equal(model.weight, before)
    twin(logits, labels)
    assert torch.equal(criterion.threshold, twin.threshold)
    assert criterion.threshold != 0


def test_logits_that_overflow_leave_the_state_and_skip_the_step() -> None:
    model, features, labels = task()
    criterion = gobj.nn.RecallAtPrecisionLoss(0.8)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
    scaler = torch.amp.GradScaler("cpu", init_scale=1.0)
    before = model.weight.detach().clone()
    with torch.autocast("cpu", dtype=torch.float16):
        logits = model(features * 1e5).squeeze(1)
    loss = criterion(logits, labels)
    scaler.scale(loss).backward()
    scaler.step(optimizer)
    assert not logits.isfinite().all()
    assert loss.isnan()
    assert torch.equal(model.weight, before)
    assert criterion.threshold == 0


def test_gradients_are_clipped_in_their_true_size_only_after_unscaling() -> None:
    model, features, labels = task()
    lengths = {}
    for first in ("unscale", "clip"):
        optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
        scaler = torch.amp.GradScaler("cpu", init_scale=2.0**10)
        with torch.autocast("cpu", dtype=torch.float16):
            logits = model(features).squeeze(1)
        loss, _ = gobj.recall_at_precision_loss(
            logits, labels, gobj.init_state(), target_precision=0.8
        )
        optimizer.zero_grad()
        scaler.scale(loss).backward()
        if first == "unscale":
            scaler.unscale_(optimizer)
        nn.utils.clip_grad_norm_(model.parameters(), 0.1)
        if first == "clip":
            scaler.unscale_(optimizer)
        lengths[first] = math.hypot(*(x.grad.norm().item() for x in model.parameters()))
    assert lengths["unscale"] == pytest.approx(0.1, rel=1e-3)
    assert lengths["clip"] == pytest.approx(0.1 / 2**10, rel=1e-3)
