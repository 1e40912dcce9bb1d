"""Logits sharded over examples, over labels, or both: loss, gradient and state of the whole."""

import functools
from typing import Any

import pytest
import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh
from torch.distributed.tensor import DTensor, Replicate, Shard, distribute_tensor

import gobj
from tests.cases import STATEFUL, Case, leaves, sample, warmed
from tests.ranks.launch import on_ranks

ROWS, LABELS = 21, 5  # divide by neither number of ranks
LAYOUTS: dict[int, list[tuple[tuple[int, ...], list[Any]]]] = {
    2: [((2,), [Shard(0)]), ((2,), [Shard(1)]), ((2,), [Replicate()])],
    4: [
        ((4,), [Shard(0)]),
        ((4,), [Shard(1)]),
        ((2, 2), [Shard(0), Shard(1)]),
        ((2, 2), [Shard(1), Shard(0)]),
        ((2, 2), [Replicate(), Shard(0)]),
    ],
}


def spread(value: Tensor, mesh: DeviceMesh, placements: list[Any], first: int = 0) -> DTensor:
    """Shard what every rank holds; its first dimension is that one of the logits."""

    def place(of_logits: Any) -> Any:
        dim = of_logits.dim - first if isinstance(of_logits, Shard) else -1
        return Shard(dim) if dim in range(value.dim()) else Replicate()

    return distribute_tensor(value, mesh, [place(x) for x in placements], src_data_rank=None)


def whole(value: Tensor) -> Tensor:
    """Gather a sharded tensor."""
    return value.full_tensor() if isinstance(value, DTensor) else value


def compare(case: Case, mesh: DeviceMesh, placements: list[Any], alike: bool) -> None:
    """Take two steps on shards and on the whole."""
    state = want_state = warmed(case, (LABELS,))
    if alike:
        shards = [spread(leaf, mesh, placements, 1) for leaf in leaves(state)]
        state = rebuilt(state, iter(shards))
    for seed in range(2):
        logits, labels, weights = sample(case, ROWS, (LABELS,), seed)
        weights = weights.unsqueeze(1) * torch.linspace(0, 1, LABELS)
        leaf = logits.clone().requires_grad_()
        want, want_state = case(leaf, labels, want_state, weights=weights)
        (want_slope,) = torch.autograd.grad(want, leaf)
        shard = spread(logits, mesh, placements).requires_grad_()
        batch = [labels, weights]
        if alike:
            batch = [spread(x, mesh, placements) for x in batch]
        loss, state = case(shard, batch[0], state, weights=batch[1])
        assert {type(x) for x in leaves(state)} == {DTensor if alike else Tensor}
        loss.backward()
        assert shard.grad.placements == tuple(placements)
        torch.testing.assert_close(whole(loss), want.detach())
        torch.testing.assert_close(whole(shard.grad), want_slope)
        got = [whole(x) for x in leaves(state)]
        torch.testing.assert_close(got, leaves(want_state))


def rebuilt(tree: Any, tensors: Any) -> Any:
    """Put tensors in the places of those of nested NamedTuples."""
    if isinstance(tree, Tensor):
        return next(tensors)
    return type(tree)(*(rebuilt(part, tensors) for part in tree))


RULES = "implicit", "focus", "surrogate"  # both orders, and both kinds of statistics


def compare_all(_: int, ranks: int) -> None:
    """Compare every loss with a state in every layout."""
    for shape, placements in LAYOUTS[ranks]:
        mesh = init_device_mesh("cpu", shape)
        for case in (case for case in STATEFUL if case.rule_name in RULES):
            for alike in (False, True):
                compare(case, mesh, placements, alike)


@pytest.mark.parametrize("ranks", LAYOUTS)
def test_shards_do_what_the_whole_does(ranks: int) -> None:
    on_ranks(ranks, compare_all)


def steps_and_modules(rank: int, ranks: int) -> None:
    """Check what else takes sharded logits."""
    mesh = init_device_mesh("cpu", (ranks,))
    case = Case("recall_at_precision_loss", "implicit")
    logits, labels, _ = sample(case, ROWS, (LABELS,))
    targets = torch.linspace(0.5, 0.9, LABELS).double()
    problem, start = gobj.recall_at_precision(targets), case.start((LABELS,))
    for placements in ([Shard(0)], [Shard(1)]):
        shard = spread(logits, mesh, placements)
        sums = gobj.observe(problem, shard, labels, start)
        torch.testing.assert_close(
            leaves(sums), leaves(gobj.observe(problem, logits, labels, start))
        )
        priors = {"label_priors": targets / 3}
        for total in (None, sums.weight, 40):
            loss = gobj.weigh(problem, shard, labels, start, total_weight=total, **priors)
            want = gobj.weigh(problem, logits, labels, start, total_weight=total, **priors)
            torch.testing.assert_close(whole(loss), want)
        for reduction in ("none", "sum"):
            loss, _ = case(shard, labels, start, reduction=reduction)
            want, _ = case(logits, labels, start, reduction=reduction)
            torch.testing.assert_close(whole(loss), want)
        made = functools.partial(gobj.nn.RecallAtPrecisionLoss, targets, LABELS)
        criterion, reference = made().double(), made(process_group=None).double()
        weights = torch.linspace(0, 1, ROWS)
        loss, want = criterion(shard, labels, weights), reference(logits, labels, weights)
        torch.testing.assert_close(whole(loss), want)
        torch.testing.assert_close(leaves(criterion.state), leaves(reference.state))
        called = criterion.predict(shard)
        assert torch.equal(whole(called), reference.predict(logits))
    group = {"process_group": dist.group.WORLD}
    with pytest.raises(ValueError, match="`process_group` must be None where the mesh"):
        case(spread(logits, mesh, [Shard(0)]), labels, start, **group)
    small = init_device_mesh("cpu", (ranks, 1), mesh_dim_names=("data", "model"))["model"]
    with pytest.raises(ValueError, match="`process_group` must be given, or None"):
        made()(spread(logits, small, [Shard(1)]), labels)
    with pytest.raises(ValueError, match="`process_group` must not hold ranks between which"):
        case(spread(logits, mesh, [Shard(1)]), labels, start, **group)
    columns = (logits[rank::ranks], labels[rank::ranks])  # examples of one rank, labels of all
    alone = init_device_mesh("cpu", (ranks, 1), mesh_dim_names=("data", "model"))["model"]
    shard = spread(columns[0], alone, [Shard(1)]).requires_grad_()
    loss, after = case(shard, columns[1], start, **group)
    want, joined = case(logits, labels, start)
    torch.testing.assert_close(leaves(after), leaves(joined))
    total = whole(loss).detach().clone()
    dist.all_reduce(total)
    torch.testing.assert_close(total / ranks, want)


