"""Draw the two figures of how the library works: ``python docs/pictures/draw.py``.

The guarantee is computed by the library itself; the data flow is a diagram.
"""

from pathlib import Path
from typing import Any

import matplotlib as mpl
import matplotlib.pyplot as plt
import torch
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch

import gobj

HERE = Path(__file__).parent
INK, BLUE, ORANGE, GREEN = "#222222", "#1f5fa8", "#b3560b", "#2f7d32"
# Fixed, so that drawing again changes nothing; white ground, so that a dark page shows it too.
SETTINGS = {
    "svg.hashsalt": "gobj",
    "svg.fonttype": "path",
    "font.size": 11,
    "font.family": "DejaVu Sans",
}


def box(axes: Any, place: tuple[float, float], text: str, note: str, colour: str) -> None:
    """Draw a box with a name and what it stands for, centred at a place."""
    x, y = place
    axes.add_patch(
        FancyBboxPatch(
            (x - 1.05, y - 0.42), 2.1, 0.84, boxstyle="round,pad=0.04", fc="white", ec=colour, lw=2
        )
    )
    axes.text(x, y + 0.13, text, ha="center", va="center", color=colour, weight="bold")
    axes.text(x, y - 0.2, note, ha="center", va="center", color=INK, fontsize=9)


def arrow(axes: Any, start: tuple[float, float], end: tuple[float, float], bend: float = 0) -> None:
    """Draw an arrow between two places."""
    axes.add_patch(
        FancyArrowPatch(
            start, end, connectionstyle=f"arc3,rad={bend}", arrowstyle="-|>", mutation_scale=16,
            color=INK, lw=1.4,
        )
    )  # fmt: skip


def draw_data_flow() -> Any:
    """Draw what passes between the three steps of a loss."""
    figure, axes = plt.subplots(figsize=(8.4, 3.6))
    axes.set(xlim=(-0.1, 9.3), ylim=(-0.3, 3.75))
    axes.axis("off")
    box(axes, (1.1, 2.9), "batch", "logits, labels, weights", INK)
    box(axes, (4.5, 2.9), "observe", "sums over examples", GREEN)
    box(axes, (7.9, 2.9), "update", "sums to next state", BLUE)
    box(axes, (4.5, 0.6), "weigh", "loss at one state", ORANGE)
    box(axes, (7.9, 0.6), "state", "multiplier, threshold", BLUE)
    arrow(axes, (2.2, 2.9), (3.4, 2.9))
    arrow(axes, (5.6, 2.9), (6.8, 2.9))
    arrow(axes, (7.9, 2.42), (7.9, 1.1))
    arrow(axes, (6.8, 0.6), (5.6, 0.6))
    arrow(axes, (1.1, 2.42), (3.4, 0.75), 0.25)
    arrow(axes, (7.2, 1.08), (5.3, 2.42))
    axes.text(6.2, 3.5, "parts and ranks add up", ha="center", fontsize=9, color=GREEN)
    axes.text(6.2, 1.35, "this state", ha="right", fontsize=9, color=INK)
    axes.text(8.0, 1.75, "next state", ha="left", va="center", fontsize=9, color=INK)
    axes.text(4.5, -0.12, "the only step with a gradient", ha="center", fontsize=9, color=ORANGE)
    arrow(axes, (3.4, 0.45), (2.1, 0.2))
    axes.text(2.0, 0.14, "loss", ha="right", weight="bold", color=ORANGE)
    return figure


def draw_guarantee() -> Any:
    """Draw surrogates over the indicator, and a constraint's bound over its exact value."""
    figure, (left, right) = plt.subplots(1, 2, figsize=(8.4, 3.5))
    margin = torch.linspace(-3, 3, 601)
    left.plot(margin, gobj.zero_one(margin), color=INK, lw=2.5, label="indicator of an error")
    shown = (("cross entropy", gobj.cross_entropy, "-"), ("hinge", gobj.hinge, "--"))
    bounded = ("bounded, q = .5", gobj.generalized_cross_entropy(0.5), "-.")
    for (name, surrogate, dashes), colour in zip(
        (*shown, bounded), (BLUE, GREEN, ORANGE), strict=True
    ):
        left.plot(margin, surrogate(margin), dashes, color=colour, lw=1.8, label=name)
    left.set(xlabel="margin of an example", ylabel="cost", ylim=(-0.1, 4.2))
    left.set_title("Each cost lies above the indicator", fontsize=11)

    torch.manual_seed(0)
    labels = torch.rand(4000) < 0.3
    logits = 2 * torch.randn(4000) + 9 * labels
    thresholds = torch.linspace(-2, 10, 241)
    constraint = gobj.recall_at_precision(0.8).constraint
    alone = gobj.Problem(gobj.LinearForm(), constraint)

    def values(surrogate: gobj.Surrogate) -> torch.Tensor:
        found = [
            gobj.lagrangian(logits, labels, alone, 1.0, float(at), surrogate=surrogate)
            for at in thresholds
        ]
        return torch.stack(found)

    exact, bound = values(gobj.zero_one), values(gobj.cross_entropy)
    right.axhline(0, color="#888888", lw=1)
    right.plot(thresholds, exact, color=INK, lw=2.5, label="counted")
    right.plot(thresholds, bound, color=BLUE, lw=1.8, label="its bound")
    right.fill_between(
        thresholds, -0.1, 0, where=bound <= 0, color=GREEN, alpha=0.2, label="met by the bound"
    )
    right.set(xlabel="threshold", ylabel="constraint: precision at least .8", ylim=(-0.1, 0.35))
    right.set_title("A constraint met by its bound is met", fontsize=11)
    for axes in (left, right):
        axes.legend(frameon=False, fontsize=9)
        axes.spines[["top", "right"]].set_visible(False)
    figure.tight_layout()
    return figure


if __name__ == "__main__":
    mpl.use("agg")
    with mpl.rc_context(SETTINGS):
        for name, draw in (("data_flow", draw_data_flow), ("guarantee", draw_guarantee)):
            draw().savefig(HERE / f"{name}.svg", metadata={"Date": None}, bbox_inches="tight")
