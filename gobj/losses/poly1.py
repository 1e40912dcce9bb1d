"""Poly-1 cross entropy: the first polynomial coefficient of the cross entropy as a knob."""

import torch
from torch import Tensor

from gobj._checks import Number, Reduction, check_logits, check_number, kind, require
from gobj.losses._class_costs import ABSENT, WeightForm, make_poly1
from gobj.losses._module import LossModule
from gobj.losses._weighting import (
    MeanOver,
    check_reductions,
    element_weights,
    reduce_losses,
    widen,
)


def poly1_cross_entropy_loss(
    logits: Tensor,
    labels: Tensor,
    *,
    epsilon: float = 1.0,
    class_weights: Tensor | None = None,
    weight_form: WeightForm = "whole",
    label_smoothing: float = 0.0,
    ignore_index: int = -100,
    weights: Number | None = None,
    reduction: Reduction = "mean",
    mean_over: MeanOver = "all_weights",
) -> Tensor:
    r"""Raise or lower the first polynomial term of the cross entropy by ``epsilon``.

    .. math:: -\log p_y + \epsilon (1 - p_y) = (1 + \epsilon)(1 - p_y)
        + \tfrac12 (1 - p_y)^2 + \tfrac13 (1 - p_y)^3 + \dots

    With class weights :math:`c` there are three forms, of which ``"whole"`` is the default: only
    there does a class of weight 0 cost nothing and :math:`\epsilon = -1` cancel the first term.

    =============  ====================================================================
    ``whole``      :math:`c_y \bigl(-\log p_y + \epsilon (1 - p_y)\bigr)`
    ``ce_only``    :math:`-c_y \log p_y + \epsilon (1 - p_y)`
    ``pt_scaled``  :math:`-c_y \log p_y + \epsilon (1 - p_y\, c_y / \operatorname{mean} c)`
    =============  ====================================================================

    A target distribution :math:`q` (probabilities, or smoothed labels) averages each form over the
    classes, :math:`\sum_k q_k (\dots)_k`. At :math:`\epsilon = 0` this is torch's cross entropy.

    Args:
        logits: Scores of the classes, shape ``[n, C, *rest]``, or ``[C]`` for one example.
        labels: Class indices of any dtype, shape ``[n, *rest]``, or probabilities of the classes,
            shape of the logits.
        epsilon: Change of the first coefficient, from -1 (term removed) upwards; 0 changes nothing.
        class_weights: At or above 0, shape ``[C]``; 1 by default.
        weight_form: What the class weights multiply, see above.
        label_smoothing: Share of the uniform distribution in the target, in [0, 1].
        ignore_index: Class index of elements that are not there: they cost nothing and no mean
            counts them.
        weights: At or above 0, scalar, ``[n]`` or up to ``[n, *rest]``; 1 by default. An element
            with weight 0 costs nothing, whatever its score or label.
        reduction: ``"mean"``, ``"sum"``, or ``"none"`` for one loss per element.
        mean_over: Denominator of the mean: the number of ``"elements"``, the sum of ``"weights"``,
            of ``"class_weights"`` (torch's), or of their product, ``"all_weights"``. Probabilities
            have no class weight of their own and count as 1 there, as in torch.

    Returns:
        The loss, a scalar or ``[n, *rest]``, in float32 or wider.

    Raises:
        ValueError: If a shape, a dtype, a number or a name is not as above.

    Example:
        >>> import gobj, torch
        >>> logits, labels = torch.tensor([[2.0, 0.0], [2.0, 0.0]]), torch.tensor([0, 1])
        >>> gobj.poly1_cross_entropy_loss(logits, labels, epsilon=1.0)
        tensor(1.6269)
        >>> gobj.poly1_cross_entropy_loss(logits, labels, class_weights=torch.tensor([1.0, 0.0]))
        tensor(0.2461)

    References:
        Leng et al., `PolyLoss: A Polynomial Expansion Perspective of Classification Loss Functions
        <https://arxiv.org/abs/2204.12511>`_, ICLR 2022. The form ``ce_only`` is that of
        abhuse/polyloss-pytorch, ``pt_scaled`` that of veritable-tech/pytorch-lightning-spells.
    """
    name = "poly1_cross_entropy_loss"
    check_logits(name, logits)
    check_number(name, "label_smoothing", label_smoothing, low=0, high=1, closed=True)
    check_reductions(name, reduction, mean_over)
    logits, axis = widen(logits), min(1, logits.dim() - 1)
    poly1 = make_poly1(name, logits, epsilon, class_weights, weight_form)
    elements = logits.select(axis, 0)
    _check_classes(name, labels, logits.shape, elements.shape)
    spread = element_weights(name, weights, elements)
    if labels.shape == logits.shape:
        costs = poly1.of_distribution(logits, axis, labels, spread, label_smoothing)
        return reduce_losses(costs, reduction, weights=spread, mean_over=mean_over)
    labels = labels if labels.is_floating_point() else labels.long()
    counted, present = _presence(labels, ignore_index, logits.shape[axis], spread)
    return reduce_losses(
        poly1.of_indices(
            logits, axis, torch.where(present, labels, ABSENT).long(), label_smoothing
        ),
        reduction,
        weights=spread,
        mean_over=mean_over,
        class_weights=poly1.weights_of(torch.where(counted, labels, 0).long()),
        counted=counted,
    )


def _presence(
    labels: Tensor, ignore_index: int, classes: int, weights: Tensor | None
) -> tuple[Tensor, Tensor]:
    """Tell which elements have a class at all, and which of them have weight."""
    counted = labels != ignore_index
    if weights is None:
        return counted, counted
    named = (labels >= 0) & (labels < classes)
    return counted & ((weights != 0) | named), counted & (weights != 0)


def _check_classes(function: str, labels: Tensor, logits: torch.Size, elements: torch.Size) -> None:
    shapes = f"{list(elements)} (class indices) or {list(logits)} (probabilities)"
    fine = isinstance(labels, Tensor) and labels.shape in (logits, elements)
    require(
        fine and not labels.is_complex(), function, "labels", f"have shape {shapes}", kind(labels)
    )


class Poly1CrossEntropyLoss(LossModule):
    """Module form of :func:`poly1_cross_entropy_loss`, for :class:`torch.nn.CrossEntropyLoss`."""

    function = staticmethod(poly1_cross_entropy_loss)
