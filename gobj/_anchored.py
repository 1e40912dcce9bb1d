"""The examples of some labels beside the thresholds of their anchors."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor

from gobj._anchor_examples import Examples
from gobj._attached import Terms
from gobj._batch import per_class
from gobj._surrogates import Surrogate

FURTHEST = 1e18  # an infinite score counts as being this far away, so that products stay finite


class AnchoredSums(NamedTuple):
    """Sums over the examples of a class, each ``[labels, anchors]``.

    ``hits`` and ``alarms`` are the positives and negatives above the threshold. A pull is how steep
    the surrogate falls at the margins of a class.
    """

    hits: Tensor
    alarms: Tensor
    pulls_of_positives: Tensor
    pulls_of_negatives: Tensor


def sums_of(found: tuple[Tensor, ...], dtype: torch.dtype) -> AnchoredSums:
    """Name what was found, counts and pulls, each ``[labels, 2, anchors]``."""
    return AnchoredSums(*(x.to(dtype) for both in found for x in both.unbind(1)[::-1]))


class Anchored(ABC):
    """A way to sum a surrogate over many anchors.

    Args:
        examples: The examples.
        thresholds: Thresholds of the anchors, in any order, shape ``[labels, anchors]``.
        surrogate: Upper bound of the indicator of an error.
    """

    def __init__(self, examples: Examples, thresholds: Tensor, surrogate: Surrogate) -> None:
        """Keep what is given."""
        self.examples, self.thresholds, self.surrogate = examples, thresholds, surrogate

    @abstractmethod
    def terms(self, coefficients: Tensor) -> tuple[Terms, list[Tensor]]:
        """Sum over anchors: return how value and slope follow from scores, sides and constants.

        The coefficients, of negatives and of positives, are ``[labels, 2, anchors]``.
        """

    @abstractmethod
    def sums(self) -> AnchoredSums:
        """Sum over examples, at each anchor, what is above it and what pulls on it."""


class OneByOne(Anchored):
    """Any surrogate, one anchor after the other."""

    def terms(self, coefficients: Tensor) -> tuple[Terms, list[Tensor]]:
        """Sum value and slope anchor by anchor."""
        return partial(_terms, self.surrogate), [self.thresholds, coefficients]

    def sums(self) -> AnchoredSums:
        """Sum anchor by anchor."""
        scores, sides, weights = self.examples
        near, share = scores.clamp(-FURTHEST, FURTHEST), 1 if weights is None else weights
        classes = (sides > 0) * share, (sides < 0) * share
        rows = []
        for threshold in self.thresholds.unbind(1):
            fall = self.surrogate.terms((near - threshold) * sides)[1]
            values = (scores > threshold).to(near.dtype), -fall
            rows.append([(value * of_class).sum(0) for value in values for of_class in classes])
        return AnchoredSums(*(torch.stack(column, 1) for column in zip(*rows, strict=True)))


def _terms(
    surrogate: Surrogate, scores: Tensor, sides: Tensor, thresholds: Tensor, coefficients: Tensor
) -> tuple[Tensor, Tensor]:
    near = scores.clamp(-FURTHEST, FURTHEST)
    value, slope = torch.zeros_like(near), torch.zeros_like(near)
    for threshold, both in zip(thresholds.unbind(1), coefficients.unbind(2), strict=True):
        weights = per_class(sides, both[:, 1], both[:, 0])
        cost, fall = surrogate.terms((near - threshold) * sides)
        value, slope = value + weights * cost, slope + weights * sides * fall
    return value, slope


def polynomial(cell: Tensor, place: Tensor, tables: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
    """Evaluate polynomials, with coefficients in tables from the constant on, and their slopes."""
    value, slope = tables[-1].index_select(0, cell).view(place.shape), None
    for table in reversed(tables[:-1]):
        slope = value if slope is None else torch.addcmul(value, slope, place)
        value = torch.addcmul(table.index_select(0, cell).view(place.shape), value, place)
    assert slope is not None
    return value, slope
