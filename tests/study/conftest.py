"""A table and what was fitted of it, for all tests of the main job."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from gobj.study.command import Result, fit, write

SHORT = {"seeds": 2, "steps": 4, "jobs": 1}


def table_of(rows: int = 400, seed: int = 0) -> pd.DataFrame:
    """Return two columns that tell ``y``, one that does not, text, and gaps."""
    random = np.random.default_rng(seed)
    y = (np.arange(rows) % 3 == 0).astype(int)
    x = y + random.normal(0, 0.5, rows)
    return pd.DataFrame(
        {
            "x": np.where(random.random(rows) < 0.1, np.nan, x),
            "z": random.normal(0, 1, rows),
            "colour": random.choice(["red", "green", "blue, light"], rows),
            "y": y,
            "other": (x + random.normal(0, 0.5, rows) > 0.8).astype(int),
        }
    )


@pytest.fixture(scope="session")
def frame() -> pd.DataFrame:
    return table_of()


@pytest.fixture(scope="session")
def result(frame: pd.DataFrame) -> Result:
    return fit(frame, "y", target=0.8, methods="trained", **SHORT)


@pytest.fixture(scope="session")
def fitted(
    tmp_path_factory: pytest.TempPathFactory, frame: pd.DataFrame
) -> Callable[[str], tuple[Path, Result]]:
    """Return what fits a model of one family and writes its folder, once."""
    done: dict[str, tuple[Path, Result]] = {}

    def make(method: str) -> tuple[Path, Result]:
        if method not in done:
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(
                    "gobj.study.study.best_of",
                    lambda rows, _: next(row for row in rows if row.method.name == method),
                )
                found = fit(frame, ("y", "other"), target=0.7, **SHORT)
            folder = tmp_path_factory.mktemp("fitted") / "report"
            write(found, folder)
            done[method] = folder, found
        return done[method]

    return make
