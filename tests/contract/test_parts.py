"""The three steps: parts of a batch have the loss, the gradient and the next state of the whole."""

import functools
import itertools
import operator
from typing import Any

import pytest
import torch
from torch import Tensor

import gobj
from tests.cases import (
    STATEFUL,
    Case,
    assert_same_state,
    each_stateful,
    gradient,
    leaves,
    sample,
    warmed,
)

CUTS = {"uneven": [0, 3, 20], "with empty ones": [0, 0, 7, 7, 8, 20], "whole": [0, 20]}
each_cut = pytest.mark.parametrize("cuts", CUTS.values(), ids=CUTS)


def run_in_parts(
    case: Case, batch: list[Tensor], state: Any, cuts: list[int], **options: Any
) -> tuple[Tensor, Any]:
    """Observe all parts, update once, and add up what the parts weigh."""
    problem, rule = case.any_problem, case.rule
    parts = [[x[a:b] for x in batch] for a, b in itertools.pairwise(cuts)]

    def step(function: Any, part: list[Tensor], at: Any, **more: Any) -> Any:
        logits, labels, weights = part
        return function(problem, logits, labels, at, weights=weights, rule=rule, **options, **more)

    sums = functools.reduce(operator.add, [step(gobj.observe, part, state) for part in parts])
    after = gobj.update(problem, state, sums, rule=rule)
    at = after if rule.order == "update_first" else state
    losses = [step(gobj.weigh, part, at, total_weight=sums.weight) for part in parts]
    return torch.stack(losses).sum(), after


@each_stateful
@each_cut
@pytest.mark.parametrize("warm", [False, True])
@pytest.mark.parametrize("priors", [None, 0.3])
def test_parts_add_up_to_the_whole(
    case: Case, cuts: list[int], warm: bool, priors: float | None
) -> None:
    logits, labels, weights = sample(case)
    weights = weights.unsqueeze(1) * torch.tensor([1.0, 2.0, 0.5]).double()
    weights[:3, 1] = 0  # the first part has nothing of one label
    state = warmed(case, (3,)) if warm else case.start((3,))
    options = {} if priors is None else {"label_priors": priors}
    batch = [labels, weights]
    whole, after = case(logits, labels, state, weights=weights, **options)
    loss, joined = run_in_parts(case, [logits, *batch], state, cuts, **options)
    torch.testing.assert_close(loss, whole, rtol=1e-9, atol=1e-12)
    torch.testing.assert_close(leaves(joined), leaves(after), rtol=1e-9, atol=1e-12)
    slope = gradient(lambda x: case(x, labels, state, weights=weights, **options)[0], logits)
    in_parts = gradient(
        lambda x: run_in_parts(case, [x, *batch], state, cuts, **options)[0], logits
    )
    torch.testing.assert_close(in_parts, slope, rtol=1e-9, atol=1e-12)


@each_stateful
def test_weighing_and_observing_move_nothing(case: Case) -> None:
    logits, labels, _ = sample(case)
    state = warmed(case, (3,))
    before = [leaf.clone() for leaf in leaves(state)]
    first = gobj.weigh(case.any_problem, logits, labels, state, rule=case.rule)
    gobj.observe(case.any_problem, logits, labels, state, rule=case.rule)
    again = gobj.weigh(case.any_problem, logits, labels, state, rule=case.rule)
    torch.testing.assert_close(leaves(state), before, rtol=0, atol=0)
    torch.testing.assert_close(again, first, rtol=0, atol=0)


@each_stateful
def test_a_loss_is_its_three_steps_in_the_order_of_its_rule(case: Case) -> None:
    logits, labels, _ = sample(case)
    state = warmed(case, (3,))
    loss, after = gobj.constrained_loss(case.any_problem, logits, labels, state, rule=case.rule)
    sums = gobj.observe(case.any_problem, logits, labels, state, rule=case.rule)
    assert_same_state(gobj.update(case.any_problem, state, sums, rule=case.rule), after)
    at = after if case.rule.order == "update_first" else state
    weighed = gobj.weigh(case.any_problem, logits, labels, at, rule=case.rule)
    torch.testing.assert_close(weighed, loss, rtol=1e-12, atol=1e-12)
    named, named_after = case(logits, labels, state)
    torch.testing.assert_close(named, loss, rtol=0, atol=0)
    assert_same_state(named_after, after)


@each_stateful
def test_the_loss_of_an_example_does_not_depend_on_the_others(case: Case) -> None:
    logits, labels, _ = sample(case)
    state = warmed(case, (3,))

    def losses(rows: slice) -> Tensor:
        each = gobj.weigh(
            case.any_problem, logits[rows], labels[rows], state, rule=case.rule, reduction="none"
        )
        return each / len(each)  # of a mean over that many

    torch.testing.assert_close(losses(slice(4, 9)) * 5, losses(slice(None))[4:9] * 20)


