"""How long `gaterec prepare` takes on a large CSV, beside the least that anyone could do: read it and sort it."""

import tempfile
from collections.abc import Iterator
from pathlib import Path
from statistics import median

from benchmarks.harness import Benchmark, Options, Row, in_turns, ratio
from benchmarks.simulated import alone, write_csv

EVENTS = 25_000_000

SORT = """
import polars as pl
begin = time.perf_counter()
pl.scan_csv(sys.argv[1]).sort("user_id", "timestamp").collect(engine=sys.argv[2])
print(json.dumps({"seconds": time.perf_counter() - begin, "bytes": memory()["VmHWM"]}))
"""
PREPARE = """
import gaterec
prepare = gaterec.prepare
begin = time.perf_counter()
prepare(sys.argv[1], sys.argv[2], config_dict={"state": "WARNING"})
print(json.dumps({"seconds": time.perf_counter() - begin, "bytes": memory()["VmHWM"]}))
"""


class Alone:
    """A program of its own that answers how many seconds it took; `peak` is the most memory that it ever held, in bytes."""

    def __init__(self, program: str, *arguments: object) -> None:
        self.program, self.arguments, self.peak = program, arguments, 0

    def __call__(self) -> float:
        found = alone(self.program, *self.arguments)
        self.peak = max(self.peak, found["bytes"])
        return float(found["seconds"])


def measure(options: Options) -> Iterator[Row]:
    """One row per kind of ids."""
    events = options.events or EVENTS
    for kind in ("numbers", "text"):
        options.tell(f"prepare: {events:,} events, ids are {kind} ...")
        with tempfile.TemporaryDirectory() as folder:
            log, out = Path(folder) / "log.csv", Path(folder) / "prepared"
            write_csv(log, events, text=kind == "text")
            sorts = {"sort in memory": Alone(SORT, log, "in-memory"), "streaming sort": Alone(SORT, log, "streaming")}
            gaterec = Alone(PREPARE, log, out)
            seconds = in_turns({**sorts, "gaterec": gaterec}, options.repeats)
            floor = min(sorts, key=lambda name: median(seconds[name]))
            yield {
                "log": f"{events:,} events, ids are {kind}",
                "CSV": log.stat().st_size / 1e9,
                **{name: median(times) for name, times in seconds.items()},
                "gaterec / faster sort": ratio(seconds["gaterec"], seconds[floor]),
                "sort's memory": sorts[floor].peak / 1e9,
                "gaterec's memory": gaterec.peak / 1e9,
            }


BENCHMARK = Benchmark(
    name="prepare",
    title="Seconds to prepare a large log",
    about=(
        "From a CSV of simulated events, in order of time, to a prepared folder. The floor is Polars' bare scan_csv, sort by person and time, collect, "
        "in its in-memory and its streaming engine, of which the faster one counts; it checks nothing, numbers no ids and writes nothing. Each in a "
        "process of its own; seconds without the imports, memory is the peak of the whole process."
    ),
    columns={
        "log": "{}",
        "CSV": "{:.2f} GB",
        "sort in memory": "{:.1f} s",
        "streaming sort": "{:.1f} s",
        "gaterec": "{:.1f} s",
        "gaterec / faster sort": "{:.2f}x",
        "sort's memory": "{:.2f} GB",
        "gaterec's memory": "{:.2f} GB",
    },
    ratio="gaterec / faster sort",
    measure=measure,
)
