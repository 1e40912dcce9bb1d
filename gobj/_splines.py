"""B-splines on a uniform grid: as polynomials in a cell, and their spectra."""

import math

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


def spline_spectrum(degree: int, cosine: Tensor) -> Tensor:
    """Return the Fourier transform of the spline's values at the nodes, by cosines of the angle."""
    first, second, *third = SPECTRA[degree]
    spectrum: Tensor = first + cosine * (second + sum(third) * cosine)
    return spectrum
