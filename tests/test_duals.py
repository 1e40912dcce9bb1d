"""Dual rules: what moves the multiplier and the threshold, and what the loss makes of them."""

import itertools
import math
import pickle
from collections.abc import Iterator
from typing import Any, NamedTuple

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional

import gobj
from tests import oracles
from tests.cases import Case, assert_same_state, each_constrained, gradient, leaves, sample
from tests.oracles import Counts, count
from tests.strategies import Batch, batches, multipliers, thresholds
from tests.tracked import Focused, Implicit

RECALL = gobj.recall_at_precision_loss
MET = torch.tensor([2.0, 1.0, -1.0, -2.0]), torch.tensor([1, 1, 0, 0])
VIOLATED = torch.tensor([2.0, 1.0, 1.0, 2.0]), torch.tensor([1, 0, 0, 0])


def placed(state: gobj.DualState, multiplier: float, threshold: float) -> gobj.DualState:
    """Put multiplier and threshold where they are wanted."""
    return state._replace(
        multiplier=torch.full_like(state.multiplier, multiplier),
        threshold=torch.full_like(state.threshold, threshold),
    )


def violation(case: Case, batch: Batch, threshold: float, target: float | None = None) -> float:
    """Count the violation as a share of the batch."""
    scores, labels, weights = (tensor.tolist() for tensor in batch)
    prices = case.goal.constraint(case.target[1] if target is None else target)
    return count(scores, labels, weights, threshold).priced(prices) / sum(weights)


def stream(
    seed: int, n: int, prior: float, gap: float, wrong: float = 0.0
) -> Iterator[tuple[Tensor, Tensor]]:
    """Draw batches of normal scores for ever, the positives' mean ``gap`` above the negatives'."""
    generator = torch.Generator().manual_seed(seed)
    while True:
        labels = torch.rand(n, generator=generator) < prior
        noise = torch.randn(n, generator=generator)
        yield noise + gap * labels + wrong, labels


class Steps(NamedTuple):
    """A rule, and the numbers that its next multiplier follows from."""

    rate: float
    proportional: float
    cap: float


# --- projected ascent ---------------------------------------------------------------------------


@each_constrained
@given(
    first=batches(labels=()),
    second=batches(labels=()),
    start=multipliers,
    threshold=thresholds,
    steps=st.builds(Steps, st.floats(0.01, 20), st.floats(0, 3), st.floats(0.5, 10)),
)
def test_ascent_follows_the_counted_violation(
    case: Case, first: Batch, second: Batch, start: float, threshold: float, steps: Steps
) -> None:
    rule = gobj.DualAscent(steps.rate, proportional=steps.proportional, cap=steps.cap)
    state = placed(gobj.init_state(rule=rule, dtype=torch.float64), start, threshold)
    expected, last = start, 0.0
    for batch in (first, second):
        _, state = case(batch.logits, batch.labels, state, weights=batch.weights, rule=rule)
        now = violation(case, batch, threshold)
        change = steps.rate * (now + steps.proportional * (now - last))
        expected, last = min(max(expected + change, 0.0), steps.cap), now
        assert state.multiplier.item() == pytest.approx(expected, rel=1e-9, abs=1e-9)
        assert state.threshold.item() == threshold


@each_constrained
@given(batch=batches(labels=()), start=multipliers, threshold=thresholds)
def test_ascent_on_the_surrogate_follows_the_bound(
    case: Case, batch: Batch, start: float, threshold: float
) -> None:
    rule = gobj.DualAscent(rate=0.3, signal="surrogate")
    state = placed(gobj.init_state(rule=rule, dtype=torch.float64), start, threshold)
    _, after = case(batch.logits, batch.labels, state, weights=batch.weights, rule=rule)
    columns = [tensor.tolist() for tensor in batch]
    prices = case.goal.constraint(case.target[1])
    bound = oracles.bounded(prices, *columns, threshold, oracles.bits)
    expected = max(start + 0.3 * bound, 0.0)
    assert after.multiplier.item() == pytest.approx(expected, rel=1e-9, abs=1e-9)


@each_constrained
@pytest.mark.parametrize("signal", ["exact", "surrogate"])
def test_the_threshold_descends_the_lagrangian_at_its_own_rate(case: Case, signal: Any) -> None:
    rule = gobj.DualAscent(rate=1e-6, signal=signal, threshold_rate=0.7)
    logits, labels, weights = sample(case, 30, ())
    state = placed(gobj.init_state(rule=rule, dtype=torch.float64), 1.7, 0.2)
    _, after = case(logits, labels, state, weights=weights, rule=rule)

    def value(cut: Tensor) -> Tensor:
        return gobj.lagrangian(logits, labels, case.problem, 1.7, cut, weights=weights)

    expected = state.threshold - 0.7 * gradient(value, state.threshold)
    torch.testing.assert_close(after.threshold, expected)
    assert value(after.threshold) < value(state.threshold)


