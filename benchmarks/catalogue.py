"""What a step costs when the catalogue is very large: seconds and peak memory, each case in a process of its own."""

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import median

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmarks.harness import ROOT, Benchmark, Options, Row, Skipped, ratio
from gaterec.training.losses import bpr, cross_entropy, sampled_softmax
from gaterec.training.negative_sampling import NegativeSampler
from gaterec.training.row_adam import RowAdam

SIZE = 64
WHOLE, LARGE, HUGE, USUAL = 1_000_000, 1_000_000, 10_000_000, 100_000
"""Items: for cross-entropy over all of them, for sampled softmax, ten times that, and for BPR."""
TARGETS = 4096
SHARED = 1024
NEGATIVES = (1, 16, 256)
GIGABYTE = 1e9

Case = Callable[[int, int], tuple[Callable[[], object], int]]
"""(items, negatives) -> one step, and the bytes of what can't be done without: table, its gradient if it is dense, the optimizer's state."""


def parts(items: int) -> tuple[Tensor, Tensor, nn.Parameter]:
    """Queries, targets and table."""
    queries = torch.randn(TARGETS, SIZE, requires_grad=True)
    return queries, torch.randint(1, items, (TARGETS, 1)), nn.Parameter(torch.empty(items, SIZE).normal_(std=1 / SIZE))


def stepping(loss: Callable[[], Tensor], queries: Tensor, optimizer: torch.optim.Optimizer) -> Callable[[], None]:
    """A whole step: loss, gradients, update."""

    def step() -> None:
        queries.grad = None
        optimizer.zero_grad(set_to_none=True)
        loss().backward()  # type: ignore[no-untyped-call]
        optimizer.step()

    return step


def whole(items: int, _: int) -> tuple[Callable[[], object], int]:
    """Cross-entropy over the whole catalogue, and Adam."""
    queries, targets, table = parts(items)
    adam = torch.optim.Adam([table], fused=True)
    return stepping(lambda: cross_entropy(queries, targets, table, None), queries, adam), 4 * items * SIZE * 4


def products(items: int, _: int) -> tuple[Callable[[], object], int]:
    """The three bare products of `whole`, in tiles of scores that stay in the cache: 512 queries by 2,048 items."""
    queries, table = torch.randn(TARGETS, SIZE), torch.randn(items, SIZE)
    of_queries, of_table = torch.zeros_like(queries), torch.zeros_like(table)
    tile = torch.empty(512, 2048)

    def step() -> None:
        for begin in range(0, TARGETS, 512):
            q, d_q = queries[begin : begin + 512], of_queries[begin : begin + 512]
            for first in range(0, items, 2048):
                rows, d_rows = table[first : first + 2048], of_table[first : first + 2048]
                scores = tile.view(-1)[: len(q) * len(rows)].view(len(q), len(rows))
                torch.mm(q, rows.T, out=scores)
                d_q.addmm_(scores, rows)
                d_rows.addmm_(scores.T, q)

    return step, 2 * items * SIZE * 4


def sampled(items: int, negatives: int) -> tuple[Callable[[], object], int]:
    """Sampled softmax, and Adam by row."""
    queries, targets, table = parts(items)
    sampler = NegativeSampler(torch.ones(items, dtype=torch.int32))

    def loss() -> Tensor:
        return sampled_softmax(queries, targets, *sampler.draw_shared(negatives), table, None, sparse=True)

    return stepping(loss, queries, RowAdam([table], lr=0.001)), 3 * items * SIZE * 4


def pairs(items: int, negatives: int) -> tuple[Callable[[], object], int]:
    """BPR, and its gradients."""
    queries, targets, table = parts(items)
    drawn = torch.randint(1, items, (TARGETS, 1, negatives))
    nothing = torch.optim.SGD([table], lr=0.0)
    return stepping(lambda: bpr(queries, targets, drawn, table, None), queries, nothing), 2 * items * SIZE * 4


def gathered_pairs(items: int, negatives: int) -> tuple[Callable[[], object], int]:
    """The same by the plain line, which gathers a vector for every score."""
    queries, targets, table = parts(items)
    ids = torch.cat([targets, torch.randint(1, items, (TARGETS, negatives))], dim=1)

    def loss() -> Tensor:
        scores = (F.embedding(ids, table) * queries[:, None]).sum(-1)
        return -F.logsigmoid(scores[:, :1] - scores[:, 1:]).mean()

    return stepping(loss, queries, torch.optim.SGD([table], lr=0.0)), 2 * items * SIZE * 4


