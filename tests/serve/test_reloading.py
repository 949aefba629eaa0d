"""Another run takes the place of the one that answers, if it can answer."""

import json
import os
import shutil
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import torch

from gaterec.errors import RunError
from gaterec.io.files import read_tensors, write_tensors
from gaterec.serve.client import Client, ServerError
from gaterec.serve.reloading import Live, read
from tests.support.servers import Make, problem, serving

pytestmark = pytest.mark.slow


@pytest.fixture
def runs(tmp_path: Path, run_folder: Path) -> Path:
    """A folder with one run, `first`."""
    shutil.copytree(run_folder, tmp_path / "runs" / "first")
    return tmp_path / "runs"


def add(runs: Path, name: str) -> Path:
    """One more run, newer than the others."""
    new = runs / name
    shutil.copytree(runs / "first", new)
    later = max(file.stat().st_mtime for file in runs.glob("*/run.json")) + 10
    os.utime(new / "run.json", (later, later))
    return new


def unbind(run: Path) -> None:
    """Without the digests that bind files to each other, as runs of an older gaterec are."""
    file = run / "run.json"
    info, state = json.loads(file.read_text()), file.stat()
    file.write_text(json.dumps({name: value for name, value in info.items() if name != "digests"}))
    os.utime(file, ns=(state.st_atime_ns, state.st_mtime_ns))  # the newest stays the newest


def damage(run: Path) -> None:
    """Weights that are whole, and no numbers."""
    unbind(run)
    tensors, about = read_tensors(run / "weights.safetensors")
    write_tensors(run / "weights.safetensors", {name: torch.full_like(tensor, torch.nan) for name, tensor in tensors.items()}, about)


def test_the_newest_run_of_a_folder_is_taken(runs: Path) -> None:
    live = Live(runs)
    assert live.current.name == "first"
    assert live.changed() is None
    add(runs, "second")
    assert live.changed() is not None
    new, before = live.reload()
    assert (new.name, before.name, live.current.name) == ("second", "first", "second")
    assert live.changed() is None


def test_a_run_that_was_written_anew_has_changed(runs: Path) -> None:
    live = Live(runs / "first")
    os.utime(runs / "first" / "run.json", (1, 1))
    assert live.changed() is not None


def test_hidden_files_of_a_run_are_none_of_it(runs: Path) -> None:
    live = Live(runs)
    for file in (".part", ".index.part/vectors", "index/.vectors.part"):
        (runs / "first" / file).parent.mkdir(exist_ok=True)
        (runs / "first" / file).touch()
        assert live.changed() is None
    (runs / "first" / "index" / "vectors").touch()
    assert live.changed() is not None


def test_a_bad_run_is_refused_and_the_old_one_stays(runs: Path) -> None:
    live = Live(runs)
    add(runs, "nan")
    damage(runs / "nan")
    with pytest.raises(RunError, match="nan: can't answer: its scores are no numbers"):
        live.reload()
    assert live.current.name == "first"
    add(runs, "half")
    (runs / "half" / "items.parquet").unlink()
    with pytest.raises(RunError, match="half: is not whole"):
        live.reload()
    assert live.current.name == "first"


def test_a_run_whose_users_have_no_numbers_is_refused(runs: Path) -> None:
    """A stranger gets popular items from it: only its own users show that it is damaged."""
    live, new = Live(runs), add(runs, "users")
    tensors, about = read_tensors(new / "weights.safetensors")
    (name,) = (name for name, tensor in tensors.items() if len(tensor) == len(live.current.recommender.users))
    tensors[name] = torch.full_like(tensors[name], torch.nan)
    tensors[name][0] = 0.0
    write_tensors(new / "weights.safetensors", tensors, about)
    unbind(new)
    with pytest.raises(RunError, match="users: can't answer: its scores are no numbers"):
        live.reload()


