"""Smooth surrogates at many anchors, for about the price of a few."""

import math
from functools import partial

import torch
from torch import Tensor
from torch.nn import functional

from gobj._anchor_blocks import joined
from gobj._anchor_counts import ranked
from gobj._anchor_examples import Examples
from gobj._anchor_fields import AnchorSplines, cubics, splines_at
from gobj._anchor_grid import AnchorGrid, lay_grid
from gobj._anchor_kernels import Spectra, bends, falls, spectra_at
from gobj._anchored import FURTHEST, Anchored, AnchoredSums, polynomial, sums_of
from gobj._attached import Terms
from gobj._blocks import row_blocks
from gobj._surrogates import CrossEntropy, GeneralizedCrossEntropy

FOLDS = 17.0  # what is taken as affine beyond is off by exp(-FOLDS)
CELL = 0.25  # temperatures between nodes, for thresholds within 40 temperatures of each other
MOST_NODES = 1024
TABLE = 1 << 14  # nodes that are worked on at once, which bounds what they take

Smooth = CrossEntropy | GeneralizedCrossEntropy


class InCells(Anchored):
    """Cross entropy in all its generalizations, on a uniform grid for each label."""

    surrogate: Smooth

    def __init__(self, examples: Examples, thresholds: Tensor, surrogate: Smooth) -> None:
        """Lay the grid."""
        super().__init__(examples, thresholds, surrogate)
        self._reach = reach_of(surrogate)
        self._grid, self._rung = lay_grid(thresholds, self._reach, nodes_of(surrogate))

    def terms(self, coefficients: Tensor) -> tuple[Terms, list[Tensor]]:
        """Tabulate cubics."""
        tables = zip(*self._tables(coefficients), strict=True)
        return partial(_terms, self._grid.nodes), [*self._grid[1:], *map(joined, tables)]

    def _tables(self, coefficients: Tensor) -> list[list[Tensor]]:
        """Tabulate cubics, block by block of labels."""
        nodes = self._grid.nodes
        charges = splines_at(self._grid, self.thresholds, self._reach).spread(coefficients, nodes)
        return [self._cubics(charges[block], block) for block in row_blocks(charges, TABLE)]

    def _cubics(self, charges: Tensor, block: slice) -> list[Tensor]:
        """Sum the surrogates of charges over the nodes of some labels."""
        spectra = self._spectra(bends, block)
        bent = torch.fft.irfft(torch.fft.rfft(charges).mul_(spectra), self._grid.nodes)
        bounded = isinstance(self.surrogate, GeneralizedCrossEntropy)
        return cubics(bent, self.thresholds.dtype, bounded=bounded)

    def sums(self) -> AnchoredSums:
        """Rank the scores among the thresholds, and read the pulls from a histogram of them."""
        counts = ranked(self.examples, self.thresholds, self.surrogate)
        return sums_of((*counts, self._pulls()), self.thresholds.dtype)

    def _pulls(self) -> Tensor:
        mass, upper = self.examples.tally(self._share, self._grid.nodes)
        splines = splines_at(self._grid, self.thresholds, self._reach)
        parts = []
        for block in row_blocks(mass, TABLE):
            field = self._falls(mass[block], upper[block], block)
            parts.append(AnchorSplines(*(x[block] for x in splines)).read(field))
        missing = torch.where(mass[:, 1, -1] != 0, torch.nan, 0.0)
        # rounding may leave less than nothing
        return joined(parts).abs() + missing.view(-1, 1, 1)

    def _falls(self, mass: Tensor, upper: Tensor, block: slice) -> Tensor:
        """Sum the slopes of the surrogates of what is in cells over the nodes of some labels."""
        charges, room = mass - upper, 2 * self._grid.nodes
        charges[..., 1:] += upper[..., :-1]
        spectra = self._spectra(falls, block)
        field: Tensor = torch.fft.irfft(torch.fft.rfft(charges, room).mul_(spectra), room)
        return field[..., : self._grid.nodes]

    def _spectra(self, spectra: Spectra, block: slice) -> Tensor:
        spacing, shape = self._grid.spacing[block], (self._reach, self._grid.nodes)
        return spectra_at(spectra, self.surrogate, spacing, self._rung[block], shape)

    def _share(self, scores: Tensor, sides: Tensor) -> tuple[Tensor, Tensor]:
        """Locate scores, and tell how much of each falls to the node above."""
        cell, place = self._grid.locate(scores, sides)
        return cell, functional.hardtanh_(place, 0, 1)


def reach_of(surrogate: Smooth) -> float:
    """Return the margin beyond which a surrogate is affine to rounding."""
    if isinstance(surrogate, CrossEntropy):
        return FOLDS
    return FOLDS * surrogate.temperature / surrogate.q


def nodes_of(surrogate: Smooth) -> int:
    """Return how many nodes reach from one end of a surrogate's bend to the other."""
    temperature = getattr(surrogate, "temperature", 1.0)
    cells = (2 * reach_of(surrogate) / temperature + 40) / CELL
    return math.ceil(cells / 64) * 64


def _terms(nodes: int, scores: Tensor, sides: Tensor, *constants: Tensor) -> tuple[Tensor, Tensor]:
    """Evaluate value and slope of the cubics."""
    grid = AnchorGrid(nodes, *constants[:4])
    cell, place = grid.locate(scores, sides)
    place = functional.hardtanh_(place, -FURTHEST, FURTHEST)
    value, slope = polynomial(cell, place, constants[4:])
    return value, slope.mul_(grid.density)
