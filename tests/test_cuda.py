"""What matters on a GPU alone; collected where there is one."""

import contextlib
import socket
from collections.abc import Iterator
from typing import Any

import pytest
import torch
import torch.distributed as dist
from torch import Tensor

from tests.cases import CASES, Case, changed, each_case, leaves, sample, weighted

GPU = torch.device("cuda")


@contextlib.contextmanager
def no_synchronisation() -> Iterator[None]:
    """Make it an error to wait for the GPU."""
    torch.cuda.set_sync_debug_mode("error")
    try:
        yield
    finally:
        torch.cuda.set_sync_debug_mode("default")


def on_gpu(case: Case, rows: int = 400) -> tuple[Tensor, Tensor, dict[str, Tensor], Any]:
    """Draw a batch and a state on the GPU."""
    logits, labels, weights = (x.to(GPU) for x in sample(case, rows))
    state = case.start((3,), device=GPU) if case.takes("state") else ()
    return logits.requires_grad_(), labels, weighted(case, weights), state


@each_case
def test_a_step_never_waits_for_the_gpu(case: Case) -> None:
    logits, labels, options, state = on_gpu(case)
    case(logits, labels, state, **options)[0].backward()  # what is made once may wait
    with no_synchronisation():
        for _ in range(3):
            loss, state = case(logits, labels, state, **options)
            loss.backward()
    assert bool(loss.isfinite())


@pytest.mark.parametrize("case", [case for case in CASES if case.takes("state")], ids=str)
def test_a_whole_step_is_captured_in_a_graph(case: Case) -> None:
    logits, labels, options, state = on_gpu(case)
    held = changed(state, Tensor.clone)
    slope = torch.zeros_like(logits)

    def step() -> Tensor:
        loss, after = case(logits, labels, held, **options)
        slope.copy_(torch.autograd.grad(loss, logits)[0])
        for mine, new in zip(leaves(held), leaves(after), strict=True):
            mine.copy_(new)
        return loss.detach()

    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(3):
            step()
    torch.cuda.current_stream().wait_stream(stream)
    for mine, first in zip(leaves(held), leaves(state), strict=True):
        mine.copy_(first)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        captured = step()
    for mine, first in zip(leaves(held), leaves(state), strict=True):
        mine.copy_(first)
    for seed in range(3):
        fresh = sample(case, 400, seed=seed)[0].to(GPU)
        with torch.no_grad():
            logits.copy_(fresh)
        graph.replay()
        want, state = case(logits, labels, state, **options)
        torch.testing.assert_close(captured, want.detach())
        torch.testing.assert_close(slope, torch.autograd.grad(want, logits)[0])
        torch.testing.assert_close(leaves(held), leaves(state))


def test_a_group_of_one_rank_is_this_process() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    store = f"tcp://127.0.0.1:{port}"
    dist.init_process_group("nccl", init_method=store, rank=0, world_size=1)
    try:
        for case in CASES:
            logits, labels, options, state = on_gpu(case)
            want, after = case(logits, labels, state, **options)
            group = {"process_group": dist.group.WORLD}
            loss, same = case(logits, labels, state, **options, **group)
            torch.testing.assert_close(loss, want, rtol=0, atol=0)
            torch.testing.assert_close(leaves(same), leaves(after), rtol=0, atol=0)
            reduced = loss.detach().clone()
            dist.all_reduce(reduced)  # the group works
            torch.testing.assert_close(reduced, loss.detach())
    finally:
        dist.destroy_process_group()
