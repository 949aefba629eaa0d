"""Pieces of work for all cores of a CPU, each piece on one core, so that what it works with stays in that core's cache."""

import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import torch


def in_threads(work: Callable[[int], object], count: int, device: torch.device | None) -> None:
    """work(0), work(1), ... work(count - 1), without gradients; on a CPU as many at a time as torch has threads, each with one of them;
    one at a time where no device is given.

    What a piece finds must not depend on when it is done; then results are the same bits every time.
    """
    threads = min(torch.get_num_threads(), count) if device is not None and device.type == "cpu" else 1
    todo = iter(range(count))  # shared: whoever is done takes the next

    @torch.inference_mode()
    def pieces() -> None:
        for number in todo:
            work(number)

    if threads <= 1:
        pieces()
        return
    cores = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
    # Where torch has all the cores, each thread keeps to one of them: some schedulers put threads that wait for Python's lock on one core.
    where = cores if len(cores) == threads else [None] * threads

    def share(number: int) -> None:
        torch.set_num_threads(1)
        with _on_core(where[number]):
            pieces()

    before = torch.get_num_threads()
    try:
        with ThreadPoolExecutor(threads - 1) as pool:
            others = [pool.submit(share, number) for number in range(1, threads)]
            share(0)
            for other in others:
                other.result()
    finally:
        torch.set_num_threads(before)


@contextmanager
def _on_core(core: int | None) -> Iterator[None]:
    """Inside, this thread runs on that core alone; None lets it run anywhere."""
    if core is None:
        yield
        return
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {core})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)
