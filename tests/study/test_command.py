"""The main job from the user's side: what it prints, what it writes, what it refuses."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from torch.testing import assert_close

import gobj
from gobj.__main__ import main

SHORT = ("--seeds", "3", "--steps", "4")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    random = np.random.default_rng(0)
    y = (np.arange(300) % 3 == 0).astype(int)
    frame = pd.DataFrame({"x": y + random.normal(0, 0.5, 300), "z": random.normal(0, 1, 300)})
    frame = frame.assign(y=y, w=1.0 + y, noise=random.permutation(y), one=1)
    frame["four"] = np.arange(300) % 4
    frame["gaps"] = frame.y.where(frame.y > 0)
    frame["rare"] = (np.arange(300) < 9).astype(int)
    frame["negative"] = -frame.w
    frame["unweighed"] = frame.w.where(np.arange(300) > 4)
    frame.to_csv(tmp_path / "data.csv", index=False)
    frame[["x", "z", "y", "w"]].to_csv(tmp_path / "clean.csv", index=False)
    frame[["x", "z", "y", "w"]].to_parquet(tmp_path / "clean.parquet")
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
    """Save the seconds that a picture takes."""
    monkeypatch.setattr("gobj.study.command.draw", lambda *_: None)


def test_a_run_answers_and_writes_its_report(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    main(["clean.csv", "--label", "y", *SHORT])
    printed, errors = capsys.readouterr()
    content = json.loads((folder / "gobj-report" / "report.json").read_text())
    assert errors == ""
    assert content["answer"] in " ".join(printed.split())
    assert [method["method"] for method in content["methods"]] == [
        "BCE",
        "class-weighted BCE",
        "objective",
    ]
    assert (folder / "gobj-report" / "report.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.usefixtures("undrawn")
def test_the_difference_is_that_of_the_reported_values(folder: Path) -> None:
    main(["clean.csv", "--label", "y", "--objective", "fpr_at_tpr", "--model", "mlp", *SHORT])
    content = json.loads((folder / "gobj-report" / "report.json").read_text())
    values = {method["method"]: np.array(method["value"]) for method in content["methods"]}
    difference = values["objective"] - values[content["baseline"]]
    assert content["difference"]["mean"] == pytest.approx(difference.mean())
    assert content["difference"]["error"] == pytest.approx(difference.std(ddof=1) / 3**0.5)


@pytest.mark.usefixtures("undrawn")
@pytest.mark.parametrize("objective", ["tpr_at_fpr", "specificity_at_npv", "recall_at_budget"])
def test_every_kind_of_objective_runs(folder: Path, objective: str) -> None:
    main(["clean.csv", "--label", "y", "--objective", objective, "--target", ".7", *SHORT])
    assert (folder / "gobj-report" / "report.json").is_file()


@pytest.mark.usefixtures("undrawn")
def test_parquet_gives_the_numbers_of_csv(folder: Path) -> None:
    numbers = []
    for name in ("clean.csv", "clean.parquet"):
        main([name, "--label", "y", "--weights", "w", "--target", ".5", *SHORT])
        content = json.loads((folder / "gobj-report" / "report.json").read_text())
        numbers.append(torch.tensor([method["value"] for method in content["methods"]]))
    assert_close(numbers[0], numbers[1])


@pytest.mark.usefixtures("undrawn")
def test_the_default_table_is_there(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["--target", ".2", "--seeds", "2", "--steps", "2", "--out", "other/report"])
    assert capsys.readouterr().out.startswith("mlc_churn: 5,000 rows, 14.1% of them positive")
    assert (folder / "other" / "report" / "report.json").is_file()


BAD = {
    "missing file": ("nowhere.csv", "--label", "y"),
    "folder": ("other", "--label", "y"),
    "empty file": ("empty.csv", "--label", "y"),
    "unreadable file": ("broken.parquet", "--label", "y"),
    "no label": ("data.csv",),
    "unknown label": ("data.csv", "--label", "why"),
    "constant label": ("data.csv", "--label", "one"),
    "label of four values": ("data.csv", "--label", "four"),
    "missing labels": ("data.csv", "--label", "gaps"),
    "rare class": ("data.csv", "--label", "rare"),
    "unknown positive value": ("data.csv", "--label", "y", "--positive", "2"),
    "unknown weights": ("data.csv", "--label", "y", "--weights", "v"),
    "negative weights": ("data.csv", "--label", "y", "--weights", "negative"),
    "missing weights": ("data.csv", "--label", "y", "--weights", "unweighed"),
    "label as weights": ("data.csv", "--label", "y", "--weights", "y"),
    "no features": ("bare.csv", "--label", "y"),
    "target of 1": ("data.csv", "--label", "y", "--target", "1"),
    "target of 0": ("data.csv", "--label", "y", "--target", "0"),
    "target that is no number": ("data.csv", "--label", "y", "--target", "nan"),
    "target in words": ("data.csv", "--label", "y", "--target", "high"),
    "unknown objective": ("data.csv", "--label", "y", "--objective", "f1"),
    "one seed": ("data.csv", "--label", "y", "--seeds", "1"),
    "no steps": ("data.csv", "--label", "y", "--steps", "0"),
    "unknown model": ("data.csv", "--label", "y", "--model", "tree"),
    "report over a file": ("data.csv", "--label", "y", "--out", "data.csv"),
    "report over other files": ("data.csv", "--label", "y", "--out", "other"),
    "report in a missing folder": ("data.csv", "--label", "y", "--out", "no/where"),
    "target that noise cannot meet": ("noise.csv", "--label", "noise", "--target", ".999", *SHORT),
    "unknown option": ("--colour",),
}


@pytest.mark.usefixtures("undrawn")
@pytest.mark.parametrize("arguments", BAD.values(), ids=BAD)
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


@pytest.mark.usefixtures("undrawn")
def test_a_report_that_cannot_be_finished_leaves_the_earlier_one(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    main(["clean.csv", "--label", "y", *SHORT])
    earlier = (folder / "gobj-report" / "report.json").read_text()
    before = sorted(folder.rglob("*"))

    def full(*_: object) -> None:
        raise OSError("No space left on device")

    monkeypatch.setattr("gobj.study.command.draw", full)
    with pytest.raises(SystemExit) as stop:
        main(["clean.csv", "--label", "y", "--target", ".5", *SHORT])
    assert stop.value.code == 2
    assert capsys.readouterr().err == "gobj: the report was not written: No space left on device\n"
    assert (folder / "gobj-report" / "report.json").read_text() == earlier
    assert sorted(folder.rglob("*")) == before


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
