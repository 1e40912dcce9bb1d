"""The constrained objectives against plain counting: forms, bounds, and what follows from them."""

from collections.abc import Sequence
from typing import Any

import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st
from torch import Tensor

import gobj
from tests import oracles
from tests.cases import Case, each_constrained, gradient, sample
from tests.oracles import Counts, count
from tests.strategies import Batch, batches, multipliers, some_weight, targets, thresholds

SURROGATES: dict[str, tuple[gobj.Surrogate, oracles.Cost]] = {
    "cross_entropy": (gobj.cross_entropy, oracles.bits),
    "hinge": (gobj.hinge, oracles.ramp),
    "squared_hinge": (gobj.squared_hinge, oracles.squared_ramp),
    "generalized_cross_entropy": (
        gobj.generalized_cross_entropy(q=0.4, temperature=0.5),
        oracles.box_cox(0.4, 0.5),
    ),
    "sigmoid": (gobj.sigmoid(temperature=2.0), oracles.twice_sigmoid(2.0)),
    "zero_one": (gobj.zero_one, oracles.indicator),
}
SMOOTH = ["cross_entropy", "generalized_cross_entropy", "sigmoid"]
HELD = gobj.LinearForm()  # costs nothing, so that the Lagrangian at multiplier 1 is the constraint

each_surrogate = pytest.mark.parametrize("surrogate", SURROGATES)
cells = st.integers(0, 6)


def columns(batch: Batch) -> Sequence[tuple[list[float], list[float], list[float]]]:
    """List scores, labels and weights of each label."""
    flat = (tensor.reshape(len(tensor), -1).T.tolist() for tensor in batch)
    return list(zip(*flat, strict=True))


def confusion(counts: Counts) -> tuple[Tensor, Tensor]:
    """Make scores and labels with this confusion matrix at threshold 0."""
    numbers = [int(cell) for cell in counts]
    scores = [1.0] * (numbers[0] + numbers[1]) + [-1.0] * (numbers[2] + numbers[3])
    labels = [1] * numbers[0] + [0] * numbers[1] + [1] * numbers[2] + [0] * numbers[3]
    return torch.tensor(scores, dtype=torch.float64), torch.tensor(labels)


def evaluated(problem: gobj.Problem, batch: Batch, *duals: Any, **options: Any) -> list[float]:
    """Evaluate the Lagrangian of each label."""
    scores, labels, weights = batch
    value = gobj.lagrangian(scores, labels, problem, *duals, weights=weights, **options)
    assert value.shape == scores.shape[1:]
    return value.reshape(-1).tolist()


@each_constrained
@given(counts=st.builds(Counts, cells, cells, cells, cells), target=targets, price=multipliers)
def test_forms_are_the_textbook_goal_on_any_confusion_matrix(
    case: Case, counts: Counts, target: float, price: float
) -> None:
    assume(sum(counts) > 0)
    scores, labels = confusion(counts)
    got = gobj.lagrangian(scores, labels, case.builder(target), price, 0.0, surrogate=gobj.zero_one)
    paid, held = counts.priced(case.goal.cost), counts.priced(case.goal.constraint(target))
    assert got.item() == pytest.approx((paid + price * held) / sum(counts), abs=1e-12)


@each_constrained
@given(counts=st.builds(Counts, cells, cells, cells, cells), target=targets)
def test_the_constraint_is_met_where_the_ratio_meets_its_target(
    case: Case, counts: Counts, target: float
) -> None:
    whole = counts.priced(case.goal.denominator)
    assume(whole > 0)
    ratio = counts.priced(case.goal.numerator) / whole
    assume(abs(ratio - target) > 1e-9)
    scores, labels = confusion(counts)
    held = gobj.Problem(HELD, case.builder(target).constraint)
    got = gobj.lagrangian(scores, labels, held, 1.0, 0.0, surrogate=gobj.zero_one)
    assert (got.item() <= 0) == ((ratio >= target) == case.goal.at_least)


@each_constrained
@pytest.mark.parametrize("target", [0.05, 0.5, 0.95])
def test_forms_never_reward_an_event(case: Case, target: float) -> None:
    problem = case.builder(target)
    assert min([*problem.cost[:4], *problem.constraint[:4]]) >= 0


@each_constrained
@each_surrogate
@given(
    batch=batches(weights=some_weight),
    target=targets,
    price=multipliers,
    threshold=thresholds,
    prior=st.none() | targets,
)
def test_the_lagrangian_is_the_sum_over_examples(
    case: Case,
    surrogate: str,
    batch: Batch,
    target: float,
    price: float,
    threshold: float,
    prior: float | None,
) -> None:
    bound, plain = SURROGATES[surrogate]
    options = {"surrogate": bound, "label_priors": prior}
    got = evaluated(case.builder(target), batch, price, threshold, **options)
    prices = case.goal.cost, case.goal.constraint(target)
    for value, column in zip(got, columns(batch), strict=True):
        if sum(column[2]) == 0:
            continue
        paid, held = (oracles.bounded(p, *column, threshold, plain, prior) for p in prices)
        assert value == pytest.approx(paid + price * held, rel=1e-10, abs=1e-10)


