"""Surrogates at whole numbers of cells, as the spectra that convolutions multiply by."""

import math
from collections.abc import Callable

import torch
from torch import Tensor

from gobj._anchor_grid import RUNGS, ladder
from gobj._kept import keeps, kept
from gobj._splines import spline_spectrum
from gobj._surrogates import Surrogate

DEGREE = 5  # of the splines that spread anchors over nodes

Spectra = Callable[[Surrogate, Tensor, int], Tensor]


def spectra_at(
    spectra: Spectra,
    surrogate: Surrogate,
    spacing: Tensor,
    rung: Tensor,
    shape: tuple[float, int],
) -> Tensor:
    """Return the spectra at the spacing of each label, ``[labels, 2, frequencies]``.

    Args:
        spectra: One of the functions below.
        surrogate: The surrogate.
        spacing: Spacings, ``[labels]``.
        rung: Which of the ladder's these are, likewise.
        shape: Reach and number of nodes of the ladder.
    """
    if not keeps(spacing) and len(spacing) < RUNGS:
        return spectra(surrogate, spacing, shape[1])
    return kept(_every, spectra, surrogate, *shape, like=spacing).index_select(0, rung)


def _every(
    spectra: Spectra,
    surrogate: Surrogate,
    reach: float,
    nodes: int,
    dtype: torch.dtype,
    device: torch.device,
) -> Tensor:
    """Make the spectra for all spacings that a grid may have."""
    spacings = torch.tensor(ladder(reach, nodes), dtype=dtype, device=device)
    return spectra(surrogate, spacings, nodes)


def bends(surrogate: Surrogate, spacing: Tensor, nodes: int) -> Tensor:
    """Turn charges into the second derivatives, per cell, of the surrogates of all charges.

    Charges are spread by splines; what comes out is that of the cubic spline through the cost.

    Args:
        surrogate: The surrogate.
        spacing: Spacings of the nodes, ``[grids]``.
        nodes: Number of nodes.

    Returns:
        For charges of surrogates that fall to the left, and to the right, in float64:
        ``[grids, 2, nodes // 2 + 1]``.
    """
    margins = _margins(spacing, nodes // 2 + 1)
    bump = torch.fft.rfft(_at_0_first(surrogate.terms(margins)[0].diff(n=2)))
    cosine = _angles(bump).cos()
    bump = bump / (spline_spectrum(3, cosine) * spline_spectrum(DEGREE, cosine))
    return torch.stack((bump.conj(), bump), 1)


def falls(surrogate: Surrogate, spacing: Tensor, nodes: int) -> Tensor:
    """Turn charges into the slopes of their surrogates, sign reversed, at a threshold.

    Each is shared by the two nodes next to it, and what is read at thresholds is read by splines.
    There are zeros after the charges, as many as nodes, which leaves room around.

    Returns:
        For negatives and for positives, in float64: ``[grids, 2, nodes + 1]``; arguments as for
        :func:`bends`.
    """
    fall = torch.fft.rfft(_at_0_first(-surrogate.terms(_margins(spacing, nodes))[1]))
    cosine = _angles(fall).cos()
    shared = (5 + cosine) / 6  # to the fourth order; smooth, so that nothing rings from far away
    fall = fall / (shared * spline_spectrum(DEGREE, cosine))
    return torch.stack((fall, fall.conj()), 1)


def _margins(spacing: Tensor, most: int) -> Tensor:
    """Return margins of whole numbers of cells, from minus the most on to before the most."""
    cells = torch.arange(-most, most, dtype=torch.float64, device=spacing.device)
    return cells * spacing.double().unsqueeze(-1)


def _at_0_first(values: Tensor) -> Tensor:
    return values.roll(-(values.shape[-1] // 2), -1)


def _angles(spectrum: Tensor) -> Tensor:
    count, device = spectrum.shape[-1], spectrum.device
    return torch.linspace(0, math.pi, count, dtype=torch.float64, device=device)
