"""Area under the ROC curve over all pairs of a positive and a negative, without forming them."""

import math
from typing import NamedTuple

import torch
from torch import Tensor

from gobj._checks import (
    Number,
    Reduction,
    check_labels,
    check_logits,
    check_range,
    check_reduction,
    require,
)
from gobj._surrogates import (
    CrossEntropy,
    GeneralizedCrossEntropy,
    Hinge,
    Surrogate,
    cross_entropy,
)
from gobj.losses._kernel_grid import Kernel
from gobj.losses._kernel_sums import kernel_potentials, kernel_totals
from gobj.losses._module import LossModule
from gobj.losses._sorted_sums import sorted_potentials
from gobj.losses._weighting import (
    drop_weightless,
    element_weights,
    nonzero_or_one,
    reduce_losses,
    widen,
)

_WHOLE = (0.0, 1.0)


def pairwise_roc_auc_loss(
    logits: Tensor,
    labels: Tensor,
    *,
    surrogate: Surrogate = cross_entropy,
    weights: Number | None = None,
    fpr_range: tuple[float, float] = (0.0, 1.0),
    reduction: Reduction = "mean",
) -> Tensor:
    r"""Rank positives above negatives: minimise a bound on one minus the area under the ROC curve.

    .. math:: \frac{\sum_{i \in +} \sum_{j \in -} w_i w_j\, s(f_i - f_j)}
        {\sum_{i \in +} \sum_{j \in -} w_i w_j} \;\ge\; 1 - \mathrm{AUC}

    The mean over **all** pairs of a positive and a negative, in time :math:`O(n \log n)` and memory
    :math:`O(n)`. A tie counts one half in the area, and 1 in the bound.

    Hinges are summed by sorting, exactly. The other surrogates are summed on a grid of :math:`K`
    nodes a label, 2048, or 4096 from 65536 examples on, over a length :math:`R`: the range of the
    scores without the stretches where there are none. Relative to the largest, the error of the
    gradient is about :math:`10^{-3} (R / KT)^4` in float32 and :math:`10^{-4} (R / KT)^6` in
    float64 for a surrogate of width :math:`T` (1 for the cross entropy), and that of the loss much
    smaller: rounding, in float32, while :math:`R < KT / 8`. So give a narrow surrogate no wide
    scores. Scores far from the others cost nothing, up to :math:`10 K T` from the median; beyond,
    they count as being there.

    Args:
        logits: Scores, shape ``[n]``, or ``[n, *labels]`` for several labels.
        labels: Positive where above 0, any real dtype, shape of the logits.
        surrogate: Bound of the indicator of a pair in the wrong order, as a function of the
            difference: :data:`gobj.cross_entropy`, :data:`gobj.hinge`, :data:`gobj.squared_hinge`,
            :func:`gobj.generalized_cross_entropy` or :func:`gobj.sigmoid`.
        weights: At or above 0, scalar, ``[n]`` or up to the shape of the logits; 1 by default. A
            pair has the product of its two. What has weight 0 is in no pair, whatever its score or
            label.
        fpr_range: Part of the area, the false positive rates from the first number to the second,
            in [0, 1]: of the negatives, only those count that lie in this share of their weight,
            from the highest score down. Which ones is taken as given, not differentiated. Where a
            model cannot rank the positives above a narrow share, it does best by making all scores
            alike, at a loss of 1: then :func:`gobj.roc_auc_loss` is the better goal.
        reduction: ``"mean"``, the loss above, averaged over labels; ``"none"`` for losses of the
            logits' shape with that mean, where each example has half of the cost of each of its
            pairs; ``"sum"`` for the sum of those.

    Returns:
        The loss, in float32 or wider. A label without a positive or without a negative costs 0.

    Raises:
        ValueError: If a shape, a dtype, a range or a name is not as above.

    Example:
        >>> import gobj, torch
        >>> logits, labels = torch.tensor([2.0, 1.0, 0.0, -1.0]), torch.tensor([1, 0, 1, 0])
        >>> gobj.pairwise_roc_auc_loss(logits, labels, surrogate=gobj.hinge)
        tensor(0.5000)
        >>> gobj.pairwise_roc_auc_loss(logits, labels, fpr_range=(0.0, 0.5))
        tensor(1.1733)

    References:
        Yan et al., `Optimizing Classifier Performance via an Approximation to the
        Wilcoxon-Mann-Whitney Statistic <https://dl.acm.org/doi/10.5555/3041838.3041945>`_, ICML
        2003; the scaling by the number of pairs is that of the statistic.
    """
    name = "pairwise_roc_auc_loss"
    check_logits(name, logits)
    check_labels(name, logits, labels)
    check_reduction(name, reduction)
    requirement = "be cross_entropy, hinge, squared_hinge, or one of the bounded surrogates"
    known = isinstance(surrogate, Hinge | CrossEntropy | GeneralizedCrossEntropy)
    require(known, name, "surrogate", requirement, surrogate)
    check_range(name, "fpr_range", fpr_range)
    if not logits.numel():
        return reduce_losses(widen(logits), reduction)
    pairs = _make_pairs(name, logits, labels, weights, fpr_range)
    if reduction == "none":
        return (pairs.halves(surrogate) * len(logits)).view(logits.shape)
    totals = pairs.totals(surrogate)
    return totals.mean() if reduction == "mean" else totals.sum() * len(logits)


