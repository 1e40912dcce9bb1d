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

from gobj._blocks import blocks
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


def _count(
    amplification: Number,
    step: Step,
    scores: Tensor,
    labels: Tensor,
    weights: Tensor | None = None,
) -> tuple[Tensor, ...]:
    """Return the counts of a block, and the slopes times the weights."""
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
        slope = passed.clone()
    if weights is not None:
        called, passed = called * weights, passed * weights
    side = labels * passed
    fn = side.sum(step.dims)
    tn = side.sub_(passed).sum(step.dims).abs()
    del side, passed
    slope = slope.mul_(called) if weights is None else slope * called
    side = labels * called
    tp = side.sum(step.dims)
    fp = side.sub_(called).sum(step.dims).abs()
    return tp, fp, fn, tn, slope


class _Counts(torch.autograd.Function):
    """The counts, and the slopes ``dA/dz / amplification`` times the weights.

    The slopes are an output so that the gradient, which is made of them, is differentiable again.
    """

    generate_vmap_rule = True

    @staticmethod
    def forward(
        scores: Tensor, labels: Tensor, weights: Tensor | None, amplification: Number, step: Step
    ) -> tuple[Tensor, ...]:
        inputs = [scores, labels]
        if weights is not None:
            inputs.append(weights.expand(scores.shape))
        summed = 0 in step.dims
        cut = [blocks(tensor) if summed else (tensor,) for tensor in inputs]
        counts = [_count(amplification, step, *block) for block in zip(*cut, strict=True)]
        if len(counts) == 1:
            return counts[0]
        *sums, slopes = zip(*counts, strict=True)
        return *(torch.stack(parts).sum(0) for parts in sums), torch.cat(slopes)

    @staticmethod
    def setup_context(
        ctx: _Saved,
        inputs: tuple[Tensor, Tensor, Tensor | None, Number, Step],
        output: tuple[Tensor, ...],
    ) -> None:
        scores, labels, _, ctx.amplification, ctx.step = inputs
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(scores, labels, output[4])
        ctx.save_for_forward(scores, labels, output[4])

    @staticmethod
    def backward(ctx: _Saved, *gradients: Tensor | None) -> tuple[Tensor | None, ...]:
        scores, labels, slope = ctx.saved_tensors
        kept = [size for dim, size in enumerate(scores.shape) if dim not in ctx.step.dims]
        tp, fp, fn, tn = [scores.new_zeros(kept) if g is None else g for g in gradients[:4]]
        of_positive, of_negative = (tp - fn) * ctx.amplification, (fp - tn) * ctx.amplification
        for dim in ctx.step.dims:
            of_positive, of_negative = of_positive.unsqueeze(dim), of_negative.unsqueeze(dim)
        # not a difference of the two, whose sizes may be orders of magnitude apart
        through = (labels * of_positive + (1 - labels) * of_negative) * slope
        if gradients[4] is not None:
            through = through + gradients[4] * slope * _slope_ratio(
                scores, ctx.amplification, ctx.step
            )
        return through, None, None, None, None

    @staticmethod
    def jvp(ctx: _Saved, tangent: Tensor, *_: None) -> tuple[Tensor, ...]:
        scores, labels, slope = ctx.saved_tensors
        moved = slope * tangent
        called = moved * ctx.amplification
        tp = (labels * called).sum(ctx.step.dims)
        fp = (called - labels * called).sum(ctx.step.dims)
        bend = moved * _slope_ratio(scores, ctx.amplification, ctx.step)
        return tp, fp, -tp, -fp, bend


# Applying a function binds its arguments to a signature, which is slow to work out each time.
_Counts.forward.__dict__["__signature__"] = inspect.signature(_Counts.forward)
