"""Every score kept: curves that are exact, in memory that grows with the examples."""

import math
from typing import NamedTuple

import torch
from torch import Tensor

from gobj.distributed import Group, rows_of_ranks
from gobj.metrics._curve import Curve, draw, stepped_precision
from gobj.metrics._examples import Examples


class ScoreBuffer(NamedTuple):
    """All scores so far and their weights, detached.

    Attributes:
        scores: One score per example, shape ``[*labels, m]``; ``-inf`` marks an ignored one.
        weights: Weight of each example as a negative and as a positive, shape ``[*labels, 2, m]``.
    """

    scores: Tensor
    weights: Tensor

    def add(self, examples: Examples) -> "ScoreBuffer":
        """Append a batch; an infinite score becomes the largest finite one."""
        dtype = self.scores.dtype
        limits = torch.finfo(dtype)
        scores = examples.scores.to(dtype).clamp(limits.min, limits.max)
        weights = torch.stack(examples.weights_of_classes(dtype))
        scores = examples._replace(scores=scores).scores_or(-math.inf)
        new = ScoreBuffer(scores.movedim(0, -1), weights.movedim((0, 1), (-2, -1)))
        return self.merge(new)

    def merge(self, other: "ScoreBuffer") -> "ScoreBuffer":
        """Concatenate another buffer, in the dtype of this one."""
        pairs = zip(self, other, strict=True)
        return ScoreBuffer(*(torch.cat([mine, its.to(mine.dtype)], -1) for mine, its in pairs))

    def over_ranks(self, group: Group) -> "ScoreBuffer":
        """Concatenate the buffers of all ranks."""
        rows = rows_of_ranks([self.scores.movedim(-1, 0), self.weights.movedim(-1, 0)], group)
        return ScoreBuffer(*(x.movedim(0, -1) for x in rows))

    def points(self) -> Curve:
        """Sort and count; a threshold is the highest score that it leaves negative.

        So it is a number of the logits' own dtype, and comparing in any wider one changes nothing.
        """
        scores, order = self.scores.sort(stable=True, dim=-1, descending=True)
        weights = self.weights.gather(-1, order.unsqueeze(-2).expand_as(self.weights))
        below = torch.cat([scores, torch.full_like(weights[..., 0, :1], -math.inf)], -1)[..., 1:]
        return draw(weights, below, below < scores, scores.isnan().any(-1))

    def average_precision(self, curve: Curve) -> Tensor:
        """Average the precision over the positives, those of a tie together."""
        return stepped_precision(curve)
