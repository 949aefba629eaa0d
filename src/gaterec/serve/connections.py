"""A connection, and what uvicorn leaves open about one: how long the head of a request may take to come, how large it may be, and that an answer
leaves in one piece."""

import asyncio
from http import HTTPStatus
from typing import Any, cast

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from gaterec.serve.problems import problem

HEAD = 64 * 1024
"""Bytes of a request's line and headers, beyond which more of them are refused."""
HEAD_SECONDS = 10.0
"""So long may they take, and so long may a new connection be silent."""


class Whole:
    """A transport that sends what is written in one turn of the event loop as one: head and body of an answer, for which the system is asked once."""

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        self._transport, self._loop = transport, loop
        self._parts: list[bytes] = []

    def write(self, data: bytes) -> None:
        if not self._parts:
            self._loop.call_soon(self._send)
        self._parts.append(data)

    def close(self) -> None:
        self._send()
        self._transport.close()

    def _send(self) -> None:
        if self._parts:
            parts, self._parts = self._parts, []
            self._transport.write(b"".join(parts))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)


class Connection(HttpToolsProtocol):
    """One connection, on which requests come one after the other."""

    _head: int | None = 0
    """Bytes of a head that is not complete; None while a body comes."""
    _patience: asyncio.TimerHandle | None = None

    def connection_made(self, transport: Any) -> None:
        super().connection_made(cast(asyncio.Transport, Whole(transport, self.loop)))
        self._patience = self.loop.call_later(HEAD_SECONDS, self._refuse, HTTPStatus.REQUEST_TIMEOUT)

    def connection_lost(self, exc: Exception | None) -> None:
        self._be_patient()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._head is not None:
            self._head += len(data)
        super().data_received(data)
        if not self._head:  # nothing of a next request yet, or its body
            self._be_patient()
        elif self._head > HEAD:
            self._refuse(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE)
        elif self._patience is None:
            self._patience = self.loop.call_later(HEAD_SECONDS, self._refuse, HTTPStatus.REQUEST_TIMEOUT)

    def on_headers_complete(self) -> None:
        self._head = None
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        self._head = 0
        super().on_message_complete()

    def send_400_response(self, msg: str) -> None:
        self._refuse(HTTPStatus.BAD_REQUEST)

    def _be_patient(self) -> None:
        if self._patience is not None:
            self._patience.cancel()
            self._patience = None

    def _refuse(self, status: HTTPStatus) -> None:
        """Say why, and close."""
        self._be_patient()
        if self.transport.is_closing():
            return
        cycle = self.cycle
        own_body = cycle is not None and cycle.more_body and not cycle.response_started and not self.pipeline
        if cycle is None or cycle.response_complete or own_body:  # else it would be taken for the answer to an earlier request
            self.transport.write(TOLD[status])
        self.transport.close()


def _written(status: HTTPStatus, detail: str) -> bytes:
    answer = problem(status, "http", detail, {"connection": "close", "cache-control": "no-store"})
    head = b"".join(b"%s: %s\r\n" % header for header in answer.raw_headers)
    return b"HTTP/1.1 %d %s\r\n%s\r\n%s" % (status, status.phrase.encode(), head, bytes(answer.body))


TOLD = {
    status: _written(status, detail)
    for status, detail in (
        (HTTPStatus.BAD_REQUEST, "expected a request of HTTP/1.1"),
        (HTTPStatus.REQUEST_TIMEOUT, f"the head of the request took longer than {HEAD_SECONDS:g} seconds to come"),
        (HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, f"the head of the request may have {HEAD:,} bytes"),
    )
}
