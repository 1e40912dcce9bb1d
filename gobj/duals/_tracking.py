"""Tracking a threshold: damped Newton steps on the counted violation of a constraint."""

from typing import NamedTuple, TypeVar

import torch
from torch import Tensor

from gobj._batch import Batch
from gobj._checks import Number
from gobj._forms import Problem

FURTHEST = 1e4  # distance in the moments, so that an infinite score leaves them finite
LARGEST_STEP = 0.5  # of the threshold, in standard deviations of the score
NOISE_SHARE = 0.02  # squared share of the slack that the threshold's own noise may take
STEADY_RATE = 0.03  # damping where the violation is noise, and
PERSISTENT_RATE = 0.5  # where it keeps its sign
TINY = 1e-12

Averages = TypeVar("Averages", bound=tuple[Tensor, ...])


class Tracking(NamedTuple):
    """Running averages of batch rates that steer a threshold, each of shape ``[*labels]``.

    ``distance`` is that of the scores above the threshold. ``violation`` is signed: above 0 the
    threshold must rise. ``slope`` is its decrease per standard deviation of the score, ``slack``
    what the constraint allows at most.
    """

    distance: Tensor
    distance_squared: Tensor
    violation: Tensor
    violation_squared: Tensor
    slope: Tensor
    slack: Tensor

    def spread(self) -> Tensor:
        """Return the standard deviation of the score."""
        return (self.distance_squared - self.distance.square()).clamp(min=1e-8).sqrt()


def observe(
    old: Tracking, batch: Batch, problem: Problem, distance: Tensor, prior: Tensor, rate: Tensor
) -> tuple[Tracking, Tensor]:
    """Take a batch into the averages; return them and the signed violation of the batch itself."""
    finite, spread = distance.clamp(-FURTHEST, FURTHEST), old.spread()
    window = finite.abs().neg_().add_(spread).relu_()
    mean, square, everywhere, at_positives = batch.rates(
        finite, finite.square(), window, window * batch.labels
    )
    violation, slack = _violation(batch, problem, distance, prior)
    slope = _slope(problem, at_positives, everywhere - at_positives) / spread
    now = Tracking(mean, square, violation, violation.square(), slope, slack)
    return averaged(old, now, rate), violation


def averaged(old: Averages, now: Averages, rate: Tensor) -> Averages:
    """Move every average towards what a batch shows by the same rate."""
    return type(old)(*torch.lerp(torch.stack(list(old)), torch.stack(list(now)), rate).unbind(0))


def step_size(now: Tracking, violation: Tensor, steps: Tensor) -> Tensor:
    """Return how far the threshold moves: fast where the violation's sign persists."""
    noise = now.violation_squared.clamp(min=TINY**1.5)
    steady = (NOISE_SHARE * now.slack.square() / noise).clamp(max=STEADY_RATE)
    persistent = PERSISTENT_RATE * now.violation.square() / noise
    rate = torch.maximum(torch.maximum(steady, 0.3 / steps), persistent)
    newton = rate * violation / torch.maximum(now.slope, 0.1 * now.slack).clamp(min=TINY)
    return now.spread() * newton.clamp(-LARGEST_STEP, LARGEST_STEP)


def _violation(
    batch: Batch, problem: Problem, distance: Tensor, prior: Tensor
) -> tuple[Tensor, Tensor]:
    """Count the violation, signed so that above 0 the threshold must rise, and its slack.

    Where nothing is left to flag, or to leave out, a constraint on a ratio reads 0 for ever; there
    it counts as slack, so that the threshold comes back.
    """
    rates, direction = batch.counted(distance), problem.direction()
    slack = -problem.constraint.constant(prior)
    value = problem.constraint.value(rates, prior)
    flagged = rates.true_positive + rates.false_positive
    left = 0.5 + direction * (flagged - 0.5)  # what is flagged, or what is not
    return torch.where(left <= 0, torch.minimum(value, -0.2 * slack), value) * direction, slack


def _slope(problem: Problem, at_positives: Tensor, at_negatives: Tensor) -> Tensor:
    """Return how fast a rise repairs, given the densities of both classes at the threshold."""
    held, direction = problem.constraint, problem.direction()
    by_positives = (held.true_positive - held.false_negative) * direction
    by_negatives = (held.false_positive - held.true_negative) * direction
    return _positive(by_positives) * at_positives + _positive(by_negatives) * at_negatives


def _positive(coefficient: Number) -> Number:
    return coefficient.clamp(min=0) if isinstance(coefficient, Tensor) else max(coefficient, 0.0)
