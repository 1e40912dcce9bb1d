"""What a job works on: the rows, their labels and weights, and which of them are for what."""

import warnings
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from gobj.study.columns import Array, Schema, encode, is_number, learn_schema, numbers, texts
from gobj.study.labels import Label, read_labels
from gobj.study.options import Options
from gobj.study.plan import Plan, make_plan
from gobj.study.ranks import Ranks
from gobj.study.reading import Rows
from gobj.study.refusal import require, require_column
from gobj.study.splits import Part, Scaling, learn_scaling, scale
from gobj.study.tables import read_weights

FEWEST_GROUPS = 20  # so that every part of a split has some


class Data(NamedTuple):
    """A table as a job sees it; of the features, a rank holds only its rows.

    Attributes:
        labels: The columns to predict.
        truth: 0 or 1 for each row and label, ``[rows, labels]``, float32.
        weights: Case weights of the same shape, those above 0 with mean 1; 0 where a label is
            missing; None is 1 each.
        counts: The weights as they were given, which a certificate takes for numbers of rows, or 0
            and 1 if they are all the same; None is 1 each.
        features: Of the rows held here, ``[n, features]``, float64, NaN where a number is missing.
        first: Number of the first row held here.
        schema: What features are made of.
        plan: Which rows are for what.
        ranks: The ranks that share the rows.
        numbers: Place of each row in the table.
        found: How many rows the table has.
    """

    labels: list[Label]
    truth: Tensor
    weights: Tensor | None
    counts: Tensor | None
    features: Tensor
    first: int
    schema: Schema
    plan: Plan
    ranks: Ranks
    numbers: Array
    found: int

    def side_by_side(self, values: Tensor, rows: Tensor) -> Tensor:
        """Return values ``[rows, labels]`` of rows ``[S, n]`` as ``[n, S * labels]``."""
        return values[rows.clamp(min=0)].movedim(0, 1).flatten(1)

    def weights_of(self, rows: Tensor, *, as_counts: bool = False) -> Tensor | None:
        """Return weights of rows as :meth:`side_by_side` does, 0 where there is no row."""
        given = self.counts if as_counts else self.weights
        if given is None and bool((rows >= 0).all()):
            return None
        weights = torch.ones_like(self.truth) if given is None else given
        some = (rows >= 0).T.repeat_interleave(len(self.labels), 1)
        return self.side_by_side(weights, rows) * some

    def scalings(self, rows: Tensor) -> list[Scaling]:
        """Learn how to scale of the training rows of each split, a column at a time over ranks."""
        return [self._scaling(row[row >= 0]) for row in rows]

    def _scaling(self, rows: Tensor) -> Scaling:
        if self.ranks.group is None:
            return learn_scaling(self.features[rows])
        own = self.features[self._held(rows)]
        columns = [
            learn_scaling(torch.from_numpy(self.ranks.joined(column.numpy()))[:, None])
            for column in own.unbind(1)
        ]
        return Scaling(*(torch.cat(values) for values in zip(*columns, strict=True)))

    def _held(self, rows: Tensor) -> Tensor:
        """Return the places here of those rows that are held here, in the table's order."""
        places = rows.sort().values - self.first
        return places[(places >= 0) & (places < len(self.features))]

    def part(self, rows: Tensor, scalings: list[Scaling]) -> Part:
        """Return rows ``[S, n]`` as what models learn from; of those of other ranks, the places."""
        here = (rows >= self.first) & (rows < self.first + len(self.features))
        places = torch.where(here, here.cumsum(1) - 1, -1)
        width = max(int(here.sum(1).max()), 1)
        chosen = torch.full((len(rows), width), -1)
        for row, held, into in zip(rows, here, chosen, strict=True):
            into[: int(held.sum())] = row[held]
        features = [
            scale(self.features[(row - self.first).clamp(min=0)], by).float()
            for row, by in zip(chosen, scalings, strict=True)
        ]
        weights = self.weights_of(chosen)
        shape = (width, len(rows), len(self.labels))
        truth = self.side_by_side(self.truth, chosen).view(shape).movedim(1, 0)
        if weights is not None:
            weights = weights.view(shape).movedim(1, 0)
        shared = places if self.ranks.number > 1 else None
        return Part(torch.stack(features), truth, weights, shared)


