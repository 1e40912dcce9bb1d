"""A problem, counted at every threshold that tells examples of a sample apart."""

from typing import NamedTuple

import torch
from torch import Tensor

from gobj._checks import Number, refuse
from gobj.metrics import Curve, curve_init, curve_points, curve_update
from gobj.problem import LinearForm, Problem, absent, check_forms

ROUNDING = 1e-9  # of a price beside the largest


class Cuts(NamedTuple):
    """Thresholds from nothing positive to everything, and what lies on both sides of each.

    Neighbours may repeat. Every tensor is ``[*labels, m]``, in float64.

    Attributes:
        threshold: Descending, in units of the logit: ``+inf`` first, ``-inf`` last.
        true_positives: Weight of the positives above it.
        false_positives: Weight of the negatives above it.
        positives: Weight of all positives, ``[*labels, 1]``.
        negatives: Weight of all negatives, ``[*labels, 1]``.
    """

    threshold: Tensor
    true_positives: Tensor
    false_positives: Tensor
    positives: Tensor
    negatives: Tensor

    def events(self) -> dict[str, Tensor]:
        """Return the weight of each event by the name of its coefficient."""
        return {
            "false_negative": self.positives - self.true_positives,
            "false_positive": self.false_positives,
            "true_positive": self.true_positives,
            "true_negative": self.negatives - self.false_positives,
        }

    def value(self, form: LinearForm) -> Tensor:
        """Return a linear form of shares of the sample, at every cut."""
        total = self.positives + self.negatives
        weights = [*self.events().values(), self.positives, self.negatives]
        parts = [
            _last(coefficient) * weight
            for coefficient, weight in zip(form, weights, strict=True)
            if not absent(coefficient)
        ]
        return sum(parts, start=torch.zeros_like(self.threshold)) / total

    def at(self, values: Tensor, index: Tensor) -> Tensor:
        """Return values at one cut of each label."""
        return values.expand_as(self.threshold).gather(-1, index.unsqueeze(-1)).squeeze(-1)


class Rate(NamedTuple):
    """A constraint as a rate that has an upper limit: bad events among those that count.

    Attributes:
        bad: Weight of the events that break the constraint, ``[*labels, m]``.
        counted: Weight of the events that the rate is a share of, likewise.
        limit: The rate at which the constraint is just met, ``[*labels, 1]``.
        of_calls: Whether a higher threshold repairs it: bad events are calls as positive.
        of_all: Whether it is a share of the same examples at every threshold.
    """

    bad: Tensor
    counted: Tensor
    limit: Tensor
    of_calls: bool
    of_all: bool


def cuts_of_curve(curve: Curve) -> Cuts:
    """Return the cuts of a curve."""
    ends = curve.true_positives[..., -1:], curve.false_positives[..., -1:]
    return Cuts(*(column.double() for column in (*curve, *ends)))


def cuts_of_sample(
    logits: Tensor, labels: Tensor, weights: Number | None, ignore_index: int | None
) -> Cuts:
    """Return the cuts between the scores of a sample."""
    if not (isinstance(logits, Tensor) and logits.dim() >= 1):
        refuse("logits", "be a floating-point tensor with an example dimension", logits)
    start = curve_init(tuple(logits.shape[1:]), device=logits.device)
    state = curve_update(start, logits, labels, weights=weights, ignore_index=ignore_index)
    return cuts_of_curve(curve_points(state))


def check_point(problem: Problem) -> None:
    """Require the problem of a point, not of an area."""
    if not isinstance(problem, Problem):
        refuse("problem", "be a gobj.Problem, such as gobj.recall_at_precision(0.9)", problem)
    check_forms(problem)


def rate_of(form: LinearForm, cuts: Cuts) -> Rate | None:
    """Return the rate that a constraint limits; None if it is no bound of one rate.

    An example costs one of four numbers, by its class and by its call. If those that are not 0 are
    one number above and one below, the form is at most 0 where the share of the first among both
    is at most a limit. Bad events have to lie on one side of the threshold, and to be a share of
    the same examples always, or of those on their side.
    """
    costs = {
        "false_negative": form.false_negative + form.positives,
        "false_positive": form.false_positive + form.negatives,
        "true_positive": form.true_positive + form.positives,
        "true_negative": form.true_negative + form.negatives,
    }
    like = sum(0 * x.double() for x in costs.values() if isinstance(x, Tensor))
    numbers = [torch.as_tensor(x, dtype=torch.float64) + like for x in costs.values()]
    prices = torch.stack(numbers).to(cuts.threshold.device)
    worst, best = prices.amax(0), prices.amin(0)
    near = ROUNDING * prices.abs().amax(0)
    free = prices.abs() <= near
    bad, good = ~free & ((prices - worst).abs() <= near), ~free & ((prices - best).abs() <= near)
    masks = bad.reshape(4, -1), good.reshape(4, -1)  # in the order of the costs
    alike = all(bool((mask == mask[:, :1]).all()) for mask in masks)
    fits = (bad | good | free).all() & ((worst > 0) & (best < 0)).all()
    if not (alike and bool(fits)):
        return None
    missed, alarm, hit, passed = (masks[0] | masks[1])[:, 0].tolist()
    bad_missed, bad_alarm, bad_hit, bad_passed = masks[0][:, 0].tolist()
    of_calls, of_others = bad_alarm or bad_hit, bad_missed or bad_passed
    of_all = missed == hit and alarm == passed
    one_side = not (missed or passed) if of_calls else not (alarm or hit)
    if of_calls == of_others or not (of_all or one_side):
        return None
    weights = list(cuts.events().values())
    broken = [_last(part.double()) * weight for part, weight in zip(bad, weights, strict=True)]
    kept = [_last(part.double()) * weight for part, weight in zip(good, weights, strict=True)]
    total = sum(broken[1:], start=broken[0])
    limit = (-best / (worst - best)).unsqueeze(-1)
    return Rate(total, total + sum(kept[1:], start=kept[0]), limit, of_calls, of_all)


def _last(value: Number) -> Number:
    """Give a coefficient of labels a last dimension, for the cuts."""
    return value.double().unsqueeze(-1) if isinstance(value, Tensor) else value
