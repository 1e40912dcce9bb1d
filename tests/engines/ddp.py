"""``torchrun`` and DistributedDataParallel, with gradient accumulation."""

import contextlib

import torch
import torch.distributed as dist
from torch.nn.parallel import DistributedDataParallel

from tests.engines import task

parts, folder = task.arguments()
dist.init_process_group("gloo")
loader = task.loader()
model, criterion = DistributedDataParallel(task.model()), task.criterion(parts)
optimizer = torch.optim.SGD(model.parameters(), **task.RATE)
for _ in range(task.EPOCHS):
    for group in task.in_groups(loader, parts):
        optimizer.zero_grad()
        weight = dist.get_world_size() * sum(len(x) for x, _ in group)
        with criterion.accumulating(weight) if parts > 1 else contextlib.nullcontext():
            for i, (x, y) in enumerate(group):
                last = i == len(group) - 1
                with contextlib.nullcontext() if last else model.no_sync():
                    criterion(model(x), y).backward()
        optimizer.step()
task.save(folder, dist.get_rank(), model.module.state_dict(), criterion)
dist.barrier()
dist.destroy_process_group()
