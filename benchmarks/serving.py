"""How soon and how often a server recommends, beside what the work alone costs and what a request costs that asks for nothing."""

import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from statistics import median, quantiles

import numpy as np
import torch

from benchmarks.harness import Benchmark, Options, Row, in_turns, ratio
from benchmarks.load import Load, request, run_closed
from benchmarks.made_runs import made_run
from benchmarks.served import recommendations, served

PEOPLE, ITEMS, SIZE = 20_000, 100_000, 64
CLIENTS = 64
SECONDS = 5.0
"""So long is each load in each round."""


def product(rounds: int = 300) -> tuple[float, float]:
    """The 50th and 99th percentile, in seconds, of one vector times a table of the catalogue, on one core, as in the server."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    table, query, took = torch.randn(ITEMS, SIZE), torch.randn(SIZE), []
    for _ in range(rounds):
        begin = time.perf_counter()
        torch.mv(table, query)
        took.append(time.perf_counter() - begin)
    torch.set_num_threads(threads)
    found = quantiles(took, n=100)
    return found[49], found[98]


def measure(options: Options) -> Iterator[Row]:
    """Rows of one client, then of many."""
    people = [f"u{number}" for number in np.random.default_rng(0).permutation(PEOPLE) + 1]
    with tempfile.TemporaryDirectory() as parent, ExitStack() as stack:
        options.tell(f"serving: a made run of {ITEMS:,} items ...")
        folder = made_run(Path(parent) / "run", PEOPLE, ITEMS, SIZE)
        batched = stack.enter_context(served(folder, Path(parent) / "batched.db", "--deadline=30"))
        single = stack.enter_context(served(folder, Path(parent) / "single.db", "--batch=1", "--deadline=30"))
        loads = {
            "nothing, 1 client": (batched.port, [request("GET", "/health")], 1),
            "recommend, 1 client": (batched.port, recommendations(people), 1),
            "nothing, 64 clients": (batched.port, [request("GET", "/health")], CLIENTS),
            "recommend, 64 clients, --batch=1": (single.port, recommendations(people), CLIENTS),
            "recommend, 64 clients": (batched.port, recommendations(people), CLIENTS),
        }
        found: dict[str, list[Load]] = {name: [] for name in loads}
        products: list[tuple[float, float]] = []

        def one_load(name: str) -> float:
            options.tell(f"serving: {name} ...")
            found[name].append(run_closed(*loads[name], SECONDS))
            return found[name][-1].quantile(50)

        def one_product() -> float:
            products.append(product())
            return products[-1][0]

        seconds = in_turns({**{name: partial(one_load, name) for name in loads}, "product": one_product}, options.repeats)
        yield {"what": f"{ITEMS:,} x {SIZE} times a vector, in process", **_ms(*map(median, zip(*products[1:], strict=True)))}
        rates = {name: [load.rate for load in loads[1:]] for name, loads in found.items()}
        for name, loads_ in found.items():
            counted = loads_[1:]  # the first round warmed up
            row: Row = {"what": name, "a second": median(rates[name]), "failed": sum(load.failed + load.statuses[503] for load in counted)}
            row |= _ms(median(load.quantile(50) for load in counted), median(load.quantile(99) for load in counted))
            if name == "recommend, 1 client":
                floor = [sum(pair) for pair in zip(seconds["nothing, 1 client"], seconds["product"], strict=True)]
                row["p50 / (nothing + product)"] = ratio(seconds[name], floor)
            if name.startswith("recommend, 64"):
                row["rate / 1 client's"] = ratio(rates[name], rates["recommend, 1 client"])
                row["rate / --batch=1"] = ratio(rates[name], rates["recommend, 64 clients, --batch=1"])
            yield row


def _ms(p50: float, p99: float) -> Row:
    return {"p50": 1000 * p50, "p99": 1000 * p99}


BENCHMARK = Benchmark(
    name="serving",
    title="Recommending over HTTP",
    about=(
        f"POST /recommend, ten items out of {ITEMS:,}, another person with each request, over the loopback interface, from clients in a process of their "
        "own that share the cores with the server. A client sends its next request when it has its answer. The floor of one client is a request that asks "
        "for nothing (GET /health, of the same server) and the product of the item table with one vector (in process, one core). --batch=1 answers one "
        "request at a time."
    ),
    columns={
        "what": "{}",
        "a second": "{:,.0f}",
        "p50": "{:.2f} ms",
        "p99": "{:.2f} ms",
        "failed": "{}",
        "p50 / (nothing + product)": "{:.1f}x",
        "rate / 1 client's": "{:.1f}x",
        "rate / --batch=1": "{:.1f}x",
    },
    ratio="rate / --batch=1",
    measure=measure,
)
