"""Every public loss: its signature, its documentation, its purity, and what it refuses."""

import inspect
import pydoc
import re
import types
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

import gobj
import gobj.nn
from tests.cases import (
    CASES,
    PARAMETERS,
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
    parameters_of,
    sample,
    warmed,
    weighted,
)
from tests.strategies import batches


def is_stateful(module: type) -> bool:
    """Tell whether a module has an objective's state."""
    return issubclass(module, gobj.nn.StatefulLoss) and "**options" not in (module.__doc__ or "")


def is_of_counts(module: type) -> bool:
    """Tell whether a module is a loss from soft counts."""
    return "\n        absent: " in (module.__doc__ or "")


def is_our_own(value: Any) -> bool:
    """Tell whether a name at the top belongs to the package and is no part of how it is cut."""
    return not isinstance(value, types.ModuleType) or value in (gobj.nn, gobj.metrics)


SECTIONS = ("Args", "Returns", "Raises", "Example", "References")
FUNCTIONS = {name: value for name, value in vars(gobj).items() if inspect.isfunction(value)}
RULES = {
    name: value
    for name, value in vars(gobj).items()
    if inspect.isclass(value) and issubclass(value, gobj.DualRule)
}
MODULES = {name: getattr(gobj.nn, name) for name in gobj.nn.__all__}
DOCUMENTED = FUNCTIONS | RULES | MODULES
FAMILIES = {
    "losses with a state": [name for name in PUBLIC if "state" in PARAMETERS[name]],
    "their modules": [name for name, value in MODULES.items() if is_stateful(value)],
    "losses from counts": [name for name in PUBLIC if "absent" in PARAMETERS[name]],
    "modules of counts": [name for name, value in MODULES.items() if is_of_counts(value)],
}
MESSAGE = r"{}: `{}` must [^`\n]+; got [^\n]+\."


