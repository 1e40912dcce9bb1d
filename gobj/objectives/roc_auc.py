"""Area under the ROC curve, whole or partial, with anchors on the false positive rate."""

from collections.abc import Callable
from functools import partial
from typing import Unpack

import torch
from torch import Tensor

from gobj._checks import Range, check_range
from gobj.constrained import LossOptions, constrained_loss
from gobj.modules import ModuleOptions, StatefulLoss
from gobj.objectives.tpr_at_fpr import tpr_at_fpr
from gobj.problem import LinearForm, Problem
from gobj.state import AreaState

SOFTNESS = 0.05  # of the ends of a range of true positive rates
TINY = 1e-12


def roc_auc(
    *, fpr_range: Range = (0.0, 1.0), tpr_range: Range = (0.0, 1.0)
) -> Callable[[AreaState], Problem]:
    r"""Build the problem of an area: most true positives at each of several false positive rates.

    .. math:: \min \frac{1}{K} \sum_k o_k FN_k \quad\text{s.t.}\quad
        FP_k - f_k\,N \le 0 \quad\text{for each anchor } f_k

    With a range of true positive rates as well, an anchor weighs :math:`o_k`, which falls softly
    from 1 to 0 where its true positive rate, an average over batches, leaves the range; else 1.

    Args:
        fpr_range: False positive rates that the anchors lie between, two numbers in [0, 1].
        tpr_range: True positive rates between which area counts, two numbers in [0, 1].

    Returns:
        A function of the area's state that returns the problem at its anchors, for
        :func:`gobj.constrained_loss`.

    Raises:
        ValueError: If a range is not as above.

    Example:
        >>> import gobj
        >>> problem = gobj.roc_auc()(gobj.init_state(anchors=4))
        >>> problem.constraint.negatives
        tensor([-0.1250, -0.3750, -0.6250, -0.8750])

    References:
        Eban et al., `Scalable Learning of Non-Decomposable Objectives
        <https://arxiv.org/abs/1608.04802>`_, AISTATS 2017.
    """
    check_range("fpr_range", fpr_range)
    check_range("tpr_range", tpr_range)
    return partial(_tpr_at_fprs, fpr_range, tpr_range)


def _tpr_at_fprs(fpr_range: Range, tpr_range: Range, state: AreaState) -> Problem:
    problem, (low, high) = tpr_at_fpr(state.targets(fpr_range)), tpr_range
    if (low, high) == (0, 1):
        return problem
    positives, hits, _ = state.rates.unbind(-1)
    rate, inside = hits / positives.clamp(min=TINY), torch.ones_like(hits)
    if low > 0:
        inside = inside * torch.sigmoid((rate - low) / SOFTNESS)
    if high < 1:
        inside = inside * torch.sigmoid((high - rate) / SOFTNESS)
    return problem._replace(cost=LinearForm(false_negative=inside))


