"""Events a second that the server's store acknowledges, beside SQLite alone with one event in a commit."""

import asyncio
import sqlite3
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from functools import partial
from pathlib import Path
from statistics import median

from benchmarks.harness import Benchmark, Options, Row, in_turns, ratio
from gaterec.serve.events.sqlite import INSERT, NAMES, SETTINGS, TABLES
from gaterec.serve.events.store import Event, open_store

EVENTS = 200
"""Of each writer, in a round."""
WRITERS = (1, 64)


def bare(file: Path) -> float:
    """Seconds an event, with nothing but SQLite."""
    with closing(sqlite3.connect(file, isolation_level=None)) as connection:
        for statement in ("PRAGMA journal_mode = WAL", *SETTINGS, *TABLES):
            connection.execute(statement)
        begin = time.perf_counter()
        for number in range(EVENTS):
            connection.execute(INSERT.format(NAMES[0]), ("person 0", f"item {number}", float(number), f"0-{number}"))
        return (time.perf_counter() - begin) / EVENTS


def added(file: Path, writers: int) -> float:
    """Seconds an event, with so many coroutines that each add one event after another."""
    store = open_store(file)

    async def write(writer: int) -> None:
        for number in range(EVENTS):
            await store.add([Event(f"person {writer}", f"item {number}", float(number), f"{writer}-{number}")])

    async def everybody() -> None:
        await asyncio.gather(*(write(writer) for writer in range(writers)))

    begin = time.perf_counter()
    asyncio.run(everybody())
    seconds = time.perf_counter() - begin
    store.close()
    return seconds / (EVENTS * writers)


def anew(measure: Callable[[Path], float]) -> float:
    """A measurement on a file of its own."""
    with tempfile.TemporaryDirectory() as folder:
        return measure(Path(folder) / "events.db")


def measure(options: Options) -> Iterator[Row]:
    """One row for each number of writers."""
    contenders = {"bare": partial(anew, bare), **{str(writers): partial(anew, partial(added, writers=writers)) for writers in WRITERS}}
    seconds = in_turns(contenders, options.repeats)
    for writers in WRITERS:
        yield {
            "writers": f"{writers} at once",
            "store": 1 / median(seconds[str(writers)]),
            "floor": 1 / median(seconds["bare"]),
            "store / floor": ratio(seconds["bare"], seconds[str(writers)]),
        }


BENCHMARK = Benchmark(
    name="events",
    title="Events that the server's store acknowledges",
    about=(
        f"SQLite, on the disk of temporary files. Each writer adds {EVENTS} events, one after another, and goes on when its event is durable; all are "
        "coroutines of one event loop, and events that wait at the same time share a commit. The floor is sqlite3 alone: the same table, indexes and pragmas, "
        "every insert a commit of its own, no thread and no event loop."
    ),
    columns={"writers": "{}", "store": "{:,.0f} events/s", "floor": "{:,.0f} events/s", "store / floor": "{:.2f}x"},
    ratio="store / floor",
    measure=measure,
)
