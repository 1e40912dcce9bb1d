"""Compare dual rules on the six objectives, cell by cell: ``python -m benchmarks.points``.

A cell is a table, an objective, a model, an optimiser and a batch size; tables have from half a
percent to 45 % positives. In each, cross entropy and every rule train from the same start with one
learning rate. Two things are measured: what the scores reach at the target on test rows, the best
over thresholds, as a paired difference from cross entropy; and how far the constrained rate at the
tracked threshold lies from its target on training rows.
"""

import argparse
import math
from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any, NamedTuple

import pandas as pd
from torch import Tensor

import gobj
from benchmarks.aims import Aim, points
from benchmarks.comparing import MODELS, for_each
from benchmarks.tables import table, thinned
from gobj.metrics._reading import LOW_IS_GOOD
from gobj.study.measures import estimate, rates_at
from gobj.study.splits import Splits, split
from gobj.study.training import Setting, cross_entropy_loss, score, train
from gobj.surrogates import GeneralizedCrossEntropy


class Blunter(gobj.ImplicitMultiplier):
    """The default rule with a surrogate that has longer tails."""

    surrogate = GeneralizedCrossEntropy(q=0.4, temperature=0.5)


class Sharper(gobj.ImplicitMultiplier):
    """The default rule with a surrogate that is nearer to the step."""

    surrogate = GeneralizedCrossEntropy(q=0.7, temperature=0.5)


RULES: dict[str, gobj.DualRule] = {
    "implicit": gobj.ImplicitMultiplier(),
    "focus": gobj.FocusedCrossEntropy(cross_entropy_share=0.1),
    "focus, scale 1": gobj.FocusedCrossEntropy(scale=1.0, cross_entropy_share=0.1),
    "q 0.4": Blunter(),
    "q 0.7": Sharper(),
}
TABLES = (
    "lending_club@0.005",
    "taxi@0.01",
    "Default",
    "Caravan",
    "digits",
    "stackoverflow",
    "mlc_churn",
    "Arrests",
    "wa_churn",
    "Benefits",
    "OJ",
    "monica",
)
SETTINGS = Setting("Adam", 0.01), Setting("SGD", 0.3)


class Cell(NamedTuple):
    """What a rule made of a cell.

    Attributes:
        table: Name, with the share of positives where they were thinned.
        objective: Name.
        model: Linear or hidden.
        optimizer: Adam or SGD.
        batch: Size.
        positives: In a batch, on average.
        rule: Name.
        plain: What cross entropy reaches on test rows.
        gain: By how much the rule reaches more, the mean over splits.
        error: Standard error of the gain.
        over_default: By how much the rule reaches more than the first rule.
        error_over_default: Its standard error.
        miss: How far the constrained rate on training rows is above the target; relative to the
            target where it has to stay low.
        spread: Standard deviation of that over splits.
    """

    table: str
    objective: str
    model: str
    optimizer: str
    batch: int
    positives: float
    rule: str
    plain: float
    gain: float
    error: float
    over_default: float
    error_over_default: float
    miss: float
    spread: float


def splits_of(name: str, seeds: int) -> Splits:
    """Split a table; after an ``@`` stands the share of positives that is left of it."""
    name, _, share = name.partition("@")
    return thinned(name, seeds, float(share)) if share else split(table(name), seeds)


def miss_of(aim: Aim, splits: Splits, layers: list[Tensor], state: gobj.DualState) -> Tensor:
    """Return how far the tracked rate is from its target on training rows, for each seed."""
    assert aim.goal is not None
    name, target = aim.goal.objective.constrained, aim.goal.target
    rate = rates_at(state.threshold, score(layers, splits.train.features), splits.train)[name]
    return (rate - target) / (target if name in LOW_IS_GOOD else 1)


def cells(
    name: str, rules: Sequence[str], batches: Sequence[int], seeds: int, steps: int
) -> list[Cell]:
    """Return the cells of a table; the first rule is the one that others are compared with."""
    splits = splits_of(name, seeds)
    aims = points(splits)
    return [
        cell
        for model in MODELS
        for setting in SETTINGS
        for batch in batches
        for cell in _cells_of(name, splits, aims, rules, model, setting, batch, steps)
    ]


