"""Area under the ROC curve over all pairs of a positive and a negative, without forming them."""

import math
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from gobj._batch import MAX_SCORE, Batch, make_batch
from gobj._checks import REDUCTIONS, Number, Range, Reduction, check_choice, check_range, refuse
from gobj.distributed import (
    Group,
    check_reduction_of_pairs,
    number_of_ranks,
    range_over_ranks,
    rows_of_ranks,
    sum_over_ranks,
)
from gobj.losses._pair_sums import fits_a_grid, grids_of_pairs, potentials, sum_of_pairs
from gobj.stateless import StatelessLoss
from gobj.surrogates import (
    CrossEntropy,
    GeneralizedCrossEntropy,
    Hinge,
    Surrogate,
    cross_entropy,
)


def pairwise_roc_auc_loss(
    logits: Tensor,
    labels: Tensor,
    *,
    surrogate: Surrogate = cross_entropy,
    weights: Number | None = None,
    ignore_index: int | None = None,
    process_group: Group = None,
    fpr_range: Range = (0.0, 1.0),
    reduction: Reduction = "mean",
) -> Tensor:
    r"""Rank positives above negatives: minimise a bound on one minus the area under the ROC curve.

    .. math:: \frac{\sum_{i \in +} \sum_{j \in -} w_i w_j\, s(f_i - f_j)}
        {\sum_{i \in +} \sum_{j \in -} w_i w_j} \;\ge\; 1 - \mathrm{AUC}

    The mean over **all** pairs of a positive and a negative, in time :math:`O(n \log n)` and memory
    :math:`O(n)`. A tie counts one half in the area, and 1 in the bound.

    Hinges, and the pairs of up to 128 examples, are summed exactly. Other surrogates of more
    examples are summed on a grid of 2048 nodes a label, over a length :math:`R`: the range of the
    scores without the stretches where there are none. Relative to the largest, the error of the
    gradient is about :math:`10^{-4} (R / 2048\,T)^6` for a surrogate of width :math:`T` (1 for the
    cross entropy), and that of the loss smaller: rounding while :math:`R < 100\,T`. So give a
    narrow surrogate no wide scores. On CUDA the sums over the grid repeat bit for bit under
    ``torch.use_deterministic_algorithms(True)``.

    Args:
        logits: Scores, shape ``[n]``, or ``[n, *labels]`` for several labels.
        labels: 1 for a positive, 0 for a negative, or the share of a positive in between (boolean,
            integer or float), shape of the logits. Another value makes the loss NaN.
        surrogate: Bound of the indicator of a pair in the wrong order, as a function of the
            difference: :data:`gobj.cross_entropy`, :data:`gobj.hinge`, :data:`gobj.squared_hinge`,
            :func:`gobj.generalized_cross_entropy` or :func:`gobj.sigmoid`.
        weights: At or above 0, scalar, ``[n]`` or up to the shape of the logits; 1 by default. A
            pair has the product of its two. What has weight 0 is in no pair, whatever its score or
            label.
        ignore_index: Label that marks an example as absent; None for no such label.
        process_group: Ranks whose batches are parts of one: in the mean over the ranks, loss and
            gradient are those of the joined batch. None for this process alone.
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
    check_choice("reduction", reduction, REDUCTIONS)
    check_reduction_of_pairs(reduction, process_group)
    check_range("fpr_range", fpr_range)
    if not isinstance(surrogate, Hinge | CrossEntropy | GeneralizedCrossEntropy):
        known = "be cross_entropy, hinge, squared_hinge, or one of the bounded surrogates"
        refuse("surrogate", known, surrogate)
    batch = make_batch(logits, labels, weights, None, ignore_index)
    flat = logits.shape[0], math.prod(logits.shape[1:])
    scores, whole = batch.scores.reshape(flat).double(), fpr_range == (0.0, 1.0)
    examples = _Examples(scores, *_sides(batch, flat))
    if whole and number_of_ranks(process_group) > 1:
        total = examples.joined_by_grids(surrogate, process_group, reduction)
        if total is not None:
            return total.to(batch.scores)
    scores, positive, negative = rows_of_ranks(list(examples), process_group)
    broken = _missing(scores)
    scores = scores.nan_to_num(0.0, MAX_SCORE, -MAX_SCORE)
    if not whole:
        negative = _from_the_top(scores.detach(), negative, *fpr_range)
    scale = _scale(positive.sum(0), negative.sum(0))
    each = positive * potentials(scores, negative, surrogate)
    if reduction != "none":
        totals = (each.sum(0) * scale + broken).sum() / max(flat[1], 1)
        return (totals if reduction == "mean" else totals * scores.numel()).to(batch.scores)
    each = each + negative * potentials(-scores, positive, surrogate)
    each = (each * (scale / 2) + broken) * logits.shape[0]
    return each.to(batch.scores).view(logits.shape)


class _Examples(NamedTuple):
    """Scores, and the weight of each as a positive and as a negative, all ``[n, labels]``."""

    scores: Tensor
    positive: Tensor
    negative: Tensor

    def joined_by_grids(
        self, surrogate: Surrogate, group: Group, reduction: Reduction
    ) -> Tensor | None:
        """Return the loss over the rows of all ranks; None where it is better to gather them."""
        broken, scores = _missing(self.scores), self.scores.nan_to_num(0.0, MAX_SCORE, -MAX_SCORE)
        ends = functional.pad(scores.detach(), (0, 0, 0, 1), value=math.inf)
        high = ends.nan_to_num(posinf=-math.inf).amax(0)
        low, high, most = range_over_ranks(ends.amin(0), high, scores.shape[0], group)
        low, high = low.clamp(max=MAX_SCORE), high.clamp(min=-MAX_SCORE)
        low = torch.minimum(low, high)  # without a row on any rank
        if not fits_a_grid(low, high, most * number_of_ranks(group), surrogate):
            return None
        sides = [self.positive, self.negative]
        own = grids_of_pairs(scores, sides, low, high, surrogate)
        own += [self.positive.sum(0), self.negative.sum(0), broken]
        own.append(broken.new_full((1,), scores.numel()))
        above, below, positives, negatives, broken, number = sum_over_ranks(own, group)
        sums = sum_of_pairs(above, below, low, high, surrogate)
        totals = (sums * _scale(positives, negatives) + broken).sum() / max(scores.shape[1], 1)
        return totals if reduction == "mean" else totals * number.squeeze()


def _missing(scores: Tensor) -> Tensor:
    """Return NaN for a label with a missing score; what is no label or weight is in the scale."""
    return 0 * scores.detach().sum(0)


def _scale(positives: Tensor, negatives: Tensor) -> Tensor:
    """Return what a sum over pairs is multiplied by, given the weights of both sides."""
    pairs = positives * negatives
    return 1 / torch.where(pairs == 0, 1, pairs)


def _sides(batch: Batch, flat: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """Return the weight of each example as a positive and as a negative."""
    positive = batch.labels.double()
    negative = 1 - positive
    if batch.weights is not None:
        weights = batch.weights.double()
        positive, negative = positive * weights, negative * weights
    return positive.reshape(flat), negative.reshape(flat)


def _from_the_top(scores: Tensor, weights: Tensor, start: float, stop: float) -> Tensor:
    """Keep of the weights what lies in a range of their total, from the highest score down."""
    order = scores.argsort(dim=0, descending=True, stable=True)
    sizes = weights.gather(0, order)
    ends = sizes.cumsum(0)
    total = ends[-1:]
    kept = torch.minimum(ends, stop * total) - torch.maximum(ends - sizes, start * total)
    return torch.zeros_like(weights).scatter(0, order, kept.clamp(min=0))


class PairwiseROCAUCLoss(StatelessLoss):
    """Rank positives above negatives, by all pairs.

    The module of :func:`gobj.pairwise_roc_auc_loss`.

    Args:
        surrogate: Bound of the indicator of a pair in the wrong order.
        ignore_index: Label that marks an example as absent; None for no such label.
        process_group: Ranks whose batches are parts of one while training: ``"world"`` for all
            ranks where ``torch.distributed`` runs several, None for this process alone.
        fpr_range: Part of the area, between two false positive rates in [0, 1].
        reduction: ``"mean"``, ``"sum"`` or ``"none"``.

    Example:
        >>> import gobj, torch
        >>> criterion = gobj.nn.PairwiseROCAUCLoss(surrogate=gobj.hinge)
        >>> criterion(torch.tensor([2.0, 1.0, 0.0, -1.0]), torch.tensor([1, 0, 1, 0]))
        tensor(0.5000)
    """

    function = staticmethod(pairwise_roc_auc_loss)
