"""Defects of earlier systems that could return here; the ids are the rows of the list of them."""

import functools
import math
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.autograd import forward_ad
from torch.nn import functional

import gobj
import gobj.nn
from tests.cases import (
    Case,
    assert_same_state,
    changed,
    each_constrained,
    each_loss,
    gradient,
    leaves,
    sample,
    warmed,
)
from tests.oracles import count

RULE = gobj.DualAscent(rate=1.0)


def row(number: int) -> pytest.MarkDecorator:
    """Name the row of a regression test in its id."""
    return pytest.mark.parametrize((), [()], ids=[f"row {number}"])


def at(multiplier: float, threshold: float = 0.0, **options: Any) -> gobj.DualState:
    """Make a state with a multiplier and a threshold."""
    state = gobj.init_state(dtype=torch.float64, rule=RULE, **options)
    return state._replace(
        multiplier=torch.full_like(state.multiplier, multiplier),
        threshold=torch.full_like(state.threshold, threshold),
    )


def violated(case: Case) -> tuple[Tensor, Tensor]:
    """Return a batch that violates the constraint of a case at threshold 0."""
    for flip in (1.0, -1.0):
        scores = flip * torch.tensor([2.0, 1.0, 0.5, 3.0], dtype=torch.float64)
        labels = torch.tensor([1, 0, 1, 0])
        prices = case.goal.constraint(case.target[1])
        if count(scores.tolist(), labels.tolist()).priced(prices) > 0:
            return scores, labels
    raise AssertionError(case)


def met(case: Case) -> tuple[Tensor, Tensor]:
    """Return a batch that meets the constraint of a case at threshold 0 with room to spare."""
    labels = torch.tensor([1, 0, 1, 0])
    scores = torch.where(labels > 0, 9.0, -9.0).double()
    return scores - 20 * (case.name == "recall_at_budget_loss"), labels


@row(1)
@pytest.mark.parametrize("optimizer", [torch.optim.Adam, torch.optim.AdamW, torch.optim.SGD])
def test_the_users_optimiser_never_moves_the_multiplier(optimizer: Any) -> None:
    model, criterion = nn.Linear(2, 1), gobj.nn.RecallAtPrecisionLoss(0.9)
    assert len(list(criterion.parameters())) == 0
    trained = optimizer([*model.parameters(), *criterion.parameters()], lr=0.1, weight_decay=0.5)
    inputs, labels = torch.randn(50, 2), torch.randn(50, 1) > 0
    criterion(model(inputs), labels).backward()
    before = changed(criterion.state, torch.clone)
    nn.utils.clip_grad_norm_([*model.parameters(), *criterion.parameters()], 0.01)
    trained.step()
    assert_same_state(criterion.state, before)


@row(1)
def test_the_classical_mode_says_that_adam_ignores_its_factor() -> None:
    text = gobj.nn.StatefulLoss.__doc__ or ""
    assert "to Adam it does nothing" in " ".join(text.split())
    paths = []
    for factor in (0.01, 1.0):
        criterion = gobj.nn.PRLoss(target_recall=0.9, dual_rate_factor=factor)
        adam = torch.optim.Adam(criterion.lambda_parameters(), lr=0.1)
        criterion(torch.tensor([-1.0, 1.0]), torch.tensor([1.0, 0.0])).backward()
        adam.step()
        paths.append(criterion.multiplier.item())
    assert paths[0] == pytest.approx(paths[1], rel=1e-4)


@row(2)
@each_constrained
def test_a_multiplier_of_zero_leaves_zero_under_violation(case: Case) -> None:
    _, after = case(*violated(case), at(0.0), rule=RULE)
    assert after.multiplier > 0
    name, target = case.target
    criterion = case.module(**{name: target}, dual_rate_factor=0.5).double()
    with torch.no_grad():
        criterion.multiplier.zero_()
    criterion(*violated(case)).backward()
    assert criterion.multiplier.grad < 0  # descent raises it


@row(2)
@each_constrained
def test_a_multiplier_near_zero_is_projected_and_not_reflected(case: Case) -> None:
    _, after = case(*met(case), at(1e-4), rule=gobj.DualAscent(rate=10.0))
    assert after.multiplier.item() == 0


@row(3)
@each_constrained
@pytest.mark.parametrize("factor", [1e-3, 1e3])
def test_the_scale_of_weights_does_not_turn_the_dual(case: Case, factor: float) -> None:
    logits, labels, weights = sample(case, 40, ())
    _, plain = case(logits, labels, at(1.0), weights=weights, rule=RULE)
    _, scaled = case(logits, labels, at(1.0), weights=weights * factor, rule=RULE)
    torch.testing.assert_close(scaled.multiplier, plain.multiplier)


