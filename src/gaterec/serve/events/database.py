"""What an event is, and what a database must do to keep events."""

import hashlib
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar

from gaterec.errors import GaterecError, RequestError

ID_BYTES = 512
"""The longest id of a person, an item or an event, in UTF-8: two of them fit into an entry of PostgreSQL's indexes."""
END = 2**63 - 1
"""No event has a higher number in order of arrival."""


class EventsError(GaterecError):
    """A store of events that can't be opened, read or written."""


class StoreBusy(EventsError):  # noqa: N818, a state that passes
    """More events wait to be written than the store takes: try again shortly."""


class StoreLost(EventsError):  # noqa: N818, a state that may pass
    """The files of the store are not those that were opened: what is written now would be gone after a restart."""


class DamagedError(EventsError):
    """A record that can't be read or written; others may be whole."""


class EventError(RequestError):
    """An event, or an id, that no store can keep."""


@dataclass(frozen=True, slots=True)
class Event:
    """A person chose an item.

    Args:
        user, item: ids, of 1 to ID_BYTES bytes in UTF-8.
        timestamp: in seconds since 1970 (or whatever the log counts in); finite.
        id: of this event among the person's; a second one of the same id is not kept. None: it has no id, and each time it is sent counts.

    Raises:
        EventError: a value is out of range.
    """

    user: str
    item: str
    timestamp: float
    id: str | None = None

    def __post_init__(self) -> None:
        check_id("user", self.user)
        check_id("item", self.item)
        if self.id is not None:
            check_id("id", self.id)
        try:
            timestamp = float(self.timestamp)
        except OverflowError:
            timestamp = math.inf
        if not math.isfinite(timestamp):
            raise EventError(f"timestamp: expected a finite number, found {self.timestamp}")
        object.__setattr__(self, "timestamp", timestamp)  # of a whole number too


@dataclass(frozen=True)
class Deleted:
    """What a deletion came to.

    Attributes:
        events: how many there were.
    """

    events: int


def check_id(what: str, text: str) -> None:
    """Raises EventError where no store can keep the id."""
    if not possible(text):
        short = text if len(text) <= 40 else f"{text[:40]}..."
        raise EventError(f"{what}: expected 1 to {ID_BYTES} bytes of UTF-8 without NUL, found {short!r}")


def possible(text: str) -> bool:
    """Whether it can be an id."""
    if not text or len(text) > ID_BYTES or "\0" in text:  # PostgreSQL has no NUL
        return False
    try:
        return text.isascii() or len(text.encode()) <= ID_BYTES
    except UnicodeEncodeError:  # half of a surrogate pair, as JSON may hold
        return False


def mark(salt: bytes, user: str) -> str:
    """What is kept of someone forgotten: who has the id can tell that it is marked, who has the mark alone can't tell the id."""
    return hashlib.blake2b(user.encode(), key=salt, digest_size=16).hexdigest()


class Closing(Protocol):
    """A connection, for which there is nothing else to know above a database."""

    def close(self) -> None: ...


C = TypeVar("C", bound=Closing)


class Database(Protocol[C]):
    """What keeps events.

    A method that gets a connection is the only one to use it meanwhile. What it writes is durable when it returns; when it
    raises, the connection is closed, which undoes what was not committed.

    Attributes:
        shown: its address, without passwords.
        errors: what its methods raise when the database fails.
    """

    shown: str
    errors: tuple[type[Exception], ...]

    def open(self) -> None:
        """Make the tables where there are none; raises EventsError where this can't be a store of ours."""

    def connect(self) -> C:
        """A new connection."""

    def close(self) -> None:
        """Let go of what `open` holds; all connections are closed."""

    def let_go(self) -> None:
        """Let go of the files after StoreLost, without harm to what is in their place now; no connection is in use."""

    def reopen(self) -> None:
        """Open the store again after StoreLost, if it is the same store; all connections are closed. Raises StoreLost where it is not."""

    def check(self) -> None:
        """Raises StoreLost where the files are not those that were opened. Called after each use, before anything is acknowledged: it is quick."""

    def examine(self, connection: C) -> None:
        """Raises StoreLost where the content is that of another store."""

    def probe(self, connection: C) -> None:
        """Write something, to see whether it can be written."""

    def told(self, error: Exception) -> str:
        """What the database said, in one line without passwords."""

    def damaged(self, error: BaseException) -> bool:
        """Whether the error is of some records alone."""

    def stale(self, connection: C) -> bool:
        """Whether an idle connection has ended meanwhile."""

    def insert(self, connection: C, events: Sequence[Event]) -> list[bool]:
        """Keep events, all or none; False for those that were there."""

    def items_of(self, connection: C, users: Sequence[str], limit: int) -> Iterable[tuple[str, str]]:
        """(user, item) of the latest events of each user, in order of time, then of arrival; no user comes twice in `users`."""

    def delete(self, connection: C, user: str) -> int:
        """Delete a user's events, mark the user as forgotten; how many events there were."""

    def marked(self, connection: C, users: Sequence[str]) -> set[str]:
        """Those of the users who are marked as forgotten."""

    def expire(self, connection: C, older_than: float, after: int, size: int) -> tuple[int, int | None]:
        """Delete old events of the next slice, of about `size` events, after number `after`; how many, and where to go on (None: at the end)."""

    def clear(self, connection: C) -> bool:
        """Clear what was deleted from the log too, as far as the database can; False where that has to be tried again."""

    def count(self, connection: C) -> int:
        """How many events there are."""
