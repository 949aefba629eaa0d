"""How the time of an epoch grows with the events, with the length of the window, and with the catalogue."""

from collections.abc import Iterator
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import polars as pl

from benchmarks.harness import Benchmark, Options, Row, in_turns, ratio, timed
from benchmarks.training import Training, product_floor, settings_for

EVENTS, WINDOW, CATALOGUE = 100_000, 50, 2_000
"""Where the two that don't grow stand."""
AXES: dict[str, tuple[int, ...]] = {
    "events": (10_000, 30_000, 100_000, 300_000, 1_000_000),
    "window": (5, 15, 50, 150, 500),
    "catalogue": (1_000, 3_000, 10_000, 30_000, 100_000),
}


def measure(options: Options) -> Iterator[Row]:
    """One row per axis and value."""
    for axis, values in AXES.items():
        first: tuple[int, list[float]] | None = None
        for value in values:
            sizes = {"events": EVENTS, "window": WINDOW, "catalogue": CATALOGUE, axis: value}
            options.tell(f"scaling: {axis} {value:,} ...")
            training = Training(settings_for(options, "simulated", {"MAX_ITEM_LIST_LENGTH": sizes["window"]}), log(**sizes))
            seconds = in_turns({"gaterec": training, "floor": timed(product_floor(training))}, options.repeats)
            first = first or (value, seconds["gaterec"])
            times = ratio(seconds["gaterec"], first[1])
            yield {
                "what grows": axis,
                "to": value,
                "gaterec": median(seconds["gaterec"]),
                "floor": median(seconds["floor"]),
                "gaterec / floor": ratio(seconds["gaterec"], seconds["floor"]),
                "growth": times,
                "growth / linear": times / (value / first[0]),
            }


def log(events: int, window: int, catalogue: int) -> pl.DataFrame:
    """Events of people with histories of 20 to 180 events (of 1,000 where the window is long), items by Zipf's law."""
    random = np.random.default_rng([events, window, catalogue])
    lengths = np.full(events // 1_000 + 1, 1_000) if window > WINDOW else random.integers(20, 181, events // 100 + 1)
    user = np.repeat(np.arange(len(lengths)), lengths)[:events]
    item = np.minimum(random.zipf(1.2, len(user)), 10**15) % catalogue
    item[: min(catalogue, len(item))] = np.arange(min(catalogue, len(item)))  # each one once, so that the catalogue is as large as it says
    return pl.DataFrame({"user_id": user, "item_id": random.permutation(item), "timestamp": np.arange(len(user))})


def draw(result: dict[str, Any], file: Path) -> None:
    """The three axes side by side, both scales logarithmic; the thin line is what linear growth would be."""
    import vl_convert

    rows = list(result["rows"])
    points = [
        {"axis": row["what grows"], "x": row["to"], "seconds": row[name], "of": name} for row in rows for name in ("gaterec", "floor")
    ]
    for axis in AXES:
        along = [row for row in rows if row["what grows"] == axis]
        points += [
            {"axis": axis, "x": row["to"], "seconds": along[0]["gaterec"] * row["to"] / along[0]["to"], "of": "linear growth"}
            for row in along
        ]
    spec = {
        "$schema": "https://vega.github.io/schema/vega-lite/v5.json",
        "data": {"values": points},
        "facet": {"field": "axis", "type": "nominal", "title": None, "sort": list(AXES)},
        "resolve": {"scale": {"x": "independent"}},
        "spec": {
            "width": 230,
            "height": 200,
            "mark": {"type": "line", "point": True},
            "encoding": {
                "x": {"field": "x", "type": "quantitative", "scale": {"type": "log"}, "title": None, "axis": {"format": "~s"}},
                "y": {"field": "seconds", "type": "quantitative", "scale": {"type": "log"}, "title": "seconds per epoch"},
                "color": {"field": "of", "type": "nominal", "title": None, "sort": ["gaterec", "floor", "linear growth"]},
                "strokeDash": {"field": "of", "type": "nominal", "legend": None, "sort": ["gaterec", "floor", "linear growth"]},
            },
        },
    }
    file.write_bytes(vl_convert.vegalite_to_png(spec, scale=2))


BENCHMARK = Benchmark(
    name="scaling",
    title="How the time of an epoch grows",
    about=(
        "HGN with cross-entropy, all defaults, simulated events. One of the three grows over two decades, the others stay at 100,000 events, a window of 50 and 2,000 items; where the window grows, everybody has 1,000 events. `growth` is the time beside "
        "that of the first row of its kind; divided by linear growth it should not exceed 1. The floor is the three bare matrix products over the "
        "catalogue, as above. What bends the curves: few events fill few batches, each of which has a fixed cost; a window costs little beside the "
        "catalogue until it is several hundred events long, since then the banded products of the window outweigh those of the catalogue; a "
        "catalogue costs little until its products outweigh the encoder, and a third more from 100,000 items on, where it is swept twice."
    ),
    columns={
        "what grows": "{}",
        "to": "{:,}",
        "gaterec": "{:.3f} s",
        "floor": "{:.3f} s",
        "gaterec / floor": "{:.2f}x",
        "growth": "{:.1f}x",
        "growth / linear": "{:.2f}",
    },
    ratio="gaterec / floor",
    measure=measure,
    draw=draw,
)