def sections(documented: Any) -> dict[str, str]:
    """Split a docstring at the titles of its sections."""
    text = inspect.cleandoc(documented.__doc__ or "")
    parts = re.split(rf"^({'|'.join(SECTIONS)}):$", text, flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def arguments(documented: Any) -> dict[str, str]:
    """Return what a docstring says of each argument."""
    written = sections(documented).get("Args", "")
    entries = re.findall(r"^    (\*{0,2}\w+): (.*(?:\n {8}.*)*)", written, flags=re.MULTILINE)
    return {name: " ".join(text.split()) for name, text in entries}


def test_every_loss_has_an_entry_and_every_entry_a_loss() -> None:
    assert SPECS.keys() == PUBLIC.keys()


@each_loss
def test_scores_and_labels_lead_and_all_but_them_and_the_state_is_by_keyword(case: Case) -> None:
    kinds = {name: p.kind for name, p in inspect.signature(case.function).parameters.items()}
    by_keyword = inspect.Parameter.KEYWORD_ONLY, inspect.Parameter.VAR_KEYWORD
    leading = [name for name, kind in kinds.items() if kind not in by_keyword]
    first = "embeddings" if case.spec.inputs == "embeddings" else "logits"
    assert leading == [first, "labels", *(["state"] if case.takes("state") else [])]


@each_constrained
def test_the_options_of_constrained_losses_stand_in_one_order(case: Case) -> None:
    options = ["weights", "surrogate", "rule", "label_priors", "ignore_index"]
    options += ["process_group", "reduction"]
    expected = ["logits", "labels", "state", case.target[0], *options]
    assert PARAMETERS[case.name] == expected


@each_loss
def test_only_arguments_without_a_natural_value_lack_a_default(case: Case) -> None:
    parameters = inspect.signature(case.function).parameters.values()
    options = [p for p in parameters if p.kind is inspect.Parameter.KEYWORD_ONLY]
    required = [p.name for p in options if p.default is inspect.Parameter.empty]
    assert required == list(case.spec.arguments)


@pytest.mark.parametrize("name", FUNCTIONS | RULES)
def test_documentation_describes_every_argument_in_order(name: str) -> None:
    described, expected = list(arguments(DOCUMENTED[name])), parameters_of(DOCUMENTED[name])
    assert sorted(described) == sorted(expected)
    leading = [n for n in expected if n in ("problem", "logits", "labels", "state", "sums")]
    assert [n for n in described if n in leading] == leading


@pytest.mark.parametrize("name", MODULES)
def test_documentation_of_modules_describes_every_setting(name: str) -> None:
    module = MODULES[name]
    if module is gobj.nn.StatelessLoss:
        assert list(arguments(module)) == ["**settings"]
    elif issubclass(module, gobj.nn.StatelessLoss):
        settings = [word for word in parameters_of(module.function)[2:] if word != "weights"]
        assert list(arguments(module)) == settings
    elif "**options" not in arguments(module):
        assert list(arguments(module)) == parameters_of(module)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_documentation_of_functions_has_all_sections_in_order(name: str) -> None:
    takes_none = not parameters_of(FUNCTIONS[name])
    expected = [title for title in SECTIONS if not (takes_none and title in ("Args", "Raises"))]
    assert list(sections(FUNCTIONS[name])) == expected


@pytest.mark.parametrize("name", DOCUMENTED)
def test_documentation_opens_with_a_sentence_and_leaves_no_placeholder(name: str) -> None:
    text = inspect.getdoc(DOCUMENTED[name]) or ""
    assert re.match(r"[A-Z][^\n]+\.\n", text)
    assert not re.search(r"^ *\{\w+\}|[,:] \{\w+\}", text, flags=re.MULTILINE)


@pytest.mark.parametrize("family", FAMILIES)
def test_documentation_says_the_same_of_an_argument_in_a_whole_family(family: str) -> None:
    said: dict[str, dict[str, list[str]]] = {}
    for name in FAMILIES[family]:
        for argument, text in arguments(DOCUMENTED[name]).items():
            said.setdefault(argument, {}).setdefault(text, []).append(name)
    varying = {"state", "num_labels", "num_anchors"}  # of areas they are several
    varying |= {"absent"}  # some metrics still judge the negatives of a label
    shared = {a: texts for a, texts in said.items() if sum(map(len, texts.values())) > 1}
    assert len(shared) > 3
    different = {a: t for a, t in shared.items() if len(t) > 1 and a not in varying}
    assert not {a for a in different if not a.startswith("target")}


def test_help_lists_every_public_name() -> None:
    listed = pydoc.plain(pydoc.render_doc(gobj))
    assert [name for name in gobj.__all__ if not re.search(rf"\b{name}\b", listed)] == []
    assert sorted(gobj.__all__) == sorted(set(gobj.__all__))
    public = {n for n, v in vars(gobj).items() if not n.startswith("_") and is_our_own(v)}
    assert public == set(gobj.__all__)


@pytest.mark.parametrize("name", MODULES)
def test_help_of_a_module_fits_on_two_screens(name: str) -> None:
    shown = pydoc.plain(pydoc.render_doc(MODULES[name])).splitlines()
    assert len(shown) <= 160
    assert "forward" in "\n".join(shown)


def test_a_module_still_lists_what_it_inherits() -> None:
    assert {"parameters", "state_dict", "threshold"} <= set(dir(gobj.nn.PRLoss(target_recall=0.9)))


@each_loss
def test_what_takes_a_state_returns_one(case: Case) -> None:
    logits, labels, _ = sample(case)
    state = (case.spec.init((3,)),) if case.takes("state") else ()  # of the default rule
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
    ("a number for a surrogate", "surrogate", {"surrogate": 0}),
    ("a reduction by another name", "reduction", {"reduction": "average"}),
    ("a negative weight", "weights", {"weights": -1.0}),
    ("weights of another length", "weights", {"weights": torch.ones(3)}),
    ("weights of more dimensions", "weights", {"weights": torch.ones(4, 3, 1)}),
    ("weights per label alone", "weights", {"weights": torch.ones(3)}),
    ("priors of other labels", "label_priors", {"label_priors": torch.ones(2)}),
    ("a missing number to ignore", "ignore_index", {"ignore_index": float("nan")}),
    ("a name to ignore", "ignore_index", {"ignore_index": "none"}),
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
    with pytest.raises(ValueError, match=f"^{MESSAGE.format(builder, name)}$"):
        case.builder(target)


@each_constrained
def test_targets_of_other_labels_are_refused(case: Case) -> None:
    name, _ = case.target
    with pytest.raises(ValueError, match=f"^{MESSAGE.format(case.name, name)}$"):
        case(LOGITS, LABELS, case.start((3,)), **{name: torch.full((2,), 0.5)})


@pytest.mark.parametrize(
    "case", [c for c in STATEFUL if c.rule_name in ("exact", "surrogate")], ids=str
)
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


@pytest.mark.parametrize("name", [n for n in MODULES if n != "StatelessLoss"])
def test_modules_show_that_they_join_all_ranks(name: str) -> None:
    parameters = inspect.signature(MODULES[name]).parameters
    if "process_group" in parameters:
        assert parameters["process_group"].default == "world"
    else:  # among the options of every module with a state
        assert any(p.kind is p.VAR_KEYWORD for p in parameters.values())
