"""What is to be watched: counted values, and the gap of the bound."""

from typing import Any

import pytest
import torch

import gobj
from tests.cases import STATEFUL, Case, each_stateful, sample, warmed


@each_stateful
def test_values_are_those_that_the_state_is_updated_by(case: Case) -> None:
    logits, labels, weights = sample(case)
    state = warmed(case, (3,))
    seen = gobj.diagnose(case.any_problem, logits, labels, state, weights=weights)
    assert {x.shape for x in seen} == {state.multiplier.shape}
    assert not any(x.requires_grad for x in seen)
    sums = gobj.observe(case.any_problem, logits, labels, state, weights=weights, rule=case.rule)
    problem = case.any_problem if case.spec.goal else case.any_problem(state)
    for value, form in ((seen.cost, problem.cost), (seen.constraint, problem.constraint)):
        exact = (sums.of_events(form)) / sums.weight + form.constant(sums.positives / sums.weight)
        torch.testing.assert_close(value, exact.expand_as(value).clone())
    torch.testing.assert_close(seen.slack, -seen.constraint)
    torch.testing.assert_close(seen.multiplier, state.multiplier)
    torch.testing.assert_close(seen.threshold, state.threshold)
    assert bool((seen.gap >= -1e-9).all())


def test_what_was_seen_stays_when_a_module_moves_on() -> None:
    criterion, problem = gobj.nn.TPRAtFPRLoss(0.1), gobj.tpr_at_fpr(0.1)
    batch = torch.linspace(-1, 1, 30).unsqueeze(1), (torch.arange(30) > 20).unsqueeze(1)
    history = []
    for _ in range(3):
        criterion(*batch)
        history.append(gobj.diagnose(problem, *batch, criterion.state))
    assert len({seen.threshold.item() for seen in history}) == 3
    assert len({seen.multiplier.item() for seen in history}) == 3


POINTS = [case for case in STATEFUL if case.rule_name == "implicit"]


@pytest.mark.parametrize("case", POINTS, ids=str)
def test_it_compiles_and_maps_over_labels(case: Case) -> None:
    logits, labels, _ = sample(case)
    state = warmed(case, (3,))

    def look(x: torch.Tensor, y: torch.Tensor, at: Any) -> Any:
        return gobj.diagnose(case.any_problem, x, y, at)

    want = look(logits, labels, state)
    torch.compiler.reset()
    compiled = torch.compile(look, fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(compiled(logits, labels, state), want)
    mapped = torch.func.vmap(look, in_dims=(1, 1, 0))(logits, labels, state)
    torch.testing.assert_close(mapped, want)


def test_half_precision_is_counted_in_single() -> None:
    logits, labels = torch.randn(4000).half(), torch.arange(4000) % 3 == 0
    state = gobj.init_state()
    seen = gobj.diagnose(gobj.tpr_at_fpr(0.1), logits, labels, state)
    assert {x.dtype for x in seen} == {torch.float32}
    torch.testing.assert_close(
        seen, gobj.diagnose(gobj.tpr_at_fpr(0.1), logits.float(), labels, state)
    )


@pytest.mark.parametrize("module", [gobj.nn.TPRAtFPRLoss(0.1), gobj.nn.ROCAUCLoss()])
def test_a_module_of_one_label_is_seen_with_the_logits_that_it_takes(module: Any) -> None:
    logits, labels = torch.linspace(-1, 1, 30), torch.arange(30) > 20
    module(logits, labels)
    problem = gobj.tpr_at_fpr(0.1) if module.threshold.dim() == 1 else gobj.roc_auc()
    seen = gobj.diagnose(problem, logits, labels, module.state)
    want = gobj.diagnose(problem, logits.unsqueeze(1), labels.unsqueeze(1), module.state)
    assert all(torch.equal(a, b) for a, b in zip(seen, want, strict=True))
    assert seen.cost.shape == module.threshold.shape
