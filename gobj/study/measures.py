"""What is measured of models side by side: curves, rates at thresholds, means with intervals."""

from typing import NamedTuple

import torch
from scipy import stats  # type: ignore[import-untyped]
from torch import Tensor

from gobj.metrics import curve_init, curve_points, curve_update
from gobj.metrics._curve import Curve
from gobj.metrics._reading import rates
from gobj.study.splits import Part


class Estimate(NamedTuple):
    """A mean over seeds, its standard error, and half the width of its 95 % interval."""

    mean: float
    error: float
    half_width: float


def estimate(values: Tensor) -> Estimate:
    """Summarise one value per seed, by Student's t distribution."""
    seeds = len(values)
    error = values.double().std().item() / seeds**0.5
    quantile = float(stats.t.ppf(0.975, seeds - 1))
    return Estimate(values.double().mean().item(), error, quantile * error)


def draw_curve(logits: Tensor, part: Part) -> Curve:
    """Return the curve of each seed: counts at every threshold, ``[S, n + 1]``."""
    weights = None if part.weights is None else part.weights.T
    state = curve_update(curve_init((logits.shape[1],)), logits, part.labels.T, weights=weights)
    return curve_points(state)


def rates_at(threshold: Tensor, logits: Tensor, part: Part) -> dict[str, Tensor]:
    """Count each rate where ``logit > threshold``, by name, one per seed."""
    weights = torch.ones_like(part.labels) if part.weights is None else part.weights
    flagged = (logits > threshold).T * weights
    positives, negatives = weights * part.labels, weights * (1 - part.labels)
    counts = [
        torch.stack([(flagged * (mass > 0)).double().sum(1), mass.double().sum(1)], 1)
        for mass in (positives, negatives)
    ]
    return {name: rate[:, 0] for name, rate in rates(Curve(threshold, *counts)).items()}
