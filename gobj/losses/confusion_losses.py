"""Losses from soft confusion counts: one minus any metric, and those with a name."""

from collections.abc import Callable
from functools import partial
from typing import Any, Literal, TypedDict, Unpack

import torch
from torch import Tensor

from gobj._checks import Number, check_choice, check_number, refuse
from gobj.distributed import Group
from gobj.losses import confusion_metrics as metrics
from gobj.losses.soft_confusion import SoftConfusion, soft_confusion
from gobj.stateless import StatelessLoss

Average = Literal["macro", "micro", "none"]
Absent = Literal["skip", "count"]
Metric = Callable[[SoftConfusion], Tensor]


class Options(TypedDict, total=False):
    """Settings that all of these losses share; :func:`confusion_metric_loss` explains them."""

    amplification: Number
    threshold: float
    temperature: Number | None
    weights: Number | None
    class_dim: int | None
    ignore_index: int | None
    process_group: Group
    probabilities: bool
    average: Average
    absent: Absent
    smoothing: float


def confusion_metric_loss(
    logits: Tensor, labels: Tensor, *, metric: Metric, **options: Unpack[Options]
) -> Tensor:
    """Maximise any metric that is a function of the confusion counts.

    The loss is one minus the metric of the soft counts, see :func:`gobj.soft_confusion`, which also
    says where their slope is too small to train by. It does not depend on the scale of the weights
    if the metric is a ratio of counts.

    Args:
        logits: Scores, shape ``[n]``, ``[n, *labels]`` for several labels, or with a class
            dimension; or probabilities, see ``probabilities``.
        labels: 1 for a positive, 0 for a negative, or the share of a positive in between, shape of
            the logits; with a class dimension also class indices, in the shape of the logits
            without it. Another value, or an index of no class, makes the loss NaN.
        metric: Function of a :class:`gobj.SoftConfusion` whose counts have shape ``[*labels]``, to
            a tensor of that shape; higher is better. It should be finite, with its gradient, where
            a count is 0; those of :mod:`gobj.losses.confusion_metrics` are.
        amplification: Steepness per unit of probability, above 0; a number or, so that it may
            change without compiling again, a 0-dimensional tensor. Unused with ``temperature``.
        threshold: Probability above which a call is positive, in (0, 1).
        temperature: Width of the step in units of the logit, above 0; by default the step is in
            probability.
        weights: At or above 0, scalar, ``[n]`` or up to the shape of the labels; 1 by default.
            What has weight 0 is not counted, whatever its score or label.
        class_dim: Dimension of the logits that holds the classes, of which there are at least 2;
            by default every label stands for itself.
        ignore_index: Label or class index that is not counted; None is -100 for class indices, as
            in torch, and no such label else.
        process_group: Ranks whose batches are parts of one: in the mean over the ranks, loss and
            gradient are those of the joined batch. None for this process alone.
        probabilities: Whether ``logits`` holds probabilities, in [0, 1].
        average: Mean over labels or classes of the metric of each (``"macro"``), metric of their
            summed counts (``"micro"``), or one loss for each (``"none"``).
        absent: What a class without an example in the batch does to the mean: ``"skip"`` leaves it
            out, and its own loss is 0; ``"count"`` takes the metric with 0 / 0 = 1.
        smoothing: Right calls that are added to the true positives and to the true negatives, as a
            share of the total weight, at or above 0. Above 0 even a batch without positives has a
            gradient in every metric.

    Returns:
        The loss, a scalar, or ``[*labels]`` or ``[C]`` for ``average="none"``, in float32 or wider.
        It is 0 where nothing has weight.

    Raises:
        ValueError: If a shape, a dtype, a number or a name is not as above.

    Example:
        >>> import gobj, torch
        >>> def positive_likelihood(counts):
        ...     tp, fp, fn, tn = counts
        ...     return (tp / (tp + fn)) / (fp / (fp + tn))
        >>> logits, labels = torch.tensor([3.0, -0.1, 0.1]), torch.tensor([1, 1, 0])
        >>> gobj.confusion_metric_loss(logits, labels, metric=positive_likelihood)
        tensor(0.3385)

    References:
        Han, Moniz and Chawla, `AnyLoss: Transforming Classification Metrics into Loss Functions
        <https://arxiv.org/abs/2405.14745>`_, KDD 2024.
    """
    if not callable(metric):
        refuse("metric", "be a function", metric)

    def guarded(counts: SoftConfusion) -> Tensor:
        empty = torch.stack(counts).detach().sum(0) == 0
        return metric(SoftConfusion(*(count + empty for count in counts))) * ~empty + empty

    return _metric_loss(guarded, logits, labels, **options)


def _metric_loss(
    metric: Metric,
    logits: Tensor,
    labels: Tensor,
    *,
    average: Average = "macro",
    absent: Absent = "skip",
    smoothing: float = 0.0,
    of_negatives: bool = False,
    class_dim: int | None = None,
    **counting: Any,
) -> Tensor:
    """Return one minus a metric that is 1, with a finite gradient, where all counts are 0.

    ``of_negatives`` tells that it is of use where a label has negatives alone.
    """
    check_choice("average", average, ("macro", "micro", "none"))
    check_choice("absent", absent, ("skip", "count"))
    check_number("smoothing", smoothing, low=0, closed=True)
    counts = soft_confusion(logits, labels, class_dim=class_dim, **counting)
    if average == "micro":
        counts = SoftConfusion(*(count.sum() for count in counts))
    present = None
    if absent == "skip" and smoothing == 0 and not (of_negatives and class_dim is None):
        with torch.no_grad():
            present = counts.true_positives + counts.false_negatives != 0
    if smoothing:
        extra = smoothing * torch.stack(counts).detach().sum(0)
        tp, fp, fn, tn = counts
        counts = SoftConfusion(tp + extra, fp, fn, tn + extra)
    losses = 1 - metric(counts)
    if present is not None:
        losses = losses * present
    if average == "none" or losses.dim() == 0:
        return losses
    return losses.sum() / (
        max(losses.numel(), 1) if present is None else present.sum().clamp(min=1)
    )