@row(3)
@each_constrained
def test_padding_without_weight_is_not_charged(case: Case) -> None:
    logits, labels, _ = sample(case, 40, ())
    padded = torch.cat([logits, torch.zeros(60)]), torch.cat([labels, torch.zeros(60)])
    weights = torch.cat([torch.ones(40), torch.zeros(60)])
    for rule in (RULE, gobj.ImplicitMultiplier()):
        start = gobj.init_state(dtype=torch.float64, rule=rule)
        loss, after = case(*padded, start, weights=weights, rule=rule)
        expected, expected_after = case(logits, labels, start, rule=rule)
        torch.testing.assert_close(loss, expected)
        torch.testing.assert_close(leaves(after), leaves(expected_after))


@row(4)
@each_constrained
def test_bounds_use_the_threshold_of_the_loss(case: Case) -> None:
    logits, labels, _ = sample(case, 40, ())
    for form in case.problem[:2]:
        held = gobj.Problem(form, gobj.LinearForm())
        values = [gobj.lagrangian(logits, labels, held, 1.0, cut).item() for cut in (0.0, 1.0)]
        assert values[0] != values[1]


@row(5)
@each_constrained
def test_a_long_past_does_not_outweigh_the_present(case: Case) -> None:
    state, generator = gobj.init_state(), torch.Generator().manual_seed(0)
    name, target = case.target
    for shift in [0.0] * 300 + [3.0] * 100:
        labels = torch.rand(256, generator=generator) < 0.3
        scores = torch.randn(256, generator=generator) + 2 * labels + shift
        _, state = case.function(scores, labels, state, **{name: target})
        if shift == 0:
            old = state.threshold.item()
    assert state.threshold.item() - old == pytest.approx(3.0, abs=0.4)


@row(5)
@each_constrained
def test_evaluation_leaves_what_was_counted_alone(case: Case) -> None:
    name, target = case.target
    criterion = case.module(**{name: target}).eval()
    before = {key: value.clone() for key, value in criterion.state_dict().items()}
    criterion(torch.randn(20), torch.ones(20))
    torch.testing.assert_close(criterion.state_dict(), before, rtol=0, atol=0)


@row(5)
@each_constrained
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
def test_half_precision_batches_are_counted_in_single_precision(
    case: Case, dtype: torch.dtype
) -> None:
    n = 5000  # above what either of the half precisions counts to
    labels = torch.arange(n) % 10 == 0
    scores = (torch.arange(n) % 7 - 3).to(dtype)
    start = gobj.init_state(rule=RULE)
    _, after = case(scores, labels, start, rule=RULE)
    prices = case.goal.constraint(case.target[1])
    share = count(scores.tolist(), labels.tolist()).priced(prices) / n
    assert after.multiplier.item() == pytest.approx(max(1 + share, 0), abs=1e-5)


@row(7)
def test_cross_entropy_has_slope_one_half_at_margin_zero() -> None:
    slope = gradient(gobj.cross_entropy, torch.tensor(0.0, dtype=torch.float64))
    assert slope.item() == pytest.approx(-0.5 / math.log(2), rel=1e-12)


@row(7)
def test_cross_entropy_keeps_its_tail() -> None:
    cost = gobj.cross_entropy(torch.tensor([40.0, 100.0, 700.0], dtype=torch.float64))
    expected = torch.tensor([-40.0, -100.0, -700.0], dtype=torch.float64).exp() / math.log(2)
    torch.testing.assert_close(cost, expected, rtol=1e-12, atol=0)


@row(8)
@each_constrained
def test_training_returns_where_to_cut(case: Case) -> None:
    state = warmed(case, (2,), batches=30)
    assert state.threshold.shape == (2,)
    assert state.threshold.isfinite().all()
    assert (state.threshold != 0).all()


@row(9)
def test_positives_weigh_one_plus_the_multiplier_times_one_minus_the_precision() -> None:
    score, label = torch.tensor([0.0], dtype=torch.float64), torch.tensor([1])
    value = gobj.lagrangian(score, label, gobj.recall_at_precision(0.9), 1.0, 0.0)
    constant = -1.0 * (1 - 0.9) * 1.0
    assert value.item() - constant == pytest.approx(1 + 1.0 * (1 - 0.9))


