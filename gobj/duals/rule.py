"""What a dual rule is: what a loss charges, and how multiplier and threshold follow the batches."""

import copy
from abc import ABC, abstractmethod
from typing import Any, ClassVar, Literal, Self

from torch import Tensor

from gobj._batch import Points, Sums
from gobj.problem import Problem
from gobj.state import AreaState, DualState, State
from gobj.surrogates import Surrogate, cross_entropy

Order = Literal["weigh_first", "update_first"]
ORDERS = "weigh_first", "update_first"


class DualRule(ABC):
    """Decide what a loss charges at a state, and how the state follows the batches.

    Subclasses are frozen dataclasses. What they do is elementwise over the points, ``[*points]``:
    the labels, and for an area the anchors as a last dimension.

    Attributes:
        surrogate: The surrogate of a loss that is called without one; None if the rule has none.
        order: ``"weigh_first"`` takes the loss at the incoming state, ``"update_first"`` at the one
            that is returned, with the examples seen from its ``previous_threshold``.
        statistics: NamedTuple type of what the rule keeps in the state.
        moves: Whether the state follows the batches at all.
        detached: Whether the loss is a constant function of the state.
    """

    surrogate: ClassVar[Surrogate | None] = cross_entropy
    order: Order = "weigh_first"
    statistics: ClassVar[type[Any]]
    moves: bool = True
    detached: ClassVar[bool] = True

    def frozen(self) -> Self:
        """Return this rule as one that takes the loss at a state and leaves the state as it is."""
        rule = copy.copy(self)
        object.__setattr__(rule, "moves", False)  # of a frozen dataclass
        return rule

    @abstractmethod
    def init(self, like: Tensor) -> Any:
        """Return the statistics before the first batch; ``like`` has the shape of the points."""

    @abstractmethod
    def prices(self, problem: Problem, state: DualState | AreaState) -> Any:
        """Return what the loss charges at this state, a NamedTuple of numbers and tensors."""

    @abstractmethod
    def measure(self, points: Points, surrogate: Any) -> Any:
        """Return what charges and sums share: costs and slopes of each example."""

    @abstractmethod
    def charge(self, points: Points, measures: Any, prices: Any) -> tuple[Tensor, Tensor]:
        """Return what each example costs, ``[n, *labels]``, and the derivative in its score."""

    @abstractmethod
    def observe(
        self, points: Points, measures: Any, problem: Problem, state: DualState | AreaState
    ) -> Any:
        """Return the sums that an update needs besides the counts, a NamedTuple of tensors."""

    @abstractmethod
    def update(self, problem: Problem, state: State, means: Sums) -> State:
        """Return the state with multiplier, threshold and statistics one batch later.

        Args:
            problem: At this state.
            state: Before the batch.
            means: The sums divided by the total weight.
        """
