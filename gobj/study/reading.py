"""Tables read from files: CSV, Parquet, or a folder of Parquet files that ranks share."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pyarrow.dataset
import pyarrow.parquet

from gobj.study.ranks import Ranks
from gobj.study.refusal import require

PARQUET = (".parquet", ".pq")
SEPARATORS = ";\t|"  # that a header in one piece may hold
BATCH = 50_000  # rows of a batch that is scored
EXACT = {"float_precision": "round_trip"}  # a number reads alike in a batch and in the whole


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
    numbers: "np.ndarray[Any, Any]"


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
    frame = read_table(path, sep, encoding)
    return sample(frame, len(frame), 0, most_rows)


def sample(frame: pd.DataFrame, found: int, first: int, most_rows: int) -> Rows:
    """Take those rows of a rank that are drawn of all, ``found``, in their order."""
    drawn = np.arange(found)
    if found > most_rows:
        drawn = np.sort(np.random.default_rng(0).permutation(found)[:most_rows])
    low, high = np.searchsorted(drawn, [first, first + len(frame)])
    own = frame.iloc[drawn[low:high] - first].reset_index(drop=True)
    return Rows(own, int(low), len(drawn), found, drawn)


def read_table(path: Path, sep: str = ",", encoding: str = "utf-8") -> pd.DataFrame:
    """Read a CSV or Parquet file.

    Raises:
        ValueError: If there is no such file or it cannot be read.
    """
    got = repr(str(path))
    require(path.is_file(), "DATA", "be a CSV or Parquet file, or a folder of Parquet files", got)
    try:
        if path.suffix.lower() in PARQUET:
            return pd.read_parquet(path)
        frame = pd.read_csv(path, sep=sep, encoding=encoding, low_memory=False, **EXACT)  # type: ignore[call-overload]
    except UnicodeDecodeError as error:
        got = f"{encoding!r}, in which byte {error.start} of {str(path)!r} means nothing"
        require(False, "--encoding", "be that of the file, such as latin-1 or utf-16", got)
    except (ImportError, LookupError, OSError, ValueError) as error:
        raise ValueError(_unreadable(path, error)) from error
    _check_header(frame, sep)
    return frame


def read_batches(
    path: Path, sep: str, encoding: str, kinds: Mapping[str, type[str]], rows: int = BATCH
) -> Iterator[pd.DataFrame]:
    """Read a table of any size a batch at a time.

    Args:
        path: A CSV or Parquet file, or a folder of Parquet files.
        sep: What parts the columns of a CSV file.
        encoding: Of a CSV file.
        kinds: Columns to read as text, as they stand.
        rows: Most rows of a batch.

    Raises:
        ValueError: If there is no such table or it cannot be read.
    """
    try:
        if path.is_dir() or path.suffix.lower() in PARQUET:
            for batch in pyarrow.dataset.dataset(path, format="parquet").to_batches(
                batch_size=rows, batch_readahead=2, fragment_readahead=1
            ):
                yield batch.to_pandas()
            return
        options = {"sep": sep, "encoding": encoding, "dtype": kinds, "chunksize": rows, **EXACT}
        with pd.read_csv(path, low_memory=False, **options) as batches:  # type: ignore[call-overload]
            yield from batches
    except (ImportError, LookupError, OSError, ValueError) as error:
        raise ValueError(_unreadable(path, error)) from error


def _read_fragments(folder: Path, ranks: Ranks) -> tuple[pd.DataFrame, int, int]:
    """Read a rank's files of a folder; return how many rows all have, and those before its own."""
    files = sorted(file for file in folder.rglob("*") if file.suffix.lower() in PARQUET)
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
    return table.to_pandas(), sum(sizes), sum(sizes[: own[0]])


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
