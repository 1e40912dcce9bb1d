r"""Potentials: for each score the sum of a surrogate of how far it is above other scores.

.. math:: \phi_i = \sum_j w_j\, s(f_i - f_j)

All tensors are ``[n, labels]``. A surrogate that is smooth is summed on a uniform grid: the weights
are spread over its nodes by splines, one convolution by a Fourier transform sums over all pairs of
nodes, and the same splines read the sums back. Dividing by the spectrum of the splines, once for
spreading and once for reading, makes this the spline interpolation of the surrogate in both.
"""

import math

import torch
from torch import Tensor

from gobj.surrogates import IN_BITS, GeneralizedCrossEntropy, Hinge, Surrogate

FEW = 128  # examples whose pairs are formed one by one
NODES = 2048
MARGIN = 32  # cells at both ends, within which the jump where the kernel wraps around rings out
DEGREE = 5  # of the splines
MOST_REACHES = 6  # of a range without closed gaps: an error of 2e-8 at most


def potentials(scores: Tensor, weights: Tensor, surrogate: Surrogate) -> Tensor:
    """Sum weights times a surrogate over all pairs; the scores are finite and in float64."""
    if scores.shape[0] <= FEW:
        return (surrogate(scores.unsqueeze(1) - scores) * weights).sum(1)
    if isinstance(surrogate, Hinge):
        return _by_sorting(scores, weights, surrogate.power)
    return _on_a_grid(scores, weights, surrogate)


def _by_sorting(scores: Tensor, weights: Tensor, power: int) -> Tensor:
    """Sum a hinge, or its square, exactly.

    A pair costs where the other stands above the score less the hinge's edge. The sums over the
    distances from there to all above, and their squares, follow from those of the place before:
    running sums of terms that are not negative, so that nothing cancels.
    """
    # one rounding higher, a pair just on the edge has slope 0 wherever sorting puts it
    edges = (scores.detach() - 1).nextafter(scores.new_tensor(math.inf))
    places = torch.cat((scores + (edges - scores).detach(), scores))
    order = places.detach().argsort(0, descending=True)
    gaps = -places.gather(0, order).diff(dim=0)
    of_others = torch.cat((torch.zeros_like(weights), weights)).gather(0, order)
    mass = of_others.cumsum(0)[:-1]
    zero = torch.zeros_like(scores[:1])
    sums = torch.cat((zero, (gaps * mass).cumsum(0)))
    if power == 2:
        grown = gaps * (2 * sums[:-1] + gaps * mass)
        sums = torch.cat((zero, grown.cumsum(0)))
    return torch.zeros_like(sums).scatter(0, order, sums)[: scores.shape[0]]


def _on_a_grid(scores: Tensor, weights: Tensor, surrogate: Surrogate) -> Tensor:
    """Sum a smooth surrogate by splines."""
    bounded = isinstance(surrogate, GeneralizedCrossEntropy)
    places, across = _close_gaps(scores, weights, _reach(surrogate), 0.0 if bounded else IN_BITS)
    spacing = _spacing(places.detach().amin(0), surrogate)
    splines, nodes = _splines(places, spacing)
    sums = _convolved(_spread(weights, splines, nodes), spacing, surrogate).flatten()
    return (sums.gather(0, nodes).view_as(splines) * splines).sum(-1) + across


def grids_of_pairs(
    scores: Tensor, weights: list[Tensor], low: Tensor, high: Tensor, surrogate: Surrogate
) -> list[Tensor]:
    """Spread weights over the nodes of a grid that holds all scores from ``low`` to ``high``.

    Grids of one range, ``[labels, nodes]``, add up over batches.
    """
    splines, nodes = _splines(scores - high, _spacing(low - high, surrogate))
    return [_spread(each, splines, nodes) for each in weights]


def sum_of_pairs(
    positive: Tensor, negative: Tensor, low: Tensor, high: Tensor, surrogate: Surrogate
) -> Tensor:
    """Sum a surrogate over the pairs of two grids of one range, ``[labels]``.

    To read potentials and add them up by weights is to multiply with these on the grid.
    """
    sums = _convolved(negative, _spacing(low - high, surrogate), surrogate)
    return (positive * sums).sum(-1)


def fits_a_grid(low: Tensor, high: Tensor, rows: Tensor, surrogate: Surrogate) -> bool:
    """Tell whether a grid over a range is fine enough, and smaller than what is spread over it.

    Without closing gaps it has seven digits. Of a row there are the score and two weights.
    """
    if isinstance(surrogate, Hinge):
        return False
    fine = high - low <= MOST_REACHES * _reach(surrogate)
    return bool((fine & (3 * rows > 2 * NODES)).all())


def _reach(surrogate: Surrogate) -> float:
    """Return the distance beyond which a surrogate is affine to rounding."""
    if isinstance(surrogate, GeneralizedCrossEntropy):
        return 40.0 * surrogate.temperature / surrogate.q
    return 40.0


