"""What a process group must do beside adding up: each check runs on two ranks."""

import contextlib
import copy
import functools
import os
import time
import traceback
from collections.abc import Callable, Iterator
from typing import Any
from unittest import mock

import pytest
import torch
import torch.distributed as dist
from torch import Tensor, nn

import gobj
from gobj.metrics import curve_compute, curve_init, curve_merge, curve_update
from tests.cases import CASES, STATEFUL, Case, assert_same_state, leaves, sample, warmed
from tests.ranks.launch import TIMEOUT, on_ranks

Check = Callable[[int], None]
RANKS = 2
CHECKS: dict[str, Check] = {}


def check(function: Check) -> Check:
    """List a function that every rank calls."""
    CHECKS[function.__name__] = function
    return function


def run_checks(rank: int, _: int) -> dict[str, str]:
    """Run every check; return what failed."""
    failures = {}
    for name, function in CHECKS.items():
        try:
            function(rank)
        except Exception:
            failures[name] = traceback.format_exc()
    return failures


@functools.cache
def results() -> list[dict[str, str]]:
    """Run all checks once."""
    return on_ranks(RANKS, run_checks)


@contextlib.contextmanager
def counted() -> Iterator[list[int]]:
    """Count the bytes of each collective; no other kind may be called."""
    sizes: list[int] = []
    reduce = dist.all_reduce

    def counting(tensor: Tensor, *arguments: Any, **options: Any) -> Any:
        sizes.append(tensor.numel() * tensor.element_size())
        return reduce(tensor, *arguments, **options)

    others = ("all_gather", "all_gather_into_tensor", "broadcast", "reduce_scatter_tensor")
    with contextlib.ExitStack() as stack:
        stack.enter_context(mock.patch.object(dist, "all_reduce", counting))
        for name in others:
            stack.enter_context(mock.patch.object(dist, name, side_effect=AssertionError(name)))
        yield sizes


def whole_and_part(case: Case, rank: int) -> tuple[list[Tensor], list[Tensor]]:
    """Return a batch, and the uneven part of a rank."""
    batch = list(sample(case, 20)[:2])
    rows = slice(0, 7) if rank == 0 else slice(7, None)
    return batch, [x[rows] for x in batch]


@check
def points_and_areas_talk_once_a_step(rank: int) -> None:
    for case in STATEFUL:
        _, part = whole_and_part(case, rank)
        state = warmed(case, (3,))
        with counted() as sizes:
            leaf = part[0].clone().requires_grad_()
            loss, _ = case(leaf, part[1], state, process_group=dist.group.WORLD)
            loss.backward()
        assert len(sizes) == 1, f"{case}: {sizes}"
        numbers = 12 * state.threshold.numel() + 1
        assert sizes[0] <= 8 * numbers, f"{case}: {sizes[0] / 8} numbers"


@check
def a_group_of_one_rank_costs_nothing(rank: int) -> None:
    alone = [dist.new_group([other]) for other in range(RANKS)][rank]
    for case in CASES:
        _, part = whole_and_part(case, rank)
        state = warmed(case, (3,)) if case.takes("state") else ()
        with counted() as sizes:
            got, after = case(*part, state, process_group=alone)
        assert sizes == []
        want, same = case(*part, state)
        torch.testing.assert_close(got, want, rtol=0, atol=0)
        assert_same_state(after, same)


@check
def a_batch_that_is_not_finite_is_skipped_on_all_ranks(rank: int) -> None:
    for case in STATEFUL:
        _, part = whole_and_part(case, rank)
        if rank == 1:
            part[0][3, 1] = torch.nan
        state = warmed(case, (3,))
        options: dict[str, Any] = {"process_group": dist.group.WORLD}
        loss, after = case(*part, state, **options)
        assert loss.isnan(), case
        each, _ = case(*part, state, reduction="none", **options)
        assert each[:, 1].isnan().all(), case
        assert each[:, [0, 2]].isfinite().all(), case
        for new, old in zip(leaves(after), leaves(state), strict=True):
            torch.testing.assert_close(new[1], old[1], rtol=0, atol=0)
        pairs = zip(leaves(after), leaves(state), strict=True)
        assert not all(torch.equal(new[0], old[0]) for new, old in pairs), case


@check
def sums_and_single_losses_keep_their_meaning(rank: int) -> None:
    for case in STATEFUL:
        whole, part = whole_and_part(case, rank)
        state, options = warmed(case, (3,)), {"process_group": dist.group.WORLD}
        mean, _ = case(*part, state, **options)
        each, _ = case(*part, state, reduction="none", **options)
        torch.testing.assert_close(each.mean(), mean)
        total, _ = case(*part, state, reduction="sum", **options)
        dist.all_reduce(total)
        want, _ = case(*whole, state, reduction="sum")
        torch.testing.assert_close(total / RANKS, want)


