"""Work on many examples, cut so that its temporaries stay in the cache."""

import torch
from torch import Tensor

BLOCK = 2**16  # elements


def blocks(values: Tensor) -> tuple[Tensor, ...]:
    """Split values ``[n, ...]`` into blocks of examples; there is at least one.

    The compiler makes one pass of many operations anyway, and a GPU wants all the work at once.
    """
    n = max(len(values), 1)
    if values.numel() <= BLOCK or values.is_cuda or torch.compiler.is_compiling():
        return (values,)
    return torch.split(values, max(BLOCK * n // values.numel(), 1))
