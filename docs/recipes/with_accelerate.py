"""Accelerate: a run is resumed with the state of its loss, and a model keeps its threshold."""

import tempfile

import torch
from accelerate import Accelerator
from safetensors.torch import load_model
from torch.utils.data import DataLoader, TensorDataset

import gobj


def network() -> torch.nn.Module:
    """Make a model, with a place for the threshold to deploy."""
    net = torch.nn.Linear(8, 1)
    net.register_buffer("threshold", torch.zeros(1))
    return net


inputs = torch.randn(3, 4096, 8, generator=torch.manual_seed(0))
labels = (inputs.sum(2, keepdim=True) + 2 * torch.randn(3, 4096, 1) > 3).float()
accelerator, model, rows = Accelerator(), network(), TensorDataset(inputs[0], labels[0])
optimizer = torch.optim.Adam(model.parameters(), lr=0.02)
model, optimizer, loader = accelerator.prepare(model, optimizer, DataLoader(rows, 64, shuffle=True))
criterion = gobj.nn.RecallAtPrecisionLoss(0.7).to(accelerator.device)
accelerator.register_for_checkpointing(criterion)
with tempfile.TemporaryDirectory() as folder:
    for epoch in range(10):
        for x, y in loader:
            optimizer.zero_grad()
            accelerator.backward(criterion(model(x), y))
            optimizer.step()
        accelerator.save_state(f"{folder}/{epoch}")  # accelerator.load_state takes it back
    net = accelerator.unwrap_model(model).cpu()
    point = gobj.fit_threshold(net(inputs[1]), labels[1], gobj.recall_at_precision(0.7))
    net.threshold.copy_(point.threshold)
    accelerator.save_model(net, folder)
    load_model(net := network(), f"{folder}/model.safetensors")
hit = labels[2][net(inputs[2]) > net.threshold]
print(f"recall {hit.sum() / labels[2].sum():.2f}, precision {hit.mean():.2f}")