def accuracy_loss(logits: Tensor, labels: Tensor, **options: Unpack[Options]) -> Tensor:
    r"""Maximise accuracy, the share of right calls.

    .. math:: 1 - \frac{TP + TN}{TP + FP + FN + TN}

    Args:
        logits: Scores, shape ``[n]``, ``[n, *labels]`` for several labels, or with a class
            dimension; or probabilities, see ``probabilities``.
        labels: 1 for a positive, 0 for a negative, or the share of a positive in between, shape of
            the logits; with a class dimension also class indices, in the shape of the logits
            without it. Another value, or an index of no class, makes the loss NaN.
        amplification: Steepness per unit of probability, above 0; a number or, so that it may
            change without compiling again, a 0-dimensional tensor. Unused with ``temperature``.
        threshold: Probability above which a call is positive, in (0, 1).
        temperature: Width of the step in units of the logit, above 0; by default the step is in
            probability.
        weights: At or above 0, scalar, ``[n]`` or up to the shape of the labels; 1 by default.
            What has weight 0 is not counted, whatever its score or label.
        class_dim: Dimension of the logits that holds the classes, of which there are at least 2;
            by default every label stands for itself.
        ignore_index: Label or class index that is not counted; None is -100 for class indices, as
            in torch, and no such label else.
        process_group: Ranks whose batches are parts of one: in the mean over the ranks, loss and
            gradient are those of the joined batch. None for this process alone.
        probabilities: Whether ``logits`` holds probabilities, in [0, 1].
        average: Mean over labels or classes of the metric of each (``"macro"``), metric of their
            summed counts (``"micro"``), or one loss for each (``"none"``).
        absent: What a class without an example in the batch does to the mean: ``"skip"`` leaves it
            out, and its own loss is 0; ``"count"`` takes the metric with 0 / 0 = 1. A label
            that stands for itself is still judged by its negatives.
        smoothing: Right calls that are added to the true positives and to the true negatives, as a
            share of the total weight, at or above 0. Above 0 even a batch without positives has a
            gradient in every metric.

    Returns:
        The loss, a scalar, or ``[*labels]`` or ``[C]`` for ``average="none"``, in float32 or wider.
        It is 0 where nothing has weight.

    Raises:
        ValueError: If a shape, a dtype, a number or a name is not as above.

    Example:
        >>> import gobj, torch
        >>> gobj.accuracy_loss(torch.tensor([3.0, -0.1, 0.1]), torch.tensor([1, 1, 0]))
        tensor(0.5740)

    References:
        Han, Moniz and Chawla, `AnyLoss: Transforming Classification Metrics into Loss Functions
        <https://arxiv.org/abs/2405.14745>`_, KDD 2024.
    """
    return _metric_loss(metrics.accuracy, logits, labels, of_negatives=True, **options)


def precision_loss(logits: Tensor, labels: Tensor, **options: Unpack[Options]) -> Tensor:
    r"""Maximise precision, the share of positive calls that are right.

    .. math:: 1 - \frac{TP}{TP + FP}

    Args:
        logits: Scores, shape ``[n]``, ``[n, *labels]`` for several labels, or with a class
            dimension; or probabilities, see ``probabilities``.
        labels: 1 for a positive, 0 for a negative, or the share of a positive in between, shape of
            the logits; with a class dimension also class indices, in the shape of the logits
            without it. Another value, or an index of no class, makes the loss NaN.
        amplification: Steepness per unit of probability, above 0; a number or, so that it may
            change without compiling again, a 0-dimensional tensor. Unused with ``temperature``.
        threshold: Probability above which a call is positive, in (0, 1).
        temperature: Width of the step in units of the logit, above 0; by default the step is in
            probability.
        weights: At or above 0, scalar, ``[n]`` or up to the shape of the labels; 1 by default.
            What has weight 0 is not counted, whatever its score or label.
        class_dim: Dimension of the logits that holds the classes, of which there are at least 2;
            by default every label stands for itself.
        ignore_index: Label or class index that is not counted; None is -100 for class indices, as
            in torch, and no such label else.
        process_group: Ranks whose batches are parts of one: in the mean over the ranks, loss and
            gradient are those of the joined batch. None for this process alone.
        probabilities: Whether ``logits`` holds probabilities, in [0, 1].
        average: Mean over labels or classes of the metric of each (``"macro"``), metric of their
            summed counts (``"micro"``), or one loss for each (``"none"``).
        absent: What a class without an example in the batch does to the mean: ``"skip"`` leaves it
            out, and its own loss is 0; ``"count"`` takes the metric with 0 / 0 = 1.
        smoothing: Right calls that are added to the true positives and to the true negatives, as a
            share of the total weight, at or above 0. Above 0 even a batch without positives has a
            gradient in every metric.

    Returns:
        The loss, a scalar, or ``[*labels]`` or ``[C]`` for ``average="none"``, in float32 or wider.
        It is 0 where nothing has weight.

    Raises:
        ValueError: If a shape, a dtype, a number or a name is not as above.

    Example:
        >>> import gobj, torch
        >>> gobj.precision_loss(torch.tensor([3.0, -0.1, 0.1]), torch.tensor([1, 1, 0]))
        tensor(0.4305)

    References:
        Han, Moniz and Chawla, `AnyLoss: Transforming Classification Metrics into Loss Functions
        <https://arxiv.org/abs/2405.14745>`_, KDD 2024.
    """
    return _metric_loss(metrics.precision, logits, labels, **options)


