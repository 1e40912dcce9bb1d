"""A uniform grid that weights are spread over, and values read from, by B-splines.

Splines are polynomials between nodes, so spreading needs the moments of each cell alone. These are
summed as integers, which add up to the same in any order, on any device.
"""

import math
from typing import NamedTuple

import torch
from torch import Tensor


def pieces(degree: int) -> list[list[float]]:
    """Return the splines around a cell as polynomials of the distance from the cell's middle.

    Row ``u`` is the spline of the node ``u - degree // 2`` after the cell's left one; column ``p``
    is the coefficient of the ``p``-th power.
    """
    half = (degree + 1) // 2
    rows = [[0.0] * (degree + 1) for _ in range(degree + 1)]
    for row, node in zip(rows, range(1 - half, half + 1), strict=True):
        for k in range(half - node + 1):
            scale = (-1) ** k * math.comb(degree + 1, k) / math.factorial(degree)
            centre = 0.5 + half - node - k
            for power in range(degree + 1):
                row[power] += scale * math.comb(degree, power) * centre ** (degree - power)
    return rows


PIECES = {degree: pieces(degree) for degree in (3, 5)}
SPECTRA = {3: (2 / 3, 1 / 3), 5: (64 / 120, 52 / 120, 4 / 120)}  # in powers of the cosine


def spline_spectrum(degree: int, angle: Tensor) -> Tensor:
    """Return the Fourier transform of the spline's values at the nodes."""
    cosine = torch.cos(angle)
    first, second, *third = SPECTRA[degree]
    spectrum: Tensor = first + cosine * (second + sum(third) * cosine)
    return spectrum


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
