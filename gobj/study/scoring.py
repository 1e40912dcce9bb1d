"""A model applied to a table of any size, a batch at a time."""

import os
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa  # type: ignore[import-untyped]
import pyarrow.parquet  # type: ignore[import-untyped]

from gobj.study.columns import unreadable
from gobj.study.model import Model, load_model
from gobj.study.reading import PARQUET, read_batches
from gobj.study.refusal import require


def score_file(
    folder: Path, path: Path, out: Path, *, sep: str = ",", encoding: str = "utf-8"
) -> dict[str, Any]:
    """Write a table with a score and a decision beside its columns, for each label.

    Memory does not grow with the table. A value that the model has not seen in a column of text is
    taken for a missing one, as is text in a column of numbers.

    Args:
        folder: That fit has written.
        path: A CSV or Parquet file, or a folder of Parquet files.
        out: A CSV or Parquet file to write.
        sep: What parts the columns of a CSV file.
        encoding: Of a CSV file.

    Returns:
        ``rows``, ``flagged`` by label, and ``unknown``: values by column that the model could not
        use.

    Raises:
        ValueError: If the model, the table or the place to write is not as it must be.
    """
    model = load_model(folder)
    got = repr(str(out))
    require(out.absolute().parent.is_dir(), "--out", "lie in a folder that exists", got)
    require(not out.is_dir(), "--out", "be a file, not a folder", got)
    require(path.resolve() != out.resolve(), "--out", "differ from DATA", got)
    flagged: Counter[str] = Counter()
    unknown: Counter[str] = Counter()
    rows = 0
    with _writer(out, sep) as write:
        for frame in read_batches(path, sep, encoding):
            scored = model.apply(frame)
            taken = [name for name in scored if name in frame]
            require(not taken, "DATA", "have no columns of scores", taken)
            write(pd.concat([frame, scored], axis=1))
            rows += len(frame)
            unknown.update(unreadable(frame, model.schema))
            flagged.update(
                {
                    decision.label: int(scored[f"{decision.label}_flag"].sum())
                    for decision in model.decisions
                }
            )
    return {"rows": rows, "flagged": dict(flagged), "unknown": dict(unknown)}


def score_frame(model: Model | str | Path, frame: pd.DataFrame) -> pd.DataFrame:
    """Return the score and the decision of each row of a table, for each label.

    Args:
        model: The model, or the folder that fit has written.
        frame: The columns of the model, and any other.

    Returns:
        Columns ``<label>_score`` and ``<label>_flag``, with the index of the table.

    Raises:
        ValueError: If there is no model, or a column is missing.
    """
    found = model if isinstance(model, Model) else load_model(Path(model))
    return found.apply(frame.rename(columns=str))


@contextmanager
def _writer(out: Path, sep: str) -> Iterator[Any]:
    """Yield what writes batches into a file, which is there as a whole or not at all."""
    part = out.with_name(f".{out.name}.{os.getpid()}.part")
    try:
        with _parquet(part) if out.suffix.lower() in PARQUET else _csv(part, sep) as write:
            yield write
        part.replace(out)
    finally:
        part.unlink(missing_ok=True)


@contextmanager
def _csv(path: Path, sep: str) -> Iterator[Any]:
    """Yield what appends batches to a CSV file."""
    with path.open("w", encoding="utf-8", newline="") as file:

        def write(frame: pd.DataFrame) -> None:
            frame.to_csv(file, sep=sep, index=False, header=file.tell() == 0)

        yield write


@contextmanager
def _parquet(path: Path) -> Iterator[Any]:
    """Yield what appends batches to a Parquet file, all of them as the first."""
    writers: list[pyarrow.parquet.ParquetWriter] = []

    def write(frame: pd.DataFrame) -> None:
        if not writers:
            schema = pa.Schema.from_pandas(frame, preserve_index=False)
            # A column of which the first batch holds nothing may hold text later.
            known = [
                field.with_type(pa.string()) if pa.types.is_null(field.type) else field
                for field in schema
            ]
            writers.append(pyarrow.parquet.ParquetWriter(path, pa.schema(known)))
        table = pa.Table.from_pandas(frame, schema=writers[0].schema, preserve_index=False)
        writers[0].write_table(table)

    try:
        yield write
        if not writers:
            write(pd.DataFrame())
    finally:
        for writer in writers:
            writer.close()
