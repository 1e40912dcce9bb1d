"""Every public loss: its signature, its documentation, its purity, and what it refuses."""

import inspect
import re
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

import gobj
from tests.cases import (
    CASES,
    PUBLIC,
    SPECS,
    STATEFUL,
    Case,
    assert_same_state,
    changed,
    each_case,
    each_constrained,
    each_loss,
    each_stateful,
    leaves,
    sample,
    warmed,
    weighted,
)
from tests.strategies import batches

SECTIONS = ("Args", "Returns", "Raises", "Example", "References")
DOCUMENTED = {
    name: value
    for name, value in vars(gobj).items()
    if inspect.isfunction(value) or (inspect.isclass(value) and issubclass(value, gobj.DualRule))
}
MESSAGE = r"{}: `{}` must [^`\n]+; got [^\n]+\."


def sections(docstring: str) -> dict[str, str]:
    """Split a docstring at the titles of its sections."""
    parts = re.split(rf"^({'|'.join(SECTIONS)}):$", inspect.cleandoc(docstring), flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def test_every_loss_has_an_entry_and_every_entry_a_loss() -> None:
    assert SPECS.keys() == PUBLIC.keys()


@each_loss
def test_scores_and_labels_lead_and_all_but_them_and_the_state_is_by_keyword(case: Case) -> None:
    kinds = {name: p.kind for name, p in inspect.signature(case.function).parameters.items()}
    leading = [name for name, kind in kinds.items() if kind is not inspect.Parameter.KEYWORD_ONLY]
    first = "embeddings" if case.spec.inputs == "embeddings" else "logits"
    assert leading == [first, "labels", *(["state"] if case.takes("state") else [])]


@each_constrained
def test_the_options_of_constrained_losses_stand_in_one_order(case: Case) -> None:
    names = list(inspect.signature(case.function).parameters)
    options = ["weights", "surrogate", "rule", "label_priors", "reduction"]
    assert names == ["logits", "labels", "state", case.target[0], *options]


@each_loss
def test_only_arguments_without_a_natural_value_lack_a_default(case: Case) -> None:
    parameters = inspect.signature(case.function).parameters.values()
    options = [p for p in parameters if p.kind is inspect.Parameter.KEYWORD_ONLY]
    required = [p.name for p in options if p.default is inspect.Parameter.empty]
    assert required == list(case.spec.arguments)


@pytest.mark.parametrize("name", DOCUMENTED)
def test_documentation_describes_every_argument_in_order(name: str) -> None:
    written = sections(DOCUMENTED[name].__doc__ or "").get("Args", "")
    described = re.findall(r"^    (\w+): \S", written, flags=re.MULTILINE)
    assert described == list(inspect.signature(DOCUMENTED[name]).parameters)


@pytest.mark.parametrize("name", [n for n, v in DOCUMENTED.items() if inspect.isfunction(v)])
def test_documentation_of_functions_has_all_sections_in_order(name: str) -> None:
    assert tuple(sections(DOCUMENTED[name].__doc__ or "")) == SECTIONS


@pytest.mark.parametrize("name", DOCUMENTED)
def test_documentation_opens_with_a_sentence_and_leaves_no_placeholder(name: str) -> None:
    text = inspect.getdoc(DOCUMENTED[name]) or ""
    assert re.match(r"[A-Z][^\n]+\.\n", text)
    assert not re.search(r"^ *\{\w+\}|[,:] \{\w+\}", text, flags=re.MULTILINE)


@each_loss
def test_what_takes_a_state_returns_one(case: Case) -> None:
    logits, labels, _ = sample(case)
    state = (case.start((3,)),) if case.takes("state") else ()
    outcome = case.function(logits, labels, *state, **case.spec.arguments)
    assert isinstance(outcome, tuple) == case.takes("state")


@each_case
def test_arguments_stay_as_they_were(case: Case) -> None:
    logits, labels, weights = sample(case)
    state = warmed(case, (3,))
    arguments = [logits, labels, weights, *leaves(state)]
    before = [tensor.clone() for tensor in arguments]
    case(logits, labels, state, **weighted(case, weights))
    torch.testing.assert_close(arguments, before, rtol=0, atol=0)


@each_case
def test_calls_repeat_bit_for_bit(case: Case) -> None:
    logits, labels, weights = sample(case, 500)
    first, once = case(logits, labels, case.start((3,)), **weighted(case, weights))
    second, again = case(logits, labels, case.start((3,)), **weighted(case, weights))
    torch.testing.assert_close(first, second, rtol=0, atol=0)
    assert_same_state(once, again)


@each_case
def test_the_random_state_is_left_alone(case: Case) -> None:
    logits, labels, _ = sample(case)
    before = torch.get_rng_state()
    case(logits, labels, case.start((3,)))
    assert torch.equal(torch.get_rng_state(), before)


@each_stateful
@pytest.mark.parametrize("labels", [(), (3,), (2, 3)], ids=str)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_the_state_keeps_types_shapes_and_dtypes(
    case: Case, labels: tuple[int, ...], dtype: torch.dtype
) -> None:
    logits, classes, _ = sample(case, labels=labels)
    before = case.start(labels, dtype=dtype)
    _, after = case(logits, classes, before)
    assert changed(after, lambda leaf: leaf.dtype) == changed(before, lambda leaf: leaf.dtype)
    assert changed(after, lambda leaf: leaf.shape) == changed(before, lambda leaf: leaf.shape)
    assert type(after.statistics) is type(before.statistics)


@each_stateful
def test_no_gradient_enters_or_leaves_the_state(case: Case) -> None:
    logits, labels = torch.randn(20, requires_grad=True), torch.randn(20) > 0
    state = changed(case.start(dtype=torch.float32), lambda leaf: leaf.requires_grad_())
    loss, after = case(logits, labels, state)
    loss.backward()
    assert logits.grad is not None
    assert [leaf.grad for leaf in leaves(state)] == [None] * len(leaves(state))
    assert not any(leaf.requires_grad for leaf in leaves(after))


@each_stateful
def test_only_the_scores_have_a_gradient(case: Case) -> None:
    logits, labels, weights = sample(case)
    fixed = {"weights": weights, "label_priors": torch.full((3,), 0.4).double()}
    if case.spec.goal:
        name, value = case.target
        fixed[name] = torch.full((3,), value).double()
    fixed = {name: value.requires_grad_() for name, value in fixed.items()}
    loss, _ = case(logits.requires_grad_(), labels, case.start((3,)), **fixed)
    loss.backward()
    assert logits.grad is not None
    assert [value.grad for value in fixed.values()] == [None] * len(fixed)


@each_stateful
def test_a_loss_of_constant_scores_needs_no_gradient(case: Case) -> None:
    state = changed(case.start(), lambda leaf: leaf.requires_grad_())
    loss, _ = case(torch.randn(5, dtype=torch.float64), torch.ones(5), state)
    assert not loss.requires_grad


@each_stateful
def test_a_new_state_shares_no_memory_with_the_arguments(case: Case) -> None:
    logits, labels, state = torch.randn(5), torch.ones(5), case.start(dtype=torch.float32)
    _, after = case(logits, labels, state)
    _, later = case(logits * 2, 1 - labels, after)
    kept = changed(later, torch.clone)
    for tensor in (logits, labels, *leaves(state)):
        tensor.fill_(7)
    assert_same_state(later, kept)


@pytest.mark.parametrize(  # pairs of embeddings are normalised per class of pair
    "case",
    [c for c in CASES if c.takes("reduction") and c.spec.inputs != "embeddings"],
    ids=str,
)
@given(st.data())
def test_reductions_relate_as_those_of_torch(case: Case, data: st.DataObject) -> None:
    batch = data.draw(batches(case))
    state = case.start(batch.logits.shape[1:])

    def reduced(reduction: str) -> Tensor:
        options = weighted(case, batch.weights)
        if case.takes("mean_over"):
            options["mean_over"] = "elements"
        return case(batch.logits, batch.labels, state, reduction=reduction, **options)[0]

    each = reduced("none")
    assert each.shape == batch.labels.shape
    torch.testing.assert_close(reduced("sum"), each.sum())
    torch.testing.assert_close(reduced("mean"), each.mean())


@each_stateful
def test_the_reduction_does_not_touch_the_state(case: Case) -> None:
    logits, labels, state = torch.randn(9, 2), torch.randn(9, 2) > 0, warmed(case, (2,))
    states = [case(logits, labels, state, reduction=r)[1] for r in ("mean", "sum", "none")]
    assert_same_state(states[0], states[1])
    assert_same_state(states[0], states[2])


LOGITS, LABELS = torch.zeros(4, 3), torch.ones(4, 3)
REFUSED: list[tuple[str, str, dict[str, Any]]] = [
    ("scores that are a list", "logits", {"logits": [0.0, 1.0]}),
    ("scores of integers", "logits", {"logits": LABELS.int()}),
    ("a single score", "logits", {"logits": torch.tensor(0.0), "labels": torch.tensor(1)}),
    ("labels that are a list", "labels", {"labels": [0, 1]}),
    ("labels of another length", "labels", {"labels": LABELS[:3]}),
    ("labels that would broadcast", "labels", {"labels": LABELS[:, :1]}),
    ("labels of one dimension", "labels", {"labels": LABELS[:, 0]}),
    ("complex labels", "labels", {"labels": LABELS.to(torch.complex64)}),
    ("a tuple for a state", "state", {"state": (torch.tensor(1.0), torch.tensor(0.0))}),
    ("no state", "state", {"state": None}),
    ("a state of other labels", "state", {"state": gobj.init_state((2,))}),
    ("a state of one label for several", "state", {"state": gobj.init_state()}),
    (
        "a state of another rule",
        "state",
        {"state": gobj.init_state((3,), rule=gobj.DualAscent())},
    ),
    ("a class for a rule", "rule", {"rule": gobj.DualAscent}),
    ("a number for a rule", "rule", {"rule": 0.1}),
    ("a function for a surrogate", "surrogate", {"surrogate": torch.relu}),
    ("a reduction by another name", "reduction", {"reduction": "average"}),
    ("a negative weight", "weights", {"weights": -1.0}),
    ("weights of another length", "weights", {"weights": torch.ones(3)}),
    ("weights of more dimensions", "weights", {"weights": torch.ones(4, 3, 1)}),
    ("weights per label alone", "weights", {"weights": torch.ones(3)}),
    ("priors of other labels", "label_priors", {"label_priors": torch.ones(2)}),
]
TARGETS = [0.0, 1.0, -0.1, 1.5, float("nan"), float("inf"), True, "0.9", None, torch.tensor(1)]


@each_constrained
@pytest.mark.parametrize(
    ("argument", "change"), [r[1:] for r in REFUSED], ids=[r[0] for r in REFUSED]
)
def test_errors_name_function_argument_and_cure(
    case: Case, argument: str, change: dict[str, Any]
) -> None:
    arguments = {"logits": LOGITS, "labels": LABELS, "state": gobj.init_state((3,))}
    with pytest.raises(ValueError, match=f"^{MESSAGE.format(case.name, argument)}$"):
        case.function(**arguments | dict(case.spec.arguments) | change)


@each_constrained
@pytest.mark.parametrize("target", TARGETS, ids=repr)
def test_targets_outside_the_open_unit_interval_are_refused(case: Case, target: Any) -> None:
    name, _ = case.target
    with pytest.raises(ValueError, match=f"^{MESSAGE.format(case.name, name)}$"):
        case(LOGITS, LABELS, case.start((3,)), **{name: target})
    builder = case.builder.__name__
    with pytest.raises(ValueError, match=f"^{MESSAGE.format(builder, 'target')}$"):
        case.builder(target)


@each_constrained
def test_targets_of_other_labels_are_refused(case: Case) -> None:
    name, _ = case.target
    with pytest.raises(ValueError, match=f"^{MESSAGE.format(case.name, name)}$"):
        case(LOGITS, LABELS, case.start((3,)), **{name: torch.full((2,), 0.5)})


@pytest.mark.parametrize("case", [c for c in STATEFUL if c.rule_name != "implicit"], ids=str)
def test_a_state_of_the_default_rule_is_refused_by_another(case: Case) -> None:
    message = MESSAGE.format(case.name, "state")
    with pytest.raises(ValueError, match=f"^{message}$"):
        case(LOGITS, LABELS, gobj.init_state((3,)))


@each_constrained
def test_error_messages_show_no_values_of_a_tensor(case: Case) -> None:
    with pytest.raises(ValueError, match="got a tensor of") as caught:
        case(LOGITS, LABELS[:2], case.start((3,)))
    assert "[[" not in str(caught.value)
    assert "tensor(" not in str(caught.value)
