"""A server that answers (`gaterec serve`), as Python calls: typed questions and answers, the very models that the server has (gaterec.serve.schemas).

    with Client("http://127.0.0.1:8000") as server:
        server.add_event("u1", "i7")
        print(server.recommend("u1", k=5).items)

It needs nothing of the server's extra. What may safely be sent twice is: reads, deletions, and events, as each has an id by which it counts once.
"""

import time
import warnings
from collections.abc import Iterable, Mapping
from types import TracebackType
from typing import Any, TypeVar
from urllib.parse import quote
from uuid import uuid4

import httpx
from pydantic import BaseModel, TypeAdapter, ValidationError

from gaterec.config.findings import told
from gaterec.errors import GaterecError, RequestError
from gaterec.inference.conditions import as_texts
from gaterec.inference.ids import several, text
from gaterec.serve.schemas import (
    DeleteAnswer,
    EventAnswer,
    EventRequest,
    ExplainAnswer,
    ExplainRequest,
    HealthAnswer,
    Id,
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

RETRIES = 3
"""So many times what was refused for now (503), or lost with its connection, is sent again, where that is safe."""
PATIENCE = 5.0
"""The longest wait before sending again, in seconds; a server that asks for more is not waited for."""

A = TypeVar("A", bound=BaseModel)
_ID: TypeAdapter[str] = TypeAdapter(Id)


class ServerError(GaterecError):
    """The server refused, or can't be reached.

    Attributes:
        status: of HTTP; 0 where there was no answer.
        name: for programs: urn:gaterec:problem:busy, ...; about:blank where what answered is no gaterec server, or nothing did.
        detail: for people: where, what was expected, what was found.
        retry_after: seconds after which to try again, where the server told.
    """

    def __init__(self, status: int, name: str, detail: str, retry_after: float | None = None) -> None:
        super().__init__(detail)
        self.status, self.name, self.detail, self.retry_after = status, name, detail, retry_after


class Client:
    """A server. For any number of threads; connections are kept open and shared.

    Args:
        address: of the server, as in http://127.0.0.1:8000.
        token: the one that the server wants, if any.
        timeout: seconds to wait for a connection, and for each answer.
        transport: how requests travel, for tests and special networks.

    All methods raise ServerError where the server refuses or can't be reached, and RequestError for what can't be asked.
    """

    def __init__(
        self, address: str, token: str | None = None, *, timeout: float = 10.0, transport: httpx.BaseTransport | None = None
    ) -> None:
        self.address = address.rstrip("/")
        headers: Any = {} if token is None else {"authorization": f"Bearer {token}"}
        try:
            url, headers = httpx.URL(self.address), httpx.Headers(headers)
        except (httpx.InvalidURL, UnicodeEncodeError) as error:
            raise RequestError(f"address: {address}: {error}") from None
        try:
            self._http = httpx.Client(base_url=url, headers=headers, timeout=timeout, transport=transport)
        except (ImportError, ValueError, httpx.InvalidURL):  # httpx has one for each way in which a proxy can be wrong
            raise RequestError(f"address: {address}: HTTP_PROXY, HTTPS_PROXY or ALL_PROXY is no address of a proxy; unset it") from None

    def __enter__(self) -> "Client":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the connections."""
        self._http.close()

    # -- users ---------------------------------------------------------------------------------------------------------------------

    def recommend(
        self,
        user: Any = None,
        history: Iterable[Any] = (),
        k: int = 10,
        *,
        seen: bool = False,
        deny: Iterable[Any] = (),
        allow: Iterable[Any] | None = None,
        where: Mapping[str, Any] | None = None,
        diversity: float = 0.0,
    ) -> RecommendAnswer:
        """The best items for a person, for a history, or for anybody; see RecommendRequest."""
        asked = _checked(
            RecommendRequest,
            user=text(user),
            history=_texts("history", history),
            k=k,
            seen=seen,
            deny=_texts("deny", deny),
            allow=None if allow is None else _texts("allow", allow),
            where={name: list(as_texts(name, value)) for name, value in (where or {}).items()},
            diversity=diversity,
        )
        return self._ask(RecommendAnswer, "POST", "/recommend", asked)

    def explain(self, item: Any, user: Any = None, history: Iterable[Any] = ()) -> ExplainAnswer:
        """Why an item would be recommended: every part of its score."""
        asked = _checked(ExplainRequest, item=text(item), user=text(user), history=_texts("history", history))
        return self._ask(ExplainAnswer, "POST", "/explain", asked)

    def add_event(self, user: Any, item: Any, timestamp: float | None = None, id: Any = None) -> EventAnswer:
        """One more event of a person, durable when this returns.

        Args:
            timestamp: in seconds since 1970; now where it is left out.
            id: a name of this event alone: sent again, it counts once. It gets one of its own where it has none.
        """
        asked = _checked(EventRequest, user=text(user), item=text(item), timestamp=timestamp, id=uuid4().hex if id is None else text(id))
        return self._ask(EventAnswer, "POST", "/events", asked)

    def users(self, q: str = "", limit: int = 20) -> UsersAnswer:
        """Users of the run whose ids begin with `q`."""
        return self._ask(UsersAnswer, "GET", "/users", q=q, limit=limit)

    def user(self, user: Any, limit: int = 20) -> UserAnswer:
        """The history of a user: how many events it has, and the latest of them."""
        return self._ask(UserAnswer, "GET", _path_of(user), limit=limit)

    def delete_user(self, user: Any) -> DeleteAnswer:
        """Delete all events of a user; later answers use nothing that the run learned about the user."""
        return self._ask(DeleteAnswer, "DELETE", _path_of(user))

    def people(self, q: str = "", limit: int = 20) -> PeopleAnswer:
        """Deprecated: the earlier name of users."""
        warnings.warn("Client.people is deprecated: call Client.users", DeprecationWarning, stacklevel=2)
        found = self.users(q, limit)
        return PeopleAnswer(people=found.users, total=found.total)

    def person(self, user: Any, limit: int = 20) -> UserAnswer:
        """Deprecated: the earlier name of user."""
        warnings.warn("Client.person is deprecated: call Client.user", DeprecationWarning, stacklevel=2)
        return self.user(user, limit)

    # -- items ---------------------------------------------------------------------------------------------------------------------

    def similar(self, item: Any, k: int = 10) -> SimilarAnswer:
        """Items that are chosen like this one."""
        return self._ask(SimilarAnswer, "GET", "/similar", item=_id("item", item), k=k)

    def items(self, q: str = "", limit: int = 20) -> ItemsAnswer:
        """Items with `q` in their title; without it, the most chosen."""
        return self._ask(ItemsAnswer, "GET", "/items", q=q, limit=limit)

    def item(self, item: Any) -> ItemAnswer:
        """All that the run's table says of an item."""
        return self._ask(ItemAnswer, "GET", "/item", item=_id("item", item))

    # -- the server ----------------------------------------------------------------------------------------------------------------

    def model(self) -> ModelAnswer:
        """The run that answers."""
        return self._ask(ModelAnswer, "GET", "/model")

    def reload(self) -> ReloadAnswer:
        """Take the newest run of the server's folder. Asked once: the server may be at it when an answer is lost."""
        return self._ask(ReloadAnswer, "POST", "/reload", retries=0)

    def health(self) -> HealthAnswer:
        """Whether the process is there."""
        return self._ask(HealthAnswer, "GET", "/health")

    def ready(self) -> HealthAnswer:
        """Whether it can answer; asked once."""
        return self._ask(HealthAnswer, "GET", "/ready", retries=0)

    def version(self) -> VersionAnswer:
        """Which gaterec, and which run."""
        return self._ask(VersionAnswer, "GET", "/version")

    # -- sending -------------------------------------------------------------------------------------------------------------------

    def _ask(self, kind: type[A], method: str, path: str, asked: BaseModel | None = None, retries: int = RETRIES, **query: Any) -> A:
        content = None if asked is None else asked.model_dump_json(exclude_defaults=True).encode()
        headers = {} if content is None else {"content-type": "application/json"}
        while True:
            try:
                response = self._http.request(method, path, params=query or None, content=content, headers=headers)
                return self._read(kind, response)
            except ServerError as error:
                wait = 1.0 if error.retry_after is None else error.retry_after
                if error.status != 503 or not retries or wait > PATIENCE:
                    raise
            except (
                httpx.RemoteProtocolError,
                httpx.ReadError,
                httpx.WriteError,
            ) as error:  # it closed the connection, as it may between two requests
                wait = 0.0
                if not retries:
                    raise self._unreachable(error) from None
            except httpx.HTTPError as error:
                raise self._unreachable(error) from None
            except (UnicodeEncodeError, httpx.InvalidURL) as error:  # half of a surrogate pair in a query, say
                raise RequestError(f"{path}: can't be asked: {error}") from None
            retries -= 1
            time.sleep(wait)

    def _read(self, kind: type[A], response: httpx.Response) -> A:
        if not response.is_success:
            after = response.headers.get("retry-after", "")
            wait = float(after) if after.isdecimal() else None
            try:
                told = Problem.model_validate_json(response.content)
            except ValidationError:
                what = f"{self.address}: answered {response.status_code}, and nothing that a gaterec server says"
                raise ServerError(response.status_code, "about:blank", what, wait) from None
            raise ServerError(response.status_code, told.type, told.detail, wait)
        try:
            return kind.model_validate_json(response.content)
        except ValidationError:
            what = (
                f"{self.address}: its answer to {response.url.path} is no {kind.__name__}: another program, or another version of gaterec?"
            )
            raise ServerError(response.status_code, "about:blank", what) from None

    def _unreachable(self, error: httpx.HTTPError) -> ServerError:
        what = "no answer in time" if isinstance(error, httpx.TimeoutException) else str(error) or type(error).__name__
        return ServerError(0, "about:blank", f"{self.address}: can't be reached: {what}")


def _texts(name: str, values: Iterable[Any]) -> list[str | None]:
    return [text(value) for value in several(name, values)]


def _checked(kind: type[A], **fields: Any) -> A:
    """A question; raises RequestError in one line where it can't be one."""
    try:
        return kind(**fields)
    except ValidationError as error:
        raise RequestError(_told(error)) from None


def _id(what: str, value: Any) -> str:
    try:
        return _ID.validate_python(text(value))
    except ValidationError as error:
        raise RequestError(f"{what}: {told(error.errors()[0])}") from None


def _path_of(user: Any) -> str:
    # `..` would be taken for the folder above.
    return "/users/" + quote(_id("user", user), safe="").replace(".", "%2E")


def _told(error: ValidationError) -> str:
    return "; ".join(f"{'.'.join(map(str, found['loc']))}: {told(found)}" for found in error.errors()[:5])
