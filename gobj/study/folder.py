"""The folder of a report, which is there as a whole or not at all."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from gobj.study.model import ABOUT, TENSORS
from gobj.study.refusal import require

REPORT, PAGE, PREDICTIONS = "report.json", "report.html", "predictions.csv"
WRITTEN = (REPORT, PAGE, PREDICTIONS, ABOUT, TENSORS)


def check_folder(folder: Path) -> None:
    """Require a new or empty folder, or an earlier report, inside one that exists.

    Raises:
        ValueError: If it is anything else.
    """
    got = repr(str(folder))
    require(folder.absolute().parent.is_dir(), "--out", "lie in a folder that exists", got)
    fine = not folder.exists() or folder.is_dir()
    require(fine, "--out", "be a folder, not a file", got)
    names = {path.name for path in folder.iterdir()} if folder.exists() else set()
    mine = all(name in WRITTEN or name.startswith("model-") for name in names)
    require(mine, "--out", "be new, empty or an earlier report", got)


@contextmanager
def replaced(folder: Path) -> Iterator[Path]:
    """Yield an empty folder that takes the place of ``folder`` at the end, if all went well."""
    folder = folder.resolve()
    with TemporaryDirectory(dir=folder.parent, prefix=".gobj-") as staging:
        fresh = Path(staging) / "fresh"
        fresh.mkdir()
        yield fresh
        if folder.exists():
            folder.rename(Path(staging) / "old")
        fresh.rename(folder)
