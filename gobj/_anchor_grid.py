"""Uniform grids, one per label, around the thresholds of anchors."""

import math
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from gobj._anchor_blocks import settled
from gobj._kept import kept

EDGE = 4  # nodes on either side that a spline at the outermost threshold may touch
STEPS, DOUBLINGS = 6, 4  # spacings for each doubling of the finest, and doublings
RUNGS = STEPS * DOUBLINGS + 1


def ladder(reach: float, nodes: int) -> list[float]:
    """Return the spacings that a grid may have, of eight significant bits each.

    A small multiple of such a number is exact in single precision.
    """
    finest = 2 * reach / (nodes - 2 * EDGE)
    wanted = [finest * 2 ** (step / STEPS) for step in range(RUNGS)]
    bits = [2.0 ** (math.frexp(spacing)[1] - 8) for spacing in wanted]
    return [math.ceil(spacing / bit) * bit for spacing, bit in zip(wanted, bits, strict=True)]


class AnchorGrid(NamedTuple):
    """Nodes at whole multiples of ``spacing`` from the ``middle``, each ``[labels]``.

    There are two rows of nodes per label, 0 for negatives and 1 for positives. The last cell of a
    label's last row stands for what is missing. ``start`` is the place of the second row among all.
    """

    nodes: int
    middle: Tensor
    spacing: Tensor
    density: Tensor
    start: Tensor

    def locate(self, scores: Tensor, sides: Tensor) -> tuple[Tensor, Tensor]:
        """Return the cell of each score, through all rows and flat, and its place there.

        ``scores`` and ``sides``, +1 for positives and -1 for negatives, are ``[n, labels]``. A
        place is from 0 to 1, or beyond that at the ends of the grid.
        """
        half = self.nodes // 2
        away = scores - self.middle
        cell = functional.hardtanh_(away.detach() * self.density, -half, half - 2).floor_()
        place = torch.addcmul(away, cell, self.spacing, value=-1).mul_(self.density)
        cell = torch.add(cell, sides, alpha=half)  # in place, vmap needs both mapped
        return cell.nan_to_num_(self.nodes - 1).add_(self.start).int().view(-1), place


def lay_grid(thresholds: Tensor, reach: float, nodes: int) -> tuple[AnchorGrid, Tensor]:
    """Lay a grid that reaches beyond all thresholds ``[labels, anchors]`` of a label.

    The further apart the thresholds, the wider the spacing, up to 16 times the finest. What is
    further apart still is not on the grid.

    Args:
        thresholds: Thresholds of the anchors.
        reach: How far it reaches at least.
        nodes: Number of nodes in a row, even.

    Returns:
        The grid, and which spacing of the :func:`ladder` each label has.
    """
    rungs = kept(_rungs, reach, nodes, like=thresholds)
    low, high = torch.aminmax(thresholds, dim=1)
    rung = torch.searchsorted(rungs[1, :-1], high - low)
    spacing = rungs[0].index_select(0, rung)
    start = torch.arange(len(low), dtype=low.dtype, device=low.device) * (2 * nodes) + nodes
    per_label = torch.lerp(low, high, 0.5), spacing, 1 / spacing, start
    return AnchorGrid(nodes, *settled(per_label)), rung


def _rungs(reach: float, nodes: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    """Return the spacings, and how far apart thresholds may be at each."""
    spacings = torch.tensor(ladder(reach, nodes), dtype=dtype, device=device)
    return torch.stack((spacings, spacings * (nodes - 2 * EDGE) - 2 * reach))
