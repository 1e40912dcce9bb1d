"""Settings of every test: Hypothesis profiles, one thread, and the devices that exist."""

import importlib
import os
import warnings

import pytest
import torch
from hypothesis import settings

settings.register_profile("local", max_examples=40, deadline=None, derandomize=True)
settings.register_profile("ci", max_examples=50, deadline=None, derandomize=True)
settings.load_profile("ci" if os.environ.get("CI") else "local")

torch.set_num_threads(1)  # the tensors are small: threads cost more than they bring

with warnings.catch_warnings():  # torch scripts its forward derivatives when they are first used
    warnings.filterwarnings("ignore", r"`torch\.jit\.")  # a FutureWarning since torch 2.15
    importlib.import_module("torch._decomp.decompositions_for_jvp")

DEVICES = ["cpu", "cuda"] if torch.cuda.is_available() else ["cpu"]
collect_ignore = [] if torch.cuda.is_available() else ["test_cuda.py"]


@pytest.fixture(params=DEVICES)
def device(request: pytest.FixtureRequest) -> torch.device:
    """Each device of this machine."""
    return torch.device(request.param)


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)
