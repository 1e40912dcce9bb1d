"""Sums of a hinge over anchors, as functions of the score: polynomials between its kinks."""

import torch
from torch import Tensor
from torch.nn import functional

from gobj._anchor_ranks import AnchorRanks, rank_anchors
from gobj._surrogates import Hinge, ZeroOne

Kinked = Hinge | ZeroOne


def kinks_of(thresholds: Tensor, surrogate: Kinked) -> tuple[Tensor, Tensor]:
    """Return the scores at which positives, and then negatives, begin or cease to cost.

    They come as points, and as what is below a score exactly where the score is past the point: on
    a kink a hinge has slope 0, whereas an error is counted.
    """
    edge = 1 if isinstance(surrogate, Hinge) else 0
    points = [thresholds + edge, thresholds - edge]
    below = list(points)
    below[1 - edge] = points[1 - edge].nextafter(thresholds.new_tensor(-torch.inf))
    return torch.cat(points, 1), torch.cat(below, 1)


def pieces_of(
    thresholds: Tensor, coefficients: Tensor, surrogate: Kinked
) -> tuple[AnchorRanks, list[Tensor]]:
    """Return where the pieces lie, where each counts from, and its polynomial from there.

    Args:
        thresholds: Thresholds, shape ``[labels, anchors]``.
        coefficients: Coefficients of negatives and of positives, ``[labels, 2, anchors]``.
        surrogate: A hinge, its square, or the indicator.

    Returns:
        The ranks of the kinks and, flat over all of the ranks' rows, the score that a piece counts
        from and the coefficients from the constant on, linear at least.
    """
    points, below = kinks_of(thresholds, surrogate)
    ranks, order = rank_anchors(below)
    points, order = points.double().gather(1, order).unsqueeze(1), order.unsqueeze(1)
    none = torch.zeros_like(coefficients[:, 0])
    negatives, positives = coefficients.unbind(1)
    rows = torch.cat((none, negatives), 1), torch.cat((positives, none), 1)
    weights = torch.stack(rows, 1).double()
    weights = weights.gather(2, order.expand_as(weights))
    mass, moment, square = (_costing(weights * points**k, ranks.width) for k in range(3))
    rank = torch.arange(ranks.width, device=points.device)
    next_to = torch.stack((rank - 1, rank)).clamp(0, points.shape[2] - 1)
    base = points[:, 0].index_select(1, next_to.view(-1)).view(-1, *next_to.shape)
    mean = moment - base * mass
    square = (square - base * (moment + mean)).clamp(min=0)
    side = torch.tensor([[-1.0], [1.0]], device=points.device)
    by_power = (
        (mass, torch.zeros_like(mass)),
        (side * mean, -side * mass),
        (square, -2 * mean, mass),
    )
    power = surrogate.power if isinstance(surrogate, Hinge) else 0
    tables = (base, *by_power[power])
    return ranks, [table.to(thresholds.dtype).reshape(-1) for table in tables]


def _costing(values: Tensor, width: int) -> Tensor:
    """Sum values ``[labels, 2, kinks]`` by rank: in row 0 below it, in row 1 from it on."""
    negatives, positives = functional.pad(values, (0, width - values.shape[2])).unbind(1)
    below = functional.pad(negatives, (1, -1)).cumsum(1)
    return torch.stack((below, positives.flip(1).cumsum(1).flip(1)), 1)
