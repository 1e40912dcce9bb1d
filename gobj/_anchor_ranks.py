"""Exact places of scores among thresholds, by a binary search without branches.

``torch.searchsorted`` takes twice as long, most of it for branches that are predicted wrong.
"""

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from gobj._anchor_blocks import settled


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
        row = torch.add(self.start, sides, alpha=self.width / 2)
        place = torch.fmax(row, self.start - self.width / 2)  # a missing side stays in its label
        part = self.width // 4
        for threshold in self.quarters.unbind(0):
            place = torch.add(place, (scores - threshold).sign_().relu_(), alpha=part)
        while part > 1:
            part //= 2
            threshold = self.ordered[part - 1 :].index_select(0, place.int().view(-1))
            above = (scores - threshold.view(place.shape)).sign_().relu_()
            place = torch.add(place, above, alpha=part)
        return place.int().view(-1)


def rank_anchors(thresholds: Tensor) -> tuple[AnchorRanks, Tensor]:
    """Sort thresholds ``[labels, anchors]``; return them and their order."""
    ordered, order = thresholds.sort(-1)
    anchors = thresholds.shape[-1]
    width = max(1 << anchors.bit_length(), 4)
    ordered = functional.pad(ordered, (0, width - anchors), value=torch.finfo(ordered.dtype).max)
    quarters = ordered[:, width // 4 - 1 : width - 1 : width // 4].mT.contiguous()
    both = ordered.unsqueeze(1).expand(-1, 2, -1).reshape(-1)
    start = torch.full_like(thresholds[:, 0], width / 2)
    start = start + 2 * width * torch.arange(len(start), device=start.device)
    return AnchorRanks(width, *settled((both, quarters, start))), order


def above_and_below(bins: Tensor, order: Tensor) -> tuple[Tensor, Tensor]:
    """Sum bins ``[labels, 2, width]`` above each threshold and from it down, as before sorting."""
    thresholds = order.shape[-1]
    beyond = bins.flip(-1).cumsum(-1).flip(-1)[..., 1 : thresholds + 1]
    below = bins.cumsum(-1)[..., :thresholds]
    back = order.argsort(-1).unsqueeze(1).expand_as(below)
    return beyond.gather(-1, back), below.gather(-1, back)
