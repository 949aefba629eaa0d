"""What the server does: all that needs the model happens in one thread, in batches; events go to the store, and come from it into the very next
answer."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from gaterec.errors import GaterecError
from gaterec.inference.explain import explain_to
from gaterec.inference.filters import Filters
from gaterec.inference.notes import empty_note, history_notes
from gaterec.inference.recommender import Answer, Recommender, Request, RequestUser
from gaterec.serve.batching import Batcher
from gaterec.serve.events.store import DamagedError, EventStore
from gaterec.serve.metrics import Metrics
from gaterec.serve.reloading import Live, Loaded
from gaterec.serve.schemas import (
    ExplainAnswer,
    ExplainedEvent,
    ExplainRequest,
    Item,
    RecommendAnswer,
    Recommended,
    RecommendRequest,
    Similar,
    SimilarAnswer,
    UserAnswer,
)


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


@dataclass(frozen=True)
class ForgetRequest:
    """Nothing of a person is to stay in memory."""

    user: str


Asked = RecommendRequest | ExplainRequest | SimilarRequest | PersonRequest | ForgetRequest
OF_NOBODY = SimilarRequest | ForgetRequest
"""What needs no events of anybody."""
FORGET_SECONDS = 60.0

LOG = logging.getLogger("gaterec.serve")


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
            BusyError: too many wait, or it would come too late.
            GaterecError: it can't be answered; why.
        """
        return await self._batcher.ask(asked, self._seconds, alone=not isinstance(asked, RecommendRequest))

    async def forget(self, user: str) -> None:
        """Let go of what is remembered of a person, whatever else waits."""
        await self._batcher.ask(ForgetRequest(user), FORGET_SECONDS, whatever=True)

    @property
    def full(self) -> bool:
        """Whether as many wait as may, or so long that another one's deadline is likely to pass."""
        return self._batcher.full or self._batcher.behind(self._seconds / 2)

    def close(self) -> None:
        """Answer what waits."""
        self._batcher.close()

    # -- in the thread that has the model ---------------------------------------------------------------------------------------------

    def _answer(self, batch: Sequence[Asked]) -> list[Any]:
        loaded = self.live.current
        newer, forgotten, unread = self._stored(batch)
        answers: list[Any] = [None if isinstance(asked, OF_NOBODY) else unread.get(asked.user) for asked in batch]
        lists: dict[int, tuple[str | None, Request]] = {}
        for number, asked in enumerate(batch):
            if answers[number] is not None:
                continue
            try:
                if isinstance(asked, ForgetRequest):
                    answers[number] = loaded.recommender.following.forget(asked.user)
                    continue
                if isinstance(asked, SimilarRequest):
                    answers[number] = _similar(loaded, asked)
                    continue
                known = None if asked.user in forgotten else asked.user
                later = self._known(loaded.recommender, newer.get(asked.user or "", []))
                if isinstance(asked, RecommendRequest):
                    filters = Filters(**asked.model_dump(exclude={"user", "history"}))
                    lists[number] = asked.user, loaded.recommender.request(known, [*later, *asked.history], filters=filters)
                    continue
                given = asked.history if isinstance(asked, ExplainRequest) else []
                (person,) = loaded.recommender.request_users([known], [[*later, *given]])
                if isinstance(asked, ExplainRequest):
                    answers[number] = _explain(loaded, asked, person)
                else:
                    answers[number] = _person(loaded, asked, person, len(later))
            except GaterecError as error:
                answers[number] = error
            except Exception as error:  # a fault of ours, which is not to be that of the requests beside it
                LOG.exception("%s broke", type(asked).__name__)
                answers[number] = error
        following = loaded.recommender.following
        hits, misses = following.hits, following.misses
        for number, answer in zip(lists, self._lists(loaded, list(lists.values())), strict=True):
            answers[number] = answer
        self.metrics.windows.labels("hit").inc(following.hits - hits)
        self.metrics.windows.labels("miss").inc(following.misses - misses)
        return answers

    def _lists(self, loaded: Loaded, asked: Sequence[tuple[str | None, Request]]) -> list[Any]:
        """The answer, or the error, of each: all together, and one by one where one of them breaks the others."""
        try:
            found = loaded.recommender.answer([request for _, request in asked])
            return [self._recommended(loaded, user, request, answer) for (user, request), answer in zip(asked, found, strict=True)]
        except Exception as error:
            if len(asked) > 1:
                return [answer for one in asked for answer in self._lists(loaded, [one])]
            LOG.exception("RecommendRequest broke")
            return [error]

    def _stored(self, batch: Sequence[Asked]) -> tuple[dict[str, list[str]], set[str], dict[str | None, GaterecError]]:
        """Newer events of all users that are asked about, those of them who were deleted once, and those who can't be read, with the error.

        The store is asked once for all; user by user where a record of one is damaged.
        """
        users = list({asked.user for asked in batch if not isinstance(asked, OF_NOBODY) and asked.user is not None})
        return self._read(users) if users else ({}, set(), {})

    def _read(self, users: list[str]) -> tuple[dict[str, list[str]], set[str], dict[str | None, GaterecError]]:
        try:
            return self.store.events_of(users), self.store.forgotten(users), {}
        except DamagedError as error:
            if len(users) == 1:
                LOG.error("the events of a user can't be read: %s", error)
                return {}, set(), {users[0]: error}
        except GaterecError as error:
            return {}, set(), dict.fromkeys(users, error)
        newer: dict[str, list[str]] = {}
        forgotten: set[str] = set()
        unread: dict[str | None, GaterecError] = {}
        for user in users:
            events, marked, errors = self._read([user])
            newer.update(events)
            forgotten.update(marked)
            unread.update(errors)
        return newer, forgotten, unread

    def _known(self, recommender: Recommender, items: list[str]) -> list[str]:
        known = [item for item in items if recommender.knows(item)]
        self.metrics.unknown.inc(len(items) - len(known))
        return known

    def _recommended(self, loaded: Loaded, user: str | None, asked: Request, found: Answer) -> RecommendAnswer:
        if not asked.user.basis:
            self.metrics.fallbacks.inc()
        recommender = loaded.recommender
        ids = recommender.items.to_series(0).gather(found.items).to_list()
        titles = [None] * len(ids) if recommender.titles is None else recommender.titles.gather(found.items).to_list()
        items = [
            Recommended(item=item, title=title, rank=rank, score=score)
            for rank, (item, title, score) in enumerate(zip(ids, titles, found.scores.tolist(), strict=True), 1)
        ]
        notes = [*asked.notes, *([] if items else [empty_note([user])])]
        basis = recommender.bases[asked.user.basis]
        return RecommendAnswer(user=user, based_on=basis, items=items, notes=notes, model=loaded.name)


