"""Killed at any moment, or stopped by a full disk: a resumed run ends with the same bits as one that was never stopped.

The processes are real and so is SIGKILL. Their log is tiny, and they are forked from one that has imported PyTorch.
"""

import json
import os
import random
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.support.commands import CommandResult, gaterec_alone, write_log
from tests.support.forks import Forks

pytestmark = pytest.mark.slow

SETTINGS = ("--epochs=100", "--stopping_step=100", "--embedding_size=4", "--MAX_ITEM_LIST_LENGTH=5", "--dropout=0.2", "--loss_type=BPR")
MOMENTS = 20
KILLS = (3, 3, 3, 3, 2, 2, 2, 2)
"""How often each of eight runs is killed, before it may end."""


@dataclass(frozen=True)
class World:
    """A log, the run on it that was never stopped, and how long that took."""

    log: Path
    whole: Path
    seconds: float
    forks: Forks

    def command(self, saved: Path, *more: str) -> list[object]:
        return ["run", "-d", self.log, f"--checkpoint_dir={saved}", *SETTINGS, *more]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    folder = tmp_path_factory.mktemp("world")
    log = write_log(folder / "tiny.csv", people=60)
    with closing(Forks()) as forks:
        found = forks.run(*World(log, folder, 0, forks).command(folder / "first"))  # waits for the imports too
        assert found.code == 0, found.err
        begin = time.monotonic()
        forks.run(*World(log, folder, 0, forks).command(folder / "whole"))
        yield World(log, only_run(folder / "whole"), time.monotonic() - begin, forks)


def only_run(saved: Path) -> Path:
    """The one run in a folder, which must be all that is to be seen there."""
    (folder,) = (path for path in saved.iterdir() if not path.name.startswith("."))
    return folder


def figures(run: Path) -> list[Any]:
    """All that a run measured, but for the times."""
    info = json.loads((run / "run.json").read_text())
    epochs = [(epoch["epoch"], epoch["loss"], epoch["valid"]) for epoch in info["epochs"]]
    return [info[name] for name in ("best_epoch", "best_valid_score", "valid", "test", "baselines", "data")] + epochs


def assert_same(run: Path, whole: Path) -> None:
    assert run.name == whole.name
    assert {file.name for file in run.iterdir()} == {file.name for file in whole.iterdir()}
    for name in ("weights.safetensors", "ranks.parquet", "users.parquet", "items.parquet"):
        assert (run / name).read_bytes() == (whole / name).read_bytes(), name
    assert figures(run) == figures(whole)


def assert_resumes(world: World, saved: Path) -> CommandResult:
    leftovers = [path for path in saved.glob(".*.part") if path.is_dir()]
    found = world.forks.run(*world.command(saved, "--resume"))
    assert (found.code, found.err) == (0, "".join(f"note: {path}: was left by a process that was stopped; removed\n" for path in leftovers))
    assert_same(only_run(saved), world.whole)
    return found


def states(saved: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in saved.glob("*.training/epoch-*.safetensors")}


def kill_when(world: World, saved: Path, reached: Callable[[], object], *more: str) -> bool:
    """Start a run and kill it as soon as `reached` says so; False when it ended before that."""
    process = world.forks.start(*world.command(saved, *more))
    while process.poll() is None and not reached():
        time.sleep(0.0005)
    process.kill()
    return process.result().code == -signal.SIGKILL


# -- killed -----------------------------------------------------------------------------------------------------------------------


def moments() -> list[list[float]]:
    """20 moments, as shares of a whole run: evenly spread, each at random in its twentieth; by run, late ones first.

    A run that was killed late has less to do when it is resumed, so its second end comes earlier.
    """
    dice = random.Random(20)
    spread = [(number + dice.random()) / MOMENTS for number in range(MOMENTS)]
    dice.shuffle(spread)
    ends = [sum(KILLS[: number + 1]) for number in range(len(KILLS))]
    return [sorted(spread[end - kills : end], reverse=True) for end, kills in zip(ends, KILLS, strict=True)]


def test_there_are_twenty_moments() -> None:
    spread = sorted(moment for shares in moments() for moment in shares)
    assert [int(moment * MOMENTS) for moment in spread] == list(range(MOMENTS))


