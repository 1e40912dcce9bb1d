"""How the work on many anchors is cut: into blocks of rows, and sums that ignore the order."""

from collections.abc import Iterable

import torch
from torch import Tensor

from gobj._attached import Terms, compiles_transforms
from gobj._blocks import row_blocks

FEWEST, MOST = 16384, 131072  # scores in a block, so that its temporaries stay in a cache
COUNTABLE = 1 << 23  # cells that single precision can count, with halves
LARGEST = 1 << 61  # integer that a sum may be
TINIEST = 1e-200  # total that is told from 0


def small_blocks(scores: Tensor) -> list[slice]:
    """Cut rows into blocks whose temporaries are small beside the scores."""
    return row_blocks(scores, min(max(scores.numel() // 12, FEWEST), MOST))


def by_rows(terms: Terms, scores: Tensor, *others: Tensor) -> tuple[Tensor, Tensor]:
    """Compute value and slope block by block; the first of the others has the scores' shape."""
    sides, *constants = others
    blocks = small_blocks(scores)
    if len(blocks) == 1:
        return terms(scores, sides, *constants)
    wholes: tuple[Tensor, ...] = ()
    for rows in blocks:
        parts = terms(scores[rows], sides[rows], *constants)
        wholes = wholes or tuple(part.new_empty(scores.shape) for part in parts)
        for whole, part in zip(wholes, parts, strict=True):
            whole[rows] = part
        del parts, part
    value, slope = wholes
    return value, slope


@torch.library.custom_op("gobj::settled", mutates_args=())
def _settled(values: list[Tensor]) -> list[Tensor]:
    return [value.clone() for value in values]


@_settled.register_fake
def _(values: list[Tensor]) -> list[Tensor]:
    return [torch.empty_like(value) for value in values]


def settled(values: Iterable[Tensor]) -> list[Tensor]:
    """Keep the compiler from computing for each example what it can for each label."""
    compiling = torch.compiler.is_compiling() and not compiles_transforms()
    return _settled([x.contiguous() for x in values]) if compiling else list(values)


def label_blocks(labels: int, width: int) -> list[slice]:
    """Cut labels into blocks whose rows, each so wide, single precision can count through."""
    step = max(COUNTABLE // width, 1)
    return [slice(start, start + step) for start in range(0, max(labels, 1), step)]


def fixed_point(total: Tensor, largest: int = LARGEST) -> Tensor:
    """Return the power of two that makes a total at most the largest integer, in float64.

    It makes no less than half of it. Integers add up to the same in any order, on any device.
    """
    return torch.exp2((largest / total.double().clamp(min=TINIEST)).log2().floor())


def add_up(sums: Tensor | None, places: Tensor, integers: Tensor, bins: int) -> Tensor:
    """Add integers to sums in bins, which are zero to begin with and then used up."""
    if sums is None:
        zeros = torch.zeros(bins, dtype=integers.dtype, device=places.device)
        return zeros.index_add(0, places, integers)
    return sums.index_add_(0, places, integers)
