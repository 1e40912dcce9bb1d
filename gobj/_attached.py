"""Functions that come with their slope, so that a gradient costs one product."""

import inspect
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.autograd import forward_ad

Terms = Callable[..., tuple[Tensor, Tensor]]


def evaluation_point(point: Tensor) -> Tensor:
    """Return where to evaluate value and slope for :func:`attached`.

    Eagerly this is detached, so that no graph of the evaluation is kept. The compiler keeps none
    that is not used, and by it the slope can be differentiated again.
    """
    return point if torch.compiler.is_compiling() else point.detach()


def attached(
    point: Tensor, known: tuple[Tensor, Tensor], terms: Terms, *constants: Tensor
) -> Tensor:
    """Return a value that is already known as a differentiable function of a point.

    Args:
        point: Where an elementwise function was evaluated.
        known: Its value and its slope at the :func:`evaluation_point`.
        terms: Computes both from point and constants by differentiable operations; called for
            derivatives beyond the first alone.
        constants: What else the function depends on; no gradient reaches them.
    """
    value: Tensor
    if compiles_transforms():
        value = known[0]
    elif torch.compiler.is_compiling():
        value = _Compiled.apply(point, *known)  # type: ignore[no-untyped-call]
    else:
        value = _Eager.apply(point, *known, terms, *constants)[0]  # type: ignore[no-untyped-call]
    return value


def forward_mode() -> bool:
    """Tell whether derivatives are carried forward, beside a value that must then have memory."""
    return forward_ad._current_level >= 0


def transforms() -> bool:
    """Tell whether a transform of ``torch.func`` is at work."""
    active: bool = torch._C._are_functorch_transforms_active()
    return active


def compiles_transforms() -> bool:
    """Tell whether the compiler is in a transform: it maps no custom function.

    But it differentiates anything else.
    """
    return torch.compiler.is_compiling() and transforms()


class _Compiled(torch.autograd.Function):
    """The value, whose derivative is the slope that is given; the compiler refuses a jvp."""

    @staticmethod
    def forward(point: Tensor, value: Tensor, slope: Tensor) -> Tensor:  # noqa: ARG004
        return value.view_as(value)

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Tensor) -> None:  # noqa: ARG004
        ctx.save_for_backward(inputs[2])

    @staticmethod
    def backward(ctx: Any, of_value: Tensor) -> Any:
        (slope,) = ctx.saved_tensors
        return of_value * slope, None, None


class _Eager(torch.autograd.Function):
    """Value and slope, where the slope that is returned serves as the derivative."""

    generate_vmap_rule = True

    @staticmethod
    def forward(
        point: Tensor,  # noqa: ARG004
        value: Tensor,
        slope: Tensor,
        terms: Terms,  # noqa: ARG004
        *constants: Tensor,  # noqa: ARG004
    ) -> tuple[Tensor, Tensor]:
        return value.view_as(value), slope.view_as(slope)

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: tuple[Tensor, Tensor]) -> None:
        point, _, _, ctx.terms, *constants = inputs
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(point, output[1], *constants)
        ctx.save_for_forward(point, output[1], *constants)

    @staticmethod
    def backward(ctx: Any, of_value: Tensor | None, of_slope: Tensor | None) -> Any:
        gradient = None if of_value is None else of_value * ctx.saved_tensors[1]
        if of_slope is not None:
            through_slope = _bent(ctx, of_slope)
            gradient = through_slope if gradient is None else gradient + through_slope
        return gradient, *(None for _ in ctx.needs_input_grad[1:])

    @staticmethod
    def jvp(ctx: Any, tangent: Tensor, *_: Any) -> tuple[Tensor, Tensor]:
        return ctx.saved_tensors[1] * tangent, _bent(ctx, tangent)


# torch asks for it in every call, and inspecting takes as long as ten operations
_Eager.forward.__signature__ = inspect.signature(_Eager.forward)  # type: ignore[attr-defined]


def _bent(ctx: Any, factor: Tensor) -> Tensor:
    """Multiply by the derivative of the slope, which is diagonal."""
    point, _, *constants = ctx.saved_tensors
    pull: Any = torch.func.vjp(lambda at: ctx.terms(at, *constants)[1], point)[1]
    bent: Tensor = pull(factor)[0]
    return bent