def load(rows: Rows, options: Options, ranks: Ranks) -> Data:
    """Check the columns that options name, and turn the rows into numbers.

    Raises:
        ValueError: If a column is unknown or unfit, a class is too small, or no feature is left.
    """
    frame = rows.frame
    for argument, name in options.named_columns:
        require_column(frame.columns, argument, name)
    check_names(frame, options.labels)
    names, drop = options.labels, options.drop_missing_labels
    labels, values, known = read_labels(
        frame, names, options.positive, drop_missing=drop, ranks=ranks
    )
    truth = torch.from_numpy(ranks.joined(values))
    given = torch.from_numpy(ranks.joined(_weights(frame, options.weights, known)))
    some = given[given > 0]
    counts = (given > 0).float() if bool((some == some[0]).all()) else given
    plan = make_plan(
        truth,
        options.seeds,
        groups=None if options.group is None else _groups(frame, options.group, ranks),
        times=None if options.time is None else _times(frame, options.time, ranks),
    )
    kept = torch.isin(torch.arange(len(truth)), plan.final.test)
    compared = ~kept[rows.first : rows.first + len(frame)].numpy()
    used = frame.drop(columns=[name for _, name in options.named_columns])
    columns = (
        (str(name), pd.concat(ranks.every(column[compared]), ignore_index=True))
        for name, column in used.items()
    )
    schema = learn_schema(columns)
    left_out = ", ".join(f"{name} ({reason})" for name, reason in schema.left_out.items())
    require(bool(schema.columns), "DATA", "have a column to learn from", left_out or "the label")
    return Data(
        labels,
        truth,
        None if bool((counts == 1).all()) else given / some.mean(),
        None if bool((counts == 1).all()) else counts,
        torch.from_numpy(encode(frame, schema)),
        rows.first,
        schema,
        plan,
        ranks,
        rows.numbers,
        rows.found,
    )


def check_names(frame: pd.DataFrame, labels: Sequence[str]) -> None:
    """Require names that differ, also from those of what is written."""
    twice = sorted(set(frame.columns[frame.columns.duplicated()]))
    require(not twice, "DATA", "have columns of different names", twice)
    written = {f"{label}_{what}" for label in labels for what in ("score", "flag")}
    taken = sorted(written & set(frame.columns) | {"row"} & set(labels))
    require(not taken, "DATA", "have other names than the columns that are written", taken)


def _weights(frame: pd.DataFrame, name: str | None, known: Array) -> Array:
    """Return the weight of each row and label, 0 where the label is missing."""
    masses = np.ones(len(frame)) if name is None else read_weights(frame[name])
    return (masses[:, None] * known).astype(np.float32)


def _groups(frame: pd.DataFrame, name: str, ranks: Ranks) -> Array:
    """Return the group of each row, as text; those without one are one group."""
    groups = ranks.joined(texts(frame[name]).fillna("").to_numpy(dtype=str))
    number = len(np.unique(groups))
    got = f"{number} in {name!r}"
    require(number >= FEWEST_GROUPS, "--group", f"have {FEWEST_GROUPS} values or more", got)
    return groups


def _times(frame: pd.DataFrame, name: str, ranks: Ranks) -> Array:
    """Return when each row was, as a number: itself, or that of a date."""
    column = frame[name]
    if is_number(column):
        times = numbers(column)
        wrong = int(np.isnan(times).sum())
    else:
        times, wrong = _dates(column)
    got = f"{wrong} of {len(times)} in {name!r} that are not"
    require(wrong == 0, "--time", "name a column of numbers, or of dates of one format", got)
    return ranks.joined(times)


def _dates(column: "pd.Series[Any]") -> tuple[Array, int]:
    """Return dates as numbers, and how many are none in the format of the first."""
    with warnings.catch_warnings(action="ignore"):  # that it has no format is told below
        read = [
            pd.to_datetime(column, errors="coerce", utc=True, dayfirst=first)
            for first in (False, True)
        ]
    one, other = sorted(read, key=lambda dates: int(dates.isna().sum()))
    wrong = int(one.isna().sum())
    if wrong == 0 and not other.isna().any() and not one.equals(other):
        wrong = int((one != other).sum())  # day or month first: either reads, and they differ
    return one.astype("int64").to_numpy(dtype=float), wrong
