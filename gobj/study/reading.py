"""Tables read from files: CSV, Parquet, or a folder of Parquet files that ranks share."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pyarrow.dataset  # type: ignore[import-untyped]
import pyarrow.parquet  # type: ignore[import-untyped]

from gobj.study.columns import Array
from gobj.study.ranks import Ranks
from gobj.study.refusal import require

PARQUET = (".parquet", ".pq")
SEPARATORS = ";\t|"  # that a header in one piece may hold
BATCH = 50_000  # rows of a batch


class Rows(NamedTuple):
    """Rows that a rank holds, of all that are used.

    Attributes:
        frame: The rows.
        first: Number of the first of them among all that are used.
        used: How many are used, over all ranks.
        found: How many the table has; above ``used`` if they are a sample.
        numbers: Of all rows that are used, their places in the table, rising.
    """

    frame: pd.DataFrame
    first: int
    used: int
    found: int
    numbers: Array


def read_rows(path: Path, sep: str, encoding: str, most_rows: int, ranks: Ranks) -> Rows:
    """Read the rows of a rank, of a random sample where there are too many.

    Raises:
        ValueError: If there is no such table or it cannot be read.
    """
    if path.is_dir():
        frame, found, first = _read_fragments(path, ranks)
        return sample(frame, found, first, most_rows)
    shared = "be a folder of Parquet files where ranks share the rows"
    require(ranks.number == 1, "DATA", shared, repr(str(path)))
    if path.suffix.lower() in PARQUET:
        frame = pd.concat(read_batches(path, sep, encoding), ignore_index=True)
        return sample(frame, len(frame), 0, most_rows)
    return _sample_batches(read_batches(path, sep, encoding), most_rows)


def sample(frame: pd.DataFrame, found: int, first: int, most_rows: int) -> Rows:
    """Take those rows of a rank that are drawn of all, ``found``, in their order."""
    order = np.random.default_rng(0).random(found).argsort()
    drawn = np.sort(order[:most_rows])
    low, high = np.searchsorted(drawn, [first, first + len(frame)])
    own = frame.iloc[drawn[low:high] - first].reset_index(drop=True)
    return Rows(own, int(low), len(drawn), found, drawn)


def _sample_batches(batches: Iterator[pd.DataFrame], most_rows: int) -> Rows:
    """Draw the rows that :func:`sample` would, and hold no more than twice as many."""
    random = np.random.default_rng(0)
    kept, places, ranks = pd.DataFrame(), np.empty(0, int), np.empty(0)
    waiting: list[pd.DataFrame] = []
    found = held = 0
    for batch in batches:
        waiting.append(batch)
        places = np.append(places, np.arange(found, found + len(batch)))
        ranks = np.append(ranks, random.random(len(batch)))
        found, held = found + len(batch), held + len(batch)
        if held > 2 * most_rows:
            kept, places, ranks = _lowest(pd.concat([kept, *waiting]), places, ranks, most_rows)
            waiting, held = [], len(kept)
    kept, places, _ = _lowest(pd.concat([kept, *waiting]), places, ranks, most_rows)
    return Rows(kept.reset_index(drop=True), 0, len(kept), found, places)


def _lowest(
    frame: pd.DataFrame, places: Array, ranks: Array, number: int
) -> tuple[pd.DataFrame, Array, Array]:
    """Keep the rows of lowest rank, in their order."""
    chosen = np.sort(ranks.argsort()[:number])
    return frame.iloc[chosen], places[chosen], ranks[chosen]


def read_batches(path: Path, sep: str, encoding: str) -> Iterator[pd.DataFrame]:
    """Read a table of any size a batch at a time; a CSV file as text, as it stands.

    Args:
        path: A CSV or Parquet file, or a folder of Parquet files.
        sep: What parts the columns of a CSV file.
        encoding: Of a CSV file.

    Raises:
        ValueError: If there is no such table or it cannot be read.
    """
    known = "be a CSV or Parquet file, or a folder of Parquet files"
    require(path.is_file() or path.is_dir(), "DATA", known, repr(str(path)))
    try:
        if path.is_dir() or path.suffix.lower() in PARQUET:
            files = parquet_files(path) if path.is_dir() else [path]
            require(bool(files), "DATA", "hold Parquet files", f"none in {str(path)!r}")
            dataset = pyarrow.dataset.dataset(files, format="parquet")
            ahead = {"batch_readahead": 2, "fragment_readahead": 1}
            for batch in dataset.to_batches(batch_size=BATCH, **ahead):
                yield batch.to_pandas(ignore_metadata=True)
            return
        options: Any = {"sep": sep, "encoding": encoding, "dtype": str}
        with pd.read_csv(path, chunksize=BATCH, **options) as batches:
            for batch in batches:
                _check_header(batch, sep)
                got = f"more in some of {str(path)!r}"
                fine = isinstance(batch.index, pd.RangeIndex)
                require(fine, "DATA", "have as many values in a row as in the header", got)
                yield batch.reset_index(drop=True)
    except (LookupError, UnicodeError) as error:
        requirement = f"be that of {str(path)!r}, such as latin-1 or utf-16"
        got = f"{encoding!r}: {error}"
        raise ValueError(f"gobj: `--encoding` must {requirement}; got {got}.") from error
    except (ImportError, OSError, ValueError) as error:
        if str(error).startswith("gobj: "):
            raise
        raise ValueError(_unreadable(path, error)) from error


def parquet_files(folder: Path) -> list[Path]:
    """List the Parquet files of a folder, in their order."""
    return sorted(file for file in folder.rglob("*") if file.suffix.lower() in PARQUET)


def _read_fragments(folder: Path, ranks: Ranks) -> tuple[pd.DataFrame, int, int]:
    """Read a rank's files of a folder; return how many rows all have, and those before its own."""
    files = parquet_files(folder)
    got = f"{len(files)} in {str(folder)!r}"
    enough = f"hold a Parquet file for each rank, {ranks.number} or more"
    require(len(files) >= ranks.number, "DATA", enough, got)
    try:
        sizes = [pyarrow.parquet.read_metadata(file).num_rows for file in files]
        shares = np.array_split(np.arange(len(files)), ranks.number)
        own = shares[ranks.rank]
        table = pyarrow.dataset.dataset([files[i] for i in own], format="parquet").to_table()
    except (OSError, ValueError) as error:
        raise ValueError(_unreadable(folder, error)) from error
    return table.to_pandas(ignore_metadata=True), sum(sizes), sum(sizes[: own[0]])


def _check_header(frame: pd.DataFrame, sep: str) -> None:
    """Require several columns, or none that looks like several."""
    header = str(frame.columns[0])
    other = next((mark for mark in SEPARATORS + "," if mark in header and mark != sep), None)
    if len(frame.columns) == 1 and other is not None:
        got = f"{sep!r}, by which the header is one piece, {header[:60]!r}"
        require(False, "--sep", f"part the columns; try --sep {other!r}", got)


def _unreadable(path: Path, error: Exception) -> str:
    """Say in a line what went wrong."""
    reason = (str(error).strip() or type(error).__name__).splitlines()[0].rstrip(".")
    return f"gobj: `DATA` must be readable; got {str(path)!r}: {reason}."
