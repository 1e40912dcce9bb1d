"""Pictures of a study: curves with operating points, and the duals over time."""

from pathlib import Path

import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from gobj.metrics._reading import rates
from gobj.study.comparison import Outcome
from gobj.study.findings import Findings
from gobj.study.goals import spell
from gobj.study.measures import estimate

COLOURS = ("tab:gray", "tab:blue", "tab:red")
MARKERS = ("s", "D", "o")
SIZES = (10, 7, 4)  # so that points at one place all show


def draw(findings: Findings, path: Path) -> None:
    """Draw the four panels into a PNG file."""
    figure = Figure(figsize=(11, 8.5), layout="constrained")
    (precision, roc), (multiplier, threshold) = figure.subplots(2, 2)
    figure.suptitle(f"Training for {findings.goal.title}")
    _curves(precision, findings, "recall", "precision")
    _curves(roc, findings, "fpr", "recall")
    roc.plot([0, 1], [0, 1], color="0.8", linewidth=1, zorder=0)
    roc.set_ylabel("TPR (recall)")
    duals = findings.outcomes[-1].models.duals
    assert duals is not None
    _over_time(multiplier, duals[0], "multiplier")
    _over_time(threshold, duals[1], "threshold (logit)")
    named = {
        label: handle
        for axes in (precision, roc)
        for handle, label in zip(*axes.get_legend_handles_labels(), strict=True)
    }
    figure.legend(named.values(), named.keys(), loc="outside lower center", ncols=len(named))
    figure.savefig(path, dpi=120)


def _curves(axes: Axes, findings: Findings, across: str, up: str) -> None:
    """Draw one rate against another, each method's mean over seeds and its operating point."""
    looks = zip(findings.outcomes, COLOURS, MARKERS, SIZES, strict=True)
    for outcome, colour, marker, size in looks:
        grid = torch.linspace(0, 1, 501, dtype=torch.float64).clamp(min=1e-9)
        axes.plot(grid, _mean_curve(outcome, across, up, grid), color=colour)
        (x, _, dx), (y, _, dy) = (estimate(outcome.test[name]) for name in (across, up))
        point = axes.errorbar(x, y, dy, dx, marker, color=colour, markersize=size, capsize=3)
        point.set_label(outcome.models.method)
    held, target = findings.goal.objective.constrained, findings.goal.target
    if held in (across, up):
        line = axes.axhline if held == up else axes.axvline
        line(target, color="black", linestyle=":", label=findings.goal.condition)
    axes.set(xlabel=spell(across), ylabel=spell(up), xlim=(-0.01, 1.01), ylim=(-0.01, 1.02))
    axes.set_title("test rows: mean curve, own threshold with 95 % intervals", fontsize="medium")


def _mean_curve(outcome: Outcome, across: str, up: str, grid: Tensor) -> Tensor:
    """Average over seeds what the first threshold that gets across to each grid point gives."""
    table = rates(outcome.curve)
    places = grid.expand(len(outcome.value), -1).contiguous()
    entry = torch.searchsorted(table[across].contiguous(), places)
    return table[up].gather(1, entry.clamp(max=table[up].shape[1] - 1)).mean(0)


def _over_time(axes: Axes, values: Tensor, name: str) -> None:
    """Draw a dual of every seed, and their median."""
    steps = torch.arange(1, len(values) + 1)
    axes.plot(steps, values, color=COLOURS[-1], alpha=0.2, linewidth=0.8)
    axes.plot(steps, values.median(1).values, color=COLOURS[-1])
    low, high = values[len(values) // 20 :].aminmax()  # the first batches would set the scale
    margin = 0.1 * (high - low).item() + 1e-3
    axes.set(xlabel="step", ylabel=name, ylim=(low.item() - margin, high.item() + margin))
    axes.set_title("training of the objective: every seed, and their median", fontsize="medium")
