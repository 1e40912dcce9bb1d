"""What to watch while training: exact values at a state, and how far its bound is above them."""

from typing import Any, NamedTuple

import torch
from torch import Tensor

from gobj._checks import Number
from gobj.lagrangian import lagrangian
from gobj.problem import AnyProblem, LinearForm, Problem, check_problem, problem_at
from gobj.state import AreaState, DualState, cast
from gobj.surrogates import cross_entropy, zero_one


class Diagnosis(NamedTuple):
    """A problem on a batch at a state; every tensor has the shape of the multiplier.

    Attributes:
        cost: Exact value of the cost, a share of the batch.
        constraint: Exact value of the constraint: at most 0 where it is met.
        slack: What the constraint leaves, ``-constraint``: below 0 where it is violated.
        multiplier: Price of the constraint.
        threshold: Operating threshold in units of the logit.
        bound: Upper bound of ``cost + multiplier * constraint``, by cross entropy.
        gap: How far the bound is above the exact value.
    """

    cost: Tensor
    constraint: Tensor
    slack: Tensor
    multiplier: Tensor
    threshold: Tensor
    bound: Tensor
    gap: Tensor


def diagnose(
    problem: AnyProblem,
    logits: Tensor,
    labels: Tensor,
    state: DualState | AreaState,
    *,
    weights: Number | None = None,
    label_priors: Number | None = None,
    ignore_index: int | None = None,
) -> Diagnosis:
    r"""Evaluate cost and constraint exactly at a state, which is left alone.

    .. math:: c(f, b), \quad g(f, b), \quad
        \hat L(f, \lambda, b) - \bigl(c(f, b) + \lambda\, g(f, b)\bigr) \ge 0

    In the course of training the cost falls. The constraint does not: it comes down to 0 and swings
    about it, as multiplier and threshold come to rest. A constraint that stays above 0 is out of
    reach; under :class:`gobj.DualAscent` the multiplier grows then. The bound is no measure of
    progress: it rises with the multiplier, and with the scale of the logits, while the exact value
    falls; :func:`gobj.plot.training` and :func:`gobj.plot.bound` draw both.

    The numbers are tensors without gradient, to be logged as they are:
    ``writer.add_scalar("constraint", d.constraint, step)`` for TensorBoard,
    ``wandb.log({"constraint": d.constraint.item()})``,
    ``mlflow.log_metric("constraint", d.constraint.item(), step)``,
    ``self.log("constraint", d.constraint)`` in Lightning.

    Args:
        problem: Pair of linear forms, such as ``gobj.recall_at_precision(0.9)``; for an area a
            function of its state that returns one, such as ``gobj.roc_auc()``.
        logits: Scores of the examples, shape ``[n, *labels]``; ``[n]`` for one label.
        labels: Share of a positive that each example is, in [0, 1], shape of the logits.
        state: From any loss with a state; ``criterion.state`` of a module.
        weights: At or above 0, scalar, ``[n]`` or up to ``[n, *labels]``; 1 by default.
        label_priors: Share of positives in the constant term; by default the batch's own.
        ignore_index: Label that marks an example as absent; None for no such label.

    Returns:
        The values, in the precision of the logits, float32 or wider.

    Raises:
        ValueError: If a shape, a dtype or the state is not as above.

    Example:
        >>> import gobj, torch
        >>> logits, labels = torch.tensor([2.0, 1.0, -1.0, -2.0]), torch.tensor([1, 0, 0, 1])
        >>> seen = gobj.diagnose(gobj.tpr_at_fpr(0.1), logits, labels, gobj.init_state())
        >>> seen.cost, seen.constraint  # one of four is missed; one flagged, where .1 of 2 may be
        (tensor(0.2500), tensor(0.2000))
        >>> bool(seen.gap > 0)
        True

    References:
        Eban et al., `Scalable Learning of Non-Decomposable Objectives
        <https://arxiv.org/abs/1608.04802>`_, AISTATS 2017.
    """
    check_problem(problem, state)
    shape = state.multiplier.shape[:-1] if isinstance(state, AreaState) else state.multiplier.shape
    if shape == (1,) and logits.dim() == 1:  # of a module with one label
        logits, labels = logits.unsqueeze(1), labels.unsqueeze(1)
    options: Any = {
        "weights": weights,
        "label_priors": label_priors,
        "ignore_index": ignore_index,
    }
    with torch.no_grad():
        dtype = torch.promote_types(logits.dtype, torch.float32)
        state = cast(state, dtype)
        form = problem_at(problem, state)
        # copies: the buffers of a module move on
        multiplier, threshold = state.multiplier.clamp(min=0), state.threshold.clone()
        if isinstance(state, AreaState):
            anchors = threshold.shape[-1]
            logits, labels = (x.unsqueeze(-1).expand(*x.shape, anchors) for x in (logits, labels))
            if isinstance(label_priors, Tensor) and label_priors.dim() > 0:
                options["label_priors"] = label_priors.unsqueeze(-1)

        def value(cost: LinearForm, price: Number, surrogate: Any) -> Tensor:
            own = Problem(cost, form.constraint)
            return lagrangian(logits, labels, own, price, threshold, surrogate=surrogate, **options)

        zero = torch.zeros_like(multiplier)
        cost = value(form.cost, zero, zero_one)
        constraint = value(form.constraint, zero, zero_one)
        bound = value(form.cost, multiplier, cross_entropy)
        gap = bound - (cost + multiplier * constraint)
    return Diagnosis(cost, constraint, -constraint, multiplier, threshold, bound, gap)
