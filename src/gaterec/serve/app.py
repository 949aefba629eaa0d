"""Which path does what. Paths are thin: they check what came, ask the service, the store or the catalogue, and send what comes back."""

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import Annotated, Any

import fastapi_offline
from fastapi import FastAPI, Query, Request
from fastapi import Path as InPath
from fastapi.exceptions import RequestValidationError
from fastapi.responses import FileResponse, Response
from fastapi.staticfiles import StaticFiles
from pydantic import BaseModel
from starlette.convertors import Convertor, register_url_convertor
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp

from gaterec._version import __version__
from gaterec.config.findings import told
from gaterec.errors import GaterecError, RequestError, RunError
from gaterec.serve.batching import BusyError
from gaterec.serve.bodies import JSONRoute
from gaterec.serve.events.store import Event, EventsError
from gaterec.serve.lookups import check_text, find_items, find_users, item_answer, model_answer
from gaterec.serve.middleware import BROKEN, RequestGuard
from gaterec.serve.problems import problem
from gaterec.serve.reloading import Loaded
from gaterec.serve.schemas import (
    ID_LENGTH,
    MAX_K,
    MAX_VALUES,
    DeleteAnswer,
    EventAnswer,
    EventRequest,
    ExplainAnswer,
    ExplainRequest,
    HealthAnswer,
    ItemAnswer,
    ItemsAnswer,
    ModelAnswer,
    PeopleAnswer,
    Problem,
    RecommendAnswer,
    RecommendRequest,
    ReloadAnswer,
    SimilarAnswer,
    UserAnswer,
    UsersAnswer,
    VersionAnswer,
)
from gaterec.serve.service import PersonRequest, Service, SimilarRequest

LOG = logging.getLogger("gaterec.serve")
PAGE = Path(__file__).with_name("page")
SWAGGER = Path(fastapi_offline.__file__).with_name("static")
CLOCKS = 60.0
"""So many seconds may a client's clock be ahead."""
CLOCK = 1e8
"""Timestamps below this one (March 1973) are positions, days or another unit, not seconds since 1970."""
DAY = 86_400
EXPIRING = 3600
"""The seconds between two deletions of events that are older than the retention."""
SHOWN = 20
OF_THE_MODEL = (("POST", "/recommend"), ("POST", "/explain"), ("GET", "/similar"), ("GET", "/users/"))
"""Methods and beginnings of paths whose requests wait for the thread that has the model."""

PROBLEMS: dict[int | str, dict[str, Any]] = {
    status: {"model": Problem, "description": HTTPStatus(status).phrase, "content": {"application/problem+json": {}}}
    for status in (400, 401, 403, 408, 413, 415, 421, 422, 503)
}
Text = Annotated[str, Query(min_length=1, max_length=ID_LENGTH)]
IdInPath = Annotated[str, InPath(min_length=1, max_length=ID_LENGTH)]
Words = Annotated[str, Query(max_length=100, description="part of what is looked for")]
Limit = Annotated[int, Query(ge=1, le=100)]


@dataclass(frozen=True)
class Options:
    """How a server behaves.

    Attributes:
        token: what clients must show; None for none.
        hosts: what the server may be called; None for anything.
        body: bytes of a request at most.
        body_seconds: how long it may take to come.
        at_a_time: requests under way at most.
        watch: seconds between two looks for a newer run in the folder; 0 for none.
        retention: after how many days events are deleted; None for never.
    """

    token: str | None = None
    hosts: frozenset[str] | None = None
    body: int = 1 << 20
    body_seconds: float = 10.0
    at_a_time: int = 1000
    watch: float = 2.0
    retention: float | None = None


class _IdInPath(Convertor[str]):
    """The rest of a path, whatever is in it. Starlette's own `path` ends before a line break, so that the id would be another person's."""

    regex = r"(?s:.+)"

    def convert(self, value: str) -> str:
        return value

    def to_string(self, value: str) -> str:
        return value


register_url_convertor("id", _IdInPath())


