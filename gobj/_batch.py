"""One batch, cleaned: scores, sides and weights, and the averages that become rates."""

import math
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from gobj._checks import (
    Number,
    broadcasts,
    check_labels,
    check_logits,
    kind,
    require,
    spread_weights,
)
from gobj._forms import Rates

LARGEST = 1e38  # a label times this is far beyond 1, unless it is 0


class Batch(NamedTuple):
    """Scores ``[n, *labels]`` in float32 or wider, the side of each, and the weights.

    ``sides`` holds +1 for positives and -1 for negatives. ``mass`` is the total weight, infinite
    where there is none so that averages are 0, and ``share`` the share of positives, both
    ``[*labels]``.
    """

    scores: Tensor
    sides: Tensor
    weights: Tensor | None
    mass: Number
    share: Tensor

    def per_label(self, function: str, argument: str, value: Number) -> Tensor:
        """Cast a number or tensor to the dtype of the scores and to the label shape."""
        labels = self.scores.shape[1:]
        tensor = torch.as_tensor(value, dtype=self.scores.dtype, device=self.scores.device)
        fine = broadcasts(tensor.shape, labels)
        require(fine, function, argument, f"broadcast to {list(labels)}", kind(tensor))
        return tensor.expand(labels)

    def covered(self) -> Number:
        """Return 1, or 0 for labels where nothing has weight: the average of 1."""
        if isinstance(self.mass, Tensor):
            return self.mass.isfinite().to(self.scores.dtype)
        return float(self.mass < math.inf)

    def rate(self, values: Tensor) -> Tensor:
        """Average over examples, ``sum(w x) / sum(w)``; 0 where nothing has weight."""
        weighted = values if self.weights is None else values * self.weights
        return weighted.sum(0) / self.mass

    def rates(self, *values: Tensor) -> tuple[Tensor, ...]:
        """Average several values over examples."""
        weighted = values if self.weights is None else (x * self.weights for x in values)
        return (torch.stack([x.sum(0) for x in weighted]) / self.mass).unbind(0)

    def each(self, values: Tensor) -> Tensor:
        """Scale the losses of examples such that their mean is the mean over labels of the rate."""
        relative = values.shape[0] / self.mass
        return values * (relative if self.weights is None else self.weights * relative)

    def by_class(self, *values: Tensor) -> tuple[tuple[Tensor, ...], ...]:
        """Average several values over examples, as what positives and negatives add to it.

        Returns:
            Those of positives, then those of negatives.
        """
        weighted = values if self.weights is None else [x * self.weights for x in values]
        total = torch.stack([x.sum(0) for x in weighted])
        balance = torch.stack([(x * self.sides).sum(0) for x in weighted])
        double = 2 * self.mass
        return tuple((x / double).unbind(0) for x in (total + balance, total - balance))

    def joint(self, hits: Tensor, alarms: Tensor) -> Rates:
        """Return the joint rates where these shares of the batch are flagged."""
        return Rates(self.share - hits, alarms, hits, 1 - self.share - alarms)


def per_class(sides: Tensor, positives: Number, negatives: Number) -> Tensor:
    """Spread one coefficient per class over the examples, shape ``[n, *labels]``."""
    return (sides * ((positives - negatives) / 2)).add_((positives + negatives) / 2)


def make_batch(function: str, logits: Tensor, labels: Tensor, weights: Number | None) -> Batch:
    """Check and clean a batch: what has weight 0 is replaced, so that it cannot matter."""
    check_logits(function, logits)
    check_labels(function, logits, labels)
    dtype = torch.promote_types(logits.dtype, torch.float32)
    scores, targets = logits.to(dtype), labels.to(dtype)
    mass: Number = scores.shape[0] or math.inf
    if weights is not None:
        weights = spread_weights(function, weights, logits).to(dtype)
        present = weights > 0
        scores = torch.where(present, scores, 0)
        targets = torch.where(present, targets, 0)
        total = weights.expand_as(scores).sum(0)
        mass = torch.where(total > 0, total, math.inf)
    # unlike a comparison, this keeps a NaN loud
    sides = functional.hardtanh_(torch.rsub(targets, -1, alpha=-LARGEST))
    batch = Batch(scores, sides, weights, mass, targets)
    return batch._replace(share=(batch.rate(sides) + batch.covered()) / 2)
