"""Engines on two processes end with the weights and the state of one process."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import gobj
from tests.engines import task

FOLDER, ROOT = Path(__file__).parent, Path(gobj.__file__).parents[1]
TORCHRUN = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={task.RANKS}"]
STARTS: dict[str, list[str]] = {
    "ddp": TORCHRUN,
    "fsdp": TORCHRUN,
    "lightning_ddp": [],  # starts the other process itself
    "accelerate_loop": TORCHRUN,
    "trainer": TORCHRUN,
}


@pytest.mark.parametrize("parts", [1, 2], ids=["whole", "in parts"])
@pytest.mark.parametrize("engine", STARTS)
def test_engines_do_what_one_process_does(engine: str, parts: int, tmp_path: Path) -> None:
    script = [str(FOLDER / f"{engine}.py"), str(parts), str(tmp_path)]
    settings = {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
    done = subprocess.run(
        [sys.executable, *STARTS[engine], *script],
        env=os.environ | settings,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    want = task.reference(parts)
    for rank in range(task.RANKS):
        got = torch.load(tmp_path / f"{rank}.pt", weights_only=True)
        torch.testing.assert_close(got, want, rtol=1e-4, atol=1e-5)
