"""Binomial tails, exact: by the incomplete beta function, in float64."""

import torch
from torch import Tensor

MOST_STEPS = 20_000  # of the continued fraction, which needs about the root of the number
STEPS_AT_ONCE = 16
CLOSE = 1e-14
HALVINGS = 60  # of an interval, until float64 has no middle


def binomial_cdf(successes: Tensor, trials: Tensor, rate: Tensor) -> Tensor:
    """Return the probability of at most so many successes; numbers need not be whole."""
    both = 0 * (successes.double() + trials + rate)
    successes, trials, rate = (x.double() + both for x in (successes, trials, rate))
    inside = (successes >= 0) & (successes < trials) & (rate > 0) & (rate < 1)
    k, n = torch.where(inside, successes, 0), torch.where(inside, trials, 1)
    p = torch.where(inside, rate, 0.5)
    tail = _incomplete_beta(n - k, k + 1, 1 - p)
    certain = (successes >= trials) | ((rate <= 0) & (successes >= 0))
    return torch.where(inside, tail, certain.double())


def upper_bound(successes: Tensor, trials: Tensor, miss: Tensor | float) -> Tensor:
    """Return the least rate at which so few successes have probability ``miss``: Clopper-Pearson.

    The true rate is above it with at most that probability.
    """
    low, high = torch.zeros_like(trials, dtype=torch.float64), torch.ones_like(trials).double()
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        likely = binomial_cdf(successes, trials, middle) > miss
        low, high = torch.where(likely, middle, low), torch.where(likely, high, middle)
    return torch.where(successes >= trials, 1.0, high)


def lower_bound(successes: Tensor, trials: Tensor, miss: Tensor | float) -> Tensor:
    """Return the greatest rate at which so many successes have probability ``miss``."""
    return 1 - upper_bound(trials - successes, trials, miss)


def most_successes(trials: Tensor, rate: Tensor, miss: Tensor | float) -> Tensor:
    """Return the most successes that have at most probability ``miss``; -1 if none does."""
    low, high = torch.full_like(trials, -1.0, dtype=torch.float64), trials.double()
    while bool((high - low > 1).any()):
        middle = ((low + high) / 2).floor()
        rare = binomial_cdf(middle, trials, rate) <= miss
        narrow = high - low > 1
        low = torch.where(narrow & rare, middle, low)
        high = torch.where(narrow & ~rare, middle, high)
    return low


def _incomplete_beta(a: Tensor, b: Tensor, x: Tensor) -> Tensor:
    """Return the regularised incomplete beta function, for ``a`` and ``b`` above 0.

    Lentz's evaluation of the continued fraction, on the side where it converges fast.
    """
    swap = x > (a + 1) / (a + b + 2)
    a, b = torch.where(swap, b, a), torch.where(swap, a, b)
    x = torch.where(swap, 1 - x, x)
    log_front = torch.lgamma(a + b) - torch.lgamma(a) - torch.lgamma(b)
    front = torch.exp(log_front + a * x.log() + b * torch.log1p(-x)) / a
    tiny = torch.finfo(torch.float64).tiny
    c, d = torch.ones_like(x), _away(1 - (a + b) * x / (a + 1), tiny).reciprocal()
    value = d
    for step in range(1, MOST_STEPS):
        before = value
        even = step * (b - step) * x / ((a + 2 * step - 1) * (a + 2 * step))
        d, c = _away(1 + even * d, tiny).reciprocal(), _away(1 + even / c, tiny)
        value = value * d * c
        odd = -(a + step) * (a + b + step) * x / ((a + 2 * step) * (a + 2 * step + 1))
        d, c = _away(1 + odd * d, tiny).reciprocal(), _away(1 + odd / c, tiny)
        value = value * d * c
        settled = step % STEPS_AT_ONCE == 0 and bool(
            ((value - before).abs() <= CLOSE * value.abs()).all()
        )
        if settled:
            break
    tail = front * value
    return torch.where(swap, 1 - tail, tail).clamp(0, 1)


def _away(value: Tensor, tiny: float) -> Tensor:
    """Keep a denominator away from 0."""
    return torch.where(value.abs() < tiny, tiny, value)
