"""The scores of a batch on the grid of its anchors, and what anchors read from there."""

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from gobj._anchor_blocks import add_up, fixed_point, small_blocks
from gobj._anchor_counts import Examples
from gobj._anchor_fields import Smooth, half_bends, slopes
from gobj._anchor_grid import AnchorGrid

HALF = 31  # bits


class Histogram(NamedTuple):
    """Mass in each cell, and what of it falls to the node above: ``[labels, 2, nodes]``.

    Row 0 is for negatives and row 1 for positives.
    """

    grid: AnchorGrid
    mass: Tensor
    upper: Tensor

    def charges(self) -> Tensor:
        """Split the mass of each cell between the nodes next to it."""
        return self.mass - self.upper + functional.pad(self.upper, (1, -1))

    def pulls(
        self, thresholds: Tensor, surrogate: Smooth, ladder: tuple[list[float], Tensor]
    ) -> Tensor:
        """Sum the slopes of a surrogate of the margin, sign reversed, ``[labels, 2, anchors]``."""
        # seen from a threshold, the cost of a positive falls to the left
        around = self.grid.nodes // 2  # room, so that what is near one end has no effect at another
        charges = functional.pad(self.charges().flip(1), (around, around))
        bends = half_bends(charges, ladder, surrogate, splines=False)
        rise = slopes(bends)
        cell, place = _cells(self.grid.positions(thresholds) + around)
        left, bend = _read(rise, cell), _read(bends, cell)
        climb = left + place * (2 * bend + place * (_read(bends, cell + 1) - bend))
        return climb.flip(1).abs() / self.grid.spacing.view(-1, 1, 1)


def _cells(positions: Tensor) -> tuple[Tensor, Tensor]:
    """Return the cells of positions ``[labels, m]`` and the places in them, for both rows."""
    positions = positions.unsqueeze(1)
    cell = positions.floor()
    return cell.long().expand(-1, 2, -1), positions - cell


def _read(values: Tensor, cell: Tensor) -> Tensor:
    return values.gather(-1, cell)


def histogram(grid: AnchorGrid, examples: Examples) -> Histogram:
    """Sum weights, and what of them falls to the node above, as the halves of one integer each.

    Where something is missing, the label is NaN.
    """
    scores, sides, weights = examples
    bins, sums = 2 * grid.nodes * scores.shape[1], None
    scale = _scales(examples)
    for rows in small_blocks(scores):
        cell, place = grid.locate(scores[rows], sides[rows])
        mass = scale[0].to(place.dtype)
        if weights is not None:
            mass = weights[rows] * torch.where(sides[rows] > 0, scale[1], scale[0])
        upper = functional.hardtanh_(place, 0, 1) * mass
        both = upper.round_().long() + (mass.round().long() << HALF)
        sums = add_up(sums, cell, both.view(-1), bins)
    assert sums is not None
    sums = sums.view(-1, 2, grid.nodes)
    missing = torch.where(sums[:, 1, -1] != 0, torch.nan, 0.0).view(-1, 1, 1)
    each = scale.mT.unsqueeze(-1)
    mass, upper = (sums >> HALF) / each, (sums & ((1 << HALF) - 1)) / each
    return Histogram(grid, mass + missing, upper)


def _scales(examples: Examples) -> Tensor:
    """Return how many units a weight of 1 is, ``[2, labels]``: a class may weigh next to nothing.

    Half of the bits are room for what is rounded up.
    """
    scores, sides, weights = examples
    totals = torch.full((2, 1), max(len(scores), 1), dtype=torch.float64, device=scores.device)
    if weights is not None:
        classes = (sides < 0), (sides > 0)
        totals = torch.stack([(weights * each).sum(0, dtype=torch.float64) for each in classes])
    return fixed_point(totals, 1 << (HALF - 1)).expand(2, scores.shape[1])
