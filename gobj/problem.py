"""Objectives as pairs of linear forms of joint rates."""

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor

from gobj._checks import Number, broadcasts, refuse
from gobj.state import AreaState, DualState, cast, leaves

ROUNDING = 1e-6  # of a coefficient that has been computed


class LinearForm(NamedTuple):
    """Linear form of joint rates and class shares, with coefficients at or above zero on events.

    A joint rate is a share of all examples, so that false positives and true negatives add up to
    the share of the negatives. An event that a form rewards is written as the complement that it
    costs: a reward for true positives, ``-TP``, is a cost on what is missed, ``FN - P``, which is
    ``LinearForm(false_negative=1, positives=-1)``. So each event has one upper bound, and the bound
    of the form is the form of the bounds.

    Attributes:
        false_negative: Coefficient of the share of missed positives.
        false_positive: Coefficient of the share of false alarms.
        true_positive: Coefficient of the share of positives that are found.
        true_negative: Coefficient of the share of negatives that are left alone.
        positives: Coefficient of the share of positives, which no threshold changes.
        negatives: Coefficient of the share of negatives.
    """

    false_negative: Number = 0.0
    false_positive: Number = 0.0
    true_positive: Number = 0.0
    true_negative: Number = 0.0
    positives: Number = 0.0
    negatives: Number = 0.0

    def constant(self, prior: Tensor) -> Tensor:
        """Return the part of the form that no threshold can change."""
        if absent(self.negatives):
            return self.positives * prior
        return self.negatives + (self.positives - self.negatives) * prior


class Problem(NamedTuple):
    """Minimise ``cost`` subject to ``constraint <= 0``.

    Attributes:
        cost: What is minimised.
        constraint: What has to stay at or below 0.
        rises: Whether a high enough threshold meets the constraint; otherwise a low enough one has
            to. None finds out: True if the constraint is met where no example is called positive,
            whatever the data.
    """

    cost: LinearForm
    constraint: LinearForm
    rises: bool | None = None

    def lagrangian(self, multiplier: Tensor) -> LinearForm:
        """Return ``cost + multiplier * constraint``; a coefficient absent from both stays 0."""
        form = []
        for cost, constraint in zip(self.cost, self.constraint, strict=True):
            priced = 0.0 if absent(constraint) else times(constraint, multiplier)
            form.append(cost if absent(priced) else priced if absent(cost) else cost + priced)
        return LinearForm(*form)

    def direction(self) -> Number:
        """Return +1 where a higher threshold repairs the constraint, -1 where a lower one does."""
        if self.rises is not None:
            return 1.0 if self.rises else -1.0
        form = self.constraint
        # what the constraint reads where nothing is called positive, for each class alone
        rises = _cancels(form.false_negative, form.positives) & _cancels(
            form.true_negative, form.negatives
        )
        if isinstance(rises, Tensor):
            return torch.where(rises, 1, -1)  # whole numbers take the dtype of what they multiply
        return 1.0 if rises else -1.0


AnyProblem = Problem | Callable[[AreaState], Problem]


def check_problem(problem: AnyProblem, state: DualState | AreaState) -> None:
    """Require a problem, and a state with anchors if it is that of an area."""
    area = isinstance(state, AreaState)
    if not (callable(problem) or isinstance(problem, Problem)):
        refuse("problem", "be a gobj.Problem, or for an area a function that returns one", problem)
    if area == isinstance(problem, Problem):
        made = "init_state without anchors" if area else "init_state(anchors=...)"
        refuse("state", f"come from {made}", type(state))
    if isinstance(problem, Problem):
        check_forms(problem)


def check_forms(problem: Problem) -> None:
    """Require two linear forms whose events have no negative numbers for coefficients."""
    for part, form in zip(problem._fields, problem[:2], strict=False):
        if not isinstance(form, LinearForm):
            refuse("problem", f"have a gobj.LinearForm as its {part}", form)
        for name, value in zip(form._fields[:4], form, strict=False):
            if not isinstance(value, Tensor) and value < 0:
                complement = "be a cost on its complement: `LinearForm` shows how; or at or above 0"
                refuse(f"{part}.{name}", complement, value)


def problem_at(problem: AnyProblem, state: Any) -> Problem:
    """Return the problem at a state, in its dtype: that of an area depends on the state."""
    found = problem if isinstance(problem, Problem) else problem(state)
    for coefficient in leaves(found):
        if not broadcasts(coefficient.shape, state.threshold.shape):
            shape = list(state.threshold.shape)
            refuse("problem", f"have coefficients that broadcast to {shape}", coefficient)
    in_dtype: Problem = cast(found, state.threshold.dtype)
    return in_dtype


def _cancels(cost: Number, constant: Number) -> bool | Tensor:
    """Tell whether a cost and a constant add up to at most 0, or to its rounding."""
    return cost * (1 - ROUNDING) + constant <= 0


def absent(coefficient: Number) -> bool:
    """Tell whether a coefficient is the number 0, so that its event need not be looked at."""
    return not isinstance(coefficient, Tensor) and coefficient == 0


def times(coefficient: Number, values: Tensor) -> Tensor:
    """Multiply values by a coefficient, unless it is the number 1."""
    if isinstance(coefficient, Tensor) or coefficient != 1:
        return coefficient * values
    return values
