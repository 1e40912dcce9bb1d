"""Lightning with the pure loss: its state is a value, which two hooks keep in the checkpoint."""

import lightning
import torch
from torch.utils.data import DataLoader, TensorDataset

import gobj


class Classifier(lightning.LightningModule):
    """A model, and the state of its loss."""

    def __init__(self) -> None:
        super().__init__()
        self.model, self.state = torch.nn.Linear(8, 1), gobj.init_state((1,))

    def on_fit_start(self) -> None:
        own = gobj.init_state((1,), device=self.device)
        self.state = gobj.load_state_dict(own, gobj.state_dict(self.state))

    def training_step(self, batch: list[torch.Tensor]) -> torch.Tensor:
        problem, logits = gobj.recall_at_precision(0.7), self.model(batch[0])
        loss, self.state = gobj.constrained_loss(problem, logits, batch[1], self.state)
        return loss

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.Adam(self.parameters(), lr=0.02)

    def on_save_checkpoint(self, checkpoint: dict[str, object]) -> None:
        checkpoint["dual_state"] = gobj.state_dict(self.state)

    def on_load_checkpoint(self, checkpoint: dict[str, object]) -> None:
        self.state = gobj.load_state_dict(self.state, checkpoint["dual_state"])


inputs = torch.randn(1024, 8, generator=torch.manual_seed(0))
labels = (inputs.sum(1, keepdim=True) + 2 * torch.randn(1024, 1) > 3).float()
loader, module = DataLoader(TensorDataset(inputs, labels), 128), Classifier()
lightning.Trainer(max_epochs=10, logger=False, enable_checkpointing=False).fit(module, loader)
print(f"train precision {labels[module.model(inputs) > module.state.threshold.cpu()].mean():.2f}")
