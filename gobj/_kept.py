"""Tensors that follow from a few constants alone, made once and kept."""

import functools
from collections.abc import Callable

import torch
from torch import Tensor

from gobj._attached import transforms

Make = Callable[..., Tensor]


def kept(make: Make, *constants: object, like: Tensor) -> Tensor:
    """Return what is made of hashable constants, a dtype and a device, and keep it if it may be.

    Args:
        make: Called with the constants, ``dtype`` and ``device``.
        constants: All else that the tensor depends on.
        like: Tensor of the dtype and device that are wanted.
    """
    maker = _kept if keeps(like) else _made
    return maker(make, constants, like.dtype, like.device)


def keeps(like: Tensor) -> bool:
    """Tell whether a tensor made now is an ordinary one, which can be used ever after."""
    return (
        type(like) is Tensor
        and not torch.compiler.is_compiling()
        and not torch.is_inference_mode_enabled()
        and not transforms()
    )


def _made(
    make: Make, constants: tuple[object, ...], dtype: torch.dtype, device: torch.device
) -> Tensor:
    return make(*constants, dtype=dtype, device=device)


_kept = functools.lru_cache(maxsize=64)(_made)
