"""What every example costs at many anchors, for about the price of a few."""

import math
from functools import partial

import torch
from torch import Tensor

from gobj._anchor_blocks import by_rows, label_blocks, settled
from gobj._anchor_fields import Smooth, cubics, half_bends, reach_of, spread_anchors
from gobj._anchor_grid import FURTHEST, AnchorGrid, lay_grid, spacings
from gobj._anchor_pieces import Kinked, pieces_of
from gobj._anchor_ranks import AnchorRanks
from gobj._attached import Terms, attached, evaluation_point
from gobj._batch import per_class
from gobj._surrogates import GeneralizedCrossEntropy, Surrogate, cross_entropy

FOLDS = 17.0  # what is taken as affine beyond is off by exp(-FOLDS)
CELL = 0.25  # temperatures between nodes, for thresholds within 40 temperatures of each other
MOST_NODES = 1024
FEW_ANCHORS, FEW_COSTS = 2, 4096  # up to these, one anchor after the other is as fast


def anchored_costs(
    scores: Tensor,
    sides: Tensor,
    thresholds: Tensor,
    of_positives: Tensor,
    of_negatives: Tensor,
    surrogate: Surrogate,
    rest: Tensor | None = None,
) -> Tensor:
    r"""Sum a surrogate over anchors, in a time that hardly depends on their number.

    .. math:: F(z_i) = \sum_k c_k^{\pm}\, s\bigl(\pm (z_i - b_k)\bigr)
        + r \operatorname{BCE}(z_i)

    A hinge, its square and the indicator are exact. The smooth surrogates run on a grid whose
    spacing follows the range of a label's thresholds: up to 40 temperatures, values are within 1e-6
    of the sum of coefficients or of themselves, and slopes within 1e-5 per temperature, where many
    anchors share the weight; within 2e-6 and 4e-5 where one has all. From there on the error of
    slopes grows with the cube of the range. With few anchors or examples, a surrogate of one's own,
    or a generalized cross entropy of a power below 0.16, anchors are summed one after the other.

    Args:
        scores: Scores, shape ``[n, labels]``; an infinite one counts as a huge one.
        sides: +1 for positives and -1 for negatives, shape of the scores.
        thresholds: Thresholds of the anchors, in any order, shape ``[labels, anchors]``.
        of_positives: Coefficients of positives, at or above 0, shape of the thresholds.
        of_negatives: Coefficients of negatives, likewise.
        surrogate: Upper bound of the indicator of an error.
        rest: Weight of cross entropy, in bits, shape ``[labels]``; None for 0.

    Returns:
        Shape of the scores, differentiable in them alone; NaN where something is missing.
    """
    thresholds = thresholds.detach()
    coefficients = torch.stack((of_negatives, of_positives), 1).detach()
    costs = []
    for block in label_blocks(len(thresholds), 8 * thresholds.shape[1] + 2048):
        at = scores[:, block], sides[:, block], thresholds[block], coefficients[block]
        costs.append(_costs(*at, surrogate, None if rest is None else rest[block].detach()))
    return costs[0] if len(costs) == 1 else torch.cat(costs, 1)


def one_by_one(scores: Tensor, thresholds: Tensor, surrogate: Surrogate) -> bool:
    """Tell whether to take one anchor after the other."""
    anchors = thresholds.shape[1]
    known = isinstance(surrogate, Kinked)
    if isinstance(surrogate, Smooth):
        known = _nodes(surrogate) <= MOST_NODES
    return not known or anchors <= FEW_ANCHORS or anchors * len(scores) <= FEW_COSTS


def _costs(
    scores: Tensor,
    sides: Tensor,
    thresholds: Tensor,
    coefficients: Tensor,
    surrogate: Surrogate,
    rest: Tensor | None,
) -> Tensor:
    terms: Terms = partial(_of_each, surrogate)
    constants = [thresholds, coefficients]
    if not one_by_one(scores, thresholds, surrogate):
        if isinstance(surrogate, Kinked):
            ranks, tables = pieces_of(thresholds, coefficients, surrogate)
            terms, constants = partial(_of_pieces, ranks.width), [*ranks[1:], *tables]
        if isinstance(surrogate, Smooth):
            grid, tables = _cubics(thresholds, coefficients, surrogate)
            terms, constants = partial(_of_cells, grid.nodes), [*grid[1:], *tables]
    if rest is not None:
        terms, constants = partial(_with_rest, terms), [rest, *constants]
    constants = settled(constants)
    known = by_rows(terms, evaluation_point(scores), sides, *constants)
    return attached(scores, known, terms, sides, *constants)


