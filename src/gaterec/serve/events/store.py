"""The events that came in since a run was trained: added by many at once, read for every answer, deleted for good.

Writes go through one thread. All events that wait when it comes round are committed in one transaction (group commit: DeWitt et al.,
Implementation techniques for main memory database systems, SIGMOD 1984), so that the wait for the disk is shared by all who wait; nobody is
answered before the commit. Reads take connections of their own and see all that was committed.
"""

import asyncio
import logging
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

from gaterec.io.database_urls import shown
from gaterec.serve.events.database import (
    DamagedError,
    Database,
    Deleted,
    Event,
    EventError,
    EventsError,
    StoreBusy,
    StoreLost,
    check_id,
    possible,
)
from gaterec.serve.events.postgres import PostgresDatabase
from gaterec.serve.events.sqlite import SqliteDatabase

__all__ = [
    "DamagedError",
    "Deleted",
    "Event",
    "EventError",
    "EventStore",
    "EventsError",
    "StoreBusy",
    "StoreLost",
    "check_id",
    "open_store",
]

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

LOOK = 0.5
"""The seconds between two looks at whether the store can be read and written and is the one that was opened."""
LOST = 2.0
"""The seconds for which a store whose files were exchanged is left alone, so that every process that has it open lets go of the files first."""
SILENCE = 5.0
"""A store at which no look came to an end for so many seconds can't be used."""
CLEARING = 5.0
"""The seconds after which a deletion no longer tries to clear the log, because another process reads it."""

