"""One cell of a comparison, an entry with a seed: a run in a process of its own, so that its memory is its own and so is its crash.

The parent gives the settings and is told of every epoch (gaterec.io.processes). What the run prints goes to a log file beside its folder.
"""

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gaterec.config.settings import Settings
from gaterec.errors import GaterecError, RunError, out_of_memory
from gaterec.io.processes import Child, Parent

MEASURED = "cell.json"
"""What was measured beside the run, a file in the run's folder."""


@dataclass(frozen=True)
class RunSpec:
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


def follow(cell: RunSpec) -> Iterator[dict[str, Any]]:
    """Run a cell in a process of its own, yielding every epoch (see gaterec.training.trainer.TrainingHistory.epochs); a half-trained one goes on.

    Raises:
        RunError: the run failed; one line says why.
    """
    child, error = Child("gaterec.experiments.compare.run_process", cell.log), None
    try:
        child.send({"settings": cell.settings.as_dict(), "folder": str(cell.folder)})
        while (message := child.receive()) is not None:
            if "error" in message:
                error = message["error"]
            else:
                yield message
        if child.wait() or error is not None or not cell.finished:
            raise RunError(error or child.death())
    finally:
        child.close()


# -- the child's side ------------------------------------------------------------------------------------------------------------------


def main() -> None:
    """Run the cell that the parent describes."""
    parent = Parent()
    try:
        _run(**next(parent.asks()), tell=parent.tell)
    except GaterecError as error:
        parent.tell({"error": str(error)})
    except (MemoryError, RuntimeError) as error:
        if (words := out_of_memory(error)) is None:
            raise
        parent.tell({"error": words})


def _run(settings: dict[str, Any], folder: str, tell: Callable[[Mapping[str, Any]], None]) -> None:
    """The run, then what is measured beside it."""
    from gaterec.experiments.costs import peak_memory, seconds_per_1000
    from gaterec.experiments.run import run
    from gaterec.experiments.setup import prepare
    from gaterec.inference.run_folder import load_run
    from gaterec.io.files import write_whole
    from gaterec.training.reproducibility import pick_device

    finished = Path(folder).exists()
    result = run(config_dict=settings, resume=True, on_epoch=tell)
    if (result["folder"] / MEASURED).exists():
        return
    memory = None if finished else peak_memory()
    loaded = load_run(result["folder"])
    device = pick_device(loaded.settings)
    prepared = prepare(loaded.settings, None)
    seconds, queries = seconds_per_1000(loaded.settings, prepared, prepared.test, loaded.model.to(device), device)
    measured = {
        "seconds_per_1000": seconds,
        "queries": queries,
        "parameters": sum(parameter.numel() for parameter in loaded.model.parameters()),
        "peak_memory": memory,
    }
    write_whole(result["folder"] / MEASURED, lambda part: part.write_text(json.dumps(measured) + "\n", encoding="utf-8"))
