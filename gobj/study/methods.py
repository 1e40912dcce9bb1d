"""What is compared: linear models and networks with three losses."""

import time
from collections.abc import Sequence
from functools import partial
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor

import gobj
from gobj.study.data import Data
from gobj.study.goals import Goal
from gobj.study.options import Options
from gobj.study.plan import Parts
from gobj.study.progress import Progress
from gobj.study.splits import Part, Scaling, Splits
from gobj.study.training import MODELS, balanced, cross_entropy_loss, score, train

LOSSES = ("BCE", "class-weighted BCE", "objective")
BATCH = 512
POSITIVES = 48  # of the rarest label that a batch holds on average; of fewer, gradients are noise

Family = Literal["linear", "network", "trees"]


class Stage(NamedTuple):
    """Rows ready to learn from.

    Attributes:
        data: The table.
        rows: Numbers of the rows of each part.
        scalings: How the features of each split are scaled.
        parts: The rows held here, scaled.
    """

    data: Data
    rows: Parts
    scalings: list[Scaling]
    parts: Splits


class Work(NamedTuple):
    """What fits a method, and how.

    Attributes:
        stage: The rows.
        goals: One for each label; empty where they are not chosen yet.
        options: Of the job.
        progress: Is told of each step.
    """

    stage: Stage
    goals: Sequence[Goal]
    options: Options
    progress: Progress


class Fitted(NamedTuple):
    """What a method made of each split in one setting.

    Attributes:
        setting: The setting, by name.
        seconds: That it took.
        models: Of each split: the layers of one network, or an estimator for each label.
        validation: Scores of the validation rows, ``[n, S * labels]``.
        test: Scores of the test rows.
        train_loss: Binary cross entropy of the training rows, mean over splits and labels.
    """

    setting: dict[str, Any]
    seconds: float
    models: list[Any]
    validation: Tensor
    test: Tensor
    train_loss: float


class Method(NamedTuple):
    """A row of the table.

    Attributes:
        name: Of the row.
        family: What kind of model it fits.
        is_objective: Whether it is trained for the objective.
        settings: Those that it is fitted in; the best on validation rows is reported.
        fit: Fits every split in one setting.
        cost: How long a setting takes, in steps of a linear model.
    """

    name: str
    family: Family
    is_objective: bool
    settings: tuple[Any, ...]
    fit: Any
    cost: float


def make_stage(data: Data, rows: Parts) -> Stage:
    """Scale the rows of each split by its training rows."""
    scalings = data.scalings(rows.train)
    return Stage(data, rows, scalings, Splits(*(data.part(part, scalings) for part in rows)))


def trained_methods(options: Options) -> list[Method]:
    """Return the rows that are trained by gradients."""
    families: list[tuple[Family, str]] = [("linear", "linear"), ("network", "mlp")]
    return [
        Method(
            f"{loss}, {family}",
            family,
            loss == "objective",
            tuple(setting._asdict() for setting in MODELS[model].settings),
            partial(fit_layers, loss, () if family == "linear" else (options.hidden,)),
            options.steps,
        )
        for family, model in families
        for loss in LOSSES
    ]


def batch_size(data: Data) -> int:
    """Return how many rows a batch has: more than usual where positives are rare."""
    rarest = min(min(label.share, 1 - label.share) for label in data.labels)
    return max(BATCH, int(POSITIVES / rarest))


def fit_layers(loss: str, hidden: tuple[int, ...], work: Work, setting: dict[str, Any]) -> Fitted:
    """Train a network for each split, all side by side."""
    data, parts = work.stage.data, work.stage.parts
    group, outputs = data.ranks.group, len(data.labels)
    part = balanced(parts.train, group) if loss.startswith("class") else parts.train
    state = gobj.init_state((part.features.shape[0] * outputs,))
    own = loss == "objective"
    function = _objective_loss(work) if own else partial(cross_entropy_loss, group=group)
    start = time.perf_counter()
    layers, _ = train(
        part,
        function,
        state,
        hidden=hidden,
        outputs=outputs,
        steps=work.options.steps,
        batch=batch_size(data),
        record=lambda *_: work.progress.advance(),
        group=group,
        **setting,
    )
    seconds = time.perf_counter() - start
    scores = [scores_of(work, layers, part) for part in parts]
    models = [[layer[split] for layer in layers] for split in range(len(layers[0]))]
    train_loss = cross_entropy_of(work, scores[0])
    return Fitted(setting, seconds, models, scores[1], scores[2], train_loss)


def _objective_loss(work: Work) -> Any:
    """Return the loss of the objective, with the target of each label of each split."""
    objective, group = work.goals[0].objective, work.stage.data.ranks.group
    targets = torch.tensor([goal.target for goal in work.goals])
    targets = targets.repeat(len(work.stage.scalings))
    function = getattr(gobj, f"{objective.name}_loss")
    options = {objective.argument: targets, "process_group": group}

    def loss(logits: Tensor, labels: Tensor, weights: Tensor | None, state: gobj.DualState) -> Any:
        return function(logits, labels, state, weights=weights, **options)

    return loss


def scores_of(work: Work, layers: list[Tensor], part: Part) -> Tensor:
    """Return scores ``[n, S * labels]`` of the rows of a part, over all ranks."""
    scores = score(layers, part.features)
    if part.places is None:
        return scores
    outputs = len(work.stage.data.labels)
    places = part.places.T.repeat_interleave(outputs, 1)
    own = scores.gather(0, places.clamp(min=0)) * (places >= 0)
    return work.stage.data.ranks.total(own)


def cross_entropy_of(work: Work, scores: Tensor) -> float:
    """Return the binary cross entropy of the training rows."""
    data, rows = work.stage.data, work.stage.rows.train
    truth = data.side_by_side(data.truth, rows)
    return float(cross_entropy_loss(scores, truth, data.weights_of(rows), None)[0])
