"""What all constrained losses do: check, clean, let the dual rule step, guard, reduce."""

from collections.abc import Callable

import torch
from torch import Tensor

from gobj._batch import Batch, make_batch
from gobj._checks import Number, Reduction, check_reduction, check_target, require
from gobj._forms import Problem
from gobj._lagrangian import share_of_positives
from gobj._state import DualState, cast, keep_finite
from gobj._surrogates import Surrogate
from gobj.duals._rule import DualRule
from gobj.duals.frozen import FrozenDual
from gobj.duals.implicit import ImplicitMultiplier

DEFAULT_RULE = ImplicitMultiplier()


def init_state(
    labels: tuple[int, ...] = (),
    *,
    rule: DualRule = DEFAULT_RULE,
    device: torch.device | str | None = None,
    dtype: torch.dtype = torch.float32,
) -> DualState:
    r"""Make the state of an objective before its first batch: multiplier 1, threshold 0.

    .. math:: \lambda_0 = 1, \qquad b_0 = 0

    Args:
        labels: Label shape: ``()`` for logits ``[n]``, ``(L,)`` for logits ``[n, L]``.
        rule: The dual rule that the state is for.
        device: Where the tensors live.
        dtype: float32 or wider, whatever the dtype of the logits.

    Returns:
        A :class:`DualState` of tensors of shape ``labels``.

    Raises:
        ValueError: If ``dtype`` is narrower than float32 or ``rule`` is not a dual rule.

    Example:
        >>> import gobj
        >>> gobj.init_state((3,)).threshold
        tensor([0., 0., 0.])

    References:
        The explicit state follows `optax <https://github.com/google-deepmind/optax>`_.
    """
    wide = dtype in (torch.float32, torch.float64)
    require(wide, "init_state", "dtype", "be torch.float32 or torch.float64", dtype)
    check_rule("init_state", rule)
    zero = torch.zeros(labels, dtype=dtype, device=device)
    return cast(DualState(torch.ones_like(zero), zero, rule.init(zero)), dtype)


def check_rule(function: str, rule: object) -> None:
    """Require a dual rule."""
    require(isinstance(rule, DualRule), function, "rule", "be a dual rule", rule)


def check_state(function: str, state: object, rule: DualRule, logits: Tensor) -> None:
    """Require a state of the rule and of the logits' label shape."""
    check_rule(function, rule)
    require(isinstance(state, DualState), function, "state", "come from init_state", type(state))
    assert isinstance(state, DualState)
    expected, got = type(rule.init(state.threshold)), type(state.statistics)
    same = expected is got or isinstance(rule, FrozenDual)
    requirement = f"come from init_state(rule={type(rule).__name__}(...))"
    require(same, function, "state", requirement, got.__name__)
    shapes = state.multiplier.shape == state.threshold.shape == logits.shape[1:]
    requirement = f"have the label shape {list(logits.shape[1:])}"
    require(shapes, function, "state", requirement, list(state.threshold.shape))


def pose(
    function: str, builder: Callable[[Number], Problem], target: tuple[str, Number], batch: Batch
) -> Problem:
    """Check a named target against the batch and build its problem."""
    name, value = target
    check_target(function, name, value)
    known = batch.per_label(function, name, value) if isinstance(value, Tensor) else value
    return builder(known)


def constrained_loss(
    builder: Callable[[Number], Problem],
    target: tuple[str, Number],
    given: tuple[Tensor, Tensor, Number | None, Number | None],
    state: DualState,
    surrogate: Surrogate | None,
    rule: DualRule,
    reduction: Reduction,
) -> tuple[Tensor, DualState]:
    """Return the reduced loss and the state for the next batch.

    ``given`` holds logits, labels, weights and label priors.
    """
    function = f"{builder.__name__}_loss"
    logits, labels, weights, label_priors = given
    check_reduction(function, reduction)
    batch = make_batch(function, logits, labels, weights)
    check_state(function, state, rule, logits)
    problem = pose(function, builder, target, batch)
    prior = share_of_positives(function, batch, label_priors)
    incoming = cast(state, batch.scores.dtype)
    bound = rule.surrogate if surrogate is None else surrogate
    require(isinstance(bound, Surrogate), function, "surrogate", "be a gobj.Surrogate", bound)
    elements, constant, moved = rule.step(batch, problem, incoming, bound, prior)
    loss, values = reduced(batch, elements, constant, reduction)
    if moved is incoming or not len(logits):
        return loss, state
    return loss, keep_finite(state, moved, values.detach() / batch.covered())


def reduced(
    batch: Batch, elements: Tensor, constant: Number, reduction: Reduction
) -> tuple[Tensor, Tensor]:
    """Return the reduced loss, and the loss of each label; each element lacks the constant."""
    values = batch.rate(elements) + constant * batch.covered()
    if reduction == "mean":
        return values.mean(), values
    each = batch.each(elements + constant)
    return each.sum() if reduction == "sum" else each, values