@each_constrained
@each_surrogate
@given(batch=batches(), target=targets, price=multipliers, threshold=thresholds)
def test_the_lagrangian_bounds_the_counted_one(
    case: Case, surrogate: str, batch: Batch, target: float, price: float, threshold: float
) -> None:
    bound = SURROGATES[surrogate][0]
    got = evaluated(case.builder(target), batch, price, threshold, surrogate=bound)
    for value, column in zip(got, columns(batch), strict=True):
        counts, total = count(*column, threshold), sum(column[2])
        paid = counts.priced(case.goal.cost)
        held = counts.priced(case.goal.constraint(target))
        assert value >= (paid + price * held) / total - 1e-12


@each_constrained
@pytest.mark.parametrize("surrogate", ["cross_entropy", "hinge", "sigmoid"])
@given(batch=batches(labels=()), target=targets, threshold=thresholds, sure=st.booleans())
def test_a_constraint_met_by_the_bound_is_met_by_counting(
    case: Case, surrogate: str, batch: Batch, target: float, threshold: float, sure: bool
) -> None:
    scores = batch.logits * batch.labels.mul(2).sub(1) * 20 if sure else batch.logits
    batch = batch._replace(logits=scores)
    held = gobj.Problem(HELD, case.builder(target).constraint)
    bound = SURROGATES[surrogate][0]
    (value,) = evaluated(held, batch, 1.0, threshold, surrogate=bound)
    counted = count(*columns(batch)[0], threshold).priced(case.goal.constraint(target))
    assert counted <= 1e-12 or value > 0


@each_constrained
@each_surrogate
def test_the_bound_meets_a_lenient_constraint_on_well_separated_scores(
    case: Case, surrogate: str
) -> None:
    labels = torch.tensor([1] + [0] * 9 if case.goal.rises(0.5) else [1] * 9 + [0])
    sure = 30.0 if case.goal.bounded_by_errors(0.4) else 0.05  # being right has its price
    scores = torch.where(labels > 0, sure, -30.0)
    held = gobj.Problem(HELD, case.builder(0.4).constraint)
    assert gobj.lagrangian(scores, labels, held, 1.0, 0.0, surrogate=SURROGATES[surrogate][0]) < 0


@each_constrained
@given(batch=batches(), shift=thresholds, threshold=thresholds)
def test_scores_and_thresholds_move_together(
    case: Case, batch: Batch, shift: float, threshold: float
) -> None:
    here = evaluated(case.problem, batch, 1.5, threshold)
    there = evaluated(
        case.problem, batch._replace(logits=batch.logits + shift), 1.5, threshold + shift
    )
    assert there == pytest.approx(here, rel=1e-9, abs=1e-12)


@each_constrained
@pytest.mark.parametrize("surrogate", SMOOTH)
def test_the_lagrangian_has_the_derivatives_of_its_values(case: Case, surrogate: str) -> None:
    scores, labels, weights = sample(case, 5, (2,))

    def value(scores: Tensor, price: Tensor, threshold: Tensor, prior: Tensor) -> Tensor:
        return gobj.lagrangian(
            scores,
            labels,
            case.problem,
            price,
            threshold,
            weights=weights,
            surrogate=SURROGATES[surrogate][0],
            label_priors=prior,
        )

    duals = ([0.5, 2.0], [0.3, -0.4], [0.2, 0.6])
    leaves = [scores, *(torch.tensor(dual, dtype=torch.float64) for dual in duals)]
    leaves = [leaf.requires_grad_() for leaf in leaves]
    assert torch.autograd.gradcheck(value, leaves)
    assert torch.autograd.gradgradcheck(value, leaves)


@each_constrained
@given(batch=batches(labels=(3,)), threshold=thresholds)
def test_a_tensor_of_duals_serves_each_label(case: Case, batch: Batch, threshold: float) -> None:
    prices = torch.tensor([0.0, 1.0, 2.5], dtype=torch.float64)
    together = evaluated(case.problem, batch, prices, threshold)
    for index, price in enumerate(prices.tolist()):
        alone = Batch(*(tensor[:, index] for tensor in batch))
        assert together[index] == pytest.approx(
            evaluated(case.problem, alone, price, threshold)[0], rel=1e-12
        )


