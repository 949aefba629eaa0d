"""Events on a PostgreSQL server (extra `postgres`), which several servers of recommendations share."""

import selectors
from collections.abc import Iterable, Sequence
from os import urandom
from typing import Any

from gaterec.io.database_urls import first_line, shown
from gaterec.serve.events.database import END, Event, EventsError, StoreLost, mark

Connection = Any
"""A psycopg.Connection; the package is imported when a store is opened."""
DEFAULTS = {"connect_timeout": 5, "tcp_user_timeout": 30_000, "client_encoding": "utf8", "application_name": "gaterec"}
"""What libpq is told where the address says nothing else; a server that went away is noticed in so many (milli)seconds."""
SETTINGS = """
    SELECT set_config('synchronous_commit', 'on', false) WHERE current_setting('synchronous_commit') = 'off';
    SELECT set_config('statement_timeout', '30s', false) WHERE current_setting('statement_timeout') = '0'
"""
SCHEMA = 1
"""The version of the tables."""
OPENING = 7_449_374_110
"""The advisory lock of those who make or check the tables."""
TABLES = """
    CREATE TABLE gaterec_events (
        seq bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, user_id text COLLATE "C" NOT NULL, item_id text NOT NULL,
        timestamp double precision NOT NULL, event_id text COLLATE "C"
    );
    CREATE INDEX gaterec_events_of ON gaterec_events (user_id, timestamp, seq);
    CREATE UNIQUE INDEX gaterec_event_ids ON gaterec_events (user_id, event_id) WHERE event_id IS NOT NULL;
    CREATE TABLE gaterec_forgotten (mark text COLLATE "C" PRIMARY KEY);
    CREATE TABLE gaterec_store (version integer NOT NULL, salt bytea NOT NULL)
"""
INSERT = """
    INSERT INTO gaterec_events (user_id, item_id, timestamp, event_id)
    SELECT user_id, item_id, timestamp, event_id
    FROM unnest(%s::text[], %s::text[], %s::double precision[], %s::text[]) WITH ORDINALITY AS new (user_id, item_id, timestamp, event_id, place)
    ORDER BY place ON CONFLICT DO NOTHING RETURNING user_id, event_id
"""
ITEMS_OF = """
    SELECT user_id, item_id FROM unnest(%s::text[]) AS asked CROSS JOIN LATERAL (
        SELECT * FROM gaterec_events WHERE user_id = asked ORDER BY timestamp DESC, seq DESC LIMIT %s
    ) AS latest
    ORDER BY user_id, timestamp, seq
"""
DELETE = """
    WITH gone AS (DELETE FROM gaterec_events WHERE user_id = %s RETURNING 1),
    marked AS (INSERT INTO gaterec_forgotten VALUES (%s) ON CONFLICT DO NOTHING)
    SELECT count(*) FROM gone
"""
COUNT = """
    SELECT CASE WHEN reltuples > 1e6 THEN reltuples::bigint ELSE (SELECT count(*) FROM gaterec_events) END
    FROM pg_class WHERE oid = 'gaterec_events'::regclass
"""
"""Of very many, the server's own estimate."""


