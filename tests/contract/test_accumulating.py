"""Modules over micro-batches: the loss, the gradient and the next state of the joined batch."""

import io
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import gobj
from tests.cases import Case, assert_same_state, each_stateful, gradient, leaves, sample

CUTS = [3, 0, 12, 5]  # rows of the parts, uneven and empty
CLOSE: dict[str, Any] = {"rtol": 1e-6, "atol": 1e-9}


def module_of(case: Case) -> Any:
    """Make the module of a case in float64, under the rule of the case."""
    settings = dict(case.spec.arguments)
    return case.module(**settings, num_labels=3, rule=case.rule).double()


def batch_of(case: Case, seed: int) -> tuple[Tensor, Tensor, Tensor]:
    """Draw a batch whose parts differ in weight, and by label."""
    logits, labels, weights = sample(case, sum(CUTS), seed=seed)
    weights = weights.unsqueeze(1).repeat(1, 3)
    weights[:3, 1] = 0
    return logits, labels, weights


def in_parts(criterion: Any, logits: Tensor, labels: Tensor, weights: Tensor) -> Tensor:
    """Accumulate over parts in the way that the rule allows; return the sum of the losses."""
    parts = list(zip(*(x.split(CUTS) for x in (logits, labels, weights)), strict=True))
    losses = []
    one_pass = criterion.rule.order == "weigh_first"
    before = criterion.state
    with criterion.accumulating(weights.sum(0) if one_pass else None):
        if not one_pass:
            for part in parts:
                criterion.observe(*part)
        for part in parts:
            losses.append(criterion(*part))
            assert_same_state(criterion.state, before)  # moves at the end alone
    return torch.stack(losses).sum()


@each_stateful
def test_parts_do_what_the_whole_does(case: Case) -> None:
    whole, accumulating = module_of(case), module_of(case)
    for seed in range(5):
        logits, labels, weights = batch_of(case, seed)
        leaf = logits.clone().requires_grad_()
        loss = in_parts(accumulating, leaf, labels, weights)
        (slope,) = torch.autograd.grad(loss, leaf)
        want: list[Tensor] = []

        def joined(x: Tensor, batch: Any = (labels, weights), kept: Any = want) -> Tensor:
            kept.append(whole(x, *batch))
            return kept[0]

        torch.testing.assert_close(slope, gradient(joined, logits), **CLOSE)
        torch.testing.assert_close(loss, want[0], **CLOSE)
        torch.testing.assert_close(leaves(accumulating.state), leaves(whole.state), **CLOSE)


@each_stateful
def test_an_error_within_leaves_the_state_as_it_was(case: Case) -> None:
    criterion = module_of(case)
    logits, labels, weights = batch_of(case, 0)
    criterion(logits, labels, weights)
    before = [leaf.clone() for leaf in leaves(criterion.state)]

    def stopped() -> None:
        with criterion.accumulating():
            criterion.observe(logits, labels)
            criterion(logits, labels)
            raise RuntimeError("stop")

    with pytest.raises(RuntimeError, match="stop"):
        stopped()
    torch.testing.assert_close(leaves(criterion.state), before, rtol=0, atol=0)
    assert criterion.sums is None


@each_stateful
def test_an_accumulation_resumes_bit_for_bit(case: Case) -> None:
    criterion, resumed = module_of(case), module_of(case)
    parts = [batch_of(case, seed) for seed in range(3)]
    total = torch.stack([part[2] for part in parts]).sum((0, 1))
    options = [total] if case.rule.order == "weigh_first" else []
    file = io.BytesIO()

    def run(module: Any, some: list[Any], saved: Any = None) -> list[Tensor]:
        losses = []
        with module.accumulating(*options, saved=saved):
            for part in some:
                losses.append(module(*part)) if options else module.observe(*part)
            if not options:
                losses = [module(*part) for part in parts]
        return losses

    criterion(*batch_of(case, 9))

    def interrupted() -> None:
        with criterion.accumulating(*options):
            for part in parts[:2]:
                criterion(*part) if options else criterion.observe(*part)
            sums = gobj.state_dict(criterion.sums)
            torch.save({"criterion": criterion.state_dict(), "sums": sums}, file)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    file.seek(0)
    saved = torch.load(file, weights_only=True)
    resumed.load_state_dict(saved["criterion"])
    losses = run(resumed, parts[2:], saved["sums"])
    wanted = run(criterion, parts)
    torch.testing.assert_close(losses[-1], wanted[-1], rtol=0, atol=0)
    assert_same_state(resumed.state, criterion.state)


