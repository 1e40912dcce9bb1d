"""A skorch net with a learned threshold works wherever scikit-learn takes an estimator."""

import copy
import importlib.util
import pickle
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.metrics import precision_score
from skorch import NeuralNetBinaryClassifier
from skorch.dataset import ValidSplit
from skorch.utils import _sigmoid_then_2d

import gobj

SCRIPT = Path(__file__).parents[2] / "docs" / "recipes" / "with_skorch.py"


@pytest.fixture(scope="module")
def script() -> Any:
    """The script as a module that can be imported, without which nothing of it is pickled."""
    specification = importlib.util.spec_from_file_location(SCRIPT.stem, SCRIPT)
    assert specification is not None
    module = importlib.util.module_from_spec(specification)
    sys.modules[SCRIPT.stem] = module
    with torch.random.fork_rng():
        specification.loader.exec_module(module)
    yield module
    del sys.modules[SCRIPT.stem]


@pytest.fixture
def pipeline(script: Any) -> Any:
    return copy.deepcopy(script.search.best_estimator_)


def logits_of(pipeline: Any, rows: np.ndarray) -> np.ndarray:
    scaler, net = (step for _, step in pipeline.steps)
    with torch.no_grad():
        return net.module_(torch.tensor(scaler.transform(rows))).squeeze(1).numpy()


def options(script: Any, **changed: Any) -> dict[str, Any]:
    return {**script.net.get_params(deep=False), "max_epochs": 3, "lr": 0.03, **changed}


def test_predict_calls_a_row_positive_above_the_learned_threshold(
    script: Any, pipeline: Any
) -> None:
    logits, threshold = logits_of(pipeline, script.X_test), pipeline[-1].criterion_.threshold.item()
    flagged = pipeline.predict(script.X_test)
    np.testing.assert_array_equal(flagged, logits > threshold)
    assert (flagged != (logits > 0)).sum() > 20
    np.testing.assert_array_equal(flagged, script.search.predict(script.X_test))


def test_precision_on_training_rows_is_near_its_target(script: Any, pipeline: Any) -> None:
    assert precision_score(script.y, pipeline.predict(script.X)) == pytest.approx(0.8, abs=0.02)


def test_skorch_alone_calls_at_a_logit_of_zero_whatever_the_target(script: Any) -> None:
    net = NeuralNetBinaryClassifier(**options(script, max_epochs=30))
    net.set_params(criterion__target_precision=0.6, predict_nonlinearity=_sigmoid_then_2d)
    torch.manual_seed(0)
    flagged = net.fit(script.X, script.y).predict(script.X)
    np.testing.assert_array_equal(flagged, net.forward(script.X).numpy() > 0)
    assert precision_score(script.y, flagged) > 0.7


def test_skorch_alone_raises_after_its_first_epoch(script: Any) -> None:
    plain = NeuralNetBinaryClassifier(**options(script, train_split=ValidSplit(5)))
    with pytest.raises(IndexError, match="too many indices"):
        plain.fit(script.X, script.y)
    assert len(plain.history) == 1


def test_validation_rows_of_skorch_move_no_state(script: Any) -> None:
    net = script.ThresholdNet(**options(script, train_split=ValidSplit(5))).fit(script.X, script.y)
    trained = int(0.8 * len(script.X))
    assert net.criterion_.state.statistics.steps.item() == 3 * -(-trained // 512)
    assert all(np.isfinite(net.history[:, "valid_loss"]))


def test_probabilities_are_above_a_half_above_the_threshold(script: Any, pipeline: Any) -> None:
    both = pipeline.predict_proba(script.X_test)
    np.testing.assert_allclose(both.sum(1), 1, rtol=1e-6)
    np.testing.assert_array_equal(both[:, 1] > 0.5, pipeline.predict(script.X_test) == 1)


def test_a_pickle_predicts_alike(script: Any, pipeline: Any) -> None:
    again = pickle.loads(pickle.dumps(pipeline))
    np.testing.assert_array_equal(again.predict(script.X_test), pipeline.predict(script.X_test))


def test_a_clone_has_the_settings_and_none_of_the_state(pipeline: Any) -> None:
    fresh = clone(pipeline[-1])
    assert fresh.get_params()["criterion__target_precision"] == 0.8
    fresh.initialize()
    assert fresh.criterion_.threshold.item() == 0


def test_the_target_can_be_searched(script: Any) -> None:
    net = script.ThresholdNet(**options(script, max_epochs=30))
    net.set_params(criterion__target_precision=0.6).fit(script.X, script.y)
    assert precision_score(script.y, net.predict(script.X)) == pytest.approx(0.6, abs=0.03)


def test_a_threshold_of_held_out_rows_is_the_one_that_a_pickle_calls_at(
    script: Any, pipeline: Any
) -> None:
    scores = torch.tensor(pipeline.decision_function(script.X_test))
    problem = gobj.recall_at_precision(0.9)
    point = gobj.fit_threshold(scores, torch.tensor(script.y_test), problem)
    pipeline[-1].criterion_.threshold.fill_(point.threshold)
    again = pickle.loads(pickle.dumps(pipeline))
    flagged = again.predict(script.X_test)
    assert precision_score(script.y_test, flagged) == pytest.approx(point.precision.item())
    assert point.precision >= 0.9
