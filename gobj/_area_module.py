"""The module form of areas under a curve."""

from typing import Unpack

import torch
from torch import Tensor

from gobj._area_points import AreaPoints
from gobj._batch import Batch
from gobj._checks import check_range
from gobj._forms import LinearForm
from gobj._lagrangian import bounded_elements
from gobj._state import AreaState
from gobj._stateful import Options, StatefulLoss
from gobj._surrogates import Surrogate
from gobj.objectives._area import ProblemOfAnchors, Span, area_loss, rates_at
from gobj.objectives._stepped import Given


class AreaLoss(StatefulLoss):
    """Hold the state of an area loss; see :class:`StatefulLoss` for shapes and options.

    Args:
        problem: Builds the problem from the rates at the anchors and the operating points there.
        span: Name and value of the range that the anchors lie in, two numbers in [0, 1].
        num_labels: Number of labels, each with its own multipliers and thresholds.
        num_anchors: Number of anchors, each with a multiplier and a threshold per label, or a
            tensor of their places in (0, 1), as in :func:`gobj.init_state`.
        **options: Those of :class:`StatefulLoss`.
    """

    def __init__(
        self,
        problem: ProblemOfAnchors,
        span: tuple[str, Span],
        num_labels: int = 1,
        num_anchors: int | Tensor = 8,
        **options: Unpack[Options],
    ) -> None:
        """Make the state; see the class."""
        check_range(type(self).__name__, *span)
        super().__init__(num_labels, num_anchors, **options)
        self.problem, self.span = problem, span

    def _loss(self, given: Given) -> tuple[Tensor, AreaState]:
        return area_loss(
            type(self).__name__,
            self.problem,
            self.span,
            given,
            self.state,
            self.surrogate,
            self.rule,
            self.reduction,
        )

    def _elements(
        self, batch: Batch, prior: Tensor, duals: tuple[Tensor, Tensor], surrogate: Surrogate
    ) -> tuple[Tensor, Tensor]:
        multiplier, threshold = duals
        points = AreaPoints(batch, threshold.detach(), surrogate)
        rates = rates_at(self.state.anchors.to(threshold.dtype), self.span[1])
        form = self.problem(rates, points).lagrangian(multiplier)
        prices = (torch.as_tensor(x).expand_as(rates) for x in form[:2])
        columns = zip(threshold.unbind(-1), *(x.unbind(-1) for x in prices), strict=True)
        elements = torch.zeros_like(batch.scores)
        for at, missed, alarm in columns:
            errors = LinearForm(false_negative=missed, false_positive=alarm)
            elements = elements + bounded_elements(batch, errors, batch.scores - at, surrogate)
        constant = torch.as_tensor(form.constant(points.spread(prior)))
        return elements / rates.shape[-1], constant.mean(-1)
