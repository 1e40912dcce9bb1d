"""How the losses are compared: rows of a table, and cross entropy in its best setting."""

from typing import NamedTuple

from torch import Tensor

from gobj.study.measures import estimate
from gobj.study.splits import Splits
from gobj.study.training import (
    Loss,
    Setting,
    State,
    cross_entropy_loss,
    score,
    train,
)

LINEAR = (Setting("Adam", 0.05), Setting("Adam", 0.01), Setting("SGD", 0.3))
HIDDEN = (Setting("Adam", 0.005), Setting("Adam", 0.01), Setting("SGD", 0.3))


class Line(NamedTuple):
    """What was measured for a row of the table, and whether its bound holds."""

    row: str
    what: str
    measured: str
    bound: str
    holds: bool


class Scale(NamedTuple):
    """How large the runs are."""

    seeds: int = 20
    steps: int = 500


def scores_of(
    loss: Loss[State], state: State, splits: Splits, scale: Scale, *, hidden: bool
) -> list[Tensor]:
    """Train on a loss in each of the settings that cross entropy has; return the test logits."""
    logits = []
    for optimizer, lr in HIDDEN if hidden else LINEAR:
        layers, _ = train(
            splits.train,
            loss,
            state,
            hidden=(32,) if hidden else (),
            steps=scale.steps,
            optimizer=optimizer,
            lr=lr,
        )
        logits.append(score(layers, splits.test.features))
    return logits


def cross_entropy_scores(splits: Splits, scale: Scale, *, hidden: bool = False) -> list[Tensor]:
    """Train on cross entropy in each of its settings; return the test logits."""
    return scores_of(cross_entropy_loss, None, splits, scale, hidden=hidden)


def compared(ours: Tensor, baseline: Tensor) -> tuple[str, float, float]:
    """Describe two test values per seed; return the words, the mean gain and its error."""
    gain = estimate(ours - baseline)
    words = f"{baseline.mean():.3f} to {ours.mean():.3f}, {gain.mean:+.3f}+-{gain.error:.3f}"
    return words, gain.mean, gain.error
