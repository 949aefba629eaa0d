"""The events that came in since a run was trained: added by many at once, read for every answer, deleted for good.

Writes go through one thread. All events that wait when it comes round are committed in one transaction (group commit: DeWitt et al.,
Implementation techniques for main memory database systems, SIGMOD 1984), so that the wait for the disk is shared by all who wait; nobody is
answered before the commit. Reads take connections of their own and see all that was committed.
"""

import asyncio
from collections.abc import Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import Any, TypeVar

from gaterec.serve.event_database import (
    Database,
    Deleted,
    Event,
    EventError,
    EventsError,
    StoreBusy,
    check_id,
)

__all__ = ["Deleted", "Event", "EventError", "EventStore", "EventsError", "StoreBusy", "check_id", "open_store"]

LIMIT = 1000
"""So many of a person's latest events are read, unless told: more than any window, so that what was seen is known too."""
WAITING = 10_000
"""So many events may wait to be written."""
AT_A_TIME = 1000
"""So many events are committed, or looked through for old ones, in one transaction."""
COUNTING = 0.01
"""The share of the time that may go into counting events."""

T = TypeVar("T")


def open_store(address: str | Path, *, waiting: int = WAITING) -> "EventStore":
    """A store of events, made where there is none.

    Args:
        address: a file (SQLite), or postgresql://USER:PASSWORD@HOST/DATABASE, which several servers can share.
        waiting: how many events may wait to be written.

    Raises:
        EventsError: it can't be used: no such place, a file of something else, a newer schema, a server that doesn't answer, psycopg missing.
    """
    raise NotImplementedError


class EventStore:
    """Events of people. For any number of threads and event loops.

    Args:
        database: where they are kept; its tables are there.
        waiting: how many events may wait to be written.

    Attributes:
        shown: the address, without passwords.
    """

    def __init__(self, database: Database[Any], *, waiting: int = WAITING) -> None:
        self.shown = database.shown

    async def add(self, events: Sequence[Event]) -> list[bool]:
        """Keep events, all or none; they are durable, and seen by all readers, when this returns.

        Returns:
            One flag an event: False where an event of this person and this id was there already, so that a retry doesn't count twice.

        Raises:
            StoreBusy: too many events wait already; nothing was kept.
            EventsError: the database failed. Whether they were kept is known only where they have ids: send them again.
        """
        return await asyncio.wrap_future(self.submit(events))

    def submit(self, events: Sequence[Event]) -> "Future[list[bool]]":
        """The same for code without an event loop: `store.submit(events).result()`. StoreBusy is raised at once."""
        raise NotImplementedError

    def events_of(self, users: Sequence[str], limit: int = LIMIT) -> dict[str, list[str]]:
        """The items of each person's latest events, in order of time, then of arrival; who has none is left out. One query; it blocks.

        Raises:
            EventsError: the database failed.
        """
        raise NotImplementedError

    def forgotten(self, users: Sequence[str]) -> set[str]:
        """Those who were deleted once: what a run knows of them must not be used. One query; it blocks."""
        raise NotImplementedError

    def delete(self, user: str) -> Deleted:
        """Delete all events of a person, mark them as forgotten; it blocks until nothing is left in the files (SQLite)."""
        raise NotImplementedError

    def expire(self, older_than: float) -> int:
        """Delete events older than a time, a slice at a time; how many. It blocks, writers hardly."""
        raise NotImplementedError

    def count(self) -> int:
        """How many events there are, or were a moment ago: it counts again when that takes little of the time since. It blocks."""
        raise NotImplementedError

    def alive(self) -> bool:
        """Whether it can be read and its writer runs. It blocks."""
        raise NotImplementedError

    def close(self) -> None:
        """Write all that waits, then let go of the database."""
        raise NotImplementedError
