"""Losses by name: one minus a metric of the soft confusion counts."""

from functools import partial
from typing import Unpack

from torch import Tensor

from gobj._checks import check_number
from gobj.losses import confusion_metrics as metrics
from gobj.losses._inheritance import completed_from
from gobj.losses._module import LossModule
from gobj.losses.confusion_metric_loss import Options, confusion_metric_loss, metric_loss


@completed_from(confusion_metric_loss)
def accuracy_loss(logits: Tensor, labels: Tensor, **options: Unpack[Options]) -> Tensor:
    r"""Maximise accuracy, the share of right calls.

    .. math:: 1 - \frac{TP + TN}{TP + FP + FN + TN}

    Example:
        >>> import gobj, torch
        >>> gobj.accuracy_loss(torch.tensor([3.0, -0.1, 0.1]), torch.tensor([1, 1, 0]))
        tensor(0.5740)
    """
    return metric_loss("accuracy_loss", metrics.accuracy, logits, labels, **options)


@completed_from(confusion_metric_loss)
def precision_loss(logits: Tensor, labels: Tensor, **options: Unpack[Options]) -> Tensor:
    r"""Maximise precision, the share of positive calls that are right.

    .. math:: 1 - \frac{TP}{TP + FP}

    Example:
        >>> import gobj, torch
        >>> gobj.precision_loss(torch.tensor([3.0, -0.1, 0.1]), torch.tensor([1, 1, 0]))
        tensor(0.4305)
    """
    return metric_loss("precision_loss", metrics.precision, logits, labels, **options)


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
    return metric_loss("recall_loss", metrics.recall, logits, labels, **options)


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
    return metric_loss(name, metric, logits, labels, **options)


@completed_from(confusion_metric_loss)
def balanced_accuracy_loss(logits: Tensor, labels: Tensor, **options: Unpack[Options]) -> Tensor:
    r"""Maximise the mean of recall and specificity.

    .. math:: 1 - \frac12 \left(\frac{TP}{TP + FN} + \frac{TN}{TN + FP}\right)

    Example:
        >>> import gobj, torch
        >>> gobj.balanced_accuracy_loss(torch.tensor([3.0, -0.1, 0.1]), torch.tensor([1, 1, 0]))
        tensor(0.6457)
    """
    return metric_loss(
        "balanced_accuracy_loss", metrics.balanced_accuracy, logits, labels, **options
    )


@completed_from(confusion_metric_loss)
def geometric_mean_loss(logits: Tensor, labels: Tensor, **options: Unpack[Options]) -> Tensor:
    r"""Maximise the geometric mean of recall and specificity.

    .. math:: 1 - \sqrt{\frac{TP}{TP + FN} \cdot \frac{TN}{TN + FP}}

    Example:
        >>> import gobj, torch
        >>> gobj.geometric_mean_loss(torch.tensor([3.0, -0.1, 0.1]), torch.tensor([1, 1, 0]))
        tensor(0.7186)
    """
    return metric_loss("geometric_mean_loss", metrics.geometric_mean, logits, labels, **options)


@completed_from(confusion_metric_loss)
def jaccard_loss(logits: Tensor, labels: Tensor, **options: Unpack[Options]) -> Tensor:
    r"""Maximise the Jaccard index, the intersection over the union.

    .. math:: 1 - \frac{TP}{TP + FP + FN}

    Example:
        >>> import gobj, torch
        >>> gobj.jaccard_loss(torch.tensor([3.0, -0.1, 0.1]), torch.tensor([1, 1, 0]))
        tensor(0.6019)
    """
    return metric_loss("jaccard_loss", metrics.jaccard, logits, labels, **options)


@completed_from(confusion_metric_loss)
def matthews_loss(logits: Tensor, labels: Tensor, **options: Unpack[Options]) -> Tensor:
    r"""Maximise Matthews' correlation coefficient; the loss lies in [0, 2].

    .. math:: 1 - \frac{TP \cdot TN - FP \cdot FN}{\sqrt{(TP + FP)(TP + FN)(TN + FP)(TN + FN)}}

    Example:
        >>> import gobj, torch
        >>> gobj.matthews_loss(torch.tensor([3.0, -0.1, 0.1]), torch.tensor([1, 1, 0]))
        tensor(1.2915)
    """
    return metric_loss("matthews_loss", metrics.matthews, logits, labels, **options)


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
