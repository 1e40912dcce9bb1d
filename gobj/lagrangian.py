"""The Lagrangian of a problem on a batch: linear forms, each event by its upper bound."""

from torch import Tensor

from gobj._batch import as_tensor, make_batch
from gobj._checks import Number, broadcasts, refuse
from gobj.problem import Problem, check_forms
from gobj.surrogates import Surrogate, cross_entropy


def lagrangian(
    logits: Tensor,
    labels: Tensor,
    problem: Problem,
    multiplier: Number,
    threshold: Number,
    *,
    weights: Number | None = None,
    surrogate: Surrogate = cross_entropy,
    label_priors: Number | None = None,
    ignore_index: int | None = None,
) -> Tensor:
    r"""Evaluate the surrogate Lagrangian of a problem, which bounds the exact one from above.

    .. math:: L(f, \lambda, b) = \hat c(f, b) + \lambda\, \hat g(f, b)
        \;\ge\; c(f, b) + \lambda\, g(f, b) \quad\text{for every } \lambda \ge 0 \text{ and } b

    Cost :math:`c` and constraint :math:`g` are linear forms of joint rates; the hat replaces each
    indicator by its surrogate. With ``surrogate=gobj.zero_one`` this counts. Nothing is detached.

    Args:
        logits: Scores of the examples, shape ``[n, *labels]``.
        labels: 1 for a positive, 0 for a negative, or the share of a positive in between (boolean,
            integer or float), shape of the logits. Another value makes the result NaN.
        problem: Pair of linear forms, such as ``gobj.recall_at_precision(0.9)``.
        multiplier: Price of the constraint, at or above 0, broadcasts to ``[*labels]``.
        threshold: An example is called positive where ``logit > threshold``, in units of the logit,
            broadcasts to ``[*labels]``.
        weights: At or above 0, scalar, ``[n]`` or up to ``[n, *labels]``; 1 by default. An example
            with weight 0 is as if absent.
        surrogate: Upper bound of the indicator of an error.
        label_priors: Share of positives in the constant term, in [0, 1], broadcasts to
            ``[*labels]``; by default the batch's own.
        ignore_index: Label that marks an example as absent; None for no such label.

    Returns:
        Shape ``[*labels]``, differentiable in logits, multiplier and threshold.

    Raises:
        ValueError: If a shape or dtype is not as above.

    Example:
        >>> import gobj, torch
        >>> logits, labels = torch.tensor([2.0, 1.0, -1.0]), torch.tensor([1, 0, 0])
        >>> problem = gobj.recall_at_precision(0.9)
        >>> gobj.lagrangian(logits, labels, problem, 1.0, 0.0, surrogate=gobj.zero_one)
        tensor(0.2667)

    References:
        Eban et al., `Scalable Learning of Non-Decomposable Objectives
        <https://arxiv.org/abs/1608.04802>`_, AISTATS 2017.
    """
    check_forms(problem)
    batch = make_batch(logits, labels, weights, label_priors, ignore_index)
    price, cut = (
        _dual(name, value, batch.scores)
        for name, value in (("multiplier", multiplier), ("threshold", threshold))
    )
    points, form = batch.points(cut, several=False), problem.lagrangian(price)
    costs, _ = points.charge(form, surrogate.sides(points.distance))
    return batch.averages(costs + form.constant(points.prior))


def _dual(name: str, value: Number, scores: Tensor) -> Tensor:
    """Bring a number or tensor to the labels, the dtype and the device of the scores."""
    tensor = value if isinstance(value, Tensor) else as_tensor(value, scores)
    if not broadcasts(tensor.shape, scores.shape[1:]):
        refuse(name, f"broadcast to the labels {list(scores.shape[1:])}", value)
    return tensor.to(scores).expand(scores.shape[1:])
