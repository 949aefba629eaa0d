"""A PostgreSQL server of the tests' own, on a free port of the loopback interface, in a folder that vanishes."""

import os
import shutil
import signal
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def programs() -> Path | None:
    """The folder with initdb and postgres, where they are installed."""
    found = shutil.which("initdb")
    places = [Path(found).parent] if found else []
    places += sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    return next((place for place in places if (place / "initdb").exists() and (place / "postgres").exists()), None)


@contextmanager
def server() -> Iterator[str]:
    """The address of a server that is there while inside."""
    place = programs()
    assert place is not None
    folder = Path(tempfile.mkdtemp(prefix="gaterec-postgres-"))
    who = "postgres" if os.geteuid() == 0 else None  # it refuses to be root
    if who is not None:
        shutil.chown(folder, who)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    make: list[str | Path] = [place / "initdb", "-D", folder / "data", "-U", "tester", "--auth=trust", "--no-sync"]
    serve: list[str | Path] = [place / "postgres", "-D", folder / "data", "-h", "127.0.0.1", "-p", str(port), "-k", folder, "-F"]
    try:
        subprocess.run(make, user=who, cwd=folder, check=True, capture_output=True)
        with subprocess.Popen(serve, user=who, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as process:
            assert process.stderr is not None
            for line in process.stderr:
                if "ready to accept connections" in line:
                    break
            try:
                yield f"postgresql://tester:secret@127.0.0.1:{port}/postgres"
            finally:
                process.send_signal(signal.SIGINT)  # it would wait for connections that a failed test left open
                process.stderr.read()
    finally:
        shutil.rmtree(folder, ignore_errors=True)
