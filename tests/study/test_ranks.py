"""Two ranks that share a folder of files, beside one process that holds all of it."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from tests.study.conftest import table_of

LABELS = ("--label", "y,other", "--target", ".7,.6", "--weights", "w", "--max-rows", "330")
OPTIONS = (*LABELS, "--seeds", "2", "--steps", "30", "--methods", "trained", "--jobs", "1")


def run(folder: Path, *command: str) -> None:
    done = subprocess.run(
        [sys.executable, *command],
        cwd=folder,
        capture_output=True,
        text=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]


def numbers_of(value: Any, found: list[float]) -> list[float]:
    """Gather all numbers of a report but the seconds."""
    if isinstance(value, dict):
        for key, entry in value.items():
            if key != "seconds":
                numbers_of(entry, found)
    elif isinstance(value, list):
        for entry in value:
            numbers_of(entry, found)
    elif isinstance(value, float):
        found.append(value)
    return found


def test_two_ranks_find_what_one_process_finds(tmp_path: Path) -> None:
    frame = table_of(400).assign(w=np.arange(400) % 4)
    frame["colour"] = np.where(np.arange(400) < 390, frame.colour, "only in the last file")
    (tmp_path / "parts").mkdir()
    for index, rows in enumerate(np.split(np.arange(400), [170, 180, 390])):
        frame.iloc[rows].to_parquet(tmp_path / "parts" / f"{index}.parquet")
    run(tmp_path, "-m", "gobj", "fit", "parts", *OPTIONS, "--out", "one")
    engine = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2")
    run(tmp_path, *engine, "-m", "gobj", "fit", "parts", *OPTIONS, "--out", "two")
    one, two = (
        json.loads((tmp_path / out / "report.json").read_text())["labels"] for out in ("one", "two")
    )
    assert [label["verdict"]["kind"] for label in one] == [
        label["verdict"]["kind"] for label in two
    ]
    numbers = numbers_of(one, [])
    assert len(numbers) > 1000
    assert numbers == pytest.approx(numbers_of(two, []), abs=1e-4)
    predictions = [pd.read_csv(tmp_path / out / "predictions.csv") for out in ("one", "two")]
    pd.testing.assert_frame_equal(*predictions, atol=1e-4)
