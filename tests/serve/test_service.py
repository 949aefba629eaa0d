"""The thread that has the model: one question to the store for a batch, and an answer also when the store has none."""

import asyncio
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from gaterec.serve.batching import BusyError
from gaterec.serve.events.store import DamagedError, Event, EventsError, EventStore, open_store
from gaterec.serve.metrics import Metrics
from gaterec.serve.reloading import Live
from gaterec.serve.schemas import ExplainRequest, RecommendRequest
from gaterec.serve.service import Asked, PersonRequest, Service, SimilarRequest


@pytest.fixture
def store(tmp_path: Path) -> Iterator[EventStore]:
    store = open_store(tmp_path / "events.db")
    yield store
    store.close()


@pytest.fixture
def service(run_folder: Path, store: EventStore) -> Iterator[Service]:
    service = Service(Live(run_folder), store, Metrics(), queue=100, batch=100, seconds=10.0)
    yield service
    service.close()


def together(service: Service, *asked: Asked) -> list[Any]:
    """The answers to one batch."""
    return service._answer(asked)


def counted(monkeypatch: pytest.MonkeyPatch, store: EventStore, name: str) -> list[Sequence[str]]:
    """What the store is asked from now on."""
    found: list[Sequence[str]] = []
    ask: Callable[..., Any] = getattr(store, name)

    def asked(users: Sequence[str], *more: Any) -> Any:
        found.append(sorted(users))
        return ask(users, *more)

    monkeypatch.setattr(store, name, asked)
    return found


def test_a_batch_is_answered_as_its_requests_are_one_by_one(service: Service) -> None:
    asked: list[Asked] = [
        RecommendRequest(user="u7", k=3),
        ExplainRequest(user="u7", item="i3"),
        RecommendRequest(history=["nothing"]),
        RecommendRequest(user="u8", k=20, deny=["i1"]),
        RecommendRequest(user="u8", k=20, seen=True, allow=["i1", "i2"]),
        RecommendRequest(k=5),
        RecommendRequest(user="u9", k=5, diversity=0.5),
        SimilarRequest("i3", 2),
        PersonRequest("u9", 3),
    ]
    for one, all_together in zip(asked, together(service, *asked), strict=True):
        (alone,) = together(service, one)
        if isinstance(alone, Exception):
            assert str(all_together) == str(alone)
        else:
            assert _rounded(all_together.model_dump()) == _rounded(alone.model_dump())


def _rounded(value: Any) -> Any:
    """The same but for the last bits of scores."""
    if isinstance(value, dict):
        return {name: _rounded(part) for name, part in value.items()}
    if isinstance(value, list):
        return [_rounded(part) for part in value]
    return round(value, 4) if isinstance(value, float) else value


def test_the_store_is_asked_once_for_a_batch(service: Service, store: EventStore, monkeypatch: pytest.MonkeyPatch) -> None:
    found = counted(monkeypatch, store, "events_of")
    together(service, RecommendRequest(user="u7"), RecommendRequest(user="u8"), RecommendRequest(user="u7"), SimilarRequest("i3", 2))
    together(service, RecommendRequest(history=["i3"]))
    assert found == [["u7", "u8"]]


