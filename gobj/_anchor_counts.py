"""Exact sums over the examples above, or below, the thresholds of anchors."""

import torch
from torch import Tensor

from gobj._anchor_examples import Examples
from gobj._anchor_pieces import kinks_of
from gobj._anchor_ranks import above, below, rank_anchors
from gobj._surrogates import Hinge, Surrogate, ZeroOne


def ranked(examples: Examples, thresholds: Tensor, surrogate: Surrogate) -> tuple[Tensor, ...]:
    """Sum the weights above the thresholds and, unless it is smooth, the slopes of a surrogate.

    Both are ``[labels, 2, anchors]``, row 0 for negatives and row 1 for positives.
    """
    anchors, points, every = thresholds.shape[1], thresholds, thresholds
    if isinstance(surrogate, Hinge):
        points, kinks = kinks_of(thresholds, surrogate)
        every = torch.cat((thresholds, kinks), 1)
    ranks, order = rank_anchors(every)

    def locate(scores: Tensor, sides: Tensor) -> tuple[Tensor]:
        return (ranks.locate(scores, sides),)

    (sums,) = examples.tally(locate, ranks.width)
    counts = above(sums, order)[..., :anchors]
    if isinstance(surrogate, ZeroOne):
        return counts, torch.zeros_like(counts)
    if not isinstance(surrogate, Hinge):
        return (counts,)

    def sloping(sums: Tensor) -> Tensor:
        """Sum over the examples that a kink makes costly."""
        negatives = above(sums, order)[:, 0, 2 * anchors :]
        return torch.stack((negatives, below(sums, order)[:, 1, anchors : 2 * anchors]), 1)

    pulls = sloping(sums)
    if surrogate.power == 2:
        kinks = points.double().view(-1, 2, anchors).flip(1)
        (moments,) = examples.moments().tally(locate, ranks.width)
        pulls = 2 * (kinks * pulls - sloping(moments)).abs()
    return counts, pulls
