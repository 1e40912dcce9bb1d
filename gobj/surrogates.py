"""Surrogates: upper bounds of the indicator of an error, as functions of the margin.

A margin is positive where an example lies on its right side of the threshold. Every surrogate ``s``
satisfies ``s(margin) >= 1[margin <= 0]`` by itself, which is all that the guarantees of this
package rest on, and gives its slope together with its value, so that the two share exponentials.
"""

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from gobj._checks import check_number

LN2 = math.log(2)  # nats in a bit
IN_BITS = 1 / LN2
FLAT = 40.0  # a probability of e^-40 is none beside 1, and its root not yet 0 in float32


class Sides(NamedTuple):
    """A surrogate seen from both sides of a threshold, at a distance above it.

    Attributes:
        below: Cost ``s(d)``, which bounds the indicator of a call as negative.
        below_slope: Its derivative in the distance, at or below 0.
        above: Cost ``s(-d)``, which bounds the indicator of a call as positive.
        above_slope: Its derivative in the distance, at or above 0.
    """

    below: Tensor
    below_slope: Tensor
    above: Tensor
    above_slope: Tensor


class Surrogate(ABC):
    """Upper bound of ``1[margin <= 0]`` that knows its slope; subclasses are frozen and hashable.

    Calling a surrogate maps margins to costs of the same shape, differentiably.
    """

    @abstractmethod
    def terms(self, margin: Tensor) -> tuple[Tensor, Tensor]:
        """Return cost and slope at the margin, each by differentiable operations."""

    def sides(self, distance: Tensor) -> Sides:
        """Return the costs of a call on either side, given the distance above the threshold.

        A surrogate whose two sides share their exponentials overrides this.
        """
        below, (above, slope) = self.terms(distance), self.terms(-distance)
        return Sides(*below, above, -slope)

    def __call__(self, margin: Tensor) -> Tensor:
        """Return the cost of each margin."""
        return self.terms(margin)[0]


@dataclass(frozen=True)
class CrossEntropy(Surrogate):
    r"""Logistic cost in bits, :math:`\log_2(1 + e^{-m})`, which is 1 at margin 0.

    The published choice. It grows without limit on the wrong side, so that examples that are far
    there decide much of the loss.

    Example:
        >>> import gobj, torch
        >>> gobj.cross_entropy(torch.tensor([-1.0, 0.0, 1.0]))
        tensor([1.8946, 1.0000, 0.4519])
    """

    def terms(self, margin: Tensor) -> tuple[Tensor, Tensor]:
        """Return cost and slope."""
        return functional.logsigmoid(margin) * -IN_BITS, torch.sigmoid(-margin) * -IN_BITS

    def sides(self, distance: Tensor) -> Sides:
        """Return the costs of a call on either side."""
        opposite = -distance
        return Sides(
            functional.logsigmoid(distance) * -IN_BITS,
            torch.sigmoid(opposite) * -IN_BITS,
            functional.logsigmoid(opposite) * -IN_BITS,
            torch.sigmoid(distance) * IN_BITS,
        )


@dataclass(frozen=True)
class Hinge(Surrogate):
    r"""Hinge to a power, :math:`\max(0, 1 - m)^p`.

    The power is 1 for ``gobj.hinge`` and 2 for ``gobj.squared_hinge``. Examples beyond margin 1
    cost nothing and have no gradient.

    Example:
        >>> import gobj, torch
        >>> gobj.hinge(torch.tensor([-1.0, 0.0, 2.0]))
        tensor([2., 1., 0.])
        >>> gobj.squared_hinge(torch.tensor([-1.0, 0.0, 2.0]))
        tensor([4., 1., 0.])
    """

    power: int = 1

    def terms(self, margin: Tensor) -> tuple[Tensor, Tensor]:
        """Return cost and slope."""
        shortfall = functional.relu(1 - margin)
        if self.power == 1:
            return shortfall, -shortfall.sign()
        return shortfall.square(), -2 * shortfall


@dataclass(frozen=True)
class GeneralizedCrossEntropy(Surrogate):
    r"""Bounded cost :math:`(1 - \sigma(m / T)^q) / (1 - 2^{-q})`, which is 1 at margin 0."""

    q: float
    temperature: float

    @property
    def height(self) -> float:
        """Upper limit of the cost."""
        return -1 / math.expm1(-self.q * LN2)

    def terms(self, margin: Tensor) -> tuple[Tensor, Tensor]:
        """Return cost and slope."""
        scaled = self._scaled(margin)
        return self._one_side(scaled, torch.sigmoid(scaled), torch.sigmoid(-scaled), -1)

    def sides(self, distance: Tensor) -> Sides:
        """Return the costs of a call on either side."""
        scaled = self._scaled(distance)
        opposite = -scaled
        above, below = torch.sigmoid(scaled), torch.sigmoid(opposite)
        return Sides(
            *self._one_side(scaled, above, below, -1), *self._one_side(opposite, below, above, 1)
        )

    def _scaled(self, margin: Tensor) -> Tensor:
        """Return the margin in temperatures, bounded where the cost is flat to rounding."""
        return (margin * (1 / self.temperature)).clamp(-FLAT / self.q, FLAT / self.q)

    def _one_side(
        self, scaled: Tensor, right: Tensor, wrong: Tensor, sign: int
    ) -> tuple[Tensor, Tensor]:
        """Return cost and slope, given the probabilities of the right and of the wrong side."""
        if self.q == 0.5:  # the default rule's: a root is cheaper than exponential and logarithm
            power = right.sqrt()
            lacking = 1 - power
        else:
            lacking = -torch.expm1(functional.logsigmoid(scaled) * self.q)
            power = 1 - lacking
        return lacking * self.height, wrong * power * (
            sign * self.height * self.q / self.temperature
        )


@dataclass(frozen=True)
class ZeroOne(Surrogate):
    r"""Indicator of an error, :math:`1[m \le 0]`, which every other surrogate bounds.

    Its slope is zero: it is for counting, and not for training.

    Example:
        >>> import gobj, torch
        >>> gobj.zero_one(torch.tensor([-1.0, 0.0, 1.0]))
        tensor([1., 1., 0.])
    """

    def terms(self, margin: Tensor) -> tuple[Tensor, Tensor]:
        """Return cost and slope."""
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
    check_number("q", q, low=0, high=math.nextafter(1, 2))
    check_number("temperature", temperature, low=0)
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
    check_number("temperature", temperature, low=0)
    return GeneralizedCrossEntropy(1.0, temperature)
