"""What a server does with five times more requests than it can answer: it refuses the rest at once, holds no more memory, and is as fast as before
when it is over. GATEREC_SECONDS says how long (60)."""

import os
import tempfile
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.harness import Benchmark, Options, Row
from benchmarks.load import Load, run_closed, run_open
from benchmarks.made_runs import made_run
from benchmarks.served import Served, recommendations, served

TIMES = 5
CLIENTS = 64
WARM = 3.0
AFTER = 5.0
DEADLINE = 1.0


@dataclass(frozen=True)
class Overload:
    """What came of it.

    Attributes:
        before, during, after: as much as it can (64 clients), five times as much, and as much as it can again.
        memory: MB before and after, and what it grew by in a minute over the second half.
    """

    before: Load
    during: Load
    after: Load
    memory: tuple[float, float, float]


def overload(server: Served, requests: list[bytes], seconds: float, warm: float = WARM, after: float = AFTER) -> Overload:
    """Ask for as much as it can, for five times as much, and for as much as it can again."""
    run_closed(server.port, requests, CLIENTS, warm)
    before = run_closed(server.port, requests, CLIENTS, after)
    over, memory = threading.Event(), [server.memory]

    def watch() -> None:
        while not over.wait(seconds / 60):
            memory.append(server.memory)

    watcher = threading.Thread(target=watch)
    watcher.start()
    during = run_open(server.port, requests, TIMES * before.rate, seconds)
    over.set()
    watcher.join()
    half = memory[len(memory) // 2 :]
    slope = float(np.polyfit(np.arange(len(half)) * seconds / 3600, half, 1)[0]) if len(half) > 1 else 0.0
    return Overload(before, during, run_closed(server.port, requests, CLIENTS, after), (memory[0], server.memory, slope))


def measure(options: Options) -> Iterator[Row]:
    """Rows before, during and after."""
    seconds = float(os.environ.get("GATEREC_SECONDS", "60"))
    with tempfile.TemporaryDirectory() as parent:
        folder = made_run(Path(parent) / "run", 20_000, 100_000)
        with served(folder, Path(parent) / "events.db", f"--deadline={DEADLINE}") as server:
            options.tell(f"serving_overload: {TIMES} times too much for {seconds:g} seconds ...")
            found = overload(server, recommendations([f"u{number}" for number in range(1, 20_000)]), seconds)
    for name, load in (("64 clients", found.before), (f"{TIMES}x that rate for {seconds:g} s", found.during), ("5 s after", found.after)):
        yield {
            "load": name,
            "asked a second": load.statuses.total() / load.seconds,
            "answered a second": load.rate,
            "refused (503)": load.statuses[503],
            "neither": load.failed + load.without_retry,
            "p99 of answers": 1000 * load.quantile(99),
            "longest": 1000 * max(load.took.get(200, [0.0])),
            "p99 of refusals": 1000 * load.quantile(99, 503) if load.statuses[503] else None,
            "memory": found.memory[0 if load is found.before else 1],
            "growth": found.memory[2] if load is found.during else None,
            "answered / before": load.rate / found.before.rate,
        }


BENCHMARK = Benchmark(
    name="serving_overload",
    title="More requests than can be answered",
    about=(
        "POST /recommend out of 100,000 items: 64 clients that ask as fast as they are answered; then requests at five times that rate, whatever comes back, on "
        "512 connections; then the 64 clients again. The load comes from the same cores. Answers are counted from when a request left until it was "
        f"there; what has waited {DEADLINE:g} s in the server is refused. Memory is the server's own, and its growth in a minute is a line through the second half."
    ),
    columns={
        "load": "{}",
        "asked a second": "{:,.0f}",
        "answered a second": "{:,.0f}",
        "refused (503)": "{:,}",
        "neither": "{}",
        "p99 of answers": "{:.0f} ms",
        "longest": "{:.0f} ms",
        "p99 of refusals": "{:.0f} ms",
        "memory": "{:.0f} MB",
        "growth": "{:+.1f} MB",
        "answered / before": "{:.2f}x",
    },
    ratio="answered / before",
    measure=measure,
)
