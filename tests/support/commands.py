"""The command line as a test uses it: inside this process, which is quick, or as a process of its own, which can be killed."""

import io
import os
import random
import subprocess
import sys
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any, NamedTuple
from unittest.mock import patch

from gaterec.cli.app import main

TINY = ("--epochs=2", "--embedding_size=4", "--MAX_ITEM_LIST_LENGTH=5")
"""Settings with which a run takes no time."""

LIGHT = "import gaterec.io.html; gaterec.io.html._chart_library = lambda: ''; "
"""Python that leaves the JavaScript of the charts out of pages: bundling it takes a process longer than the rest."""


class CommandResult(NamedTuple):
    """What a command left."""

    code: int
    out: str
    err: str


def gaterec(*arguments: object) -> CommandResult:
    """`gaterec ARGUMENTS` inside this process."""
    out, err = io.StringIO(), io.StringIO()
    code: Any = 0
    with patch.object(sys, "argv", ["gaterec", *map(str, arguments)]), redirect_stdout(out), redirect_stderr(err):
        try:
            main()
        except SystemExit as end:
            code = end.code
    return CommandResult(0 if code is None else code, out.getvalue(), err.getvalue())


def start(*arguments: object, program: str = "from gaterec.cli.app import main; main()", **options: Any) -> "subprocess.Popen[str]":
    """`gaterec ARGUMENTS` as a process of its own, on one core."""
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", program, *map(str, arguments)]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    return subprocess.Popen(command, text=True, env=environment, **pipes | options)


def gaterec_alone(*arguments: object, **options: Any) -> CommandResult:
    """`gaterec ARGUMENTS` as a process of its own, to its end."""
    process = start(*arguments, **options)
    out, err = process.communicate(timeout=120)
    return CommandResult(process.returncode, out, err)


def write_log(path: Path, people: int = 40, items: int = 20, seed: int = 0) -> Path:
    """A small CSV log in which each person chooses items at random, with a taste."""
    dice = random.Random(seed)
    lines = ["user_id,item_id,timestamp"]
    for person in range(people):
        taste = dice.randrange(items)
        lines += [f"u{person},i{(taste + dice.randrange(5)) % items},{1000 * person + time}" for time in range(dice.randint(4, 12))]
    path.write_text("\n".join(lines) + "\n")
    return path