@each_constrained
def test_the_loss_of_ascent_is_the_lagrangian_before_the_step(case: Case) -> None:
    rule = gobj.DualAscent(rate=5.0, threshold_rate=0.5)
    logits, labels, weights = sample(case, 30, ())
    state = placed(gobj.init_state(rule=rule, dtype=torch.float64), 1.7, 0.2)
    loss, _ = case(logits, labels, state, weights=weights, rule=rule)
    expected = gobj.lagrangian(logits, labels, case.problem, 1.7, 0.2, weights=weights)
    torch.testing.assert_close(loss, expected, rtol=1e-12, atol=1e-12)


def run(
    rule: gobj.DualRule, state: gobj.DualState, batch: tuple[Tensor, Tensor], times: int = 1
) -> gobj.DualState:
    """Let a rule see one batch several times."""
    for _ in range(times):
        _, state = RECALL(*batch, state, target_precision=0.9, rule=rule)
    return state


def test_a_satisfied_constraint_lowers_the_multiplier_to_zero_and_no_further() -> None:
    rule = gobj.DualAscent(rate=1.0)
    state = run(rule, gobj.init_state(rule=rule), MET)
    assert 0 < state.multiplier.item() < 1
    assert run(rule, state, MET, 100).multiplier.item() == 0


def test_nothing_winds_up_while_the_multiplier_stays_at_zero() -> None:
    rule = gobj.DualAscent(rate=1.0)
    rested = run(rule, gobj.init_state(rule=rule), MET, 200)
    fresh = placed(gobj.init_state(rule=rule), 0.0, 0.0)
    assert run(rule, rested, VIOLATED).multiplier.item() > 0
    assert run(rule, rested, VIOLATED).multiplier == run(rule, fresh, VIOLATED).multiplier


def test_nothing_winds_up_while_the_multiplier_stays_at_its_cap() -> None:
    rule = gobj.DualAscent(rate=1.0, cap=1.5)
    state = run(rule, gobj.init_state(rule=rule), VIOLATED, 200)
    assert state.multiplier.item() == 1.5
    assert run(rule, state, MET).multiplier.item() < 1.5


def test_the_proportional_term_answers_a_change_and_not_a_level() -> None:
    plain, damped = gobj.DualAscent(rate=0.1), gobj.DualAscent(rate=0.1, proportional=2.0)
    states = [run(rule, gobj.init_state(rule=rule), VIOLATED) for rule in (plain, damped)]
    jump = [state.multiplier.item() - 1 for state in states]
    assert jump[1] == pytest.approx(3 * jump[0], rel=1e-5)
    later = [
        run(rule, state, VIOLATED).multiplier.item() - state.multiplier.item()
        for rule, state in zip((plain, damped), states, strict=True)
    ]
    assert later[1] == pytest.approx(later[0], rel=1e-5)


def test_several_labels_keep_multipliers_of_their_own() -> None:
    rule = gobj.DualAscent(rate=1.0)
    scores = torch.stack([MET[0], VIOLATED[0]], 1)
    labels = torch.stack([MET[1], VIOLATED[1]], 1)
    _, state = RECALL(
        scores, labels, gobj.init_state((2,), rule=rule), target_precision=0.9, rule=rule
    )
    assert state.multiplier[0] < 1 < state.multiplier[1]


# --- frozen duals -------------------------------------------------------------------------------


@each_constrained
@pytest.mark.parametrize("kept", [gobj.ImplicitMultiplier(), gobj.DualAscent(), gobj.FrozenDual()])
def test_frozen_duals_return_the_state_of_any_rule_untouched(
    case: Case, kept: gobj.DualRule
) -> None:
    logits, labels, _ = sample(case)
    state = placed(gobj.init_state((3,), rule=kept), 2.0, -0.5)
    before = [leaf.clone() for leaf in leaves(state)]
    _, after = case(logits, labels, state, rule=gobj.FrozenDual())
    assert after is state
    torch.testing.assert_close(leaves(after), before, rtol=0, atol=0)


# --- the default rule: the threshold ------------------------------------------------------------


STREAMS = {
    "rare": (0.1, 2.5, 0.0),
    "far from zero": (0.3, 2.0, -7.0),
}


