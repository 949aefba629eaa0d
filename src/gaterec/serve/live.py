"""The run that answers, and how another one takes its place: read and tried out beside it, then put in its stead between two batches."""

import time
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from gaterec.checkpoint import newest_run
from gaterec.errors import RequestError, RunError
from gaterec.recommend import Recommender, load

Mark = tuple[str, tuple[tuple[str, int, int], ...]]
"""The run's folder, and the name, size and time of each of its files."""
TRIED = 32
"""So many people are recommended to before a run is taken."""


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
    run = newest_run(folder)
    try:
        mark = mark_of(run)
    except OSError as error:
        raise RunError(f"{run}: can't be read: {error.strerror}") from None
    recommender = load(run)
    recommender.warm()
    try_out(recommender)
    return Loaded(recommender, run.name, mark)


def try_out(recommender: Recommender) -> None:
    """Ask a run for some people, and for somebody whom it doesn't know.

    Raises:
        RunError: what it answers is no answer.
    """
    folder, known = recommender.run.folder, recommender.users.to_series(0)
    chosen = np.unique(np.linspace(1, len(known) - 1, min(TRIED, len(known) - 1), dtype=np.int64))
    try:
        frame = recommender.recommend([*(known[int(number)] for number in chosen), "\N{BLACK QUESTION MARK ORNAMENT}"], k=5, seen=True)
    except RequestError as error:
        raise RunError(f"{folder}: can't answer: {error}") from None
    if not len(frame) or not frame["score"].is_finite().all():
        raise RunError(
            f"{folder}: can't answer: its scores are no numbers, so its weights are damaged or its training went wrong; train it again"
        )
