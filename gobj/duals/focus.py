"""Cross entropy with a focus: a proper loss, weighed by how near an example is to a threshold."""

import math
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from gobj._batch import Points, Sums
from gobj._checks import check_choice, check_number
from gobj.duals.implicit import MAX_ANCHOR_MULTIPLIER, ROUNDING, TINY, Averages, track
from gobj.duals.rule import ORDERS, DualRule, Order
from gobj.problem import Problem, absent
from gobj.state import AreaState, DualState, State
from gobj.surrogates import Surrogate


class FocusStatistics(NamedTuple):
    """What the rule remembers.

    Attributes:
        steps: Number of batches, ``[*points]``.
        averages: The :class:`~gobj.duals.implicit.Averages`, ``[*points, 7]``; the one that the
            rule wants is the share of positives.
        residual: Of the last batch the mean of ``|sigmoid(f / scale) - y|``, ``[*points]``.
        focus: The same, each times its kernel.
    """

    steps: Tensor
    averages: Tensor
    residual: Tensor
    focus: Tensor


class FocusSums(NamedTuple):
    """Sums of the kernel over both classes, of distances, of residuals, and of both multiplied."""

    positive_kernel: Tensor
    negative_kernel: Tensor
    distance: Tensor
    residual: Tensor
    focus: Tensor


class FocusPrices(NamedTuple):
    """Weights of the kernel, ``[*points]``, of all examples, and of both classes."""

    kernel: Tensor
    everywhere: float
    positives: Tensor
    negatives: Tensor


class FocusMeasures(NamedTuple):
    """The kernel, which has no gradient; the cost of a negative, and its derivative."""

    kernel: Tensor
    cost: Tensor
    slope: Tensor


