"""Lightning, ``strategy="ddp"``, with gradient accumulation."""

import contextlib
from typing import Any

import lightning
import torch
from torch.utils.data import DataLoader

from tests.engines import task

parts, folder = task.arguments()


class Classifier(lightning.LightningModule):
    """A model with its criterion, whose state is saved and loaded with it."""

    def __init__(self) -> None:
        super().__init__()
        self.model, self.criterion = task.model(), task.criterion(parts)
        self.batch = contextlib.ExitStack()

    def on_train_batch_start(self, batch: Any, batch_idx: int) -> None:
        """Begin a batch of several parts; Lightning divides each loss by their number."""
        if parts > 1 and batch_idx % parts == 0:
            weight = self.trainer.world_size * len(batch[0])
            self.batch.enter_context(self.criterion.accumulating(weight))

    def training_step(self, batch: Any, batch_idx: int) -> torch.Tensor:
        """Return the loss of a part."""
        inputs, labels = batch
        return self.criterion(self.model(inputs), labels)

    def on_before_optimizer_step(self, optimizer: Any) -> None:
        """End the batch: the state moves."""
        self.batch.close()

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Train the model alone."""
        return torch.optim.SGD(self.model.parameters(), **task.RATE)

    def train_dataloader(self) -> DataLoader:
        """Take the examples in order; Lightning's own sampler would shuffle them."""
        return task.loader()


trainer = lightning.Trainer(
    accelerator="cpu",
    strategy="ddp",
    devices=task.RANKS,
    max_epochs=task.EPOCHS,
    accumulate_grad_batches=parts,
    use_distributed_sampler=False,
    default_root_dir=folder,
    logger=False,
    enable_checkpointing=False,
    enable_progress_bar=False,
    enable_model_summary=False,
)
module = Classifier()
trainer.fit(module)
task.save(folder, trainer.global_rank, module.model.state_dict(), module.criterion)
trainer.strategy.barrier()
