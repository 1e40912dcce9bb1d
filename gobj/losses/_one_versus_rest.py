"""Multi-class problems as one binary problem per class, that class against the rest."""

import math

import torch
from torch import Tensor

from gobj._checks import Number, kind, require
from gobj.losses._weighting import bound, element_weights


def check_classes(function: str, logits: Tensor, labels: Tensor, class_dim: int) -> int:
    """Require a class dimension and labels that fit it; return the dimension counted from 0."""
    shape, rank = list(logits.shape), logits.dim()
    fine = rank > 1 and -rank <= class_dim < rank and shape[class_dim] > 1
    requirement = f"be a dimension of {shape} with at least 2 classes, beside another"
    require(fine, function, "class_dim", requirement, kind(class_dim))
    class_dim %= rank
    indices = shape[:class_dim] + shape[class_dim + 1 :]
    fine = isinstance(labels, Tensor) and list(labels.shape) in (indices, shape)
    requirement = f"have shape {indices} (class indices) or {shape}"
    require(fine and not labels.is_complex(), function, "labels", requirement, kind(labels))
    return class_dim


def memberships(
    function: str,
    scores: Tensor,
    labels: Tensor,
    weights: Number | None,
    *,
    class_dim: int,
    ignore_index: int,
) -> tuple[Tensor, Tensor | None]:
    """Return for each class who belongs to it, and the weights along the class dimension."""
    mass = element_weights(function, weights, scores.select(class_dim, 0))
    if labels.shape != scores.shape:
        counted = (labels != ignore_index).to(scores.dtype)
        mass = counted if mass is None else counted * mass
        classes = torch.arange(scores.shape[class_dim], device=labels.device)
        rest = (1,) * (scores.dim() - class_dim - 1)
        labels = labels.unsqueeze(class_dim) == classes.reshape(-1, *rest)
    return labels.to(scores.dtype), None if mass is None else mass.unsqueeze(class_dim)


def one_versus_rest(logits: Tensor, class_dim: int) -> Tensor:
    """Return ``log(p / (1 - p))`` of each class's softmax probability, shape of the logits.

    The likeliest class is treated apart: its ``1 - p`` is the sum of the others, not a difference.
    """
    logits = bound(logits)
    top = logits.argmax(class_dim, keepdim=True)
    others = logits.scatter(class_dim, top, -math.inf).logsumexp(class_dim, keepdim=True)
    log_p = logits.log_softmax(class_dim).scatter(class_dim, top, -1)
    odds = log_p - torch.log1p(-log_p.exp())
    return odds.scatter(class_dim, top, logits.gather(class_dim, top) - others)
