"""What follows from the outcomes of a study."""

from typing import NamedTuple

from torch import Tensor

from gobj.study.comparison import Outcome
from gobj.study.goals import FEWEST_HITS, Goal, spell
from gobj.study.measures import Estimate, estimate


class Findings(NamedTuple):
    """Outcomes and the comparison that answers the question.

    Attributes:
        goal: The question.
        outcomes: BCE, class-weighted BCE and the objective.
        baseline: The BCE that is better on the test rows, a choice that favours BCE.
        difference: Objective minus baseline, paired over seeds.
    """

    goal: Goal
    outcomes: list[Outcome]
    baseline: Outcome
    difference: Estimate


def find(goal: Goal, outcomes: list[Outcome]) -> Findings:
    """Compare the objective, the last outcome, with the better of the others."""
    baseline = max(outcomes[:-1], key=lambda outcome: goal.sign * outcome.value.mean().item())
    return Findings(goal, outcomes, baseline, estimate(outcomes[-1].value - baseline.value))


def is_reached(goal: Goal, reaches: list[Tensor]) -> bool:
    """Tell whether some method meets the target in half of the seeds."""
    return any(goal.is_met(reach.median().item()) for reach in reaches)


def explain_miss(goal: Goal, reaches: list[Tensor]) -> str:
    """Say how near the methods come to a target that none of them meets."""
    nearest = max((reach.median().item() for reach in reaches), key=lambda rate: rate * goal.way)
    rate = spell(goal.objective.constrained)
    return f"the best {rate} with {FEWEST_HITS} right examples or more is {nearest:.3g}"


def answer(findings: Findings) -> str:
    """Answer the question in a sentence."""
    goal, outcomes, baseline, difference = findings
    reaches = [outcome.test_reach for outcome in outcomes]
    if not is_reached(goal, reaches):
        return (
            f"The target is out of reach: {goal.condition} is met on training rows, but on test "
            f"rows {explain_miss(goal, reaches)}."
        )
    own, other = (f"{outcome.value.mean().item():.3f}" for outcome in (outcomes[-1], baseline))
    name = baseline.models.method
    if abs(difference.mean) <= difference.half_width:
        return (
            f"It makes no difference: trained for, {goal.title} is {own} on test rows, and {other} "
            f"with {name}, which {len(baseline.value)} seeds cannot tell apart."
        )
    verdict = "It helps" if difference.mean * goal.sign > 0 else "It does not help"
    change = "raises" if difference.mean > 0 else "lowers"
    return (
        f"{verdict}: training for {goal.title} {change} it on test rows from {other} ({name}) "
        f"to {own}."
    )


def caution(findings: Findings) -> str:
    """Warn where the objective's threshold, tight on training rows, misses on test rows."""
    goal, tested = findings.goal, findings.outcomes[-1].test
    rate = estimate(tested[goal.objective.constrained])
    if goal.is_met(rate.mean + goal.way * rate.half_width):
        return ""
    return (
        f"Beware: on test rows the objective's threshold misses {goal.condition}; before use take "
        "one from rows that training did not see."
    )
