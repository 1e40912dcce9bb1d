"""Sums over pairs of a positive and a negative of a smooth function of their difference, on a grid.

Each class is spread over a uniform grid by splines, one convolution by FFT sums over all pairs of
nodes, and the same splines read the result back at the scores. Dividing by the spline's own
spectrum, once for each side, makes this the spline interpolation of the kernel in both arguments,
with a relative error of the slopes of about ``1e-3 (h / T) ** 4`` with cubic splines and
``1e-4 (h / T) ** 6`` with quintic ones, for nodes ``h`` apart and a kernel of width ``T``.
"""

import math
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from gobj._blocks import blocks
from gobj._splines import spline_spectrum
from gobj._surrogates import GeneralizedCrossEntropy, Surrogate
from gobj.losses._closed_gaps import close_gaps, in_rows
from gobj.losses._spline_grid import Points, polynomials, spread
from gobj.losses._weighting import nonzero_or_one

MARGIN = 32  # cells on either side, within which the kernel's jump where it wraps around rings out
FEW, MANY = 2048, 4096  # nodes of a grid, and how many scores ask for the second number
MANY_SCORES = 2**16


@dataclass(frozen=True)
class Kernel:
    """A surrogate, or its derivative of some order, as a function of the difference in a pair."""

    surrogate: Surrogate
    order: int = 0

    @property
    def derivative(self) -> "Kernel":
        """The kernel of the next order."""
        return replace(self, order=self.order + 1)

    @property
    def reach(self) -> float:
        """Distance beyond which the surrogate is affine to rounding."""
        if isinstance(self.surrogate, GeneralizedCrossEntropy):
            return 40.0 * self.surrogate.temperature / self.surrogate.q
        return 40.0

    def __call__(self, difference: Tensor) -> Tensor:
        """Evaluate the kernel."""
        if self.order == 0:
            return self.surrogate.terms(difference)[0]
        return replace(self, order=self.order - 1).terms(difference)[1]

    def terms(self, difference: Tensor) -> tuple[Tensor, Tensor]:
        """Evaluate the kernel and its derivative together."""
        if self.order == 0:
            return self.surrogate.terms(difference)
        terms: Any = torch.func.vjp(self, difference)
        value, pull = terms
        return value, pull(torch.ones_like(difference))[0]


class Spread(NamedTuple):
    """Weights on the nodes and in the cells, ``[labels, 2, nodes]``, and their Fourier transform.

    The transform is divided by the splines' own, for spreading and for reading.
    """

    nodes: Tensor
    cells: Tensor
    spectrum: Tensor


