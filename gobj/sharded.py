"""Logits that are sharded over a mesh: each shard by itself, and the whole by the mesh's groups."""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.tensor import DTensor, Partial, Placement, Replicate, Shard

from gobj._batch import Sums
from gobj._checks import refuse
from gobj.problem import Problem
from gobj.state import leaves, unflatten

Placements = tuple[Placement, ...]


class _One(NamedTuple):
    """One tensor."""

    tensor: Tensor


class Layout(NamedTuple):
    """Where logits lie on a mesh: sharded over examples, over labels, or the same everywhere."""

    mesh: DeviceMesh
    placements: Placements
    shape: torch.Size

    def placed(self, value: Tensor, first: int) -> Placements:
        """Return the placements of a tensor whose first dimension is that one of the logits.

        A dimension that broadcasts is the same everywhere.
        """

        def place(of_logits: Placement) -> Placement:
            if isinstance(of_logits, Shard):
                dim = of_logits.dim - first
                if 0 <= dim < value.dim() and value.shape[dim] == self.shape[of_logits.dim]:
                    return Shard(dim)
            return Replicate()

        return tuple(map(place, self.placements))

    def local(self, value: Any, first: int) -> Any:
        """Return the shard of a tensor on this rank; a plain one is the same on all ranks."""
        if not isinstance(value, Tensor):
            return value
        placements = self.placed(value, first)
        # of what other shards use too, they have a part of the gradient
        slopes = [
            Partial() if isinstance(of_logits, Shard) and not isinstance(own, Shard) else own
            for of_logits, own in zip(self.placements, placements, strict=True)
        ]
        whole = value if isinstance(value, DTensor) else replicated(value, self.mesh)
        return whole.redistribute(self.mesh, placements).to_local(grad_placements=slopes)

    def local_tree(self, tree: Any, first: int | None) -> Any:
        """Return the shards of nested NamedTuples; without a first dimension the last are alike."""
        rank = len(self.shape)
        found = leaves(tree)
        firsts = [rank - leaf.dim() if first is None else first for leaf in found]
        return unflatten(tree, map(self.local, found, firsts))

    def whole_tree(self, tree: Any, like: Any) -> Any:
        """Return shards as tensors that are plain, or sharded, as those of the same places were."""
        pairs = zip(leaves(tree), leaves(like), strict=True)
        return unflatten(tree, (self._whole(shard, given) for shard, given in pairs))

    def _whole(self, shard: Tensor, like: Tensor) -> Tensor:
        """Return a shard of a state as a tensor that is plain, or sharded, as the given one was."""
        whole = self._joined(shard, self.placed(like, 1), like.shape)
        if isinstance(like, DTensor):
            return whole.redistribute(like.device_mesh, like.placements)
        full: Tensor = whole.full_tensor()
        return full

    def _joined(self, shard: Tensor, placements: Placements, shape: torch.Size) -> DTensor:
        strides = torch.empty(shape, device="meta").stride()
        return DTensor.from_local(shard, self.mesh, placements, shape=shape, stride=strides)

    def examples(self) -> int | None:
        """Return the dimension of the mesh over which the examples are sharded."""
        found = [i for i, place in enumerate(self.placements) if place == Shard(0)]
        if len(found) > 1:
            refuse("logits", "be sharded over examples in one dimension of their mesh", found)
        return found[0] if found else None

    def group(self, given: Any) -> Any:
        """Return the ranks whose examples are parts of one batch."""
        dim = self.examples()
        if dim is None:
            self._check_group(given)
            return given
        if given is not None:
            refuse("process_group", "be None where the mesh of the logits shards examples", given)
        return self.mesh.get_group(dim)

    def _check_group(self, group: Any) -> None:
        """Refuse a group in which ranks hold other labels."""
        for dim, place in enumerate(self.placements):
            if group is not None and isinstance(place, Shard):
                both = set(dist.get_process_group_ranks(self.mesh.get_group(dim)))
                if len(both & set(dist.get_process_group_ranks(group))) > 1:
                    apart = "not hold ranks between which the labels are sharded"
                    refuse("process_group", apart, group)

    def options(self, given: dict[str, Any]) -> dict[str, Any]:
        """Return the options of a step on a shard."""
        options = given | {"process_group": self.group(given.get("process_group"))}
        firsts = {"weights": 0, "total_weight": 1, "label_priors": None}
        for name, first in firsts.items():
            if isinstance(given.get(name), Tensor):
                (options[name],) = self.local_tree(_One(given[name]), first)
        return options

    def problem(self, problem: Any) -> Any:
        """Return the problem of the labels of a shard; that of an area follows its state."""
        return self.local_tree(problem, None) if isinstance(problem, Problem) else problem

    def loss(self, value: Tensor, local_shape: torch.Size, reduction: str) -> Tensor:
        """Return the loss of the whole, given what a shard adds to it as a part of a batch."""
        dim = self.examples()
        ranks = 1 if dim is None else self.mesh.size(dim)
        if reduction == "none":
            rows = max(local_shape[0], 1) * ranks  # each has been scaled for a mean over its rank
            return self._joined(value * (self.shape[0] / rows), self.placements, self.shape)
        share = 1 / ranks
        if reduction == "mean":
            share *= math.prod(local_shape[1:]) / max(math.prod(self.shape[1:]), 1)
        parts = [Partial() if isinstance(x, Shard) else Replicate() for x in self.placements]
        part = DTensor.from_local(value * share, self.mesh, parts)
        return part.redistribute(self.mesh, [Replicate()] * self.mesh.ndim)