def recall_loss(logits: Tensor, labels: Tensor, **options: Unpack[Options]) -> Tensor:
    r"""Maximise recall, the share of positives that are found.

    Alone it is best served by calling everything positive.

    .. math:: 1 - \frac{TP}{TP + FN}

    Args:
        logits: Scores, shape ``[n]``, ``[n, *labels]`` for several labels, or with a class
            dimension; or probabilities, see ``probabilities``.
        labels: 1 for a positive, 0 for a negative, or the share of a positive in between, shape of
            the logits; with a class dimension also class indices, in the shape of the logits
            without it. Another value, or an index of no class, makes the loss NaN.
        amplification: Steepness per unit of probability, above 0; a number or, so that it may
            change without compiling again, a 0-dimensional tensor. Unused with ``temperature``.
        threshold: Probability above which a call is positive, in (0, 1).
        temperature: Width of the step in units of the logit, above 0; by default the step is in
            probability.
        weights: At or above 0, scalar, ``[n]`` or up to the shape of the labels; 1 by default.
            What has weight 0 is not counted, whatever its score or label.
        class_dim: Dimension of the logits that holds the classes, of which there are at least 2;
            by default every label stands for itself.
        ignore_index: Label or class index that is not counted; None is -100 for class indices, as
            in torch, and no such label else.
        process_group: Ranks whose batches are parts of one: in the mean over the ranks, loss and
            gradient are those of the joined batch. None for this process alone.
        probabilities: Whether ``logits`` holds probabilities, in [0, 1].
        average: Mean over labels or classes of the metric of each (``"macro"``), metric of their
            summed counts (``"micro"``), or one loss for each (``"none"``).
        absent: What a class without an example in the batch does to the mean: ``"skip"`` leaves it
            out, and its own loss is 0; ``"count"`` takes the metric with 0 / 0 = 1.
        smoothing: Right calls that are added to the true positives and to the true negatives, as a
            share of the total weight, at or above 0. Above 0 even a batch without positives has a
            gradient in every metric.

    Returns:
        The loss, a scalar, or ``[*labels]`` or ``[C]`` for ``average="none"``, in float32 or wider.
        It is 0 where nothing has weight.

    Raises:
        ValueError: If a shape, a dtype, a number or a name is not as above.

    Example:
        >>> import gobj, torch
        >>> gobj.recall_loss(torch.tensor([3.0, -0.1, 0.1]), torch.tensor([1, 1, 0]))
        tensor(0.4305)

    References:
        Han, Moniz and Chawla, `AnyLoss: Transforming Classification Metrics into Loss Functions
        <https://arxiv.org/abs/2405.14745>`_, KDD 2024.
    """
    return _metric_loss(metrics.recall, logits, labels, **options)


def f_beta_loss(
    logits: Tensor, labels: Tensor, *, beta: float = 1.0, **options: Unpack[Options]
) -> Tensor:
    r"""Maximise F-beta, in which recall weighs ``beta`` times as much as precision.

    .. math:: 1 - \frac{(1 + \beta^2)\, TP}{(1 + \beta^2)\, TP + \beta^2\, FN + FP}

    Args:
        logits: Scores, shape ``[n]``, ``[n, *labels]`` for several labels, or with a class
            dimension; or probabilities, see ``probabilities``.
        labels: 1 for a positive, 0 for a negative, or the share of a positive in between, shape of
            the logits; with a class dimension also class indices, in the shape of the logits
            without it. Another value, or an index of no class, makes the loss NaN.
        beta: Weight of recall against precision, above 0; 1 for F1.
        amplification: Steepness per unit of probability, above 0; a number or, so that it may
            change without compiling again, a 0-dimensional tensor. Unused with ``temperature``.
        threshold: Probability above which a call is positive, in (0, 1).
        temperature: Width of the step in units of the logit, above 0; by default the step is in
            probability.
        weights: At or above 0, scalar, ``[n]`` or up to the shape of the labels; 1 by default.
            What has weight 0 is not counted, whatever its score or label.
        class_dim: Dimension of the logits that holds the classes, of which there are at least 2;
            by default every label stands for itself.
        ignore_index: Label or class index that is not counted; None is -100 for class indices, as
            in torch, and no such label else.
        process_group: Ranks whose batches are parts of one: in the mean over the ranks, loss and
            gradient are those of the joined batch. None for this process alone.
        probabilities: Whether ``logits`` holds probabilities, in [0, 1].
        average: Mean over labels or classes of the metric of each (``"macro"``), metric of their
            summed counts (``"micro"``), or one loss for each (``"none"``).
        absent: What a class without an example in the batch does to the mean: ``"skip"`` leaves it
            out, and its own loss is 0; ``"count"`` takes the metric with 0 / 0 = 1.
        smoothing: Right calls that are added to the true positives and to the true negatives, as a
            share of the total weight, at or above 0. Above 0 even a batch without positives has a
            gradient in every metric.

    Returns:
        The loss, a scalar, or ``[*labels]`` or ``[C]`` for ``average="none"``, in float32 or wider.
        It is 0 where nothing has weight.

    Raises:
        ValueError: If a shape, a dtype, a number or a name is not as above.

    Example:
        >>> import gobj, torch
        >>> gobj.f_beta_loss(torch.tensor([3.0, -0.1, 0.1]), torch.tensor([1, 1, 0]))
        tensor(0.4305)

    References:
        Han, Moniz and Chawla, `AnyLoss: Transforming Classification Metrics into Loss Functions
        <https://arxiv.org/abs/2405.14745>`_, KDD 2024.
    """
    check_number("beta", beta, low=0)
    return _metric_loss(partial(metrics.f_beta, beta=beta), logits, labels, **options)


