"""The training state of an objective: a NamedTuple of detached tensors, saved and restored."""

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple, TypeVar

import torch
from torch import Tensor

from gobj._checks import require


class DualState(NamedTuple):
    """What an objective remembers between batches; every tensor has the label shape ``[*labels]``.

    Attributes:
        multiplier: Price of the constraint, at or above 0: how much cost one unit of violation is
            worth. Near 0 the constraint costs nothing. Where it cannot be met, it says nothing.
        threshold: Operating threshold in units of the logit: positive where ``logit > threshold``.
        statistics: What the dual rule keeps for itself, a NamedTuple of tensors.
    """

    multiplier: Tensor
    threshold: Tensor
    statistics: Any


class AreaState(NamedTuple):
    """What an area under a curve remembers; every tensor is ``[*labels, anchors]``.

    Attributes:
        anchors: Where the anchors lie in the range of the area, each in (0, 1).
        multiplier: Price of the constraint at each anchor, at or above 0.
        threshold: Operating threshold of each anchor in units of the logit.
        statistics: What the dual rule keeps for itself, a NamedTuple of tensors.
    """

    anchors: Tensor
    multiplier: Tensor
    threshold: Tensor
    statistics: Any


State = TypeVar("State", DualState, AreaState)


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


def leaves(state: Any) -> list[Tensor]:
    """List the tensors of nested NamedTuples."""
    flat: list[Tensor] = []
    for value in state:
        flat += [value] if isinstance(value, Tensor) else leaves(value)
    return flat


def like(state: Any, values: Iterator[Tensor]) -> Any:
    """Put values in the places of a state's tensors."""
    parts = (next(values) if isinstance(x, Tensor) else like(x, values) for x in state)
    return type(state)(*parts)


def stacked(state: Any) -> Tensor:
    """Stack the tensors of a state, detached: one operation then serves them all."""
    return torch.stack(leaves(state)).detach()


def unstacked(state: State, values: Tensor) -> State:
    """Put stacked values in the places of a state's tensors."""
    filled: State = like(state, iter(values.unbind(0)))
    return filled


def apart(state: State) -> State:
    """Give every tensor of a state memory of its own."""
    copied: State = like(state, (leaf.detach().clone() for leaf in leaves(state)))
    return copied


def keep_finite(old: Tensor, new: State, values: Tensor) -> State:
    """Take the new state, per label, where its tensors and the values of the batch are finite.

    The old one is given as it is stacked, and so decides on the dtype.
    """
    after = torch.stack([*leaves(new), values.expand_as(old[0])]).detach().to(old.dtype)
    usable = after.abs().amax(0) < torch.inf
    return unstacked(new, torch.where(usable, after[:-1], old))


def load_state_dict(state: State, saved: Mapping[str, Tensor]) -> State:
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
    same = own.keys() == saved.keys()
    require(same, "load_state_dict", "saved", f"hold exactly {sorted(own)}", sorted(saved))
    for name, leaf in own.items():
        same = saved[name].shape == leaf.shape
        requirement = f"have shape {list(leaf.shape)} at {name}"
        require(same, "load_state_dict", "saved", requirement, list(saved[name].shape))
    restored: State = like(state, (saved[x].detach().clone().to(own[x]) for x in own))
    return restored
