"""Lists for millions of people as Parquet files: batch after batch, in memory that doesn't grow with how many they are."""

import re
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import TypeVar

import polars as pl

from gaterec.errors import RequestError
from gaterec.io.files import folder_written_whole, in_the_way, write_table

Thing = TypeVar("Thing")

PART = re.compile(r"part-\d{5,}\.parquet")
FILE = 20_000
"""So many people go into one file."""
BATCH = 10_000
"""So many are answered at a time."""


def write_lists(
    folder: Path,
    users: Iterable[str | None],
    lists: Callable[[list[str | None]], pl.DataFrame],
    tell: Callable[[int], object],
    per_file: int = FILE,
) -> int:
    """Fill a folder with part-00000.parquet, part-00001.parquet, ...; it appears when it is whole, or not at all.

    Args:
        folder: a new one, or one of such files, which are replaced.
        users: ids, one after the other.
        lists: rows for some of them.
        tell: called with how many are done, after every batch.
        per_file: so many people go into one file.

    Returns:
        How many people.

    Raises:
        RequestError: there is something else at the place, or in the folder; nothing is written then.
        RunError: it can't be written.
    """
    found = in_the_way(folder, lambda names: {name for name in names if PART.fullmatch(name)})
    if found:
        raise RequestError(f"out: {folder}: expected a new folder, or one of such lists, found {found}; nothing was written")
    done = 0
    with folder_written_whole(folder) as part:
        for number, of_file in enumerate(_batches(users, per_file)):
            frames = []
            for batch in _batches(of_file, BATCH):
                frames.append(lists(batch))
                done += len(batch)
                tell(done)
            write_table(pl.concat(frames), part / f"part-{number:05d}.parquet")
    return done


def values(ids: pl.Series) -> Iterator[str]:
    """All ids, of which few are Python's at a time."""
    for begin in range(0, len(ids), FILE):
        yield from ids[begin : begin + FILE].to_list()


def _batches(things: Iterable[Thing], size: int) -> Iterator[list[Thing]]:
    """
    >>> list(_batches("abcde", 2))
    [['a', 'b'], ['c', 'd'], ['e']]
    """
    waiting = iter(things)
    while batch := list(islice(waiting, size)):
        yield batch