@each_constrained
@pytest.mark.parametrize(("prior", "gap", "shift"), STREAMS.values(), ids=STREAMS)
def test_the_threshold_comes_to_meet_the_counted_constraint(
    case: Case, prior: float, gap: float, shift: float
) -> None:
    state = gobj.init_state()
    source = stream(1, 512, prior, gap, shift)
    name, target = case.target
    if case.goal.numerator == Counts(true_negatives=1):
        target = max(target, 1 - prior / 2)  # above what clearing everybody gives
    late = []
    for index in range(400):
        scores, labels = next(source)
        _, state = case.function(scores, labels, state, **{name: target})
        if index >= 200:
            late.append(state.threshold.item())
    fresh = stream(2, 20_000, prior, gap, shift)
    scores, labels = (tensor.tolist() for tensor in next(fresh))
    counts = count(scores, labels, None, sum(late) / len(late))
    ratio = counts.priced(case.goal.numerator) / counts.priced(case.goal.denominator)
    assert ratio == pytest.approx(target, abs=0.02)


@each_constrained
@pytest.mark.parametrize("side", [-1, 1])
def test_the_threshold_moves_to_repair_what_it_violates(case: Case, side: int) -> None:
    _, target = case.target
    rises = case.goal.rises(target)
    state, source = placed(gobj.init_state(), 1.0, side * 2.0), stream(3, 400, 0.3, 1.0)
    scores, labels = next(source)
    batch = Batch(scores, labels.float(), torch.ones(400))
    violated = violation(case, batch, side * 2.0) > 0
    _, after = case.function(scores, labels, state, **dict([case.target]))
    assert (after.threshold > state.threshold).item() == (rises == violated)


@each_constrained
@given(seed=st.integers(0, 10_000), weighted=st.booleans(), dtype=st.sampled_from([32, 64]))
def test_a_threshold_beyond_all_scores_comes_back(
    case: Case, seed: int, weighted: bool, dtype: int
) -> None:
    kind = torch.float32 if dtype == 32 else torch.float64
    generator = torch.Generator().manual_seed(seed)
    n = 2 + seed % 40
    scores = torch.randn(n, generator=generator, dtype=kind)
    labels = torch.arange(n) % 2
    weights = torch.rand(n, generator=generator, dtype=kind) + 0.1 if weighted else None
    far = 20.0 if case.goal.rises(case.target[1]) else -20.0  # where a ratio has nothing to divide
    start = placed(gobj.init_state(dtype=kind), 1.0, far)
    _, after = case.function(scores, labels, start, **dict([case.target]), weights=weights)
    assert after.threshold.abs().item() < 20.0


@each_constrained
def test_the_threshold_settles_where_the_stream_does(case: Case) -> None:
    state, source = gobj.init_state(), stream(5, 512, 0.3, 2.0)
    path = []
    for _ in range(250):
        _, state = case.function(*next(source), state, **dict([case.target]))
        path.append(state.threshold.item())
    late = path[150:]
    assert max(late) - min(late) < 0.25
    assert max(abs(b - a) for a, b in itertools.pairwise(late)) < 0.06


@pytest.mark.parametrize("rule", [gobj.ImplicitMultiplier(), gobj.FocusedCrossEntropy()], ids=str)
def test_small_batches_have_the_rate_of_large_ones(rule: gobj.DualRule) -> None:
    draw, rate = torch.Generator().manual_seed(0), torch.zeros(64)
    state = gobj.init_state((64,), rule=rule)
    for step in range(2000):
        labels = (torch.rand(32, 64, generator=draw) < 0.2).float()
        scores = torch.randn(32, 64, generator=draw) + 1.5 * labels
        _, state = gobj.tpr_at_fpr_loss(scores, labels, state, target_fpr=0.05, rule=rule)
        if step == 100:  # by then it is near, if not yet there
            early = torch.special.ndtr(-state.threshold).mean().item()
            assert early == pytest.approx(0.05, rel=0.1)
        if step >= 500:
            rate += torch.special.ndtr(-state.threshold) / 1500  # of the negatives
    assert rate.mean().item() == pytest.approx(0.05, rel=0.02)  # one alarm or two in a batch


@each_constrained
def test_the_threshold_follows_a_stream_that_drifts(case: Case) -> None:
    state, shift = gobj.init_state(), 0.0
    name, target = case.target
    for index in range(250):
        shift = min(max(0.0, 0.04 * (index - 100)), 4.0)
        source = stream(index, 512, 0.3, 2.0, shift)
        _, state = case.function(*next(source), state, **{name: target})
    scores, labels = (tensor.tolist() for tensor in next(stream(9, 20_000, 0.3, 2.0, shift)))
    counts = count(scores, labels, None, state.threshold.item())
    ratio = counts.priced(case.goal.numerator) / counts.priced(case.goal.denominator)
    assert ratio == pytest.approx(target, abs=0.05)


