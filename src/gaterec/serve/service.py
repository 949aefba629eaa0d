"""What the server does: all that needs the model happens in one thread, in batches; events go to the store, and come from it into the very next
answer."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl

from gaterec.errors import GaterecError, RequestError
from gaterec.recommend import Person, Recommender
from gaterec.schemas import (
    ExplainAnswer,
    ExplainedEvent,
    ExplainRequest,
    Item,
    PersonAnswer,
    Recommended,
    RecommendAnswer,
    RecommendRequest,
    Similar,
    SimilarAnswer,
)
from gaterec.serve.batching import Batcher
from gaterec.serve.events import Event, EventStore
from gaterec.serve.live import Live, Loaded
from gaterec.serve.metrics import Metrics


@dataclass(frozen=True)
class SimilarRequest:
    """Items like one."""

    item: str
    k: int


@dataclass(frozen=True)
class PersonRequest:
    """What counts for a person; the latest `limit` events of it."""

    user: str
    limit: int


Asked = RecommendRequest | ExplainRequest | SimilarRequest | PersonRequest


class Service:
    """A run, a store of events, and the thread that answers.

    Args:
        queue: how many requests may wait.
        batch: how many are answered together at most.
        seconds: the deadline: what waited longer is refused.
    """

    def __init__(self, live: Live, store: EventStore, metrics: Metrics, *, queue: int, batch: int, seconds: float) -> None:
        self.live, self.store, self.metrics, self._seconds = live, store, metrics, seconds

        def watch(size: int, waited: float) -> None:
            metrics.batch.observe(size)
            metrics.waited.observe(waited)

        self._batcher = Batcher(self._answer, limit=queue, batch=batch, watch=watch)
        metrics.watch("gaterec_queue_length", "Requests that wait.", lambda: len(self._batcher))

    async def ask(self, asked: Asked) -> Any:
        """The answer.

        Raises:
            Busy: too many wait, or it would come too late.
            GaterecError: it can't be answered; why.
        """
        return await self._batcher.ask(asked, self._seconds)

    def close(self) -> None:
        """Answer what waits."""
        self._batcher.close()

    # -- in the thread that has the model ---------------------------------------------------------------------------------------------

    def _answer(self, batch: Sequence[Asked]) -> list[Any]:
        loaded = self.live.current
        try:
            people = self._people(loaded.recommender, batch)
        except GaterecError as error:  # the store can't be read
            people = [error] * len(batch)
        answers: list[Any] = [None] * len(batch)
        lists: list[int] = []
        for number, (asked, person) in enumerate(zip(batch, people, strict=True)):
            if isinstance(person, GaterecError) and not isinstance(asked, SimilarRequest):
                answers[number] = person
            elif isinstance(asked, RecommendRequest):
                lists.append(number)
            else:
                answers[number] = _or_error(lambda asked=asked, person=person: _alone(loaded, asked, person))  # type: ignore[misc]
        for number in lists:
            answers[number] = _or_error(lambda number=number: self._recommend(loaded, batch[number], people[number]))  # type: ignore[misc, arg-type]
        return answers

    def _people(self, recommender: Recommender, batch: Sequence[Asked]) -> list[Person | GaterecError]:
        """Whom each request is for, their newer events included, after one question to the store."""
        names = [getattr(asked, "user", None) for asked in batch]
        ids = list({name for name in names if name is not None})
        newer = self.store.events_of(ids) if ids else {}
        forgotten = self.store.forgotten(ids) if ids else set()
        found: list[Person | GaterecError] = []
        for asked, name in zip(batch, names, strict=True):
            if isinstance(asked, SimilarRequest):
                found.append(Person(None, 0, _NOTHING))
                continue
            later = [event.item for event in newer.get(name, ())] if name is not None else []
            known = [item for item in later if recommender.knows(item)]
            self.metrics.unknown.inc(len(later) - len(known))
            given = asked.history if isinstance(asked, RecommendRequest | ExplainRequest) else []
            try:
                (person,) = recommender.people([None if name in forgotten else name], [[*known, *given]])
            except RequestError as error:
                found.append(error)
            else:
                found.append(Person(name, person.number, person.items))
        return found
