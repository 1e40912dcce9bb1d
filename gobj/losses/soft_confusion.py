"""Soft confusion counts: the cells of the confusion matrix as smooth functions of the scores."""

import math
from typing import NamedTuple, TypedDict, Unpack

import torch
from torch import Tensor

from gobj._checks import Number, check_labels, check_logits, check_number, kind, require
from gobj.losses._inheritance import completed_from
from gobj.losses._one_versus_rest import check_classes, memberships, one_versus_rest
from gobj.losses._soft_counts import Step, soft_counts
from gobj.losses._weighting import drop_weightless, element_weights, widen


class SoftConfusion(NamedTuple):
    """Soft counts, each of shape ``[*labels]`` or ``[C]``, which add up to the total weight."""

    true_positives: Tensor
    false_positives: Tensor
    false_negatives: Tensor
    true_negatives: Tensor


class Counting(TypedDict, total=False):
    """Settings of :func:`soft_confusion`."""

    amplification: Number
    threshold: float
    temperature: Number | None
    weights: Number | None
    class_dim: int | None
    ignore_index: int
    probabilities: bool


def confusion_of(
    function: str,
    logits: Tensor,
    labels: Tensor,
    *,
    amplification: Number = 73.0,
    threshold: float = 0.5,
    temperature: Number | None = None,
    weights: Number | None = None,
    class_dim: int | None = None,
    ignore_index: int = -100,
    probabilities: bool = False,
) -> SoftConfusion:
    """Count as :func:`soft_confusion`, with errors that begin with the name of the caller."""
    check_logits(function, logits)
    check_number(function, "threshold", threshold, low=0, high=1)
    _check_steepness(function, "amplification", amplification)
    scores = widen(logits)
    if class_dim is None:
        check_labels(function, logits, labels)
        members, mass = labels.to(scores.dtype), element_weights(function, weights, scores)
    else:
        class_dim = check_classes(function, logits, labels, class_dim)
        members, mass = memberships(
            function, scores, labels, weights, class_dim=class_dim, ignore_index=ignore_index
        )
    scores, members = drop_weightless(scores, mass), drop_weightless(members, mass).detach()
    if class_dim is not None and not probabilities:
        scores = one_versus_rest(scores, class_dim)
    centre = threshold
    if temperature is not None:
        _check_steepness(function, "temperature", temperature)
        amplification, centre = 1 / temperature, math.log(threshold / (1 - threshold))
        scores = torch.logit(scores, torch.finfo(scores.dtype).eps) if probabilities else scores
    axes = tuple(dim for dim in range(scores.dim()) if dim != class_dim)
    dims = axes[:1] if class_dim is None else axes
    step = Step(centre, squashed=temperature is None and not probabilities, dims=dims)
    mass = None if mass is None else mass.detach()
    return SoftConfusion(*soft_counts(scores, members, mass, amplification, step))


@completed_from(confusion_of)
def soft_confusion(logits: Tensor, labels: Tensor, **counting: Unpack[Counting]) -> SoftConfusion:
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
        labels: 1 or 0, or a share in between, in the logits' shape; with a class dimension also
            class indices, in the shape of the logits without it.
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
        ignore_index: Class index that is not counted.
        probabilities: Whether ``logits`` holds probabilities, in [0, 1].

    Returns:
        The counts, shape ``[*labels]``, or ``[C]`` with a class dimension, in float32 or wider.
        They differentiate with respect to the scores; labels and weights are constants.

    Raises:
        ValueError: If a shape, a dtype or a number is not as above.

    Example:
        >>> import torch
        >>> from gobj.losses.soft_confusion import soft_confusion
        >>> logits, labels = torch.tensor([3.0, -0.1, 0.1]), torch.tensor([1, 1, 0])
        >>> [round(count.item(), 3) for count in soft_confusion(logits, labels)]
        [1.139, 0.861, 0.861, 0.139]

    References:
        Han, Moniz and Chawla, `AnyLoss: Transforming Classification Metrics into Loss Functions
        <https://arxiv.org/abs/2405.14745>`_, KDD 2024.
    """
    return confusion_of("soft_confusion", logits, labels, **counting)


def _check_steepness(function: str, argument: str, value: Number) -> None:
    if isinstance(value, Tensor):
        fine = value.is_floating_point() and value.dim() == 0
        require(fine, function, argument, "be a floating-point scalar", kind(value))
    else:
        check_number(function, argument, value, low=0)


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
        >>> from gobj.losses.soft_confusion import annealed_amplification
        >>> [round(annealed_amplification(step / 4, start=1, end=81)) for step in range(6)]
        [1, 3, 9, 27, 81, 81]

    References:
        A continuation method: Allgower and Georg, Numerical Continuation Methods, Springer 1990.
    """
    check_number("annealed_amplification", "start", start, low=0)
    check_number("annealed_amplification", "end", end, low=0)
    done = progress.clamp(0, 1) if isinstance(progress, Tensor) else min(max(progress, 0.0), 1.0)
    amplification: Number = start * (end / start) ** done
    return amplification
