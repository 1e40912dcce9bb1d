"""What certified thresholds hold and cost: ``python -m benchmarks.certificates``.

- ``simulation``: classes of known distribution; how often a certified constraint is broken there,
  and the recall that is left of that of the best threshold.
- ``controllers``: the scores of boosted trees on many tables, beside the controllers of ``mapie``
  on the same validation rows: how often test rows meet the target, what the objective is, and the
  time of one certificate. A controller without a valid threshold calls nobody, or everybody.
- ``pictures``: those of ``docs/thresholds.md``, into a folder.
"""

import argparse
import math
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from matplotlib.figure import Figure
from sklearn.ensemble import HistGradientBoostingClassifier  # type: ignore[import-untyped]
from torch import Tensor

import gobj
from benchmarks.comparing import for_each
from benchmarks.tables import MANY, table
from gobj import plot
from gobj.metrics import curve_init, curve_points, curve_update
from gobj.study.splits import Splits, split

NORMAL: Any = torch.distributions.Normal(0.0, 1.0)
CONFIDENCE = 0.95
METHODS = ("gobj", "mapie", "mapie, quantiles")


class Aim(NamedTuple):
    """An objective: its problem, the rate that has a target, and the one to be large."""

    builder: Callable[[float], gobj.Problem]
    rate: str
    at_least: bool
    objective: str
    target: Callable[[float], float]


AIMS = {
    "recall at precision": Aim(
        gobj.recall_at_precision, "precision", True, "recall", lambda prior: (1 + prior) / 2
    ),
    "precision at recall": Aim(
        gobj.precision_at_recall, "recall", True, "specificity", lambda _: 0.8
    ),
    "TPR at FPR": Aim(gobj.tpr_at_fpr, "fpr", False, "recall", lambda _: 0.1),
    "specificity at NPV": Aim(
        gobj.specificity_at_npv, "npv", True, "specificity", lambda prior: 1 - prior / 2
    ),
    "recall at budget": Aim(gobj.recall_at_budget, "flagged", False, "recall", lambda _: 0.2),
}
RISKS = {  # of mapie, by the rate
    "precision": "precision",
    "recall": "recall",
    "fpr": "false_positive_rate",
    "npv": "negative_predictive_value",
    "flagged": "predicted_positive_fraction",
}


class Outcome(NamedTuple):
    """One method on one table: over seeds and aims."""

    met: float
    objective: float
    feasible: float
    seconds: float


def rates(prior: Tensor | float, recall: Tensor, fpr: Tensor) -> dict[str, Tensor]:
    """Return every rate, given those of both classes; of nothing the constraint is met."""
    flagged = prior * recall + (1 - prior) * fpr
    return {
        "recall": recall,
        "fpr": fpr,
        "specificity": 1 - fpr,
        "precision": torch.where(flagged > 0, prior * recall / flagged, 1.0),
        "npv": torch.where(flagged < 1, (1 - prior) * (1 - fpr) / (1 - flagged), 1.0),
        "flagged": flagged,
    }


def of_distribution(
    threshold: Tensor, prior: float, digits: int | None, distance: float
) -> dict[str, Tensor]:
    """Return the rates of two normal classes, whose scores are rounded to digits, or not."""
    if digits is not None:
        threshold = (threshold * 10**digits).round() / 10**digits + 0.5 / 10**digits
    recall, fpr = 1 - NORMAL.cdf(threshold - distance), 1 - NORMAL.cdf(threshold)
    return rates(prior, recall, fpr)


def broken(aim: Aim, target: float, found: dict[str, Tensor]) -> Tensor:
    """Tell where a rate misses its target."""
    return found[aim.rate] < target if aim.at_least else found[aim.rate] > target


def simulate(
    rows: int, prior: float, digits: int | None, repeats: int, distance: float = 3.0
) -> Iterator[tuple[str, float, float, float, float]]:
    """Yield by aim: how often it is broken, is feasible, and the objective beside the best."""
    generator = torch.Generator().manual_seed(rows)
    labels = torch.rand(rows, repeats, generator=generator) < prior
    scores = torch.randn(rows, repeats, generator=generator, dtype=torch.float64)
    scores = scores + distance * labels
    scores = scores if digits is None else scores.round(decimals=digits)
    everywhere = torch.linspace(-8, 12, 20_001, dtype=torch.float64)
    for name, aim in AIMS.items():
        target = aim.target(prior) if aim.rate != "precision" else 0.9
        certificate = gobj.certify(scores, labels, aim.builder(target), confidence=CONFIDENCE)
        found = of_distribution(certificate.threshold, prior, digits, distance)
        misses = broken(aim, target, found) & certificate.feasible
        known = of_distribution(everywhere, prior, digits, distance)
        best = known[aim.objective][~broken(aim, target, known)].max()
        feasible = certificate.feasible.double().mean()
        reached = found[aim.objective].mean()
        yield name, misses.double().mean().item(), feasible.item(), reached.item(), best.item()


