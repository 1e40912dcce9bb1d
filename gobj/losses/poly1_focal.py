"""Poly-1 focal loss: the focal loss of each label with its first polynomial term as a knob."""

import sys
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional

from gobj._batch import as_tensor, is_known, not_negative
from gobj._checks import (
    Number,
    Reduction,
    broadcasts,
    check_choice,
    check_labels,
    check_logits,
    check_number,
    refuse,
)
from gobj.distributed import Group
from gobj.losses._elements import (
    MeanOver,
    bound,
    check_reductions,
    clean_elements,
    reduce_losses,
    weigh,
)
from gobj.stateless import StatelessLoss


def poly1_focal_loss(
    logits: Tensor,
    labels: Tensor,
    *,
    epsilon: float = 1.0,
    gamma: float = 2.0,
    alpha: float | None = 0.25,
    pos_weight: Tensor | None = None,
    class_weights: Tensor | None = None,
    weight_form: Literal["whole", "ce_only"] = "whole",
    weights: Number | None = None,
    ignore_index: int | None = None,
    process_group: Group = None,
    reduction: Reduction = "mean",
    mean_over: MeanOver = "all_weights",
) -> Tensor:
    r"""Raise or lower the first polynomial term of the focal loss by ``epsilon``.

    .. math:: \alpha_t\, u^\gamma \operatorname{BCE} + \epsilon\, u^{\gamma + 1},
        \quad u = y (1 - p) + (1 - y)\, p, \quad \alpha_t = \alpha y + (1 - \alpha)(1 - y)

    Each label is a binary problem, :math:`p` its sigmoid and :math:`u` the probability of being
    wrong. At :math:`\epsilon = \gamma = 0` without :math:`\alpha` this is torch's binary cross
    entropy. The gradient is finite at every score and for every :math:`\gamma \ge 0`.

    Args:
        logits: Scores, shape ``[n, *labels]``, any shape that ``weights`` and labels fit.
        labels: 1 for a positive, 0 for a negative, or the share of a positive in between (boolean,
            integer or float), shape of the logits. Another value makes the loss NaN. Class indices
            become such labels by :func:`gobj.multilabel_from_multiclass`.
        epsilon: Weight of the added term; 0 is the focal loss.
        gamma: Focus on wrong predictions, at or above 0; 0 is no focus.
        alpha: Share of the positives in the focal term, in [0, 1]; None weighs both classes by 1.
        pos_weight: Multiplies the positives inside BCE, broadcasts to the logits as in torch.
        class_weights: At or above 0, one per label, broadcasts to the logits as in torch.
        weight_form: What ``class_weights`` multiply: the ``"whole"`` loss, or ``"ce_only"``, its
            first term, as in the published code.
        weights: At or above 0, scalar, ``[n]`` or up to the shape of the logits; 1 by default. An
            element with weight 0 costs nothing, whatever its score or label.
        ignore_index: Label of elements that are not there: they cost nothing and no mean counts
            them. None for no such label.
        process_group: Ranks whose batches are parts of one: in the mean over the ranks, loss and
            gradient are those of the joined batch. None for this process alone.
        reduction: ``"mean"``, ``"sum"``, or ``"none"`` for the shape of the logits.
        mean_over: Denominator of the mean: the number of ``"elements"``, the sum of ``"weights"``,
            of ``"class_weights"`` or of their product, ``"all_weights"``.

    Returns:
        The loss, a scalar or the shape of the logits, in float32 or wider.

    Raises:
        ValueError: If a shape, a dtype, a number or a name is not as above.

    Example:
        >>> import gobj, torch
        >>> logits, labels = torch.tensor([[2.0, -1.0], [0.0, 3.0]]), torch.tensor([[1, 0], [1, 1]])
        >>> gobj.poly1_focal_loss(logits, labels, epsilon=0.0)
        tensor(0.0152)

        A label that is missing has weight 0, whatever stands in its place.

        >>> known = torch.tensor([[1.0, 1.0], [1.0, 0.0]])
        >>> gobj.poly1_focal_loss(logits, labels.where(known > 0, torch.nan), weights=known)
        tensor(0.0690)

    References:
        Leng et al., `PolyLoss: A Polynomial Expansion Perspective of Classification Loss Functions
        <https://arxiv.org/abs/2204.12511>`_, ICLR 2022; Lin et al., `Focal Loss for Dense Object
        Detection <https://arxiv.org/abs/1708.02002>`_, ICCV 2017.
    """
    check_logits(logits)
    check_labels(logits, labels)
    check_number("epsilon", epsilon)
    check_number("gamma", gamma, low=0, high=sys.float_info.max, closed=True)
    check_choice("weight_form", weight_form, ("whole", "ce_only"))
    check_reductions(reduction, mean_over)
    scores, targets, mass = clean_elements(logits, labels, weights, ignore_index)
    factor = _per_label("class_weights", class_weights, scores)
    positive_weight = _per_label("pos_weight", pos_weight, scores)

    scores = bound(scores)
    wrong = _probability_of_wrong(scores, targets)
    cross_entropy = functional.binary_cross_entropy_with_logits(
        scores, targets, pos_weight=positive_weight, reduction="none"
    )
    if alpha is not None:
        check_number("alpha", alpha, low=0, high=1, closed=True)
        cross_entropy = cross_entropy * (targets * (2 * alpha - 1) + (1 - alpha))
    # a compiled graph serves all exponents if they are tensors, which are slower else
    focus = wrong.pow(as_tensor(gamma, wrong) if torch.compiler.is_compiling() else gamma)
    if weight_form == "ce_only":
        losses = focus * (weigh(cross_entropy, factor) + epsilon * wrong)
    else:
        losses = weigh(focus * (cross_entropy + epsilon * wrong), factor)
    counted = None if ignore_index is None else is_known(labels, ignore_index)
    return reduce_losses(
        losses,
        reduction,
        weights=mass,
        mean_over=mean_over,
        class_weights=factor,
        counted=counted,
        group=process_group,
    )


