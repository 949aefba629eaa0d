"""What stands before every request, so that no path can forget it: how many at a time, which host and origin, the token, the size and the pace of the
body; and behind every answer: headers, figures, and a plain word where something broke."""

import asyncio
import hmac
import logging
import time
from collections.abc import Callable, Collection, MutableMapping
from typing import Any

from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from gaterec.serve.metrics import Metrics
from gaterec.serve.problems import ProblemError, problem

LOG = logging.getLogger("gaterec.serve")
OPEN = frozenset({"/", "/health", "/ready", "/openapi.json"})
"""Paths that need no token: they tell nothing of people, items or the run. So are those below the next ones."""
OPEN_BELOW = ("/page/", "/docs")
HEADERS = {
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), geolocation=(), microphone=()",
}
OWN_ALONE = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'"
)
"""The page: nothing but files of this server."""
OF_DOCS = OWN_ALONE.replace("style-src 'self'", "style-src 'self' 'unsafe-inline'")
"""Swagger UI writes styles into its elements."""

BROKEN = "the server broke while answering; its log says where"


class RequestGuard:
    """See the top of the file.

    Args:
        app: what is guarded.
        metrics: where requests are counted.
        token: what clients must show; None for none.
        hosts: which names of this server are right; None for any. A page of another site whose name was pointed at this machine has another.
        body: how many bytes a request may have.
        body_seconds: how long it may take to come.
        at_a_time: how many requests may be under way; beyond it they are refused before anything is read.
        full: whether what a method and a path need has no room for another request, which is then refused too.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        metrics: Metrics,
        token: str | None,
        hosts: Collection[str] | None,
        body: int,
        body_seconds: float,
        at_a_time: int,
        full: Callable[[str, str], bool] = lambda method, path: False,
    ) -> None:
        self._app, self._metrics, self._body, self._body_seconds, self._at_a_time = app, metrics, body, body_seconds, at_a_time
        self._token = None if token is None else token.encode()
        self._hosts = None if hosts is None else {host.lower() for host in hosts}
        self._full, self._now = full, 0
        self._refused = metrics.requests.labels("refused", 503)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        begin, answer = time.perf_counter(), _Answer(scope, send)
        if self._now >= self._at_a_time or self._full(scope["method"], scope["path"]):
            self._refused.inc()
            await BUSY(scope, receive, send)
            return
        self._now += 1
        try:
            self._check(scope)
            body = b""
            if _has_body(scope):
                async with asyncio.timeout(self._body_seconds):
                    body = await self._read(scope, receive)
            await self._app(scope, _replayed(body, receive), answer)
        except ProblemError as error:
            await answer.tell(error)
        except TimeoutError:
            await answer.tell(ProblemError(408, "slow", f"the body took longer than {self._body_seconds:g} seconds to come"))
        except ClientDisconnect:
            answer.status = 499
        except Exception:
            LOG.exception("%s %s broke", scope["method"], _path(scope))
            await answer.tell(ProblemError(500, "broken", BROKEN))
        finally:
            self._now -= 1
            path = _path(scope)
            self._metrics.requests.labels(path, answer.status).inc()
            self._metrics.seconds.labels(path).observe(time.perf_counter() - begin)

    def _check(self, scope: Scope) -> None:
        headers = {name: value for name, value in scope["headers"] if name in _READ}
        host = headers.get(b"host", b"").decode("latin-1").lower()
        if self._hosts is not None and _name(host) not in self._hosts:
            raise ProblemError(421, "host", f"host: this server is called {' or '.join(sorted(self._hosts))}")
        origin = headers.get(b"origin")
        if origin is not None and scope["method"] not in {"GET", "HEAD"} and origin.decode("latin-1").lower().partition("://")[2] != host:
            raise ProblemError(403, "origin", "origin: pages of other sites may change nothing here")
        if self._token is not None and not _open(scope["path"]):
            kind, _, shown = headers.get(b"authorization", b"").partition(b" ")
            if kind.lower() != b"bearer" or not hmac.compare_digest(shown.strip(), self._token):
                raise ProblemError(401, "token", "authorization: expected 'Bearer TOKEN' with this server's token")
        length = headers.get(b"content-length", b"")
        if length.isdigit() and int(length) > self._body:
            raise self._too_large()

    async def _read(self, scope: Scope, receive: Receive) -> bytes:
        parts, size = [], 0
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                raise ClientDisconnect
            parts.append(message.get("body", b""))
            size += len(parts[-1])
            if size > self._body:
                raise self._too_large()
            if not message.get("more_body", False):
                return b"".join(parts)

    def _too_large(self) -> ProblemError:
        return ProblemError(413, "large", f"the body may have {self._body:,} bytes")


_READ = frozenset({b"host", b"origin", b"authorization", b"content-length"})


class _Answer:
    """Sends an answer on, with headers of ours, and remembers its status."""

    def __init__(self, scope: Scope, send: Send) -> None:
        self._scope, self._send = scope, send
        self.status = 0

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            given = {name for name, _ in message["headers"]}
            more = [header for header in _own(self._scope["path"]) if header[0] not in given]
            message = {**message, "headers": [*message["headers"], *more]}
        await self._send(message)

    async def tell(self, error: ProblemError) -> None:
        """A problem, unless an answer has begun already."""
        if not self.status:
            await problem(error.status, error.name, error.detail)(self._scope, _nothing, self)


def _headers(policy: str, cache: str) -> list[tuple[bytes, bytes]]:
    own = HEADERS | {"content-security-policy": policy, "cache-control": cache}
    return [(name.encode(), value.encode()) for name, value in own.items()]


OF_ANSWERS, OF_PAGE, OF_ITS_DOCS = _headers(OWN_ALONE, "no-store"), _headers(OWN_ALONE, "no-cache"), _headers(OF_DOCS, "no-cache")


def _own(path: str) -> list[tuple[bytes, bytes]]:
    """The headers that answers get from us."""
    if path.startswith("/docs"):
        return OF_ITS_DOCS
    return OF_PAGE if path == "/" or path.startswith(OPEN_BELOW) else OF_ANSWERS


BUSY = problem(503, "busy", "as many requests as can wait are waiting already; try again a little later")
"""Made beforehand: a server that is asked too much has no time for more."""
BUSY.raw_headers.extend(OF_ANSWERS)


async def _nothing() -> Message:
    return {"type": "http.disconnect"}


def _replayed(body: bytes, receive: Receive) -> Receive:
    """Gives a body that was read already, then what comes after it."""
    waiting: list[MutableMapping[str, Any]] = [{"type": "http.request", "body": body, "more_body": False}]

    async def replayed() -> Message:
        return waiting.pop() if waiting else await receive()

    return replayed


def _has_body(scope: Scope) -> bool:
    return any(name == b"transfer-encoding" or (name == b"content-length" and value != b"0") for name, value in scope["headers"])


def _open(path: str) -> bool:
    return path in OPEN or path.startswith(OPEN_BELOW)


def _name(host: str) -> str:
    """
    >>> _name("localhost:8000"), _name("[::1]:8000"), _name("[::1]")
    ('localhost', '[::1]', '[::1]')
    """
    return host[: host.index("]") + 1] if host.startswith("[") and "]" in host else host.partition(":")[0]


def _path(scope: Scope) -> str:
    """The path as it was declared, without anybody's ids in it."""
    return str(getattr(scope.get("route"), "path", None) or "other")
