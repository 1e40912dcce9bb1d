"""Poly-1 cross entropy: the first polynomial coefficient of the cross entropy as a knob."""

import math
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from gobj._batch import (
    is_known,
    names_class,
    not_negative,
    only_shares,
    spread_weights,
    widen,
)
from gobj._checks import Number, Reduction, check_choice, check_logits, check_number, refuse
from gobj.distributed import Group
from gobj.losses._elements import (
    MeanOver,
    bound,
    check_reductions,
    reduce_losses,
    weigh,
)
from gobj.stateless import StatelessLoss

WeightForm = Literal["whole", "ce_only", "pt_scaled"]


def poly1_cross_entropy_loss(
    logits: Tensor,
    labels: Tensor,
    *,
    epsilon: float = 1.0,
    class_weights: Tensor | None = None,
    weight_form: WeightForm = "whole",
    label_smoothing: float = 0.0,
    ignore_index: int = -100,
    process_group: Group = None,
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
            shape of the logits. An index of no class, or a probability outside of [0, 1], makes the
            loss NaN.
        epsilon: Change of the first coefficient, from -1 (term removed) upwards; 0 changes nothing.
        class_weights: At or above 0, shape ``[C]``; 1 by default.
        weight_form: What the class weights multiply, see above.
        label_smoothing: Share of the uniform distribution in the target, in [0, 1].
        ignore_index: Class index of elements that are not there: they cost nothing and no mean
            counts them. With probabilities, those whose row is filled with it.
        process_group: Ranks whose batches are parts of one: in the mean over the ranks, loss and
            gradient are those of the joined batch. None for this process alone.
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
    check_logits(logits)
    check_number("epsilon", epsilon)
    check_choice("weight_form", weight_form, ("whole", "ce_only", "pt_scaled"))
    check_number("label_smoothing", label_smoothing, low=0, high=1, closed=True)
    check_reductions(reduction, mean_over)
    logits, axis = widen(logits), min(1, logits.dim() - 1)
    elements = logits.select(axis, 0)
    _check_classes(labels, logits.shape, elements.shape)
    poly1 = _Poly1(
        axis, epsilon, label_smoothing, weight_form, _of_classes(class_weights, logits, axis)
    )
    mass = spread_weights(weights, elements)
    if labels.shape == logits.shape:
        counted = is_known(labels, ignore_index).any(axis)
        present = counted if mass is None else counted & (mass != 0)
        losses = poly1.of_distribution(logits, labels.to(logits.dtype), present)
        mass = None if mass is None else mass.where(counted, 0)
        return reduce_losses(
            losses,
            reduction,
            weights=mass,
            mean_over=mean_over,
            counted=counted,
            group=process_group,
        )
    counted, named = is_known(labels, ignore_index), names_class(labels, logits.shape[axis])
    mass = None if mass is None else mass.where(counted, 0)
    present = counted if mass is None else counted & (mass != 0)
    known = torch.where(counted & named, labels.long(), 0)
    losses = poly1.of_indices(torch.where(present.unsqueeze(axis), logits, 0), known)
    return reduce_losses(
        torch.where(present, torch.where(named, losses, math.nan), 0),
        reduction,
        weights=mass,
        mean_over=mean_over,
        class_weights=poly1.weights_of(known),
        # padding without weight is not there, even if what stands for its class is none
        counted=counted if mass is None else counted & ((mass != 0) | named),
        group=process_group,
    )


class _Poly1(NamedTuple):
    """Poly-1 cost as a function of the log-probability of the right class."""

    axis: int
    epsilon: float
    smoothing: float
    form: WeightForm
    class_weights: Tensor | None

    def of_indices(self, logits: Tensor, index: Tensor) -> Tensor:
        """Return the cost of each element, given its class."""
        log_p = torch.log_softmax(bound(logits), self.axis)
        if self.smoothing == 0:
            return -self.gains(_pick(log_p, self.axis, index), self.weights_of(index))
        each = self.of_each_class(log_p)
        return -self.smoothed(_pick(each, self.axis, index), each)

    def of_distribution(self, logits: Tensor, target: Tensor, present: Tensor) -> Tensor:
        """Return the cost of each element under a distribution of the right class."""
        absent = ~present.unsqueeze(self.axis)
        target = only_shares(target.masked_fill(absent, 0))
        log_p = torch.log_softmax(bound(logits.masked_fill(absent, 0)), self.axis)
        each = self.of_each_class(log_p)
        expected = (target * each).sum(self.axis)
        gain = expected if self.smoothing == 0 else self.smoothed(expected, each)
        return torch.where(present, -gain, 0)

    def smoothed(self, expected: Tensor, each: Tensor) -> Tensor:
        """Mix the gain of the target with the mean over the classes."""
        return expected + self.smoothing * (each.mean(self.axis) - expected)

    def of_each_class(self, log_p: Tensor) -> Tensor:
        """Return what each class would gain if it were the right one, shape of the logits."""
        factor = self.class_weights
        if factor is not None:
            factor = factor.reshape(-1, *(1,) * (log_p.dim() - self.axis - 1))
        return self.gains(log_p, factor)

    def gains(self, log_p: Tensor, factor: Tensor | None) -> Tensor:
        """Return the negative costs where the class weights are ``factor``, which broadcasts."""
        short_of_sure = self.epsilon * torch.expm1(log_p)
        if factor is None or self.class_weights is None:
            return log_p + short_of_sure
        if self.form == "whole":
            return weigh(log_p + short_of_sure, factor)
        if self.form == "pt_scaled":
            relative = factor / self.class_weights.mean()
            short_of_sure = self.epsilon * (torch.exp(log_p) * relative - 1)
        return weigh(log_p, factor) + short_of_sure

    def weights_of(self, index: Tensor) -> Tensor | None:
        """Return the class weight of each element."""
        if self.class_weights is None:
            return None
        return self.class_weights.gather(0, index.flatten()).reshape(index.shape)


def _pick(values: Tensor, axis: int, index: Tensor) -> Tensor:
    return values.gather(axis, index.unsqueeze(axis)).squeeze(axis)


def _of_classes(class_weights: Tensor | None, logits: Tensor, axis: int) -> Tensor | None:
    """Check class weights and bring them to the logits' dtype."""
    if class_weights is None:
        return None
    classes = logits.shape[axis]
    if not (isinstance(class_weights, Tensor) and class_weights.shape == (classes,)):
        refuse("class_weights", f"have shape [{classes}]", class_weights)
    return not_negative(class_weights.to(logits.dtype))


def _check_classes(labels: Tensor, logits: torch.Size, elements: torch.Size) -> None:
    fine = isinstance(labels, Tensor) and labels.shape in (logits, elements)
    if not fine or labels.is_complex():
        shapes = f"{list(elements)} (class indices) or {list(logits)} (probabilities)"
        refuse("labels", f"have shape {shapes}", labels)


class Poly1CrossEntropyLoss(StatelessLoss):
    """Module form of :func:`gobj.poly1_cross_entropy_loss`, for ``torch.nn.CrossEntropyLoss``.

    Args:
        epsilon: Change of the first coefficient, from -1 (term removed) upwards; 0 changes nothing.
        class_weights: At or above 0, shape ``[C]``; 1 by default.
        weight_form: What the class weights multiply: ``"whole"``, ``"ce_only"``, ``"pt_scaled"``.
        label_smoothing: Share of the uniform distribution in the target, in [0, 1].
        ignore_index: Class index of elements that are not there.
        process_group: Ranks whose batches are parts of one while training: ``"world"`` for all
            ranks where ``torch.distributed`` runs several, None for this process alone.
        reduction: ``"mean"``, ``"sum"``, or ``"none"`` for one loss per element.
        mean_over: Denominator of the mean.

    Example:
        >>> import gobj, torch
        >>> criterion = gobj.nn.Poly1CrossEntropyLoss(epsilon=2.0)
        >>> criterion(torch.tensor([[2.0, 0.0]]), torch.tensor([0]))
        tensor(0.3653)
    """

    function = staticmethod(poly1_cross_entropy_loss)