CASES: dict[str, Case] = {case.__name__: case for case in (whole, products, sampled, pairs, gathered_pairs)}


def memory(what: str) -> int:
    """Bytes of this process: VmRSS, what it holds now, or VmHWM, the most it ever held."""
    for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
        if line.startswith(what):
            return int(line.split()[1]) * 1024
    raise RuntimeError(f"/proc/self/status lacks {what}")


def alone(name: str, items: int, negatives: int, steps: int) -> dict[str, float]:
    """Run a case in this process: seconds of a step, and bytes at the peak, above what was there before and in all that must be there."""
    torch.manual_seed(0)
    before = memory("VmRSS")
    step, needed = CASES[name](items, negatives)
    seconds = []
    for _ in range(steps + 1):
        begin = time.perf_counter()
        step()
        seconds.append(time.perf_counter() - begin)
    return {"seconds": median(seconds[1:]), "peak": memory("VmHWM") - before, "needed": needed}


def apart(name: str, items: int, negatives: int, steps: int) -> dict[str, float]:
    """The same in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.catalogue", name, str(items), str(negatives), str(steps)]
    done = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True)
    found: dict[str, float] = json.loads(done.stdout)
    return found


def beside(title: str, ours: tuple[str, int, int], other: tuple[str, int, int], steps: int, rounds: int) -> Row:
    """One row: ours and the other, in turns."""
    found = [(apart(*ours, steps), apart(*other, steps)) for _ in range(rounds)]
    own, others = ([pair[side] for pair in found] for side in (0, 1))
    return {
        "step": title,
        "seconds": median(run["seconds"] for run in own),
        "beside": median(run["seconds"] for run in others),
        "gaterec / beside": ratio([run["seconds"] for run in own], [run["seconds"] for run in others]),
        "peak": max(run["peak"] for run in own) / GIGABYTE,
        "peak beside": max(run["peak"] for run in others) / GIGABYTE,
        "excess": max(run["peak"] - run["needed"] for run in own) / GIGABYTE,
    }


def measure(options: Options) -> Iterator[Row | Skipped]:
    """Cross-entropy beside its products, sampled softmax beside a tenth of its items, BPR beside its plain line."""
    if not Path("/proc/self/status").exists():
        yield Skipped("memory", "there is no /proc/self/status here")
        return
    options.tell(f"catalogue: cross-entropy over {WHOLE:,} items ...")
    yield beside(f"CE over {WHOLE:,}, beside its three products", ("whole", WHOLE, 0), ("products", WHOLE, 0), 2, 1)
    options.tell(f"catalogue: sampled softmax at {HUGE:,} and {LARGE:,} items ...")
    title = f"SSM and Adam by row at {HUGE:,}, beside {LARGE:,}"
    yield beside(title, ("sampled", HUGE, SHARED), ("sampled", LARGE, SHARED), 40, options.repeats)
    for negatives in NEGATIVES:
        options.tell(f"catalogue: BPR with {negatives} negatives ...")
        title = f"BPR, {negatives} negatives, {USUAL:,} items, beside the plain line"
        yield beside(title, ("pairs", USUAL, negatives), ("gathered_pairs", USUAL, negatives), 10, options.repeats)


BENCHMARK = Benchmark(
    name="catalogue",
    title="A step on a very large catalogue",
    about=(
        f"Losses and optimizers alone, without an encoder: {TARGETS:,} random queries, d={SIZE}. CE and its gradients over the whole catalogue "
        "with Adam, beside three bare matrix products in tiles (scores, gradient of the queries, gradient of the table). Sampled softmax with "
        f"{SHARED:,} shared negatives and Adam by row, at ten times the items. BPR beside the line that gathers (targets x negatives x d) vectors. "
        "Each in a process of its own; the peak is the most memory that it held, less what it held before it made the table; the excess is the "
        "peak less table, dense gradient and the optimizer's state."
    ),
    columns={
        "step": "{}",
        "seconds": "{:.4f} s",
        "beside": "{:.4f} s",
        "gaterec / beside": "{:.2f}x",
        "peak": "{:.2f} GB",
        "peak beside": "{:.2f} GB",
        "excess": "{:.2f} GB",
    },
    ratio="gaterec / beside",
    measure=measure,
)


if __name__ == "__main__":
    print(json.dumps(alone(sys.argv[1], *map(int, sys.argv[2:]))))
