"""The Hugging Face Trainer over micro-batches that are together one batch of the loss."""

import contextlib
import tempfile

import torch
from transformers import Trainer, TrainerCallback, TrainingArguments

import gobj


class Linear(torch.nn.Linear):
    """A model that returns its logits by name, as the Trainer takes them."""

    def forward(self, inputs: torch.Tensor, labels: torch.Tensor | None = None) -> dict:
        return {"logits": super().forward(inputs).squeeze(1)}


class OneBatch(TrainerCallback, contextlib.ExitStack):
    """What lies between two steps of the optimiser."""

    def loss(self, outputs: dict, labels: torch.Tensor, num_items_in_batch: int) -> torch.Tensor:
        if model.training and model.criterion.sums is None:  # the first part begins a batch
            self.enter_context(model.criterion.accumulating(num_items_in_batch))
        return model.criterion(outputs["logits"], labels)

    def on_pre_optimizer_step(self, *_: object, **__: object) -> None:
        self.close()


seen = torch.randn(1000, 8, generator=torch.manual_seed(0))
truth = (seen.sum(1) + 2 * torch.randn(1000) > 3).float()
rows = [{"inputs": x, "labels": y} for x, y in zip(seen, truth, strict=True)]
model, batch, parts = Linear(8, 1), OneBatch(), {"gradient_accumulation_steps": 4}
rule = gobj.ImplicitMultiplier(order="weigh_first")  # needs one pass over the parts
model.criterion = gobj.nn.RecallAtPrecisionLoss(0.7, rule=rule)
with tempfile.TemporaryDirectory() as folder:
    arguments = TrainingArguments(folder, num_train_epochs=10, learning_rate=0.02, **parts)
    Trainer(model, arguments, None, rows, compute_loss_func=batch.loss, callbacks=[batch]).train()
print(f"train precision {truth[model.cpu()(seen)['logits'] > model.criterion.threshold].mean():.2}")
