"""What a study prints, and its numbers as JSON."""

import json
import math
from textwrap import fill
from typing import Any

import torch
from torch import Tensor

import gobj
from gobj.study.comparison import Outcome
from gobj.study.findings import Findings, answer, caution
from gobj.study.goals import Goal, spell
from gobj.study.measures import estimate
from gobj.study.tables import Table


def describe(name: str, table: Table) -> str:
    """Describe the table, and which columns are not looked at."""
    rows, columns = table.features.shape
    weighted = "" if table.weights is None else ", weighted"
    text = (
        f"{name}: {rows:,} rows, {table.labels.mean().item():.1%} of them positive "
        f"({table.positive}), {columns} features{weighted}"
    )
    reasons = (f"{column} ({reason})" for column, reason in table.left_out.items())
    return f"{text}\nleft out: {', '.join(reasons)}" if table.left_out else text


def summarise(findings: Findings) -> str:
    """Lay out a row per method, say what the columns mean, and answer the question."""
    goal, outcomes, baseline, difference = findings
    at_half = [spread(outcomes[0].test_at_zero[name]) for name in ("precision", "recall")]
    name, seeds = baseline.models.method, len(baseline.value)
    meaning = (
        "The first number is the best over thresholds on the test rows, the others are at the "
        "method's own threshold: what the objective tracked; for BCE the best that keeps "
        f"{goal.condition} on the training rows (at probability .5 plain BCE has test precision "
        f"{at_half[0]} and recall {at_half[1]}). Means over {seeds} seeds ± half of a 95 % "
        "interval; a precision is 0 where nothing is flagged. Objective minus "
        f"{name}, paired over seeds: {difference.mean:+.3f}, standard error {difference.error:.3f}."
        f" {caution(findings)}"
    )
    table = _align([_row(goal, outcome) for outcome in outcomes])
    return f"{table}\n\n{fill(meaning, 100)}\n\n{fill(answer(findings), 100)}"


def spread(values: Tensor) -> str:
    """Write the mean over seeds and half of its interval."""
    mean, _, half_width = estimate(values)
    return f"{mean:.3f} ± {half_width:.3f}"


def _row(goal: Goal, outcome: Outcome) -> dict[str, str]:
    """Return a method's cells under their heads; a rate that is constrained is not shown twice."""
    held, (method, setting, seconds, *_) = goal.objective.constrained, outcome.models
    tested = dict.fromkeys([held, "precision", "recall"])
    return {
        "": method,
        goal.title: spread(outcome.value),
        f"{spell(held)} train": spread(outcome.train[held]),
        **{f"{spell(name)} test": spread(outcome.test[name]) for name in tested},
        "optimiser": f"{setting.optimizer} {setting.lr:g}",
        "seconds": f"{seconds:.1f}",
    }


def _align(rows: list[dict[str, str]]) -> str:
    """Pad heads and cells to the widths of their columns."""
    table = [list(rows[0]), *(list(row.values()) for row in rows)]
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    return "\n".join("  ".join(map(str.ljust, row, widths)).rstrip() for row in table)


def to_json(name: str, table: Table, findings: Findings, options: dict[str, Any]) -> str:
    """Write the numbers, one per seed where a list; null is a threshold at infinity."""
    rows, columns = table.features.shape
    about = {"name": name, "rows": rows, "features": columns, "positive": table.positive}
    content = {
        "gobj": gobj.__version__,
        "torch": torch.__version__,
        "options": options,
        "table": about | {"left_out": table.left_out},
        "methods": [_numbers(outcome) for outcome in findings.outcomes],
        "baseline": findings.baseline.models.method,
        "difference": findings.difference._asdict(),
        "answer": answer(findings),
    }
    return json.dumps(_plain(content), indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def _numbers(outcome: Outcome) -> dict[str, Any]:
    """Return what was measured, without what pictures are drawn from."""
    numbers = outcome._asdict()
    models = numbers.pop("models")
    del numbers["curve"]
    about = {"method": models.method, **models.setting._asdict(), "seconds": models.seconds}
    multiplier = {} if models.duals is None else {"multiplier": models.duals[0][-1]}
    return about | multiplier | numbers


def _plain(value: Any) -> Any:
    """Turn tensors into lists and what JSON cannot say into null."""
    if isinstance(value, dict):
        return {key: _plain(entry) for key, entry in value.items()}
    if isinstance(value, Tensor):
        return _plain(value.tolist())
    if isinstance(value, list):
        return [_plain(entry) for entry in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
