"""Workers on a Ray cluster: the same workshops as here, each an actor with its cores and its share of a GPU.

Machines of the cluster need the same gaterec and Ray. A machine that does not see the search's folder is sent the prepared log once, through Ray's
object store, and keeps states of its trainings to itself. Moritz et al., Ray: a distributed framework for emerging AI applications, OSDI 2018.
"""

import os
import socket
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from gaterec._version import __version__
from gaterec.data.prepared import ABOUT
from gaterec.errors import RunError, SettingsError
from gaterec.experiments.tune.workers import Message, TrialFailedError, TrialRunner, WorkerLostError

HERE = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0"}
"""For a cluster that is begun here: it tells nobody that it is used, and has nothing to warn of (whether a trial has a GPU, its settings say)."""
THERE = {"RAY_NUM_REDIS_GET_RETRIES": "1", "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0"}
"""For one that is there: Ray would knock for a quarter of an hour where something else answers, and gives up within a minute with this."""
PATIENCE = 5.0
"""Seconds for an address to answer at all."""
BEGINNINGS = 10
"""So many workers may be lost one after the other before they have begun, a second apart."""


class Cluster:
    """A Ray cluster that hires workers.

    Args:
        address: of one that is there, HOST:PORT or auto; None begins one here, which ends with this process.
        data: the prepared log.
        cpus, gpus: of each worker; a GPU can be parted.

    Raises:
        SettingsError: Ray is not installed, or the cluster has no such machine.
        RunError: there is no cluster at that address.
    """

    def __init__(self, address: str | None, data: Path, cpus: float, gpus: float) -> None:
        with _surroundings(HERE if address is None else THERE):
            try:
                import ray as installed
            except ImportError:
                raise SettingsError("tool: Ray is not installed; pip install 'gaterec[ray]', or leave --tool out") from None
            self._ray: Any = installed
            if address is not None:
                _check_answers(address)
            try:
                # None would mean the address in RAY_ADDRESS.
                begun: dict[str, Any] = {"address": "local", "include_dashboard": False} if address is None else {"address": address}
                self._ray.init(**begun, log_to_driver=False, logging_level="ERROR")
            except (ConnectionError, ValueError, RuntimeError, OSError) as error:
                what = "Ray can't be begun here" if address is None else f"ray_address: {address}: there is no Ray cluster that can be used"
                raise RunError(f"{what}: {' '.join(str(error).split())}") from None
        self._options = {"num_cpus": cpus, "num_gpus": gpus, "max_restarts": 0}
        machines = [node["Resources"] for node in self._ray.nodes() if node["Alive"]]
        self.room = sum(_fit(machine, cpus, gpus) for machine in machines)
        if not self.room:
            self.close()
            have = "; ".join(f"{machine.get('CPU', 0):g} cores and {machine.get('GPU', 0):g} GPUs" for machine in machines)
            raise SettingsError(
                f"cpus_per_trial, gpus_per_trial: no machine has {cpus:g} cores and {gpus:g} GPUs for a trial; found {have}"
            )
        self._files = self._ray.put({file.name: file.read_bytes() for file in data.iterdir() if file.is_file()})
        self._about = {"data": str(data), "threads": max(int(cpus), 1), "gpu": gpus > 0, "version": __version__}

    def hire(self, slot: int) -> "RayWorker":
        """A worker, wherever there is room; its first answer waits until there is."""
        actor = self._ray.remote(RemoteTrialRunner).options(**self._options)
        return RayWorker(self._ray, lambda: actor.remote(self._files, **self._about))

    def close(self) -> None:
        """Leave the cluster; one that was begun here ends."""
        self._ray.shutdown()


@contextmanager
def _surroundings(variables: dict[str, str]) -> Iterator[None]:
    """What Ray, and the workers of a cluster that is begun here, find in their environment: they import what this process imports."""
    before = dict(os.environ)
    os.environ.update(variables, PYTHONPATH=os.pathsep.join(path for path in sys.path if path))
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


