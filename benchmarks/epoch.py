"""How long an epoch of HGN takes, beside RecBole and beside the least that cross-entropy over the catalogue can take."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from statistics import median

import torch

from benchmarks.harness import Benchmark, Options, Row, Skipped, in_turns, ratio, timed
from benchmarks.peer import RecBole, peer_python
from benchmarks.training import Training, product_floor, settings_for

DATASET = "ml-100k"


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


BENCHMARK = Benchmark(
    name="epoch",
    title="Seconds per training epoch of HGN",
    about=(
        "Both at RecBole's defaults (L=50, d=64, 2,048 targets a step, Adam) on the same 97,171 targets of ml-100k, both warmed up, both on all "
        "cores; RecBole 1.2.1 in its own environment with the same torch. The time is that of the training loop alone. The floor is what CE can't "
        "do without as long as it looks at the whole catalogue: three bare matrix products a step (scores, gradient of the queries, gradient of "
        "the table) at the same shapes."
    ),
    columns={
        "epoch": "{}",
        "RecBole": "{:.2f} s",
        "gaterec": "{:.2f} s",
        "floor": "{:.2f} s",
        "RecBole / gaterec": "{:.1f}x",
        "gaterec / floor": "{:.2f}x",
    },
    ratio="RecBole / gaterec",
    measure=measure,
)