def _cells_of(
    name: str,
    splits: Splits,
    aims: dict[str, Aim],
    rules: Sequence[str],
    model: str,
    setting: Setting,
    batch: int,
    steps: int,
) -> Iterator[Cell]:
    """Yield the cells that differ in objective and rule alone."""
    seeds = len(splits.train.labels)

    def fit(loss: Any, start: Any) -> tuple[list[Tensor], Any]:
        hidden, options = MODELS[model].hidden, setting._asdict()
        return train(splits.train, loss, start, hidden=hidden, steps=steps, batch=batch, **options)

    plain = score(fit(cross_entropy_loss, None)[0], splits.test.features)
    for objective, aim in aims.items():
        reached = aim.measure(splits.test, plain)
        default = None
        for rule_name in rules:
            rule = RULES[rule_name]
            layers, state = fit(aim.step(rule), aim.start(seeds, rule))
            value = aim.measure(splits.test, score(layers, splits.test.features))
            default = value if default is None else default
            gain, over = estimate(value - reached), estimate(value - default)
            miss = estimate(miss_of(aim, splits, layers, state))
            yield Cell(
                name,
                objective,
                model,
                setting.optimizer,
                batch,
                min(batch, len(splits.train.labels.T)) * splits.train.labels.mean().item(),
                rule_name,
                reached.mean().item(),
                gain.mean,
                gain.error,
                over.mean,
                over.error,
                miss.mean,
                miss.error * seeds**0.5,
            )


def summary(found: pd.DataFrame, by: list[str]) -> pd.DataFrame:
    """Count cells that are better and worse than cross entropy, and than the default rule."""
    found = found.assign(
        won=found.gain > 2 * found.error,
        lost=found.gain < -2 * found.error,
        over=found.over_default > 2 * found.error_over_default,
        under=found.over_default < -2 * found.error_over_default,
        off=found.miss.abs(),
    )
    groups = found.groupby(by, sort=False)
    counted = groups[["won", "lost", "gain", "over", "under", "over_default"]].agg(
        {
            "won": "sum",
            "lost": "sum",
            "gain": "mean",
            "over": "sum",
            "under": "sum",
            "over_default": "mean",
        }
    )
    return counted.assign(
        cells=groups.size(),
        miss=groups["miss"].mean(),
        median_miss=groups["off"].median(),
        large_miss=groups["off"].quantile(0.9),
        spread=groups["spread"].median(),
    )


def main(arguments: list[str] | None = None) -> int:
    """Print summaries: by model, optimiser, objective, table, batch, and positives in a batch."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=8)
    parser.add_argument("--steps", type=int, default=500)
    parser.add_argument("--tables", default=",".join(TABLES), help="names, with commas between")
    parser.add_argument("--rules", default="implicit;focus", help=f"of {'; '.join(RULES)}")
    parser.add_argument("--batches", default="32,128,512,4096", help="sizes")
    parser.add_argument("--jobs", type=int, default=2, help="tables at once")
    parser.add_argument("--out", help="CSV file for every cell")
    parser.add_argument("--read", help="CSV file of an earlier run, in place of a new one")
    options = parser.parse_args(arguments)
    if options.read:
        return report(pd.read_csv(options.read))
    names = options.tables.split(",")
    rules, batches = options.rules.split(";"), tuple(map(int, options.batches.split(",")))
    scale = {"seeds": options.seeds, "steps": options.steps}
    work = partial(cells, rules=rules, batches=batches, **scale)
    found = pd.DataFrame([cell for part in for_each(work, names, options.jobs) for cell in part])
    if options.out:
        found.to_csv(options.out, index=False)
    return report(found)


def report(found: pd.DataFrame) -> int:
    """Print the summaries."""
    edges = [0, 0.5, 1, 2, 4, 8, math.inf]
    found = found.assign(positives_in_batch=pd.cut(found.positives, edges).astype(str))
    for by in (
        ["model"],
        ["model", "optimizer"],
        ["model", "objective"],
        ["objective", "batch"],
        ["table", "model"],
        ["objective", "positives_in_batch"],
    ):
        print(summary(found, [*by, "rule"]).to_string(float_format="{:.4f}".format), "\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
