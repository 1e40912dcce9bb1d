"""What a dual rule is."""

from abc import ABC, abstractmethod
from typing import Any

from torch import Tensor

from gobj._checks import Number
from gobj._forms import Problem
from gobj._points import OperatingPoints
from gobj._state import DualState
from gobj._surrogates import Surrogate, cross_entropy


class DualRule(ABC):
    """Turn a batch and a state into a loss and the next state; subclasses are frozen dataclasses.

    Attributes:
        surrogate: The surrogate of a loss that is called without one.
    """

    surrogate: Surrogate = cross_entropy

    @abstractmethod
    def init(self, like: Tensor) -> Any:
        """Return the rule's own statistics, a NamedTuple of tensors shaped as ``like``."""

    @abstractmethod
    def step(
        self, points: OperatingPoints, problem: Problem, state: DualState, prior: Tensor
    ) -> tuple[Tensor, Number, DualState]:
        """Return the loss of each example, ``[n, *labels]``, and the state for the next batch.

        Between them stands a constant, a number or ``[*points]``, that each loss lacks. The loss is
        taken at the incoming state, whose threshold is that of the operating points. Callers detach
        and guard what is returned.
        """
