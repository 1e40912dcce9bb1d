"""Sums over pairs of a positive and a negative as functions to differentiate, to any order.

Each derivative is again such a sum, with the kernel's next derivative and other weights.
"""

from typing import Any

import torch
from torch import Tensor

from gobj.losses._kernel_grid import Kernel, lay_out

Inputs = tuple[Tensor, Tensor, Tensor, Kernel]


def kernel_totals(scores: Tensor, weights: Tensor, positive: Tensor, kernel: Kernel) -> Tensor:
    """Sum weights and kernel over all pairs, ``[labels]``; the weights are constants.

    Args:
        scores: Scores, shape ``[n, labels]``; one that is missing counts as some number.
        weights: Weight of each example, shape ``[n, labels]``; a pair has the product.
        positive: Whether each example is one, shape ``[n, labels]``.
        kernel: A surrogate.
    """
    function = _kind(_Totals, _TotalsBothWays)
    totals: Tensor = function.apply(scores, weights, positive, kernel)[0]
    return totals


def kernel_potentials(scores: Tensor, weights: Tensor, positive: Tensor, kernel: Kernel) -> Tensor:
    """Sum the other's weight and the kernel over the pairs of each example, ``[n, labels]``.

    The arguments are those of :func:`kernel_totals`.
    """
    function = _kind(_Potentials, _PotentialsBothWays)
    sums: Tensor = function.apply(scores, weights, positive, kernel)
    return sums


def _kind(in_reverse: Any, both_ways: Any) -> Any:
    """Choose the function that the compiler takes, which refuses a custom jvp."""
    return in_reverse if torch.compiler.is_compiling() else both_ways


def _curvature(inputs: Inputs, direction: Tensor) -> Tensor:
    """Multiply a direction by the second derivative of the totals, which is symmetric."""
    scores, weights, positive, kernel = inputs
    second = kernel.derivative.derivative
    own = kernel_potentials(scores, weights, positive, second)
    others = kernel_potentials(scores, weights * direction, positive, second)
    return weights * (direction * own - others)


class _Differentiable(torch.autograd.Function):
    """What both have in common: inputs ``scores, weights, positive, kernel``."""

    @staticmethod
    def keep(ctx: Any, inputs: Inputs, *slopes: Tensor) -> None:
        """Save what both kinds of derivative need."""
        *tensors, ctx.kernel = inputs
        ctx.save_for_backward(*tensors, *slopes)
        ctx.save_for_forward(*tensors, *slopes)

    @classmethod
    def folded(cls, info: Any, in_dims: Any, inputs: Inputs) -> Any:
        """Apply with a mapped dimension as one of labels, which is what it is."""
        *tensors, kernel = inputs
        size = info.batch_size
        mapped = [
            (tensor.unsqueeze(0) if dim is None else tensor.movedim(dim, 0)).expand(size, -1, -1)
            for tensor, dim in zip(tensors, in_dims, strict=False)
        ]
        return cls.apply(*(tensor.transpose(0, 1).flatten(1) for tensor in mapped), kernel)  # type: ignore[no-untyped-call]


class _Totals(_Differentiable):
    """The totals and, so that the gradient differentiates again, their slopes."""

    @staticmethod
    def forward(
        scores: Tensor, weights: Tensor, positive: Tensor, kernel: Kernel
    ) -> tuple[Tensor, Tensor]:
        grid = lay_out(scores, positive, kernel.reach)
        totals, slopes = grid.totals(grid.spread(weights), kernel)
        return totals.to(scores.dtype), weights * slopes

    @staticmethod
    def setup_context(ctx: Any, inputs: Inputs, output: tuple[Tensor, Tensor]) -> None:
        ctx.set_materialize_grads(False)
        _Differentiable.keep(ctx, inputs, output[1])

    @staticmethod
    def vmap(info: Any, in_dims: Any, *inputs: Any) -> Any:
        totals, slopes = _kind(_Totals, _TotalsBothWays).folded(info, in_dims, inputs)
        shape = info.batch_size, -1
        return (totals.view(shape), slopes.unflatten(1, shape)), (0, 1)

    @staticmethod
    def backward(ctx: Any, of_totals: Tensor | None, of_slopes: Tensor | None) -> Any:
        *tensors, slopes = ctx.saved_tensors
        gradient = None if of_totals is None else of_totals * slopes
        if of_slopes is not None:
            bend = _curvature((*tensors, ctx.kernel), of_slopes)
            gradient = bend if gradient is None else gradient + bend
        return gradient, None, None, None


class _TotalsBothWays(_Totals):
    @staticmethod
    def jvp(ctx: Any, tangent: Tensor, *_: Any) -> tuple[Tensor, Tensor]:
        *tensors, slopes = ctx.saved_tensors
        return (slopes * tangent).sum(0), _curvature((*tensors, ctx.kernel), tangent)


class _Potentials(_Differentiable):
    """The potentials: linear in the weights, and symmetric but for the sign of the difference."""

    @staticmethod
    def forward(scores: Tensor, weights: Tensor, positive: Tensor, kernel: Kernel) -> Tensor:
        grid = lay_out(scores, positive, kernel.reach)
        return grid.potentials(grid.spread(weights), kernel)

    @staticmethod
    def setup_context(ctx: Any, inputs: Inputs, _: Tensor) -> None:
        _Differentiable.keep(ctx, inputs)

    @staticmethod
    def vmap(info: Any, in_dims: Any, *inputs: Any) -> Any:
        sums = _kind(_Potentials, _PotentialsBothWays).folded(info, in_dims, inputs)
        return sums.unflatten(1, (info.batch_size, -1)), 1

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Any:
        scores, weights, positive = ctx.saved_tensors
        turn = (-1) ** ctx.kernel.order
        own = kernel_potentials(scores, weights, positive, ctx.kernel.derivative)
        others = kernel_potentials(scores, gradient, positive, ctx.kernel.derivative)
        of_scores = gradient * own + weights * others * turn
        of_weights = None
        if ctx.needs_input_grad[1]:
            of_weights = kernel_potentials(scores, gradient, positive, ctx.kernel) * turn
        return of_scores, of_weights, None, None


class _PotentialsBothWays(_Potentials):
    @staticmethod
    def jvp(ctx: Any, of_scores: Tensor, of_weights: Tensor | None, *_: Any) -> Tensor:
        scores, weights, positive = ctx.saved_tensors
        own = kernel_potentials(scores, weights, positive, ctx.kernel.derivative)
        moved = weights * of_scores
        others = kernel_potentials(scores, moved, positive, ctx.kernel.derivative)
        tangent = of_scores * own - others
        if of_weights is None:
            return tangent
        return tangent + kernel_potentials(scores, of_weights, positive, ctx.kernel)
