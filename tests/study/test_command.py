"""The main job from the user's side: what it prints, what it writes, what it refuses."""

import json
import os
import signal
import subprocess
import sys
import time
from importlib import resources
from pathlib import Path

import jsonschema
import numpy as np
import pandas as pd
import pytest

import gobj
from gobj.__main__ import main
from gobj.study import progress
from gobj.study.command import Result, fit
from gobj.study.progress import Progress
from tests.study.conftest import SHORT, table_of

QUICK = ("--seeds", "2", "--steps", "4", "--methods", "trained", "--jobs", "1")
FILES = {"report.json", "report.html", "predictions.csv", "model.json", "model.safetensors"}
SCHEMA = json.loads((resources.files("gobj.study") / "report.schema.json").read_text())


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    frame = table_of(300)
    rows = np.arange(300)
    frame = frame.assign(w=1.0 + frame.y, one=1, four=rows % 4, day=rows, who=rows % 30)
    frame["gaps"] = frame.y.where(rows > 5)
    frame["rare"] = (rows < 9).astype(int)
    frame["negative"] = -frame.w
    frame["unweighed"] = frame.w.where(rows > 4)
    frame["vague"] = [f"0{1 + row % 9}/0{1 + row % 7}/2020" for row in rows]
    frame.assign(y_score=0.5).to_csv(tmp_path / "scored.csv", index=False)
    frame["noise"] = np.random.default_rng(5).permutation(frame.y)
    frame.to_csv(tmp_path / "data.csv", index=False)
    clean = frame[["x", "z", "colour", "y", "w"]]
    clean.to_csv(tmp_path / "clean.csv", index=False)
    clean.to_csv(tmp_path / "semicolons.csv", index=False, sep=";")
    clean.to_parquet(tmp_path / "clean.parquet")
    frame[["z", "noise"]].to_csv(tmp_path / "noise.csv", index=False)
    frame[["one", "y"]].to_csv(tmp_path / "bare.csv", index=False)
    (tmp_path / "empty.csv").write_text("")
    (tmp_path / "broken.parquet").write_text("x,y")
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "precious").write_text("mine")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def undrawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Save the seconds that pictures take."""
    monkeypatch.setattr("gobj.study.command.render", lambda _: "<!doctype html>")


def report_of(folder: Path, name: str = "gobj-report") -> dict[str, object]:
    report: dict[str, object] = json.loads((folder / name / "report.json").read_text())
    jsonschema.validate(report, SCHEMA)
    return report


def test_fit_answers_writes_its_folder_and_score_applies_it(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    main(["fit", "clean.csv", "--label", "y", "--seeds", "2", "--steps", "4", "--jobs", "1"])
    printed, errors = capsys.readouterr()
    report = report_of(folder)
    label = report["labels"][0]  # type: ignore[index]
    assert "gobj:" not in errors
    assert label["verdict"]["sentence"] in " ".join(printed.split())
    for row in label["rows"]:
        assert row["name"] in printed
    names = {path.name for path in (folder / "gobj-report").iterdir()}
    assert {name for name in names if not name.startswith("model-")} == FILES
    main(["score", "gobj-report", "clean.csv", "--out", "scored.csv"])
    assert capsys.readouterr().out.startswith("300 rows, ")
    assert pd.read_csv("scored.csv").columns[-2:].tolist() == ["y_score", "y_flag"]


OPTIONS = {
    "objective": ("--objective", "tpr_at_fpr", "--target", ".2"),
    "npv": ("--objective", "specificity_at_npv"),
    "budget": ("--objective", "recall_at_budget"),
    "recall": ("--objective", "precision_at_recall"),
    "fpr": ("--objective", "fpr_at_tpr", "--target", ".7"),
    "weights": ("--weights", "w"),
    "group": ("--group", "who"),
    "time": ("--time", "day"),
    "missing labels": ("--label", "gaps", "--drop-missing-labels"),
    "several": ("--label", "y,gaps,other", "--drop-missing-labels", "--target", ".5,.6,.7"),
    "positive": ("--label", "four", "--positive", "3"),
    "sample": ("--max-rows", "200"),
    "hidden": ("--hidden", "5", "--confidence", ".8"),
}


@pytest.mark.usefixtures("undrawn")
@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
def test_every_option_ends_with_a_report(folder: Path, options: tuple[str, ...]) -> None:
    label = () if "--label" in options else ("--label", "y")
    main(["fit", "data.csv", *label, *options, *QUICK])
    assert report_of(folder)["labels"]


@pytest.mark.usefixtures("undrawn")
def test_parquet_and_semicolons_give_the_numbers_of_csv(folder: Path) -> None:
    numbers = []
    for name, *more in (("clean.csv",), ("clean.parquet",), ("semicolons.csv", "--sep", ";")):
        main(["fit", name, "--label", "y", "--weights", "w", *more, *QUICK])
        rows = report_of(folder)["labels"][0]["rows"]  # type: ignore[index]
        numbers.append([row["fitted"]["each"]["value"] for row in rows])
    assert numbers[0] == numbers[1] == numbers[2]


@pytest.mark.usefixtures("undrawn")
def test_a_sample_is_announced(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["fit", "clean.csv", "--label", "y", "--max-rows", "200", *QUICK])
    assert "a random sample of 200 of 300 rows" in capsys.readouterr().out
    report = report_of(folder)
    assert report["table"]["is_sample"]  # type: ignore[index]
    assert "A random sample of 200 of the 300 rows" in report["notes"][0]  # type: ignore[index]


@pytest.mark.usefixtures("undrawn")
def test_a_target_out_of_reach_ends_with_a_report_and_what_to_type(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    main(["fit", "noise.csv", "--label", "noise", "--target", ".999", *QUICK])
    printed = " ".join(capsys.readouterr().out.split())
    label = report_of(folder)["labels"][0]  # type: ignore[index]
    assert label["verdict"]["kind"] == "out of reach"
    assert label["advice"] in printed
    if "try:" in label["advice"]:
        words = label["advice"].split("try: ")[1].split()
        main([*words[3:], *QUICK])
        assert report_of(folder)["labels"][0]["verdict"]["kind"] != "out of reach"  # type: ignore[index]


@pytest.mark.usefixtures("undrawn")
def test_without_a_target_one_within_reach_is_taken(folder: Path) -> None:
    main(["fit", "noise.csv", "--label", "noise", *QUICK])
    label = report_of(folder)["labels"][0]  # type: ignore[index]
    assert len(label["trade_off"]) >= 6
    assert label["target"] <= 0.9
    assert label["why_target"] in (
        "the usual one",
        "the hardest up to 0.9 at which a quarter is found",
    )


@pytest.mark.usefixtures("undrawn")
def test_the_example_is_there(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["fit", "--out", "other/report", *QUICK])
    assert capsys.readouterr().out.startswith("mlc_churn: 5,000 rows, 22 features")
    assert (folder / "other" / "report" / "report.json").is_file()


BAD = {
    "missing file": ("nowhere.csv", "--label", "y"),
    "folder without tables": ("other", "--label", "y"),
    "empty file": ("empty.csv", "--label", "y"),
    "unreadable file": ("broken.parquet", "--label", "y"),
    "header in one piece": ("semicolons.csv", "--label", "y"),
    "no label": ("data.csv",),
    "unknown label": ("data.csv", "--label", "why"),
    "label twice": ("data.csv", "--label", "y,y"),
    "constant label": ("data.csv", "--label", "one"),
    "label of four values": ("data.csv", "--label", "four"),
    "missing labels": ("data.csv", "--label", "gaps"),
    "rare class": ("data.csv", "--label", "rare"),
    "unknown positive value": ("data.csv", "--label", "y", "--positive", "2"),
    "unknown weights": ("data.csv", "--label", "y", "--weights", "v"),
    "negative weights": ("data.csv", "--label", "y", "--weights", "negative"),
    "missing weights": ("data.csv", "--label", "y", "--weights", "unweighed"),
    "label as weights": ("data.csv", "--label", "y", "--weights", "y"),
    "unknown group": ("data.csv", "--label", "y", "--group", "grp"),
    "few groups": ("data.csv", "--label", "y", "--group", "four"),
    "text as time": ("data.csv", "--label", "y", "--time", "colour"),
    "days or months first": ("data.csv", "--label", "y", "--time", "vague"),
    "names of scores": ("scored.csv", "--label", "y"),
    "group and time": ("data.csv", "--label", "y", "--time", "day", "--group", "who"),
    "no features": ("bare.csv", "--label", "y"),
    "target of 1": ("data.csv", "--label", "y", "--target", "1"),
    "target of 0": ("data.csv", "--label", "y", "--target", "0"),
    "target that is no number": ("data.csv", "--label", "y", "--target", "nan"),
    "target in words": ("data.csv", "--label", "y", "--target", "high"),
    "two targets for one label": ("data.csv", "--label", "y", "--target", ".5,.6"),
    "unknown objective": ("data.csv", "--label", "y", "--objective", "f1"),
    "one seed": ("data.csv", "--label", "y", "--seeds", "1"),
    "no steps": ("data.csv", "--label", "y", "--steps", "0"),
    "no units": ("data.csv", "--label", "y", "--hidden", "0"),
    "few rows": ("data.csv", "--label", "y", "--max-rows", "3"),
    "certainty": ("data.csv", "--label", "y", "--confidence", "1"),
    "unknown methods": ("data.csv", "--label", "y", "--methods", "trees"),
    "report over a file": ("data.csv", "--label", "y", "--out", "data.csv"),
    "report over other files": ("data.csv", "--label", "y", "--out", "other"),
    "report in a missing folder": ("data.csv", "--label", "y", "--out", "no/where"),
    "unknown option": ("--colour",),
}
BAD_SCORE = {
    "no model": ("other", "clean.csv", "--out", "scored.csv"),
    "no place to write": ("other", "clean.csv"),
}
EVERY_BAD = {name: ("fit", *arguments) for name, arguments in BAD.items()} | {
    name: ("score", *arguments) for name, arguments in BAD_SCORE.items()
}


@pytest.mark.usefixtures("undrawn")
@pytest.mark.parametrize("arguments", EVERY_BAD.values(), ids=EVERY_BAD)
def test_bad_input_gets_one_line_and_exit_code_2(
    folder: Path, capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...]
) -> None:
    before = sorted(folder.rglob("*"))
    with pytest.raises(SystemExit) as stop:
        main(arguments)
    error = capsys.readouterr().err
    assert stop.value.code == 2
    assert error.startswith("gobj: ")
    assert error.count("\n") == 1
    assert sorted(folder.rglob("*")) == before


@pytest.mark.usefixtures("folder")
def test_a_name_that_is_nearly_right_is_suggested(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["fit", "data.csv", "--label", "nois"])
    assert "did you mean 'noise'?" in capsys.readouterr().err


@pytest.mark.usefixtures("undrawn")
def test_a_report_that_cannot_be_finished_leaves_the_earlier_one(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    main(["fit", "clean.csv", "--label", "y", *QUICK])
    earlier = (folder / "gobj-report" / "report.json").read_text()
    before = sorted(folder.rglob("*"))

    def full(*_: object) -> None:
        raise OSError("No space left on device")

    monkeypatch.setattr("gobj.study.command.render", full)
    with pytest.raises(SystemExit) as stop:
        main(["fit", "clean.csv", "--label", "y", "--target", ".5", *QUICK])
    assert stop.value.code == 2
    assert capsys.readouterr().err == "gobj: nothing was written: No space left on device\n"
    assert (folder / "gobj-report" / "report.json").read_text() == earlier
    assert sorted(folder.rglob("*")) == before


def test_an_interrupt_says_so_and_leaves_nothing(folder: Path) -> None:
    before = sorted(folder.rglob("*"))
    command = [sys.executable, "-m", "gobj", "fit", "clean.csv", "--label", "y", "--steps", "90000"]
    with subprocess.Popen(
        command,
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONUNBUFFERED": "1"},
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline().startswith("clean.csv")
        time.sleep(0.5)
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert errors == "gobj: interrupted, nothing was written\n"
    assert sorted(folder.rglob("*")) == before


def test_a_log_gets_a_line_every_ten_seconds(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [0.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    with Progress() as shown:
        shown.expect(100)
        shown.begin("BCE, linear")
        for _ in range(50):
            now[0] += 0.5
            shown.advance()
    lines = capsys.readouterr().err.splitlines()
    assert lines == ["  10 s   20%  BCE, linear", "  20 s   40%  BCE, linear"]


def test_the_report_of_a_function_call_follows_the_schema(result: Result) -> None:
    jsonschema.validate(result.report, SCHEMA)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(result.report | {"labels": [{}]}, SCHEMA)


def test_a_function_call_writes_nothing_unless_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    found = fit(table_of(200), "y", methods="trained", **SHORT)
    assert list(tmp_path.iterdir()) == []
    assert found.predictions.columns.tolist() == ["row", "y", "y_score", "y_flag"]
    with pytest.raises(TypeError, match="unknown options"):
        fit(table_of(200), "y", colour="red")


def test_the_same_call_gives_the_same_report() -> None:
    reports = [fit(table_of(200), "y", methods="trained", **SHORT).report for _ in range(2)]
    for report in reports:
        for row in report["labels"][0]["rows"]:
            del row["seconds"]
    assert reports[0] == reports[1]


def test_a_missing_package_is_named(folder: Path) -> None:
    code = "import sys; sys.modules['pandas'] = None; from gobj.__main__ import main; main([])"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=folder, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "gobj: needs pandas: pip install 'gobj[study]'\n"


def test_the_package_does_not_import_the_study() -> None:
    root = Path(gobj.__file__).parent
    sources = [path for path in root.rglob("*.py") if path.parent.name != "study"]
    importing = [
        path.name
        for path in sources
        if "import gobj.study" in path.read_text() or "from gobj.study" in path.read_text()
    ]
    assert importing == ["__main__.py"]


def test_a_label_that_is_not_known_is_not_told_as_one() -> None:
    frame = table_of(300)
    frame["y"] = frame.y.where(np.arange(300) % 4 > 0)
    found = fit(frame, "y", methods="trained", drop_missing_labels=True, **SHORT)
    known = frame.y[found.predictions.row].to_numpy()
    assert found.predictions.y.isna().tolist() == np.isnan(known).tolist()


def test_dates_with_the_day_first_are_read_so() -> None:
    frame = table_of(300)
    days = pd.date_range("2020-01-01", periods=300)
    frame["day"] = days.strftime("%d/%m/%Y")
    later = fit(frame, "y", methods="trained", time="day", **SHORT).predictions.row
    assert later.min() >= 240
