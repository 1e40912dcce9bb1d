"""Soft confusion counts: the cells of the confusion matrix as smooth functions of the scores."""

import math
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from gobj._batch import (
    as_tensor,
    clean_labels,
    is_known,
    keep_known,
    names_class,
    only_shares,
    spread_weights,
    widen,
)
from gobj._checks import Number, check_labels, check_logits, check_number, refuse
from gobj.distributed import Group, sum_over_ranks
from gobj.losses._elements import bound, drop_weightless


class SoftConfusion(NamedTuple):
    """Soft counts, each of shape ``[*labels]`` or ``[C]``, which add up to the total weight.

    Attributes:
        true_positives: Weight of the positives that are called so.
        false_positives: Weight of the negatives that are called positive.
        false_negatives: Weight of the positives that are not called so.
        true_negatives: Weight of the negatives that are not called positive.
    """

    true_positives: Tensor
    false_positives: Tensor
    false_negatives: Tensor
    true_negatives: Tensor


def soft_confusion(
    logits: Tensor,
    labels: Tensor,
    *,
    amplification: Number = 73.0,
    threshold: float = 0.5,
    temperature: Number | None = None,
    weights: Number | None = None,
    class_dim: int | None = None,
    ignore_index: int | None = None,
    process_group: Group = None,
    probabilities: bool = False,
) -> SoftConfusion:
    r"""Count true and false positives and negatives, softly enough to differentiate.

    An example with probability :math:`p` counts as called positive to the degree

    .. math:: A = \sigma\bigl(L (p - t)\bigr) \quad\text{or}\quad
        A = \sigma\bigl((\operatorname{logit} p - \operatorname{logit} t) / T\bigr),

    the second if a temperature :math:`T` is given. With labels :math:`y` and weights :math:`w` the
    counts are :math:`TP = \sum w y A`, :math:`FP = \sum w (1 - y) A`,
    :math:`FN = \sum w y (1 - A)` and :math:`TN = \sum w (1 - y)(1 - A)`. They tend to the hard ones
    as :math:`L` grows or :math:`T` shrinks. Classes are counted one against the rest.

    **Dead zone.** At the published :math:`L = 73` the slope of :math:`A` in the logit is 4.6 at
    logit 0, but 7e-7 at 1, 6e-12 at 2 and 3e-17 at 6 on either side: right to rounding here, where
    the usual formula gives exactly 0 in float32 above about 1, yet too small to train by, so that
    sure mistakes stay. Three remedies: a mild amplification (at 8 the slope is 0.036 at logit 2 and
    4e-4 at 6), one that grows (:func:`annealed_amplification`), or a temperature, where the slope
    falls off no faster than :math:`e^{-|z| / T}` (at :math:`T = 1` 0.10 at logit 2, 0.002 at 6).

    Args:
        logits: Scores, shape ``[n]``, ``[n, *labels]`` for several labels, or with a class
            dimension; or probabilities, see ``probabilities``.
        labels: 1 for a positive, 0 for a negative, or the share of a positive in between, shape of
            the logits; with a class dimension also class indices, in the shape of the logits
            without it. Another value, or an index of no class, makes the counts NaN.
        amplification: Steepness :math:`L` per unit of probability, above 0; a number or, so that
            it may change without compiling again, a 0-dimensional tensor. Unused with
            ``temperature``.
        threshold: Probability :math:`t` above which a call is positive, in (0, 1).
        temperature: Width :math:`T` of the step in units of the logit, above 0, as
            ``amplification``; by default the step is in probability.
        weights: At or above 0, scalar, ``[n]`` or up to the shape of the labels; 1 by default.
            What has weight 0 is not counted, whatever its score or label.
        class_dim: Dimension of the logits that holds the classes, of which there are at least 2;
            by default every label stands for itself.
        ignore_index: Label or class index that is not counted; None is -100 for class indices, as
            in torch, and no such label else.
        process_group: Ranks whose examples are counted together; the mean over the ranks of a
            gradient is that of the joined batch. None for this process alone.
        probabilities: Whether ``logits`` holds probabilities, in [0, 1].

    Returns:
        The counts, shape ``[*labels]``, or ``[C]`` with a class dimension, in float32 or wider.
        They differentiate with respect to the scores; labels and weights are constants.

    Raises:
        ValueError: If a shape, a dtype or a number is not as above.

    Example:
        >>> import gobj, torch
        >>> logits, labels = torch.tensor([3.0, -0.1, 0.1]), torch.tensor([1, 1, 0])
        >>> [round(count.item(), 3) for count in gobj.soft_confusion(logits, labels)]
        [1.139, 0.861, 0.861, 0.139]

    References:
        Han, Moniz and Chawla, `AnyLoss: Transforming Classification Metrics into Loss Functions
        <https://arxiv.org/abs/2405.14745>`_, KDD 2024.
    """
    check_logits(logits)
    check_number("threshold", threshold, low=0, high=1)
    _check_steepness("amplification", amplification)
    scores = widen(logits)
    if class_dim is None:
        check_labels(scores, labels)
        members, mass = clean_labels(labels, weights, ignore_index, scores)
    else:
        class_dim = _check_classes(logits, labels, class_dim)
        members, mass = _memberships(scores, labels, weights, class_dim, ignore_index)
    scores = drop_weightless(scores, mass)
    if class_dim is not None and not probabilities:
        scores = _one_versus_rest(scores, class_dim)
    if temperature is None:
        inner = scores if probabilities else _sigmoid(scores)
        steps = (inner - threshold) * amplification
    else:
        _check_steepness("temperature", temperature)
        scores = torch.logit(scores, torch.finfo(scores.dtype).eps) if probabilities else scores
        steps = (scores - as_tensor(threshold, scores).logit()) / temperature
    axes = tuple(dim for dim in range(scores.dim()) if dim != class_dim)
    dims = axes[:1] if class_dim is None else axes
    return SoftConfusion(*sum_over_ranks(_count(steps, members, mass, dims), process_group))


