"""Every public loss: ranks with parts of a batch do what one process does with all of it."""

from typing import Any

import pytest
import torch
import torch.distributed as dist
from torch import Tensor

from tests.cases import CASES, Case, leaves, sample
from tests.ranks.launch import on_ranks

STEPS = 50
CLOSE: dict[str, Any] = {"rtol": 1e-6, "atol": 1e-9}
# rows of each rank by step: even and uneven shards, ranks without rows, and a last batch of few
SHARDS = {
    2: [(12, 12), (5, 19), (0, 24), (24, 0), (2, 1)],
    4: [(6, 6, 6, 6), (1, 9, 3, 11), (0, 12, 0, 12), (2, 0, 0, 1)],
}


def batch_of(case: Case, step: int, rows: int) -> tuple[Tensor, Tensor, dict[str, Any]]:
    """Draw the joined batch of a step, with weights and, of one label, missing examples."""
    logits, labels, weights = sample(case, rows, seed=step)
    if not case.takes("weights"):
        return logits, labels, {}
    if case.spec.inputs == "binary":
        weights = weights.unsqueeze(1).repeat(1, 3)
        weights[: rows // 2, 1] = 0
    return logits, labels, {"weights": weights}


def part_of(batch: tuple[Tensor, Tensor, dict[str, Any]], rows: slice) -> Any:
    """Take the rows of one rank."""
    logits, labels, options = batch
    return logits[rows], labels[rows], {name: value[rows] for name, value in options.items()}


def stepped(case: Case, model: Tensor, batch: Any, state: Any, **options: Any) -> Any:
    """Return loss, gradient in a model that all rows share, and next state."""
    logits, labels, weighed = batch
    leaf = model.clone().requires_grad_()
    loss, after = case(logits * leaf + leaf.sin(), labels, state, **weighed, **options)
    (slope,) = torch.autograd.grad(loss, leaf)
    return loss.detach(), slope, after


def averaged(value: Tensor, ranks: int) -> Tensor:
    """Average over the ranks, as DistributedDataParallel does with gradients."""
    value = value.clone()
    dist.all_reduce(value)
    return value / ranks


def follow(case: Case, rank: int, ranks: int) -> str | None:
    """Train on parts, and on the first rank on joined batches beside; tell what first differs."""
    start = sample(case, 1)[0][0] + 1.0
    model, whole_model = start.clone(), start.clone()
    state, whole_state = case.start((3,)), case.start((3,))
    told = None
    for step in range(STEPS):
        shards = SHARDS[ranks][step % len(SHARDS[ranks])]
        first = sum(shards[:rank])
        batch = batch_of(case, step, sum(shards))
        part = part_of(batch, slice(first, first + shards[rank]))
        loss, slope, state = stepped(case, model, part, state, process_group=dist.group.WORLD)
        got = averaged(loss, ranks), averaged(slope, ranks)
        model = model - 0.1 * got[1]
        if rank > 0 or told is not None:
            continue
        want, whole_slope, whole_state = stepped(case, whole_model, batch, whole_state)
        whole_model = whole_model - 0.1 * whole_slope
        pairs = (got[0], want), (got[1], whole_slope), (leaves(state), leaves(whole_state))
        try:
            for pair in pairs:
                torch.testing.assert_close(*pair, **CLOSE)
        except AssertionError as error:
            told = f"{case}, step {step}: {error}"
    same = torch.cat([leaf.flatten() for leaf in (model, *leaves(state))])
    first_rank = same.clone()
    dist.broadcast(first_rank, 0)
    return told if torch.equal(same, first_rank) else f"{case}: ranks differ"


def follow_all(rank: int, ranks: int) -> list[str]:
    """Follow every public loss under every rule."""
    return [told for case in CASES if (told := follow(case, rank, ranks)) is not None]


@pytest.mark.parametrize("ranks", SHARDS)
def test_ranks_do_what_one_process_does_with_the_joined_batch(ranks: int) -> None:
    differences = on_ranks(ranks, follow_all)
    assert differences == [[]] * ranks
