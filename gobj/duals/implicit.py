"""The default rule: a threshold tracked on exact counts, a multiplier solved from stationarity."""

import math
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from gobj._batch import Points, Sums
from gobj._checks import Number, check_choice, check_number
from gobj.duals.rule import ORDERS, DualRule, Order
from gobj.problem import LinearForm, Problem, absent, times
from gobj.state import AreaState, DualState, State
from gobj.surrogates import GeneralizedCrossEntropy, Sides, Surrogate

# How the threshold moves, in mean distances of the scores from it. Newton steps divide by the slope
# of the surrogate in place of the density of scores, about half of it: hence rates up to 1.
MAX_STEP = 0.3  # the most that one batch moves it
FIRST_RATE = 0.6  # damping of the first batch's step, which falls with their number
STEADY_RATE = 0.06  # damping where the violation is noise; where it keeps its sign there is none
NOISE_SHARE = 0.04  # squared share of the slack that the threshold's own noise may take
MIN_REPAIR = 0.4  # of the slack, that one distance repairs: less would make steps wild

MAX_CLASS_WEIGHT = 1.2  # at 2.5 a small table lost test recall
MAX_ANCHOR_MULTIPLIER = 100.0  # by which one anchor of an area may outweigh the others
ROUNDING = 1e-6  # share of a batch that may be rounding
TINY = 1e-12


class Averages(NamedTuple):
    """Running averages of what the batches show, each a share of the batch.

    Attributes:
        positive_slope: Of the surrogate, over the positives: how hard they pull on the threshold,
            and about the density of positives there.
        negative_slope: The same over the negatives.
        of_rule: What the rule wants; of the implicit multiplier the residual of cross entropy,
            ``|sigmoid(f) - y|``, where a soft label is a share of both classes.
        distance: Of the scores from the threshold.
        violation: Of the constraint, above 0 where the threshold must rise.
        squared_violation: Its square.
        slack: The most that the constraint allows.
    """

    positive_slope: Tensor
    negative_slope: Tensor
    of_rule: Tensor
    distance: Tensor
    violation: Tensor
    squared_violation: Tensor
    slack: Tensor


class ImplicitStatistics(NamedTuple):
    """Number of batches, ``[*points]``, and their :class:`Averages`, ``[*points, 7]``."""

    steps: Tensor
    averages: Tensor


class ImplicitSums(NamedTuple):
    """Sums of the first four of the :class:`Averages`."""

    positive_slope: Tensor
    negative_slope: Tensor
    residual: Tensor
    distance: Tensor


class ImplicitPrices(NamedTuple):
    """Weights of the surrogates of both classes, and of cross entropy beside them."""

    positives: Tensor
    negatives: Tensor
    cross_entropy: Tensor


class ImplicitMeasures(NamedTuple):
    """The surrogate on both sides; cross entropy, its derivative, and the residual."""

    sides: Sides
    cross_entropy: Tensor
    slope: Tensor
    residual: Tensor


