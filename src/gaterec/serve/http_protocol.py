"""A connection: uvicorn's protocol on h11, and what both leave open: how long a client may take to send, and what a refusal says."""

import asyncio
import sys
from http import HTTPStatus
from typing import Any

import h11
from uvicorn.protocols.http.flow_control import FlowControl
from uvicorn.protocols.http.h11_impl import H11Protocol

from gaterec.serve.problems import problem

HEAD = 64 * 1024
"""Maximum number of bytes of a request's line and headers, and of the trailers after a chunked body."""
HEAD_SECONDS = 10.0
"""Maximum time for a head to arrive, for a new connection to be silent, and for the rest of a refused body to arrive."""
CHUNKS = 1000
"""Maximum number of chunks of a body. Each chunk costs the event loop time, however small it is."""


class _Parser(h11.Connection):
    """Refuses requests whose end two readers may see at different places, and bodies of many small chunks."""

    _chunks = 0

    def next_event(self) -> Any:
        event = super().next_event()
        if isinstance(event, h11.Request):
            self._chunks = 0
            names = {name for name, _ in event.headers}
            chunked = b"transfer-encoding" in names
            if not event.target.startswith(b"/") or (chunked and (b"content-length" in names or event.http_version != b"1.1")):
                raise h11.RemoteProtocolError("ambiguous")
        elif isinstance(event, h11.Data):
            self._chunks += event.chunk_start
            if self._chunks > CHUNKS:
                raise h11.RemoteProtocolError("too many chunks", error_status_hint=HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
        return event


class _Flow(FlowControl):
    """Reads nothing more while requests wait that were read already: each answer would let in the next 256 KiB of them."""

    def __init__(self, transport: asyncio.Transport, parser: h11.Connection) -> None:
        super().__init__(transport)
        self._parser = parser

    def resume_reading(self) -> None:
        if len(self._parser.trailing_data[0]) <= HEAD:
            super().resume_reading()


class Connection(H11Protocol):
    """One connection, on which requests are read one after the other: the next one after the answer to the last one was written."""

    _patience: asyncio.TimerHandle | None = None

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.conn = _Parser(h11.SERVER, HEAD)

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self.flow = _Flow(transport, self.conn)
        self._wait()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_waiting()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self.conn.their_state is h11.IDLE and not self.conn.trailing_data[0]:
            data = data.lstrip(b"\r\n")  # RFC 9112, 2.2: empty lines before a request are ignored
            if not data:
                return
        super().data_received(data)

    def handle_events(self) -> None:
        super().handle_events()
        half_head = self.conn.their_state is h11.IDLE and self.conn.trailing_data[0]
        refused_body = self.conn.their_state is h11.SEND_BODY and self.conn.our_state is h11.DONE
        if not half_head and not refused_body:
            self._stop_waiting()
        elif self._patience is None:
            self._wait()

    def send_400_response(self, msg: str) -> None:
        self._refuse(HTTPStatus(getattr(sys.exception(), "error_status_hint", HTTPStatus.BAD_REQUEST)))

    def _wait(self) -> None:
        self._patience = self.loop.call_later(HEAD_SECONDS, self._refuse, HTTPStatus.REQUEST_TIMEOUT)

    def _stop_waiting(self) -> None:
        if self._patience is not None:
            self._patience.cancel()
            self._patience = None

    def _refuse(self, status: HTTPStatus) -> None:
        """Say why, unless an answer to this request has begun, and close."""
        self._stop_waiting()
        if self.transport.is_closing():
            return
        if self.conn.our_state in {h11.IDLE, h11.SEND_RESPONSE}:
            self.transport.write(REFUSALS.get(status, REFUSALS[HTTPStatus.BAD_REQUEST]))
        self.transport.close()


def _written(status: HTTPStatus, detail: str) -> bytes:
    answer = problem(status, "http", detail, {"connection": "close", "cache-control": "no-store"})
    head = b"".join(b"%s: %s\r\n" % header for header in answer.raw_headers)
    return b"HTTP/1.1 %d %s\r\n%s\r\n%s" % (status, status.phrase.encode(), head, bytes(answer.body))


REFUSALS = {
    status: _written(status, detail)
    for status, detail in (
        (
            HTTPStatus.BAD_REQUEST,
            "expected a request of HTTP/1.1: METHOD /PATH HTTP/1.1, one Host, and a body with either a Content-Length or chunks",
        ),
        (HTTPStatus.REQUEST_TIMEOUT, f"the head of the request took longer than {HEAD_SECONDS:g} seconds to come"),
        (HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"the body may have {CHUNKS:,} chunks; send larger chunks, or a content-length"),
        (HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, f"the head of the request and the trailers may have {HEAD:,} bytes each"),
        (HTTPStatus.NOT_IMPLEMENTED, "transfer-encoding: expected chunked, or a content-length"),
    )
}
