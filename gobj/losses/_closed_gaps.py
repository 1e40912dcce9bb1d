"""Scores moved together: wide gaps between them are closed, so that a uniform grid stays fine.

Beyond a certain distance, its reach, a surrogate is affine to rounding. There a pair's cost at the
true distance follows from that at any other distance beyond the reach, so a stretch without scores
need not be longer than the reach. A few sure scores, however far, then cost no resolution.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from gobj.losses._weighting import nonzero_or_one

SAMPLE = 512


class ClosedGaps(NamedTuple):
    """Positions ``[n, labels]`` of the scores from 0 to ``length``, which is ``[labels, 1]``.

    ``removed`` is how much is taken out below the consecutive parts of that length, each ``part``
    long, ``[labels, parts]``. All are in float64.
    """

    positions: Tensor
    length: Tensor
    part: Tensor
    removed: Tensor

    def removed_below(self, positions: Tensor) -> Tensor:
        """Return how much is taken out below positions ``[labels, m]``."""
        parts = (positions / self.part).long().clamp(0, self.removed.shape[1] - 1)
        return self.removed.gather(1, parts)


def close_gaps(scores: Tensor, reach: float, intervals: int) -> ClosedGaps:
    """Take out what lies further than ``reach`` above a score and well below the next one.

    The scores, ``[n, labels]``, are sorted into intervals. One further than
    ``intervals * reach / 2`` from the median of a sample counts as being there, so that no interval
    is wider than the reach; one that is missing, anywhere.
    """
    scores = scores.nan_to_num(0.0)
    middle = scores[:: max(1, len(scores) // SAMPLE)].median(0).values.double()
    low, high = (end.double() - middle for end in torch.aminmax(scores, dim=0))
    limit = intervals * reach / 2
    low, high = low.clamp(-limit, limit), high.clamp(-limit, limit)
    extent = high - low
    width = nonzero_or_one(extent / (intervals * (1 - 1e-12)))  # the highest score is inside
    distances = torch.minimum((scores.double() - (middle + low)).clamp_(min=0), extent)
    rows = intervals * torch.arange(scores.shape[1], device=scores.device)
    index = ((distances * (1 / width)).long() + rows).reshape(-1)
    seen = torch.zeros(intervals * scores.shape[1], dtype=torch.bool, device=scores.device)
    seen = seen.scatter(0, index, torch.ones_like(index, dtype=torch.bool)).view(-1, intervals)
    width = width.unsqueeze(1)
    taken = _to_take(seen, torch.ceil(reach / width))
    removed = taken * width
    by_part = removed[:, -1:].expand_as(removed)
    by_part = by_part.scatter_reduce(
        1, torch.arange(intervals, device=scores.device) - taken, removed, "amin"
    )
    shift = removed.reshape(-1).index_select(0, index).view(distances.shape)
    length = intervals * width - removed[:, -1:]
    return ClosedGaps(distances - shift, length, width, by_part)


def _to_take(seen: Tensor, kept: Tensor) -> Tensor:
    """Count the intervals that are taken out up to each: those further than ``kept`` after a score.

    The interval before a score stays, so that no cell of a grid as fine lies on both sides.
    """
    order = torch.arange(seen.shape[1], device=seen.device)
    last = torch.where(seen, order, 0).cummax(1).values
    before_next = torch.cat((seen[:, 1:], seen[:, :1]), 1)
    return ((order - last > kept) & ~before_next).cumsum(1)
