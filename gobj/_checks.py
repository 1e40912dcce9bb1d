"""Argument checks: shapes, dtypes and Python numbers, never the values of a tensor."""

import math
from typing import Literal

import torch
from torch import Tensor

Number = float | Tensor
Reduction = Literal["mean", "sum", "none"]


def require(condition: bool, function: str, argument: str, requirement: str, got: object) -> None:
    """Raise the package's one form of ``ValueError`` unless ``condition`` holds."""
    if not condition:
        shown = got if isinstance(got, str) else kind(got)
        raise ValueError(f"{function}: `{argument}` must {requirement}; got {shown}.")


def kind(value: object) -> str:
    """Describe a value for a message: dtype and shape of a tensor, else the value itself."""
    if isinstance(value, Tensor):
        return f"a tensor of {value.dtype} and shape {list(value.shape)}"
    return repr(value)


def check_logits(function: str, logits: Tensor, *, rank: int = 1, name: str = "logits") -> None:
    """Require a floating-point tensor with at least ``rank`` dimensions."""
    fine = isinstance(logits, Tensor) and logits.is_floating_point() and logits.dim() >= rank
    axes = "example dimension" if rank == 1 else f"{rank} dimensions"
    require(fine, function, name, f"be a floating-point tensor with {axes}", kind(logits))


def check_labels(function: str, logits: Tensor, labels: Tensor) -> None:
    """Require real labels of the same shape as the logits."""
    fine = isinstance(labels, Tensor) and not labels.is_complex() and labels.shape == logits.shape
    require(fine, function, "labels", f"have the logits' shape {list(logits.shape)}", kind(labels))


def check_number(
    function: str,
    argument: str,
    value: float,
    *,
    low: float = -math.inf,
    high: float = math.inf,
    closed: bool = False,
) -> None:
    """Require a Python number between ``low`` and ``high``, which count as inside if ``closed``."""
    number = isinstance(value, int | float) and not isinstance(value, bool)
    inside = number and (low <= value <= high if closed else low < value < high)
    brackets = "[]" if closed else "()"
    requirement = f"be a number in {brackets[0]}{low:g}, {high:g}{brackets[1]}"
    require(inside, function, argument, requirement, kind(value))


def check_range(function: str, argument: str, value: tuple[float, float]) -> None:
    """Require the two ends of a part of [0, 1]."""
    fine = isinstance(value, tuple) and len(value) == 2
    fine = fine and all(isinstance(end, int | float) for end in value)
    fine = fine and 0 <= value[0] < value[1] <= 1
    require(fine, function, argument, "be two numbers with 0 <= first < second <= 1", value)


def check_target(function: str, argument: str, target: Number) -> None:
    """Require a number in (0, 1) or a floating-point tensor."""
    if isinstance(target, Tensor):
        fine = target.is_floating_point()
        require(fine, function, argument, "be of a floating-point dtype", kind(target))
    else:
        check_number(function, argument, target, low=0, high=1)


def check_reduction(function: str, reduction: str) -> None:
    """Require one of torch's three reductions."""
    fine = reduction in ("mean", "sum", "none")
    require(fine, function, "reduction", "be 'mean', 'sum' or 'none'", kind(reduction))


def broadcasts(shape: torch.Size, to: torch.Size) -> bool:
    """Tell whether ``shape`` broadcasts to ``to`` without enlarging it."""
    return len(shape) <= len(to) and all(
        have in (1, want) for have, want in zip(reversed(shape), reversed(to), strict=False)
    )


def spread_weights(function: str, weights: Number, logits: Tensor) -> Tensor:
    """Return weights that broadcast against the logits from the left: scalar, ``[n]`` or more."""
    if not isinstance(weights, Tensor):
        check_number(function, "weights", weights, low=0, closed=True)
        return torch.full((), weights, dtype=logits.dtype, device=logits.device)
    leading = logits.shape[: weights.dim()]
    fine = not weights.is_complex() and broadcasts(weights.shape, leading)
    requirement = f"be a scalar or match the leading dimensions of {list(logits.shape)}"
    require(fine, function, "weights", requirement, kind(weights))
    return weights.reshape(weights.shape + (1,) * (logits.dim() - weights.dim()))