def _cubics(
    thresholds: Tensor, coefficients: Tensor, surrogate: Smooth
) -> tuple[AnchorGrid, list[Tensor]]:
    reach = reach_of(surrogate, FOLDS)
    nodes = _nodes(surrogate)
    grid, rung = lay_grid(thresholds, reach, nodes)
    charges = spread_anchors(grid, thresholds, coefficients, reach)
    bends = half_bends(charges, (spacings(reach, nodes), rung), surrogate, splines=True)
    bounded = isinstance(surrogate, GeneralizedCrossEntropy)
    return grid, cubics(bends, thresholds.dtype, bounded=bounded)


def _with_rest(
    terms: Terms, scores: Tensor, sides: Tensor, rest: Tensor, *constants: Tensor
) -> tuple[Tensor, Tensor]:
    """Add weighted cross entropy to value and slope."""
    value, slope = terms(scores, sides, *constants)
    cost, fall = cross_entropy.terms(scores * sides)
    return torch.addcmul(value, rest, cost), torch.addcmul(slope, rest, fall * sides)


def _nodes(surrogate: Smooth) -> int:
    """Return how many nodes reach from one end of a surrogate's bend to the other."""
    temperature = getattr(surrogate, "temperature", 1.0)
    cells = (2 * reach_of(surrogate, FOLDS) / temperature + 40) / CELL
    return math.ceil(cells / 64) * 64


def _of_each(
    surrogate: Surrogate, scores: Tensor, sides: Tensor, thresholds: Tensor, coefficients: Tensor
) -> tuple[Tensor, Tensor]:
    """Sum value and slope anchor by anchor."""
    near = scores.clamp(-FURTHEST, FURTHEST)
    value, slope = torch.zeros_like(near), torch.zeros_like(near)
    for threshold, both in zip(thresholds.unbind(1), coefficients.unbind(2), strict=True):
        weights = per_class(sides, both[:, 1], both[:, 0])
        cost, fall = surrogate.terms((near - threshold) * sides)
        value, slope = value + weights * cost, slope + weights * sides * fall
    return value, slope


def _of_cells(
    nodes: int, scores: Tensor, sides: Tensor, *constants: Tensor
) -> tuple[Tensor, Tensor]:
    """Evaluate value and slope of the cubics in the cells of a grid."""
    grid = AnchorGrid(nodes, *constants[:5])
    cell, place = grid.locate(scores, sides)
    value, slope = _polynomial(cell, place, constants[5:])
    return value, slope.mul_(grid.density)


def _of_pieces(
    width: int, scores: Tensor, sides: Tensor, *constants: Tensor
) -> tuple[Tensor, Tensor]:
    """Evaluate value and slope of the polynomials between kinks."""
    rank = AnchorRanks(width, *constants[:3]).locate(scores.detach(), sides)
    place = scores - constants[3].index_select(0, rank).view(scores.shape)
    place = place.clamp(-FURTHEST, FURTHEST) + (sides - sides)  # a missing side is loud
    return _polynomial(rank, place, constants[4:])


def _polynomial(cell: Tensor, place: Tensor, tables: tuple[Tensor, ...]) -> tuple[Tensor, Tensor]:
    """Evaluate polynomials, with coefficients in tables from the constant on, and their slopes."""
    value, slope = tables[-1].index_select(0, cell).view(place.shape), None
    for table in reversed(tables[:-1]):
        slope = value if slope is None else torch.addcmul(value, slope, place)
        coefficient = table.index_select(0, cell).view(place.shape)
        value = torch.addcmul(coefficient, value, place)
    assert slope is not None
    return value, slope
