"""What Hypothesis draws: batches of scores, labels and weights, and the numbers beside them."""

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
from hypothesis import strategies as st
from hypothesis.strategies import DrawFn, SearchStrategy
from torch import Tensor

from tests.cases import Case

CLASSES = 3


class Batch(NamedTuple):
    """Scores, labels and weights of the shape that a loss takes, in float64."""

    logits: Tensor
    labels: Tensor
    weights: Tensor


def numbers(low: float, high: float) -> SearchStrategy[float]:
    """Draw ordinary numbers of a range."""
    return st.floats(low, high, allow_subnormal=False)


thresholds = numbers(-3, 3)
multipliers = numbers(0, 5)
targets = numbers(0.02, 0.98)
label_shapes = st.sampled_from([(), (3,), (2, 2)])


def tensors(shape: tuple[int, ...], value: Callable[[int], float]) -> SearchStrategy[Tensor]:
    """Draw a float64 tensor, where each element is a function of a byte."""
    size = math.prod(shape)
    drawn = st.binary(min_size=size, max_size=size)
    table = torch.tensor([value(byte) for byte in range(256)], dtype=torch.float64)
    return drawn.map(lambda bytes_: table[list(bytes_)].reshape(shape))


def score(byte: int) -> float:
    """Spread the bytes over [-8.5, 8.5], 0 and ties among them."""
    return (byte if byte < 128 else 128 - byte) / 15


def label(byte: int) -> float:
    """Take the last bit."""
    return float(byte % 2)


def positive_weight(byte: int) -> float:
    """Spread the bytes over (0, 4.3], in numbers that do not add up without rounding."""
    return (byte + 1) / 60


def some_weight(byte: int) -> float:
    """Give weight 0 to a quarter."""
    return 0.0 if byte % 4 == 0 else byte / 60


def repetition(byte: int) -> float:
    """Take a whole number from 0 to 3."""
    return float(byte % 4)


@st.composite
def batches(
    draw: DrawFn,
    case: Case | None = None,
    *,
    labels: SearchStrategy[tuple[int, ...]] | tuple[int, ...] = label_shapes,
    weights: Callable[[int], float] = positive_weight,
    at_least: int = 2,
) -> Batch:
    """Draw a batch of the inputs of a loss; a weight per example if they are not binary."""
    n = draw(st.integers(at_least, 7))
    if case is not None and case.spec.inputs != "binary":
        classes = draw(tensors((n,), lambda byte: float(byte % CLASSES))).long()
        return Batch(draw(tensors((n, CLASSES), score)), classes, draw(tensors((n,), weights)))
    shape = (n, *(labels if isinstance(labels, tuple) else draw(labels)))
    return Batch(
        draw(tensors(shape, score)), draw(tensors(shape, label)), draw(tensors(shape, weights))
    )
