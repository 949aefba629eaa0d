"""`gaterec serve` as a process of its own on the loopback interface, and what is asked of it."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks.load import request
from gaterec.serve.client import Client, ServerError

COMMAND = (sys.executable, "-c", "from gaterec.cli.app import main; main()", "serve")


@dataclass(frozen=True)
class Served:
    """A server that listens.

    Attributes:
        seconds: from the start of its process until it was ready.
    """

    process: "subprocess.Popen[str]"
    port: int
    seconds: float

    @property
    def memory(self) -> float:
        """What it holds of its own, in MB (RssAnon)."""
        lines = Path(f"/proc/{self.process.pid}/status").read_text().splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith("RssAnon")) / 1000

    def client(self, timeout: float = 30.0) -> Client:
        """Calls to it."""
        return Client(f"http://127.0.0.1:{self.port}", timeout=timeout)


@contextmanager
def served(folder: Path, events: Path, *options: str) -> Iterator[Served]:
    """A server of that run while inside, at a free port."""
    begin = time.perf_counter()
    command = [*COMMAND, str(folder), "--port=0", "--watch=0", f"--events={events}", *options]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=os.environ | {"PYTHONUNBUFFERED": "1"}) as process:
        try:
            assert process.stdout is not None
            line = process.stdout.readline()
            port = int(line.partition("http://127.0.0.1:")[2].partition("/")[0])
            with Client(f"http://127.0.0.1:{port}") as client:
                _until_ready(client)
            yield Served(process, port, time.perf_counter() - begin)
        finally:
            process.kill()


def _until_ready(client: Client, seconds: float = 60.0) -> None:
    until = time.monotonic() + seconds
    while True:
        try:
            client.ready()
            return
        except ServerError:
            if time.monotonic() > until:
                raise
            time.sleep(0.002)


def recommendations(people: Sequence[str], k: int = 10) -> list[bytes]:
    """A request for each person."""
    return [request("POST", "/recommend", {"user": user, "k": k}) for user in people]
