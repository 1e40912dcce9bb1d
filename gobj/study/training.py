"""Models trained side by side: model ``s`` learns from split ``s`` as label ``s`` of the loss."""

import math
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Literal, NamedTuple, TypeVar

import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits

from gobj.study.splits import Part

State = TypeVar("State")
Loss = Callable[[Tensor, Tensor, Tensor | None, State], tuple[Tensor, State]]
OPTIMIZERS = {"Adam": torch.optim.Adam, "SGD": torch.optim.SGD}


class Setting(NamedTuple):
    """An optimiser, its first learning rate and its weight decay."""

    optimizer: Literal["Adam", "SGD"]
    lr: float
    decay: float = 0.0


class Model(NamedTuple):
    """Widths of hidden layers, and the settings that every method tries."""

    hidden: tuple[int, ...]
    settings: tuple[Setting, ...]


MODELS = {
    "linear": Model((), (Setting("Adam", 0.01), Setting("Adam", 0.05), Setting("SGD", 0.3))),
    "mlp": Model((32,), (Setting("Adam", 0.002), Setting("Adam", 0.005), Setting("SGD", 0.3))),
}


def init_layers(models: int, widths: Sequence[int], seed: int = 0) -> list[Tensor]:
    """Draw weights ``[models, inputs, outputs]`` and biases ``[models, 1, outputs]`` in turn."""
    generator = torch.Generator().manual_seed(seed)
    layers = []
    for inputs, outputs in pairwise(widths):
        for rows in (inputs, 1):
            unit = torch.rand(models, rows, outputs, generator=generator) * 2 - 1
            layers.append((unit / math.sqrt(inputs)).requires_grad_())
    return layers


def score(layers: list[Tensor], features: Tensor) -> Tensor:
    """Return logits ``[n, models]`` of features ``[models, n, columns]``, with ReLU between."""
    for index in range(0, len(layers), 2):
        hidden = features.relu() if index else features
        features = torch.baddbmm(layers[index + 1], hidden, layers[index])
    return features.squeeze(2).T


def train(
    part: Part,
    loss: Loss[State],
    state: State,
    *,
    hidden: Sequence[int] = (),
    steps: int = 500,
    batch: int = 512,
    optimizer: Literal["Adam", "SGD"] = "Adam",
    lr: float = 0.05,
    decay: float = 0.0,
    seed: int = 0,
    record: Callable[[list[Tensor], State], None] | None = None,
) -> tuple[list[Tensor], State]:
    """Train one model per split, all in one step, with a learning rate that falls as a cosine.

    Args:
        part: Training rows of ``S`` splits.
        loss: Called with logits, labels and weights ``[n, S]`` (or None) and the state; returns the
            mean over the ``S`` labels, and the next state.
        state: The loss's state before the first batch.
        hidden: Widths of hidden layers; none for linear models.
        steps: Number of batches.
        batch: Rows of a batch, drawn with replacement; all rows where there are fewer.
        optimizer: ``"Adam"`` or ``"SGD"``.
        lr: Learning rate of the first step.
        decay: Weight decay of the optimiser, as torch's Adam and SGD take it.
        seed: Of weights and batches.
        record: Called after each step with the layers, which change with the next, and the state.

    Returns:
        The layers, as :func:`score` takes them, and the last state.
    """
    models, rows, columns = part.features.shape
    layers = init_layers(models, (columns, *hidden, 1), seed)
    descent = OPTIMIZERS[optimizer](layers, lr=lr, weight_decay=decay)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(descent, steps)
    generator = torch.Generator().manual_seed(seed)
    for _ in range(steps):
        drawn = part if batch >= rows else _draw(part, batch, generator)
        weights = None if drawn.weights is None else drawn.weights.T
        value, state = loss(score(layers, drawn.features), drawn.labels.T, weights, state)
        descent.zero_grad()
        (value * models).backward()  # type: ignore[no-untyped-call]  # the sum over models, so that each has a gradient of its own
        descent.step()
        schedule.step()
        if record is not None:
            record(layers, state)
    return [layer.detach() for layer in layers], state


def _draw(part: Part, batch: int, generator: torch.Generator) -> Part:
    """Draw the same places of every split."""
    rows = torch.randint(part.labels.shape[1], (batch,), generator=generator)
    weights = None if part.weights is None else part.weights.index_select(1, rows)
    features = part.features.index_select(1, rows)
    return Part(features, part.labels.index_select(1, rows), weights)


def cross_entropy_loss(
    logits: Tensor, labels: Tensor, weights: Tensor | None, state: State
) -> tuple[Tensor, State]:
    """Return binary cross entropy, weighted averages over the rows averaged over labels."""
    if weights is None:
        return binary_cross_entropy_with_logits(logits, labels), state
    relative = weights / weights.mean(0)
    return binary_cross_entropy_with_logits(logits, labels, weight=relative), state


def balanced(part: Part) -> Part:
    """Weigh the rows of a part so that both classes have half of the weight."""
    weights = torch.ones_like(part.labels) if part.weights is None else part.weights
    total = weights.sum(1, keepdim=True)
    positives = (weights * part.labels).sum(1, keepdim=True)
    share = torch.where(part.labels > 0, positives, total - positives)
    return part._replace(weights=weights * total / (2 * share))
