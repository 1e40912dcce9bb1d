"""Objectives as pairs of linear forms of joint rates."""

from typing import NamedTuple

import torch
from torch import Tensor

from gobj._checks import Number


class Rates(NamedTuple):
    """Joint rates: weighted shares of the batch, which add up to one. Shape ``[*labels]``."""

    false_negative: Tensor
    false_positive: Tensor
    true_positive: Tensor
    true_negative: Tensor


class LinearForm(NamedTuple):
    """Linear form of joint rates and class shares, with coefficients at or above zero on events.

    An event that a form rewards is written as the complement that it costs: a reward for false
    negatives is a cost on true positives and a change of the coefficient of ``positives``. So each
    event has one upper bound, and the bound of the form is the form of the bounds.
    """

    false_negative: Number = 0.0
    false_positive: Number = 0.0
    true_positive: Number = 0.0
    true_negative: Number = 0.0
    positives: Number = 0.0
    negatives: Number = 0.0

    def value(self, rates: Rates, prior: Tensor) -> Tensor:
        """Return the form at some rates and a share of positives, shape ``[*labels]``."""
        value = self.constant(prior)
        for coefficient, rate in zip(self[:4], rates, strict=True):
            if not absent(coefficient):
                value = value + coefficient * rate
        return value

    def constant(self, prior: Tensor) -> Tensor:
        """Return the part of the form that no threshold can change."""
        if absent(self.negatives):
            return self.positives * prior
        return self.negatives + (self.positives - self.negatives) * prior


class Problem(NamedTuple):
    """Minimise ``cost`` subject to ``constraint <= 0``."""

    cost: LinearForm
    constraint: LinearForm

    def lagrangian(self, multiplier: Tensor) -> LinearForm:
        """Return ``cost + multiplier * constraint``; a coefficient that is nowhere stays 0."""
        return LinearForm(
            *(
                cost if absent(held) else cost + multiplier * held
                for cost, held in zip(self.cost, self.constraint, strict=True)
            )
        )

    def direction(self) -> Number:
        """Return +1 where a higher threshold repairs the constraint, -1 where a lower one does.

        A constraint that flagging nobody satisfies is repaired upwards, whatever the data.
        """
        held = self.constraint
        missed, passed = held.false_negative + held.positives, held.true_negative + held.negatives
        tensors = [price for price in (missed, passed) if isinstance(price, Tensor)]
        if tensors:
            rises = (torch.as_tensor(missed) <= 0) & (torch.as_tensor(passed) <= 0)
            return rises.to(tensors[0].dtype) * 2 - 1
        return 1.0 if missed <= 0 and passed <= 0 else -1.0


def absent(coefficient: Number) -> bool:
    """Tell whether a coefficient is the number 0, so that its event need not be looked at."""
    return isinstance(coefficient, float) and coefficient == 0
