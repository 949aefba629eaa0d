"""A server that takes another run a hundred times while it answers."""

import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import median

from benchmarks.harness import Benchmark, Options, Row
from benchmarks.load import Load, Running, run_closed
from benchmarks.made_runs import made_run
from benchmarks.served import Served, recommendations, served

RELOADS = 100
CLIENTS = 8


def reloads(server: Served, requests: list[bytes], count: int, seconds: float) -> tuple[Load, list[float]]:
    """Reload so often within these seconds, under load; what came back, and how long each reload took."""
    load = Running("closed", server.port, requests, CLIENTS, seconds)
    took, begin = [], time.perf_counter()
    with server.client() as client:
        for number in range(count):
            time.sleep(max(0.0, begin + number * seconds / count - time.perf_counter()))
            since = time.perf_counter()
            client.reload()
            took.append(time.perf_counter() - since)
    return load.result(), took


def measure(options: Options) -> Iterator[Row]:
    """One row."""
    with tempfile.TemporaryDirectory() as parent:
        folder = made_run(Path(parent) / "run", 20_000, 100_000)
        with served(folder, Path(parent) / "events.db") as server:
            requests = recommendations([f"u{number}" for number in range(1, 20_000)])
            calm = [run_closed(server.port, requests, CLIENTS, 5.0) for _ in range(2)][-1]
            with server.client() as client:
                begin = time.perf_counter()
                client.reload()
                alone = time.perf_counter() - begin
            options.tell(f"serving_reload: {RELOADS} reloads under load ...")
            found, took = reloads(server, requests, RELOADS, 2.0 * RELOADS * alone)
    yield {
        "load": f"{CLIENTS} clients, {len(took)} reloads in {found.seconds:.0f} s",
        "requests": found.statuses.total(),
        "not answered": found.statuses.total() - found.statuses[200],
        "a reload": median(took),
        "p50": 1000 * found.quantile(50),
        "p99": 1000 * found.quantile(99),
        "p99 without": 1000 * calm.quantile(99),
        "p99 / without": found.quantile(99) / calm.quantile(99),
    }


BENCHMARK = Benchmark(
    name="serving_reload",
    title="Reloads under load",
    about="POST /recommend out of 100,000 items without a pause, while POST /reload reads the run anew, tries it out and puts it in the place of the last.",
    columns={
        "load": "{}",
        "requests": "{:,}",
        "not answered": "{}",
        "a reload": "{:.2f} s",
        "p50": "{:.1f} ms",
        "p99": "{:.1f} ms",
        "p99 without": "{:.1f} ms",
        "p99 / without": "{:.1f}x",
    },
    ratio="p99 / without",
    measure=measure,
)
