"""The best threshold of a sample, and whether a target is within reach."""

from typing import NamedTuple

import torch
from torch import Tensor

from gobj._checks import Number
from gobj.metrics import Curve
from gobj.operating_point._cuts import Cuts, check_point, cuts_of_curve, cuts_of_sample, rate_of
from gobj.problem import Problem

ROUNDING = 1e-12  # of a constraint that is met with equality


class OperatingPoint(NamedTuple):
    """A threshold, and what a sample shows there; every tensor is ``[*labels]``.

    Attributes:
        threshold: An example is called positive where ``logit > threshold``.
        feasible: Whether the constraint is met on the sample.
        cost: Value of the cost, a share of the sample.
        constraint: Value of the constraint, at most 0 where it is met.
        recall: Share of the positives that are called positive.
        precision: Share of those called positive that are positives; 0 where none is.
        fpr: Share of the negatives that are called positive.
        npv: Share of those called negative that are negatives; 0 where none is.
        flagged: Share of all examples that are called positive.
    """

    threshold: Tensor
    feasible: Tensor
    cost: Tensor
    constraint: Tensor
    recall: Tensor
    precision: Tensor
    fpr: Tensor
    npv: Tensor
    flagged: Tensor


def fit_threshold(
    logits: Tensor,
    labels: Tensor,
    problem: Problem,
    *,
    weights: Number | None = None,
    ignore_index: int | None = None,
) -> OperatingPoint:
    r"""Choose the threshold of least cost among those that meet the constraint on a sample.

    .. math:: \min_t\ c(t) \quad\text{s.t.}\quad g(t) \le 0

    over every threshold that tells two scores apart, by counting: no surrogate, no sampling. Give
    it scores that no training has seen. The scores may be those of any model; after an average of
    weights, or any other change of a model, the threshold is read again from its new scores.

    Where no threshold meets the constraint, the target is out of reach on this sample; then
    ``feasible`` is false and the threshold is the one that comes closest, of those the cheapest. To
    call nobody meets no precision.

    Args:
        logits: Scores of the examples, any that rank, shape ``[n, *labels]``.
        labels: 1 for a positive, 0 for a negative, or the share of a positive in between, shape of
            the logits.
        problem: Pair of linear forms, such as ``gobj.recall_at_precision(0.9)``.
        weights: At or above 0, scalar, ``[n]`` or up to ``[n, *labels]``; 1 by default.
        ignore_index: Label that marks an example as absent; None for no such label.

    Returns:
        Threshold, feasibility and what the sample shows there.

    Raises:
        ValueError: If a shape, a dtype or the problem is not as above.

    Example:
        >>> import gobj, torch
        >>> logits = torch.tensor([2.0, 1.5, 1.0, 0.0, -1.0])
        >>> labels = torch.tensor([1, 1, 0, 1, 0])
        >>> point = gobj.fit_threshold(logits, labels, gobj.recall_at_precision(0.7))
        >>> point.threshold.item(), point.recall.item(), point.precision.item()
        (-1.0, 1.0, 0.75)
        >>> gobj.fit_threshold(logits, labels, gobj.precision_at_recall(0.6)).threshold.item()
        1.0

    References:
        The threshold counterpart of :func:`gobj.constrained_loss`, which takes the same problem.
    """
    check_point(problem)
    return best_of(cuts_of_sample(logits, labels, weights, ignore_index), problem)


def fit_threshold_to_curve(curve: Curve, problem: Problem) -> OperatingPoint:
    r"""Choose the threshold of least cost among those that meet the constraint on a curve.

    .. math:: \min_t\ c(t) \quad\text{s.t.}\quad g(t) \le 0

    What :func:`fit_threshold` does, for a curve of :mod:`gobj.metrics` that was streamed over
    batches or merged over ranks. On a grid the thresholds are the edges of its cells.

    Args:
        curve: From ``gobj.metrics.curve_points``.
        problem: Pair of linear forms, such as ``gobj.recall_at_precision(0.9)``.

    Returns:
        Threshold, feasibility and what the curve shows there.

    Raises:
        ValueError: If the problem is not as above.

    Example:
        >>> import gobj, torch
        >>> from gobj.metrics import curve_init, curve_points, curve_update
        >>> logits = torch.tensor([2.0, 1.5, 1.0, 0.0, -1.0])
        >>> state = curve_update(curve_init(), logits, torch.tensor([1, 1, 0, 1, 0]))
        >>> problem = gobj.precision_at_recall(0.6)
        >>> gobj.fit_threshold_to_curve(curve_points(state), problem).threshold.item()
        1.0

    References:
        See :func:`fit_threshold`.
    """
    check_point(problem)
    return best_of(cuts_of_curve(curve), problem)


def best_of(cuts: Cuts, problem: Problem) -> OperatingPoint:
    """Return the cheapest of the cuts that meet the constraint, or that come closest to it."""
    excess, rate = cuts.value(problem.constraint), rate_of(problem.constraint, cuts)
    if rate is not None:  # of nothing a rate is no news, unless there is nothing else
        some = (rate.counted > 0) | ~(rate.counted > 0).any(-1, keepdim=True)
        share = rate.bad / torch.where(rate.counted == 0, 1, rate.counted)
        excess = torch.where(some, share - rate.limit, torch.inf)
    met, closest = excess <= ROUNDING, excess <= excess.amin(-1, keepdim=True)
    feasible = met.any(-1)
    return cheapest(cuts, problem, torch.where(feasible.unsqueeze(-1), met, closest), feasible)


def cheapest(cuts: Cuts, problem: Problem, allowed: Tensor, feasible: Tensor) -> OperatingPoint:
    """Return the cheapest of the cuts that are allowed."""
    cost, constraint = cuts.value(problem.cost), cuts.value(problem.constraint)
    price = torch.where(allowed, cost, torch.inf)
    # of those that cost the same, the one with most to spare
    least = price <= price.amin(-1, keepdim=True)
    index = torch.where(least, constraint, torch.inf).argmin(-1)
    hits, alarms = (cuts.at(x, index) for x in (cuts.true_positives, cuts.false_positives))
    positives, negatives = cuts.positives.squeeze(-1), cuts.negatives.squeeze(-1)
    missed, rejected = positives - hits, negatives - alarms
    shares = (
        (hits, positives),
        (hits, hits + alarms),
        (alarms, negatives),
        (rejected, rejected + missed),
        (hits + alarms, positives + negatives),
    )
    rates = (part / torch.where(whole == 0, 1, whole) for part, whole in shares)
    values = (cuts.at(x, index) for x in (cost, constraint))
    return OperatingPoint(cuts.at(cuts.threshold, index), feasible, *values, *rates)
