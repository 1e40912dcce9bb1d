"""Thresholds and settings from validation rows, numbers from test rows, held to scikit-learn."""

import numpy as np
import pytest
import torch
from sklearn import metrics
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from gobj.study import comparison
from gobj.study.baselines import baseline_methods
from gobj.study.comparison import Outcome, fit_settings, measure
from gobj.study.data import Data, load
from gobj.study.goals import make_goal
from gobj.study.methods import Method, Work, batch_size, make_stage, trained_methods
from gobj.study.options import Options
from gobj.study.progress import Progress
from gobj.study.ranks import Ranks
from gobj.study.reading import sample
from tests.study.conftest import table_of

ROWS = 600
OPTIONS = Options(("y",), seeds=2, steps=60, jobs=1)


def data_of(options: Options = OPTIONS, rows: int = ROWS) -> Data:
    frame = table_of(rows).assign(w=np.arange(rows) // 3 % 3)
    return load(sample(frame, rows, 0, rows), options, Ranks())


def work_of(data: Data, *objective: str, target: float = 0.8) -> Work:
    goals = [make_goal(name, target) for name in objective]
    return Work(make_stage(data, data.plan.splits), goals, OPTIONS, Progress(quiet=True))


def method(name: str) -> Method:
    every = [*baseline_methods(data_of()), *trained_methods(OPTIONS)]
    return next(found for found in every if found.name == name)


def outcome(name: str, work: Work) -> Outcome:
    return measure(method(name), fit_settings(method(name), work), work)


def test_the_logistic_regression_is_that_of_scikit_learn() -> None:
    data = data_of()
    work = work_of(data, "recall_at_precision")
    found = method("logistic regression").fit(work, {"C": 0.3})
    rows = data.plan.splits
    features = data.features.numpy()
    for split in range(2):
        known = np.where(np.isnan(features), np.nanmedian(features[rows.train[split]], 0), features)
        scaler = StandardScaler().fit(known[rows.train[split]])
        clipped = scaler.transform(known).clip(-5, 5)
        model = LogisticRegression(C=0.3).fit(
            clipped[rows.train[split]], data.truth[rows.train[split], 0]
        )
        expected = model.decision_function(clipped[rows.test[split]])
        np.testing.assert_allclose(found.test[:, split], expected, atol=1e-3)


@pytest.mark.parametrize("name", ["BCE, linear", "gradient boosting", "objective, network"])
def test_the_threshold_is_the_best_of_the_validation_rows_and_its_rates_are_of_test_rows(
    name: str,
) -> None:
    data = data_of()
    found = outcome(name, work_of(data, "recall_at_precision"))
    for split in range(2):
        rows = data.plan.splits.validation[split]
        precision, recall, _ = metrics.precision_recall_curve(
            data.truth[rows, 0], found.models.validation[:, split]
        )
        assert found.validation[split, 0].item() == pytest.approx(recall[precision >= 0.8].max())
        test = data.plan.splits.test[split]
        flags = found.models.test[:, split] > found.fitted.threshold[split, 0]
        truth = data.truth[test, 0]
        assert found.fitted.value[split, 0].item() == pytest.approx(
            metrics.recall_score(truth, flags)
        )
        assert found.fitted.constrained[split, 0].item() == pytest.approx(
            metrics.precision_score(truth, flags)
        )


def test_the_certified_threshold_is_on_the_safe_side() -> None:
    found = outcome("BCE, linear", work_of(data_of(), "precision_at_recall", target=0.6))
    assert found.certified.feasible.all()
    assert (found.certified.threshold <= found.fitted.threshold).all()


def test_a_target_that_validation_rows_cannot_meet_counts_as_the_worst(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    fit_threshold = comparison._fit_threshold

    def infeasible(*arguments: object) -> tuple[torch.Tensor, torch.Tensor]:
        threshold, feasible = fit_threshold(*arguments)  # type: ignore[arg-type]
        return threshold, torch.zeros_like(feasible)

    monkeypatch.setattr(comparison, "_fit_threshold", infeasible)
    found = outcome("BCE, linear", work_of(data_of(), "recall_at_precision"))
    assert found.fitted.value.tolist() == [[0.0], [0.0]]
    assert found.fitted.held(make_goal("recall_at_precision", 0.1), 0) == 0


def test_the_setting_is_the_best_on_validation_rows() -> None:
    work = work_of(data_of(), "fpr_at_tpr")
    tried = fit_settings(method("BCE, network"), work)
    values = [comparison.validation_value(fitted, work).mean().item() for fitted in tried]
    chosen = measure(method("BCE, network"), tried, work)
    assert len(set(values)) > 1
    assert chosen.models.setting == tried[values.index(min(values))].setting


def test_whole_weights_count_as_rows() -> None:
    options = Options(("y",), weights="w", seeds=2, steps=5, jobs=1)
    data = data_of(options)
    found = outcome("logistic regression", work_of(data, "recall_at_precision"))
    rows = data.plan.splits.test[0]
    assert data.counts is not None
    times = data.counts[rows, 0].long()
    truth = data.truth[rows, 0].repeat_interleave(times)
    flags = (found.models.test[:, 0] > found.fitted.threshold[0, 0]).repeat_interleave(times)
    assert found.fitted.value[0, 0].item() == pytest.approx(metrics.recall_score(truth, flags))


def test_a_batch_holds_enough_of_rare_positives() -> None:
    data = data_of()
    rare = data._replace(labels=[data.labels[0]._replace(share=0.01)])
    assert batch_size(data) == 512
    assert batch_size(rare) == 4800


def test_only_ratios_of_weights_matter_and_equal_ones_are_none() -> None:
    frame = table_of(ROWS).assign(w=np.arange(ROWS) // 3 % 3, one=7)
    options = Options(("y",), weights="w", seeds=2, steps=5, jobs=1)
    found = [
        load(sample(frame.assign(w=frame.w * scale), ROWS, 0, ROWS), options, Ranks())
        for scale in (1.0, 1e-3)
    ]
    assert found[0].weights is not None
    assert found[1].weights is not None
    torch.testing.assert_close(found[0].weights, found[1].weights)
    assert [comparison.can_certify(data) for data in found] == [True, False]
    same = Options(("y",), weights="one", seeds=2)
    data = load(sample(frame, ROWS, 0, ROWS), same, Ranks())
    assert data.weights is None
    assert data.counts is None


def test_boosting_learns_of_one_positive() -> None:
    data = data_of()
    truth = torch.zeros_like(data.truth)
    truth[data.plan.splits.train[:, 0]] = 1
    found = method("gradient boosting").fit(
        work_of(data._replace(truth=truth), "recall_at_precision"), {"learning_rate": 0.05}
    )
    assert found.test.isfinite().all()