@dataclass(frozen=True)
class ImplicitMultiplier(DualRule):
    r"""Track the threshold at which the counted constraint is met, and solve for the multiplier.

    The threshold :math:`b` takes damped Newton steps on the counted violation :math:`v`, faster
    where its sign persists, slower where it is noise. At a stationary threshold the slopes of both
    classes balance, which fixes the ratio of their weights, and so the multiplier:

    .. math:: \frac{w_+}{w_-} = \frac{G_-}{G_+}
        = \frac{c_{FN} + \lambda\, g_{FN}}{c_{FP} + \lambda\, g_{FP}},
        \qquad G_\pm = \operatorname{mean}_\pm |s'(\pm (f - b))|

    for a cost with coefficients :math:`c` and a constraint with coefficients :math:`g`. The loss is

    .. math:: \alpha \operatorname{mean}\bigl[(1 - \mu)(w_+ y\, s(f - b)
        + w_- (1 - y)\, s(b - f)) + \mu \operatorname{BCE}(f, y)\bigr]

    which is a Lagrangian at :math:`(\lambda, b)` less its constant, scaled such that
    :math:`w_+ G_+ + w_- G_-` is the mean absolute residual :math:`|\sigma(f) - y|`: a learning rate
    that suits cross entropy suits this loss. To it a share :math:`\mu` of cross entropy is added,
    which keeps the logits usable as probabilities, and a factor :math:`\alpha \le 1` bounds the
    gradient of single examples where a class is rare. All that is averaged is a share of the batch,
    so that neither the scale of the weights nor the repetition of examples matters.

    The threshold goes to the limit of the constraint even where the cost is least before it, as
    with a cost of both kinds of errors under a wide limit: the multiplier that is reported is 0
    then, and :class:`DualAscent` the rule to take. At the limit the coefficients of the cost do not
    matter to the loss.

    Args:
        rate: Weight of a batch in the running averages, in (0, 1]; the first ``1 / rate`` batches
            count alike.
        cross_entropy_share: The share :math:`\mu`, in [0, 1].
        cap: Largest multiplier that is reported, above 0.
        order: ``"update_first"`` weighs the classes by averages that include the batch; over parts
            of a batch that takes the sums of all of them first. ``"weigh_first"`` weighs them by
            the averages before, so that parts just add up; the first batch has cross entropy alone,
            and networks with hidden layers do a little worse.

    Raises:
        ValueError: If an argument is out of range.

    Example:
        >>> import gobj, torch
        >>> rule = gobj.ImplicitMultiplier(rate=0.05)
        >>> state = gobj.init_state(rule=rule)
        >>> scores, labels = torch.linspace(-1, 1, 101), (torch.arange(101) > 60).int()
        >>> for _ in range(50):
        ...     _, state = gobj.precision_at_recall_loss(
        ...         scores, labels, state, target_recall=0.9, rule=rule
        ...     )
        >>> recall = (scores[labels > 0] > state.threshold).float().mean()
        >>> print(f"{recall:.2f}")
        0.90

    References:
        The Lagrangian is that of Eban et al., `Scalable Learning of Non-Decomposable Objectives
        <https://arxiv.org/abs/1608.04802>`_, AISTATS 2017.
    """

    rate: float = 0.1
    cross_entropy_share: float = 0.2
    cap: float = 1e3
    order: Order = "update_first"

    # of q = .4, .5 and .6 the middle one: as good on nine tables, better on the tenth when linear
    surrogate = GeneralizedCrossEntropy(q=0.5, temperature=0.5)
    statistics: ClassVar[type[Any]] = ImplicitStatistics

    def __post_init__(self) -> None:
        """Check the arguments."""
        check_number("rate", self.rate, low=0, high=math.nextafter(1, 2))
        check_number("cross_entropy_share", self.cross_entropy_share, low=0, high=1, closed=True)
        check_number("cap", self.cap, low=0)
        check_choice("order", self.order, ORDERS)

    def init(self, like: Tensor) -> ImplicitStatistics:
        """Return averages of zero over zero batches."""
        averages = like.new_zeros(*like.shape, len(Averages._fields))
        return ImplicitStatistics(torch.zeros_like(like), averages)

    def prices(self, problem: Problem, state: DualState | AreaState) -> ImplicitPrices:
        """Return the weights of both classes, and of cross entropy beside them."""
        steps, averages = state.statistics
        weights = averages[..., 2:3] / averages[..., :2].clamp(min=TINY)
        if isinstance(state, AreaState):  # the share of each anchor in the whole
            price = state.multiplier.clamp(max=MAX_ANCHOR_MULTIPLIER)
            missed = problem.cost.false_negative + price * problem.constraint.false_negative
            part = missed * averages[..., 0]
            part = part / part.mean(-1, keepdim=True).clamp(min=TINY)
            weights = weights * part.unsqueeze(-1)
            largest = weights.mean(-2, keepdim=True).amax(-1)
        else:
            largest = weights.amax(-1)
        # each class has half of the residual, so that the weights are half of these ratios
        scale = (2 * MAX_CLASS_WEIGHT / largest).clamp(max=1)
        # they are 0 before the first batch, whose loss is cross entropy alone
        share = torch.where(steps > 0, scale * self.cross_entropy_share, scale)
        weights = weights * (scale * (0.5 - 0.5 * self.cross_entropy_share)).unsqueeze(-1)
        of_positives, of_negatives = weights.unbind(-1)
        return ImplicitPrices(of_positives, of_negatives, share)

    def measure(self, points: Points, surrogate: Surrogate) -> ImplicitMeasures:
        """Return the surrogate on both sides of the threshold, and cross entropy."""
        scores, labels = points.scores, points.positives
        called = torch.sigmoid(scores)
        return ImplicitMeasures(
            surrogate.sides(points.distance),
            torch.addcmul(functional.softplus(scores), labels, scores, value=-1),
            called - labels,
            torch.lerp(called, 1 - called, labels),
        )

    def charge(
        self, points: Points, measures: ImplicitMeasures, prices: ImplicitPrices
    ) -> tuple[Tensor, Tensor]:
        """Return the weighted surrogates of both classes and the share of cross entropy."""
        form = LinearForm(prices.positives, prices.negatives)
        costs, slopes = points.charge(form, measures.sides)
        costs = torch.addcmul(costs, prices.cross_entropy, measures.cross_entropy)
        slopes = torch.addcmul(slopes, prices.cross_entropy, measures.slope)
        return points.average(costs), points.average(slopes)

    def observe(
        self,
        points: Points,
        measures: ImplicitMeasures,
        problem: Problem,
        state: DualState | AreaState,
    ) -> ImplicitSums:
        """Sum slopes of both classes, residuals and distances."""
        return ImplicitSums(
            points.sum_of_sizes(points.positives * measures.sides.below_slope),
            points.sum_of_sizes(points.negatives * measures.sides.above_slope),
            points.sum(measures.residual),
            points.sum_of_distances(),
        )

    def update(self, problem: Problem, state: State, means: Sums) -> State:
        """Average what the batch shows, move the threshold and solve for the multiplier."""
        return track(problem, state, means, means.measured, self.rate, self.cap)


