"""How the work on many anchors is cut into blocks, of rows and of labels."""

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor

from gobj._attached import compiles_transforms
from gobj._blocks import row_blocks

FEWEST, MOST = 16384, 131072  # scores in a block, so that its temporaries stay in a cache
COUNTABLE = 1 << 23  # cells that single precision can count, with halves


def small_blocks(scores: Tensor) -> list[slice]:
    """Cut rows into blocks whose temporaries are small beside the scores."""
    return row_blocks(scores, min(max(scores.numel() // 12, FEWEST), MOST))


def label_blocks(labels: int, width: int) -> list[slice]:
    """Cut labels into blocks whose rows, each so wide, single precision can count through."""
    step = max(COUNTABLE // width, 1)
    return [slice(start, start + step) for start in range(0, max(labels, 1), step)]


def joined(parts: Sequence[Tensor], dim: int = 0) -> Tensor:
    """Put what blocks gave together again."""
    return parts[0] if len(parts) == 1 else torch.cat(list(parts), dim)


@torch.library.custom_op("gobj::settled", mutates_args=())
def _settled(values: list[Tensor]) -> list[Tensor]:
    return [value.clone() for value in values]


@_settled.register_fake
def _(values: list[Tensor]) -> list[Tensor]:
    return [torch.empty_like(value) for value in values]


def settled(values: Iterable[Tensor]) -> list[Tensor]:
    """Keep the compiler from computing for each example what it can for each label."""
    return _settled([x.contiguous() for x in values]) if _compiling() else list(values)


@torch.library.custom_op("gobj::binned", mutates_args=())
def _binned(places: Tensor, values: Tensor, bins: int) -> Tensor:
    return values.new_zeros(bins).index_add_(0, places, values)


@_binned.register_fake
def _(places: Tensor, values: Tensor, bins: int) -> Tensor:  # noqa: ARG001
    return values.new_empty(bins)


def binned(places: Tensor, values: Tensor, bins: int) -> Tensor:
    """Add values up in bins; the compiler's own way is an atomic addition each."""
    if _compiling():
        sums: Tensor = _binned(places, values, bins)
        return sums
    return values.new_zeros(bins).index_add(0, places, values)  # vmap maps no zeros in place


def _compiling() -> bool:
    return torch.compiler.is_compiling() and not compiles_transforms()
