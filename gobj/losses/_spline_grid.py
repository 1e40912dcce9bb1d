"""A uniform grid that weights are spread over, and values read from, by quintic B-splines.

Splines are polynomials between nodes, so spreading needs the moments of each cell alone. These are
summed in fixed point: integers add up to the same in any order, on any device.
"""

import math
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from gobj.losses._weighting import nonzero_or_one

DEGREE = 5
UNIT = 2.0**60  # of the fixed point


def _pieces() -> list[list[float]]:
    """Return the splines around a cell as polynomials of the distance from the cell's middle.

    Row ``u`` is the spline of the node ``u - 2`` after the cell's left one; column ``p`` is the
    coefficient of the ``p``-th power.
    """
    half = (DEGREE + 1) // 2
    rows = [[0.0] * (DEGREE + 1) for _ in range(DEGREE + 1)]
    for row, node in zip(rows, range(1 - half, half + 1), strict=True):
        for k in range(half - node + 1):
            scale = (-1) ** k * math.comb(DEGREE + 1, k) / math.factorial(DEGREE)
            centre = 0.5 + half - node - k
            for power in range(DEGREE + 1):
                row[power] += scale * math.comb(DEGREE, power) * centre ** (DEGREE - power)
    return rows


PIECES = _pieces()


def spline_spectrum(angle: Tensor) -> Tensor:
    """Return the Fourier transform of the spline's values at the nodes."""
    return (66 + 52 * torch.cos(angle) + 2 * torch.cos(2 * angle)) / 120


def _shifted(values: Tensor, places: int) -> Tensor:
    """Move values to the right along the last dimension."""
    return functional.pad(values, (places, -places))


class SplineGrid(NamedTuple):
    """Where points ``[n, labels]`` lie on two grids per label.

    ``cell`` counts through the cells of all grids; ``offset`` is the distance from the middle of
    the cell, in cells.
    """

    cell: Tensor
    offset: Tensor
    nodes: int

    def spread(self, weights: Tensor) -> tuple[Tensor, Tensor]:
        """Spread weights over the nodes, and sum them in each cell, both ``[labels, 2, nodes]``."""
        unit = torch.linalg.vector_norm(weights, 1, 0, dtype=torch.float64)
        unit = nonzero_or_one(unit) / UNIT
        power = weights * (1 / unit).to(weights.dtype)
        moments = [self._add(power)]
        for _ in range(DEGREE):
            power = power * self.offset
            moments.append(self._add(power))
        pieces = torch.tensor(PIECES, dtype=torch.float64, device=weights.device)
        rows = (pieces @ torch.stack(moments, 2)).unbind(2)
        nodes = torch.stack([_shifted(row, u - DEGREE // 2) for u, row in enumerate(rows)]).sum(0)
        return nodes * unit.view(-1, 1, 1), moments[0] * unit.view(-1, 1, 1)

    def _add(self, values: Tensor) -> Tensor:
        """Add up values in each cell."""
        zeros = self.cell.new_zeros(2 * self.nodes * values.shape[1])
        sums = zeros.scatter_add(0, self.cell.reshape(-1), values.long().reshape(-1))
        return sums.view(-1, 2, self.nodes).double()

    def read(self, coefficients: Tensor) -> Tensor:
        """Evaluate the splines with the coefficients ``[labels, 2, nodes]`` at the points."""
        pieces = torch.tensor(PIECES, dtype=torch.float64, device=coefficients.device)
        near = [_shifted(coefficients, DEGREE // 2 - u) for u in range(DEGREE + 1)]
        powers = pieces.mT @ torch.stack([row.reshape(-1) for row in near])
        first, *others = reversed(powers.to(self.offset.dtype).unbind(0))
        cell, offset = self.cell.reshape(-1), self.offset.reshape(-1)
        value = first.index_select(0, cell)
        for power in others:
            value = torch.addcmul(power.index_select(0, cell), value, offset)
        return value.view(self.offset.shape)

    def at_cells(self, values: Tensor) -> Tensor:
        """Return the points' values among those of the cells, ``[labels, 2, nodes]``."""
        found = values.reshape(-1).index_select(0, self.cell.reshape(-1))
        return found.view(self.offset.shape).to(self.offset.dtype)