def simulation(repeats: int, distance: float) -> bool:
    """Print every simulation; return whether none is broken too often."""
    allowed = 1 - CONFIDENCE + 2 * math.sqrt(CONFIDENCE * (1 - CONFIDENCE) / repeats)
    print(f"{repeats} repeats; broken in at most {allowed:.3f}")
    print(f"{'rows':>6s} {'prior':>6s} ties  {'aim':22s} broken feasible objective  best")
    fine = True
    for rows in (200, 1000, 5000):
        for prior in (0.01, 0.1, 0.5):
            for digits in (None, 1):
                for name, misses, *others in simulate(rows, prior, digits, repeats, distance):
                    mark = "" if misses <= allowed else "  TOO OFTEN"
                    fine &= misses <= allowed
                    ties = "no" if digits is None else "yes"
                    cells = " ".join(f"{x:8.3f}" for x in others)
                    print(
                        f"{rows:6d} {prior:6.2f} {ties:4s}  {name:22s} {misses:.3f} {cells}{mark}"
                    )
    return fine


def by_gobj(aim: Aim, target: float, scores: Tensor, labels: Tensor, _: Tensor) -> tuple[Any, bool]:
    """Return a certified threshold, and whether there is one."""
    certificate = gobj.certify(scores, labels, aim.builder(target), confidence=CONFIDENCE)
    return certificate.threshold.item(), bool(certificate.feasible)


def by_mapie(
    aim: Aim, target: float, scores: Tensor, labels: Tensor, train: Tensor, *, quantiles: bool
) -> tuple[Any, bool]:
    """Return the threshold of a controller, on its own list or on quantiles of training scores."""
    from mapie import risk_control  # type: ignore[import-untyped]  # noqa: PLC0415, of this part

    def predict(rows: Any) -> Any:
        probability = 1 / (1 + np.exp(-np.asarray(rows)[:, 0]))
        return np.stack([1 - probability, probability], 1)

    options = {}
    if quantiles:
        shares = np.linspace(0, 1, 102)[1:-1]
        places = 1 / (1 + np.exp(-np.quantile(train.numpy(), shares)))
        options["list_predict_params"] = np.unique(places)
    controller = risk_control.BinaryClassificationController(
        predict,
        getattr(risk_control, RISKS[aim.rate]),
        target,
        confidence_level=CONFIDENCE,
        best_predict_param_choice=risk_control.recall
        if aim.objective == "recall"
        else risk_control.false_positive_rate,
        **options,
    )
    with warnings.catch_warnings():  # where no threshold is valid, as is counted here
        warnings.simplefilter("ignore", UserWarning)
        controller.calibrate(scores.numpy()[:, None], labels.int().numpy())
    place = controller.best_predict_param
    if place is None:
        return (math.inf if aim.builder(target).direction() == 1 else -math.inf), False
    # it calls a probability positive from the parameter on
    return float(np.nextafter(np.log(place / (1 - place)) if place > 0 else -np.inf, -np.inf)), True


BY: dict[str, Callable[..., tuple[Any, bool]]] = {
    "gobj": by_gobj,
    "mapie": partial(by_mapie, quantiles=False),
    "mapie, quantiles": partial(by_mapie, quantiles=True),
}


def boosted(splits: Splits) -> list[Tensor]:
    """Return scores of boosted trees, fitted to the training rows of each seed, of every part."""
    columns: list[list[Tensor]] = [[], [], []]
    for seed, (features, labels) in enumerate(zip(*splits.train[:2], strict=True)):
        fitted = HistGradientBoostingClassifier().fit(features.numpy(), labels.numpy())
        for column, part in zip(columns, splits, strict=True):
            scores = fitted.decision_function(part.features[seed].numpy())
            column.append(torch.as_tensor(scores, dtype=torch.float64))
    return [torch.stack(column, 1) for column in columns]


def on_table(name: str, seeds: int) -> tuple[str, dict[str, Outcome]]:
    """Compare the methods on one table: over seeds and aims, by test rows."""
    splits: Splits = split(table(name), seeds)
    train, validation, test = boosted(splits)
    outcomes = {}
    for method in METHODS:
        values, began = [], time.perf_counter()
        for aim in AIMS.values():
            for seed in range(seeds):
                target = aim.target(splits.validation.labels[seed].mean().item())
                known = validation[:, seed], splits.validation.labels[seed] > 0
                threshold, feasible = BY[method](aim, target, *known, train[:, seed])
                called, truth = test[:, seed] > threshold, splits.test.labels[seed] > 0
                recall, fpr = (called[truth == side].double().mean() for side in (True, False))
                seen = rates(truth.double().mean(), recall, fpr)
                met = 1 - broken(aim, target, seen).double()
                values.append((met.item(), seen[aim.objective].item(), float(feasible)))
        seconds = (time.perf_counter() - began) / len(values)
        met_mean, objective, share = np.mean(values, 0).tolist()
        outcomes[method] = Outcome(met_mean, objective, share, seconds)
    return name, outcomes


