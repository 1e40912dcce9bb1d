"""Pictures of a report: each takes its plain values and returns a matplotlib figure.

Everything is black, and told apart by markers and dashes, so that a grey print can be read. Figures
are narrow, for a phone to show them without shrinking their letters.
"""

import textwrap
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties, findfont, get_font
from numpy.typing import NDArray

from gobj.metrics._reading import LOW_IS_GOOD
from gobj.study.goals import find_objective, spell
from gobj.study.numbers import written

Table = dict[str, Any]
Floats = NDArray[np.float64]

WIDTH, LETTERS = 4.0, 8.5  # inches, points
LINE, LONGEST = 48, 40  # letters that fit into the width, and that are shown of a name
SMALL = 0.05  # a rate below it is seen on a logarithmic axis only
FITTED: Table = {"marker": "o", "color": "black", "markerfacecolor": "black", "linestyle": "-"}
CERTIFIED: Table = {"marker": "s", "color": "black", "markerfacecolor": "white", "linestyle": "--"}
# Which rates the curve of an objective is drawn in: across and up.
PLANES = {
    "recall_at_precision": ("recall", "precision"),
    "precision_at_recall": ("recall", "precision"),
    "tpr_at_fpr": ("fpr", "recall"),
    "fpr_at_tpr": ("fpr", "recall"),
    "specificity_at_npv": ("npv", "specificity"),
    "recall_at_budget": ("flagged", "recall"),
}


def heading(label: Table, table: Table) -> str:
    """Name table, rows, label and target."""
    named = f"{label['name']} = {label['positive']}"
    return f"{table['name']}, {table['rows']:,} rows, {named}: {label['title']}"


def from_best(label: Table, question: Table) -> list[Table]:
    """Return the rows of methods from the best value on test rows to the worst."""
    sign = -1 if question["high_is_good"] else 1

    def place(row: Table) -> float:
        mean = row["fitted"]["value"]["mean"]
        return float("inf") if mean is None else sign * mean

    return sorted(label["rows"], key=place)


def draw_methods(label: Table, table: Table, question: Table, taken: str) -> Figure:
    """Draw what each method is worth on test rows, with intervals, in the order of the table.

    Args:
        label: Of the report.
        table: Of the report.
        question: Of the report.
        taken: Name of the method whose model is taken away.

    Returns:
        The figure.
    """
    rows = from_best(label, question)
    figure, axes = _start(label, table, "methods on test rows", 1.2 + 0.42 * len(rows))
    for place, row in enumerate(rows):
        name = row["name"] + ", taken away" * (row["name"] == taken)
        name += "" if row["fitted"]["feasible"] else ": no threshold"
        weight = "bold" if row["is_objective"] else "normal"
        axes.text(
            0.0,
            place - 0.3,
            name,
            transform=axes.get_yaxis_transform(),
            fontsize=LETTERS,
            fontweight=weight,
            verticalalignment="center",
        )
        if row["name"] == taken:
            axes.axhspan(place - 0.5, place + 0.5, color="black", alpha=0.08, linewidth=0)
        _draw_interval(axes, row["fitted"], place, FITTED)
        _draw_interval(axes, row["certified"], place + 0.27, CERTIFIED)
    for look, name in ((FITTED, "fitted"), (CERTIFIED, "certified")):
        if any(row[name]["feasible"] for row in rows):
            axes.plot([], [], label=f"{name} threshold", markersize=5, **look)
    axes.set(ylim=(len(rows) - 0.45, -0.6), yticks=[], xlabel=label["title"])
    _stay(axes.get_xlim, axes.set_xlim)
    axes.locator_params(axis="x", nbins=5)  # the digits of small rates need room
    axes.spines["left"].set_visible(False)
    axes.grid(axis="x", color="grey", alpha=0.3)
    return _finish(figure)


