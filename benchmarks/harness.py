"""What all benchmarks share: rounds, ratios, tables, files, and the page that is made of them.

A benchmark is a function that yields rows, one dictionary per line of its table. What it can't measure here (no data, no peer), it yields
as Skipped, with the reason. Things to be compared are measured in turns, and a ratio is the median of the ratios within each turn, so that
what else the machine is doing hits both sides alike.
"""

import json
import os
import platform
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from statistics import median
from typing import Any

from rich.console import Console
from rich.table import Table

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "results"
PAGE = ROOT / "docs" / "benchmarks.md"

Row = dict[str, str | int | float | None]
"""Column -> value; None where there is none."""


@dataclass(frozen=True)
class Skipped:
    """Something that was not measured, and why."""

    what: str
    why: str


@dataclass(frozen=True)
class Options:
    """What the command line asks for.

    Attributes:
        data_path: the folder with NAME/NAME.inter.
        repeats: how many rounds, after one that warms up and doesn't count.
        epochs: at most so many epochs in a benchmark that trains to the end, to try it out; None for all.
        tell: where a benchmark says what it is at.
        events: the size of simulated logs, to try a benchmark out on small ones; None for each benchmark's own.
        whole: whether a slow peer is measured to its end where a part of its work would be measured and the rest reckoned.
    """

    data_path: Path = ROOT.parent / "shared" / "datasets"
    repeats: int = 5
    epochs: int | None = None
    tell: Callable[[str], object] = print
    events: int | None = None
    whole: bool = False

    def missing(self, dataset: str) -> Skipped | None:
        """Why this dataset can't be measured on; None when it can."""
        file = self.data_path / dataset / f"{dataset}.inter"
        return None if file.is_file() else Skipped(dataset, f"there is no {file}; say where it is with --data_path")


@dataclass(frozen=True)
class Benchmark:
    """A benchmark.

    Attributes:
        name: of its module and of the file of its results.
        title: what is measured, above the table.
        about: how, in a few sentences.
        columns: column -> how its values are written, as in "{:.2f} s".
        ratio: the column that compares with a peer or a floor.
        measure: the rows.
        draw: makes a picture of a result, where a table alone is hard to read.
    """

    name: str
    title: str
    about: str
    columns: Mapping[str, str]
    ratio: str
    measure: Callable[[Options], Iterable[Row | Skipped]]
    draw: Callable[[dict[str, Any], Path], None] | None = None

    def __post_init__(self) -> None:
        assert self.ratio in self.columns, f"{self.name}: a benchmark without a ratio says little"


def timed(work: Callable[[], object]) -> Callable[[], float]:
    """`work` as something that answers how many seconds it took."""

    def seconds() -> float:
        begin = time.perf_counter()
        work()
        return time.perf_counter() - begin

    return seconds


def in_turns(contenders: Mapping[str, Callable[[], float]], rounds: int) -> dict[str, list[float]]:
    """Measure all contenders in every round: A B, B A, A B, ... after a first round that warms up and doesn't count.

    Args:
        contenders: each does its work once and answers how long it took.
    """
    order = list(contenders)
    found: dict[str, list[float]] = {name: [] for name in order}
    for number in range(rounds + 1):
        for name in order:
            value = contenders[name]()
            if number:
                found[name].append(value)
        order.reverse()
    return found


def ratio(above: Sequence[float], below: Sequence[float]) -> float:
    """The median of the ratios within each round.

    >>> ratio([10.0, 40.0, 11.0], [1.0, 4.0, 1.0])  # the second round was disturbed, on both sides
    10.0
    """
    return median(a / b for a, b in zip(above, below, strict=True))


@cache
def machine() -> dict[str, Any]:
    """What the figures were made on, and with. Asked once, before anything runs: `load` is then the others', not our own."""
    import torch

    import gaterec

    return {
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "cpu": _cpu_model(),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "threads": torch.get_num_threads(),
        "load": round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "gaterec": gaterec.__version__,
        "date": time.strftime("%Y-%m-%d", time.gmtime()),
    }


BUSY = 0.3
"""A load from which on others disturb what is measured."""


def _cpu_model() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.processor())


