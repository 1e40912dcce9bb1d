"""One batch as a curve counts it."""

from typing import NamedTuple

import torch
from torch import Tensor

from gobj._batch import clean_labels, widen
from gobj._checks import Number, check_labels, check_logits, refuse


class Examples(NamedTuple):
    """One batch, detached.

    Attributes:
        scores: Shape ``[n, *labels]``, float32 or wider.
        labels: Share of a positive, in [0, 1] or NaN, shape and dtype of the scores; no NaN where
            the weight is 0.
        weights: Broadcast against the scores, in their dtype; None is 1 each.
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

    def weights_of_classes(self, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
        """Return the weight of each example as a negative and as a positive."""
        positive = self.labels.to(dtype)
        if self.weights is None:
            return 1 - positive, positive
        weights = self.weights.to(dtype)
        return (1 - positive) * weights, positive * weights


def make_examples(
    counted: Tensor,
    logits: Tensor,
    labels: Tensor,
    weights: Number | None,
    ignore_index: int | None,
) -> Examples:
    """Check and clean a batch for a state whose weights are ``counted``, ``[*labels, 2, m]``.

    A label that is none, and a weight below 0, becomes NaN.
    """
    check_logits(logits)
    _check_columns(counted.shape[:-2], logits, labels)
    check_labels(logits, labels)
    scores = widen(logits.detach())
    shares, mass = clean_labels(labels, weights, ignore_index, scores)
    if mass is None:
        return Examples(scores, shares, None, None)
    return Examples(scores, shares, mass, mass != 0)


def _check_columns(shape: torch.Size, logits: Tensor, labels: Tensor) -> None:
    """Require the state's label shape, and name the column to pass of a two-column softmax."""
    one_per_label = logits.shape[1:] == shape
    if one_per_label and getattr(labels, "shape", None) == logits.shape:
        return
    columns = logits.dim() > 1 and logits.shape[-1] == 2
    unlabelled = isinstance(labels, Tensor) and labels.shape == logits.shape[:-1]
    if columns and (unlabelled or logits.shape[1:-1] == shape):
        requirement = "hold one score per label: of two class columns pass the positive class's, "
        requirement += "`probabilities[..., 1]`, or `logits[..., 1] - logits[..., 0]`"
        refuse("logits", requirement, logits)
    if not one_per_label:
        refuse("logits", f"have shape [n, *labels] with the state's labels {list(shape)}", logits)
