"""A model taken away gives what it gave: from a file, in batches, of any family."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import safetensors.torch
import skops.io
from sklearn import metrics
from sklearn.preprocessing import FunctionTransformer

from gobj.study import reading
from gobj.study.command import Result
from gobj.study.folder import PREDICTIONS
from gobj.study.model import load_model
from gobj.study.scoring import score_file, score_frame

Make = Callable[[str], tuple[Path, Result]]
METHODS = ("objective, linear", "objective, network", "logistic regression", "gradient boosting")
EVERY = (*METHODS, "LightGBM")


@pytest.mark.parametrize("method", EVERY)
@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_scoring_the_table_that_was_fitted_gives_the_flags_of_its_predictions(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    frame: pd.DataFrame,
    fitted: Make,
    method: str,
    kind: str,
) -> None:
    monkeypatch.setattr(reading, "BATCH", 37)
    folder, result = fitted(method)
    table, out = tmp_path / f"table.{kind}", tmp_path / f"scored.{kind}"
    if kind == "csv":
        frame.to_csv(table, index=False)
    else:
        frame.to_parquet(table)
    done = score_file(folder, table, out)
    scored = pd.read_csv(out) if kind == "csv" else pd.read_parquet(out)
    known = pd.read_csv(folder / PREDICTIONS)
    assert (len(scored), done["rows"], done["unknown"]) == (len(frame), len(frame), {})
    for label in ("y", "other"):
        again = scored.iloc[known.row].reset_index(drop=True)
        assert again[f"{label}_flag"].equals(known[f"{label}_flag"])
        np.testing.assert_array_equal(
            again[f"{label}_score"].astype(np.float32), known[f"{label}_score"].astype(np.float32)
        )
        assert done["flagged"][label] == scored[f"{label}_flag"].sum()
        assert again[label].astype(int).equals(known[label])
    assert result.model.method == method


@pytest.mark.parametrize("method", METHODS)
def test_the_report_counts_what_the_predictions_hold(fitted: Make, method: str) -> None:
    folder, result = fitted(method)
    known = pd.read_csv(folder / PREDICTIONS)
    for label in result.report["labels"]:
        name, final = label["name"], label["final"]
        flags = known[f"{name}_score"] > final["threshold"]
        assert final["value"] == pytest.approx(metrics.recall_score(known[name], flags))
        assert (known[f"{name}_flag"] == (known[f"{name}_score"] > final["deployed"])).all()


def test_a_frame_is_scored_with_its_index(frame: pd.DataFrame, fitted: Make) -> None:
    folder, result = fitted("objective, linear")
    part = frame.iloc[[5, 3, 8]]
    scored = score_frame(folder, part)
    assert list(scored.index) == [5, 3, 8]
    pd.testing.assert_frame_equal(scored, score_frame(result.model, frame).loc[[5, 3, 8]])


def test_unknown_values_are_counted(tmp_path: Path, frame: pd.DataFrame, fitted: Make) -> None:
    folder, _ = fitted("objective, linear")
    odd = frame.astype(object)
    odd.loc[:2, "colour"] = "mauve"
    odd.loc[:1, "x"] = "much"
    odd.to_csv(tmp_path / "odd.csv", index=False)
    done = score_file(folder, tmp_path / "odd.csv", tmp_path / "out.csv")
    assert done["unknown"] == {"colour": 3, "x": 2}


def test_a_missing_column_leaves_nothing_behind(
    tmp_path: Path, frame: pd.DataFrame, fitted: Make
) -> None:
    folder, _ = fitted("objective, linear")
    frame.drop(columns="z").to_csv(tmp_path / "short.csv", index=False)
    with pytest.raises(ValueError, match="have the columns of the model; got none named 'z'"):
        score_file(folder, tmp_path / "short.csv", tmp_path / "out.csv")
    assert [path.name for path in tmp_path.iterdir()] == ["short.csv"]


def test_scores_are_not_written_over_scores(
    tmp_path: Path, frame: pd.DataFrame, fitted: Make
) -> None:
    folder, _ = fitted("objective, linear")
    frame.assign(y_flag=1).to_csv(tmp_path / "again.csv", index=False)
    with pytest.raises(ValueError, match="have no columns of scores"):
        score_file(folder, tmp_path / "again.csv", tmp_path / "out.csv")


def test_the_folder_holds_tensors_and_json(fitted: Make) -> None:
    folder, _ = fitted("objective, network")
    about = json.loads((folder / "model.json").read_text())
    tensors = safetensors.torch.load_file(folder / about["tensors"])
    assert {f"layers.{index}" for index in range(4)} <= set(tensors)
    assert [label["label"] for label in about["labels"]] == ["y", "other"]
    assert {column["name"] for column in about["columns"]} == {"x", "z", "colour"}


def test_every_file_of_the_folder_can_be_read_by_the_same_people(fitted: Make) -> None:
    folder, _ = fitted("objective, network")
    assert len({path.stat().st_mode for path in folder.iterdir() if path.is_file()}) == 1


def test_an_estimator_that_could_run_code_is_not_loaded(tmp_path: Path, fitted: Make) -> None:
    folder, _ = fitted("gradient boosting")
    for path in folder.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    skops.io.dump(FunctionTransformer(print), tmp_path / "model-0.skops")
    with pytest.raises(ValueError, match="hold a model of known parts"):
        load_model(tmp_path)


@pytest.mark.parametrize("lost", ["model.json", "model.safetensors"])
def test_half_a_model_is_refused(tmp_path: Path, fitted: Make, lost: str) -> None:
    folder, _ = fitted("objective, linear")
    for path in folder.iterdir():
        if path.name != lost:
            (tmp_path / path.name).write_bytes(path.read_bytes())
    with pytest.raises(ValueError, match="gobj: `FOLDER` must hold"):
        load_model(tmp_path)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_a_table_without_rows_is_scored(
    tmp_path: Path, frame: pd.DataFrame, fitted: Make, method: str, kind: str
) -> None:
    folder, _ = fitted(method)
    frame.iloc[:0].to_csv(tmp_path / "empty.csv", index=False)
    out = tmp_path / f"out.{kind}"
    assert score_file(folder, tmp_path / "empty.csv", out)["rows"] == 0
    scored = pd.read_csv(out) if kind == "csv" else pd.read_parquet(out)
    assert list(scored)[-4:] == ["y_score", "y_flag", "other_score", "other_flag"]


def test_a_column_may_be_empty_in_the_first_batch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, frame: pd.DataFrame, fitted: Make
) -> None:
    monkeypatch.setattr(reading, "BATCH", 10)
    folder, _ = fitted("objective, linear")
    rows = np.arange(len(frame))
    late = frame.assign(
        note=np.where(rows < 10, None, "later"), number=np.where(rows % 20 < 10, rows, np.nan)
    )
    late.to_parquet(tmp_path / "late.parquet")
    score_file(folder, tmp_path / "late.parquet", tmp_path / "out.parquet")
    scored = pd.read_parquet(tmp_path / "out.parquet")
    assert scored.note.notna().sum() == len(frame) - 10
    np.testing.assert_array_equal(scored.number, late.number)


def test_labels_are_compared_together_too(fitted: Make) -> None:
    _, result = fitted("objective, linear")
    rows = {
        row["name"]: np.mean(
            [label["rows"][place]["fitted"]["value"]["mean"] for label in result.report["labels"]]
        )
        for place, row in enumerate(result.report["labels"][0]["rows"])
    }
    said = [note for note in result.report["notes"] if note.startswith("In the mean over 2 labels")]
    assert [
        f"{rows[name]:.3f} ({name})" in note for name, note in zip(METHODS, said, strict=False)
    ] == [True] * 2
