"""A batch at many thresholds per label, the anchors of an area."""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from gobj._attached import attached, evaluation_point
from gobj._batch import per_class
from gobj._checks import Number
from gobj._forms import LinearForm, Rates
from gobj._points import FURTHEST, OperatingPoints, Seen
from gobj._surrogates import Surrogate, cross_entropy


@dataclass(frozen=True)
class AnchorBlend:
    """The mean over anchors of a surrogate with a weight per class, and cross entropy at 0."""

    surrogate: Surrogate

    def terms(
        self,
        scores: Tensor,
        sides: Tensor,
        threshold: Tensor,
        positives: Tensor,
        negatives: Tensor,
        *rest: Tensor,
    ) -> tuple[Tensor, Tensor]:
        """Compute value and slope; thresholds and the weights of classes are ``[*points]``."""
        anchors = threshold.shape[-1]
        columns = (x.expand(threshold.shape).unbind(-1) for x in (threshold, positives, negatives))
        value, slope = torch.zeros_like(scores), torch.zeros_like(scores)
        for at, of_positives, of_negatives in zip(*columns, strict=True):
            weights = per_class(sides, of_positives / anchors, of_negatives / anchors)
            cost, fall = self.surrogate.terms((scores - at) * sides)
            value, slope = value + weights * cost, slope + weights * fall
        if rest:
            cost, fall = cross_entropy.terms(scores * sides)
            value, slope = value + rest[0] * cost, slope + rest[0] * fall
        return value, slope * sides


class AreaPoints(OperatingPoints):
    """A batch at the anchors of each label: thresholds are ``[*labels, anchors]``."""

    several = True

    def spread(self, values: Tensor) -> Tensor:
        """Make values per label broadcast against the anchors."""
        return values.unsqueeze(-1)

    def averaged(self, values: Number) -> Number:
        """Average values per anchor over the anchors of each label."""
        return values.mean(-1) if isinstance(values, Tensor) else values

    def elements(self, form: LinearForm) -> Tensor:
        """Bound a form of errors example by example, the mean over anchors."""
        return self._blended(form.false_negative, form.false_positive)

    def mixed(self, positives: Tensor, negatives: Tensor, rest: Tensor) -> Tensor:
        """Weigh the surrogate of each class, the mean over anchors, and cross entropy."""
        return self._blended(positives, negatives, rest.squeeze(-1))

    def _blended(self, *weights: Number) -> Tensor:
        tensors = [
            torch.as_tensor(x, dtype=self.threshold.dtype, device=self.threshold.device)
            for x in weights
        ]
        constants = self.batch.sides, self.threshold, *tensors
        blend = AnchorBlend(self.surrogate)
        known = blend.terms(evaluation_point(self.batch.scores), *constants)
        return attached(self.batch.scores, known, blend.terms, *constants)

    def _distances(self) -> Iterator[Tensor]:
        scores = self.batch.scores.detach()
        return (scores - at for at in self.threshold.unbind(-1))

    def counted(self) -> Rates:
        """Count the joint rates."""
        counts = [self.batch.counted(distance)[0] for distance in self._distances()]
        return Rates(*(torch.stack(x, -1) for x in zip(*counts, strict=True)))

    def bounded(self, form: LinearForm) -> Tensor:
        """Return the upper bound of a form of errors."""
        missed, alarms = self._sums(0)
        return form.false_negative * missed + form.false_positive * alarms

    def climb(self, form: LinearForm) -> Tensor:
        """Return the derivative of that bound in the threshold."""
        positives, negatives = self._sums(1)
        return form.false_positive * negatives - form.false_negative * positives

    def _sums(self, term: int) -> tuple[Tensor, Tensor]:
        """Average the surrogate's costs (0) or slopes (1) of positives and of negatives."""
        sides = self.batch.sides
        totals = []
        for distance in self._distances():
            value = self.surrogate.terms(distance * sides)[term]
            total, balance = self.batch.rates(value, value * sides)
            totals.append(torch.stack(((total + balance) / 2, (total - balance) / 2)))
        positives, negatives = torch.stack(totals, -1).unbind(0)
        return positives, negatives

    def seen(self) -> Seen:
        """Count, and average the slopes of the surrogate.

        The distance of the scores from an anchor is taken by way of the mean threshold.
        """
        batch, middle = self.batch, self.threshold.mean(-1)
        scores = batch.scores.detach()
        residual = cross_entropy.terms(scores * batch.sides)[1]
        rest, away = batch.rates(residual, (scores - middle).abs().clamp(max=FURTHEST))
        positives, negatives = self._sums(1)
        return Seen(
            self.counted(),
            -positives,
            -negatives,
            -self.spread(rest).expand_as(positives),
            self.spread(away) + (self.threshold - self.spread(middle)).abs(),
        )
