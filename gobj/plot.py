"""Pictures of curves, certificates and training: each takes matplotlib axes and returns them.

The extra ``plot`` brings matplotlib, which is not imported here: axes are what is given.
Lines differ in dashes and markers as well as in colour, so that a grey print can be read.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from gobj._checks import refuse
from gobj.diagnosis import Diagnosis
from gobj.metrics import Curve
from gobj.operating_point import Certificate, OperatingPoint

__all__ = ["bound", "front", "precision_recall", "roc", "training"]

Found = OperatingPoint | Certificate


def precision_recall(axes: Any, curve: Curve, found: Found | None = None) -> Any:
    """Draw precision over recall, and a threshold on it.

    A certificate adds a band: from the worst that is certain, or likely, of both rates.

    Args:
        axes: Matplotlib axes.
        curve: Of one label, from ``gobj.metrics.curve_points``.
        found: What :func:`gobj.fit_threshold` or :func:`gobj.certify` returned, of a problem that
            limits precision.

    Returns:
        The axes.

    Raises:
        ValueError: If the curve has several labels.

    Example:
        >>> import gobj, torch
        >>> from gobj import plot
        >>> from gobj.metrics import curve_init, curve_points, curve_update
        >>> from matplotlib.figure import Figure
        >>> logits, labels = torch.tensor([2.0, 1.0, 0.5, -1.0]), torch.tensor([1, 0, 1, 0])
        >>> curve = curve_points(curve_update(curve_init(), logits, labels))
        >>> point = gobj.fit_threshold(logits, labels, gobj.recall_at_precision(0.6))
        >>> plot.precision_recall(Figure().subplots(), curve, point).get_xlabel()
        'recall'

    References:
        See :func:`gobj.certify`.
    """
    hits, alarms = _columns(curve)
    called = hits + alarms
    some = called > 0
    axes.step(hits[some] / hits[-1], hits[some] / called[some], where="post", color="black")
    _label(axes, "recall", "precision")
    if found is not None:
        point = found.point if isinstance(found, Certificate) else found
        _mark(axes, point.recall, point.precision, point.threshold)
    if isinstance(found, Certificate) and bool(found.feasible):
        _band(axes.axhspan, 1 - found.rate_limit, 1.0, "certified precision")
        _band(axes.axvspan, 1 - found.cost_high, 1 - found.cost_low, "interval of recall")
    _legend(axes)
    return axes


def roc(axes: Any, curve: Curve, found: Found | None = None, *, log: bool = False) -> Any:
    """Draw the true positive rate over the false positive rate, and a threshold on it.

    A certificate adds the false positive rate that is certain, and the interval of recall.

    Args:
        axes: Matplotlib axes.
        curve: Of one label, from ``gobj.metrics.curve_points``.
        found: What :func:`gobj.fit_threshold` or :func:`gobj.certify` returned, of a problem that
            limits the false positive rate.
        log: Whether false positive rates are on a logarithmic scale.

    Returns:
        The axes.

    Raises:
        ValueError: If the curve has several labels.

    Example:
        >>> import torch
        >>> from gobj import plot
        >>> from gobj.metrics import curve_init, curve_points, curve_update
        >>> from matplotlib.figure import Figure
        >>> logits, labels = torch.tensor([2.0, 1.0, 0.5, -1.0]), torch.tensor([1, 0, 1, 0])
        >>> curve = curve_points(curve_update(curve_init(), logits, labels))
        >>> plot.roc(Figure().subplots(), curve).get_ylabel()
        'true positive rate'

    References:
        See :func:`gobj.certify`.
    """
    hits, alarms = _columns(curve)
    axes.plot(alarms / alarms[-1], hits / hits[-1], color="black")
    _label(axes, "false positive rate", "true positive rate")
    if log:
        axes.set_xscale("log")
        axes.set_xlim(left=max(0.5 / alarms[-1].item(), 1e-6))
    else:
        axes.plot([0, 1], [0, 1], color="grey", linestyle=":")
    if found is not None:
        point = found.point if isinstance(found, Certificate) else found
        _mark(axes, point.fpr, point.recall, point.threshold)
    if isinstance(found, Certificate) and bool(found.feasible):
        _band(axes.axvspan, 0.0, found.rate_bound, "certified false positive rate")
        _band(axes.axhspan, 1 - found.cost_high, 1 - found.cost_low, "interval of recall")
    _legend(axes)
    return axes


def training(axes: Sequence[Any], history: Sequence[Diagnosis]) -> Sequence[Any]:
    """Draw constraint, multiplier and threshold over the steps of training.

    Args:
        axes: Three matplotlib axes; the multiplier is on a logarithmic scale.
        history: What :func:`gobj.diagnose` returned at each step, of one label.

    Returns:
        The axes.

    Raises:
        ValueError: If there are not three axes, or several labels.

    Example:
        >>> import gobj, torch
        >>> from gobj import plot
        >>> from matplotlib.figure import Figure
        >>> batch, state = (torch.tensor([2.0, -1.0]), torch.tensor([1, 0])), gobj.init_state()
        >>> seen = gobj.diagnose(gobj.tpr_at_fpr(0.1), *batch, state)
        >>> [a.get_ylabel() for a in plot.training(Figure().subplots(3), [seen, seen])]
        ['constraint', 'multiplier', 'threshold']

    References:
        See :func:`gobj.diagnose`.
    """
    if len(axes) != 3:
        refuse("axes", "be three", len(axes))
    for one, name in zip(axes, ("constraint", "multiplier", "threshold"), strict=True):
        one.plot(_over_steps(history, name), color="black")
        _label(one, "step", name)
    axes[0].axhline(0, color="grey", linestyle=":", label="met below")
    axes[0].legend(frameon=False)
    axes[1].set_yscale("log")
    return axes


def bound(axes: Any, history: Sequence[Diagnosis]) -> Any:
    """Draw the bound of a problem over the steps of training, and what it is a bound of.

    Args:
        axes: Matplotlib axes.
        history: What :func:`gobj.diagnose` returned at each step, of one label.

    Returns:
        The axes.

    Raises:
        ValueError: If there are several labels.

    Example:
        >>> import gobj, torch
        >>> from gobj import plot
        >>> from matplotlib.figure import Figure
        >>> batch, state = (torch.tensor([2.0, -1.0]), torch.tensor([1, 0])), gobj.init_state()
        >>> seen = gobj.diagnose(gobj.tpr_at_fpr(0.1), *batch, state)
        >>> len(plot.bound(Figure().subplots(), [seen, seen]).lines)
        2

    References:
        See :func:`gobj.diagnose`.
    """
    upper, gap = _over_steps(history, "bound"), _over_steps(history, "gap")
    axes.plot(upper, color="black", linestyle="--", label="bound")
    axes.plot(upper - gap, color="black", label="exact value")
    _label(axes, "step", "value")
    _legend(axes)
    return axes


def front(axes: Any, certificate: Certificate) -> Any:
    """Draw the cost of each of several targets, with its interval.

    Args:
        axes: Matplotlib axes.
        certificate: From :func:`gobj.certify` with a tensor of targets, one a label.

    Returns:
        The axes.

    Raises:
        ValueError: If the certificate has no dimension of targets.

    Example:
        >>> import gobj, torch
        >>> from gobj import plot
        >>> from matplotlib.figure import Figure
        >>> labels = torch.arange(400) % 4 == 0
        >>> logits = torch.linspace(-1, 1, 400) + labels
        >>> targets = torch.tensor([0.05, 0.1, 0.2])
        >>> every = (x.unsqueeze(1).expand(-1, 3) for x in (logits, labels))
        >>> certificate = gobj.certify(*every, gobj.tpr_at_fpr(targets), simultaneous="bonferroni")
        >>> plot.front(Figure().subplots(), certificate).get_xlabel()
        'limit of the rate'

    References:
        See :func:`gobj.certify`.
    """
    if certificate.threshold.dim() != 1:
        refuse("certificate", "have one target a label", certificate.threshold)
    some = certificate.feasible.cpu()
    limit, cost, low, high = (
        x.cpu()[some]
        for x in (
            certificate.rate_limit,
            certificate.cost_rate,
            certificate.cost_low,
            certificate.cost_high,
        )
    )
    errors = torch.stack((cost - low, high - cost)).clamp(min=0).numpy()
    points = limit.numpy(), cost.numpy()
    axes.errorbar(*points, yerr=errors, color="black", marker="o", capsize=3)
    _label(axes, "limit of the rate", "cost rate")
    return axes


def _columns(curve: Curve) -> tuple[Tensor, Tensor]:
    """Return the weights above each threshold of a curve of one label."""
    if curve.threshold.dim() != 1:
        refuse("curve", "be that of one label", curve.threshold)
    return curve.true_positives.cpu(), curve.false_positives.cpu()


def _over_steps(history: Sequence[Diagnosis], name: str) -> Tensor:
    """Return a value of one label over the steps."""
    values = torch.stack([getattr(seen, name).detach().cpu() for seen in history])
    if values.numel() != len(history):
        refuse("history", "be that of one label", values)
    return values.reshape(-1)


def _mark(axes: Any, x: Tensor, y: Tensor, threshold: Tensor) -> None:
    """Mark an operating point."""
    name = f"threshold {threshold.item():.3g}"
    axes.plot([x.item()], [y.item()], "o", color="black", markerfacecolor="white", label=name)


def _band(span: Any, low: Tensor | float, high: Tensor | float, name: str) -> None:
    """Shade what is certain or likely."""
    span(float(low), float(high), color="grey", alpha=0.25, linewidth=0, label=name)


def _label(axes: Any, x: str, y: str) -> None:
    axes.set_xlabel(x)
    axes.set_ylabel(y)


def _legend(axes: Any) -> None:
    if axes.get_legend_handles_labels()[1]:
        axes.legend(frameon=False)
