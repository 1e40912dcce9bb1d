"""Splits of a table, one per seed, stacked so that models train side by side."""

from typing import NamedTuple

import torch
from torch import Tensor

from gobj.study.tables import Table

TRAIN, VALIDATION = 0.5, 0.15  # shares of the rows; the rest is for the test
LARGEST = 5.0  # standard deviations at which features are clipped


class Part(NamedTuple):
    """One part of the rows, another draw for each of ``S`` seeds.

    Attributes:
        features: Shape ``[S, n, columns]``, float32.
        labels: 0 or 1, shape ``[S, n]``, or ``[S, n, L]`` for ``L`` labels.
        weights: Case weights, of the shape of the labels; None is 1 each.
        places: Where ranks share the rows, the place here of each row of the part over all ranks,
            ``[S, rows]``, -1 where another rank holds it; None where all rows are here.
    """

    features: Tensor
    labels: Tensor
    weights: Tensor | None
    places: Tensor | None = None


class Splits(NamedTuple):
    """Training, validation and test part of the same seeds."""

    train: Part
    validation: Part
    test: Part


class Scaling(NamedTuple):
    """What is learned of the features of training rows, ``[columns]`` each, float64.

    Attributes:
        median: Takes the place of missing numbers.
        mean: Is subtracted.
        deviation: Is divided by; infinite for a column that is constant, so that it stays 0 where
            new rows differ: nothing was learned of it.
    """

    median: Tensor
    mean: Tensor
    deviation: Tensor


def split(table: Table, seeds: int) -> Splits:
    """Draw a split per seed, each with the table's share of positives, and scale by its own part.

    Missing numbers become the median, columns are standardised by mean and standard deviation, all
    of the training rows, and clipped at five standard deviations.
    """
    generator = torch.Generator().manual_seed(0)
    classes = [_cut(table.labels == label, seeds, generator) for label in (0, 1)]
    rows = [torch.cat(part, 1) for part in zip(*classes, strict=True)]
    scalings = [learn_scaling(table.features[train]) for train in rows[0]]

    def part(chosen: Tensor) -> Part:
        pairs = zip(chosen, scalings, strict=True)
        features = torch.stack([scale(table.features[row], by).float() for row, by in pairs])
        weights = None if table.weights is None else table.weights[chosen]
        return Part(features, table.labels[chosen], weights)

    return Splits(*map(part, rows))


def learn_scaling(features: Tensor) -> Scaling:
    """Learn how to scale of rows ``[n, columns]``, float64, NaN where a number is missing."""
    median = features.nanmedian(0).values.nan_to_num()
    known = torch.where(features.isnan(), median, features)
    mean, deviation = known.mean(0), known.std(0, unbiased=False)
    varies = deviation > 1e-9 * (1 + mean.abs())
    return Scaling(median, mean, torch.where(varies, deviation, torch.inf))


def scale(features: Tensor, scaling: Scaling) -> Tensor:
    """Fill, standardise and clip rows ``[n, columns]``."""
    median, mean, deviation = scaling
    known = torch.where(features.isnan(), median, features)
    return ((known - mean) / deviation).clamp(-LARGEST, LARGEST)


def _cut(members: Tensor, seeds: int, generator: torch.Generator) -> tuple[Tensor, ...]:
    """Shuffle the rows of a class once per seed and cut them into parts ``[S, rows]``."""
    rows = members.nonzero().squeeze(1)
    order = torch.rand(seeds, len(rows), generator=generator).argsort(1)
    first, second = round(TRAIN * len(rows)), round((TRAIN + VALIDATION) * len(rows))
    return rows[order].tensor_split([first, second], dim=1)
