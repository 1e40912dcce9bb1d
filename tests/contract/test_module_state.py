"""What a module keeps: when it moves, what it is saved as, and what it refuses to load."""

import copy
import inspect
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_model, save_model
from torch import Tensor, nn
from torch.func import functional_call, grad, jvp, vmap
from torch.utils.checkpoint import checkpoint

import gobj
import gobj.nn
from tests.cases import (
    LOSSES,
    Case,
    assert_same_state,
    changed,
    each_stateful,
    leaves,
    sample,
)

AREAS = [case for case in LOSSES if case.takes("state") and not case.spec.goal]
each_area = pytest.mark.parametrize("case", AREAS, ids=str)
each_module = pytest.mark.parametrize(
    "case", [case for case in LOSSES if case.takes("state")], ids=str
)
each_mode = pytest.mark.parametrize("factor", [None, 0.1], ids=["rule", "classical"])
BATCH = sample(AREAS[0], labels=(3,))[:2]


def make(case: Case, factor: float | None = None, **options: Any) -> Any:
    """Make the module of a case for three labels."""
    more = {"rule": case.rule} if factor is None else {"dual_rate_factor": factor}
    return case.module(**{**case.spec.arguments, "num_labels": 3, **more, **options})


def stepped(case: Case, factor: float | None = None, **options: Any) -> Any:
    """Return a module that has seen two batches."""
    criterion = make(case, factor, **options).double()
    for _ in range(2):
        criterion(*BATCH)
    return criterion


def kept(criterion: Any) -> Any:
    """Copy the state of a module."""
    return changed(criterion.state, lambda leaf: leaf.detach().clone())


@each_stateful
def test_every_tensor_owns_its_memory(case: Case) -> None:
    tensors = leaves(stepped(case).state)
    _, after = case(*BATCH, case.start((3,)))
    for some in (tensors, leaves(after), leaves(case.start((3,)))):
        for tensor in some:
            assert tensor.untyped_storage().nbytes() == tensor.numel() * tensor.element_size()
        assert len({tensor.data_ptr() for tensor in some}) == len(some)


@each_module
@each_mode
def test_a_module_is_written_and_read_as_safetensors(
    case: Case, factor: float | None, tmp_path: Path
) -> None:
    criterion = stepped(case, factor)
    save_model(criterion, str(tmp_path / "criterion.safetensors"))
    other = make(case, factor).double()
    load_model(other, str(tmp_path / "criterion.safetensors"))
    assert_same_state(kept(other), kept(criterion))


@each_module
@each_mode
def test_a_module_made_without_memory_starts_like_any_other(
    case: Case, factor: float | None
) -> None:
    with torch.device("meta"):
        criterion = make(case, factor)
    assert all(leaf.is_meta for leaf in leaves(criterion.state))
    criterion.to_empty(device="cpu")
    with torch.no_grad():
        for leaf in leaves(criterion.state):
            leaf.fill_(torch.nan)  # what may stand in new memory
    criterion.reset_parameters()
    assert_same_state(kept(criterion), kept(make(case, factor)))
    plain = make(case, factor)
    for _ in range(2):
        torch.testing.assert_close(criterion(*BATCH), plain(*BATCH), rtol=0, atol=0)


@each_module
def test_starting_anew_keeps_the_dtype_and_the_tensors(case: Case) -> None:
    criterion = stepped(case)
    before = leaves(criterion.state)
    criterion.reset_parameters()
    assert_same_state(criterion.state, kept(make(case).double()))
    assert all(x is y for x, y in zip(before, leaves(criterion.state), strict=True))


@each_module
@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode], ids=["no_grad", "infer"])
def test_validation_in_training_mode_moves_nothing(case: Case, mode: Any) -> None:
    criterion = stepped(case)
    before = kept(criterion)
    with mode():
        loss = criterion(BATCH[0] * 3, BATCH[1])
    assert loss.isfinite()
    assert_same_state(criterion.state, before)
    criterion.load_state_dict(criterion.state_dict())
    criterion(*BATCH)
    _, after = case(*BATCH, before)
    assert_same_state(criterion.state, after)


TRANSFORMS = {
    "vmap": lambda loss, logits: vmap(loss)(torch.stack([logits, logits * 2])),
    "grad": lambda loss, logits: grad(loss)(logits),
    "jvp": lambda loss, logits: jvp(loss, (logits,), (logits,)),
}


