"""The column to predict: which value is positive, and whether there is enough of both."""

from typing import Any

import numpy as np
import pandas as pd

from gobj.study.refusal import require

POSITIVE_WORDS = ("1", "true", "yes", "y", "t", "positive")
FEWEST_ROWS = 20  # of each class, so that every part of a split has some


def texts(column: "pd.Series[Any]") -> "pd.Series[Any]":
    """Write values as text; 1.0 as 1, so that a column with or without a fraction reads alike."""
    return column.map(lambda value: f"{value:g}" if isinstance(value, float) else str(value))


def positive_value(column: "pd.Series[Any]", asked: str | None) -> str:
    """Return the value that counts as positive, in text."""
    missing = int(column.isna().sum())
    got = f"{missing} of {len(column)} missing in {column.name!r}"
    require(missing == 0, "--label", "name a column without missing values", got)
    counts = texts(column).value_counts()
    shown = ", ".join(map(str, counts.index[:5])) + (", ..." if len(counts) > 5 else "")
    got = f"{len(counts)} ({shown}) in {column.name!r}"
    require(len(counts) > 1, "--label", "name a column with two values", got)
    if asked is not None:
        require(asked in counts, "--positive", f"be a value of the label ({shown})", asked)
        return asked
    requirement = "name a column with two values, or --positive the one to find"
    require(len(counts) == 2, "--label", requirement, got)
    words = [str(value) for value in counts.index if str(value).lower() in POSITIVE_WORDS]
    return words[0] if len(words) == 1 else str(counts.index[-1])


def check_class_sizes(labels: np.ndarray[Any, Any]) -> None:
    """Require enough rows of both classes."""
    positives, rows = int(labels.sum()), len(labels)
    fine = min(positives, rows - positives) >= FEWEST_ROWS
    requirement = f"have {FEWEST_ROWS} rows or more of each class"
    got = f"{positives} positive and {rows - positives} negative rows"
    require(fine, "DATA", requirement, got)
