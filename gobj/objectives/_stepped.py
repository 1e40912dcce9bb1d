"""What all losses with a state do: check, clean, let the dual rule step, guard, reduce."""

from collections.abc import Callable
from typing import TypeVar

from torch import Tensor

from gobj._area_points import AreaPoints
from gobj._batch import Batch, make_batch
from gobj._checks import Number, Reduction, check_reduction, require
from gobj._forms import Problem
from gobj._lagrangian import share_of_positives
from gobj._points import OperatingPoints, SinglePoints
from gobj._state import AreaState, DualState, keep_finite, stacked, unstacked
from gobj._surrogates import Surrogate
from gobj.duals._rule import DualRule
from gobj.objectives._initial import check_state

State = TypeVar("State", DualState, AreaState)
Given = tuple[Tensor, Tensor, Number | None, Number | None]  # logits, labels, weights, label priors


def stepped(
    function: str,
    pose: Callable[[OperatingPoints], Problem],
    given: Given,
    state: State,
    surrogate: Surrogate | None,
    rule: DualRule,
    reduction: Reduction,
    expected: type[DualState | AreaState] = DualState,
) -> tuple[Tensor, State]:
    """Return the reduced loss and the state for the next batch."""
    logits, labels, *others = given
    weights, label_priors = (x.detach() if isinstance(x, Tensor) else x for x in others)
    check_reduction(function, reduction)
    batch = make_batch(function, logits, labels, weights)
    check_state(function, state, expected, rule, logits)
    bound = rule.surrogate if surrogate is None else surrogate
    require(isinstance(bound, Surrogate), function, "surrogate", "be a gobj.Surrogate", bound)
    prior = share_of_positives(function, batch, label_priors)
    moving = DualState(state.multiplier, state.threshold, state.statistics)
    old = stacked(moving)
    dual = unstacked(moving, old.to(batch.scores.dtype))
    points: OperatingPoints
    if isinstance(state, AreaState):
        points = AreaPoints(batch, dual.threshold, bound, averaged=reduction == "mean")
    else:
        points = SinglePoints(batch, dual.threshold, bound)
    problem = pose(points)
    elements, constant, moved = rule.step(points, problem, dual, points.spread(prior))
    loss, values = reduced(batch, elements, points.averaged(constant), reduction)
    if moved is dual or not len(logits):
        return loss, state
    after = keep_finite(old, moved, points.spread(values.detach() / batch.covered()))
    still: dict[str, Tensor] = {}
    if isinstance(state, AreaState):
        still = {"anchors": state.anchors.detach().clone()}
    return loss, state._replace(**after._asdict(), **still)


def reduced(
    batch: Batch, elements: Tensor, constant: Number, reduction: Reduction
) -> tuple[Tensor, Tensor]:
    """Return the reduced loss, and the loss of each label; each element lacks the constant."""
    values = batch.rate(elements) + constant * batch.covered()
    if reduction == "mean":
        return (values.mean() if values.numel() else values.sum()), values
    each = batch.each(elements + constant)
    return each.sum() if reduction == "sum" else each, values