@each_module
@pytest.mark.parametrize("transform", TRANSFORMS.values(), ids=TRANSFORMS)
def test_a_transform_is_refused_in_one_sentence_and_leaves_the_module_usable(
    case: Case, transform: Any
) -> None:
    criterion, logits, labels = stepped(case), *BATCH
    before = kept(criterion)
    with pytest.raises(
        ValueError, match=rf"torch\.func, where gobj\.{case.name} is called"
    ) as told:
        transform(lambda x: criterion(x, labels), logits)
    assert "\n" not in str(told.value)
    assert len(str(told.value)) < 250
    assert_same_state(criterion.state, before)
    twin = copy.deepcopy(criterion)
    twin.load_state_dict(criterion.state_dict())
    loss, after = case(logits, labels, before)
    torch.testing.assert_close(twin(logits, labels), loss)
    assert_same_state(twin.state, after)


@each_module
def test_a_module_in_evaluation_goes_through_transforms(case: Case) -> None:
    criterion, logits, labels = stepped(case).eval(), *BATCH
    slope = grad(lambda x: criterion(x, labels))(logits)
    rule = case.rule.frozen()
    expected = grad(lambda x: case(x, labels, criterion.state, rule=rule)[0])(logits)
    torch.testing.assert_close(slope, expected)
    both = vmap(lambda x: criterion(x, labels))(torch.stack([logits, logits * 2]))
    torch.testing.assert_close(both[1], criterion(logits * 2, labels))


class Net(nn.Module):
    """A model that holds its criterion."""

    def __init__(self, criterion: Any) -> None:
        super().__init__()
        self.head, self.criterion = nn.Linear(4, 3, dtype=torch.float64), criterion

    def forward(self, inputs: Tensor, labels: Tensor) -> Tensor:
        loss: Tensor = self.criterion(self.head(inputs), labels)
        return loss


@each_module
def test_a_functional_call_moves_the_buffers_that_it_is_given(case: Case) -> None:
    net = Net(stepped(case))
    inputs, labels, before = torch.randn(20, 4).double(), BATCH[1], kept(net.criterion)
    given = {name: tensor.clone() for name, tensor in net.named_buffers()}
    loss = functional_call(net, {**dict(net.named_parameters()), **given}, (inputs, labels))
    expected, after = case(net.head(inputs), labels, before)
    torch.testing.assert_close(loss, expected)
    assert_same_state(net.criterion.state, before)
    moved = [given[f"criterion.{name}"] for name in gobj.state_dict(before)]
    torch.testing.assert_close(moved, leaves(after), rtol=0, atol=0)
    functional_call(net, dict(net.named_parameters()), (inputs, labels))
    assert_same_state(net.criterion.state, after)  # its own, where none are given


@each_module
@each_mode
def test_half_precision_tensors_that_are_assigned_become_single(
    case: Case, factor: float | None
) -> None:
    saved = stepped(case, factor).state_dict()
    halves = {
        name: tensor.half() if tensor.is_floating_point() else tensor
        for name, tensor in saved.items()
    }
    criterion = make(case, factor)
    criterion.load_state_dict(halves, assign=True)
    tensors = leaves(criterion.state)
    assert {tensor.dtype for tensor in tensors} == {torch.float32}
    for name, tensor in zip(gobj.state_dict(criterion.state), tensors, strict=True):
        torch.testing.assert_close(tensor.detach(), halves[name].float(), rtol=0, atol=0)
        assert tensor.data_ptr() not in {value.data_ptr() for value in halves.values()}
    kinds = {name: type(getattr(criterion, name)) for name in ("multiplier", "threshold")}
    assert set(kinds.values()) == ({nn.Parameter} if factor else {Tensor})
    criterion(BATCH[0].float(), BATCH[1])


@each_area
def test_anchors_in_double_precision_are_kept_in_it(case: Case) -> None:
    places = torch.tensor([0.1, 0.3, 1 / 7], dtype=torch.float64)
    criterion = make(case, num_anchors=places).double()
    criterion.reset_parameters()
    torch.testing.assert_close(criterion.anchors[0], places, rtol=0, atol=0)
    places.zero_()  # which are not the caller's own
    assert (criterion.anchors > 0).all()


