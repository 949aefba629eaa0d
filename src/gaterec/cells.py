"""One cell of a comparison, an entry with a seed: a run in a process of its own, so that its memory is its own and so is its crash.

The parent gives the settings as JSON and reads one JSON line per epoch. The child ends when its parent is gone, which it sees by its standard input.
What the run prints goes to a log file beside its folder.
"""

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gaterec.errors import GaterecError, RunError, out_of_memory
from gaterec.settings import Settings

SERVED = 10_000
"""How many queries are timed, at most."""
MEASURED = "cell.json"
"""What was measured beside the run, a file in the run's folder."""

_START = "import json, sys; sys.path[:] = json.loads(sys.argv[1]); from gaterec.cells import main; main()"


@dataclass(frozen=True)
class Cell:
    """An entry with a seed.

    Attributes:
        label: the entry's.
        settings: the run's, seed included.
        folder: where the run's folder is, or will be.
    """

    label: str
    settings: Settings
    folder: Path

    @property
    def finished(self) -> bool:
        """Whether the run's folder is there and was measured."""
        return (self.folder / MEASURED).is_file()

    @property
    def log(self) -> Path:
        """What the run printed."""
        return self.folder.with_name(f"{self.folder.name}.log")


# -- the parent's side -----------------------------------------------------------------------------------------------------------------


def follow(cell: Cell) -> Iterator[dict[str, Any]]:
    """Run a cell in a process of its own, yielding every epoch (see gaterec.train.Course.epochs); a half-trained one goes on.

    Raises:
        RunError: the run failed; one line says why.
    """
    task = json.dumps({"settings": cell.settings.as_dict(), "folder": str(cell.folder)})
    command = [sys.executable, "-c", _START, json.dumps(sys.path), task]
    error: str | None = None
    try:
        cell.log.parent.mkdir(parents=True, exist_ok=True)
        with cell.log.open("wb") as log:
            process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log)  # noqa: S603 (it is gaterec itself)
    except OSError as problem:
        raise RunError(f"{cell.log}: can't be written: {problem.strerror}") from None
    with process:
        try:
            assert process.stdout is not None
            for line in process.stdout:
                if not line.endswith(b"\n"):  # it was killed in the middle of a word
                    break
                message = json.loads(line)
                if "error" in message:
                    error = message["error"]
                else:
                    yield message
            process.wait()  # before its standard input is closed, which would end it
        except BaseException:
            process.kill()
            raise
    if process.returncode or error is not None or not cell.finished:
        raise RunError(error or _death(process.returncode, cell.log))


def _death(code: int, log: Path) -> str:
    """Why a process ended that could not say so itself."""
    if code < 0:
        import signal

        name = signal.Signals(-code).name if -code in list(signal.Signals) else f"signal {-code}"
        return f"was killed ({name})" + ("; perhaps for want of memory" if name == "SIGKILL" else "")
    with suppress(OSError):
        lines = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
        return f"{lines[-1] if lines else f'exit code {code}'} (see {log})"
    return f"exit code {code}"


# -- the child's side ------------------------------------------------------------------------------------------------------------------


def main() -> None:
    """Run the cell that the command line describes."""
    import signal
    import threading

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # whoever presses Ctrl+C means the parent, which ends its child
    messages = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    threading.Thread(target=_end_with_the_parent, daemon=True).start()

    def tell(message: Mapping[str, Any]) -> None:
        messages.write(json.dumps(message) + "\n")
        messages.flush()

    try:
        _run(**json.loads(sys.argv[2]), tell=tell)
    except GaterecError as error:
        tell({"error": str(error)})
    except (MemoryError, RuntimeError) as error:
        if (words := out_of_memory(error)) is None:
            raise
        tell({"error": words})


def _end_with_the_parent() -> None:
    os.read(0, 1)  # nothing is ever written, so this returns when the other end is closed
    os._exit(1)


def _run(settings: dict[str, Any], folder: str, tell: Callable[[Mapping[str, Any]], None]) -> None:
    """The run, then what is measured beside it."""
    from gaterec.checkpoint import load_run
    from gaterec.files import write_whole
    from gaterec.prepare import prepare
    from gaterec.run import run
    from gaterec.train import pick_device

    finished = Path(folder).exists()
    result = run(config_dict=settings, resume=True, on_epoch=tell)
    if (result["folder"] / MEASURED).exists():
        return
    memory = None if finished else peak_memory()
    loaded = load_run(result["folder"])
    device = pick_device(loaded.settings)
    seconds, queries = seconds_per_1000(loaded.settings, prepare(loaded.settings, None), loaded.model.to(device), device)
    measured = {
        "seconds_per_1000": seconds,
        "queries": queries,
        "parameters": sum(parameter.numel() for parameter in loaded.model.parameters()),
        "peak_memory": memory,
    }
    write_whole(result["folder"] / MEASURED, lambda part: part.write_text(json.dumps(measured) + "\n", encoding="utf-8"))


def peak_memory() -> int | None:
    """The most memory that this process ever had, in bytes; None where the system doesn't tell."""
    with suppress(OSError):  # on Linux getrusage counts what the parent had when it began this process
        found = re.search(r"^VmHWM:\s*(\d+) kB$", Path("/proc/self/status").read_text(encoding="ascii", errors="replace"), re.MULTILINE)
        if found is not None:
            return int(found[1]) * 1024
    try:
        import resource
    except ImportError:
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def seconds_per_1000(settings: Settings, prepared: Any, model: Any, device: Any) -> tuple[float, int]:
    """Seconds for 1,000 lists of ten, from history to list, and how many were made; items seen before are treated as the protocol says."""
    import numpy as np
    import torch

    from gaterec.data.split import Cases, seen_pairs
    from gaterec.kernels.ranking import SCORES_AT_A_TIME
    from gaterec.kernels.topk import top_items
    from gaterec.prepare import scorer_for

    interactions, cases, size = prepared.interactions, prepared.test, len(prepared.interactions.items)
    score, number = scorer_for(model, settings, prepared, device), min(len(cases), SERVED)
    lot = torch.randperm(size, generator=torch.Generator().manual_seed(settings.seed)).to(device)
    step = max(min(settings.eval_batch_size, SCORES_AT_A_TIME // size), 1)
    nobody = np.empty(0, dtype=np.int64)

    def recommend(begin: int, end: int) -> None:
        user, position = cases.user[begin:end], cases.position[begin:end]
        scores = score(user, position)  # (C, V)
        if not settings.repeatable:
            seen = seen_pairs(interactions, Cases(user, position, nobody, nobody, 0))
            scores.view(-1).index_fill_(0, torch.from_numpy(seen).to(device), -torch.inf)
        top_items(scores, min(10, size - 1), lot, torch.arange(begin, end, device=device)).cpu()

    with torch.inference_mode():
        recommend(0, min(step, number))  # warms up
        start = time.perf_counter()
        for begin in range(0, number, step):
            recommend(begin, min(begin + step, number))
        return (time.perf_counter() - start) / number * 1000, number