def test_when_the_store_fails_what_needs_no_store_is_answered(service: Service, store: EventStore, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(users: Sequence[str]) -> Any:
        raise EventsError("the disk is gone")

    monkeypatch.setattr(store, "events_of", broken)
    person, alike, strangers = together(service, RecommendRequest(user="u7"), SimilarRequest("i3", 2), RecommendRequest(user="u8"))
    assert str(person) == str(strangers) == "the disk is gone"
    assert len(alike.items) == 2
    (history,) = together(service, RecommendRequest(history=["i3"]))
    assert history.based_on == "history"


def test_requests_come_through_the_queue(service: Service) -> None:
    async def scene() -> list[Any]:
        return list(await asyncio.gather(*(service.ask(RecommendRequest(user=f"u{number}", k=2)) for number in range(20))))

    answers = asyncio.run(scene())
    assert [answer.user for answer in answers] == [f"u{number}" for number in range(20)]


def test_a_fault_belongs_to_its_own_request(service: Service, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    def broken(*whatever: Any) -> Any:
        raise AssertionError("secret of the inside")

    monkeypatch.setattr("gaterec.serve.service.explain_to", broken)
    one, fault, other = together(
        service, RecommendRequest(user="u7", k=2), ExplainRequest(user="u7", item="i3"), RecommendRequest(user="u8", k=3)
    )
    assert (len(one.items), len(other.items)) == (2, 3)
    assert isinstance(fault, AssertionError)
    assert "secret of the inside" in caplog.text


def test_nothing_of_the_deleted_stays_in_memory(service: Service) -> None:
    together(service, RecommendRequest(user="u7"))
    following = service.live.current.recommender.following
    assert "u7" in following._entries
    asyncio.run(service.forget("u7"))
    assert "u7" not in following._entries


def test_a_damaged_record_fails_the_requests_of_its_user_alone(
    service: Service, store: EventStore, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    store.submit([Event("u8", "i3", 1.0)]).result(30)
    store.delete("u9")
    for name in ("events_of", "forgotten"):
        with monkeypatch.context() as patch:
            read = getattr(store, name)

            def damaged(users: Sequence[str], *, read: Any = read) -> Any:
                if "u7" in users:
                    raise DamagedError("malformed")
                return read(users)

            patch.setattr(store, name, damaged)
            one, explained, other, nobody, newer, deleted = together(
                service,
                RecommendRequest(user="u7"),
                ExplainRequest(user="u7", item="i3"),
                RecommendRequest(user="u8"),
                RecommendRequest(),
                PersonRequest("u8", 3),
                PersonRequest("u9", 3),
            )
        assert isinstance(one, DamagedError)
        assert isinstance(explained, DamagedError)
        assert len(other.items) == len(nobody.items) == 10
        assert (newer.newer, deleted.known, deleted.events) == (1, False, 0)
    assert "malformed" in caplog.text
    assert "u7" not in caplog.text


def test_a_list_that_breaks_fails_its_own_request_alone(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    recommender = service.live.current.recommender
    answer, recommended = recommender.answer, service._recommended

    def breaks(requests: Sequence[Any]) -> Any:
        assert all(request.user.id != "u7" for request in requests)
        return answer(requests)

    def breaks_later(loaded: Any, user: str | None, *more: Any) -> Any:
        assert user != "u9"
        return recommended(loaded, user, *more)

    monkeypatch.setattr(recommender, "answer", breaks)
    monkeypatch.setattr(service, "_recommended", breaks_later)
    answers = together(service, *(RecommendRequest(user=f"u{number}", k=3) for number in range(7, 11)))
    assert [isinstance(answer, AssertionError) for answer in answers] == [True, False, True, False]
    assert [answer.user for answer in answers[1::2]] == ["u8", "u10"]


def test_a_history_that_is_given_counts_in_an_explanation(service: Service) -> None:
    without, given = together(service, ExplainRequest(user="u7", item="i3"), ExplainRequest(user="u7", item="i3", history=["i5", "i6"]))
    assert [event.item for event in given.events][-2:] == ["i5", "i6"]
    assert [event.item for event in without.events][-2:] != ["i5", "i6"]
    assert without.score != given.score


def test_a_deletion_is_taken_where_the_queue_is_full(run_folder: Path, store: EventStore, monkeypatch: pytest.MonkeyPatch) -> None:
    service = Service(Live(run_folder), store, Metrics(), queue=2, batch=1, seconds=100.0)
    begun, go, read = threading.Event(), threading.Event(), store.events_of

    def wait(users: Sequence[str]) -> Any:
        begun.set()
        assert go.wait(30)
        return read(users)

    monkeypatch.setattr(store, "events_of", wait)

    async def scene() -> None:
        first = asyncio.ensure_future(service.ask(RecommendRequest(user="u7")))
        assert await asyncio.to_thread(begun.wait, 30)
        assert not service.full
        others = [asyncio.ensure_future(service.ask(RecommendRequest(user=f"u{number}"))) for number in (8, 9)]
        await asyncio.sleep(0)
        assert service.full
        with pytest.raises(BusyError, match="2 requests are waiting already"):
            await service.ask(RecommendRequest(user="u10"))
        deleted = asyncio.ensure_future(service.forget("u7"))
        await asyncio.sleep(0)
        go.set()
        await deleted
        assert [answer.user for answer in await asyncio.gather(first, *others)] == ["u7", "u8", "u9"]

    asyncio.run(scene())
    assert "u7" not in service.live.current.recommender.following._entries
    service.close()


def test_a_server_that_is_behind_by_half_the_deadline_refuses_early(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    assert not service.full
    for late, full in ((4.99, False), (5.0, True)):
        monkeypatch.setattr(service._batcher, "behind", lambda seconds, late=late: late >= seconds)
        assert service.full == full