@each_constrained
def test_labels_side_by_side_find_thresholds_of_their_own(case: Case) -> None:
    sources = [stream(11, 256, 0.3, 2.0), stream(12, 256, 0.2, 3.0, 1.0)]
    state, alone = gobj.init_state((2,)), [gobj.init_state(), gobj.init_state()]
    for _ in range(30):
        columns = [next(source) for source in sources]
        scores, labels = (torch.stack(parts, 1) for parts in zip(*columns, strict=True))
        _, state = case.function(scores, labels, state, **dict([case.target]))
        for label, column in enumerate(columns):
            _, alone[label] = case.function(*column, alone[label], **dict([case.target]))
    expected = torch.stack([single.threshold for single in alone])
    torch.testing.assert_close(state.threshold, expected, rtol=1e-4, atol=1e-4)


def test_an_infeasible_target_leaves_everything_finite() -> None:
    state, generator = gobj.init_state(), torch.Generator().manual_seed(0)
    for _ in range(300):
        scores = torch.randn(64, generator=generator)
        labels = torch.rand(64, generator=generator) < 0.2
        loss, state = RECALL(scores, labels, state, target_precision=0.99)
        assert loss.isfinite()
    assert all(leaf.isfinite().all() for leaf in leaves(state))
    assert 0 < state.threshold.item() < 20


# --- the default rule: the loss -----------------------------------------------------------------


def pulls(case: Case, rule: gobj.DualRule, batch: Any, state: gobj.DualState) -> Tensor:
    """Return what each score is pulled by, as a share of the batch."""
    logits, labels = batch

    def loss(scores: Tensor) -> Tensor:
        return case.function(scores, labels, state, **dict([case.target]), rule=rule)[0]

    return gradient(loss, logits)


@each_constrained
@pytest.mark.parametrize("share", [0.0, 0.2, 1.0])
def test_a_loss_pulls_as_hard_in_all_as_binary_cross_entropy(case: Case, share: float) -> None:
    rule = gobj.ImplicitMultiplier(cross_entropy_share=share)
    logits, labels, _ = sample(case, 200, ())
    start = gobj.init_state(rule=rule, dtype=torch.float64)
    slopes = pulls(case, rule, (logits, labels), start)
    plain = gradient(lambda x: functional.binary_cross_entropy_with_logits(x, labels), logits)
    torch.testing.assert_close(slopes.abs().sum(), plain.abs().sum())
    assert (slopes.sign() == plain.sign()).all()


@each_constrained
def test_both_classes_pull_alike(case: Case) -> None:
    rule = gobj.ImplicitMultiplier(cross_entropy_share=0.0)
    logits, labels, _ = sample(case, 200, ())
    state = placed(gobj.init_state(rule=rule, dtype=torch.float64), 1.0, 0.4)
    slopes = pulls(case, rule, (logits, labels), state)
    torch.testing.assert_close(slopes[labels > 0].sum(), -slopes[labels == 0].sum())


@each_constrained
@pytest.mark.parametrize("weighted", [False, True])
def test_a_share_of_one_is_binary_cross_entropy_at_some_scale(case: Case, weighted: bool) -> None:
    rule = gobj.ImplicitMultiplier(cross_entropy_share=1.0)
    logits, labels, weights = sample(case, 50, ())
    weights = weights if weighted else torch.ones_like(weights)
    state = gobj.init_state(rule=rule, dtype=torch.float64)
    loss, _ = case(logits, labels, state, rule=rule, weights=weights, reduction="none")
    plain = functional.binary_cross_entropy_with_logits(logits, labels, weights, reduction="none")
    scale = loss * weights.mean() / plain
    torch.testing.assert_close(scale, scale[:1].expand(50))
    assert 0.5 < scale[0] <= 1 + 1e-12


@each_constrained
def test_a_rare_class_does_not_give_one_example_more_than_a_bounded_pull(case: Case) -> None:
    rule = gobj.ImplicitMultiplier()
    for rare in (0, 1):
        labels = torch.full((2000,), 1 - rare)
        labels[0] = rare
        logits = torch.linspace(-2, 2, 2000, dtype=torch.float64)
        start = gobj.init_state(rule=rule, dtype=torch.float64)
        slopes = pulls(case, rule, (logits, labels), start) * 2000
        assert slopes.abs().max() < 2
        assert slopes.abs()[0] > 0.01


@each_constrained
def test_a_loss_is_never_negative(case: Case) -> None:
    state = gobj.init_state(dtype=torch.float64)
    for seed in range(5):
        logits, labels, _ = sample(case, 40, (), seed)
        losses, state = case(logits, labels, state, reduction="none")
        assert (losses >= 0).all()


