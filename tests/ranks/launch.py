"""Run a function of a test on several processes that form a group, and return what each returns."""

import contextlib
import datetime
import faulthandler
import os
import signal
import tempfile
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import multiprocessing

TIMEOUT = 60  # seconds that a rank waits for another


class SegmentationError(AssertionError):
    """A rank was ended by native code."""


def on_ranks(ranks: int, work: Callable[..., Any], *arguments: Any) -> list[Any]:
    """Call ``work(rank, ranks, *arguments)`` on each rank of a new group, over gloo.

    A rank that ends its process itself returns None. Torch's gloo ends a process with a
    segmentation fault once in a hundred runs or so of a loaded machine, so that such a run is begun
    once more; a fault of our own comes again.
    """
    try:
        return _on_ranks(ranks, work, arguments)
    except SegmentationError:
        return _on_ranks(ranks, work, arguments)


def _on_ranks(ranks: int, work: Callable[..., Any], arguments: Any) -> list[Any]:
    """Call ``work`` on each rank of a new group."""
    with tempfile.TemporaryDirectory() as folder:
        context: Any = multiprocessing.get_context("spawn")
        started = [
            context.Process(target=_run, args=(rank, ranks, folder, work, arguments))
            for rank in range(ranks)
        ]
        for process in started:
            process.start()
        try:
            for process in started:
                process.join()
        finally:
            for process in started:
                process.kill()
                process.join()
        if any(process.exitcode == -signal.SIGSEGV for process in started):
            raise SegmentationError
        results = []
        for rank, process in enumerate(started):
            failure = Path(folder, f"{rank}.txt")
            told = failure.read_text() if failure.exists() else f"exit code {process.exitcode}"
            assert process.exitcode == 0, f"rank {rank} failed: {told}"
            returned = Path(folder, f"{rank}.pt")
            known = returned.exists()
            results.append(torch.load(returned, weights_only=False) if known else None)
        return results


def _run(rank: int, ranks: int, folder: str, work: Callable[..., Any], arguments: Any) -> None:
    torch.set_num_threads(1)
    faulthandler.enable()
    try:
        dist.init_process_group(
            "gloo",
            init_method=f"file://{folder}/store",
            rank=rank,
            world_size=ranks,
            timeout=datetime.timedelta(seconds=TIMEOUT),
        )
        torch.save(work(rank, ranks, *arguments), Path(folder, f"{rank}.pt"))
        with contextlib.suppress(RuntimeError):  # of a rank that has ended itself
            dist.barrier()
        os._exit(0)  # under load, threads of gloo that are torn down abort now and then
    except BaseException:
        Path(folder, f"{rank}.txt").write_text(traceback.format_exc())
        raise
