"""The contract takes areas both ways: one anchor after the other, and all together."""

import pytest

from gobj import _anchored_labels
from tests.cases import Case


@pytest.fixture(autouse=True)
def _take_anchors_together(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    callspec = getattr(request.node, "callspec", None)
    case = callspec and callspec.params.get("case")
    if isinstance(case, Case) and case.together:
        monkeypatch.setattr(_anchored_labels, "FEW_ANCHORS", 0)
        monkeypatch.setattr(_anchored_labels, "FEW_COSTS", 0)