@row(9)
@pytest.mark.parametrize("surrogate", [gobj.cross_entropy, gobj.hinge, gobj.squared_hinge], ids=str)
def test_a_surrogate_is_a_bound_without_help_of_the_loss(surrogate: gobj.Surrogate) -> None:
    assert surrogate(torch.tensor(0.0)).item() == pytest.approx(1.0)


@row(9)
@each_constrained
def test_multipliers_outlive_the_call_and_receive_a_gradient(case: Case) -> None:
    logits, labels, _ = sample(case, 40, ())
    price = torch.tensor(1.0, dtype=torch.float64, requires_grad=True)
    gobj.lagrangian(logits, labels, case.problem, price, 0.0).backward()
    held = gobj.Problem(gobj.LinearForm(), case.problem.constraint)
    torch.testing.assert_close(price.grad, gobj.lagrangian(logits, labels, held, 1.0, 0.0))
    name, target = case.target
    criterion = case.module(**{name: target}, dual_rate_factor=1.0).double()
    first = criterion.multiplier
    criterion(logits, labels).backward()
    assert criterion.multiplier is first
    assert first.grad is not None


@row(9)
@each_constrained
def test_two_hundred_satisfied_steps_need_one_violated_one(case: Case) -> None:
    state = at(1.0)
    for _ in range(200):
        _, state = case(*met(case), state, rule=RULE)
    assert state.multiplier == 0
    _, state = case(*violated(case), state, rule=RULE)
    assert state.multiplier > 0


@row(9)
@each_constrained
def test_a_row_of_scores_is_reduced(case: Case) -> None:
    name, target = case.target
    criterion = case.module(**{name: target})
    assert criterion(torch.randn(6), torch.ones(6)).shape == ()
    assert case(torch.randn(6), torch.ones(6), case.start())[0].shape == ()


@row(9)
def test_the_names_of_the_seed_are_spelt_right() -> None:
    criterion = gobj.nn.PRLoss(target_recall=0.95)
    assert len(list(criterion.lambda_parameters())) == 1
    assert isinstance(criterion(torch.randn(4, 1), torch.ones(4, 1)), Tensor)


@row(9)
@each_constrained
@pytest.mark.parametrize("dtype", [torch.bool, torch.uint8, torch.int64], ids=str)
def test_labels_need_not_be_floats(case: Case, dtype: torch.dtype) -> None:
    name, target = case.target
    labels = torch.tensor([1, 0, 1, 0]).to(dtype)
    assert case.module(**{name: target})(torch.randn(4), labels).isfinite()


@row(10)
@each_constrained
@pytest.mark.parametrize("value", [-3.0, 0.0, 3.0])
@pytest.mark.parametrize("only", [None, 0, 1])
def test_equal_scores_and_single_classes_give_numbers(
    case: Case, value: float, only: int | None
) -> None:
    scores = torch.full((6,), value, dtype=torch.float64)
    labels = torch.arange(6) % 2 if only is None else torch.full((6,), only)
    for rule in (RULE, gobj.ImplicitMultiplier()):
        state = gobj.init_state(dtype=torch.float64, rule=rule)
        for _ in range(3):
            loss, state = case(scores, labels, state, rule=rule)
            assert loss.isfinite()
        assert all(leaf.isfinite().all() for leaf in leaves(state))


@row(10)
def test_a_cost_of_exactly_zero_counts_in_the_mean() -> None:
    scores, labels = torch.tensor([5.0, 5.0, 5.0, -1.0]).double(), torch.tensor([1, 1, 1, 1])
    held = gobj.Problem(gobj.LinearForm(false_negative=1.0), gobj.LinearForm())
    value = gobj.lagrangian(scores, labels, held, 0.0, 0.0, surrogate=gobj.hinge)
    assert value.item() == pytest.approx(2 / 4)  # one cost of 2, three of 0


@row(13)
@each_constrained
def test_nothing_that_a_module_carries_is_missing_from_its_checkpoint(case: Case) -> None:
    name, target = case.target
    criterion = case.module(**{name: target}, num_labels=2)
    criterion(torch.randn(20, 2), torch.randn(20, 2) > 0)
    saved = list(criterion.state_dict().values())
    for leaf in leaves(criterion.state):
        assert any(torch.equal(leaf, tensor) for tensor in saved)
    assert len(saved) >= len(leaves(criterion.state))


@row(14)
@each_constrained
@pytest.mark.parametrize("wide", ["labels", "weights"])
def test_a_row_and_a_column_do_not_make_a_matrix(case: Case, wide: str) -> None:
    arguments = {"labels": torch.ones(5), "weights": torch.ones(5)}
    arguments[wide] = torch.ones(5, 1)
    with pytest.raises(ValueError, match=f"`{wide}` must"):
        case(torch.zeros(5), arguments.pop("labels"), case.start(), **arguments)