def _per_label(name: str, values: Tensor | None, scores: Tensor) -> Tensor | None:
    """Check weights of labels and bring them to the dtype of the scores."""
    if values is None:
        return None
    if not (isinstance(values, Tensor) and broadcasts(values.shape, scores.shape)):
        refuse(name, f"broadcast to {list(scores.shape)}", values)
    return not_negative(values.to(scores.dtype))


def _probability_of_wrong(scores: Tensor, targets: Tensor) -> Tensor:
    """Return u, accurate near 0 and never so small that a power of it has an infinite slope."""
    wrong = targets * torch.sigmoid(-scores) + (1 - targets) * torch.sigmoid(scores)
    return wrong.clamp_min(torch.finfo(scores.dtype).tiny ** 0.5)


class Poly1FocalLoss(StatelessLoss):
    """Module form of :func:`gobj.poly1_focal_loss`, for ``torch.nn.BCEWithLogitsLoss``.

    Args:
        epsilon: Weight of the added term; 0 is the focal loss.
        gamma: Focus on wrong predictions, at or above 0; 0 is no focus.
        alpha: Share of the positives in the focal term, in [0, 1]; None weighs both classes by 1.
        pos_weight: Multiplies the positives inside BCE, broadcasts to the logits as in torch.
        class_weights: At or above 0, one per label, broadcasts to the logits as in torch.
        weight_form: What ``class_weights`` multiply: ``"whole"`` or ``"ce_only"``.
        ignore_index: Label of elements that are not there; None for no such label.
        process_group: Ranks whose batches are parts of one while training: ``"world"`` for all
            ranks where ``torch.distributed`` runs several, None for this process alone.
        reduction: ``"mean"``, ``"sum"``, or ``"none"`` for the shape of the logits.
        mean_over: Denominator of the mean.

    Example:
        >>> import gobj, torch
        >>> criterion = gobj.nn.Poly1FocalLoss(epsilon=0.0)
        >>> criterion(torch.tensor([2.0, -1.0]), torch.tensor([1, 0]))
        tensor(0.0087)
    """

    function = staticmethod(poly1_focal_loss)
