"""An ONNX file that holds the threshold calls the rows that the model calls."""

import logging
from collections.abc import Callable
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch

Names = dict[str, Any]
pytestmark = pytest.mark.filterwarnings("ignore:.*LeafSpec.* is deprecated")  # in torch itself
logging.getLogger("torch.onnx._internal.exporter._registration").setLevel(logging.ERROR)


@pytest.fixture
def names(recipe: Callable[[str], Names]) -> Names:
    return recipe("to_onnx")


def test_the_file_flags_the_rows_that_the_module_flags(names: Names) -> None:
    with torch.no_grad():
        logits, flags = names["deployed"](names["x"])
    got, flagged = names["session"].run(None, {"features": names["x"].numpy()})
    np.testing.assert_allclose(got, logits.numpy(), rtol=0, atol=1e-5)
    far = (logits - names["deployed"].threshold).abs().numpy() > 1e-5
    assert 0 < (~far).sum() < 5  # the threshold is the score of a row
    np.testing.assert_array_equal(flagged[far], flags.numpy()[far])
    assert flagged.dtype == bool


def test_the_flags_are_cut_at_the_threshold_and_not_at_zero(names: Names) -> None:
    logit, flag = names["logit"], names["flag"]
    np.testing.assert_array_equal(flag, logit > names["point"].threshold.float().item())
    assert ((logit > 0) != flag).sum() > 20


@pytest.mark.parametrize("rows", [1, 2, 777])
def test_any_number_of_rows_goes_through_the_file(names: Names, rows: int) -> None:
    inputs = names["x"][7000 : 7000 + rows].numpy()
    logit, flag = names["session"].run(None, {"features": inputs})
    np.testing.assert_allclose(logit, names["logit"][:rows], rtol=0, atol=1e-5)
    np.testing.assert_array_equal(flag, names["flag"][:rows])


def test_the_threshold_is_a_tensor_of_the_file_that_can_be_replaced(names: Names) -> None:
    model = names["program"].model_proto
    (threshold,) = (x for x in model.graph.initializer if x.name == "threshold")
    assert np.frombuffer(threshold.raw_data, np.float32) == names["point"].threshold.item()
    threshold.raw_data = np.float32(2.0).tobytes()
    session = onnxruntime.InferenceSession(model.SerializeToString())
    logit, flag = session.run(None, {"features": names["x"][7000:].numpy()})
    np.testing.assert_array_equal(flag, logit > 2.0)
    assert flag.sum() < names["flag"].sum()


def test_precision_on_rows_that_nothing_has_seen_is_near_its_target(names: Names) -> None:
    labels = names["y"][7000:].numpy()
    assert labels[names["flag"]].mean() == pytest.approx(0.8, abs=0.05)