DAMAGES: list[tuple[str, Callable[[pl.DataFrame], pl.DataFrame]]] = [
    ("users", lambda frame: frame.drop(frame.columns)),
    ("users", lambda frame: frame.clear()),
    ("users", lambda frame: frame.head(1)),
    ("users", lambda frame: frame.select(pl.concat_list(pl.all()))),
    ("users", lambda frame: frame.with_columns(pl.lit(None).alias(frame.columns[0]))),
    ("users", lambda frame: frame.with_columns(pl.col(frame.columns[0]).replace("u7", None))),
    ("users", lambda frame: frame.with_columns(pl.col(frame.columns[0]).replace("u7", "u8"))),
    ("users", lambda frame: frame.with_columns(pl.int_range(pl.len()).alias(frame.columns[0]))),
    ("items", lambda frame: frame.with_columns(pl.col("item_id").replace("i7", "i8"))),
    ("items", lambda frame: frame.with_columns(pl.col("training_count").cast(pl.String))),
    ("items", lambda frame: frame.drop("training_count")),
    ("items", lambda frame: frame.drop("item_id")),
    ("items", lambda frame: frame.clear()),
    ("items", lambda frame: frame.with_columns(pl.col("item_id").replace("i7", None))),
    ("items", lambda frame: frame.with_columns(pl.lit(None, pl.Int64).alias("training_count"))),
    ("items", lambda frame: frame.with_columns(pl.lit(-1.5).alias("training_count"))),
    ("items", lambda frame: frame.with_columns(pl.struct(pl.all()).alias("item_id"))),
]


def test_a_run_with_damaged_tables_is_refused_in_one_line_before_it_serves(runs: Path, make: Make) -> None:
    with make(folder=runs) as client:
        for number, (table, damaged) in enumerate(DAMAGES):
            new = add(runs, f"bad{number}")
            damaged(pl.read_parquet(new / f"{table}.parquet")).write_parquet(new / f"{table}.parquet")
            unbind(new)
            detail = problem(client.post("/reload"), 409, "run")
            assert f"bad{number}" in detail, detail
            assert "\n" not in detail
            assert not [word for word in ("polars", "torch", "Traceback", "pydantic", "panick", "Error") if word in detail], detail
            assert client.post("/recommend", json={"user": "u7"}).json()["model"] == "first"
            shutil.rmtree(new)


def test_a_run_whose_epochs_are_none_is_refused(runs: Path) -> None:
    live, new = Live(runs), add(runs, "second")
    info = json.loads((new / "run.json").read_text())
    (new / "run.json").write_text(json.dumps({**info, "epochs": ["first", "second"]}))
    os.utime(new / "run.json", (2**32, 2**32))
    with pytest.raises(RunError, match="second: can't answer: its files are damaged, or do not fit together"):
        live.reload()


