"""Thresholds at which a constraint holds on new data, with confidence, in finite samples."""

import math
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from gobj._checks import Number, check_choice, check_number, refuse
from gobj.operating_point._binomial import (
    binomial_cdf,
    most_successes,
    upper_bound,
)
from gobj.operating_point._cuts import Cuts, Rate, check_point, cuts_of_sample, rate_of
from gobj.operating_point.fit import OperatingPoint, cheapest
from gobj.problem import LinearForm, Problem

Simultaneous = Literal["none", "bonferroni"]
WHOLE = 1e-6  # of a sum of weights that is a whole number
LATER = 0.5  # of the confidence of a start goes to the next: good scores reject from the first
MOST_TESTS = 1024  # cuts that are tested, evenly on a log scale of what they call


class Certificate(NamedTuple):
    """A threshold and what is certain about it; every tensor is ``[*labels]``.

    Attributes:
        threshold: An example is called positive where ``logit > threshold``. Where nothing can be
            certified, ``+inf`` or ``-inf``: the end at which the constraint is met best.
        feasible: Whether the sample supports a threshold.
        rate: Share of the events that break the constraint among those that it is about, on the
            sample: 1 - recall, FPR, 1 - precision, 1 - NPV, or the share that is flagged.
        rate_bound: What this share is below on new data, with the confidence; 1 if not
            feasible.
        rate_limit: What it has to be below.
        cost_rate: Share of the events that cost among the examples of their classes, whatever their
            price: of missed positives, or of false alarms.
        cost_low: Lower end of its interval, with the confidence for this label at a threshold that
            was given; to have chosen it from the same sample is not counted.
        cost_high: Upper end of its interval.
        examples: Weight of the sample.
        examples_needed: About how many examples would support a threshold: at most ``examples``
            where one is feasible, ``inf`` where the sample shows none that would.
        point: What the sample shows at the threshold.
    """

    threshold: Tensor
    feasible: Tensor
    rate: Tensor
    rate_bound: Tensor
    rate_limit: Tensor
    cost_rate: Tensor
    cost_low: Tensor
    cost_high: Tensor
    examples: Tensor
    examples_needed: Tensor
    point: OperatingPoint


def certify(
    logits: Tensor,
    labels: Tensor,
    problem: Problem,
    *,
    confidence: float = 0.95,
    simultaneous: Simultaneous = "none",
    weights: Number | None = None,
    ignore_index: int | None = None,
) -> Certificate:
    r"""Choose a threshold at which the constraint holds on new data, with confidence.

    .. math:: \Pr\bigl[\,g(\hat t) \le 0 \text{ for the distribution}\,\bigr] \ge 1 - \delta

    over samples of independent examples of that distribution that no training has seen, for any
    model. Tails are exact, and no normal approximation is used. A sample too small says so.

    **Recall, FPR and budgets** are about all positives, all negatives or all examples, and rise or
    fall with the threshold: the threshold is an order statistic, the last at which as many bad
    events are as rare as :math:`\delta` at the limit.

    **Precision and NPV** are about those that are called. Given a threshold at a score, those above
    it are independent draws, so that their number of bad events has a binomial tail at each number
    of calls. The numbers are tested from few calls to many; numbers that double start with a half
    of :math:`\delta`, a quarter and so on, each passes on what it has while it rejects (a fallback
    procedure), and the first that fails stops it. The guarantee is exact if the constraint, once
    broken on the way down, stays so; where it is broken only between two neighbouring scores of the
    sample and met again below, it can be missed more often.

    A problem of your own is treated by the same two ways if its constraint limits one rate, whose
    bad events lie on one side of the threshold; the error rate, for one, does not.

    **Several targets at once**: one label a target, ``logits.unsqueeze(-1).expand(*shape, K)`` with
    a tensor of ``K`` targets, or the ``K`` columns of a model that was trained for all of them;
    with ``"bonferroni"`` the whole front is certain at once.

    Args:
        logits: Scores of the examples, any that rank, shape ``[n, *labels]``.
        labels: 1 for a positive and 0 for a negative, shape of the logits.
        problem: Pair of linear forms, such as ``gobj.recall_at_precision(0.9)``.
        confidence: Probability :math:`1 - \delta` that the constraint holds, in (0, 1).
        simultaneous: ``"none"`` for the confidence of each label by itself, ``"bonferroni"`` for
            that of all labels at once.
        weights: Whole numbers at or above 0, each the number of independent examples that a row
            stands for: scalar, ``[n]`` or up to ``[n, *labels]``; 1 by default.
        ignore_index: Label that marks an example as absent; None for no such label.

    Returns:
        The certificate, in float64.

    Raises:
        ValueError: If a shape, a dtype, a number or a name is not as above, weights or labels are
            no whole numbers, or the constraint is no limit of one rate.

    Example:
        >>> import gobj, torch
        >>> draw = torch.Generator().manual_seed(0)
        >>> labels = torch.arange(2000) % 5 == 0
        >>> logits = torch.randn(2000, generator=draw) + 3 * labels
        >>> problem = gobj.recall_at_precision(0.8)
        >>> certificate = gobj.certify(logits, labels, problem)
        >>> fitted = gobj.fit_threshold(logits, labels, problem)
        >>> bool(certificate.threshold > fitted.threshold)
        True
        >>> bool(certificate.feasible), f"{1 - certificate.rate_bound:.2f}"
        (True, '0.80')
        >>> print(gobj.explain(gobj.certify(logits[:100], labels[:100], problem)))
        The sample of 100 does not support a threshold: about 231 examples would.

    References:
        Angelopoulos et al., `Learn then Test: Calibrating Predictive Algorithms to Achieve Risk
        Control <https://arxiv.org/abs/2110.01052>`_, Annals of Applied Statistics 2025; Wiens, A
        fixed sequence Bonferroni procedure, Pharmaceutical Statistics 2003; Clopper and Pearson,
        Biometrika 1934.
    """
    check_point(problem)
    check_number("confidence", confidence, low=0, high=1)
    check_choice("simultaneous", simultaneous, ("none", "bonferroni"))
    cuts = cuts_of_sample(logits, labels, weights, ignore_index)
    counts = torch.stack((cuts.true_positives, cuts.false_positives)).nan_to_num()
    if bool(((counts - counts.round()).abs() > WHOLE).any()):
        refuse("weights", "be whole numbers, and `labels` 0 or 1, for a certificate", weights)
    rate = rate_of(problem.constraint, cuts)
    if rate is None:
        refuse("problem", "have a constraint that limits one rate", problem.constraint)
    number = max(math.prod(logits.shape[1:]), 1) if simultaneous == "bonferroni" else 1
    miss = (1 - confidence) / number
    certain, bound = _certain(rate, miss)
    feasible = certain.any(-1)
    last = cuts.threshold.shape[-1] - 1
    end = torch.arange(last + 1, device=certain.device) == (0 if rate.of_calls else last)
    allowed = torch.where(feasible.unsqueeze(-1), certain, end)
    point = cheapest(cuts, problem, allowed, feasible)
    return _certificate(cuts, rate, problem.cost, point, bound, miss, 1 - confidence)


