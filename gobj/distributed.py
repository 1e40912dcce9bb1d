"""Batches of many ranks as one batch: what adds up over examples is added up over the ranks.

Losses keep one promise: their mean over the ranks, and that of their gradients, are those of the
joined batch. The mean is what ``DistributedDataParallel`` and FSDP take of gradients.
"""

import importlib
import math
from itertools import accumulate
from typing import Any, Literal

import torch
import torch.distributed as dist
from torch import Tensor
from torch.nn import functional

from gobj._checks import Reduction, refuse

Group = dist.ProcessGroup | None
ModuleGroup = dist.ProcessGroup | Literal["world"] | None


def check_group_of_module(group: object) -> None:
    """Require a group, ``"world"`` or None."""
    if not (group is None or group == "world" or isinstance(group, dist.ProcessGroup)):
        refuse("process_group", "be a process group, 'world' or None", group)


def group_of_module(group: ModuleGroup, logits: Tensor, *, training: bool) -> Group:
    """Return the group of a module that trains; ``"world"`` is all ranks where there are several.

    At rest a module needs no other rank: ranks may evaluate batches of different numbers. Sharded
    logits bring the group of their mesh.
    """
    if not training:
        return None
    if not isinstance(group, str):
        return group
    if not (dist.is_available() and dist.is_initialized()):
        return None
    if is_sharded(logits):
        shards().check_mesh_of_module(logits)
        return None
    return dist.group.WORLD


def is_sharded(tensor: Any) -> bool:
    """Tell whether a tensor is a ``DTensor``, without loading what defines them."""
    return hasattr(tensor, "device_mesh")


def shards() -> Any:
    """Return the module for sharded tensors; what it uses takes half a second to load."""
    return importlib.import_module("gobj.sharded")


def number_of_ranks(group: Group) -> int:
    """Return how many ranks share a batch."""
    if group is None:
        return 1
    if not isinstance(group, dist.ProcessGroup) or dist.get_world_size(group) < 1:
        refuse("process_group", "be a process group that this rank is in, or None", group)
    return dist.get_world_size(group)


def sum_over_ranks(tensors: list[Tensor], group: Group) -> list[Tensor]:
    """Add up tensors of one dtype over the ranks, all of them in one call.

    A gradient is multiplied by the number of ranks, so that its mean over them is that of the sum.
    """
    if number_of_ranks(group) == 1:
        return tensors
    return _as_one(_Sum, tensors, group)


def _as_one(function: Any, tensors: list[Tensor], group: Group) -> list[Tensor]:
    """Apply a function of autograd to tensors laid end to end."""
    joined = function.apply(torch.cat([tensor.flatten() for tensor in tensors]), group)
    parts = joined.split([tensor.numel() for tensor in tensors])
    return [part.view_as(tensor) for part, tensor in zip(parts, tensors, strict=True)]


class _Sum(torch.autograd.Function):
    """A sum over the ranks, whose gradient is that of the own summand for each of them."""

    @staticmethod
    def forward(values: Tensor, group: dist.ProcessGroup) -> Tensor:
        total = values.clone()
        dist.all_reduce(total, group=group)
        return total

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Tensor) -> None:
        ctx.ranks = number_of_ranks(inputs[1])

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Any:
        return gradient * ctx.ranks, None

    @staticmethod
    def jvp(ctx: Any, tangent: Tensor, _: None) -> Any:
        return tangent * ctx.ranks

    @staticmethod
    def vmap(info: Any, in_dims: Any, values: Tensor, group: dist.ProcessGroup) -> Any:
        apply: Any = _Sum.apply
        return apply(values, group), in_dims[0]


def shared_by_ranks(tensors: list[Tensor], group: Group) -> list[Tensor]:
    """Return tensors that are the same on all ranks, whose gradients become the mean over them."""
    needed = torch.is_grad_enabled() and any(tensor.requires_grad for tensor in tensors)
    if number_of_ranks(group) == 1 or not needed:
        return tensors
    return _as_one(_Shared, tensors, group)


class _Shared(torch.autograd.Function):
    """A value that is the same on all ranks; its gradient is their mean."""

    @staticmethod
    def forward(values: Tensor, group: dist.ProcessGroup) -> Tensor:
        return values.clone()

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Tensor) -> None:
        ctx.group = inputs[1]

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Any:
        total = gradient.clone()
        dist.all_reduce(total, group=ctx.group)
        return total / number_of_ranks(ctx.group), None


def check_reduction_of_pairs(reduction: Reduction, group: Group) -> None:
    """Refuse single losses of pairs with rows of other ranks, whose gradients would lack a part."""
    if reduction == "none" and number_of_ranks(group) > 1:
        refuse("reduction", "be 'mean' or 'sum' over several ranks", reduction)


def range_over_ranks(
    low: Tensor, high: Tensor, rows: int, group: Group
) -> tuple[Tensor, Tensor, Tensor]:
    """Return the least and the greatest of all ranks, without a NaN, and the most rows of a rank.

    All of it is one call.
    """
    most = low.new_full((1,), rows)
    if number_of_ranks(group) == 1:
        return low, high, most
    ends = torch.cat((-low.flatten(), high.flatten(), most))
    ends = ends.nan_to_num(-math.inf, math.inf, -math.inf)
    dist.all_reduce(ends, dist.ReduceOp.MAX, group=group)
    number = low.numel()
    return -ends[:number].view_as(low), ends[number:-1].view_as(low), ends[-1:]


def rows_of_ranks(tensors: list[Tensor], group: Group) -> list[Tensor]:
    """Gather rows of every rank, in the order of the ranks: a sum of rows that others leave empty.

    The numbers of rows are read back, so that over several ranks no graph holds all of it. Every
    rank has to give the same tensors, whatever their rows.
    """
    ranks = number_of_ranks(group)
    if ranks == 1:
        return tensors
    sizes = torch.zeros(ranks, dtype=torch.int64, device=tensors[0].device)
    sizes[dist.get_rank(group)] = tensors[0].shape[0]
    ends = list(accumulate(sum_over_ranks([sizes], group)[0].tolist()))
    end = ends[dist.get_rank(group)]
    around = end - tensors[0].shape[0], ends[-1] - end
    padded = [functional.pad(x, (*(0,) * 2 * (x.dim() - 1), *around)) for x in tensors]
    if len({x.dtype for x in padded}) == 1:
        return sum_over_ranks(padded, group)
    return [sum_over_ranks([x], group)[0] for x in padded]
