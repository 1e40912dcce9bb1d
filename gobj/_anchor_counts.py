"""Exact sums over the examples above, or below, the thresholds of anchors."""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from gobj._anchor_blocks import add_up, fixed_point, small_blocks
from gobj._anchor_pieces import kinks_of
from gobj._anchor_ranks import above_and_below, rank_anchors
from gobj._surrogates import Hinge, Surrogate, ZeroOne

STEEPEST = 1e6  # score up to which a squared hinge grows steeper


class Examples(NamedTuple):
    """Scores and sides ``[n, labels]``, and weights that broadcast to them or None for 1."""

    scores: Tensor
    sides: Tensor
    weights: Tensor | None

    def tally(self, locate: Callable[[Tensor, Tensor], Tensor], width: int) -> Tensor:
        """Sum the weights in two rows of bins per label, ``[labels, 2, width]`` in float64.

        They are summed as integers, so that the sum does not depend on the order.
        """
        sums, scale = None, self.scores.new_ones((), dtype=torch.float64)
        if self.weights is not None:
            scale = fixed_point(self.weights.abs().expand_as(self.scores).sum(0))
        for rows in small_blocks(self.scores):
            places = locate(self.scores[rows], self.sides[rows])
            integers = torch.ones_like(places)
            if self.weights is not None:
                scaled = (self.weights[rows] * scale).expand_as(self.scores[rows])
                integers = scaled.reshape(-1).long()
            sums = add_up(sums, places, integers, 2 * width * self.scores.shape[1])
        assert sums is not None
        return sums.view(-1, 2, width) / scale.view(-1, 1, 1)

    def moments(self) -> "Examples":
        """Return the same with the weights times the scores as weights."""
        scores = self.scores.clamp(-STEEPEST, STEEPEST)
        return self._replace(weights=scores if self.weights is None else scores * self.weights)


def ranked(examples: Examples, thresholds: Tensor, surrogate: Surrogate) -> tuple[Tensor, ...]:
    """Sum the weights above the thresholds and, unless it is smooth, the slopes of a surrogate.

    Both are ``[labels, 2, anchors]``, row 0 for negatives and row 1 for positives.
    """
    anchors, points, below = thresholds.shape[1], thresholds, thresholds[:, :0]
    if isinstance(surrogate, Hinge):
        points, below = kinks_of(thresholds, surrogate)
    ranks, order = rank_anchors(torch.cat((thresholds, below), 1))

    def split(summed: Examples) -> tuple[Tensor, Tensor]:
        return above_and_below(summed.tally(ranks.locate, ranks.width), order)

    def sloping(above: Tensor, under: Tensor) -> Tensor:
        return torch.stack((above[:, 0, 2 * anchors :], under[:, 1, anchors : 2 * anchors]), 1)

    above, under = split(examples)
    counts = above[..., :anchors]
    if isinstance(surrogate, ZeroOne):
        return counts, torch.zeros_like(counts)
    if not isinstance(surrogate, Hinge):
        return (counts,)
    pulls = sloping(above, under)
    if surrogate.power == 2:
        kinks = points.double().view(-1, 2, anchors).flip(1)
        pulls = 2 * (kinks * pulls - sloping(*split(examples.moments()))).abs()
    return counts, pulls
