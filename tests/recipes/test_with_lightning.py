"""Lightning resumes the state of a loss, and its validation moves nothing."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import lightning
import pytest
import torch
from torch.utils.data import DataLoader

import gobj
from tests.recipes.hosts import LIGHTNING, quiet_trainer

pytestmark = LIGHTNING
SCRIPTS = ["with_lightning", "lightning_explicit_state"]
Names = dict[str, Any]


@pytest.fixture(params=SCRIPTS)
def names(request: pytest.FixtureRequest, recipe: Callable[[str], Names]) -> Names:
    return recipe(request.param)


def loaders(names: Names) -> Any:
    return names.get("loaders") or (names["loader"],)


def fit(
    module: Any, names: Names, epochs: int, path: Path | None = None, **options: Any
) -> lightning.Trainer:
    trainer = quiet_trainer(epochs, **options)
    trainer.fit(module, *loaders(names), ckpt_path=path)
    return trainer


def everything(trainer: lightning.Trainer) -> dict[str, Any]:
    module = trainer.lightning_module
    state = module.criterion.state if hasattr(module, "criterion") else module.state
    return {
        "module": module.state_dict(),
        "state": gobj.state_dict(state),
        "optimizer": trainer.optimizers[0].state_dict(),
    }


def straight_and_resumed(
    names: Names, classifier: Callable[[], Any], path: Path
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Train six epochs, and two and four more of another module from a checkpoint."""
    torch.manual_seed(0)
    straight = fit(classifier(), names, 6)
    torch.manual_seed(0)
    fit(classifier(), names, 2).save_checkpoint(path)
    resumed = fit(classifier(), names, 6, path)
    return everything(straight), everything(resumed)


def test_a_resumed_run_is_that_to_the_end_bit_for_bit(
    names: Names, same: Callable[[Any, Any], bool], tmp_path: Path
) -> None:
    straight, resumed = straight_and_resumed(names, names["Classifier"], tmp_path / "two.ckpt")
    assert same(straight, resumed)


def test_a_state_that_is_not_in_the_checkpoint_is_lost(
    recipe: Callable[[str], Names], same: Callable[[Any, Any], bool], tmp_path: Path
) -> None:
    names = recipe("lightning_explicit_state")

    class Forgetful(names["Classifier"]):  # type: ignore[misc]
        def on_save_checkpoint(self, checkpoint: Names) -> None: ...

        def on_load_checkpoint(self, checkpoint: Names) -> None: ...

    straight, resumed = straight_and_resumed(names, Forgetful, tmp_path / "two.ckpt")
    assert not same(straight["state"], resumed["state"])
    assert not same(straight["module"], resumed["module"])


def test_lightning_does_not_restore_the_order_of_a_shuffling_loader(
    recipe: Callable[[str], Names], same: Callable[[Any, Any], bool], tmp_path: Path
) -> None:
    names = recipe("with_lightning")
    loader = DataLoader(names["train"], 256, shuffle=True)
    shuffled = {"loaders": (loader, names["loaders"][1])}
    straight, resumed = straight_and_resumed(shuffled, names["Classifier"], tmp_path / "two.ckpt")
    assert not same(straight["module"], resumed["module"])


def test_the_checkpoint_that_lightning_keeps_by_itself_resumes_too(
    recipe: Callable[[str], Names], same: Callable[[Any, Any], bool]
) -> None:
    names = recipe("with_lightning")  # the script has resumed from it
    torch.manual_seed(0)
    for shape in ((3, 4096, 8), (3, 4096, 1)):  # as the script draws its rows
        torch.randn(shape)
    straight = fit(names["Classifier"](), names, 10)
    assert same(straight.lightning_module.state_dict(), names["module"].state_dict())


def test_validation_leaves_the_state_as_it_was(
    recipe: Callable[[str], Names], same: Callable[[Any, Any], bool]
) -> None:
    names = recipe("with_lightning")

    class Looking(names["Classifier"]):  # type: ignore[misc]
        def validation_step(self, batch: list[torch.Tensor]) -> None:
            positives = batch[1].squeeze(1) == 1  # an enriched set, which would move it far
            loss = self.criterion(self.model(batch[0][positives]), batch[1][positives])
            self.log("loss", loss)

    torch.manual_seed(0)
    looking = everything(fit(Looking(), names, 3))
    torch.manual_seed(0)
    blind = everything(fit(names["Classifier"](), names, 3, limit_val_batches=0))
    assert same(looking["state"], blind["state"])


def test_a_module_that_has_been_validated_trains_and_loads(
    recipe: Callable[[str], Names], same: Callable[[Any, Any], bool]
) -> None:
    names = recipe("with_lightning")
    module = names["Classifier"]()
    trainer = fit(module, names, 1)
    trainer.validate(module, names["loaders"][1], verbose=False)  # in inference mode
    other = names["Classifier"]()
    other.load_state_dict(module.state_dict())
    assert same(other.state_dict(), module.state_dict())
    moved = fit(module, names, 2).lightning_module
    assert not same(moved.criterion.threshold, other.criterion.threshold)


def test_no_parameter_of_the_criterion_goes_to_the_optimiser(
    recipe: Callable[[str], Names],
) -> None:
    module = recipe("with_lightning")["Classifier"]()
    (group,) = module.configure_optimizers().param_groups
    assert [id(x) for x in group["params"]] == [id(x) for x in module.model.parameters()]


def test_the_threshold_of_validation_rows_comes_with_the_checkpoint(
    recipe: Callable[[str], Names], tmp_path: Path
) -> None:
    names = recipe("with_lightning")
    trainer = fit(names["Classifier"](), names, 2)
    trainer.save_checkpoint(tmp_path / "two.ckpt")
    module = names["Classifier"].load_from_checkpoint(tmp_path / "two.ckpt")
    (inputs, labels), problem = names["validation"].tensors, gobj.recall_at_precision(0.7)
    point = gobj.fit_threshold(module.model(inputs).detach(), labels, problem)
    assert torch.equal(module.threshold, point.threshold)
    flagged = module.model(inputs) > module.threshold
    assert labels[flagged].mean() >= 0.7


def test_the_state_of_a_value_goes_to_where_the_module_is(
    recipe: Callable[[str], Names],
) -> None:
    module = recipe("lightning_explicit_state")["Classifier"]()
    trainer = fit(module, recipe("lightning_explicit_state"), 1)
    module.to("meta")
    assert trainer.lightning_module is module
    module.on_fit_start()
    assert {leaf.device.type for leaf in gobj.state_dict(module.state).values()} == {"meta"}


def test_a_state_in_the_checkpoint_is_plain_tensors(
    recipe: Callable[[str], Names], same: Callable[[Any, Any], bool], tmp_path: Path
) -> None:
    names = recipe("lightning_explicit_state")
    trainer = fit(names["Classifier"](), names, 1)
    trainer.save_checkpoint(tmp_path / "one.ckpt")
    saved = torch.load(tmp_path / "one.ckpt", weights_only=True)["dual_state"]
    assert same(saved, gobj.state_dict(trainer.lightning_module.state))
