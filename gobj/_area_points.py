"""A batch at many thresholds per label, the anchors of an area."""

import math

import torch
from torch import Tensor
from torch.nn import functional

from gobj._anchor_blocks import small_blocks
from gobj._anchor_examples import Examples
from gobj._anchored import AnchoredSums
from gobj._anchored_labels import AnchoredLabels
from gobj._attached import forward_mode
from gobj._batch import Batch
from gobj._checks import Number
from gobj._forms import LinearForm, Rates
from gobj._points import FURTHEST, OperatingPoints, Seen
from gobj._surrogates import Surrogate, zero_one


class AreaPoints(OperatingPoints):
    """A batch at the anchors of each label: thresholds are ``[*labels, anchors]``."""

    several = True

    def __init__(
        self, batch: Batch, threshold: Tensor, surrogate: Surrogate, *, averaged: bool = False
    ) -> None:
        """Lay the labels out in one dimension, which is how anchors are worked on.

        What examples cost may be averaged from the start, where no more than the mean is asked for.
        """
        super().__init__(batch, threshold, surrogate)
        labels = math.prod(batch.scores.shape[1:])
        flat, weights = (len(batch.scores), labels), batch.weights
        if weights is not None:
            weights = weights.expand_as(batch.scores).reshape(flat)
        self._mass = batch.mass
        if isinstance(batch.mass, Tensor):
            self._mass = batch.mass.reshape(labels)
        self._averaged = averaged
        self._examples = Examples(batch.scores.reshape(flat), batch.sides.reshape(flat), weights)
        self._thresholds = threshold.reshape(labels, threshold.shape[-1])
        self._anchored = AnchoredLabels(self._examples, self._thresholds, surrogate)

    def spread(self, values: Tensor) -> Tensor:
        """Make values per label broadcast against the anchors."""
        return values.unsqueeze(-1)

    def averaged(self, values: Number) -> Number:
        """Average values per anchor over the anchors of each label."""
        return values.mean(-1) if isinstance(values, Tensor) else values

    def elements(self, form: LinearForm, rest: Tensor | None = None) -> Tensor:
        """Bound a form of errors example by example, the mean over anchors.

        Add cross entropy, weighed by the rest, ``[labels]``.
        """
        positives, negatives = (
            torch.as_tensor(x, dtype=self.threshold.dtype, device=self.threshold.device)
            .expand(self.threshold.shape)
            .reshape(self._thresholds.shape)
            / self.threshold.shape[-1]
            for x in (form.false_negative, form.false_positive)
        )
        mass = self._mass if self._averaged and not forward_mode() else None
        costs = self._anchored.costs(positives, negatives, rest, mass)
        return costs.reshape(self.batch.scores.shape)

    def mixed(self, positives: Tensor, negatives: Tensor, rest: Tensor) -> Tensor:
        """Weigh the surrogate of each class, the mean over anchors, and cross entropy."""
        return self.elements(LinearForm(positives, negatives), rest.reshape(-1))

    def counted(self) -> Rates:
        """Count the joint rates."""
        return self._rates(AnchoredLabels(self._examples, self._thresholds, zero_one).sums())

    def bounded(self, form: LinearForm) -> Tensor:
        """Return the upper bound of a form of errors, anchor by anchor."""
        batch, bounds = self.batch, []
        for threshold in self.threshold.unbind(-1):
            distance = batch.scores.detach() - threshold
            cost = self.surrogate.terms(distance * batch.sides)[0]
            bounds.append(torch.stack([part for (part,) in batch.by_class(cost)]))
        missed, alarms = torch.stack(bounds, -1).unbind(0)
        return form.false_negative * missed + form.false_positive * alarms

    def climb(self, form: LinearForm) -> Tensor:
        """Return the derivative of that bound in the threshold."""
        sums = self._anchored.sums()
        of_positives = form.false_negative * self._average(sums.pulls_of_positives)
        return of_positives - form.false_positive * self._average(sums.pulls_of_negatives)

    def seen(self) -> Seen:
        """Count, and average the slopes of the surrogate.

        The distance of the scores from an anchor is taken by way of the mean threshold.
        """
        middle = self.threshold.mean(-1)
        residual, away = self._around(middle)
        sums = self._anchored.sums()
        return Seen(
            self._rates(sums),
            self._average(sums.pulls_of_positives),
            self._average(sums.pulls_of_negatives),
            self.spread(residual).expand_as(self.threshold),
            self.spread(away) + (self.threshold - self.spread(middle)).abs(),
        )

    def _around(self, middle: Tensor) -> tuple[Tensor, ...]:
        """Average the residual of cross entropy, and how far scores are from a middle."""
        parts, mass, (every, side, weight) = [], self.batch.mass, self._examples
        for rows in small_blocks(every):
            scores, sides = every[rows].detach(), side[rows]
            away = functional.hardtanh_((scores - middle.reshape(-1)).abs(), 0, FURTHEST)
            residual = (scores * sides).neg_().sigmoid_()
            both = residual, away
            if weight is not None:
                both = residual * weight[rows], away * weight[rows]
            parts.append(torch.stack([x.sum(0) for x in both]))
        return (torch.stack(parts).sum(0).reshape(2, *middle.shape) / mass).unbind(0)

    def _average(self, sums: Tensor) -> Tensor:
        """Divide sums by the weight of the batch."""
        mass = self.batch.mass
        shaped = sums.reshape(self.threshold.shape)
        return shaped / (self.spread(mass) if isinstance(mass, Tensor) else mass)

    def _rates(self, sums: AnchoredSums) -> Rates:
        hits, alarms = self._average(sums.hits), self._average(sums.alarms)
        share, covered = self.spread(self.batch.share), self.batch.covered()
        nobody = (self.spread(covered) if isinstance(covered, Tensor) else covered) - share
        return Rates(share - hits, alarms, hits, nobody - alarms)