@check
def the_three_steps_take_a_group(rank: int) -> None:
    for case in STATEFUL:
        whole, part = whole_and_part(case, rank)
        state, problem = warmed(case, (3,)), case.any_problem
        options: Any = {"rule": case.rule, "process_group": dist.group.WORLD}
        sums = gobj.observe(problem, *part, state, **options)
        want = gobj.observe(problem, *whole, state, rule=case.rule)
        torch.testing.assert_close(leaves(sums), leaves(want))
        for total in (None, sums.weight, 20):
            loss = gobj.weigh(problem, *part, state, total_weight=total, **options)
            dist.all_reduce(loss)
            want_loss = gobj.weigh(problem, *whole, state, rule=case.rule)
            torch.testing.assert_close(loss / RANKS, want_loss)


@check
def transforms_and_the_compiler_keep_the_group(rank: int) -> None:
    for case in (Case("recall_at_precision_loss", "implicit"), Case("roc_auc_loss", "focus")):
        _, (logits, labels) = whole_and_part(case, rank)
        state = warmed(case, (3,))

        def step(x: Tensor, y: Tensor, at: Any, case: Case = case) -> Any:
            return case(x, y, at, process_group=dist.group.WORLD)

        want, after = step(logits, labels, state)
        by_label, states = torch.func.vmap(step, in_dims=(1, 1, 0))(logits, labels, state)
        torch.testing.assert_close(by_label.mean(), want)
        torch.testing.assert_close(leaves(states), leaves(after))
        slope = torch.func.grad(lambda x, s=step, y=labels, at=state: s(x, y, at)[0])(logits)
        leaf = logits.clone().requires_grad_()
        (same,) = torch.autograd.grad(step(leaf, labels, state)[0], leaf)
        torch.testing.assert_close(slope, same)
        compiled = torch.compile(step, fullgraph=True, backend="aot_eager", dynamic=True)
        for rows in (slice(None), slice(0, 5)):
            leaf = logits[rows].clone().requires_grad_()
            loss, moved = compiled(leaf, labels[rows], state)
            other = logits[rows].clone().requires_grad_()
            eager, expected = step(other, labels[rows], state)
            torch.testing.assert_close(loss, eager)
            torch.testing.assert_close(leaves(moved), leaves(expected))
            loss.backward()
            eager.backward()
            torch.testing.assert_close(leaf.grad, other.grad)


