"""The best point of a curve that meets a target."""

from typing import NamedTuple

import torch
from torch import Tensor

from gobj._checks import Number, broadcasts, check_number, refuse
from gobj.metrics._curve import Curve, ratio


class Objective(NamedTuple):
    """Which rate is optimized while which is constrained.

    Attributes:
        name: Name of its value in the results.
        argument: Name of the target.
        optimized: Rate that is to be best.
        constrained: Rate that has to meet a target.
        start: Where the target holds most easily, and the answer where it holds nowhere: entry 0,
            nothing positive, or entry -1, everything positive.
    """

    name: str
    argument: str
    optimized: str
    constrained: str
    start: int


OBJECTIVES = (
    Objective("recall_at_precision", "target_precision", "recall", "precision", 0),
    Objective("precision_at_recall", "target_recall", "precision", "recall", -1),
    Objective("tpr_at_fpr", "target_fpr", "recall", "fpr", 0),
    Objective("fpr_at_tpr", "target_tpr", "fpr", "recall", -1),
    Objective("specificity_at_npv", "target_npv", "specificity", "npv", -1),
    Objective("recall_at_budget", "budget", "recall", "flagged", 0),
)
LOW_IS_GOOD = ("fpr", "flagged")


def rates(curve: Curve) -> dict[str, Tensor]:
    """Return every rate at each threshold; nothing of nothing is 0."""
    hits, alarms = curve.true_positives, curve.false_positives
    positives, negatives = hits[..., -1:], alarms[..., -1:]
    rejected, missed = negatives - alarms, positives - hits
    return {
        "recall": ratio(hits, positives),
        "precision": ratio(hits, hits + alarms),
        "fpr": ratio(alarms, negatives),
        "specificity": ratio(rejected, negatives),
        "npv": ratio(rejected, rejected + missed),
        "flagged": ratio(hits + alarms, positives + negatives),
    }


def operating_point(curve: Curve, objective: Objective, target: Number) -> dict[str, Tensor]:
    """Return the objective's value and its threshold by name, each ``[*labels]``."""
    name, argument, optimized, constrained, start = objective
    _check_rate(argument, target, curve.threshold.shape[:-1])
    table = rates(curve)
    value, share = table[optimized], table[constrained]
    if isinstance(target, Tensor):  # a share equal to the target must not miss it by rounding
        share, target = share.to(target.dtype), target.unsqueeze(-1)
    met = share <= target if constrained in LOW_IS_GOOD else share >= target
    merit = torch.where(met, -value if optimized in LOW_IS_GOOD else value, -2)
    # Of equal entries argmax takes the first, which is the fewest positives; where none meets the
    # target all are equal.
    last = merit.shape[-1] - 1
    chosen = merit.argmax(-1) if start == 0 else last - merit.flip(-1).argmax(-1)
    point = {name: value, f"{name}_threshold": curve.threshold}
    return {key: row.gather(-1, chosen.unsqueeze(-1)).squeeze(-1) for key, row in point.items()}


def _check_rate(argument: str, target: Number, labels: torch.Size) -> None:
    """Require a number in [0, 1], or a floating-point tensor that broadcasts to the labels."""
    if not isinstance(target, Tensor):
        check_number(argument, target, low=0, high=1, closed=True)
    elif not (target.is_floating_point() and broadcasts(target.shape, labels)):
        refuse(argument, f"be a floating-point tensor that broadcasts to {list(labels)}", target)