def test_whatever_breaks_while_a_run_is_read_refuses_it(runs: Path, make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    class PanicError(BaseException):
        """As of a library in another language."""

    with make(folder=runs) as client:
        for error, told in ((KeyError("secret"), "damaged"), (PanicError("secret"), "damaged"), (MemoryError(), "memory ran out")):
            with monkeypatch.context() as patch:
                patch.setattr("gaterec.serve.reloading.load", raising(error))
                detail = problem(client.post("/reload"), 409, "run")
            assert f"first: can't answer: {'its files are damaged' if told == 'damaged' else told}" in detail
            assert "secret" not in detail
        with monkeypatch.context() as patch:
            patch.setattr("gaterec.serve.reloading.load", raising(OSError(5, "Input/output error")))
            assert "first: can't be read: Input/output error" in problem(client.post("/reload"), 409, "run")
        assert client.post("/reload").status_code == 200
    monkeypatch.setattr("gaterec.serve.reloading.load", raising(KeyboardInterrupt()))
    with pytest.raises(KeyboardInterrupt):
        read(runs)


def raising(error: BaseException) -> Callable[..., Any]:
    """What raises it when it is called."""

    def called(*whatever: Any) -> Any:
        raise error

    return called


def test_no_run_at_all(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="found no such folder"):
        read(tmp_path / "nothing")


def test_reload_over_http(runs: Path, make: Make) -> None:
    with make(folder=runs) as client:
        add(runs, "second")
        assert client.post("/reload").json() == {"model": "second", "before": "first"}
        assert client.get("/version").json()["model"] == "second"
        damage(add(runs, "third"))
        assert "third: can't answer" in problem(client.post("/reload"), 409, "run")
        assert client.post("/recommend", json={"user": "u7"}).json()["model"] == "second"
        assert 'gaterec_reloads_total{outcome="refused"} 1.0' in client.get("/metrics").text


def test_a_changed_folder_is_noticed(runs: Path, tmp_path: Path, make: Make) -> None:
    bad = add(runs, "bad").rename(tmp_path / "bad")
    damage(bad)
    with make(folder=runs, watch=0.02) as client:
        bad.rename(runs / "bad")
        until = time.monotonic() + 20
        while 'outcome="refused"' not in client.get("/metrics").text and time.monotonic() < until:
            time.sleep(0.02)
        assert client.get("/version").json()["model"] == "first"
        add(runs, "good")
        until = time.monotonic() + 20
        while client.get("/version").json()["model"] != "good" and time.monotonic() < until:
            time.sleep(0.02)
        assert client.get("/version").json()["model"] == "good"


def test_no_request_fails_while_runs_change(runs: Path, make: Make) -> None:
    with make(folder=runs) as client:
        found: list[tuple[int, str]] = []
        over = threading.Event()

        def ask() -> None:
            while not over.is_set():
                answer = client.post("/recommend", json={"user": "u7"})
                found.append((answer.status_code, answer.json().get("model", "")))

        thread = threading.Thread(target=ask)
        thread.start()
        for number in range(5):
            add(runs, f"run{number}")
            assert client.post("/reload").status_code == 200
        over.set()
        thread.join(20)
        assert {status for status, _ in found} == {200}
        assert {model for _, model in found} <= {"first", *(f"run{number}" for number in range(5))}


def test_events_of_items_that_the_new_run_does_not_know_are_left_out(runs: Path, make: Make) -> None:
    with make(folder=runs) as client:
        for item in ("i3", "i4"):
            client.post("/events", json={"user": "stranger", "item": item})
        new = add(runs, "second")
        items = pl.read_parquet(new / "items.parquet")
        items.with_columns(pl.col("item_id").replace("i3", "renamed")).write_parquet(new / "items.parquet")
        unbind(new)
        client.post("/reload")
        person = client.get("/users/stranger").json()
        assert [row["item"] for row in person["history"]] == ["i4"]
        assert "gaterec_unknown_items_total 1.0" in client.get("/metrics").text


def test_a_run_of_a_newer_format_is_refused(runs: Path) -> None:
    live, new = Live(runs), add(runs, "second")
    info = json.loads((new / "run.json").read_text())
    (new / "run.json").write_text(json.dumps({**info, "format": 99}))
    with pytest.raises(RunError, match="upgrade"):
        live.reload()


def test_a_run_that_is_copied_slowly_is_taken_when_it_is_whole(runs: Path, make: Make) -> None:
    with make(folder=runs, watch=0.02) as client:
        new = add(runs, "second")
        weights = (new / "weights.safetensors").read_bytes()
        (new / "weights.safetensors").unlink()
        until = time.monotonic() + 20
        while 'outcome="refused"' not in client.get("/metrics").text and time.monotonic() < until:
            time.sleep(0.02)
        assert client.get("/version").json()["model"] == "first"
        (new / "weights.safetensors").write_bytes(weights)
        while client.get("/version").json()["model"] != "second" and time.monotonic() < until:
            time.sleep(0.02)
        assert client.get("/version").json()["model"] == "second"


def test_a_server_serves_finished_runs_alone_and_what_is_done_to_their_files_changes_no_answer(runs: Path, tmp_path: Path) -> None:
    """A real server of a folder whose name is a pattern, with a newer run that is half written, and files that are written over in place."""
    folder = runs.rename(tmp_path / "[v1]")
    left = add(folder, ".first.0123abcd.part")
    damage(left)
    add(folder, ".second.0123abcd.old")

    def answers(client: Client) -> list[object]:
        return [
            client.recommend("u7"),
            client.recommend(history=["i3"]),
            client.explain("i7", "u7"),
            client.similar("i3"),
            client.items("film"),
        ]

    with serving(folder, tmp_path / "events.db", "--watch=0.05") as running, Client(running.address) as client:
        before = answers(client)
        for file in (folder / "first").iterdir():
            size = file.stat().st_size
            with file.open("rb+") as stream:
                stream.write(b"\x7f" * size)
        assert answers(client) == before
        for file in (folder / "first").iterdir():
            os.truncate(file, 0)
        assert answers(client) == before
        with pytest.raises(ServerError) as refused:
            client.reload()
        assert (refused.value.status, refused.value.name) == (409, "urn:gaterec:problem:run")
        for file in (folder / "first").iterdir():
            file.unlink()
            os.mkfifo(file)  # no look at it may wait
        with pytest.raises(ServerError, match="regular file"):
            client.reload()
        assert answers(client) == before
        running.process.terminate()
        assert running.process.wait(30) == 0


def test_what_was_left_over_is_told_when_a_server_begins(runs: Path, caplog: pytest.LogCaptureFixture) -> None:
    left = add(runs, ".first.0123abcd.part")
    with caplog.at_level("WARNING"):
        assert Live(runs).current.name == "first"
    assert [record.message for record in caplog.records] == [
        f"{left}: was left by a process that was stopped, and is not read; the next command that writes there removes it"
    ]
