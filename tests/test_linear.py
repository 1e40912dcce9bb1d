"""A head of very many labels: the loss of its logits, which are never there at once."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

import gobj
from tests.cases import RULES, leaves

ROWS, LABELS, WIDTH = 24, 10, 4


def head_and_labels(rows: int = ROWS, dtype: torch.dtype = torch.float64) -> Any:
    """Draw inputs of a head, its weight and bias, and labels."""
    hidden = torch.randn(rows, WIDTH, dtype=dtype, requires_grad=True)
    weight = torch.randn(LABELS, WIDTH, dtype=dtype, requires_grad=True)
    bias = torch.randn(LABELS, dtype=dtype, requires_grad=True)
    return [hidden, weight, bias], (torch.rand(rows, LABELS) < 0.3).to(dtype)


def plain(problem: Any, head: Any, labels: Tensor, state: Any, **options: Any) -> Any:
    """Form all logits."""
    logits = nn.functional.linear(*head)
    return gobj.constrained_loss(problem, logits, labels, state, **options)


def chunked(problem: Any, head: Any, labels: Tensor, state: Any, **options: Any) -> Any:
    """Form the logits of some labels at a time."""
    hidden, weight, bias = head
    return gobj.linear_constrained_loss(
        problem, hidden, weight, labels, state, bias=bias, **options
    )


def sparse(labels: Tensor) -> Tensor:
    """Keep what is not 0."""
    return labels.to_sparse()


@pytest.mark.parametrize("rule", RULES.values(), ids=RULES)
@pytest.mark.parametrize("area", [False, True], ids=["point", "area"])
@pytest.mark.parametrize("kept", [Tensor.clone, sparse], ids=["dense", "sparse"])
def test_chunks_do_what_all_logits_do(rule: gobj.DualRule, area: bool, kept: Any) -> None:
    targets = torch.linspace(0.5, 0.9, LABELS, dtype=torch.float64)
    problem = gobj.roc_auc() if area else gobj.recall_at_precision(targets)
    start = {"anchors": 3} if area else {}
    state = gobj.init_state((LABELS,), rule=rule, dtype=torch.float64, **start)
    states = state, state
    for size in (3, 4, 100):
        head, labels = head_and_labels()
        want, after = plain(problem, head, labels, states[0], rule=rule)
        loss, moved = chunked(problem, head, kept(labels), states[1], rule=rule, chunk_size=size)
        torch.testing.assert_close(loss, want)
        torch.testing.assert_close(leaves(moved), leaves(after))
        slopes = [torch.autograd.grad(3 * x, head) for x in (loss, want)]
        torch.testing.assert_close(*slopes)
        states = after, moved


OPTIONS: dict[str, dict[str, Any]] = {
    "weights of examples": {"weights": torch.linspace(0, 1, ROWS)},
    "weights of all": {"weights": torch.linspace(0, 1, ROWS * LABELS).view(ROWS, LABELS)},
    "weights of one column": {"weights": torch.linspace(0, 1, ROWS).unsqueeze(1)},
    "a weight": {"weights": 2.0},
    "priors": {"label_priors": torch.linspace(0.1, 0.9, LABELS)},
    "a prior": {"label_priors": 0.2},
    "a label to ignore": {"ignore_index": 0},
}


@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
@pytest.mark.parametrize("rows", [ROWS, LABELS], ids=["rows", "as many rows as labels"])
def test_options_follow_their_labels(options: dict[str, Any], rows: int) -> None:
    head, labels = head_and_labels(rows)
    weights = options.get("weights")
    if isinstance(weights, Tensor):
        options = {"weights": weights[:rows]}
    problem, state = gobj.tpr_at_fpr(0.2), gobj.init_state((LABELS,), dtype=torch.float64)
    want, after = plain(problem, head, labels, state, **options)
    loss, moved = chunked(problem, head, labels, state, chunk_size=4, **options)
    torch.testing.assert_close(loss, want)
    torch.testing.assert_close(leaves(moved), leaves(after))


def test_gradients_are_those_that_are_wanted() -> None:
    (hidden, weight, bias), labels = head_and_labels()
    problem, state = gobj.tpr_at_fpr(0.2), gobj.init_state((LABELS,))
    want = torch.autograd.grad(plain(problem, [hidden, weight, bias], labels, state)[0], hidden)
    frozen = [hidden, weight.detach(), None]
    with torch.no_grad():
        silent, after = chunked(problem, frozen, labels, state)
    assert not silent.requires_grad
    loss, moved = chunked(problem, [hidden, weight.detach(), bias.detach()], labels, state)
    torch.testing.assert_close(torch.autograd.grad(loss, hidden), want)
    alone, again = chunked(problem, frozen, labels, state)
    torch.testing.assert_close(alone, silent)
    torch.testing.assert_close(leaves(again), leaves(after))
    assert not torch.equal(moved.threshold, again.threshold)
    (slope,) = torch.autograd.grad(alone, hidden, create_graph=True)
    with pytest.raises(RuntimeError, match="does not require grad"):
        slope.sum().backward()


def test_half_precision_sums_in_single() -> None:
    head, labels = head_and_labels(200, torch.float32)
    narrow = [x.detach().bfloat16().requires_grad_() for x in head]
    problem, state = gobj.tpr_at_fpr(0.2), gobj.init_state((LABELS,))
    want, _ = plain(problem, narrow, labels, state)
    loss, after = chunked(problem, narrow, labels, state, chunk_size=2)
    torch.testing.assert_close(loss, want)
    assert loss.dtype == after.threshold.dtype == torch.float32
    loss.backward()
    slopes = torch.autograd.grad(plain(problem, narrow, labels, state)[0], narrow)
    for x, slope in zip(narrow, slopes, strict=True):
        assert x.grad.dtype == torch.bfloat16
        torch.testing.assert_close(x.grad, slope, rtol=0.02, atol=1e-4)


def test_half_precision_survives_the_scaling_of_its_loss() -> None:
    """A slope in one of many logits is too small for it, and a large scale too large."""
    rows, labels = 64, 5000
    wide = [torch.randn(rows, 8), torch.randn(labels, 8), torch.randn(labels)]
    named = (torch.rand(rows, labels) < 0.01).float()
    problem, state = gobj.recall_at_precision(0.5), gobj.init_state((labels,))
    slopes = []
    for dtype in (torch.float32, torch.float16):
        head = [x.half().to(dtype).requires_grad_() for x in wide]
        loss, _ = chunked(problem, head, named, state)
        (loss * 65536).backward()
        slopes.append([x.grad.float() for x in head])
    for got, want in zip(slopes[1], slopes[0], strict=True):
        assert (got - want).norm() < 0.01 * want.norm()


def test_what_a_head_does_not_take_is_refused() -> None:
    (hidden, weight, _), labels = head_and_labels()
    optimiser = gobj.OptimizerAscent()
    batch = gobj.tpr_at_fpr(0.1), hidden, weight, labels
    for name, value in (("reduction", "sum"), ("total_weight", 3.0), ("rule", optimiser)):
        rule = optimiser if name == "rule" else None
        options: dict[str, Any] = {name: value}
        with pytest.raises(ValueError, match=f"^linear_constrained_loss: `{name}` must "):
            gobj.linear_constrained_loss(*batch, gobj.init_state((LABELS,), rule=rule), **options)


def test_the_compiler_and_transforms_take_it() -> None:
    head, labels = head_and_labels()
    problem, state = gobj.tpr_at_fpr(0.2), gobj.init_state((LABELS,), dtype=torch.float64)

    def step(hidden: Tensor, weight: Tensor, bias: Tensor, labels: Tensor, at: Any) -> Any:
        return chunked(problem, [hidden, weight, bias], labels, at, chunk_size=4)

    want, after = step(*head, labels, state)
    slopes = torch.autograd.grad(want, head)
    compiled = torch.compile(step, fullgraph=True, backend="aot_eager")
    loss, moved = compiled(*head, labels, state)
    torch.testing.assert_close(loss, want)
    torch.testing.assert_close(leaves(moved), leaves(after))
    torch.testing.assert_close(torch.autograd.grad(loss, head), slopes)
    by_transform = torch.func.grad(lambda *x: step(*x, labels, state)[0], argnums=(0, 1, 2))
    torch.testing.assert_close(by_transform(*head), slopes)
    two = [torch.stack((x, 2 * x)) for x in head]
    mapped, _ = torch.func.vmap(step, in_dims=(0, 0, 0, None, None))(*two, labels, state)
    torch.testing.assert_close(mapped[0], want)
    torch.testing.assert_close(mapped[1], step(*(2 * x for x in head), labels, state)[0])
    shared, _ = torch.func.vmap(step, in_dims=(0, None, None, None, None))(
        two[0], *head[1:], labels, state
    )
    torch.testing.assert_close(shared[0], want)


class Largest(TorchDispatchMode):
    """Remember the number of elements of the largest tensor that is made."""

    def __init__(self) -> None:
        super().__init__()
        self.elements = 0

    def __torch_dispatch__(
        self, function: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        made = function(*args, **(kwargs or {}))
        for tensor in made if isinstance(made, tuple | list) else [made]:
            if isinstance(tensor, Tensor) and tensor.layout == torch.strided:
                self.elements = max(self.elements, tensor.numel())
        return made


@pytest.mark.parametrize("rule", RULES.values(), ids=RULES)
def test_no_tensor_has_the_size_of_all_logits(rule: gobj.DualRule) -> None:
    rows, labels, size = 64, 400, 8
    hidden, weight = torch.randn(rows, 4, requires_grad=True), torch.randn(labels, 4)
    weight.requires_grad_()
    named = (torch.rand(rows, labels) < 0.01).float().to_sparse()
    state = gobj.init_state((labels,), rule=rule)
    with Largest() as largest:
        loss, _ = gobj.linear_constrained_loss(
            gobj.tpr_at_fpr(0.1), hidden, weight, named, state, rule=rule, chunk_size=size
        )
        loss.backward()
    # the averages of a state, 7 a label, are larger here than a chunk: 2 * 64 * 9
    assert largest.elements <= max(7 * labels, 2 * rows * (size + 1)) < rows * labels / 8


WRONG: dict[str, tuple[str, Any]] = {
    "inputs of one dimension": ("hidden", torch.ones(3)),
    "whole inputs": ("hidden", torch.ones(3, 4, dtype=torch.int64)),
    "a weight of another width": ("weight", torch.ones(LABELS, 5)),
    "no label": ("weight", torch.ones(0, 4)),
    "another bias": ("bias", torch.ones(3)),
    "other labels": ("labels", torch.ones(3, 5)),
    "no chunk": ("chunk_size", 0),
    "another state": ("state", gobj.init_state((3,))),
}


@pytest.mark.parametrize(("argument", "wrong"), WRONG.values(), ids=WRONG)
def test_what_does_not_fit_is_refused(argument: str, wrong: Any) -> None:
    (hidden, weight, bias), labels = head_and_labels()
    given: dict[str, Any] = {
        "problem": gobj.tpr_at_fpr(0.1),
        "hidden": hidden,
        "weight": weight,
        "labels": labels,
        "bias": bias,
        "state": gobj.init_state((LABELS,)),
        argument: wrong,
    }
    message = rf"^linear_constrained_loss: `{argument}` must .+; got .+\.$"
    with pytest.raises(ValueError, match=message):
        gobj.linear_constrained_loss(**given)
