"""One job on the ranks of a process group: each holds some of the rows, all decide alike."""

from typing import Any, NamedTuple

import numpy as np
import torch.distributed as dist
from torch import Tensor


class Ranks(NamedTuple):
    """The ranks that share the rows; by default one, which holds all.

    Attributes:
        group: The process group; None is this process alone.
    """

    group: dist.ProcessGroup | None = None

    @property
    def number(self) -> int:
        """Return how many ranks there are."""
        return 1 if self.group is None else dist.get_world_size(self.group)

    @property
    def rank(self) -> int:
        """Return which one this is."""
        return 0 if self.group is None else dist.get_rank(self.group)

    def every(self, value: Any) -> list[Any]:
        """Return the value of each rank, in their order."""
        if self.group is None:
            return [value]
        values: list[Any] = [None] * self.number
        dist.all_gather_object(values, value, group=self.group)
        return values

    def joined(self, rows: "np.ndarray[Any, Any]") -> "np.ndarray[Any, Any]":
        """Return the rows of all ranks, in their order."""
        return np.concatenate(self.every(rows))

    def total(self, values: Tensor) -> Tensor:
        """Add up a tensor over the ranks."""
        if self.group is None:
            return values
        values = values.clone()
        dist.all_reduce(values, group=self.group)
        return values


def ranks_of_engine() -> Ranks:
    """Join the ranks that ``torchrun`` started, if it did."""
    if not dist.is_available() or not dist.is_torchelastic_launched():
        return Ranks()
    if not dist.is_initialized():
        dist.init_process_group("gloo")
    return Ranks(dist.group.WORLD)
