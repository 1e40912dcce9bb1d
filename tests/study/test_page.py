"""The page of a report: what it says, that it says all of it, and that it needs nothing else."""

import copy
import functools
import re
from html.parser import HTMLParser
from typing import Any

import matplotlib as mpl
import pytest
from matplotlib import style
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from gobj.study.goals import Goal, find_objective, spell
from gobj.study.numbers import written
from gobj.study.page import inline, render
from gobj.study.pictures import draw_curve, draw_methods, draw_trade_off, from_best

VOID = {"meta", "link", "br", "img", "hr", "input"}
POINTS = 41
BEST, OBJECTIVE = "gradient boosting", "objective, linear"


class Page(HTMLParser):
    """What a browser would make of a page: elements in order, and the text inside them."""

    def __init__(self, source: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.elements: list[tuple[str, dict[str, str]]] = []
        self.texts: list[tuple[str, str]] = []
        self.feed(source)
        self.close()
        assert not self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        names = [name for name, _ in attrs]
        assert len(names) == len(set(names)), f"{tag} has an attribute twice"
        self.elements.append((tag, {name: value or "" for name, value in attrs}))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.open.pop()

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.texts.append((self.open[-1] if self.open else "", data))

    def text(self) -> str:
        """Return what a reader reads, with single spaces."""
        shown = [data for tag, data in self.texts if tag not in ("style", "title")]
        return " ".join(" ".join(shown).split())

    def of(self, tag: str, name: str) -> list[str]:
        """Return an attribute of the elements that have it."""
        return [attrs[name] for found, attrs in self.elements if found == tag and name in attrs]


def mean_of(mean: float | None, width: float = 0.05) -> dict[str, float | None]:
    """Return a mean with its interval."""
    if mean is None:
        return dict.fromkeys(("mean", "low", "high"))
    return {"mean": mean, "low": max(mean - width, 0), "high": min(mean + width, 1)}


def row_of(name: str, family: str, value: float, certified: int) -> dict[str, Any]:
    """Return a row of methods; the numbers of each differ."""
    return {
        "name": name,
        "family": family,
        "is_objective": name.startswith("objective"),
        "fitted": {
            "value": mean_of(value),
            "constrained": mean_of(0.9 - value / 7),
            "held": 3,
            "feasible": 5,
            "splits": 5,
        },
        "certified": {
            "value": mean_of(value * 0.77 if certified else 0.0),
            "constrained": mean_of(0.95),
            "held": certified,
            "feasible": certified,
            "splits": 5,
        },
    }


def step_of(target: float, value: float, *, certifiable: bool) -> dict[str, Any]:
    """Return what a target gives."""
    return {
        "target": target,
        "threshold": 0.25,
        "feasible": True,
        "value": value,
        "constrained": target - 0.0123,
        "certified_threshold": 0.5 if certifiable else None,
        "certifiable": certifiable,
        "certified_value": value * 0.9 if certifiable else 0.0,
        "examples_needed": 1234.0 + target,
    }


def label_of(goal: Goal, name: str = "churn", positive: str = "yes") -> dict[str, Any]:
    """Return a label with three methods."""
    share = [index / (POINTS - 1) for index in range(POINTS)]
    rows = [
        row_of("logistic regression", "linear", 0.0412, 0),
        row_of(BEST, "trees", 0.7541, 4),
        row_of(OBJECTIVE, "linear", 0.2534, 2),
    ]
    differ = {"mean": 0.2122, "error": 0.06, "half_width": 0.1449}
    pair = {"family": "linear", "objective": OBJECTIVE, "peer": rows[0]["name"]}
    final = step_of(goal.target, 0.6543, certifiable=True)
    return {
        "name": name,
        "positive": positive,
        "why_positive": "yes is the positive of yes and no",
        "share": 0.1414,
        "target": goal.target,
        "why_target": "the usual one",
        "condition": goal.condition,
        "title": goal.title,
        "verdict": {
            "kind": "helps its family",
            "sentence": "Training for it helps among like models.",
            "objective": OBJECTIVE,
            "rival": BEST,
            "difference": {"mean": -0.3944, "error": 0.08, "half_width": 0.1735},
            "rival_is_stronger": True,
            "families": [pair | {"difference": differ, "helps": True, "harms": False}],
        },
        "rows": rows,
        "final": final | {"deployed": 0.5, "is_certified": True, "confidence": 0.95},
        "trade_off": [
            step_of(goal.target / 2, 0.8321, certifiable=True),
            step_of(goal.target, 0.6543, certifiable=True),
            step_of((1 + goal.target) / 2, 0.4567, certifiable=False),
        ],
        "reach": 1.0,
        "advice": "",
        "curve": {
            "threshold": [None, *(3 - 6 * one for one in share[1:])],
            "recall": [one**0.3 for one in share],
            "precision": [0.0, *(1 - 0.86 * one**2 for one in share[1:])],
            "fpr": [one**3 for one in share],
            "specificity": [1 - one**3 for one in share],
            "npv": [*(0.86 + 0.14 * one for one in share[:-1]), 0.0],
            "flagged": share,
        },
    }


def report_of(objective: str = "recall_at_precision", target: float = 0.9) -> dict[str, Any]:
    """Return a report of one label."""
    goal = Goal(find_objective(objective), target)
    return {
        "gobj": "0.1.0",
        "torch": "2.13.0",
        "command": "python -m gobj fit data.csv --label churn",
        "options": {},
        "table": {
            "name": "data.csv",
            "rows": 5000,
            "rows_found": 7654,
            "is_sample": True,
            "features": 22,
            "left_out": {"state": "text with 51 values"},
            "weighted": False,
        },
        "question": {
            "objective": objective,
            "optimized": spell(goal.objective.optimized),
            "constrained": spell(goal.objective.constrained),
            "high_is_good": goal.sign > 0,
            "at_least": goal.way > 0,
        },
        "splits": {
            "kind": "random",
            "of": "random rows",
            "number": 5,
            "train": 2001,
            "validation": 1002,
            "test": 1003,
            "kept": 1004,
            "interval": "95 %, of the mean over splits",
        },
        "labels": [label_of(goal)],
        "model": {"method": BEST, "setting": {"learning_rate": 0.05}, "why": "best of all"},
        "notes": ["The linear models have not converged."],
    }


def several() -> dict[str, Any]:
    """Return a report of three labels."""
    report = report_of()
    names = ("churn", "upsold", "left early")
    goals = [Goal(find_objective("recall_at_precision"), target) for target in (0.9, 0.7, 0.8)]
    pairs = zip(goals, names, strict=True)
    return report | {"labels": [label_of(goal, name) for goal, name in pairs]}


@functools.cache
def plain() -> str:
    """Return the page of a report of one label."""
    return render(report_of())


@functools.cache
def of_several() -> str:
    """Return the page of a report of three labels."""
    return render(several())


def drawn(report: dict[str, Any]) -> list[Figure]:
    """Return the three pictures of the first label."""
    label, table, question = report["labels"][0], report["table"], report["question"]
    return [
        draw_methods(label, table, question, report["model"]["method"]),
        draw_curve(label, table, question),
        draw_trade_off(label, table, question),
    ]


def markers(axes: Axes, marker: str) -> list[tuple[float, float]]:
    """Return where markers of a kind are."""
    return [
        (float(x), float(y))
        for line in axes.lines
        if line.get_marker() == marker
        for x, y in zip(line.get_xdata(), line.get_ydata(), strict=True)
    ]


OBJECTIVES = (
    "recall_at_precision",
    "precision_at_recall",
    "tpr_at_fpr",
    "fpr_at_tpr",
    "specificity_at_npv",
    "recall_at_budget",
)


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_every_objective_gives_a_page_that_parses(objective: str) -> None:
    report = report_of(objective, 0.1 if objective.endswith(("fpr", "budget")) else 0.9)
    page = Page(render(report))
    assert [tag for tag, _ in page.elements].count("svg") == 3
    assert report["labels"][0]["condition"] in page.text()


def test_a_page_asks_for_nothing_elsewhere() -> None:
    source = of_several()
    page = Page(source)
    assert not {tag for tag, _ in page.elements} & {"script", "iframe", "object", "embed", "base"}
    for tag, attrs in page.elements:
        for name in {"src", "href", "srcset", "action", "data", "poster"} & attrs.keys():
            assert attrs[name].startswith(("#", "data:,")), f"{tag} {name}={attrs[name]}"
        for value in attrs.values():
            assert re.fullmatch(r"url\(#[\w-]+\)", value) or "url(" not in value
    assert "@import" not in source
    assert "url(" not in "".join(data for tag, data in page.texts if tag == "style")
    assert "://" not in source
    (policy,) = [attrs for _, attrs in page.elements if "http-equiv" in attrs]
    assert policy["content"].startswith("default-src 'none';")


def test_pictures_side_by_side_share_no_identifier() -> None:
    page = Page(of_several())
    known = [attrs["id"] for _, attrs in page.elements if "id" in attrs]
    assert len(known) == len(set(known)) > 9
    used = {value[1:] for tag in ("use", "a") for value in page.of(tag, "href")}
    clips = {attrs["clip-path"][5:-1] for _, attrs in page.elements if "clip-path" in attrs}
    assert used
    assert clips
    assert used | clips <= set(known)


def test_every_method_and_number_is_said() -> None:
    report = report_of()
    text = Page(plain()).text()
    (label,) = report["labels"]
    said = [label["verdict"]["sentence"], *report["notes"], report["command"]]
    for row in label["rows"]:
        said.append(row["name"])
        for found in (row["fitted"]["value"], row["fitted"]["constrained"]):
            said.append(f"{written(found['mean'])} {written(found['low'])} to ")
            said.append(f"{written(found['low'])} to {written(found['high'])}")
        if row["certified"]["feasible"]:
            said.append(written(row["certified"]["value"]["mean"]))
    for step in label["trade_off"]:
        certified = written(step["certified_value"]) if step["certifiable"] else "about 1,235 rows"
        said += [f"precision >= {step['target']:g}", written(step["value"]), certified]
        said.append(written(step["constrained"]))
    said += ["2,001 to train", "1,002 to validate", "1,003 to test", "1,004 rows were kept apart"]
    said += ["5,000 rows", "7,654", "22 features", "state: text with 51 values", "14.1 %"]
    said += ["+0.212 ± 0.145 , better", "\N{MINUS SIGN}0.394 ± 0.173 , worse", "learning_rate 0.05"]
    said += ["held in 4 of 4", "1 without a threshold", "3 of 5", report["splits"]["interval"]]
    assert [what for what in said if what not in text] == []


@pytest.mark.parametrize("low", [False, True])
def test_methods_go_from_the_best_to_the_worst_in_table_and_picture(low: bool) -> None:
    report = report_of("fpr_at_tpr" if low else "recall_at_precision")
    best_first = ["gradient boosting", "objective, linear", "logistic regression"]
    order = best_first[::-1] if low else best_first
    (label,) = report["labels"]
    assert [row["name"] for row in from_best(label, report["question"])] == order
    text = Page(render(report)).text()
    start = text.index("from the best to the worst")
    assert sorted(order, key=lambda name: text.index(name, start)) == order
    (axes,) = drawn(report)[0].axes
    for one, name in zip(axes.texts, order, strict=True):
        assert one.get_text().startswith(name)
    assert [round(x, 4) for x, _ in markers(axes, "o")] == [
        {"gradient boosting": 0.7541, "objective, linear": 0.2534}.get(name, 0.0412)
        for name in order
    ]


def test_the_objective_and_the_model_taken_away_are_marked_in_words() -> None:
    source = plain()
    rows = re.findall(r'<tr class="[^"]*">.*?</tr>', source, re.DOTALL)
    marked = {
        name: [next(i for i, row in enumerate(rows) if name in row), len(re.findall(mark, source))]
        for name, mark in ((OBJECTIVE, ">objective</span>"), (BEST, ">taken away</span>"))
    }
    assert marked == {OBJECTIVE: [1, 1], BEST: [0, 1]}
    (axes,) = drawn(report_of())[0].axes
    (shade,) = axes.patches
    assert shade.get_y() == -0.5
    names = {one.get_text(): one.get_fontweight() for one in axes.texts}
    assert names == {
        f"{BEST}, taken away": "normal",
        OBJECTIVE: "bold",
        "logistic regression": "normal",
    }


def test_names_are_text_and_never_elements() -> None:
    report = report_of()
    report["labels"][0] |= {"name": '<b>&"x', "positive": "<script>alert(1)</script>"}
    report["table"] |= {"name": "<i>$a$", "left_out": {"<u>": "<s>why</s>"}}
    report |= {"notes": ["<em>note</em>"], "command": "fit '<q>'"}
    report["labels"][0]["advice"] = "The <tt>; try: <kbd>"
    source = render(report)
    page = Page(source)
    tags = {tag for tag, _ in page.elements}
    assert not tags & {"script", "i", "u", "s", "em", "q", "tt", "kbd"}
    assert "&lt;b&gt;&amp;&#34;x = &lt;script&gt;" in source
    assert '<i>$a$, 5,000 rows, <b>&"x = <script>alert(1)</script>' in page.text()
    for word in ("<u>: <s>why</s>", "<em>note</em>", "fit '<q>'", "The <tt>", "<kbd>"):
        assert word in page.text()


def test_several_labels_begin_with_a_row_each() -> None:
    report = several()
    report["labels"][2]["verdict"] |= {"kind": "out of reach", "rival_is_stronger": False}
    report["labels"][1]["final"] |= {"is_certified": False, "certifiable": False}
    source = render(report)
    page = Page(source)
    overview = source[source.index("<table") : source.index("</table>")]
    assert source.index("<table") < source.index("<section")
    rows = overview[overview.index("<tbody>") :].split("</tr>")[:-1]
    assert len(rows) == 3
    for label, row in zip(report["labels"], rows, strict=True):
        assert label["name"] in row
        assert label["title"] in row
        assert label["verdict"]["kind"] in row
        assert ("is stronger" in row) == label["verdict"]["rival_is_stronger"]
        assert ("not certified" in row) != label["final"]["is_certified"]
        assert written(0.2534) in row
        assert written(0.7541) in row
    assert page.of("section", "id") == [link[1:] for link in page.of("a", "href")]
    assert "3 labels: recall at precision" in page.text()
    assert [tag for tag, _ in page.elements].count("svg") == 9
    assert [tag for tag, _ in Page(plain()).elements].count("table") == 2


def test_the_certificate_is_said_with_its_confidence() -> None:
    report = report_of()
    text = Page(plain()).text()
    assert "the threshold 0.5 certified With 95 % confidence, precision >= 0.9 holds" in text
    assert "recall is 0.589 at this threshold" in text
    assert "fitted to validation rows, gives recall 0.654 and precision 0.888" in text
    assert "python -m gobj score FOLDER new.csv --out scored.csv" in text
    report["labels"][0]["final"] |= {
        "certifiable": False,
        "is_certified": False,
        "deployed": 0.25,
        "certified_threshold": None,
    }
    text = Page(render(report)).text()
    assert "the threshold 0.25 not certified It meets precision >= 0.9" in text
    assert "With 95 % confidence, precision >= 0.9 holds" not in text
    assert "about 1,235 would do" in text


def out_of_reach(value: float | None = None) -> dict[str, Any]:
    """Return a report in which no threshold meets the target; at the closest there is a value."""
    report = report_of()
    (label,) = report["labels"]
    label["verdict"]["kind"] = "out of reach"
    label["advice"] = "The furthest is 0.6; try: python -m gobj fit d.csv --target 0.5"
    nothing = {"feasible": False, "certifiable": False, "threshold": value, "value": value}
    nothing |= {"certified_threshold": None, "certified_value": value, "examples_needed": None}
    for step in (label["final"], *label["trade_off"]):
        step.update(nothing)
    label["final"] |= {"is_certified": False, "deployed": 3e38}
    for row in label["rows"]:
        for reading in (row["fitted"], row["certified"]):
            reading |= {"feasible": 0, "held": 0, "value": mean_of(value)}
    label["verdict"]["difference"] = dict.fromkeys(("mean", "error", "half_width"))
    return report


def test_what_is_out_of_reach_says_what_to_type() -> None:
    source = render(out_of_reach())
    text = Page(source).text()
    assert "The furthest is 0.6. Ask for" in text
    assert "<pre><code>python -m gobj fit d.csv --target 0.5</code></pre>" in source
    assert "has the threshold above every score not certified" in text
    assert "No threshold keeps precision >= 0.9 on validation rows; this one comes closest" in text


def test_a_rate_of_one_split_has_no_interval() -> None:
    report = report_of()
    row = report["labels"][0]["rows"][0]["fitted"]
    row |= {"feasible": 1, "held": 0, "constrained": {"mean": 0.4321, "low": None, "high": None}}
    text = Page(render(report)).text()
    assert "0.432 0 of 1 4 without a threshold" in text


def test_a_difference_that_cancels_out_is_zero() -> None:
    report = report_of()
    report["labels"][0]["verdict"]["families"][0] |= {
        "difference": {"mean": -1e-17, "error": 0.1, "half_width": 0.2},
        "helps": False,
    }
    assert "+0.000 ± 0.200 , within chance" in Page(render(report)).text()


def test_numbers_that_are_not_finite_are_not_written() -> None:
    text = Page(render(out_of_reach())).text()
    assert "None" not in text
    assert "nan" not in text.split()
    assert text.count("no threshold") == 6 + 3
    assert text.count("none from these rows") == 3


@pytest.mark.parametrize("value", [None, 0.3])
def test_what_no_threshold_meets_is_not_drawn(value: float | None) -> None:
    methods, curve, trade_off = drawn(out_of_reach(value))
    assert [one.get_text() for one in trade_off.axes[0].texts] == ["no threshold meets any of them"]
    assert [one.get_text().endswith(": no threshold") for one in methods.axes[0].texts] == [
        True
    ] * 3
    for figure in (methods, curve, trade_off):
        assert not markers(figure.axes[0], "o") + markers(figure.axes[0], "s")


@pytest.mark.parametrize(
    ("objective", "target", "expected"),
    [
        ("tpr_at_fpr", 0.001, "log"),
        ("tpr_at_fpr", 0.1, "linear"),
        ("recall_at_budget", 0.01, "log"),
        ("recall_at_precision", 0.01, "linear"),
    ],
)
def test_a_small_rate_is_seen_on_a_logarithmic_axis(
    objective: str, target: float, expected: str
) -> None:
    report = report_of(objective, target)
    (axes,) = drawn(report)[1].axes
    assert axes.get_xscale() == expected
    low, high = axes.get_xlim()
    assert low < target < high
    (line,) = [line for line in axes.lines if line.get_linestyle() == ":"]
    across = objective != "recall_at_precision"
    assert set(line.get_xdata() if across else line.get_ydata()) == {target}


def test_an_operating_point_at_zero_stays_on_a_logarithmic_axis() -> None:
    report = report_of("tpr_at_fpr", 0.001)
    report["labels"][0]["final"] |= {"constrained": 0.0}
    (axes,) = drawn(report)[1].axes
    ((x, y),) = markers(axes, "o")
    assert (x, y) == (axes.get_xlim()[0], 0.6543)
    assert min(axes.lines[0].get_xdata()) == x
    assert "fitted: recall 0.654, FPR 0.000" in axes.get_legend_handles_labels()[1]


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_operating_points_lie_where_the_report_says(objective: str) -> None:
    report = report_of(objective, 0.3)
    (axes,) = drawn(report)[1].axes
    rates = {report["question"]["optimized"]: 0.6543, report["question"]["constrained"]: 0.2877}
    names = {"fpr": "FPR", "npv": "NPV", "flagged": "share flagged"}
    planes = {
        "recall_at_precision": ("recall", "precision"),
        "precision_at_recall": ("recall", "precision"),
        "tpr_at_fpr": ("fpr", "recall"),
        "fpr_at_tpr": ("fpr", "recall"),
        "specificity_at_npv": ("npv", "specificity"),
        "recall_at_budget": ("flagged", "recall"),
    }
    across, up = (names.get(rate, rate) for rate in planes[objective])
    ((x, y),) = markers(axes, "o")
    assert (x, y) == pytest.approx((rates[across], rates[up]))
    assert len(markers(axes, "s")) == 1


def test_the_certified_point_is_read_off_the_curve() -> None:
    report = report_of()
    (axes,) = drawn(report)[1].axes
    ((x, y),) = markers(axes, "s")
    share = (3 - 0.5) / 6
    assert x == pytest.approx(0.6543 * 0.9)
    assert y == pytest.approx(1 - 0.86 * share**2, abs=0.002)


def test_the_end_at_which_nothing_is_flagged_has_no_precision() -> None:
    (axes,) = drawn(report_of())[1].axes
    curve = axes.lines[0]
    assert min(curve.get_ydata()) == pytest.approx(0.14)
    assert len(curve.get_ydata()) == POINTS - 1
    (axes,) = drawn(report_of("specificity_at_npv"))[1].axes
    assert len(axes.lines[0].get_xdata()) == POINTS - 1


def test_the_trade_off_shows_what_can_be_certified() -> None:
    (axes,) = drawn(report_of())[2].axes
    assert markers(axes, "o") == [(0.45, 0.8321), (0.9, 0.6543), (0.95, 0.4567)]
    assert markers(axes, "s") == [(0.45, 0.8321 * 0.9), (0.9, 0.6543 * 0.9)]
    report = report_of("tpr_at_fpr", 0.02)
    assert drawn(report)[2].axes[0].get_xscale() == "log"


@pytest.mark.parametrize("which", [0, 1, 2])
def test_titles_name_table_rows_label_and_target(which: int) -> None:
    report = report_of()
    report["labels"][0]["name"] = "l" * 300
    report["table"]["name"] = "/data/" + "t" * 300
    figure = drawn(report)[which]
    assert figure.get_suptitle().count("\n") < 6
    title = figure.get_suptitle().replace("\n", "")
    for word in ("/data/ttt", "5,000 rows", "lll", "yes", "recall at precision 0.9"):
        assert word.replace(" ", "") in title.replace(" ", "")


def test_letters_that_the_font_lacks_do_not_stop_a_picture() -> None:
    report = report_of()
    report["labels"][0] |= {"name": "是 $\\x$ -- \x08", "positive": "\N{SNOWMAN}"}
    render(report)
    assert "\N{REPLACEMENT CHARACTER}" in drawn(report)[0].get_suptitle()
    assert "$\\x$" in drawn(report)[0].get_suptitle()
    assert "是" in Page(render(report)).text()


def test_pictures_take_their_colours_from_the_page() -> None:
    source = plain()
    pictures = re.findall(r"<svg.*?</svg>", source, re.DOTALL)
    for picture in pictures:
        assert "currentColor" in picture
        assert not {"#000000", "#ffffff"} & set(re.findall(r"#\w{6}", picture))
    assert "var(--paper)" in pictures[0]
    assert "prefers-color-scheme: dark" in source


def test_a_page_is_the_same_each_time_and_in_any_style() -> None:
    report = report_of()
    before, content = plain(), copy.deepcopy(report)
    with style.context("dark_background"):
        chosen = mpl.rcParams["axes.facecolor"]
        assert render(report) == before
        assert mpl.rcParams["axes.facecolor"] == chosen
    assert report == content


def test_an_inlined_figure_carries_nothing_but_its_lines() -> None:
    figure = Figure()
    figure.subplots().plot([0, 1], color="black")
    picture = inline(figure, "key")
    assert picture.startswith('<svg viewBox="')
    assert "metadata" not in picture
    assert "<style" not in picture
    assert "w3.org" not in picture


def test_a_long_list_of_columns_is_folded() -> None:
    report = report_of()
    assert "<details open>" in plain()
    report["table"]["left_out"] = {f"column {index}": "empty" for index in range(60)}
    source = render(report)
    assert "<details>" in source
    assert "60 columns left out" in source
    assert "column 59: empty" in source
    report["table"]["left_out"] = {}
    assert "<details" not in render(report)