def make_app(service: Service, options: Options) -> ASGIApp:
    """The server as an ASGI application; at its end it answers what waits and closes the store."""
    live, store, metrics = service.live, service.store, service.metrics
    reloading = asyncio.Lock()
    deleting = ThreadPoolExecutor(1, "gaterec delete")

    async def reload() -> ReloadAnswer:
        async with reloading:
            try:
                new, before = await asyncio.to_thread(live.reload)
            except GaterecError as error:
                metrics.reloads.labels("refused").inc()
                raise RunError(str(error)) from None
        metrics.reloads.labels("taken").inc()
        LOG.info("%s answers now, %s before", new.name, before.name)
        return ReloadAnswer(model=new.name, before=before.name)

    async def look_for_runs() -> None:
        refused = None
        while True:
            await asyncio.sleep(options.watch)
            try:
                mark = await asyncio.to_thread(live.changed)
                if mark is not None and mark != refused:
                    refused = mark  # told once, until it changes again
                    await reload()
            except GaterecError as error:
                LOG.warning("%s; %s goes on answering", error, live.current.name)
            except Exception:
                LOG.exception("looking for a newer run broke; %s goes on answering", live.current.name)

    async def expire(days: float) -> None:
        while True:
            try:
                gone = await asyncio.to_thread(store.expire, time.time() - days * DAY)
                LOG.info("%s events older than %g days deleted", f"{gone:,}", days)
            except EventsError as error:
                LOG.warning("events can't be expired: %s", error)
            except Exception:
                LOG.exception("deleting old events broke")
            await asyncio.sleep(EXPIRING)

    @asynccontextmanager
    async def life(app: FastAPI) -> AsyncIterator[None]:
        tasks = [asyncio.create_task(look_for_runs())] if options.watch else []
        tasks += [] if options.retention is None else [asyncio.create_task(expire(options.retention))]
        yield
        for task in tasks:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
        await asyncio.to_thread(deleting.shutdown)
        await asyncio.to_thread(service.close)
        await asyncio.to_thread(store.close)

    app = FastAPI(
        title="gaterec",
        summary="What each person will want next, and why.",
        version=__version__,
        lifespan=life,
        docs_url=None,
        redoc_url=None,
        responses=PROBLEMS,
    )
    app.router.route_class = JSONRoute
    _tell_problems(app)

    @app.post("/recommend", tags=["users"], response_model=RecommendAnswer)
    async def recommend(asked: RecommendRequest) -> Response:
        """The best items for a person, newer events included."""
        return _sent(await service.ask(asked))

    @app.post("/explain", tags=["users"], response_model=ExplainAnswer)
    async def explain(asked: ExplainRequest) -> Response:
        """Why an item would be recommended: every term of its score."""
        return _sent(await service.ask(asked))

    @app.post("/events", tags=["users"], response_model=EventAnswer, status_code=201)
    async def add_event(asked: EventRequest) -> Response:
        """One more event of a person: durable when this answers, and part of the next answer."""
        stamp = time.time() if asked.timestamp is None else _past(asked.timestamp, live.current, options.retention)
        if not live.current.recommender.knows(asked.item):
            raise RequestError(f"item {asked.item[:80]!r}: the run knows no such item")
        (new,) = await store.add([Event(asked.user, asked.item, stamp, asked.id)])
        if new:
            metrics.events.inc()
        return _sent(EventAnswer(user=asked.user, item=asked.item, timestamp=stamp, new=new), 201)

    @app.get("/users", tags=["users"], response_model=UsersAnswer)
    async def users(q: Words = "", limit: Limit = SHOWN) -> Response:
        """Users of the run whose ids begin with `q`."""
        return _sent(await users_of_the_run(q, limit))

    @app.get("/users/{user:id}", tags=["users"], response_model=UserAnswer)
    async def one_user(user: IdInPath, limit: Limit = SHOWN) -> Response:
        """The history of a user: how many events it has, and the latest of them."""
        return _sent(await service.ask(PersonRequest(check_text("user", user), limit)))

    async def users_of_the_run(q: str, limit: int) -> UsersAnswer:
        recommender = live.current.recommender

        def find() -> list[str]:
            found = find_users(recommender, check_text("q", q), limit)
            gone = store.forgotten(found)
            return [user for user in found if user not in gone]

        return UsersAnswer(users=await asyncio.to_thread(find), total=len(recommender.users) - 1)

    @app.get("/people", include_in_schema=False)
    async def people(q: Words = "", limit: Limit = SHOWN) -> Response:
        """Deprecated: the earlier name of GET /users."""
        found = await users_of_the_run(q, limit)
        return _sent(PeopleAnswer(people=found.users, total=found.total))

    @app.get("/person", include_in_schema=False)
    async def person(user: Text, limit: Limit = SHOWN) -> Response:
        """Deprecated: the earlier name of GET /users/ID."""
        return await one_user(user, limit)

    @app.delete("/users/{user:id}", tags=["users"], response_model=DeleteAnswer)
    async def delete(user: IdInPath) -> Response:
        """Delete all events of a user; later answers use nothing that the run learned about the user."""
        check_text("user", user)
        try:  # in a thread of their own: many deletions must not take the threads that other requests wait for
            deleted = await asyncio.get_running_loop().run_in_executor(deleting, store.delete, user)
        finally:  # what was deleted before a failure too
            await service.forget(user)
        return _sent(DeleteAnswer(user=user, deleted=deleted.events, left=_left(service, user)))

    @app.get("/similar", tags=["items"], response_model=SimilarAnswer)
    async def similar(item: Text, k: Annotated[int, Query(ge=1, le=MAX_K)] = 10) -> Response:
        """Items that are chosen like this one."""
        return _sent(await service.ask(SimilarRequest(check_text("item", item), k)))

    @app.get("/items", tags=["items"], response_model=ItemsAnswer)
    async def items(q: Words = "", limit: Limit = SHOWN) -> Response:
        """Items with `q` in their title; without it, the most chosen."""
        return _sent(ItemsAnswer(items=await asyncio.to_thread(find_items, live.current.recommender, check_text("q", q), limit)))

    @app.get("/item", tags=["items"], response_model=ItemAnswer)
    async def one_item(item: Text) -> Response:
        """All that the run's table says of an item."""
        return _sent(await asyncio.to_thread(item_answer, live.current.recommender, check_text("item", item)))

    @app.get("/model", tags=["server"], response_model=ModelAnswer)
    async def model() -> Response:
        """The run that answers: its figures, its curves, what it was trained on."""
        return _sent(await asyncio.to_thread(model_answer, live.current.recommender, live.current.name))

    @app.post("/reload", tags=["server"], response_model=ReloadAnswer)
    async def take_newest() -> Response:
        """Take the newest run of the folder, if it can answer; requests go on meanwhile."""
        answer = await reload()
        return _sent(answer)

    @app.get("/version", tags=["server"], response_model=VersionAnswer)
    async def version() -> Response:
        """Which gaterec, and which run."""
        loaded = live.current
        title = str(loaded.recommender.info["title"])
        return _sent(VersionAnswer(gaterec=__version__, model=loaded.name, title=title, loaded=loaded.since))

    @app.get("/health", tags=["server"], response_model=HealthAnswer)
    async def health() -> Response:
        """Whether the process is there."""
        return _sent(HealthAnswer(status="up"))

    @app.get("/ready", tags=["server"], response_model=HealthAnswer)
    async def ready() -> Response:
        """Whether the server can answer: 503, with the reason, where the store of events can't be used."""
        if store.fault:
            raise EventsError(store.fault)
        return _sent(HealthAnswer(status="ready"))

    @app.get("/metrics", tags=["server"], response_class=Response, responses={200: {"content": {"text/plain": {}}}})
    async def figures() -> Response:
        """Figures for Prometheus."""
        return Response(await asyncio.to_thread(metrics.text), media_type=metrics.CONTENT_TYPE)

    @app.api_route("/docs", methods=["GET", "HEAD"], include_in_schema=False)
    async def docs() -> FileResponse:
        return FileResponse(PAGE / "docs.html")

    @app.api_route("/", methods=["GET", "HEAD"], include_in_schema=False)
    async def page() -> FileResponse:
        return FileResponse(PAGE / "index.html")

    app.mount("/docs/swagger", StaticFiles(directory=SWAGGER))
    app.mount("/page", StaticFiles(directory=PAGE))
    return RequestGuard(
        app,
        metrics=metrics,
        token=options.token,
        hosts=options.hosts,
        body=options.body,
        body_seconds=options.body_seconds,
        at_a_time=options.at_a_time,
        full=lambda method, path: any(method == of and path.startswith(begin) for of, begin in OF_THE_MODEL) and service.full,
    )