@each_constrained
def test_training_on_the_loss_meets_the_target_and_beats_chance(case: Case) -> None:
    generator = torch.Generator().manual_seed(4)
    inputs = torch.randn(2000, 2, generator=generator)
    labels = (inputs[:, 0] + torch.randn(2000, generator=generator)) > 0.8
    coefficients = torch.zeros(2, requires_grad=True)
    optimizer = torch.optim.SGD([coefficients], lr=1.0)
    state = gobj.init_state()
    for _ in range(150):
        loss, state = case.function(inputs @ coefficients, labels, state, **dict([case.target]))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    scores = (inputs @ coefficients).tolist()
    counts = count(scores, labels.tolist(), None, state.threshold.item())
    ratio = counts.priced(case.goal.numerator) / counts.priced(case.goal.denominator)
    assert ratio == pytest.approx(case.target[1], abs=0.02)
    assert coefficients[0] > 3 * coefficients[1].abs()


# --- the default rule: the multiplier -----------------------------------------------------------


def misses_for_hits(form: gobj.LinearForm) -> tuple[gobj.LinearForm, gobj.LinearForm]:
    """Write what hits cost as what misses save, so that one density of positives remains."""
    saved = gobj.LinearForm(false_negative=form.true_positive)
    return form._replace(positives=form.positives + form.true_positive, true_positive=0.0), saved


@each_constrained
@pytest.mark.parametrize("threshold", [-0.5, 0.3, 1.0])
def test_the_multiplier_makes_the_threshold_stationary(case: Case, threshold: float) -> None:
    rule = gobj.ImplicitMultiplier()
    logits, labels, weights = sample(case, 200, ())
    state = placed(gobj.init_state(rule=rule, dtype=torch.float64), 1.0, threshold)
    _, after = case(logits, labels, state, weights=weights, rule=rule)
    price = after.multiplier.item()
    costs, saved = misses_for_hits(case.problem.constraint)

    def slope(price: float) -> float:
        def value(cut: Tensor) -> Tensor:
            options = {"weights": weights, "surrogate": rule.surrogate}
            problem, back = gobj.Problem(case.problem.cost, costs), gobj.Problem(saved, saved)
            charged = gobj.lagrangian(logits, labels, problem, price, cut, **options)
            return charged - price * gobj.lagrangian(logits, labels, back, 0.0, cut, **options)

        return gradient(value, torch.tensor(threshold, dtype=torch.float64)).item()

    if 0 < price < rule.cap:
        assert slope(price) == pytest.approx(0, abs=1e-9)
    else:  # no price between 0 and the cap balances the pulls
        assert slope(0.0) * slope(rule.cap) > 0


def test_most_multipliers_are_solved_and_not_capped() -> None:
    solved = 0
    for name in ("recall_at_precision_loss", "precision_at_recall_loss", "tpr_at_fpr_loss"):
        case = Case(name, "implicit")
        logits, labels, _ = sample(case, 200, ())
        state = placed(gobj.init_state(dtype=torch.float64), 1.0, 0.3)
        _, after = case(logits, labels, state)
        solved += 0 < after.multiplier.item() < 1e3
    assert solved == 3


@each_constrained
def test_a_stricter_target_has_a_price_at_least_as_high(case: Case) -> None:
    name, _ = case.target
    loose, strict = (0.75, 0.95) if case.goal.at_least else (0.4, 0.05)
    prices = []
    for target in (loose, strict):
        state, source = gobj.init_state(), stream(6, 512, 0.3, 2.0)
        for _ in range(150):
            _, state = case.function(*next(source), state, **{name: target})
        prices.append(state.multiplier.item())
    assert prices[0] < prices[1]


def test_a_price_that_nothing_balances_is_reported_as_the_cap() -> None:
    rule = gobj.ImplicitMultiplier(cap=7.0)
    scores = torch.zeros(100).double()
    labels = torch.arange(100) < 95  # so dense in positives that a higher cut lowers precision
    state = gobj.init_state(rule=rule, dtype=torch.float64)
    _, after = RECALL(scores, labels, state, target_precision=0.9, rule=rule)
    assert after.multiplier.item() == 7.0


# --- the default rule: averages -----------------------------------------------------------------


def test_the_first_batches_count_alike() -> None:
    case = Case("tpr_at_fpr_loss", "implicit")
    rule = gobj.ImplicitMultiplier(rate=0.01)
    parts = [sample(case, 50, (), seed)[:2] for seed in range(4)]
    state = gobj.init_state(rule=rule, dtype=torch.float64)
    held = state.threshold
    for logits, labels in parts:
        _, state = case(logits, labels, state._replace(threshold=held), rule=rule)
    whole = [torch.cat(column) for column in zip(*parts, strict=True)]
    once = gobj.init_state(rule=rule, dtype=torch.float64)
    _, once = case(*whole, once, rule=rule)
    torch.testing.assert_close(state.multiplier, once.multiplier)


