"""Every module against the function of the same name, and as a part of a training program."""

import copy
import inspect
import pickle
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import gobj
import gobj.nn
from tests.cases import (
    Case,
    State,
    assert_same_state,
    changed,
    each_case,
    each_constrained,
    each_loss,
    each_stateful,
    gradient,
    leaves,
    sample,
)

Criterion = Any
SHAPES = {
    "one label": ((24,), 1),
    "one column": ((24, 1), 1),
    "one column of pixels": ((6, 1, 2, 2), 1),
    "several labels": ((24, 3), 3),
    "a sequence of several labels": ((8, 3, 3), 3),
    "pixels of several labels": ((6, 3, 2, 2), 3),
}
each_shape = pytest.mark.parametrize(("shape", "num_labels"), SHAPES.values(), ids=SHAPES)


def make(case: Case, *, num_labels: int = 3, **options: Any) -> Criterion:
    """Make the module of a case."""
    if case.takes("state"):
        options = {"num_labels": num_labels, **options}
        if options.get("dual_rate_factor") is None:  # which stands for a rule
            options.setdefault("rule", case.rule)
    return case.module(**{**case.spec.arguments, **options})


def to_rows(tensor: Tensor, num_labels: int) -> Tensor:
    """List the examples of each label as the functions take them."""
    if num_labels == 1:
        return tensor.reshape(-1, 1)
    return torch.stack([tensor[:, label].reshape(-1) for label in range(num_labels)], 1)


