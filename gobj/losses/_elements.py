"""Labels, weights and reductions of the losses without state: one mechanism for all of them."""

from typing import Literal

import torch
from torch import Tensor

from gobj._batch import as_tensor, clean_labels, widen
from gobj._checks import REDUCTIONS, Number, Reduction, check_choice
from gobj.distributed import Group, number_of_ranks, sum_over_ranks

MeanOver = Literal["elements", "weights", "class_weights", "all_weights"]

_FACTORS: dict[MeanOver, tuple[bool, bool]] = {
    "elements": (False, False),
    "weights": (True, False),
    "class_weights": (False, True),
    "all_weights": (True, True),
}


def check_reductions(reduction: str, mean_over: str) -> None:
    """Require one of torch's reductions and a known denominator of the mean."""
    check_choice("reduction", reduction, REDUCTIONS)
    check_choice("mean_over", mean_over, tuple(_FACTORS))


def clean_elements(
    logits: Tensor, labels: Tensor, weights: Number | None, ignore_index: int | None
) -> tuple[Tensor, Tensor, Tensor | None]:
    """Return scores, labels and weights of binary elements, zeros where the weight is 0."""
    scores = widen(logits)
    targets, mass = clean_labels(labels, weights, ignore_index, scores)
    return drop_weightless(scores, mass), targets, mass


def drop_weightless(values: Tensor, weights: Tensor | None) -> Tensor:
    """Replace what has weight 0 by 0, so that neither its value nor its gradient can matter."""
    return values if weights is None else values.masked_fill(weights == 0, 0)


def bound(logits: Tensor) -> Tensor:
    """Clamp infinite scores to huge ones, whose products and differences stay finite."""
    huge = torch.finfo(logits.dtype).max ** 0.5
    return logits.clamp(-huge, huge)


def weigh(losses: Tensor, weights: Tensor | None) -> Tensor:
    """Multiply losses by weights; weight 0 gives 0, whatever the loss."""
    return losses if weights is None else weights * drop_weightless(losses, weights)


def nonzero_or_one(total: Tensor) -> Tensor:
    """Return a denominator that is never 0."""
    return torch.where(total != 0, total, 1)


def reduce_losses(
    losses: Tensor,
    reduction: Reduction,
    *,
    weights: Tensor | None = None,
    mean_over: MeanOver = "all_weights",
    class_weights: Tensor | None = None,
    counted: Tensor | None = None,
    group: Group = None,
) -> Tensor:
    """Weigh losses element by element and reduce them.

    Args:
        losses: Losses, any shape; a class weight is already in them.
        reduction: One of torch's three.
        weights: Weights that broadcast to ``losses``; None is 1.
        mean_over: Which weights of an element make up its part of the mean's denominator.
        class_weights: Class weight of each element, broadcasts to ``losses``; None is 1.
        counted: False where an element, of cost 0, is not there at all; None counts all.
        group: Ranks whose elements are those of one batch.

    Returns:
        A scalar, or the shape of ``losses``. A mean over nothing is 0.
    """
    weighted = weigh(losses, weights)
    if reduction == "none":
        return weighted
    cost = weighted.sum()
    if reduction == "sum":
        return sum_over_ranks([cost], group)[0]
    kept = zip((weights, class_weights), _FACTORS[mean_over], strict=True)
    factors = [factor for factor, keep in kept if keep and factor is not None]
    if counted is None and not factors:
        if number_of_ranks(group) == 1:
            return cost / max(losses.numel(), 1)
        total = as_tensor(losses.numel(), cost)
    else:
        mass = losses.new_ones(()) if counted is None else counted.to(losses.dtype)
        for factor in factors:
            mass = mass * factor
        total = mass.expand_as(losses).sum()
    cost, total = sum_over_ranks([cost, total], group)
    return torch.where(total != 0, cost / nonzero_or_one(total), 0)
