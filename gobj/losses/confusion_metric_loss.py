"""The loss of any metric that is a function of the soft confusion counts."""

from collections.abc import Callable
from typing import Literal, Unpack

import torch
from torch import Tensor

from gobj._checks import check_number, require
from gobj.losses._inheritance import completed_from
from gobj.losses.soft_confusion import Counting, SoftConfusion, confusion_of, soft_confusion

Average = Literal["macro", "micro", "none"]
Metric = Callable[[SoftConfusion], Tensor]


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
        >>> from gobj.losses.confusion_metric_loss import confusion_metric_loss
        >>> def positive_likelihood(counts):
        ...     tp, fp, fn, tn = counts
        ...     return (tp / (tp + fn)) / (fp / (fp + tn))
        >>> logits, labels = torch.tensor([3.0, -0.1, 0.1]), torch.tensor([1, 1, 0])
        >>> confusion_metric_loss(logits, labels, metric=positive_likelihood)
        tensor(0.3385)
    """
    require(callable(metric), "confusion_metric_loss", "metric", "be a function", repr(metric))

    def guarded(counts: SoftConfusion) -> Tensor:
        empty = torch.stack(counts).detach().sum(0) == 0
        return metric(SoftConfusion(*(count + empty for count in counts))) * ~empty + empty

    name = "confusion_metric_loss"
    return metric_loss(
        name, guarded, logits, labels, average=average, smoothing=smoothing, **counting
    )


def metric_loss(
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
    counts = confusion_of(function, logits, labels, **counting)
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