def test_old_batches_fade_at_the_rate() -> None:
    case = Case("tpr_at_fpr_loss", "implicit")
    before, after = sample(case, 50, (), 1)[:2], sample(case, 50, (), 2)[:2]
    rule = gobj.ImplicitMultiplier(rate=0.5)
    start = gobj.init_state(rule=rule, dtype=torch.float64)

    def learn(first: Any, times: int) -> gobj.DualState:
        _, state = case(*first, start, rule=rule)
        for _ in range(times):
            _, state = case(*after, state._replace(threshold=start.threshold), rule=rule)
        return state

    gaps = [
        abs(learn(before, times).multiplier.item() - learn(after, times).multiplier.item())
        for times in (1, 6, 30)
    ]
    assert gaps[1] < 0.1 * gaps[0]
    assert gaps[2] < 1e-6


# --- rules as values ----------------------------------------------------------------------------


RULES = [
    gobj.ImplicitMultiplier(),
    gobj.ImplicitMultiplier(rate=0.2),
    gobj.DualAscent(),
    gobj.DualAscent(signal="surrogate"),
    gobj.FrozenDual(),
]


@pytest.mark.parametrize("rule", RULES, ids=repr)
def test_rules_are_values(rule: gobj.DualRule) -> None:
    twin = pickle.loads(pickle.dumps(rule))
    assert twin == rule
    assert hash(twin) == hash(rule)
    assert sum(other == rule for other in RULES) == 1
    with pytest.raises(AttributeError):
        rule.rate = 0.5  # type: ignore[attr-defined]


REFUSED: list[tuple[type[gobj.DualRule], str, list[Any]]] = [
    (gobj.DualAscent, "rate", [0.0, -1.0, math.nan, math.inf, "fast", True]),
    (gobj.DualAscent, "signal", ["counts", None]),
    (gobj.DualAscent, "proportional", [-0.1, math.nan]),
    (gobj.DualAscent, "cap", [0.0, -1.0, math.nan]),
    (gobj.DualAscent, "threshold_rate", [-0.1, math.nan]),
    (gobj.ImplicitMultiplier, "rate", [0.0, 1.5, math.nan]),
    (gobj.ImplicitMultiplier, "cross_entropy_share", [-0.1, 1.1, math.nan]),
    (gobj.ImplicitMultiplier, "cap", [0.0, -1.0, math.nan]),
]


@pytest.mark.parametrize(
    ("rule", "argument", "values"), REFUSED, ids=[f"{r[0].__name__}-{r[1]}" for r in REFUSED]
)
def test_rules_refuse_what_is_out_of_range(
    rule: type[gobj.DualRule], argument: str, values: list[Any]
) -> None:
    for value in values:
        with pytest.raises(ValueError, match=rf"^{rule.__name__}: `{argument}` must .+; got .+\.$"):
            rule(**{argument: value})


def test_rules_take_the_ends_of_closed_ranges() -> None:
    gobj.ImplicitMultiplier(rate=1.0, cross_entropy_share=0.0)
    rule = gobj.DualAscent(proportional=0.0, threshold_rate=0.0)
    assert (rule.proportional, rule.threshold_rate) == (0.0, 0.0)


@each_constrained
def test_a_surrogate_given_to_the_loss_goes_before_that_of_the_rule(case: Case) -> None:
    logits, labels, _ = sample(case)
    rule = gobj.ImplicitMultiplier()
    state = gobj.init_state((3,), rule=rule, dtype=torch.float64)
    by_default = case(logits, labels, state, rule=rule)
    by_name = case(logits, labels, state, rule=rule, surrogate=rule.surrogate)
    torch.testing.assert_close(by_name[0], by_default[0], rtol=0, atol=0)
    assert_same_state(by_name[1], by_default[1])
    ascent = gobj.DualAscent()
    state = gobj.init_state((3,), rule=ascent, dtype=torch.float64)
    first, _ = case(logits, labels, state, rule=ascent)
    second, _ = case(logits, labels, state, rule=ascent, surrogate=gobj.cross_entropy)
    torch.testing.assert_close(first, second, rtol=0, atol=0)


def test_a_constraint_that_flagging_nobody_breaks_is_repaired_downwards() -> None:
    cost = gobj.LinearForm(false_negative=1.0)
    least = gobj.Problem(cost, gobj.LinearForm(true_negative=1.0, negatives=-0.5))
    most = gobj.Problem(cost, gobj.LinearForm(false_positive=1.0, negatives=-0.5))
    assert (least.direction(), most.direction()) == (-1.0, 1.0)


