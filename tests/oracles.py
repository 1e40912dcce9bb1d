"""Counting in plain Python: what the package does with tensors, told again without them."""

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

Cost = Callable[[float], float]


class Counts(NamedTuple):
    """The four cells of a confusion matrix, or a number for each of them."""

    true_positives: float = 0.0
    false_positives: float = 0.0
    false_negatives: float = 0.0
    true_negatives: float = 0.0

    def priced(self, prices: "Counts") -> float:
        """Add up the cells at a price each."""
        return sum(cell * price for cell, price in zip(self, prices, strict=True))


def count(
    scores: Sequence[float],
    labels: Sequence[float],
    weights: Sequence[float] | None = None,
    threshold: float = 0.0,
) -> Counts:
    """Count the confusion matrix of the examples that score above the threshold."""
    cells = {(True, True): 0.0, (False, True): 0.0, (True, False): 0.0, (False, False): 0.0}
    for index, (score, label) in enumerate(zip(scores, labels, strict=True)):
        cells[label > 0, score > threshold] += 1.0 if weights is None else weights[index]
    return Counts(cells[True, True], cells[False, True], cells[True, False], cells[False, False])


def bounded(
    prices: Counts,
    scores: Sequence[float],
    labels: Sequence[float],
    weights: Sequence[float],
    threshold: float,
    cost: Cost,
    prior: float | None = None,
) -> float:
    """Bound the average price: the cheaper cell of a class is free, the dearer costs by surrogate.

    The price of the cheaper cell is paid for the share of the class, or for the prior in its place.
    """
    total = sum(weights)
    positives = sum(w for w, label in zip(weights, labels, strict=True) if label > 0) / total
    share = positives if prior is None else prior
    held, missed = prices.true_positives, prices.false_negatives
    passed, flagged = prices.true_negatives, prices.false_positives
    value = min(held, missed) * share + min(passed, flagged) * (1 - share)
    for score, label, weight in zip(scores, labels, weights, strict=True):
        if label > 0:
            dearer, margin = missed - held, score - threshold
        else:
            dearer, margin = flagged - passed, threshold - score
        value += abs(dearer) * cost(margin if dearer > 0 else -margin) * weight / total
    return value


def bits(margin: float) -> float:
    """Logarithm to base 2 of one plus the exponential of minus the margin."""
    if margin < -700:
        return -margin / math.log(2)
    return math.log1p(math.exp(-margin)) / math.log(2)


def ramp(margin: float) -> float:
    """One minus the margin, where that is positive."""
    return max(0.0, 1.0 - margin)


def squared_ramp(margin: float) -> float:
    """Square of the ramp."""
    return ramp(margin) ** 2


def logistic(score: float) -> float:
    """Probability of a logit."""
    return 1 / (1 + math.exp(-score)) if score > -700 else 0.0


def box_cox(q: float, temperature: float) -> Cost:
    """One minus a power of the probability, scaled to 1 at margin 0."""
    return lambda margin: (1 - logistic(margin / temperature) ** q) / (1 - 0.5**q)


def twice_sigmoid(temperature: float) -> Cost:
    """Twice the probability of being wrong."""
    return lambda margin: 2 * (1 - logistic(margin / temperature))


def indicator(margin: float) -> float:
    """One for an error, and for a score on the threshold itself."""
    return 1.0 if margin <= 0 else 0.0