def others(case: Case) -> dict[str, Any]:
    """Make modules whose state must not be taken for that of a case."""
    aimed = [other for other in LOSSES if other.spec.goal and other is not case]
    if case.spec.goal:
        return {"objective": make(aimed[0]), "target": make(case, **{case.target[0]: 0.123})}
    names = [name for name in inspect.signature(case.module).parameters if name.endswith("_range")]
    found = {name: make(case, **{name: (0.25, 0.75)}) for name in names}
    objective = next(other for other in AREAS if other is not case)
    places = torch.linspace(0.1, 0.8, 8)
    return {"objective": make(objective), "anchors": make(case, num_anchors=places), **found}


@each_module
def test_the_state_of_another_goal_is_refused(case: Case) -> None:
    criterion = make(case)
    for other in others(case).values():
        with pytest.raises(ValueError, match=r"`state_dict` must .+; got .+\.$"):
            criterion.load_state_dict(other.state_dict())
        assert_same_state(criterion.state, make(case).state)


@each_module
def test_states_of_functions_and_modules_have_the_same_names(case: Case) -> None:
    _, state = case(*BATCH, case.start((3,)))
    criterion = make(case).double()
    saved = gobj.state_dict(state)
    assert list(saved) == [name for name in criterion.state_dict() if name != "_extra_state"]
    criterion.load_state_dict(saved)
    assert_same_state(criterion.state, state)
    restored = {key: value for key, value in criterion.state_dict().items() if key in saved}
    assert_same_state(gobj.load_state_dict(case.start((3,)), restored), state)


@each_module
@each_mode
def test_a_forgotten_number_of_labels_is_an_error(case: Case, factor: float | None) -> None:
    criterion = make(case, factor, num_labels=1)
    with pytest.raises(ValueError, match=r"`logits` must have 1 labels in dimension 1"):
        criterion(*BATCH)


@each_module
def test_predictions_compare_each_label_with_its_own_threshold(case: Case) -> None:
    criterion = make(case)
    cuts = torch.tensor([-1.0, 0.0, 1.0])
    which: dict[str, Any] = {} if case.spec.goal else {"anchor": 2}
    with torch.no_grad():
        threshold = criterion.threshold if case.spec.goal else criterion.threshold[:, 2]
        threshold.copy_(cuts)
    scores = torch.randn(5, 3, 2, 3)  # as wide as there are labels
    expected = scores > cuts[:, None, None]
    assert torch.equal(criterion.predict(scores, **which), expected)
    assert torch.equal(criterion.predict(scores[:, :, 0, 0], **which), expected[:, :, 0, 0])


def test_areas_predict_at_a_named_anchor_and_points_at_none() -> None:
    with pytest.raises(ValueError, match=r"`anchor` must be the index of one of 8 anchors; got N"):
        gobj.nn.ROCAUCLoss().predict(torch.zeros(4))
    with pytest.raises(ValueError, match=r"`anchor` must be None; got 0"):
        gobj.nn.TPRAtFPRLoss(0.1).predict(torch.zeros(4), anchor=0)


@each_module
@pytest.mark.parametrize("reentrant", [True, False])
def test_a_function_may_be_computed_again_for_its_activations(case: Case, reentrant: bool) -> None:
    logits, labels = BATCH
    state = case(logits, labels, case.start((3,)))[1]
    slopes = []
    for again in (False, True):
        leaf = logits.clone().requires_grad_()
        run = (
            (lambda f, x: checkpoint(f, x, use_reentrant=reentrant)) if again else lambda f, x: f(x)
        )
        run(lambda x: case(torch.tanh(x), labels, state)[0], leaf).backward()
        slopes.append(leaf.grad)
    torch.testing.assert_close(*slopes, rtol=0, atol=0)


@each_module
def test_a_closure_may_call_a_module_in_evaluation_as_often_as_it_likes(case: Case) -> None:
    torch.manual_seed(0)
    net = Net(stepped(case))
    inputs, labels = torch.randn(20, 4).double(), BATCH[1]
    search = torch.optim.LBFGS(net.head.parameters(), max_iter=20, line_search_fn="strong_wolfe")
    losses: list[float] = []

    def closure() -> Tensor:
        search.zero_grad()
        loss: Tensor = net(inputs, labels)
        losses.append(loss.item())
        loss.backward()
        return loss

    net(inputs, labels)
    before = kept(net.criterion)
    net.criterion.eval()
    search.step(closure)
    assert len(losses) > 5
    assert losses[-1] < losses[0]
    assert_same_state(net.criterion.state, before)