def balanced_accuracy_loss(logits: Tensor, labels: Tensor, **options: Unpack[Options]) -> Tensor:
    r"""Maximise the mean of recall and specificity.

    .. math:: 1 - \frac12 \left(\frac{TP}{TP + FN} + \frac{TN}{TN + FP}\right)

    Args:
        logits: Scores, shape ``[n]``, ``[n, *labels]`` for several labels, or with a class
            dimension; or probabilities, see ``probabilities``.
        labels: 1 for a positive, 0 for a negative, or the share of a positive in between, shape of
            the logits; with a class dimension also class indices, in the shape of the logits
            without it. Another value, or an index of no class, makes the loss NaN.
        amplification: Steepness per unit of probability, above 0; a number or, so that it may
            change without compiling again, a 0-dimensional tensor. Unused with ``temperature``.
        threshold: Probability above which a call is positive, in (0, 1).
        temperature: Width of the step in units of the logit, above 0; by default the step is in
            probability.
        weights: At or above 0, scalar, ``[n]`` or up to the shape of the labels; 1 by default.
            What has weight 0 is not counted, whatever its score or label.
        class_dim: Dimension of the logits that holds the classes, of which there are at least 2;
            by default every label stands for itself.
        ignore_index: Label or class index that is not counted; None is -100 for class indices, as
            in torch, and no such label else.
        process_group: Ranks whose batches are parts of one: in the mean over the ranks, loss and
            gradient are those of the joined batch. None for this process alone.
        probabilities: Whether ``logits`` holds probabilities, in [0, 1].
        average: Mean over labels or classes of the metric of each (``"macro"``), metric of their
            summed counts (``"micro"``), or one loss for each (``"none"``).
        absent: What a class without an example in the batch does to the mean: ``"skip"`` leaves it
            out, and its own loss is 0; ``"count"`` takes the metric with 0 / 0 = 1. A label
            that stands for itself is still judged by its negatives.
        smoothing: Right calls that are added to the true positives and to the true negatives, as a
            share of the total weight, at or above 0. Above 0 even a batch without positives has a
            gradient in every metric.

    Returns:
        The loss, a scalar, or ``[*labels]`` or ``[C]`` for ``average="none"``, in float32 or wider.
        It is 0 where nothing has weight.

    Raises:
        ValueError: If a shape, a dtype, a number or a name is not as above.

    Example:
        >>> import gobj, torch
        >>> gobj.balanced_accuracy_loss(torch.tensor([3.0, -0.1, 0.1]), torch.tensor([1, 1, 0]))
        tensor(0.6457)

    References:
        Han, Moniz and Chawla, `AnyLoss: Transforming Classification Metrics into Loss Functions
        <https://arxiv.org/abs/2405.14745>`_, KDD 2024.
    """
    return _metric_loss(metrics.balanced_accuracy, logits, labels, of_negatives=True, **options)


def geometric_mean_loss(logits: Tensor, labels: Tensor, **options: Unpack[Options]) -> Tensor:
    r"""Maximise the geometric mean of recall and specificity.

    .. math:: 1 - \sqrt{\frac{TP}{TP + FN} \cdot \frac{TN}{TN + FP}}

    Args:
        logits: Scores, shape ``[n]``, ``[n, *labels]`` for several labels, or with a class
            dimension; or probabilities, see ``probabilities``.
        labels: 1 for a positive, 0 for a negative, or the share of a positive in between, shape of
            the logits; with a class dimension also class indices, in the shape of the logits
            without it. Another value, or an index of no class, makes the loss NaN.
        amplification: Steepness per unit of probability, above 0; a number or, so that it may
            change without compiling again, a 0-dimensional tensor. Unused with ``temperature``.
        threshold: Probability above which a call is positive, in (0, 1).
        temperature: Width of the step in units of the logit, above 0; by default the step is in
            probability.
        weights: At or above 0, scalar, ``[n]`` or up to the shape of the labels; 1 by default.
            What has weight 0 is not counted, whatever its score or label.
        class_dim: Dimension of the logits that holds the classes, of which there are at least 2;
            by default every label stands for itself.
        ignore_index: Label or class index that is not counted; None is -100 for class indices, as
            in torch, and no such label else.
        process_group: Ranks whose batches are parts of one: in the mean over the ranks, loss and
            gradient are those of the joined batch. None for this process alone.
        probabilities: Whether ``logits`` holds probabilities, in [0, 1].
        average: Mean over labels or classes of the metric of each (``"macro"``), metric of their
            summed counts (``"micro"``), or one loss for each (``"none"``).
        absent: What a class without an example in the batch does to the mean: ``"skip"`` leaves it
            out, and its own loss is 0; ``"count"`` takes the metric with 0 / 0 = 1. A label
            that stands for itself is still judged by its negatives.
        smoothing: Right calls that are added to the true positives and to the true negatives, as a
            share of the total weight, at or above 0. Above 0 even a batch without positives has a
            gradient in every metric.

    Returns:
        The loss, a scalar, or ``[*labels]`` or ``[C]`` for ``average="none"``, in float32 or wider.
        It is 0 where nothing has weight.

    Raises:
        ValueError: If a shape, a dtype, a number or a name is not as above.

    Example:
        >>> import gobj, torch
        >>> gobj.geometric_mean_loss(torch.tensor([3.0, -0.1, 0.1]), torch.tensor([1, 1, 0]))
        tensor(0.7186)

    References:
        Han, Moniz and Chawla, `AnyLoss: Transforming Classification Metrics into Loss Functions
        <https://arxiv.org/abs/2405.14745>`_, KDD 2024.
    """
    return _metric_loss(metrics.geometric_mean, logits, labels, of_negatives=True, **options)


