"""What the two commands do, from Python too: fit a folder of a table, score a table by a folder."""

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import fields
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd
import torch

from gobj.study.data import load
from gobj.study.folder import PAGE, PREDICTIONS, REPORT, check_folder, replaced
from gobj.study.goals import find_objective, make_goal
from gobj.study.model import Model, save_model
from gobj.study.options import Options
from gobj.study.page import render
from gobj.study.printing import describe, summarise
from gobj.study.progress import Progress
from gobj.study.ranks import Ranks, ranks_of_engine
from gobj.study.reading import Rows, read_rows, sample
from gobj.study.report import make_report
from gobj.study.study import Study, run
from gobj.study.tables import default_table

EXAMPLE = "mlc_churn"


class Result(NamedTuple):
    """What fitting a table gives.

    Attributes:
        report: The content of ``report.json``.
        model: The model to take away.
        predictions: Of the rows that were kept apart: their number, labels, scores and decisions.
    """

    report: dict[str, Any]
    model: Model
    predictions: pd.DataFrame


def fit(
    table: pd.DataFrame | str | Path,
    label: str | Sequence[str] | int,
    *,
    target: float | Sequence[float] | None = None,
    out: str | Path | None = None,
    name: str = "table",
    sep: str = ",",
    encoding: str = "utf-8",
    progress: bool = False,
    **options: Any,
) -> Result:
    """Fit a table: compare methods, certify a threshold, and return the model with its report.

    Args:
        table: A table, or the path of a CSV or Parquet file or of a folder of Parquet files.
        label: Column to predict, or several.
        target: Of the constrained rate, in (0, 1); one for each label, or none to choose it.
        out: Folder to write; none writes nothing.
        name: Of the table, where it has no path.
        sep: What parts the columns of a CSV file.
        encoding: Of a CSV file.
        progress: Whether to show how far it has come.
        **options: As :class:`gobj.study.Options` lists them.

    Returns:
        Report, model and predictions.

    Raises:
        ValueError: If the table or an option is not as it must be.
        OSError: If the folder cannot be written; then there is none.
    """
    unknown = set(options) - {field.name for field in fields(Options)}
    if unknown:
        raise TypeError(f"fit: got unknown options {sorted(unknown)}.")
    labels = (str(label),) if isinstance(label, str | int) else tuple(map(str, label))
    targets = () if target is None else tuple(target) if isinstance(target, Sequence) else (target,)
    asked = Options(labels, targets=targets, **options)
    folder = None if out is None else Path(out)
    check(asked, folder)
    ranks = Ranks()
    if isinstance(table, pd.DataFrame):
        rows = sample(table.rename(columns=str), len(table), 0, asked.max_rows)
    else:
        name = str(table)
        rows = read_rows(Path(table), sep, encoding, asked.max_rows, ranks)
    with _one_thread(), Progress(quiet=not progress) as shown:
        study = run(load(rows, asked, ranks), asked, shown)
    result = _result(study, name, ["gobj.study.fit"])
    if folder is not None:
        write(result, folder)
    return result


def check(options: Options, folder: Path | None) -> None:
    """Check options before a table is read.

    Raises:
        ValueError: If an option is not as it must be.
    """
    options.check()
    find_objective(options.objective)
    for target in options.targets:
        make_goal(options.objective, target)
    if folder is not None:
        check_folder(folder)


def fit_and_tell(
    path: Path | None, options: Options, out: Path, sep: str, encoding: str, command: list[str]
) -> None:
    """Do what the command line does: read, fit, print and write.

    Raises:
        ValueError: If the table or an option is not as it must be.
        OSError: If the folder cannot be written; then there is none.
    """
    check(options, out)
    ranks = ranks_of_engine()
    name = EXAMPLE if path is None else str(path)
    rows = _rows(path, options, ranks, sep, encoding)
    data = load(rows, options, ranks)
    first = ranks.rank == 0
    if first:
        print(describe(name, data, options), flush=True)
    with _one_thread(), Progress(quiet=not first) as progress:
        study = run(data, options, progress)
    result = _result(study, name, command)
    if first:
        write(result, out)
        print(summarise(result.report, out))


def write(result: Result, out: Path) -> None:
    """Write the folder of a result.

    Raises:
        OSError: If it cannot be written; then there is none.
    """
    report = result.report
    with replaced(out) as folder:
        text = json.dumps(report, indent=1, ensure_ascii=False, allow_nan=False)
        (folder / REPORT).write_text(text + "\n", encoding="utf-8")
        (folder / PAGE).write_text(render(report), encoding="utf-8")
        result.predictions.to_csv(folder / PREDICTIONS, index=False)
        save_model(result.model, folder, {"gobj": report["gobj"], "table": report["table"]["name"]})


def _rows(path: Path | None, options: Options, ranks: Ranks, sep: str, encoding: str) -> Rows:
    """Read the table, or the example."""
    if path is not None:
        return read_rows(path, sep, encoding, options.max_rows, ranks)
    frame = default_table()
    return sample(frame, len(frame), 0, options.max_rows)


def _result(study: Study, name: str, command: list[str]) -> Result:
    """Gather what is taken away."""
    data, final = study.data, study.final
    columns: dict[str, Any] = {"row": data.numbers[final.rows.numpy()]}
    for index, decision in enumerate(final.model.decisions):
        scores = final.scores[:, index].numpy()
        truth = pd.Series(data.truth[final.rows, index].numpy().astype(int), dtype="Int64")
        if data.weights is not None:
            truth = truth.where(data.weights[final.rows, index].numpy() > 0)
        columns[decision.label] = truth
        columns[f"{decision.label}_score"] = scores
        columns[f"{decision.label}_flag"] = scores > decision.threshold
    frame = pd.DataFrame(columns).sort_values("row")
    return Result(make_report(study, name, command), final.model, frame)


@contextmanager
def _one_thread() -> Iterator[None]:
    """Let torch use one thread: the steps are too small to share."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
