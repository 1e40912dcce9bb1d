"""Sums of a smooth surrogate over anchors, as functions of the score: piecewise polynomials.

A smooth surrogate is affine to rounding beyond a reach on either side, so its second difference on
a uniform grid is a short bump. Anchors are spread over the grid by splines, one convolution by FFT
sums their bumps, and summing the result twice, from the side where the cost is flat, gives slopes
and values. In between runs the cubic spline through the values at the nodes.
"""

import math

import torch
from torch import Tensor

from gobj._anchor_blocks import add_up, fixed_point
from gobj._anchor_grid import AnchorGrid
from gobj._splines import PIECES, spline_spectrum
from gobj._surrogates import CrossEntropy, GeneralizedCrossEntropy

DEGREE = 5  # of the splines that spread the anchors

Smooth = CrossEntropy | GeneralizedCrossEntropy


def reach_of(surrogate: Smooth, folds: float) -> float:
    """Return the margin beyond which a surrogate is affine but for a factor ``exp(-folds)``."""
    if isinstance(surrogate, CrossEntropy):
        return folds
    return folds * surrogate.temperature / surrogate.q


def spread_anchors(
    grid: AnchorGrid, thresholds: Tensor, coefficients: Tensor, reach: float
) -> Tensor:
    """Spread the coefficients ``[labels, 2, anchors]`` over the nodes, ``[labels, 2, nodes]``.

    Those whose reach would end beyond the grid are moved to where it does not.
    """
    position = grid.positions(thresholds, reach)
    left = position.floor()
    offset = (position - left - 0.5).unsqueeze(-1).expand(-1, -1, DEGREE)
    powers = torch.cat((torch.ones_like(offset[..., :1]), offset), -1).cumprod(-1)
    pieces = torch.tensor(PIECES[DEGREE], dtype=torch.float64, device=offset.device)
    values = (powers @ pieces.mT).unsqueeze(1) * coefficients.double().unsqueeze(-1)
    labels = torch.arange(2 * len(thresholds), device=offset.device)
    nodes = torch.arange(DEGREE + 1, device=offset.device) - DEGREE // 2
    places = (left.long().unsqueeze(-1) + nodes).unsqueeze(1)
    places = places + grid.nodes * labels.view(-1, 2, 1, 1)
    scale = fixed_point(values.abs().sum((1, 2, 3))).view(-1, 1, 1, 1)
    sums = add_up(
        None, places.view(-1), (values * scale).long().view(-1), 2 * len(thresholds) * grid.nodes
    )
    return sums.view(-1, 2, grid.nodes) / scale.squeeze(-1)


def half_bends(
    charges: Tensor, ladder: tuple[list[float], Tensor], surrogate: Smooth, *, splines: bool
) -> Tensor:
    """Sum a surrogate over charges: half the second derivatives, per cell, at the nodes.

    Args:
        charges: Coefficients at the nodes, ``[labels, 2, nodes]``: in row 1 of surrogates that fall
            to the right, in row 0 of those that fall to the left.
        ladder: Spacings that a grid may have, and which one each label has.
        surrogate: The surrogate.
        splines: Whether charges were spread by splines, or between the two nearest nodes.
    """
    (rungs, rung), nodes = ladder, charges.shape[-1]
    spacing = torch.tensor(rungs, dtype=torch.float64, device=charges.device)
    each = len(rung) < len(rungs)  # fewer labels than spacings: only theirs
    spacing = spacing.index_select(0, rung) if each else spacing
    lags = torch.arange(-(nodes // 2) - 1, nodes // 2 + 1, device=charges.device).double()
    cost = surrogate.terms(lags * spacing.unsqueeze(-1))[0]
    angle = torch.linspace(0, math.pi, nodes // 2 + 1, dtype=lags.dtype, device=charges.device)
    spread = spline_spectrum(DEGREE, angle) if splines else torch.sinc(angle / (2 * math.pi)) ** 2
    bump = torch.fft.rfft(torch.fft.ifftshift(cost.diff(n=2), dim=-1))
    bump = bump / (2 * spline_spectrum(3, angle) * spread)
    both = torch.stack((bump.conj(), bump), -2)
    both = both if each else both.index_select(0, rung)
    bends: Tensor = torch.fft.irfft(torch.fft.rfft(charges) * both, nodes)
    bends[..., :2] = 0  # affine from the ends on
    bends[..., -2:] = 0
    return bends


def slopes(bends: Tensor) -> Tensor:
    """Return the slopes per cell at the nodes."""
    steps = bends.clone()
    steps[..., 1:] += bends[..., :-1]
    return _from_flat_side(steps)


def cubics(bends: Tensor, dtype: torch.dtype, *, bounded: bool) -> list[Tensor]:
    """Return the coefficients of the cubic in each cell, through all rows, from the constant on.

    They are functions of the place in the cell. Where scores are missing they are NaN. A bounded
    surrogate is flat on the costly side too.
    """
    slope = slopes(bends)
    if bounded:  # to the last bit, as places beyond the ends may be as far as can be
        slope[..., 0, -2:] = slope[..., 1, :2] = 0
    steps = torch.zeros_like(bends)
    steps[..., 1:] = (slope + bends * (2 / 3))[..., :-1]
    steps[..., 1:].add_(bends[..., 1:], alpha=1 / 3)
    value = _from_flat_side(steps)
    for rising in (value, slope):
        rising[..., 1, -2:] = 0  # so that no score, however sure, costs anything
        rising[..., 1, -1] = torch.nan
    constant, linear, square = (x.to(dtype).reshape(-1) for x in (value, slope, bends))
    return [constant, linear, square, (square.roll(-1) - square).mul_(1 / 3)]


def _from_flat_side(steps: Tensor) -> Tensor:
    """Sum steps from node to node such that row 0 is 0 on the left and row 1 on the right."""
    steps[..., 1, 0] -= steps[..., 1, :].sum(-1)
    return steps.cumsum(-1)
