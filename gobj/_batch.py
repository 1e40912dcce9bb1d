"""One batch: cleaned scores, labels and weights, seen from its thresholds, summed and reduced."""

import math
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from gobj._checks import (
    Number,
    Reduction,
    broadcasts,
    check_labels,
    check_logits,
    check_number,
    is_number,
    per_label,
    refuse,
)
from gobj.problem import LinearForm, absent, times
from gobj.state import leaves, unflatten
from gobj.surrogates import Sides

EVENTS = "false_negatives", "false_positives", "true_positives", "true_negatives"
BLOCK = 2**17  # elements worked on at once: temporaries stay small, and in the cache
MAX_DISTANCE = 1e4  # that counts, so that an infinite score leaves the mean finite
MAX_SCORE = 1e18  # an infinite score counts as this, whose square is finite in float32


class Batch(NamedTuple):
    """Examples in float32 or wider, cleaned: what has weight 0 is replaced by zeros.

    What is no label or no weight is NaN.

    Attributes:
        scores: Bounded, shape ``[n, *labels]``.
        labels: Share of a positive that each example is, shape of the scores.
        prior: Share of positives in the constant of a form: the labels, or what replaces them.
        weights: Broadcast against the scores; None is 1 each.
        total: Sum of the weights, ``[*labels]``; of several ranks the share of each.
        rows: Number of examples, each with one term in a sum of losses; of all ranks.
    """

    scores: Tensor
    labels: Tensor
    prior: Tensor
    weights: Tensor | None
    total: Tensor
    rows: Number

    def blocks(self, points: int) -> "list[Batch]":
        """Cut the examples, so that a block times its points per label stays small."""
        rows = rows_per_block(self.scores, points)
        if rows >= self.scores.shape[0]:
            return [self]
        scores, labels = torch.split(self.scores, rows), torch.split(self.labels, rows)
        prior = labels if self.prior is self.labels else torch.split(self.prior, rows)
        weights: Any = [None] * len(scores)
        if self.weights is not None:
            weights = torch.split(self.weights.expand_as(self.scores), rows)
        parts = zip(scores, labels, prior, weights, strict=True)
        return [Batch(*part, self.total, self.rows) for part in parts]

    def points(self, threshold: Tensor, *, several: bool) -> "Points":
        """Look at the examples from the thresholds, of which there are several with anchors."""
        scores, labels, prior, weights = self[:4]
        if several:
            own = prior is labels
            scores, labels = scores.unsqueeze(-1), labels.unsqueeze(-1)
            prior = labels if own else prior.unsqueeze(-1)
            weights = None if weights is None else weights.unsqueeze(-1)
            # one label's anchors come first in memory: passes over a few at a time would be slow
            distance = (self.scores - threshold.movedim(-1, 0).unsqueeze(1)).movedim(0, -1)
        else:
            distance = scores - threshold
        return Points(scores, labels, 1 - labels, prior, weights, distance, several)

    def averages(self, losses: Tensor) -> Tensor:
        """Return the weighted average of each label, 0 where nothing has weight."""
        weighted = losses if self.weights is None else losses * self.weights
        return weighted.sum(0) / nonzero(self.total)

    def with_total(self, weight: Number, *, several: bool) -> "Batch":
        """Return the batch with another total weight: a number, or that of sums over points.

        Those of an area have ``several`` points per label, which weigh alike.
        """
        total = (
            weight.to(self.total) if isinstance(weight, Tensor) else as_tensor(weight, self.total)
        )
        if several and total.dim() > self.total.dim():
            total = total[..., 0]
        if not broadcasts(total.shape, self.total.shape):
            refuse("total_weight", "be a number, or `weight` of the sums", weight)
        return self._replace(total=total.detach().expand_as(self.total))

    def rows_as_tensor(self) -> Tensor:
        """Return the number of examples as a tensor, to be added up."""
        return self.total.new_zeros(1) + self.rows

    def reduce(self, losses: Tensor, reduction: Reduction) -> Tensor:
        """Reduce the losses of examples as torch does.

        Each is scaled such that their mean is the mean over labels of the averages.
        """
        if reduction == "mean":
            averages = self.averages(losses)
            return averages.sum() / max(averages.numel(), 1) if averages.dim() else averages
        rows = self.rows if reduction == "sum" else losses.shape[0]
        relative = rows / torch.where(self.total == 0, 1, self.total)
        each = losses * (relative if self.weights is None else self.weights * relative)
        return each.sum() if reduction == "sum" else each


def make_batch(
    logits: Tensor,
    labels: Tensor,
    weights: Number | None,
    label_priors: Number | None,
    ignore_index: int | None,
) -> Batch:
    """Check and clean a batch."""
    check_logits(logits)
    check_labels(logits, labels)
    # bounded here, so that beyond the bounds no way to differentiate finds a slope
    scores = functional.hardtanh(widen(logits), -MAX_SCORE, MAX_SCORE)
    targets, mass = clean_labels(labels, weights, ignore_index, scores)
    if mass is None:
        total = scores.new_full(scores.shape[1:], scores.shape[0])
    else:
        scores = scores.masked_fill(mass == 0, 0)
        total = mass.expand_as(scores).sum(0)
    prior = targets if label_priors is None else spread_priors(label_priors, scores)
    return Batch(scores, targets, prior, mass, total, scores.shape[0])


