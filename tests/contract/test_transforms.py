"""Every public loss under torch's transforms: vmap, grad, jvp, compile, and second derivatives."""

from typing import Any

import pytest
import torch
from torch import Tensor

import gobj
from tests.cases import (
    LOSSES,
    Case,
    State,
    assert_same_state,
    changed,
    each_aimed,
    each_case,
    each_loss,
    each_stateful,
    gradient,
    leaves,
    sample,
    warmed,
    weighted,
)

LABELS = 4
EXACT = {"rtol": 1e-12, "atol": 1e-12}
compiles = pytest.mark.filterwarnings("ignore:Dynamo:UserWarning")


def stacked(states: list[State]) -> State:
    """Stack the tensors of states along a new first axis."""
    if isinstance(states[0], Tensor):
        return torch.stack(states)
    parts = zip(*states, strict=True)
    return type(states[0])(*(stacked(list(part)) for part in parts)) if states[0] else ()


def problems(case: Case) -> tuple[Tensor, Tensor, Tensor, list[State]]:
    """Return four batches side by side, with a warm state each."""
    batches = [sample(case, 12, (3,), seed) for seed in range(LABELS)]
    logits, labels, weights = (torch.stack(column) for column in zip(*batches, strict=True))
    states = [warmed(case, (3,), batches=1 + k) for k in range(LABELS)]
    return logits, labels, weights, states


@pytest.mark.parametrize(
    ("case", "mapped"),
    [
        pytest.param(case, mapped, id=f"{case}-{mapped}")
        for case in each_case.args[1]
        for mapped in ("logits", "labels", "weights")
        if mapped != "weights" or case.takes("weights")
    ],
)
def test_one_argument_may_be_mapped_alone(case: Case, mapped: str) -> None:
    several = dict(zip(("logits", "labels", "weights"), problems(case)[:3], strict=True))
    shared = {name: values[0] for name, values in several.items()}
    state = warmed(case, (3,))

    def loss(one: Tensor) -> Any:
        given = {**shared, mapped: one}
        return case(given["logits"], given["labels"], state, **weighted(case, given["weights"]))

    got, after = torch.vmap(loss)(several[mapped])
    for k, one in enumerate(several[mapped]):
        expected, expected_after = loss(one)
        torch.testing.assert_close(got[k], expected, **EXACT)
        alone = [leaf[k] for leaf in leaves(after)]
        torch.testing.assert_close(alone, leaves(expected_after), **EXACT)


@each_case
def test_problems_side_by_side_are_separate_calls(case: Case) -> None:
    logits, labels, weights, states = problems(case)

    def loss(logits: Tensor, labels: Tensor, weights: Tensor, state: State) -> Any:
        return case(logits, labels, state, **weighted(case, weights))

    got, after = torch.vmap(loss)(logits, labels, weights, stacked(states))
    for k, state in enumerate(states):
        expected, expected_after = loss(logits[k], labels[k], weights[k], state)
        torch.testing.assert_close(got[k], expected, **EXACT)
        one = [leaf[k] for leaf in leaves(after)]
        torch.testing.assert_close(one, leaves(expected_after), **EXACT)


@each_stateful
@pytest.mark.parametrize("reduction", ["none", "mean"])
def test_labels_by_vmap_natively_and_in_a_loop_are_the_same(case: Case, reduction: str) -> None:
    logits, labels, _ = sample(case, 30, (LABELS,))
    weights = torch.linspace(0.0, 2.0, 30 * LABELS, dtype=torch.float64).reshape(30, LABELS)
    state = warmed(case, (LABELS,))

    def one(logits: Tensor, labels: Tensor, weights: Tensor, state: State) -> Any:
        return case(logits, labels, state, weights=weights, reduction=reduction)

    native, native_after = one(logits, labels, weights, state)
    axis = -1 if reduction == "none" else 0
    outer = torch.vmap(one, in_dims=(1, 1, 1, 0), out_dims=(axis, 0))
    mapped, mapped_after = outer(logits, labels, weights, state)
    looped = [
        one(
            logits[:, label],
            labels[:, label],
            weights[:, label],
            changed(state, lambda leaf, label=label: leaf[label]),
        )
        for label in range(LABELS)
    ]
    torch.testing.assert_close(mapped, torch.stack([loss for loss, _ in looped], axis), **EXACT)
    torch.testing.assert_close(native, mapped if reduction == "none" else mapped.mean(), **EXACT)
    torch.testing.assert_close(leaves(mapped_after), leaves(native_after), **EXACT)
    separate = stacked([after for _, after in looped])
    torch.testing.assert_close(leaves(separate), leaves(native_after), **EXACT)


@each_aimed
def test_a_target_per_label_goes_through_vmap(case: Case) -> None:
    logits, labels, _ = sample(case, 30, (3,))
    state, (name, _) = warmed(case, (3,)), case.target
    several = torch.tensor([0.2, 0.5, 0.9], dtype=torch.float64)

    def one(logits: Tensor, labels: Tensor, state: State, target: Tensor) -> Any:
        return case(logits, labels, state, **{name: target})

    mapped, mapped_after = torch.vmap(one, in_dims=(1, 1, 0, 0))(logits, labels, state, several)
    native, native_after = case(logits, labels, state, **{name: several})
    torch.testing.assert_close(mapped.mean(), native, **EXACT)
    torch.testing.assert_close(leaves(mapped_after), leaves(native_after), **EXACT)


