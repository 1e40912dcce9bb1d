"""The training state of an objective: a NamedTuple of detached tensors, saved, restored, merged."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from gobj._checks import require


class DualState(NamedTuple):
    """What an objective remembers between batches; every tensor has the label shape ``[*labels]``.

    Attributes:
        multiplier: Price of the constraint, at or above 0: how much cost one unit of violation is
            worth. Near 0 the constraint is free, at its cap it cannot be met.
        threshold: Operating threshold in units of the logit: positive where ``logit > threshold``.
        statistics: What the dual rule keeps for itself, a NamedTuple of tensors.
    """

    multiplier: Tensor
    threshold: Tensor
    statistics: Any


def state_dict(state: Any) -> dict[str, Tensor]:
    """List the tensors of a state by dotted name, to save them.

    Args:
        state: A state, or any nested NamedTuple of tensors.

    Returns:
        A plain dict of the state's own tensors, which ``torch.save`` and safetensors take.

    Raises:
        AttributeError: If ``state`` is not a NamedTuple.

    Example:
        >>> import gobj
        >>> list(gobj.state_dict(gobj.init_state(rule=gobj.DualAscent())))
        ['multiplier', 'threshold', 'statistics.violation']

    References:
        The counterpart of ``torch.nn.Module.state_dict``; see :func:`load_state_dict`.
    """
    named: dict[str, Tensor] = {}
    for name, value in zip(state._fields, state, strict=True):
        inner = {"": value} if isinstance(value, Tensor) else state_dict(value)
        named |= {f"{name}.{key}".rstrip("."): tensor for key, tensor in inner.items()}
    return named


def map_leaves(function: Callable[..., Tensor], state: Any, *others: Any) -> Any:
    """Apply a function to the tensors that stand in the same place of nested NamedTuples."""
    if isinstance(state, Tensor):
        return function(state, *others)
    parts = zip(state, *others, strict=True)
    return type(state)(*(map_leaves(function, *part) for part in parts))


def cast(state: DualState, dtype: torch.dtype) -> DualState:
    """Detach every tensor and give it the dtype."""
    return like(state, torch.stack(list(state_dict(state).values())).detach().to(dtype))


def like(state: DualState, stacked: Tensor) -> DualState:
    """Return a state whose tensors are the slices of a stack."""
    slices = iter(stacked.unbind(0))
    built: DualState = map_leaves(lambda _: next(slices), state)
    return built


def keep_finite(old: DualState, new: DualState, usable: Tensor) -> DualState:
    """Take the new state, per label, where the batch was usable and left every tensor finite."""
    before, after = (torch.stack(list(state_dict(state).values())) for state in (old, new))
    usable = usable & after.isfinite().all(0)
    return like(old, torch.where(usable, after.to(before.dtype), before).detach())


def load_state_dict(state: DualState, saved: Mapping[str, Tensor]) -> DualState:
    """Return a state like ``state`` that holds the saved tensors.

    Args:
        state: A state of the same rule and label shape, such as a new one; not changed.
        saved: What :func:`state_dict` listed; the tensors are copied, with dtype and device of
            ``state``.

    Returns:
        The restored state.

    Raises:
        ValueError: If names or shapes are not those of ``state``.

    Example:
        >>> import gobj
        >>> state = gobj.init_state()
        >>> gobj.load_state_dict(gobj.init_state(), gobj.state_dict(state)) == state
        True

    References:
        The counterpart of ``torch.nn.Module.load_state_dict``.
    """
    own = state_dict(state)
    missing = sorted(own.keys() ^ saved.keys())
    require(not missing, "load_state_dict", "saved", f"hold exactly {sorted(own)}", missing)
    for name, leaf in own.items():
        same = saved[name].shape == leaf.shape
        requirement = f"have shape {list(leaf.shape)} at {name}"
        require(same, "load_state_dict", "saved", requirement, list(saved[name].shape))
    values = iter(saved[name] for name in own)
    restored: DualState = map_leaves(lambda leaf: next(values).detach().clone().to(leaf), state)
    return restored


def merge_states(states: Sequence[DualState], shares: Sequence[float] | None = None) -> DualState:
    r"""Merge the states of shards that trained side by side into one, as their weighted mean.

    .. math:: x = \sum_k p_k x_k \Big/ \sum_k p_k

    What a rule averages over batches is linear in them, so that merged averages are those over all
    shards.

    Args:
        states: States of one rule and label shape.
        shares: Weight :math:`p_k` of each shard, such as its number of examples; equal by default.

    Returns:
        A state of new tensors.

    Raises:
        ValueError: If there is no state, or not one share per state.

    Example:
        >>> import gobj, torch
        >>> state = gobj.init_state()
        >>> other = state._replace(threshold=torch.tensor(1.0))
        >>> gobj.merge_states([state, other], shares=[1, 3]).threshold
        tensor(0.7500)

    References:
        McMahan et al., `Communication-Efficient Learning of Deep Networks from Decentralized Data
        <https://arxiv.org/abs/1602.05629>`_, AISTATS 2017.
    """
    require(len(states) > 0, "merge_states", "states", "hold at least one state", len(states))
    parts = [1.0] * len(states) if shares is None else list(shares)
    requirement = f"hold {len(states)} shares, one per state"
    require(len(parts) == len(states), "merge_states", "shares", requirement, len(parts))
    shares_of_all = [part / sum(parts) for part in parts]

    def mean(*leaves: Tensor) -> Tensor:
        return torch.stack([x * p for x, p in zip(leaves, shares_of_all, strict=True)]).sum(0)

    merged: DualState = map_leaves(mean, *states)
    return merged
