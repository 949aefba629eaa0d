"""Lists for millions of users as Parquet files, batch by batch, in memory that does not grow with the number of users."""

import re
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import TypeVar

import polars as pl

from gaterec.errors import RequestError
from gaterec.io.files import folder_written_whole, in_the_way, write_table

T = TypeVar("T")

PART = re.compile(r"part-\d{5,}\.parquet")
USERS_PER_FILE = 20_000
"""Users per Parquet file."""
USERS_PER_BATCH = 10_000
"""Users whose lists are computed together."""


def write_lists(
    folder: Path,
    users: Iterable[str | None],
    lists: Callable[[list[str | None]], pl.DataFrame],
    tell: Callable[[int], object],
    per_file: int = USERS_PER_FILE,
) -> int:
    """Fill a folder with part-00000.parquet, part-00001.parquet, ...; it appears when it is complete, or not at all.

    Args:
        folder: a new one, or one of such files, which are replaced.
        users: ids, read one after the other.
        lists: the rows of a batch of users.
        tell: called after every batch with the number of users that are done.
        per_file: users per file.

    Returns:
        The number of users.

    Raises:
        RequestError: `folder` is a file or holds other files; nothing is written then.
        RunError: it can't be written.
    """
    found = in_the_way(folder, lambda names: {name for name in names if PART.fullmatch(name)})
    if found:
        raise RequestError(f"out: {folder}: expected a new folder, or one of such lists, found {found}; nothing was written")
    done = 0
    with folder_written_whole(folder) as part:
        for number, of_file in enumerate(_batches(users, per_file)):
            frames = []
            for batch in _batches(of_file, USERS_PER_BATCH):
                frames.append(lists(batch))
                done += len(batch)
                tell(done)
            write_table(pl.concat(frames), part / f"part-{number:05d}.parquet")
    return done


def values(ids: pl.Series) -> Iterator[str]:
    """All ids, of which only a few are Python strings at a time."""
    for begin in range(0, len(ids), USERS_PER_FILE):
        yield from ids[begin : begin + USERS_PER_FILE].to_list()


def _batches(values: Iterable[T], size: int) -> Iterator[list[T]]:
    """
    >>> list(_batches("abcde", 2))
    [['a', 'b'], ['c', 'd'], ['e']]
    """
    remaining = iter(values)
    while batch := list(islice(remaining, size)):
        yield batch