def _similar(loaded: Loaded, asked: SimilarRequest) -> SimilarAnswer:
    recommender = loaded.recommender
    found = recommender.similar_items(asked.item, asked.k).select("item", "score")
    items = [Similar(**_names(recommender, recommender.item_number(item)), score=score) for item, score in found.iter_rows()]
    return SimilarAnswer(item=Item(**_names(recommender, recommender.item_number(asked.item))), items=items, model=loaded.name)


def _explain(loaded: Loaded, asked: ExplainRequest, person: RequestUser) -> ExplainAnswer:
    recommender = loaded.recommender
    found = explain_to(recommender, person, asked.item)
    events = [
        ExplainedEvent(**{name: event.get(name) for name in ExplainedEvent.model_fields}) for event in found.events.iter_rows(named=True)
    ]
    return ExplainAnswer(
        user=asked.user,
        item=Item(**_names(recommender, recommender.item_number(asked.item))),
        score=found.score,
        method=found.method,
        lasting=found.lasting,
        bias=found.bias,
        events=events,
        feature_gates=None if found.feature_gates is None else found.feature_gates.tolist(),
        words=str(found),
        notes=history_notes([person]),
        model=loaded.name,
    )


def _person(loaded: Loaded, asked: PersonRequest, person: RequestUser, newer: int) -> UserAnswer:
    recommender = loaded.recommender
    latest = person.items[max(0, len(person.items) - asked.limit) :]
    history = [Item(**_names(recommender, int(item))) for item in latest]
    return UserAnswer(user=asked.user, known=recommender.knows_user(person.id), events=len(person.items), newer=newer, history=history)


def _names(recommender: Recommender, number: int) -> dict[str, Any]:
    """An item's id and title."""
    return {"item": recommender.items.to_series(0)[number], "title": None if recommender.titles is None else recommender.titles[number]}
