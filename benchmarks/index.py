"""One query of a very large catalogue through an index, beside exact searches of as many items and of a tenth of them."""

import time
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from statistics import median
from typing import Any, NamedTuple

import numpy as np
import polars as pl
import torch
from torch import Tensor

from benchmarks.harness import Benchmark, Options, Row, Skipped, ratio
from benchmarks.training import Training, settings_for
from gaterec.experiments.setup import scorer_for
from gaterec.inference.ann_index import build
from gaterec.models.encoder import masked_bias

ITEMS, FEWER = 1_000_000, 100_000
EVENTS = 5
"""Of each item, on average."""
HISTORY, IN_A_SERIES, FAVOURITES = 40, 500, 4
"""Events of each person, items of a series, and series that a person likes."""
EPOCHS, QUERIES, TIMED = 1, 1_000, 500


def measure(options: Options) -> Iterator[Row | Skipped]:
    """Cells over all items; then a graph, which takes long to build, over a tenth of them."""
    if find_spec("faiss") is None:
        yield Skipped("index", "FAISS is not installed; pip install 'gaterec[index]'")
        return
    items = ITEMS if options.events is None else max(options.events // EVENTS, 20_000)
    table = trained(items, options)
    step = items // min(FEWER, items)
    fewer = Table(table.weight[::step].contiguous(), table.bias[::step].contiguous(), table.queries)
    for kind, searched in (("ivf", table), ("hnsw", fewer)):
        options.tell(f"index: {kind} over {len(searched.weight) - 1:,} items ...")
        index = build(kind, searched.weight, searched.bias, searched.queries[:QUERIES])
        contenders: dict[str, Callable[[Tensor], object]] = {
            "index": lambda query, index=index: index.search(query, 10),  # type: ignore[misc]
            "fewer": exactly(fewer),
            "exact": exactly(searched),
        }
        times = in_rounds(contenders, table.queries[-TIMED:], options.repeats)
        p50, p99 = ({name: np.percentile(rounds, of, axis=1).tolist() for name, rounds in times.items()} for of in (50, 99))
        yield {
            "index": f"{kind}, {'by products' if index.about['products'] else 'by equal lengths'}",
            "items": len(searched.weight) - 1,
            "built": index.about["seconds_to_build"],
            "effort": index.about["effort"],
            "recall@10": index.about["recall"],
            "p50": 1000 * median(p50["index"]),
            "p99": 1000 * median(p99["index"]),
            f"exact p99, {FEWER:,}": 1000 * median(p99["fewer"]),
            "p99 / that": ratio(p99["index"], p99["fewer"]),
            "exact p50": 1000 * median(p50["exact"]),
            "exact p50 / p50": ratio(p50["exact"], p50["index"]),
        }


class Table(NamedTuple):
    """Items, padding first, and what people want next."""

    weight: Tensor
    bias: Tensor
    queries: Tensor


def trained(items: int, options: Options) -> Table:
    """HGN trained for some epochs, by sampled softmax, on a log of so many items."""
    changed: dict[str, Any] = {"loss_type": "SSM", "train_neg_sample_args": {"sample_num": 512}, "train_batch_size": 4096}
    options.tell(f"index: simulating a log of {items:,} items ...")
    training = Training(settings_for(options, "simulated", {**changed, "learning_rate": 0.01, "sparse_updates": True}), log(items))
    for epoch in range(options.epochs or EPOCHS):
        options.tell(f"index: epoch {epoch + 1} ...")
        training()
    model, interactions = training.trainer.model.eval(), training.prepared.interactions
    asked = np.sort(np.random.default_rng(1).permutation(np.arange(1, len(interactions.users)))[: QUERIES + TIMED])
    scorer = scorer_for(model, training.settings, training.prepared, training.device)
    queries: Tensor = scorer.queries(asked, interactions.offsets[asked + 1])  # type: ignore[attr-defined]
    weight, bias = model.item_table()
    assert bias is not None
    return Table(weight.detach(), bias.detach(), queries[torch.randperm(len(queries), generator=torch.Generator().manual_seed(1))])


def log(items: int, seed: int = 0) -> pl.DataFrame:
    """Series of items, some of which many like; a person stays in a series, often with its next item, or goes over to another favourite."""
    random = np.random.default_rng(seed)
    series, people = items // IN_A_SERIES, items * EVENTS // HISTORY

    def zipf(count: int, power: float, *shape: int) -> np.ndarray:
        shares = np.cumsum(np.arange(1, count + 1) ** -power)
        return np.searchsorted(shares / shares[-1], random.random(shape))

    favourites = zipf(series, 0.7, people, FAVOURITES)
    place, where = zipf(IN_A_SERIES, 1.0, people), favourites[:, 0]
    chosen = np.empty((people, HISTORY), dtype=np.int64)
    for event in range(HISTORY):
        chosen[:, event] = where * IN_A_SERIES + place
        over = random.random(people) < 0.3
        where = np.where(over, favourites[np.arange(people), random.integers(0, FAVOURITES, people)], where)
        on = ~over & (random.random(people) < 0.4)
        place = np.where(on, (place + 1) % IN_A_SERIES, zipf(IN_A_SERIES, 1.0, people))
    item = chosen.ravel()
    there, first = np.unique(item, return_index=True)
    never, again = np.setdiff1d(np.arange(items), there), np.setdiff1d(np.arange(len(item)), first)
    item[random.choice(again, len(never), replace=False)] = never  # each once, so that the catalogue is as large as it says
    return pl.DataFrame({"user_id": np.repeat(np.arange(people), HISTORY), "item_id": item, "timestamp": np.arange(len(item))})


def exactly(table: Table) -> Callable[[Tensor], object]:
    """All scores of one query, and the ten best of them."""
    bias = masked_bias(table.weight, table.bias)
    return lambda query: torch.addmv(bias, table.weight, query[0]).topk(10)


@torch.inference_mode()
def in_rounds(contenders: dict[str, Callable[[Tensor], object]], queries: Tensor, rounds: int) -> dict[str, np.ndarray]:
    """(rounds, queries) seconds of each query, one at a time, contender after contender in each round; a first round warms up."""
    found = {name: np.zeros((rounds + 1, len(queries))) for name in contenders}
    for number in range(rounds + 1):
        for name, search in contenders.items():
            for place, query in enumerate(queries):
                begin = time.perf_counter()
                search(query[None])
                found[name][number, place] = time.perf_counter() - begin
    return {name: seconds[1:] for name, seconds in found.items()}


BENCHMARK = Benchmark(
    name="index",
    title="An index over a very large catalogue",
    about=(
        f"Queries one at a time, of people of the log. The table is that of HGN (d=64) after {EPOCHS} epoch of sampled softmax on a simulated log of {ITEMS:,} items "
        f"with {EVENTS} events each on average, in series of {IN_A_SERIES}; popularity is Zipf's, so some items are many times longer than most. An index searches as hard as 95 % recall of the ten "
        f"best needs (efSearch, nprobe); exact search scores all items and takes the ten best: of as many items, and of every tenth. Cells (ivf) over all items; a graph (hnsw), which takes minutes to build "
        "over as many, over every tenth. A graph that finds too little by equally long vectors is built by products too, and the better one stays."
    ),
    columns={
        "index": "{}",
        "items": "{:,}",
        "built": "{:.0f} s",
        "effort": "{}",
        "recall@10": "{:.3f}",
        "p50": "{:.3f} ms",
        "p99": "{:.3f} ms",
        f"exact p99, {FEWER:,}": "{:.2f} ms",
        "p99 / that": "{:.2f}x",
        "exact p50": "{:.2f} ms",
        "exact p50 / p50": "{:.0f}x",
    },
    ratio="p99 / that",
    measure=measure,
)
