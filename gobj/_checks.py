"""Argument checks: shapes, dtypes and Python numbers, never the values of a tensor.

A message is built only after its check has failed: a symbolic number in a message would stop the
compiler although nothing is wrong.
"""

import inspect
import math
from numbers import Integral, Real
from typing import Literal, NoReturn

import torch
from torch import Tensor

Number = float | Tensor
Reduction = Literal["mean", "sum", "none"]
REDUCTIONS = "mean", "sum", "none"
Range = tuple[float, float]
MAX_SHOWN = 12  # entries of a container that a message shows


def refuse(argument: str, requirement: str, got: object, function: str | None = None) -> NoReturn:
    """Raise the package's one form of ``ValueError``."""
    function = function or _called_function()
    raise ValueError(f"{function}: `{argument}` must {requirement}; got {describe(got)}.")


def _called_function() -> str:
    """Name the function or class of this package that was called from outside it."""
    name, frame = "gobj", inspect.currentframe()
    while frame is not None:
        module, code = frame.f_globals.get("__name__", ""), frame.f_code.co_name
        if not module.startswith("gobj") or module.startswith(("gobj.study", "gobj.__main__")):
            break
        if "self" in frame.f_locals:
            name = type(frame.f_locals["self"]).__name__
        elif not code.startswith(("<", "_")):
            name = code
        frame = frame.f_back
    return name


def describe(value: object) -> str:
    """Describe a value for a message: what an array or a list is, and a short form of the rest."""
    if isinstance(value, Tensor):
        return f"a tensor of {value.dtype} and shape {list(value.shape)}"
    shape = getattr(value, "shape", None)
    if isinstance(shape, tuple) and shape:
        return f"a {type(value).__name__} of shape {list(shape)}"
    if isinstance(value, list | tuple | dict | set) and len(value) > MAX_SHOWN:
        return f"a {type(value).__name__} of length {len(value)}"
    shown = repr(value)
    return shown if len(shown) <= 10 * MAX_SHOWN else f"{shown[: 10 * MAX_SHOWN]}..."


def check_logits(logits: Tensor, name: str = "logits") -> None:
    """Require a floating-point tensor with an example dimension."""
    if not (isinstance(logits, Tensor) and logits.is_floating_point() and logits.dim() >= 1):
        refuse(name, "be a floating-point tensor with an example dimension", logits)


def check_labels(logits: Tensor, labels: Tensor) -> None:
    """Require real labels of the same shape as the logits."""
    fine = isinstance(labels, Tensor) and not labels.is_complex()
    if not (fine and labels.shape == logits.shape):
        refuse("labels", f"have the logits' shape {list(logits.shape)}", labels)
    if labels.layout != torch.strided:
        refuse("labels", "be dense; gobj.linear_constrained_loss takes sparse ones", labels)


def is_number(value: object) -> bool:
    """Tell whether a value is a real number, one of NumPy's included, and no truth value."""
    return isinstance(value, Real) and not isinstance(value, bool)


def check_number(
    argument: str,
    value: float,
    *,
    low: float = -math.inf,
    high: float = math.inf,
    closed: bool = False,
    function: str | None = None,
) -> None:
    """Require a number between ``low`` and ``high``, which count as inside if ``closed``."""
    inside = is_number(value) and (low <= value <= high if closed else low < value < high)
    if not inside:
        ends = f"[{low:g}, {high:g}]" if closed else f"({low:g}, {high:g})"
        refuse(argument, f"be a number in {ends}", value, function)


def check_count(argument: str, value: object) -> None:
    """Require a whole number above 0."""
    if not (isinstance(value, Integral) and is_number(value) and int(value) >= 1):
        refuse(argument, "be a whole number above 0", value)


def check_range(argument: str, value: Range) -> None:
    """Require the two ends of a part of [0, 1]."""
    fine = isinstance(value, tuple | list) and len(value) == 2 and all(map(is_number, value))
    if not (fine and 0 <= value[0] < value[1] <= 1):
        refuse(argument, "be two numbers with 0 <= first < second <= 1", value)


def check_target(argument: str, target: Number) -> None:
    """Require a number in (0, 1) or a floating-point tensor, whose values are not checked."""
    if not isinstance(target, Tensor):
        check_number(argument, target, low=0, high=1)
    elif not target.is_floating_point():
        refuse(argument, "be of a floating-point dtype", target)


def check_choice(argument: str, value: str, choices: tuple[str, ...]) -> None:
    """Require one of some names."""
    if value not in choices:
        *others, last = map(repr, choices)
        refuse(argument, f"be {', '.join(others)} or {last}", value)


def broadcasts(shape: torch.Size, to: torch.Size) -> bool:
    """Tell whether ``shape`` broadcasts to ``to`` without enlarging it."""
    return len(shape) <= len(to) and all(
        have == 1 or have == want  # noqa: PLR1714, `in` takes symbolic sizes for unequal
        for have, want in zip(reversed(shape), reversed(to), strict=False)
    )


def per_label(argument: str, value: Number, logits: Tensor) -> Number:
    """Bring a tensor to the labels and the precision of logits ``[n, *labels]``; keep a number."""
    if not isinstance(value, Tensor):
        return value
    check_logits(logits)
    labels = logits.shape[1:]
    if not broadcasts(value.shape, labels):
        refuse(argument, f"broadcast to the labels {list(labels)}", value)
    return value.to(torch.promote_types(logits.dtype, torch.float32)).expand(labels)


def target_per_label(argument: str, target: Number, logits: Tensor) -> Number:
    """Require a target, and bring a tensor to the labels and the precision of the logits."""
    check_target(argument, target)
    target = target.detach() if isinstance(target, Tensor) else target
    return per_label(argument, target, logits)
