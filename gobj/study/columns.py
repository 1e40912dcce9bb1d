"""Columns of a table as numbers: what was learned of one table is applied to any other."""

from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

LARGEST = 1e100  # so that squares stay finite
TRUTH = {"True": "1", "False": "0"}  # a column of truth values is one of numbers

Array = np.ndarray[Any, Any]


class Column(NamedTuple):
    """One column that features are made of.

    Attributes:
        name: Of the column.
        values: Of text, each of which is a feature; None for a number, which is one feature.
    """

    name: str
    values: list[str] | None


class Schema(NamedTuple):
    """What features are made of.

    Attributes:
        columns: Those that are used, in the order of the features.
        left_out: Why, by column that is not used.
    """

    columns: list[Column]
    left_out: dict[str, str]

    @property
    def features(self) -> list[str]:
        """Name each feature."""
        return [
            name
            for column in self.columns
            for name in (
                [column.name]
                if column.values is None
                else [f"{column.name} = {value}" for value in column.values]
            )
        ]


def learn_schema(named: Iterable[tuple[str, "pd.Series[Any]"]], most_values: int = 30) -> Schema:
    """Decide for each column, given with its name, if it is a number, text, or of no use.

    Numbers stay; text is one feature per value. Left out are text with many values (names, codes),
    dates, columns without a name (row numbers) and constant ones.
    """
    columns, left_out = [], {}
    for name, column in named:
        reason = _reason_to_leave(name, column, most_values)
        if reason:
            left_out[name] = reason
        elif is_number(column):
            columns.append(Column(name, None))
        else:
            columns.append(Column(name, sorted(texts(column.dropna()).unique())))
    return Schema(columns, left_out)


def encode(frame: pd.DataFrame, schema: Schema) -> Array:
    """Return features ``[rows, features]``, float64, NaN where a number is missing.

    A number is missing where it is infinite, or text that is no number; a text that the schema does
    not know is 0 in each of its features, as one that is missing.
    """
    blocks = [np.empty((len(frame), 0))]
    for name, values in schema.columns:
        if values is None:
            blocks.append(numbers(frame[name])[:, None])
        else:
            place = pd.Index(values).get_indexer(pd.Index(texts(frame[name]).astype(object)))
            blocks.append((place[:, None] == np.arange(len(values))).astype(float))
    return np.concatenate(blocks, axis=1)


def unreadable(frame: pd.DataFrame, schema: Schema) -> dict[str, int]:
    """Count by column the values that are there, but that the schema cannot use."""
    counts = {}
    for name, values in schema.columns:
        column = frame[name]
        if values is None:
            used = ~np.isnan(numbers(column))
        else:
            used = texts(column).isin(values).to_numpy()
        counts[name] = int((column.notna().to_numpy() & ~used).sum())
    return {name: count for name, count in counts.items() if count}


def numbers(column: "pd.Series[Any]") -> Array:
    """Return a column as float64, NaN where it is no finite number."""
    if not pd.api.types.is_numeric_dtype(column):
        column = column.astype("string").replace(TRUTH)
    values = pd.to_numeric(column, errors="coerce").to_numpy(dtype=float, na_value=np.nan)
    return np.where(np.isfinite(values), values.clip(-LARGEST, LARGEST), np.nan)


def texts(column: "pd.Series[Any]") -> "pd.Series[Any]":
    """Write values as text; 1.0 as 1, so that a column with or without a fraction reads alike."""
    if pd.api.types.is_float_dtype(column):
        short = lambda value: f"{value:.0f}" if value % 1 == 0 else repr(value)  # noqa: E731
        return column.map(short, na_action="ignore")
    return column.astype("string")


def is_number(column: "pd.Series[Any]") -> bool:
    """Tell whether each value that is there is a number."""
    if pd.api.types.is_numeric_dtype(column):
        return True
    text = column.astype("string")
    return bool(pd.to_numeric(text, errors="coerce").notna().sum() == text.notna().sum())


def _reason_to_leave(name: str, column: "pd.Series[Any]", most_values: int) -> str:
    """Say why a column is of no use; nothing if it is."""
    if name.startswith(("Unnamed:", "__index_level_")):
        return "no name"
    if pd.api.types.is_datetime64_any_dtype(column) or pd.api.types.is_timedelta64_dtype(column):
        return "dates"
    if is_number(column):
        values = numbers(column)
        return "constant" if len(np.unique(values[~np.isnan(values)])) <= 1 else ""
    text = column.astype("string")
    different = text.nunique()
    if different > most_values:
        return f"text with {different} values"
    return "constant" if text.nunique(dropna=False) <= 1 else ""
