"""Logs of any size, simulated in seconds, and processes of their own that say how long they took and how much memory."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

AT_A_TIME = 2_000_000
EVENTS_PER_PERSON = 40
ITEMS = 100_000

PRELUDE = """
import json, sys, time
def memory():
    lines = (line.split() for line in open("/proc/self/status") if line.startswith(("VmHWM", "RssAnon", "RssFile")))
    return {name.rstrip(":"): 1024 * int(kilobytes) for name, kilobytes, _ in lines}
"""


def event_blocks(events: int, seed: int = 0) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Blocks of (person, item, time) in order of time: people at random, items by popularity, seconds that now and then repeat."""
    random = np.random.default_rng(seed)
    people = max(events // EVENTS_PER_PERSON, 1)
    for begin in range(0, events, AT_A_TIME):
        size = min(AT_A_TIME, events - begin)
        item = (ITEMS * random.random(size) ** 3).astype(np.int64) + 1
        yield random.integers(1, people + 1, size), item, 1_500_000_000 + (begin + np.arange(size)) * 3 // 4


def write_csv(file: Path, events: int, *, text: bool = False) -> None:
    """A CSV of simulated events; its ids are numbers, or such text as u12 and item-34."""
    with file.open("wb") as stream:
        for person, item, time in event_blocks(events):
            block = pl.DataFrame({"user_id": person, "item_id": item, "timestamp": time})
            if text:
                block = block.with_columns(pl.format("u{}", "user_id").alias("user_id"), pl.format("item-{}", "item_id").alias("item_id"))
            block.write_csv(stream, include_header=stream.tell() == 0)


def alone(program: str, *arguments: object) -> dict[str, Any]:
    """What a program of its own prints as JSON; `memory()` is there for it."""
    command = [sys.executable, "-c", PRELUDE + program, *map(str, arguments)]
    found: dict[str, Any] = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout)
    return found