@each_constrained
@given(batch=batches(weights=some_weight), price=multipliers, threshold=thresholds)
def test_a_loss_with_frozen_duals_is_the_mean_lagrangian(
    case: Case, batch: Batch, price: float, threshold: float
) -> None:
    state = case.start(batch.logits.shape[1:])
    state = state._replace(
        multiplier=torch.full_like(state.multiplier, price),
        threshold=torch.full_like(state.threshold, threshold),
    )
    loss, after = case(
        batch.logits, batch.labels, state, weights=batch.weights, rule=gobj.FrozenDual()
    )
    values = evaluated(case.problem, batch, price, threshold)
    assert loss.item() == pytest.approx(sum(values) / len(values), rel=1e-12, abs=1e-12)
    assert after is state


@each_constrained
def test_a_worked_example_costs_what_it_should(case: Case) -> None:
    # At threshold 0.5: hits 2 and 1, a miss at 0, alarms at 3, nothing at -1 and -2.
    scores = torch.tensor([2.0, 1.0, 0.0, 3.0, -1.0, -2.0], dtype=torch.float64)
    labels = torch.tensor([1, 1, 1, 0, 0, 0])
    value = gobj.lagrangian(scores, labels, case.builder(0.5), 2.0, 0.5, surrogate=gobj.hinge)
    missed = (0 + 0.5 + 1.5) / 6  # hinge of the margins 1.5, 0.5 and -0.5
    alarms = (3.5 + 0 + 0) / 6  # hinge of the margins -2.5, 1.5 and 2.5
    flagged = (2.5 + 1.5 + 0.5) / 6  # hinge of the negative margins -1.5, -0.5 and 0.5
    expected = {
        "recall_at_precision_loss": missed + 2 * (0.5 * alarms + 0.5 * (missed - 0.5)),
        "precision_at_recall_loss": alarms + 2 * (missed - 0.5 * 0.5),
        "tpr_at_fpr_loss": missed + 2 * (alarms - 0.5 * 0.5),
        "fpr_at_tpr_loss": alarms + 2 * (missed - 0.5 * 0.5),
        "specificity_at_npv_loss": alarms + 2 * (0.5 * missed + 0.5 * (alarms - 0.5)),
        "recall_at_budget_loss": missed + 2 * (flagged + alarms - 0.5),
    }[case.name]
    assert value.item() == pytest.approx(expected, abs=1e-12)


@each_constrained
def test_an_error_pulls_its_score_to_the_right_side(case: Case) -> None:
    scores, labels, _ = sample(case, 50, ())
    slope = gradient(
        lambda x: gobj.lagrangian(x, labels, case.problem, 0.5, 0.0, surrogate=gobj.sigmoid()),
        scores,
    )
    assert (slope[labels == 0] >= 0).all()
    assert (slope[labels == 1] <= 0).all() or not case.goal.bounded_by_errors(0.5)


REFUSED = [
    ("logits", {"logits": torch.ones(4, dtype=torch.long)}),
    ("labels", {"labels": torch.ones(3)}),
    ("multiplier", {"multiplier": torch.ones(2)}),
    ("threshold", {"threshold": torch.ones(4)}),
    ("weights", {"weights": torch.ones(2)}),
    ("label_priors", {"label_priors": torch.ones(3)}),
]


@pytest.mark.parametrize(("argument", "change"), REFUSED, ids=[name for name, _ in REFUSED])
def test_the_lagrangian_refuses_other_shapes(argument: str, change: dict[str, Tensor]) -> None:
    arguments = {"logits": torch.ones(4), "labels": torch.ones(4), "multiplier": 1.0}
    arguments |= {"threshold": 0.0, "problem": gobj.tpr_at_fpr(0.1)}
    with pytest.raises(ValueError, match=rf"^lagrangian: `{argument}` must .+; got .+\.$"):
        gobj.lagrangian(**arguments | change)


def test_a_goal_with_two_errors_in_its_cost_is_a_problem_like_any_other() -> None:
    f = 0.6
    problem = gobj.Problem(
        gobj.LinearForm(false_negative=1.0, false_positive=1.0),
        gobj.LinearForm(false_negative=2 - f, false_positive=f, positives=2 * f - 2),
    )
    scores, labels = confusion(Counts(3, 2, 1, 5))
    got = gobj.lagrangian(scores, labels, problem, 0.7, 0.0, surrogate=gobj.zero_one)
    violation = f * (2 * 3 + 1 + 2) - 2 * 3
    assert got.item() == pytest.approx((1 + 2 + 0.7 * violation) / 11, abs=1e-12)


@each_constrained
def test_the_lagrangian_of_no_examples_is_zero(case: Case) -> None:
    nobody = torch.zeros(0, 2)
    assert gobj.lagrangian(nobody, nobody, case.problem, 3.0, 0.5).tolist() == [0, 0]
    weightless = {"weights": torch.zeros(4)}
    some = torch.ones(4, 2)
    assert gobj.lagrangian(some, some, case.problem, 3.0, 0.5, **weightless).tolist() == [0, 0]
