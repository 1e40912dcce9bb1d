"""Rules whose loss is the Lagrangian at the state: projected ascent, frozen duals, an optimiser."""

from dataclasses import dataclass
from typing import Any, ClassVar, Literal, NamedTuple

import torch
from torch import Tensor

from gobj._batch import Points, Sums
from gobj._checks import check_choice, check_number
from gobj.duals.rule import ORDERS, DualRule, Order
from gobj.problem import LinearForm, Problem
from gobj.state import AreaState, DualState, State
from gobj.surrogates import Sides, Surrogate


class Nothing(NamedTuple):
    """What a rule remembers that has no memory, and sums where the counts are enough."""


class AscentStatistics(NamedTuple):
    """The violation of the last batch, which the proportional term looks back at."""

    violation: Tensor


class AscentSums(NamedTuple):
    """Upper bound of the constraint, its constant left out, and slope of the Lagrangian."""

    bound: Tensor
    slope: Tensor


class LagrangianRule(DualRule):
    """Charge the surrogate Lagrangian at the state's multiplier: a base for rules of your own.

    To a subclass is left what it keeps (``statistics``, ``init``), what it sums besides the counts
    (``observe``), and how the state follows (``update``).

    Example:
        >>> import gobj, torch
        >>> from typing import NamedTuple
        >>> class Nothing(NamedTuple): pass
        >>> class Stairs(gobj.LagrangianRule):
        ...     statistics = Nothing
        ...     def init(self, like): return Nothing()
        ...     def observe(self, points, measures, problem, state): return Nothing()
        ...     def update(self, problem, state, means):
        ...         limit = problem.constraint.constant(means.prior)
        ...         violation = means.of_events(problem.constraint) + limit
        ...         multiplier = state.multiplier + 0.1 * violation.sign()
        ...         return state._replace(multiplier=multiplier.clamp(min=0))
        >>> rule, alarms = Stairs(), (torch.tensor([2.0, 1.0, -1.0]), torch.tensor([1, 0, 0]))
        >>> loss, state = gobj.tpr_at_fpr_loss(
        ...     *alarms, gobj.init_state(rule=rule), target_fpr=0.1, rule=rule
        ... )
        >>> state.multiplier
        tensor(1.1000)
    """

    def prices(self, problem: Problem, state: DualState | AreaState) -> LinearForm:
        """Return the form whose bound is the Lagrangian."""
        return problem.lagrangian(state.multiplier)

    def measure(self, points: Points, surrogate: Surrogate) -> Sides:
        """Return the surrogate on both sides of the threshold."""
        return surrogate.sides(points.distance)

    def charge(self, points: Points, measures: Sides, prices: LinearForm) -> tuple[Tensor, Tensor]:
        """Return the Lagrangian example by example, its constant included."""
        costs, slopes = points.charge(prices, measures)
        return points.average(costs + prices.constant(points.prior)), points.average(slopes)


@dataclass(frozen=True)
class DualAscent(LagrangianRule):
    r"""Raise the multiplier while the constraint is violated, lower it while there is slack.

    .. math:: \lambda \leftarrow \operatorname{clip}\bigl(\lambda
        + \eta\,(v_t + \kappa\,(v_t - v_{t-1})),\ 0,\ \text{cap}\bigr)

    The loss is exactly the Lagrangian at the incoming multiplier and threshold, unless ``order``
    says otherwise. The projection acts on the multiplier itself, so that nothing winds up behind
    it: one violated batch after any number of satisfied ones moves it. The threshold descends the
    Lagrangian by ``threshold_rate`` per step; at the default of 0 it stays, and the model's own
    bias does the work.

    Args:
        rate: Step size :math:`\eta`, multiplier per unit of violation (a share of the batch) and
            step, above 0.
        signal: ``"exact"`` counts the violation, ``"surrogate"`` takes its upper bound, which is
            the gradient of the Lagrangian in the multiplier.
        proportional: Weight :math:`\kappa` of the change of the violation, at or above 0; damps
            oscillation.
        cap: Largest multiplier, above 0.
        threshold_rate: Step size of the threshold, at or above 0.
        order: ``"weigh_first"`` takes the loss at the incoming state, as published, and so adds up
            over parts of a batch; ``"update_first"`` at the multiplier that is returned and the
            incoming threshold.

    Raises:
        ValueError: If an argument is out of range.

    Example:
        >>> import gobj, torch
        >>> rule = gobj.DualAscent(rate=0.5)
        >>> state = gobj.init_state(rule=rule)
        >>> logits, labels = torch.tensor([3.0, 2.0, 1.0, -1.0]), torch.tensor([1, 0, 0, 0])
        >>> _, state = gobj.tpr_at_fpr_loss(logits, labels, state, target_fpr=0.1, rule=rule)
        >>> state.multiplier  # two of three negatives flagged: 1 + 0.5 * (2 / 4 - 0.1 * 3 / 4)
        tensor(1.2125)

    References:
        Sohrabi et al., `On PI Controllers for Updating Lagrange Multipliers in Constrained
        Optimization <https://arxiv.org/abs/2406.04558>`_, ICML 2024.
    """

    rate: float = 0.1
    signal: Literal["exact", "surrogate"] = "exact"
    proportional: float = 0.0
    cap: float = 1e3
    threshold_rate: float = 0.0

    order: Order = "weigh_first"

    statistics: ClassVar[type[Any]] = AscentStatistics

    def __post_init__(self) -> None:
        """Check the arguments."""
        check_number("rate", self.rate, low=0)
        check_choice("signal", self.signal, ("exact", "surrogate"))
        check_number("proportional", self.proportional, low=0, closed=True)
        check_number("cap", self.cap, low=0)
        check_number("threshold_rate", self.threshold_rate, low=0, closed=True)
        check_choice("order", self.order, ORDERS)

    def init(self, like: Tensor) -> AscentStatistics:
        """Return a last violation of zero."""
        return AscentStatistics(torch.zeros_like(like))

    def observe(
        self, points: Points, measures: Sides, problem: Problem, state: DualState | AreaState
    ) -> AscentSums | Nothing:
        """Sum the bound of the constraint and the slope of the Lagrangian, where they are used."""
        if self.signal == "exact" and self.threshold_rate == 0:
            return Nothing()
        bounds, _ = points.charge(problem.constraint, measures)
        _, slopes = points.charge(problem.lagrangian(state.multiplier), measures)
        return AscentSums(points.sum(bounds), points.sum(slopes))

    def update(self, problem: Problem, state: State, means: Sums) -> State:
        """Step up the multiplier by the violation, and the threshold down the Lagrangian."""
        constraint, threshold = problem.constraint, state.threshold
        if self.signal == "exact":
            violation = means.of_events(constraint) + constraint.constant(means.prior)
        else:
            violation = means.measured.bound + constraint.constant(means.prior)
        change = violation + self.proportional * (violation - state.statistics.violation)
        multiplier = (state.multiplier + self.rate * change).clamp(0, self.cap)
        if self.threshold_rate:  # a rise of the threshold lowers the distance of every score
            threshold = threshold + self.threshold_rate * means.measured.slope
        statistics = AscentStatistics(violation)
        return state._replace(multiplier=multiplier, threshold=threshold, statistics=statistics)


