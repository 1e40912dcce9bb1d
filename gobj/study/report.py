"""What a job found, as a dictionary of plain values: the content of ``report.json``."""

import math
import shlex
from typing import Any

import torch
from torch import Tensor

import gobj
from gobj.metrics._curve import Curve
from gobj.metrics._reading import rates
from gobj.study.comparison import Outcome, Reading, can_certify
from gobj.study.goals import Goal, spell, targets_to_try
from gobj.study.measures import Estimate, estimate
from gobj.study.numbers import interval
from gobj.study.study import Study
from gobj.study.verdict import Verdict, across_labels

POINTS = 400  # of a curve
NO_OPTIONS = 3  # words of a command that asks for the example
MEMBERS = {"random": "random rows", "groups": "whole groups", "time": "rows in their order of time"}


def make_report(study: Study, name: str, command: list[str]) -> dict[str, Any]:
    """Return the report, in values that JSON knows; null is a number that is not finite."""
    data, options, goal = study.data, study.options, study.goals[0]
    report = {
        "gobj": gobj.__version__,
        "torch": torch.__version__,
        "command": shlex.join(command),
        "options": options.as_dict(),
        "table": {
            "name": name,
            "rows": len(data.truth),
            "rows_found": data.found,
            "is_sample": data.found > len(data.truth),
            "features": len(data.schema.features),
            "left_out": data.schema.left_out,
            "weighted": options.weights is not None,
        },
        "question": {
            "objective": goal.objective.name,
            "optimized": spell(goal.objective.optimized),
            "constrained": spell(goal.objective.constrained),
            "high_is_good": goal.sign > 0,
            "at_least": goal.way > 0,
        },
        "splits": _splits(study),
        "labels": [_label(study, index, command) for index in range(len(study.goals))],
        "model": {
            "method": study.final.model.method,
            "setting": study.final.setting,
            "why": "best at its threshold on validation rows, in the mean over splits and labels",
        },
        "notes": notes(study),
    }
    plain: dict[str, Any] = _plain(report)
    return plain


def notes(study: Study) -> list[str]:
    """Say what a reader has to know beside the numbers."""
    data, found = study.data, list[str]()
    if len(study.goals) > 1:
        found += across_labels(study.goals[0], study.outcomes, study.overlap)
    if data.found > len(data.truth):
        found.append(
            f"A random sample of {len(data.truth):,} of the {data.found:,} rows was used; "
            "--max-rows takes more."
        )
    if study.is_short and study.excess is not None:
        found.append(
            "The linear models have not converged: their cross entropy on training rows is "
            f"{study.excess[0]:.3g} above that of logistic regression; --steps "
            f"{4 * study.options.steps} takes more."
        )
    if not can_certify(data):
        found.append("Weights are no whole numbers, of which alone a certificate can be made.")
    elif data.counts is not None and study.options.weights is not None:
        found.append("The certificate takes the weight of a row for a number of independent rows.")
    if data.plan.kind == "groups":
        found.append(
            "A certificate counts rows as independent, which rows of a group are not: it promises "
            "too much where they are alike."
        )
    if data.plan.kind == "time":
        found.append(
            "A certificate is of rows like those that were kept apart, the latest: it promises "
            "nothing of rows that drift away from them."
        )
    if data.ranks.number > 1:
        found.append("Rows were shared by ranks, where scikit-learn's methods do not run.")
    return found


def _splits(study: Study) -> dict[str, Any]:
    """Describe which rows are for what."""
    plan, sizes = study.data.plan, {}
    for part, rows in plan.splits._asdict().items():
        sizes[part] = rows.shape[1]
    return {
        "kind": plan.kind,
        "of": MEMBERS[plan.kind],
        "number": len(plan.splits.train),
        **sizes,
        "kept": plan.final.test.shape[1],
        "interval": "95 %, of the mean over splits, corrected for their overlap (Nadeau and "
        f"Bengio 2003) with test/train = {study.overlap:.2f}",
    }


def _label(study: Study, index: int, command: list[str]) -> dict[str, Any]:
    """Return what is to be said of a label."""
    goal, label, verdict = study.goals[index], study.data.labels[index], study.verdicts[index]
    step = study.final.chosen[index]
    return {
        "name": label.name,
        "positive": label.positive,
        "why_positive": label.why,
        "share": label.share,
        "target": goal.target,
        "why_target": study.reasons[index],
        "condition": goal.condition,
        "title": goal.title,
        "verdict": _verdict(verdict),
        "rows": [_row(study, outcome, goal, index) for outcome in study.outcomes],
        "final": {
            **step._asdict(),
            "deployed": study.final.model.decisions[index].threshold,
            "is_certified": step.certifiable,
            "confidence": study.options.confidence,
        },
        "trade_off": [step._asdict() for step in study.final.trade_off[index]],
        "reach": study.reaches[index],
        "advice": _advice(study, index, command),
        "curve": _curve(study.final.curves[index]),
    }


