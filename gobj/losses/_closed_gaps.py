"""Scores moved together: wide gaps between them are closed, so that a uniform grid stays fine.

Beyond a certain distance, its reach, a surrogate is affine to rounding. There a pair's cost at the
true distance follows from that at any other distance beyond the reach, so a stretch without scores
need not be longer than the reach. A few sure scores, however far, then cost no resolution.
"""

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from gobj._blocks import blocks

SAMPLE = 512


class Parts(NamedTuple):
    """The line of each label cut into a number of parts from ``low`` on, each ``width`` long."""

    low: Tensor
    width: Tensor
    number: int

    def of(self, scores: Tensor) -> Tensor:
        """Return the part of each score, counted through those of all labels, ``[n, labels]``."""
        distances = (scores - self.low).mul_(self.width.reciprocal().to(scores.dtype))
        inside = functional.hardtanh_(distances, 0, self.number - 0.5)
        return in_rows(inside.long(), self.number)


class ClosedGaps(NamedTuple):
    """The line from the lowest score to the highest without some of its parts.

    ``origins`` is the place from which positions in each part count, ``[labels, parts]``. Positions
    end at ``length``, ``[labels, 1]``; ``removed`` is how much is taken out below the consecutive
    parts of that length, ``[labels, parts]``.
    """

    parts: Parts
    origins: Tensor
    length: Tensor
    removed: Tensor

    def removed_below(self, positions: Tensor) -> Tensor:
        """Return how much is taken out below positions ``[labels, m]``."""
        parts = (positions / self.parts.width.unsqueeze(1)).long()
        return self.removed.gather(1, parts.clamp(0, self.parts.number - 1))


def close_gaps(scores: Tensor, reach: float, count: int) -> ClosedGaps:
    """Take out what lies further than ``reach`` above a score and well below the next one.

    The scores, ``[n, labels]``, are finite. One further than ``count * reach / 2`` from the median
    of a sample counts as being there, so that no part is wider than the reach.
    """
    middle = scores[:: max(1, len(scores) // SAMPLE)].median(0).values
    limit = count * reach / 2
    low = torch.maximum(scores.amin(0), middle - limit)
    extent = torch.minimum(scores.amax(0), middle + limit).double() - low
    parts = Parts(low, (extent / count).clamp(min=reach / 2**20), count)
    seen = torch.zeros(len(low) * count, dtype=torch.bool, device=scores.device)
    here = seen.new_ones(())
    for block in blocks(scores):
        part = parts.of(block).reshape(-1)
        seen = seen.scatter(0, part, here.expand_as(part))
    width = parts.width.unsqueeze(1)
    taken = _to_take(seen.view(-1, count), torch.ceil(reach / width))
    removed = taken * width
    by_part = removed[:, -1:].expand_as(removed)
    order = torch.arange(count, device=scores.device)
    by_part = by_part.scatter_reduce(1, order - taken, removed, "amin")
    length = count * width - removed[:, -1:]
    return ClosedGaps(parts, low.unsqueeze(1) + removed, length, by_part)


def in_rows(index: Tensor, size: int) -> Tensor:
    """Let an index ``[n, labels]`` into rows of a size count through the rows of all labels."""
    labels = index.shape[1]
    return index if labels == 1 else index + size * torch.arange(labels, device=index.device)


def _to_take(seen: Tensor, kept: Tensor) -> Tensor:
    """Count the parts that are taken out up to each: those further than ``kept`` after a score.

    The part before a score stays, so that no cell of a grid as fine lies on both sides.
    """
    order = torch.arange(seen.shape[1], device=seen.device)
    last = torch.where(seen, order, 0).cummax(1).values
    before_next = torch.cat((seen[:, 1:], seen[:, :1]), 1)
    return ((order - last > kept) & ~before_next).cumsum(1)
