"""What a job prints."""

from pathlib import Path
from textwrap import fill
from typing import Any

from gobj.study.data import Data
from gobj.study.numbers import written
from gobj.study.options import Options

WIDTH = 100


def describe(name: str, data: Data, options: Options) -> str:
    """Describe the table, and which columns are not looked at."""
    rows, features = f"{len(data.truth):,} rows", len(data.schema.features)
    if data.found > len(data.truth):
        rows = f"a random sample of {len(data.truth):,} of {data.found:,} rows"
    weighted = "" if options.weights is None else f", weighted by {options.weights}"
    lines = [f"{name}: {rows}, {features} features{weighted}"]
    lines += [
        f"{label.meaning} in {label.share:.3g} of them ({label.why})" for label in data.labels
    ]
    reasons = (f"{column} ({reason})" for column, reason in data.schema.left_out.items())
    left_out = ", ".join(reasons)
    return "\n".join([*lines, *([fill(f"left out: {left_out}", WIDTH)] if left_out else [])])


def summarise(report: dict[str, Any], out: Path) -> str:
    """Lay out a table for each label, the answers, and what to do next."""
    splits = report["splits"]
    how = (
        f"{splits['number']} splits of {splits['of']}: {splits['train']:,} train, "
        f"{splits['validation']:,} choose settings and thresholds, {splits['test']:,} test; "
        f"{splits['kept']:,} rows were kept apart for the certificate."
    )
    parts = [fill(how, WIDTH)]
    for label in report["labels"]:
        parts += [_table(report, label), _answer(label)]
    parts += [fill(note, WIDTH) for note in report["notes"]]
    parts.append(_next(report, out))
    return "\n\n".join(parts)


def _table(report: dict[str, Any], label: dict[str, Any]) -> str:
    """Return a row for each method, and two for those that are certified."""
    question = report["question"]
    rows = [
        _row(row["name"], row["fitted"], question, row["fitted"]["splits"]) for row in label["rows"]
    ]
    verdict, taken = label["verdict"], report["model"]["method"]
    certified = dict.fromkeys([verdict["objective"], taken])
    for row in label["rows"]:
        if row["name"] in certified:
            name = f"{row['name']}, certified"
            rows.append(_row(name, row["certified"], question, row["certified"]["feasible"]))
    head = f"{label['name']} = {label['positive']}: {label['title']}"
    head += f" (the target is {label['why_target']})"
    return f"{fill(head, WIDTH)}\n{_align(rows)}"


def _row(name: str, reading: dict[str, Any], question: dict[str, Any], of: int) -> dict[str, str]:
    """Return the cells of a row under their heads."""
    if of == 0:
        cells = ["too few rows", "", "none"]
    else:
        cells = [_spread(reading["value"]), _spread(reading["constrained"])]
        cells.append(f"{reading['held']} of {of}")
    heads = (f"{question['optimized']} (95 %)", f"{question['constrained']} (95 %)", "held in")
    return {"": name, **dict(zip(heads, cells, strict=True))}


def _spread(found: dict[str, Any]) -> str:
    if found["low"] is None:
        return "none" if found["mean"] is None else written(found["mean"])
    return f"{written(found['mean'])} ({written(found['low'])} to {written(found['high'])})"


def _answer(label: dict[str, Any]) -> str:
    """Return the verdict, and what to type where the target is out of reach."""
    text = f"{label['verdict']['sentence']} {label['advice']}".strip()
    return fill(text, WIDTH, break_long_words=False, break_on_hyphens=False)


def _next(report: dict[str, Any], out: Path) -> str:
    """Say what can be taken away, and how to use it."""
    lines = [f"Taken away: {report['model']['method']}, {report['model']['why']}."]
    for label in report["labels"]:
        final = label["final"]
        if final["is_certified"]:
            promise = (
                f"{label['condition']} holds on new rows like these, with confidence "
                f"{final['confidence']:g}"
            )
        elif final["feasible"]:
            promise = f"{label['condition']} held on validation rows; of new rows it is not certain"
        else:
            promise = f"no threshold keeps {label['condition']} on validation rows, this is nearest"
        lines.append(f"{label['name']} is flagged above {final['deployed']:.6g}: {promise}.")
    text = "\n".join(fill(line, WIDTH) for line in lines)
    return (
        f"{text}\nWritten: {out / 'report.html'}; to use the model:\n"
        f"python -m gobj score {out} new.csv --out scored.csv"
    )


def _align(rows: list[dict[str, str]]) -> str:
    """Pad heads and cells to the widths of their columns."""
    table = [list(rows[0]), *(list(row.values()) for row in rows)]
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    return "\n".join("  ".join(map(str.ljust, row, widths)).rstrip() for row in table)
