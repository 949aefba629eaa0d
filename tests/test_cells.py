"""A run in a process of its own: what it tells, how it may end, what is measured. Its process is a stand-in that trains nothing."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from gaterec import cells
from gaterec.cells import MEASURED, Cell, follow, peak_memory, seconds_per_1000
from gaterec.errors import RunError
from gaterec.prepare import make_model, prepare
from tests.commands import write_log
from tests.histories import settings

TELL = "import json, os, pathlib, sys; task = json.loads(sys.argv[2]); folder = pathlib.Path(task['folder']); "


@pytest.fixture
def cell(tmp_path: Path) -> Cell:
    return Cell("HGN", settings(), tmp_path / "runs" / "HGN-x")


def followed(cell: Cell, program: str, monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    monkeypatch.setattr(cells, "_START", TELL + program)
    return list(follow(cell))


def test_epochs_are_passed_on_and_what_is_printed_goes_to_a_log(cell: Cell, monkeypatch: pytest.MonkeyPatch) -> None:
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
def test_a_bad_end_is_told_in_one_line(cell: Cell, monkeypatch: pytest.MonkeyPatch, program: str, told: str) -> None:
    with pytest.raises(RunError, match=told):
        followed(cell, program, monkeypatch)


def test_a_process_that_nobody_follows_any_more_is_ended(cell: Cell, monkeypatch: pytest.MonkeyPatch) -> None:
    program = """print(json.dumps({'pid': os.getpid()}), flush=True); import time; time.sleep(600)"""
    monkeypatch.setattr(cells, "_START", TELL + program)
    following = follow(cell)
    pid = next(following)["pid"]
    following.close()  # type: ignore[attr-defined]
    assert not Path("/proc", str(pid)).exists()


def test_a_place_that_can_not_be_written_is_told(cell: Cell, tmp_path: Path) -> None:
    (tmp_path / "runs").touch()
    with pytest.raises(RunError, match="can't be written"):
        list(follow(cell))


def test_memory_is_that_of_the_process_alone() -> None:
    own = peak_memory()
    if own is None or sys.platform != "linux":
        pytest.skip("this system doesn't tell")
    ballast = torch.ones(2**26)  # 256 MiB that a process begun from here never had
    program = "from gaterec.cells import peak_memory; print(peak_memory())"
    child = int(subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout)
    assert 2**23 < child < ballast.nbytes < peak_memory()  # type: ignore[operator]


@pytest.mark.parametrize("repeatable", [True, False])
def test_lists_are_timed(tmp_path: Path, repeatable: bool) -> None:
    own = settings(model="Pop", dataset=str(write_log(tmp_path / "log.csv")), repeatable=repeatable)
    prepared = prepare(own, None)
    device = torch.device("cpu")
    seconds, queries = seconds_per_1000(own, prepared, make_model(own, prepared, device), device)
    assert seconds > 0
    assert queries == len(prepared.test) == 40