def jaccard_loss(logits: Tensor, labels: Tensor, **options: Unpack[Options]) -> Tensor:
    r"""Maximise the Jaccard index, the intersection over the union.

    .. math:: 1 - \frac{TP}{TP + FP + FN}

    Args:
        logits: Scores, shape ``[n]``, ``[n, *labels]`` for several labels, or with a class
            dimension; or probabilities, see ``probabilities``.
        labels: 1 for a positive, 0 for a negative, or the share of a positive in between, shape of
            the logits; with a class dimension also class indices, in the shape of the logits
            without it. Another value, or an index of no class, makes the loss NaN.
        amplification: Steepness per unit of probability, above 0; a number or, so that it may
            change without compiling again, a 0-dimensional tensor. Unused with ``temperature``.
        threshold: Probability above which a call is positive, in (0, 1).
        temperature: Width of the step in units of the logit, above 0; by default the step is in
            probability.
        weights: At or above 0, scalar, ``[n]`` or up to the shape of the labels; 1 by default.
            What has weight 0 is not counted, whatever its score or label.
        class_dim: Dimension of the logits that holds the classes, of which there are at least 2;
            by default every label stands for itself.
        ignore_index: Label or class index that is not counted; None is -100 for class indices, as
            in torch, and no such label else.
        process_group: Ranks whose batches are parts of one: in the mean over the ranks, loss and
            gradient are those of the joined batch. None for this process alone.
        probabilities: Whether ``logits`` holds probabilities, in [0, 1].
        average: Mean over labels or classes of the metric of each (``"macro"``), metric of their
            summed counts (``"micro"``), or one loss for each (``"none"``).
        absent: What a class without an example in the batch does to the mean: ``"skip"`` leaves it
            out, and its own loss is 0; ``"count"`` takes the metric with 0 / 0 = 1.
        smoothing: Right calls that are added to the true positives and to the true negatives, as a
            share of the total weight, at or above 0. Above 0 even a batch without positives has a
            gradient in every metric.

    Returns:
        The loss, a scalar, or ``[*labels]`` or ``[C]`` for ``average="none"``, in float32 or wider.
        It is 0 where nothing has weight.

    Raises:
        ValueError: If a shape, a dtype, a number or a name is not as above.

    Example:
        >>> import gobj, torch
        >>> gobj.jaccard_loss(torch.tensor([3.0, -0.1, 0.1]), torch.tensor([1, 1, 0]))
        tensor(0.6019)

    References:
        Han, Moniz and Chawla, `AnyLoss: Transforming Classification Metrics into Loss Functions
        <https://arxiv.org/abs/2405.14745>`_, KDD 2024.
    """
    return _metric_loss(metrics.jaccard, logits, labels, **options)


def matthews_loss(logits: Tensor, labels: Tensor, **options: Unpack[Options]) -> Tensor:
    r"""Maximise Matthews' correlation coefficient; the loss lies in [0, 2].

    .. math:: 1 - \frac{TP \cdot TN - FP \cdot FN}{\sqrt{(TP + FP)(TP + FN)(TN + FP)(TN + FN)}}

    Args:
        logits: Scores, shape ``[n]``, ``[n, *labels]`` for several labels, or with a class
            dimension; or probabilities, see ``probabilities``.
        labels: 1 for a positive, 0 for a negative, or the share of a positive in between, shape of
            the logits; with a class dimension also class indices, in the shape of the logits
            without it. Another value, or an index of no class, makes the loss NaN.
        amplification: Steepness per unit of probability, above 0; a number or, so that it may
            change without compiling again, a 0-dimensional tensor. Unused with ``temperature``.
        threshold: Probability above which a call is positive, in (0, 1).
        temperature: Width of the step in units of the logit, above 0; by default the step is in
            probability.
        weights: At or above 0, scalar, ``[n]`` or up to the shape of the labels; 1 by default.
            What has weight 0 is not counted, whatever its score or label.
        class_dim: Dimension of the logits that holds the classes, of which there are at least 2;
            by default every label stands for itself.
        ignore_index: Label or class index that is not counted; None is -100 for class indices, as
            in torch, and no such label else.
        process_group: Ranks whose batches are parts of one: in the mean over the ranks, loss and
            gradient are those of the joined batch. None for this process alone.
        probabilities: Whether ``logits`` holds probabilities, in [0, 1].
        average: Mean over labels or classes of the metric of each (``"macro"``), metric of their
            summed counts (``"micro"``), or one loss for each (``"none"``).
        absent: What a class without an example in the batch does to the mean: ``"skip"`` leaves it
            out, and its own loss is 0; ``"count"`` takes the metric with 0 / 0 = 1.
        smoothing: Right calls that are added to the true positives and to the true negatives, as a
            share of the total weight, at or above 0. Above 0 even a batch without positives has a
            gradient in every metric.

    Returns:
        The loss, a scalar, or ``[*labels]`` or ``[C]`` for ``average="none"``, in float32 or wider.
        It is 0 where nothing has weight.

    Raises:
        ValueError: If a shape, a dtype, a number or a name is not as above.

    Example:
        >>> import gobj, torch
        >>> gobj.matthews_loss(torch.tensor([3.0, -0.1, 0.1]), torch.tensor([1, 1, 0]))
        tensor(1.2915)

    References:
        Han, Moniz and Chawla, `AnyLoss: Transforming Classification Metrics into Loss Functions
        <https://arxiv.org/abs/2405.14745>`_, KDD 2024.
    """
    return _metric_loss(metrics.matthews, logits, labels, **options)