class PostgresDatabase:
    """See Database. Every statement is a transaction of its own.

    Args:
        address: postgresql://USER:PASSWORD@HOST:PORT/DATABASE?..., as libpq takes it.

    Raises:
        EventsError: psycopg is not installed.
    """

    def __init__(self, address: str) -> None:
        try:
            import psycopg
        except ImportError:
            raise EventsError("events: PostgreSQL needs psycopg; pip install 'gaterec[postgres]'") from None
        self._psycopg, self._address, self.shown = psycopg, address, shown(address)
        self.errors: tuple[type[Exception], ...] = (psycopg.Error,)
        self._salt = b""

    def open(self) -> None:
        try:
            with self.connect() as connection, connection.transaction():
                self._prepare(connection)
        except self._psycopg.Error as error:
            raise EventsError(f"events: {self.shown}: can't be used: {self.told(error)}") from None

    def _prepare(self, connection: Connection) -> None:
        encoding = connection.info.parameter_status("server_encoding")
        if encoding != "UTF8":
            raise EventsError(f"events: {self.shown}: its encoding is {encoding}, which can't hold every id; give a database in UTF8")
        connection.execute("SELECT pg_advisory_xact_lock(%s)", (OPENING,))
        if connection.execute("SELECT to_regclass('gaterec_store')").fetchone() == (None,):
            connection.execute(TABLES)
            connection.execute("INSERT INTO gaterec_store VALUES (%s, %s)", (SCHEMA, urandom(32)))
        version, self._salt = _row(connection.execute("SELECT version, salt FROM gaterec_store"))
        if version > SCHEMA:
            raise EventsError(f"events: {self.shown}: was written by a newer gaterec (tables {version}, known {SCHEMA}); upgrade gaterec")

    def connect(self) -> Connection:
        parts: dict[str, Any] = {**DEFAULTS, **self._psycopg.conninfo.conninfo_to_dict(self._address)}
        connection = self._psycopg.connect(**parts, autocommit=True)
        connection.execute(SETTINGS)
        return connection

    def close(self) -> None:
        """Nothing is held but connections."""

    def let_go(self) -> None:
        """Nothing is held but connections."""

    def reopen(self) -> None:
        with self.connect() as connection:
            self.examine(connection)

    def check(self) -> None:
        """Who has a connection is told by the server."""

    def examine(self, connection: Connection) -> None:
        if connection.execute("SELECT salt FROM gaterec_store").fetchall() != [(self._salt,)]:
            raise StoreLost(f"events: {self.shown}: another store took its place while it was in use")
        connection.execute("SELECT 1 FROM gaterec_events, gaterec_forgotten LIMIT 0")  # they are there, and may be read

    def probe(self, connection: Connection) -> None:
        connection.execute("UPDATE gaterec_store SET version = version")

    def told(self, error: Exception) -> str:
        return first_line(error, self._address)

    def damaged(self, error: BaseException) -> bool:
        state = getattr(error, "sqlstate", None) or ""
        return isinstance(error, self._psycopg.DataError) or state.startswith("XX")  # internal errors, among them damaged pages and indexes

    def stale(self, connection: Connection) -> bool:
        if connection.closed:
            return True
        with selectors.DefaultSelector() as selector:  # a server says nothing to an idle connection but that it goes away
            selector.register(connection.fileno(), selectors.EVENT_READ)
            return bool(selector.select(0))

    def insert(self, connection: Connection, events: Sequence[Event]) -> list[bool]:
        columns = zip(*((event.user, event.item, event.timestamp, event.id) for event in events), strict=True)
        new = set(connection.execute(INSERT, [list(column) for column in columns]).fetchall())
        kept = []
        for event in events:
            kept.append(event.id is None or (event.user, event.id) in new)
            new.discard((event.user, event.id))  # a second one of this id was not kept
        return kept

    def items_of(self, connection: Connection, users: Sequence[str], limit: int) -> Iterable[tuple[str, str]]:
        found: list[tuple[str, str]] = connection.execute(ITEMS_OF, (list(users), limit)).fetchall()
        return found

    def delete(self, connection: Connection, user: str) -> int:
        (events,) = _row(connection.execute(DELETE, (user, mark(self._salt, user))))
        return int(events)

    def marked(self, connection: Connection, users: Sequence[str]) -> set[str]:
        marks = {mark(self._salt, user): user for user in users}
        found = connection.execute("SELECT mark FROM gaterec_forgotten WHERE mark = ANY(%s)", ([*marks],))
        return {marks[one] for (one,) in found.fetchall()}

    def expire(self, connection: Connection, older_than: float, after: int, size: int) -> tuple[int, int | None]:
        until = connection.execute("SELECT seq FROM gaterec_events WHERE seq > %s ORDER BY seq LIMIT 1 OFFSET %s", (after, size - 1))
        (last,) = until.fetchone() or (None,)
        found = connection.execute(
            "DELETE FROM gaterec_events WHERE seq > %s AND seq <= %s AND timestamp < %s", (after, END if last is None else last, older_than)
        )
        return found.rowcount, last

    def clear(self, connection: Connection) -> bool:
        """The server's own vacuum does that in its time."""
        return True

    def count(self, connection: Connection) -> int:
        (events,) = _row(connection.execute(COUNT))
        return int(events)


def _row(cursor: Any) -> tuple[Any, ...]:
    """The one row that there must be."""
    row: tuple[Any, ...]
    (row,) = cursor.fetchall()
    return row
