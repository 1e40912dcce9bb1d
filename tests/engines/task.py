"""What every engine trains here, and what one process makes of the joined batches."""

import itertools
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.utils.data import DataLoader, DistributedSampler, TensorDataset

import gobj

ROWS, BATCH, EPOCHS, RANKS = 96, 8, 2, 2  # a batch is that of one rank and one part
RATE = {"lr": 0.5, "momentum": 0.9}


def dataset() -> TensorDataset:
    """Draw the examples, the same on every rank."""
    generator = torch.Generator().manual_seed(0)
    inputs = torch.randn(ROWS, 5, generator=generator)
    noise = torch.randn(ROWS, 1, generator=generator)
    return TensorDataset(inputs, (inputs[:, :1] + noise > 0.5).float())


def loader() -> DataLoader:
    """Load the examples of this rank, in order."""
    data = dataset()
    return DataLoader(data, BATCH, sampler=DistributedSampler(data, shuffle=False))


def model() -> nn.Module:
    """Make the model, with the same first weights on every rank."""
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(5, 4), nn.Tanh(), nn.Linear(4, 1))


def criterion(parts: int) -> Any:
    """Make the loss: under the default rule, or over parts under one that weighs first."""
    rule = None if parts == 1 else gobj.ImplicitMultiplier(order="weigh_first")
    return gobj.nn.RecallAtPrecisionLoss(0.6, rule=rule)


def in_groups(batches: Iterable[Any], parts: int) -> Iterator[list[Any]]:
    """Put parts together that are one step of the optimiser."""
    remaining = iter(batches)
    while group := list(itertools.islice(remaining, parts)):
        yield group


def reference(parts: int) -> dict[str, Any]:
    """Train in one process on the batches of all ranks and parts."""
    net, loss_of = model(), criterion(parts)
    optimizer = torch.optim.SGD(net.parameters(), **RATE)
    inputs, labels = dataset().tensors
    for _ in range(EPOCHS):
        pairs = (x.split(BATCH * RANKS * parts) for x in (inputs, labels))
        for x, y in zip(*pairs, strict=True):
            optimizer.zero_grad()
            loss_of(net(x), y).backward()
            optimizer.step()
    return {"model": net.state_dict(), "state": gobj.state_dict(loss_of.state)}


def arguments() -> tuple[int, Path]:
    """Return the number of parts of a batch, and where each rank saves what it has."""
    return int(sys.argv[1]), Path(sys.argv[2])


def save(folder: Path, rank: int, weights: dict[str, Any], loss_of: Any) -> None:
    """Save what a rank has in the end."""
    torch.save({"model": weights, "state": gobj.state_dict(loss_of.state)}, folder / f"{rank}.pt")