@pytest.mark.parametrize("shares", moments(), ids=lambda shares: "-".join(f"{share:.2f}" for share in shares))
def test_killed_at_random_moments(world: World, tmp_path: Path, shares: list[float]) -> None:
    for number, share in enumerate(shares):
        end = time.monotonic() + share * world.seconds
        kill_when(world, tmp_path, lambda end=end: time.monotonic() >= end, *(["--resume"] if number else []))  # type: ignore[misc]
    assert_resumes(world, tmp_path)


@pytest.mark.parametrize(
    "pattern",
    [
        "*.training/.*.part",  # while the first state is written
        "*.training/epoch-00000[1-9]*.safetensors",  # once there is one of epoch 10 or later
        ".*.part/run.json",  # while the run's folder is filled
        "HGN-*[!g]/report.html",  # when it is in place, and the states may still be there
    ],
)
def test_killed_while_writing(world: World, tmp_path: Path, pattern: str) -> None:
    saved = tmp_path / "saved"
    saved.mkdir()
    kill_when(world, saved, lambda: next(saved.glob(pattern), None))
    saved_before = states(saved)
    finished = bool(list(saved.glob("HGN-*[!g]")))
    out = assert_resumes(world, saved).out
    assert not states(saved), "a finished run needs no states"
    last = max((int(name[6:13]) for name in saved_before), default=0)
    assert (f"Going on after epoch {last}\n" in out) == (last > 0 and not finished)


def test_without_resume_a_killed_run_begins_anew(world: World, tmp_path: Path) -> None:
    assert kill_when(world, tmp_path, lambda: next(tmp_path.glob("*.training/epoch-*"), None))
    found = world.forks.run(*world.command(tmp_path))
    assert found.code == 0
    assert "Going on after epoch" not in found.out
    assert_same(only_run(tmp_path), world.whole)


def test_a_corrupt_state_is_told_and_the_one_before_it_used(world: World, tmp_path: Path) -> None:
    assert kill_when(world, tmp_path, lambda: len(list(tmp_path.glob("*.training/epoch-*.safetensors"))) == 2)
    *_, last = sorted(tmp_path.glob("*.training/epoch-*.safetensors"))
    content = bytearray(last.read_bytes())
    content[-5] ^= 1
    last.write_bytes(content)
    found = world.forks.run(*world.command(tmp_path, "--resume"))
    assert found.code == 0
    assert (
        found.err == f"note: {last}: is corrupt: its content does not match the digest that was written with it; using the one before it\n"
    )
    assert "Going on after epoch" in found.out
    assert_same(only_run(tmp_path), world.whole)


# -- a full disk ------------------------------------------------------------------------------------------------------------------


def assert_one_clear_line(found: CommandResult, where: str, reason: str) -> None:
    assert found.code == 2
    assert found.err.startswith("gaterec: ")
    assert found.err.count("\n") == 1
    assert where in found.err
    assert found.err.endswith(f": {reason}\n")
    assert ".part" not in found.err


def test_files_may_not_grow(world: World, tmp_path: Path) -> None:
    assert kill_when(world, tmp_path, lambda: next(tmp_path.glob("*.training/epoch-00000[1-9]*"), None))
    before = states(tmp_path)
    found = world.forks.run(*world.command(tmp_path, "--resume"), limit=4_000)
    assert_one_clear_line(found, f"{world.whole.name}.training/epoch-", "File too large")
    assert states(tmp_path) == before != {}
    assert not list(tmp_path.rglob("*.part")), "nothing half done is left behind"
    assert_resumes(world, tmp_path)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Callable[[str], Path]]:
    """A disk of a given size; the same again with another size."""
    place = tmp_path / "disk"
    place.mkdir()
    mounted = False

    def mount(size: str) -> Path:
        nonlocal mounted
        if os.geteuid() != 0 or shutil.which("mount") is None:
            pytest.skip("needs to be root to mount a small disk")
        options = f"size={size}" + (",remount" if mounted else "")
        if subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", place], capture_output=True).returncode:
            pytest.skip("needs to be allowed to mount a small disk")
        mounted = True
        return place

    yield mount
    if mounted:
        subprocess.run(["umount", "-l", place], check=True)


@pytest.mark.parametrize("size", ["16k", "600k"], ids=["state", "folder"])
def test_a_full_disk(world: World, small_disk: Callable[[str], Path], size: str) -> None:
    saved = small_disk(size)
    found = gaterec_alone(*world.command(saved))
    assert_one_clear_line(found, str(saved / world.whole.name), "No space left on device")
    assert not list(saved.glob("HGN-*[!g]/run.json"))
    small_disk("16m")
    assert_resumes(world, saved)
