"""Work on many examples, cut so that its temporaries stay in the cache."""

import torch
from torch import Tensor

BLOCK = 2**16  # elements


def row_blocks(values: Tensor, size: int = BLOCK) -> list[slice]:
    """Cut the examples of values ``[n, ...]`` into blocks of a size; there is at least one.

    The compiler makes one pass of many operations anyway, and a GPU wants all the work at once.
    """
    rows = max(len(values), 1)
    whole = values.numel() <= size or values.is_cuda or torch.compiler.is_compiling()
    step = rows if whole else max(size * rows // values.numel(), 1)
    return [slice(start, start + step) for start in range(0, rows, step)]


def blocks(values: Tensor) -> list[Tensor]:
    """Split values ``[n, ...]`` into blocks of examples."""
    return [values[rows] for rows in row_blocks(values)]
