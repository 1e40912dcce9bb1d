"""What follows for a label: whether training for the objective helped, and what is stronger."""

from collections.abc import Sequence
from typing import Literal, NamedTuple

from gobj.study.comparison import Outcome
from gobj.study.goals import FEWEST_HITS, Goal, spell
from gobj.study.measures import Estimate, estimate
from gobj.study.numbers import written

Kind = Literal["helps", "helps its family", "makes no difference", "does not help", "out of reach"]
DIGITS = 9  # of means that are compared: of rows that are equal the first is taken, not a rounding


class Pair(NamedTuple):
    """The objective beside the best other loss of the same family, picked on validation rows.

    Attributes:
        objective: The row of the objective.
        peer: The row of the other loss.
        difference: Objective minus peer on test rows, paired over splits.
        helps: Whether the objective is better by more than chance.
        harms: Whether the other loss is.
    """

    objective: Outcome
    peer: Outcome
    difference: Estimate
    helps: bool
    harms: bool


class Verdict(NamedTuple):
    """The answer for one label.

    Attributes:
        kind: ``helps`` if the objective beats the other row that is best on validation rows;
            ``helps its family`` if it beats the same models with other losses, while a row of
            another family is as good or better; ``does not help`` if another loss beats it where
            it is best; else ``makes no difference``; ``out of reach`` if no row meets the target on
            the validation rows of half of the splits, by more than a few lucky rows.
        sentence: The answer in words.
        pairs: One for each family.
        objective: The row of the objective that is best on validation rows.
        rival: The best other row there.
        difference: Objective minus rival on test rows, paired over splits.
        stronger: Whether the rival is better by more than chance.
    """

    kind: Kind
    sentence: str
    pairs: list[Pair]
    objective: Outcome
    rival: Outcome
    difference: Estimate
    stronger: bool


def judge(
    goal: Goal, outcomes: Sequence[Outcome], label: int, overlap: float, reach: float
) -> Verdict:
    """Judge a label: rows are picked on validation rows, and compared on test rows.

    Args:
        goal: Of the label.
        outcomes: The rows.
        label: Which of the labels.
        overlap: Ratio of test to training rows.
        reach: How far the constrained rate goes on validation rows.
    """
    rows = [row for row in outcomes if row.method.is_objective]
    others = [row for row in outcomes if not row.method.is_objective]
    own, rival = best_of(rows, goal, label), best_of(others, goal, label)
    pairs = []
    for row in rows:
        family = [other for other in others if other.method.family == row.method.family]
        peer = best_of(family, goal, label)
        pairs.append(
            Pair(
                row,
                peer,
                difference(row, peer, label, overlap),
                beats(goal, row, peer, label, overlap),
                beats(goal, peer, row, label, overlap),
            )
        )
    helps = beats(goal, own, rival, label, overlap)
    verdict = Verdict(
        _kind(goal.is_met(reach), helps, pairs, own),
        "",
        pairs,
        own,
        rival,
        difference(own, rival, label, overlap),
        beats(goal, rival, own, label, overlap),
    )
    return verdict._replace(sentence=_sentence(goal, verdict, label))


def best_of(outcomes: Sequence[Outcome], goal: Goal, label: int | None = None) -> Outcome:
    """Return the row that is best on validation rows, for a label or in the mean over labels."""

    def merit(row: Outcome) -> float:
        values = row.validation if label is None else row.validation[:, label]
        return goal.sign * round(values.mean().item(), DIGITS)

    return max(outcomes, key=merit)


def difference(one: Outcome, other: Outcome, label: int, overlap: float) -> Estimate:
    """Return how much higher the value of one row is than that of another, on test rows."""
    return estimate((one.fitted.value - other.fitted.value)[:, label], overlap)


def beats(goal: Goal, one: Outcome, other: Outcome, label: int, overlap: float) -> bool:
    """Tell whether one row is better than another, and does not pay for it with the constraint.

    A threshold that misses its target further than the other's gets a better value for nothing.
    """
    better = difference(one, other, label, overlap)
    ours, theirs = (row.fitted.constrained[:, label] * goal.way for row in (one, other))
    slack = estimate(ours - theirs, overlap)
    return better.mean * goal.sign > better.half_width and slack.mean >= -slack.half_width


def across_labels(goal: Goal, outcomes: Sequence[Outcome], overlap: float) -> list[str]:
    """Compare the objective with its family in the mean over labels, which tells more than one."""
    said = []
    for own in (row for row in outcomes if row.method.is_objective):
        family = [row for row in outcomes if row.method.family == own.method.family]
        peer = best_of([row for row in family if not row.method.is_objective], goal)
        one, other = (row.fitted.value.mean(1) for row in (own, peer))
        found = estimate(one - other, overlap)
        number = own.fitted.value.shape[1]
        said.append(
            f"In the mean over {number} labels, {spell(goal.objective.optimized)} on test rows is "
            f"{written(one.mean().item())} ({own.method.name}) and {written(other.mean().item())} "
            f"({peer.method.name}): {found.mean:+.3f} ± {found.half_width:.3f}."
        )
    return said


def _kind(reached: bool, helps: bool, pairs: Sequence[Pair], own: Outcome) -> Kind:
    """Sum up."""
    if not reached:
        return "out of reach"
    if helps:
        return "helps"
    if any(pair.helps for pair in pairs):
        return "helps its family"
    at_best = next(pair for pair in pairs if pair.objective is own)
    return "does not help" if at_best.harms else "makes no difference"


def _sentence(goal: Goal, verdict: Verdict, label: int) -> str:
    """Answer in words, with the numbers."""

    def at(row: Outcome) -> str:
        return f"{written(row.fitted.value[:, label].mean().item())} ({row.method.name})"

    own, rival, what = verdict.objective, verdict.rival, f"on test rows, {goal.title}"
    if verdict.kind == "out of reach":
        return (
            f"The target is out of reach: no row keeps {goal.condition} on the validation rows of "
            f"half of the splits with {FEWEST_HITS} hits or more."
        )
    if verdict.kind == "helps":
        return f"Training for it helps: {what} is {at(own)}, and {at(rival)}, the best without it."
    if verdict.kind == "helps its family":
        gains = ", and ".join(
            f"from {at(pair.peer)} to {at(pair.objective)}" for pair in verdict.pairs if pair.helps
        )
        first = f"Training for it helps among models of one kind: {what} goes {gains}."
    else:
        peer = next(pair.peer for pair in verdict.pairs if pair.objective is own)
        said = (
            "does not help"
            if verdict.kind == "does not help"
            else f"makes no difference that {len(peer.validation)} splits can tell"
        )
        first = f"Training for it {said}: {what} is {at(own)}, and {at(peer)} without it."
    if rival.method.name in first:
        return first
    name = rival.method.name[0].upper() + rival.method.name[1:]
    value = written(rival.fitted.value[:, label].mean().item())
    return f"{first} {name} {'is stronger, at' if verdict.stronger else 'is at'} {value}."
