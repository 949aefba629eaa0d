"""What a search costs beside its trainings: the same trainings made bare, one after the other, in one process."""

import json
import time
from collections.abc import Iterator
from statistics import median
from typing import Any

from benchmarks.harness import Benchmark, Options, Row, Skipped, in_turns, ratio
from benchmarks.searches import searched
from benchmarks.simulated import alone
from benchmarks.tune import DATASET, EPOCHS, flags

SPACE = """learning_rate choice [0.01,0.001]
embedding_size choice [64]
pooling_type choice ["average"]
reg_weight choice ['[0.00,0.00]','[0.001,0.00001]']
"""
POINTS = [{"learning_rate": rate, "reg_weight": weight} for rate in (0.01, 0.001) for weight in ([0.0, 0.0], [0.001, 0.00001])]

BARE = """
import pathlib, tempfile, torch
from gaterec.models import model_class
from gaterec.experiments.setup import prepare
from gaterec.experiments.resume import best_valid, epoch_recorder, resumed
from gaterec.config.resolve import resolve
from gaterec.training.reproducibility import pick_device, reproducible
shared, points = json.loads(sys.argv[1])
prepared, scores = None, []
with tempfile.TemporaryDirectory() as folder:
    for number, point in enumerate(points):
        settings = resolve(lambda kind: model_class(kind).Settings, config_dict={**shared, **point})
        device = pick_device(settings)
        prepared = prepared or prepare(settings, None)
        with reproducible(settings, device):
            states = pathlib.Path(folder) / str(number)
            trainer, _ = resumed(settings, prepared, device, states, resume=False)
            with epoch_recorder(trainer, states) as record:
                for epoch in trainer.epochs():
                    record(epoch)
            scores.append(best_valid(trainer, prepared, device)[settings.valid_metric.lower()])
    ended = time.time()
print(json.dumps({"ended": ended, "scores": scores}))
"""


def measure(options: Options) -> Iterator[Row | Skipped]:
    """One row."""
    if missing := options.missing(DATASET):
        yield missing
        return
    epochs = options.epochs or EPOCHS
    settings: dict[str, Any] = {"model": "HGN", "dataset": DATASET, **flags(epochs)}
    best: dict[str, float] = {}

    def bare() -> float:
        options.tell("tune_overhead: bare trainings ...")
        quiet = {"data_path": str(options.data_path), "show_progress": False, "state": "WARNING"}
        begin = time.time()
        found = alone(BARE, json.dumps([{**settings, **quiet}, POINTS]))
        best["bare"] = max(found["scores"])
        return float(found["ended"]) - begin

    def search() -> float:
        options.tell("tune_overhead: gaterec tune ...")
        found = searched(options, settings, SPACE, workers=1, seeds=0)
        assert len(found.trials) == len(POINTS)
        best["search"] = found.best
        return found.ended

    seconds = in_turns({"bare": bare, "search": search}, options.repeats)
    assert best["bare"] == best["search"], f"the trainings are not the same: {best}"
    yield {
        "trainings": f"{DATASET}, CE, {len(POINTS)} of {epochs} epochs",
        "bare": median(seconds["bare"]),
        "gaterec tune": median(seconds["search"]),
        "gaterec tune / bare": ratio(seconds["search"], seconds["bare"]),
    }


BENCHMARK = Benchmark(
    name="tune_overhead",
    title="What a search costs beside its trainings",
    about=(
        "From the start of the process to the end of the last trial, with one worker. Bare are the same trainings in one process that reads the log once and "
        "trains them one after the other as a run does (states saved, every epoch validated, nothing judged on test). Both find the same "
        "best score, to the bit. The search has a process for its worker beside its own, an Optuna study in a file, and a copy of the log made ready."
    ),
    columns={"trainings": "{}", "bare": "{:.1f} s", "gaterec tune": "{:.1f} s", "gaterec tune / bare": "{:.3f}x"},
    ratio="gaterec tune / bare",
    measure=measure,
)