def on_shards(
    step: Callable[..., Any],
    problem: Any,
    logits: DTensor,
    labels: Tensor,
    state: Any,
    **given: Any,
) -> Any:
    """Take one of the steps of a loss on each shard.

    Labels, weights and state are sharded like the logits, or the same on all ranks; a state comes
    back as it came.
    """
    layout = Layout(logits.device_mesh, logits.placements, logits.shape)
    if any(place.is_partial() for place in logits.placements):
        settled = (Replicate() if x.is_partial() else x for x in logits.placements)
        layout = layout._replace(placements=tuple(settled))
    shard = layout.local(logits, 0)
    options = layout.options(given)
    own = layout.problem(problem), shard, layout.local(labels, 0), layout.local_tree(state, 1)
    result = step(*own, **options)
    if isinstance(result, Sums):
        like = unflatten(result, (state.threshold for _ in leaves(result)))  # shaped as the points
        return layout.whole_tree(result, like)
    loss, *after = result if isinstance(result, tuple) else (result,)
    whole = layout.loss(loss, shard.shape, given.get("reduction", "mean"))
    return (whole, layout.whole_tree(after[0], state)) if after else whole


def head_on_shards(
    step: Callable[..., Any],
    problem: Any,
    hidden: Tensor,
    weight: Tensor,
    labels: Tensor,
    state: Any,
    bias: Tensor | None,
    **given: Any,
) -> Any:
    """Take the step of a linear head on each shard of its inputs, and of its rows."""
    sharded: Any = weight if isinstance(weight, DTensor) else hidden
    mesh = sharded.device_mesh
    pairs = zip(*(_placements(x, mesh) for x in (hidden, weight)), strict=True)
    placements = tuple(Shard(1) if row == Shard(0) else place for place, row in pairs)
    layout = Layout(mesh, placements, torch.Size((len(hidden), len(weight))))
    for dim, place in enumerate(placements):
        ranks = mesh.size(dim)
        if place == Shard(1) and (ranks - 1) * -(-len(weight) // ranks) >= len(weight):
            refuse("weight", f"have rows on each of {ranks} ranks", weight)
    inputs, rows = _part(layout, hidden, 0), _part(layout, weight, 1)
    options = layout.options(given)
    options["bias"] = None if bias is None else _part(layout, bias, 1)
    if labels.layout != torch.strided:
        labels = _columns(layout, labels, len(rows))
    else:
        labels = layout.local(labels, 0)
    own = layout.problem(problem), inputs, rows, labels, layout.local_tree(state, 1)
    loss, after = step(*own, **options)
    local_shape = torch.Size((len(inputs), len(rows)))
    return layout.loss(loss, local_shape, "mean"), layout.whole_tree(after, state)


def _placements(value: Tensor, mesh: DeviceMesh) -> list[Placement]:
    """Return over which dimensions of a mesh the rows of a tensor are sharded."""
    if not isinstance(value, DTensor):
        return [Replicate()] * mesh.ndim
    return [place if place == Shard(0) else Replicate() for place in value.placements]


def _part(layout: Layout, value: Tensor, dim: int) -> Tensor:
    """Return a shard of a head; what the others add to its gradient is added to it on the way back.

    Its rows belong to a dimension of the logits.
    """
    own, slopes = [], []
    for place in layout.placements:
        mine = Shard(0) if place == Shard(dim) else Replicate()
        own.append(mine)
        slopes.append(Partial() if isinstance(place, Shard) and place.dim != dim else mine)
    whole = value if isinstance(value, DTensor) else replicated(value, layout.mesh)
    return whole.redistribute(layout.mesh, own).to_local(grad_placements=slopes)


def _columns(layout: Layout, labels: Tensor, number: int) -> Tensor:
    """Return those columns of sparse labels that belong to this rank, others as zeros."""
    if layout.examples() is not None:
        refuse("labels", "be dense where the examples are sharded", labels)
    first, total = 0, layout.shape[1]
    for dim, place in enumerate(layout.placements):
        if place == Shard(1):  # cut as torch.chunk does
            size = -(-total // layout.mesh.size(dim))
            begin = min(layout.mesh.get_local_rank(dim) * size, total)
            first, total = first + begin, min(size, total - begin)
    labels = labels.to_sparse(layout=torch.sparse_coo).coalesce()
    row, column = labels.indices()
    inside = (column >= first) & (column < first + number)
    places = torch.stack((row, (column - first).clamp(0, number - 1)))
    values = labels.values() * inside
    shape = labels.shape[0], number
    return torch.sparse_coo_tensor(places, values, shape, check_invariants=False)


def replicated(value: Tensor, mesh: DeviceMesh) -> DTensor:
    """Return a plain tensor, which is the same on all ranks, as one that is replicated."""
    return DTensor.from_local(value, mesh, [Replicate()] * mesh.ndim)


def check_mesh_of_module(logits: DTensor) -> None:
    """Require a mesh that says which ranks have other examples, for a module of all ranks."""
    mesh = logits.device_mesh
    if mesh.size() < dist.get_world_size() and Shard(0) not in logits.placements:
        named = "be given, or None, where a part of the ranks shards logits over labels alone"
        refuse("process_group", named, "world")