class ConfusionMetricLoss(StatelessLoss):
    """Maximise any metric that is a function of the confusion counts.

    The module of :func:`gobj.confusion_metric_loss`.

    Args:
        metric: Function of a :class:`gobj.SoftConfusion` whose counts have shape ``[*labels]``, to
            a tensor of that shape; higher is better. It should be finite, with its gradient, where
            a count is 0; those of :mod:`gobj.losses.confusion_metrics` are.
        amplification: Steepness per unit of probability, above 0; a number or, so that it may
            change without compiling again, a 0-dimensional tensor. Unused with ``temperature``.
        threshold: Probability above which a call is positive, in (0, 1).
        temperature: Width of the step in units of the logit, above 0; by default the step is in
            probability.
        class_dim: Dimension of the logits that holds the classes, of which there are at least 2;
            by default every label stands for itself.
        ignore_index: Label or class index that is not counted; None is -100 for class indices, as
            in torch, and no such label else.
        process_group: Ranks whose batches are parts of one while training: ``"world"`` for all
            ranks where ``torch.distributed`` runs several, None for this process alone.
        probabilities: Whether ``logits`` holds probabilities, in [0, 1].
        average: Mean over labels or classes of the metric of each (``"macro"``), metric of their
            summed counts (``"micro"``), or one loss for each (``"none"``).
        absent: What a class without an example in the batch does to the mean: ``"skip"`` leaves it
            out, and its own loss is 0; ``"count"`` takes the metric with 0 / 0 = 1.
        smoothing: Right calls that are added to the true positives and to the true negatives, as a
            share of the total weight, at or above 0. Above 0 even a batch without positives has a
            gradient in every metric.

    Example:
        >>> import gobj, torch
        >>> criterion = gobj.nn.ConfusionMetricLoss(metric=lambda counts: counts.true_positives)
        >>> criterion(torch.tensor([3.0, -0.1, 0.1]), torch.tensor([1, 1, 0])).isfinite()
        tensor(True)
    """

    function = staticmethod(confusion_metric_loss)


class AccuracyLoss(StatelessLoss):
    """Maximise accuracy, the share of right calls.

    The module of :func:`gobj.accuracy_loss`.

    Args:
        amplification: Steepness per unit of probability, above 0; a number or, so that it may
            change without compiling again, a 0-dimensional tensor. Unused with ``temperature``.
        threshold: Probability above which a call is positive, in (0, 1).
        temperature: Width of the step in units of the logit, above 0; by default the step is in
            probability.
        class_dim: Dimension of the logits that holds the classes, of which there are at least 2;
            by default every label stands for itself.
        ignore_index: Label or class index that is not counted; None is -100 for class indices, as
            in torch, and no such label else.
        process_group: Ranks whose batches are parts of one while training: ``"world"`` for all
            ranks where ``torch.distributed`` runs several, None for this process alone.
        probabilities: Whether ``logits`` holds probabilities, in [0, 1].
        average: Mean over labels or classes of the metric of each (``"macro"``), metric of their
            summed counts (``"micro"``), or one loss for each (``"none"``).
        absent: What a class without an example in the batch does to the mean: ``"skip"`` leaves it
            out, and its own loss is 0; ``"count"`` takes the metric with 0 / 0 = 1. A label
            that stands for itself is still judged by its negatives.
        smoothing: Right calls that are added to the true positives and to the true negatives, as a
            share of the total weight, at or above 0. Above 0 even a batch without positives has a
            gradient in every metric.

    Example:
        >>> import gobj, torch
        >>> criterion = gobj.nn.AccuracyLoss(temperature=1.0)
        >>> criterion(torch.tensor([3.0, -0.1, 0.1]), torch.tensor([1, 1, 0])).isfinite()
        tensor(True)
    """

    function = staticmethod(accuracy_loss)


class PrecisionLoss(StatelessLoss):
    """Maximise precision, the share of positive calls that are right.

    The module of :func:`gobj.precision_loss`.

    Args:
        amplification: Steepness per unit of probability, above 0; a number or, so that it may
            change without compiling again, a 0-dimensional tensor. Unused with ``temperature``.
        threshold: Probability above which a call is positive, in (0, 1).
        temperature: Width of the step in units of the logit, above 0; by default the step is in
            probability.
        class_dim: Dimension of the logits that holds the classes, of which there are at least 2;
            by default every label stands for itself.
        ignore_index: Label or class index that is not counted; None is -100 for class indices, as
            in torch, and no such label else.
        process_group: Ranks whose batches are parts of one while training: ``"world"`` for all
            ranks where ``torch.distributed`` runs several, None for this process alone.
        probabilities: Whether ``logits`` holds probabilities, in [0, 1].
        average: Mean over labels or classes of the metric of each (``"macro"``), metric of their
            summed counts (``"micro"``), or one loss for each (``"none"``).
        absent: What a class without an example in the batch does to the mean: ``"skip"`` leaves it
            out, and its own loss is 0; ``"count"`` takes the metric with 0 / 0 = 1.
        smoothing: Right calls that are added to the true positives and to the true negatives, as a
            share of the total weight, at or above 0. Above 0 even a batch without positives has a
            gradient in every metric.

    Example:
        >>> import gobj, torch
        >>> criterion = gobj.nn.PrecisionLoss(temperature=1.0)
        >>> criterion(torch.tensor([3.0, -0.1, 0.1]), torch.tensor([1, 1, 0])).isfinite()
        tensor(True)
    """

    function = staticmethod(precision_loss)


