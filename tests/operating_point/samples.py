"""Samples with known distributions, and the six objectives."""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

import gobj

NORMAL = torch.distributions.Normal(0.0, 1.0)


class Aim(NamedTuple):
    """An objective: what builds its problem, and which rate has to be above or below its target."""

    builder: Callable[[float], gobj.Problem]
    rate: str
    at_least: bool


AIMS = {
    "recall at precision": Aim(gobj.recall_at_precision, "precision", True),
    "precision at recall": Aim(gobj.precision_at_recall, "recall", True),
    "TPR at FPR": Aim(gobj.tpr_at_fpr, "fpr", False),
    "FPR at TPR": Aim(gobj.fpr_at_tpr, "recall", True),
    "specificity at NPV": Aim(gobj.specificity_at_npv, "npv", True),
    "recall at budget": Aim(gobj.recall_at_budget, "flagged", False),
}


def draw(
    rows: int, prior: float, repeats: int, distance: float, digits: int | None, seed: int = 0
) -> tuple[Tensor, Tensor]:
    """Draw scores of two normal classes, rounded to digits for ties, ``[rows, repeats]``."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.rand(rows, repeats, generator=generator) < prior
    scores = torch.randn(rows, repeats, generator=generator, dtype=torch.float64)
    scores = scores + distance * labels
    return (scores if digits is None else scores.round(decimals=digits)), labels


def true_rates(
    threshold: Tensor, prior: float, distance: float, digits: int | None
) -> dict[str, Tensor]:
    """Return the rates of the distribution above a threshold, with scores rounded or not."""
    if digits is not None:  # above a step is above the middle to the next
        threshold = (threshold * 10**digits).round() / 10**digits + 0.5 / 10**digits
    recall, fpr = 1 - NORMAL.cdf(threshold - distance), 1 - NORMAL.cdf(threshold)
    flagged = prior * recall + (1 - prior) * fpr
    return {
        "recall": recall,
        "fpr": fpr,
        "precision": torch.where(flagged > 0, prior * recall / flagged, 1.0),
        "npv": torch.where(flagged < 1, (1 - prior) * (1 - fpr) / (1 - flagged), 1.0),
        "flagged": flagged,
    }
