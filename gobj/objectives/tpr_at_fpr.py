"""True positive rate at a false positive rate."""

from typing import Unpack

from torch import Tensor

from gobj._checks import Number, check_target, target_per_label
from gobj.constrained import LossOptions, constrained_loss
from gobj.modules import ModuleOptions, StatefulLoss
from gobj.problem import LinearForm, Problem
from gobj.state import DualState


def tpr_at_fpr(target_fpr: Number) -> Problem:
    r"""Build the problem: fewest missed positives at a bounded false positive rate.

    .. math:: \min FN \quad\text{s.t.}\quad FP - f\,N \le 0

    Args:
        target_fpr: False positive rate :math:`f`, a number in (0, 1), or a tensor that broadcasts
            to ``[*labels]``, whose values are not checked.

    Returns:
        The pair of linear forms, cost and constraint, over joint rates.

    Raises:
        ValueError: If the target is a number outside (0, 1).

    Example:
        >>> import gobj, torch
        >>> problem, multiplier, threshold = gobj.tpr_at_fpr(0.5), 1.0, 0.0
        >>> batch = torch.tensor([2.0, 1.0, -1.0]), torch.tensor([1, 0, 0])
        >>> bound = gobj.lagrangian(*batch, problem, multiplier, threshold)
        >>> counted = gobj.lagrangian(
        ...     *batch, problem, multiplier, threshold, surrogate=gobj.zero_one
        ... )
        >>> bool(counted < bound)
        True

    References:
        Eban et al., `Scalable Learning of Non-Decomposable Objectives
        <https://arxiv.org/abs/1608.04802>`_, AISTATS 2017.
    """
    check_target("target_fpr", target_fpr)
    form = LinearForm(false_positive=1.0, negatives=-target_fpr)
    return Problem(LinearForm(false_negative=1.0), form, rises=True)


def tpr_at_fpr_loss(
    logits: Tensor,
    labels: Tensor,
    state: DualState,
    *,
    target_fpr: Number,
    **options: Unpack[LossOptions],
) -> tuple[Tensor, DualState]:
    r"""Maximise the true positive rate at a bounded false positive rate.

    .. math:: \min FN \quad\text{s.t.}\quad FP - f\,N \le 0

    Args:
        logits: Scores of the examples, shape ``[n, *labels]``; any floating dtype, computed in
            float32 or wider.
        labels: 1 for a positive, 0 for a negative, or the share of a positive in between (boolean,
            integer or float), shape of the logits. Another value makes the loss NaN.
        state: What came back from the batch before; :func:`gobj.init_state` makes the first.
        target_fpr: False positive rate :math:`f`, a number in (0, 1), or a tensor that broadcasts
            to ``[*labels]``, whose values are not checked.
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
        batch, detached. An example is called positive where ``logit > state.threshold``. A batch
        that is empty, has no weight, is not finite or has an average beyond a million leaves
        the state as it was.

    Raises:
        ValueError: If a shape, a dtype, the state or the target is not as above.

    Example:
        >>> import gobj, torch
        >>> logits, labels = torch.tensor([2.0, 1.0, -1.0]), torch.tensor([1, 0, 0])
        >>> loss, state = gobj.tpr_at_fpr_loss(
        ...     logits, labels, gobj.init_state(), target_fpr=0.5
        ... )
        >>> loss.isfinite(), state.threshold.isfinite()
        (tensor(True), tensor(True))

    References:
        Eban et al., `Scalable Learning of Non-Decomposable Objectives
        <https://arxiv.org/abs/1608.04802>`_, AISTATS 2017.
    """
    problem = tpr_at_fpr(target_per_label("target_fpr", target_fpr, logits))
    return constrained_loss(problem, logits, labels, state, **options)


class TPRAtFPRLoss(StatefulLoss):
    """Maximise the true positive rate at a bounded false positive rate.

    The module of :func:`gobj.tpr_at_fpr_loss`. :class:`gobj.nn.StatefulLoss` says
    which shapes it takes, what it keeps and when that moves.

    Args:
        target_fpr: False positive rate :math:`f`, a number in (0, 1), or a tensor that broadcasts
            to ``[num_labels]``, whose values are not checked.
        num_labels: Number of labels, each with its own multiplier and threshold.
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
        >>> criterion = gobj.nn.TPRAtFPRLoss(target_fpr=0.5)
        >>> logits, labels = torch.tensor([2.0, 1.0, -1.0]), torch.tensor([1.0, 0.0, 0.0])
        >>> criterion(logits, labels).isfinite(), criterion.threshold.shape
        (tensor(True), torch.Size([1]))
    """

    def __init__(
        self, target_fpr: Number, num_labels: int = 1, **options: Unpack[ModuleOptions]
    ) -> None:
        super().__init__(tpr_at_fpr, num_labels, {"target_fpr": target_fpr}, **options)