@row(15)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_cross_entropy_does_not_overflow(dtype: torch.dtype) -> None:
    margins = torch.tensor([-200.0, -1e4], dtype=dtype)
    expected = torch.tensor([200.0, 1e4], dtype=dtype) / math.log(2)
    torch.testing.assert_close(gobj.cross_entropy(margins), expected)


@row(16)
@each_constrained
def test_the_default_loss_can_be_watched_as_it_falls(case: Case) -> None:
    generator = torch.Generator().manual_seed(0)
    inputs = torch.randn(500, 2, generator=generator)
    labels = inputs[:, 0] + 0.3 * torch.randn(500, generator=generator) > 0.5
    model = nn.Linear(2, 1)
    nn.init.zeros_(model.weight)
    optimizer, state, losses = torch.optim.SGD(model.parameters(), lr=0.5), case.start(), []
    for _ in range(60):
        loss, state = case(model(inputs).squeeze(1), labels, state)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert min(losses) >= 0
    assert losses[-1] < 0.8 * losses[0]


@row(17)
@each_constrained
def test_any_sampler_optimiser_and_order_will_do(case: Case) -> None:
    logits, labels, _ = sample(case, 40, ())
    order = torch.randperm(40)
    loss, after = case(logits, labels, case.start())
    shuffled, shuffled_after = case(logits[order], labels[order], case.start())
    torch.testing.assert_close(shuffled, loss)
    torch.testing.assert_close(leaves(shuffled_after), leaves(after))


@row(18)
@each_constrained
def test_a_label_without_positives_stands_beside_others_under_vmap(case: Case) -> None:
    logits, labels, _ = sample(case)
    labels[:, 1] = 0
    native, _ = case(logits, labels, case.start((3,)))
    mapped, _ = torch.vmap(case, in_dims=(1, 1, 0))(logits, labels, case.start((3,)))
    torch.testing.assert_close(mapped.mean(), native)


@row(23)
@each_constrained
def test_weights_of_examples_and_of_labels_multiply(case: Case) -> None:
    logits, labels, weights = sample(case)
    of_labels = torch.tensor([1.0, 2.0, 0.5], dtype=torch.float64)
    both = weights.unsqueeze(1) * of_labels
    each, _ = case(logits, labels, case.start((3,)), weights=both, reduction="none")
    alone, _ = case(logits, labels, case.start((3,)), weights=weights, reduction="none")
    torch.testing.assert_close(each, alone)  # a label's own scale is no matter to its rates


@row(24)
@each_constrained
def test_an_infeasible_target_gives_a_threshold(case: Case) -> None:
    generator = torch.Generator().manual_seed(0)
    target = 0.999 if case.goal.at_least else 0.001
    state = gobj.init_state()
    for _ in range(150):
        scores = torch.randn(64, generator=generator)
        labels = torch.rand(64, generator=generator) < 0.2
        _, state = case.function(scores, labels, state, **{case.target[0]: target})
    assert all(leaf.isfinite().all() for leaf in leaves(state))
    assert state.threshold.abs() < 50


@row(24)
@each_constrained
def test_the_threshold_heeds_the_weights(case: Case) -> None:
    generator = torch.Generator().manual_seed(0)
    plain = heavy = gobj.init_state()
    for _ in range(60):
        labels = torch.rand(256, generator=generator) < 0.4
        scores = torch.randn(256, generator=generator) + 1.5 * labels
        weights = functional.relu(scores) + 0.1
        named = dict([case.target])
        _, plain = case.function(scores, labels, plain, **named)
        _, heavy = case.function(scores, labels, heavy, **named, weights=weights)
    assert abs(plain.threshold.item() - heavy.threshold.item()) > 0.1


def frozen_area(thresholds: Tensor, anchors: Tensor) -> gobj.AreaState:
    """Make a state of an area whose duals stay."""
    start = gobj.init_state(anchors=anchors, rule=gobj.FrozenDual(), dtype=torch.float64)
    return start._replace(threshold=thresholds.double())