def _verdict(verdict: Verdict) -> dict[str, Any]:
    return {
        "kind": verdict.kind,
        "sentence": verdict.sentence,
        "objective": verdict.objective.method.name,
        "rival": verdict.rival.method.name,
        "difference": verdict.difference._asdict(),
        "rival_is_stronger": verdict.stronger,
        "families": [
            {
                "family": pair.objective.method.family,
                "objective": pair.objective.method.name,
                "peer": pair.peer.method.name,
                "difference": pair.difference._asdict(),
                "helps": pair.helps,
                "harms": pair.harms,
            }
            for pair in verdict.pairs
        ],
    }


def _row(study: Study, outcome: Outcome, goal: Goal, label: int) -> dict[str, Any]:
    """Return what was measured of a method."""
    return {
        "name": outcome.method.name,
        "family": outcome.method.family,
        "is_objective": outcome.method.is_objective,
        "setting": outcome.models.setting,
        "seconds": outcome.models.seconds,
        "train_cross_entropy": outcome.models.train_loss,
        "validation": outcome.validation[:, label],
        "fitted": _reading(study, outcome.fitted, goal, label),
        "certified": _reading(study, outcome.certified, goal, label),
    }


def _reading(study: Study, reading: Reading, goal: Goal, label: int) -> dict[str, Any]:
    """Return rates on test rows: means with intervals, and one number for each split."""
    value, some = reading.value[:, label], reading.feasible[:, label]
    held = reading.constrained[some, label]
    return {
        "value": summary(estimate(value, study.overlap)),
        "constrained": _summary_of_some(held, study.overlap),
        "held": reading.held(goal, label),
        "feasible": int(reading.feasible[:, label].sum()),
        "splits": len(value),
        "each": {
            "threshold": reading.threshold[:, label],
            "value": value,
            **{name: rate[:, label] for name, rate in reading.rates.items()},
        },
    }


def _summary_of_some(values: Tensor, overlap: float) -> dict[str, float]:
    """Summarise the splits that have a value; one has no interval, and none has no mean."""
    if len(values) > 1:
        return summary(estimate(values, overlap))
    mean = values[0].item() if len(values) else math.nan
    return {"mean": mean, "low": math.nan, "high": math.nan}


def summary(found: Estimate) -> dict[str, float]:
    """Return a mean and its interval."""
    low, high = interval(found)
    return {"mean": found.mean, "low": low, "high": high}


def _advice(study: Study, index: int, command: list[str]) -> str:
    """Say what to type where the target is out of reach."""
    verdict, goal = study.verdicts[index], study.goals[index]
    if verdict.kind != "out of reach":
        return ""
    share, reach = study.data.labels[index].share, study.reaches[index]
    targets = reversed(targets_to_try(goal.objective, share))
    met = [target for target in targets if goal._replace(target=target).is_met(reach)]
    near = goal.near(reach, share)
    met += [] if near is None else [near]
    said = f"The furthest that {spell(goal.objective.constrained)} goes on validation rows is "
    said += f"{reach:.3g}"
    if not met or len(study.goals) > 1 or command[:1] != ["python"]:
        return f"{said}{f'; try a target of {met[0]:g}' if met else ''}."
    words = [*command, *(["fit"] if len(command) == NO_OPTIONS else [])]
    if "--target" in words:
        at = words.index("--target")
        del words[at : at + 2]
    return f"{said}; try: {shlex.join([*words, '--target', f'{met[0]:g}'])}"


def _curve(curve: Curve) -> dict[str, Any]:
    """Return the rates along a curve, of some of its points."""
    last = curve.threshold.shape[-1] - 1
    even = torch.linspace(0, last, min(POINTS, last + 1))
    # The first alarms decide at a small FPR: half of the points are as dense there as a logarithm.
    near = torch.logspace(0, math.log10(last + 1), min(POINTS, last + 1)) - 1
    chosen = torch.cat([even, near]).round().long().clamp(max=last).sort().values
    table = {name: rate[chosen] for name, rate in rates(curve).items()}
    return {"threshold": curve.threshold[chosen], **table}


def _plain(value: Any) -> Any:
    """Turn tensors and tuples into lists, and what JSON cannot say into null."""
    if isinstance(value, dict):
        return {str(key): _plain(entry) for key, entry in value.items()}
    if isinstance(value, Tensor):
        return _plain(value.tolist())
    if isinstance(value, list | tuple):
        return [_plain(entry) for entry in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
