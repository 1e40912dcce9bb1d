"""Execute the notebooks: ``python notebooks`` writes an ``.ipynb`` beside each percent-format file.

``python notebooks 03 07`` executes those whose names begin so. Nothing of the machine is kept but
the outputs of the cells.
"""

import argparse
from pathlib import Path

import jupytext
import nbformat
from nbclient import NotebookClient

KERNEL = {"name": "python3", "display_name": "Python 3", "language": "python"}


def execute(source: Path) -> None:
    """Write the executed pair of a source."""
    notebook = jupytext.read(source)
    client = NotebookClient(
        notebook, kernel_name=KERNEL["name"], record_timing=False, coalesce_streams=True
    )
    client.execute(cwd=str(source.parent))
    notebook.metadata = {"kernelspec": KERNEL, "language_info": {"name": "python"}}
    for index, cell in enumerate(notebook.cells):
        cell.id, cell.metadata = f"cell-{index}", {}
    nbformat.write(notebook, source.with_suffix(".ipynb"))


def sources(beginnings: list[str]) -> list[Path]:
    """Return the sources whose names begin with one of these; all, if there are none."""
    every = sorted(Path(__file__).parent.glob("[0-9]*.py"))
    return [path for path in every if not beginnings or path.name.startswith(tuple(beginnings))]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python notebooks", description="Execute notebooks.")
    parser.add_argument("beginning", nargs="*", help="beginning of a name; by default all run")
    chosen = sources(parser.parse_args().beginning)
    if not chosen:
        parser.error("no notebook begins so")
    for source in chosen:
        print(source.name)
        execute(source)