def roc_auc_loss(
    logits: Tensor,
    labels: Tensor,
    state: AreaState,
    *,
    fpr_range: Range = (0.0, 1.0),
    tpr_range: Range = (0.0, 1.0),
    **options: Unpack[LossOptions],
) -> tuple[Tensor, AreaState]:
    r"""Maximise the area under the ROC curve, or a part of it.

    .. math:: \min \frac{1}{K} \sum_k o_k FN_k \quad\text{s.t.}\quad
        FP_k - f_k\,N \le 0 \quad\text{for each anchor } f_k

    The mean of :func:`gobj.tpr_at_fpr_loss` over anchors in a range of false positive rates. With a
    range of true positive rates as well, each weighs :math:`o_k`, which falls softly from 1 to 0
    where its rate so far leaves the range; else :math:`o_k` is 1.

    Args:
        logits: Scores of the examples, shape ``[n, *labels]``; any floating dtype, computed in
            float32 or wider.
        labels: 1 for a positive, 0 for a negative, or the share of a positive in between (boolean,
            integer or float), shape of the logits. Another value makes the loss NaN.
        state: What came back from the batch before; ``gobj.init_state(anchors=8)`` makes the first.
        fpr_range: False positive rates that the anchors lie between, two numbers in [0, 1].
        tpr_range: True positive rates between which area counts, two numbers in [0, 1].
        weights: At or above 0, scalar, ``[n]`` or up to ``[n, *labels]``; 1 by default. They count
            in cost and constraint alike, and only their ratios matter. An example with weight 0,
            such as a missing label, is as if absent, even where it is NaN.
        surrogate: Upper bound of the indicator of an error, for a rule that has one; by default the
            rule's own.
        rule: How multiplier and threshold follow the batches: the rule that ``state`` was made
            for, by default that of :func:`gobj.init_state`, or :class:`gobj.FrozenDual`.
        label_priors: Share of positives in the constant term, in [0, 1], broadcasts to
            ``[*labels]``; by default the batch's own.
        ignore_index: Label that marks an example as absent; None for no such label.
        process_group: Ranks whose batches are parts of one: in the mean over the ranks, loss and
            gradient are those of the joined batch. None for this process alone.
        reduction: ``"mean"`` over labels of the weighted average over examples, ``"none"`` for a
            loss per example with that mean and the logits' shape, ``"sum"`` for the sum of those.

    Returns:
        The loss, which differentiates with respect to the logits alone, and the state for the next
        batch, detached. At anchor ``k`` an example is called positive where
        ``logit > state.threshold[..., k]``. A batch that is empty, has no weight, is not finite or
        has an average beyond a million leaves the state as it was.

    Raises:
        ValueError: If a shape, a dtype, the state or a range is not as above.

    Example:
        >>> import gobj, torch
        >>> logits, labels = torch.tensor([2.0, 1.0, -1.0]), torch.tensor([1, 0, 0])
        >>> loss, state = gobj.roc_auc_loss(logits, labels, gobj.init_state(anchors=8))
        >>> loss.isfinite(), state.threshold.shape
        (tensor(True), torch.Size([8]))

    References:
        Eban et al., `Scalable Learning of Non-Decomposable Objectives
        <https://arxiv.org/abs/1608.04802>`_, AISTATS 2017.
    """
    problem = roc_auc(fpr_range=fpr_range, tpr_range=tpr_range)
    return constrained_loss(problem, logits, labels, state, **options)


class ROCAUCLoss(StatefulLoss):
    """Maximise the area under the ROC curve, or a part of it.

    The module of :func:`gobj.roc_auc_loss`. :class:`gobj.nn.StatefulLoss` says
    which shapes it takes, what it keeps and when that moves.

    Args:
        num_labels: Number of labels, each with its own multipliers and thresholds.
        num_anchors: Number of anchors, or a tensor of their places in (0, 1), as in
            :func:`gobj.init_state`.
        fpr_range: False positive rates that the anchors lie between, two numbers in [0, 1].
        tpr_range: True positive rates between which area counts, two numbers in [0, 1].
        loss_type: ``"cross_entropy"`` or ``"hinge"``: short for ``surrogate``.
        surrogate: Upper bound of the indicator of an error, for a rule that has one; by default the
            rule's own, and cross entropy in the classical mode.
        rule: How multipliers and thresholds follow the batches; by default that of
            :func:`gobj.init_state`.
        dual_rate_factor: Scale of the reversed gradient of the multipliers, at or above 0, for the
            classical mode, in which an optimiser moves them; see :class:`gobj.OptimizerAscent`.
        ignore_index: Label that marks an example as absent; None for no such label.
        process_group: Ranks whose batches are parts of one while training: ``"world"`` for all
            ranks where ``torch.distributed`` runs several, None for this process alone.
        reduction: ``"mean"``, ``"sum"`` or ``"none"``.

    Example:
        >>> import gobj, torch
        >>> criterion = gobj.nn.ROCAUCLoss(num_anchors=4)
        >>> logits, labels = torch.tensor([2.0, 1.0, -1.0]), torch.tensor([1.0, 0.0, 0.0])
        >>> criterion(logits, labels).isfinite(), criterion.threshold.shape
        (tensor(True), torch.Size([1, 4]))
    """

    def __init__(
        self,
        num_labels: int = 1,
        num_anchors: int | Tensor = 8,
        fpr_range: Range = (0.0, 1.0),
        tpr_range: Range = (0.0, 1.0),
        **options: Unpack[ModuleOptions],
    ) -> None:
        check_range("fpr_range", fpr_range)
        check_range("tpr_range", tpr_range)
        super().__init__(
            roc_auc,
            num_labels,
            {"fpr_range": fpr_range, "tpr_range": tpr_range},
            anchors=num_anchors,
            **options,
        )
