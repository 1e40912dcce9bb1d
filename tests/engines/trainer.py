"""The Hugging Face Trainer, with gradient accumulation."""

import contextlib
from typing import Any

import torch
from torch import nn
from transformers import Trainer, TrainerCallback, TrainingArguments

from tests.engines import task

parts, folder = task.arguments()
criterion = task.criterion(parts)


class Classifier(nn.Module):
    """A model that returns its logits by name."""

    def __init__(self) -> None:
        super().__init__()
        self.model = task.model()

    def forward(self, inputs: torch.Tensor, labels: torch.Tensor | None = None) -> dict[str, Any]:
        """Return the logits; the criterion sees the labels."""
        return {"logits": self.model(inputs)}


class OneBatch(TrainerCallback):
    """Take the parts between two steps of the optimiser as one batch."""

    def __init__(self) -> None:
        self.batch = contextlib.ExitStack()

    def on_step_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Begin a batch; the trainer adds up the losses of a function of one's own."""
        weight = args.world_size * args.train_batch_size * args.gradient_accumulation_steps
        self.batch.enter_context(criterion.accumulating(weight))

    def on_pre_optimizer_step(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """End the batch: the state moves."""
        self.batch.close()


class InOrder(Trainer):
    """Take the examples in order, so that another engine can take the same."""

    def _get_train_sampler(self, train_dataset: Any = None) -> None:
        return None


def loss_of(outputs: Any, labels: torch.Tensor, **_: Any) -> torch.Tensor:
    """Return the loss of a part."""
    return criterion(outputs["logits"], labels)


inputs, labels = task.dataset().tensors
trainer = InOrder(
    Classifier(),
    TrainingArguments(
        output_dir=str(folder),
        use_cpu=True,
        ddp_backend="gloo",
        num_train_epochs=task.EPOCHS,
        per_device_train_batch_size=task.BATCH,
        gradient_accumulation_steps=parts,
        average_tokens_across_devices=False,  # would multiply the loss by the number of ranks
        max_grad_norm=0.0,
        lr_scheduler_type="constant",
        save_strategy="no",
        report_to=[],
        disable_tqdm=True,
    ),
    train_dataset=[{"inputs": x, "labels": y} for x, y in zip(inputs, labels, strict=True)],
    compute_loss_func=loss_of,
    callbacks=[OneBatch()] if parts > 1 else [],
    optimizer_cls_and_kwargs=(torch.optim.SGD, task.RATE),
)
trainer.train()
weights = trainer.accelerator.unwrap_model(trainer.model).model.state_dict()
task.save(folder, trainer.args.process_index, weights, criterion)
trainer.accelerator.wait_for_everyone()
trainer.accelerator.end_training()
