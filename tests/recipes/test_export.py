"""A training step goes through torch.export with its state, at any number of rows."""

import copy
import io
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import gobj

Names = dict[str, Any]
ROWS = {0: torch.export.Dim("rows", min=2)}


@pytest.fixture
def names(recipe: Callable[[str], Names]) -> Names:
    return recipe("export")


def reloaded(program: Any) -> Any:
    file = io.BytesIO()
    torch.export.save(program, file)
    return torch.export.load(file)


def export(names: Names) -> Any:
    rows, saved = slice(0, 8), gobj.state_dict(gobj.init_state())
    arguments = names["x"][rows], names["y"][rows], saved
    return torch.export.export(names["Step"](), arguments, dynamic_shapes=names["shapes"])


def test_precision_on_training_rows_is_near_its_target(names: Names) -> None:
    _, logits, _ = names["step"](names["x"][:6000], names["y"][:6000], names["saved"])
    flagged = logits > names["saved"]["threshold"]
    precision = names["y"][:6000][flagged].float().mean().item()
    assert precision == pytest.approx(0.8, abs=0.03)


@pytest.mark.parametrize("rows", [2, 8, 301])
def test_a_loaded_program_has_loss_state_and_gradient_of_the_module(
    names: Names, rows: int
) -> None:
    program = reloaded(names["program"]).module()
    saved = names["saved"]  # of a state that has seen batches
    batch = names["x"][:rows], names["y"][:rows]
    results = []
    for step in (program, names["original"]):
        step.zero_grad()
        loss, _, after = step(*batch, saved)
        loss.backward()
        slopes = [parameter.grad for parameter in step.parameters()]
        results.append((loss, *after.values(), *slopes))
    torch.testing.assert_close(*results)


def test_a_loaded_program_trains_as_the_module(names: Names) -> None:
    with torch.no_grad():
        program = reloaded(export(names)).module()
    module = names["Step"]()
    module.load_state_dict(program.state_dict())
    ends = []
    for step in (program, module):
        saved = gobj.state_dict(gobj.init_state())
        optimizer = torch.optim.Adam(step.parameters(), lr=0.05)
        for batch in torch.arange(3000).split(170):
            loss, _, saved = step(names["x"][batch], names["y"][batch], saved)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        ends.append([*step.parameters(), *saved.values()])
    assert ends[0][-1].requires_grad is False
    torch.testing.assert_close(*ends, rtol=1e-3, atol=1e-4)


def test_what_is_exported_with_gradients_on_runs_and_cannot_be_loaded(names: Names) -> None:
    program = export(names)
    batch = names["x"][:100], names["y"][:100], gobj.state_dict(gobj.init_state())
    program.module()(*batch)[0].backward()
    with pytest.raises(Exception, match="wrap_with_set_grad_enabled"):
        reloaded(program)


def test_a_state_as_a_tuple_runs_and_cannot_be_saved(names: Names) -> None:
    batch = names["x"][:100], names["y"][:100]

    class Loss(nn.Module):
        def forward(self, logits: Tensor, labels: Tensor, state: Any) -> Any:
            return gobj.recall_at_precision_loss(logits, labels, state, target_precision=0.8)

    program = torch.export.export(Loss(), (batch[0][:, 0], batch[1], gobj.init_state()))
    _, after = program.module()(batch[0][:, 0], batch[1], gobj.init_state())
    assert isinstance(after, gobj.DualState)
    with pytest.raises(NotImplementedError, match="DualState"):
        torch.export.save(program, io.BytesIO())


def test_a_target_may_be_an_argument_of_the_program() -> None:
    class Loss(nn.Module):
        def forward(self, logits: Tensor, labels: Tensor, target: Tensor, saved: Any) -> Any:
            state = gobj.load_state_dict(gobj.init_state(), saved)
            loss, state = gobj.recall_at_precision_loss(
                logits, labels, state, target_precision=target
            )
            return loss, state.threshold

    labels = torch.rand(200) < 0.3
    batch, saved = (torch.randn(200) + 2 * labels, labels), gobj.state_dict(gobj.init_state())
    program = torch.export.export(Loss(), (*batch, torch.tensor(0.8), saved)).module()
    results = [program(*batch, torch.tensor(target), saved) for target in (0.5, 0.9)]
    for target, result in zip((0.5, 0.9), results, strict=True):
        torch.testing.assert_close(result, Loss()(*batch, target, saved))
    assert results[0][1] != results[1][1]


class Held(nn.Module):
    """A model that holds its criterion."""

    def __init__(self, criterion: nn.Module) -> None:
        super().__init__()
        self.head, self.criterion = nn.Linear(10, criterion.num_labels), criterion

    def forward(self, features: Tensor, labels: Tensor) -> Tensor:
        loss: Tensor = self.criterion(self.head(features), labels)
        return loss


CRITERIA = {
    "point": lambda: gobj.nn.RecallAtPrecisionLoss(0.8),
    "labels": lambda: gobj.nn.TPRAtFPRLoss(0.1, num_labels=3),
    "area": lambda: gobj.nn.AveragePrecisionLoss(num_anchors=4),
}


@pytest.mark.parametrize("training", [True, False], ids=["training", "evaluation"])
@pytest.mark.parametrize("build", CRITERIA.values(), ids=CRITERIA)
def test_an_exported_criterion_moves_its_buffers_where_the_module_would(
    build: Callable[[], nn.Module], training: bool
) -> None:
    model = Held(build()).train(training)
    twin, labels = copy.deepcopy(model), model.criterion.num_labels
    inputs = torch.randn(40, 10), torch.rand(40, labels) < 0.4
    shapes = {"features": ROWS, "labels": ROWS}
    program = torch.export.export(model, inputs, dynamic_shapes=shapes).module()
    for rows in (40, 23):
        batch = [values[:rows] for values in inputs]
        torch.testing.assert_close(program(*batch), twin(*batch))
    assert bool((twin.criterion.threshold != 0).any()) is training
    buffers = dict(program.named_buffers())
    for name, buffer in twin.named_buffers():
        torch.testing.assert_close(buffers[name], buffer)
