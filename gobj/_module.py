"""The module form of losses with one constraint per label."""

from collections.abc import Callable
from typing import Unpack

import torch
from torch import Tensor

from gobj._batch import Batch
from gobj._checks import Number, broadcasts, check_target, kind, require
from gobj._forms import Problem
from gobj._lagrangian import bounded_elements
from gobj._state import DualState
from gobj._stateful import Options, StatefulLoss
from gobj._surrogates import Surrogate
from gobj.objectives._constrained import constrained_loss, pose
from gobj.objectives._stepped import Given


class DualLoss(StatefulLoss):
    """Hold the state of a constrained loss; see :class:`StatefulLoss` for shapes and options.

    Args:
        problem: Builder of the problem, such as :func:`gobj.recall_at_precision`.
        target: Name and value of its target, a number in (0, 1) or a tensor ``[num_labels]``.
        num_labels: Number of labels, each with its own multiplier and threshold.
        **options: Those of :class:`StatefulLoss`.
    """

    target: Number

    def __init__(
        self,
        problem: Callable[[Number], Problem],
        target: tuple[str, Number],
        num_labels: int = 1,
        **options: Unpack[Options],
    ) -> None:
        """Make the state; see the class."""
        name, (target_name, value) = type(self).__name__, target
        check_target(name, *target)
        fits = not isinstance(value, Tensor) or broadcasts(value.shape, torch.Size([num_labels]))
        require(fits, name, target_name, f"broadcast to {[num_labels]}", value)
        super().__init__(num_labels, **options)
        self.problem, self.target_name = problem, target_name
        if isinstance(value, Tensor):
            self.register_buffer("target", value.detach().clone())
        else:
            self.target = value

    def _loss(self, given: Given) -> tuple[Tensor, DualState]:
        target = self.target_name, self.target
        return constrained_loss(
            self.problem, target, given, self.state, self.surrogate, self.rule, self.reduction
        )

    def extra_repr(self) -> str:
        """Name the target."""
        return f"{self.target_name}={kind(self.target)}, {super().extra_repr()}"

    def _elements(
        self, batch: Batch, prior: Tensor, duals: tuple[Tensor, Tensor], surrogate: Surrogate
    ) -> tuple[Tensor, Tensor]:
        (multiplier, threshold), target = duals, (self.target_name, self.target)
        form = pose(type(self).__name__, self.problem, target, batch).lagrangian(multiplier)
        elements = bounded_elements(batch, form, batch.scores - threshold, surrogate)
        return elements, form.constant(prior)