def parts_and_multipliers(_: int, ranks: int) -> None:
    """Accumulate parts of sharded logits, and differentiate in multipliers."""
    mesh, case = init_device_mesh("cpu", (ranks,)), Case("recall_at_precision_loss", "implicit")
    logits, labels, _weights = sample(case, ROWS, (LABELS,))
    made = functools.partial(gobj.nn.RecallAtPrecisionLoss, 0.7, LABELS)
    for placements in ([Shard(0)], [Shard(1)]):
        shard = spread(logits, mesh, placements)
        parts = [(shard[:8], labels[:8]), (shard[8:], labels[8:])]
        for order in ("weigh_first", "update_first"):
            rule = gobj.ImplicitMultiplier(order=order)
            criterion, reference = made(rule=rule).double(), made(rule=rule).double()
            reference.process_group = None
            want = reference(logits, labels)
            one_pass = order == "weigh_first"
            with criterion.accumulating(ROWS if one_pass else None):
                for part in () if one_pass else parts:
                    criterion.observe(*part)
                losses = [whole(criterion(*part)) for part in parts]
            torch.testing.assert_close(sum(losses), want)
            torch.testing.assert_close(leaves(criterion.state), leaves(reference.state))
        own, joined = (gobj.nn.AUCROCLoss(LABELS, 2).double() for _ in range(2))
        joined.process_group = None
        own(shard, labels).backward()
        joined(logits, labels).backward()
        torch.testing.assert_close(own.threshold.grad, joined.threshold.grad)
        torch.testing.assert_close(own.multiplier.grad, joined.multiplier.grad)


def test_parts_and_multipliers_take_shards() -> None:
    on_ranks(2, parts_and_multipliers)


def test_steps_and_modules_take_shards() -> None:
    on_ranks(2, steps_and_modules)


def heads(_: int, ranks: int) -> None:
    """Compare linear heads whose rows, or whose inputs, are sharded."""
    mesh = init_device_mesh("cpu", (ranks,))
    hidden, weight = torch.randn(ROWS, 3).double(), torch.randn(LABELS, 3).double()
    torch.manual_seed(0)
    bias, labels = torch.randn(LABELS).double(), (torch.rand(ROWS, LABELS) < 0.3).double()
    for tensor in (hidden, weight):
        dist.broadcast(tensor, 0)
    targets = torch.linspace(0.5, 0.9, LABELS).double()
    problem, state = gobj.recall_at_precision(targets), gobj.init_state((LABELS,))
    plain = [x.clone().requires_grad_() for x in (hidden, weight, bias)]
    wanted, after = gobj.linear_constrained_loss(
        problem, plain[0], plain[1], labels, state, bias=plain[2]
    )
    slopes = torch.autograd.grad(wanted, plain)
    for over_rows in (True, False):
        placements = [Shard(0)]
        head = [
            spread(x, mesh, placements) if over_rows == (i > 0) else x.clone()
            for i, x in enumerate((hidden, weight, bias))
        ]
        for x in head:
            x.requires_grad_()
        for given in (labels, labels.to_sparse()) if over_rows else (labels,):
            loss, moved = gobj.linear_constrained_loss(
                problem, head[0], head[1], given, state, bias=head[2], chunk_size=2
            )
            got = torch.autograd.grad(loss, head)
            torch.testing.assert_close(whole(loss), wanted)
            torch.testing.assert_close([whole(x) for x in got], list(slopes))
            torch.testing.assert_close(leaves(moved), leaves(after))


def head_without_rows(_: int, ranks: int) -> None:
    """Refuse a head of which a rank has no row, and a group of ranks with other rows, on all."""
    mesh = init_device_mesh("cpu", (ranks,))
    for number, options, argument in (
        (ranks + 1, {}, "weight"),
        (2 * ranks, {"process_group": dist.group.WORLD}, "process_group"),
    ):
        weight = spread(torch.ones(number, 4), mesh, [Shard(0)])
        batch = torch.ones(3, 4), weight, torch.ones(3, number), gobj.init_state((number,))
        with pytest.raises(ValueError, match=f"`{argument}` must "):
            gobj.linear_constrained_loss(gobj.tpr_at_fpr(0.1), *batch, **options)


def test_a_head_has_rows_on_each_rank() -> None:
    on_ranks(4, head_without_rows)


@pytest.mark.parametrize("ranks", [2])
def test_heads_may_be_sharded_by_rows_or_by_inputs(ranks: int) -> None:
    on_ranks(ranks, heads)