def _count(
    steps: Tensor, members: Tensor, mass: Tensor | None, dims: tuple[int, ...]
) -> list[Tensor]:
    """Sum over some dimensions how far each member, and each other, is called and passed over."""
    degrees = _sigmoid(torch.stack((steps, -steps)))
    sides = torch.stack((members, 1 - members))
    if mass is not None:
        sides = sides * mass
    cells = (degrees.unsqueeze(1) * sides).sum([dim + 2 for dim in dims]).flatten(0, 1)
    return list(cells.unbind(0))


def _sigmoid(x: Tensor) -> Tensor:
    """Return the sigmoid by way of its logarithm, whose gradient does not saturate."""
    return functional.logsigmoid(x).exp()


def _check_steepness(argument: str, value: Number) -> None:
    """Require a number above 0, or a scalar tensor."""
    if not isinstance(value, Tensor):
        check_number(argument, value, low=0)
    elif not value.is_floating_point() or value.dim() > 0:
        refuse(argument, "be a floating-point scalar", value)


def _check_classes(logits: Tensor, labels: Tensor, class_dim: int) -> int:
    """Require a class dimension and labels that fit it; return the dimension counted from 0."""
    shape, rank = list(logits.shape), logits.dim()
    if not (rank > 1 and -rank <= class_dim < rank and shape[class_dim] > 1):
        requirement = f"be a dimension of {shape} with at least 2 classes, beside another"
        refuse("class_dim", requirement, class_dim)
    class_dim %= rank
    indices = shape[:class_dim] + shape[class_dim + 1 :]
    fine = isinstance(labels, Tensor) and list(labels.shape) in (indices, shape)
    if not fine or labels.is_complex():
        refuse("labels", f"have shape {indices} (class indices) or {shape}", labels)
    return class_dim


def _memberships(
    scores: Tensor,
    labels: Tensor,
    weights: Number | None,
    class_dim: int,
    ignore_index: int | None,
) -> tuple[Tensor, Tensor | None]:
    """Return the share that each element has in each class, and the weights of the elements."""
    mass = spread_weights(weights, scores.select(class_dim, 0))
    if labels.shape == scores.shape:
        if ignore_index is not None:
            mass = keep_known(mass, is_known(labels, ignore_index).any(class_dim), scores.dtype)
        mass = None if mass is None else mass.unsqueeze(class_dim)
        return only_shares(drop_weightless(labels.to(scores.dtype), mass)), mass
    labels = labels if labels.is_floating_point() else labels.long()
    number = scores.shape[class_dim]
    classes = torch.arange(number, device=labels.device)
    classes = classes.reshape(-1, *(1,) * (scores.dim() - class_dim - 1))
    members = (labels.unsqueeze(class_dim) == classes).to(scores.dtype)
    # a class that is none has no finite weight, unless it is to be ignored
    named = torch.where(names_class(labels, number), 1.0, math.nan).to(scores.dtype)
    mass = named if mass is None else torch.where(mass != 0, named * mass, 0)
    mass = mass.where(is_known(labels, -100 if ignore_index is None else ignore_index), 0)
    return members, mass.unsqueeze(class_dim)


def _one_versus_rest(logits: Tensor, class_dim: int) -> Tensor:
    """Return ``log(p / (1 - p))`` of each class's softmax probability, shape of the logits.

    The likeliest class is treated apart: its ``1 - p`` is the sum of the others, not a difference.
    """
    logits = bound(logits)
    top = logits.argmax(class_dim, keepdim=True)
    others = logits.scatter(class_dim, top, -math.inf).logsumexp(class_dim, keepdim=True)
    log_p = logits.log_softmax(class_dim).scatter(class_dim, top, -1)
    odds = log_p - torch.log1p(-log_p.exp())
    return odds.scatter(class_dim, top, logits.gather(class_dim, top) - others)


def annealed_amplification(progress: Number, *, start: float = 1.0, end: float = 73.0) -> Number:
    r"""Raise the amplification geometrically in the course of training.

    .. math:: L = L_0^{1 - s} L_1^s

    Early on every example has a slope; later the counts come close to the hard ones. A temperature
    anneals in the same way, with ``start`` above ``end``.

    Args:
        progress: Share :math:`s` of the training that is done, a number or a tensor; what is below
            0 or above 1 counts as 0 or 1.
        start: Amplification :math:`L_0` at the beginning, above 0.
        end: Amplification :math:`L_1` at the end, above 0.

    Returns:
        The amplification, a tensor if ``progress`` is one.

    Raises:
        ValueError: If an amplification is not above 0.

    Example:
        >>> import gobj
        >>> [round(gobj.annealed_amplification(step / 4, start=1, end=81)) for step in range(6)]
        [1, 3, 9, 27, 81, 81]

    References:
        A continuation method: Allgower and Georg, Numerical Continuation Methods, Springer 1990.
    """
    check_number("start", start, low=0)
    check_number("end", end, low=0)
    done = progress.clamp(0, 1) if isinstance(progress, Tensor) else min(max(progress, 0.0), 1.0)
    amplification: Number = start * (end / start) ** done
    return amplification
