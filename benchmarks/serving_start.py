"""How soon a server answers after its process begins, beside what its imports alone take."""

import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from statistics import median

from benchmarks.harness import Benchmark, Options, Row, in_turns, ratio, timed
from benchmarks.made_runs import made_run
from benchmarks.served import served

RUNS = ((20_000, 100_000), (1_000_000, 100_000))


def measure(options: Options) -> Iterator[Row]:
    """A row for each size of run."""
    for people, items in RUNS:
        with tempfile.TemporaryDirectory() as parent:
            options.tell(f"serving_start: {people:,} people ...")
            folder = made_run(Path(parent) / "run", people, items)

            def start(folder: Path = folder, parent: str = parent) -> float:
                with served(folder, Path(parent) / "events.db") as server:
                    return server.seconds

            def imports() -> None:
                subprocess.run([sys.executable, "-c", "import torch, fastapi, polars"], check=True)

            seconds = in_turns({"ready": start, "imports": timed(imports)}, options.repeats)
            size = sum(file.stat().st_size for file in folder.iterdir())
        yield {
            "run": f"{people:,} people, {items:,} items",
            "on disk": size / 1e6,
            "ready": median(seconds["ready"]),
            "imports": median(seconds["imports"]),
            "ready / imports": ratio(seconds["ready"], seconds["imports"]),
        }


BENCHMARK = Benchmark(
    name="serving_start",
    title="Start of a server",
    about=(
        "From the start of the process of `gaterec serve` to its first answer to /ready: imports, the run read and tried out, the store of events open. The "
        "log that it was trained on is not there. The floor is a process that imports torch, fastapi and polars."
    ),
    columns={"run": "{}", "on disk": "{:,.0f} MB", "ready": "{:.2f} s", "imports": "{:.2f} s", "ready / imports": "{:.2f}x"},
    ratio="ready / imports",
    measure=measure,
)