def test_what_a_module_cannot_know_is_written_where_it_is_looked_up() -> None:
    text = " ".join((gobj.nn.StatefulLoss.__doc__ or "").split())
    for word in ("checkpoint", "closure", "L-BFGS", "criterion.eval()", "torch.func"):
        assert word in text


@pytest.mark.parametrize("meta", [True, False])
def test_targets_of_labels_come_back_after_the_memory_was_empty(meta: bool) -> None:
    target = torch.tensor([0.9, 0.8])
    problem = gobj.recall_at_precision(target)
    for build in (
        lambda: gobj.nn.RecallAtPrecisionLoss(target, 2),
        lambda: gobj.nn.ConstrainedLoss(problem, 2),
    ):
        with torch.device("meta" if meta else "cpu"):
            criterion = build()
        criterion.to_empty(device="cpu")
        for tensor in criterion.buffers():
            tensor.fill_(torch.nan if tensor.is_floating_point() else 0)
        criterion.reset_parameters()
        logits, labels = torch.linspace(-1, 1, 8).view(4, 2), torch.arange(8).view(4, 2) > 4
        torch.testing.assert_close(criterion(logits, labels), build()(logits, labels))
        assert all(x.device.type == "meta" for x in criterion.to("meta").buffers())


def test_areas_and_targets_are_told_apart_when_a_state_is_loaded() -> None:
    def named(problem: Any, labels: int = 1, anchors: int | None = None) -> Any:
        return gobj.nn.ConstrainedLoss(problem, labels, anchors)

    near = (torch.tensor([x, 0.2]) for x in (0.10001, 0.10004))
    for one, other in (
        (named(gobj.roc_auc(fpr_range=(0.0, 0.1)), 1, 4), named(gobj.roc_auc(), 1, 4)),
        (named(gobj.roc_auc(), 1, 4), named(gobj.precision_recall_auc(), 1, 4)),
        tuple(named(gobj.tpr_at_fpr(x), 2) for x in near),
    ):
        with pytest.raises(ValueError, match=r"^ConstrainedLoss: `state_dict` must be of"):
            other.load_state_dict(one.state_dict())
    whole = gobj.nn.ROCAUCLoss(fpr_range=(0, 1)).state_dict()
    gobj.nn.ROCAUCLoss(fpr_range=(0.0, 1.0)).load_state_dict(whole)


@each_module
def test_what_a_module_saved_is_a_state_of_the_function(case: Case) -> None:
    criterion = stepped(case)
    state = gobj.load_state_dict(
        case.start(criterion.state.threshold.shape[:1]), criterion.state_dict()
    )
    assert_same_state(state, criterion.state)


def test_a_rule_and_the_factor_of_another_do_not_stand_side_by_side() -> None:
    with pytest.raises(ValueError, match=r"`dual_rate_factor` must not stand beside `rule`"):
        gobj.nn.RecallAtPrecisionLoss(0.9, rule=gobj.DualAscent(), dual_rate_factor=0.1)
    rule = gobj.DualAscent(rate=0.5)
    for alias in (
        gobj.nn.PRLoss(target_recall=0.9, rule=rule),
        gobj.nn.TPRFPRLoss(target_fpr=0.1, rule=rule),
        gobj.nn.AUCPRLoss(rule=rule),
        gobj.nn.AUCROCLoss(rule=rule),
    ):
        assert alias.rule is rule


@pytest.mark.parametrize("name", ["grad", "jvp"])  # a map moves no buffer of this mode
def test_a_transform_is_refused_in_the_classical_mode_too(name: str) -> None:
    criterion, transform = gobj.nn.PRLoss(target_recall=0.9, num_labels=3), TRANSFORMS[name]
    with pytest.raises(ValueError, match=r"torch\.func, where gobj\.precision_at_recall_loss is"):
        transform(lambda x: criterion(x, BATCH[1]), BATCH[0])


def test_the_module_of_a_problem_names_its_function_where_it_is_refused() -> None:
    criterion = gobj.nn.ConstrainedLoss(gobj.tpr_at_fpr(0.1), 3)
    with pytest.raises(ValueError, match=r"torch\.func, where gobj\.constrained_loss is called"):
        TRANSFORMS["grad"](lambda x: criterion(x, BATCH[1]), BATCH[0])