def _sent(answer: BaseModel, status: int = 200) -> Response:
    """An answer as it goes out, without being checked once more."""
    return Response(answer.model_dump_json(), status, media_type="application/json")


def _past(stamp: float, loaded: Loaded, retention: float | None) -> float:
    """The timestamp of an event, in seconds since 1970.

    Raises:
        RequestError: it is in the future, so old that retention would delete the event at once, or in another unit.
    """
    now = time.time()
    if stamp > now + CLOCKS:
        raise RequestError(
            f"timestamp: expected a time that is past, found one {stamp - now:,.0f} seconds from now; give it in seconds since 1970"
        )
    if retention is not None and stamp < now - retention * DAY:
        raise RequestError(
            f"timestamp: {stamp:.15g} is {(now - stamp) / DAY:,.1f} days ago, and events older than {retention:g} days are deleted; give it in seconds "
            "since 1970, or leave it out for an event of now"
        )
    if stamp < CLOCK and loaded.last_time >= CLOCK:
        raise RequestError(
            f"timestamp: expected seconds since 1970, as the times of the log are of a clock, found {stamp:.15g}, which is in {time.gmtime(stamp).tm_year}; "
            "leave it out for an event of now"
        )
    return stamp


def _left(service: Service, user: str) -> list[str]:
    loaded = service.live.current
    left = ["a keyed hash of the id, from which it can't be read, so that the server knows not to use what a run holds of this person"]
    if loaded.recommender.knows_user(user):
        left.append(
            f"what {loaded.name} learned from this person, and their events in the folder of the run: not used in answers any more, and gone when it is "
            "trained again without them"
        )
    return [*left, "copies of the store and of run folders that were made elsewhere"]


