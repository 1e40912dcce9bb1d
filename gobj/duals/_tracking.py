"""Tracking a threshold: damped Newton steps on the counted violation of a constraint."""

from typing import NamedTuple

import torch
from torch import Tensor

from gobj._batch import Batch
from gobj._forms import Problem

LARGEST_SCORE = 1e4  # in the moments of the score, so that an infinite one leaves them finite
LARGEST_STEP = 0.5  # of the threshold, in standard deviations of the score
NOISE_SHARE = 0.02  # squared share of the slack that the threshold's own noise may take
STEADY_RATE = 0.03  # damping where the violation is noise, and
PERSISTENT_RATE = 0.5  # where it keeps its sign
TINY = 1e-12


class Tracking(NamedTuple):
    """Running averages of batch rates that steer a threshold, each of shape ``[*labels]``.

    ``violation`` is signed: above 0 the threshold must rise. ``slope`` is its decrease per standard
    deviation of the score, ``slack`` what the constraint allows at most.
    """

    score: Tensor
    score_squared: Tensor
    violation: Tensor
    violation_squared: Tensor
    slope: Tensor
    slack: Tensor

    def spread(self) -> Tensor:
        """Return the standard deviation of the score."""
        return (self.score_squared - self.score.square()).clamp(min=1e-8).sqrt()


def observe(
    old: Tracking, batch: Batch, problem: Problem, distance: Tensor, prior: Tensor, rate: Tensor
) -> tuple[Tracking, Tensor]:
    """Take a batch into the averages; return them and the signed violation of the batch itself."""
    scores = batch.scores.detach().clamp(-LARGEST_SCORE, LARGEST_SCORE)
    moments = old._replace(
        score=torch.lerp(old.score, batch.rate(scores), rate),
        score_squared=torch.lerp(old.score_squared, batch.rate(scores.square()), rate),
    )
    direction = problem.direction(prior)
    violation, slack = _violation(batch, problem, distance, prior, direction)
    slope = _slope(batch, problem, distance, moments.spread(), direction)
    return Tracking(
        score=moments.score,
        score_squared=moments.score_squared,
        violation=torch.lerp(old.violation, violation, rate),
        violation_squared=torch.lerp(old.violation_squared, violation.square(), rate),
        slope=torch.lerp(old.slope, slope, rate),
        slack=torch.lerp(old.slack, slack, rate),
    ), violation


def step_size(now: Tracking, violation: Tensor, steps: Tensor) -> Tensor:
    """Return how far the threshold moves: fast where the violation's sign persists."""
    noise = now.violation_squared.clamp(min=TINY**1.5)
    steady = (NOISE_SHARE * now.slack.square() / noise).clamp(max=STEADY_RATE)
    persistent = PERSISTENT_RATE * now.violation.square() / noise
    rate = torch.maximum(torch.maximum(steady, 0.3 / steps), persistent)
    newton = rate * violation / torch.maximum(now.slope, 0.1 * now.slack).clamp(min=TINY)
    return now.spread() * newton.clamp(-LARGEST_STEP, LARGEST_STEP)


def _violation(
    batch: Batch, problem: Problem, distance: Tensor, prior: Tensor, direction: Tensor
) -> tuple[Tensor, Tensor]:
    """Count the violation, signed so that above 0 the threshold must rise, and its slack.

    Where nothing is left to flag, or to leave out, a constraint on a ratio reads 0 for ever; there
    it counts as slack, so that the threshold comes back.
    """
    rates = batch.counted(distance)
    slack = -problem.constraint.constant(prior)
    value = problem.constraint.value(rates, prior)
    flagged = rates.true_positive + rates.false_positive
    idle = torch.where(direction > 0, flagged, 1 - flagged) <= 0
    return torch.where(idle, torch.minimum(value, -0.2 * slack), value) * direction, slack


def _slope(
    batch: Batch, problem: Problem, distance: Tensor, spread: Tensor, direction: Tensor
) -> Tensor:
    """Estimate how fast a rise of the threshold repairs, by a triangular window on the scores."""
    held = problem.constraint
    window = torch.relu(spread - distance.abs())
    at_positives = batch.rate(window * batch.labels)
    at_negatives = batch.rate(window) - at_positives
    by_positives = (held.true_positive - held.false_negative) * direction
    by_negatives = (held.false_positive - held.true_negative) * direction
    repaired = by_positives.clamp(min=0) * at_positives + by_negatives.clamp(min=0) * at_negatives
    return repaired / spread
