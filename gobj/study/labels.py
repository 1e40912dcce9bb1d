"""The columns to predict: which value is positive, and whether there is enough of both."""

from collections import Counter
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from gobj.study.columns import Array, is_number, numbers, texts
from gobj.study.ranks import Ranks
from gobj.study.refusal import require

NEGATIVE_OF = {
    "1": ("0", "-1"),
    "true": ("false",),
    "t": ("f",),
    "yes": ("no",),
    "y": ("n",),
    "positive": ("negative",),
}
FEWEST_ROWS = 20  # of each class, so that every part of a split has some


class Label(NamedTuple):
    """A column to predict.

    Attributes:
        name: Of the column.
        positive: The value that counts as positive, in text.
        why: How that value was chosen.
        share: Of the rows that are positive, among those that are known.
    """

    name: str
    positive: str
    why: str
    share: float

    @property
    def meaning(self) -> str:
        """Say what label 1 means, such as ``churn = yes``."""
        return f"{self.name} = {self.positive}"


def read_labels(
    frame: pd.DataFrame,
    names: Sequence[str],
    positive: str | None,
    *,
    drop_missing: bool = False,
    ranks: Ranks | None = None,
) -> tuple[list[Label], Array, Array]:
    """Read the labels of the rows that a rank holds.

    Returns:
        The labels; 0 or 1 for each row, ``[rows, labels]``, float32; and whether it is known.

    Raises:
        ValueError: If a label is missing somewhere and not to be dropped, is not binary, has no
            such positive value, or has too few rows of a class.
    """
    ranks = ranks or Ranks()
    labels, values, known = [], [], []
    for name in names:
        text = _values(frame[name])
        present = text.notna().to_numpy()
        counts = _counts(text, ranks)
        _check_missing(name, ranks.every((int((~present).sum()), len(present))), drop_missing)
        value, why = _positive(name, counts, positive)
        share = counts[value] / sum(counts.values())
        check_class_sizes(counts[value], sum(counts.values()), name)
        labels.append(Label(name, value, why, share))
        values.append(is_value(frame[name], value))
        known.append(present)
    return labels, np.stack(values, 1).astype(np.float32), np.stack(known, 1)


def positive_value(column: "pd.Series[Any]", asked: str | None) -> str:
    """Return the value of a column that counts as positive, in text."""
    _check_missing(column.name, [(int(column.isna().sum()), len(column))], drop=False)
    return _positive(column.name, _counts(_values(column), Ranks()), asked)[0]


def is_value(column: "pd.Series[Any]", value: str) -> Array:
    """Tell where a column has a value, given in text."""
    return (_values(column) == value).fillna(value=False).to_numpy(dtype=bool)


def check_class_sizes(positives: float, rows: float, name: str) -> None:
    """Require enough rows of both classes."""
    fine = min(positives, rows - positives) >= FEWEST_ROWS
    requirement = f"have {FEWEST_ROWS} rows or more of each class"
    got = f"{positives:.0f} positive and {rows - positives:.0f} negative rows of {name!r}"
    require(fine, "DATA", requirement, got)


def _values(column: "pd.Series[Any]") -> "pd.Series[Any]":
    """Write the values of a label as text; numbers as the shortest that means them, 1 for 1.0."""
    if is_number(column) and not pd.api.types.is_bool_dtype(column):
        return texts(pd.Series(numbers(column), index=column.index))
    return texts(column)


def _counts(text: "pd.Series[Any]", ranks: Ranks) -> Counter[str]:
    """Count the values of a column, over all ranks."""
    every = ranks.every(Counter(text.value_counts().to_dict()))
    return sum(every, Counter())


def _check_missing(name: object, every: list[tuple[int, int]], drop: bool) -> None:
    """Require that no label is missing, unless such rows are to be dropped."""
    missing, rows = (sum(counts) for counts in zip(*every, strict=True))
    requirement = "name a column without missing values, or --drop-missing-labels leave them out"
    require(drop or missing == 0, "--label", requirement, f"{missing} of {rows} in {name!r}")


def _positive(name: object, counts: Counter[str], asked: str | None) -> tuple[str, str]:
    """Choose the value that counts as positive, and say why."""
    common = counts.most_common()
    shown = ", ".join(f"{value} ({count})" for value, count in common[:5])
    shown += ", ..." if len(common) > 5 else ""
    got = f"{len(common)} in {name!r}: {shown}"
    require(len(common) > 1, "--label", "name a column with two values", got)
    if asked is not None:
        require(asked in counts, "--positive", f"be a value of {name!r}: {shown}", repr(asked))
        return asked, "as asked"
    requirement = "name a column with two values, or --positive the one to find"
    require(len(common) == 2, "--label", requirement, got)
    (more, _), (less, _) = common
    for value, other in ((more, less), (less, more)):
        if other.lower() in NEGATIVE_OF.get(value.lower(), ()):
            return value, f"{value} is the positive of {other} and {value}"
    return less, f"{less} is rarer than {more}: --positive {more} turns it"