def test_a_part_that_is_not_finite_skips_the_whole() -> None:
    criterion = gobj.nn.RecallAtPrecisionLoss(0.8)
    fine, broken = torch.linspace(-1, 1, 8), torch.full((8,), torch.nan)
    labels = torch.arange(8) > 4
    before = [leaf.clone() for leaf in leaves(criterion.state)]
    with criterion.accumulating():
        for part in (fine, broken):
            criterion.observe(part, labels)
        assert criterion(fine, labels).isnan()
    torch.testing.assert_close(leaves(criterion.state), before, rtol=0, atol=0)


def test_a_model_learns_the_same_in_parts() -> None:
    rule = gobj.ImplicitMultiplier(order="weigh_first")
    inputs = torch.randn(64, 5, dtype=torch.float64)
    labels = (inputs[:, :1] + torch.randn(64, 1) > 1).double()
    weights = []
    for parts in (1, 4):
        torch.manual_seed(0)
        model, criterion = nn.Linear(5, 1).double(), gobj.nn.TPRAtFPRLoss(0.2, rule=rule).double()
        optimizer = torch.optim.Adam(model.parameters(), 0.01)
        for _ in range(30):
            with criterion.accumulating(total_weight=64):
                for x, y in zip(inputs.chunk(parts), labels.chunk(parts), strict=True):
                    criterion(model(x), y).backward()
            optimizer.step()
            optimizer.zero_grad()
        weights.append((model.weight, criterion.threshold))
    torch.testing.assert_close(*weights, **CLOSE)


def test_engines_that_divide_each_loss_give_the_weight_of_a_part() -> None:
    rule = gobj.ImplicitMultiplier(order="weigh_first")
    logits, labels = torch.linspace(-2, 2, 16).double(), torch.arange(16) % 3 == 0
    criterion = gobj.nn.TPRAtFPRLoss(0.2, rule=rule).double()
    with criterion.accumulating(total_weight=4):
        parts = zip(logits.chunk(4), labels.chunk(4), strict=True)
        losses = [criterion(*part) / 4 for part in parts]
    joined = gobj.nn.TPRAtFPRLoss(0.2, rule=rule).double()(logits, labels)
    torch.testing.assert_close(torch.stack(losses).sum(), joined)


def test_the_multipliers_of_an_optimiser_get_the_gradient_of_the_whole() -> None:
    logits, labels = torch.linspace(-2, 2, 16).double(), torch.arange(16) % 3 == 0
    slopes = []
    for parts in (1, 4):
        criterion = gobj.nn.AUCROCLoss(num_anchors=3).double()
        with criterion.accumulating(total_weight=16):
            for part in zip(logits.chunk(parts), labels.chunk(parts), strict=True):
                criterion(*part).backward()
        slopes.append((criterion.multiplier.grad, criterion.threshold.grad, criterion.rates))
    torch.testing.assert_close(*slopes)
    assert slopes[0][0].abs().sum() > 0


@pytest.mark.parametrize(
    "wrong", ["total", "nothing", "little", "late", "nested", "outside", "sum", "at rest", "saved"]
)
def test_what_cannot_add_up_is_refused(wrong: str) -> None:
    reduction: Any = "sum" if wrong == "sum" else "mean"
    criterion = gobj.nn.RecallAtPrecisionLoss(0.8, reduction=reduction)
    batch = torch.linspace(-1, 1, 8), torch.arange(8) > 4

    def misuse() -> None:
        if wrong == "outside":
            criterion.observe(*batch)
        criterion.train(wrong != "at rest")
        saved = {} if wrong == "saved" else None
        with criterion.accumulating(8 if wrong == "total" else None, saved=saved):
            if wrong == "little":
                criterion.observe(*(x[:3] for x in batch))
            if wrong == "nested":
                with criterion.accumulating():
                    pass
            if wrong == "late":
                criterion.observe(*batch)
            criterion(*batch)
            criterion.observe(*batch)

    with pytest.raises(ValueError, match=r"^RecallAtPrecisionLoss: `\w+` must .+; got .+\.$"):
        misuse()
    assert criterion.sums is None


def test_at_rest_a_criterion_accumulates_nothing() -> None:
    criterion = gobj.nn.RecallAtPrecisionLoss(0.8)
    batch = torch.linspace(-1, 1, 8), torch.arange(8) > 4
    with criterion.accumulating():
        criterion.observe(*batch)
        with torch.no_grad():
            criterion(*batch)
        assert criterion.sums is not None
        assert criterion.sums.weight == 8
