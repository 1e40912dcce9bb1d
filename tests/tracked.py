"""The rules that track a threshold told again, one example after the other."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

from tests.oracles import Counts

Example = tuple[float, float, float]  # score, share of a positive, weight


def sigmoid(x: float) -> float:
    """Return the logistic function."""
    return 1 / (1 + math.exp(-x)) if x > -700 else 0.0


def surrogate(margin: float) -> tuple[float, float]:
    """Return the cost of a margin and the size of its slope, at q = .5 and T = .5."""
    scaled = min(max(margin / 0.5, -80), 80)  # beyond, the cost is flat to rounding
    right, wrong = sigmoid(scaled), sigmoid(-scaled)
    height = 1 / (1 - 2**-0.5)
    return height * (1 - right**0.5), height * 0.5 * right**0.5 * wrong / 0.5


@dataclass
class Implicit:
    """Threshold and multiplier of one label, for a cost, a constraint and its constants."""

    cost: Counts
    constraint: Counts
    of_positives: float
    of_negatives: float
    rises: bool
    threshold: float = 0.0
    multiplier: float = 1.0
    steps: int = 0
    averages: list[float] = field(default_factory=lambda: [0.0] * 7)

    def batch(self, examples: Sequence[Example]) -> float:
        """Take in a batch; return the loss at the state that follows."""
        total, cut = sum(w for _, _, w in examples), self.threshold
        sums = [0.0] * 4
        for f, y, w in examples:
            share = w / total
            sums[0] += share * y * surrogate(f - cut)[1]
            sums[1] += share * (1 - y) * surrogate(cut - f)[1]
            sums[2] += share * (y * (1 - sigmoid(f)) + (1 - y) * sigmoid(f))
            sums[3] += share * min(abs(f - cut), 1e4)
        self.move(examples, total, sums)
        return self._loss(examples, total, cut)

    def move(self, examples: Sequence[Example], total: float, sums: list[float]) -> None:
        """Count the events, average them with what was summed, and move both duals."""
        hits = sum(w * y for f, y, w in examples if f > self.threshold) / total
        alarms = sum(w * (1 - y) for f, y, w in examples if f > self.threshold) / total
        positives = sum(w * y for _, y, w in examples) / total
        events = Counts(hits, alarms, positives - hits, 1 - positives - alarms)
        constant = self.of_positives * positives + self.of_negatives * (1 - positives)
        value, called = events.priced(self.constraint) + constant, hits + alarms
        passed, before = (0.0, 1.0) if self.rises else (1.0, 0.0)
        if abs(called - before) < 1e-6:  # nothing is left to win
            value = max(value, 0)
        if abs(called - passed) < 1e-6:  # beyond all scores
            value = min(value, 0.2 * constant)
        violation = value if self.rises else -value
        self._move([*sums, violation, violation**2, -constant], violation)

    def _move(self, seen: list[float], violation: float) -> None:
        self.steps += 1
        rate = max(1 / self.steps, 0.1)
        _, mean, squared, slack = self.averages[3:]  # as they were before this batch
        noise = max(squared, 1e-18)
        damping = max(min(0.04 * slack**2 / noise, 0.06), 0.6 / self.steps, mean**2 / noise)
        self.averages = [a + rate * (b - a) for a, b in zip(self.averages, seen, strict=True)]
        distance, slack = self.averages[3], self.averages[6]
        rise = self._slope(self.constraint.false_negatives, self.constraint.true_negatives)
        fall = self._slope(self.constraint.true_positives, self.constraint.false_positives)
        by_one = max((fall if self.rises else rise) * distance, 0.4 * slack)
        step = damping * violation / min(max(by_one, 1e-12), 1)
        self.threshold += distance * min(max(step, -0.3), 0.3)
        saved = self._slope(self.cost.false_negatives, self.cost.true_negatives)
        saved -= self._slope(self.cost.true_positives, self.cost.false_positives)
        net = fall - rise
        solved = net > 0 if self.rises else net < 0
        self.multiplier = min(max(saved / net, 0), 1e3) if solved else 1e3

    def _slope(self, of_positives: float, of_negatives: float) -> float:
        return of_positives * self.averages[0] + of_negatives * self.averages[1]

    def _loss(self, examples: Sequence[Example], total: float, cut: float) -> float:
        residual = self.averages[2]
        ratios = [residual / (2 * max(slope, 1e-12)) for slope in self.averages[:2]]
        scale = min(1.2 / max(ratios), 1)
        loss = 0.0
        for f, y, w in examples:
            bound = y * ratios[0] * surrogate(f - cut)[0]
            bound += (1 - y) * ratios[1] * surrogate(cut - f)[0]
            entropy = softplus(f) - y * f
            loss += w / total * scale * (0.8 * bound + 0.2 * entropy)
        return loss


class Focused(Implicit):
    """Cross entropy with a focus, at h = 1, T = 2 and a share of .2."""

    def batch(self, examples: Sequence[Example]) -> float:
        """Take in a batch; return the loss at the state that follows."""
        total, cut = sum(w for _, _, w in examples), self.threshold
        sums, everywhere, near = [0.0] * 4, 0.0, 0.0
        for f, y, w in examples:
            share, kernel = w / total, 1 / (1 + (f - cut) ** 2)
            density = share * kernel / math.pi
            size = share * (y * (1 - sigmoid(f / 2)) + (1 - y) * sigmoid(f / 2))
            sums[0] += y * density
            sums[1] += (1 - y) * density
            sums[2] += share * y
            sums[3] += share * min(abs(f - cut), 1e4)
            everywhere += size
            near += size * kernel
        self.move(examples, total, sums)
        positives, loss = self.averages[2], 0.0
        for f, y, w in examples:
            kernel = 1 / (1 + (f - cut) ** 2)
            weight = 0.8 * kernel * everywhere / near + 0.2
            missed = y * (2 * positives) ** -0.5 * softplus(-f / 2)
            alarm = (1 - y) * (2 * (1 - positives)) ** -0.5 * softplus(f / 2)
            loss += w / total * weight * 2 * (missed + alarm)
        return loss


def softplus(x: float) -> float:
    """Return ``log(1 + exp(x))``."""
    return math.log1p(math.exp(-abs(x))) + max(x, 0)
