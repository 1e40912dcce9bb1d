"""Pictures of the documentation: what they draw is what the text says of them."""

import runpy
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import matplotlib as mpl
import matplotlib.pyplot as plt
import pytest

PICTURES = Path(__file__).parents[2] / "docs/pictures"


@pytest.fixture
def draw() -> Iterator[dict[str, Any]]:
    mpl.use("agg")
    yield runpy.run_path(str(PICTURES / "draw.py"))
    plt.close("all")


def test_every_drawn_bound_lies_above_what_it_bounds(draw: dict[str, Any]) -> None:
    for axes in draw["draw_guarantee"]().axes:
        lines = {line.get_label(): line.get_ydata() for line in axes.lines}
        exact = lines.get("counted", lines.get("indicator of an error"))
        bounds = [y for name, y in lines.items() if name[0] != "_" and y is not exact]
        assert bounds
        assert all((y >= exact - 1e-6).all() for y in bounds)


def test_the_script_has_a_function_for_each_stored_figure(draw: dict[str, Any]) -> None:
    stored = sorted(path.stem for path in PICTURES.glob("*.svg"))
    assert stored == sorted(name.removeprefix("draw_") for name in draw if name[:5] == "draw_")
