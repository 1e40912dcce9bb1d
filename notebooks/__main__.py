"""Execute the notebooks: ``python notebooks`` writes an ``.ipynb`` beside each percent-format file.

Nothing of the machine is kept but the outputs of the cells.
"""

from pathlib import Path

import jupytext
import nbformat
from nbclient import NotebookClient

KERNEL = {"name": "python3", "display_name": "Python 3", "language": "python"}


def execute(source: Path) -> None:
    """Write the executed pair of a source."""
    notebook = jupytext.read(source)
    client = NotebookClient(notebook, kernel_name=KERNEL["name"], record_timing=False)
    client.execute(cwd=str(source.parent))
    notebook.metadata = {"kernelspec": KERNEL, "language_info": {"name": "python"}}
    for index, cell in enumerate(notebook.cells):
        cell.id, cell.metadata = f"cell-{index}", {}
    nbformat.write(notebook, source.with_suffix(".ipynb"))


if __name__ == "__main__":
    for source in sorted(Path(__file__).parent.glob("[0-9]*.py")):
        print(source.name)
        execute(source)
