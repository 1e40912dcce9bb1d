"""Pictures: what is drawn is what was found."""

from typing import Any

import numpy as np
import pytest
import torch
from matplotlib.figure import Figure

import gobj
from gobj import plot
from gobj.metrics import curve_init, curve_points, curve_update
from tests.operating_point.samples import draw


def found_on(problem: gobj.Problem) -> tuple[Any, gobj.OperatingPoint, gobj.Certificate]:
    """Return a curve, the fit and the certificate of a sample."""
    logits, labels = (x[:, 0] for x in draw(800, 0.3, 1, 2.5, None))
    curve = curve_points(curve_update(curve_init(), logits, labels))
    fitted = gobj.fit_threshold(logits, labels, problem)
    return curve, fitted, gobj.certify(logits, labels, problem)


def marked(axes: Any) -> tuple[float, float]:
    """Return where a threshold is marked."""
    (line,) = [line for line in axes.lines if line.get_marker() == "o"]
    return line.get_xdata()[0], line.get_ydata()[0]


@pytest.mark.parametrize("certified", [False, True])
def test_a_threshold_is_marked_on_its_curve(certified: bool) -> None:
    curve, *found = found_on(gobj.recall_at_precision(0.8))
    chosen: Any = found[certified]
    axes = plot.precision_recall(Figure().subplots(), curve, chosen)
    point = chosen.point if certified else chosen
    assert marked(axes) == (point.recall.item(), point.precision.item())
    assert len(axes.patches) == 2 * certified
    curve, *found = found_on(gobj.tpr_at_fpr(0.1))
    chosen = found[certified]
    axes = plot.roc(Figure().subplots(), curve, chosen, log=certified)
    point = chosen.point if certified else chosen
    assert marked(axes) == (point.fpr.item(), point.recall.item())
    assert axes.get_xscale() == ("log" if certified else "linear")


def test_training_is_drawn_over_its_steps() -> None:
    logits, labels = torch.randn(200), torch.rand(200) < 0.3
    state, history, problem = gobj.init_state(), [], gobj.tpr_at_fpr(0.1)
    for _ in range(12):
        _, state = gobj.constrained_loss(problem, logits + labels, labels, state)
        history.append(gobj.diagnose(problem, logits + labels, labels, state))
    axes = plot.training(Figure().subplots(3), history)
    for one, name in zip(axes, ("constraint", "multiplier", "threshold"), strict=True):
        drawn = one.lines[0].get_ydata()
        np.testing.assert_array_equal(drawn, [getattr(seen, name).item() for seen in history])
    assert axes[1].get_yscale() == "log"
    both = plot.bound(Figure().subplots(), history).lines
    assert (both[0].get_ydata() > both[1].get_ydata()).all()


def test_a_front_has_a_point_for_each_feasible_target() -> None:
    logits, labels = (x.expand(-1, 4) for x in draw(300, 0.3, 1, 2.5, None))
    targets = torch.tensor([0.001, 0.05, 0.1, 0.2])
    certificate = gobj.certify(logits, labels, gobj.tpr_at_fpr(targets))
    axes = plot.front(Figure().subplots(), certificate)
    np.testing.assert_allclose(axes.lines[0].get_xdata(), [0.05, 0.1, 0.2], rtol=1e-6)
    np.testing.assert_array_equal(axes.lines[0].get_ydata(), certificate.cost_rate[1:])


def test_pictures_are_of_one_label() -> None:
    axes, labels = Figure().subplots(), (2,)
    curve = curve_points(curve_update(curve_init(labels), torch.ones(4, 2), torch.ones(4, 2)))
    state = gobj.init_state(labels)
    seen = gobj.diagnose(gobj.tpr_at_fpr(0.1), torch.ones(4, 2), torch.ones(4, 2), state)
    wrong: list[tuple[str, Any, tuple[Any, ...]]] = [
        ("curve", plot.precision_recall, (axes, curve)),
        ("curve", plot.roc, (axes, curve)),
        ("history", plot.bound, (axes, [seen])),
        ("axes", plot.training, ([axes], [seen])),
        ("certificate", plot.front, (axes, found_on(gobj.tpr_at_fpr(0.1))[2])),
    ]
    for argument, function, arguments in wrong:
        with pytest.raises(ValueError, match=rf"^{function.__name__}: `{argument}` must be|have"):
            function(*arguments)
