"""A classifier of scikit-learn's kind: an objective trained, its threshold from held-out rows."""

import zlib
from numbers import Integral
from typing import Any, NamedTuple, Self

import numpy as np
import torch
from scipy.special import expit  # type: ignore[import-untyped]
from sklearn.base import BaseEstimator, ClassifierMixin  # type: ignore[import-untyped]
from sklearn.utils import check_array, check_random_state  # type: ignore[import-untyped]
from sklearn.utils.multiclass import type_of_target  # type: ignore[import-untyped]
from sklearn.utils.validation import (  # type: ignore[import-untyped]
    check_is_fitted,
    validate_data,
)
from torch import Tensor

import gobj
from gobj._checks import check_number, is_number, refuse
from gobj.metrics._reading import OBJECTIVES
from gobj.study.goals import Goal
from gobj.study.splits import LARGEST, Part
from gobj.study.training import score, train

Array = np.ndarray[Any, Any]
NAME = "ObjectiveClassifier"
MOST_COPIES = 1_000_000  # rows after whole weights have become copies
FARTHEST = 1e100  # so that squares of features stay finite
CONSTANT = 1e-12  # of a column's largest number: a deviation that is rounding
DIVERGED = 1e30  # a logit that no training that converged has, far from where float32 ends
ABOVE_HALF = np.nextafter(0.5, 1)


class Examples(NamedTuple):
    """Rows in an order that depends on what they hold alone.

    Attributes:
        features: Shape ``[n, columns]``, float64.
        labels: 1 for the class to find and 0 for the other, shape ``[n]``, float64.
        weights: Above 0, shape ``[n]``; None where each row is one example.
        checksum: Of all of these.
    """

    features: Array
    labels: Array
    weights: Array | None
    checksum: int


