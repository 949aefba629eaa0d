"""A run in a process of its own: what it tells and how it may end. Its process is a stand-in that trains nothing."""

from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from gaterec.errors import RunError, out_of_memory
from gaterec.experiments.compare.run_process import MEASURED, RunSpec, follow, main
from gaterec.io import processes
from tests.support.histories import settings

TELL = "import json, os, pathlib, sys; task = json.loads(sys.stdin.readline()); folder = pathlib.Path(task['folder']); "


@pytest.fixture
def cell(tmp_path: Path) -> RunSpec:
    return RunSpec("HGN", settings(), tmp_path / "runs" / "HGN-x")


def followed(cell: RunSpec, program: str, monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    monkeypatch.setattr(processes, "_START", TELL + program)
    return list(follow(cell))


def test_epochs_are_passed_on_and_what_is_printed_goes_to_a_log(cell: RunSpec, monkeypatch: pytest.MonkeyPatch) -> None:
    program = f"""
print(json.dumps({{'epoch': 1}}))
print(json.dumps({{'epoch': 2, 'seed': task['settings']['seed']}}))
print('hello', file=sys.stderr)
folder.mkdir()
(folder / {MEASURED!r}).touch()"""
    assert not cell.finished
    assert followed(cell, program, monkeypatch) == [{"epoch": 1}, {"epoch": 2, "seed": cell.settings.seed}]
    assert cell.finished
    assert cell.log.read_text() == "hello\n"


@pytest.mark.parametrize(
    ("program", "told"),
    [
        ("os.kill(os.getpid(), 9)", r"^was killed \(SIGKILL\); perhaps for want of memory$"),
        ("os.kill(os.getpid(), 15)", r"^was killed \(SIGTERM\)$"),
        ("raise ValueError('what is this')", r"^ValueError: what is this \(see .*HGN-x\.log\)$"),
        ("sys.exit(3)", r"^exit code 3 \(see "),
        ("pass", r"^exit code 0 \(see "),
        ("print(json.dumps({'error': 'epoch 3: diverged'}))", r"^epoch 3: diverged$"),
        ("""sys.stdout.write('{"epoch": 1'); sys.stdout.flush(); os.kill(os.getpid(), 9)""", r"^was killed \(SIGKILL\)"),
    ],
)
def test_a_bad_end_is_told_in_one_line(cell: RunSpec, monkeypatch: pytest.MonkeyPatch, program: str, told: str) -> None:
    with pytest.raises(RunError, match=told):
        followed(cell, program, monkeypatch)


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (RunError("epoch 3: diverged"), "epoch 3: diverged"),
        (MemoryError(), out_of_memory(MemoryError())),
        (RuntimeError("a fault"), None),
    ],
)
def test_a_run_tells_why_it_ended(monkeypatch: pytest.MonkeyPatch, error: Exception, told: str | None) -> None:
    messages: list[dict[str, str]] = []

    def fails(**task: object) -> None:
        raise error

    parent = SimpleNamespace(asks=lambda: iter([{"settings": {}, "folder": "x"}]), tell=messages.append)
    monkeypatch.setattr("gaterec.experiments.compare.run_process.Parent", lambda: parent)
    monkeypatch.setattr("gaterec.experiments.compare.run_process._run", fails)
    with pytest.raises(RuntimeError, match="a fault") if told is None else nullcontext():
        main()
    assert messages == ([] if told is None else [{"error": told}])


def test_a_process_that_nobody_follows_any_more_is_ended(cell: RunSpec, monkeypatch: pytest.MonkeyPatch) -> None:
    program = """print(json.dumps({'pid': os.getpid()}), flush=True); import time; time.sleep(600)"""
    monkeypatch.setattr(processes, "_START", TELL + program)
    following = follow(cell)
    pid = next(following)["pid"]
    following.close()  # type: ignore[attr-defined]
    assert not Path("/proc", str(pid)).exists()


def test_a_place_that_can_not_be_written_is_told(cell: RunSpec, tmp_path: Path) -> None:
    (tmp_path / "runs").touch()
    with pytest.raises(RunError, match="can't be written"):
        list(follow(cell))
