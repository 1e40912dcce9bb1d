"""Surrogates: upper bounds of the indicator of an error, as functions of the margin.

A margin is positive where an example lies on its right side of the threshold. Every surrogate ``s``
satisfies ``s(margin) >= 1[margin <= 0]`` by itself, which is all that the guarantees of this
package rest on, and gives its slope together with its value, so that the two share exponentials.
"""

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from gobj._attached import attached, evaluation_point
from gobj._checks import check_number

LN2 = math.log(2)  # nats in a bit
SATURATED = 80.0  # wrong margin in temperatures that counts at most, so that no sigmoid is 0;
GENTLE = 0.38  # powers below this are not saturated there, and close to 1 when taken


class Surrogate(ABC):
    """Upper bound of ``1[margin <= 0]`` that knows its slope; subclasses are frozen and hashable.

    Calling a surrogate maps margins to costs of the same shape, differentiably to any order.
    """

    @abstractmethod
    def terms(self, margin: Tensor) -> tuple[Tensor, Tensor]:
        """Compute cost and slope at the margin, each by differentiable operations."""

    def __call__(self, margin: Tensor) -> Tensor:
        """Return the cost of each margin."""
        return attached(margin, self.terms(evaluation_point(margin)), self.terms)


@dataclass(frozen=True)
class CrossEntropy(Surrogate):
    r"""Logistic cost in bits, :math:`\log_2(1 + e^{-m})`, which is 1 at margin 0."""

    def terms(self, margin: Tensor) -> tuple[Tensor, Tensor]:
        """Compute cost and slope."""
        in_bits = 1 / LN2
        logarithm = functional.softplus(margin, beta=-1, threshold=50)  # logsigmoid keeps a copy
        cost = logarithm.mul_(-in_bits)
        return cost, torch.rsub(torch.sigmoid(margin), -in_bits, alpha=-in_bits)


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
        scale = -1 / math.expm1(-self.q * LN2)
        scaled = margin * (1 / self.temperature)
        if self.q < GENTLE:
            right, exponent = scaled.sigmoid(), functional.logsigmoid(scaled).mul_(self.q)
            cost, powered = torch.expm1(exponent) * -scale, exponent.exp()
        else:  # faster, and off by less than rounding beyond the clamp
            right = scaled.clamp_min_(-SATURATED).sigmoid_()
            powered = right.log().mul_(self.q).exp_()
            cost = torch.rsub(powered, scale, alpha=scale)
        steepness = scale * self.q / self.temperature
        slope = torch.rsub(right, -steepness, alpha=-steepness) * powered
        return cost, slope


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
