"""Merging the states of shards that trained side by side."""

import math
from collections.abc import Sequence
from typing import Any

import torch

from gobj._checks import require
from gobj._state import AreaState, State, leaves, like, state_dict


def merge_states(states: Sequence[State], shares: Sequence[float] | None = None) -> State:
    r"""Merge the states of shards that trained side by side into one, as their weighted mean.

    .. math:: x = \sum_k p_k x_k \Big/ \sum_k p_k

    What a rule averages over batches is linear in them, so that merged averages are those over all
    shards. A shard without a share does not matter, whatever it holds.

    Args:
        states: States of one rule, label shape and, for areas, anchors.
        shares: Weight :math:`p_k` of each shard, such as its number of examples, at or above 0 and
            not all 0; equal by default.

    Returns:
        A state of new tensors.

    Raises:
        ValueError: If there is no state, states differ in kind, or shares are not as above.

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
    first, differing = states[0], "states that differ"
    alike = all(_kind(state) == _kind(first) for state in states)
    require(alike, "merge_states", "states", "be of one rule, shape and dtype", differing)
    parts = [1.0] * len(states) if shares is None else [float(share) for share in shares]
    requirement = f"hold {len(states)} shares, one per state, at or above 0 and not all 0"
    fine = len(parts) == len(states) and min(parts) >= 0 and 0 < sum(parts) < math.inf
    require(fine, "merge_states", "shares", requirement, repr(parts))
    given = [(state, part / sum(parts)) for state, part in zip(states, parts, strict=True) if part]
    weighed = [[leaf * part for leaf in leaves(state)] for state, part in given]
    means = (torch.stack(same).sum(0) for same in zip(*weighed, strict=True))
    merged: State = like(first, means)
    if isinstance(first, AreaState) and isinstance(merged, AreaState):
        equal = all(torch.equal(first.anchors, state.anchors) for state in states)
        require(equal, "merge_states", "states", "have the same anchors", differing)
        return merged._replace(anchors=first.anchors.clone())
    return merged


def _kind(state: Any) -> list[object]:
    """Tell what states that can be merged have in common."""
    named = state_dict(state)
    same = [(name, leaf.shape, leaf.dtype) for name, leaf in named.items()]
    return [type(state), type(state.statistics), *same]
