"""What a second worker brings to a search, beside one that has all cores for itself."""

from collections.abc import Iterator
from functools import partial
from statistics import median

from benchmarks.harness import Benchmark, Options, Row, Skipped, in_turns, ratio
from benchmarks.quality import PAPER_FLAGS
from benchmarks.searches import Searched, searched

DATASET = "amazon-cds"
RATES = (0.0005, 0.0007, 0.001, 0.0015, 0.002, 0.003)
EPOCHS = 10
"""Of every trial, validated twice."""


def measure(options: Options) -> Iterator[Row | Skipped]:
    """A row without and one with the start of the search."""
    if missing := options.missing(DATASET):
        yield missing
        return
    epochs = options.epochs or EPOCHS
    settings = {**PAPER_FLAGS, "model": "HGN", "dataset": DATASET, "epochs": epochs, "eval_step": min(PAPER_FLAGS["eval_step"], epochs)}
    found: dict[str, list[Searched]] = {"one": [], "two": []}

    def search(name: str, workers: int) -> float:
        options.tell(f"tune_workers: {len(RATES)} trials, workers: {workers} ...")
        found[name].append(searched(options, settings, f"learning_rate choice {list(RATES)}\n", workers, seeds=0))
        return found[name][-1].ended

    in_turns({"one": partial(search, "one", 1), "two": partial(search, "two", 2)}, options.repeats)
    one, two = (found[name][1:] for name in ("one", "two"))  # the first round warmed up
    for what, alone, both in (
        ("from the first trial's begin", [s.ended - s.begun for s in one], [s.ended - s.begun for s in two]),
        ("from the start of the process", [s.ended for s in one], [s.ended for s in two]),
    ):
        yield {
            "search": f"{DATASET}, {len(RATES)} trials of {epochs} epochs, {what}",
            "1 worker": per_minute(alone),
            "2 workers": per_minute(both),
            "2 workers / 1": ratio(alone, both),
        }


def per_minute(seconds: list[float]) -> float:
    """Trials a minute.

    >>> per_minute([60.0, 30.0, 36.0])
    10.0
    """
    return 60 * len(RATES) / median(seconds)


BENCHMARK = Benchmark(
    name="tune_workers",
    title="Trials a minute with two workers",
    about=(
        "A search over learning_rate with the paper's protocol and settings on amazon-cds (BPR with 3 negatives, L=5, d=50, 4,096 targets a step), until the "
        "last trial ends. One worker has all cores and torch's own number of threads; two workers have a half of the cores each."
    ),
    columns={"search": "{}", "1 worker": "{:.2f} a minute", "2 workers": "{:.2f} a minute", "2 workers / 1": "{:.2f}x"},
    ratio="2 workers / 1",
    measure=measure,
)
