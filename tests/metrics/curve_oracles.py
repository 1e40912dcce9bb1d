"""Plain counting: every pair, every threshold, exact fractions."""

import itertools
import json
import math
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any, NamedTuple

Row = tuple[float, int, float]
REFERENCE = json.loads((Path(__file__).parents[1] / "data" / "reference_cases.json").read_text())


def reference_cases(family: str) -> dict[str, Any]:
    cases = REFERENCE if isinstance(REFERENCE, list) else REFERENCE["cases"]
    return {case["id"]: case for case in cases if case["family"] == family}


def ratio(part: float | Fraction, whole: float | Fraction) -> Fraction:
    return Fraction(part) / Fraction(whole) if whole else Fraction(0)


class Counts(NamedTuple):
    hits: float
    alarms: float
    positives: float
    negatives: float

    def recall(self) -> Fraction:
        return ratio(self.hits, self.positives)

    def precision(self) -> Fraction:
        return ratio(self.hits, self.hits + self.alarms)

    def fpr(self) -> Fraction:
        return ratio(self.alarms, self.negatives)

    def specificity(self) -> Fraction:
        return ratio(self.negatives - self.alarms, self.negatives)

    def npv(self) -> Fraction:
        rejected = self.negatives - self.alarms
        return ratio(rejected, rejected + self.positives - self.hits)

    def flagged(self) -> Fraction:
        return ratio(self.hits + self.alarms, self.positives + self.negatives)


def counts(rows: list[Row], threshold: float) -> Counts:
    return Counts(
        sum(w for s, y, w in rows if y and s > threshold),
        sum(w for s, y, w in rows if not y and s > threshold),
        sum(w for _, y, w in rows if y),
        sum(w for _, y, w in rows if not y),
    )


def pairwise_auc(rows: list[Row]) -> Fraction:
    won = total = Fraction(0)
    for (s, y, w), (t, z, v) in itertools.product(rows, rows):
        if y and not z:
            total += Fraction(w) * Fraction(v)
            won += Fraction(w) * Fraction(v) * Fraction((s > t) + (s >= t), 2)
    return won / total if total else Fraction(1, 2)


def partial_area(rows: list[Row], max_fpr: float) -> Fraction:
    limit, area = Fraction(max_fpr), Fraction(0)
    points = [counts(rows, threshold) for threshold in thresholds(rows)]
    for one, two in itertools.pairwise((p.fpr(), p.recall()) for p in points):
        (left, low), (right, high) = one, two
        if left < right and left < limit:
            end = min(right, limit)
            top = low + (high - low) * (end - left) / (right - left)
            area += (end - left) * (low + top) / 2
    return area


def thresholds(rows: list[Row]) -> list[float]:
    scores = sorted({s for s, _, w in rows if w}, reverse=True)
    return [math.inf, *scores[1:], -math.inf] if scores else [math.inf]


class Objective(NamedTuple):
    argument: str
    value: Callable[[Counts], Fraction]
    meets: Callable[[Counts, Fraction], bool]
    fallback: float
    better: Callable[[list[Fraction]], Fraction] = max


OBJECTIVES = {
    "recall_at_precision": Objective(
        "target_precision", Counts.recall, lambda c, t: c.precision() >= t, math.inf
    ),
    "precision_at_recall": Objective(
        "target_recall", Counts.precision, lambda c, t: c.recall() >= t, -math.inf
    ),
    "tpr_at_fpr": Objective("target_fpr", Counts.recall, lambda c, t: c.fpr() <= t, math.inf),
    "fpr_at_tpr": Objective(
        "target_tpr", Counts.fpr, lambda c, t: c.recall() >= t, -math.inf, better=min
    ),
    "specificity_at_npv": Objective(
        "target_npv", Counts.specificity, lambda c, t: c.npv() >= t, -math.inf
    ),
    "recall_at_budget": Objective("budget", Counts.recall, lambda c, t: c.flagged() <= t, math.inf),
}


def best_value(rows: list[Row], name: str, target: float) -> Fraction:
    """Try every threshold; where none meets the target, count at the objective's own fallback."""
    _, value, meets, fallback, better = OBJECTIVES[name]
    tried = [counts(rows, threshold) for threshold in thresholds(rows)]
    met = [value(count) for count in tried if meets(count, Fraction(target))]
    return better(met) if met else value(counts(rows, fallback))
