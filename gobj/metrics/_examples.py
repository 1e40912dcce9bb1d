"""One batch as a curve counts it."""

import math
from typing import NamedTuple

import torch
from torch import Tensor

from gobj._checks import Number, check_labels, check_logits, kind, require, spread_weights


class Examples(NamedTuple):
    """Detached scores ``[n, *labels]`` in float32 or wider, labels 0, 1 or NaN, weights or None.

    Scores are finite or NaN but for ignored ones: those are ``-inf``, negative and without weight.
    """

    scores: Tensor
    labels: Tensor
    weights: Tensor | None


def make_examples(
    function: str, counted: Tensor, logits: Tensor, labels: Tensor, weights: Number | None
) -> Examples:
    """Check and clean a batch for a state whose weights are ``counted``, ``[*labels, 2, m]``."""
    check_logits(function, logits)
    _check_columns(function, counted.shape[:-2], logits, labels)
    check_labels(function, logits, labels)
    scores = logits.detach().to(torch.promote_types(logits.dtype, torch.float32))
    limits = torch.finfo(scores.dtype)
    scores = scores.clamp(limits.min, limits.max)
    labels = labels.detach().to(scores.dtype)
    if weights is not None:
        weights = spread_weights(function, weights, scores).detach().to(counted.dtype)
        present = weights != 0
        scores = torch.where(present, scores, -math.inf)
        labels = torch.where(present, labels, 0)
    return Examples(scores, labels.clamp(0, 1).ceil(), weights)


def _check_columns(function: str, shape: torch.Size, logits: Tensor, labels: Tensor) -> None:
    """Require the state's label shape, and name the column to pass of a two-column softmax."""
    columns = logits.dim() > 1 and logits.shape[-1] == 2
    unlabelled = isinstance(labels, Tensor) and labels.shape == logits.shape[:-1]
    two_columns = columns and (unlabelled or logits.shape[1:-1] == shape)
    requirement = "hold one score per label: of two class columns pass the positive class's, "
    requirement += "`probabilities[..., 1]`, or `logits[..., 1] - logits[..., 0]`"
    fine = logits.shape[1:] == shape and not (columns and unlabelled)
    require(fine or not two_columns, function, "logits", requirement, kind(logits))
    requirement = f"have shape [n, *labels] with the state's labels {list(shape)}"
    require(fine, function, "logits", requirement, kind(logits))