def spread_priors(label_priors: Number, scores: Tensor) -> Tensor:
    """Return given shares of positives in the shape of the scores."""
    prior = per_label("label_priors", label_priors, scores)
    if not isinstance(prior, Tensor):
        check_number("label_priors", prior, low=0, high=1, closed=True)
        prior = as_tensor(prior, scores)
    return prior.expand_as(scores)


def rows_per_block(scores: Tensor, points: int) -> int:
    """Return how many examples to work on at once, given the points per score.

    The compiler makes one pass of many operations anyway.
    """
    rows, size, block = max(scores.shape[0], 1), points * scores.numel(), BLOCK
    if points > 1:  # a block has a dozen temporaries, to stay below six times the scores
        block = min(block, max(scores.numel() // 2, BLOCK // 4))
    if torch.compiler.is_compiling() or size <= block:
        return rows
    return max(block * rows // size, 1)


def widen(values: Tensor) -> Tensor:
    """Return the values in float32 or wider, the precision in which losses are computed."""
    return values.float() if values.dtype.itemsize < 4 else values


def as_tensor(number: float, like: Tensor) -> Tensor:
    """Return a number as a tensor: by addition, so that one compiled graph serves all numbers."""
    return like.new_zeros(()) + number


def without_gradient(values: Tensor) -> Tensor:
    """Detach a tensor that has a gradient."""
    return values.detach() if values.requires_grad else values


def clean_labels(
    labels: Tensor, weights: Number | None, ignore_index: int | None, scores: Tensor
) -> tuple[Tensor, Tensor | None]:
    """Return labels in the dtype of the scores, 0 where they have no weight, and the weights.

    A label outside of [0, 1], such as a missing one, and a weight below 0 become NaN.
    """
    mass = spread_weights(weights, scores)
    if ignore_index is not None:
        mass = keep_known(mass, is_known(labels, ignore_index), scores.dtype)
    targets = without_gradient(labels).to(scores.dtype)
    if mass is not None:
        targets = targets.masked_fill(mass == 0, 0)
    return (targets if labels.dtype == torch.bool else only_shares(targets)), mass


def is_known(labels: Tensor, ignore_index: int) -> Tensor:
    """Tell which labels are not the one to ignore."""
    if not (is_number(ignore_index) and ignore_index == ignore_index):  # noqa: PLR0124, NaN
        refuse(
            "ignore_index", "be a number or None; a NaN label is left out by weight 0", ignore_index
        )
    # integers are compared as integers: 156 is -100 in 8 bits
    return (labels if labels.is_floating_point() else labels.long()) != ignore_index


def keep_known(weights: Tensor | None, known: Tensor, dtype: torch.dtype) -> Tensor:
    """Return weights that are 0 where a label is not known."""
    return known.to(dtype) if weights is None else torch.where(known, weights, 0)


def names_class(labels: Tensor, number: int) -> Tensor:
    """Tell which labels are the index of one of a number of classes."""
    index = labels if labels.is_floating_point() else labels.long()
    return (index >= 0) & (index < number) & (index == index.floor())


def only_shares(values: Tensor) -> Tensor:
    """Replace numbers outside of [0, 1] by NaN, and keep the others."""
    # a comparison with the clamped values would make compiled losses four times slower
    return values.masked_fill((values < 0) | (values > 1), math.nan)


def spread_weights(weights: Number | None, scores: Tensor) -> Tensor | None:
    """Return weights that broadcast against the scores from the left, in their rank and dtype.

    Below 0 they become NaN.
    """
    if weights is None:
        return None
    if not isinstance(weights, Tensor):
        check_number("weights", weights, low=0, closed=True)
        return as_tensor(weights, scores).reshape((1,) * scores.dim())
    leading = scores.shape[: weights.dim()]
    if weights.is_complex() or not broadcasts(weights.shape, leading):
        shape = list(scores.shape)
        refuse("weights", f"be a scalar or match the leading dimensions of {shape}", weights)
    ones = (1,) * (scores.dim() - weights.dim())
    return not_negative(without_gradient(weights).to(scores.dtype).reshape(weights.shape + ones))


def not_negative(values: Tensor) -> Tensor:
    """Replace numbers below 0 by NaN, and keep the others."""
    return values.masked_fill(values < 0, math.nan)


def nonzero(total: Tensor) -> Tensor:
    """Return a total weight to divide by: one of 0, whose sums are all 0, becomes tiny."""
    return total.clamp(min=torch.finfo(total.dtype).tiny)


class Points(NamedTuple):
    """Examples seen from their thresholds, of which there are one or several per label.

    With several, the anchors of an area are a last dimension; what belongs to an example alone has
    size 1 there.

    Attributes:
        scores: Shape ``[n, *labels]`` or ``[n, *labels, 1]``.
        positives: Share of a positive that each example is, shape of the scores.
        negatives: Share of a negative that each example is, shape of the scores.
        prior: Share of positives in the constant of a form: ``positives``, or a given one.
        weights: Broadcast against the scores; None is 1 each.
        distance: Of the scores above the thresholds, ``[n, *points]``.
        several: Whether there are anchors.
    """

    scores: Tensor
    positives: Tensor
    negatives: Tensor
    prior: Tensor
    weights: Tensor | None
    distance: Tensor
    several: bool

    def sum(self, values: Tensor) -> Tensor:
        """Add up values of the examples by their weights."""
        return (values if self.weights is None else values * self.weights).sum(0)

    def sum_of_sizes(self, values: Tensor) -> Tensor:
        """Add up absolute values of the examples by their weights."""
        weighted = values if self.weights is None else values * self.weights
        # of many columns a norm is slow
        return weighted.abs().sum(0) if self.several else weighted.norm(1, 0)

    def sum_of_distances(self) -> Tensor:
        """Add up how far the scores are from the threshold."""
        return self.sum_of_sizes(self.distance.clamp(-MAX_DISTANCE, MAX_DISTANCE))

    def average(self, values: Tensor) -> Tensor:
        """Average values over the anchors."""
        return values.mean(-1) if self.several else values

    def charge(self, form: LinearForm, sides: Sides) -> tuple[Tensor, Tensor]:
        """Charge each event of a form by its upper bound; return costs and slopes, at the points.

        An example has two prices: that of a call as negative, and that of a call as positive.
        """
        below, above = (sides.below, sides.below_slope), (sides.above, sides.above_slope)
        charges = None
        for coefficient, share, ways in (
            (form.false_negative, self.positives, below),
            (form.true_negative, self.negatives, below),
            (form.true_positive, self.positives, above),
            (form.false_positive, self.negatives, above),
        ):
            if not absent(coefficient):
                # of an area the product with the share would have the anchors last in memory
                price = share if self.several else times(coefficient, share)
                priced = [times(coefficient, x) if self.several else x for x in ways]
                pairs = zip(charges or priced, priced, strict=True)
                charges = [torch.addcmul(a, price, x) if charges else price * x for a, x in pairs]
        costs, slopes = charges or [torch.zeros_like(self.distance)] * 2
        return costs, slopes

    def count_up(self, total: Tensor, measured: Any) -> "Sums":
        """Return the sums over the examples, given their total weight and what a rule measured.

        A NaN score makes the sums of its label NaN.
        """
        above = (self.distance * torch.finfo(self.distance.dtype).max).clamp(0, 1)
        positives = self.sum(self.positives)
        prior = positives if self.prior is self.positives else self.sum(self.prior)
        caught, alarms = self.sum(above * self.positives), self.sum(above * self.negatives)
        return Sums(total, positives, caught, alarms, prior, measured)


class Sums(NamedTuple):
    """Additive sums over examples: those of two batches add up to those of the joined batch.

    Every tensor has the shape ``[*points]``: the labels, and for areas the anchors.

    Attributes:
        weight: Total weight.
        positives: Weight of the positives.
        true_positives: Weight of the positives above the threshold.
        false_positives: Weight of the negatives above the threshold.
        prior: Weight of the positives in the constant of a form: as above, unless priors are given.
        measured: What the dual rule sums besides, a NamedTuple of tensors.
    """

    weight: Tensor
    positives: Tensor
    true_positives: Tensor
    false_positives: Tensor
    prior: Tensor
    measured: Any

    def __add__(self, other: "Sums") -> "Sums":  # type: ignore[override]  # not a longer tuple
        """Return the sums of the joined batch."""
        return join([self, other])

    def __radd__(self, other: int) -> "Sums":
        """Return itself where :func:`sum` begins with 0."""
        return self if other == 0 else NotImplemented

    @property
    def false_negatives(self) -> Tensor:
        """Weight of the positives at or below the threshold."""
        return self.positives - self.true_positives

    @property
    def true_negatives(self) -> Tensor:
        """Weight of the negatives at or below the threshold."""
        return self.weight - self.positives - self.false_positives

    def of_events(self, form: LinearForm) -> Tensor:
        """Return the part of a form that the threshold decides."""
        parts = [
            times(coefficient, getattr(self, name))
            for name, coefficient in zip(EVENTS, form[:4], strict=True)
            if not absent(coefficient)
        ]
        return sum(parts[1:], start=parts[0]) if parts else torch.zeros_like(self.weight)


def join(parts: list[Sums]) -> Sums:
    """Add up the sums of several batches."""
    if len(parts) == 1:
        return parts[0]
    stacked = zip(*map(leaves, parts), strict=True)
    joined: Sums = unflatten(parts[0], (torch.stack(same).sum(0) for same in stacked))
    return joined