class _Pairs(NamedTuple):
    """Scores, classes and weights, ``[n, labels]``, and what is the same for all of a label.

    In the mean over pairs a pair has the product of its weights times ``scale``. ``broken`` is NaN
    for a label with something missing, else 0.
    """

    scores: Tensor
    positive: Tensor
    weights: Tensor
    scale: Tensor
    broken: Tensor

    def totals(self, surrogate: Surrogate) -> Tensor:
        """Return the mean over all pairs of each label."""
        if isinstance(surrogate, Hinge):
            return self.halves(surrogate).sum(0)
        sums = kernel_totals(self.scores, self.weights, self.positive, Kernel(surrogate))
        return sums * self.scale + self.broken

    def halves(self, surrogate: Surrogate) -> Tensor:
        """Give each example half of what its pairs add to the mean over all pairs."""
        examples = self.scores, self.weights * self.scale, self.positive
        if isinstance(surrogate, Hinge):
            sums = sorted_potentials(*examples, surrogate.power)
        else:
            sums = kernel_potentials(*examples, Kernel(surrogate))
        return sums * self.weights / 2 + self.broken


def _make_pairs(
    function: str,
    logits: Tensor,
    labels: Tensor,
    weights: Number | None,
    fpr_range: tuple[float, float],
) -> _Pairs:
    scores = widen(logits)
    mass = element_weights(function, weights, scores)
    flat = len(logits), math.prod(logits.shape[1:])
    classes = drop_weightless(labels.to(scores.dtype), mass).reshape(flat)
    scores = drop_weightless(scores, mass).reshape(flat)
    positive = classes > 0
    missing = scores.detach().amax(0).isnan() | classes.amax(0).isnan()
    broken = torch.where(missing, torch.nan, 0.0).to(scores.dtype)
    if mass is None and fpr_range == _WHOLE:
        counts = positive.sum(0, dtype=scores.dtype)
        scale = 1 / nonzero_or_one(counts * (len(scores) - counts))
        return _Pairs(scores, positive, torch.ones_like(scale).expand(flat), scale, broken)
    given = scores.new_ones(()) if mass is None else mass.detach()
    mass = given.expand(logits.shape).reshape(flat)
    positives, negatives = torch.where(positive, mass, 0), torch.where(positive, 0, mass)
    if fpr_range != _WHOLE:
        negatives = _from_the_top(scores.detach(), negatives, *fpr_range)
    shares = [side / nonzero_or_one(side.sum(0)) for side in (positives, negatives)]
    return _Pairs(scores, positive, shares[0] + shares[1], torch.ones_like(broken), broken)


def _from_the_top(scores: Tensor, weights: Tensor, start: float, stop: float) -> Tensor:
    """Keep of the weights what lies in a range of their total, from the highest score down."""
    order = scores.argsort(dim=0, descending=True, stable=True)
    sizes = weights.gather(0, order).double()
    ends = sizes.cumsum(0)
    total = ends[-1:]
    kept = torch.minimum(ends, stop * total) - torch.maximum(ends - sizes, start * total)
    return torch.zeros_like(weights).scatter(0, order, kept.clamp(min=0).to(weights.dtype))


class PairwiseROCAUCLoss(LossModule):
    """Module form of :func:`pairwise_roc_auc_loss`."""

    function = staticmethod(pairwise_roc_auc_loss)
