"""The run that answers, and how another one takes its place: read and tried out beside it, then put in its stead between two batches."""

import logging
import time
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from gaterec.errors import GaterecError, RequestError, RunError
from gaterec.inference.recommender import Recommender, load
from gaterec.inference.run_folder import left_beside, newest_run
from gaterec.serve.lookups import item_answer, model_answer

Mark = tuple[str, tuple[tuple[str, int, int], ...]]
"""The run's folder, and the name, size and time of each of its files."""
TRIED = 32
"""The number of users, and of items, for which a run is tried out before it is taken."""

LOG = logging.getLogger("gaterec.serve")


@dataclass(frozen=True)
class Loaded:
    """A run that may answer.

    Attributes:
        recommender: the run.
        name: of its folder.
        mark: what tells this state of the folder from another.
        since: when it was read, in seconds since 1970.
    """

    recommender: Recommender
    name: str
    mark: Mark
    since: float = field(default_factory=time.time)

    @property
    def last_time(self) -> float:
        """The last time of the log, in the log's unit; 0 where the run does not say it."""
        times = self.recommender.info["data"].get("times")
        return (
            float(times[1]) if isinstance(times, list) and len(times) == 2 and all(isinstance(one, int | float) for one in times) else 0.0
        )


class Live:
    """The run that answers.

    Args:
        folder: a run folder, or a folder of runs, whose newest is taken.

    Raises:
        RunError: there is no run that can answer.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.current = read(folder)
        for line in left_beside(folder):
            LOG.warning("%s", line)

    def reload(self) -> tuple[Loaded, Loaded]:
        """Take the newest run of the folder; answers it and the one before. It is loaded beside the one that answers, which needs the memory of both.

        Raises:
            RunError: it can't answer; the one before goes on.
        """
        before, new = self.current, read(self.folder)
        self.current = new
        return new, before

    def changed(self) -> Mark | None:
        """What tells the newest run from the one that answers; None where it is the same, or there is none just now."""
        try:
            mark = mark_of(newest_run(self.folder))
        except (OSError, RunError):
            return None
        return None if mark == self.current.mark else mark


def mark_of(run: Path) -> Mark:
    """Another one after a file of the run was written, an index of it too; so a run that is still being copied is looked at again until it is whole."""
    files = [file for file in run.rglob("*") if not any(part.startswith(".") for part in file.relative_to(run).parts)]
    return str(run), tuple(
        sorted((str(file.relative_to(run)), file.stat().st_size, file.stat().st_mtime_ns) for file in files if file.is_file())
    )


def read(folder: Path) -> Loaded:
    """Load the newest run of a folder and try it out.

    Raises:
        RunError: it can't be read, or what it answers is no answer.
    """
    try:
        run = newest_run(folder)
        mark = mark_of(run)
    except OSError as error:
        raise RunError(f"{folder}: can't be read: {error.strerror}") from None
    try:
        recommender = load(run)
        recommender.warm()
        loaded = Loaded(recommender, run.name, mark)
        try_out(loaded)
    except RequestError as error:
        raise RunError(f"{run}: can't answer: {error}") from None
    except GaterecError:
        raise
    except OSError as error:
        raise RunError(f"{run}: can't be read: {error.strerror}") from None
    except BaseException as error:  # polars panics with an error of its own
        if isinstance(error, KeyboardInterrupt | SystemExit | GeneratorExit):
            raise
        LOG.debug("%s", run, exc_info=True)
        why = (
            "memory ran out"
            if isinstance(error, MemoryError)
            else "its files are damaged, or do not fit together; copy it again, or train it again"
        )
        raise RunError(f"{run}: can't answer: {why}") from None
    return loaded


def try_out(loaded: Loaded) -> None:
    """Ask a run all that clients ask: for some of its users, for one that it doesn't know, and for some of its items.

    Raises:
        RunError: what it answers is no answer.
    """
    recommender = loaded.recommender
    folder, users, items = recommender.run.folder, recommender.users.to_series(0), recommender.items.to_series(0)
    known = [str(users[number]) for number in some(len(users))]
    frame = recommender.recommend([*known, "\N{BLACK QUESTION MARK ORNAMENT}"], k=5, seen=True)
    for number in some(len(items)):
        item_answer(recommender, str(items[number]))
    model_answer(loaded.recommender, loaded.name)
    if not len(frame) or not frame["score"].is_finite().all():
        raise RunError(
            f"{folder}: can't answer: its scores are no numbers, so its weights are damaged or its training went wrong; train it again"
        )


def some(count: int) -> list[int]:
    """Numbers from all over a table, whose first row stands for none.

    >>> some(5), some(1)
    ([1, 2, 3, 4], [])
    """
    chosen: list[int] = np.unique(np.linspace(1, count - 1, min(TRIED, count - 1), dtype=np.int64)).tolist()
    return chosen
