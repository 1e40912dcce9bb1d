"""The curve that a threshold draws as it descends, and the areas under it."""

import math
from typing import Literal, NamedTuple, get_args

import torch
from torch import Tensor
from torch.nn import functional

Area = Literal["raw", "normalised", "mcclish"]
AREAS = get_args(Area)


class Curve(NamedTuple):
    """Weights above each threshold, from nothing positive to everything; shape ``[*labels, m]``.

    An entry is what counting gives where ``logit > threshold``. Neighbours may be equal: a tie
    takes one step, and the others of its entries repeat the entry before it.

    Attributes:
        threshold: Descending, in units of the logit: ``+inf`` first, ``-inf`` where all is
            positive.
        true_positives: Weight of the positives above the threshold.
        false_positives: Weight of the negatives above the threshold.
    """

    threshold: Tensor
    true_positives: Tensor
    false_positives: Tensor


def draw(weights: Tensor, threshold: Tensor, cuts: Tensor, broken: Tensor) -> Curve:
    """Accumulate weights ``[*labels, 2, m]`` of negatives and positives in descending order.

    Args:
        weights: Weight at each of ``m`` descending scores or cells.
        threshold: Lower end of each of them, ``[*labels, m]``.
        cuts: Whether a threshold can separate it from the next, ``[*labels, m]``.
        broken: Where a NaN makes every number of the label NaN, ``[*labels]``.
    """
    totals = weights.double().cumsum(-1)
    broken = broken | totals[..., -1:].isnan().any(-1).any(-1)
    totals = functional.pad(torch.where(cuts.unsqueeze(-2), totals, 0), (1, 0)).cummax(-1).values
    threshold = torch.where(cuts, threshold.double(), math.inf)
    threshold = functional.pad(threshold, (1, 0), value=math.inf)
    columns = (threshold.cummin(-1).values, totals[..., 1, :], totals[..., 0, :])
    return Curve(*(torch.where(broken.unsqueeze(-1), math.nan, column) for column in columns))


def ratio(part: Tensor, whole: Tensor) -> Tensor:
    """Divide a part by its whole, where nothing of nothing is 0."""
    return part / torch.where(whole == 0, 1, whole)


def roc_area(curve: Curve, max_fpr: float, area: Area) -> Tensor:
    """Integrate the true positive rate over false positive rates up to ``max_fpr``, ``[*labels]``.

    Between thresholds the curve is straight, so that ties count one half. Without positives or
    without negatives the area is that of chance.
    """
    recall = ratio(curve.true_positives, curve.true_positives[..., -1:])
    fpr = ratio(curve.false_positives, curve.false_positives[..., -1:])
    width = fpr.diff(dim=-1)
    inside = fpr.clamp(max=max_fpr).diff(dim=-1)
    height = recall[..., :-1] + ratio(inside, width) * recall.diff(dim=-1) / 2
    both_classes = curve.true_positives[..., -1] * curve.false_positives[..., -1] != 0
    chance = max_fpr**2 / 2
    raw = torch.where(both_classes, (inside * height).sum(-1), chance)
    if area == "mcclish":
        return (1 + (raw - chance) / (max_fpr - chance)) / 2
    return raw / max_fpr if area == "normalised" else raw


def stepped_precision(curve: Curve) -> Tensor:
    """Average the precision over the positives, each at the threshold that first includes it."""
    hits, alarms = curve.true_positives, curve.false_positives
    precision = ratio(hits, hits + alarms)[..., 1:]
    return ratio((hits.diff(dim=-1) * precision).sum(-1), hits[..., -1])
