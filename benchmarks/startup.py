"""How long a training on a prepared log of a hundred million events takes to start, and how much memory that needs."""

import tempfile
from collections.abc import Iterator
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import polars as pl

from benchmarks.harness import Benchmark, Options, Row, in_turns, ratio
from benchmarks.simulated import EVENTS_PER_PERSON, ITEMS, alone, event_blocks
from gaterec.config.resolve import resolve
from gaterec.data.interactions import Interactions
from gaterec.data.prepared import PreparedLog, write_prepared
from gaterec.models import model_class

EVENTS = 100_000_000

START = """
import torch
from gaterec.models import model_class
from gaterec.experiments.setup import make_batches, prepare
from gaterec.config.resolve import resolve
before, begin = memory(), time.perf_counter()
settings = resolve(lambda kind: model_class(kind).Settings, "HGN", sys.argv[1], config_dict={"show_progress": False})
batches = make_batches(settings, ready := prepare(settings, None), torch.device("cpu"))
first = next(batches.epoch(1))
seconds, after = time.perf_counter() - begin, memory()
print(json.dumps({"seconds": seconds, **{name: after[name] - before[name] for name in ("RssAnon", "RssFile")}}))
"""
TOUCH = """
import numpy as np
begin = time.perf_counter()
for name in ("item", "offsets"):
    np.load(f"{sys.argv[1]}/{name}.npy", mmap_mode="r").sum()
print(json.dumps({"seconds": time.perf_counter() - begin}))
"""


def write_simulated(folder: Path, events: int) -> None:
    """A prepared folder of simulated events, without the way through a CSV."""
    people = max(events // EVENTS_PER_PERSON, 1)
    cuts = np.sort(np.random.default_rng(0).integers(0, events + 1, people - 1))
    item = np.concatenate([block.astype(np.int32) for _, block, _ in event_blocks(events)])
    interactions = Interactions(
        name="simulated",
        users=pl.Series(["[unknown]", *map(str, range(people))]),
        items=pl.Series(["[padding]", *map(str, range(ITEMS))]),
        item=item,
        offsets=np.concatenate([[0, 0], cuts, [events]]).astype(np.int64),
        time=np.arange(events),
    )
    settings = resolve(lambda kind: model_class(kind).Settings)
    write_prepared(PreparedLog(interactions, "simulated", None, None, (), ()), settings, folder)


def measure(options: Options) -> Iterator[Row]:
    """One row."""
    events = options.events or EVENTS
    options.tell(f"startup: {events:,} events ...")
    with tempfile.TemporaryDirectory() as parent:
        folder = Path(parent) / "prepared"
        write_simulated(folder, events)
        found: list[dict[str, Any]] = []

        def start() -> float:
            found.append(alone(START, folder))
            return float(found[-1]["seconds"])

        seconds = in_turns({"start": start, "floor": lambda: float(alone(TOUCH, folder)["seconds"])}, options.repeats)
        yield {
            "log": f"{events:,} events of {max(events // EVENTS_PER_PERSON, 1):,} people",
            "on disk": sum(file.stat().st_size for file in folder.iterdir()) / 1e9,
            "to the first batch": median(seconds["start"]),
            "floor": median(seconds["floor"]),
            "start / floor": ratio(seconds["start"], seconds["floor"]),
            "memory": median(one["RssAnon"] for one in found) / 1e9,
            "mapped": median(one["RssFile"] for one in found) / 1e9,
        }


BENCHMARK = Benchmark(
    name="startup",
    title="Start of a training on a prepared log",
    about=(
        "From the settings to the first training batch, without making the model: open the prepared folder, split it, count, lay out rows, shuffle "
        "them, assemble a batch; in a process of its own that has done its imports. The floor is one pass over the arrays that a start must touch "
        "(the last events of every person lie on every page of them): np.sum of the items and the offsets. Memory is what the process holds of its own "
        "afterwards; mapped is what it sees of the files, which belongs to the system's cache and can be let go at any time."
    ),
    columns={
        "log": "{}",
        "on disk": "{:.2f} GB",
        "to the first batch": "{:.2f} s",
        "floor": "{:.2f} s",
        "start / floor": "{:.1f}x",
        "memory": "{:.2f} GB",
        "mapped": "{:.2f} GB",
    },
    ratio="start / floor",
    measure=measure,
)
