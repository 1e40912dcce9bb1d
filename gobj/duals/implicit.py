"""The default rule: a threshold tracked on exact counts, a multiplier solved from stationarity."""

import math
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from gobj._attached import evaluation_point
from gobj._batch import Batch, per_class
from gobj._blend import Blend, blended
from gobj._checks import Number, check_number
from gobj._forms import LinearForm, Problem
from gobj._state import DualState
from gobj._surrogates import GeneralizedCrossEntropy, Surrogate, cross_entropy
from gobj.duals._rule import DualRule
from gobj.duals._tracking import LN2, TINY, Tracking, averaged, observe, step_size

HEAVIEST = 1.2  # largest weight of a class


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
        cap: Largest multiplier that is reported, above 0; it says that no price is enough.

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
        self, batch: Batch, problem: Problem, state: DualState, surrogate: Surrogate, prior: Tensor
    ) -> tuple[Tensor, Number, DualState]:
        """Return the loss example by example, and the state one batch on."""
        scores, sides = evaluation_point(batch.scores), batch.sides
        distance = scores - state.threshold
        bound, plain = surrogate.terms(distance * sides), cross_entropy.terms(scores * sides)
        slopes = bound[1].detach(), plain[1].detach()
        seen = observe(batch, problem, distance.detach(), slopes, prior)
        steps = state.statistics.steps + 1
        tracking = averaged(state.statistics.tracking, seen, (1 / steps).clamp(min=self.rate))
        positives, negatives, rest = self._weights(tracking)
        known = blended(sides, [(per_class(sides, positives, negatives), *bound), (rest, *plain)])
        constants = state.threshold, positives, negatives, torch.zeros_like(rest), rest, rest
        elements = Blend((surrogate, cross_entropy)).attached(batch, known, *constants)
        threshold = state.threshold + step_size(problem, tracking, seen.violation, steps)
        statistics = ImplicitStatistics(steps, tracking)
        return elements, 0.0, DualState(self._multiplier(problem, tracking), threshold, statistics)

    def _weights(self, pulls: Tracking) -> tuple[Tensor, Tensor, Tensor]:
        """Return the weights of positives, of negatives and of cross entropy."""
        weights = (
            pulls.residual / 2 / torch.stack((pulls.positives, pulls.negatives)).clamp(min=TINY)
        )
        scale = (HEAVIEST / weights.amax(0)).clamp(max=1)
        positives, negatives = (weights * (scale * (1 - self.cross_entropy_share))).unbind(0)
        return positives, negatives, scale * (self.cross_entropy_share * LN2)

    def _multiplier(self, problem: Problem, pulls: Tracking) -> Tensor:
        """Solve the balance of pulls for the multiplier; the cap where no price is enough."""
        ratio, direction = pulls.negatives / pulls.positives.clamp(min=TINY), problem.direction()

        def balance(form: LinearForm) -> Tensor:
            on_positives = form.false_negative - form.true_positive
            on_negatives = form.false_positive - form.true_negative
            return (ratio * on_negatives - on_positives) * direction

        priced = balance(problem.constraint)
        solved = -balance(problem.cost) / priced
        return torch.where(priced > 0, solved, self.cap).clamp(0, self.cap)
