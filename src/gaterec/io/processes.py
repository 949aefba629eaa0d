"""Another Python process of gaterec, with which one speaks in lines of JSON: its memory is its own, and so is its crash.

It ends when the process that began it is gone, in whatever way, which it sees by its standard input. What it prints goes to a log file.
"""

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from queue import SimpleQueue
from typing import Any

from gaterec.errors import RunError

_START = "import json, sys; sys.path[:] = json.loads(sys.argv[1]); from MODULE import main; main()"
"""What the process runs; a module's `main` opens with `Parent()`."""


# -- the parent's side -----------------------------------------------------------------------------------------------------------------


class Child:
    """A process that runs `main` of a module.

    Args:
        module: "gaterec.experiments.compare.run_process", say.
        log: the file for all that it prints.
        environment: variables to set for it.

    Raises:
        RunError: the log can't be written.
    """

    def __init__(self, module: str, log: Path, environment: Mapping[str, str] | None = None) -> None:
        # The log is named too, so that who looks at the list of processes sees which is which.
        command = [sys.executable, "-c", _START.replace("MODULE", module), json.dumps(sys.path), str(log)]
        self.log = log
        try:
            log.parent.mkdir(parents=True, exist_ok=True)
            with log.open("wb") as out:
                self._process = subprocess.Popen(  # noqa: S603 (it is gaterec itself)
                    command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=out, env=os.environ | dict(environment or {})
                )
        except OSError as problem:
            raise RunError(f"{log}: can't be written: {problem.strerror}") from None

    @property
    def pid(self) -> int:
        """Its number."""
        return self._process.pid

    def send(self, message: Mapping[str, Any]) -> None:
        """Say something to it; nothing happens when it is gone."""
        assert self._process.stdin is not None
        with suppress(OSError, ValueError):
            self._process.stdin.write(json.dumps(message).encode() + b"\n")
            self._process.stdin.flush()

    def receive(self) -> dict[str, Any] | None:
        """The next that it says, waited for; None when it has ended, or was killed in the middle of a word."""
        assert self._process.stdout is not None
        try:
            line = self._process.stdout.readline()
        except ValueError:  # closed from another thread
            return None
        return dict(json.loads(line)) if line.endswith(b"\n") else None

    def wait(self) -> int:
        """Wait for its end; below 0 it is the signal that killed it."""
        return self._process.wait()

    def close(self) -> None:
        """End it, whatever it does; may be called twice, and from another thread than the one that waits for it."""
        self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            with suppress(OSError, ValueError):
                assert pipe is not None
                pipe.close()

    def death(self) -> str:
        """Why it ended, when it could not say so itself."""
        code = self.wait()
        if code < 0:
            import signal

            name = signal.Signals(-code).name if -code in list(signal.Signals) else f"signal {-code}"
            return f"was killed ({name})" + ("; perhaps for want of memory" if name == "SIGKILL" else "")
        with suppress(OSError):
            lines = self.log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
            return f"{lines[-1] if lines else f'exit code {code}'} (see {self.log})"
        return f"exit code {code}"


# -- the child's side ------------------------------------------------------------------------------------------------------------------


class Parent:
    """The process that began this one. To be made once, before anything is printed: what is printed goes to the log from then on."""

    def __init__(self) -> None:
        import signal
        import threading

        signal.signal(signal.SIGINT, signal.SIG_IGN)  # whoever presses Ctrl+C means the parent, which ends its child
        self._messages = os.fdopen(os.dup(1), "w", encoding="utf-8")
        os.dup2(2, 1)
        self._requests: SimpleQueue[dict[str, Any]] = SimpleQueue()
        threading.Thread(target=self._listen, daemon=True).start()

    def _listen(self) -> None:
        rest = b""
        while block := os.read(0, 2**16):  # sys.stdin has a lock, on which Python's own end would fail
            *lines, rest = (rest + block).split(b"\n")
            for line in lines:
                self._requests.put(json.loads(line))
        os._exit(1)  # the other end is closed: the parent is gone

    def tell(self, message: Mapping[str, Any]) -> None:
        """Say something to it."""
        self._messages.write(json.dumps(message) + "\n")
        self._messages.flush()

    def asks(self) -> Iterator[dict[str, Any]]:
        """What it says, one after the other, without end: this process ends when there is nobody to say more."""
        while True:
            yield self._requests.get()
