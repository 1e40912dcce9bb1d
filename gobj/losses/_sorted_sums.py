"""The sum of a hinge, or its square, over all pairs of a positive and a negative, by sorting.

A pair costs where the negative stands above the positive less the hinge's edge. With the positives
moved down by the edge, the distances from all positives below to a place on the line, and the
squares of these, follow from those to the place before: running sums of terms that are not
negative, so that nothing cancels.
"""

import torch
from torch import Tensor

HUGE = 1e18  # an infinite score counts as this, whose square is finite in every dtype


def sorted_potentials(scores: Tensor, weights: Tensor, positive: Tensor, power: int) -> Tensor:
    """Sum the other's weight and the hinge over the pairs of each example, ``[n, labels]``.

    Args:
        scores: Scores, shape ``[n, labels]``; one that is missing counts as some number.
        weights: Weight of each example, shape ``[n, labels]``; a pair has the product.
        positive: Whether each example is one, shape ``[n, labels]``.
        power: 1 for the hinge or 2 for its square.
    """
    wide = scores.double().clamp(-HUGE, HUGE).nan_to_num(0.0)
    # one rounding higher, a pair just on the edge has slope 0 wherever sorting puts it
    edge = torch.where(positive, (wide.detach() - 1).nextafter(wide.new_tensor(torch.inf)), wide)
    places = wide + (edge - wide).detach()
    order = places.detach().argsort(0)
    places, weights = places.gather(0, order), weights.double().gather(0, order)
    positive = positive.gather(0, order)
    gaps = places.diff(dim=0)
    below = _run(torch.where(positive, weights, 0), gaps, power)
    above = _run(torch.where(positive, 0, weights).flip(0), gaps.flip(0), power).flip(0)
    sums = torch.where(positive, above, below)
    return torch.zeros_like(sums).scatter(0, order, sums).to(scores.dtype)


def _run(weights: Tensor, gaps: Tensor, power: int) -> Tensor:
    """Sum weights and powers of the distance over all that comes before each place."""
    mass = weights.cumsum(0)[:-1]
    zero = torch.zeros_like(weights[:1])
    distance = torch.cat((zero, (gaps * mass).cumsum(0)))
    if power == 1:
        return distance
    grown = gaps * (2 * distance[:-1] + gaps * mass)
    return torch.cat((zero, grown.cumsum(0)))
