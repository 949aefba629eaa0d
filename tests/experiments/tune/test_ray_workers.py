"""Workers on Ray: a cluster of several machines (all of them this one), a machine lost, a cluster begun here, what is told when there is none."""

import os
import signal
import socket
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

import polars as pl
import pytest

import gaterec as package
from gaterec.data.prepared import prepare_log, write_prepared
from gaterec.errors import RunError, SettingsError
from gaterec.experiments.tune import ray_workers
from gaterec.experiments.tune.ray_workers import Cluster, RayWorker, RemoteTrialRunner
from gaterec.experiments.tune.workers import TrialFailedError, TrialRunner, WorkerLostError
from tests.support.commands import LIGHT, CommandResult, gaterec, start, write_log
from tests.support.histories import settings
from tests.support.workers import messages, task

pytest.importorskip("ray")
pytestmark = [pytest.mark.ray, pytest.mark.skipif(sys.platform != "linux", reason="looks for processes in /proc")]

SPACE = "learning_rate choice [0.01,0.003]\npooling_type choice [average,max]\n"
LONG = ("--epochs=100", "--stopping_step=100", "--embedding_size=4", "--MAX_ITEM_LIST_LENGTH=5", "--seeds=0")
"""Trials long enough to lose a machine in the middle of one."""
QUICK = f"{LIGHT}from gaterec.cli.app import main; main()"
HEARS = f"import signal; signal.signal(signal.SIGINT, signal.default_int_handler); {QUICK}"
"""The processes that run tests side by side ignore SIGINT, and what they begin would too."""


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    """For all that Ray and its workers write; its path is short, as those of sockets have to be."""
    with tempfile.TemporaryDirectory(prefix="ray-") as made, patch.dict(os.environ, {"RAY_TMPDIR": made, "TMPDIR": made}):
        yield Path(made)


