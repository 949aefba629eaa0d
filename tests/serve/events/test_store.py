"""The store of events, on SQLite and on a real PostgreSQL server: what is acknowledged stays, what is deleted goes."""

import asyncio
import os
import random
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from gaterec.serve.events import sqlite as sqlite_events
from gaterec.serve.events.sqlite import SCHEMA, SqliteDatabase
from gaterec.serve.events.store import DamagedError, Deleted, Event, EventError, EventsError, EventStore, StoreBusy, open_store
from tests.support import postgres
from tests.support.stores import held

KILLS = int(os.environ.get("GATEREC_KILLS", "5"))
"""How often a process is killed while it adds events; 50 is what docs/serving.md tells of."""

PAGE = 4096
"""The bytes of a page of SQLite's."""


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=[pytest.mark.slow, pytest.mark.postgres])])
def address(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Of a store that is not there yet."""
    if request.param == "sqlite":
        return str(tmp_path / "events.db")
    whole = str(request.getfixturevalue("server"))
    import psycopg

    with psycopg.connect(whole, autocommit=True) as connection:
        for table in ("events", "forgotten", "store"):
            connection.execute(f"DROP TABLE IF EXISTS gaterec_{table}")
    return whole


@pytest.fixture
def store(address: str) -> Iterator[EventStore]:
    one = open_store(address)
    yield one
    one.close()


def add(store: EventStore, *events: Event) -> list[bool]:
    return store.submit(events).result(timeout=30)


def counted(store: EventStore, expected: int) -> None:
    """The count may be that of a moment ago."""
    end = time.monotonic() + 20
    while (found := store.count()) != expected and time.monotonic() < end:
        time.sleep(0.01)
    assert found == expected


def commits(store: EventStore, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many events each transaction has, from now on."""
    sizes: list[int] = []
    insert = store._database.insert

    def watched(connection: Any, events: Any) -> list[bool]:
        sizes.append(len(events))
        return insert(connection, events)

    monkeypatch.setattr(store._database, "insert", watched)
    return sizes


def test_events_come_in_order_of_time_then_of_arrival(store: EventStore) -> None:
    add(store, Event("ann", "c", 2), Event("bob", "x", 9), Event("ann", "d", 2))
    add(store, Event("ann", "a", -1.5), Event("ann", "e", 2.5), Event("ann", "a", 3))
    assert store.events_of(["ann", "nobody", "bob", "ann"]) == {"ann": ["a", "c", "d", "e", "a"], "bob": ["x"]}
    assert store.events_of(["ann", "bob"], limit=2) == {"ann": ["e", "a"], "bob": ["x"]}
    assert store.events_of([]) == store.events_of(["bad\0id", "\ud800", "", "x" * 513]) == {}
    counted(store, 6)
    add(store, Event("ann", "f", 4))
    counted(store, 7)


def test_ids_of_any_script_are_kept(store: EventStore) -> None:
    for name in ("ünï", "名前", "🎬", "it's; --", '"\\', " ", "é" * 256):
        assert add(store, Event(name, name, 1, name)) == [True]
        assert store.events_of([name]) == {name: [name]}
        assert store.delete(name) == Deleted(1)
        assert store.forgotten([name]) == {name}


def test_a_retry_does_not_count_twice(store: EventStore) -> None:
    first = Event("ann", "a", 1, "id 1")
    assert add(store, first, first, Event("ann", "b", 2, "id 2"), Event("ann", "c", 3), Event("ann", "c", 3)) == [
        True,
        False,
        True,
        True,
        True,
    ]
    assert add(store, Event("ann", "z", 9, "id 1"), Event("bob", "a", 1, "id 1")) == [False, True]  # ids are a person's own
    assert store.events_of(["ann", "bob"]) == {"ann": ["a", "b", "c", "c"], "bob": ["a"]}
    assert add(store) == []


def test_what_was_added_is_there_when_it_is_opened_again(address: str) -> None:
    one = open_store(address)
    add(one, Event("ann", "a", 1, "id"))
    one.delete("bob")
    one.close()
    two = open_store(address)
    assert (two.events_of(["ann"]), two.forgotten(["ann", "bob"])) == ({"ann": ["a"]}, {"bob"})
    assert add(two, Event("ann", "a", 1, "id")) == [False]
    two.close()


def test_many_at_once_share_commits_and_each_sees_its_own_at_once(store: EventStore, monkeypatch: pytest.MonkeyPatch) -> None:
    sizes = commits(store, monkeypatch)

    async def person(number: int) -> None:
        for turn in range(5):
            assert await store.add([Event(f"p{number}", f"i{turn}", 1.0)]) == [True]
            seen = await asyncio.to_thread(store.events_of, [f"p{number}"])
            assert seen == {f"p{number}": [f"i{before}" for before in range(turn + 1)]}

    async def everybody() -> None:
        await asyncio.gather(*(person(number) for number in range(100)))

    asyncio.run(everybody())
    assert sum(sizes) == 500
    assert len(sizes) < 250
    counted(store, 500)


def test_two_stores_see_one_anothers_events_at_once(address: str) -> None:
    one, two = open_store(address), open_store(address)
    for turn in range(20):
        writer, reader = (one, two) if turn % 2 else (two, one)
        assert add(writer, Event("ann", str(turn), 1.0, str(turn))) == [True]
        assert reader.events_of(["ann"])["ann"][-1] == str(turn)
        assert add(reader, Event("ann", str(turn), 1.0, str(turn))) == [False]
    one.delete("ann")
    assert (two.events_of(["ann"]), two.forgotten(["ann"])) == ({}, {"ann"})
    one.close()
    two.close()


def test_stores_that_are_made_at_the_same_time_are_one(address: str) -> None:
    found: list[EventStore] = []
    threads = [threading.Thread(target=lambda: found.append(open_store(address))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 4
    found[0].delete("ann")
    assert [one.forgotten(["ann"]) for one in found] == [{"ann"}] * 4  # they have the same salt
    for one in found:
        one.close()


def test_a_full_queue_is_told_at_once_and_nothing_of_it_is_kept(address: str) -> None:
    store = open_store(address, waiting=3)
    go, thread = held(store)
    first = store.submit([Event("ann", str(number), 1) for number in range(9)])  # an empty queue takes any number
    with pytest.raises(StoreBusy, match="9 wait to be written"):
        store.submit([Event("ann", "no", 1)])
    with pytest.raises(StoreBusy):
        asyncio.run(store.add([Event("ann", "no", 1)]))
    go.set()
    assert first.result(30) == [True] * 9
    assert add(store, Event("ann", "yes", 2)) == [True]
    assert store.events_of(["ann"])["ann"] == [*map(str, range(9)), "yes"]
    thread.join()
    store.close()


def test_the_queue_takes_as_many_as_it_says_and_no_more(address: str) -> None:
    store = open_store(address, waiting=5)
    go, thread = held(store)
    waiting = [store.submit([Event("ann", "a", 1)] * 2) for _ in range(2)]
    with pytest.raises(StoreBusy, match="4 wait to be written"):
        store.submit([Event("ann", "no", 1)] * 2)
    waiting.append(store.submit([Event("ann", "a", 1)]))
    with pytest.raises(StoreBusy, match="5 wait to be written"):
        store.submit([Event("ann", "no", 1)])
    go.set()
    thread.join()
    assert [len(one.result(30)) for one in waiting] == [2, 2, 1]
    assert store.events_of(["ann"]) == {"ann": ["a"] * 5}
    store.close()


def test_a_transaction_is_bounded(store: EventStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gaterec.serve.events.store.AT_A_TIME", 10)
    sizes = commits(store, monkeypatch)
    go, thread = held(store)
    waiting = [store.submit([Event("ann", str(number), number)]) for number in range(25)]
    go.set()
    thread.join()
    assert [one.result(30) for one in waiting] == [[True]] * 25
    assert sizes == [10, 10, 5]


def test_a_store_whose_writer_has_ended_can_not_be_used(store: EventStore, monkeypatch: pytest.MonkeyPatch) -> None:
    assert store.alive()
    monkeypatch.setattr(store, "_writer", threading.Thread())
    assert not store.alive()


def test_a_look_that_breaks_is_logged_and_looked_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("gaterec.serve.events.store.LOOK", 0.01)
    looks: list[None] = []
    broken = threading.Event()

    def breaks(store: EventStore) -> None:
        looks.append(None)
        if len(looks) == 3:
            broken.set()
        raise RuntimeError("bad")

    monkeypatch.setattr(EventStore, "_look", breaks)
    with closing(open_store(tmp_path / "events.db")):
        assert broken.wait(30)
    assert "looking at the store of events broke" in caplog.messages


def test_closing_writes_what_waits_and_ends_the_thread(address: str) -> None:
    store = open_store(address)
    go, thread = held(store)
    waiting = [store.submit([Event("ann", str(number), number)]) for number in range(50)]
    threading.Timer(0.05, go.set).start()
    store.close()
    store.close()
    thread.join()
    assert store.fault == f"events: {store.shown}: is closed"
    assert not store._writer.is_alive()
    assert [one.result(0) for one in waiting] == [[True]] * 50
    for use in (lambda: add(store, Event("ann", "x", 1)), lambda: store.events_of(["ann"]), lambda: store.delete("ann")):
        with pytest.raises(EventsError, match="is closed"):
            use()
    assert not store.alive()
    again = open_store(address)
    assert len(again.events_of(["ann"])["ann"]) == 50
    again.close()


def test_who_has_gone_does_no_harm(store: EventStore) -> None:
    go, thread = held(store)

    async def leave() -> None:
        task = asyncio.ensure_future(store.add([Event("ann", "a", 1)]))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(leave())
    go.set()
    thread.join()
    assert add(store, Event("ann", "b", 1)) == [True]
    assert store.events_of(["ann"])["ann"][-1] == "b"


def test_a_deleted_person_is_forgotten_and_comes_back_as_a_new_one(store: EventStore) -> None:
    add(store, Event("ann", "a", 1, "id"), Event("ann", "b", 2), Event("bob", "a", 1, "id"))
    assert store.delete("ann") == Deleted(2)
    assert store.delete("ann") == Deleted(0)
    assert (store.events_of(["ann", "bob"]), store.forgotten(["ann", "bob"])) == ({"bob": ["a"]}, {"ann"})
    assert add(store, Event("ann", "new", 1, "id")) == [True]  # of the old id nothing is known
    assert (store.events_of(["ann"]), store.forgotten(["ann"])) == ({"ann": ["new"]}, {"ann"})
    with pytest.raises(EventError, match="user: expected"):
        store.delete("")


def test_a_deletion_comes_after_what_was_sent_before_it(store: EventStore) -> None:
    earlier = [store.submit([Event("ann", str(number), 1)]) for number in range(20)]
    deleted = store.delete("ann")
    assert (deleted.events, [one.result(30) for one in earlier]) == (20, [[True]] * 20)
    assert store.events_of(["ann"]) == {}


def test_a_deletion_leaves_no_byte_in_the_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Pages of many sizes of rows are split and merged, which leaves copies of rows behind; a plain DELETE leaves five users' bytes here."""
    monkeypatch.setattr(SqliteDatabase, "_part", lambda database, user: "events_00")
    dice = random.Random(0)
    store = open_store(tmp_path / "events.db")
    users = [f"person-{dice.random():.12f}" for _ in range(70)]
    for turn in range(60):
        for _ in range(10):
            chosen = dice.choices(users, k=8)
            events = [Event(user, f"item-{user}" + "x" * dice.randrange(200), dice.random(), f"id-{dice.random()}") for user in chosen]
            add(store, *events)
        gone = events[0].user
        users.remove(gone)
        assert any(gone.encode() in file.read_bytes() for file in tmp_path.iterdir()), turn
        add(store, Event(users[0], "without an id", -1.5))
        others = rows(tmp_path / "events.db", gone)
        assert store.delete(gone).events > 0
        assert rows(tmp_path / "events.db", gone) == others
        for file in tmp_path.iterdir():
            assert gone.encode() not in file.read_bytes(), f"{file.name} still has {gone}"
        assert store.forgotten([gone]) == {gone}
    store.close()


def rows(file: Path, user: str) -> list[Any]:
    """All rows of all other users."""
    with closing(sqlite3.connect(file)) as connection:
        return connection.execute("SELECT * FROM events WHERE user_id <> ? ORDER BY user_id, seq", (user,)).fetchall()


def test_a_deletion_that_a_reader_kept_from_clearing_the_files_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gaterec.serve.events.store.CLEARING", 0.1)
    store = open_store(tmp_path / "events.db")
    add(store, Event("ann", "a", 1))
    other = sqlite3.connect(tmp_path / "events.db", isolation_level=None)
    other.execute("BEGIN")
    other.execute("SELECT * FROM events").fetchone()
    with pytest.raises(EventsError, match="another process reads the file; delete again"):
        store.delete("ann")
    assert store.events_of(["ann"]) == {}
    other.close()
    assert store.delete("ann") == Deleted(0)
    assert (tmp_path / "events.db-wal").stat().st_size == 0
    store.close()


def test_old_events_expire(store: EventStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gaterec.serve.events.store.SLICE", 7)
    add(store, *(Event(f"p{number % 3}", str(number), float(number * 37 % 100), str(number)) for number in range(100)))
    assert store.expire(30.0) == 30
    assert store.expire(30.0) == 0
    counted(store, 70)
    left = [int(item) * 37 % 100 for items in store.events_of(["p0", "p1", "p2"]).values() for item in items]
    assert sorted(left) == list(range(30, 100))
    assert store.forgotten(["p0", "p1", "p2"]) == set()


@pytest.mark.parametrize(
    ("values", "told"),
    [
        (("", "i", 1.0), "user: expected 1 to 512 bytes of UTF-8 without NUL, found ''"),
        (("a\0", "i", 1.0), "user: expected"),
        (("u", "é" * 257, 1.0), r"item: expected .* found 'é{40}\.\.\.'"),
        (("u", "\ud800", 1.0), "item: expected"),
        (("u", "i", 1.0, ""), "id: expected"),
        (("u", "i", float("nan")), "timestamp: expected a finite number, found nan"),
        (("u", "i", float("inf")), "timestamp: expected a finite number, found inf"),
        (("u", "i", 10**400), "timestamp: expected a finite number"),
    ],
)
def test_events_that_no_store_can_keep_are_refused(values: tuple[Any, ...], told: str) -> None:
    with pytest.raises(EventError, match=told):
        Event(*values)


def test_places_that_can_not_be_used_are_told_in_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "text.db").write_text("this is no database, but a text that is long enough to be taken for the head of one" * 20)
    (tmp_path / "folder.db").mkdir()
    for name, statement in (("other.db", "CREATE TABLE x (y)"), ("newer.db", f"PRAGMA user_version = {SCHEMA + 1}")):
        if name == "newer.db":
            open_store(tmp_path / name).close()
        connection = sqlite3.connect(tmp_path / name)
        connection.execute(statement)
        connection.close()
    open_store(tmp_path / "locked.db").close()
    monkeypatch.setattr(sqlite_events, "PATIENCE", 0.1)
    lock = sqlite3.connect(tmp_path / "locked.db", isolation_level=None)
    lock.execute("BEGIN IMMEDIATE")
    for place, told in (
        (tmp_path / "text.db", "file is not a database"),
        (tmp_path / "folder.db", "unable to open database file"),
        (tmp_path / "nowhere" / "x.db", "No such file or directory"),
        (tmp_path / "other.db", "is a database of another program; give another file"),
        (tmp_path / "newer.db", f"was written by a newer gaterec .tables {SCHEMA + 1}, known {SCHEMA}.; upgrade gaterec"),
        (tmp_path / "locked.db", "database is locked"),
        ("mysql://me:secret@host/x", r"expected a file, or an address that begins with postgresql://, found mysql://me:\*\*\*@host/x"),
        (
            "postgresql://tester:secret@127.0.0.1:1/none",
            r"postgresql://tester:\*\*\*@127.0.0.1:1/none: can't be used: .*(onnection|failed)",
        ),
        ("postgresql://tester:secret@host:port/none", "can't be used"),
    ):
        with pytest.raises(EventsError, match=rf"^events: .*{told}") as error:
            open_store(place)
        assert "secret" not in str(error.value)
        assert "\n" not in str(error.value)
    lock.close()
    assert (tmp_path / "other.db").read_bytes()[:16] == b"SQLite format 3\0"
    monkeypatch.setitem(sys.modules, "psycopg", None)
    with pytest.raises(EventsError, match=r"needs psycopg; pip install 'gaterec\[postgres\]'"):
        open_store("postgresql://host/x")


def test_a_file_that_breaks_under_way_is_told_in_one_line(tmp_path: Path) -> None:
    file = tmp_path / "events.db"
    store = open_store(file)
    add(store, *(Event(f"person {number}", "i", 1.0) for number in range(500)))
    store.close()
    damage(file, b"person")
    store = open_store(file)
    for use in (lambda: store.events_of([f"person {number}" for number in range(500)]), lambda: add(store, Event("person 1", "i", 1.0))):
        with pytest.raises(DamagedError, match=r"^events: .*events\.db: .*malformed"):
            use()
    store.close()


def damage(file: Path, content: bytes) -> None:
    """Break every page that holds the content."""
    pages = file.read_bytes()
    whole = b"".join(
        b"\xff" * PAGE if content in pages[begin : begin + PAGE] else pages[begin : begin + PAGE] for begin in range(0, len(pages), PAGE)
    )
    assert whole != pages
    file.write_bytes(whole)


def test_a_file_is_for_its_owner_alone(tmp_path: Path) -> None:
    open_store(tmp_path / "events.db").close()
    assert (tmp_path / "events.db").stat().st_mode & 0o77 == 0


# -- what may go wrong around it -------------------------------------------------------------------------------------------------------


@pytest.fixture
def switch() -> Iterator[tuple[str, Callable[[str], object]]]:
    """A server of the test's own, and what stops and starts it."""
    place = postgres.programs()
    if place is None:
        pytest.skip("needs PostgreSQL")
    import psycopg

    with postgres.server() as address:
        with psycopg.connect(address) as connection:
            ((folder,),) = connection.execute("SHOW data_directory").fetchall()
        port = address.rpartition(":")[2].partition("/")[0]

        def turn(how: str) -> None:
            options = f"-h 127.0.0.1 -p {port} -k {Path(folder).parent} -F"
            who = "postgres" if os.geteuid() == 0 else None
            command = [place / "pg_ctl", "-D", folder, "-m", "fast", "-w", "-o", options, "-l", f"{folder}/log", how]
            subprocess.run(command, user=who, cwd=folder, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

        yield address, turn
        turn("stop")


@pytest.mark.slow
@pytest.mark.postgres
def test_a_server_may_go_away_and_come_back(switch: tuple[str, Callable[[str], object]]) -> None:
    address, turn = switch
    store = open_store(address)
    add(store, Event("ann", "a", 1, "id"))
    assert store.alive()
    turn("stop")
    assert not store.alive()
    for use in (lambda: add(store, Event("ann", "b", 2)), lambda: store.events_of(["ann"]), store.count):
        with pytest.raises(EventsError, match=r"^events: postgresql://tester:\*\*\*@.*: .*(onnection|terminat)") as error:
            use()
        assert "\n" not in str(error.value)
    turn("start")
    assert add(store, Event("ann", "c", 3)) == [True]
    assert (store.events_of(["ann"]), store.alive()) == ({"ann": ["a", "c"]}, True)
    turn("restart")  # while nothing goes on: nobody notices
    assert add(store, Event("ann", "d", 4)) == [True]
    turn("restart")
    assert store.events_of(["ann"]) == {"ann": ["a", "c", "d"]}
    store.close()


@pytest.mark.slow
@pytest.mark.postgres
def test_a_database_that_acknowledges_before_the_disk_is_told_not_to(server: str) -> None:
    import psycopg

    with psycopg.connect(server, autocommit=True) as connection:
        for value, expected in (("off", "on"), ("remote_write", "remote_write")):
            connection.execute(f"ALTER ROLE tester SET synchronous_commit = {value}")
            store = open_store(server)
            with store._database.connect() as own:
                assert own.execute("SHOW synchronous_commit").fetchone() == (expected,)
                assert own.execute("SHOW statement_timeout").fetchone() == ("30s",)
            store.close()
        connection.execute("ALTER ROLE tester RESET synchronous_commit")


@pytest.mark.slow
@pytest.mark.postgres
def test_a_database_that_became_read_only_is_not_ready_until_it_can_be_written(server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    import psycopg

    monkeypatch.setattr("gaterec.serve.events.store.LOOK", 1000.0)  # no connection from before is in use
    store = open_store(server)
    with psycopg.connect(server, autocommit=True) as connection:
        try:
            connection.execute("ALTER ROLE tester SET default_transaction_read_only = on")
            store._drop_idle()  # as after a failover
            with pytest.raises(EventsError, match="read-only transaction"):
                add(store, Event("ann", "a", 1))
            assert not store.alive()
            assert not store.alive()
        finally:
            connection.execute("ALTER ROLE tester RESET default_transaction_read_only")
        store._drop_idle()
        assert store.alive()
    assert add(store, Event("ann", "a", 1)) == [True]
    store.close()


@pytest.mark.slow
@pytest.mark.postgres
def test_a_database_whose_tables_are_gone_or_others_is_not_ready(server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    import psycopg

    monkeypatch.setattr("gaterec.serve.events.store.LOST", 0.0)
    store = open_store(server)
    assert store.alive()
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute("ALTER TABLE gaterec_events RENAME TO away")
        assert not store.alive()
        assert "gaterec_events" in (store.fault or "")
        connection.execute("ALTER TABLE away RENAME TO gaterec_events")
        assert store.alive()
        connection.execute("UPDATE gaterec_store SET salt = sha256(salt)")
        assert not store.alive()
        with pytest.raises(EventsError, match="another store took its place"):
            store.forgotten(["ann"])  # what is marked there is marked with another key
        connection.execute("DROP TABLE gaterec_store, gaterec_events, gaterec_forgotten")
    store.close()


STREAM = """
import asyncio, sys
from gaterec.serve.events.store import Event, open_store
async def main():
    store = open_store(sys.argv[1])
    async def person(number):
        for turn in range(100_000):
            name = f"{sys.argv[2]}-{number}-{turn}"
            assert await store.add([Event(f"p{number}", name, 1.0, name)]) == [True]
            sys.stdout.write(name + "\\n")
            sys.stdout.flush()
    await asyncio.gather(*(person(number) for number in range(8)))
asyncio.run(main())
"""


def test_what_was_acknowledged_survives_a_kill(tmp_path: Path) -> None:
    file, dice, acknowledged = tmp_path / "events.db", random.Random(1), list[str]()
    for kill in range(KILLS):
        with subprocess.Popen([sys.executable, "-c", STREAM, str(file), str(kill)], stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            acknowledged.append(process.stdout.readline().strip())
            timer = threading.Timer(dice.uniform(0, 0.5), process.kill)
            timer.start()
            acknowledged += [line.strip() for line in process.stdout if line.endswith("\n")]
            timer.join()
        connection = sqlite3.connect(file)
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        connection.close()
        store = open_store(file)
        found = store.events_of([f"p{number}" for number in range(8)], limit=10**9)
        store.close()
        kept = [item for items in found.values() for item in items]
        assert set(acknowledged) <= set(kept)
        assert len(set(kept)) == len(kept)
        for number in range(8):
            own = [one for one in acknowledged if one.split("-")[1] == str(number)]
            assert [one for one in found.get(f"p{number}", []) if one in set(own)] == own
    assert len(acknowledged) > KILLS
