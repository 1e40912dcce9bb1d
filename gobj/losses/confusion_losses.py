"""Losses that are one minus a metric of the soft confusion counts: one mechanism, many metrics."""

from collections.abc import Callable
from functools import partial
from typing import Literal, TypedDict, Unpack

import torch
from torch import Tensor

from gobj._checks import Number, check_number, require
from gobj.losses import confusion_metrics as metrics
from gobj.losses._inheritance import completed_from
from gobj.losses._module import LossModule
from gobj.losses.soft_confusion import SoftConfusion, soft_confusion

Average = Literal["macro", "micro", "none"]
Metric = Callable[[SoftConfusion], Tensor]


class Counting(TypedDict, total=False):
    """Settings of :func:`soft_confusion`."""

    amplification: Number
    threshold: float
    temperature: Number | None
    weights: Number | None
    class_dim: int | None
    ignore_index: int
    probabilities: bool


class Options(Counting, total=False):
    """Settings that all losses share."""

    average: Average
    smoothing: float


@completed_from(
    soft_confusion,
    metric="""Function of a :class:`SoftConfusion` whose counts have shape ``[*labels]``, to a
        tensor of that shape; higher is better. It should be finite, with its gradient, where a
        count is 0; those of :mod:`gobj.losses.confusion_metrics` are.""",
    average="""Mean over labels or classes of the metric of each (``"macro"``), metric of their
        summed counts (``"micro"``), or one loss for each (``"none"``).""",
    smoothing="""Right calls that are added to the true positives and to the true negatives, as a
        share of the total weight, at or above 0. Above 0 even a batch without positives has a
        gradient in every metric.""",
)
def confusion_metric_loss(
    logits: Tensor,
    labels: Tensor,
    *,
    metric: Metric,
    average: Average = "macro",
    smoothing: float = 0.0,
    **counting: Unpack[Counting],
) -> Tensor:
    """Maximise any metric that is a function of the confusion counts.

    The loss is one minus the metric of the soft counts, see :func:`soft_confusion`, which also says
    where their slope is too small to train by. It does not depend on the scale of the weights if
    the metric is a ratio of counts.

    Returns:
        The loss, a scalar, or ``[*labels]`` or ``[C]`` for ``average="none"``, in float32 or wider.
        It is 0 where nothing has weight.

    Raises:
        ValueError: If a shape, a dtype, a number or a name is not as above.

    Example:
        >>> import torch
        >>> from gobj.losses.confusion_losses import confusion_metric_loss
        >>> def positive_likelihood(counts):
        ...     tp, fp, fn, tn = counts
        ...     return (tp / (tp + fn)) / (fp / (fp + tn))
        >>> logits, labels = torch.tensor([3.0, -0.1, 0.1]), torch.tensor([1, 1, 0])
        >>> confusion_metric_loss(logits, labels, metric=positive_likelihood)
        tensor(0.3385)
    """

    def guarded(counts: SoftConfusion) -> Tensor:
        empty = torch.stack(counts).detach().sum(0) == 0
        return metric(SoftConfusion(*(count + empty for count in counts))) * ~empty + empty

    name = "confusion_metric_loss"
    return _loss(name, guarded, logits, labels, average=average, smoothing=smoothing, **counting)


def _loss(
    function: str,
    metric: Metric,
    logits: Tensor,
    labels: Tensor,
    *,
    average: Average = "macro",
    smoothing: float = 0.0,
    **counting: Unpack[Counting],
) -> Tensor:
    """Return one minus a metric that is 1, with a finite gradient, where all counts are 0."""
    check_number(function, "smoothing", smoothing, low=0, closed=True)
    known = average in ("macro", "micro", "none")
    require(known, function, "average", "be 'macro', 'micro' or 'none'", repr(average))
    counts = soft_confusion(logits, labels, function=function, **counting)
    if average == "micro":
        counts = SoftConfusion(*(count.sum() for count in counts))
    if smoothing:
        extra = smoothing * torch.stack(counts).detach().sum(0)
        tp, fp, fn, tn = counts
        counts = SoftConfusion(tp + extra, fp, fn, tn + extra)
    losses = 1 - metric(counts)
    if average == "none" or losses.dim() == 0:
        return losses
    return losses.sum() / max(losses.numel(), 1)


@completed_from(confusion_metric_loss)
def accuracy_loss(logits: Tensor, labels: Tensor, **options: Unpack[Options]) -> Tensor:
    r"""Maximise accuracy, the share of right calls.

    .. math:: 1 - \frac{TP + TN}{TP + FP + FN + TN}

    Example:
        >>> import gobj, torch
        >>> gobj.accuracy_loss(torch.tensor([3.0, -0.1, 0.1]), torch.tensor([1, 1, 0]))
        tensor(0.5740)
    """
    return _loss("accuracy_loss", metrics.accuracy, logits, labels, **options)


@completed_from(confusion_metric_loss)
def precision_loss(logits: Tensor, labels: Tensor, **options: Unpack[Options]) -> Tensor:
    r"""Maximise precision, the share of positive calls that are right.

    .. math:: 1 - \frac{TP}{TP + FP}

    Example:
        >>> import gobj, torch
        >>> gobj.precision_loss(torch.tensor([3.0, -0.1, 0.1]), torch.tensor([1, 1, 0]))
        tensor(0.4305)
    """
    return _loss("precision_loss", metrics.precision, logits, labels, **options)


