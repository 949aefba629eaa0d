"""How much of what a model reads is padding."""

from collections.abc import Iterator
from statistics import median

import numpy as np
import torch

from benchmarks.harness import Benchmark, Options, Row, Skipped
from benchmarks.training import settings_for
from gaterec.data.interactions import Interactions
from gaterec.data.split import Split
from gaterec.experiments.setup import make_batches, prepare

DATASETS = ("amazon-cds", "ml-100k", "ml-1m-short")
WINDOWS = (5, 50)


def measure(options: Options) -> Iterator[Row | Skipped]:
    """One row per dataset and window."""
    for dataset in DATASETS:
        if missing := options.missing(dataset):
            yield missing
            continue
        prepared = prepare(settings_for(options, dataset, {}), None)
        for window in WINDOWS:
            batches = make_batches(settings_for(options, dataset, {"MAX_ITEM_LIST_LENGTH": window}), prepared, torch.device("cpu"))
            share = median(batches.padding(epoch) for epoch in range(1, options.repeats + 1))
            events = int((batches.context + batches.count).sum())
            peer_events, peer_positions = windows_cut_out(prepared.interactions, prepared.split, window)
            peer_share = 1 - peer_events / peer_positions
            yield {
                "data": f"{dataset}, L={window}",
                "RecBole": peer_share,
                "gaterec": share,
                "RecBole / gaterec": peer_share / share if share else None,
                "positions, RecBole / gaterec": peer_positions * (1 - share) / events,
            }


def windows_cut_out(interactions: Interactions, split: Split, window: int) -> tuple[int, int]:
    """How many events, and how many positions, there are when every target gets a window of its own, as in RecBole.

    A history of n training events has n - 1 targets; the first has one event before it, the second two, ..., and none more than `window`.
    """
    targets = np.maximum(split.train_end - interactions.offsets[:-1] - 1, 0)
    growing = np.minimum(targets, window)
    events = growing * (growing + 1) // 2 + (targets - growing) * window
    return int(events.sum()), int(targets.sum()) * window


BENCHMARK = Benchmark(
    name="padding",
    title="Share of padded positions in a training epoch",
    about=(
        "Leave-one-out, 2,048 targets a step, median over epochs. RecBole's share is computed from the lengths of the histories: it cuts out a "
        "window of L positions for every target. gaterec reads slices of histories, rows of like length together. The last column is how many "
        "times more positions RecBole's model works on, padded or not."
    ),
    columns={
        "data": "{}",
        "RecBole": "{:.1%}",
        "gaterec": "{:.1%}",
        "RecBole / gaterec": "{:.1f}x",
        "positions, RecBole / gaterec": "{:.1f}x",
    },
    ratio="RecBole / gaterec",
    measure=measure,
)
