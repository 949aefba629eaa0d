"""A server that is killed (SIGKILL) at random moments while events stream in: what it acknowledged is there when it comes up again."""

import random
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

from benchmarks.harness import Benchmark, Options, Row
from benchmarks.made_runs import made_run
from benchmarks.served import Served, served
from gaterec.serve.client import ServerError
from gaterec.serve.events.store import open_store

KILLS = 50
CLIENTS = 4


@dataclass
class Kills:
    """What came of it.

    Attributes:
        sent, acknowledged: people who each have one event: about whom the server was told, and said that it was kept.
        kept: those whose event is there.
        ready: seconds until the server was ready, each time.
    """

    sent: set[str] = field(default_factory=set)
    acknowledged: set[str] = field(default_factory=set)
    kept: set[str] = field(default_factory=set)
    ready: list[float] = field(default_factory=list)
    seconds: float = 0.0


def kills(folder: Path, events: Path, count: int, *, item: str = "i1", seed: int = 0) -> Kills:
    """Start, stream, kill, as often as said; then look what is there."""
    dice, found = random.Random(seed), Kills()
    for turn in range(count):
        with served(folder, events) as server:
            found.ready.append(server.seconds)
            over = threading.Event()
            streams = [threading.Thread(target=_stream, args=(server, found, over, f"{turn}-{one}", item)) for one in range(CLIENTS)]
            begin = time.perf_counter()
            for stream in streams:
                stream.start()
            time.sleep(dice.uniform(0.02, 0.5))
            server.process.kill()
            found.seconds += time.perf_counter() - begin
            over.set()
            for stream in streams:
                stream.join()
    store = open_store(events)
    sent = sorted(found.sent)
    for begin_ in range(0, len(sent), 1000):
        found.kept |= store.events_of(sent[begin_ : begin_ + 1000]).keys()
    store.close()
    return found


def _stream(server: Served, found: Kills, over: threading.Event, name: str, item: str) -> None:
    number = 0
    with server.client() as client:
        while not over.is_set():
            user = f"{name}-{number}"
            found.sent.add(user)
            try:
                client.add_event(user, item)
            except ServerError:
                return
            found.acknowledged.add(user)
            number += 1


def measure(options: Options) -> Iterator[Row]:
    """One row."""
    with tempfile.TemporaryDirectory() as parent:
        folder = made_run(Path(parent) / "run", 1000, 1000, 16)
        options.tell(f"serving_kills: {KILLS} kills ...")
        found = kills(folder, Path(parent) / "events.db", KILLS)
    yield {
        "kills": KILLS,
        "events acknowledged": len(found.acknowledged),
        "a second": len(found.acknowledged) / found.seconds,
        "acknowledged and lost": len(found.acknowledged - found.kept),
        "kept, answer lost": len(found.kept - found.acknowledged),
        "ready again": median(found.ready[1:]),
        "again / first": median(found.ready[1:]) / found.ready[0],
    }


BENCHMARK = Benchmark(
    name="serving_kills",
    title="A server that is killed",
    about=(
        f"{CLIENTS} clients send events over HTTP, and the server is killed 0.02 to 0.5 s after they began, then started again on the same file of events. An "
        "event counts as lost if the server answered that it was kept, and it is not there at the end."
    ),
    columns={
        "kills": "{}",
        "events acknowledged": "{:,}",
        "a second": "{:,.0f}",
        "acknowledged and lost": "{}",
        "kept, answer lost": "{}",
        "ready again": "{:.2f} s",
        "again / first": "{:.2f}x",
    },
    ratio="again / first",
    measure=measure,
)
