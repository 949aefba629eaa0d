"""What a model costs beside its training: the time that its recommendations take, and memory."""

import re
import sys
import time
from contextlib import suppress
from pathlib import Path

import numpy as np
import torch

from gaterec.config.settings import Settings
from gaterec.data.split import EvalQueries, seen_pairs
from gaterec.experiments.setup import Prepared, scorer_for
from gaterec.kernels.ranking import SCORES_AT_A_TIME
from gaterec.kernels.topk import top_items
from gaterec.models.encoder import SequenceEncoder

SERVED = 10_000
"""How many queries are timed, at most."""


def peak_memory() -> int | None:
    """The most memory that this process ever had, in bytes; None where the system doesn't tell."""
    with suppress(OSError):  # on Linux getrusage counts what the parent had when it began this process
        found = re.search(r"^VmHWM:\s*(\d+) kB$", Path("/proc/self/status").read_text(encoding="ascii", errors="replace"), re.MULTILINE)
        if found is not None:
            return int(found[1]) * 1024
    try:
        import resource
    except ImportError:
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def seconds_per_1000(
    settings: Settings, prepared: Prepared, cases: EvalQueries, model: SequenceEncoder, device: torch.device
) -> tuple[float, int]:
    """Seconds for 1,000 lists of ten, from history to list, and how many were made; items seen before are treated as the protocol says."""
    interactions, size = prepared.interactions, len(prepared.interactions.items)
    score, number = scorer_for(model, settings, prepared, device), min(len(cases), SERVED)
    lot = torch.randperm(size, generator=torch.Generator().manual_seed(settings.seed)).to(device)
    step = max(min(settings.eval_batch_size, SCORES_AT_A_TIME // size), 1)
    nobody = np.empty(0, dtype=np.int64)

    def recommend(begin: int, end: int) -> None:
        user, position = cases.user[begin:end], cases.position[begin:end]
        scores = score(user, position)  # (C, V)
        if not settings.repeatable:
            seen = seen_pairs(interactions, EvalQueries(user, position, nobody, nobody, 0))
            scores.view(-1).index_fill_(0, torch.from_numpy(seen).to(device), -torch.inf)
        top_items(scores, min(10, size - 1), lot, torch.arange(begin, end, device=device)).cpu()

    with torch.inference_mode():
        recommend(0, min(step, number))  # warms up
        start = time.perf_counter()
        for begin in range(0, number, step):
            recommend(begin, min(begin + step, number))
        return (time.perf_counter() - start) / number * 1000, number