def controllers(names: Sequence[str], seeds: int, jobs: int) -> dict[str, list[Outcome]]:
    """Print the comparison on each table, and its means."""
    print(f"\n{seeds} splits, five objectives: test rows meet the target, objective, ms")
    print(f"{'table':16s}" + "".join(f"{method:>26s}" for method in METHODS))
    found: dict[str, list[Outcome]] = {method: [] for method in METHODS}
    for name, outcomes in for_each(partial(on_table, seeds=seeds), names, jobs):
        cells = []
        for method, outcome in outcomes.items():
            found[method].append(outcome)
            cells.append(
                f"{outcome.met:8.3f} {outcome.objective:6.3f} {1e3 * outcome.seconds:7.1f}"
            )
        print(f"{name:16s}" + "".join(f"{cell:>26s}" for cell in cells))
    for method, each in found.items():
        met, objective, feasible, seconds = np.mean(each, 0)
        print(
            f"{method:18s} met {met:.3f}  objective {objective:.3f}  "
            f"feasible {feasible:.3f}  {1e3 * seconds:.1f} ms"
        )
    return found


def pictures(folder: Path) -> None:
    """Draw a certificate on its curve, a front of targets, and what training shows."""
    folder.mkdir(parents=True, exist_ok=True)
    draw = torch.Generator().manual_seed(0)
    labels = torch.rand(2000, generator=draw) < 0.2
    logits = torch.randn(2000, generator=draw) + 2.5 * labels
    curve = curve_points(curve_update(curve_init(), logits, labels))
    figure = Figure(figsize=(12, 3.6), layout="constrained")
    left, middle, right = figure.subplots(1, 3)
    precise = gobj.certify(logits, labels, gobj.recall_at_precision(0.8))
    plot.precision_recall(left, curve, precise)
    plot.roc(middle, curve, gobj.certify(logits, labels, gobj.tpr_at_fpr(0.05)), log=True)
    targets = torch.linspace(0.02, 0.3, 8)
    wide, same = (x.unsqueeze(1).expand(-1, len(targets)) for x in (logits, labels))
    whole = gobj.certify(wide, same, gobj.tpr_at_fpr(targets), simultaneous="bonferroni")
    plot.front(right, whole)
    figure.savefig(folder / "certificates.png", dpi=100)
    figure = Figure(figsize=(12, 3.2), layout="constrained")
    *three, last = figure.subplots(1, 4)
    history = _trained(draw)
    plot.training(three, history)
    plot.bound(last, history)
    figure.savefig(folder / "training.png", dpi=100)


def _trained(draw: torch.Generator, steps: int = 300) -> list[gobj.Diagnosis]:
    """Train a linear model for recall at precision .7, and look at every step."""
    features = torch.randn(2000, 3, generator=draw)
    labels = (features[:, :1] + torch.randn(2000, 1, generator=draw) > 1.2).float()
    torch.manual_seed(0)
    model, problem = torch.nn.Linear(3, 1), gobj.recall_at_precision(0.7)
    criterion = gobj.nn.RecallAtPrecisionLoss(0.7)
    optimizer, history = torch.optim.Adam(model.parameters(), 0.05), []
    for _ in range(steps):
        rows = torch.randint(2000, (256,), generator=draw)
        optimizer.zero_grad()
        loss: Tensor = criterion(model(features[rows]), labels[rows])
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        history.append(gobj.diagnose(problem, model(features), labels, criterion.state))
    return history


def main(arguments: Sequence[str] | None = None) -> int:
    """Print both parts; return 1 if a certificate is broken too often."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", choices=["simulation", "controllers", "pictures"])
    parser.add_argument("--repeats", type=int, default=2000)
    parser.add_argument("--distance", type=float, default=3.0, help="of the simulated classes")
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--tables", nargs="+", default=list(MANY))
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--out", type=Path, default=Path("docs/pictures"))
    options = parser.parse_args(arguments)
    fine = options.only not in (None, "simulation") or simulation(options.repeats, options.distance)
    if options.only in (None, "controllers"):
        controllers(options.tables, options.seeds, options.jobs)
    if options.only in (None, "pictures"):
        pictures(options.out)
    return 0 if fine else 1


if __name__ == "__main__":
    raise SystemExit(main())