def test_a_threshold_with_nothing_left_to_win_stays_by_the_scores() -> None:
    state = gobj.init_state()
    for seed in range(300):
        logits = torch.randn(64, generator=torch.Generator().manual_seed(seed))
        labels = torch.arange(64) < 32  # half are positive, so that any threshold is precise enough
        _, state = gobj.recall_at_precision_loss(logits, labels, state, target_precision=0.2)
    assert -6 < state.threshold.item() < -1


@each_constrained
@pytest.mark.parametrize("place", [0.0, 30.0, -30.0], ids=["amid", "above all", "below all"])
@pytest.mark.parametrize(
    ("prior", "spread", "gap"),
    [(0.03, 1.0, 1.0), (0.4, 1.0, 1.0), (0.4, 30.0, 10.0)],
    ids=["rare", "common", "apart"],
)
@pytest.mark.parametrize(
    ("rule", "equations"),
    [(gobj.ImplicitMultiplier(), Implicit), (gobj.FocusedCrossEntropy(), Focused)],
    ids=["implicit", "focus"],
)
def test_rules_follow_their_equations(
    case: Case,
    place: float,
    prior: float,
    spread: float,
    gap: float,
    rule: gobj.DualRule,
    equations: type[Implicit],
) -> None:
    problem = case.problem
    cost, constraint = (
        Counts(form.true_positive, form.false_positive, form.false_negative, form.true_negative)
        for form in problem[:2]
    )
    form = problem.constraint
    oracle = equations(
        cost, constraint, form.positives, form.negatives, problem.direction() == 1, place
    )
    state = gobj.init_state(rule=rule, dtype=torch.float64)
    state = state._replace(threshold=torch.tensor(place, dtype=torch.float64))
    draw = torch.Generator().manual_seed(0)
    for step in range(30):
        labels = (torch.rand(200, generator=draw) < prior).double()
        labels[0], labels[1], labels[2] = 1.0, 0.0, 0.3  # both classes, and a share of both
        noise = torch.randn(200, generator=draw).double()
        logits = (noise + gap * labels) * spread * (1 + step % 3)
        logits[3] = 1e6  # one that counts as less far
        weights = torch.rand(200, generator=draw).double()
        loss, state = case(logits, labels, state, weights=weights, rule=rule)
        rows = zip(logits.tolist(), labels.tolist(), weights.tolist(), strict=True)
        assert loss.item() == pytest.approx(oracle.batch(list(rows)), rel=1e-9)
        assert state.threshold.item() == pytest.approx(oracle.threshold, rel=1e-9, abs=1e-9)
        assert state.multiplier.item() == pytest.approx(oracle.multiplier, rel=1e-7)


@pytest.mark.parametrize("problem", [gobj.roc_auc(), gobj.average_precision()])
def test_the_anchors_of_an_area_share_the_loss_by_what_they_cost(problem: Any) -> None:
    draw = torch.Generator().manual_seed(0)
    rule = gobj.ImplicitMultiplier()
    state = gobj.init_state(anchors=3, rule=rule, dtype=torch.float64)
    for _ in range(5):
        labels = (torch.rand(200, generator=draw) < 0.3).double()
        logits = torch.randn(200, generator=draw).double() + labels
        _, state = gobj.constrained_loss(problem, logits, labels, state, rule=rule)
    state = state._replace(multiplier=torch.tensor([0.5, 2.0, 500.0]).double())
    at, bound = problem(state), rule.surrogate
    positive, negative, residual = state.statistics.averages[:, :3].unbind(-1)
    capped = state.multiplier.clamp(max=100)  # no anchor outweighs the others by more
    part = (at.cost.false_negative + capped * at.constraint.false_negative) * positive
    each = part / part.mean() * residual / 2
    ratios = each / positive, each / negative
    scale = min(1.2 / max(ratio.mean().item() for ratio in ratios), 1)
    distance = logits.unsqueeze(1) - state.previous_threshold
    bounds = torch.where(
        labels.unsqueeze(1) > 0, ratios[0] * bound(distance), ratios[1] * bound(-distance)
    )
    entropy = functional.binary_cross_entropy_with_logits(logits, labels)
    expected = scale * (0.8 * bounds.mean() + 0.2 * entropy)
    loss = gobj.weigh(problem, logits, labels, state, rule=rule)
    torch.testing.assert_close(loss, expected)


