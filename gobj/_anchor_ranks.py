"""Exact places of scores among thresholds, by a binary search without branches.

``torch.searchsorted`` takes twice as long, most of it for branches that are predicted wrong.
"""

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from gobj._anchor_blocks import settled
from gobj._attached import transforms


class AnchorRanks(NamedTuple):
    """Thresholds in order, two rows of ``width`` per label, 0 for negatives and 1 for positives.

    The largest number fills up the width, which is a power of two. ``quarters``, ``[3, labels]``,
    are the thresholds between quarters of a row, and ``start`` is where a label has its middle.
    """

    width: int
    ordered: Tensor
    quarters: Tensor
    start: Tensor

    def locate(self, scores: Tensor, sides: Tensor) -> Tensor:
        """Return the number of thresholds below each score, plus where its row starts, flat.

        ``scores`` and ``sides`` are ``[n, labels]``; a missing score is above nothing, and a
        missing side is that of a negative.
        """
        place = (sides * (self.width / 2)).nan_to_num_(-self.width / 2).add(self.start)
        part = self.width // 4
        for threshold in self.quarters.unbind(0):
            place = torch.add(place, _above_0(scores - threshold), alpha=part)
        while part > 1:
            part //= 2
            threshold = self.ordered[part - 1 :].index_select(0, place.int().view(-1))
            place = torch.add(place, _above_0(scores - threshold.view(place.shape)), alpha=part)
        return place.int().view(-1)


def _above_0(values: Tensor) -> Tensor:
    """Return 1 where values are above 0, in place of them; a comparison to booleans is slow."""
    # vmap compares nothing in place
    return values.sign_().relu_() if transforms() else values.gt_(0)


def rank_anchors(thresholds: Tensor) -> tuple[AnchorRanks, Tensor]:
    """Sort thresholds ``[labels, anchors]``; return them and their order."""
    ordered, order = thresholds.sort(-1)
    anchors = thresholds.shape[-1]
    width = max(1 << anchors.bit_length(), 4)
    ordered = functional.pad(ordered, (0, width - anchors), value=torch.finfo(ordered.dtype).max)
    quarters = ordered[:, width // 4 - 1 : width - 1 : width // 4].mT.contiguous()
    both = ordered.unsqueeze(1).expand(-1, 2, -1).reshape(-1)
    start = torch.arange(len(thresholds), dtype=ordered.dtype, device=ordered.device)
    start = start * (2 * width) + width / 2
    return AnchorRanks(width, *settled((both, quarters, start))), order


def above(bins: Tensor, order: Tensor) -> Tensor:
    """Sum bins ``[labels, 2, width]`` above each threshold, as these were before sorting."""
    return _unsorted(bins.flip(-1).cumsum(-1).flip(-1)[..., 1:], order)


def below(bins: Tensor, order: Tensor) -> Tensor:
    """Sum bins from each threshold down."""
    return _unsorted(bins.cumsum(-1), order)


def _unsorted(values: Tensor, order: Tensor) -> Tensor:
    order = order.unsqueeze(1).expand(-1, 2, -1)
    return torch.zeros_like(order, dtype=values.dtype).scatter(-1, order, values)