def _certain(rate: Rate, miss: float) -> tuple[Tensor, Tensor]:
    """Tell at which cuts the rate is below its limit, with all but a probability ``miss``.

    Returned beside is what it is below, ``[*labels]``.
    """
    bad, counted, limit = (x.nan_to_num().broadcast_to(rate.bad.shape) for x in rate[:3])
    if rate.of_all:
        most = most_successes(counted[..., 0], limit[..., 0], miss)
        bound = upper_bound(most.clamp(min=0), counted[..., 0], miss)
        # the cut at which nothing bad can happen is no news
        allowed = (bad <= most.unsqueeze(-1)) & (counted > 0) & (most >= 0).unsqueeze(-1)
        return allowed, bound
    if rate.of_calls:
        return _in_sequence(bad, counted, limit, miss), limit[..., 0]
    flipped = _in_sequence(bad.flip(-1), counted.flip(-1), limit.flip(-1), miss)
    return flipped.flip(-1), limit[..., 0]


def _in_sequence(bad: Tensor, counted: Tensor, limit: Tensor, miss: float) -> Tensor:
    """Test cuts from the first that count something to the last, by a fallback procedure."""
    total = counted.amax(-1, keepdim=True)
    first = _least(limit[..., :1], miss)
    steps = torch.arange(MOST_TESTS, device=bad.device) / (MOST_TESTS - 1)
    sizes = (first * (total / first).clamp(min=1) ** steps).floor()
    # the last cut that counts no more: given its score, those beyond it are independent
    places = torch.searchsorted(counted.contiguous(), sizes, right=True) - 1
    places = places.clamp(min=0)
    at = [x.gather(-1, places) for x in (bad, counted, limit)]
    order = torch.arange(MOST_TESTS, device=bad.device)
    empty = at[1] == 0  # sizes within the first tie: calling nothing breaks nothing
    p_values, passed = binomial_cdf(*at), torch.zeros_like(total)
    rejected = torch.zeros_like(sizes, dtype=torch.bool)
    for doubling in range(math.ceil(math.log2(max((total / first).max().item(), 1))) + 1):
        start, end = (first * 2.0**more for more in (doubling, doubling + 1))
        here = (order >= _first(sizes >= start)) & ((sizes < end) | (end > total))
        level = passed + miss * (1 - LATER) * LATER**doubling * (start <= total)
        kept = (empty | (p_values <= level)) & (start <= total)
        # of those in this stretch none before has failed
        unbroken = torch.where(here, kept, True).cumprod(-1).bool()
        rejected |= here & unbroken & ~empty
        passed = torch.where(unbroken[..., -1:], level, 0)
    certain = torch.zeros_like(bad)
    certain = certain.scatter_reduce(-1, places, rejected.double(), "amax")
    return certain > 0


def _least(limit: Tensor, miss: float) -> Tensor:
    """Return the number of events from which a sequence starts: with some bad ones it can reject.

    A sixty-fourth of the confidence would be enough for it if there was none.
    """
    return (math.log(miss / 64) / torch.log1p(-limit)).ceil().clamp(min=1)