@each_case
def test_gradients_by_vmap_are_those_of_autograd(case: Case) -> None:
    logits, labels, _, states = problems(case)

    def loss(logits: Tensor, labels: Tensor, state: State) -> Tensor:
        return case(logits, labels, state)[0]

    got = torch.vmap(torch.func.grad(loss))(logits, labels, stacked(states))
    for k, state in enumerate(states):
        expected = gradient(lambda x, k=k, state=state: loss(x, labels[k], state), logits[k])
        torch.testing.assert_close(got[k], expected, **EXACT)


@each_case
def test_grad_with_the_state_beside_the_loss_is_the_plain_gradient(case: Case) -> None:
    logits, labels, weights = sample(case)
    state = warmed(case, (3,))

    def loss(logits: Tensor) -> Any:
        return case(logits, labels, state, **weighted(case, weights))

    slope, after = torch.func.grad(loss, has_aux=True)(logits)
    torch.testing.assert_close(slope, gradient(lambda x: loss(x)[0], logits), **EXACT)
    assert_same_state(after, loss(logits)[1])
    assert type(after) is type(state)


@each_case
def test_forward_derivatives_are_those_of_autograd(case: Case) -> None:
    logits, labels, _ = sample(case)
    state, direction = warmed(case, (3,)), torch.linspace(-1, 2, 60).double().reshape(20, 3)

    def loss(logits: Tensor) -> Tensor:
        return case(logits, labels, state)[0]

    value, slope = torch.func.jvp(loss, (logits,), (direction,))
    torch.testing.assert_close(value, loss(logits), **EXACT)
    torch.testing.assert_close(slope, (gradient(loss, logits) * direction).sum(), **EXACT)


@each_stateful
def test_jacobians_per_example_are_diagonal_where_examples_do_not_meet(case: Case) -> None:
    # The weights that the loss gives to examples depend on the batch, but carry no gradient.
    logits, labels, _ = sample(case, 8, ())
    state = warmed(case)

    def losses(logits: Tensor) -> Tensor:
        return case(logits, labels, state, reduction="none")[0]

    jacobian = torch.func.jacrev(losses)(logits)
    torch.testing.assert_close(jacobian, torch.diag(jacobian.diag()), rtol=0, atol=0)
    torch.testing.assert_close(jacobian.diag(), gradient(lambda x: losses(x).sum(), logits))


@pytest.mark.parametrize("case", [c for c in LOSSES if c.takes("rule")], ids=str)
@pytest.mark.parametrize("rule", ["exact", "surrogate", "frozen"])
@pytest.mark.parametrize(
    "surrogate",
    [gobj.cross_entropy, gobj.generalized_cross_entropy(0.4, 0.5), gobj.sigmoid()],
    ids=["cross_entropy", "generalized_cross_entropy", "sigmoid"],
)
def test_losses_have_the_derivatives_of_their_values(
    case: Case, rule: str, surrogate: gobj.Surrogate
) -> None:
    rules = {
        "exact": gobj.DualAscent(),
        "surrogate": gobj.DualAscent(signal="surrogate", threshold_rate=0.1),
        "frozen": gobj.FrozenDual(),
    }
    logits, labels, weights = sample(case, 4, (2,))
    state = case.spec.init((2,), rule=rules[rule], dtype=torch.float64)
    state = state._replace(threshold=state.threshold + 0.3)

    def loss(logits: Tensor) -> Tensor:
        options = {"weights": weights, "surrogate": surrogate, "rule": rules[rule]}
        return case(logits, labels, state, **options)[0]

    logits.requires_grad_()
    assert torch.autograd.gradcheck(loss, (logits,))
    assert torch.autograd.gradgradcheck(loss, (logits,))


@pytest.mark.parametrize("case", [c for c in LOSSES if c.takes("rule")], ids=str)
@pytest.mark.parametrize("order", [1, 2])
def test_the_default_rule_has_the_derivatives_of_a_batch_with_fixed_class_weights(
    case: Case, order: int
) -> None:
    # What an example of vanishing weight scores does not change what the classes weigh, so that
    # finite differences of its own loss see them fixed; its twin of full weight has its slope.
    logits, labels, _ = sample(case, 10, ())
    state, tiny, step = warmed(case), 1e-9, 1e-5
    weights = torch.cat([torch.ones(10), torch.full((10,), tiny)]).double()

    def losses(probes: Tensor, twins: Tensor) -> Tensor:
        both, doubled = torch.cat([twins, probes]), torch.cat([labels, labels])
        each = case(both, doubled, state, weights=weights, reduction="none")[0]
        return each / weights

    def of_probes(probes: Tensor) -> Tensor:
        each = losses(probes, logits)[10:]
        if order == 1:
            return each
        leaf = probes.detach().clone().requires_grad_()
        (slope,) = torch.autograd.grad(losses(leaf, logits)[10:].sum(), leaf, create_graph=True)
        return slope

    twins = logits.clone().requires_grad_()
    (slope,) = torch.autograd.grad(losses(logits, twins)[:10].sum(), twins, create_graph=True)
    if order == 2:
        (slope,) = torch.autograd.grad(slope.sum(), twins)
    differences = (of_probes(logits + step) - of_probes(logits - step)) / (2 * step)
    torch.testing.assert_close(slope.detach(), differences.detach(), rtol=1e-6, atol=1e-6)