@completed_from(confusion_metric_loss)
def recall_loss(logits: Tensor, labels: Tensor, **options: Unpack[Options]) -> Tensor:
    r"""Maximise recall, the share of positives that are found.

    Alone it is best served by calling everything positive.

    .. math:: 1 - \frac{TP}{TP + FN}

    Example:
        >>> import gobj, torch
        >>> gobj.recall_loss(torch.tensor([3.0, -0.1, 0.1]), torch.tensor([1, 1, 0]))
        tensor(0.4305)
    """
    return _loss("recall_loss", metrics.recall, logits, labels, **options)


@completed_from(
    confusion_metric_loss, beta="Weight of recall against precision, above 0; 1 for F1."
)
def f_beta_loss(
    logits: Tensor, labels: Tensor, *, beta: float = 1.0, **options: Unpack[Options]
) -> Tensor:
    r"""Maximise F-beta, in which recall weighs ``beta`` times as much as precision.

    .. math:: 1 - \frac{(1 + \beta^2)\, TP}{(1 + \beta^2)\, TP + \beta^2\, FN + FP}

    Example:
        >>> import gobj, torch
        >>> gobj.f_beta_loss(torch.tensor([3.0, -0.1, 0.1]), torch.tensor([1, 1, 0]))
        tensor(0.4305)
    """
    name = "f_beta_loss"
    check_number(name, "beta", beta, low=0)
    metric = partial(metrics.f_beta, beta=beta)
    return _loss(name, metric, logits, labels, **options)


@completed_from(confusion_metric_loss)
def balanced_accuracy_loss(logits: Tensor, labels: Tensor, **options: Unpack[Options]) -> Tensor:
    r"""Maximise the mean of recall and specificity.

    .. math:: 1 - \frac12 \left(\frac{TP}{TP + FN} + \frac{TN}{TN + FP}\right)

    Example:
        >>> import gobj, torch
        >>> gobj.balanced_accuracy_loss(torch.tensor([3.0, -0.1, 0.1]), torch.tensor([1, 1, 0]))
        tensor(0.6457)
    """
    return _loss("balanced_accuracy_loss", metrics.balanced_accuracy, logits, labels, **options)


@completed_from(confusion_metric_loss)
def geometric_mean_loss(logits: Tensor, labels: Tensor, **options: Unpack[Options]) -> Tensor:
    r"""Maximise the geometric mean of recall and specificity.

    .. math:: 1 - \sqrt{\frac{TP}{TP + FN} \cdot \frac{TN}{TN + FP}}

    Example:
        >>> import gobj, torch
        >>> gobj.geometric_mean_loss(torch.tensor([3.0, -0.1, 0.1]), torch.tensor([1, 1, 0]))
        tensor(0.7186)
    """
    return _loss("geometric_mean_loss", metrics.geometric_mean, logits, labels, **options)


@completed_from(confusion_metric_loss)
def jaccard_loss(logits: Tensor, labels: Tensor, **options: Unpack[Options]) -> Tensor:
    r"""Maximise the Jaccard index, the intersection over the union.

    .. math:: 1 - \frac{TP}{TP + FP + FN}

    Example:
        >>> import gobj, torch
        >>> gobj.jaccard_loss(torch.tensor([3.0, -0.1, 0.1]), torch.tensor([1, 1, 0]))
        tensor(0.6019)
    """
    return _loss("jaccard_loss", metrics.jaccard, logits, labels, **options)


@completed_from(confusion_metric_loss)
def matthews_loss(logits: Tensor, labels: Tensor, **options: Unpack[Options]) -> Tensor:
    r"""Maximise Matthews' correlation coefficient; the loss lies in [0, 2].

    .. math:: 1 - \frac{TP \cdot TN - FP \cdot FN}{\sqrt{(TP + FP)(TP + FN)(TN + FP)(TN + FN)}}

    Example:
        >>> import gobj, torch
        >>> gobj.matthews_loss(torch.tensor([3.0, -0.1, 0.1]), torch.tensor([1, 1, 0]))
        tensor(1.2915)
    """
    return _loss("matthews_loss", metrics.matthews, logits, labels, **options)


class ConfusionMetricLoss(LossModule):
    """Module form of :func:`confusion_metric_loss`."""

    function = staticmethod(confusion_metric_loss)


class AccuracyLoss(LossModule):
    """Module form of :func:`accuracy_loss`."""

    function = staticmethod(accuracy_loss)


class PrecisionLoss(LossModule):
    """Module form of :func:`precision_loss`."""

    function = staticmethod(precision_loss)


class RecallLoss(LossModule):
    """Module form of :func:`recall_loss`."""

    function = staticmethod(recall_loss)


class FBetaLoss(LossModule):
    """Module form of :func:`f_beta_loss`."""

    function = staticmethod(f_beta_loss)


class BalancedAccuracyLoss(LossModule):
    """Module form of :func:`balanced_accuracy_loss`."""

    function = staticmethod(balanced_accuracy_loss)


class GeometricMeanLoss(LossModule):
    """Module form of :func:`geometric_mean_loss`."""

    function = staticmethod(geometric_mean_loss)


class JaccardLoss(LossModule):
    """Module form of :func:`jaccard_loss`."""

    function = staticmethod(jaccard_loss)


class MatthewsLoss(LossModule):
    """Module form of :func:`matthews_loss`."""

    function = staticmethod(matthews_loss)
