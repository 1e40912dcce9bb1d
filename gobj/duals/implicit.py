"""The default rule: a threshold tracked on exact counts, a multiplier solved from stationarity."""

import math
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from gobj._checks import Number, check_number
from gobj._forms import LinearForm, Problem
from gobj._points import OperatingPoints
from gobj._state import DualState
from gobj._surrogates import LN2, GeneralizedCrossEntropy
from gobj.duals._rule import DualRule
from gobj.duals._tracking import TINY, Tracking, averaged, observed, step_size

DEAREST = 100.0  # multiplier by which one of several points may outweigh the others
HEAVIEST = 1.2  # largest weight of a class; at 2.5 a small table lost test recall


class ImplicitStatistics(NamedTuple):
    """Batches seen, and running averages over them, each of shape ``[*labels]``."""

    steps: Tensor
    tracking: Tracking


@dataclass(frozen=True)
class ImplicitMultiplier(DualRule):
    r"""Track the threshold at which the counted constraint is met, and solve for the multiplier.

    The threshold :math:`b` takes damped Newton steps on the counted violation :math:`v`, faster
    where its sign persists, slower where it is noise. At a stationary threshold the pulls of both
    classes on it balance, which fixes the ratio of their weights, and so the multiplier:

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

    Args:
        rate: Weight of a batch in the running averages, in (0, 1]; the first ``1 / rate`` batches
            count alike.
        cross_entropy_share: The share :math:`\mu`, in [0, 1].
        cap: Largest multiplier that is reported, above 0.

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

    surrogate = GeneralizedCrossEntropy(q=0.4, temperature=0.5)

    def __post_init__(self) -> None:
        """Check the arguments."""
        check_number("ImplicitMultiplier", "rate", self.rate, low=0, high=math.nextafter(1, 2))
        share = self.cross_entropy_share
        check_number("ImplicitMultiplier", "cross_entropy_share", share, low=0, high=1, closed=True)
        check_number("ImplicitMultiplier", "cap", self.cap, low=0)

    def init(self, like: Tensor) -> ImplicitStatistics:
        """Return averages of zero over zero batches."""
        zero = torch.zeros_like(like)
        return ImplicitStatistics(zero, Tracking(*[zero] * len(Tracking._fields)))

    def step(
        self, points: OperatingPoints, problem: Problem, state: DualState, prior: Tensor
    ) -> tuple[Tensor, Number, DualState]:
        """Return the loss example by example, and the state one batch on."""
        direction = problem.direction()
        seen = observed(points, problem, direction, prior)
        steps = state.statistics.steps + 1
        tracking = averaged(state.statistics.tracking, seen, (1 / steps).clamp(min=self.rate))
        multiplier = self._multiplier(problem, direction, tracking)
        elements = points.mixed(*self._weights(points, problem, multiplier, tracking))
        threshold = state.threshold + step_size(problem, direction, tracking, seen.violation, steps)
        return elements, 0.0, DualState(multiplier, threshold, ImplicitStatistics(steps, tracking))

    def _weights(
        self, points: OperatingPoints, problem: Problem, multiplier: Tensor, pulls: Tracking
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return the weights of positives, of negatives and of cross entropy."""
        both = torch.stack((pulls.positives, pulls.negatives)).clamp(min=TINY)
        weights = pulls.residual / 2 / both
        heaviest = weights.amax(0)
        if points.several:  # the share of each point in the whole
            form = problem.lagrangian(multiplier.clamp(max=DEAREST))
            part = form.false_negative * pulls.positives
            weights = weights * (part / part.mean(-1, keepdim=True).clamp(min=TINY))
            heaviest = weights.mean(-1, keepdim=True).amax(0)
        scale = (HEAVIEST / heaviest).clamp(max=1)
        positives, negatives = (weights * (scale * (1 - self.cross_entropy_share))).unbind(0)
        return positives, negatives, scale * (self.cross_entropy_share * LN2)

    def _multiplier(self, problem: Problem, direction: Number, pulls: Tracking) -> Tensor:
        """Solve the balance of pulls for the multiplier; the cap where no price is enough."""
        ratio = pulls.negatives / pulls.positives.clamp(min=TINY)

        def balance(form: LinearForm) -> Tensor:
            on_positives = form.false_negative - form.true_positive
            on_negatives = form.false_positive - form.true_negative
            return (ratio * on_negatives - on_positives) * direction

        priced = balance(problem.constraint)
        solved = -balance(problem.cost) / priced
        return torch.where(priced > 0, solved, self.cap).clamp(0, self.cap)