@pytest.mark.parametrize("anchors", [None, 3])
def test_the_first_batch_costs_its_cross_entropy_where_it_is_weighed_first(
    anchors: int | None,
) -> None:
    rule = gobj.ImplicitMultiplier(order="weigh_first")
    logits, labels = torch.linspace(-3, 3, 40), (torch.arange(40) > 25).float()
    problem: Any = gobj.tpr_at_fpr(0.1) if anchors is None else gobj.roc_auc()
    state = gobj.init_state(anchors=anchors, rule=rule)
    loss, _ = gobj.constrained_loss(problem, logits, labels, state, rule=rule)
    torch.testing.assert_close(loss, functional.binary_cross_entropy_with_logits(logits, labels))


@pytest.mark.parametrize("problem", [gobj.roc_auc(), gobj.average_precision()])
def test_the_focus_of_an_area_adds_up_what_a_miss_and_an_alarm_cost_there(problem: Any) -> None:
    draw, rule = torch.Generator().manual_seed(0), gobj.FocusedCrossEntropy()
    state = gobj.init_state(anchors=3, rule=rule, dtype=torch.float64)
    for _ in range(5):
        labels = (torch.rand(200, generator=draw) < 0.3).double()
        logits = torch.randn(200, generator=draw).double() + labels
        seen_from = state.threshold
        _, state = gobj.constrained_loss(problem, logits, labels, state, rule=rule)
    state = state._replace(multiplier=torch.tensor([0.5, 2.0, 500.0]).double())
    at, price = problem(state), state.multiplier.clamp(max=100)
    both = sum(
        cost + price * constraint
        for cost, constraint in zip(at.cost[:4], at.constraint[:4], strict=True)
    )
    kernel = 1 / (1 + (logits.unsqueeze(1) - seen_from) ** 2)
    near = (kernel * both).mean(1)
    size = (torch.sigmoid(logits / 2) - labels).abs()
    weight = 0.8 * near * size.mean() / (near * size).mean() + 0.2
    positives = state.statistics.averages[0, 2]
    balance = torch.where(labels > 0, (2 * positives).rsqrt(), (2 - 2 * positives).rsqrt())
    entropy = functional.binary_cross_entropy_with_logits(logits / 2, labels, reduction="none")
    expected = (weight * balance * 2 * entropy).mean()
    weighed = gobj.weigh(problem, logits, labels, state, rule=rule)
    torch.testing.assert_close(weighed, expected)


@pytest.mark.parametrize("prior", [0.05, 0.5])
@pytest.mark.parametrize("anchors", [None, 8])
def test_scores_trained_with_a_focus_read_as_probabilities(
    prior: float, anchors: int | None
) -> None:
    rule = gobj.FocusedCrossEntropy()
    problem: Any = gobj.average_precision() if anchors else gobj.tpr_at_fpr(0.1)
    state = gobj.init_state(anchors=anchors, rule=rule)
    draw = torch.Generator().manual_seed(0)
    slope, bias = torch.zeros(2, requires_grad=True), torch.zeros(1, requires_grad=True)
    odds = torch.tensor([1.5, -1.0])

    def batch(n: int) -> tuple[Tensor, Tensor]:
        features = torch.randn(n, 2, generator=draw)
        truth = torch.sigmoid(features @ odds + math.log(prior / (1 - prior)))
        return features, (torch.rand(n, generator=draw) < truth).float()

    optimizer = torch.optim.Adam([slope, bias], lr=0.1)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 300)
    for _ in range(300):
        features, labels = batch(1000)
        loss, state = gobj.constrained_loss(
            problem, features @ slope + bias, labels, state, rule=rule
        )
        optimizer.zero_grad()
        torch.autograd.backward(loss)
        optimizer.step()
        schedule.step()
    features, labels = batch(100_000)
    scores = (features @ slope + bias).detach()
    read = rule.probabilities(scores, state)
    for part in read.argsort().tensor_split(5):
        frequency = labels[part].mean().item()
        assert read[part].mean().item() == pytest.approx(frequency, rel=0.15, abs=0.005)
    plain = torch.sigmoid(scores)
    top = read.argsort()[-20_000:]
    assert abs(plain[top].mean() - labels[top].mean()) > 0.03  # what is not undone shows


@pytest.mark.parametrize("probability", [0.1, 0.7])
def test_scores_under_the_lagrangian_are_log_odds_shifted_by_prices_and_threshold(
    probability: float,
) -> None:
    missed, alarm, price, cut = 3.0, 0.5, 2.0, 0.4
    problem = gobj.Problem(gobj.LinearForm(missed), gobj.LinearForm(false_positive=alarm))
    shift = math.log(missed / (price * alarm)) + cut
    odds = math.log(probability / (1 - probability))
    best, labels = torch.tensor([[odds + shift], [probability]], dtype=torch.float64)
    slope = gradient(lambda x: gobj.lagrangian(x, labels, problem, price, cut).sum(), best)
    assert slope.item() == pytest.approx(0, abs=1e-12)
