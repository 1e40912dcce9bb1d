"""The report as a page: one file, with its pictures inside, that asks for nothing elsewhere."""

import re
from importlib import resources
from io import BytesIO
from typing import Any
from xml.etree import ElementTree

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup
from matplotlib import style
from matplotlib.figure import Figure

from gobj.study.final import LARGEST
from gobj.study.goals import spell
from gobj.study.numbers import written
from gobj.study.pictures import draw_curve, draw_methods, draw_trade_off, from_best, heading

NOTHING = "\N{EM DASH}"
# What a picture is drawn in, and what the page shows it in, by day and by night.
COLOURS = {"#000000": "currentColor", "#ffffff": "var(--paper)"}
REFERENCE = re.compile(r"(?<=#)[^)\"]+(?=\)?$)")


def render(report: dict[str, Any]) -> str:
    """Return the page of a report.

    Args:
        report: The content of ``report.json``; None stands for a number that is not finite.

    Returns:
        The page, in HTML.
    """
    environment = Environment(
        autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=StrictUndefined
    )
    environment.filters |= {
        "rate": _rate,
        "signed": _signed,
        "count": _count,
        "percent": _percent,
        "threshold": _threshold,
        "whole": _whole,
        "spell": spell,
    }
    source = resources.files("gobj.study").joinpath("page.html").read_text(encoding="utf-8")
    labels = [_prepare(label, report, f"p{index}") for index, label in enumerate(report["labels"])]
    return environment.from_string(source).render(**report | {"labels": labels})


def _prepare(label: dict[str, Any], report: dict[str, Any], key: str) -> dict[str, Any]:
    """Return a label with its pictures, and its rows from best to worst."""
    table, question, taken = report["table"], report["question"], report["model"]["method"]
    rows = from_best(label, question)
    said, _, command = label["advice"].partition("; try: ")
    with style.context("default"):  # whatever style a notebook has set
        drawn = [
            draw_methods(label, table, question, taken),
            draw_curve(label, table, question),
            draw_trade_off(label, table, question),
        ]
        pictures = [inline(figure, f"{key}-{index}") for index, figure in enumerate(drawn)]
    return label | {
        "heading": heading(label, table),
        "key": key,
        "rows": rows,
        "by_name": {row["name"]: row for row in rows},
        "advice": said,
        "command": command,
        "pictures": pictures,
    }


def inline(figure: Figure, key: str) -> Markup:
    """Return a figure as an SVG element that takes its colours from the page around it.

    Args:
        figure: In black and white.
        key: What its identifiers begin with, which are to differ from those of other pictures.

    Returns:
        The element.
    """
    file = BytesIO()
    figure.savefig(file, format="svg", transparent=True, metadata={"Date": None})
    root = ElementTree.fromstring(file.getvalue())
    for parent in list(root.iter()):
        for child in list(parent):
            if child.tag.endswith(("}metadata", "}style")):  # addresses, and rules for all
                parent.remove(child)
    names: dict[str, str] = {}

    def rename(found: re.Match[str]) -> str:
        return names.setdefault(found[0], f"{key}-{len(names)}")

    for element in root.iter():
        # In a page elements of SVG need no namespace.
        element.tag = element.tag.rpartition("}")[2]
        plain = {name.rpartition("}")[2]: value for name, value in element.attrib.items()}
        element.attrib = {
            name: _coloured(value) if name == "style" else REFERENCE.sub(rename, value)
            for name, value in plain.items()
        }
    for element in root.iter():
        mine = element.attrib.pop("id", "")
        if mine in names:
            element.set("id", names[mine])
    root.attrib = {"viewBox": root.attrib["viewBox"], "aria-hidden": "true"}
    return Markup(ElementTree.tostring(root, encoding="unicode"))


def _coloured(look: str) -> str:
    """Replace black and white by the colours of the page."""
    return re.sub(r"#\w{6}", lambda found: COLOURS.get(found[0], found[0]), look)


def _rate(value: float | None) -> str:
    """Write a rate."""
    return NOTHING if value is None else written(value)


def _signed(value: float | None) -> str:
    """Write a difference."""
    if value is None:
        return NOTHING
    value = round(value, 8) + 0.0  # the sum of what cancels out is seldom zero
    return f"{'-' if value < 0 else '+'}{written(abs(value))}".replace("-", "\N{MINUS SIGN}")


def _count(value: float | None) -> str:
    """Write a number of rows."""
    return NOTHING if value is None else f"{value:,.0f}"


def _percent(value: float) -> str:
    """Write a share."""
    return _whole(f"{100 * value:.3g} %")


def _whole(text: str) -> str:
    """Keep a number on the line of its sign."""
    return re.sub(r" (?=%|[<>]=)|(?<=[<>]=) ", "\N{NO-BREAK SPACE}", text)


def _threshold(value: float | None) -> str:
    """Write a threshold, or what one does that is beyond every score."""
    if value is None:
        return "beyond every score"
    if abs(value) >= LARGEST:
        return f"{'above' if value > 0 else 'below'} every score"
    return f"{value:.6g}"
