"""How long an epoch of HGN takes, beside RecBole and beside the least that cross-entropy over the catalogue can take."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from statistics import median

import torch

from benchmarks.harness import Benchmark, Options, Row, Skipped, in_turns, ratio, timed
from benchmarks.peer import RecBole, peer_python
from benchmarks.quality import PAPER_FLAGS
from benchmarks.training import Training, product_floor, settings_for

DATASET = "ml-100k"
AUTHORS = {**PAPER_FLAGS, "eval_step": 0}
"""The settings of the paper's authors on amazon-cds: L=5, d=50, BPR with 3 negatives, 3 next items, 4,096 targets a step."""


def measure(options: Options) -> Iterator[Row | Skipped]:
    """One row per loss."""
    if missing := options.missing(DATASET):
        yield missing
        return
    python = peer_python()
    if isinstance(python, Skipped):
        yield python
    for loss in ("CE", "BPR"):
        options.tell(f"epoch: {DATASET}, {loss} ...")
        training = Training(settings_for(options, DATASET, {"loss_type": loss}))
        contenders: dict[str, Callable[[], float]] = {"gaterec": training}
        if loss == "CE":
            contenders["floor"] = timed(product_floor(training))
        with ExitStack() as stack:
            if not isinstance(python, Skipped):
                peer = stack.enter_context(RecBole(python, options, DATASET, {"loss_type": loss}, torch.get_num_threads()))
                assert peer.about["targets"] == training.batches.targets, "RecBole trains on other targets, so the times can't be compared"
                contenders["RecBole"] = peer
            seconds = in_turns(contenders, options.repeats)
        row: Row = {"epoch": f"{DATASET}, {loss}", **{name: median(times) for name, times in seconds.items()}}
        if "RecBole" in seconds:
            row["RecBole / gaterec"] = ratio(seconds["RecBole"], seconds["gaterec"])
        if "floor" in seconds:
            row["gaterec / floor"] = ratio(seconds["gaterec"], seconds["floor"])
        yield row
    if missing := options.missing("amazon-cds"):
        yield missing
        return
    options.tell("epoch: amazon-cds, the authors' settings ...")
    alone = in_turns({"gaterec": Training(settings_for(options, "amazon-cds", AUTHORS))}, options.repeats)["gaterec"]
    yield {"epoch": "amazon-cds, BPR, authors' settings", "gaterec": median(alone), "authors' 9 s / gaterec": 9.0 / median(alone)}


BENCHMARK = Benchmark(
    name="epoch",
    title="Seconds per training epoch of HGN",
    about=(
        "Both at RecBole's defaults (L=50, d=64, 2,048 targets a step, Adam) on the same 97,171 targets of ml-100k, both warmed up, both on all "
        "cores; RecBole 1.2.1 in its own environment with the same torch. The time is that of the training loop alone. The floor is what CE can't "
        "do without as long as it looks at the whole catalogue: three bare matrix products a step (scores, gradient of the queries, gradient of "
        "the table) at the same shapes. The last row has the settings of the paper's authors, whose own code took 9 s an epoch on another machine with two cores: "
        "a magnitude, not a measurement of this run."
    ),
    columns={
        "epoch": "{}",
        "RecBole": "{:.2f} s",
        "gaterec": "{:.2f} s",
        "floor": "{:.2f} s",
        "RecBole / gaterec": "{:.1f}x",
        "gaterec / floor": "{:.2f}x",
        "authors' 9 s / gaterec": "{:.1f}x",
    },
    ratio="RecBole / gaterec",
    measure=measure,
)
