"""Members of an ensemble train in one vmap as each would alone, with states of their own."""

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn
from torch.func import functional_call, stack_module_state, vmap

import gobj

Names = dict[str, Any]


@pytest.fixture
def names(recipe: Callable[[str], Names]) -> Names:
    return recipe("ensembles")


def test_each_member_meets_its_own_target_on_training_rows(names: Names) -> None:
    rows = torch.arange(6000)
    logits = vmap(names["score"], in_dims=(0, 0, None))(*names["stacks"], rows)
    flagged = logits > names["state"].threshold.unsqueeze(1)
    precision = (flagged & names["y"][rows]).sum(1) / flagged.sum(1)
    torch.testing.assert_close(precision, names["targets"], rtol=0, atol=0.03)
    assert (names["state"].threshold.diff() > 0).all()


def test_each_member_trains_as_it_would_alone(names: Names) -> None:
    models = [nn.Linear(10, 1) for _ in range(3)]
    alone, targets = copy.deepcopy(models), torch.tensor([0.5, 0.7, 0.9])
    parameters, buffers = stack_module_state(models)
    x, y = names["x"], names["y"]

    def step(rows: Any, target: Any, state: Any, weights: Any) -> Any:
        logits = functional_call(models[0], (weights, buffers), (x[rows],)).squeeze(1)
        return gobj.recall_at_precision_loss(logits, y[rows], state, target_precision=target)

    batches, state = torch.arange(3000).split(300), gobj.init_state((3,))
    optimizer = torch.optim.Adam(parameters.values(), lr=0.05)
    for rows in batches:
        losses, state = vmap(step, in_dims=(None, 0, 0, 0))(rows, targets, state, parameters)
        optimizer.zero_grad()
        losses.sum().backward()
        optimizer.step()
    for i, model in enumerate(alone):
        own, optimizer = gobj.init_state(), torch.optim.Adam(model.parameters(), lr=0.05)
        for rows in batches:
            logits = model(x[rows]).squeeze(1)
            loss, own = gobj.recall_at_precision_loss(
                logits, y[rows], own, target_precision=targets[i].item()
            )
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        torch.testing.assert_close(parameters["weight"][i], model.weight, rtol=1e-3, atol=1e-4)
        torch.testing.assert_close(state.threshold[i], own.threshold, rtol=1e-3, atol=1e-4)
        torch.testing.assert_close(state.multiplier[i], own.multiplier, rtol=1e-3, atol=1e-4)


def test_a_member_goes_on_alone_with_its_part_of_the_state(names: Names) -> None:
    saved = {name: tensor[1] for name, tensor in gobj.state_dict(names["state"]).items()}
    state = gobj.load_state_dict(gobj.init_state(), saved)
    assert state.threshold == names["state"].threshold[1]
    assert state.statistics.steps.item() == 400


def test_a_criterion_within_vmap_is_refused_in_one_sentence_and_stays_usable(
    names: Names,
) -> None:
    criterion, labels = gobj.nn.RecallAtPrecisionLoss(0.8), names["y"][:50]

    def step(parameters: Any, buffers: Any) -> Any:
        return criterion(names["score"](parameters, buffers, torch.arange(50)), labels)

    with pytest.raises(ValueError, match=r"torch\.func, where gobj\.recall_at_precision_loss"):
        vmap(step)(*names["stacks"])
    assert criterion.threshold == 0
    assert criterion(torch.randn(50), labels).isfinite()
