"""BCE, class-weighted BCE and the objective, each with the best of the same optimisers."""

import time
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

import gobj
from gobj.metrics._curve import Curve
from gobj.study.goals import Goal
from gobj.study.measures import draw_curve, rates_at
from gobj.study.splits import Splits
from gobj.study.training import Model, Setting, balanced, cross_entropy_loss, score, train

METHODS = ("BCE", "class-weighted BCE", "objective")


class Trained(NamedTuple):
    """Models that one method trained, one per seed.

    Attributes:
        method: One of :data:`METHODS`.
        setting: The optimiser.
        seconds: Of training, all seeds together.
        layers: As :func:`score` takes them.
        threshold: The objective's own, ``[S]``; None for BCE, which has none.
        duals: The objective's multiplier and threshold after each step, ``[steps, S]`` each.
    """

    method: str
    setting: Setting
    seconds: float
    layers: list[Tensor]
    threshold: Tensor | None
    duals: tuple[Tensor, Tensor] | None


class Outcome(NamedTuple):
    """What trained models are worth; tensors hold one value per seed.

    Attributes:
        models: The models.
        validation: Value at the target on the validation rows, best over thresholds.
        value: The same on the test rows.
        train_reach: How far the constrained rate goes on the training rows.
        test_reach: The same, test rows.
        threshold: The objective's own, or for BCE the best that meets the target on the training
            rows.
        train: Rates at that threshold by name, training rows.
        test: The same, test rows.
        test_at_zero: Rates at logit 0, which is probability one half to BCE, test rows.
        curve: Of the test rows.
    """

    models: Trained
    validation: Tensor
    value: Tensor
    train_reach: Tensor
    test_reach: Tensor
    threshold: Tensor
    train: dict[str, Tensor]
    test: dict[str, Tensor]
    test_at_zero: dict[str, Tensor]
    curve: Curve


def compare(
    goal: Goal, splits: Splits, model: Model, steps: int, progress: Callable[[], object]
) -> list[Outcome]:
    """Return one outcome per method, of the setting that is best on the validation rows."""
    # A process's first optimiser loads modules for seconds, which are no method's.
    train(splits.validation, cross_entropy_loss, None, steps=1)
    return [
        max(
            (
                _measure(
                    goal, splits, _train(goal, splits, method, model, setting, steps, progress)
                )
                for setting in model.settings
            ),
            key=lambda outcome: goal.sign * outcome.validation.mean().item(),
        )
        for method in METHODS
    ]


def _train(
    goal: Goal,
    splits: Splits,
    method: str,
    model: Model,
    setting: Setting,
    steps: int,
    progress: Callable[[], object],
) -> Trained:
    """Train one method with one setting, all seeds side by side; call progress after each step."""
    part = balanced(splits.train) if method == "class-weighted BCE" else splits.train
    own = method == "objective"
    duals: list[tuple[Tensor, Tensor]] = []

    def record(_: list[Tensor], state: gobj.DualState) -> None:
        duals.append((state.multiplier, state.threshold))
        progress()

    state = gobj.init_state((len(part.labels),))
    options = {"hidden": model.hidden, "steps": steps, "record": record, **setting._asdict()}
    start = time.perf_counter()
    layers, state = train(part, goal.loss if own else cross_entropy_loss, state, **options)
    seconds = time.perf_counter() - start
    if not own:
        return Trained(method, setting, seconds, layers, None, None)
    multipliers, thresholds = (torch.stack(values) for values in zip(*duals, strict=True))
    return Trained(method, setting, seconds, layers, state.threshold, (multipliers, thresholds))


def _measure(goal: Goal, splits: Splits, models: Trained) -> Outcome:
    """Measure models on every part."""
    logits = [score(models.layers, part.features) for part in splits]
    known, held_out, curve = (
        draw_curve(scores, part) for scores, part in zip(logits, splits, strict=True)
    )
    threshold = goal.best(known)[1] if models.threshold is None else models.threshold
    return Outcome(
        models,
        validation=goal.best(held_out)[0],
        value=goal.best(curve)[0],
        train_reach=goal.reach(known),
        test_reach=goal.reach(curve),
        threshold=threshold,
        train=rates_at(threshold, logits[0], splits.train),
        test=rates_at(threshold, logits[2], splits.test),
        test_at_zero=rates_at(torch.zeros_like(threshold), logits[2], splits.test),
        curve=curve,
    )
