"""Averaged weights in Lightning: their scores are others, so the threshold is read again."""

import lightning
import torch
from lightning.pytorch.callbacks import EMAWeightAveraging, StochasticWeightAveraging
from torch.utils.data import DataLoader, TensorDataset

import gobj


class Classifier(lightning.LightningModule):
    """A small network and its criterion."""

    def __init__(self) -> None:
        super().__init__()
        layers = torch.nn.Linear(8, 32), torch.nn.Tanh(), torch.nn.Linear(32, 1)
        self.model = torch.nn.Sequential(*layers)
        self.criterion = gobj.nn.RecallAtPrecisionLoss(0.7)

    def training_step(self, batch: list[torch.Tensor]) -> torch.Tensor:
        return self.criterion(self.model(batch[0]), batch[1])

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=1.0)


inputs = torch.randn(3, 8192, 8, generator=torch.manual_seed(0))
signal = inputs[..., :3].prod(2, keepdim=True) + inputs[..., 3:4]
labels = (signal + torch.randn(3, 8192, 1) > 1.3).float()
loader = DataLoader(TensorDataset(inputs[0], labels[0]), 256)
ema = EMAWeightAveraging(decay=0.98, use_buffers=False)  # the state is not averaged
for average in ema, StochasticWeightAveraging(swa_lrs=1.0, swa_epoch_start=3):
    module, quiet = Classifier(), {"logger": False, "enable_checkpointing": False}
    lightning.Trainer(max_epochs=6, callbacks=average, **quiet).fit(module, loader)
    scores = module.model(inputs).detach()
    point = gobj.fit_threshold(scores[1], labels[1], gobj.recall_at_precision(0.7))
    for threshold in module.criterion.threshold, point.threshold:
        hit = labels[2][scores[2] > threshold]
        print(f"recall {hit.sum() / labels[2].sum():.2f}, precision {hit.mean():.2f}")
