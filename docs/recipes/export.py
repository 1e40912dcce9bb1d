"""Export a training step with its state, save it, load it, and train at another batch size."""

import io

import torch
from torch import Tensor, nn

import gobj


class Step(nn.Module):
    """A model and its loss; the state comes in and goes out as a plain dict of tensors."""

    def __init__(self) -> None:
        super().__init__()
        self.model = nn.Linear(10, 1)

    def forward(self, features: Tensor, labels: Tensor, saved: dict) -> tuple[Tensor, Tensor, dict]:
        logits, state = self.model(features).squeeze(1), gobj.init_state()
        state = gobj.load_state_dict(state, saved)
        loss, state = gobj.recall_at_precision_loss(logits, labels, state, target_precision=0.8)
        return loss, logits, gobj.state_dict(state)


x = torch.randn(10000, 10, generator=torch.manual_seed(0))
y, saved = x[:, :3].sum(1) + torch.randn(10000) > 1.7, gobj.state_dict(gobj.init_state())
rows, original, file = {0: torch.export.Dim("rows", min=2)}, Step(), io.BytesIO()
shapes = {"features": rows, "labels": rows, "saved": dict.fromkeys(saved)}
with torch.no_grad():  # a program with places of "no gradients" in it could not be loaded
    program = torch.export.export(original, (x[:8], y[:8], saved), dynamic_shapes=shapes)
torch.export.save(program, file)
step = torch.export.load(file).module()
optimizer = torch.optim.Adam(step.parameters(), lr=0.05)
for batch in torch.randint(6000, (300, 512)):  # the other rows are held out
    loss, _, saved = step(x[batch], y[batch], saved)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
flagged = step(x[6000:], y[6000:], saved)[1] > saved["threshold"]
print(f"held-out precision {y[6000:][flagged].float().mean():.3f}")