def draw_curve(label: Table, table: Table, question: Table) -> Figure:
    """Draw the curve of the model that is taken away on the rows that were kept apart.

    Marked are the fitted and the certified threshold, and what the constraint asks for.

    Args:
        label: Of the report.
        table: Of the report.
        question: Of the report.

    Returns:
        The figure.
    """
    figure, axes = _start(label, table, "the model on rows kept apart", 3.9)
    across, up = PLANES[question["objective"]]
    _, constrained = _rates_of(question)
    curve = {name: _array(values) for name, values in label["curve"].items()}
    # At the ends nothing is flagged or nothing rejected: no precision, no NPV.
    inside = {"precision": curve["flagged"] > 0, "npv": curve["flagged"] < 1}
    some = inside.get(up, inside.get(across, curve["flagged"] >= 0))
    x, y = curve[across][some], curve[up][some]
    left = _scale(axes, label, across, constrained, x)
    axes.plot(np.maximum(x, left), y, color="black", drawstyle="steps-post", linewidth=1.2)
    line = axes.axvline if constrained == across else axes.axhline
    line(label["target"], color="black", linestyle=":", label=label["condition"])
    for name, rates, look in _points(label, curve, question):
        place = max(rates[across], left), rates[up]
        axes.plot(
            *place,
            markersize=7,
            clip_on=False,
            zorder=3,
            label=name,
            **look | {"linestyle": "none"},
        )
    upwards = "true positive rate (recall)" if across == "fpr" else _axis(up)
    axes.set(xlabel=_axis(across), ylabel=upwards, ylim=(0, 1.02))
    axes.grid(color="grey", alpha=0.3)
    return _finish(figure)


def draw_trade_off(label: Table, table: Table, question: Table) -> Figure:
    """Draw what other targets would give on the rows that were kept apart.

    Args:
        label: Of the report.
        table: Of the report.
        question: Of the report.

    Returns:
        The figure.
    """
    figure, axes = _start(label, table, "what other targets would give", 3.5)
    optimized, constrained = _rates_of(question)
    steps = label["trade_off"]
    for name, met, value, look in (
        ("fitted threshold", "feasible", "value", FITTED),
        ("certified threshold", "certifiable", "certified_value", CERTIFIED),
    ):
        some = [step for step in steps if step[met] and step[value] is not None]
        targets, values = [step["target"] for step in some], [step[value] for step in some]
        if some:
            axes.plot(targets, values, label=name, markersize=6, **look)
    chosen = f"target {label['target']:g}"
    axes.axvline(label["target"], color="black", linestyle=":", label=chosen)
    if not axes.lines[1:]:
        place: Table = {"horizontalalignment": "center", "transform": axes.transAxes}
        axes.text(0.5, 0.5, "no threshold meets any of them", fontsize=LETTERS, **place)
    every = [step["target"] for step in steps]
    if constrained in LOW_IS_GOOD and every:
        axes.set_xscale("log")
        axes.set_xticks(every, [f"{target:g}" for target in every])
        axes.set_xticks([], minor=True)
    axes.set(xlabel=f"target of {spell(constrained)}", ylabel=spell(optimized))
    low, high = axes.get_ylim()
    low = min(low, 0.75 * high)  # a small difference must not look large
    axes.set_ylim(low, high + 0.05 * (high - low))
    _stay(axes.get_ylim, axes.set_ylim)
    axes.grid(color="grey", alpha=0.3)
    return _finish(figure)


def _start(label: Table, table: Table, what: str, height: float) -> tuple[Figure, Axes]:
    """Return a figure with its title."""
    short = label | {name: _shortened(label[name]) for name in ("name", "positive")}
    title = heading(short, table | {"name": _shortened(table["name"])})
    lines = textwrap.wrap(_drawable(f"{title}; {what}"), LINE)
    size = WIDTH, height + 0.14 * len(lines)
    figure = Figure(figsize=size, layout="constrained")
    text = figure.suptitle("\n".join(lines), fontsize=LETTERS, fontweight="bold", x=0.01)
    text.set(horizontalalignment="left", parse_math=False)
    axes = figure.subplots()
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(labelsize=LETTERS)
    axes.xaxis.label.set_fontsize(LETTERS)
    axes.yaxis.label.set_fontsize(LETTERS)
    return figure, axes


def _finish(figure: Figure) -> Figure:
    """Put the legend below the axes, where it hides nothing."""
    if figure.axes[0].get_legend_handles_labels()[1]:
        figure.legend(loc="outside lower left", fontsize=LETTERS, frameon=False, handlelength=3)
    return figure


