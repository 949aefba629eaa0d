"""Another process, with which one speaks: what is said arrives whole or not at all, and neither outlives the other unseen."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from gaterec.errors import RunError
from gaterec.io.processes import Child


@pytest.fixture
def child(tmp_path: Path) -> Iterator[Child]:
    child = Child("tests.support.echo", tmp_path / "logs" / "echo.log")
    yield child
    child.close()


def gone(pid: int) -> bool:
    """Whether a process ends in the next seconds."""
    for _ in range(100):
        try:
            os.kill(pid, 0)
            if "Z" in Path("/proc", str(pid), "stat").read_text().rsplit(")", 1)[1].split()[0]:
                return True
        except OSError:
            return True
        time.sleep(0.1)
    return False


def test_they_speak_in_turns_and_what_is_printed_goes_to_the_log(child: Child) -> None:
    long = "ä" * 300_000  # longer than any buffer
    for words in ("one", "two", long):
        child.send({"say": words})
        assert child.receive() == {"said": words, "pid": child.pid, "SIGINT": True}
    child.send({"say": 1})
    child.send({"say": 2})
    assert [child.receive()["said"] for _ in range(2)] == [1, 2]  # type: ignore[index]
    assert child.log.read_text() == "a word for the log\n"


@pytest.mark.parametrize(
    ("last", "told"),
    [
        ({"kill": 9}, r"^was killed \(SIGKILL\); perhaps for want of memory$"),
        ({"kill": 15}, r"^was killed \(SIGTERM\)$"),
        ({"cut": '{"said": 1'}, r"^was killed \(SIGKILL\)"),
        ({"raise": "what is this"}, r"^ValueError: what is this \(see .*echo\.log\)$"),
        ({"exit": 3}, r"^a word for the log \(see .*echo\.log\)$"),
    ],
)
def test_an_end_is_told_in_one_line(child: Child, last: dict[str, Any], told: str) -> None:
    child.send(last)
    assert child.receive() is None
    child.send({"say": "nobody hears this"})
    with pytest.raises(RunError, match=told):
        raise RunError(child.death())


def test_it_ends_when_it_is_closed_from_another_thread(child: Child) -> None:
    child.send({"sleep": 600})
    threading.Timer(0.3, child.close).start()
    assert child.receive() is None
    assert child.wait() == -signal.SIGKILL
    child.close()


def test_it_ends_with_its_parent(tmp_path: Path) -> None:
    program = (
        "import time; from pathlib import Path; from gaterec.io.processes import Child; "
        f"child = Child('tests.support.echo', Path({str(tmp_path / 'log')!r})); child.send({{'say': 1}}); print(child.receive()['pid'], flush=True); "
        "child.send({'sleep': 600}); time.sleep(600)"
    )
    root = str(Path(__file__).parents[2])
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([root, os.environ.get("PYTHONPATH", "")])}
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True, env=environment) as parent:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        parent.kill()
    assert gone(pid)


def test_a_log_that_can_not_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(RunError, match="can't be written"):
        Child("tests.support.echo", tmp_path / "file" / "log")