def run_benchmark(benchmark: Benchmark, options: Options) -> dict[str, Any]:
    """All that a benchmark found, as it goes into its file."""
    rows: list[Row] = []
    skipped: list[Skipped] = []
    for entry in benchmark.measure(options):
        if isinstance(entry, Skipped):
            options.tell(f"{benchmark.name}: skipped {entry.what}: {entry.why}")
            skipped.append(entry)
        else:
            assert set(entry) <= set(benchmark.columns), f"{benchmark.name}: {sorted(set(entry) - set(benchmark.columns))} are no columns"
            rows.append(entry)
    return {
        "name": benchmark.name,
        "title": benchmark.title,
        "about": benchmark.about,
        "command": f"python -m benchmarks {benchmark.name}",
        "repeats": options.repeats,
        "epochs": options.epochs,
        "columns": dict(benchmark.columns),
        "picture": f"{benchmark.name}.png" if benchmark.draw else None,
        "rows": rows,
        "skipped": [{"what": entry.what, "why": entry.why} for entry in skipped],
        "machine": machine(),
    }


def written(value: object, form: str) -> str:
    """A value as it stands in a table.

    >>> written(13.104, "{:.1f} s"), written(None, "{:.1f} s")
    ('13.1 s', '-')
    """
    return "-" if value is None else form.format(value)


def print_result(result: Mapping[str, Any], console: Console) -> None:
    """The table on a terminal."""
    table = Table(title=result["title"], caption=made_by(result).replace("`", ""), title_justify="left", caption_justify="left")
    for number, column in enumerate(result["columns"]):
        table.add_column(column, justify="right" if number else "left", no_wrap=not number, overflow="fold")
    for cells in _cells(result):
        table.add_row(*cells)
    console.print(table)


def _cells(result: Mapping[str, Any]) -> Iterator[list[str]]:
    for row in result["rows"]:
        yield [written(row.get(column), form) for column, form in result["columns"].items()]


def made_by(result: Mapping[str, Any]) -> str:
    """One line: the command, and what it ran on."""
    host = result["machine"]
    rounds = f"{result['repeats']} round{'s' if result['repeats'] > 1 else ''}"
    short = f", stopped after {result['epochs']} epochs to try it out" if result["epochs"] else ""
    gpu = f", {host['gpu']}" if host["gpu"] else ""
    return (
        f"`{result['command']}` on {host['cores']} cores ({host['cpu']}, {host['threads']} threads{gpu}, load before: {host['load']}), "
        f"torch {host['torch']}, gaterec {host['gaterec']}, {rounds}{short}, {host['date']}"
    )


def as_markdown(result: Mapping[str, Any]) -> str:
    """A result as a section of the page."""
    columns = list(result["columns"])
    lines = [f"## {result['title']}", "", result["about"], ""]
    lines += [_line(columns), _line(["---", *["---:"] * (len(columns) - 1)])]
    lines += [_line(cells) for cells in _cells(result)]
    if result.get("picture"):
        lines += ["", f"![{result['title']}]({result['picture']})"]
    for entry in result["skipped"]:
        lines += ["", f"Not measured: {entry['what']}: {entry['why']}."]
    return "\n".join([*lines, "", f"Made by {made_by(result)}.", ""])


def _line(cells: Sequence[str]) -> str:
    whole = " | ".join(cell.replace("|", "\\|") for cell in cells)
    return f"| {whole} |"


def page(results: Iterable[Mapping[str, Any]]) -> str:
    """docs/benchmarks.md."""
    head = (
        "# Benchmarks\n\n"
        "`make bench` runs them all, `python -m benchmarks NAME` one of them; `--list` says which there are. This page is made from "
        "`benchmarks/results/` by `python -m benchmarks --page`.\n\n"
        "What is compared is measured in turns, in one run, on one machine, after a round that warms up. Figures are medians over the rounds, a "
        "ratio is the median of the ratios within each round, so it need not be exactly the quotient of the two medians beside it.\n"
    )
    return "\n".join([head, *(as_markdown(result) for result in results)])


def save(result: Mapping[str, Any], folder: Path) -> Path:
    """Write a result to its file."""
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / f"{result['name']}.json"
    file.write_text(json.dumps(result, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    return file


def read_results(folder: Path, names: Iterable[str]) -> list[dict[str, Any]]:
    """The results that there are, in the order of the names."""
    files = [folder / f"{name}.json" for name in names]
    return [json.loads(file.read_text(encoding="utf-8")) for file in files if file.is_file()]