def _check_answers(address: str) -> None:
    """That something answers at HOST:PORT; where auto leads to, Ray has to see."""
    if address == "auto":
        return
    host, _, port = address.rpartition(":")
    if not host or "/" in host or not port.isdecimal():
        raise SettingsError(f"ray_address: expected HOST:PORT, or auto, found {address}")
    try:
        socket.create_connection((host.strip("[]"), int(port)), PATIENCE).close()
    except (OSError, OverflowError) as error:
        raise RunError(f"ray_address: {address}: there is no Ray cluster that can be reached: {error}") from None


def _fit(machine: dict[str, float], cpus: float, gpus: float) -> int:
    """How many workers fit on a machine."""
    by_gpu = machine.get("GPU", 0) / gpus if gpus else float("inf")
    return int(min(machine.get("CPU", 0) / cpus, by_gpu) + 1e-9)


class RayWorker:
    """A workshop on a machine of the cluster (see gaterec.experiments.tune.workers.Worker)."""

    def __init__(self, ray: Any, hire: Callable[[], Any]) -> None:
        self._ray, self._hire, self._closed = ray, hire, False
        self._actor, self.name = hire(), "Ray"
        self._begun = False

    def answer(self, request: Message) -> Message:
        """See gaterec.experiments.tune.workers.Worker.answer."""
        try:
            if not self._begun:
                self._begin()
            return dict(self._ray.get(self._actor.answer.remote(request)))
        except self._ray.exceptions.RayActorError as error:  # also when its machine is gone, or when it was ended from here
            if error.actor_init_failed:  # and would on every such machine
                raise RunError(f"tool: a worker of the Ray cluster can't begin: {_last_line(error)}") from None
            raise WorkerLostError(f"was lost ({self.name})") from None
        except self._ray.exceptions.RayTaskError as error:
            raise TrialFailedError(f"{_last_line(error)} ({self.name})") from None

    def _begin(self) -> None:
        """Ray may still send workers to a machine that is gone; that is no fault of a trial, so another one is hired."""
        for left in reversed(range(BEGINNINGS)):
            try:
                self.name, self._begun = self._ray.get(self._actor.where.remote()), True
                return
            except self._ray.exceptions.RayActorError as error:
                if error.actor_init_failed or self._closed or not left:
                    raise
            time.sleep(1)
            self._actor = self._hire()
            if self._closed:  # meanwhile
                self.close()

    def close(self) -> None:
        """See gaterec.experiments.tune.workers.Worker.close."""
        self._closed = True
        self._ray.kill(self._actor)


def _last_line(error: BaseException) -> str:
    """What was raised on the other machine, of Ray's account of it."""
    return str(error).strip().splitlines()[-1].strip()


class RemoteTrialRunner(TrialRunner):
    """A workshop on another machine, perhaps without the folder of the search."""

    def __init__(self, files: dict[str, bytes], data: str, threads: int, gpu: bool, version: str) -> None:
        super().__init__()
        if __version__ != version:
            raise RunError(f"gaterec {__version__} is installed here, and {version} where the search is led; install the same")
        import torch

        torch.set_num_threads(threads)
        self._gpu, self._data, self._place = gpu, data, Path(data)
        here = self._place / ABOUT
        if not here.exists() or here.read_bytes() != files[ABOUT]:
            self._place = Path(tempfile.mkdtemp(prefix="gaterec-")) / "data"
            self._place.mkdir()
            for name, content in files.items():
                (self._place / name).write_bytes(content)

    def where(self) -> str:
        """Which machine and process this is."""
        import platform

        return f"{platform.node()}, process {os.getpid()}"

    def answer(self, request: Message) -> Message:
        """See gaterec.experiments.tune.workers.TrialRunner.answer."""
        if "begin" in request:
            task = request["begin"]
            # Ray shows a worker its own GPUs alone, so the first one is always meant.
            changes = {"dataset": str(self._place), "gpu_id": "0", "use_gpu": task["settings"]["use_gpu"] and self._gpu}
            settings = {**task["settings"], **changes}
            states = task["states"] if str(self._place) == self._data else str(self._place.parent / "states")
            request = {"begin": {**task, "settings": settings, "states": states}}
        return super().answer(request)
