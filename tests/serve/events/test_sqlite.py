"""Attacks on the files of a real server's store: what was acknowledged is there after a restart, and what was deleted is nowhere."""

import os
import shutil
import sqlite3
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import httpx2 as httpx
import pytest

from gaterec.serve.events.database import mark
from gaterec.serve.events.sqlite import NAMES, SCHEMA, SqliteDatabase
from gaterec.serve.events.store import DamagedError, Event, EventsError, EventStore, open_store
from tests.support.servers import Running, serving
from tests.support.stores import held

pytestmark = pytest.mark.slow

QUICK = "from gaterec.serve.events import store as events; events.LOOK, events.LOST = 0.05, 0.2; from gaterec.cli.app import main; main()"
"""`gaterec` that looks at its store more often."""


class Server:
    """A server, and what it acknowledged."""

    def __init__(self, running: Running, file: Path, log: Path) -> None:
        self.running, self.file, self._log = running, file, log
        self.http = httpx.Client(base_url=running.address, timeout=30)
        self.kept: list[str] = []

    def add(self, name: str) -> int:
        """Add an event of this name; the status."""
        status = self.http.post("/events", json={"user": "stranger", "item": "i3", "id": name}).status_code
        self.kept += [name] if status == 201 else []
        return status

    def ready(self) -> str | None:
        """None, or why it isn't."""
        answer = self.http.get("/ready")
        assert answer.status_code in (200, 503)
        return None if answer.status_code == 200 else str(answer.json()["detail"])

    def until(self, done: Callable[[], object]) -> None:
        end = time.monotonic() + 20
        while not done():
            assert time.monotonic() < end, self.ready()
            time.sleep(0.01)

    def log(self) -> str:
        """What it has written to its log."""
        return self._log.read_text()


