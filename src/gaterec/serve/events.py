"""The events that came in since a run was trained: added by many at once, read for every answer, deleted for good.

Writes go through one thread. All events that wait when it comes round are committed in one transaction (group commit: DeWitt et al.,
Implementation techniques for main memory database systems, SIGMOD 1984), so that the wait for the disk is shared by all who wait; nobody is
answered before the commit. Reads take connections of their own and see all that was committed.
"""

import asyncio
import threading
import time
from collections import defaultdict, deque
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

from gaterec.addresses import shown
from gaterec.serve.event_database import (
    Database,
    Deleted,
    Event,
    EventError,
    EventsError,
    StoreBusy,
    check_id,
    possible,
)
from gaterec.serve.postgres_events import PostgresDatabase
from gaterec.serve.sqlite_events import SqliteDatabase

__all__ = ["Deleted", "Event", "EventError", "EventStore", "EventsError", "StoreBusy", "check_id", "open_store"]

LIMIT = 1000
"""So many of a person's latest events are read, unless told: more than any window, so that what was seen is known too."""
WAITING = 10_000
"""So many events may wait to be written."""
AT_A_TIME = 1000
"""When so many events are in a transaction, the next ones have to wait for another."""
SLICE = 2000
"""So many events are looked through for old ones in one transaction."""
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
    text = str(address)
    kind, there, _ = text.partition("://")
    database: Database[Any]
    if kind in ("postgresql", "postgres") and there:
        database = PostgresDatabase(text)
    elif there and kind != "sqlite":
        raise EventsError(f"events: expected a file, or an address that begins with postgresql://, found {shown(text)}")
    else:
        database = SqliteDatabase(Path(text.removeprefix("sqlite:///")))
    database.open()
    return EventStore(database, waiting=waiting)


@dataclass(frozen=True)
class _Work:
    """What waits for the writer: events to be kept, or an errand with a connection."""

    future: "Future[Any]"
    events: Sequence[Event] = ()
    errand: Callable[[Any], Any] | None = None


