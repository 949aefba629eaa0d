"""Events in a SQLite file, for one machine: a write-ahead log, synced to the disk before an event is acknowledged, and no trace of deleted users.

The events are divided by user over PARTS tables. SQLite's `secure_delete` clears a deleted row, but not the copies of it that stay behind in the
unused part of a page after rows were moved to another page. A deletion therefore clears every page of the user's table and writes the rows of the
other users again: a small VACUUM of one part in PARTS, in one transaction, without temporary files.
"""

import logging
import os
import sqlite3
import time
from collections.abc import Iterable, Sequence
from contextlib import closing, suppress
from os import urandom
from pathlib import Path

from gaterec.io.database_urls import first_line
from gaterec.serve.events.database import Event, EventsError, StoreLost, mark

APPLICATION = 0x67617465
"""What SQLite's header says the file is: "gate"."""
SCHEMA = 2
"""The version of the tables. Version 1 had a single table; it is converted when it is opened."""
PARTS = 64
"""The number of tables over which the users are divided."""
PATIENCE = 5.0
"""The seconds for which another process may have the file locked."""
SESSIONS = 1000
"""The number of processes that may have one file open."""
CLEARING = 50
"""The milliseconds for which one attempt to clear the log waits for readers; new events wait meanwhile."""

SETTINGS = (
    "PRAGMA synchronous = FULL",  # the log is on disk when a commit returns
    "PRAGMA fullfsync = ON",  # on macOS too
    "PRAGMA secure_delete = ON",  # deleted rows and freed pages are overwritten
    "PRAGMA temp_store = MEMORY",  # a small temporary folder, or none, is enough
    "PRAGMA cache_size = -65536",  # 64 MiB at most: new events and old ones lie all over the indexes
)
NAMES = tuple(f"events_{number:02}" for number in range(PARTS))
TABLES = (
    *(
        statement.format(name)
        for name in NAMES
        for statement in (
            "CREATE TABLE {0} (seq INTEGER PRIMARY KEY, user_id TEXT NOT NULL, item_id TEXT NOT NULL, timestamp REAL NOT NULL, event_id TEXT)",
            "CREATE INDEX {0}_of ON {0} (user_id, timestamp)",  # and, as in every index of SQLite, seq
            "CREATE UNIQUE INDEX {0}_ids ON {0} (user_id, event_id) WHERE event_id IS NOT NULL",
        )
    ),
    "CREATE VIEW events AS " + " UNION ALL ".join(f"SELECT * FROM {name}" for name in NAMES),  # noqa: S608, names of our own
    "CREATE TABLE opened (seq INTEGER PRIMARY KEY, session BLOB NOT NULL UNIQUE)",  # random numbers of the processes that opened the store
    "CREATE TABLE probe (number INTEGER NOT NULL)",
    "INSERT INTO probe VALUES (0)",
)
OTHER_TABLES = (  # these are the same in version 1
    "CREATE TABLE forgotten (mark TEXT PRIMARY KEY) WITHOUT ROWID",
    "CREATE TABLE salt (salt BLOB NOT NULL)",
    f"PRAGMA application_id = {APPLICATION}",
)
INSERT = "INSERT INTO {} (user_id, item_id, timestamp, event_id) VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING"
ITEMS_OF = """
    SELECT item_id FROM (SELECT * FROM {} WHERE user_id = ? ORDER BY timestamp DESC, seq DESC LIMIT ?) ORDER BY timestamp, seq
"""
WITHOUT_USER = (
    "CREATE TEMP TABLE others AS SELECT * FROM {} WHERE user_id <> ?",
    "DELETE FROM {}",  # without WHERE: every page is cleared and given back
    "INSERT INTO {} SELECT * FROM others ORDER BY seq",
    "DROP TABLE others",
)
COUNT = "SELECT count(*) FROM {}"
COUNT_OF = "SELECT count(*) FROM {} WHERE user_id = ?"
EXPIRE = "DELETE FROM {} WHERE timestamp < ?"
SUFFIXES = ("", "-wal", "-shm")
DAMAGED = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_MISMATCH, sqlite3.SQLITE_TOOBIG})

