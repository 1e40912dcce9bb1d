"""States: born, listed, saved and restored."""

from pathlib import Path
from typing import Any

import pytest
import torch

import gobj
from tests import cases
from tests.cases import Case, assert_same_state, leaves, warmed

CASE = Case("recall_at_precision_loss", "implicit")
RULES = [gobj.ImplicitMultiplier(), gobj.DualAscent(), gobj.FrozenDual()]

each_case = pytest.mark.parametrize(
    "case", [Case("recall_at_precision_loss", rule) for rule in cases.RULES], ids=str
)
each_rule = pytest.mark.parametrize("rule", RULES, ids=lambda rule: type(rule).__name__)


@each_rule
@pytest.mark.parametrize("labels", [(), (4,), (2, 3)], ids=str)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_a_new_state_has_the_label_shape_and_the_dtype_everywhere(
    rule: gobj.DualRule, labels: tuple[int, ...], dtype: torch.dtype
) -> None:
    state = gobj.init_state(labels, rule=rule, dtype=dtype)
    assert {leaf.shape[: len(labels)] for leaf in leaves(state)} == {labels}
    assert {state.multiplier.shape, state.threshold.shape} == {labels}
    assert {leaf.dtype for leaf in leaves(state)} == {dtype}


@each_rule
def test_a_new_state_prices_the_constraint_at_one_and_cuts_at_zero(rule: gobj.DualRule) -> None:
    state = gobj.init_state((2,), rule=rule)
    assert state.multiplier.tolist() == [1, 1]
    assert state.threshold.tolist() == [0, 0]


def test_a_new_state_is_single_precision_whatever_the_default_dtype() -> None:
    torch.set_default_dtype(torch.float64)
    try:
        state = gobj.init_state()
    finally:
        torch.set_default_dtype(torch.float32)
    assert {leaf.dtype for leaf in leaves(state)} == {torch.float32}


def test_a_new_state_is_for_the_default_rule() -> None:
    assert_same_state(gobj.init_state(), gobj.init_state(rule=gobj.ImplicitMultiplier()))


@each_rule
def test_states_live_on_the_device_that_is_named(rule: gobj.DualRule) -> None:
    state = gobj.init_state((2,), rule=rule, device="meta")
    assert {leaf.device.type for leaf in leaves(state)} == {"meta"}


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.int64, torch.bool], ids=str)
def test_narrow_states_are_refused(dtype: torch.dtype) -> None:
    with pytest.raises(ValueError, match=r"^init_state: `dtype` must be .+; got torch\.\w+\.$"):
        gobj.init_state(dtype=dtype)


def test_no_labels_at_all_cost_nothing() -> None:
    state = gobj.init_state((0,))
    loss, after = gobj.recall_at_precision_loss(
        torch.zeros(4, 0), torch.zeros(4, 0), state, target_precision=0.9
    )
    assert loss.item() == 0
    assert_same_state(after, state)


def test_a_state_needs_a_rule() -> None:
    with pytest.raises(ValueError, match=r"^init_state: `rule` must be a dual rule; got .+\.$"):
        gobj.init_state(rule=gobj.DualAscent)


def test_fields_of_a_state_can_be_replaced() -> None:
    state = gobj.init_state()._replace(threshold=torch.tensor(0.5), multiplier=torch.tensor(3.0))
    logits = torch.tensor([0.4, 0.6])
    loss, after = gobj.tpr_at_fpr_loss(
        logits, torch.tensor([1, 0]), state, target_fpr=0.1, rule=gobj.FrozenDual()
    )
    expected = gobj.lagrangian(logits, torch.tensor([1, 0]), gobj.tpr_at_fpr(0.1), 3.0, 0.5)
    torch.testing.assert_close(loss, expected)
    assert after is state


