"""Which rows train, which choose, which test, and which are kept for the certificate."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from torch import Tensor

# Of the rows that compare methods; validation has as many rows as the test, for a certificate needs
# hundreds.
TRAIN, VALIDATION = 0.5, 0.25
KEPT = 0.2  # share of the rows that no comparison looks at: the certificate is of them
WINDOW = 0.6  # share of the rows that a split by time covers, the later the split the later it is

Kind = Literal["random", "groups", "time"]


class Parts(NamedTuple):
    """Numbers of rows, ``[S, n]`` for each part; -1 where a split has fewer.

    Attributes:
        train: Rows that models learn from.
        validation: Rows that settings and thresholds are chosen on.
        test: Rows that nothing is chosen on.
    """

    train: Tensor
    validation: Tensor
    test: Tensor


class Plan(NamedTuple):
    """How the rows of a table are used.

    Attributes:
        splits: Of the rows that compare methods, one per seed.
        final: One split: rows that the model to take away learns from, rows that choose its
            settings, and those that were kept apart, for its certificate.
        kind: Whether rows are drawn at random, by whole groups, or by time.
    """

    splits: Parts
    final: Parts
    kind: Kind


def make_plan(
    labels: Tensor,
    seeds: int,
    *,
    groups: "np.ndarray[Any, Any] | None" = None,
    times: "np.ndarray[Any, Any] | None" = None,
) -> Plan:
    """Plan the splits of all rows.

    Args:
        labels: 0 or 1, ``[rows, labels]``. One label has its share of positives in every part of
            a random split.
        seeds: How many splits compare methods.
        groups: Group of each row; no group is in two parts of a split.
        times: When each row was; no part is before one that comes before it.
    """
    generator = torch.Generator().manual_seed(0)
    if times is not None:
        return _by_time(torch.from_numpy(times), seeds)
    if groups is not None:
        _, members = np.unique(groups, return_inverse=True)
        cut = _group_cutter(torch.from_numpy(members), generator)
        kind: Kind = "groups"
    else:
        one = labels.shape[1] == 1
        strata = labels[:, 0] if one else torch.zeros(len(labels))
        cut = _random_cutter(strata, generator)
        kind = "random"
    every = torch.arange(len(labels))
    compared, kept = (part[0] for part in cut(every, 1, [1 - KEPT]))
    compared, kept = compared[compared >= 0], kept[kept >= 0]
    splits = Parts(*cut(compared, seeds, [TRAIN, TRAIN + VALIDATION]))
    train, validation = cut(compared, 1, [1 - VALIDATION / (1 - KEPT)])
    return Plan(splits, Parts(train, validation, kept[None]), kind)


def _random_cutter(strata: Tensor, generator: torch.Generator) -> Any:
    """Return what cuts rows at shares into parts, each with its share of every stratum."""

    def cut(rows: Tensor, seeds: int, shares: Sequence[float]) -> list[Tensor]:
        parts = []
        for stratum in strata.unique():  # type: ignore[no-untyped-call]
            members = rows[strata[rows] == stratum]
            order = torch.stack(
                [torch.randperm(len(members), generator=generator) for _ in range(seeds)]
            )
            places = [round(share * len(members)) for share in shares]
            parts.append(members[order].tensor_split(places, dim=1))
        return [torch.cat(part, 1) for part in zip(*parts, strict=True)]

    return cut


def _group_cutter(members: Tensor, generator: torch.Generator) -> Any:
    """Return what cuts rows at shares into parts, by whole groups."""

    def cut(rows: Tensor, seeds: int, shares: Sequence[float]) -> list[Tensor]:
        every: list[list[Tensor]] = []
        for _ in range(seeds):
            place = torch.randperm(int(members.max()) + 1, generator=generator)[members[rows]]
            order = place.argsort(stable=True)
            ahead = torch.arange(len(rows))
            # The first row of a group decides where the whole group goes.
            first = torch.searchsorted(place[order], place[order])
            part = sum((ahead[first] >= share * len(rows)).long() for share in shares)
            every.append([rows[order[part == index]] for index in range(len(shares) + 1)])
        return [_padded(part) for part in zip(*every, strict=True)]

    return cut


def _by_time(times: Tensor, seeds: int) -> Plan:
    """Plan windows that move over the rows in their order; the last rows are kept apart.

    Rows of one time are in one part: each cut goes back to the first row of its time.
    """
    times, order = times.sort(stable=True)
    first = torch.searchsorted(times, times)

    def cut(start: int, stop: int, *shares: float) -> list[Tensor]:
        places = [int(first[start + round(share * (stop - start))]) for share in shares]
        bounds = [start, *places, stop]
        return [order[low:high] for low, high in pairwise(bounds)]

    compared, kept = cut(0, len(order), 1 - KEPT)
    width = round(WINDOW * len(compared))
    starts = torch.linspace(0, len(compared) - width, seeds).long()
    windows = [cut(int(at), int(at) + width, TRAIN, TRAIN + VALIDATION) for at in starts]
    splits = Parts(*(_padded(part) for part in zip(*windows, strict=True)))
    train, validation = cut(0, len(compared), 1 - VALIDATION / (1 - KEPT))
    return Plan(splits, Parts(train[None], validation[None], kept[None]), "time")


def _padded(rows: Sequence[Tensor]) -> Tensor:
    """Stack rows of several lengths."""
    return torch.nn.utils.rnn.pad_sequence(list(rows), batch_first=True, padding_value=-1)
