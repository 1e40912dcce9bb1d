"""What is measured of models side by side: curves, rates at thresholds, means with intervals."""

from typing import NamedTuple

import torch
from scipy import stats  # type: ignore[import-untyped]
from torch import Tensor

from gobj.metrics import curve_init, curve_points, curve_update
from gobj.metrics._curve import Curve
from gobj.metrics._reading import rates
from gobj.study.splits import Part
from gobj.study.training import side_by_side


class Estimate(NamedTuple):
    """A mean over seeds, its standard error, and half the width of its 95 % interval."""

    mean: float
    error: float
    half_width: float


def estimate(values: Tensor, overlap: float = 0.0) -> Estimate:
    """Summarise one value per seed, by Student's t distribution.

    Splits of one table share rows, so that their values vary together, and less than those of new
    tables would. With the ratio of test to training rows for ``overlap`` the variance of the mean
    is not ``s**2 / S`` but ``(1 / S + overlap) * s**2`` (Nadeau and Bengio, Inference for the
    generalization error, Machine Learning 2003).
    """
    seeds = len(values)
    error = values.double().std().item() * (1 / seeds + overlap) ** 0.5
    quantile = float(stats.t.ppf(0.975, seeds - 1))
    return Estimate(values.double().mean().item(), error, quantile * error)


def draw_curve(logits: Tensor, part: Part) -> Curve:
    """Return the curve of each seed: counts at every threshold, ``[S, n + 1]``."""
    weights = None if part.weights is None else side_by_side(part.weights)
    return draw_columns(logits, side_by_side(part.labels), weights)


def draw_columns(logits: Tensor, labels: Tensor, weights: Tensor | None) -> Curve:
    """Return the curve of each column of ``[n, K]``."""
    state = curve_update(curve_init((logits.shape[1],)), logits, labels, weights=weights)
    return curve_points(state)


def rates_at(threshold: Tensor, logits: Tensor, part: Part) -> dict[str, Tensor]:
    """Count each rate where ``logit > threshold``, by name, one per seed."""
    weights = None if part.weights is None else side_by_side(part.weights)
    return count_rates(threshold, logits, side_by_side(part.labels), weights)


def count_rates(
    threshold: Tensor, logits: Tensor, labels: Tensor, weights: Tensor | None
) -> dict[str, Tensor]:
    """Count each rate where ``logit > threshold``, by name, for each column of ``[n, K]``."""
    weights = torch.ones_like(labels) if weights is None else weights
    flagged = (logits > threshold) * weights
    positives, negatives = weights * labels, weights * (1 - labels)
    counts = [
        torch.stack([(flagged * (mass > 0)).double().sum(0), mass.double().sum(0)], 1)
        for mass in (positives, negatives)
    ]
    return {name: rate[:, 0] for name, rate in rates(Curve(threshold, *counts)).items()}
