"""A batch at its operating points: what is flagged there, what errors cost, how classes pull."""

from abc import ABC, abstractmethod
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from gobj._attached import evaluation_point
from gobj._batch import Batch, per_class
from gobj._blend import Blend, blended
from gobj._checks import Number
from gobj._forms import LinearForm, Rates
from gobj._lagrangian import bounded_elements, bounds_of
from gobj._surrogates import LN2, Surrogate, cross_entropy

FEWEST = 1e-6  # positives, as a share of a batch
FURTHEST = 1e4  # distance that counts, so that an infinite score leaves the mean finite


class Seen(NamedTuple):
    """What a batch shows at its operating points, each ``[*points]``.

    The pull of a class is the mean of the slope of its surrogate, as a share of the batch; the
    residual is that of cross entropy in nats, over both classes. The distance is that of the
    scores.
    """

    rates: Rates
    pull_of_positives: Tensor
    pull_of_negatives: Tensor
    residual: Tensor
    distance: Tensor


class OperatingPoints(ABC):
    """A batch at one or several thresholds per label; the shape of these is ``[*points]``.

    Attributes:
        batch: The examples, ``[n, *labels]``.
        threshold: The thresholds, ``[*points]``.
        surrogate: Upper bound of the indicator of an error.
        several: Whether a label has more than one of the points.
    """

    several = False

    def __init__(self, batch: Batch, threshold: Tensor, surrogate: Surrogate) -> None:
        """Keep what is given."""
        self.batch, self.threshold, self.surrogate = batch, threshold, surrogate

    def spread(self, values: Tensor) -> Tensor:
        """Make values per label, ``[*labels]``, broadcast against the points."""
        return values

    def averaged(self, values: Number) -> Number:
        """Average values per point over the points of each label, ``[*labels]``."""
        return values

    def positives(self) -> Tensor:
        """Return the share of positives at each point, above 0 so that rates stay finite."""
        return self.spread(self.batch.share).clamp(min=FEWEST)

    @abstractmethod
    def elements(self, form: LinearForm) -> Tensor:
        """Bound a form example by example, its constant left out: ``[n, *labels]``.

        It is the mean over the points of a label, and differentiates in the scores alone.
        """

    @abstractmethod
    def mixed(self, positives: Tensor, negatives: Tensor, rest: Tensor) -> Tensor:
        """Weigh the surrogate of each class, and cross entropy at 0 by the rest: ``[n, *labels]``.

        The first two weights are ``[*points]``. To be called after :meth:`seen`.
        """

    @abstractmethod
    def counted(self) -> Rates:
        """Count the joint rates, each ``[*points]``."""

    @abstractmethod
    def bounded(self, form: LinearForm) -> Tensor:
        """Return the upper bound of a form, its constant left out, ``[*points]``."""

    @abstractmethod
    def climb(self, form: LinearForm) -> Tensor:
        """Return the derivative of that bound in the threshold, ``[*points]``."""

    @abstractmethod
    def seen(self) -> Seen:
        """Count, and average the slopes of the surrogate."""


class SinglePoints(OperatingPoints):
    """A batch at one threshold per label: the points are the labels."""

    def __init__(self, batch: Batch, threshold: Tensor, surrogate: Surrogate) -> None:
        """Measure the distances from the threshold."""
        super().__init__(batch, threshold, surrogate)
        self.distance = evaluation_point(batch.scores) - threshold
        self._terms: tuple[tuple[Tensor, Tensor], ...] = ()

    def elements(self, form: LinearForm) -> Tensor:
        """Bound a form example by example."""
        sides, margin = self.batch.sides, self.distance * self.batch.sides
        bounds = bounds_of(form, self.surrogate)
        parts = [(per_class(sides, *weights), *bound.terms(margin)) for bound, *weights in bounds]
        constants = [
            torch.as_tensor(x, dtype=margin.dtype, device=margin.device)
            for _, *weights in bounds
            for x in (self.threshold, *weights)
        ]
        blend = Blend(tuple(bound for bound, _, _ in bounds))
        return blend.attached(self.batch, blended(sides, parts), *constants)

    def mixed(self, positives: Tensor, negatives: Tensor, rest: Tensor) -> Tensor:
        """Weigh the surrogate of each class, and cross entropy."""
        sides, (bound, plain) = self.batch.sides, self._terms
        known = blended(sides, [(per_class(sides, positives, negatives), *bound), (rest, *plain)])
        constants = self.threshold, positives, negatives, torch.zeros_like(rest), rest, rest
        return Blend((self.surrogate, cross_entropy)).attached(self.batch, known, *constants)

    def counted(self) -> Rates:
        """Count the joint rates."""
        (hits,), (alarms,) = self.batch.by_class(self._flags())
        return self.batch.joint(hits, alarms)

    def bounded(self, form: LinearForm) -> Tensor:
        """Return the upper bound of a form."""
        return self._bounded(form, self.distance.detach())

    def _bounded(self, form: LinearForm, distance: Tensor) -> Tensor:
        return self.batch.rate(bounded_elements(self.batch, form, distance, self.surrogate))

    def climb(self, form: LinearForm) -> Tensor:
        """Return the derivative of that bound in the threshold."""

        def bound(rise: Tensor) -> Tensor:
            return self._bounded(form, self.distance.detach() - rise).sum()

        climb: Tensor = torch.func.grad(bound)(torch.zeros_like(self.threshold))
        return climb

    def seen(self) -> Seen:
        """Count, and average the slopes of the surrogate."""
        batch = self.batch
        bound = self.surrogate.terms(self.distance * batch.sides)
        plain = cross_entropy.terms(evaluation_point(batch.scores) * batch.sides)
        self._terms = bound, plain
        far = functional.hardtanh_(self.distance.detach().abs(), 0, FURTHEST)
        (hits, fall), (alarms, rise) = batch.by_class(self._flags(), bound[1].detach())
        residual, away = batch.rates(plain[1].detach(), far)
        return Seen(batch.joint(hits, alarms), -fall, -rise, residual * -LN2, away)

    def _flags(self) -> Tensor:
        return self.distance.detach().sign().relu_()
