"""Weighted surrogates of the scores, evaluated together with their slope in the scores."""

from dataclasses import dataclass

import torch
from torch import Tensor

from gobj._attached import attached
from gobj._batch import Batch, per_class
from gobj._surrogates import Surrogate

SUREST = 1e4  # margin on the right side beyond which being right costs no more

Part = tuple[Tensor, Tensor, Tensor]


@dataclass(frozen=True)
class Blend:
    """A sum of surrogates, each of the margin at a threshold and with one weight per class."""

    surrogates: tuple[Surrogate, ...]

    def terms(self, scores: Tensor, sides: Tensor, *constants: Tensor) -> tuple[Tensor, Tensor]:
        """Compute value and slope; the constants of each are threshold and the two weights."""
        parts = []
        for index, surrogate in enumerate(self.surrogates):
            threshold, positives, negatives = constants[3 * index : 3 * index + 3]
            cost, slope = surrogate.terms((scores - threshold) * sides)
            parts.append((per_class(sides, positives, negatives), cost, slope))
        return blended(sides, parts)

    def attached(self, batch: Batch, known: tuple[Tensor, Tensor], *constants: Tensor) -> Tensor:
        """Return values that are known, with their slopes, as differentiable in the scores."""
        return attached(batch.scores, known, self.terms, batch.sides, *constants)


@dataclass(frozen=True)
class Opposite(Surrogate):
    """Bound of the indicator of a success: a surrogate of the margin with its sign reversed."""

    surrogate: Surrogate

    def terms(self, margin: Tensor) -> tuple[Tensor, Tensor]:
        """Compute cost and slope."""
        cost, slope = self.surrogate.terms((-margin).clamp(min=-SUREST))
        return cost, torch.where(margin < SUREST, -slope, 0)


def blended(sides: Tensor, parts: list[Part]) -> tuple[Tensor, Tensor]:
    """Add up weights times cost, and weights times slope in the scores."""
    weights, cost, slope = parts[0]
    value, rise = weights * cost, weights * slope
    for weights, cost, slope in parts[1:]:
        value = torch.addcmul(value, weights, cost)
        rise = torch.addcmul(rise, weights, slope)
    return value, rise.mul_(sides)