@pytest.fixture(scope="module")
def server(run_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server whose store is in a folder of its own; the attacks come one after the other."""
    place = tmp_path_factory.mktemp("attacked")
    file = place / "store" / "events.db"
    file.parent.mkdir()
    with (place / "log").open("w") as log, serving(run_folder, file, program=QUICK, stderr=log) as running:
        server = Server(running, file, place / "log")
        with server.http:
            yield server


def ids(file: Path) -> list[str]:
    """The ids of all events in a store that nobody uses."""
    with closing(sqlite3.connect(file)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        return sorted(name for (name,) in connection.execute("SELECT event_id FROM events"))


def move_away(file: Path) -> Callable[[], object]:
    away = file.rename(file.with_name("away"))
    return lambda: away.rename(file)


def replace(file: Path) -> Callable[[], object]:
    file.with_name("mine").hardlink_to(file)
    other = file.with_name("other.db")
    open_store(other).close()
    other.replace(file)
    return lambda: file.with_name("mine").replace(file)


def replace_folder(file: Path) -> Callable[[], object]:
    away = file.parent.rename(file.parent.with_name("folder"))
    file.parent.mkdir()

    def undo() -> None:
        file.parent.rmdir()
        away.rename(file.parent)

    return undo


def remove_log(file: Path) -> Callable[[], object]:
    file.with_name("events.db-wal").unlink()
    return lambda: None


def remove_index(file: Path) -> Callable[[], object]:
    file.with_name("events.db-shm").unlink()
    return lambda: None


def test_a_store_whose_files_are_gone_takes_in_nothing_until_they_are_back(server: Server) -> None:
    attacks = [
        (move_away, "events.db: was removed, or moved away,"),
        (replace, "events.db: was replaced by another file"),
        (replace_folder, "events.db: was removed, or moved away,"),
        (remove_log, "events.db-wal: was removed, or moved away,"),
        (remove_index, "events.db-shm: was removed, or moved away,"),
    ]
    for number, (attack, told) in enumerate(attacks):
        assert [server.add(f"{number} {turn}") for turn in range(5)] == [201] * 5
        undo = attack(server.file)
        assert server.add(f"{number} while it is gone") == 503
        server.until(lambda: told in (server.ready() or ""))  # noqa: B023, called at once
        if attack not in (remove_log, remove_index):
            refused = server.http.post("/recommend", json={"user": "u7"})
            assert (refused.status_code, told in refused.json()["detail"]) == (503, True)
            assert server.http.get("/health").status_code == server.http.get("/similar", params={"item": "i3"}).status_code == 200
            time.sleep(0.5)  # it does not recover by itself
            assert server.add(f"{number} still") == 503
        undo()
        server.until(lambda: server.ready() is None)
        assert server.add(f"{number} again") == 201
    log = server.log()
    assert log.count("no event is taken in until it can be used again") >= len(attacks)
    assert log.count("can be used again\n") >= len(attacks)
    assert "Traceback" not in log
    assert "stranger" not in log
    shutil.copytree(server.file.parent, server.file.parent.with_name("killed"))  # what a restart would find
    assert set(ids(server.file.parent.with_name("killed") / "events.db")) >= set(server.kept)


def write_over(file: Path) -> None:
    open_store(file.with_name("other.db")).close()
    file.write_bytes(file.with_name("other.db").read_bytes())


def write_older_copy(file: Path) -> None:
    older = file.with_name("older.db").read_bytes()
    file.write_bytes(older)


def cut(file: Path) -> None:
    os.truncate(file, file.stat().st_size // 2)


@pytest.fixture
def stores(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[], EventStore]:
    """Opens a store that looks at its files often."""
    monkeypatch.setattr("gaterec.serve.events.store.LOOK", 0.02)
    monkeypatch.setattr("gaterec.serve.events.store.LOST", 0.1)
    return lambda: open_store(tmp_path / "events.db")


@pytest.mark.parametrize(
    ("attack", "told"),
    [
        (write_over, "events.db: another program wrote another content into it|was cut from"),
        (write_older_copy, "events.db: another program wrote another content into it|was cut from"),
        (cut, r"events.db: was cut from [\d,]+ to [\d,]+ bytes by another program"),
        (lambda file: os.truncate(file, 0), "events.db: was cut from"),
    ],
)
def test_a_file_that_is_written_over_is_noticed_without_any_request(
    attack: Callable[[Path], None], told: str, stores: Callable[[], EventStore], tmp_path: Path
) -> None:
    store = stores()
    store.close()
    shutil.copy(tmp_path / "events.db", tmp_path / "older.db")
    store = stores()
    store.submit([Event("ann", "a", 1.0)]).result(30)
    attack(tmp_path / "events.db")
    end = time.monotonic() + 20
    while store.fault is None and time.monotonic() < end:
        time.sleep(0.01)
    with pytest.raises(EventsError, match=told):
        store.submit([Event("ann", "b", 2.0)]).result(30)
    time.sleep(0.3)
    assert not store.alive()
    store.close()


def test_a_file_that_was_made_read_only_is_noticed(stores: Callable[[], EventStore], monkeypatch: pytest.MonkeyPatch) -> None:
    store, access = stores(), os.access
    with monkeypatch.context() as read_only:  # for root, no file is
        read_only.setattr(os, "access", lambda path, mode: not mode & os.W_OK and access(path, mode))
        with pytest.raises(EventsError, match="can't be written any more: it was made read-only"):
            store.submit([Event("ann", "a", 1.0)]).result(30)
        assert not store.alive()
    time.sleep(0.3)
    assert store.alive()
    store.close()


def test_a_store_that_is_back_is_used_when_every_connection_and_every_process_let_go_of_it(
    stores: Callable[[], EventStore], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = stores()
    go, thread = held(store)  # a connection to the file that is moved away
    undo = move_away(tmp_path / "events.db")
    assert not store.alive()
    undo()
    monkeypatch.setattr("gaterec.serve.events.store.LOST", 0.0)
    assert not store.alive()
    go.set()
    thread.join()
    monkeypatch.setattr("gaterec.serve.events.store.LOST", 1000.0)  # other processes may not have noticed
    assert not store.alive()
    monkeypatch.setattr("gaterec.serve.events.store.LOST", 0.0)
    assert store.alive()
    store.close()


def test_another_copy_of_the_store_does_not_take_its_place(stores: Callable[[], EventStore], tmp_path: Path) -> None:
    """It may lack what was acknowledged since it was made."""
    store, file = stores(), tmp_path / "events.db"
    shutil.copy(file, tmp_path / "copy.db")
    store.submit([Event("ann", "a", 1.0)]).result(30)
    file.rename(tmp_path / "away.db")
    (tmp_path / "copy.db").rename(file)
    end = time.monotonic() + 20
    while "put that one back, or start the server again" not in (store.fault or "") and time.monotonic() < end:
        time.sleep(0.02)
    assert not store.alive()
    with pytest.raises(EventsError, match="is not the file that was opened; put that one back, or start the server again"):
        store.events_of(["ann"])
    (tmp_path / "away.db").rename(file)
    while not store.alive() and time.monotonic() < end:
        time.sleep(0.02)
    assert store.events_of(["ann"]) == {"ann": ["a"]}
    store.close()


def test_a_store_that_another_program_made_smaller_is_used_again(stores: Callable[[], EventStore], tmp_path: Path) -> None:
    """A VACUUM is no other content; what is in the log then is kept."""
    store = stores()
    store.submit([Event("ann", "x" * 500, float(number)) for number in range(1000)]).result(30)
    store.delete("ann")
    store.submit([Event("bob", "b", 1.0, "kept")]).result(30)
    with closing(sqlite3.connect(tmp_path / "events.db", isolation_level=None)) as other:
        other.execute("VACUUM")
        store.submit([Event("bob", "b", 1.0, "kept too")]).result(30)
        other.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        end = time.monotonic() + 20
        while store.fault is None and time.monotonic() < end:
            time.sleep(0.01)
        assert "was cut from" in (store.fault or "")
    while not store.alive() and time.monotonic() < end:
        time.sleep(0.02)
    store.submit([Event("bob", "b", 1.0, "and this")]).result(30)
    store.close()
    assert ids(tmp_path / "events.db") == ["and this", "kept", "kept too"]


def test_a_store_that_does_not_answer_is_not_ready(stores: Callable[[], EventStore], monkeypatch: pytest.MonkeyPatch) -> None:
    store = stores()
    assert store.alive()
    monkeypatch.setattr("gaterec.serve.events.store.SILENCE", -1.0)
    assert "has not answered for" in (store.fault or "")
    store.close()


@pytest.mark.parametrize("how", ["copied over it", "copied over it slowly", "moved to its place"])
def test_a_file_that_takes_the_place_of_a_served_one_is_not_changed(how: str, stores: Callable[[], EventStore], tmp_path: Path) -> None:
    """SQLite would write the log of the first into the other, when the store is closed or when it is opened again."""
    file, other, away = tmp_path / "events.db", tmp_path / "other.db", tmp_path / "away.db"
    two = open_store(other)
    two.submit([Event("bob", "b", 1.0, "of the other")]).result(30)
    two.close()
    one = stores()
    one.submit([Event("ann", "a", 1.0, "of the first")]).result(30)
    if how == "copied over it":
        file.write_bytes(other.read_bytes())
    elif how == "copied over it slowly":
        content = other.read_bytes()
        for end in (0, 4096, len(content) // 2, len(content)):
            file.write_bytes(content[:end])
            assert not one.alive()
    else:
        file.rename(away)
        other.rename(file)
    assert not one.alive()
    one.close()
    assert ids(file) == ["of the other"]
    assert how != "moved to its place" or ids(away) == ["of the first"]


def test_a_store_that_can_not_be_written_is_not_ready_until_it_can(server: Server) -> None:
    """As on a full disk. Clients that stop sending events must not keep it from being ready again."""
    assert server.add("before") == 201
    with closing(sqlite3.connect(server.file, isolation_level=None)) as other:
        other.execute("CREATE TRIGGER full BEFORE UPDATE ON probe BEGIN SELECT RAISE(FAIL, 'database or disk is full'); END")
        for name in NAMES:
            other.execute(f"CREATE TRIGGER full_{name} BEFORE INSERT ON {name} BEGIN SELECT RAISE(FAIL, 'database or disk is full'); END")
        assert server.add("refused") == 503
        server.until(lambda: "database or disk is full" in (server.ready() or ""))
        time.sleep(0.3)
        assert server.ready() is not None
        assert server.http.post("/recommend", json={"user": "u7"}).status_code == 200
        other.execute("DROP TRIGGER full")
        server.until(lambda: server.ready() is None)
        for name in NAMES:
            other.execute(f"DROP TRIGGER full_{name}")
    assert server.add("after") == 201


def test_a_damaged_file_takes_in_no_event(stores: Callable[[], EventStore], monkeypatch: pytest.MonkeyPatch) -> None:
    store = stores()
    assert store.submit([Event("ann", "a", 1.0)]).result() == [True]
    error = sqlite3.DatabaseError("database disk image is malformed")
    error.sqlite_errorcode = sqlite3.SQLITE_CORRUPT

    def examine(connection: object) -> None:
        raise error

    with monkeypatch.context() as patch:
        patch.setattr(store._database, "examine", examine)
        assert not store.alive()
        with pytest.raises(EventsError, match="malformed"):
            store.submit([Event("ann", "b", 2.0)])
    assert store.alive()
    assert store.submit([Event("ann", "c", 3.0)]).result() == [True]
    store.close()


def test_deletions_that_wait_keep_nobody_waiting(server: Server) -> None:
    for number in range(12):
        assert server.http.post("/events", json={"user": f"gone {number}", "item": "i3"}).status_code == 201
    with ThreadPoolExecutor(12) as pool, closing(sqlite3.connect(server.file, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")  # as a long write of another process
        deletions = [pool.submit(server.http.delete, f"/users/gone {number}") for number in range(12)]
        time.sleep(0.2)
        for path in ("/ready", "/metrics", "/items", "/users", "/model", "/users/u7"):
            assert server.http.get(path).status_code == 200
        assert server.http.post("/recommend", json={"user": "u7"}).status_code == 200
        assert server.http.post("/reload").status_code == 200
        assert not any(deletion.done() for deletion in deletions)
        other.execute("ROLLBACK")
        assert [deletion.result().json()["deleted"] for deletion in deletions] == [1] * 12
    found = [file.name for file in server.file.parent.iterdir() if b"gone " in file.read_bytes()]
    assert not found
    assert "gone " not in server.http.get("/metrics").text + server.log()


def test_a_deletion_writes_no_temporary_file(stores: Callable[[], EventStore], monkeypatch: pytest.MonkeyPatch) -> None:
    store = stores()
    database = store._database
    assert isinstance(database, SqliteDatabase)
    with closing(database.connect()) as connection:
        values = {name: connection.execute(f"PRAGMA {name}").fetchone()[0] for name in ("temp_store", "synchronous", "secure_delete")}
        assert values == {"temp_store": 2, "synchronous": 2, "secure_delete": 1}  # MEMORY, FULL, ON
        statements: list[str] = []
        connection.set_trace_callback(statements.append)
        database.delete(connection, "ann")
        assert database.clear(connection)
        assert not [statement for statement in statements if "VACUUM" in statement]
    store.close()


VERSION_1 = (
    "CREATE TABLE events (seq INTEGER PRIMARY KEY, user_id TEXT NOT NULL, item_id TEXT NOT NULL, timestamp REAL NOT NULL, event_id TEXT)",
    "CREATE INDEX events_of ON events (user_id, timestamp)",
    "CREATE UNIQUE INDEX event_ids ON events (user_id, event_id) WHERE event_id IS NOT NULL",
    "CREATE TABLE forgotten (mark TEXT PRIMARY KEY) WITHOUT ROWID",
    "CREATE TABLE salt (salt BLOB NOT NULL)",
    "PRAGMA application_id = 0x67617465",
    "PRAGMA user_version = 1",
    "PRAGMA journal_mode = WAL",
)


def test_a_store_of_version_1_is_converted(tmp_path: Path) -> None:
    file, salt = tmp_path / "events.db", b"s" * 32
    with closing(sqlite3.connect(file, isolation_level=None)) as connection:
        for statement in VERSION_1:
            connection.execute(statement)
        connection.execute("INSERT INTO salt VALUES (?)", (salt,))
        connection.execute("INSERT INTO forgotten VALUES (?)", (mark(salt, "gone"),))
        rows = [(f"user {number % 20}", f"item {number}", number // 40, f"id {number}") for number in range(2000)]
        connection.execute("BEGIN")
        connection.executemany("INSERT INTO events (user_id, item_id, timestamp, event_id) VALUES (?, ?, ?, ?)", rows)
        connection.execute("COMMIT")
    store = open_store(file)
    assert store.count() == 2000
    assert store.events_of(["user 3"]) == {"user 3": [f"item {number}" for number in range(3, 2000, 20)]}
    assert store.forgotten(["gone", "user 3"]) == {"gone"}
    assert store.submit([Event("user 3", "item 3", 0.0, "id 3")]).result(30) == [False]
    assert store.delete("user 3").events == 100
    assert not [one for one in tmp_path.iterdir() if b"user 3" in one.read_bytes()]
    store.close()
    with closing(sqlite3.connect(file)) as connection:
        assert connection.execute("PRAGMA user_version").fetchone() == (SCHEMA,)


def spoil(file: Path, user: str, content: object) -> None:
    """Put another content in place of the item of a user's events."""
    with closing(sqlite3.connect(file)) as connection, connection:
        changed = [connection.execute(f"UPDATE {name} SET item_id = ? WHERE user_id = ?", (content, user)).rowcount for name in NAMES]
        assert sum(changed) == 1


def test_a_damaged_record_fails_its_own_request_alone(server: Server) -> None:
    users = [f"healthy {number}" for number in range(40)]
    for user in [*users, "damaged", "broken"]:
        assert server.http.post("/events", json={"user": user, "item": "i3"}).status_code == 201
    spoil(server.file, "damaged", b"\xff\xfe")
    with closing(sqlite3.connect(server.file)) as connection:
        (part,) = (name for name in NAMES if connection.execute(f"SELECT 1 FROM {name} WHERE user_id = 'broken'").fetchone())
        beside = {user for (user,) in connection.execute(f"SELECT user_id FROM {part}")} - {"broken"}
        (page,) = connection.execute("SELECT rootpage FROM sqlite_master WHERE name = ?", (f"{part}_of",)).fetchone()
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    with server.file.open("r+b") as stream:
        stream.seek((page - 1) * 4096)
        stream.write(b"\xff" * 4096)
    with ThreadPoolExecutor(40) as pool:
        asked = [user for user in users if user not in beside] * 4 + ["damaged", "broken"] * 10
        answers = list(pool.map(lambda user: server.http.post("/recommend", json={"user": user, "k": 2}), asked))
    status = {user: {answer.status_code for other, answer in zip(asked, answers, strict=True) if other == user} for user in asked}
    assert status.pop("broken") == {503}
    assert set().union(*status.values()) == {200}, {answer.text for answer in answers if answer.status_code != 200}
    detail = answers[asked.index("broken")].json()["detail"]
    assert "malformed" in detail
    assert "\n" not in detail
    log = server.log()
    assert "1 damaged records are left out" in log
    assert "a user can't be read" in log
    assert "Traceback" not in log


def test_an_event_on_a_damaged_page_fails_alone(stores: Callable[[], EventStore], tmp_path: Path) -> None:
    store = stores()
    users = [f"user {number}" for number in range(30)]
    store.submit([Event(user, "a", 1.0) for user in users]).result(30)
    database = store._database
    assert isinstance(database, SqliteDatabase)
    part = database._part("user 0")
    with closing(sqlite3.connect(tmp_path / "events.db")) as connection:
        (page,) = connection.execute("SELECT rootpage FROM sqlite_master WHERE name = ?", (part,)).fetchone()
    store.close()
    with (tmp_path / "events.db").open("r+b") as stream:
        stream.seek((page - 1) * 4096)
        stream.write(b"\xff" * 4096)
    store = stores()
    go, thread = held(store)
    waiting = {user: store.submit([Event(user, "b", 2.0)]) for user in users}  # one transaction
    go.set()
    thread.join()
    whole = [user for user in users if database._part(user) != part]
    assert [waiting[user].result(30) for user in whole] == [[True]] * len(whole)
    with pytest.raises(DamagedError, match="malformed"):
        waiting["user 0"].result(30)
    assert store.alive()
    assert store.expire(1.5) == len(whole)
    store.close()
