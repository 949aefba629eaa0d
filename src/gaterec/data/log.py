"""A log as it was read: the one form in which events come from files, frames, downloads and the simulator."""

from dataclasses import dataclass

import polars as pl


@dataclass(frozen=True)
class Log:
    """One row per event, in the order of the file.

    Attributes:
        name: the dataset's name, for titles and file names.
        source: the path it came from, or a word such as "DataFrame"; for messages.
        events: columns under their own names. The user and item columns are String, or Int64 where the text of every id is that of a
            whole number as Python writes it, which is quicker; the time column, where there is one, is Int64 or Float64 (dates are microseconds since 1970); further columns are Float64, String or lists of these.
        users: what a `.user` file says, one row per person; the user column is String.
        items: what an `.item` file says, one row per item; the item column is String.
        dates: the columns that hold dates, as microseconds since 1970.
        notes: lines that a person should read (what was dropped while reading, and why).
    """

    name: str
    source: str
    events: pl.DataFrame
    users: pl.DataFrame | None = None
    items: pl.DataFrame | None = None
    notes: tuple[str, ...] = ()
    dates: frozenset[str] = frozenset()
