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
        labels: 0 or 1, shape ``[S, n]``.
        weights: Case weights, shape ``[S, n]``; None is 1 each.
    """

    features: Tensor
    labels: Tensor
    weights: Tensor | None


class Splits(NamedTuple):
    """Training, validation and test part of the same seeds."""

    train: Part
    validation: Part
    test: Part


def split(table: Table, seeds: int) -> Splits:
    """Draw a split per seed, each with the table's share of positives, and scale by its own part.

    Missing numbers become the median, columns are standardised by mean and standard deviation, all
    of the training rows, and clipped at five standard deviations.
    """
    generator = torch.Generator().manual_seed(0)
    classes = [_cut(table.labels == label, seeds, generator) for label in (0, 1)]
    train, validation, test = (torch.cat(rows, 1) for rows in zip(*classes, strict=True))
    known = table.features[train]
    median = known.nanmedian(1, keepdim=True).values.nan_to_num()
    known = torch.where(known.isnan(), median, known)
    mean, deviation = known.mean(1, keepdim=True), known.std(1, keepdim=True, unbiased=False)
    deviation = torch.where(deviation > 1e-9 * (1 + mean.abs()), deviation, 1)

    def part(rows: Tensor) -> Part:
        raw = table.features[rows]
        scaled = (torch.where(raw.isnan(), median, raw) - mean) / deviation
        weights = None if table.weights is None else table.weights[rows]
        return Part(scaled.clamp(-LARGEST, LARGEST).float(), table.labels[rows], weights)

    return Splits(part(train), part(validation), part(test))


def _cut(members: Tensor, seeds: int, generator: torch.Generator) -> tuple[Tensor, ...]:
    """Shuffle the rows of a class once per seed and cut them into parts ``[S, rows]``."""
    rows = members.nonzero().squeeze(1)
    order = torch.rand(seeds, len(rows), generator=generator).argsort(1)
    first, second = round(TRAIN * len(rows)), round((TRAIN + VALIDATION) * len(rows))
    return rows[order].tensor_split([first, second], dim=1)
