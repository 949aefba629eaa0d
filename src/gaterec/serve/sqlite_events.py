"""Events in a SQLite file, for one machine: a write-ahead log, on disk before anybody is answered, and no trace of what was deleted."""

import json
import sqlite3
import time
from collections.abc import Iterable, Sequence
from contextlib import closing
from os import urandom
from pathlib import Path

from gaterec.addresses import first_line
from gaterec.serve.event_database import END, SCHEMA, Event, EventsError, mark

APPLICATION = 0x67617465
"""What SQLite's header says the file is: "gate"."""
PATIENCE = 5.0
"""So many seconds another process may have the file locked."""

SETTINGS = (
    "PRAGMA synchronous = FULL",  # the log is on disk when a commit returns
    "PRAGMA fullfsync = ON",  # on macOS too
    "PRAGMA secure_delete = ON",  # what has expired is overwritten
    "PRAGMA cache_size = -65536",  # 64 MiB at most: new events and old ones lie all over the indexes
)
TABLES = (
    "CREATE TABLE events (seq INTEGER PRIMARY KEY, user_id TEXT NOT NULL, item_id TEXT NOT NULL, timestamp REAL NOT NULL, event_id TEXT)",
    "CREATE INDEX events_of ON events (user_id, timestamp)",  # and, as in every index of SQLite, seq
    "CREATE UNIQUE INDEX event_ids ON events (user_id, event_id) WHERE event_id IS NOT NULL",
    "CREATE TABLE forgotten (mark TEXT PRIMARY KEY) WITHOUT ROWID",
    "CREATE TABLE salt (salt BLOB NOT NULL)",
    f"PRAGMA application_id = {APPLICATION}",
    f"PRAGMA user_version = {SCHEMA}",
)
INSERT = "INSERT INTO events (user_id, item_id, timestamp, event_id) VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING"
ITEMS_OF = """
    SELECT user_id, item_id FROM json_each(?) AS asked JOIN events
    ON seq IN (SELECT seq FROM events WHERE user_id = asked.value ORDER BY timestamp DESC, seq DESC LIMIT ?)
    ORDER BY user_id, timestamp, seq
"""


class SqliteDatabase:
    """See Database.

    Args:
        file: is made where it is missing; its folder is not.
    """

    errors: tuple[type[Exception], ...] = (sqlite3.Error,)

    def __init__(self, file: Path) -> None:
        self._file, self.shown = file.absolute(), str(file)
        self._salt = b""

    def open(self) -> None:
        try:
            self._file.touch(mode=0o600)  # people's doings are for the server alone to read
            until = time.monotonic() + PATIENCE
            while True:
                try:
                    with closing(self.connect()) as connection:
                        self._prepare(connection)
                    return
                except sqlite3.OperationalError as error:
                    # Where several make one file at once, SQLite waits for most of their locks, but not for that of the change to a write-ahead log.
                    if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() > until:
                        raise
                    time.sleep(0.01)
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
            for statement in TABLES:
                connection.execute(statement)
            connection.execute("INSERT INTO salt VALUES (?)", (urandom(32),))
        (self._salt,) = connection.execute("SELECT salt FROM salt").fetchone()
        connection.execute("COMMIT")
        if connection.execute("PRAGMA journal_mode = WAL").fetchone() != ("wal",):
            raise EventsError(f"events: {self.shown}: its file system allows no write-ahead log; give a file on a local disk")

    def connect(self) -> sqlite3.Connection:
        connection = sqlite3.connect(
            f"{self._file.as_uri()}?mode=rw", uri=True, timeout=PATIENCE, isolation_level=None, check_same_thread=False
        )
        for setting in SETTINGS:
            connection.execute(setting)
        return connection

    def told(self, error: Exception) -> str:
        return (error.strerror if isinstance(error, OSError) else None) or first_line(error, self.shown)

    def stale(self, connection: sqlite3.Connection) -> bool:
        return False

    def insert(self, connection: sqlite3.Connection, events: Sequence[Event]) -> list[bool]:
        connection.execute("BEGIN IMMEDIATE")
        kept = [
            connection.execute(INSERT, (event.user, event.item, event.timestamp, event.id)).rowcount
            == 1  # not by executemany, which counts all in one
            for event in events
        ]
        connection.execute("COMMIT")
        return kept

    def items_of(self, connection: sqlite3.Connection, users: Sequence[str], limit: int) -> Iterable[tuple[str, str]]:
        return connection.execute(ITEMS_OF, (json.dumps(users), limit)).fetchall()

    def delete(self, connection: sqlite3.Connection, user: str) -> int:
        connection.execute("BEGIN IMMEDIATE")
        events = connection.execute("DELETE FROM events WHERE user_id = ?", (user,)).rowcount
        connection.execute("INSERT INTO forgotten VALUES (?) ON CONFLICT DO NOTHING", (mark(self._salt, user),))
        connection.execute("COMMIT")
        return events

    def marked(self, connection: sqlite3.Connection, users: Sequence[str]) -> set[str]:
        marks = {mark(self._salt, user): user for user in users}
        found = connection.execute("SELECT mark FROM forgotten WHERE mark IN (SELECT value FROM json_each(?))", (json.dumps([*marks]),))
        return {marks[one] for (one,) in found.fetchall()}

    def expire(self, connection: sqlite3.Connection, older_than: float, after: int, size: int) -> tuple[int, int | None]:
        until = connection.execute("SELECT seq FROM events WHERE seq > ? ORDER BY seq LIMIT 1 OFFSET ?", (after, size - 1)).fetchone()
        last = until[0] if until else None
        found = connection.execute(
            "DELETE FROM events WHERE seq > ? AND seq <= ? AND timestamp < ?", (after, END if last is None else last, older_than)
        )
        return found.rowcount, last

    def wipe(self, connection: sqlite3.Connection) -> None:
        connection.execute("VACUUM")  # secure_delete clears cells, but not the copies that are left where pages were rearranged
        (busy, _, _) = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        if busy:
            raise EventsError(
                f"events: {self.shown}: deleted, but its write-ahead log may still hold it, as another process reads the file; delete again"
            )

    def count(self, connection: sqlite3.Connection) -> int:
        (events,) = connection.execute("SELECT count(*) FROM events").fetchone()
        return int(events)
