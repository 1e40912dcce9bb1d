"""What the area losses are worth: rows 10 and 11, and the whole ROC area."""

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np
import torch
from sklearn.metrics import (  # type: ignore[import-untyped]
    auc,
    average_precision_score,
    roc_curve,
)
from torch import Tensor

import gobj
from benchmarks.comparing import Line, Scale, compared, cross_entropy_scores, scores_of
from benchmarks.tables import table
from gobj.study.splits import Part, Splits, split

Metric = Callable[[np.ndarray, np.ndarray], float]
ANCHORS = 8
OTHERS = ("wa_churn", "credit_data", "lending_club", "Caravan", "attrition", "breast_cancer", "OJ")


def average_precision(labels: np.ndarray, scores: np.ndarray) -> float:
    """Return the average precision."""
    return float(average_precision_score(labels, scores))


def roc_area(labels: np.ndarray, scores: np.ndarray, most: float = 1.0) -> float:
    """Return the mean true positive rate over false positive rates up to the given one."""
    fpr, tpr, _ = roc_curve(labels, scores, drop_intermediate=False)
    inside = fpr < most
    ends = np.append(fpr[inside], most), np.append(tpr[inside], np.interp(most, fpr, tpr))
    return float(auc(*ends)) / most


def fitted(loss: Callable[..., Any], splits: Splits, scale: Scale, *, hidden: bool) -> list[Tensor]:
    """Train an area loss in each of the settings that cross entropy has; return the test logits."""

    def step(
        logits: Tensor, labels: Tensor, weights: Tensor | None, state: gobj.AreaState
    ) -> tuple[Tensor, gobj.AreaState]:
        moved: tuple[Tensor, gobj.AreaState] = loss(logits, labels, state, weights=weights)
        return moved

    start = gobj.init_state((scale.seeds,), anchors=ANCHORS)
    return scores_of(step, start, splits, scale, hidden=hidden)


def best(metric: Metric, logits: list[Tensor], test: Part) -> Tensor:
    """Return the metric of each seed on its test rows, in the setting with the best mean."""
    labels = test.labels.numpy()
    values = [
        torch.tensor([metric(y, z) for y, z in zip(labels, scores.T.numpy(), strict=True)])
        for scores in logits
    ]
    return max(values, key=lambda value: value.mean().item())


def areas(scale: Scale) -> Iterator[Line]:
    """Rows 10 and 11 where the area pays; the whole ROC area must not lose."""
    partial_loss = partial(gobj.roc_auc_loss, fpr_range=(0.0, 0.1))
    partial_area = partial(roc_area, most=0.1)
    wanted: list[tuple[str, str, bool, str, Callable[..., Any], Metric, float]] = [
        ("10", "mlc_churn", False, "AP", gobj.average_precision_loss, average_precision, 0.02),
        ("10", "mlc_churn", True, "AP", gobj.average_precision_loss, average_precision, 0.01),
        ("10", "digits", False, "AP", gobj.average_precision_loss, average_precision, 0.03),
        ("11", "mlc_churn", False, "ROC area to FPR .1", partial_loss, partial_area, 0.03),
        ("11", "mlc_churn", True, "ROC area to FPR .1", partial_loss, partial_area, 0.01),
    ]
    wanted += [
        ("ROC", name, False, "ROC area", gobj.roc_auc_loss, roc_area, -0.001)
        for name in ("mlc_churn", "digits", *OTHERS)
    ]
    wanted += [
        ("10 other", name, False, "AP", gobj.average_precision_loss, average_precision, -0.005)
        for name in OTHERS
    ]
    for row, name, hidden, title, loss, metric, bound in wanted:
        splits = split(table(name), scale.seeds)
        logits = cross_entropy_scores(splits, scale, hidden=hidden)
        ours = best(metric, fitted(loss, splits, scale, hidden=hidden), splits.test)
        baseline = best(metric, logits, splits.test)
        words, gain, _ = compared(ours, baseline)
        what = f"{name} {'hidden' if hidden else 'linear'} {title}"
        yield Line(row, what, words, f">= {bound:+.3f}", gain >= bound)