@check
def counts_compile_and_pairs_say_what_they_cannot(rank: int) -> None:
    case = Case("f_beta_loss")
    _, part = whole_and_part(case, rank)
    options: dict[str, Any] = {"process_group": dist.group.WORLD}
    compiled = torch.compile(gobj.f_beta_loss, fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(compiled(*part, **options), gobj.f_beta_loss(*part, **options))
    for function in (gobj.pairwise_roc_auc_loss, gobj.binomial_deviance_loss):
        labels = part[1][:, 0] if function is gobj.binomial_deviance_loss else part[1]
        message = rf"^{function.__name__}: `reduction` must be 'mean' or 'sum' over several ranks"
        with pytest.raises(ValueError, match=message):
            function(part[0], labels, reduction="none", **options)


@check
def modules_join_the_world_while_they_train(rank: int) -> None:
    case = Case("recall_at_precision_loss", "implicit")
    whole, part = whole_and_part(case, rank)
    made = functools.partial(gobj.nn.RecallAtPrecisionLoss, 0.7, 3)
    joined, alone, reference = made().double(), made(process_group=None).double(), made().double()
    reference.process_group = None
    reference(*whole)
    for criterion, want in ((joined, reference.state), (alone, None)):
        loss = criterion(*part)
        if want is not None:
            torch.testing.assert_close(leaves(criterion.state), leaves(want))
        criterion.eval()
        with counted() as sizes:
            criterion(*part)
            with torch.no_grad():
                criterion.train()(*part)
        assert sizes == []
        assert loss.isfinite()
    gathered = [torch.zeros_like(alone.threshold) for _ in range(RANKS)]
    dist.all_gather(gathered, alone.threshold)
    assert not torch.equal(*gathered)
    with counted() as sizes:
        gobj.nn.FBetaLoss()(*part)
        gobj.nn.FBetaLoss(process_group=None)(*part)
        gobj.nn.FBetaLoss().eval()(*part)
    assert len(sizes) == 1


@check
def parts_and_ranks_add_up_together(rank: int) -> None:
    for case in STATEFUL:
        whole, part = whole_and_part(case, rank)
        options = {**case.spec.arguments, "num_labels": 3, "rule": case.rule}
        criterion: Any = case.module(**options).double()
        reference: Any = case.module(**options, process_group=None).double()
        want = reference(*whole)
        one_pass = case.rule.order == "weigh_first"
        parts = list(zip(*(x.split(3 if rank else 7) for x in part), strict=True))
        with counted() as sizes, criterion.accumulating(20 if one_pass else None):
            for batch in () if one_pass else parts:
                criterion.observe(*batch)
            loss = torch.stack([criterion(*batch) for batch in parts]).sum()
        assert len(sizes) == 1
        dist.all_reduce(loss)
        torch.testing.assert_close(loss / RANKS, want)
        torch.testing.assert_close(leaves(criterion.state), leaves(reference.state))


@check
def pairs_are_summed_on_grids_or_gathered(rank: int) -> None:
    whole, part = whole_and_part(Case("pairwise_roc_auc_loss"), rank)
    rows = 2 * 1000
    wide, labels = torch.randn(rows, 2).double(), (torch.rand(rows, 2) < 0.3).double()
    for tensor in (wide, labels):
        dist.broadcast(tensor, 0)
    own = slice(0, 800) if rank == 0 else slice(800, None)
    outlier = wide.clone()
    outlier[3, 0] = 1e5
    narrow = gobj.generalized_cross_entropy(q=0.5, temperature=0.1)
    cases: list[tuple[Tensor, dict[str, Any], int]] = [
        (wide, {}, 2),
        (wide, {"reduction": "sum"}, 2),
        (wide * 20, {}, 2),
        (wide, {"surrogate": narrow}, 2),
        (wide * 50, {"surrogate": narrow}, 3),  # too narrow for a grid of that range
        (outlier, {}, 3),
        (wide, {"surrogate": gobj.hinge}, 3),
        (wide, {"fpr_range": (0.0, 0.3)}, 2),
        (wide[:900], {}, 3),  # fewer than a grid has nodes
    ]
    for logits, options, calls in cases:
        leaf, joined = logits[own].clone().requires_grad_(), logits.clone().requires_grad_()
        group, classes = {"process_group": dist.group.WORLD}, labels[: len(logits)]
        with counted() as sizes:
            loss = gobj.pairwise_roc_auc_loss(leaf, classes[own], **options, **group)
        assert len(sizes) <= calls, (options, sizes)
        want = gobj.pairwise_roc_auc_loss(joined, classes, **options)
        torch.testing.assert_close(loss, want, rtol=1e-6, atol=0)
        (slope,) = torch.autograd.grad(loss / RANKS, leaf)
        (want_slope,) = torch.autograd.grad(want, joined)
        near = {"rtol": 1e-5, "atol": 1e-7 * want_slope.abs().max().item()}
        torch.testing.assert_close(slope, want_slope[own], **near)
    for logits in (wide, wide[:0]):  # a rank, or all of them, without rows
        mine = logits if rank == 0 else logits[:0]
        same = gobj.pairwise_roc_auc_loss(mine, labels[: len(mine)], **group)
        torch.testing.assert_close(same, gobj.pairwise_roc_auc_loss(logits, labels[: len(logits)]))
    whole[0][3, 1] = part[0][3, 1] = torch.nan
    part[0] = part[0] if rank == 0 else whole[0][7:]
    assert gobj.pairwise_roc_auc_loss(*part, **group).isnan()


@check
def multipliers_of_an_optimiser_stay_the_same_on_all_ranks(rank: int) -> None:
    whole, part = whole_and_part(Case("recall_at_precision_loss", "implicit"), rank)
    for wrapped in (False, True):
        joined = gobj.nn.AUCROCLoss(3, 2, process_group=None).double()
        own: Any = gobj.nn.AUCROCLoss(3, 2).double()
        called = nn.parallel.DistributedDataParallel(own) if wrapped else own
        for criterion, batch in ((joined, whole), (called, part)):
            optimizer = torch.optim.SGD(criterion.parameters(), 0.5)
            for _ in range(5):
                optimizer.zero_grad()
                criterion(*batch).backward()
                optimizer.step()
        torch.testing.assert_close(leaves(own.state), leaves(joined.state))
        assert own.threshold.abs().sum() > 0


@check
def a_group_that_is_none_is_refused(rank: int) -> None:
    _, part = whole_and_part(Case("recall_at_precision_loss", "implicit"), rank)
    foreign = [dist.new_group([other]) for other in range(RANKS)]
    state = gobj.init_state((3,))
    for wrong in ("world", "gloo", 3, foreign[1 - rank]):
        options: Any = {"process_group": wrong}
        for call in (
            lambda o=options: gobj.tpr_at_fpr_loss(*part, state, target_fpr=0.1, **o),
            lambda o=options: gobj.f_beta_loss(*part, **o),
            lambda o=options: gobj.poly1_focal_loss(*part, **o),
            lambda o=options: curve_merge(curve_init((3,)), **o),
        ):
            with pytest.raises(ValueError, match="`process_group` must be a process group that"):
                call()
    for name in ("wrld", "", 3):
        for made in (gobj.nn.FBetaLoss, gobj.nn.AveragePrecisionLoss):
            with pytest.raises(
                ValueError, match="`process_group` must be a process group, 'world'"
            ):
                made(process_group=name)


@check
def a_copy_of_a_module_keeps_its_group(rank: int) -> None:
    _, part = whole_and_part(Case("recall_at_precision_loss", "implicit"), rank)
    group: Any = dist.group.WORLD
    for made in (gobj.nn.FBetaLoss, functools.partial(gobj.nn.AveragePrecisionLoss, 3)):
        criterion = made(process_group=group)
        copied = copy.deepcopy(criterion)
        torch.testing.assert_close(copied(*part), criterion(*part))
        with counted() as sizes:
            copied(*part)
        assert len(sizes) == 1


@check
def embeddings_may_have_weights_on_one_rank(rank: int) -> None:
    embeddings, labels = torch.randn(12, 4).double(), torch.arange(12, dtype=torch.int16) % 3
    dist.broadcast(embeddings, 0)
    rows = slice(0, 5) if rank == 0 else slice(5, None)
    weights = torch.ones(12) if rank else None
    want = gobj.binomial_deviance_loss(embeddings, labels)
    for kind in (labels, labels.double()):
        own = None if weights is None else weights[rows]
        loss = gobj.binomial_deviance_loss(
            embeddings[rows], kind[rows], weights=own, process_group=dist.group.WORLD
        )
        torch.testing.assert_close(loss, want)


@check
def curves_of_ranks_are_that_of_all_examples(rank: int) -> None:
    whole, part = whole_and_part(Case("roc_auc_loss", "focus"), rank)
    for cells in (None, 64):
        for broken in (False, True):
            if broken and rank == 1:
                part[0][2, 1] = whole[0][9, 1] = torch.nan
            elif broken:
                whole[0][9, 1] = torch.nan
            empty = curve_init((3,), cells=cells)
            state = curve_merge(curve_update(empty, *part), process_group=dist.group.WORLD)
            got = curve_compute(state, target_precision=0.6)
            want = curve_compute(curve_update(empty, *whole), target_precision=0.6)
            torch.testing.assert_close(got, want, equal_nan=True)
            assert got["roc_auc"].isnan().sum() == broken
        whole, part = whole_and_part(Case("roc_auc_loss", "focus"), rank)
        nobody = part if rank else [x[:0] for x in part]
        state = curve_merge(curve_update(empty, *nobody), process_group=dist.group.WORLD)
        rows = [x[7:] for x in whole]
        want = curve_compute(curve_update(empty, *rows))
        torch.testing.assert_close(curve_compute(state), want)


@pytest.mark.parametrize("name", CHECKS)
def test_ranks(name: str) -> None:
    failures = [failed[name] for failed in results() if name in failed]
    assert not failures, failures[0]


def outlive(rank: int, _: int) -> tuple[float, bool]:
    """Lose the other rank between two steps; return the seconds to an error, and what it left."""
    criterion = gobj.nn.RecallAtPrecisionLoss(0.7, 3)
    batch = sample(Case("recall_at_precision_loss", "implicit"))[:2]
    criterion(*batch)
    if rank == 1:
        os._exit(0)
    before = [leaf.clone() for leaf in leaves(criterion.state)]
    start = time.monotonic()
    with pytest.raises(RuntimeError):
        criterion(*batch)
    with pytest.raises(RuntimeError), criterion.accumulating():
        criterion.observe(*batch)
    pairs = zip(leaves(criterion.state), before, strict=True)
    return time.monotonic() - start, all(torch.equal(new, old) for new, old in pairs)


def test_a_rank_that_dies_is_an_error_on_the_others_and_nothing_is_half_updated() -> None:
    (seconds, kept), gone = on_ranks(2, outlive)
    assert gone is None
    assert seconds < TIMEOUT + 10
    assert kept
