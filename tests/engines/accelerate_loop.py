"""Accelerate, with gradient accumulation."""

import contextlib

import torch
from accelerate import Accelerator
from torch.utils.data import DataLoader

from tests.engines import task

parts, folder = task.arguments()
accelerator = Accelerator(cpu=True, gradient_accumulation_steps=parts)
model, criterion = task.model(), task.criterion(parts)
optimizer = torch.optim.SGD(model.parameters(), **task.RATE)
loader = DataLoader(task.dataset(), task.BATCH)
model, optimizer, loader = accelerator.prepare(model, optimizer, loader)
batch = contextlib.ExitStack()
for _ in range(task.EPOCHS):
    for i, (x, y) in enumerate(loader):
        if parts > 1 and i % parts == 0:
            # backward() divides each loss by the number of parts
            batch.enter_context(criterion.accumulating(accelerator.num_processes * len(x)))
        with accelerator.accumulate(model):
            accelerator.backward(criterion(model(x), y))
            if accelerator.sync_gradients:
                batch.close()
            optimizer.step()
            optimizer.zero_grad()
weights = accelerator.unwrap_model(model).state_dict()
task.save(folder, accelerator.process_index, weights, criterion)
accelerator.wait_for_everyone()
accelerator.end_training()
