"""``torchrun`` and fully sharded parameters (FSDP2), with gradient accumulation."""

import contextlib

import torch
import torch.distributed as dist
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard

from tests.engines import task

parts, folder = task.arguments()
dist.init_process_group("gloo")
loader = task.loader()
mesh = init_device_mesh("cpu", (dist.get_world_size(),))
model, criterion = fully_shard(task.model(), mesh=mesh), task.criterion(parts)
optimizer = torch.optim.SGD(model.parameters(), **task.RATE)
for _ in range(task.EPOCHS):
    for group in task.in_groups(loader, parts):
        optimizer.zero_grad()
        weight = dist.get_world_size() * sum(len(x) for x, _ in group)
        with criterion.accumulating(weight) if parts > 1 else contextlib.nullcontext():
            for i, (x, y) in enumerate(group):
                model.set_requires_gradient_sync(i == len(group) - 1)
                criterion(model(x), y).backward()
        optimizer.step()
weights = {name: value.full_tensor() for name, value in model.state_dict().items()}
task.save(folder, dist.get_rank(), weights, criterion)
dist.barrier()
dist.destroy_process_group()