@each_stateful
def test_sums_have_the_shape_of_the_points_and_no_gradient(case: Case) -> None:
    logits, labels, _ = sample(case)
    state = warmed(case, (3,))
    leaf = logits.requires_grad_()
    sums = gobj.observe(case.any_problem, leaf, labels, state, rule=case.rule)
    assert {x.shape for x in leaves(sums)} == {state.threshold.shape}
    assert not any(x.requires_grad for x in leaves(sums))


@each_stateful
def test_a_threshold_that_moved_is_that_of_the_next_batch(case: Case) -> None:
    logits, labels, _ = sample(case)
    state = warmed(case, (3,))
    _, after = case(logits, labels, state)
    torch.testing.assert_close(after.previous_threshold, state.threshold, rtol=0, atol=0)


@pytest.mark.parametrize(
    ("argument", "wrong"),
    [
        ("problem", gobj.LinearForm()),
        ("state", gobj.init_state(anchors=3)),
        ("state", gobj.init_state(rule=gobj.DualAscent())),
        ("rule", 0.1),
        ("surrogate", torch.relu),
    ],
    ids=["a form", "a state of an area", "a state of another rule", "a number", "a function"],
)
def test_what_does_not_fit_is_refused(argument: str, wrong: Any) -> None:
    given: dict[str, Any] = {
        "problem": gobj.tpr_at_fpr(0.1),
        "logits": torch.zeros(4),
        "labels": torch.ones(4),
        "state": gobj.init_state(),
        argument: wrong,
    }
    for function in (gobj.constrained_loss, gobj.weigh, gobj.observe):
        message = rf"^{function.__name__}: `{argument}` must .+; got .+\.$"
        with pytest.raises(ValueError, match=message):
            function(**given)


def test_an_area_wants_a_state_with_anchors() -> None:
    with pytest.raises(ValueError, match=r"^roc_auc_loss: `state` must come from .+anchors"):
        gobj.roc_auc_loss(torch.zeros(4), torch.ones(4), gobj.init_state())


def test_only_sums_update_a_state() -> None:
    with pytest.raises(ValueError, match=r"^update: `sums` must come from gobj.observe; got .+"):
        gobj.update(gobj.tpr_at_fpr(0.1), gobj.init_state(), torch.ones(3))


def test_an_update_wants_the_state_of_its_problem() -> None:
    sums = gobj.observe(gobj.tpr_at_fpr(0.1), torch.ones(3), torch.ones(3), gobj.init_state())
    with pytest.raises(ValueError, match=r"^update: `state` must come from .+anchors"):
        gobj.update(gobj.roc_auc(), gobj.init_state(), sums)


@pytest.mark.parametrize("event", ["false_negative", "true_positive"])
def test_a_reward_has_to_be_written_as_a_cost(event: str) -> None:
    form = gobj.LinearForm(**{event: -1.0}, positives=0.8)
    batch, price = (torch.ones(4), torch.ones(4)), (1.0, 0.0)
    for problem, part in (
        (gobj.Problem(form, gobj.LinearForm(false_positive=1.0)), "cost"),
        (gobj.Problem(gobj.LinearForm(false_positive=1.0), form), "constraint"),
    ):
        message = rf": `{part}.{event}` must .+; got -1.0\.$"
        with pytest.raises(ValueError, match="^constrained_loss" + message):
            gobj.constrained_loss(problem, *batch, gobj.init_state())
        with pytest.raises(ValueError, match="^lagrangian" + message):
            gobj.lagrangian(*batch, problem, *price)


def test_a_problem_has_two_forms() -> None:
    problem: Any = gobj.Problem(gobj.LinearForm(false_negative=1.0), None)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"`problem` must have .+ its constraint; got None\.$"):
        gobj.constrained_loss(problem, torch.ones(4), torch.ones(4), gobj.init_state())


@pytest.mark.parametrize("total", [36, torch.tensor(36.0), torch.full((2,), 36.0)], ids=repr)
def test_the_weight_of_the_whole_may_be_a_number(total: Any) -> None:
    batch = torch.linspace(-1, 1, 18).view(9, 2), torch.arange(18).view(9, 2) > 6
    batch = gobj.tpr_at_fpr(0.1), *batch, gobj.init_state((2,))
    torch.testing.assert_close(4 * gobj.weigh(*batch, total_weight=total), gobj.weigh(*batch))


