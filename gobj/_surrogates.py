"""Surrogates: upper bounds of the indicator of an error, as functions of the margin.

A margin is positive where an example lies on its right side of the threshold. Every surrogate ``s``
satisfies ``s(margin) >= 1[margin <= 0]`` by itself, which is all that the guarantees of this
package rest on, and gives its slope together with its value, so that the two share exponentials.
"""

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from gobj._checks import check_number


class Surrogate(ABC):
    """Upper bound of ``1[margin <= 0]`` that knows its slope; subclasses are frozen and hashable.

    Calling a surrogate maps margins to costs of the same shape, differentiably to any order.
    """

    @abstractmethod
    def terms(self, margin: Tensor) -> tuple[Tensor, Tensor]:
        """Compute cost and slope at the margin, each by differentiable operations."""

    def evaluate(self, margin: Tensor) -> tuple[Tensor, Tensor]:
        """Return cost and slope; the gradient of the cost is the slope, not computed again."""
        if torch.compiler.is_compiling():  # the compiler shares the work and refuses a custom jvp
            return self.terms(margin)
        evaluated: tuple[Tensor, Tensor] = _Evaluation.apply(margin, self)  # type: ignore[no-untyped-call]
        return evaluated

    def __call__(self, margin: Tensor) -> Tensor:
        """Return the cost of each margin."""
        return self.evaluate(margin)[0]


class _Evaluation(torch.autograd.Function):
    """Cost and slope of a surrogate, where the slope that is returned serves as the derivative."""

    generate_vmap_rule = True

    @staticmethod
    def forward(margin: Tensor, surrogate: Surrogate) -> tuple[Tensor, Tensor]:
        return surrogate.terms(margin)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Surrogate], output: Any) -> None:
        margin, ctx.surrogate = inputs
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(margin, output[1])
        ctx.save_for_forward(margin, output[1])

    @staticmethod
    def backward(ctx: Any, of_cost: Tensor | None, of_slope: Tensor | None) -> Any:
        margin, slope = ctx.saved_tensors
        through_cost = None if of_cost is None else of_cost * slope
        if of_slope is None:
            return through_cost, None
        through_slope = _bent(ctx.surrogate, margin, of_slope)
        return through_slope if through_cost is None else through_cost + through_slope, None

    @staticmethod
    def jvp(ctx: Any, tangent: Tensor, _: None) -> tuple[Tensor, Tensor]:
        margin, slope = ctx.saved_tensors
        return slope * tangent, _bent(ctx.surrogate, margin, tangent)


def _bent(surrogate: Surrogate, margin: Tensor, factor: Tensor) -> Tensor:
    """Multiply by the derivative of the slope, which is diagonal."""
    pull: Any = torch.func.vjp(lambda at: surrogate.terms(at)[1], margin)[1]
    bent: Tensor = pull(factor)[0]
    return bent


@dataclass(frozen=True)
class CrossEntropy(Surrogate):
    r"""Logistic cost in bits, :math:`\log_2(1 + e^{-m})`, which is 1 at margin 0."""

    def terms(self, margin: Tensor) -> tuple[Tensor, Tensor]:
        """Compute cost and slope."""
        in_bits = 1 / math.log(2)
        right = torch.sigmoid(margin)
        cost = functional.logsigmoid(margin).mul_(-in_bits)
        return cost, torch.rsub(right, -in_bits, alpha=-in_bits)


@dataclass(frozen=True)
class Hinge(Surrogate):
    r"""Hinge to a power, :math:`\max(0, 1 - m)^p`, for ``power`` 1 or 2."""

    power: int = 1

    def terms(self, margin: Tensor) -> tuple[Tensor, Tensor]:
        """Compute cost and slope."""
        shortfall = functional.relu(1 - margin)
        if self.power == 1:
            return shortfall, -shortfall.sign()
        return shortfall.square(), -2 * shortfall


@dataclass(frozen=True)
class GeneralizedCrossEntropy(Surrogate):
    r"""Bounded cost :math:`(1 - \sigma(m / T)^q) / (1 - 2^{-q})`, which is 1 at margin 0."""

    q: float
    temperature: float

    def terms(self, margin: Tensor) -> tuple[Tensor, Tensor]:
        """Compute cost and slope."""
        scale = 1 / (1 - 2**-self.q)
        scaled = margin * (1 / self.temperature)
        powered = torch.exp(functional.logsigmoid(scaled) * self.q)
        cost = torch.rsub(powered, scale, alpha=scale)
        falling = torch.addcmul(powered, powered, torch.sigmoid(scaled), value=-1)
        return cost, falling * (-scale * self.q / self.temperature)


@dataclass(frozen=True)
class ZeroOne(Surrogate):
    """The indicator itself: the cost that every other surrogate bounds. Its slope is zero."""

    def terms(self, margin: Tensor) -> tuple[Tensor, Tensor]:
        """Compute cost and slope."""
        wrong = torch.where(margin.isnan(), margin, (margin <= 0).to(margin.dtype))
        return wrong, torch.zeros_like(margin)


cross_entropy = CrossEntropy()
hinge = Hinge()
squared_hinge = Hinge(power=2)
zero_one = ZeroOne()


def generalized_cross_entropy(q: float = 0.7, temperature: float = 1.0) -> Surrogate:
    r"""Build a bounded surrogate between cross entropy and the sigmoid.

    .. math:: s(m) = \frac{1 - \sigma(m / T)^q}{1 - 2^{-q}}

    Args:
        q: Shape, in (0, 1]: towards 0 the cross entropy, at 1 the sigmoid.
        temperature: Width :math:`T` of the step in units of the logit, above 0.

    Returns:
        A surrogate.

    Raises:
        ValueError: If an argument is out of range.

    Example:
        >>> import gobj, torch
        >>> gobj.generalized_cross_entropy(q=0.5)(torch.tensor([0.0, 2.0, -2.0]))
        tensor([1.0000, 0.2099, 2.2354])

    References:
        Zhang and Sabuncu, `Generalized Cross Entropy Loss for Training Deep Neural Networks with
        Noisy Labels <https://arxiv.org/abs/1805.07836>`_, NeurIPS 2018.
    """
    check_number("generalized_cross_entropy", "q", q, low=0, high=math.nextafter(1, 2))
    check_number("generalized_cross_entropy", "temperature", temperature, low=0)
    return GeneralizedCrossEntropy(q, temperature)


def sigmoid(temperature: float = 1.0) -> Surrogate:
    r"""Build the sigmoid surrogate, :math:`s(m) = 2 \sigma(-m / T)`.

    Args:
        temperature: Width :math:`T` of the step in units of the logit, above 0.

    Returns:
        A surrogate.

    Raises:
        ValueError: If the temperature is not above 0.

    Example:
        >>> import gobj, torch
        >>> gobj.sigmoid(temperature=2.0)(torch.tensor(0.0))
        tensor(1.)

    References:
        The bounded end of the family of :func:`generalized_cross_entropy`, at ``q`` = 1.
    """
    check_number("sigmoid", "temperature", temperature, low=0)
    return GeneralizedCrossEntropy(1.0, temperature)
