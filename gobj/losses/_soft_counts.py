"""The four soft counts of scores and labels, with gradients that keep both tails.

A score ``z`` is called positive to the degree ``A = sigmoid(amplification * (u - centre))``, where
``u`` is ``sigmoid(z)`` or ``z`` itself. A sigmoid's slope is usually formed as ``y * (1 - y)``,
which is exactly 0 as soon as ``y`` rounds to 1. Here ``1 - y`` is computed by itself.
"""

import inspect
import math
from typing import NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import FunctionCtx
from torch.nn import functional

from gobj._checks import Number

Counts = tuple[Tensor, Tensor, Tensor, Tensor]


class Step(NamedTuple):
    """Where the step from negative to positive lies, and the dimensions that are summed."""

    centre: float
    squashed: bool
    dims: tuple[int, ...]


def soft_counts(
    scores: Tensor, labels: Tensor, weights: Tensor | None, amplification: Number, step: Step
) -> Counts:
    """Sum true positives, false positives, false negatives and true negatives over ``step.dims``.

    They differentiate with respect to the scores.
    """
    if torch.compiler.is_compiling():  # the compiler fuses the definition and refuses a custom jvp
        return _define(scores, labels, weights, amplification, step)
    if isinstance(amplification, Tensor):
        scores = scores + 0 * amplification  # has its vmap dimensions: in place is safe below
    outputs = _Counts.apply(scores, labels, weights, amplification, step)  # type: ignore[no-untyped-call]
    counts: Counts = outputs[:4]
    return counts


def _sigmoid(x: Tensor) -> Tensor:
    """Return the sigmoid by way of its logarithm, whose gradient does not saturate."""
    return functional.logsigmoid(x).exp()


def _define(
    scores: Tensor, labels: Tensor, weights: Tensor | None, amplification: Number, step: Step
) -> Counts:
    inner = _sigmoid(scores) if step.squashed else scores
    x = (inner - step.centre) * amplification
    mass = 1 if weights is None else weights
    parts = _sigmoid(x) * mass, _sigmoid(-x) * mass
    sides = [side * part for part in parts for side in (labels, 1 - labels)]
    tp, fp, fn, tn = [side.sum(step.dims) for side in sides]
    return tp, fp, fn, tn


def _bound(x: Tensor) -> Tensor:
    """Clamp to where the exponential is finite, which is where a sigmoid's slope is above 0."""
    limit = math.log(torch.finfo(x.dtype).max) - 1
    return x.clamp(-limit, limit)


def _halves(x: Tensor) -> tuple[Tensor, Tensor]:
    """Return ``sigmoid(x)``, in its memory, and ``sigmoid(-x)``, each right to rounding."""
    upper = x.exp_()
    lower = (upper + 1).reciprocal_()
    return upper.mul_(lower), lower


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
    ) -> tuple[Tensor, ...]:
        # In place where the result is sure to carry every batch dimension of a vmap; what is not
        # needed any more is let go, for in fresh memory an operation takes several times as long.
        if step.squashed:
            x, slope = _halves(_bound(scores))
            slope.mul_(x)
            x.sub_(step.centre).mul_(amplification)
            small = not isinstance(amplification, Tensor) and amplification < 80
            called, passed = _halves(x if small else _bound(x))
            slope.mul_(passed)
            del x
        else:
            called, passed = _halves(_bound((scores - step.centre).mul_(amplification)))
            slope = passed
        if weights is not None:
            called, passed = called * weights, passed * weights
        side = labels * passed
        fn = side.sum(step.dims)
        tn = side.sub_(passed).sum(step.dims).abs()
        del side, passed
        positive = labels * called
        negative = called - positive
        tp, fp = positive.sum(step.dims), negative.sum(step.dims)
        return tp, fp, fn, tn, positive.mul_(slope), negative.mul_(slope)

    @staticmethod
    def setup_context(
        ctx: _Saved,
        inputs: tuple[Tensor, Tensor, Tensor | None, Number, Step],
        output: tuple[Tensor, ...],
    ) -> None:
        scores, _, _, ctx.amplification, ctx.step = inputs
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(scores, *output[4:])
        ctx.save_for_forward(scores, *output[4:])

    @staticmethod
    def backward(ctx: _Saved, *gradients: Tensor | None) -> tuple[Tensor | None, ...]:
        scores, positive, negative = ctx.saved_tensors
        kept = [size for dim, size in enumerate(scores.shape) if dim not in ctx.step.dims]
        tp, fp, fn, tn = [scores.new_zeros(kept) if g is None else g for g in gradients[:4]]
        of_positive, of_negative = (tp - fn) * ctx.amplification, (fp - tn) * ctx.amplification
        for dim in ctx.step.dims:
            of_positive, of_negative = of_positive.unsqueeze(dim), of_negative.unsqueeze(dim)
        through = (of_positive * positive).add_(of_negative * negative)
        for gradient, slope in zip(gradients[4:], (positive, negative), strict=True):
            if gradient is not None:
                bend = slope * _slope_ratio(scores, ctx.amplification, ctx.step)
                through = through + gradient * bend
        return through, None, None, None, None

    @staticmethod
    def jvp(ctx: _Saved, tangent: Tensor, *_: None) -> tuple[Tensor, ...]:
        scores, positive, negative = ctx.saved_tensors
        scaled = tangent * ctx.amplification
        tp, fp = (positive * scaled).sum(ctx.step.dims), (negative * scaled).sum(ctx.step.dims)
        bend = tangent * _slope_ratio(scores, ctx.amplification, ctx.step)
        return tp, fp, -tp, -fp, positive * bend, negative * bend


# Applying a function binds its arguments to a signature, which is slow to work out each time.
_Counts.forward.__dict__["__signature__"] = inspect.signature(_Counts.forward)