@dataclass(frozen=True)
class FrozenDual(LagrangianRule):
    """Leave the state as it is, for duals that the user moves.

    The loss is exactly the mean over labels of :func:`gobj.lagrangian` at the state's multiplier
    and threshold. It accepts the state of any rule, whose own loss at that state is
    :func:`gobj.weigh`.

    Example:
        >>> import gobj, torch
        >>> state = gobj.init_state()._replace(multiplier=torch.tensor(2.0))
        >>> logits, labels = torch.tensor([1.0, -1.0]), torch.tensor([1, 0])
        >>> loss, after = gobj.tpr_at_fpr_loss(
        ...     logits, labels, state, target_fpr=0.1, rule=gobj.FrozenDual()
        ... )
        >>> after is state
        True
    """

    statistics: ClassVar[type[Any]] = tuple
    moves = False

    def init(self, like: Tensor) -> Nothing:
        """Return nothing to remember."""
        return Nothing()

    def observe(
        self, points: Points, measures: Sides, problem: Problem, state: DualState | AreaState
    ) -> Nothing:
        """Return nothing besides the counts."""
        return Nothing()

    def update(self, problem: Problem, state: State, means: Sums) -> State:
        """Return what came."""
        return state


@dataclass(frozen=True)
class OptimizerAscent(FrozenDual):
    r"""Leave multiplier and threshold to an optimiser: the published algorithm.

    The loss is the Lagrangian, and nothing of the state is detached. The gradient of the multiplier
    is reversed and scaled by ``factor``, so that an optimiser that descends the loss ascends in the
    multiplier; a multiplier below zero counts as zero:

    .. math:: \tilde\lambda = \max(0, \bar\lambda) + \rho\,(\bar\lambda - \lambda)

    where the bar marks a constant. ``factor`` only matters to optimisers whose step grows with the
    gradient: to Adam it does nothing. Averages that an area keeps still follow the batches.

    Args:
        factor: Scale :math:`\rho` of the reversed gradient, at or above 0.

    Raises:
        ValueError: If the factor is out of range.

    Example:
        >>> import gobj, torch
        >>> rule = gobj.OptimizerAscent(factor=0.5)
        >>> price = torch.tensor(1.0, requires_grad=True)
        >>> state = gobj.init_state(rule=rule)._replace(multiplier=price)
        >>> logits, labels = torch.tensor([1.0, 1.0]), torch.tensor([1, 0])
        >>> loss, _ = gobj.tpr_at_fpr_loss(logits, labels, state, target_fpr=0.1, rule=rule)
        >>> loss.backward()
        >>> bool(price.grad < 0)  # violated: descent raises the price
        True

    References:
        Eban et al., `Scalable Learning of Non-Decomposable Objectives
        <https://arxiv.org/abs/1608.04802>`_, AISTATS 2017.
    """

    factor: float = 0.1

    moves = True
    detached: ClassVar[bool] = False

    def __post_init__(self) -> None:
        """Check the factor."""
        check_number("factor", self.factor, low=0, closed=True)

    def prices(self, problem: Problem, state: DualState | AreaState) -> LinearForm:
        """Return the Lagrangian whose gradient in the multiplier is reversed."""
        constant = state.multiplier.detach()
        return problem.lagrangian(constant.relu() + self.factor * (constant - state.multiplier))