@each_case
def test_a_state_is_listed_by_dotted_names(case: Case) -> None:
    state = warmed(case, (2,))
    named = gobj.state_dict(state)
    assert list(named)[:3] == ["multiplier", "threshold", "previous_threshold"]
    assert all(name.startswith("statistics.") for name in list(named)[3:])
    for tensor, leaf in zip(named.values(), leaves(state), strict=True):
        assert tensor is leaf
    for name, tensor in named.items():
        found: Any = state
        for part in name.split("."):
            found = getattr(found, part)
        assert found is tensor


@each_case
def test_a_state_survives_a_safe_file_bit_for_bit(case: Case, tmp_path: Path) -> None:
    state = warmed(case, (2,))
    torch.save(gobj.state_dict(state), tmp_path / "state.pt")
    saved = torch.load(tmp_path / "state.pt", weights_only=True)
    restored = gobj.load_state_dict(case.start((2,)), saved)
    assert type(restored) is type(state)
    assert_same_state(restored, state)


def test_a_restored_state_shares_nothing_with_what_was_saved() -> None:
    state, template = warmed(CASE), CASE.start()
    saved = {name: tensor.clone() for name, tensor in gobj.state_dict(state).items()}
    restored = gobj.load_state_dict(template, saved)
    for tensor in saved.values():
        tensor.fill_(9)
    assert_same_state(restored, state)
    assert_same_state(template, CASE.start())


def test_a_restored_state_keeps_the_dtype_of_the_template() -> None:
    saved = gobj.state_dict(warmed(CASE))
    restored = gobj.load_state_dict(CASE.start(dtype=torch.float32), saved)
    assert {leaf.dtype for leaf in leaves(restored)} == {torch.float32}
    torch.testing.assert_close(restored.threshold.double(), saved["threshold"])


def test_a_state_of_another_rule_is_not_restored() -> None:
    saved = gobj.state_dict(gobj.init_state(rule=gobj.DualAscent()))
    shown = r"got \[.*'statistics\.violation', 'threshold'\]\.$"
    with pytest.raises(ValueError, match=rf"^load_state_dict: `saved` must hold exactly .+{shown}"):
        gobj.load_state_dict(gobj.init_state(), saved)


def test_a_state_of_other_labels_is_not_restored() -> None:
    saved = gobj.state_dict(gobj.init_state((1,)))
    with pytest.raises(ValueError, match=r"^load_state_dict: `saved` must have shape .+\.$"):
        gobj.load_state_dict(gobj.init_state((3,)), saved)


@pytest.mark.parametrize(
    ("rule", "surrogate"),
    [
        (gobj.DualAscent(signal="surrogate"), gobj.cross_entropy),
        (gobj.ImplicitMultiplier(), gobj.squared_hinge),
    ],
    ids=["bound", "pull"],
)
def test_what_single_precision_cannot_hold_leaves_the_state_alone(
    rule: gobj.DualRule, surrogate: gobj.Surrogate
) -> None:
    state = gobj.init_state(rule=rule)
    logits, labels = torch.tensor([1e39, 1, -1], dtype=torch.float64), torch.tensor([0, 1, 0])
    _, after = gobj.tpr_at_fpr_loss(
        logits, labels, state, target_fpr=0.1, rule=rule, surrogate=surrogate
    )
    assert_same_state(after, state)


def test_scores_in_single_precision_leave_anchors_in_double_alone() -> None:
    anchors = torch.tensor([0.1, 0.3, 0.7], dtype=torch.float64)
    state = gobj.init_state(anchors=anchors, dtype=torch.float64)
    _, after = gobj.roc_auc_loss(torch.randn(20), torch.rand(20) < 0.5, state)
    assert torch.equal(after.anchors, anchors)
    assert not torch.equal(after.threshold, state.threshold)


@pytest.mark.parametrize("labels", [torch.ones(3), 3], ids=["labels", "their number"])
def test_a_new_state_wants_the_label_shape(labels: Any) -> None:
    with pytest.raises(ValueError, match=r"^init_state: `labels` must be the label shape, .+; got"):
        gobj.init_state(labels)
