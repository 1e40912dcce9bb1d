"""A uniform grid that weights are spread over, and values read from, by B-splines.

Splines are polynomials between nodes, so spreading needs the moments of each cell alone. These are
summed as integers, which add up to the same in any order, on any device.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from gobj._splines import PIECES


class Points(NamedTuple):
    """Where points ``[m, labels]`` lie: which cell, and how far from its middle in cells."""

    cell: Tensor
    offset: Tensor

    def add_to(self, moments: Tensor, weights: Tensor) -> None:
        """Add weights to the moments ``[degree + 1, cells]``, integers, of their cells."""
        power = weights
        for row in moments:
            row.scatter_add_(0, self.cell.reshape(-1), power.long().reshape(-1))
            power = power * self.offset

    def values_of(self, polynomials: Tensor) -> Tensor:
        """Evaluate the polynomials ``[degree + 1, cells]`` of the points' cells at the points."""
        cell, offset = self.cell.reshape(-1), self.offset.reshape(-1)
        value, *others = (row.index_select(0, cell) for row in polynomials.flip(0).unbind(0))
        for row in others:
            value = torch.addcmul(row, value, offset)
        return value.view_as(self.offset)


def spread(moments: Tensor) -> Tensor:
    """Spread the moments ``[degree + 1, cells]`` of weights over the nodes, one left of each cell.

    Ends of the grid wrap around, as do those of :func:`polynomials`.
    """
    degree = len(moments) - 1
    rows: Tensor = moments.new_tensor(PIECES[degree]) @ moments
    moved = [row.roll(u - degree // 2) for u, row in enumerate(rows.unbind(0))]
    total: Tensor = torch.stack(moved).sum(0)
    return total


def polynomials(degree: int, coefficients: Tensor) -> Tensor:
    """Return the polynomials ``[degree + 1, cells]`` of splines with such coefficients."""
    nodes = coefficients.reshape(-1)
    near = torch.stack([nodes.roll(degree // 2 - u) for u in range(degree + 1)])
    table: Tensor = near.new_tensor(PIECES[degree]).mT @ near
    return table
