"""Sums of a smooth surrogate over anchors, as functions of the score: piecewise polynomials.

A smooth surrogate is affine to rounding beyond a reach on either side, so its second difference on
a uniform grid is a short bump. Anchors are spread over the grid by splines, one convolution by FFT
sums their bumps, and summing the result twice, from the side where the cost is flat, gives slopes
and values. In between runs the cubic spline through the values at the nodes.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from gobj._anchor_blocks import binned
from gobj._anchor_grid import EDGE, AnchorGrid
from gobj._anchor_kernels import DEGREE
from gobj._kept import kept
from gobj._splines import PIECES


class AnchorSplines(NamedTuple):
    """The nodes around each threshold in the first of a label's rows, and the splines' values.

    Both are ``[labels, 1, anchors, DEGREE + 1]``.
    """

    node: Tensor
    value: Tensor

    def spread(self, coefficients: Tensor, nodes: int) -> Tensor:
        """Spread coefficients ``[labels, 2, anchors]`` over the nodes, ``[labels, 2, nodes]``."""
        charges = (coefficients.unsqueeze(-1) * self.value).double()
        rows = torch.arange(2 * len(coefficients), dtype=torch.int32, device=charges.device)
        places = (self.node + nodes * rows.view(-1, 2, 1, 1)).view(-1)
        return binned(places, charges.view(-1), len(rows) * nodes).view(-1, 2, nodes)

    def read(self, field: Tensor) -> Tensor:
        """Read a field ``[labels, 2, nodes]`` at the thresholds, ``[labels, 2, anchors]``."""
        nodes = self.node.long().expand(-1, 2, -1, -1)
        near = field.gather(-1, nodes.flatten(2)).view(nodes.shape)
        return (near * self.value).sum(-1)


def splines_at(grid: AnchorGrid, thresholds: Tensor, reach: float) -> AnchorSplines:
    """Lay splines around thresholds ``[labels, anchors]``.

    Those whose reach would end beyond the grid are moved to where it does not.
    """
    away = thresholds.double() - grid.middle.unsqueeze(1)
    position = away / grid.spacing.unsqueeze(1) + grid.nodes // 2
    margin = (reach * grid.density + (EDGE - 1)).unsqueeze(1)
    position = position.clamp(margin, grid.nodes - margin).nan_to_num(EDGE)
    offset = (position.frac() - 0.5).unsqueeze(-1).expand(-1, -1, DEGREE)
    powers = torch.cat((torch.ones_like(offset[..., :1]), offset), -1).cumprod(-1)
    value = powers @ kept(_pieces, like=position)
    around = torch.arange(DEGREE + 1, dtype=torch.int32, device=position.device) - DEGREE // 2
    node = position.int().unsqueeze(-1) + around
    return AnchorSplines(node.unsqueeze(1), value.to(thresholds.dtype).unsqueeze(1))


def _pieces(dtype: torch.dtype, device: torch.device) -> Tensor:
    return torch.tensor(PIECES[DEGREE], dtype=dtype, device=device).mT


def cubics(bends: Tensor, dtype: torch.dtype, *, bounded: bool) -> list[Tensor]:
    """Return the coefficients of the cubic in each cell, through all rows, from the constant on.

    They are functions of the place in the cell. Where scores are missing they are NaN. A bounded
    surrogate is flat on the costly side too.

    Args:
        bends: Second derivatives per cell at the nodes, ``[labels, 2, nodes]``.
        dtype: Of the coefficients.
        bounded: Whether the surrogate is bounded.
    """
    bent, rising, sloping, missing = kept(_ends, bends.shape[-1], bounded, like=bends).unbind(0)
    bends = bends * bent
    sums = _from_flat_side(bends)
    value = (_from_flat_side(sums) - sums).add_(bends, alpha=1 / 6).mul_(rising)
    slope = torch.addcmul(missing, torch.sub(sums, bends, alpha=0.5), sloping)
    constant, linear, bend = (x.to(dtype).reshape(-1) for x in (value, slope, bends))
    return [constant, linear, bend / 2, (bend.roll(-1) - bend).mul_(1 / 6)]


def _from_flat_side(steps: Tensor) -> Tensor:
    """Sum steps up to each node such that row 0 is 0 on the left and row 1 on the right."""
    sums = steps.cumsum(-1)
    second = kept(_second_row, like=sums)
    return torch.addcmul(sums, sums[..., -1:], second, value=-1)


def _second_row(dtype: torch.dtype, device: torch.device) -> Tensor:
    return torch.tensor([[0.0], [1.0]], dtype=dtype, device=device)


def _ends(nodes: int, bounded: bool, dtype: torch.dtype, device: torch.device) -> Tensor:
    """Return factors of bends, of values and of slopes, and what is added for what is missing.

    From the ends on all is affine, on the right side of positives all is 0 so that no score,
    however sure, costs anything, and a bounded surrogate is flat to the last bit, as places beyond
    the ends may be as far as can be.
    """
    bent, rising, sloping = torch.ones(3, 2, nodes, dtype=dtype, device=device)
    missing = torch.zeros_like(bent)
    bent[:, :2] = bent[:, -2:] = 0
    rising[1, -2:] = sloping[1, -2:] = 0
    if bounded:
        sloping[0, -2:] = sloping[1, :2] = 0
    missing[1, -1] = torch.nan
    return torch.stack((bent, rising, sloping, missing))