def _shortened(name: str) -> str:
    """Leave the middle of a long name out; the page has it in full."""
    half = LONGEST // 2
    return name if len(name) <= LONGEST else f"{name[:half]}...{name[-half:]}"


def _drawable(text: str) -> str:
    """Replace what the font has no letter for, of which matplotlib would warn."""
    font, none = get_font(findfont(FontProperties())), "\N{REPLACEMENT CHARACTER}"
    return "".join(
        letter if letter.isspace() or font.get_char_index(ord(letter)) else none for letter in text
    )


def _draw_interval(axes: Axes, reading: Table, place: float, look: Table) -> None:
    """Draw a mean and its interval, if there was a threshold in any split."""
    found = reading["value"]
    ends = [found[end] for end in ("low", "mean", "high")]
    if not reading["feasible"] or None in ends:
        return
    axes.plot([ends[0], ends[2]], [place, place], **look | {"marker": "|"})
    axes.plot(ends[1], place, markersize=5, clip_on=False, **look)


def _scale(axes: Axes, label: Table, across: str, constrained: str, x: Floats) -> float:
    """Choose the horizontal axis, so that the region that matters shows, and return its least.

    A logarithmic axis has no zero: what is there is drawn at its left end.
    """
    if across == "npv":  # a model that knows nothing has the share of negatives
        lowest: float = min(1 - label["share"], label["target"])
        left = lowest - 0.25 * (1 - lowest)
        axes.set_xlim(left, 1 + 0.03 * (1 - left))
        return 0.0
    region = label["target"] if constrained == across else label["final"]["value"]
    positive = x[x > 0]
    if across not in LOW_IS_GOOD or region is None or region >= SMALL or not len(positive):
        axes.set_xlim(-0.02 * (across in LOW_IS_GOOD), 1.02)
        return 0.0
    left = min(float(positive.min()), float(region)) / 2
    axes.set_xscale("log")
    axes.set_xlim(left, 1)
    return left


def _points(
    label: Table, curve: dict[str, Floats], question: Table
) -> list[tuple[str, dict[str, float], Table]]:
    """Return the operating points that there are: what they are, rates and look."""
    optimized, constrained = _rates_of(question)
    final, found = label["final"], []
    if final["feasible"] and None not in (final["value"], final["constrained"]):
        rates = {optimized: final["value"], constrained: final["constrained"]}
        said = f"fitted: {_said(optimized, rates)}, {_said(constrained, rates)}"
        found.append((said, rates, FITTED))
    if final["certifiable"] and final["certified_value"] is not None:
        held = _read(curve, constrained, final["certified_threshold"], question)
        rates = {optimized: final["certified_value"], constrained: held}
        # the other rate is that of a point near by, of which no digits are said
        found.append((f"certified: {_said(optimized, rates)}", rates, CERTIFIED))
    return found


def _said(rate: str, rates: dict[str, float]) -> str:
    return f"{spell(rate)} {written(rates[rate])}"


def _read(curve: dict[str, Floats], rate: str, threshold: float | None, question: Table) -> float:
    """Read a rate off a curve at a threshold; none is the end at which the target is easiest."""
    known = np.isfinite(curve["threshold"])
    if threshold is None or not known.any():
        return float(curve[rate][find_objective(question["objective"]).start])
    upwards = curve["threshold"][known][::-1], curve[rate][known][::-1]
    return float(np.interp(threshold, *upwards))


def _rates_of(question: Table) -> tuple[str, str]:
    """Return the names of the optimized and the constrained rate, as in the curve."""
    objective = find_objective(question["objective"])
    return objective.optimized, objective.constrained


def _axis(rate: str) -> str:
    """Name a rate at an axis, in full."""
    names = {"fpr": "false positive rate", "npv": "negative predictive value"}
    return names.get(rate, spell(rate))


def _array(values: Sequence[float | None]) -> Floats:
    """Return numbers, NaN where one is not finite."""
    return np.array(values, dtype=np.float64)


def _stay(limits: Callable[[], tuple[float, float]], limit: Callable[..., Any]) -> None:
    """Keep an axis of rates in [0, 1], but for a margin that markers need."""
    low, high = limits()
    limit(max(low, -0.03), min(high, 1.03))