class RecallLoss(StatelessLoss):
    """Maximise recall, the share of positives that are found.

    The module of :func:`gobj.recall_loss`.

    Args:
        amplification: Steepness per unit of probability, above 0; a number or, so that it may
            change without compiling again, a 0-dimensional tensor. Unused with ``temperature``.
        threshold: Probability above which a call is positive, in (0, 1).
        temperature: Width of the step in units of the logit, above 0; by default the step is in
            probability.
        class_dim: Dimension of the logits that holds the classes, of which there are at least 2;
            by default every label stands for itself.
        ignore_index: Label or class index that is not counted; None is -100 for class indices, as
            in torch, and no such label else.
        process_group: Ranks whose batches are parts of one while training: ``"world"`` for all
            ranks where ``torch.distributed`` runs several, None for this process alone.
        probabilities: Whether ``logits`` holds probabilities, in [0, 1].
        average: Mean over labels or classes of the metric of each (``"macro"``), metric of their
            summed counts (``"micro"``), or one loss for each (``"none"``).
        absent: What a class without an example in the batch does to the mean: ``"skip"`` leaves it
            out, and its own loss is 0; ``"count"`` takes the metric with 0 / 0 = 1.
        smoothing: Right calls that are added to the true positives and to the true negatives, as a
            share of the total weight, at or above 0. Above 0 even a batch without positives has a
            gradient in every metric.

    Example:
        >>> import gobj, torch
        >>> criterion = gobj.nn.RecallLoss(temperature=1.0)
        >>> criterion(torch.tensor([3.0, -0.1, 0.1]), torch.tensor([1, 1, 0])).isfinite()
        tensor(True)
    """

    function = staticmethod(recall_loss)


class FBetaLoss(StatelessLoss):
    """Maximise F-beta, in which recall weighs ``beta`` times as much as precision.

    The module of :func:`gobj.f_beta_loss`.

    Args:
        beta: Weight of recall against precision, above 0; 1 for F1.
        amplification: Steepness per unit of probability, above 0; a number or, so that it may
            change without compiling again, a 0-dimensional tensor. Unused with ``temperature``.
        threshold: Probability above which a call is positive, in (0, 1).
        temperature: Width of the step in units of the logit, above 0; by default the step is in
            probability.
        class_dim: Dimension of the logits that holds the classes, of which there are at least 2;
            by default every label stands for itself.
        ignore_index: Label or class index that is not counted; None is -100 for class indices, as
            in torch, and no such label else.
        process_group: Ranks whose batches are parts of one while training: ``"world"`` for all
            ranks where ``torch.distributed`` runs several, None for this process alone.
        probabilities: Whether ``logits`` holds probabilities, in [0, 1].
        average: Mean over labels or classes of the metric of each (``"macro"``), metric of their
            summed counts (``"micro"``), or one loss for each (``"none"``).
        absent: What a class without an example in the batch does to the mean: ``"skip"`` leaves it
            out, and its own loss is 0; ``"count"`` takes the metric with 0 / 0 = 1.
        smoothing: Right calls that are added to the true positives and to the true negatives, as a
            share of the total weight, at or above 0. Above 0 even a batch without positives has a
            gradient in every metric.

    Example:
        >>> import gobj, torch
        >>> criterion = gobj.nn.FBetaLoss(temperature=1.0)
        >>> criterion(torch.tensor([3.0, -0.1, 0.1]), torch.tensor([1, 1, 0])).isfinite()
        tensor(True)
    """

    function = staticmethod(f_beta_loss)


class BalancedAccuracyLoss(StatelessLoss):
    """Maximise the mean of recall and specificity.

    The module of :func:`gobj.balanced_accuracy_loss`.

    Args:
        amplification: Steepness per unit of probability, above 0; a number or, so that it may
            change without compiling again, a 0-dimensional tensor. Unused with ``temperature``.
        threshold: Probability above which a call is positive, in (0, 1).
        temperature: Width of the step in units of the logit, above 0; by default the step is in
            probability.
        class_dim: Dimension of the logits that holds the classes, of which there are at least 2;
            by default every label stands for itself.
        ignore_index: Label or class index that is not counted; None is -100 for class indices, as
            in torch, and no such label else.
        process_group: Ranks whose batches are parts of one while training: ``"world"`` for all
            ranks where ``torch.distributed`` runs several, None for this process alone.
        probabilities: Whether ``logits`` holds probabilities, in [0, 1].
        average: Mean over labels or classes of the metric of each (``"macro"``), metric of their
            summed counts (``"micro"``), or one loss for each (``"none"``).
        absent: What a class without an example in the batch does to the mean: ``"skip"`` leaves it
            out, and its own loss is 0; ``"count"`` takes the metric with 0 / 0 = 1. A label
            that stands for itself is still judged by its negatives.
        smoothing: Right calls that are added to the true positives and to the true negatives, as a
            share of the total weight, at or above 0. Above 0 even a batch without positives has a
            gradient in every metric.

    Example:
        >>> import gobj, torch
        >>> criterion = gobj.nn.BalancedAccuracyLoss(temperature=1.0)
        >>> criterion(torch.tensor([3.0, -0.1, 0.1]), torch.tensor([1, 1, 0])).isfinite()
        tensor(True)
    """

    function = staticmethod(balanced_accuracy_loss)


