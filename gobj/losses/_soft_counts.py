"""The four soft counts of scores and labels, with gradients that keep both tails.

A score ``z`` is called positive to the degree ``A = sigmoid(amplification * (u - centre))``, where
``u`` is ``sigmoid(z)`` or ``z`` itself. A sigmoid's slope is usually formed as ``y * (1 - y)``,
which is exactly 0 as soon as ``y`` rounds to 1. Here ``1 - y`` is computed by itself.
"""

from typing import NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import FunctionCtx
from torch.nn import functional

from gobj._checks import Number


class Step(NamedTuple):
    """Where the step from negative to positive lies, and the dimensions that are summed."""

    centre: float
    squashed: bool
    dims: tuple[int, ...]


def soft_counts(
    scores: Tensor, labels: Tensor, weights: Tensor | None, amplification: Number, step: Step
) -> Tensor:
    """Sum true positives, false positives, false negatives and true negatives.

    They are stacked along a leading dimension, ``[4, *labels]``, and differentiate with respect to
    the scores.
    """
    if torch.compiler.is_compiling():  # the compiler fuses the definition and refuses a custom jvp
        counts = _define(scores, labels, weights, amplification, step)
    else:
        if isinstance(amplification, Tensor):
            scores = scores + 0 * amplification  # has its vmap dimensions: in place is safe below
        counts, *_ = _Counts.apply(scores, labels, weights, amplification, step)  # type: ignore[no-untyped-call]
    return counts.squeeze([dim + 1 for dim in step.dims])


def _sigmoid(x: Tensor) -> Tensor:
    """Return the sigmoid by way of its logarithm, whose gradient does not saturate."""
    return functional.logsigmoid(x).exp()


def _define(
    scores: Tensor, labels: Tensor, weights: Tensor | None, amplification: Number, step: Step
) -> Tensor:
    inner = _sigmoid(scores) if step.squashed else scores
    x = (inner - step.centre) * amplification
    mass = 1 if weights is None else weights
    parts = _sigmoid(x) * mass, _sigmoid(-x) * mass
    sides = [side * part for part in parts for side in (labels, 1 - labels)]
    return torch.stack([side.sum(step.dims, keepdim=True) for side in sides])


def _slope_ratio(scores: Tensor, amplification: Number, step: Step) -> Tensor:
    """Return the second derivative of ``A`` over its first."""
    if not step.squashed:
        return torch.tanh((step.centre - scores) * amplification / 2) * amplification
    p = torch.sigmoid(scores)
    bend = torch.tanh((p - step.centre) * amplification / 2)
    return 1 - 2 * p - amplification * p * (1 - p) * bend


class _Saved(FunctionCtx):
    saved_tensors: tuple[Tensor, Tensor, Tensor]
    amplification: Number
    step: Step


class _Counts(torch.autograd.Function):
    """The counts, and the slopes ``dA/dz / amplification`` of positives and of negatives.

    The slopes are outputs so that the gradient, which is made of them, is differentiable again. The
    two sides are kept apart because their gradients may differ by many orders of magnitude.
    """

    generate_vmap_rule = True

    @staticmethod
    def forward(
        scores: Tensor, labels: Tensor, weights: Tensor | None, amplification: Number, step: Step
    ) -> tuple[Tensor, Tensor, Tensor]:
        # In place only where the result is sure to carry every batch dimension of a vmap.
        if step.squashed:
            inner, slope = torch.sigmoid(scores), scores.neg().sigmoid_()
            slope.mul_(inner)
            x = inner.sub_(step.centre).mul_(amplification)
            called, passed = torch.sigmoid(x), x.neg_().sigmoid_()
            slope.mul_(called).mul_(passed)
        else:
            x = (scores - step.centre).mul_(amplification)
            called, passed = torch.sigmoid(x), x.neg_().sigmoid_()
            slope = called * passed
        if weights is not None:
            called, passed, slope = called * weights, passed * weights, slope * weights
        counts = []
        for part in (called, passed):
            side = labels * part
            counts.append(side.sum(step.dims, keepdim=True))
            counts.append(side.sub_(part).sum(step.dims, keepdim=True).abs())
        positive = labels * slope
        return torch.stack(counts), positive, slope - positive

    @staticmethod
    def setup_context(
        ctx: _Saved,
        inputs: tuple[Tensor, Tensor, Tensor | None, Number, Step],
        output: tuple[Tensor, Tensor, Tensor],
    ) -> None:
        scores, _, _, ctx.amplification, ctx.step = inputs
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(scores, *output[1:])
        ctx.save_for_forward(scores, *output[1:])

    @staticmethod
    def backward(
        ctx: _Saved, of_counts: Tensor | None, *of_slopes: Tensor | None
    ) -> tuple[Tensor | None, ...]:
        scores, positive, negative = ctx.saved_tensors
        through = torch.zeros_like(scores) if of_counts is None else None
        if of_counts is not None:
            tp, fp, fn, tn = (of_counts * ctx.amplification).unbind()
            through = (tp - fn) * positive + (fp - tn) * negative
        for gradient, slope in zip(of_slopes, (positive, negative), strict=True):
            if gradient is not None:
                bend = gradient * slope * _slope_ratio(scores, ctx.amplification, ctx.step)
                through = through + bend
        return through, None, None, None, None

    @staticmethod
    def jvp(ctx: _Saved, tangent: Tensor, *_: None) -> tuple[Tensor, Tensor, Tensor]:
        scores, positive, negative = ctx.saved_tensors
        scaled = tangent * ctx.amplification
        tp = (positive * scaled).sum(ctx.step.dims, keepdim=True)
        fp = (negative * scaled).sum(ctx.step.dims, keepdim=True)
        bend = tangent * _slope_ratio(scores, ctx.amplification, ctx.step)
        return torch.stack([tp, fp, -tp, -fp]), positive * bend, negative * bend
