"""Errors as people and programs read them: problem details (RFC 9457). Nothing of the server's inside comes out."""

import json
from collections.abc import Mapping
from http import HTTPStatus

from starlette.responses import Response

RETRY_AFTER = "1"
"""Seconds after which a refused client may try again."""

UNREAD = frozenset({HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.REQUEST_ENTITY_TOO_LARGE})
"""After these nobody reads what may still come of the request, so its connection ends."""


class ProblemError(Exception):
    """Ends a request.

    Args:
        status: of HTTP.
        name: after urn:gaterec:problem:, for programs.
        detail: where, what was expected, what was found, for people.
    """

    def __init__(self, status: int, name: str, detail: str) -> None:
        super().__init__(detail)
        self.status, self.name, self.detail = status, name, detail


def problem(status: int, name: str, detail: str, headers: Mapping[str, str] | None = None) -> Response:
    """The answer that tells a problem."""
    content = {"type": f"urn:gaterec:problem:{name}", "title": HTTPStatus(status).phrase, "status": status, "detail": detail}
    more = {"retry-after": RETRY_AFTER} if status == HTTPStatus.SERVICE_UNAVAILABLE else {}
    more |= {"connection": "close"} if status in UNREAD else {}
    more |= {"www-authenticate": "Bearer"} if status == HTTPStatus.UNAUTHORIZED else {}
    return Response(json.dumps(content), status, {**(headers or {}), **more}, "application/problem+json")
