"""Curves read: their points, areas and operating points."""

from typing import NamedTuple

import torch
from torch import Tensor

from gobj._checks import Number, broadcasts, check_choice, check_number, is_number, refuse
from gobj.metrics._curve import AREAS, Area, Curve, ratio, roc_area
from gobj.metrics._streaming import CurveState, check_state


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


def curve_points(state: CurveState) -> Curve:
    """Return the curve itself, to draw or to count at thresholds of your own.

    Args:
        state: From :func:`curve_update`.

    Returns:
        Thresholds from ``+inf`` down and the weights of true and false positives above each,
        shape ``[*labels, m]`` with one entry more than there are examples or cells, float64.

    Raises:
        ValueError: If ``state`` is none.

    Example:
        >>> import torch
        >>> from gobj.metrics import curve_points, curve_init, curve_update
        >>> scores, labels = torch.tensor([0.1, 0.9, 0.5]), torch.tensor([0, 1, 1])
        >>> curve_points(curve_update(curve_init(), scores, labels)).true_positives
        tensor([0., 1., 2., 2.], dtype=torch.float64)
    """
    check_state(state)
    return state.points()


def curve_compute(
    state: CurveState,
    *,
    max_fpr: float | None = None,
    area: Area = "mcclish",
    target_precision: Number | None = None,
    target_recall: Number | None = None,
    target_fpr: Number | None = None,
    target_tpr: Number | None = None,
    target_npv: Number | None = None,
    budget: Number | None = None,
) -> dict[str, Tensor]:
    r"""Read areas and operating points off a curve.

    Nothing of nothing is 0, so that no number is NaN unless a NaN was counted. Without positives,
    without negatives or without examples the ROC areas are those of chance; without positives
    ``average_precision`` is 0. ``positives`` and ``negatives`` tell such labels apart.

    An operating point is the best of the thresholds that the scores allow, without interpolation:

    .. math:: \max_b \text{value}(b) \quad \text{where the target holds for logit} > b

    Its value is what counting gives at its threshold. Where no threshold meets the target, it is
    the point at which the target is easiest to meet: nothing positive (``+inf``) for precision,
    FPR and budget, everything positive (``-inf``) for recall, TPR and NPV. On a grid a threshold is
    a cell's edge, to be compared with logits in the state's dtype.

    Args:
        state: From :func:`curve_update`.
        max_fpr: End of the partial ROC area, in (0, 1]; None leaves ``partial_auc`` out.
        area: ``"raw"``, ``"normalised"`` (raw over ``max_fpr``) or ``"mcclish"`` (0.5 is chance and
            1 perfect; scikit-learn's).
        target_precision: For ``recall_at_precision``, in [0, 1], a number or a tensor that
            broadcasts to ``[*labels]``; None leaves it out. Likewise the others:
        target_recall: For ``precision_at_recall``.
        target_fpr: For ``tpr_at_fpr``.
        target_tpr: For ``fpr_at_tpr``.
        target_npv: For ``specificity_at_npv``.
        budget: For ``recall_at_budget``: the share of all examples that may be called positive.

    Returns:
        Tensors ``[*labels]`` by name: ``roc_auc``, ``average_precision``, ``positives`` and
        ``negatives`` (weights), and as asked for ``partial_auc`` and each objective's value under
        its name and its threshold under that name with ``_threshold``.

    Raises:
        ValueError: If ``state`` is none, or a number or name is not as above.

    Example:
        >>> import torch
        >>> from gobj.metrics import curve_compute, curve_init, curve_update
        >>> scores, labels = torch.tensor([0.1, 0.9, 0.5, 0.7]), torch.tensor([0, 1, 1, 0])
        >>> state = curve_update(curve_init(), scores, labels)
        >>> result = curve_compute(state, target_recall=0.9)
        >>> [round(result[name].item(), 3) for name in ("roc_auc", "precision_at_recall")]
        [0.75, 0.667]
        >>> scores > result["precision_at_recall_threshold"]
        tensor([False,  True,  True,  True])

    References:
        McClish, `Analyzing a portion of the ROC curve <https://doi.org/10.1177/0272989X8900900307>`_,
        Medical Decision Making 1989.
    """
    curve = curve_points(state)
    results = {
        "roc_auc": roc_area(curve, 1.0, "raw"),
        "average_precision": state.average_precision(curve),
        "positives": curve.true_positives[..., -1],
        "negatives": curve.false_positives[..., -1],
    }
    if max_fpr is not None:
        if not (is_number(max_fpr) and 0 < max_fpr <= 1):
            refuse("max_fpr", "be a number in (0, 1]", max_fpr)
        check_choice("area", area, AREAS)
        results["partial_auc"] = roc_area(curve, max_fpr, area)
    targets = (target_precision, target_recall, target_fpr, target_tpr, target_npv, budget)
    for objective, target in zip(OBJECTIVES, targets, strict=True):
        if target is not None:
            results |= operating_point(curve, objective, target)
    return {name: value.to(state.weights.dtype) for name, value in results.items()}


def _check_rate(argument: str, target: Number, labels: torch.Size) -> None:
    """Require a number in [0, 1], or a floating-point tensor that broadcasts to the labels."""
    if not isinstance(target, Tensor):
        check_number(argument, target, low=0, high=1, closed=True)
    elif not (target.is_floating_point() and broadcasts(target.shape, labels)):
        refuse(argument, f"be a floating-point tensor that broadcasts to {list(labels)}", target)