class ObjectiveClassifier(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    r"""Train for an objective, such as recall at precision, and certify the threshold.

    :meth:`fit` puts aside a share of the rows of each class, trains one model on the rest with the
    objective's loss, and takes the threshold from the rows that were put aside: with
    :func:`gobj.certify`, so that on new rows of the same distribution the constraint holds with
    ``confidence``. Missing numbers are refused, as most of scikit-learn's classifiers do: an
    imputer goes before it in a pipeline. Features are standardised by mean and standard deviation
    of the training rows and clipped at five standard deviations; a column that is constant there
    counts for nothing.

    **Without a certificate.** Where the held-out rows support none, ``certified_`` is false and the
    threshold is that of :func:`gobj.fit_threshold`: the best that meets the constraint on the
    held-out rows, or comes closest to it, which on new rows misses about every second time.
    ``print(gobj.explain(model.certificate_))`` says how many held-out rows would be enough.
    Nothing is certified either without a ``confidence``, or where weights are no counts.

    **Few rows.** Of a class with two rows or more at least one is held out and at least one is not.
    A single row of a class goes to the training; then the held-out rows say nothing about the
    class, and the threshold is fitted, without a certificate, on all rows, those of the training
    included.

    **Weights** that are whole numbers and add up to at most a million (or the number of rows) are
    counts: a row of weight 3 is three independent examples, of which some may be held out while
    others are not, as if it stood there three times. Whoever weighs rows by what they matter has to
    make fractions of such weights, by a division by their mean: taken as counts they would certify
    too much. Other weights stay with their rows in loss and threshold, and nothing is certified.

    **Around it.** The guarantee is about a model that has not seen the held-out rows. An imputer or
    a scaler before it has seen their features, which matters little; what has seen their labels, as
    a selection of columns by the label or a search over parameters, makes it optimistic: fit the
    parameters that a search found on rows that it had not. A search needs a score that ranks, such
    as ``scoring="average_precision"``: recall alone is highest where the constraint is broken.

    The order of the rows has no influence, and neither have rows of weight 0. Which rows are held
    out is drawn from ``random_state`` and a checksum of the data, so that one number of the former
    does not favour the same places of every table.

    Args:
        objective: What is optimised under which constraint: ``"recall_at_precision"``,
            ``"precision_at_recall"``, ``"tpr_at_fpr"``, ``"fpr_at_tpr"``, ``"specificity_at_npv"``
            or ``"recall_at_budget"``.
        target: What the constrained rate has to meet, in (0, 1): to stay at or above, or for FPR
            and the budget (for which 0.9 is hardly meant) at or below.
        hidden: Widths of hidden layers, with ReLU between; ``()`` is a linear model.
        steps: Number of batches.
        batch: Rows of a batch, drawn with replacement; all rows where there are fewer.
        lr: Learning rate of Adam's first step, from which it falls as a cosine.
        decay: Weight decay, at or above 0.
        held_out: Share of the rows of each class that the training does not see and that the
            threshold is taken from, in (0, 1).
        confidence: Probability that the constraint holds on new rows, in (0, 1); None for the
            threshold that is best on the held-out rows, without a guarantee.
        positive: Class to find; None for the greater one, ``classes_[1]``.
        random_state: Of the rows held out, the first weights and the batches: a whole number for
            the same at every call, None for others, or NumPy's ``RandomState``.

    Attributes:
        classes_: The two classes, in ascending order.
        positive_: The class to find.
        threshold_: A row is of the class to find where its logit is above it: half a step of
            float32 above the threshold of ``point_``, so that no logit equals it, and finite.
        certified_: Whether the constraint is certain to hold at it, with ``confidence``.
        certificate_: The :class:`gobj.Certificate`, also where it supports no threshold; None where
            none was asked for or could be made.
        point_: What the rows that the threshold is from show there: a :class:`gobj.OperatingPoint`,
            whose ``feasible`` is false where even they do not support it.
        layers_: Weights and biases of the model in turn, as tensors.
        mean_: Means of the features, training rows.
        scale_: Standard deviations of the features, training rows; ``inf`` of a constant column.
        n_features_in_: Number of features.
        feature_names_in_: Their names, if they had some.

    Example:
        >>> from sklearn.datasets import make_classification
        >>> from gobj.study.estimator import ObjectiveClassifier
        >>> X, y = make_classification(4000, class_sep=1.5, weights=[0.8], random_state=0)
        >>> model = ObjectiveClassifier("recall_at_precision", 0.8, steps=100)
        >>> model.fit(X[:2000], y[:2000]).certified_
        True
        >>> found = model.predict(X[2000:]) == 1
        >>> bool((y[2000:][found] == 1).mean() >= 0.8)
        True

    References:
        :func:`gobj.certify` cites what the guarantee rests on.
    """

    def __init__(
        self,
        objective: str = "recall_at_precision",
        target: float = 0.9,
        *,
        hidden: tuple[int, ...] = (),
        steps: int = 500,
        batch: int = 512,
        lr: float = 0.05,
        decay: float = 0.0,
        held_out: float = 0.3,
        confidence: float | None = 0.95,
        positive: object = None,
        random_state: int | np.random.RandomState | None = 0,
    ) -> None:
        self.objective = objective
        self.target = target
        self.hidden = hidden
        self.steps = steps
        self.batch = batch
        self.lr = lr
        self.decay = decay
        self.held_out = held_out
        self.confidence = confidence
        self.positive = positive
        self.random_state = random_state

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:  # noqa: N803, their name
        """Train the model and take its threshold from the rows held out.

        Args:
            X: Features, shape ``[n, columns]``: dense, finite numbers.
            y: Two classes, shape ``[n]``.
            sample_weight: At or above 0, shape ``[n]``; None is 1 each. Whole numbers are counts:
                see the class.

        Returns:
            The classifier itself.

        Raises:
            ValueError: If a parameter, a shape or a number is not as said, there are not two
                classes of rows with weight, or the training diverged.
        """
        goal = self._goal()
        features, classes = validate_data(self, X, y, dtype=np.float64)
        kind = type_of_target(classes, input_name="y", raise_unknown=True)
        requirement = "have two classes (Only binary classification is supported)"
        _require(kind == "binary", "y", requirement, kind)
        weights = _check_weights(sample_weight, len(features))
        self.classes_, codes = np.unique(classes[weights > 0], return_inverse=True)
        known = self.classes_.tolist()
        _require(len(known) == 2, "y", "have more than 1 class among rows with weight", known)
        positive = known[1] if self.positive is None else self.positive
        _require(positive in known, "positive", f"be one of {known}", positive)
        self.positive_ = self.classes_[known.index(positive)]
        labels = codes == known.index(positive)
        examples = _arrange(features[weights > 0], labels, weights[weights > 0])
        seed = check_random_state(self.random_state).randint(2**31 - 1)
        draw = np.random.default_rng([seed, examples.checksum])
        held = _hold_out(examples.labels, self.held_out, draw)
        self._train(goal, examples, ~held, int(draw.integers(2**31)))
        self._set_threshold(goal, examples, held)
        return self

    def decision_function(self, X: Any) -> Array:  # noqa: N803
        """Return by how much logits are above the threshold, with scikit-learn's sign.

        Args:
            X: Features, shape ``[n, columns]``.

        Returns:
            Above 0 for ``classes_[1]`` and below for ``classes_[0]``, never 0, shape ``[n]``: the
            logit minus ``threshold_``, or where ``classes_[0]`` is the class to find its opposite.
        """
        check_is_fitted(self)
        features = validate_data(self, X, dtype=np.float64, reset=False)
        above: Array = self._logits(features).double().numpy() - self.threshold_
        return above if self.positive_ == self.classes_[1] else -above

    def predict(self, X: Any) -> Array:  # noqa: N803
        """Return the class of each row.

        Args:
            X: Features, shape ``[n, columns]``.

        Returns:
            The class to find where the logit is above ``threshold_``, else the other, ``[n]``.
        """
        above = self.decision_function(X) > 0
        chosen: Array = self.classes_[above.astype(int)]
        return chosen

    def predict_proba(self, X: Any) -> Array:  # noqa: N803
        """Return the sigmoid of the decision function: scores that rank, and no probabilities.

        The objective moves logits to where they separate best at its threshold, and there the
        sigmoid is one half, whatever share of such rows is of the class. Where probabilities are
        needed, scikit-learn's ``CalibratedClassifierCV`` makes some from the decision function.

        Args:
            X: Features, shape ``[n, columns]``.

        Returns:
            Two columns that add up to 1, in the order of ``classes_``; the greater of the two is
            the class that :meth:`predict` returns.
        """
        above = self.decision_function(X)
        # of the least differences the sigmoid is one half: it stays on its side
        second = np.where(above > 0, np.maximum(expit(above), ABOVE_HALF), expit(above))
        return np.stack((1 - second, second), axis=1)

    def __sklearn_tags__(self) -> Any:
        """Say that there are two classes."""
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_class = False
        return tags

    def _goal(self) -> Goal:
        """Check the parameters, and return the goal that they name."""
        objectives = {objective.name: objective for objective in OBJECTIVES}
        named = isinstance(self.objective, str) and self.objective in objectives
        _require(named, "objective", f"be one of {', '.join(objectives)}", self.objective)
        widths = self.hidden if isinstance(self.hidden, tuple | list) else (0,)
        requirement = "be a tuple of whole numbers above 0"
        _require(all(map(_is_count, widths)), "hidden", requirement, self.hidden)
        for argument in ("steps", "batch"):
            value = getattr(self, argument)
            _require(_is_count(value), argument, "be a whole number above 0", value)
        for argument in ("target", "held_out", "confidence"):
            value = getattr(self, argument)
            if argument != "confidence" or value is not None:
                check_number(argument, value, low=0, high=1, function=NAME)
        check_number("lr", self.lr, low=0, high=DIVERGED, function=NAME)
        check_number("decay", self.decay, low=0, closed=True, function=NAME)
        return Goal(objectives[self.objective], self.target)

    def _train(self, goal: Goal, examples: Examples, rows: Array, seed: int) -> None:
        """Train the model on some rows, standardised by their own means and deviations."""
        features, weights = examples.features[rows], examples.weights
        self.mean_, deviation = features.mean(0), features.std(0)
        varies = deviation > CONSTANT * np.abs(features).max(0)
        self.scale_ = np.where(varies, deviation, np.inf)
        scaled, labels = self._scale(features), examples.labels[rows]
        share = None if weights is None else _stack(weights[rows] / weights[rows].mean())
        self.layers_, _ = train(
            Part(_stack(scaled), _stack(labels), share),
            goal.loss,
            gobj.init_state((1,)),
            hidden=self.hidden,
            steps=self.steps,
            batch=self.batch,
            lr=self.lr,
            decay=self.decay,
            seed=seed,
        )

    def _set_threshold(self, goal: Goal, examples: Examples, held: Array) -> None:
        """Certify a threshold on the held-out rows, or else fit it."""
        end, weights = self._end(), examples.weights
        both = len(np.unique(examples.labels[held])) == 2
        rows = held if both else np.ones_like(held)
        logits = self._logits(examples.features[rows])
        sample = logits, torch.from_numpy(examples.labels[rows]), goal.problem
        self.certificate_ = None
        if both and weights is None and self.confidence is not None:
            self.certificate_ = gobj.certify(*sample, confidence=self.confidence)
        self.certified_ = self.certificate_ is not None and bool(self.certificate_.feasible)
        if self.certificate_ is not None and self.certified_:
            self.point_ = self.certificate_.point
        else:
            masses = None if weights is None else torch.from_numpy(weights[rows])
            self.point_ = gobj.fit_threshold(*sample, weights=masses)
        # Half a step above a logit lies no other, so that strictly above and at or above are one.
        logit = np.float32(np.clip(self.point_.threshold.item(), -end, end))
        above = np.nextafter(logit, np.float32(np.inf))
        self.threshold_ = (float(logit) + float(above)) / 2

    def _end(self) -> float:
        """Return a logit that is above all: an end there is as good as an infinite one.

        Features are clipped, so that no logit is farther from 0 than the layers' absolute values
        make of the largest features.
        """
        layers = [layer.double().abs() for layer in self.layers_]
        corner = torch.full((1, 1, len(self.mean_)), LARGEST, dtype=torch.float64)
        end = score(layers, corner).item() * 1.001 + 1
        _require(end < DIVERGED, "lr", "be small enough for the training to converge", self.lr)
        return end

    def _scale(self, features: Array) -> Array:
        """Standardise features and clip them."""
        near = np.clip(features, -FARTHEST, FARTHEST)
        scaled: Array = np.clip((near - self.mean_) / self.scale_, -LARGEST, LARGEST)
        return scaled

    def _logits(self, features: Array) -> Tensor:
        """Return logits in float32, computed in float64: the same in whatever company a row is."""
        layers = [layer.double() for layer in self.layers_]
        return score(layers, torch.from_numpy(self._scale(features))[None]).squeeze(1).float()


def _require(condition: bool, argument: str, requirement: str, got: object) -> None:
    """Raise the package's one form of ``ValueError`` unless ``condition`` holds."""
    if not condition:
        refuse(argument, requirement, got, NAME)


def _stack(values: Array) -> Tensor:
    """Return the values of one model's part."""
    return torch.from_numpy(values).float().unsqueeze(0)


def _is_count(value: object) -> bool:
    """Tell whether a value is a whole number above 0."""
    return isinstance(value, Integral) and is_number(value) and int(value) > 0


def _check_weights(sample_weight: Any, rows: int) -> Array:
    """Return the weight of each row."""
    if sample_weight is None:
        return np.ones(rows)
    options = {"ensure_2d": False, "allow_nd": True, "input_name": "sample_weight"}
    weights: Array = check_array(sample_weight, dtype=np.float64, **options)
    _require(weights.shape == (rows,), "sample_weight", f"have shape [{rows}]", weights)
    fine = weights.min() >= 0 and weights.max() > 0
    _require(fine, "sample_weight", "be at or above zero, and not zero everywhere", weights)
    return weights


def _arrange(features: Array, labels: Array, weights: Array) -> Examples:
    """Sort rows by what they hold, and write those with a count for a weight as often."""
    features = np.clip(features, -FARTHEST, FARTHEST) + 0.0  # of two zeros with signs one
    table = np.ascontiguousarray(np.column_stack((features, labels, weights)))
    rows = table[table.view(f"V{table.itemsize * table.shape[1]}").ravel().argsort()]
    counts = bool((weights % 1 == 0).all()) and weights.sum() <= max(len(rows), MOST_COPIES)
    if counts:
        rows = rows[:, :-1].repeat(rows[:, -1].astype(int), axis=0)
        return Examples(rows[:, :-1], rows[:, -1], None, zlib.crc32(rows.data))
    return Examples(rows[:, :-2], rows[:, -2], rows[:, -1], zlib.crc32(rows.data))


def _hold_out(labels: Array, share: float, draw: np.random.Generator) -> Array:
    """Mark a share of the rows of each class; of two or more at least one, and never all."""
    held = np.zeros(len(labels), dtype=bool)
    for label in (0, 1):
        rows = draw.permutation(np.flatnonzero(labels == label))
        most = len(rows) - 1
        held[rows[: min(max(round(share * len(rows)), 1), most)]] = True
    return held
