"""Thresholds for a population with another share of positives, from scores without labels."""

from typing import NamedTuple

import torch
from torch import Tensor

from gobj._checks import Number, check_logits, is_number, refuse
from gobj.operating_point._cuts import check_point, cuts_of_sample
from gobj.operating_point.fit import OperatingPoint, best_of
from gobj.problem import Problem

STEPS = 2000  # of expectation and maximisation, far more than a share needs
TINY = 1e-12


class Shift(NamedTuple):
    """The share of positives in a new population, and the threshold for it.

    Attributes:
        prior: Estimated share of positives there, ``[*labels]``.
        point: What the labelled sample shows of the threshold, were its classes in that proportion.
    """

    prior: Tensor
    point: OperatingPoint


def adjust_threshold(
    logits: Tensor,
    labels: Tensor,
    problem: Problem,
    new_logits: Tensor,
    *,
    bins: int = 32,
    weights: Number | None = None,
    ignore_index: int | None = None,
) -> Shift:
    r"""Choose the threshold for new data whose share of positives differs, without their labels.

    .. math:: p_{\text{new}}(f) = \pi\, p(f \mid +) + (1 - \pi)\, p(f \mid -)

    **Assumption**: within each class the scores are distributed as before; only the share
    :math:`\pi` of positives has changed. It is estimated by maximum likelihood (expectation and
    maximisation) from the shares of the scores in bins, of which the labelled sample knows how the
    classes fall into them. Scores need not be probabilities. Then the threshold is that of
    :func:`fit_threshold` with the classes of the labelled sample weighed to that share.

    **Where it misleads**: if the positives themselves have changed, say to milder cases with lower
    scores, the estimate of their share is wrong, and so is the threshold, without any sign. Where
    the classes hardly differ in their scores the estimate is noise. Label some of the new data to
    find out.

    Args:
        logits: Scores of labelled examples that no training has seen, shape ``[n, *labels]``.
        labels: 1 for a positive, 0 for a negative, shape of the logits.
        problem: Pair of linear forms, such as ``gobj.recall_at_precision(0.9)``.
        new_logits: Scores of the new population, shape ``[m, *labels]``.
        bins: Number of bins, at least 2, with equal shares of the labelled scores.
        weights: At or above 0, scalar, ``[n]`` or up to ``[n, *labels]``; 1 by default.
        ignore_index: Label that marks an example as absent; None for no such label.

    Returns:
        The estimated share of positives, and the operating point.

    Raises:
        ValueError: If a shape, a dtype or the problem is not as above.

    Example:
        >>> import gobj, torch
        >>> draw = torch.Generator().manual_seed(0)
        >>> def scores(labels):
        ...     return torch.randn(len(labels), generator=draw) + 2 * labels
        >>> labels, unknown = torch.arange(4000) % 2 == 0, torch.arange(4000) % 10 == 0
        >>> problem, logits = gobj.recall_at_precision(0.8), scores(labels)
        >>> shift = gobj.adjust_threshold(logits, labels, problem, scores(unknown))
        >>> f"{shift.prior:.2f}"
        '0.10'
        >>> bool(shift.point.threshold > gobj.fit_threshold(logits, labels, problem).threshold)
        True

    References:
        Saerens, Latinne and Decaestecker, Adjusting the Outputs of a Classifier to New a Priori
        Probabilities, Neural Computation 2002.
    """
    check_point(problem)
    if not (is_number(bins) and bins == int(bins) and bins >= 2):
        refuse("bins", "be a whole number of at least 2", bins)
    check_logits(new_logits, "new_logits")
    cuts = cuts_of_sample(logits, labels, weights, ignore_index)
    if new_logits.shape[1:] != logits.shape[1:] or len(new_logits) == 0:
        refuse("new_logits", f"have examples of the labels {list(logits.shape[1:])}", new_logits)
    called = cuts.true_positives + cuts.false_positives
    shares = torch.arange(1, bins, device=called.device) / bins
    places = torch.searchsorted(called.contiguous(), shares * called[..., -1:])
    places = places.clamp(max=called.shape[-1] - 1)
    edges = cuts.threshold.gather(-1, places)
    of_class = []
    for above, whole in (
        (cuts.true_positives, cuts.positives),
        (cuts.false_positives, cuts.negatives),
    ):
        inside = torch.cat((0 * whole, above.gather(-1, places), whole), -1).diff(dim=-1)
        of_class.append(inside / whole.clamp(min=TINY))
    scores = new_logits.detach().double()
    beyond = [(scores > edge).double().mean(0) for edge in edges.unbind(-1)]
    seen = torch.stack(beyond, -1) + 0 * scores.sum(0).unsqueeze(-1)  # NaN with a score
    seen = torch.cat((0 * seen[..., :1], seen, torch.ones_like(seen[..., :1])), -1).diff(dim=-1)
    positive, negative = of_class
    prior = _prior(positive, negative, seen)
    new = prior.unsqueeze(-1) / cuts.positives.clamp(min=TINY)
    old = (1 - prior).unsqueeze(-1) / cuts.negatives.clamp(min=TINY)
    adjusted = cuts._replace(
        true_positives=cuts.true_positives * new,
        false_positives=cuts.false_positives * old,
        positives=cuts.positives * new,
        negatives=cuts.negatives * old,
    )
    return Shift(prior, best_of(adjusted, problem))


def _prior(positive: Tensor, negative: Tensor, seen: Tensor) -> Tensor:
    """Return the share of positives at which the bins are likeliest to be filled as seen."""
    prior = torch.full_like(seen[..., :1], 0.5)
    for _ in range(STEPS):
        of_positives = prior * positive
        mixed = (of_positives + (1 - prior) * negative).clamp(min=TINY)
        prior = (seen * of_positives / mixed).sum(-1, keepdim=True)
    return prior.squeeze(-1)
