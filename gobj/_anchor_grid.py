"""Uniform grids, one per label, around the thresholds of anchors."""

import math
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from gobj._anchor_blocks import settled

EDGE = 4  # nodes on either side that a spline at the outermost threshold may touch
STEPS, DOUBLINGS = 6, 4  # spacings for each doubling of the finest, and doublings
FURTHEST = 1e18  # an infinite score counts as this many cells away, so that products stay finite


def spacings(reach: float, nodes: int) -> list[float]:
    """Return the spacings that a grid may have, of eight significant bits each.

    A multiple of such a number is exact in single precision, and so is what it leaves of a score.
    """
    finest = 2 * reach / (nodes - 2 * EDGE)
    wanted = [finest * 2 ** (step / STEPS) for step in range(STEPS * DOUBLINGS + 1)]
    bits = [2.0 ** (math.frexp(spacing)[1] - 8) for spacing in wanted]
    return [math.ceil(spacing / bit) * bit for spacing, bit in zip(wanted, bits, strict=True)]


class AnchorGrid(NamedTuple):
    """Nodes at the multiples of ``spacing`` from the ``first`` on, each ``[labels]``.

    There are two rows of nodes per label, 0 for negatives and 1 for positives. The last cell of a
    label's last row stands for what is missing. ``last`` is the last other cell, and ``start`` the
    place of a label's rows among all.
    """

    nodes: int
    spacing: Tensor
    density: Tensor
    first: Tensor
    last: Tensor
    start: Tensor

    def locate(self, scores: Tensor, sides: Tensor) -> tuple[Tensor, Tensor]:
        """Return the cell of each score and its place there, from 0 to 1 or beyond the ends.

        Cells are counted through all rows, flat. ``scores`` and ``sides``, +1 for positives and -1
        for negatives, are ``[n, labels]``.
        """
        number = scores.detach().mul(self.density).floor_()
        number = torch.minimum(torch.maximum(number, self.first), self.last)
        place = (scores - number * self.spacing).mul_(self.density)
        place = functional.hardtanh_(place, -FURTHEST, FURTHEST)
        number.sub_(self.first - self.nodes / 2)
        number = torch.add(number, sides, alpha=self.nodes / 2)  # in place, vmap needs both mapped
        return number.nan_to_num_(2 * self.nodes - 1).add_(self.start).int().view(-1), place

    def positions(self, points: Tensor, margin: float = 0.0) -> Tensor:
        """Return where points ``[labels, m]`` are, in cells from the first node in float64.

        Those that are less than a margin from the ends are moved away from there.
        """
        cells = points.double() / self.spacing.double().unsqueeze(1)
        cells = (cells - self.first.double().unsqueeze(1)).nan_to_num(0.0)
        # the middle of the grid is up to a cell off that of the thresholds
        around = EDGE - 1 + margin / self.spacing.double().unsqueeze(1)
        return torch.minimum(torch.maximum(cells, around), self.nodes - around)


def lay_grid(thresholds: Tensor, reach: float, nodes: int) -> tuple[AnchorGrid, Tensor]:
    """Lay a grid that reaches beyond all thresholds ``[labels, anchors]`` of a label.

    The further apart the thresholds, the wider the spacing, up to 16 times the finest. What is
    further apart still is not on the grid.

    Args:
        thresholds: Thresholds of the anchors.
        reach: How far it reaches at least.
        nodes: Number of nodes in a row, even.

    Returns:
        The grid, and which of the :func:`spacings` each label has.
    """
    ladder = torch.tensor(spacings(reach, nodes), dtype=thresholds.dtype, device=thresholds.device)
    low, high = torch.aminmax(thresholds, dim=1)
    needed = (high - low + 2 * reach) / (nodes - 2 * EDGE)
    rung = (needed.unsqueeze(-1) > ladder).sum(-1).clamp(max=len(ladder) - 1)
    spacing = ladder.index_select(0, rung)
    first = ((low + high) / (2 * spacing)).floor() - nodes // 2
    start = 2 * nodes * torch.arange(len(first), dtype=first.dtype, device=first.device)
    last = first + (nodes - 2)
    return AnchorGrid(nodes, *settled((spacing, 1 / spacing, first, last, start))), rung
