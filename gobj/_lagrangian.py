"""The Lagrangian of a problem on a batch: linear forms, each event by its upper bound."""

from torch import Tensor

from gobj._batch import Batch, make_batch, per_class
from gobj._blend import Opposite
from gobj._checks import Number
from gobj._forms import LinearForm, Problem, absent
from gobj._surrogates import Surrogate, cross_entropy


def bounded_elements(
    batch: Batch, form: LinearForm, distance: Tensor, surrogate: Surrogate
) -> Tensor:
    """Bound a form example by example, its constant left out; nothing is detached.

    ``distance`` is that of the scores above the threshold.
    """
    margin = distance * batch.sides
    (bound, *coefficients), *others = bounds_of(form, surrogate)
    elements = per_class(batch.sides, *coefficients) * bound(margin)
    for bound, *coefficients in others:
        elements = elements + per_class(batch.sides, *coefficients) * bound(margin)
    return elements


def bounds_of(form: LinearForm, surrogate: Surrogate) -> list[tuple[Surrogate, Number, Number]]:
    """List the bounds of events as functions of the margin, with a coefficient per class."""
    bounds = [(surrogate, form.false_negative, form.false_positive)]
    if not (absent(form.true_positive) and absent(form.true_negative)):
        bounds.append((Opposite(surrogate), form.true_positive, form.true_negative))
    return bounds


def share_of_positives(function: str, batch: Batch, label_priors: Number | None) -> Tensor:
    """Return the batch's share of positives, or the prior that replaces it, ``[*labels]``."""
    if label_priors is None:
        return batch.share
    return batch.per_label(function, "label_priors", label_priors)


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
) -> Tensor:
    r"""Evaluate the surrogate Lagrangian of a problem, which bounds the exact one from above.

    .. math:: L(f, \lambda, b) = \hat c(f, b) + \lambda\, \hat g(f, b)
        \;\ge\; c(f, b) + \lambda\, g(f, b) \quad\text{for every } \lambda \ge 0 \text{ and } b

    Cost :math:`c` and constraint :math:`g` are linear forms of joint rates; the hat replaces each
    indicator by its surrogate. With ``surrogate=gobj.zero_one`` this counts. Nothing is detached.

    Args:
        logits: Scores of the examples, shape ``[n, *labels]``.
        labels: 0 or 1 (boolean, integer or float; positive where above 0), shape of the logits.
        problem: Pair of linear forms, such as ``gobj.recall_at_precision(0.9)``.
        multiplier: Price of the constraint, at or above 0, broadcasts to ``[*labels]``.
        threshold: Positive where ``logit > threshold``, in units of the logit, broadcasts to
            ``[*labels]``.
        weights: At or above 0, scalar, ``[n]`` or up to ``[n, *labels]``; 1 by default. An example
            with weight 0 is as if absent.
        surrogate: Upper bound of the indicator of an error.
        label_priors: Share of positives in the constant term, in [0, 1], broadcasts to
            ``[*labels]``; by default the batch's own.

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
    batch = make_batch("lagrangian", logits, labels, weights)
    price = batch.per_label("lagrangian", "multiplier", multiplier)
    distance = batch.scores - batch.per_label("lagrangian", "threshold", threshold)
    prior = share_of_positives("lagrangian", batch, label_priors)
    form = problem.lagrangian(price)
    value = batch.rate(bounded_elements(batch, form, distance, surrogate))
    return value + form.constant(prior) * batch.covered()
