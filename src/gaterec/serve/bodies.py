"""Bodies of requests: JSON that is small in every way before anything else looks at it, so that no body holds up the event loop for long."""

import json
from collections.abc import Awaitable, Callable
from typing import Any

from fastapi import Request, Response
from fastapi.routing import APIRoute
from starlette.exceptions import HTTPException

MAX_VALUES = 25_000
"""Maximum number of keys and values in a body. The largest question has two lists of 10,000 items and a history of 1,000."""
MAX_KEYS = 32
"""Maximum number of keys in an object."""
MARKS = (b",", b":", b"[", b"{")
"""Outside of strings, each value but the first follows one of these."""


def read_json(body: bytes) -> Any:
    """The value of a JSON text.

    Raises:
        json.JSONDecodeError: it is no JSON.
        HTTPException: 422; it has too many values or keys, a key twice, too deep a nesting, a number that is too long, or no text encoding.
    """
    if _too_many(body):
        raise _refused(f"at most {MAX_VALUES:,} values, found more")
    try:
        return json.loads(body.decode(), object_pairs_hook=_object)
    except RecursionError:
        raise _refused("objects and lists, found them nested too deeply") from None
    except UnicodeDecodeError as error:
        raise _refused(f"JSON in UTF-8, found byte 0x{error.object[error.start]:02x} at position {error.start}") from None
    except json.JSONDecodeError:
        raise
    except ValueError:  # Python reads no integer of more than 4,300 digits
        raise _refused("numbers of at most 4,300 digits, found a longer one") from None


class JSONRoute(APIRoute):
    """A route whose body is read by read_json."""

    def get_route_handler(self) -> Callable[[Request], Awaitable[Response]]:  # type: ignore[override]
        handler = super().get_route_handler()

        async def handle(request: Request) -> Response:
            return await handler(_Request(request.scope, request.receive))

        return handle


class _Request(Request):
    async def json(self) -> Any:
        return read_json(await self.body())


def _too_many(body: bytes) -> bool:
    """Whether there are more than MAX_VALUES, by counts that cost much less than reading them."""
    if sum(map(body.count, MARKS)) <= MAX_VALUES:
        return False
    plain = body.replace(b"\\\\", b"").replace(b'\\"', b"")  # each quotation mark that is left begins or ends a string
    return plain.count(b'"') > 2 * MAX_VALUES or sum(map(b"".join(plain.split(b'"')[::2]).count, MARKS)) > MAX_VALUES


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len(pairs) > MAX_KEYS:
        raise _refused(f"at most {MAX_KEYS} keys in an object, found {len(pairs):,}")
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise _refused(f"each key once, found {twice[:80]!r} twice")
    return found


def _refused(expected: str) -> HTTPException:
    return HTTPException(422, f"body: expected {expected}")