LOG = logging.getLogger("gaterec.serve")

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
        self._lent = 0  # connections in use
        self._closed = False
        self._lost: StoreLost | None = None
        self._lost_since = 0.0
        self._unwritten: str | None = None  # why the last write failed
        self._unread: str | None = None  # why the last look failed
        self._damaged = False  # whether it failed because the file is damaged
        self._looked, self._looking = time.monotonic(), threading.Lock()
        self._counted, self._count_again = 0, 0.0
        self._writer = threading.Thread(target=self._write, name="gaterec events", daemon=True)
        self._writer.start()
        self._end = threading.Event()
        self._watcher = threading.Thread(target=self._watch, name="gaterec events watch", daemon=True)
        self._watcher.start()

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

        On SQLite nothing of them is left in the files when it returns, for which the events of one user in 64 are written anew; new events wait
        meanwhile. A PostgreSQL server clears its files in its own time.

        Raises:
            EventError: nobody can have this id.
            EventsError: the database failed, or another process kept it from clearing the log: delete again.
        """
        check_id("user", user)
        deleted = Deleted(self._errand(partial(self._database.delete, user=user)))
        until = time.monotonic() + CLEARING
        while not self._errand(self._database.clear):  # other events may be written between two attempts
            if time.monotonic() > until:
                raise EventsError(
                    f"events: {self.shown}: deleted, but its write-ahead log may still hold it, as another process reads the file; delete again"
                )
            time.sleep(0.05)
        return deleted

    def expire(self, older_than: float) -> int:
        """Delete all events with a timestamp below this one, a slice at a time, between which others write; how many. It blocks.

        No reader sees them any more. In the files of SQLite, fragments can stay until their place is used again or their user is deleted.

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
            if work.events and self._damaged and self._unread:
                raise EventsError(self._unread)  # what is written into a damaged file may not be readable afterwards
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
                    if isinstance(result, Exception):
                        work.future.set_exception(result)
                    else:
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
        """A result, or an error, for each."""
        if errand := works[0].errand:
            return [self._with_connection(errand)]
        events = [event for work in works for event in work.events]
        try:
            kept = iter(self._with_connection(lambda connection: self._database.insert(connection, events)))
        except DamagedError as error:  # a page of one user, say: the others' events are kept
            return [error] if len(works) == 1 else [self._alone(work) for work in works]
        except EventsError as error:
            self._unwritten = str(error)
            raise
        self._unwritten = None
        return [list(islice(kept, len(work.events))) for work in works]

    def _alone(self, work: _Work) -> Any:
        try:
            (result,) = self._done([work])
        except EventsError as error:
            return error
        return result

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

    # -- whether it can be used ------------------------------------------------------------------------------------------------------

    @property
    def fault(self) -> str | None:
        """Why it can't be used, in one line; None where it can. As of the last look, LOOK seconds ago at most, so that it never blocks."""
        if self._closed or not self._writer.is_alive():
            return f"events: {self.shown}: is closed"
        if self._lost or self._unread or self._unwritten:
            return str(self._lost or self._unread or self._unwritten)
        if time.monotonic() - self._looked > SILENCE:
            return f"events: {self.shown}: has not answered for {SILENCE:g} seconds"
        return None

    def alive(self) -> bool:
        """Whether it can be read and written and is the store that was opened. It looks, and blocks."""
        self._look()
        return self.fault is None

    def _watch(self) -> None:
        """What the watcher's thread does."""
        before: str | None = None
        while not self._end.wait(LOOK):
            try:
                self._look()
            except Exception:
                LOG.exception("looking at the store of events broke")
                continue
            fault = self.fault
            if fault != before and not self._closed:
                if fault is None:
                    LOG.warning("events: %s: can be used again", self.shown)
                else:
                    LOG.error("%s; no event is taken in until it can be used again", fault)
            before = fault

    def _look(self) -> None:
        with self._looking:
            try:
                if self._lost:
                    self._find()
                self._with_connection(self._database.examine)
                if self._unwritten:
                    self._with_connection(self._database.probe)
                    self._unwritten = None
            except EventsError as error:
                self._unread, self._damaged = str(error), isinstance(error, DamagedError)
            else:
                self._unread, self._damaged = None, False
            self._looked = time.monotonic()

    def _find(self) -> None:
        """Use a lost store again where it is back. While it is lost no connection is lent."""
        with self._changed:
            if self._lent or time.monotonic() < self._lost_since + LOST:
                return
        try:
            self._database.reopen()
        except StoreLost as error:
            self._lost = error
        except self._database.errors:
            return
        else:
            self._lost = None

    # -- connections ---------------------------------------------------------------------------------------------------------------

    def close(self) -> None:
        """Write all that waits, then let go of the database."""
        with self._changed:
            self._closed = True
            self._changed.notify()
        self._end.set()
        self._writer.join()
        self._watcher.join()
        self._drop_idle()
        self._database.close()

    def _with_connection(self, errand: Callable[[Any], T]) -> T:
        """Lend a connection, an idle one if there is one. One on which something failed is closed, and so are the idle ones: the server may be gone."""
        try:
            connection = self._connection()
            try:
                try:
                    result = errand(connection)
                finally:  # what failed may have failed because the files are others
                    self._database.check()
            except BaseException as error:
                connection.close()
                self._returned(lost=error if isinstance(error, StoreLost) else None)
                if not self._database.damaged(error):
                    self._drop_idle()
                raise
        except self._database.errors as error:
            kind = DamagedError if self._database.damaged(error) else EventsError
            raise kind(f"events: {self.shown}: {self._database.told(error)}") from None
        self._returned(connection)
        if not self._writer.is_alive():  # it was closed meanwhile
            self._drop_idle()
        return result

    def _returned(self, connection: Any = None, lost: StoreLost | None = None) -> None:
        with self._changed:
            self._lent -= 1
            if lost and not self._lost:
                self._lost, self._lost_since = lost, time.monotonic()
            if connection is not None:
                self._idle.append(connection)
            if self._lost:
                self._drop_idle()
                if not self._lent:
                    self._database.let_go()

    def _connection(self) -> Any:
        while True:
            with self._changed:
                if self._closed and threading.current_thread() is not self._writer:
                    raise EventsError(f"events: {self.shown}: is closed")
                if self._lost:
                    raise self._lost
                self._lent += 1
                connection = self._idle.pop() if self._idle else None
            try:
                if connection is None:
                    return self._database.connect()
                if not self._database.stale(connection):
                    return connection
                connection.close()
            except BaseException as error:
                self._returned(lost=error if isinstance(error, StoreLost) else None)
                raise
            self._returned()

    def _drop_idle(self) -> None:
        with self._changed:
            idle, self._idle = self._idle, []
        for connection in idle:
            connection.close()
