"""Numbers of published implementations, and the comparison with them."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

_FILE = Path(__file__).parents[1] / "data" / "reference_cases.json"
_CASES = json.loads(_FILE.read_text(encoding="utf-8"))["cases"]


def each_published(family: str) -> pytest.MarkDecorator:
    """Parametrise a test by the published cases of a family."""
    cases = {case["id"]: case for case in _CASES if case["family"] == family}
    return pytest.mark.parametrize("published", cases.values(), ids=cases.keys())


def tensor(values: Any) -> Tensor:
    """Read numbers in float64."""
    return torch.tensor(values, dtype=torch.float64)


def optional(values: Any) -> Tensor | None:
    """Read numbers in float64, or nothing."""
    return None if values is None else tensor(values)


def check(got: Tensor, expected: Any, tolerance: float = 1e-10) -> None:
    """Compare with numbers, absolutely below 1 and relatively above."""
    torch.testing.assert_close(got, tensor(expected), rtol=tolerance, atol=tolerance)


def check_gradient(loss: Tensor, inputs: Tensor, expected: Any) -> None:
    """Compare the gradient of a loss, of its sum if it is not a scalar, with numbers."""
    (slope,) = torch.autograd.grad(loss.sum(), inputs, retain_graph=True)
    check(slope, expected)