@row(25)
@pytest.mark.parametrize(
    ("surrogate", "size", "spread"),
    [(gobj.cross_entropy, 1000.0, 1000.0), (gobj.sigmoid(0.01), 1.0, 4.0)],
    ids=["scores far apart", "a narrow surrogate"],
)
def test_anchors_count_however_far_apart_their_thresholds_are(
    surrogate: gobj.Surrogate, size: float, spread: float
) -> None:
    generator = torch.Generator().manual_seed(0)
    scores = torch.randn(2000, generator=generator, dtype=torch.float64) * size
    labels = torch.rand(2000, generator=generator) < 0.3
    cuts, rates = torch.linspace(-spread, spread, 8).double(), torch.linspace(0.1, 0.9, 8).double()
    options = {"surrogate": surrogate, "rule": gobj.FrozenDual()}

    def area(scores: Tensor) -> Tensor:
        return gobj.roc_auc_loss(scores, labels, frozen_area(cuts, rates), **options)[0]

    def one_by_one(scores: Tensor) -> Tensor:
        return torch.stack(
            [
                gobj.lagrangian(
                    scores, labels, gobj.tpr_at_fpr(rate.item()), 1.0, cut, surrogate=surrogate
                )
                for rate, cut in zip(rates, cuts, strict=True)
            ]
        ).mean()

    torch.testing.assert_close(area(scores), one_by_one(scores), rtol=1e-12, atol=0)
    torch.testing.assert_close(gradient(area, scores), gradient(one_by_one, scores))


def recall_at_budgets(state: gobj.AreaState) -> gobj.Problem:
    """Build the problem of an area whose anchors are budgets: its forms charge right calls too."""
    return gobj.recall_at_budget(state.targets((0.0, 1.0)))


@row(26)
@pytest.mark.parametrize("factor", [None, 0.3], ids=["function", "classical"])
def test_an_area_charges_what_its_forms_say_of_right_calls(factor: float | None) -> None:
    generator = torch.Generator().manual_seed(0)
    scores = torch.randn(50, generator=generator, dtype=torch.float64)
    labels = torch.rand(50, generator=generator) < 0.3
    budgets, cuts = torch.tensor([0.1, 0.2, 0.4]).double(), torch.tensor([1.0, 0.3, -0.2]).double()
    expected = torch.stack(
        [
            gobj.lagrangian(scores, labels, gobj.recall_at_budget(budget.item()), 1.0, cut)
            for budget, cut in zip(budgets, cuts, strict=True)
        ]
    ).mean()
    if factor is None:
        given = scores, labels, frozen_area(cuts, budgets)
        loss, _ = gobj.constrained_loss(recall_at_budgets, *given, rule=gobj.FrozenDual())
    else:
        criterion = gobj.nn.ConstrainedLoss(
            recall_at_budgets, num_anchors=budgets, dual_rate_factor=factor
        ).double()
        with torch.no_grad():
            criterion.threshold.copy_(cuts)
        loss = criterion(scores, labels)
        loss.backward()
        assert (criterion.multiplier.grad != 0).all()
    torch.testing.assert_close(loss, expected, rtol=1e-7, atol=1e-7)


@row(38)
@pytest.mark.parametrize("dtype", [torch.uint8, torch.uint16, torch.uint32, torch.uint64], ids=str)
def test_classes_may_be_unsigned(dtype: torch.dtype) -> None:
    logits = torch.randn(3, 200, dtype=torch.float64)
    classes = torch.tensor([156, 0, 199])
    got = gobj.poly1_cross_entropy_loss(logits, classes.to(dtype))
    torch.testing.assert_close(got, gobj.poly1_cross_entropy_loss(logits, classes))
    rows = gobj.multilabel_from_multiclass(classes.to(dtype), num_classes=200)
    torch.testing.assert_close(rows, functional.one_hot(classes, 200).to(rows.dtype))
    counts = gobj.soft_confusion(logits, classes.to(dtype), class_dim=1)
    torch.testing.assert_close(counts, gobj.soft_confusion(logits, classes, class_dim=1))


@row(38)
@pytest.mark.parametrize("stray", [255, -1, 4, -100])
def test_what_is_no_class_is_loud_unless_it_is_to_be_ignored(stray: int) -> None:
    logits, classes = torch.randn(4, 4), torch.tensor([0, 3, 2, stray])
    calls = {
        "poly1": lambda i: gobj.poly1_cross_entropy_loss(logits, classes, ignore_index=i),
        "confusion": lambda i: gobj.f_beta_loss(logits, classes, class_dim=1, ignore_index=i),
        "rows": lambda i: gobj.multilabel_from_multiclass(
            classes, num_classes=4, ignore_index=i
        ).sum(),
    }
    for call in calls.values():
        assert call(7).isnan()
    torch.testing.assert_close(
        gobj.poly1_cross_entropy_loss(logits, classes, ignore_index=stray),
        gobj.poly1_cross_entropy_loss(logits[:3], classes[:3]),
    )


