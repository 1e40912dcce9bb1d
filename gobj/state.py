"""The training state of an objective: a NamedTuple of detached tensors, saved and restored."""

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple, TypeVar

import torch
from torch import Tensor

from gobj._checks import Range, refuse


class DualState(NamedTuple):
    """What an objective remembers between batches; every tensor begins with the labels.

    Attributes:
        multiplier: Price of the constraint, at or above 0, ``[*labels]``: how much cost one unit of
            violation is worth. Near 0 the constraint costs nothing. Where it cannot be met, the
            multiplier says nothing.
        threshold: Operating threshold in units of the logit, ``[*labels]``: an example is called
            positive where ``logit > threshold``.
        previous_threshold: The threshold before the last batch, ``[*labels]``; 0 in the classical
            mode.
        statistics: What the dual rule keeps for itself, a NamedTuple of tensors.
    """

    multiplier: Tensor
    threshold: Tensor
    previous_threshold: Tensor
    statistics: Any


class AreaState(NamedTuple):
    """What an area under a curve remembers; every tensor begins with ``[*labels, anchors]``.

    Attributes:
        anchors: Where the anchors lie in the range of the area, each in (0, 1).
        multiplier: Price of the constraint at each anchor, at or above 0.
        threshold: Operating threshold of each anchor in units of the logit.
        previous_threshold: The threshold before the last batch; 0 in the classical mode.
        rates: Running averages of three joint rates at each anchor, ``[*labels, anchors, 3]``:
            positives, true positives and false positives. They start at 0; their ratios count.
        statistics: What the dual rule keeps for itself, a NamedTuple of tensors.
    """

    anchors: Tensor
    multiplier: Tensor
    threshold: Tensor
    previous_threshold: Tensor
    rates: Tensor
    statistics: Any

    def targets(self, span: Range) -> Tensor:
        """Return the targets at the anchors of a range."""
        low, high = span
        return self.anchors if (low, high) == (0, 1) else low + (high - low) * self.anchors


State = TypeVar("State", DualState, AreaState)


def leaves(tree: Any) -> list[Tensor]:
    """List the tensors of nested NamedTuples."""
    found: list[Tensor] = []
    for value in tree:
        if isinstance(value, Tensor):
            found.append(value)
        elif isinstance(value, tuple):
            found += leaves(value)
    return found


def unflatten(tree: Any, tensors: Iterable[Tensor]) -> Any:
    """Put tensors in the places of those of nested NamedTuples; numbers stay."""
    remaining = iter(tensors)

    def rebuilt(value: Any) -> Any:
        if isinstance(value, Tensor):
            return next(remaining)
        return type(value)(*map(rebuilt, value)) if isinstance(value, tuple) else value

    return rebuilt(tree)


def clone(state: State) -> State:
    """Clone every tensor, detached, so that each owns its memory."""
    own: State = unflatten(state, (leaf.detach().clone() for leaf in leaves(state)))
    return own


def cast(tree: Any, dtype: torch.dtype, *, constant: bool = True) -> Any:
    """Convert every tensor, without its gradient if it is to be constant."""
    found = leaves(tree)
    if all(x.dtype == dtype and not (constant and x.requires_grad) for x in found):
        return tree
    tensors = (x.detach() if constant and x.requires_grad else x for x in found)
    return unflatten(tree, (x.to(dtype) for x in tensors))


def keep_usable(old: Any, new: Any, usable: Tensor) -> Any:
    """Take each tensor of the new state at the points that are usable, and else of the old.

    A tensor has the shape of the points, or one dimension more. The old state decides on the dtype.
    """
    wide = usable.unsqueeze(-1)
    pairs = zip(leaves(old), leaves(new), strict=True)
    return unflatten(
        old,
        (
            torch.where(usable if x.dim() == usable.dim() else wide, y.to(x.dtype), x)
            for x, y in pairs
        ),
    )


def state_dict(state: Any) -> dict[str, Tensor]:
    """List the tensors of a state by dotted name, to save them.

    Args:
        state: A state, or any nested NamedTuple of tensors.

    Returns:
        A plain dict of the state's own tensors, which ``torch.save`` and safetensors take. The
        names are those of the module's ``state_dict``.

    Raises:
        AttributeError: If ``state`` is not a NamedTuple.

    Example:
        >>> import gobj
        >>> list(gobj.state_dict(gobj.init_state()))[:4]
        ['multiplier', 'threshold', 'previous_threshold', 'statistics.steps']

    References:
        The counterpart of ``torch.nn.Module.state_dict``; see :func:`load_state_dict`.
    """
    named: dict[str, Tensor] = {}
    for name, value in zip(state._fields, state, strict=True):
        inner = {"": value} if isinstance(value, Tensor) else state_dict(value)
        named |= {f"{name}.{key}".rstrip("."): tensor for key, tensor in inner.items()}
    return named


def load_state_dict(state: State, saved: Mapping[str, Tensor]) -> State:
    """Return a state like ``state`` that holds the saved tensors.

    Args:
        state: A state of the same rule, label shape and anchors, such as a new one; not changed.
        saved: What :func:`state_dict` or that of a module listed; the tensors are copied, with
            dtype and device of ``state``.

    Returns:
        The restored state.

    Raises:
        ValueError: If names, shapes or anchors are not those of ``state``.

    Example:
        >>> import gobj, torch
        >>> saved = gobj.state_dict(gobj.init_state()._replace(threshold=torch.tensor(0.5)))
        >>> gobj.load_state_dict(gobj.init_state(), saved).threshold
        tensor(0.5000)

    References:
        The counterpart of ``torch.nn.Module.load_state_dict``.
    """
    own = state_dict(state)
    saved = {name: tensor for name, tensor in saved.items() if name != "_extra_state"}
    if own.keys() != saved.keys():
        refuse("saved", f"hold exactly {sorted(own)}", sorted(saved))
    for name, leaf in own.items():
        if saved[name].shape != leaf.shape:
            refuse("saved", f"have shape {list(leaf.shape)} at {name}", saved[name])
    if "anchors" in own and not torch.equal(saved["anchors"].to(own["anchors"]), own["anchors"]):
        refuse("saved", "have the anchors of `state`", saved["anchors"])
    restored: State = unflatten(
        state, (saved[name].detach().clone().to(leaf) for name, leaf in own.items())
    )
    return restored
