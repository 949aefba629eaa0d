"""The command line in processes that are forked from one which has imported it: each is real and can be killed, and starts at once."""

import json
import os
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from tests.support.commands import LIGHT, CommandResult

PARENT = f"""{LIGHT}
import json, os, resource, sys
import torch._dynamo  # as the first optimizer does
import gaterec.experiments.run
from gaterec.cli.app import main
for line in sys.stdin:
    request = json.loads(line)
    if pid := request.get("pid"):
        done, status = os.waitpid(pid, request["options"])
        print(os.waitstatus_to_exitcode(status) if done else None, flush=True)
    elif pid := os.fork():
        print(pid, flush=True)
    else:
        for stream, path in enumerate(request["files"], start=1):
            os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT), stream)
        if limit := request["limit"]:
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
        code = 0
        try:
            sys.argv = ["gaterec", *request["arguments"]]
            main()
        except SystemExit as end:
            code = end.code or 0
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
"""


class Fork:
    """`gaterec ARGUMENTS` as a process of its own."""

    def __init__(self, parent: "Forks", arguments: tuple[object, ...], limit: int) -> None:
        self._folder = TemporaryDirectory()
        self._files = [Path(self._folder.name) / name for name in ("out", "err")]
        self._parent = parent
        files = [str(file) for file in self._files]
        self._pid = parent.ask(arguments=[str(one) for one in arguments], files=files, limit=limit)
        self._code: int | None = None

    def poll(self, options: int = os.WNOHANG) -> int | None:
        """How it ended; None while it runs."""
        if self._code is None:
            self._code = self._parent.ask(pid=self._pid, options=options)
        return self._code

    def kill(self) -> None:
        if self.poll() is None:
            os.kill(self._pid, 9)

    def result(self) -> CommandResult:
        """What it left, once it has ended."""
        code = self.poll(0)
        assert code is not None
        out, err = (file.read_text(encoding="utf-8") for file in self._files)
        self._folder.cleanup()
        return CommandResult(code, out, err)


class Forks:
    """The process that others are forked from."""

    def __init__(self) -> None:
        environment = os.environ | {"OMP_NUM_THREADS": "1"}
        self._process = subprocess.Popen(
            [sys.executable, "-c", PARENT], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
        )

    def ask(self, **request: Any) -> Any:
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        return json.loads(self._process.stdout.readline().replace("None", "null"))

    def start(self, *arguments: object, limit: int = 0) -> Fork:
        """A process of its own, whose files may grow to so many bytes at most."""
        return Fork(self, arguments, limit)

    def run(self, *arguments: object, limit: int = 0) -> CommandResult:
        return self.start(*arguments, limit=limit).result()

    def close(self) -> None:
        self._process.communicate()
