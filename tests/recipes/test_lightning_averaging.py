"""Averaging callbacks of Lightning: what they make of a state, and of a threshold."""

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lightning
import pytest
import torch
from lightning.pytorch.callbacks import (
    Callback,
    EMAWeightAveraging,
    ModelCheckpoint,
    StochasticWeightAveraging,
)
from torch.utils.data import DataLoader, TensorDataset

import gobj
from tests.recipes.hosts import LIGHTNING, quiet_trainer

pytestmark = LIGHTNING
Names = dict[str, Any]
Same = Callable[[Any, Any], bool]
Runs = Callable[[str], tuple[Any, list[Names]]]
EPOCHS, BATCHES = 6, 32  # those of the script
AVERAGES: dict[str, Callable[[], Any]] = {
    "ema": lambda: EMAWeightAveraging(decay=0.98, use_buffers=False),
    "ema with buffers": lambda: EMAWeightAveraging(decay=0.98),
    "swa": lambda: StochasticWeightAveraging(swa_lrs=1.0, swa_epoch_start=3),
}


class Watching(Callback):
    """Keep the state after each batch, which is that of training."""

    def __init__(self) -> None:
        self.states: list[Names] = []

    def on_train_batch_end(self, trainer: Any, pl_module: Any, *_: Any) -> None:
        state = gobj.state_dict(pl_module.criterion.state)
        self.states.append({name: tensor.clone() for name, tensor in state.items()})


@pytest.fixture(scope="module")
def names(recipe: Callable[[str], Names]) -> Names:
    return recipe("lightning_averaging")


def fit(names: Names, *callbacks: Any, module: Any = None) -> tuple[Any, lightning.Trainer]:
    torch.manual_seed(0)
    module = module or names["Classifier"]()
    trainer = quiet_trainer(EPOCHS, callbacks=list(callbacks))
    trainer.fit(module, names["loader"])
    return module, trainer


@pytest.fixture(scope="module")
def runs(names: Names) -> Runs:
    """Train once with each callback, or with none; return the module and its states."""

    @functools.cache
    def run(kind: str) -> tuple[Any, list[Names]]:
        watching, callbacks = Watching(), [AVERAGES[kind]()] if kind in AVERAGES else []
        return fit(names, *callbacks, watching)[0], watching.states

    return run


@pytest.mark.parametrize("kind", AVERAGES)
def test_averaging_leaves_training_as_it_is(runs: Runs, same: Same, kind: str) -> None:
    plain, averaged = runs("none")[1], runs(kind)[1]
    assert len(plain) == EPOCHS * BATCHES
    assert same(plain, averaged)


def test_validation_between_epochs_leaves_training_as_it_is(
    names: Names, runs: Runs, same: Same
) -> None:
    class Looking(names["Classifier"]):  # type: ignore[misc]
        def validation_step(self, batch: list[torch.Tensor]) -> None:
            self.criterion(self.model(batch[0]), batch[1])  # at the averaged weights and state

    watching = Watching()
    torch.manual_seed(0)
    trainer = quiet_trainer(EPOCHS, callbacks=[AVERAGES["ema with buffers"](), watching])
    trainer.fit(Looking(), names["loader"], names["loader"])
    assert same(runs("none")[1], watching.states)


@pytest.mark.parametrize("kind", ["ema", "swa"])
def test_a_state_that_is_not_averaged_stays_that_of_the_last_step(
    runs: Runs, same: Same, kind: str
) -> None:
    module, states = runs(kind)
    assert same(gobj.state_dict(module.criterion.state), states[-1])


def test_with_buffers_the_state_is_an_average_of_states(runs: Runs) -> None:
    module, states = runs("ema with buffers")
    average = states[0]["threshold"]
    for state in states[1:]:
        average = average + 0.02 * (state["threshold"] - average)
    torch.testing.assert_close(module.criterion.threshold, average)
    assert module.criterion.state.statistics.steps < EPOCHS * BATCHES - 1
    assert not torch.equal(module.criterion.threshold, states[-1]["threshold"])


def test_swa_of_a_batch_norm_moves_the_state_for_one_more_epoch(names: Names) -> None:
    module = names["Classifier"]()
    module.model.insert(1, torch.nn.BatchNorm1d(32))
    fit(names, AVERAGES["swa"](), module=module)
    assert module.criterion.state.statistics.steps.item() == (EPOCHS + 1) * BATCHES


@pytest.mark.parametrize("kind", AVERAGES)
def test_a_threshold_read_again_is_nearer_to_the_target_on_new_rows(
    names: Names, runs: Runs, kind: str
) -> None:
    module, _ = runs(kind)
    scores, labels = module.model(names["inputs"]).detach(), names["labels"]
    point = gobj.fit_threshold(scores[1], labels[1], gobj.recall_at_precision(0.7))
    learned, read = (
        labels[2][scores[2] > threshold].mean() - 0.7
        for threshold in (module.criterion.threshold, point.threshold)
    )
    assert read.abs() < learned.abs()
    assert read.abs() < 0.03


def test_a_checkpoint_of_the_trainer_takes_no_threshold_that_is_written_after_training(
    names: Names, tmp_path: Path
) -> None:
    module = names["Classifier"]()
    module.register_buffer("deployed", torch.zeros(1))
    module, trainer = fit(names, AVERAGES["ema"](), module=module)
    module.deployed.fill_(1.5)
    trainer.save_checkpoint(tmp_path / "averaged.ckpt")
    saved = torch.load(tmp_path / "averaged.ckpt", weights_only=True)
    kept, current = saved["state_dict"], saved["current_model_state"]
    assert (kept["deployed"].item(), module.state_dict()["deployed"].item()) == (0.0, 1.5)
    # nor does it hold the weights that trained: to resume from it is another run
    assert torch.equal(kept["model.0.weight"], current["model.0.weight"])


def test_targets_of_several_labels_survive_averages_with_buffers(names: Names) -> None:
    targets = torch.tensor([0.7, 0.8])
    module = names["Classifier"]()
    module.criterion = gobj.nn.RecallAtPrecisionLoss(targets, num_labels=2)
    module.model[2] = torch.nn.Linear(32, 2)
    inputs, labels = names["loader"].dataset.tensors
    loader = DataLoader(TensorDataset(inputs, labels.expand(-1, 2)), 256)
    quiet_trainer(2, callbacks=[AVERAGES["ema with buffers"]()]).fit(module, loader)
    torch.testing.assert_close(module.criterion.target_precision, targets)
    other = gobj.nn.RecallAtPrecisionLoss(targets, num_labels=2)
    other.load_state_dict(module.criterion.state_dict())  # refuses other targets
    assert torch.equal(other.threshold, module.criterion.threshold)


@pytest.mark.parametrize("kind", AVERAGES)
def test_an_averaged_run_resumes_bit_for_bit(
    names: Names, same: Same, tmp_path: Path, kind: str
) -> None:
    def run(folder: Path, path: Path | None = None) -> Any:
        keeping = ModelCheckpoint(folder, filename="{epoch}", save_top_k=-1)
        options = {"callbacks": [AVERAGES[kind](), keeping], "enable_checkpointing": True}
        module = names["Classifier"]()
        quiet_trainer(5, **options).fit(module, names["loader"], ckpt_path=path)
        return module

    torch.manual_seed(0)
    straight = run(tmp_path / "straight")
    resumed = run(tmp_path / "resumed", tmp_path / "straight" / "epoch=2.ckpt")
    assert same(straight.state_dict(), resumed.state_dict())
