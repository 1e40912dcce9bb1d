"""The default rule: a threshold tracked on exact counts, a multiplier solved from stationarity."""

import math
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from gobj._batch import Batch
from gobj._checks import check_number
from gobj._forms import LinearForm, Problem
from gobj._lagrangian import per_class
from gobj._state import DualState
from gobj._surrogates import GeneralizedCrossEntropy, Surrogate, cross_entropy
from gobj.duals._rule import DualRule
from gobj.duals._tracking import TINY, Tracking, observe, step_size

LN2 = math.log(2)
STEEPEST = 1.5  # largest weight of a class times the slope of its surrogate at margin 0


class ImplicitStatistics(NamedTuple):
    """Batches seen, and running averages over them, each of shape ``[*labels]``."""

    steps: Tensor
    tracking: Tracking
    positives_pull: Tensor
    negatives_pull: Tensor
    residual: Tensor


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
        tracking = Tracking(*[zero] * len(Tracking._fields))
        return ImplicitStatistics(zero, tracking, zero, zero, zero)

    def step(
        self, batch: Batch, problem: Problem, state: DualState, surrogate: Surrogate, prior: Tensor
    ) -> tuple[Tensor, DualState]:
        """Return the loss example by example, and the state one batch on."""
        sides = batch.sides()
        margin = batch.scores * sides
        cost, slope = surrogate.evaluate(torch.addcmul(margin, sides, -state.threshold))
        plain, plain_slope = cross_entropy.evaluate(margin)
        old: ImplicitStatistics = state.statistics
        rate = (1 / (old.steps + 1)).clamp(min=self.rate)
        distance = batch.scores.detach() - state.threshold
        tracking, violation = observe(old.tracking, batch, problem, distance, prior, rate)
        pull = -batch.rate(slope.detach())
        on_positives = -batch.rate(slope.detach() * batch.labels)
        now = ImplicitStatistics(
            steps=old.steps + 1,
            tracking=tracking,
            positives_pull=torch.lerp(old.positives_pull, on_positives, rate),
            negatives_pull=torch.lerp(old.negatives_pull, pull - on_positives, rate),
            residual=torch.lerp(old.residual, -LN2 * batch.rate(plain_slope.detach()), rate),
        )
        positives, negatives, others = self._weights(now, surrogate)
        elements = torch.addcmul(plain * others, per_class(positives, negatives, batch), cost)
        threshold = state.threshold + step_size(tracking, violation, now.steps)
        return elements, DualState(self._multiplier(problem, now, prior), threshold, now)

    def _weights(
        self, now: ImplicitStatistics, surrogate: Surrogate
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return the weights of positives, negatives and the share of cross entropy."""
        positives = now.residual / (2 * now.positives_pull.clamp(min=TINY))
        negatives = now.residual / (2 * now.negatives_pull.clamp(min=TINY))
        unit = -surrogate.evaluate(torch.zeros_like(positives))[1]
        heaviest = (torch.maximum(positives, negatives) * unit).clamp(min=TINY)
        scale = (STEEPEST / heaviest).clamp(max=1)
        share = self.cross_entropy_share
        return positives * scale * (1 - share), negatives * scale * (1 - share), scale * share * LN2

    def _multiplier(self, problem: Problem, now: ImplicitStatistics, prior: Tensor) -> Tensor:
        """Solve the balance of pulls for the multiplier; the cap where no price is enough."""
        cost, held = problem
        ratio = now.negatives_pull / now.positives_pull.clamp(min=TINY)
        direction = problem.direction(prior)

        def balance(form: LinearForm) -> Tensor:
            on_positives = form.false_negative - form.true_positive
            return direction * (ratio * (form.false_positive - form.true_negative) - on_positives)

        priced = balance(held)
        solved = -balance(cost) / torch.where(priced > 0, priced, 1)
        return torch.where(priced > 0, solved, self.cap).clamp(0, self.cap)