def _tell_problems(app: FastAPI) -> None:
    """Every error as problem details."""

    def of_input(request: Request, error: Exception) -> Response:
        assert isinstance(error, RequestValidationError)
        kind = request.headers.get("content-type", "")
        if "body" in {found["loc"][0] for found in error.errors()} and "json" not in kind:
            return problem(415, "content", f"content-type: expected application/json, found {kind[:80] or 'none'}")
        return problem(422, "input", "; ".join(dict.fromkeys(map(_finding, error.errors()[:5]))))

    def of_gaterec(request: Request, error: Exception) -> Response:
        kinds: list[tuple[type[Exception], int, str]] = [
            (BusyError, 503, "busy"),
            (RequestError, 422, "request"),
            (EventsError, 503, "events"),
            (RunError, 409, "run"),
        ]
        status, name = next(((status, name) for kind, status, name in kinds if isinstance(error, kind)), (422, "request"))
        return problem(status, name, str(error))

    def of_http(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        names = {404: "path", 405: "method", 422: "input"}
        return problem(error.status_code, names.get(error.status_code, "http"), str(error.detail), error.headers)

    def of_fault(request: Request, error: Exception) -> Response:
        return problem(500, "broken", BROKEN)  # starlette raises it again, and the guard writes it down

    app.add_exception_handler(Exception, of_fault)
    app.add_exception_handler(RequestValidationError, of_input)
    app.add_exception_handler(GaterecError, of_gaterec)
    app.add_exception_handler(HTTPException, of_http)


def _finding(found: Any) -> str:
    """What is wrong with one field. A value of `where` may be of several types; what each of them would want is one sentence."""
    where = found["loc"]
    if where[:2] == ("body", "where") and len(where) > 3:
        return f"{_place(where[:3])}: expected text of at most {ID_LENGTH} bytes, a number, true or false, or a list of 1 to {MAX_VALUES} of these"
    return f"{_place(where)}: {told(found, values=False)}"


def _place(where: tuple[str | int, ...]) -> str:
    """
    >>> _place(("body", "history", 3)), _place(("query", "k"))
    ('history[3]', 'k')
    """
    if len(where) == 2 and isinstance(where[1], int):  # no JSON, from that letter on
        return f"{where[0]}, letter {where[1]}"
    text = "".join(f"[{part}]" if isinstance(part, int) else f".{part[:80]}" for part in where[1:] or where)
    return text.removeprefix(".")
