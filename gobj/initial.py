"""States before their first batch."""

from typing import overload

import torch
from torch import Tensor

from gobj._checks import broadcasts, check_count, refuse
from gobj.duals.focus import FocusedCrossEntropy
from gobj.duals.implicit import ImplicitMultiplier
from gobj.duals.rule import DualRule
from gobj.state import AreaState, DualState, clone

DEFAULTS = ImplicitMultiplier(), FocusedCrossEntropy()  # of points, and of areas


@overload
def init_state(
    labels: tuple[int, ...] = (),
    *,
    anchors: None = None,
    rule: DualRule | None = None,
    device: torch.device | str | None = None,
    dtype: torch.dtype = torch.float32,
) -> DualState: ...


@overload
def init_state(
    labels: tuple[int, ...] = (),
    *,
    anchors: int | Tensor,
    rule: DualRule | None = None,
    device: torch.device | str | None = None,
    dtype: torch.dtype = torch.float32,
) -> AreaState: ...


def init_state(
    labels: tuple[int, ...] = (),
    *,
    anchors: int | Tensor | None = None,
    rule: DualRule | None = None,
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
        rule: The dual rule that the state is for; by default :class:`ImplicitMultiplier`, and with
            anchors :class:`FocusedCrossEntropy`.
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
    if not isinstance(labels, tuple | list):
        refuse("labels", "be the label shape, such as (5,)", labels)
    if dtype not in (torch.float32, torch.float64):
        refuse("dtype", "be torch.float32 or torch.float64", dtype)
    rule = chosen_rule(rule, area=anchors is not None)
    zero = torch.zeros(labels, dtype=dtype, device=device)
    if anchors is None:
        return clone(DualState(torch.ones_like(zero), zero, zero, rule.init(zero)))
    places = _places(anchors, zero)
    zero = torch.zeros_like(places)
    rates = zero.new_zeros(*zero.shape, 3)
    return clone(AreaState(places, torch.ones_like(zero), zero, zero, rates, rule.init(zero)))


def _places(anchors: int | Tensor, like: Tensor) -> Tensor:
    """Return where the anchors of each label are, ``[*labels, anchors]``."""
    if not isinstance(anchors, Tensor):
        check_count("anchors", anchors)
        evenly = (torch.arange(anchors, dtype=like.dtype, device=like.device) + 0.5) / anchors
        return evenly.expand(*like.shape, anchors)
    shape = torch.Size((*like.shape, *(anchors.shape[-1:] or (1,))))
    some = anchors.is_floating_point() and anchors.dim() > 0 and anchors.numel() > 0
    if not (some and broadcasts(anchors.shape, shape)):
        wanted = f"be floating-point places that broadcast to {[*like.shape, 'anchors']}"
        refuse("anchors", wanted, anchors)
    return anchors.to(like).expand(shape)


def chosen_rule(rule: DualRule | None, *, area: bool) -> DualRule:
    """Return the rule, or the default one of areas or of points."""
    chosen = DEFAULTS[area] if rule is None else rule
    if not isinstance(chosen, DualRule):
        refuse("rule", "be a dual rule", rule)
    return chosen


def rule_of(state: DualState | AreaState, rule: DualRule | None) -> DualRule:
    """Return the rule, or the default one, and require a state that was made for it."""
    if not isinstance(state, DualState | AreaState):
        refuse("state", "come from init_state", type(state))
    rule = chosen_rule(rule, area=isinstance(state, AreaState))
    if not isinstance(state.statistics, rule.statistics):
        made = f"come from init_state(rule={type(rule).__name__}(...))"
        refuse("state", made, type(state.statistics))
    return rule
