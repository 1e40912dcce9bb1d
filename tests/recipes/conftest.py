"""Run the script of a recipe as its reader does, once for the tests of a file."""

import functools
import os
import runpy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

FOLDER = Path(__file__).parents[2] / "docs" / "recipes"


@pytest.fixture(scope="session")
def recipe(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], dict[str, Any]]:
    """Run a script by its name, in an empty folder; return the names that it ends with."""

    @functools.cache
    def run(name: str) -> dict[str, Any]:
        folder, before = tmp_path_factory.mktemp(name), Path.cwd()
        os.chdir(folder)
        try:
            with torch.random.fork_rng():
                names = runpy.run_path(str(FOLDER / f"{name}.py"))
        finally:
            os.chdir(before)
        assert not list(folder.iterdir())  # a script leaves no files
        return names

    return run


@pytest.fixture
def same() -> Callable[[Any, Any], bool]:
    """Compare nested dicts and sequences of tensors bit for bit."""

    def equal(one: Any, other: Any) -> bool:
        if isinstance(one, torch.Tensor):
            return one.dtype == other.dtype and torch.equal(one, other)
        if isinstance(one, dict):
            return one.keys() == other.keys() and all(equal(one[k], other[k]) for k in one)
        if isinstance(one, list | tuple):
            return len(one) == len(other) and all(map(equal, one, other))
        return bool(one == other)

    return equal
