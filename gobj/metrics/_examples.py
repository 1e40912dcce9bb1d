"""One batch as a curve counts it."""

from typing import NamedTuple

import torch
from torch import Tensor

from gobj._checks import Number, check_labels, check_logits, kind, require, spread_weights


class Examples(NamedTuple):
    """One batch, detached.

    Attributes:
        scores: Shape ``[n, *labels]``, float32 or wider.
        labels: 0, 1 or NaN, of the scores' shape and dtype; no NaN where the weight is 0.
        weights: Broadcast against the scores, in the state's dtype; None is 1 each.
        present: Where the weight is not 0; None is everywhere.
    """

    scores: Tensor
    labels: Tensor
    weights: Tensor | None
    present: Tensor | None

    def scores_or(self, absent: float) -> Tensor:
        """Return the scores, and ``absent`` in place of those without weight."""
        if self.present is None:
            return self.scores
        return torch.where(self.present, self.scores, absent)


def make_examples(
    function: str, counted: Tensor, logits: Tensor, labels: Tensor, weights: Number | None
) -> Examples:
    """Check and clean a batch for a state whose weights are ``counted``, ``[*labels, 2, m]``."""
    check_logits(function, logits)
    _check_columns(function, counted.shape[:-2], logits, labels)
    check_labels(function, logits, labels)
    scores = logits.detach().to(torch.promote_types(logits.dtype, torch.float32))
    labels = labels.detach().to(scores.dtype).clamp(0, 1).ceil_()
    if weights is None:
        return Examples(scores, labels, None, None)
    weights = spread_weights(function, weights, scores).detach().to(counted.dtype)
    present = weights != 0
    return Examples(scores, torch.where(present, labels, 0), weights, present)


def _check_columns(function: str, shape: torch.Size, logits: Tensor, labels: Tensor) -> None:
    """Require the state's label shape, and name the column to pass of a two-column softmax."""
    one_per_label = logits.shape[1:] == shape
    if one_per_label and getattr(labels, "shape", None) == logits.shape:
        return
    columns = logits.dim() > 1 and logits.shape[-1] == 2
    unlabelled = isinstance(labels, Tensor) and labels.shape == logits.shape[:-1]
    two_columns = columns and (unlabelled or logits.shape[1:-1] == shape)
    requirement = "hold one score per label: of two class columns pass the positive class's, "
    requirement += "`probabilities[..., 1]`, or `logits[..., 1] - logits[..., 0]`"
    require(not two_columns, function, "logits", requirement, kind(logits))
    requirement = f"have shape [n, *labels] with the state's labels {list(shape)}"
    require(one_per_label, function, "logits", requirement, kind(logits))