@pytest.fixture(scope="module")
def machines(folder: Path) -> Iterator[Any]:
    """A cluster whose head trains nothing, and a machine with one core."""
    from ray.cluster_utils import Cluster as Machines

    soon = {"RAY_health_check_period_ms": "300", "RAY_health_check_timeout_ms": "1000", "RAY_health_check_failure_threshold": "3"}
    with patch.dict(os.environ, ray_workers.HERE | soon):
        cluster = Machines(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
        cluster.add_node(num_cpus=1)
    yield cluster
    cluster.shutdown()  # type: ignore[no-untyped-call]


@pytest.fixture(scope="module")
def search(tmp_path_factory: pytest.TempPathFactory) -> tuple[object, ...]:
    """The command of a search, but for where and how."""
    place = tmp_path_factory.mktemp("search")
    (place / "space").write_text(SPACE)
    return ("tune", f"--params_file={place / 'space'}", "-d", write_log(place / "log.csv", people=60), *LONG)


@pytest.fixture(scope="module")
def figures(search: tuple[object, ...], tmp_path_factory: pytest.TempPathFactory) -> pl.DataFrame:
    """What the search finds with a worker in a process of this machine."""
    out = tmp_path_factory.mktemp("here")
    found = here(search, out)
    assert found.code == 0, found.err
    return trials(out)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("data")
    own = settings(dataset=str(write_log(place / "log.csv")))
    write_prepared(prepare_log(own.dataset, own), own, place / "data")
    return place / "data"


def here(search: tuple[object, ...], out: Path) -> CommandResult:
    """The search with a worker in a process of this machine."""
    with patch("gaterec.io.html._chart_library", return_value=""):
        return gaterec(*search, f"--out={out}")


def trials(out: Path) -> pl.DataFrame:
    """All that two searches with the same settings have in common, wherever they ran."""
    return pl.read_parquet(out / "trials.parquet").drop("seconds", "worker")


def until(reached: Callable[[], Any], seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not reached():
        assert time.monotonic() < end
        time.sleep(0.01)


def begun(out: Path) -> int:
    """How many trials have a state of their training."""
    return len({state.parent for state in (out / "trials").glob("*/epoch-*")})


def processes(folder: Path) -> list[int]:
    """Those of Ray that know its folder."""
    found = []
    for place in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if str(folder).encode() in place.read_bytes():
                found.append(int(place.parent.name))
        except OSError:
            continue
    return found


def children(pid: int) -> list[int]:
    return [int(child) for file in Path(f"/proc/{pid}/task").glob("*/children") for child in file.read_text().split()]


# -- on a cluster ----------------------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_machine_is_lost_and_no_trial_with_it(machines: Any, search: tuple[object, ...], figures: pl.DataFrame, tmp_path: Path) -> None:
    victim = machines.add_node(num_cpus=1)
    process = start(*search, "--tool=Ray", f"--ray_address={machines.address}", f"--out={tmp_path}", program=QUICK)
    until(lambda: begun(tmp_path) == 2)  # so one is on the victim
    raylet = victim.all_processes["raylet"][0].process.pid
    for pid in [raylet, *children(raylet)]:
        os.kill(pid, signal.SIGKILL)
    _, err = process.communicate(timeout=100)
    assert process.returncode == 0, err
    (note,) = err.splitlines()  # and nothing of Ray's own
    assert "its worker was lost (" in note
    assert note.endswith("; it is run again")
    assert trials(tmp_path).equals(figures)
    assert figures["state"].to_list() == ["done"] * 4
    machines.remove_node(victim, allow_graceful=False)


@pytest.mark.slow
def test_a_machine_that_does_not_see_the_data_gets_it(machines: Any, data: Path, folder: Path) -> None:
    here = TrialRunner()
    expected = messages(here, task(data))[-1]["done"]["valid"]
    here.answer({"go": False})
    with closing(Cluster(machines.address, data, 1, 0)) as cluster:
        assert cluster.room == 1
        cluster._about["data"] = "/hidden"
        there = cluster.hire(0)
        there.answer(task(data))
        (copy,) = folder.glob("gaterec-*")
        assert sorted(file.name for file in (copy / "data").iterdir()) == sorted(file.name for file in data.iterdir())
        assert list((copy / "states").glob("epoch-*"))
        assert not list((data.parent / "trials").iterdir())
        assert there.answer({"go": False}) == {"ended": True}
        assert not (copy / "states").exists()
        assert messages(there, task(data))[-1]["done"]["valid"] == expected

        with pytest.raises(TrialFailedError, match=r"^KeyError: 'go' \(.*, process \d+\)$"):
            there.answer({"nonsense": 1})
        there.close()
        there.close()
        with pytest.raises(WorkerLostError, match="was lost"):
            there.answer({"go": False})


@pytest.mark.slow
def test_another_gaterec_on_a_machine_is_told(machines: Any, data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    there = package.__version__
    monkeypatch.setattr("gaterec.experiments.tune.ray_workers.__version__", "9.9")
    words = rf"^tool: a worker .* can't begin: .*gaterec {there} is installed here, and 9\.9 where the search is led; install the same$"
    with closing(Cluster(machines.address, data, 1, 0)) as cluster, pytest.raises(RunError, match=words):
        cluster.hire(0).answer(task(data))


@pytest.mark.slow
@pytest.mark.parametrize(("cpus", "gpus", "words"), [(1000, 0, "1000 cores and 0 GPUs"), (1, 0.5, "1 cores and 0.5 GPUs")])
def test_a_machine_that_the_cluster_does_not_have(machines: Any, data: Path, cpus: float, gpus: float, words: str) -> None:
    with pytest.raises(
        SettingsError, match=rf"^cpus_per_trial, gpus_per_trial: no machine has {words} for a trial; found .*1 cores and 0 GPUs"
    ):
        Cluster(machines.address, data, cpus, gpus)


# -- begun here ------------------------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_what_is_begun_here_ends_with_the_search(search: tuple[object, ...], figures: pl.DataFrame, tmp_path: Path) -> None:
    """By Ctrl+C, which all processes of the terminal hear; then the search goes on without Ray. RAY_ADDRESS is not meant."""
    with tempfile.TemporaryDirectory(prefix="ray-") as made, patch.dict(os.environ, {"RAY_TMPDIR": made, "RAY_ADDRESS": "127.0.0.1:1"}):
        process = start(*search, "--tool=Ray", "--workers=1", f"--out={tmp_path}", program=HEARS, start_new_session=True)
        until(lambda: begun(tmp_path))
        assert processes(Path(made))
        os.killpg(process.pid, signal.SIGINT)
        _, err = process.communicate(timeout=60)
        assert (process.returncode, err) == (130, "gaterec: stopped; the same command goes on from there\n")
        until(lambda: not processes(Path(made)))
    found = here(search, tmp_path)
    assert (found.code, found.err) == (0, "")
    assert trials(tmp_path).equals(figures)


# -- without Ray -----------------------------------------------------------------------------------------------------------------------


def test_ray_is_not_installed(search: tuple[object, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    found = gaterec(*search, "--tool=ray", f"--out={tmp_path}")
    assert (found.code, found.err) == (2, "gaterec: tool: Ray is not installed; pip install 'gaterec[ray]', or leave --tool out\n")


def test_an_address_where_there_is_nobody(data: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"127.0.0.1:{server.getsockname()[1]}"
    with pytest.raises(RunError, match=rf"^ray_address: {address}: there is no Ray cluster that can be reached: .*refused"):
        Cluster(address, data, 1, 0)


@pytest.mark.parametrize("address", ["somewhere", "host:", ":6379", "ray://host:10001", "host:port"])
def test_what_is_no_address(data: Path, address: str) -> None:
    with pytest.raises(SettingsError, match=f"^ray_address: expected HOST:PORT, or auto, found {address}$"):
        Cluster(address, data, 1, 0)


class FakeRay(SimpleNamespace):
    """A cluster of machines that are only told of."""

    def __init__(self, *machines: tuple[bool, dict[str, float]], problem: Exception | None = None) -> None:
        super().__init__(machines=machines, problem=problem, begun={}, environment={}, ended=False, put=lambda content: content)

    def init(self, **how: Any) -> None:
        self.begun, self.environment = how, dict(os.environ)
        if self.problem is not None:
            raise self.problem

    def nodes(self) -> list[dict[str, Any]]:
        return [{"Alive": alive, "Resources": resources} for alive, resources in self.machines]

    def shutdown(self) -> None:
        self.ended = True


@pytest.mark.parametrize(
    ("cpus", "gpus", "room"), [(1, 0, 14), (4, 0, 3), (0.1, 0, 140), (1, 1, 3), (1, 0.5, 6), (1, 0.1, 12), (5, 0.5, 1), (1, 2, 1)]
)
def test_how_many_workers_fit(data: Path, monkeypatch: pytest.MonkeyPatch, cpus: float, gpus: float, room: int) -> None:
    fake = FakeRay(
        (True, {"CPU": 8.0, "GPU": 1.0}), (True, {"CPU": 4.0, "GPU": 2.0}), (True, {"CPU": 2.0}), (False, {"CPU": 99.0}), (True, {})
    )
    monkeypatch.setitem(sys.modules, "ray", fake)
    before = dict(os.environ)
    cluster = Cluster(None, data, cpus, gpus)
    assert cluster.room == room
    assert cluster._options == {"num_cpus": cpus, "num_gpus": gpus, "max_restarts": 0}
    assert fake.begun["address"] == "local"
    assert fake.environment["RAY_USAGE_STATS_ENABLED"] == "0"
    assert fake.environment["PYTHONPATH"].split(os.pathsep) == [path for path in sys.path if path]
    assert dict(os.environ) == before
    cluster.close()
    assert fake.ended


def test_what_ray_says_is_told_in_one_line(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", FakeRay(problem=RuntimeError("Version mismatch:\n    Ray: 1.0")))
    with pytest.raises(RunError, match=r"^ray_address: auto: there is no Ray cluster that can be used: Version mismatch: Ray: 1\.0$"):
        Cluster("auto", data, 1, 0)
    with pytest.raises(RunError, match=r"^Ray can't be begun here: Version mismatch: Ray: 1\.0$"):
        Cluster(None, data, 1, 0)


class LostError(Exception):
    """As Ray raises it."""

    actor_init_failed = False


@pytest.mark.parametrize("closed", [False, True])
def test_a_worker_that_is_sent_to_a_lost_machine_is_hired_again(monkeypatch: pytest.MonkeyPatch, closed: bool) -> None:
    """But neither for ever nor when the search is over."""
    monkeypatch.setattr(time, "sleep", lambda seconds: None)
    hired: list[Any] = []
    good = [3]

    def get(answer: Any) -> Any:
        if len(hired) < good[0]:
            raise LostError
        return answer

    def hire() -> Any:
        hired.append(SimpleNamespace(where=SimpleNamespace(remote=lambda: "m"), answer=SimpleNamespace(remote=lambda request: request)))
        return hired[-1]

    errors = SimpleNamespace(RayActorError=LostError, RayTaskError=LostError)
    ray = SimpleNamespace(get=get, exceptions=errors, kill=lambda actor: None)
    worker = RayWorker(ray, hire)
    if closed:
        worker.close()
        with pytest.raises(WorkerLostError):
            worker.answer({"go": True})
        assert len(hired) == 1
    else:
        assert worker.answer({"go": True}) == {"go": True}
        assert (worker.name, len(hired)) == ("m", 3)
        hired.clear()
        good[0] = 99
        with pytest.raises(WorkerLostError):
            RayWorker(ray, hire).answer({"go": True})
        assert len(hired) == ray_workers.BEGINNINGS


@pytest.mark.parametrize(("asked", "gpu"), [(True, True), (True, False), (False, True)])
def test_a_trial_has_a_gpu_where_it_is_given_one(data: Path, monkeypatch: pytest.MonkeyPatch, asked: bool, gpu: bool) -> None:
    monkeypatch.setattr(TrialRunner, "answer", lambda self, request: request)
    files = {file.name: file.read_bytes() for file in data.iterdir()}
    workshop = RemoteTrialRunner(files, str(data), 1, gpu, package.__version__)
    begin = workshop.answer(task(data, use_gpu=asked, gpu_id="3"))["begin"]
    assert (begin["settings"]["use_gpu"], begin["settings"]["gpu_id"]) == (asked and gpu, "0")
    assert (begin["settings"]["dataset"], begin["states"]) == (str(data), str(data.parent / "trials" / "0"))
    assert workshop.answer({"go": True}) == {"go": True}