class EventStore:
    """Events of people. For any number of threads and event loops.

    Args:
        database: where they are kept; it is open.
        waiting: how many events may wait to be written.

    Attributes:
        shown: the address, without passwords.
    """

    def __init__(self, database: Database[Any], *, waiting: int = WAITING) -> None:
        self.shown = database.shown
        self._database, self._limit = database, waiting
        self._changed = threading.Condition()
        self._work: deque[_Work] = deque()
        self._waiting = 0  # events in _work
        self._idle: list[Any] = []  # connections
        self._closed = False
        self._counted, self._count_again = 0, 0.0
        self._writer = threading.Thread(target=self._write, name="gaterec events", daemon=True)
        self._writer.start()

    # -- writing -------------------------------------------------------------------------------------------------------------------

    async def add(self, events: Sequence[Event]) -> list[bool]:
        """Keep events, all or none; they are durable, and seen by all readers, when this returns.

        Returns:
            One flag an event: False where an event of this person and this id was there already, so that a retry doesn't count twice.

        Raises:
            StoreBusy: too many events wait already; nothing was kept.
            EventsError: the database failed, or the store is closed. Perhaps they were kept all the same: send them again, with their ids.
        """
        return await asyncio.wrap_future(self.submit(events))

    def submit(self, events: Sequence[Event]) -> "Future[list[bool]]":
        """The same for code without an event loop, as in `store.submit(events).result()`; StoreBusy is raised at once."""
        future: Future[list[bool]] = Future()
        if events:
            self._put(_Work(future, events))
        else:
            future.set_result([])
        return future

    def delete(self, user: str) -> Deleted:
        """Delete all events of a person, mark them as forgotten. What they do from then on is a new person's. It blocks.

        On SQLite nothing of them is left in the files when it returns, for which the file is written anew while new events wait (a second or so for a
        million events); a PostgreSQL server clears its files in its own time.

        Raises:
            EventError: nobody can have this id.
            EventsError: the database failed, or another process kept it from clearing the files: delete again.
        """
        check_id("user", user)

        def errand(connection: Any) -> Deleted:
            deleted = Deleted(self._database.delete(connection, user))
            self._database.wipe(connection)
            return deleted

        return self._errand(errand)

    def expire(self, older_than: float) -> int:
        """Delete all events with a timestamp below this one, a slice at a time, between which others write; how many. It blocks.

        No reader sees them any more. In the files of SQLite, fragments can stay until their place is used again or somebody is deleted.

        Raises:
            EventsError: the database failed, or the store is closed.
        """
        events, after = 0, 0
        while True:
            found, last = self._errand(partial(self._database.expire, older_than=older_than, after=after, size=SLICE))
            events += found
            if last is None:
                return events
            after = last

    def _errand(self, errand: Callable[[Any], T]) -> T:
        """What the writer does between two transactions, after all events that came earlier."""
        future: Future[T] = Future()
        self._put(_Work(future, errand=errand))
        return future.result()

    def _put(self, work: _Work) -> None:
        with self._changed:
            if self._closed:
                raise EventsError(f"events: {self.shown}: is closed")
            if self._waiting and self._waiting + len(work.events) > self._limit:
                raise StoreBusy(f"events: {self._waiting} wait to be written; try again shortly")
            self._work.append(work)
            self._waiting += len(work.events)
            self._changed.notify()

    def _write(self) -> None:
        """What the writer's thread does."""
        while works := self._next():
            works = [work for work in works if work.future.set_running_or_notify_cancel()]
            try:
                results = self._done(works) if works else []
            except Exception as error:  # a fault of ours too: each of them is told, and the thread lives on
                for work in works:
                    work.future.set_exception(error)
            else:
                for work, result in zip(works, results, strict=True):
                    work.future.set_result(result)

    def _next(self) -> list[_Work]:
        """An errand, or all events that wait as far as one transaction takes them; waits for work, nothing when the store is closed."""
        with self._changed:
            self._changed.wait_for(lambda: self._work or self._closed)
            works: list[_Work] = []
            size = 0
            while self._work and (not works or (works[0].errand is self._work[0].errand is None and size < AT_A_TIME)):
                works.append(self._work.popleft())
                size += len(works[-1].events)
            self._waiting -= size
            return works

    def _done(self, works: Sequence[_Work]) -> list[Any]:
        if errand := works[0].errand:
            return [self._with_connection(errand)]
        events = [event for work in works for event in work.events]
        kept = iter(self._with_connection(lambda connection: self._database.insert(connection, events)))
        return [list(islice(kept, len(work.events))) for work in works]

    # -- reading -------------------------------------------------------------------------------------------------------------------

    def events_of(self, users: Sequence[str], limit: int = LIMIT) -> dict[str, list[str]]:
        """The items of each person's latest events, in order of time, then of arrival; who has none is left out. One query; it blocks.

        Raises:
            EventsError: the database failed, or the store is closed.
        """
        found: defaultdict[str, list[str]] = defaultdict(list)
        for user, item in self._ask(self._database.items_of, users, limit):
            found[user].append(item)
        return dict(found)

    def forgotten(self, users: Sequence[str]) -> set[str]:
        """Those of them who were deleted once: what a run knows about them must not be used. One query; it blocks.

        Raises:
            EventsError: see events_of.
        """
        return set(self._ask(self._database.marked, users))

    def _ask(self, question: Callable[..., Iterable[T]], users: Sequence[str], *more: Any) -> Iterable[T]:
        known = [user for user in dict.fromkeys(users) if possible(user)]  # nobody else has anything
        return self._with_connection(lambda connection: question(connection, known, *more)) if known else []

    def count(self) -> int:
        """How many events there are, or were a moment ago: it counts anew when that takes little of the time since. It blocks.

        Raises:
            EventsError: see events_of.
        """
        begin = time.monotonic()
        if begin >= self._count_again:
            self._counted = self._with_connection(self._database.count)
            end = time.monotonic()
            self._count_again = end + (end - begin) / COUNTING
        return self._counted

    def alive(self) -> bool:
        """Whether it can be read and its writer runs. It blocks."""
        try:
            self.forgotten(["anybody"])
        except EventsError:
            return False
        return self._writer.is_alive()

    # -- connections ---------------------------------------------------------------------------------------------------------------

    def close(self) -> None:
        """Write all that waits, then let go of the database."""
        with self._changed:
            self._closed = True
            self._changed.notify()
        self._writer.join()
        self._drop_idle()

    def _with_connection(self, errand: Callable[[Any], T]) -> T:
        """Lend a connection, an idle one if there is one. One on which something failed is closed, and so are the idle ones: the server may be gone."""
        try:
            connection = self._connection()
            try:
                result = errand(connection)
            except BaseException:
                connection.close()
                self._drop_idle()
                raise
        except self._database.errors as error:
            raise EventsError(f"events: {self.shown}: {self._database.told(error)}") from None
        with self._changed:
            self._idle.append(connection)
        if not self._writer.is_alive():  # it was closed meanwhile
            self._drop_idle()
        return result

    def _connection(self) -> Any:
        while True:
            with self._changed:
                if self._closed and threading.current_thread() is not self._writer:
                    raise EventsError(f"events: {self.shown}: is closed")
                if not self._idle:
                    break
                connection = self._idle.pop()
            if not self._database.stale(connection):
                return connection
            connection.close()
        return self._database.connect()

    def _drop_idle(self) -> None:
        with self._changed:
            idle, self._idle = self._idle, []
        for connection in idle:
            connection.close()
