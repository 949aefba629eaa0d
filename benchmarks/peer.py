"""RecBole in its own environment and process, training an epoch whenever it is asked to."""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from types import TracebackType
from typing import IO, Any

from benchmarks.harness import ROOT, Options, Skipped

PEER = ROOT / ".peer"


@cache
def peer_python() -> Path | Skipped:
    """The peer's Python: GATEREC_PEER_PYTHON, or that of .peer/, which is made when it is not there; Skipped where that fails."""
    given = os.environ.get("GATEREC_PEER_PYTHON")
    if given:
        found = Path(given).absolute()
        return found if found.is_file() else Skipped("RecBole", f"GATEREC_PEER_PYTHON: there is no {given}")
    if not (PEER / ".ready").is_file():
        print("Making the environment of RecBole in .peer/ (a few minutes, needs a network) ...", flush=True)
        made = subprocess.run(
            [ROOT / "benchmarks" / "peer.sh"],
            env={**os.environ, "PYTHON": sys.executable},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        if made.returncode:
            said = [line.strip() for line in made.stderr.splitlines() if line.strip() and not line.startswith(("WARNING", "[notice]"))]
            return Skipped("RecBole", f"benchmarks/peer.sh could not make its environment: {said[-1] if said else made.returncode}")
    return PEER / "bin" / "python"


class RecBole:
    """RecBole's HGN on a dataset, warmed up; every call trains one more epoch and answers the seconds of its training loop.

    Raises:
        RuntimeError: the peer has broken down; says with what last words.
    """

    def __init__(self, python: Path, options: Options, dataset: str, settings: Mapping[str, Any], threads: int) -> None:
        self.folder = tempfile.TemporaryDirectory(prefix="gaterec-peer-")  # RecBole writes logs wherever it stands
        self.errors = (Path(self.folder.name) / "errors").open("w+", encoding="utf-8")
        command = [str(python), str(ROOT / "benchmarks" / "recbole_peer.py"), "--wait", "--epochs=1000000", f"--threads={threads}"]
        command += [f"--data_path={options.data_path}", f"--dataset={dataset}", f"--settings={json.dumps(settings)}"]
        self.process = subprocess.Popen(
            # -I: the modules of this folder must not stand in the way of modules of the same names.
            [command[0], "-I", *command[1:]],
            cwd=self.folder.name,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.errors,
            text=True,
        )
        self.about = self._answer()

    def __call__(self) -> float:
        self._pipe(self.process.stdin).write("go\n")
        self._pipe(self.process.stdin).flush()
        return float(self._answer()["seconds"])

    def __enter__(self) -> "RecBole":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.process.kill()
        self.process.communicate()
        self.errors.close()
        self.folder.cleanup()

    def _answer(self) -> dict[str, Any]:
        """The next line of JSON; RecBole also prints lines of its own."""
        for line in self._pipe(self.process.stdout):
            if line.startswith("{"):
                return dict(json.loads(line))
        self.errors.seek(0)
        last = self.errors.read()[-2000:]
        self.__exit__(None, None, None)
        raise RuntimeError(f"RecBole broke down: {last}")

    @staticmethod
    def _pipe(pipe: IO[str] | None) -> IO[str]:
        assert pipe is not None
        return pipe