@pytest.mark.parametrize(
    ("total", "reduction"),
    [(torch.ones(3), "mean"), (torch.ones(2, 7), "mean"), (9.0, "none"), (9.0, "sum")],
)
def test_a_weight_of_the_whole_has_to_fit(total: Any, reduction: Any) -> None:
    batch = gobj.tpr_at_fpr(0.1), torch.ones(9, 2), torch.ones(9, 2), gobj.init_state((2,))
    with pytest.raises(ValueError, match=r"^weigh: `total_weight` must be .+; got .+\.$"):
        gobj.weigh(*batch, reduction=reduction, total_weight=total)


@each_stateful
def test_a_batch_weighs_at_the_next_state_what_it_cost(case: Case) -> None:
    logits, labels, _ = sample(case)
    state = warmed(case, (3,))
    loss, after = case(logits, labels, state)
    at = after if case.rule.order == "update_first" else state
    for rule in (case.rule, case.rule.frozen()):
        weighed = gobj.weigh(case.any_problem, logits, labels, at, rule=rule)
        torch.testing.assert_close(weighed, loss)
    still, same = gobj.constrained_loss(
        case.any_problem, logits, labels, at, rule=case.rule.frozen()
    )
    torch.testing.assert_close(still, loss)
    assert same is at


@pytest.mark.parametrize("rounded", [0.7 - 1, -0.3], ids=["computed", "written"])
@pytest.mark.parametrize("whole", [float, torch.tensor], ids=["numbers", "tensors"])
def test_the_direction_of_a_problem_is_found_in_spite_of_rounding(
    rounded: float, whole: Any
) -> None:
    form = gobj.LinearForm(whole(1 - 0.7), whole(0.7), positives=whole(rounded))
    assert gobj.Problem(gobj.LinearForm(1.0), form).direction() == 1


@pytest.mark.parametrize("rule", [gobj.ImplicitMultiplier(), gobj.DualAscent()], ids=str)
def test_coefficients_take_the_dtype_of_the_scores_and_have_to_fit(rule: gobj.DualRule) -> None:
    target = torch.tensor([0.9, 0.8], dtype=torch.float64)
    logits, labels = torch.linspace(-1, 1, 8).view(4, 2), torch.arange(8).view(4, 2) > 4
    state = gobj.init_state((2,), rule=rule)
    loss, after = gobj.constrained_loss(
        gobj.recall_at_precision(target), logits, labels, state, rule=rule
    )
    named, same = gobj.recall_at_precision_loss(
        logits, labels, state, target_precision=target, rule=rule
    )
    assert loss.dtype is torch.float32
    torch.testing.assert_close(loss, named)
    torch.testing.assert_close(leaves(after), leaves(same))
    with pytest.raises(ValueError, match=r"`problem` must have coefficients that broadcast to"):
        gobj.constrained_loss(
            gobj.recall_at_precision(target[[0, 1, 1]]), logits, labels, state, rule=rule
        )


def test_sums_add_up_as_numbers_do() -> None:
    problem, state = gobj.tpr_at_fpr(0.1), gobj.init_state()
    parts = [(torch.linspace(-1, 1, n), torch.arange(n) > 2) for n in (4, 5, 6)]
    first, second, third = (gobj.observe(problem, *part, state) for part in parts)
    for one, other in zip(
        leaves(sum((first, second, third))), leaves(first + second + third), strict=True
    ):
        assert torch.equal(one, other)
    assert sum((first, second, third)).weight == 15


def test_sums_count_the_four_events() -> None:
    logits, labels = torch.tensor([2.0, 1.0, -1.0, -2.0, 0.5]), torch.tensor([1, 0, 1, 0, 0])
    sums = gobj.observe(gobj.tpr_at_fpr(0.1), logits, labels, gobj.init_state())
    hits, alarms = sums.true_positives, sums.false_positives
    assert (hits, alarms, sums.false_negatives, sums.true_negatives) == (1, 2, 1, 1)
    form = gobj.LinearForm(1.0, 10.0, 100.0, 1000.0)
    assert sums.of_events(form) == 1 + 20 + 100 + 1000


@pytest.mark.parametrize("surrogate", [gobj.cross_entropy, gobj.squared_hinge], ids=str)
def test_each_event_is_charged_by_its_own_bound(surrogate: gobj.Surrogate) -> None:
    logits, labels, weights = sample(STATEFUL[0], 30, ())
    form = gobj.LinearForm(1.0, 2.0, 4.0, 8.0)
    problem = gobj.Problem(form, gobj.LinearForm())
    got = gobj.lagrangian(logits, labels, problem, 1.0, 0.3, weights=weights, surrogate=surrogate)
    expected = 0.0
    for f, y, w in zip(logits.tolist(), labels.tolist(), weights.tolist(), strict=True):
        below, above = (surrogate(torch.tensor(x).double()).item() for x in (f - 0.3, 0.3 - f))
        expected += w * (y * (below + 4 * above) + (1 - y) * (8 * below + 2 * above))
    assert got.item() == pytest.approx(expected / weights.sum().item())
