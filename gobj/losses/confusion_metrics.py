"""Metrics as functions of the confusion counts, soft or hard, of any shape ``[*labels]``.

Each is a share ``good / (good + bad)``, or a mean or product of such, under one rule for classes
that are absent: *0 / 0 is 1*, for where there is no case to judge there is no error. Without
positives, recall is therefore 1, the balanced accuracy half of 1 plus the specificity, and the
geometric mean the root of the specificity; precision, F-beta, the Jaccard index and Matthews'
coefficient are 0 as soon as anything is called positive, and 1 if nothing is.
"""

import torch
from torch import Tensor

from gobj.losses.soft_confusion import SoftConfusion


def accuracy(counts: SoftConfusion) -> Tensor:
    """Return the share of right calls, ``(TP + TN) / (TP + FP + FN + TN)``."""
    tp, fp, fn, tn = counts
    return _share(tp + tn, fp + fn)


def precision(counts: SoftConfusion) -> Tensor:
    """Return the share of positive calls that are right, ``TP / (TP + FP)``."""
    return _share(counts.true_positives, counts.false_positives)


def recall(counts: SoftConfusion) -> Tensor:
    """Return the share of positives that are found, ``TPR = TP / (TP + FN)``."""
    return _share(counts.true_positives, counts.false_negatives)


def specificity(counts: SoftConfusion) -> Tensor:
    """Return the share of negatives that are left alone, ``TNR = TN / (TN + FP)``."""
    return _share(counts.true_negatives, counts.false_positives)


def f_beta(counts: SoftConfusion, *, beta: float = 1.0) -> Tensor:
    """Return ``(1 + b^2) TP / ((1 + b^2) TP + b^2 FN + FP)``, where recall weighs b times."""
    tp, fp, fn, _ = counts
    return _share((1 + beta**2) * tp, beta**2 * fn + fp)


def balanced_accuracy(counts: SoftConfusion) -> Tensor:
    """Return the mean of recall and specificity, ``(TPR + TNR) / 2``."""
    return (recall(counts) + specificity(counts)) / 2


def geometric_mean(counts: SoftConfusion) -> Tensor:
    """Return the geometric mean of recall and specificity, ``sqrt(TPR * TNR)``."""
    return _root(recall(counts)) * _root(specificity(counts))


def jaccard(counts: SoftConfusion) -> Tensor:
    """Return the intersection over the union, ``TP / (TP + FP + FN)``."""
    tp, fp, fn, _ = counts
    return _share(tp, fp + fn)


def matthews(counts: SoftConfusion) -> Tensor:
    """Return Matthews' correlation coefficient, in [-1, 1].

    ``(TP TN - FP FN) / sqrt((TP + FP) (TP + FN) (TN + FP) (TN + FN))``, here as a difference of
    two products of shares, which neither overflow nor cancel.
    """
    tp, fp, fn, tn = counts
    right = _share(tp, fn), _share(tp, fp), _share(tn, fp), _share(tn, fn)
    wrong = _share(fn, tp, 0), _share(fp, tp, 0), _share(fp, tn, 0), _share(fn, tn, 0)
    agreement, contradiction = [_root(a * b) * _root(c * d) for a, b, c, d in (right, wrong)]
    return agreement - contradiction


def _share(part: Tensor, rest: Tensor, absent: int = 1) -> Tensor:
    """Return ``part / (part + rest)``, or ``absent`` where that is 0 / 0."""
    whole = part + rest
    limits = torch.finfo(whole.dtype)
    empty = whole <= limits.tiny / limits.eps  # the gradient of a smaller one would overflow
    share = part / (whole + empty)
    return share + empty if absent else share


def _root(share: Tensor) -> Tensor:
    """Return the square root, whose gradient at 0 is 0 instead of infinite."""
    zero = share == 0
    return torch.where(zero, 0, torch.where(zero, 1, share).sqrt())
