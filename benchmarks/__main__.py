"""python -m benchmarks [NAME ...]: run all benchmarks, or those named; print their tables, and write their files and docs/benchmarks.md."""

import argparse
import importlib
import os
import sys
from pathlib import Path

from rich.console import Console

from benchmarks.harness import BUSY, PAGE, RESULTS, Benchmark, Options, machine, page, print_result, read_results, run_benchmark, save

NAMES = (
    "epoch",
    "parts",
    "padding",
    "ranking",
    "time_to_quality",
    "reproducibility",
    "scaling",
    "catalogue",
    "prepare",
    "startup",
    "quality",
    "new_people",
    "recommending",
    "index",
    "tune",
    "tune_workers",
    "tune_overhead",
    "events",
    "serving",
    "serving_overload",
    "serving_reload",
    "serving_kills",
    "serving_start",
)
"""The modules of this package that hold a BENCHMARK, in the order in which they run and stand on the page."""


def load(name: str) -> Benchmark:
    """The benchmark of that name."""
    benchmark: Benchmark = importlib.import_module(f"benchmarks.{name}").BENCHMARK
    return benchmark


def main(arguments: list[str] | None = None) -> int:
    """The command line; answers the exit code."""
    defaults = Options()
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"{', '.join(NAMES)}; all of them where none is named")
    parser.add_argument("--list", action="store_true", help="say what there is and stop")
    parser.add_argument("--page", action="store_true", help="only make docs/benchmarks.md anew from the results")
    parser.add_argument("--data_path", type=Path, default=defaults.data_path, help="the folder with NAME/NAME.inter (%(default)s)")
    parser.add_argument(
        "--repeats",
        type=int,
        default=int(os.environ.get("GATEREC_BENCH_REPEATS", defaults.repeats)),
        help="rounds (%(default)s; GATEREC_BENCH_REPEATS)",
    )
    parser.add_argument("--epochs", type=int, help="stop trainings after so many epochs, to try a benchmark out")
    parser.add_argument("--events", type=int, help="the size of simulated logs, to try a benchmark out")
    parser.add_argument("--whole", action="store_true", help="measure slow peers to their end (tune: half an hour)")
    parser.add_argument("--results", type=Path, default=RESULTS, help="where results go (elsewhere, docs/benchmarks.md stays as it is)")
    chosen = parser.parse_args(arguments)
    if unknown := [name for name in chosen.names if name not in NAMES]:
        parser.error(f"there is no benchmark {', '.join(unknown)}; there are {', '.join(NAMES)}")
    if chosen.repeats < 1:
        parser.error("--repeats: expected at least 1")
    console = Console(soft_wrap=True, highlight=False)
    if chosen.list:
        for name in NAMES:
            console.print(f"{name:16} {load(name).title}", markup=False)
        return 0

    def tell(text: str) -> None:
        console.print(text, markup=False)

    options = Options(chosen.data_path.resolve(), chosen.repeats, chosen.epochs, tell, chosen.events, chosen.whole)
    busy = machine()["load"]
    if busy is not None and busy > BUSY and not chosen.page:
        tell(
            f"The machine is busy with other work (load {busy}): ratios suffer, and times more so. Best run this when nothing else runs.\n"
        )
    for name in [] if chosen.page else chosen.names or NAMES:
        result = run_benchmark(load(name), options)
        if result["rows"]:
            print_result(result, Console(highlight=False, width=None if console.is_terminal else 120))
            tell(f"-> {save(result, chosen.results)}\n")
            draw = load(name).draw
            if draw is not None:
                draw(result, (PAGE.parent if chosen.results.resolve() == RESULTS else chosen.results) / result["picture"])
        else:
            tell(f"{name}: nothing was measured; its earlier results, if any, stay\n")
    if chosen.results.resolve() == RESULTS:
        PAGE.write_text(page(read_results(RESULTS, NAMES)), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