def track(
    problem: Problem,
    state: State,
    means: Sums,
    seen: tuple[Tensor, Tensor, Tensor, Tensor],
    rate: float,
    cap: float,
) -> State:
    """Average what a batch shows, move the threshold and solve for the multiplier.

    Args:
        problem: At the state before the batch.
        state: The one that the batch was seen from. Its statistics hold the number of batches as
            ``steps``, ``[*points]``, and :class:`Averages` as ``averages``, ``[*points, 7]``.
        means: Sums of the batch over its weight.
        seen: The first four of the averages, of this batch.
        rate: Weight of a batch in the averages, once there were many.
        cap: Largest multiplier.
    """
    direction = problem.direction()
    violation, slack = _violation(problem, direction, means)
    table = torch.stack([*seen, violation, violation.square(), slack], -1)
    steps = state.statistics.steps + 1
    share = steps.reciprocal()  # of this batch, were all batches to count alike
    averages = torch.lerp(state.statistics.averages, table, share.clamp(min=rate).unsqueeze(-1))
    named = Averages(*averages.unbind(-1))
    form, cost = problem.constraint, problem.cost
    rise = _slope(named, form.false_negative, form.true_negative)
    fall = _slope(named, form.true_positive, form.false_positive)
    # how fast is known from the batches before: a large violation that counts as noise would slow
    # down its own repair, and the rate of small batches would settle beside its target
    before = Averages(*state.statistics.averages.unbind(-1))
    step = _step(named, _speed(before, share) * violation, _either(direction, fall, rise))
    threshold = torch.addcmul(state.threshold, named.distance, step)
    # stationary is the threshold where the multiplier balances the slopes of both forms
    of_cost = _minus(
        _slope(named, cost.false_negative, cost.true_negative),
        _slope(named, cost.true_positive, cost.false_positive),
    )
    net = _minus(fall, rise)
    net = net if isinstance(net, Tensor) else torch.zeros_like(violation)
    unsolved = times(direction, net) <= 0
    multiplier = (of_cost / net).masked_fill(unsolved, cap).clamp(0, cap)
    statistics = state.statistics._replace(steps=steps, averages=averages)
    return state._replace(multiplier=multiplier, threshold=threshold, statistics=statistics)


def _either(direction: Number, upwards: Any, downwards: Any) -> Any:
    """Choose by the direction of the problem, which may differ between points."""
    if isinstance(direction, Tensor):
        return torch.where(direction > 0, upwards, downwards)
    return upwards if direction > 0 else downwards


def _violation(problem: Problem, direction: Number, means: Sums) -> tuple[Tensor, Tensor]:
    """Count the violation, signed so that above 0 the threshold must rise, and its slack.

    Where the threshold has passed all scores, a constraint on a ratio reads 0 for ever; there it
    counts as slack, so that the threshold comes back. Where it is before all scores and nothing is
    left to win, slack does not count, so that the threshold stays.
    """
    constant = problem.constraint.constant(means.prior)
    value, slack = means.of_events(problem.constraint) + constant, -constant
    called = means.true_positives + means.false_positives
    some, not_all = called > ROUNDING, called < 1 - ROUNDING
    value = torch.where(_either(direction, not_all, some), value, value.clamp(min=0))
    passed = torch.minimum(value, -0.2 * slack)
    return times(direction, torch.where(_either(direction, some, not_all), value, passed)), slack


def _slope(averages: Averages, of_positives: Number, of_negatives: Number) -> Number:
    """Weigh the slopes of both classes by coefficients."""
    pairs = (of_positives, averages.positive_slope), (of_negatives, averages.negative_slope)
    parts = [times(coefficient, slope) for coefficient, slope in pairs if not absent(coefficient)]
    return sum(parts[1:], start=parts[0]) if parts else 0.0


def _minus(more: Number, less: Number) -> Number:
    """Subtract, unless there is nothing to subtract."""
    return more if absent(less) else more - less


def _speed(averages: Averages, share: Tensor) -> Tensor:
    """Return the damping of a step: little where the violation has kept its sign."""
    noise = averages.squared_violation.clamp(min=TINY**1.5)
    steady = (NOISE_SHARE * averages.slack.square() / noise).clamp(max=STEADY_RATE)
    persistent = averages.violation.square() / noise
    return torch.maximum(torch.maximum(steady, FIRST_RATE * share), persistent)


def _step(averages: Averages, violation: Tensor, repair: Number) -> Tensor:
    """Return how many distances the threshold moves to repair a violation.

    ``repair`` is how much of it a move by one unit of the logit repairs.
    """
    by_one = torch.maximum(repair * averages.distance, MIN_REPAIR * averages.slack)
    # more than all cannot be repaired, although a surrogate that grows says so from afar
    return (violation / by_one.clamp(TINY, 1)).clamp(-MAX_STEP, MAX_STEP)
