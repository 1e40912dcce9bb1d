"""Notebooks: every source runs, and its executed pair shows the same cells with their outputs."""

import itertools
import re
import runpy
from pathlib import Path

import jupytext
import matplotlib as mpl
import matplotlib.pyplot as plt
import nbformat
import pytest

NOTEBOOKS = Path(__file__).parents[1] / "notebooks"
SOURCES = sorted(NOTEBOOKS.glob("[0-9]*.py"))
LARGEST = 300_000  # bytes, so that a code host still shows it
MACHINE = re.compile(r'(^|[\s"\'(=])/[\w.-]+/|0x[0-9a-f]{6}|\d\d:\d\d:\d\d|\d{4}-\d\d-\d\d', re.M)

each_source = pytest.mark.parametrize("source", SOURCES, ids=lambda source: source.stem)


def cells(notebook: nbformat.NotebookNode) -> list[tuple[str, str]]:
    return [(cell.cell_type, cell.source) for cell in notebook.cells]


def outputs(source: Path) -> list[nbformat.NotebookNode]:
    executed = nbformat.read(source.with_suffix(".ipynb"), as_version=4)
    return [output for cell in executed.cells for output in cell.get("outputs", [])]


def test_every_executed_notebook_has_a_source() -> None:
    executed = sorted(path.stem for path in NOTEBOOKS.glob("*.ipynb"))
    assert executed == [source.stem for source in SOURCES]
    assert executed


@each_source
def test_both_members_of_a_pair_have_the_same_cells(source: Path) -> None:
    executed = nbformat.read(source.with_suffix(".ipynb"), as_version=4)
    assert cells(executed) == cells(jupytext.read(source))


@each_source
def test_a_pair_keeps_the_outputs_of_one_run_in_order(source: Path) -> None:
    executed = nbformat.read(source.with_suffix(".ipynb"), as_version=4)
    counts = [cell.execution_count for cell in executed.cells if cell.cell_type == "code"]
    assert counts == list(range(1, len(counts) + 1))


@each_source
def test_a_pair_shows_one_figure_and_no_warning(source: Path) -> None:
    shown = outputs(source)
    assert sum("image/png" in output.get("data", {}) for output in shown) == 1
    assert {output.get("name", "stdout") for output in shown} == {"stdout"}


@each_source
def test_a_pair_is_small_and_names_no_machine_path_or_time(source: Path) -> None:
    assert source.with_suffix(".ipynb").stat().st_size < LARGEST
    executed = nbformat.read(source.with_suffix(".ipynb"), as_version=4)
    texts = [
        output.get("text", "") + str(output.get("data", {}).get("text/plain", ""))
        for output in outputs(source)
    ]
    assert not MACHINE.findall("\n".join([*texts, str(executed.metadata)]))
    assert not any(cell.metadata for cell in executed.cells)
    assert executed.metadata.keys() == {"kernelspec", "language_info"}


@each_source
def test_a_source_begins_with_its_one_title_and_closes_in_words(source: Path) -> None:
    first, *_, last = cells(jupytext.read(source))
    texts = [text for kind, text in cells(jupytext.read(source)) if kind == "markdown"]
    levels = [len(mark) for mark in re.findall(r"^(#+) ", "\n".join(texts), re.M)]
    assert first[1].startswith("# ")
    assert levels.count(1) == 1
    assert all(after <= before + 1 for before, after in itertools.pairwise(levels))
    assert last[0] == "markdown"
    assert not last[1].startswith("#")


def test_a_beginning_chooses_which_notebooks_are_executed() -> None:
    sources = runpy.run_path(str(NOTEBOOKS / "__main__.py"))["sources"]
    assert sources(["02", "01_a"]) == SOURCES[:2]
    assert sources([]) == SOURCES
    assert sources(["none"]) == []


@each_source
def test_a_source_runs_as_a_script_and_labels_what_it_draws(
    source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STEPS", "3")
    mpl.use("agg")
    plt.close("all")
    runpy.run_path(str(source), run_name="__main__")
    (number,) = plt.get_fignums()
    labels = [
        text
        for axes in plt.figure(number).axes
        for text in (axes.get_xlabel(), axes.get_ylabel(), axes.get_title(), axes.get_legend())
    ]
    plt.close("all")
    assert labels
    assert all(labels)
