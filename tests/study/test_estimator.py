"""The classifier: scikit-learn's own checks, the guarantee, and what both rest on."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.impute import SimpleImputer
from sklearn.metrics import precision_score, recall_score, roc_auc_score
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.utils.estimator_checks import parametrize_with_checks

from gobj.study import estimator
from gobj.study.estimator import ObjectiveClassifier
from gobj.study.splits import Part

Array = np.ndarray[Any, Any]


def draw(rows: int, seed: int, *, digits: int = 8) -> tuple[Array, Array]:
    """Draw three columns, of which two tell; with few digits many rows have one score."""
    source = np.random.default_rng(seed)
    found = source.random(rows) < 0.3
    features = source.normal(size=(rows, 3)) + found[:, None] * np.array([1.5, 1.0, 0.0])
    return features.round(digits), found.astype(int)


class Recording(ObjectiveClassifier):
    """Keeps the rows that a threshold is taken from, and their logits."""

    sample: tuple[Array, Array]

    def _logits(self, features: Array) -> torch.Tensor:
        logits = super()._logits(features)
        if not hasattr(self, "sample"):
            self.sample = features, logits.double().numpy()
        return logits


def keys(features: Array) -> list[tuple[float, ...]]:
    return sorted(map(tuple, features.tolist()))


@parametrize_with_checks(
    [
        ObjectiveClassifier(steps=60),
        ObjectiveClassifier("fpr_at_tpr", hidden=(4,), steps=30, confidence=None),
    ]
)
def test_scikit_learn_finds_nothing_amiss(estimator: Any, check: Callable[[Any], None]) -> None:
    check(estimator)


def test_a_pipeline_fills_missing_numbers_and_a_search_chooses_what_trains() -> None:
    features, labels = draw(600, 0)
    features[::7, 0] = np.nan
    model = ObjectiveClassifier("recall_at_precision", 0.7, steps=30, confidence=None)
    pipeline = make_pipeline(SimpleImputer(), model)
    grid = {"objectiveclassifier__lr": [1e-9, 0.05], "objectiveclassifier__hidden": [(), (4,)]}
    search = GridSearchCV(pipeline, grid, scoring="average_precision", cv=3).fit(features, labels)
    assert search.best_params_["objectiveclassifier__lr"] == 0.05
    best = search.best_estimator_
    assert best[-1].point_.precision >= 0.7
    assert cross_val_score(best, features, labels, scoring="roc_auc", cv=3).min() > 0.7


@pytest.mark.parametrize("name", ["fpr_at_tpr", "tpr_at_fpr"])
def test_what_is_certified_holds_on_new_rows_and_what_is_fitted_does_not_always(name: str) -> None:
    features, labels = draw(100_000, 99)
    target = 0.8 if name == "fpr_at_tpr" else 0.1
    label, way = (1, 1) if name == "fpr_at_tpr" else (0, -1)
    holds: dict[float | None, int] = {}
    for confidence in (0.95, None):
        model = ObjectiveClassifier(name, target, steps=20, confidence=confidence)
        fits = [model.fit(*draw(500, seed)).predict(features) for seed in range(30)]
        rates = [(found[labels == label] == 1).mean() for found in fits]
        holds[confidence] = sum(way * rate >= way * target for rate in rates)
        assert model.certified_ == (confidence is not None)
    assert holds[0.95] >= 26  # binomial: 29 are expected, and fewer than 26 once in 300 times
    assert holds[None] <= 24


def test_a_certified_precision_holds_on_new_rows() -> None:
    features, labels = draw(100_000, 99)
    rates = []
    for seed in range(12):
        model = ObjectiveClassifier("recall_at_precision", 0.7, steps=100).fit(*draw(3000, seed))
        assert model.certified_
        rates.append(precision_score(labels, model.predict(features)))
    assert sum(rate >= 0.7 for rate in rates) >= 11
    assert np.mean(rates) < 0.8  # and it is no threshold that calls nearly nobody


def test_what_a_network_learns_by_heart_is_not_certified() -> None:
    source = np.random.default_rng(0)
    features, labels = source.normal(size=(600, 20)), source.integers(2, size=600)
    options = {"hidden": (256,), "steps": 200, "held_out": 0.5}
    model = Recording("recall_at_precision", 0.8, **options).fit(features, labels)
    assert not model.certified_
    # on the rows that it knows it would be
    known = np.isin(features[:, 0], model.sample[0][:, 0], invert=True)
    assert roc_auc_score(labels[known], model.decision_function(features[known])) > 0.99


def test_training_sees_no_row_of_the_threshold_and_is_standardised_on_its_own(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    parts: list[Part] = []

    def spy(part: Part, *args: Any, **options: Any) -> Any:
        parts.append(part)
        return train(part, *args, **options)

    train = estimator.train
    monkeypatch.setattr(estimator, "train", spy)
    features, labels = draw(1000, 0)
    model = Recording(steps=1, held_out=0.2).fit(features, labels)
    held = model.sample[0]
    trained = parts[0].features[0].double().numpy()
    both = np.vstack((trained * model.scale_ + model.mean_, held))
    assert np.allclose(keys(both), keys(features), atol=1e-5)
    assert np.abs(trained.mean(0)).max() < 1e-3
    assert len(held) == round(0.2 * labels.sum()) + round(0.2 * (1 - labels).sum())
    share = np.isin(features[:, 0], held[:, 0])[labels == 1].mean()
    assert share == pytest.approx(0.2, abs=0.002)


def test_parameters_and_weights_reach_the_training(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[Part, dict[str, Any]]] = []

    def spy(part: Part, *args: Any, **options: Any) -> Any:
        seen.append((part, options))
        return train(part, *args, **options)

    train = estimator.train
    monkeypatch.setattr(estimator, "train", spy)
    given = {"hidden": (3,), "steps": 2, "batch": 7, "lr": 0.3, "decay": 0.1}
    features, labels = draw(200, 1)
    weights = np.where(labels == 1, 0.5, 10.25)
    ObjectiveClassifier(**given).fit(features, labels, weights)
    ObjectiveClassifier(**given, random_state=1).fit(features, labels, weights)
    (part, options), (_, others) = seen
    assert options["seed"] != others["seed"]
    assert options.items() >= given.items()
    assert part.weights is not None
    assert part.weights.mean() == pytest.approx(1)
    by_class = [part.weights[part.labels == label].unique() for label in (0, 1)]
    assert by_class[0] / by_class[1] == pytest.approx(20.5)


@pytest.mark.parametrize("confidence", [0.95, None])
@pytest.mark.parametrize("digits", [8, 0])
def test_the_threshold_is_that_of_the_rows_held_out(confidence: float | None, digits: int) -> None:
    features, labels = draw(2000, 3, digits=digits)
    model = Recording("precision_at_recall", 0.8, steps=30, confidence=confidence)
    held, logits = model.fit(features, labels).sample
    assert model.certified_ == (confidence is not None)
    found = model.predict(held) == 1
    assert (found == (logits > model.point_.threshold.item())).all()
    assert found.mean() == pytest.approx(model.point_.flagged.item())
    assert 0 < model.threshold_ - model.point_.threshold.item() < 1e-5
    assert np.array_equal(model.decision_function(held), logits - model.threshold_)


def test_decisions_have_the_sign_that_scikit_learn_reads() -> None:
    features, labels = draw(600, 5, digits=0)  # many rows have the very score of the threshold
    names = np.array(["no", "yes"])
    usual = ObjectiveClassifier(steps=30).fit(features, names[labels])
    first = ObjectiveClassifier(steps=30, positive="no").fit(features, names[1 - labels])
    assert (usual.positive_, first.positive_) == ("yes", "no")
    assert first.threshold_ == usual.threshold_
    assert np.array_equal(first.decision_function(features), -usual.decision_function(features))
    for model, found in ((usual, "yes"), (first, "no")):
        above, classes = model.decision_function(features), model.predict(features)
        assert (above != 0).all()
        assert np.array_equal(classes, model.classes_[(above > 0).astype(int)])
        assert np.array_equal(classes, model.classes_[model.predict_proba(features).argmax(1)])
        assert recall_score(names[labels] == "yes", classes == found) > 0.3


def test_probabilities_take_the_side_of_the_least_difference() -> None:
    model = ObjectiveClassifier(steps=1).fit(*draw(50, 0))
    model.layers_ = [layer * 0 for layer in model.layers_]
    for sign in (1, -1):
        model.threshold_ = -sign * 1e-45
        probabilities = model.predict_proba(np.zeros((1, 3)))
        assert probabilities.argmax(1) == (sign > 0)
        assert probabilities.sum() == 1


@pytest.mark.parametrize(("positives", "negatives"), [(1, 1), (1, 30), (30, 1), (2, 2)])
def test_few_rows_are_enough_for_a_model_and_too_few_for_a_certificate(
    positives: int, negatives: int
) -> None:
    labels = np.repeat([1, 0], [positives, negatives])
    features = labels[:, None] + 0.1 * np.random.default_rng(0).normal(size=(len(labels), 2))
    model = ObjectiveClassifier(steps=100, held_out=0.1).fit(features, labels)
    assert not model.certified_
    assert (model.certificate_ is None) == (min(positives, negatives) == 1)
    assert np.array_equal(model.predict(features), labels)


def test_whole_weights_are_counts_and_the_order_of_rows_is_none() -> None:
    features, labels = draw(800, 6, digits=1)
    source = np.random.default_rng(0)
    counts = source.integers(4, size=800)
    rows = source.permutation(np.arange(800).repeat(counts))
    model = ObjectiveClassifier("tpr_at_fpr", 0.2, steps=20, batch=100)
    repeated = clone(model).fit(features[rows], labels[rows])
    weighted = model.fit(features, labels, sample_weight=counts)
    assert weighted.certified_
    assert weighted.certificate_.examples == repeated.certificate_.examples
    assert weighted.threshold_ == repeated.threshold_
    assert all(map(torch.equal, weighted.layers_, repeated.layers_))


def test_the_two_zeros_are_one_number() -> None:
    features, labels = draw(200, 6, digits=0)
    models = [ObjectiveClassifier(steps=5).fit(x, labels) for x in (features, features + 0.0)]
    assert np.signbit(features[features == 0]).any()
    assert models[0].threshold_ == models[1].threshold_


def test_other_weights_count_in_loss_and_threshold_and_nothing_is_certified() -> None:
    features, labels = draw(2000, 7)
    weights = np.where(labels == 1, 0.05, 1.5)
    model = ObjectiveClassifier("recall_at_precision", 0.6, steps=200)
    plain = clone(model).fit(features, labels)
    assert plain.certified_
    model.fit(features, labels, sample_weight=weights)
    assert model.certificate_ is None
    assert not model.certified_
    assert model.point_.precision >= 0.6
    # with a thirtieth of the weight a positive has to be worth more to be called
    found = model.predict(features) == 1
    assert precision_score(labels, found, sample_weight=weights) > 0.5
    assert found.sum() < 0.5 * (plain.predict(features) == 1).sum()


def test_weights_too_large_for_copies_are_no_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    features, labels = draw(400, 7)
    monkeypatch.setattr(estimator, "MOST_COPIES", 500)
    model = ObjectiveClassifier("tpr_at_fpr", 0.2, steps=5)
    assert model.fit(features, labels, np.full(400, 2.0)).certificate_ is None
    assert model.fit(features, labels, np.full(400, 1.0)).certificate_ is not None


def test_a_row_is_scored_alike_in_whatever_company() -> None:
    features, labels = draw(700, 8)
    model = ObjectiveClassifier(hidden=(9,), steps=20).fit(features, labels)
    alone = np.concatenate([model.decision_function(row[None]) for row in features])
    assert np.array_equal(alone, model.decision_function(features))


def test_fitting_leaves_torch_as_it_was() -> None:
    generator, threads = torch.get_rng_state(), torch.get_num_threads()
    numbers = np.random.get_state()[1]  # noqa: NPY002
    ObjectiveClassifier(steps=5).fit(*draw(100, 0))
    assert torch.equal(generator, torch.get_rng_state())
    assert threads == torch.get_num_threads()
    assert np.array_equal(numbers, np.random.get_state()[1])  # noqa: NPY002


def test_a_random_state_repeats_a_fit_and_none_does_not() -> None:
    def logit(state: int | None) -> float:
        model = ObjectiveClassifier(steps=3, random_state=state).fit(*draw(100, 0))
        return float(model.decision_function(np.ones((1, 3)))[0])

    assert logit(0) == logit(0)
    assert len({logit(0), logit(1), logit(None), logit(None)}) == 4


def test_one_random_state_holds_out_other_places_of_another_table() -> None:
    labels, rows = np.arange(100) % 2, np.arange(100.0)
    places = [
        keys(Recording(steps=1).fit(np.column_stack((rows, rows * 0 + other)), labels).sample[0])
        for other in (0, 1)
    ]
    places = [[row[0] for row in table] for table in places]
    assert places[0] != places[1]


@pytest.mark.parametrize(
    ("name", "target", "end", "called"),
    [("recall_at_precision", 0.3, -np.inf, 1), ("tpr_at_fpr", 0.001, np.inf, 0)],
)
def test_an_infinite_threshold_is_a_finite_one_that_no_row_gets_past(
    name: str, target: float, end: float, called: int
) -> None:
    source = np.random.default_rng(2)
    features, labels = source.normal(size=(300, 2)), source.integers(2, size=300)
    model = ObjectiveClassifier(name, target, hidden=(3,), steps=5, confidence=None)
    assert model.fit(features, labels).point_.threshold == end
    extremes = np.array([[x, y] for x in (-1e300, 0, 1e300) for y in (-1e300, 0, 1e300)])
    assert np.isfinite(model.decision_function(extremes)).all()
    assert (model.predict(extremes) == called).all()


def test_numbers_that_squares_have_no_room_for_are_only_large() -> None:
    features, labels = draw(300, 9)
    features[:2] = 1e300, -1e300, 1e308
    model = ObjectiveClassifier(steps=5).fit(features, labels)
    assert np.isfinite(model.decision_function(features)).all()
    features[:, 0] = labels / 1e12
    model = ObjectiveClassifier(steps=50).fit(features, labels)
    assert np.isfinite(model.decision_function(np.copysign(1e300, features))).all()


@pytest.mark.parametrize("unit", [1e-12, 1e12])
def test_the_unit_of_a_column_has_no_influence(unit: float) -> None:
    features, labels = draw(600, 9)
    model = ObjectiveClassifier(steps=60).fit(features * unit, labels)
    assert roc_auc_score(labels, model.decision_function(features * unit)) > 0.85


def test_a_column_that_was_constant_counts_for_nothing() -> None:
    features, labels = draw(300, 9)
    for constant in (0.0, 0.1, 1e12):
        table = np.column_stack((features, np.full(300, constant)))
        model = ObjectiveClassifier(steps=5).fit(table, labels)
        changed = table + np.array([0, 0, 0, 1e13])
        assert np.array_equal(model.decision_function(table), model.decision_function(changed))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"objective": "recall"},
            "`objective` must be one of recall_at_precision, .*; got 'recall'",
        ),
        ({"objective": 3}, "`objective` must be one of .*; got 3"),
        ({"target": 1.0}, r"`target` must be a number in \(0, 1\); got 1.0"),
        ({"hidden": (4, 0)}, r"`hidden` must be a tuple of whole numbers above 0; got \(4, 0\)"),
        ({"hidden": 4}, "`hidden` must be a tuple of whole numbers above 0; got 4"),
        ({"steps": 0}, "`steps` must be a whole number above 0; got 0"),
        ({"batch": 2.5}, "`batch` must be a whole number above 0; got 2.5"),
        ({"lr": 0.0}, r"`lr` must be a number in \(0, 1e\+30\); got 0.0"),
        ({"lr": 1e29}, r"`lr` must be small enough for the training to converge; got 1e\+29"),
        ({"decay": -1}, r"`decay` must be a number in \[0, inf\]; got -1"),
        ({"held_out": None}, r"`held_out` must be a number in \(0, 1\); got None"),
        ({"confidence": 95}, r"`confidence` must be a number in \(0, 1\); got 95"),
        ({"positive": 2}, r"`positive` must be one of \[0, 1\]; got 2"),
    ],
)
def test_a_parameter_that_makes_no_sense_is_refused(options: dict[str, Any], message: str) -> None:
    model = ObjectiveClassifier(**({"steps": 5} | options))
    with pytest.raises(ValueError, match=f"^ObjectiveClassifier: {message}\\.$"):
        model.fit(*draw(100, 0))


@pytest.mark.parametrize(
    ("labels", "weights", "message"),
    [
        (
            np.arange(100) % 3,
            None,
            r"`y` must have two classes \(Only binary .*\); got 'multiclass'",
        ),
        (
            np.ones(100),
            None,
            r"`y` must have more than 1 class among rows with weight; got \[1.0\]",
        ),
        (
            np.arange(100) % 2,
            np.arange(100) % 2,
            "`y` must have more than 1 class",
        ),
        (
            np.arange(100) % 2,
            np.full(100, -1),
            "`sample_weight` must be at or above zero, and not zero everywhere",
        ),
        (np.arange(100) % 2, np.ones((100, 1)), r"`sample_weight` must have shape \[100\]; got a "),
    ],
)
def test_labels_and_weights_that_make_no_sense_are_refused(
    labels: Array, weights: Array | None, message: str
) -> None:
    with pytest.raises(ValueError, match=f"^ObjectiveClassifier: {message}"):
        ObjectiveClassifier().fit(draw(100, 0)[0], labels, weights)
