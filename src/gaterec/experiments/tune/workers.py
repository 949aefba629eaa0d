"""Who trains the trials of a search: processes of this machine, each with its share of the cores and all with the same mapped data.

A workshop answers requests one at a time: {"begin": task} with the first message of a trial, {"go": true} with the next, {"go": false} ends the
trial, whether it is done or not, and throws its states away. Messages are epochs (see gaterec.training.trainer.TrainingHistory.epochs), then {"done": ...} or
{"failed": reason}. So who leads the search can end a hopeless trial after any epoch, and a workshop may stand in a process (here) or on another
machine (gaterec.experiments.tune.ray_workers).
"""

import math
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from gaterec.errors import GaterecError, out_of_memory
from gaterec.io.processes import Child, Parent

Message = dict[str, Any]


@dataclass(frozen=True)
class Task:
    """What a workshop has to know of a trial.

    Attributes:
        settings: of the run (see gaterec.config.settings.Settings.as_dict); its dataset is a prepared folder.
        states: the folder in which states of the training are kept, so that a killed trial goes on.
        timed: whether 1,000 recommendations are to be timed at the end.
    """

    settings: Mapping[str, Any]
    states: str
    timed: bool = False

    def as_json(self) -> Message:
        """For a request."""
        return {"settings": dict(self.settings), "states": self.states, "timed": self.timed}


class WorkerLostError(Exception):
    """A worker ended in the middle of a trial, which did nothing wrong as far as anyone knows."""


class TrialFailedError(Exception):
    """A worker ended by itself, for an error in the trial."""


class Worker(Protocol):
    """A workshop, wherever it stands.

    Attributes:
        name: for people.
    """

    name: str

    def answer(self, request: Message) -> Message:
        """The answer of the workshop.

        Raises:
            WorkerLostError: it was killed, or its machine is gone.
            TrialFailedError: it ended by itself.
        """

    def close(self) -> None:
        """End it, whatever it does; may be called twice, and from another thread than the one that waits for an answer."""


class TrialRunner:
    """Trains one trial after the other on the same data, which is opened once."""

    def __init__(self) -> None:
        self._trial: Iterator[Message] = iter(())
        self._states: Path | None = None
        self._opened: dict[str, Any] = {}

    def answer(self, request: Message) -> Message:
        """See the head of this file."""
        if "begin" in request:
            task = Task(**request["begin"])
            self._trial, self._states = self._train(task), Path(task.states)
        elif not request["go"]:
            from gaterec.training.states import clear_states

            self._trial = iter(())
            if self._states is not None:
                clear_states(self._states)
            return {"ended": True}
        return next(self._trial)

    def _train(self, task: Task) -> Iterator[Message]:
        try:
            yield from self._trained(task)
        except GaterecError as error:
            yield {"failed": str(error)}
        except (MemoryError, RuntimeError) as error:
            if (words := out_of_memory(error)) is None:
                raise
            yield {"failed": words}

    def _trained(self, task: Task) -> Iterator[Message]:
        from gaterec.config.resolve import resolve
        from gaterec.experiments.costs import seconds_per_1000
        from gaterec.experiments.resume import best_valid, epoch_recorder, resumed
        from gaterec.models import model_class
        from gaterec.training.loggers import make_loggers
        from gaterec.training.reproducibility import pick_device, reproducible

        settings = resolve(lambda kind: model_class(kind).Settings, config_dict=task.settings)
        device, states = pick_device(settings), Path(task.states)
        prepared = self._prepared(settings)
        with reproducible(settings, device):
            trainer, _ = resumed(settings, prepared, device, states, resume=True)
            with epoch_recorder(trainer, states, make_loggers(settings, states.with_suffix(".tensorboard"))) as record:
                for entry in trainer.epochs():
                    record(entry)
                    yield entry
            history, valid = trainer.history, best_valid(trainer, prepared, device)
        metric = settings.valid_metric.lower()
        if valid is None:
            yield {"failed": f"nothing was validated in {len(history.epochs)} epochs (eval_step is {settings.eval_step})"}
            return
        if not math.isfinite(valid[metric]):
            yield {"failed": f"{settings.valid_metric} is {valid[metric]} on the validation part"}
            return
        model = trainer.model.eval()
        yield {
            "done": {
                "score": valid[metric],
                "valid": valid,
                "best_epoch": history.best_epoch,
                "curve": [(epoch["epoch"], epoch["valid"][metric]) for epoch in history.epochs if epoch["valid"]],
                "training_time": sum(epoch["seconds"] for epoch in history.epochs),
                "recommendation_time": seconds_per_1000(settings, prepared, prepared.valid, model, device)[0] if task.timed else None,
            }
        }

    def _prepared(self, settings: Any) -> Any:
        from gaterec.experiments.setup import prepare

        if settings.dataset not in self._opened:  # trials differ in nothing that decides how the log is split
            self._opened = {settings.dataset: prepare(settings, None)}
        return self._opened[settings.dataset]


# -- a process of this machine ---------------------------------------------------------------------------------------------------------


class LocalWorker:
    """A workshop in a process of its own.

    Args:
        slot: which of the workers it is, from 0 on.
        cores: the numbers of the cores that it may use; all for none.
        threads: how many threads torch may have.
        log: the file for what it prints.
    """

    def __init__(self, slot: int, cores: Sequence[int], threads: int, log: Path) -> None:
        self.name = f"worker {slot + 1}"
        self._child = Child("gaterec.experiments.tune.workers", log, {"OMP_NUM_THREADS": str(threads)})
        self._child.send({"cores": list(cores), "threads": threads})

    def answer(self, request: Message) -> Message:
        """See Worker.answer."""
        self._child.send(request)
        answer = self._child.receive()
        if answer is None:
            died = self._child.wait()
            raise (WorkerLostError if died < 0 else TrialFailedError)(self._child.death())
        return answer

    def close(self) -> None:
        """See Worker.close."""
        self._child.close()


def shares(workers: int) -> tuple[list[list[int]], int]:
    """The cores of each worker, and how many threads each may have: all cores and torch's own choice for a single one.

    >>> shares(1)[0]
    [[]]
    """
    import torch

    cores = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else list(range(os.cpu_count() or 1))
    if workers == 1 or not hasattr(os, "sched_getaffinity"):
        return [[] for _ in range(workers)], max(torch.get_num_threads() // workers, 1)
    each = max(len(cores) // workers, 1)
    split = [[cores[(worker * each + i) % len(cores)] for i in range(each)] for worker in range(workers)]
    return split, max(min(torch.get_num_threads() // workers, each), 1)


def main() -> None:
    """Answer the parent's requests."""
    parent = Parent()
    asks = parent.asks()
    share = next(asks)
    if share["cores"]:
        os.sched_setaffinity(0, share["cores"])
    import torch

    torch.set_num_threads(share["threads"])
    import gaterec.experiments.costs  # noqa: F401 (with it all that a training needs: better now than when the first trial has begun)

    workshop = TrialRunner()
    for request in asks:
        parent.tell(workshop.answer(request))