def compiled(case: Case, **options: Any) -> Any:
    """Compile the loss of a case alone, and forget what was compiled before."""
    torch.compiler.reset()

    def step(logits: Tensor, labels: Tensor, state: State, *target: Tensor) -> Any:
        named = dict(zip(case.spec.arguments, target, strict=False)) if target else {}
        return case(logits, labels, state, **named, **options)

    return torch.compile(step, fullgraph=True, backend="aot_eager")


NUMBERS = {  # every Python number that a loss may be given, and how far one call is from the next
    "amplification": (40.0, 3.0),
    "alpha": (0.5, 0.02),
    "beta": (0.5, 0.03),
    "epsilon": (0.5, 0.05),
    "gamma": (1.5, 0.05),
    "label_priors": (0.3, 0.02),
    "label_smoothing": (0.1, 0.01),
    "negative_cost": (3.0, 0.1),
    "smoothing": (0.02, 0.01),
    "temperature": (0.5, 0.05),
    "threshold": (0.4, 0.02),
    "weights": (0.5, 0.25),
}
CALLS = [(24, "default"), (24, "default"), (17, "default"), (31, "fail_on_recompile")]


def numbers(case: Case, call: int, skipped: str = "") -> dict[str, float]:
    """Return other values for every number that a loss takes but one, its target included."""
    given = {
        name: first + call * step
        for name, (first, step) in NUMBERS.items()
        if case.takes(name) and name != skipped
    }
    aims = {name: value for name, value in case.spec.arguments.items() if isinstance(value, float)}
    return {**given, **{name: value - 0.02 * call for name, value in aims.items()}}


@compiles
@pytest.mark.filterwarnings("ignore:.*script_method:DeprecationWarning")  # of the compiler's own
@each_loss
@pytest.mark.parametrize("dynamic", [None, True], ids=["static", "dynamic"])
def test_one_graph_serves_sizes_and_numbers_that_change(case: Case, dynamic: bool | None) -> None:
    torch.compiler.reset()
    step = torch.compile(
        case, fullgraph=True, dynamic=dynamic, backend="aot_eager_decomp_partition"
    )
    state = case.start((3,))
    unused = "temperature" if dynamic else "amplification"  # of these two, one takes effect
    for call, (n, stance) in enumerate(CALLS):
        logits, labels, _ = sample(case, n, seed=call)
        leaf, given = logits.clone().requires_grad_(), numbers(case, call, unused)
        with torch.compiler.set_stance(stance):
            loss, after = step(leaf, labels, state, **given)
            loss.backward()
        expected, expected_after = case(logits, labels, state, **given)
        torch.testing.assert_close(loss, expected)
        torch.testing.assert_close(leaves(after), leaves(expected_after))
        slope = gradient(lambda x, args=(labels, state), o=given: case(x, *args, **o)[0], logits)
        torch.testing.assert_close(leaf.grad, slope)
        assert type(after) is type(state)
        state = expected_after


@compiles
@each_loss
def test_a_map_over_problems_compiles(case: Case) -> None:
    torch._dynamo.reset()
    logits, labels, weights, states = problems(case)

    def loss(logits: Tensor, labels: Tensor, weights: Tensor, state: State) -> Any:
        return case(logits, labels, state, **weighted(case, weights))

    mapped = torch.vmap(loss)
    given = logits, labels, weights, stacked(states)
    got, after = torch.compile(mapped, fullgraph=True, backend="aot_eager")(*given)
    expected, expected_after = mapped(*given)
    torch.testing.assert_close(got, expected)
    torch.testing.assert_close(leaves(after), leaves(expected_after))


@compiles
@pytest.mark.parametrize("case", [c for c in LOSSES if c.spec.goal][-1:], ids=str)
@pytest.mark.parametrize("rule", ["exact", "surrogate"])
def test_one_graph_serves_every_value_of_a_tensor_target(case: Case, rule: str) -> None:
    case = Case(case.name, rule)
    logits, labels, weights = sample(case)
    step, state = compiled(case, weights=weights), case.start((3,))
    _, state = step(logits, labels, state, torch.tensor(0.5).double())
    with torch.compiler.set_stance("fail_on_recompile"):
        loss, _ = step(logits, labels, state, torch.tensor(0.3).double())
    name, _ = case.target
    expected, _ = case(logits, labels, state, weights=weights, **{name: 0.3})
    torch.testing.assert_close(loss, expected)
