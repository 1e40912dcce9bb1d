"""Tracking a threshold: damped Newton steps on the counted violation of a constraint."""

from typing import NamedTuple, TypeVar

import torch
from torch import Tensor

from gobj._checks import Number
from gobj._forms import Problem, Rates
from gobj._points import OperatingPoints

LARGEST_STEP = 0.3  # of the threshold, in mean distances of the scores from it
NOISE_SHARE = 0.02  # squared share of the slack that the threshold's own noise may take
PULL_OF_DENSITY = 2.0  # what a slope weighs in all, less as most scores lie on its light side
STEADY_RATE = 0.03  # damping where the violation is noise, and
PERSISTENT_RATE = 0.5  # where it keeps its sign
NOBODY = 1e-6  # share of the batch that may be rounding
TINY = 1e-12

Averages = TypeVar("Averages", bound=tuple[Tensor, ...])


class Tracking(NamedTuple):
    """Running averages of batch rates that steer a threshold, each of shape ``[*labels]``.

    ``positives`` and ``negatives`` are how hard each class pulls on the threshold, the slope of its
    surrogate; ``residual`` is that of cross entropy. ``distance`` is how far the scores are from
    the threshold. ``violation`` is signed: above 0 the threshold must rise. ``slack`` is what the
    constraint allows at most.
    """

    positives: Tensor
    negatives: Tensor
    residual: Tensor
    distance: Tensor
    violation: Tensor
    violation_squared: Tensor
    slack: Tensor


def observed(
    points: OperatingPoints, problem: Problem, direction: Number, prior: Tensor
) -> Tracking:
    """Return what a batch shows; the direction is that of the problem, in which it is repaired."""
    seen = points.seen()
    violation, slack = _violation(problem, direction, seen.rates, prior)
    return Tracking(
        seen.pull_of_positives,
        seen.pull_of_negatives,
        seen.residual,
        seen.distance,
        violation,
        violation.square(),
        slack,
    )


def averaged(old: Averages, now: Averages, rate: Tensor) -> Averages:
    """Move every average towards what a batch shows by the same rate."""
    return type(old)(*torch.lerp(torch.stack(list(old)), torch.stack(list(now)), rate).unbind(0))


def step_size(
    problem: Problem, direction: Number, now: Tracking, violation: Tensor, steps: Tensor
) -> Tensor:
    """Return how far the threshold moves: fast where the violation's sign persists."""
    noise = now.violation_squared.clamp(min=TINY**1.5)
    steady = (NOISE_SHARE * now.slack.square() / noise).clamp(max=STEADY_RATE)
    persistent = PERSISTENT_RATE * now.violation.square() / noise
    rate = torch.maximum(torch.maximum(steady, 0.3 / steps), persistent)
    slope = _slope(problem, direction, now) * now.distance
    newton = rate * violation / torch.maximum(slope, 0.2 * now.slack).clamp(min=TINY)
    return now.distance * newton.clamp(-LARGEST_STEP, LARGEST_STEP)


def _violation(
    problem: Problem, direction: Number, rates: Rates, prior: Tensor
) -> tuple[Tensor, Tensor]:
    """Count the violation, signed so that above 0 the threshold must rise, and its slack.

    Where nothing is left to flag, or to leave out, a constraint on a ratio reads 0 for ever; there
    it counts as slack, so that the threshold comes back. Where nothing is left to win, slack does
    not count, so that the threshold stays.
    """
    slack = -problem.constraint.constant(prior)
    value = problem.constraint.value(rates, prior)
    flagged = rates.true_positive + rates.false_positive
    left = 0.5 + direction * (flagged - 0.5)  # what is flagged, or what is not
    value = torch.where(left < 1 - NOBODY, value, value.clamp(min=0))
    return torch.where(left < NOBODY, torch.minimum(value, -0.2 * slack), value) * direction, slack


def _slope(problem: Problem, direction: Number, now: Tracking) -> Tensor:
    """Return how fast a rise of the threshold repairs, where pulls stand for densities there."""
    held, towards = problem.constraint, direction / PULL_OF_DENSITY
    by_positives = (held.true_positive - held.false_negative) * towards
    by_negatives = (held.false_positive - held.true_negative) * towards
    return _positive(by_positives) * now.positives + _positive(by_negatives) * now.negatives


def _positive(coefficient: Number) -> Number:
    return coefficient.clamp(min=0) if isinstance(coefficient, Tensor) else max(coefficient, 0.0)
