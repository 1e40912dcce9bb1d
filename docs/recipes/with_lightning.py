"""Lightning: the state of the loss and the threshold to deploy are part of the checkpoint."""

import tempfile

import lightning
import torch
from torch.utils.data import DataLoader, TensorDataset

import gobj


class Classifier(lightning.LightningModule):
    """A model, its criterion, and the threshold of its validation rows, which are one batch."""

    def __init__(self) -> None:
        super().__init__()
        self.model, self.criterion = torch.nn.Linear(8, 1), gobj.nn.RecallAtPrecisionLoss(0.7)
        self.register_buffer("threshold", torch.zeros(1))

    def training_step(self, batch: list[torch.Tensor]) -> torch.Tensor:
        return self.criterion(self.model(batch[0]), batch[1])

    def validation_step(self, batch: list[torch.Tensor]) -> None:
        point = gobj.fit_threshold(self.model(batch[0]), batch[1], gobj.recall_at_precision(0.7))
        self.threshold.copy_(point.threshold)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.Adam(self.parameters(), lr=0.02)


inputs = torch.randn(3, 4096, 8, generator=torch.manual_seed(0))
labels = (inputs.sum(2, keepdim=True) + 2 * torch.randn(3, 4096, 1) > 3).float()
train, validation, _ = map(TensorDataset, inputs, labels)
loaders, module = (DataLoader(train, 256), DataLoader(validation, 4096)), Classifier()
with tempfile.TemporaryDirectory() as folder:
    lightning.Trainer(max_epochs=5, default_root_dir=folder).fit(module, *loaders)
    module, path = Classifier(), module.trainer.checkpoint_callback.best_model_path
    lightning.Trainer(max_epochs=10, default_root_dir=folder).fit(module, *loaders, ckpt_path=path)
hit = labels[2][module.model(inputs[2]) > module.threshold]
print(f"recall {hit.sum() / labels[2].sum():.2f}, precision {hit.mean():.2f}")