@row(38)
def test_smoothed_labels_train_and_other_numbers_are_loud() -> None:
    scores = torch.randn(100, dtype=torch.float64)
    hard = torch.arange(100) % 3 == 0
    for case in (gobj.poly1_focal_loss, gobj.f_beta_loss, gobj.pairwise_roc_auc_loss):
        slopes = [
            gradient(lambda x, y=y, f=case: f(x, y), scores)
            for y in (hard, 0.05 + 0.9 * hard.double())
        ]
        assert functional.cosine_similarity(*slopes, dim=0) > 0.8
        assert case(scores, torch.where(hard, 255, 0)).isnan()


@row(42)
def test_containers_that_are_no_tensors_are_named_briefly() -> None:
    scores, state, long = torch.zeros(64), gobj.init_state(), np.ones(30_000)
    calls = [
        lambda: gobj.tpr_at_fpr_loss(scores, np.ones(64), state, target_fpr=0.1),
        lambda: gobj.tpr_at_fpr_loss(scores, [1] * 64, state, target_fpr=0.1),
        lambda: gobj.tpr_at_fpr_loss(long, scores, state, target_fpr=0.1),
        lambda: gobj.tpr_at_fpr_loss(scores, scores, state, target_fpr=long),
        lambda: gobj.roc_auc(fpr_range=list(long)),
        lambda: gobj.f_beta_loss(scores, list(long)),
        lambda: gobj.poly1_focal_loss(scores, long),
    ]
    for call in calls:
        with pytest.raises(ValueError, match=r"must .+; got a (ndarray|list) of ") as told:
            call()
        assert len(str(told.value)) < 250


@row(42)
def test_ranges_may_be_lists_and_numbers_those_of_numpy() -> None:
    scores, labels = torch.randn(30), torch.arange(30) % 3 == 0
    state = gobj.init_state(anchors=np.int64(4))
    loss, _ = gobj.roc_auc_loss(scores, labels, state, fpr_range=[np.float32(0.0), np.float64(0.5)])
    expected, _ = gobj.roc_auc_loss(scores, labels, state, fpr_range=(0.0, 0.5))
    torch.testing.assert_close(loss, expected)


class Step(nn.Module):
    """A loss as a module without state, to export it."""

    def __init__(self, case: Case) -> None:
        super().__init__()
        self.case = case

    def forward(self, logits: Tensor, labels: Tensor, state: Any) -> Any:
        return self.case(logits, labels, state)


@row(43)
@pytest.mark.parametrize("name", ["tpr_at_fpr_loss", "roc_auc_loss", "pairwise_roc_auc_loss"])
def test_a_loss_is_exported_with_any_number_of_examples(name: str) -> None:
    case = Case(name, "implicit" if "pairwise" not in name else None)
    logits, labels, _ = sample(case, 200, ())
    state, rows = case.start(), torch.export.Dim("rows", min=129)
    shapes = ({0: rows}, {0: rows}, changed(state, lambda _: {}) if state else ())
    exported = torch.export.export(Step(case), (logits, labels, state), dynamic_shapes=shapes)
    other = sample(case, 133, (), seed=5)[:2]
    got, expected = exported.module()(*other, state), case(*other, state)
    torch.testing.assert_close(got[0], expected[0])
    torch.testing.assert_close(leaves(got[1]), leaves(expected[1]))


@row(43)
@pytest.mark.filterwarnings("ignore:Anomaly Detection")
@each_loss
def test_a_row_that_is_to_be_ignored_passes_anomaly_detection(case: Case) -> None:
    logits, labels, _ = sample(case)
    labels = labels.double() if case.spec.inputs == "binary" else labels
    logits[4], labels[4] = math.nan, -100
    leaf = logits.requires_grad_()
    with torch.autograd.detect_anomaly(check_nan=True):
        loss, _ = case(leaf, labels, case.start((3,)), ignore_index=-100)
        loss.backward()
    assert loss.isfinite()
    assert leaf.grad.isfinite().all()


@row(43)
@pytest.mark.parametrize("surrogate", [gobj.hinge, gobj.squared_hinge], ids=str)
def test_hinges_over_pairs_have_a_second_derivative(surrogate: gobj.Surrogate) -> None:
    scores = torch.randn(12, dtype=torch.float64, requires_grad=True)
    labels = torch.arange(12) % 3 == 0

    def pairs(scores: Tensor) -> Tensor:
        margins = scores[labels].unsqueeze(1) - scores[~labels]
        return surrogate(margins).mean()

    second = []
    for loss in (
        lambda x: gobj.pairwise_roc_auc_loss(x, labels, surrogate=surrogate),
        pairs,
    ):
        (slope,) = torch.autograd.grad(loss(scores), scores, create_graph=True)
        second.append(torch.autograd.grad(slope.square().sum(), scores)[0])
    torch.testing.assert_close(*second)


