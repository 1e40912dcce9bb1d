"""The examples of some labels, and their weights summed in bins."""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from gobj._anchor_blocks import binned, small_blocks

STEEPEST = 1e6  # score up to which a squared hinge grows steeper


class Examples(NamedTuple):
    """Scores and sides ``[n, labels]``, and weights that broadcast to them or None for 1."""

    scores: Tensor
    sides: Tensor
    weights: Tensor | None

    def of_labels(self, block: slice) -> "Examples":
        """Return the examples of some of the labels."""
        weights = self.weights
        if weights is not None and weights.shape[1] > 1:
            weights = weights[:, block]
        return Examples(self.scores[:, block], self.sides[:, block], weights)

    def moments(self) -> "Examples":
        """Return the same with the weights times the scores as weights."""
        scores = self.scores.clamp(-STEEPEST, STEEPEST)
        return self._replace(weights=scores if self.weights is None else scores * self.weights)

    def tally(
        self, locate: Callable[[Tensor, Tensor], tuple[Tensor, ...]], width: int
    ) -> list[Tensor]:
        """Sum the weights, and parts of them, in two rows of bins per label.

        Args:
            locate: Returns, for scores and sides, flat bins and any shares of weight to sum too.
            width: Bins in a row.

        Returns:
            Sums of the weights and of each share of them, ``[labels, 2, width]`` in float64.
        """
        bins = 2 * width * self.scores.shape[1]
        sums: list[Tensor] = []
        for rows in small_blocks(self.scores):
            places, *shares = locate(self.scores[rows], self.sides[rows])
            one = torch.ones((), dtype=torch.float64, device=places.device)
            values = [one.expand(self.scores[rows].shape), *shares]
            if self.weights is not None:
                weights = self.weights[rows].double()
                values = [value * weights for value in values]
            flat = [value.double().reshape(-1) for value in values]
            if sums:
                sums = [total.index_add_(0, places, x) for total, x in zip(sums, flat, strict=True)]
            else:
                sums = [binned(places, x, bins) for x in flat]
        return [total.view(-1, 2, width) for total in sums]
