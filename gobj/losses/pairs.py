"""Binomial deviance of given pairs, and the pairs that labels define."""

import sys
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from gobj._batch import spread_weights, widen
from gobj._checks import (
    REDUCTIONS,
    Number,
    Reduction,
    broadcasts,
    check_choice,
    check_logits,
    check_number,
    refuse,
)
from gobj.losses._elements import (
    bound,
    drop_weightless,
    nonzero_or_one,
    reduce_losses,
)


class Pairs(NamedTuple):
    """What each pair should be, and how much it counts; both ``[n, n]``."""

    mask: Tensor
    weights: Tensor


def pairs_from_labels(
    labels: Tensor,
    *,
    negative_cost: float = 1.0,
    weights: Number | None = None,
    dtype: torch.dtype | None = None,
) -> Pairs:
    r"""Pair examples by their labels, both kinds of pair with the same total weight.

    The mask is 1 for a pair of one class, minus ``negative_cost`` for any other and 0 on the
    diagonal. The weight of a pair is :math:`w_i w_j`, divided by its sum over the pairs of the
    same kind, and 0 on the diagonal.

    Args:
        labels: Class of each example, any dtype, shape ``[n]``.
        negative_cost: Steepness of the negative pairs relative to the positive ones, at or above 0.
        weights: At or above 0, scalar or ``[n]``; 1 by default.
        dtype: Floating dtype of the result; torch's default dtype by default.

    Returns:
        Mask and weights of the ordered pairs, to be given to
        :func:`binomial_deviance_of_pairs` with any similarity.

    Raises:
        ValueError: If a shape or a number is not as above.

    Example:
        >>> import gobj, torch
        >>> pairs = gobj.pairs_from_labels(torch.tensor([7, 7, 3]), negative_cost=2.0)
        >>> pairs.mask
        tensor([[ 0.,  1., -2.],
                [ 1.,  0., -2.],
                [-2., -2.,  0.]])
        >>> pairs.weights
        tensor([[0.0000, 0.5000, 0.2500],
                [0.5000, 0.0000, 0.2500],
                [0.2500, 0.2500, 0.0000]])

    References:
        See :func:`binomial_deviance_loss`.
    """
    if not (isinstance(labels, Tensor) and labels.dim() == 1):
        refuse("labels", "have shape [n]", labels)
    check_number("negative_cost", negative_cost, low=0, high=sys.float_info.max, closed=True)
    like = torch.ones(labels.shape, dtype=dtype, device=labels.device)
    spread = spread_weights(weights, like)
    shares = like if spread is None else spread / nonzero_or_one(spread.sum()) * like
    diagonal = torch.eye(len(labels), dtype=torch.bool, device=labels.device)
    same = labels.unsqueeze(1) == labels
    products = torch.where(diagonal, 0, shares.unsqueeze(1) * shares)
    positive, negative = torch.where(same, products, 0), torch.where(same, 0, products)
    return Pairs(
        torch.where(diagonal, 0, torch.where(same, like, like * -negative_cost)),
        positive / nonzero_or_one(positive.sum()) + negative / nonzero_or_one(negative.sum()),
    )


def binomial_deviance_of_pairs(
    similarity: Tensor,
    mask: Tensor,
    *,
    alpha: float = 2.0,
    beta: float = 0.5,
    weights: Number | None = None,
    reduction: Reduction = "sum",
) -> Tensor:
    r"""Cost given similarities according to a mask of what they should be.

    .. math:: \sum_{ij} W_{ij} \log\bigl(1 + e^{-\alpha (S_{ij} - \beta) M_{ij}}\bigr)

    Args:
        similarity: Similarity of each pair, any kind, shape ``[n, m]`` or any other.
        mask: Above 0 for pairs that should be similar, below 0 for pairs that should not; its size
            is a steepness. Broadcasts to ``similarity``. A pair of mask 0 costs log 2.
        alpha: Steepness, above 0.
        beta: Similarity at which a pair costs log 2.
        weights: At or above 0, scalar, ``[n]`` or up to the shape of ``similarity``; 1 by default.
            A pair with weight 0 costs nothing, whatever its similarity.
        reduction: ``"sum"``; ``"mean"``, the sum divided by the sum of the weights; or ``"none"``
            for the shape of ``similarity``.

    Returns:
        The loss, a scalar or the shape of ``similarity``, in float32 or wider.

    Raises:
        ValueError: If a shape, a dtype, a number or a name is not as above.

    Example:
        >>> import gobj, torch
        >>> similarity, mask = torch.tensor([0.9, 0.1, 0.5]), torch.tensor([1.0, 1.0, -1.0])
        >>> gobj.binomial_deviance_of_pairs(similarity, mask, reduction="none")
        tensor([0.3711, 1.1711, 0.6931])

    References:
        See :func:`binomial_deviance_loss`.
    """
    check_logits(similarity, "similarity")
    if not (isinstance(mask, Tensor) and broadcasts(mask.shape, similarity.shape)):
        refuse("mask", f"broadcast to {list(similarity.shape)}", mask)
    check_number("alpha", alpha, low=0)
    check_number("beta", beta)
    check_choice("reduction", reduction, REDUCTIONS)
    similarity = widen(similarity)
    spread = spread_weights(weights, similarity)
    closeness = bound(drop_weightless(similarity, spread)) - beta
    margin = alpha * closeness * drop_weightless(mask.to(similarity.dtype), spread)
    return reduce_losses(-functional.logsigmoid(margin), reduction, weights=spread)
