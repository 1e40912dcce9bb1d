"""The Hugging Face Trainer saves and resumes the state of a loss, also over micro-batches."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from safetensors.torch import load_file, load_model

import gobj

pytestmark = pytest.mark.filterwarnings(
    "ignore:'pin_memory' argument is set as true"  # the Trainer's own default, without a GPU
)
Names = dict[str, Any]
Same = Callable[[Any, Any], bool]
PROBLEM = gobj.recall_at_precision(0.7)


@pytest.fixture
def whole(recipe: Callable[[str], Names]) -> Names:
    return recipe("transformers_trainer")


@pytest.fixture
def parts(recipe: Callable[[str], Names]) -> Names:
    return recipe("transformers_accumulation")


def transformer(whole: Names) -> Any:
    """Make the model of the script anew."""
    torch.manual_seed(0)
    config = transformers.BertConfig(**whole["sizes"])
    model = transformers.BertForSequenceClassification(config)
    model.criterion = gobj.nn.RecallAtPrecisionLoss(0.7)
    return model


def linear(parts: Names) -> Any:
    torch.manual_seed(0)
    model = parts["Linear"](8, 1)
    rule = gobj.ImplicitMultiplier(order="weigh_first")
    model.criterion = gobj.nn.RecallAtPrecisionLoss(0.7, rule=rule)
    return model


def trainer_of(
    names: Names, model: Any, folder: Path, rows: int = 256, batch: int = 32, **options: Any
) -> Any:
    """Make a trainer of the model with the functions of the script."""
    batch_of = names["OneBatch"]() if "OneBatch" in names else None
    loss = batch_of.loss if batch_of else names["loss_of"]
    loss.__globals__["model"] = model
    settings = {"save_strategy": "no", "disable_tqdm": True, "learning_rate": 0.01} | options
    arguments = transformers.TrainingArguments(str(folder), num_train_epochs=2, **settings)
    arguments.set_dataloader(train_batch_size=batch, eval_batch_size=256)
    return transformers.Trainer(
        model,
        arguments,
        train_dataset=names["rows"][:rows],
        eval_dataset=names["rows"][rows : rows + 256],
        compute_loss_func=loss,
        compute_metrics=names.get("point_of"),
        callbacks=[batch_of] if batch_of else [],
    )


def everything(trainer: Any) -> Names:
    return {
        "model": trainer.model.state_dict(),
        "optimizer": trainer.optimizer.state_dict(),
        "rates": trainer.lr_scheduler.state_dict()["_last_lr"],
    }


@pytest.mark.parametrize("step", [8, 11], ids=["between epochs", "within an epoch"])
def test_a_resumed_run_is_that_to_the_end_bit_for_bit(
    whole: Names, same: Same, tmp_path: Path, step: int
) -> None:
    saving = {"save_strategy": "steps", "save_steps": step}
    straight = trainer_of(whole, transformer(whole), tmp_path / "straight", **saving)
    straight.train()
    resumed = trainer_of(whole, transformer(whole), tmp_path / "resumed", **saving)
    resumed.train(resume_from_checkpoint=str(tmp_path / "straight" / f"checkpoint-{step}"))
    assert same(everything(straight), everything(resumed))
    assert straight.model.criterion.state.statistics.steps.item() == 16


def test_micro_batches_resume_bit_for_bit_too(parts: Names, same: Same, tmp_path: Path) -> None:
    saving = {"save_strategy": "steps", "save_steps": 5, "gradient_accumulation_steps": 4}
    straight = trainer_of(parts, linear(parts), tmp_path / "straight", batch=8, **saving)
    straight.train()
    resumed = trainer_of(parts, linear(parts), tmp_path / "resumed", batch=8, **saving)
    resumed.train(resume_from_checkpoint=str(tmp_path / "straight" / "checkpoint-5"))
    assert same(everything(straight), everything(resumed))


def test_a_criterion_beside_the_model_is_not_resumed(
    whole: Names, same: Same, tmp_path: Path
) -> None:
    def beside(model: Any) -> Any:
        criterion = gobj.nn.RecallAtPrecisionLoss(0.7)
        del model.criterion
        object.__setattr__(model, "criterion", criterion)  # found, but no part of the model
        return model

    saving = {"save_strategy": "steps", "save_steps": 8}
    straight = trainer_of(whole, beside(transformer(whole)), tmp_path / "straight", **saving)
    straight.train()
    resumed = trainer_of(whole, beside(transformer(whole)), tmp_path / "resumed", **saving)
    resumed.train(resume_from_checkpoint=str(tmp_path / "straight" / "checkpoint-8"))
    states = [gobj.state_dict(t.model.criterion.state) for t in (straight, resumed)]
    assert not same(*states)
    assert not same(everything(straight)["model"], everything(resumed)["model"])


def test_evaluation_leaves_the_state_as_it_was(whole: Names, same: Same, tmp_path: Path) -> None:
    trainer = trainer_of(whole, transformer(whole), tmp_path)
    trainer.train()
    before = {name: x.clone() for name, x in trainer.model.state_dict().items()}
    positives = [row for row in whole["rows"][256:1024] if row["labels"] == 1]
    assert trainer.evaluate(positives)["eval_recall"] == 1.0
    assert same(trainer.model.state_dict(), before)


@pytest.mark.parametrize("rows", [256, 260], ids=["even", "with a short last batch"])
def test_micro_batches_train_as_their_whole(parts: Names, tmp_path: Path, rows: int) -> None:
    split = trainer_of(parts, linear(parts), tmp_path, rows, batch=8, gradient_accumulation_steps=4)
    split.train()
    joined = trainer_of(parts, linear(parts), tmp_path, rows, batch=32)
    joined.train()
    got, want = (
        {**t.model.state_dict(), **gobj.state_dict(t.model.criterion.state)}
        for t in (split, joined)
    )
    torch.testing.assert_close(got, want, rtol=1e-4, atol=1e-5)


def test_without_one_batch_the_gradients_add_up_and_the_state_moves_for_each_part(
    parts: Names, tmp_path: Path
) -> None:
    def steps_and_gradient(model: Any, batch: int, accumulated: int) -> tuple[float, torch.Tensor]:
        seen: list[torch.Tensor] = []
        model.weight.register_hook(seen.append)
        trainer = trainer_of(
            {key: parts[key] for key in ("rows",)} | {"loss_of": plain},
            model,
            tmp_path,
            batch=batch,
            gradient_accumulation_steps=accumulated,
            max_steps=1,
        )
        trainer.train()
        return model.criterion.state.statistics.steps.item(), torch.stack(seen).sum(0)

    def plain(outputs: Names, labels: torch.Tensor, **_: Any) -> torch.Tensor:
        return model.criterion(outputs["logits"], labels)

    model = linear(parts)
    steps, gradient = steps_and_gradient(model, 8, 4)
    model = linear(parts)
    steps_of_whole, whole = steps_and_gradient(model, 32, 1)
    assert (steps, steps_of_whole) == (4, 1)
    assert gradient.norm() > 2 * whole.norm()


def test_the_state_moves_once_in_a_step_of_the_optimiser(parts: Names, tmp_path: Path) -> None:
    model = linear(parts)
    trainer_of(parts, model, tmp_path, batch=8, gradient_accumulation_steps=4).train()
    assert model.criterion.state.statistics.steps.item() == 16
    assert model.criterion.sums is None


def test_the_threshold_of_validation_rows_is_in_the_config(whole: Names) -> None:
    rows = slice(2048, 4096)
    with torch.no_grad():
        logits = whole["net"](whole["tokens"][rows]).logits
    scores = logits[:, 1] - logits[:, 0]
    point = gobj.fit_threshold(scores, whole["labels"][rows], PROBLEM)
    assert whole["net"].config.threshold == pytest.approx(point.threshold.item(), abs=1e-5)
    assert whole["labels"][rows][scores > whole["net"].config.threshold].float().mean() >= 0.69
    assert whole["hit"].mean() > 2 * whole["labels"].float().mean()


def test_the_score_of_two_logits_is_the_second_less_the_first(whole: Names) -> None:
    model = transformer(whole).eval()
    whole["loss_of"].__globals__["model"] = model
    logits, labels = torch.randn(32, 2), torch.arange(32) % 2
    loss = whole["loss_of"]({"logits": logits}, labels, num_items_in_batch=32)
    assert torch.equal(loss, model.criterion(logits[:, 1] - logits[:, 0], labels))


def test_all_tensors_of_a_state_are_in_the_file(parts: Names, same: Same, tmp_path: Path) -> None:
    trainer = trainer_of(parts, linear(parts), tmp_path, batch=8)
    trainer.train()
    trainer.save_model(str(tmp_path))
    saved = load_file(tmp_path / "model.safetensors")
    state = gobj.state_dict(trainer.model.criterion.state)
    assert same({name: saved[f"criterion.{name}"] for name in state}, state)


def test_a_criterion_in_the_constructor_of_a_pretrained_model_is_made_without_memory(
    whole: Names, tmp_path: Path
) -> None:
    devices = []

    class Unsafe(transformers.BertForSequenceClassification):
        def __init__(self, config: Any) -> None:
            super().__init__(config)
            self.criterion = gobj.nn.RecallAtPrecisionLoss(0.7)
            devices.append(self.criterion.threshold.device.type)

    plain = transformer(whole)
    del plain.criterion
    plain.save_pretrained(tmp_path)
    _, found = Unsafe.from_pretrained(tmp_path, output_loading_info=True)
    assert devices == ["meta"]
    assert "criterion.threshold" in found["missing_keys"]  # from_pretrained leaves any memory there


def test_a_criterion_that_is_attached_after_loading_takes_its_state_from_the_file(
    whole: Names, same: Same, tmp_path: Path
) -> None:
    trainer = trainer_of(whole, transformer(whole), tmp_path)
    trainer.train()
    trainer.save_model(str(tmp_path))
    model = transformers.BertForSequenceClassification.from_pretrained(tmp_path)
    model.criterion = gobj.nn.RecallAtPrecisionLoss(0.7)
    first = gobj.init_state((1,))
    assert same(gobj.state_dict(model.criterion.state), gobj.state_dict(first))
    load_model(model, tmp_path / "model.safetensors")
    assert same(model.state_dict(), trainer.model.state_dict())
