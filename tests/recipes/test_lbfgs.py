"""L-BFGS evaluates its closure many times a step, and the state moves once a step."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import gobj

Names = dict[str, Any]


@pytest.fixture
def names(recipe: Callable[[str], Names]) -> Names:
    return recipe("lbfgs")


def minimised(names: Names, steps: int, module: Any) -> nn.Linear:
    """Train by a module that is called once before each step, and at rest in the closure."""
    torch.manual_seed(0)
    model = nn.Linear(10, 1)
    optimizer = torch.optim.LBFGS(model.parameters(), max_iter=2, line_search_fn="strong_wolfe")

    def closure() -> Tensor:
        optimizer.zero_grad()
        loss: Tensor = module(model(names["x"]).squeeze(1), names["y"])
        loss.backward()
        return loss

    for _ in range(steps):
        module.train()
        module(model(names["x"]).squeeze(1), names["y"])
        module.eval()
        optimizer.step(closure)
    return model


def test_the_state_moves_once_in_a_step_and_the_closure_runs_more_often(names: Names) -> None:
    assert names["state"].statistics.steps.item() == 100
    assert len(names["losses"]) > 200


def test_the_closure_is_a_function_of_the_weights_alone(names: Names) -> None:
    before = {name: leaf.clone() for name, leaf in gobj.state_dict(names["state"]).items()}
    assert torch.equal(names["closure"](), names["closure"]())
    after = gobj.state_dict(names["state"])
    assert all(torch.equal(after[name], leaf) for name, leaf in before.items())


def test_precision_on_training_rows_is_at_its_target(names: Names) -> None:
    flagged = names["model"](names["x"]).squeeze(1) > names["state"].threshold
    assert names["y"][flagged].float().mean().item() == pytest.approx(0.8, abs=0.01)


def test_a_module_at_rest_in_the_closure_trains_alike(names: Names) -> None:
    criterion = gobj.nn.RecallAtPrecisionLoss(0.8)
    model = minimised(names, 100, criterion)
    assert criterion.state.statistics.steps.item() == 100
    torch.testing.assert_close(model.weight, names["model"].weight)
    torch.testing.assert_close(criterion.threshold[0], names["state"].threshold)


def test_a_frozen_dual_takes_the_loss_in_the_closure_and_returns_the_state_it_was_given(
    names: Names,
) -> None:
    x, y, problem = names["x"], names["y"], names["problem"]
    rule, frozen = gobj.DualAscent(rate=1.0, threshold_rate=0.1), gobj.FrozenDual()
    model, state = nn.Linear(10, 1), gobj.init_state(rule=rule)
    optimizer = torch.optim.LBFGS(model.parameters(), max_iter=4, line_search_fn="strong_wolfe")
    losses: list[float] = []

    def closure() -> Tensor:
        optimizer.zero_grad()
        logits = model(x).squeeze(1)
        loss, same = gobj.constrained_loss(problem, logits, y, state, rule=frozen)
        assert same is state
        loss.backward()
        losses.append(loss.item())
        return loss

    for _ in range(3):
        with torch.no_grad():
            sums = gobj.observe(problem, model(x).squeeze(1), y, state, rule=rule)
        state = gobj.update(problem, state, sums, rule=rule)
        losses.clear()
        optimizer.step(closure)
        assert len(losses) > 2
        assert losses[-1] < losses[0]


def test_a_module_that_trains_in_the_closure_moves_at_every_evaluation(names: Names) -> None:
    criterion, model = gobj.nn.RecallAtPrecisionLoss(0.8), nn.Linear(10, 1)
    optimizer = torch.optim.LBFGS(model.parameters(), max_iter=2, line_search_fn="strong_wolfe")
    losses = []

    def closure() -> Tensor:
        optimizer.zero_grad()
        loss: Tensor = criterion(model(names["x"]).squeeze(1), names["y"])
        loss.backward()
        losses.append(loss.item())
        return loss

    for _ in range(5):
        optimizer.step(closure)
    assert criterion.state.statistics.steps.item() == len(losses) > 5
