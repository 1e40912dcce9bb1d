"""States before their first batch, and what a loss requires of a state."""

from typing import overload

import torch
from torch import Tensor

from gobj._checks import broadcasts, require
from gobj._state import AreaState, DualState, apart
from gobj.duals._rule import DualRule
from gobj.duals.frozen import FrozenDual
from gobj.duals.implicit import ImplicitMultiplier

DEFAULT_RULE = ImplicitMultiplier()


@overload
def init_state(
    labels: tuple[int, ...] = (),
    *,
    anchors: None = None,
    rule: DualRule = DEFAULT_RULE,
    device: torch.device | str | None = None,
    dtype: torch.dtype = torch.float32,
) -> DualState: ...


@overload
def init_state(
    labels: tuple[int, ...] = (),
    *,
    anchors: int | Tensor,
    rule: DualRule = DEFAULT_RULE,
    device: torch.device | str | None = None,
    dtype: torch.dtype = torch.float32,
) -> AreaState: ...


def init_state(
    labels: tuple[int, ...] = (),
    *,
    anchors: int | Tensor | None = None,
    rule: DualRule = DEFAULT_RULE,
    device: torch.device | str | None = None,
    dtype: torch.dtype = torch.float32,
) -> DualState | AreaState:
    r"""Make the state of an objective before its first batch: multiplier 1, threshold 0.

    .. math:: \lambda_0 = 1, \qquad b_0 = 0

    Args:
        labels: Label shape: ``()`` for logits ``[n]``, ``(L,)`` for logits ``[n, L]``.
        anchors: For the area under a curve, how many anchors it has, in the middles of as many
            equal parts of its range, or a tensor of places in (0, 1) that broadcasts to
            ``[*labels, anchors]``.
        rule: The dual rule that the state is for.
        device: Where the tensors live.
        dtype: float32 or wider, whatever the dtype of the logits.

    Returns:
        A :class:`DualState` of tensors of shape ``labels``; with anchors an :class:`AreaState`.

    Raises:
        ValueError: If ``dtype`` is narrower than float32, ``rule`` is not a dual rule, or
            ``anchors`` is neither a number above 0 nor a tensor that fits.

    Example:
        >>> import gobj
        >>> gobj.init_state((3,)).threshold
        tensor([0., 0., 0.])
        >>> gobj.init_state(anchors=4).anchors
        tensor([0.1250, 0.3750, 0.6250, 0.8750])

    References:
        The explicit state follows `optax <https://github.com/google-deepmind/optax>`_.
    """
    wide = dtype in (torch.float32, torch.float64)
    require(wide, "init_state", "dtype", "be torch.float32 or torch.float64", dtype)
    check_rule("init_state", rule)
    zero = torch.zeros(labels, dtype=dtype, device=device)
    if anchors is None:
        return apart(DualState(torch.ones_like(zero), zero, rule.init(zero)))
    places = _places(anchors, zero)
    zero = torch.zeros_like(places)
    return apart(AreaState(places, torch.ones_like(zero), zero, rule.init(zero)))


def _places(anchors: int | Tensor, like: Tensor) -> Tensor:
    """Return where the anchors of each label are, ``[*labels, anchors]``."""
    if isinstance(anchors, Tensor):
        shape = torch.Size((*like.shape, *(anchors.shape[-1:] or (1,))))
        some = anchors.is_floating_point() and anchors.dim() > 0 and anchors.numel() > 0
        fine = some and broadcasts(anchors.shape, shape)
        requirement = f"be floating-point places that broadcast to {[*like.shape, 'anchors']}"
        require(fine, "init_state", "anchors", requirement, anchors)
        return anchors.to(like).expand(shape).clone()
    fine = isinstance(anchors, int) and not isinstance(anchors, bool) and anchors > 0
    require(fine, "init_state", "anchors", "be a whole number above 0, or a tensor", anchors)
    evenly = (torch.arange(anchors, dtype=like.dtype, device=like.device) + 0.5) / anchors
    return evenly.expand(*like.shape, anchors).clone()


def check_rule(function: str, rule: object) -> None:
    """Require a dual rule."""
    require(isinstance(rule, DualRule), function, "rule", "be a dual rule", rule)


def check_state(
    function: str,
    state: object,
    expected: type[DualState | AreaState],
    rule: DualRule,
    logits: Tensor,
) -> None:
    """Require a state of the kind and rule that are expected, and of the logits' label shape."""
    check_rule(function, rule)
    origin = "come from init_state" + ("(anchors=...)" if expected is AreaState else "")
    require(isinstance(state, expected), function, "state", origin, type(state))
    assert isinstance(state, DualState | AreaState)
    wanted, got = type(rule.init(state.threshold)), type(state.statistics)
    same = wanted is got or isinstance(rule, FrozenDual)
    requirement = f"come from init_state(rule={type(rule).__name__}(...))"
    require(same, function, "state", requirement, got.__name__)
    shapes = {leaf.shape for leaf in state[:-1]}
    shape = shapes.pop()
    same = not shapes and (shape[:-1] if expected is AreaState else shape) == logits.shape[1:]
    requirement = f"have the label shape {list(logits.shape[1:])}"
    require(same, function, "state", requirement, list(shape))
