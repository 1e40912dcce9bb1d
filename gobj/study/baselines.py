"""What is compared beside what is trained by gradients: logistic regression and boosting."""

import importlib.util
import time
from collections.abc import Iterator
from functools import partial
from typing import Any

import numpy as np
import torch
from joblib import Parallel, delayed  # type: ignore[import-untyped]
from sklearn.ensemble import HistGradientBoostingClassifier  # type: ignore[import-untyped]
from sklearn.linear_model import LogisticRegression  # type: ignore[import-untyped]
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]
from torch import Tensor

from gobj.study.columns import Array
from gobj.study.data import Data
from gobj.study.methods import Family, Fitted, Method, Stage, Work, cross_entropy_of

FEWEST_TO_STOP = 20  # rows of a class, of which a tenth tells when boosting is to stop
PENALTIES = ({"C": 0.003}, {"C": 0.03}, {"C": 0.3}, {"C": 3.0}, {"C": 100.0})
BOOSTERS = (
    {"learning_rate": 0.05, "max_leaf_nodes": 7},
    {"learning_rate": 0.05, "max_leaf_nodes": 31},
)
LIGHT = (
    {"learning_rate": 0.05, "num_leaves": 7, "n_estimators": 200},
    {"learning_rate": 0.05, "num_leaves": 15, "n_estimators": 100},
)


def baseline_methods(data: Data) -> list[Method]:
    """Return the rows that scikit-learn fits, and LightGBM where it is installed."""
    rows: list[tuple[str, Family, Any, Any, float]] = [
        ("logistic regression", "linear", PENALTIES, logistic, 1.0),
        ("gradient boosting", "trees", BOOSTERS, boosting, 10.0),
    ]
    if importlib.util.find_spec("lightgbm") is not None:
        rows.append(("LightGBM", "trees", LIGHT, light_boosting, 5.0))
    # Of a hundred thousand rows boosting takes a few times what the same number of batches does.
    size = 20 + len(data.truth) / 200
    return [
        Method(
            name, family, False, settings, partial(fit_estimators, make, size * cost), size * cost
        )
        for name, family, settings, make, cost in rows
    ]


def logistic(setting: dict[str, Any]) -> Any:
    """Return a logistic regression that runs until it has converged."""
    return LogisticRegression(max_iter=5000, **setting)


def boosting(setting: dict[str, Any]) -> Any:
    """Return scikit-learn's booster, which stops on a tenth of its rows."""
    stopping = {"early_stopping": True, "validation_fraction": 0.1, "max_iter": 500}
    return HistGradientBoostingClassifier(random_state=0, **stopping, **setting)


def light_boosting(setting: dict[str, Any]) -> Any:
    """Return LightGBM's booster."""
    import lightgbm  # noqa: PLC0415, only where it is installed

    return lightgbm.LGBMClassifier(random_state=0, n_jobs=1, verbose=-1, **setting)


def fit_estimators(make: Any, cost: float, work: Work, setting: dict[str, Any]) -> Fitted:
    """Fit an estimator for each split and label."""
    stage, labels = work.stage, work.stage.data.labels
    raw = make is not logistic
    splits = len(stage.scalings)
    start = time.perf_counter()
    # Threads start at once, and what takes long runs outside of Python's lock.
    parallel = Parallel(n_jobs=work.options.jobs, prefer="threads", return_as="generator")
    tasks = [delayed(_fit)(make(setting), *task) for task in _tasks(stage, raw)]
    done = []
    for result in parallel(tasks):
        done.append(result)
        work.progress.advance(cost / (splits * len(labels)))
    seconds = time.perf_counter() - start
    models = [result[0] for result in done]
    scores = [
        torch.nn.utils.rnn.pad_sequence([torch.from_numpy(result[1][part]) for result in done])
        for part in range(3)
    ]
    each = [models[first : first + len(labels)] for first in range(0, len(done), len(labels))]
    return Fitted(
        setting, seconds, each, scores[1], scores[2], cross_entropy_of(work, scores[0].float())
    )


def _tasks(stage: Stage, raw: bool) -> Iterator[tuple[list[Array], Array, Array]]:
    """Return the features of the three parts, and labels and weights, of each split and label."""
    data = stage.data
    for split in range(len(stage.scalings)):
        features = [_features(stage, part, split, raw) for part in range(3)]
        rows = stage.rows.train[split]
        rows = rows[rows >= 0]
        for label in range(len(data.labels)):
            weights = torch.ones(len(rows)) if data.weights is None else data.weights[rows, label]
            yield features, data.truth[rows, label].numpy(), weights.numpy()


def _features(stage: Stage, part: int, split: int, raw: bool) -> Array:
    """Return the features of the rows of a split; trees take them as they are, with NaN."""
    rows = stage.rows[part][split]
    some = rows >= 0
    features: Tensor = (
        stage.data.features[rows[some]] if raw else stage.parts[part].features[split][some]
    )
    return features.numpy()


def _fit(estimator: Any, features: list[Array], labels: Array, weights: Array) -> Any:
    """Fit an estimator where both classes have weight, and return it with its scores."""
    used = weights > 0
    rarest = min((labels[used] == value).sum() for value in (0, 1))
    if rarest == 0:
        return None, [np.zeros(len(rows)) for rows in features]
    if rarest < FEWEST_TO_STOP and hasattr(estimator, "early_stopping"):
        estimator.set_params(early_stopping=False, max_iter=100)
    with threadpool_limits(1):  # more threads than cores wait for each other for minutes
        estimator.fit(features[0][used], labels[used], sample_weight=weights[used])
    return estimator, [decide(estimator, rows) for rows in features]


def decide(estimator: Any, features: Array) -> Array:
    """Return the log odds of an estimator."""
    if estimator is None or len(features) == 0:
        return np.zeros(len(features))
    if hasattr(estimator, "decision_function"):
        scores: Array = estimator.decision_function(features)
        return scores
    margin: Array = estimator.predict(features, raw_score=True)
    return margin
