"""How long the search of RecBole's HGN page takes, beside RecBole's own."""

import json
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import median
from typing import Any

import torch

from benchmarks.harness import ROOT, Benchmark, Options, Row, Skipped, ratio
from benchmarks.peer import peer_python
from benchmarks.searches import Searched, searched

DATASET = "ml-100k"
SPACE = """learning_rate choice [0.01,0.001]
embedding_size choice [64]
pooling_type choice ["average","max"]
reg_weight choice ['[0.00,0.00]','[0.001,0.00001]']
"""
"""The grid of https://recbole.io/docs/user_guide/model/sequential/hgn.html, in RecBole's grammar."""
POINTS = 8
EPOCHS = 20
"""Of every point; none is stopped early."""
SEEDS = 3
"""How many times gaterec trains the winner and the defaults at the end, its default."""


def flags(epochs: int) -> dict[str, Any]:
    """What is changed of the defaults, on both sides."""
    return {"epochs": epochs, "stopping_step": epochs}


def reckoned(one: float, two: float, epochs: int) -> float:
    """Seconds of a search with so many epochs a point, from one with 1 and one with 2.

    >>> reckoned(100.0, 180.0, 20)
    1620.0
    """
    return one + (epochs - 1) * (two - one)


def recbole_search(python: Path, options: Options, epochs: int) -> float:
    """Seconds from the start of RecBole's process to the end of its last point.

    Raises:
        RuntimeError: it has broken down; says with what last words.
    """
    with tempfile.TemporaryDirectory(prefix="gaterec-peer-") as folder:
        space = Path(folder) / "hyper.test"
        space.write_text(SPACE, encoding="utf-8")
        asked = [f"--search={space}", f"--data_path={options.data_path}", f"--dataset={DATASET}", f"--settings={json.dumps(flags(epochs))}"]
        begin = time.time()
        # -I: the modules of this folder must not stand in the way of modules of the same names.
        done = subprocess.run(
            [str(python), "-I", str(ROOT / "benchmarks" / "recbole_peer.py"), *asked, f"--threads={torch.get_num_threads()}"],
            cwd=folder,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        said = [line for line in done.stdout.splitlines() if line.startswith('{"ended"')]
        if done.returncode or not said:
            raise RuntimeError(f"RecBole broke down: {done.stderr[-2000:]}")
        found = json.loads(said[0])
    assert found["points"] == POINTS, f"RecBole tried {found['points']} points"
    return float(found["ended"]) - begin


def measure(options: Options) -> Iterator[Row | Skipped]:
    """A row for one worker and for two, each without and with what comes after the search."""
    if missing := options.missing(DATASET):
        yield missing
        return
    python = peer_python()
    if isinstance(python, Skipped):
        yield python
    epochs = options.epochs or EPOCHS
    peer: list[float] = []
    ours: dict[int, list[Searched]] = {1: [], 2: []}
    parts = (epochs,) if options.whole or epochs <= 2 else (1, 2)
    for number in range(options.repeats):
        if not isinstance(python, Skipped):
            options.tell(f"tune: round {number + 1}, RecBole, {' and '.join(map(str, parts))} epochs a point ...")
            found = [recbole_search(python, options, part) for part in parts]
            peer.append(found[0] if len(found) == 1 else reckoned(found[0], found[1], epochs))
            options.tell(f"tune: RecBole: {', '.join(f'{seconds:.1f} s' for seconds in found)}")
        for workers, searches in ours.items():
            options.tell(f"tune: round {number + 1}, gaterec, workers: {workers} ...")
            settings = {"model": "HGN", "dataset": DATASET, **flags(epochs)}
            searches.append(searched(options, settings, SPACE, workers, SEEDS))
            assert len(searches[-1].trials) == POINTS
    how = "measured" if len(parts) == 1 else f"{epochs} epochs reckoned from 1 and 2"
    for workers, searches in ours.items():
        for what, seconds in (
            ("the search", [one.ended for one in searches]),
            (f"and {SEEDS} seeds of winner and defaults, judged on test", [one.whole for one in searches]),
        ):
            row: Row = {"gaterec tune": f"{workers} worker{'s' if workers > 1 else ''}, {what}", "gaterec": median(seconds)}
            if peer:
                row |= {"RecBole": median(peer), "RecBole is": how, "RecBole / gaterec": ratio(peer, seconds)}
            yield row


BENCHMARK = Benchmark(
    name="tune",
    title="The search of RecBole's HGN page",
    about=(
        f"Seconds for the grid of that page (learning_rate, pooling_type, reg_weight: {POINTS} points) on {DATASET} with {EPOCHS} epochs of CE a point, validated "
        "after every epoch and never stopped early, from the start of the process; both on all cores. RecBole 1.2.1 searches by its own HyperTuning and "
        "objective_function, one point after the other, and judges every point on test as it goes. That takes it half an hour, so it "
        f"is measured in full only with --whole: otherwise it searches all {POINTS} points twice, with 1 and with 2 epochs a point, and what the second took longer is "
        f"the cost of each further epoch. gaterec is always measured in full. Nothing is warmed up: a search begins once. Judging on test comes last for gaterec, for the winner and the defaults alone, by {SEEDS} trainings each."
    ),
    columns={
        "gaterec tune": "{}",
        "RecBole": "{:.0f} s",
        "RecBole is": "{}",
        "gaterec": "{:.1f} s",
        "RecBole / gaterec": "{:.1f}x",
    },
    ratio="RecBole / gaterec",
    measure=measure,
)