def train(model: nn.Module, criterion: Criterion, batches: range) -> list[float]:
    """Take a few steps and return the losses."""
    optimizer = torch.optim.SGD(model.parameters(), lr=0.5)
    losses = []
    for seed in batches:
        generator = torch.Generator().manual_seed(seed)
        inputs = torch.randn(32, 4, generator=generator)
        labels = (inputs[:, :3] + 0.5 * torch.randn(32, 3, generator=generator)) > 0.5
        loss = criterion(model(inputs), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses


def model() -> nn.Module:
    """Make a linear model, the same each time."""
    torch.manual_seed(3)
    return nn.Linear(4, 3)


@each_loss
def test_every_loss_has_a_module_with_its_settings(case: Case) -> None:
    assert issubclass(case.module, nn.Module)
    parameters = inspect.signature(case.module).parameters
    assert set(case.spec.arguments) <= set(parameters)
    assert case.module.__doc__


@each_case
def test_a_module_gives_the_loss_of_its_function(case: Case) -> None:
    logits, labels, weights = sample(case)
    expected, _ = case(logits, labels, case.start((3,)))
    criterion = make(case).double()
    torch.testing.assert_close(criterion(logits, labels), expected)
    if case.takes("weights"):
        expected, _ = case(logits, labels, case.start((3,)), weights=weights)
        torch.testing.assert_close(make(case).double()(logits, labels, weights), expected)


@each_stateful
def test_a_module_steps_as_its_function_does_with_backward_between(case: Case) -> None:
    criterion, state = make(case).double(), case.start((3,))
    for seed in range(4):
        logits, labels, weights = sample(case, seed=seed)
        leaf = logits.clone().requires_grad_()
        loss = criterion(leaf, labels, weights=weights)
        loss.backward()
        expected, after = case(logits, labels, state, weights=weights)
        slope = gradient(
            lambda x, args=(labels, state), w=weights: case(x, *args, weights=w)[0], logits
        )
        torch.testing.assert_close(loss, expected, rtol=1e-12, atol=1e-12)
        torch.testing.assert_close(leaf.grad, slope, rtol=1e-12, atol=1e-12)
        torch.testing.assert_close(leaves(criterion.state), leaves(after), rtol=1e-12, atol=1e-12)
        assert type(criterion.state) is type(after)
        state = after


@each_stateful
@each_shape
def test_a_module_takes_the_shapes_of_bce_with_logits(
    case: Case, shape: tuple[int, ...], num_labels: int
) -> None:
    logits, labels, _ = sample(case, shape[0], shape[1:])
    criterion = make(case, num_labels=num_labels).double()
    loss = criterion(logits, labels)
    assert loss.shape == nn.BCEWithLogitsLoss()(logits, labels).shape
    rows = to_rows(logits, num_labels), to_rows(labels, num_labels)
    expected, after = case(*rows, case.start((num_labels,)))
    torch.testing.assert_close(loss, expected)
    torch.testing.assert_close(leaves(criterion.state), leaves(after))


@each_constrained
@each_shape
def test_a_loss_for_each_score_has_the_shape_of_the_scores(
    case: Case, shape: tuple[int, ...], num_labels: int
) -> None:
    logits, labels, _ = sample(case, shape[0], shape[1:])
    each = make(case, num_labels=num_labels, reduction="none").double()(logits, labels)
    assert each.shape == logits.shape
    rows = to_rows(logits, num_labels), to_rows(labels, num_labels)
    expected, _ = case(*rows, case.start((num_labels,)), reduction="none")
    torch.testing.assert_close(to_rows(each, num_labels), expected)


@each_constrained
@pytest.mark.parametrize("weights_of", ["examples", "pixels", "a number"])
def test_weights_reach_pixels_of_every_label(case: Case, weights_of: str) -> None:
    logits, labels, weights = sample(case, 6, (3, 2, 2))
    given, full = {
        "examples": (weights, weights.reshape(6, 1, 1, 1).expand(6, 3, 2, 2)),
        "pixels": 2 * (torch.arange(72, dtype=torch.float64).reshape(6, 3, 2, 2),),
        "a number": (2.0, torch.full((6, 3, 2, 2), 2.0)),
    }[weights_of]
    criterion = make(case).double()
    loss = criterion(logits, labels, weights=given)
    rows = (to_rows(tensor, 3) for tensor in (logits, labels, full))
    scores, classes, each = rows
    expected, after = case(scores, classes, case.start((3,)), weights=each)
    torch.testing.assert_close(loss, expected)
    torch.testing.assert_close(leaves(criterion.state), leaves(after))


@each_constrained
def test_priors_reach_the_function(case: Case) -> None:
    logits, labels, _ = sample(case)
    priors = torch.tensor([0.1, 0.2, 0.7], dtype=torch.float64)
    criterion = make(case, rule=gobj.FrozenDual()).double()
    loss = criterion(logits, labels, label_priors=priors)
    expected, _ = case(
        logits, labels, case.start((3,)), label_priors=priors, rule=gobj.FrozenDual()
    )
    torch.testing.assert_close(loss, expected)


@each_constrained
@pytest.mark.parametrize(
    ("options", "surrogate"),
    [
        ({}, None),
        ({"loss_type": "hinge"}, gobj.hinge),
        ({"loss_type": "cross_entropy"}, gobj.cross_entropy),
        ({"surrogate": gobj.squared_hinge}, gobj.squared_hinge),
    ],
    ids=["default", "hinge", "cross_entropy", "surrogate"],
)
def test_a_module_uses_the_surrogate_that_is_named(
    case: Case, options: dict[str, Any], surrogate: gobj.Surrogate | None
) -> None:
    logits, labels, _ = sample(case)
    loss = make(case, **options).double()(logits, labels)
    expected, _ = case(logits, labels, case.start((3,)), surrogate=surrogate)
    torch.testing.assert_close(loss, expected)


@each_constrained
def test_a_module_uses_a_target_per_label(case: Case) -> None:
    logits, labels, _ = sample(case)
    name, _ = case.target
    several = torch.tensor([0.2, 0.5, 0.9], dtype=torch.float64)
    criterion = case.module(**{name: several}, num_labels=3).double()
    criterion(logits, labels)
    _, after = case(logits, labels, case.start((3,)), **{name: several})
    torch.testing.assert_close(leaves(criterion.state), leaves(after), rtol=1e-12, atol=1e-12)


@each_constrained
def test_a_module_uses_its_target_in_full_precision(case: Case) -> None:
    logits, labels, _ = sample(case)
    name, _ = case.target
    criterion = case.module(**{name: 0.9}, num_labels=3).double()
    criterion(logits, labels)
    _, after = case(logits, labels, case.start((3,)), **{name: 0.9})
    torch.testing.assert_close(leaves(criterion.state), leaves(after), rtol=1e-12, atol=1e-12)


@each_stateful
def test_evaluation_leaves_the_state_alone(case: Case) -> None:
    logits, labels, _ = sample(case)
    criterion = make(case).double()
    criterion(logits, labels)
    before = changed(criterion.state, torch.clone)
    criterion.eval()
    loss = criterion(logits * 2, labels)
    assert_same_state(criterion.state, before)
    torch.testing.assert_close(loss, case(logits * 2, labels, before, rule=case.rule.frozen())[0])
    criterion.train()
    criterion(logits * 2, labels)
    assert_differs(criterion.state, before)


def assert_differs(one: State, other: State) -> None:
    """Require that some tensor differs."""
    pairs = zip(leaves(one), leaves(other), strict=True)
    assert any(not torch.equal(*pair) for pair in pairs)


@each_stateful
def test_training_resumes_from_a_checkpoint_bit_for_bit(case: Case, tmp_path: Path) -> None:
    straight, straight_criterion = model(), make(case)
    train(straight, straight_criterion, range(6))
    stopped, stopped_criterion = model(), make(case)
    train(stopped, stopped_criterion, range(3))
    torch.save([stopped.state_dict(), stopped_criterion.state_dict()], tmp_path / "checkpoint.pt")
    resumed, resumed_criterion = nn.Linear(4, 3), make(case)
    saved = torch.load(tmp_path / "checkpoint.pt", weights_only=True)
    resumed.load_state_dict(saved[0])
    resumed_criterion.load_state_dict(saved[1])
    assert_same_state(resumed_criterion.state, stopped_criterion.state)
    train(resumed, resumed_criterion, range(3, 6))
    assert_same_state(resumed_criterion.state, straight_criterion.state)
    torch.testing.assert_close(resumed.state_dict(), straight.state_dict(), rtol=0, atol=0)


@each_stateful
@pytest.mark.parametrize("how", [copy.deepcopy, lambda x: pickle.loads(pickle.dumps(x))])
def test_copies_go_their_own_way(case: Case, how: Any) -> None:
    logits, labels, _ = sample(case)
    criterion = make(case).double()
    criterion(logits, labels)
    twin, before = how(criterion), changed(criterion.state, torch.clone)
    assert_same_state(twin.state, before)
    torch.testing.assert_close(twin(logits, labels), case(logits, labels, before)[0])
    assert_same_state(criterion.state, before)
    assert_differs(twin.state, before)


@each_constrained
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
@pytest.mark.parametrize("classical", [False, True])
def test_half_precision_leaves_the_state_in_single(
    case: Case, dtype: torch.dtype, classical: bool
) -> None:
    factor = 0.1 if classical else None
    criterion = make(case, dual_rate_factor=factor).to(dtype)
    logits, labels, _ = sample(case)
    loss = criterion(logits.to(dtype), labels)
    assert {leaf.dtype for leaf in leaves(criterion.state)} == {torch.float32}
    expected = make(case, dual_rate_factor=factor)(logits.to(dtype).float(), labels)
    torch.testing.assert_close(loss, expected)


@each_constrained
def test_the_state_moves_with_the_module(case: Case, device: torch.device) -> None:
    criterion = make(case).to(device)
    assert {leaf.device.type for leaf in leaves(criterion.state)} == {device.type}
    logits, labels, _ = sample(case)
    assert criterion(logits.to(device), labels.to(device)).device.type == device.type
    assert {leaf.device.type for leaf in make(case).to("meta").state[:2]} == {"meta"}
    assert {leaf.dtype for leaf in leaves(make(case).double().state)} == {torch.float64}


@each_stateful
def test_two_batches_may_wait_for_one_backward(case: Case) -> None:
    criterion = make(case).double()
    batches = [sample(case, seed=seed)[:2] for seed in range(2)]
    inputs = [logits.clone().requires_grad_() for logits, _ in batches]
    losses = [criterion(leaf, labels) for leaf, (_, labels) in zip(inputs, batches, strict=True)]
    sum(losses).backward()
    state = case.start((3,))
    for leaf, (logits, labels) in zip(inputs, batches, strict=True):
        slope = gradient(lambda x, args=(labels, state): case(x, *args)[0], logits)
        torch.testing.assert_close(leaf.grad, slope)
        _, state = case(logits, labels, state)


@each_stateful
def test_no_optimiser_can_touch_the_state(case: Case) -> None:
    criterion = make(case)
    assert list(criterion.parameters()) == []
    assert list(criterion.lambda_parameters()) == []
    names = {name.split(".")[0] for name in criterion.state_dict()}
    assert {"multiplier", "threshold"} <= names


@pytest.mark.filterwarnings("ignore:.*script_method:DeprecationWarning")  # of the compiler's own
@each_stateful
def test_a_module_compiles_once_while_it_trains(case: Case) -> None:
    torch.compiler.reset()
    backend = "aot_eager_decomp_partition"  # computes again in backward, as the default does
    criterion, plain = make(case), make(case)
    step = torch.compile(criterion, fullgraph=True, backend=backend)
    for seed, stance in enumerate(["default", "fail_on_recompile", "fail_on_recompile"]):
        logits, labels, _ = sample(case, seed=seed)
        leaf, other = (logits.float().requires_grad_() for _ in range(2))
        with torch.compiler.set_stance(stance):
            loss = step(leaf, labels)
            loss.backward()
        want = plain(other, labels)
        want.backward()
        torch.testing.assert_close(loss, want)
        torch.testing.assert_close(leaf.grad, other.grad)
    torch.testing.assert_close(leaves(criterion.state), leaves(plain.state))
    own = {name: leaf.data_ptr() for name, leaf in gobj.state_dict(criterion.state).items()}
    assert len(set(own.values())) == len(own)


def classical(case: Case, factor: float = 0.25, **options: Any) -> Criterion:
    """Make a classical module with duals of its own."""
    criterion = make(case, dual_rate_factor=factor, **options).double()
    with torch.no_grad():
        criterion.multiplier.copy_(torch.tensor([0.5, 1.0, 2.0]))
        criterion.threshold.copy_(torch.tensor([-0.2, 0.0, 0.3]))
    return criterion


def frozen(case: Case, logits: Tensor, labels: Tensor, multiplier: Tensor, cut: Tensor) -> Tensor:
    """Return the mean Lagrangian at some duals."""
    return gobj.lagrangian(logits, labels, case.problem, multiplier, cut).mean()


@each_constrained
def test_the_classical_loss_is_the_lagrangian_at_its_parameters(case: Case) -> None:
    logits, labels, _ = sample(case)
    criterion = classical(case)
    expected = frozen(case, logits, labels, criterion.multiplier, criterion.threshold)
    torch.testing.assert_close(criterion(logits, labels), expected)


@each_constrained
def test_classical_multipliers_ascend_by_a_scaled_reversed_gradient(case: Case) -> None:
    logits, labels, _ = sample(case)
    criterion = classical(case)
    leaf = logits.clone().requires_grad_()
    criterion(leaf, labels).backward()
    duals = [p.detach().clone().requires_grad_() for p in criterion.state[:2]]
    plain = logits.clone().requires_grad_()
    frozen(case, plain, labels, *duals).backward()
    torch.testing.assert_close(criterion.multiplier.grad, -0.25 * duals[0].grad)
    torch.testing.assert_close(criterion.threshold.grad, duals[1].grad)
    torch.testing.assert_close(leaf.grad, plain.grad)


@each_constrained
@pytest.mark.parametrize("training", [True, False])
def test_classical_multipliers_below_zero_count_as_zero(case: Case, training: bool) -> None:
    logits, labels, _ = sample(case)
    criterion = classical(case).train(training)
    with torch.no_grad():
        criterion.multiplier.fill_(-3)
    loss = criterion(logits, labels)
    kept = torch.full((3,), 0.0 if training else -3.0).double()
    torch.testing.assert_close(criterion.multiplier.detach(), kept)
    expected = frozen(case, logits, labels, torch.zeros(3), criterion.threshold)
    torch.testing.assert_close(loss, expected)


@each_constrained
def test_a_factor_of_zero_holds_the_classical_multipliers(case: Case) -> None:
    logits, labels, _ = sample(case)
    criterion = classical(case, 0.0)
    criterion(logits, labels).backward()
    torch.testing.assert_close(criterion.multiplier.grad, torch.zeros(3).double())


@each_constrained
def test_classical_multipliers_have_a_list_of_their_own(case: Case) -> None:
    criterion = classical(case)
    assert [id(p) for p in criterion.lambda_parameters()] == [id(criterion.multiplier)]
    assert {name for name, _ in criterion.named_parameters()} == {"multiplier", "threshold"}


@each_constrained
def test_classical_duals_wait_for_their_optimiser(case: Case) -> None:
    logits, labels, _ = sample(case)
    criterion = classical(case)
    before = changed(criterion.state, lambda leaf: leaf.detach().clone())
    sum(criterion(logits * k, labels) for k in (1, 2)).backward()
    criterion.eval()
    criterion(logits, labels).backward()
    assert_same_state(changed(criterion.state, torch.detach), before)


@each_constrained
def test_classical_multipliers_follow_the_bound_under_plain_descent(case: Case) -> None:
    logits, labels, _ = sample(case)
    criterion = classical(case, 1.0)
    optimizer = torch.optim.SGD(criterion.lambda_parameters(), lr=0.1)
    before = criterion.multiplier.detach().clone()
    criterion(logits, labels).backward()
    optimizer.step()
    held = gobj.Problem(gobj.LinearForm(), case.problem.constraint)
    bound = gobj.lagrangian(logits, labels, held, 1.0, criterion.threshold.detach())
    expected = before + 0.1 * bound / 3  # the loss is a mean over three labels
    torch.testing.assert_close(criterion.multiplier.detach(), expected)


ALIASES = [
    (gobj.nn.PRLoss, "target_recall", "precision_at_recall_loss"),
    (gobj.nn.PRLoss, "target_precision", "recall_at_precision_loss"),
    (gobj.nn.TPRFPRLoss, "target_fpr", "tpr_at_fpr_loss"),
    (gobj.nn.TPRFPRLoss, "target_tpr", "fpr_at_tpr_loss"),
]


@pytest.mark.parametrize(("alias", "target", "loss"), ALIASES, ids=[a[1] for a in ALIASES])
def test_aliases_choose_the_objective_by_the_target(alias: Any, target: str, loss: str) -> None:
    case = Case(loss, "implicit")
    logits, labels, _ = sample(case)
    by_alias = alias(num_labels=3, **{target: 0.3}).double()
    by_name = case.module(0.3, 3, dual_rate_factor=0.1).double()
    for criterion in (by_alias, by_name):
        criterion(logits, labels).backward()
    assert len(list(by_alias.lambda_parameters())) == 1
    torch.testing.assert_close(by_alias.multiplier.grad, by_name.multiplier.grad)
    by_rule = alias(num_labels=3, dual_rate_factor=None, **{target: 0.3}).double()
    by_rule(logits, labels)
    assert_same_state(by_rule.state, case(logits, labels, case.start((3,)), **{target: 0.3})[1])


@pytest.mark.parametrize("alias", [gobj.nn.PRLoss, gobj.nn.TPRFPRLoss])
def test_aliases_take_exactly_one_target(alias: Any) -> None:
    names = [name for name in inspect.signature(alias).parameters if name.startswith("target")]
    form = rf"^{alias.__name__}: `{names[0]}` must be given, .+; got .+\.$"
    with pytest.raises(ValueError, match=form):
        alias()
    with pytest.raises(ValueError, match=form):
        alias(**dict.fromkeys(names, 0.5))


REFUSED = [
    ("num_labels", {"num_labels": 0}),
    ("num_labels", {"num_labels": 2.0}),
    ("loss_type", {"loss_type": "xent"}),
    ("loss_type", {"loss_type": "hinge", "surrogate": gobj.hinge}),
    ("dual_rate_factor", {"dual_rate_factor": -1.0}),
    ("rule", {"rule": 0.1}),
    ("surrogate", {"surrogate": torch.relu}),
    ("reduction", {"reduction": "average"}),
]


@each_constrained
@pytest.mark.parametrize(
    ("argument", "options"), REFUSED, ids=["-".join(options) for _, options in REFUSED]
)
def test_what_a_module_cannot_be_made_of_is_refused_before_the_first_batch(
    case: Case, argument: str, options: dict[str, Any]
) -> None:
    with pytest.raises(ValueError, match=rf"^\w+: `{argument}` must .+; got .+\.$"):
        make(case, **options)


@each_constrained
@pytest.mark.parametrize("target", [0.0, 1.0, 1.5, "0.9", None])
def test_a_module_refuses_a_target_out_of_range(case: Case, target: Any) -> None:
    form = rf"^{case.module.__name__}: `{case.target[0]}` must .+; got .+\.$"
    with pytest.raises(ValueError, match=form):
        case.module(**{case.target[0]: target})


@each_constrained
def test_a_module_refuses_targets_for_other_labels(case: Case) -> None:
    form = rf"^{case.module.__name__}: `{case.target[0]}` must broadcast to .+; got .+\.$"
    with pytest.raises(ValueError, match=form):
        make(case, num_labels=3, **{case.target[0]: torch.tensor([0.5, 0.6])})


@each_constrained
def test_a_module_shows_its_target_and_labels(case: Case) -> None:
    name, value = case.target
    assert f"({name}={value}, num_labels=3)" in repr(make(case, num_labels=3))


def test_a_module_takes_a_problem_of_ones_own() -> None:
    criterion = gobj.nn.ConstrainedLoss(gobj.recall_at_precision(0.9))
    area = gobj.nn.ConstrainedLoss(gobj.roc_auc(), num_anchors=4)
    logits, labels = torch.tensor([1.0, 2.0, -1.0]), torch.tensor([0, 1, 1])
    for ours, named in (
        (criterion, gobj.nn.RecallAtPrecisionLoss(0.9)),
        (area, gobj.nn.ROCAUCLoss(num_anchors=4)),
    ):
        for _ in range(3):
            torch.testing.assert_close(ours(logits, labels), named(logits, labels))
        assert_same_state(ours.state, named.state)


@each_constrained
def test_a_module_refuses_other_shapes(case: Case) -> None:
    criterion, name = make(case), case.module.__name__
    scores = torch.zeros(4, 3)
    bad = [
        ("logits", scores[:, :2], scores[:, :2], None),
        ("logits", scores[:, 0], scores[:, 0], None),
        ("logits", scores.int(), scores, None),
        ("labels", scores, scores[:, :1], None),
        ("weights", scores, scores, torch.ones(3)),
    ]
    for argument, logits, labels, weights in bad:
        with pytest.raises(ValueError, match=rf"^{name}: `{argument}` must .+; got .+\.$"):
            criterion(logits, labels, weights)


@each_constrained
@each_shape
@pytest.mark.parametrize("factor", [None, 0.1], ids=["rule", "classical"])
def test_an_empty_batch_passes_a_module(
    case: Case, shape: tuple[int, ...], num_labels: int, factor: float | None
) -> None:
    criterion = make(case, num_labels=num_labels, dual_rate_factor=factor)
    before = changed(criterion.state, lambda leaf: leaf.detach().clone())
    scores = torch.zeros((0, *shape[1:]), requires_grad=True)
    loss = criterion(scores, torch.zeros((0, *shape[1:])))
    loss.backward()
    assert loss.item() == 0
    assert_same_state(changed(criterion.state, torch.detach), before)


@each_constrained
def test_a_misspelt_option_is_not_swallowed(case: Case) -> None:
    with pytest.raises(TypeError, match="dual_rate"):
        make(case, dual_rate=0.1)
