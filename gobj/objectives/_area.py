"""What all areas under a curve do: pose a problem at each anchor of a range, and step."""

from collections.abc import Callable

from torch import Tensor

from gobj._checks import Reduction, check_range
from gobj._forms import Problem
from gobj._points import OperatingPoints
from gobj._state import AreaState
from gobj._surrogates import Surrogate
from gobj.duals._rule import DualRule
from gobj.objectives._stepped import Given, stepped

Span = tuple[float, float]
ProblemOfAnchors = Callable[[Tensor, OperatingPoints], Problem]


def area_loss(
    function: str,
    build: ProblemOfAnchors,
    span: tuple[str, Span],
    given: Given,
    state: AreaState,
    surrogate: Surrogate | None,
    rule: DualRule,
    reduction: Reduction,
) -> tuple[Tensor, AreaState]:
    """Return the reduced loss and the state for the next batch.

    Args:
        function: Name of the loss.
        build: Builds the problem from the rates at the anchors and the operating points there.
        span: Name and value of the range that the anchors lie in.
        given: Logits, labels, weights and label priors.
        state: State of the area.
        surrogate: Upper bound of the indicator of an error.
        rule: The dual rule.
        reduction: One of torch's.
    """
    check_range(function, *span)

    def posed(points: OperatingPoints) -> Problem:
        anchors = state.anchors.detach().to(points.threshold.dtype)
        return build(rates_at(anchors, span[1]), points)

    return stepped(function, posed, given, state, surrogate, rule, reduction, AreaState)


def rates_at(anchors: Tensor, span: Span) -> Tensor:
    """Return the rates at anchors in a range."""
    low, high = span
    return low + (high - low) * anchors
