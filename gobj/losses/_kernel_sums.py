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
    compiling = torch.compiler.is_compiling()  # the compiler refuses a custom jvp
    function = _Totals if compiling else _TotalsBothWays
    totals: Tensor = function.apply(scores, weights, positive, kernel)[0]  # type: ignore[no-untyped-call]
    return totals


def kernel_potentials(scores: Tensor, weights: Tensor, positive: Tensor, kernel: Kernel) -> Tensor:
    """Sum the other's weight and the kernel over the pairs of each example, ``[n, labels]``.

    The arguments are those of :func:`kernel_totals`.
    """
    compiling = torch.compiler.is_compiling()
    function = _Potentials if compiling else _PotentialsBothWays
    sums: Tensor = function.apply(scores, weights, positive, kernel)  # type: ignore[no-untyped-call]
    return sums


def _signed(values: Tensor, positive: Tensor) -> Tensor:
    """Turn the values of negatives round: a pair's difference falls as its negative rises."""
    return torch.where(positive, values, -values)


def _curvature(inputs: Inputs, direction: Tensor) -> Tensor:
    """Multiply a direction by the second derivative of the totals, which is symmetric."""
    scores, weights, positive, kernel = inputs
    second = kernel.derivative.derivative
    own = kernel_potentials(scores, weights, positive, second)
    others = kernel_potentials(scores, weights * direction, positive, second)
    return weights * (direction * own - others)


class _Differentiable(torch.autograd.Function):
    generate_vmap_rule = True

    @staticmethod
    def keep(ctx: Any, inputs: Inputs, *slopes: Tensor) -> None:
        """Save what both kinds of derivative need."""
        *tensors, ctx.kernel = inputs
        ctx.save_for_backward(*tensors, *slopes)
        ctx.save_for_forward(*tensors, *slopes)


class _Totals(_Differentiable):
    """The totals and, so that the gradient differentiates again, their slopes."""

    @staticmethod
    def forward(
        scores: Tensor, weights: Tensor, positive: Tensor, kernel: Kernel
    ) -> tuple[Tensor, Tensor]:
        grid = lay_out(scores, positive, kernel.reach)
        spread = grid.points.spread(weights)
        slopes = grid.potentials(spread, kernel.derivative) * _signed(weights, positive)
        return grid.totals(spread, kernel).to(scores.dtype), slopes

    @staticmethod
    def setup_context(ctx: Any, inputs: Inputs, output: tuple[Tensor, Tensor]) -> None:
        ctx.set_materialize_grads(False)
        _Differentiable.keep(ctx, inputs, output[1])

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
        return grid.potentials(grid.points.spread(weights), kernel)

    @staticmethod
    def setup_context(ctx: Any, inputs: Inputs, _: Tensor) -> None:
        _Differentiable.keep(ctx, inputs)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Any:
        scores, weights, positive = ctx.saved_tensors
        own = kernel_potentials(scores, weights, positive, ctx.kernel.derivative)
        others = kernel_potentials(scores, gradient, positive, ctx.kernel.derivative)
        of_scores = _signed(gradient * own + weights * others, positive)
        of_weights = None
        if ctx.needs_input_grad[1]:
            of_weights = kernel_potentials(scores, gradient, positive, ctx.kernel)
        return of_scores, of_weights, None, None


class _PotentialsBothWays(_Potentials):
    @staticmethod
    def jvp(ctx: Any, of_scores: Tensor, of_weights: Tensor | None, *_: Any) -> Tensor:
        scores, weights, positive = ctx.saved_tensors
        own = kernel_potentials(scores, weights, positive, ctx.kernel.derivative)
        others = kernel_potentials(scores, weights * of_scores, positive, ctx.kernel.derivative)
        tangent = _signed(of_scores * own - others, positive)
        if of_weights is None:
            return tangent
        return tangent + kernel_potentials(scores, of_weights, positive, ctx.kernel)