class KernelGrid(NamedTuple):
    """Points on two grids per label, row 0 for negatives and row 1 for positives.

    The points are in blocks. Nodes are ``spacing`` apart, ``[labels, 1]``, and ``removed`` is how
    much of the line is taken out below each cell, ``[labels, nodes]``.
    """

    points: list[Points]
    spacing: Tensor
    removed: Tensor

    @property
    def degree(self) -> int:
        """Degree of the splines, which leaves the error below the rounding of the scores."""
        return 5 if self.points[0].offset.dtype == torch.float64 else 3

    def spread(self, weights: Tensor) -> Spread:
        """Spread the weights ``[n, labels]`` of the scores over the grids of their classes."""
        labels, nodes = self.removed.shape
        scale = nonzero_or_one(weights.abs().sum(0)).reciprocal() * 2**60
        sums = scale.new_zeros(self.degree + 1, labels * 2 * nodes, dtype=torch.long)
        for points, block in zip(self.points, blocks(weights), strict=True):
            points.add_to(sums, block * scale)
        moments = sums.view(-1, labels, 2, nodes) / scale.view(-1, 1, 1).double()
        on_nodes = spread(moments.flatten(1)).view(labels, 2, nodes)
        angles = torch.linspace(0, math.pi, nodes + 1, dtype=torch.float64, device=scale.device)
        filtered = spline_spectrum(self.degree, angles.cos()).square()
        return Spread(on_nodes, moments[0], torch.fft.rfft(on_nodes, 2 * nodes) / filtered)

    def totals(self, spread: Spread, kernel: Kernel) -> tuple[Tensor, Tensor]:
        """Return the sum over all pairs of weights and kernel, ``[labels]``, and its slopes.

        The slopes, ``[n, labels]``, are by the score per unit of weight.
        """
        value, slope = self._pull(spread, kernel.order, *kernel.terms(self._lags()))
        near = (spread.nodes[:, 1] * value[:, 1]).sum(1)
        below, above, jumps = self._across_gaps(spread, kernel)
        far = (below * above * jumps).sum(1)
        return (near + far).clamp(min=0), self._read(polynomials(self.degree, slope))

    def potentials(self, spread: Spread, kernel: Kernel) -> Tensor:
        """Return for each score the kernel's sum over the other class, ``[n, labels]``.

        A kernel of some order is taken as a derivative by the score itself.
        """
        (value,) = self._pull(spread, kernel.order, kernel(self._lags()))
        table = polynomials(self.degree, value)
        if kernel.order == 0:
            below, above, jumps = self._across_gaps(spread, kernel)
            of_negatives = functional.pad((below * jumps).cumsum(1), (1, 0))
            of_positives = functional.pad(_sum_from(above * jumps), (0, 1))
            table[0] += torch.stack((of_negatives, of_positives), 1).reshape(-1)
        return self._read(table)

    def _read(self, table: Tensor) -> Tensor:
        """Evaluate the polynomials of all cells at the scores."""
        table = table.to(self.points[0].offset.dtype)
        return torch.cat([points.values_of(table) for points in self.points])

    def _lags(self) -> Tensor:
        """Return the differences between two nodes, ``[labels, 2 * nodes]``, negative ones last."""
        size = 2 * self.removed.shape[1]
        device = self.spacing.device
        order: Tensor = torch.fft.fftfreq(size, 1 / size, dtype=torch.float64, device=device)
        return order * self.spacing

    def _pull(self, spread: Spread, order: int, *kernels: Tensor) -> tuple[Tensor, ...]:
        """Sum kernels over the other class's weights on the nodes, ``[labels, 2, nodes]``.

        The kernels are given at the lags and have consecutive orders.
        """
        nodes = self.removed.shape[1]
        turns = [(-1.0) ** (order + k) for k in range(len(kernels))]
        responses = torch.fft.rfft(torch.stack(kernels))
        turned = responses.conj() * self.spacing.new_tensor(turns).view(-1, 1, 1)
        pulled = spread.spectrum.flip(1) * torch.stack((turned, responses), 2)
        sums: Tensor = torch.fft.irfft(pulled, 2 * nodes)
        return sums.narrow(3, 0, nodes).unbind(0)

    def _across_gaps(self, spread: Spread, kernel: Kernel) -> tuple[Tensor, Tensor, Tensor]:
        """Return for each two cells the positives below, the negatives above, and the jump.

        The jump is what closing the gap between the cells took from the surrogate of such a pair;
        the other pairs cost the same at any distance. Each is ``[labels, nodes - 1]``.
        """
        rise = kernel.derivative(torch.full_like(self.spacing, -kernel.reach)).neg()
        below, above = spread.cells[:, 1].cumsum(1), _sum_from(spread.cells[:, 0])
        return below[:, :-1], above[:, 1:], self.removed.diff(dim=1) * rise


def _sum_from(values: Tensor) -> Tensor:
    """Sum from each place to the end."""
    return values.flip(1).cumsum(1).flip(1)


def lay_out(scores: Tensor, positive: Tensor, reach: float) -> KernelGrid:
    """Lay a grid through the scores ``[n, labels]`` of each label.

    Places keep the precision of the scores: they are as if rounded at the size of their range.
    """
    nodes = FEW if len(scores) < MANY_SCORES else MANY
    scores = scores.nan_to_num(0.0)
    gaps = close_gaps(scores, reach, nodes // 2)
    spacing = gaps.length / (nodes - 2 * MARGIN)
    starts = gaps.origins.to(scores.dtype).reshape(-1)
    scale = spacing.squeeze(1).reciprocal().to(scores.dtype)
    points = []
    for block, side in zip(blocks(scores), blocks(positive), strict=True):
        start = starts.index_select(0, gaps.parts.of(block).reshape(-1)).view_as(block)
        places = (block - start).mul_(scale).add_(MARGIN)
        functional.hardtanh_(places, MARGIN - 4, nodes - MARGIN + 4)
        cell = in_rows(torch.add(places.long(), side, alpha=nodes), 2 * nodes)
        points.append(Points(cell, places.frac_().sub_(0.5)))
    middles = torch.arange(nodes, device=scores.device) + (0.5 - MARGIN)
    return KernelGrid(points, spacing, gaps.removed_below(middles * spacing))