def _spacing(lowest: Tensor, surrogate: Surrogate) -> Tensor:
    """Return the distance of the nodes of a grid from 0 down to the lowest place.

    Nodes much closer than a surrogate is wide would lose its slopes to rounding.
    """
    return (lowest / (2 * MARGIN - NODES)).clamp(min=_reach(surrogate) / 40_000)


def _splines(places: Tensor, spacing: Tensor) -> tuple[Tensor, Tensor]:
    """Return the splines of places, ``[n, labels, 6]``, and the nodes that they belong to, flat."""
    positions = places / spacing + (NODES - MARGIN)
    with torch.no_grad():
        cells, taps = positions.floor(), _TAPS.to(places.device)
        rows = NODES * torch.arange(1, places.shape[1] + 1, device=places.device)
        nodes = ((cells.long() + rows).unsqueeze(-1) + taps).flatten()
    powers = (positions - cells).unsqueeze(-1).pow(taps - taps[0])
    return powers @ _PIECES.to(places.device), nodes


def _spread(weights: Tensor, splines: Tensor, nodes: Tensor) -> Tensor:
    """Spread weights over the nodes, ``[labels, nodes]``."""
    spread = (weights.unsqueeze(-1) * splines).flatten()
    grid = spread.new_zeros(NODES * weights.shape[1])
    return grid.scatter_add(0, nodes, spread).view(-1, NODES)


def _convolved(grid: Tensor, spacing: Tensor, surrogate: Surrogate) -> Tensor:
    """Sum over all nodes what the surrogate of the distance costs, ``[labels, nodes]``."""
    spectrum = torch.fft.rfft(grid, 2 * NODES) * _kernel(surrogate, spacing)
    sums: Tensor = torch.fft.irfft(spectrum, 2 * NODES)[:, :NODES]
    return sums


def _kernel(surrogate: Surrogate, spacing: Tensor) -> Tensor:
    """Return the spectrum of a surrogate on the nodes, without that of the splines."""
    costs = surrogate(_LAGS.to(spacing.device) * spacing.unsqueeze(-1))
    spectrum: Tensor = torch.fft.rfft(costs) * _SHARPENING.to(spacing.device)
    return spectrum


def _close_gaps(
    scores: Tensor, weights: Tensor, reach: float, rise: float
) -> tuple[Tensor, Tensor]:
    """Move scores together where nothing lies between them, so that a grid over them is fine.

    Beyond its reach a surrogate is affine to rounding. So a gap need not be wider, and what a pair
    across it costs less for that is known: the width that was cut out times the rise of the cost.
    Returned are places from 0 down, with the derivative of the scores, and what the sums lack.
    """
    with torch.no_grad():
        ordered, order = scores.sort(0, descending=True)
        gaps = ordered.diff(dim=0, prepend=ordered[:1])
        kept = gaps.clamp(min=-reach)
        places = torch.zeros_like(kept).scatter(0, order, kept.cumsum(0))
        across = torch.zeros_like(kept)
        if rise:
            above = weights.gather(0, order)
            above = above.cumsum(0) - above
            lacking = ((kept - gaps) * above).cumsum(0) * rise
            across = across.scatter(0, order, lacking)
    return places + (scores - scores.detach()), across


def _pieces(degree: int) -> list[list[float]]:
    """Return the polynomials of a B-spline, by powers of the place in a cell and by node."""
    table = [[1.0]]  # by node
    for k in range(1, degree + 1):
        # node j has ((t + k - j) w[j - 1] + (1 - t + j) w[j]) / k, of the degree before
        grown = []
        for j in range(k + 1):
            row = [0.0] * (k + 1)
            for node, constant, slope in ((j - 1, k - j, 1), (j, 1 + j, -1)):
                for power, value in enumerate(table[node] if 0 <= node < k else ()):
                    row[power] += constant * value / k
                    row[power + 1] += slope * value / k
            grown.append(row)
        table = grown
    return [list(column) for column in zip(*table, strict=True)]


def _sharpening() -> Tensor:
    """Return what undoes the splines' own spectrum twice, at the frequencies of the grid."""
    angles = math.pi * torch.arange(NODES + 1, dtype=torch.float64) / NODES
    # the quintic spline is 66, 26 and 1 over 120 at its nodes
    return ((66 + 52 * angles.cos() + 2 * (2 * angles).cos()) / 120) ** -2


_TAPS = torch.arange(DEGREE + 1) - DEGREE // 2 - NODES
_PIECES = torch.tensor(_pieces(DEGREE), dtype=torch.float64)
_LAGS = torch.fft.fftfreq(2 * NODES, dtype=torch.float64) * (2 * NODES)
_SHARPENING = _sharpening()