@dataclass(frozen=True)
class FocusedCrossEntropy(DualRule):
    r"""Weigh cross entropy by how near an example is to a threshold: for areas, and for networks.

    The default rule of areas.

    The thresholds :math:`b_k`, one or those of an area, follow exact counts as under
    :class:`ImplicitMultiplier`. In place of surrogates there is a kernel of the distance to each of
    them, held constant, and under it cross entropy, so that the loss stays proper:

    .. math:: \frac{1}{W} \sum_i w_i u_i \Bigl[\mu + (1 - \mu) \sum_k \alpha_k\,
        \kappa(f_i - b_k)\Bigr]\, T \operatorname{BCE}(f_i / T, y_i),
        \qquad \kappa(d) = \frac{1}{1 + (d / h)^2}

    Where scores are calibrated, the share :math:`c` of positives around a threshold makes a
    positive pull by :math:`1 - c` and a negative by :math:`c`. At the multiplier at which the
    threshold is stationary, the Lagrangian prices a miss and a false alarm there in just this
    ratio; so :math:`\alpha_k` is the sum of both prices. All :math:`\alpha_k` are scaled such that
    the mean of :math:`|\sigma(f / T) - y|` is the same with and without the kernel, over the last
    batch: a learning rate that suits cross entropy suits this loss. The factor :math:`u_i` is
    :math:`(2P)^{-1/2}` for positives and :math:`(2(1 - P))^{-1/2}` for negatives, half of the way
    to balanced classes.

    Logits are in units of the ``scale``, and shifted by the balance: :meth:`probabilities` reads
    them.

    Args:
        rate: Weight of a batch in the running averages, in (0, 1]; the first ``1 / rate`` batches
            count alike.
        scale: Scale :math:`T` of the logits, above 0: less is bolder, as a larger learning rate is.
        width: Width :math:`h` of the kernel in units of the logit, above 0.
        cross_entropy_share: The share :math:`\mu` of all examples alike, in [0, 1].
        cap: Largest multiplier that is reported, above 0.
        order: ``"update_first"`` weighs by sums that include the batch; over parts of a batch that
            takes the sums of all of them first. ``"weigh_first"`` weighs by the batch before, so
            that parts just add up.

    Raises:
        ValueError: If an argument is out of range.

    Example:
        >>> import gobj, torch
        >>> rule = gobj.FocusedCrossEntropy()
        >>> state = gobj.init_state(anchors=8, rule=rule)
        >>> logits, labels = torch.linspace(-1, 1, 101), (torch.arange(101) > 60).int()
        >>> for _ in range(50):
        ...     loss, state = gobj.average_precision_loss(logits, labels, state, rule=rule)
        >>> recall = (logits[labels > 0] > state.threshold[4]).float().mean()
        >>> print(f"recall {recall:.2f} at anchor {state.anchors[4]:.2f}")
        recall 0.57 at anchor 0.56

    References:
        The weights are the derivative of the area in the score, as in Eban et al., `Scalable
        Learning of Non-Decomposable Objectives <https://arxiv.org/abs/1608.04802>`_, AISTATS 2017.
    """

    rate: float = 0.1
    scale: float = 2.0  # at 1, linear models lose less often to cross entropy, and gain less
    width: float = 1.0  # at .5, networks lose on five of 32 tables in place of three
    cross_entropy_share: float = 0.2
    cap: float = 1e3
    order: Order = "update_first"

    surrogate: ClassVar[Surrogate | None] = None
    statistics: ClassVar[type[Any]] = FocusStatistics

    def __post_init__(self) -> None:
        """Check the arguments."""
        check_number("rate", self.rate, low=0, high=math.nextafter(1, 2))
        check_number("scale", self.scale, low=0)
        check_number("width", self.width, low=0)
        check_number("cross_entropy_share", self.cross_entropy_share, low=0, high=1, closed=True)
        check_number("cap", self.cap, low=0)
        check_choice("order", self.order, ORDERS)

    def init(self, like: Tensor) -> FocusStatistics:
        """Return averages over zero batches, with both classes alike, and a kernel that counts."""
        averages = like.new_zeros(*like.shape, len(Averages._fields))
        averages[..., 2] = 0.5
        one = torch.ones_like(like)
        return FocusStatistics(torch.zeros_like(like), averages, one, one * self.width**-2)

    def probabilities(self, logits: Tensor, state: DualState | AreaState) -> Tensor:
        r"""Read logits as probabilities of a positive: undo the scale and the balance of classes.

        .. math:: \sigma\Bigl(\frac{f}{T} + \frac12 \log \frac{P}{1 - P}\Bigr)

        Args:
            logits: Scores of a model that was trained by this rule, shape ``[n, *labels]``.
            state: The state at its end, which knows the share of positives.

        Returns:
            Probabilities, shape of the logits.
        """
        averages = state.statistics.averages
        positives = averages[..., 0, 2] if isinstance(state, AreaState) else averages[..., 2]
        return torch.sigmoid(logits / self.scale + positives.logit() / 2)

    def prices(self, problem: Problem, state: DualState | AreaState) -> FocusPrices:
        """Return the weights of the kernel, of all examples, and of both classes."""
        _, averages, residual, focus = state.statistics
        positives = averages[..., 2]
        if isinstance(state, AreaState):  # the share of each anchor in the whole
            form = problem.lagrangian(state.multiplier.clamp(max=MAX_ANCHOR_MULTIPLIER))
            first, *others = (x for x in form[:4] if not absent(x))
            price = sum(others, start=first)
            residual = price * residual
            focus = (price * focus).mean(-1, keepdim=True)
            positives = positives[..., :1]
        kernel = residual * (1 - self.cross_entropy_share) / focus.clamp(min=TINY)
        double = (2 * positives).clamp(ROUNDING, 2 - ROUNDING)
        return FocusPrices(kernel, self.cross_entropy_share, double.rsqrt(), (2 - double).rsqrt())

    def measure(self, points: Points, surrogate: Surrogate) -> FocusMeasures:
        """Return the kernel ``1 / (width^2 + distance^2)`` and the cross entropy of a negative."""
        kernel = points.distance.detach().square().add_(self.width**2).reciprocal_()
        cost = functional.softplus(points.scores, beta=1 / self.scale)
        return FocusMeasures(kernel, cost, torch.sigmoid(points.scores * (1 / self.scale)))

    def charge(
        self, points: Points, measures: FocusMeasures, prices: FocusPrices
    ) -> tuple[Tensor, Tensor]:
        """Return the weighted cross entropy of each example."""
        kernel, cost, slope = measures
        weight = points.average(kernel * prices.kernel) + prices.everywhere
        # a positive costs what a negative costs, less its score
        balance = torch.lerp(prices.negatives, prices.positives, points.positives)
        found = points.positives * prices.positives
        costs = torch.addcmul(balance * cost, found, points.scores, value=-1)
        slopes = balance * slope - found
        if points.several:
            costs, slopes = costs.squeeze(-1), slopes.squeeze(-1)
        return weight * costs, weight * slopes

    def observe(
        self,
        points: Points,
        measures: FocusMeasures,
        problem: Problem,
        state: DualState | AreaState,
    ) -> FocusSums:
        """Sum the kernel over both classes, distances, residuals, and both multiplied."""
        kernel, called = measures.kernel, measures.slope
        size = torch.lerp(called, 1 - called, points.positives)
        return FocusSums(
            points.sum(kernel * points.positives),
            points.sum(kernel * points.negatives),
            points.sum_of_distances(),
            points.sum(size),
            points.sum(kernel * size),
        )

    def update(self, problem: Problem, state: State, means: Sums) -> State:
        """Average what the batch shows, move the threshold and solve for the multiplier."""
        seen: FocusSums = means.measured
        density = self.width / math.pi  # of a kernel that is 1 / width^2 at its middle
        positive, negative = seen.positive_kernel * density, seen.negative_kernel * density
        first = positive, negative, means.positives, seen.distance
        moved = track(problem, state, means, first, self.rate, self.cap)
        last = {"residual": seen.residual, "focus": seen.focus}
        return moved._replace(statistics=moved.statistics._replace(**last))
