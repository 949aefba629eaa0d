"""Pieces of work for all cores of a CPU, each piece on one core, so that what it works with stays in that core's cache."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import torch


def in_threads(work: Callable[[int], object], count: int, device: torch.device | None) -> None:
    """work(0), work(1), ... work(count - 1), without gradients; on a CPU as many at a time as torch has threads, each with one of them;
    one at a time where no device is given.

    What a piece finds must not depend on when it is done; then results are the same bits every time.
    """
    threads = min(torch.get_num_threads(), count) if device is not None and device.type == "cpu" else 1
    piece = torch.inference_mode()(work)
    if threads <= 1:
        for number in range(count):
            piece(number)
        return
    before = torch.get_num_threads()
    try:
        with ThreadPoolExecutor(threads, initializer=torch.set_num_threads, initargs=(1,)) as pool:
            for _ in pool.map(piece, range(count)):
                pass
    finally:
        torch.set_num_threads(before)