@row(46)
def test_the_grid_of_a_curve_says_for_which_scores_it_is_fine() -> None:
    assert "pass logits, not probabilities" in str(gobj.metrics.curve_update.__doc__)
    assert "Scores beyond 8.9e6" in str(gobj.metrics.curve_init.__doc__)


@row(47)
@pytest.mark.parametrize("height", [1e3, 1e5, 1e9])
def test_a_budget_charges_alarms_however_high_they_are(height: float) -> None:
    scores = torch.tensor([height, height, -1.0, -2.0], dtype=torch.float64)
    state = at(1.0)
    loss = gobj.recall_at_budget_loss(
        scores, torch.tensor([1, 0, 0, 0]), state, budget=0.1, rule=RULE
    )[0]
    assert loss.item() > height / 4  # two of four, in bits


@row(50)
@pytest.mark.parametrize("anchors", [1, 8, 9, 20])
def test_areas_take_scores_and_labels_that_lie_crosswise(anchors: int) -> None:
    scores = torch.randn(2, 512).T
    labels = (torch.rand(2, 512) < 0.3).T
    for rule in (gobj.ImplicitMultiplier(), RULE):
        state = gobj.init_state((2,), anchors=anchors, rule=rule)
        for loss in (gobj.roc_auc_loss, gobj.average_precision_loss):
            got, _ = loss(scores, labels, state, rule=rule)
            expected, _ = loss(scores.contiguous(), labels.contiguous(), state, rule=rule)
            torch.testing.assert_close(got, expected)


@row(53)
@pytest.mark.parametrize("wrong", [math.inf, 1e12, -math.inf])
def test_a_score_beyond_all_measure_leaves_the_state_as_it_was(wrong: float) -> None:
    rule = gobj.DualAscent(signal="surrogate", threshold_rate=0.1)
    scores = torch.tensor([wrong, wrong, 1.0, -1.0, 0.5])
    labels = torch.tensor([0, 1, 1, 0, 1])
    state = gobj.init_state(anchors=8, rule=rule)
    options = {"rule": rule, "surrogate": gobj.squared_hinge}
    _, after = gobj.roc_auc_loss(scores, labels, state, **options)
    assert_same_state(after, state)
    _, after = gobj.roc_auc_loss(scores[2:], labels[2:], after, **options)
    assert after.threshold.abs().max() < 10


@pytest.mark.parametrize("average", [2e6, 5e5])
def test_a_million_is_the_most_that_a_batch_may_average(average: float) -> None:
    rule = gobj.DualAscent(signal="surrogate")
    state = gobj.init_state(rule=rule)
    labels = torch.tensor([0.0, 1.0])
    _, after = gobj.tpr_at_fpr_loss(
        torch.tensor([2 * average, 1.0]),
        labels,
        state,
        target_fpr=0.1,
        rule=rule,
        surrogate=gobj.hinge,
    )
    assert bool(after.multiplier == state.multiplier) is (average > 1e6)


RULES = [gobj.ImplicitMultiplier(), gobj.DualAscent(), gobj.OptimizerAscent()]


@pytest.mark.parametrize("rule", RULES, ids=str)
@pytest.mark.parametrize("anchors", [None, 3])
def test_derivatives_in_forward_mode_go_as_deep_as_wished(
    rule: gobj.DualRule, anchors: int | None
) -> None:
    labels = torch.tensor([1.0, 0.0, 1.0])
    logits = torch.tensor([0.5, 0.2, -0.3], dtype=torch.float64)
    state = gobj.init_state(anchors=anchors, rule=rule)
    problem: Any = gobj.tpr_at_fpr(0.2) if anchors is None else gobj.roc_auc()

    def loss(scores: Tensor) -> Tensor:
        return gobj.constrained_loss(problem, scores, labels, state, rule=rule)[0]

    jacfwd, jacrev = torch.func.jacfwd, torch.func.jacrev
    second = jacrev(jacrev(loss))(logits)
    assert second.abs().max() > 1e-3
    for mixed in (jacfwd(jacfwd(loss)), jacfwd(jacrev(loss)), jacrev(jacfwd(loss))):
        torch.testing.assert_close(mixed(logits), second)
    with forward_ad.dual_level():
        moved = forward_ad.unpack_dual(loss(forward_ad.make_dual(logits, logits)))
    torch.testing.assert_close(moved.tangent, torch.func.grad(loss)(logits) @ logits)


