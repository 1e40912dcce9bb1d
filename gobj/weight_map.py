"""Weight maps for dense labels."""

import math
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from gobj._checks import check_number, refuse

_REACH = 9


def unet_weight_map(
    instances: Tensor,
    *,
    class_weights: tuple[float, float] = (1.0, 1.0),
    border_weight: float = 10.0,
    border_width: float = 5.0,
    dtype: torch.dtype | None = None,
) -> Tensor:
    r"""Weigh the background between two touching instances more than the rest of an image.

    .. math:: w = c + w_0 \exp\Bigl(-\frac{(d_1 + d_2)^2}{2 \sigma^2}\Bigr)
        \text{ on the background}, \quad w = c \text{ on the instances}

    :math:`d_1` and :math:`d_2` are the Euclidean distances from a pixel to the nearest instance and
    to the second nearest. They are exact within :math:`9\sigma`; what is further away adds below
    :math:`10^{-17} w_0` and is not looked for. So the time grows with the pixels times
    :math:`\sigma`, however many instances there are. Fewer than two of them have no border.

    Args:
        instances: Instance of each pixel, any 32-bit integer, 0 for the background, shape
            ``[*images, height, width]``.
        class_weights: Weights :math:`c` of background and instances, at or above 0.
        border_weight: Height :math:`w_0` of the border, at or above 0.
        border_width: Width :math:`\sigma` of the border in pixels, above 0.
        dtype: Floating dtype of the result; torch's default dtype by default.

    Returns:
        Weights of the pixels, shape of ``instances``: ready to be the ``weights`` of a loss.

    Raises:
        ValueError: If a shape, a dtype or a number is not as above.

    Example:
        >>> import gobj, torch
        >>> gobj.unet_weight_map(torch.tensor([[1, 1, 0, 2, 0, 0, 0]]), border_width=2.0)
        tensor([[1.0000, 1.0000, 7.0653, 1.0000, 2.3534, 1.1111, 1.0034]])

    References:
        Ronneberger et al., `U-Net: Convolutional Networks for Biomedical Image Segmentation
        <https://arxiv.org/abs/1505.04597>`_, MICCAI 2015.
    """
    fine = isinstance(instances, Tensor) and instances.dim() >= 2
    if not fine or instances.is_floating_point() or instances.is_complex():
        refuse("instances", "be integers of shape [*images, height, width]", instances)
    for weight in class_weights:
        check_number("class_weights", weight, low=0, high=math.inf, closed=True)
    check_number("border_weight", border_weight, low=0, high=math.inf, closed=True)
    check_number("border_width", border_width, low=0)
    reach = math.ceil(min(_REACH * border_width, max(instances.shape)))
    nearest = _two_nearest(instances, reach)
    squared = torch.stack([nearest.first, nearest.second]).to(dtype or torch.get_default_dtype())
    distance = squared.sqrt().sum(0)
    border = border_weight * torch.exp(-(distance / border_width).square() / 2)
    outside, inside = class_weights
    return torch.where(instances == 0, border + outside, inside)


class _Nearest(NamedTuple):
    """Squared distances to the nearest and second nearest instance, and which they are."""

    first: Tensor
    owner: Tensor
    second: Tensor
    runner_up: Tensor

    def seen(self, squared: Tensor, owner: Tensor) -> "_Nearest":
        """Take in one more candidate for each pixel."""
        closer = squared < self.first
        beaten = torch.where(closer, self.first, squared)
        behind = torch.where(closer, self.owner, owner)
        news = (owner != self.owner) & (beaten <= self.second)
        return _Nearest(
            torch.where(closer, squared, self.first),
            torch.where(closer, owner, self.owner),
            torch.where(news, beaten, self.second),
            torch.where(news, behind, self.runner_up),
        )


def _two_nearest(instances: Tensor, reach: int) -> _Nearest:
    """Find the two nearest instances of each pixel, as far as they are within ``reach``.

    One axis at a time: what is second nearest overall is first or second within its own row,
    because only the nearest can come before it there. So two candidates a pixel are enough.
    """
    nowhere = torch.full_like(instances, math.inf, dtype=torch.float32)
    nearest = _Nearest(torch.where(instances == 0, nowhere, 0), instances, nowhere, instances)
    candidates = [nearest[:2]]
    for axis in (-1, -2):
        length = instances.shape[axis]
        margin = max(0, min(reach, length - 1))
        sides = (0, 0) * (-1 - axis) + (margin, margin)
        padded = [
            (functional.pad(squared, sides, value=math.inf), functional.pad(owner, sides))
            for squared, owner in candidates
        ]
        nearest = _Nearest(nowhere, instances, nowhere, instances)
        for start in range(2 * margin + 1):
            for squared, owner in padded:
                moved = squared.narrow(axis, start, length) + (start - margin) ** 2
                nearest = nearest.seen(moved, owner.narrow(axis, start, length))
        candidates = [nearest[:2], nearest[2:]]
    return nearest