class GeometricMeanLoss(StatelessLoss):
    """Maximise the geometric mean of recall and specificity.

    The module of :func:`gobj.geometric_mean_loss`.

    Args:
        amplification: Steepness per unit of probability, above 0; a number or, so that it may
            change without compiling again, a 0-dimensional tensor. Unused with ``temperature``.
        threshold: Probability above which a call is positive, in (0, 1).
        temperature: Width of the step in units of the logit, above 0; by default the step is in
            probability.
        class_dim: Dimension of the logits that holds the classes, of which there are at least 2;
            by default every label stands for itself.
        ignore_index: Label or class index that is not counted; None is -100 for class indices, as
            in torch, and no such label else.
        process_group: Ranks whose batches are parts of one while training: ``"world"`` for all
            ranks where ``torch.distributed`` runs several, None for this process alone.
        probabilities: Whether ``logits`` holds probabilities, in [0, 1].
        average: Mean over labels or classes of the metric of each (``"macro"``), metric of their
            summed counts (``"micro"``), or one loss for each (``"none"``).
        absent: What a class without an example in the batch does to the mean: ``"skip"`` leaves it
            out, and its own loss is 0; ``"count"`` takes the metric with 0 / 0 = 1. A label
            that stands for itself is still judged by its negatives.
        smoothing: Right calls that are added to the true positives and to the true negatives, as a
            share of the total weight, at or above 0. Above 0 even a batch without positives has a
            gradient in every metric.

    Example:
        >>> import gobj, torch
        >>> criterion = gobj.nn.GeometricMeanLoss(temperature=1.0)
        >>> criterion(torch.tensor([3.0, -0.1, 0.1]), torch.tensor([1, 1, 0])).isfinite()
        tensor(True)
    """

    function = staticmethod(geometric_mean_loss)


class JaccardLoss(StatelessLoss):
    """Maximise the Jaccard index, the intersection over the union.

    The module of :func:`gobj.jaccard_loss`.

    Args:
        amplification: Steepness per unit of probability, above 0; a number or, so that it may
            change without compiling again, a 0-dimensional tensor. Unused with ``temperature``.
        threshold: Probability above which a call is positive, in (0, 1).
        temperature: Width of the step in units of the logit, above 0; by default the step is in
            probability.
        class_dim: Dimension of the logits that holds the classes, of which there are at least 2;
            by default every label stands for itself.
        ignore_index: Label or class index that is not counted; None is -100 for class indices, as
            in torch, and no such label else.
        process_group: Ranks whose batches are parts of one while training: ``"world"`` for all
            ranks where ``torch.distributed`` runs several, None for this process alone.
        probabilities: Whether ``logits`` holds probabilities, in [0, 1].
        average: Mean over labels or classes of the metric of each (``"macro"``), metric of their
            summed counts (``"micro"``), or one loss for each (``"none"``).
        absent: What a class without an example in the batch does to the mean: ``"skip"`` leaves it
            out, and its own loss is 0; ``"count"`` takes the metric with 0 / 0 = 1.
        smoothing: Right calls that are added to the true positives and to the true negatives, as a
            share of the total weight, at or above 0. Above 0 even a batch without positives has a
            gradient in every metric.

    Example:
        >>> import gobj, torch
        >>> criterion = gobj.nn.JaccardLoss(temperature=1.0)
        >>> criterion(torch.tensor([3.0, -0.1, 0.1]), torch.tensor([1, 1, 0])).isfinite()
        tensor(True)
    """

    function = staticmethod(jaccard_loss)


class MatthewsLoss(StatelessLoss):
    """Maximise Matthews' correlation coefficient; the loss lies in [0, 2].

    The module of :func:`gobj.matthews_loss`.

    Args:
        amplification: Steepness per unit of probability, above 0; a number or, so that it may
            change without compiling again, a 0-dimensional tensor. Unused with ``temperature``.
        threshold: Probability above which a call is positive, in (0, 1).
        temperature: Width of the step in units of the logit, above 0; by default the step is in
            probability.
        class_dim: Dimension of the logits that holds the classes, of which there are at least 2;
            by default every label stands for itself.
        ignore_index: Label or class index that is not counted; None is -100 for class indices, as
            in torch, and no such label else.
        process_group: Ranks whose batches are parts of one while training: ``"world"`` for all
            ranks where ``torch.distributed`` runs several, None for this process alone.
        probabilities: Whether ``logits`` holds probabilities, in [0, 1].
        average: Mean over labels or classes of the metric of each (``"macro"``), metric of their
            summed counts (``"micro"``), or one loss for each (``"none"``).
        absent: What a class without an example in the batch does to the mean: ``"skip"`` leaves it
            out, and its own loss is 0; ``"count"`` takes the metric with 0 / 0 = 1.
        smoothing: Right calls that are added to the true positives and to the true negatives, as a
            share of the total weight, at or above 0. Above 0 even a batch without positives has a
            gradient in every metric.

    Example:
        >>> import gobj, torch
        >>> criterion = gobj.nn.MatthewsLoss(temperature=1.0)
        >>> criterion(torch.tensor([3.0, -0.1, 0.1]), torch.tensor([1, 1, 0])).isfinite()
        tensor(True)
    """

    function = staticmethod(matthews_loss)