@pytest.mark.parametrize("rule", RULES, ids=str)
def test_an_infinite_score_has_the_same_slope_however_it_is_asked_for(rule: gobj.DualRule) -> None:
    labels = torch.tensor([1, 1, 0, 0])
    logits = torch.tensor([-math.inf, 2.0, 1.0, -1.0], requires_grad=True)
    state = gobj.init_state(rule=rule)

    def loss(scores: Tensor) -> Tensor:
        return gobj.tpr_at_fpr_loss(scores, labels, state, target_fpr=0.2, rule=rule)[0]

    (plain,) = torch.autograd.grad(loss(logits), logits)
    (again,) = torch.autograd.grad(loss(logits), logits, create_graph=True)
    assert plain[0] == 0
    torch.testing.assert_close(again.detach(), plain, rtol=1e-5, atol=0)
    torch.testing.assert_close(torch.func.grad(loss)(logits.detach()), plain, rtol=1e-5, atol=0)


def test_a_fraction_is_the_index_of_no_class() -> None:
    logits, labels = torch.randn(3, 4), torch.tensor([0.0, 1.5, 2.0])
    assert gobj.poly1_cross_entropy_loss(logits, labels).isnan()
    assert gobj.f_beta_loss(logits, labels, class_dim=1).isnan()
    assert gobj.weights_from_labels(labels, torch.ones(4)).isnan().tolist() == [False, True, False]


ROW_LOSSES = [gobj.poly1_cross_entropy_loss, functools.partial(gobj.f_beta_loss, class_dim=1)]


@pytest.mark.parametrize("loss", ROW_LOSSES, ids=["poly1", "F-beta"])
@pytest.mark.parametrize("weight", [1.0, math.nan, -1.0])
@pytest.mark.parametrize("rows", [True, False], ids=["rows", "indices"])
def test_a_class_to_ignore_is_ignored_whatever_it_weighs(
    loss: Any, weight: float, rows: bool
) -> None:
    logits, labels = torch.randn(3, 4), torch.tensor([0, 255, 2])
    weights = torch.tensor([1.0, weight, 2.0])
    known = [0, 2]
    if rows:
        labels = gobj.multilabel_from_multiclass(labels, num_classes=4, ignore_index=255)
    expected = loss(logits[known], labels[known], weights=weights[known])
    torch.testing.assert_close(loss(logits, labels, weights=weights, ignore_index=255), expected)


@pytest.mark.parametrize("index", [0, 1])
def test_a_row_cannot_be_filled_with_a_label_to_ignore(index: int) -> None:
    with pytest.raises(ValueError, match=r"`ignore_index` must be no label"):
        gobj.multilabel_from_multiclass(torch.tensor([0, 2]), num_classes=3, ignore_index=index)


def test_a_cosine_is_taken_in_single_precision_under_autocast() -> None:
    embeddings, labels = torch.randn(64, 16), torch.randint(4, (64,))
    embeddings = embeddings + 6 * torch.nn.functional.one_hot(labels, 16)
    plain = gobj.binomial_deviance_loss(embeddings, labels, alpha=40.0, beta=0.9)
    with torch.autocast("cpu", torch.bfloat16):
        cast = gobj.binomial_deviance_loss(embeddings, labels, alpha=40.0, beta=0.9)
    torch.testing.assert_close(cast, plain, rtol=1e-6, atol=0)


@pytest.mark.parametrize("score", [math.inf, -math.inf])
def test_a_square_of_an_infinite_shortfall_is_finite(score: float) -> None:
    logits, labels = torch.full((3,), score), torch.tensor([1, 0, 1])
    price, cut, problem = 1.0, 0.0, gobj.tpr_at_fpr(0.1)
    options = {"surrogate": gobj.squared_hinge}
    assert gobj.lagrangian(logits, labels, problem, price, cut, **options).isfinite()
    loss, _ = gobj.constrained_loss(
        problem, logits, labels, gobj.init_state(rule=RULES[1]), rule=RULES[1], **options
    )
    assert loss.isfinite()


def test_a_byte_is_not_taken_for_a_negative_number_to_ignore() -> None:
    labels = torch.tensor([156, 1, 0], dtype=torch.uint8)  # as a byte, -100 is 156
    assert gobj.poly1_focal_loss(torch.zeros(3), labels, ignore_index=-100).isnan()
