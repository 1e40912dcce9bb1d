"""Write a model and its threshold into one ONNX file, and run that with onnxruntime."""

import onnxruntime
import torch
from torch import Tensor, nn

import gobj


class Deployed(nn.Module):
    """Score rows and call them; the threshold is a buffer, and so a part of the file."""

    def __init__(self, model: nn.Module, threshold: Tensor) -> None:
        super().__init__()
        self.model = model
        self.register_buffer("threshold", threshold)

    def forward(self, features: Tensor) -> tuple[Tensor, Tensor]:
        logits = self.model(features).squeeze(1)
        return logits, logits > self.threshold


x = torch.randn(10000, 10, generator=torch.manual_seed(0))
y = x[:, :3].sum(1) + torch.randn(10000) > 1.7
model, criterion = nn.Linear(10, 1), gobj.nn.RecallAtPrecisionLoss(0.8)
optimizer = torch.optim.Adam(model.parameters(), lr=0.05)
for batch in torch.randint(4000, (300, 512)):
    optimizer.zero_grad()
    criterion(model(x[batch]).squeeze(1), y[batch]).backward()
    optimizer.step()
held_back = model(x[4000:7000]).squeeze(1).detach(), y[4000:7000]
point = gobj.fit_threshold(*held_back, gobj.recall_at_precision(0.8))
deployed = Deployed(model, point.threshold.float()).eval()
options = {"dynamo": True, "verbose": False, "output_names": ["logit", "flag"]}
shapes = {"features": {0: torch.export.Dim("rows", min=1)}}
program = torch.onnx.export(deployed, (x[:2],), dynamic_shapes=shapes, **options)
session = onnxruntime.InferenceSession(program.model_proto.SerializeToString())
logit, flag = session.run(["logit", "flag"], {"features": x[7000:].numpy()})
print(f"test precision {y[7000:].numpy()[flag].mean():.3f}")
