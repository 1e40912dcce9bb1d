"""What all losses with one constraint do: pose their problem at a target, and step."""

from collections.abc import Callable

from torch import Tensor

from gobj._batch import Batch
from gobj._checks import Number, Reduction, check_target
from gobj._forms import Problem
from gobj._points import OperatingPoints
from gobj._state import DualState
from gobj._surrogates import Surrogate
from gobj.duals._rule import DualRule
from gobj.objectives._stepped import Given, stepped


def pose(
    function: str, builder: Callable[[Number], Problem], target: tuple[str, Number], batch: Batch
) -> Problem:
    """Check a named target against the batch and build its problem."""
    name, value = target
    check_target(function, name, value)
    fixed = isinstance(value, Tensor)
    known = batch.per_label(function, name, value).detach() if fixed else value
    return builder(known)


def constrained_loss(
    builder: Callable[[Number], Problem],
    target: tuple[str, Number],
    given: Given,
    state: DualState,
    surrogate: Surrogate | None,
    rule: DualRule,
    reduction: Reduction,
) -> tuple[Tensor, DualState]:
    """Return the reduced loss and the state for the next batch."""
    function = f"{getattr(builder, '__name__', 'constrained')}_loss"

    def posed(points: OperatingPoints) -> Problem:
        return pose(function, builder, target, points.batch)

    return stepped(function, posed, given, state, surrogate, rule, reduction)