LOG = logging.getLogger("gaterec.serve")

Place = tuple[tuple[int, int] | None, ...]
"""Device and number of the database, of its log and of the log's index; None for a file that is missing."""


class SqliteDatabase:
    """See Database.

    Args:
        file: is made where it is missing; its folder is not.
    """

    errors: tuple[type[Exception], ...] = (sqlite3.Error, OSError)

    def __init__(self, file: Path) -> None:
        self._file, self.shown = file.absolute(), str(file)
        self._salt, self._session = b"", urandom(16)
        self._first: sqlite3.Connection | None = None  # stays open, so that SQLite does not remove the log between two connections
        self._place: Place = (None, None, None)
        self._size = self._changed = 0

    # -- opening and closing -------------------------------------------------------------------------------------------------------

    def open(self) -> None:
        try:
            self._file.touch(mode=0o600)  # what users do is for the server alone to read
            until = time.monotonic() + PATIENCE
            while True:
                try:
                    with closing(self._connect()) as connection:
                        self._prepare(connection)
                    break
                except sqlite3.OperationalError as error:
                    # Where several make one file at once, SQLite waits for most of their locks, but not for that of the change to a write-ahead log.
                    if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() > until:
                        raise
                    time.sleep(0.01)
            self._begin()
        except (sqlite3.Error, OSError) as error:
            raise EventsError(f"events: {self.shown}: can't be used: {self.told(error)}") from None

    def _prepare(self, connection: sqlite3.Connection) -> None:
        connection.execute("BEGIN IMMEDIATE")
        (application,), (version,) = (connection.execute(f"PRAGMA {name}").fetchone() for name in ("application_id", "user_version"))
        ours, empty = application == APPLICATION, connection.execute("SELECT 1 FROM sqlite_master").fetchone() is None
        if not ours and (application or version or not empty):
            raise EventsError(f"events: {self.shown}: is a database of another program; give another file")
        if version > SCHEMA:
            raise EventsError(f"events: {self.shown}: was written by a newer gaterec (tables {version}, known {SCHEMA}); upgrade gaterec")
        if not ours:
            for statement in OTHER_TABLES:
                connection.execute(statement)
            connection.execute("INSERT INTO salt VALUES (?)", (urandom(32),))
        (self._salt,) = connection.execute("SELECT salt FROM salt").fetchone()
        if version < SCHEMA:
            self._convert(connection, single_table=ours)
        connection.execute("INSERT INTO opened (session) VALUES (?)", (self._session,))
        connection.execute("DELETE FROM opened WHERE seq <= (SELECT max(seq) FROM opened) - ?", (SESSIONS,))
        connection.execute("COMMIT")
        if connection.execute("PRAGMA journal_mode = WAL").fetchone() != ("wal",):
            raise EventsError(f"events: {self.shown}: its file system allows no write-ahead log; give a file on a local disk")

    def _convert(self, connection: sqlite3.Connection, *, single_table: bool) -> None:
        if single_table:
            connection.execute("ALTER TABLE events RENAME TO single")
        for statement in TABLES:
            connection.execute(statement)
        if single_table:
            for row in connection.execute("SELECT user_id, item_id, timestamp, event_id FROM single ORDER BY seq"):
                connection.execute(INSERT.format(self._part(row[0])), row)
            connection.execute("DROP TABLE single")
        connection.execute(f"PRAGMA user_version = {SCHEMA}")

    def _begin(self) -> None:
        """Remember which files these are."""
        self._first = self._connect()
        self._first.execute("PRAGMA wal_checkpoint(TRUNCATE)")  # of a store of version 1, and the session reaches the database itself
        found = self._file.stat()
        self._place, self._size, self._changed = self._found(), found.st_size, found.st_ctime_ns

    def close(self) -> None:
        if self._first is not None:
            self._first.close()
            self._first = None

    def let_go(self) -> None:
        if self._first is None:
            return
        with suppress(sqlite3.Error, OSError, StoreLost):
            if self._found()[0] != self._place[0]:  # all that was acknowledged goes to the file that was opened, wherever it is now
                self._first.execute("PRAGMA wal_checkpoint(TRUNCATE)")  # and the log can't be taken for that of another file
            elif not self._whole():  # SQLite would remove the log of an empty file, where it could not be discarded
                self._discard_log()
            else:
                with closing(self._connect()) as fresh:
                    self._check_content(fresh)
        self.close()

    def reopen(self) -> None:
        if self._found()[0] != self._place[0]:
            raise StoreLost(f"events: {self.shown}: is not the file that was opened; put that one back, or start the server again")
        with closing(self._connect()) as connection:
            self._check_content(connection)
            (found,) = connection.execute("PRAGMA quick_check(1)").fetchone()
        if found != "ok":
            raise StoreLost(f"events: {self.shown}: is damaged: {found.splitlines()[-1]}")
        self._begin()

    def _connect(self) -> sqlite3.Connection:
        connection = sqlite3.connect(
            f"{self._file.as_uri()}?mode=rw",
            uri=True,
            timeout=PATIENCE,
            isolation_level=None,
            check_same_thread=False,
            cached_statements=8 * PARTS,
        )
        connection.text_factory = _text
        for setting in SETTINGS:
            connection.execute(setting)
        return connection

    def connect(self) -> sqlite3.Connection:
        self.check()  # SQLite would write the log of the store that was opened into a file that took its place
        connection = self._connect()
        connection.execute("SELECT 1 FROM salt").fetchone()  # the log is opened with the first read
        return connection

    # -- whether it is still the same store ----------------------------------------------------------------------------------------

    def check(self) -> None:
        found = self._found()
        for suffix, then, now in zip(SUFFIXES, self._place, found, strict=True):
            if then != now:
                what = "was removed, or moved away," if now is None else "was replaced by another file"
                raise StoreLost(f"events: {self.shown}{suffix}: {what} while it was in use")
        if not os.access(self._file, os.R_OK | os.W_OK):
            raise StoreLost(f"events: {self.shown}: can't be written any more: it was made read-only")
        with suppress(OSError):  # removed just now: noticed next time
            size = self._file.stat().st_size
            if size < self._size:
                raise StoreLost(f"events: {self.shown}: was cut from {self._size:,} to {size:,} bytes by another program")
            self._size = size

    def examine(self, connection: sqlite3.Connection) -> None:
        self.check()
        changed = self._file.stat().st_ctime_ns
        if changed != self._changed:  # by SQLite itself, or by a program that wrote over it
            with closing(self._connect()) as fresh:  # others hold pages in memory
                self._check_content(fresh)
            self._changed = changed

    def _check_content(self, connection: sqlite3.Connection) -> None:
        try:
            found = connection.execute("SELECT 1 FROM opened WHERE session = ?", (self._session,)).fetchone()
        except sqlite3.DatabaseError as error:
            if getattr(error, "sqlite_errorcode", 0) & 0xFF == sqlite3.SQLITE_BUSY:
                raise
            found = None
        if found is None:
            self._discard_log()
            raise StoreLost(f"events: {self.shown}: another program wrote another content into it while it was in use")

    def _whole(self) -> bool:
        """Whether the file has all pages that its header tells of: not where it was cut, or another program is writing over it."""
        with self._file.open("rb") as stream:
            head = stream.read(100)
        size, pages = int.from_bytes(head[16:18]), int.from_bytes(head[28:32])
        return head.startswith(b"SQLite format 3\0") and self._file.stat().st_size >= (65536 if size == 1 else size) * pages

    def _discard_log(self) -> None:
        """What is in the log belongs to the content that was written over: SQLite must not write it into what is there now."""
        if self._found()[:2] == self._place[:2]:
            os.truncate(f"{self._file}{SUFFIXES[1]}", 0)

    def _found(self) -> Place:
        found: list[tuple[int, int] | None] = []
        for suffix in SUFFIXES:
            try:
                state = self._file.with_name(self._file.name + suffix).stat()
                found.append((state.st_dev, state.st_ino))
            except OSError:
                found.append(None)
        return tuple(found)

    def probe(self, connection: sqlite3.Connection) -> None:
        connection.execute("UPDATE probe SET number = number + 1")

    def told(self, error: Exception) -> str:
        return (error.strerror if isinstance(error, OSError) else None) or first_line(error, self.shown)

    def damaged(self, error: BaseException) -> bool:
        return getattr(error, "sqlite_errorcode", 0) & 0xFF in DAMAGED

    def stale(self, connection: sqlite3.Connection) -> bool:
        return False

    # -- events --------------------------------------------------------------------------------------------------------------------

    def _part(self, user: str) -> str:
        """The table with the events of a user."""
        return NAMES[int(mark(self._salt, user)[:4], 16) % PARTS]

    def insert(self, connection: sqlite3.Connection, events: Sequence[Event]) -> list[bool]:
        connection.execute("BEGIN IMMEDIATE")
        kept = [
            connection.execute(INSERT.format(self._part(event.user)), (event.user, event.item, event.timestamp, event.id)).rowcount
            == 1  # not by executemany, which counts all in one
            for event in events
        ]
        connection.execute("COMMIT")
        return kept

    def items_of(self, connection: sqlite3.Connection, users: Sequence[str], limit: int) -> Iterable[tuple[str, str]]:
        connection.execute("BEGIN")
        rows = [
            (user, item) for user in users for (item,) in connection.execute(ITEMS_OF.format(self._part(user)), (user, limit)).fetchall()
        ]
        connection.execute("COMMIT")
        kept = [(user, item) for user, item in rows if isinstance(item, str)]
        if len(kept) < len(rows):
            LOG.error("events: %s: %d damaged records are left out", self.shown, len(rows) - len(kept))
        return kept

    def delete(self, connection: sqlite3.Connection, user: str) -> int:
        part = self._part(user)
        connection.execute("BEGIN IMMEDIATE")
        (events,) = connection.execute(COUNT_OF.format(part), (user,)).fetchone()
        for statement in WITHOUT_USER:
            connection.execute(statement.format(part), (user,) if "?" in statement else ())
        connection.execute("INSERT INTO forgotten VALUES (?) ON CONFLICT DO NOTHING", (mark(self._salt, user),))
        connection.execute("COMMIT")
        return int(events)

    def marked(self, connection: sqlite3.Connection, users: Sequence[str]) -> set[str]:
        known = "SELECT 1 FROM forgotten WHERE mark = ?"
        return {user for user in users if connection.execute(known, (mark(self._salt, user),)).fetchone()}

    def expire(self, connection: sqlite3.Connection, older_than: float, after: int, size: int) -> tuple[int, int | None]:
        """The next table is a slice; `size` does not matter."""
        last = after + 1 if after + 1 < PARTS else None
        try:
            return connection.execute(EXPIRE.format(NAMES[after]), (older_than,)).rowcount, last
        except sqlite3.Error as error:
            if not self.damaged(error):
                raise
            LOG.error("events: %s: old events can't be deleted from %s: %s", self.shown, NAMES[after], self.told(error))
            return 0, last

    def clear(self, connection: sqlite3.Connection) -> bool:
        connection.execute(f"PRAGMA busy_timeout = {CLEARING}")
        (busy, _, _) = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        connection.execute(f"PRAGMA busy_timeout = {int(1000 * PATIENCE)}")
        return not busy

    def count(self, connection: sqlite3.Connection) -> int:
        return sum(connection.execute(COUNT.format(name)).fetchone()[0] for name in NAMES)


def _text(content: bytes) -> str:
    """Text of the database; what is not UTF-8 in it is shown as replaced, so that one damaged record does not fail a whole query."""
    return content.decode("utf-8", "replace")
