r"""Weights that compose: of samples, classes, labels, pixels and heads.

Every loss without state takes ``weights``: a scalar, one per sample ``[n]``, or one per element of
the loss. Whatever its source, a weight is a factor, so weights of several kinds multiply and none
replaces another; ``reduction="none"`` keeps the shape of the elements; what has weight 0 costs
nothing and receives no gradient, even where its score or label is NaN. Where a loss also knows
class weights :math:`c`, the denominator of its mean is chosen by name:

=====================  ===================================  =====================================
``mean_over``          denominator                          the mean of
=====================  ===================================  =====================================
``"all_weights"``      :math:`\sum_i w_i c_{y_i}`           a weighted average, the default
``"weights"``          :math:`\sum_i w_i`                   Chainer's ``average``
``"class_weights"``    :math:`\sum_i c_{y_i}`               torch's cross entropy
``"elements"``         number of elements                   Keras and U-Net; torch's BCE
=====================  ===================================  =====================================

Elements of label ``ignore_index`` are in no sum. Only the default is unchanged when all weights are
multiplied by a constant, and makes weight 2 the same as an example that is there twice.

**Sample weights and class weights together.** Samples have weights, and the first class has the
larger sum of them; the class weights undo that.

>>> import gobj, torch
>>> labels = torch.tensor([0, 0, 0, 0, 1, 1])
>>> weights = torch.tensor([0.01, 0.03, 0.05, 0.02, 0.01, 0.02])
>>> class_weights = gobj.class_weights_from_counts(torch.bincount(labels, weights))
>>> class_weights / class_weights[0]
tensor([1.0000, 3.6667])
>>> logits = torch.tensor([[1.0, -1.0]]).expand(6, 2)
>>> gobj.poly1_cross_entropy_loss(
...     logits, labels, epsilon=0.0, class_weights=class_weights, weights=weights
... )
tensor(1.1269)

**Slices of a sparse multi-label vector.** Weight 0 leaves an element out, and a rare label that is
present may weigh more: no indexing, and the shapes stay.

>>> logits = torch.tensor([[0.4, -3.0, 0.5], [-2.0, 1.0, 0.0]])
>>> labels = torch.tensor([[1, 0, 0], [0, 1, 1]])
>>> chosen = torch.tensor([[True, False, True], [False, True, True]])
>>> rare = gobj.weights_from_labels(
...     labels, torch.tensor([[1.0, 1.0], [1.0, 1.0], [1.0, 9.0]])
... )
>>> losses = gobj.poly1_focal_loss(logits, labels, weights=chosen * rare, reduction="none")
>>> losses
tensor([[0.0853, 0.0000, 0.5242],
        [0.0000, 0.0251, 1.5149]])

**Three heads.** A label ``[n, 3]`` is a dense target with the class axis at position 1. Heads of
different sizes have one loss each.

>>> logits, labels = torch.zeros(2, 3, 6), torch.tensor([[1, 4, 5], [0, 2, -100]])
>>> gobj.poly1_cross_entropy_loss(logits.mT, labels, epsilon=0.0)
tensor(1.7918)
>>> heads = [
...     gobj.poly1_cross_entropy_loss(logits[:, head], labels[:, head], epsilon=0.0)
...     for head in range(3)
... ]
>>> gobj.weighted_sum_over_heads(heads, [1.0, 0.5, 0.5])
tensor(3.5835)

Outputs with class weights of their own, step by step of a padded sequence:

>>> table = torch.tensor([[1.0, 2.0, 3.0], [1.0, 1.0, 9.0]])
>>> steps = gobj.weights_from_labels(torch.tensor([[0, 2], [1, 0], [-100, -100]]), table)
>>> steps.sum(-1)
tensor([10.,  3.,  0.])

**Weighted pixels.** A map ``[n, height, width]`` weighs pixels, ``[n]`` whole images, and their
product both.

>>> instances = torch.tensor([[[1, 0, 2, 2]], [[0, 0, 3, 3]]])
>>> pixels = gobj.unet_weight_map(instances, border_width=1.0)
>>> images = torch.tensor([1.0, 0.5]).reshape(2, 1, 1)
>>> logits = torch.zeros(2, 2, 1, 4)
>>> gobj.poly1_cross_entropy_loss(
...     logits, instances > 0, epsilon=0.0, weights=pixels * images, mean_over="elements"
... )
tensor(0.6371)

**Gradients point by point.** The network is a function of one point, its gradient another, and
``vmap`` maps it over points; the same gives the gradient of each example's loss.

>>> network = torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.ReLU(), torch.nn.Linear(2, 1))
>>> points = torch.randn(100, 2)
>>> slopes = torch.func.vmap(torch.func.grad(lambda point: network(point).squeeze()))(points)
>>> slopes.shape
torch.Size([100, 2])
>>> logits, labels = torch.randn(100, 5), torch.randint(5, (100,))
>>> per_example = torch.func.vmap(torch.func.grad(gobj.poly1_cross_entropy_loss))
>>> per_example(logits, labels).shape
torch.Size([100, 5])
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from gobj._batch import names_class, widen
from gobj._checks import broadcasts, check_number, refuse
from gobj.losses._elements import nonzero_or_one, weigh


def class_weights_from_counts(counts: Tensor, *, power: float = 1.0) -> Tensor:
    r"""Weigh classes against their counts, so that the average weight of an example is 1.

    .. math:: c_k = n_k^{-p} \cdot \frac{\sum_j n_j}{\sum_j n_j^{1 - p}}

    Args:
        counts: Number, or sum of weights, of the examples of each class, at or above 0, shape
            ``[*outputs, C]``.
        power: Exponent :math:`p`, usually in [0, 1]: 1 gives every class the same total, 0 weighs
            nothing, one half is between the two.

    Returns:
        Class weights, shape of ``counts``; 0 for a class that does not occur.

    Raises:
        ValueError: If ``counts`` is not a real tensor with a class axis, or ``power`` no number.

    Example:
        >>> import gobj, torch
        >>> gobj.class_weights_from_counts(torch.tensor([90, 10, 0]))
        tensor([0.5556, 5.0000, 0.0000])

    References:
        King and Zeng, Logistic Regression in Rare Events Data, Political Analysis 2001.
    """
    if not (isinstance(counts, Tensor) and counts.dim() >= 1 and not counts.is_complex()):
        refuse("counts", "be a real tensor of shape [*outputs, C]", counts)
    check_number("power", power)
    counts = counts if counts.is_floating_point() else counts.to(torch.get_default_dtype())
    counts = widen(counts)
    inverse = torch.where(counts > 0, nonzero_or_one(counts).pow(-power), 0)
    total, weighted = counts.sum(-1, keepdim=True), (counts * inverse).sum(-1, keepdim=True)
    return inverse * total / nonzero_or_one(weighted)


def weights_from_labels(
    labels: Tensor, class_weights: Tensor, *, ignore_index: int = -100
) -> Tensor:
    """Look up the class weight of every label, each output in its own row.

    Args:
        labels: Class of each element, an integer of any dtype, any shape ``[n, *outputs]``.
        class_weights: Weight of each class, shape ``[C]``, or ``[*outputs, C]`` for outputs with
            class weights of their own.
        ignore_index: Label of padding and of what is missing, as is NaN: the weight is 0.

    Returns:
        Weights, shape of the labels, to be multiplied with others or summed over the outputs; NaN
        for a label that is no class.

    Raises:
        ValueError: If the shapes do not fit.

    Example:
        >>> import gobj, torch
        >>> labels = torch.tensor([[0, 1], [2, -100]])
        >>> gobj.weights_from_labels(labels, torch.tensor([[1.0, 2.0, 4.0], [1.0, 9.0, 1.0]]))
        tensor([[1., 9.],
                [4., 0.]])

    References:
        The lookup behind ``class_weight`` of Keras and scikit-learn, for any number of outputs.
    """
    if not isinstance(labels, Tensor) or labels.is_complex():
        refuse("labels", "be a real tensor", labels)
    fine = isinstance(class_weights, Tensor) and class_weights.dim() >= 1
    if not (fine and broadcasts(class_weights.shape[:-1], labels.shape)):
        shape = list(labels.shape)
        refuse("class_weights", f"have shape [C] or end in it for labels {shape}", class_weights)
    labels = labels if labels.is_floating_point() else labels.long()
    classes = class_weights.shape[-1]
    missing = (labels == ignore_index) | labels.isnan()
    named = names_class(labels, classes)
    index = torch.where(named, labels, 0).long().unsqueeze(-1)
    found = class_weights.expand(*labels.shape, classes).gather(-1, index).squeeze(-1)
    return torch.where(missing, 0, torch.where(named, found, math.nan))


def weighted_sum_over_heads(
    losses: Sequence[Tensor], weights: Sequence[float] | Tensor | None = None
) -> Tensor:
    """Add the losses of several heads, each times its weight.

    Args:
        losses: One loss per head, all of one shape.
        weights: One weight per head, at or above 0; 1 by default. A head with weight 0 is left out,
            whatever its loss.

    Returns:
        The sum, in the shape of one loss.

    Raises:
        ValueError: If there is no head, or not one weight per head.

    Example:
        >>> import gobj, torch
        >>> gobj.weighted_sum_over_heads([torch.tensor(2.0), torch.tensor(4.0)], [1.0, 0.25])
        tensor(3.)

    References:
        Caruana, Multitask Learning, Machine Learning 1997.
    """
    if not len(losses):
        refuse("losses", "have at least one head", losses)
    heads = widen(torch.stack(tuple(losses)))
    if weights is None:
        return heads.sum(0)
    if len(weights) != len(losses):
        refuse("weights", f"have {len(losses)} entries", weights)
    spread = torch.as_tensor(weights, dtype=heads.dtype, device=heads.device)
    return weigh(heads, spread.reshape(-1, *(1,) * (heads.dim() - 1))).sum(0)
