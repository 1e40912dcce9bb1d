"""Accelerate resumes the state of a loss, and saves a model with its threshold."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from accelerate import Accelerator
from safetensors.torch import load_file, load_model
from torch.utils.data import DataLoader, TensorDataset

import gobj

Names = dict[str, Any]
Same = Callable[[Any, Any], bool]
PROBLEM = gobj.recall_at_precision(0.7)


@pytest.fixture
def names(recipe: Callable[[str], Names]) -> Names:
    return recipe("with_accelerate")


class Run:
    """A run like the script's, whose criterion is registered, a part of the model, or neither."""

    def __init__(self, names: Names, kept: str) -> None:
        torch.manual_seed(0)
        self.accelerator, self.model = Accelerator(cpu=True), names["network"]()
        self.criterion = gobj.nn.RecallAtPrecisionLoss(0.7)
        if kept == "part":
            self.model.criterion = self.criterion
        if kept == "registered":
            self.accelerator.register_for_checkpointing(self.criterion)
        self.optimizer = torch.optim.Adam(self.model.parameters(), lr=0.02)
        rows = TensorDataset(names["inputs"][0, :512], names["labels"][0, :512])
        self.model, self.optimizer, self.loader = self.accelerator.prepare(
            self.model, self.optimizer, DataLoader(rows, 64, shuffle=True)
        )

    def train(self, epochs: int) -> None:
        for _ in range(epochs):
            for x, y in self.loader:
                self.optimizer.zero_grad()
                self.accelerator.backward(self.criterion(self.model(x), y))
                self.optimizer.step()

    def everything(self) -> Names:
        return {
            "model": self.model.state_dict(),
            "state": gobj.state_dict(self.criterion.state),
            "optimizer": self.optimizer.state_dict(),
        }


def straight_and_resumed(names: Names, kept: str, folder: Path) -> tuple[Names, Names]:
    """Train four epochs, and in two others the last two from what was saved between."""
    straight = Run(names, kept)
    straight.train(2)
    straight.accelerator.save_state(str(folder))
    straight.train(2)
    resumed = Run(names, kept)
    resumed.accelerator.load_state(str(folder))
    resumed.train(2)
    return straight.everything(), resumed.everything()


@pytest.mark.parametrize("kept", ["registered", "part"])
def test_a_resumed_run_is_that_to_the_end_bit_for_bit(
    names: Names, same: Same, tmp_path: Path, kept: str
) -> None:
    straight, resumed = straight_and_resumed(names, kept, tmp_path)
    assert same(straight, resumed)


def test_a_criterion_that_is_not_registered_is_not_resumed(
    names: Names, same: Same, tmp_path: Path
) -> None:
    straight, resumed = straight_and_resumed(names, "neither", tmp_path)
    assert not same(straight["state"], resumed["state"])
    assert not same(straight["model"], resumed["model"])


def test_the_threshold_of_validation_rows_is_in_the_file(names: Names) -> None:
    net, rows, labels = names["net"], names["inputs"][1], names["labels"][1]
    assert net is not names["accelerator"].unwrap_model(names["model"])  # it was loaded
    point = gobj.fit_threshold(net(rows), labels, PROBLEM)
    assert torch.equal(net.threshold, point.threshold)
    assert labels[net(rows) > net.threshold].mean() >= 0.7
    assert abs(names["hit"].mean() - 0.7) < 0.05


def test_all_tensors_of_a_state_are_in_the_file(names: Names, same: Same, tmp_path: Path) -> None:
    run = Run(names, "part")
    run.train(1)  # after a step they must not share memory, or the file lacks some
    run.accelerator.save_model(run.model, str(tmp_path))
    assert same(load_file(tmp_path / "model.safetensors"), dict(run.model.state_dict()))
    other = Run(names, "part")
    load_model(other.model, tmp_path / "model.safetensors")
    assert same(other.model.state_dict(), run.model.state_dict())


def test_the_state_of_another_target_is_refused(names: Names, tmp_path: Path) -> None:
    run = Run(names, "registered")
    run.accelerator.save_state(str(tmp_path))
    other = Accelerator(cpu=True)
    other.register_for_checkpointing(gobj.nn.RecallAtPrecisionLoss(0.9))
    with pytest.raises(ValueError, match=r"target_precision=0\.7"):
        other.load_state(str(tmp_path))