def _first(condition: Tensor) -> Tensor:
    """Return the first place at which a condition holds."""
    return condition.to(torch.int8).argmax(-1, keepdim=True)


def _certificate(
    cuts: Cuts,
    rate: Rate,
    cost: LinearForm,
    point: OperatingPoint,
    bound: Tensor,
    miss: float,
    both: float,
) -> Certificate:
    """Read rates and intervals at a threshold."""
    index = _first(cuts.threshold <= point.threshold.unsqueeze(-1)).squeeze(-1)
    bad, counted = cuts.at(rate.bad, index), cuts.at(rate.counted, index)
    limit = cuts.at(rate.limit.expand_as(cuts.threshold), index)
    costly, priced = (cuts.at(x, index) for x in _cost_events(cuts, cost))
    share = bad / torch.where(counted == 0, 1, counted)
    ends = torch.stack((costly, priced - costly), -1).nan_to_num()
    high, rest = upper_bound(ends, priced.nan_to_num().unsqueeze(-1), both / 2).unbind(-1)
    return Certificate(
        threshold=point.threshold,
        feasible=point.feasible,
        rate=share,
        rate_bound=torch.where(point.feasible, bound, 1.0),
        rate_limit=limit,
        cost_rate=costly / torch.where(priced == 0, 1, priced),
        cost_low=1 - rest,
        cost_high=high,
        examples=(cuts.positives + cuts.negatives).squeeze(-1),
        examples_needed=_needed(cuts, rate, miss, point.feasible),
        point=point,
    )


def _cost_events(cuts: Cuts, cost: LinearForm) -> tuple[Tensor, Tensor]:
    """Return the weight of the events that cost, and of the classes that they are of."""
    events = cuts.events()
    costs = {
        name: torch.as_tensor(getattr(cost, name) != 0, device=weight.device).unsqueeze(-1)
        for name, weight in events.items()
    }
    costly = sum(
        (weight * costs[name] for name, weight in events.items()), start=0 * cuts.true_positives
    )
    of_positives = costs["false_negative"] | costs["true_positive"]
    of_negatives = costs["false_positive"] | costs["true_negative"]
    return costly, of_positives * cuts.positives + of_negatives * cuts.negatives


def _needed(cuts: Cuts, rate: Rate, miss: float, feasible: Tensor) -> Tensor:
    """Return about how many examples would support a threshold, were the rates those seen.

    The least over cuts: as many as a normal limit of the rate asks for, and as many as nothing bad
    at all does.
    """
    share = rate.bad / torch.where(rate.counted == 0, 1, rate.counted)
    level = torch.tensor(miss if rate.of_all else miss * (1 - LATER), dtype=torch.float64)
    room = (rate.limit - share).clamp(min=0)
    spread = rate.limit * (1 - rate.limit) * torch.special.ndtri(1 - level).square()
    alone = _least(rate.limit, miss)
    if rate.of_all:
        alone = math.log(miss) / torch.log1p(-rate.limit)
    counted = torch.maximum(spread / room.square(), alone)
    total = cuts.positives + cuts.negatives
    needed = torch.where((rate.counted > 0) & (room > 0), counted * total / rate.counted, torch.inf)
    least = needed.amin(-1)
    total = total.squeeze(-1)
    return torch.where(feasible, least.minimum(total), least.maximum(total + 1)).ceil()


def explain(certificate: Certificate) -> str:
    """Say in a sentence a label what a certificate is worth.

    Args:
        certificate: From :func:`certify`.

    Returns:
        A sentence, or one line for each label.

    Raises:
        ValueError: If it is not a certificate.

    Example:
        >>> import gobj, torch
        >>> labels = torch.arange(1000) < 300
        >>> certificate = gobj.certify(3.0 * labels, labels, gobj.tpr_at_fpr(0.1))
        >>> print(gobj.explain(certificate))
        Above 0 the rate is at most 0.099 (limit 0.1), and the cost rate is 0 (0 to 0.012).

    References:
        See :func:`certify`.
    """
    if not isinstance(certificate, Certificate):
        refuse("certificate", "come from gobj.certify", type(certificate))
    columns = [x.reshape(-1).tolist() for x in certificate[:10]]
    lines = []
    for values in zip(*columns, strict=True):
        threshold, feasible, _, bound, limit, cost, low, high, examples, needed = values
        if feasible:
            lines.append(
                f"Above {threshold:.4g} the rate is at most {bound:.2g} (limit {limit:.2g}), "
                f"and the cost rate is {cost:.2g} ({low:.2g} to {high:.2g})."
            )
        elif math.isnan(examples):
            lines.append("A score is NaN, or a label is not one: nothing can be counted.")
        elif math.isinf(needed):
            lines.append(f"The sample of {examples:.0f} shows no threshold that meets the limit.")
        else:
            lines.append(
                f"The sample of {examples:.0f} does not support a threshold: "
                f"about {needed:.0f} examples would."
            )
    return "\n".join(lines)
