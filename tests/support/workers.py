"""The messages of a trial between a search and a worker."""

from pathlib import Path
from typing import Any

from gaterec.experiments.tune.workers import Message, Task, TrialRunner, Worker
from tests.support.histories import settings

CHANGES = {"embedding_size": 4, "MAX_ITEM_LIST_LENGTH": 5, "epochs": 3, "show_progress": False, "state": "WARNING"}


def task(data: Path, timed: bool = False, **changes: Any) -> Message:
    own = settings(dataset=str(data), **{**CHANGES, **changes})
    return {"begin": Task(own.as_dict(), str(data.parent / "trials" / "0"), timed).as_json()}


def messages(workshop: TrialRunner | Worker, first: Message) -> list[Message]:
    """All of a trial."""
    found = [workshop.answer(first)]
    while "epoch" in found[-1]:
        found.append(workshop.answer({"go": True}))
    return found
