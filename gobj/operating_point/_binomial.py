"""Binomial tails, exact, in float64: a series from the last term on, which is the largest."""

import math

import torch
from torch import Tensor

DEVIATIONS = 9  # below the last term, beyond which none counts in float64
AT_ONCE = 2**22  # terms that are summed at once
WAYS = 64  # that an interval is cut into
CLOSE = 1e-10  # width of an interval that is small enough


def binomial_cdf(successes: Tensor, trials: Tensor, rate: Tensor) -> Tensor:
    """Return the probability of at most so many successes, ``[...]``."""
    both = 0 * (successes.double() + trials + rate)
    k, n, p = (x.double() + both for x in (successes, trials, rate))
    above = k > n * p  # then what is left is the smaller tail
    tail = _lower_tail(
        torch.where(above, n - k - 1, k), n, torch.where(above, 1 - p, p).clamp(0, 1)
    )
    return torch.where(above, 1 - tail, tail)


def _lower_tail(k: Tensor, n: Tensor, p: Tensor) -> Tensor:
    """Sum the terms from ``k`` down, each of which follows from the one above it."""
    inside = (k >= 0) & (p > 0) & (p < 1)
    k, n, p = torch.where(inside, k, 0), torch.where(inside, n, 1), torch.where(inside, p, 0.5)
    log_last = torch.lgamma(n + 1) - torch.lgamma(k + 1) - torch.lgamma(n - k + 1)
    last = torch.exp(log_last + torch.xlogy(k, p) + torch.special.xlog1py(n - k, -p))
    if k.numel() == 0:
        return last
    deviation = (n * p * (1 - p)).max().sqrt().item()
    number = int(min(k.max().item(), DEVIATIONS * deviation + 16)) + 1
    flat = [x.reshape(-1, 1) for x in (k, n, p / (1 - p))]
    down = torch.arange(number, device=k.device, dtype=torch.float64)
    rows, sums = max(AT_ONCE // number, 1), []
    for start in range(0, len(flat[0]), rows):
        part, trials, odds = (x[start : start + rows] for x in flat)
        left = (part - down).clamp(min=0)
        ratio = left / ((trials - left + 1) * odds)
        sums.append(1 + ratio[:, :-1].cumprod(-1).sum(-1))
    total = last * torch.cat(sums).view_as(last)
    return torch.where(inside, total.clamp(max=1), 0)


def upper_bound(successes: Tensor, trials: Tensor, miss: Tensor | float) -> Tensor:
    """Return the least rate at which so few successes have probability ``miss``: Clopper-Pearson.

    The true rate is above it with at most that probability.
    """
    low = torch.zeros_like(successes, dtype=torch.float64).unsqueeze(-1)
    width, k, n = torch.ones_like(low), successes.unsqueeze(-1), trials.unsqueeze(-1)
    for _ in range(math.ceil(-math.log(CLOSE) / math.log(WAYS))):
        steps = torch.arange(1, WAYS, device=low.device) / WAYS
        likely = binomial_cdf(k, n, low + steps * width) > miss
        width = width / WAYS
        low = low + likely.sum(-1, keepdim=True) * width
    bound = (low + width).squeeze(-1)
    return torch.where(successes >= trials, 1.0, bound)


def most_successes(trials: Tensor, rate: Tensor, miss: Tensor | float) -> Tensor:
    """Return the most successes that have at most probability ``miss``; -1 if none does."""
    low = torch.full_like(trials, -1.0, dtype=torch.float64).unsqueeze(-1)
    n, p = trials.unsqueeze(-1).double(), rate.unsqueeze(-1)
    step = torch.ones_like(low)
    while bool((step * WAYS < n + 1).any()):
        step = torch.where(step * WAYS < n + 1, step * WAYS, step)
    while True:
        places = low + torch.arange(1, WAYS + 1, device=low.device) * step
        rare = (binomial_cdf(places.minimum(n), n, p) <= miss) & (places <= n)
        low = low + rare.sum(-1, keepdim=True) * step
        if bool((step == 1).all()):
            return low.squeeze(-1)
        step = (step / WAYS).clamp(min=1)
