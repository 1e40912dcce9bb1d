"""Models trained side by side: model ``s`` learns from split ``s``, its labels are some of many."""

import math
from collections.abc import Callable, Sequence
from functools import partial
from itertools import pairwise
from typing import Literal, NamedTuple, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits
from torch.nn.parallel import DistributedDataParallel

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
    """Return logits of features ``[models, n, columns]``, with ReLU between layers.

    They are ``[n, models * outputs]``, the outputs of a model beside each other.
    """
    for index in range(0, len(layers), 2):
        hidden = features.relu() if index else features
        features = torch.baddbmm(layers[index + 1], hidden, layers[index])
    return features.movedim(0, 1).flatten(1)


def train(
    part: Part,
    loss: Loss[State],
    state: State,
    *,
    hidden: Sequence[int] = (),
    outputs: int = 1,
    steps: int = 500,
    batch: int = 512,
    optimizer: Literal["Adam", "SGD"] = "Adam",
    lr: float = 0.05,
    decay: float = 0.0,
    seed: int = 0,
    record: Callable[[list[Tensor], State], None] | None = None,
    group: dist.ProcessGroup | None = None,
) -> tuple[list[Tensor], State]:
    """Train one model per split, all in one step, with a learning rate that falls as a cosine.

    Args:
        part: Training rows of ``S`` splits.
        loss: Called with logits, labels and weights ``[n, S * outputs]`` (or None) and the state;
            returns the mean over those labels, and the next state.
        state: The loss's state before the first batch.
        hidden: Widths of hidden layers; none for linear models.
        outputs: Labels of a model.
        steps: Number of batches.
        batch: Rows of a batch, drawn with replacement; all rows where there are fewer.
        optimizer: ``"Adam"`` or ``"SGD"``.
        lr: Learning rate of the first step.
        decay: Weight decay of the optimiser, as torch's Adam and SGD take it.
        seed: Of weights and batches.
        record: Called after each step with the layers, which change with the next, and the state.
        group: Ranks that share the rows of ``part``; each draws the same batches and keeps its own
            rows of them. The loss has to know of them too.

    Returns:
        The layers, as :func:`score` takes them, and the last state.
    """
    models, rows, columns = part.features.shape
    rows = rows if part.places is None else part.places.shape[1]
    layers = init_layers(models, (columns, *hidden, outputs), seed)
    network = _network(layers, group)
    descent = OPTIMIZERS[optimizer](layers, lr=lr, weight_decay=decay)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(descent, steps)
    generator = torch.Generator().manual_seed(seed)
    for _ in range(steps):
        drawn = part if batch >= rows else _draw(part, batch, generator)
        weights = None if drawn.weights is None else side_by_side(drawn.weights)
        value, state = loss(network(drawn.features), side_by_side(drawn.labels), weights, state)
        descent.zero_grad()
        (value * models).backward()  # type: ignore[no-untyped-call]  # the sum over models, so that each has a gradient of its own
        descent.step()
        schedule.step()
        if record is not None:
            record(layers, state)
    return [layer.detach() for layer in layers], state


class _Network(torch.nn.Module):
    """Layers as a module, which is what DistributedDataParallel takes."""

    def __init__(self, layers: list[Tensor]) -> None:
        super().__init__()
        self.layers = torch.nn.ParameterList(layers)

    def forward(self, features: Tensor) -> Tensor:
        """Return logits."""
        return score(list(self.layers), features)


def _network(layers: list[Tensor], group: dist.ProcessGroup | None) -> Callable[[Tensor], Tensor]:
    """Return the function of the layers; over ranks, gradients become their mean."""
    if group is None:
        return partial(score, layers)
    layers[:] = map(torch.nn.Parameter, layers)
    return DistributedDataParallel(_Network(layers), process_group=group)


def side_by_side(values: Tensor) -> Tensor:
    """Turn ``[S, n]`` or ``[S, n, L]`` into ``[n, S * L]``."""
    return values.movedim(0, 1).flatten(1)


def _draw(part: Part, batch: int, generator: torch.Generator) -> Part:
    """Draw the same places of every split, and keep what is held here."""
    if part.places is None:
        rows = torch.randint(part.labels.shape[1], (batch,), generator=generator)
        weights = None if part.weights is None else part.weights.index_select(1, rows)
        features = part.features.index_select(1, rows)
        return Part(features, part.labels.index_select(1, rows), weights)
    rows = torch.randint(part.places.shape[1], (batch,), generator=generator)
    places = part.places.index_select(1, rows)
    held = (places >= 0).sum(1)
    # Those held here come first; a split that holds fewer than another has rows of weight 0.
    places = places.sort(1, descending=True).values[:, : max(int(held.max()), 1)]
    split = torch.arange(len(places)).unsqueeze(1)
    chosen = places.clamp(min=0)
    labels = part.labels[split, chosen]
    weights = torch.ones_like(labels) if part.weights is None else part.weights[split, chosen]
    some = (places >= 0).view(*places.shape, *[1] * (labels.dim() - 2))
    return Part(part.features[split, chosen], labels, weights * some)


def cross_entropy_loss(
    logits: Tensor,
    labels: Tensor,
    weights: Tensor | None,
    state: State,
    group: dist.ProcessGroup | None = None,
) -> tuple[Tensor, State]:
    """Return binary cross entropy, weighted averages over the rows averaged over labels."""
    if weights is None and group is None:
        return binary_cross_entropy_with_logits(logits, labels), state
    weights = torch.ones_like(labels) if weights is None else weights
    if group is None:
        relative = weights / weights.mean(0)
        return binary_cross_entropy_with_logits(logits, labels, weight=relative), state
    total = weights.sum(0)
    dist.all_reduce(total, group=group)
    # The mean over ranks, which DistributedDataParallel takes of gradients, has to be the sum.
    share = weights / total * dist.get_world_size(group)
    loss = binary_cross_entropy_with_logits(logits, labels, weight=share, reduction="sum")
    return loss / labels.shape[1], state


def balanced(part: Part, group: dist.ProcessGroup | None = None) -> Part:
    """Weigh the rows of a part so that both classes have half of the weight."""
    weights = torch.ones_like(part.labels) if part.weights is None else part.weights
    sums = torch.stack([weights.sum(1, keepdim=True), (weights * part.labels).sum(1, keepdim=True)])
    if group is not None:
        dist.all_reduce(sums, group=group)
    total, positives = sums
    share = torch.where(part.labels > 0, positives, total - positives)
    return part._replace(weights=weights * total / (2 * share.clamp(min=1e-30)))
