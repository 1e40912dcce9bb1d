"""Compare dual rules on many tables: ``python -m benchmarks.rules``.

Each rule and cross entropy train linear models and one hidden layer of 32 on half of the rows, in
three optimiser settings; each takes the setting that is best on validation rows in the mean over
seeds, and is judged on test rows. A difference from cross entropy is paired over seeds; it counts
as won or lost beyond two standard errors.
"""

import argparse
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor

import gobj
from benchmarks.areas import average_precision, roc_area
from benchmarks.comparing import HIDDEN, LINEAR
from benchmarks.tables import MANY, table
from gobj.study.goals import make_goal
from gobj.study.measures import draw_curve, estimate
from gobj.study.splits import Part, Splits, split
from gobj.study.training import Setting, cross_entropy_loss, score, train

RULES: dict[str, gobj.DualRule] = {
    "implicit": gobj.ImplicitMultiplier(),
    "focus": gobj.FocusedCrossEntropy(),
}
Measure = Callable[[Part, Tensor], Tensor]


class Aim(NamedTuple):
    """A loss with a state, and what it is for, higher being better."""

    loss: Callable[..., Any]
    measure: Measure
    anchors: int | None


def of_area(metric: Callable[..., float], part: Part, scores: Tensor) -> Tensor:
    """Return an area for each seed."""
    pairs = zip(part.labels.numpy(), scores.T.numpy(), strict=True)
    return torch.tensor([metric(labels, row) for labels, row in pairs])


def of_point(objective: str, target: float, part: Part, scores: Tensor) -> Tensor:
    """Return what an objective reaches at its target, for each seed."""
    goal = make_goal(objective, target)
    return goal.sign * goal.best(draw_curve(scores, part))[0]


def aims() -> dict[str, Aim]:
    """Return what is compared, by name."""
    found = {
        "average_precision": Aim(
            gobj.average_precision_loss, partial(of_area, average_precision), 8
        ),
        "roc_auc": Aim(gobj.roc_auc_loss, partial(of_area, roc_area), 8),
    }
    for most in (0.05, 0.1):
        loss = partial(gobj.roc_auc_loss, fpr_range=(0.0, most))
        metric = partial(of_area, partial(roc_area, most=most))
        found[f"roc_auc_to_{most}"] = Aim(loss, metric, 8)
    for objective, argument, target in (
        ("recall_at_precision", "target_precision", 0.7),
        ("precision_at_recall", "target_recall", 0.8),
        ("tpr_at_fpr", "target_fpr", 0.05),
    ):
        loss = partial(vars(gobj)[f"{objective}_loss"], **{argument: target})
        found[objective] = Aim(loss, partial(of_point, objective, target), None)
    return found


def scores_of(
    splits: Splits, settings: tuple[Setting, ...], steps: int, loss: Any, state: Any
) -> list[tuple[Tensor, Tensor]]:
    """Train in each setting; return the scores of validation and test rows."""
    found = []
    for optimizer, lr in settings:
        hidden = (32,) if settings is HIDDEN else ()
        layers, _ = train(
            splits.train, loss, state, hidden=hidden, steps=steps, optimizer=optimizer, lr=lr
        )
        parts = splits.validation, splits.test
        found.append((score(layers, parts[0].features), score(layers, parts[1].features)))
    return found


def chosen(measure: Measure, splits: Splits, scores: list[tuple[Tensor, Tensor]]) -> Tensor:
    """Return the test values of the setting that is best on validation rows."""
    values = [(measure(splits.validation, a), measure(splits.test, b)) for a, b in scores]
    return max(values, key=lambda pair: pair[0].double().mean().item())[1].double()


def differences(
    name: str, wanted: dict[str, Aim], seeds: int, steps: int
) -> Iterator[tuple[str, str, str, Tensor, Tensor]]:
    """Yield aim, model, rule, and test values of cross entropy and of the rule, per seed."""
    splits = split(table(name), seeds)
    for model, settings in (("linear", LINEAR), ("hidden", HIDDEN)):
        plain = scores_of(splits, settings, steps, cross_entropy_loss, None)
        for title, aim in wanted.items():
            for rule_name, rule in RULES.items():

                def step(
                    logits: Tensor,
                    labels: Tensor,
                    weights: Tensor | None,
                    state: Any,
                    aim: Aim = aim,
                    rule: gobj.DualRule = rule,
                ) -> Any:
                    return aim.loss(logits, labels, state, weights=weights, rule=rule)

                start: Any = gobj.init_state((seeds,), anchors=aim.anchors, rule=rule)
                ours = scores_of(splits, settings, steps, step, start)
                yield (
                    title,
                    model,
                    rule_name,
                    chosen(aim.measure, splits, plain),
                    chosen(aim.measure, splits, ours),
                )


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
    loss = aims()["average_precision"].loss

    def step(logits: Tensor, labels: Tensor, weights: Tensor | None, state: Any) -> Any:
        return loss(logits, labels, state, weights=weights, rule=rule)

    for name in names:
        splits = split(table(name), seeds)
        start: Any = gobj.init_state((seeds,), anchors=8, rule=rule)
        layers, state = train(splits.train, step, start, steps=steps, lr=0.01)
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
    parser.add_argument("--aims", default="average_precision", help="names, with commas between")
    parser.add_argument("--tables", default=",".join(MANY), help="names, with commas between")
    parser.add_argument("--reliability", action="store_true", help="of probabilities, instead")
    options = parser.parse_args(arguments)
    if options.reliability:
        for line in reliability(tuple(options.tables.split(",")), options.seeds, options.steps):
            print(line, flush=True)
        return 0
    wanted = {name: aims()[name] for name in options.aims.split(",")}
    gains: dict[tuple[str, str, str], list[Any]] = {}
    for name in options.tables.split(","):
        for *key, plain, ours in differences(name, wanted, options.seeds, options.steps):
            gain = estimate(ours - plain)
            gains.setdefault((key[0], key[1], key[2]), []).append(gain)
            words = f"{plain.mean():.3f} {gain.mean:+.4f}+-{gain.error:.4f}"
            print(f"{name:16} {key[0]:20} {key[1]:7} {key[2]:9} {words}", flush=True)
    for (title, model, rule_name), found in gains.items():
        won = sum(gain.mean > 2 * gain.error for gain in found)
        lost = sum(gain.mean < -2 * gain.error for gain in found)
        mean = sum(gain.mean for gain in found) / len(found)
        verdict = f"won {won}, level {len(found) - won - lost}, lost {lost}, mean {mean:+.4f}"
        print(f"{title:20} {model:7} {rule_name:9} {verdict}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
