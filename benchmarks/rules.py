"""Compare dual rules on many tables: ``python -m benchmarks.rules``.

Each rule and cross entropy train linear models and one hidden layer of 32 on half of the rows, in
the same settings and with the same stops; each takes what is best on validation rows in the mean
over seeds, and is judged on test rows. A difference from cross entropy is paired over seeds; it
counts as won or lost beyond two standard errors.
"""

import argparse
from collections.abc import Iterator
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor

import gobj
from benchmarks.aims import Aim, areas, points
from benchmarks.comparing import MODELS, fits, for_each, judged, verdict
from benchmarks.tables import MANY, table
from gobj.metrics._reading import OBJECTIVES
from gobj.study.measures import estimate
from gobj.study.splits import split
from gobj.study.training import cross_entropy_loss, score, train

RULES: dict[str, gobj.DualRule] = {
    "implicit": gobj.ImplicitMultiplier(),
    "focus": gobj.FocusedCrossEntropy(),
    "focus, width .5": gobj.FocusedCrossEntropy(width=0.5),
}
AIMS = (*areas(), *(objective.name for objective in OBJECTIVES))


class Pair(NamedTuple):
    """Test values of a rule and of cross entropy, one per seed."""

    table: str
    aim: str
    model: str
    rule: str
    ours: Tensor
    plain: Tensor


def pairs(name: str, wanted: list[str], rules: list[str], seeds: int, steps: int) -> list[Pair]:
    """Compare every rule on a table."""
    splits = split(table(name), seeds)
    aims: dict[str, Aim] = areas() | points(splits)
    found = []
    for model in MODELS:
        plain = fits(splits, model, steps)
        for title in wanted:
            aim = aims[title]
            reached = judged(aim.measure, splits, plain)
            for rule_name in rules:
                rule = RULES[rule_name]
                tried = fits(splits, model, steps, aim.step(rule), aim.start(seeds, rule))
                ours = judged(aim.measure, splits, tried)
                found.append(Pair(name, title, model, rule_name, ours, reached))
    return found


def gap(probabilities: Tensor, labels: Tensor) -> Tensor:
    """Return how far probabilities are from frequencies, in ten groups alike, for each seed."""
    found = []
    for read, truth in zip(probabilities.T, labels, strict=True):
        groups = read.argsort(stable=True).tensor_split(10)
        gaps = [len(rows) * (read[rows].mean() - truth[rows].mean()).abs() for rows in groups]
        found.append(torch.stack(gaps).sum() / len(read))
    return torch.stack(found)


def reliability(names: tuple[str, ...], seeds: int, steps: int) -> Iterator[str]:
    """Yield how well a linear model with a focus reads as probabilities, beside cross entropy."""
    rule = gobj.FocusedCrossEntropy()
    aim = areas()["average_precision"]
    for name in names:
        splits = split(table(name), seeds)
        layers, state = train(
            splits.train, aim.step(rule), aim.start(seeds, rule), steps=steps, lr=0.01
        )
        scores = score(layers, splits.test.features)
        plain, _ = train(splits.train, cross_entropy_loss, None, steps=steps, lr=0.01)
        read = {
            "read": rule.probabilities(scores, state),
            "not read": scores.sigmoid(),
            "cross entropy": score(plain, splits.test.features).sigmoid(),
        }
        gaps = (f"{key} {gap(p, splits.test.labels).mean():.3f}" for key, p in read.items())
        yield f"{name:16} {', '.join(gaps)}"


def main(arguments: list[str] | None = None) -> int:
    """Print a line for each table, and how often each rule won, tied and lost."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--steps", type=int, default=500)
    parser.add_argument("--aims", default="average_precision", help=f"of {', '.join(AIMS)}")
    parser.add_argument("--tables", default=",".join(MANY), help="names, with commas between")
    parser.add_argument("--rules", default="implicit;focus", help=f"of {'; '.join(RULES)}")
    parser.add_argument("--jobs", type=int, default=2, help="tables at once")
    parser.add_argument("--reliability", action="store_true", help="of probabilities, instead")
    options = parser.parse_args(arguments)
    if options.reliability:
        for line in reliability(tuple(options.tables.split(",")), options.seeds, options.steps):
            print(line, flush=True)
        return 0
    chosen = {"wanted": options.aims.split(","), "rules": options.rules.split(";")}
    scale = {**chosen, "seeds": options.seeds, "steps": options.steps}
    found: dict[tuple[str, ...], list[tuple[Tensor, Tensor]]] = {}
    for part in for_each(partial(pairs, **scale), options.tables.split(","), options.jobs):
        for pair in part:
            found.setdefault(pair[1:4], []).append((pair.ours, pair.plain))
            gain = estimate(pair.ours - pair.plain)
            words = f"{pair.plain.mean():.3f} {gain.mean:+.4f}+-{gain.error:.4f}"
            print("{:16} {:20} {:7} {:9}".format(*pair[:4]), words, flush=True)
    for key, both in found.items():
        print("{:20} {:7} {:9}".format(*key), verdict(both))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
