"""The users of a run: ids, histories, new events, and which of them have trained vectors."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from gaterec.data.split import ranges
from gaterec.errors import RequestError
from gaterec.inference.ids import numbers_of, several, text
from gaterec.inference.run_folder import LoadedRun, load_histories, trained_users


@dataclass(frozen=True)
class RequestUser:
    """The user of a request.

    Attributes:
        id: the id in the log, or None for an anonymous user.
        number: the number of the user vector; 0 for a user without a trained vector.
        items: the item numbers of all events, the latest last.
        left_out: ids of events that are not in `items`, as the run does not know these items.
    """

    id: str | None
    number: int
    items: np.ndarray
    left_out: tuple[str, ...] = ()

    @property
    def basis(self) -> int:
        """The index in Recommender.bases: 0 without events, 1 without a trained user vector, else 2."""
        return 0 if not len(self.items) else 1 if not self.number else 2


class Histories(NamedTuple):
    """The histories of many users in one array.

    Attributes:
        numbers: (C,) int64, the numbers of the user vectors; see RequestUser.
        items: (N,) the item numbers of events; may contain events of further users.
        begins, counts: (C,) int64, the events of user i are items[begins[i] : begins[i] + counts[i]], the latest last.
    """

    numbers: np.ndarray
    items: np.ndarray
    begins: np.ndarray
    counts: np.ndarray

    @classmethod
    def of(cls, users: Sequence[RequestUser]) -> "Histories":
        """The histories of these users, one after the other."""
        counts = np.array([len(user.items) for user in users])
        items = np.concatenate([user.items for user in users])
        return cls(np.array([user.number for user in users]), items, counts.cumsum() - counts, counts)

    def of_user(self, row: int) -> np.ndarray:
        """The events of one user."""
        begin = self.begins[row]
        events: np.ndarray = self.items[begin : begin + self.counts[row]]
        return events

    def basis(self) -> np.ndarray:
        """(C,) see RequestUser.basis."""
        return np.where(self.counts == 0, 0, np.where(self.numbers == 0, 1, 2))

    def events(self) -> np.ndarray:
        """(M,) the events of the first user, then those of the second, and so on."""
        events: np.ndarray = self.items[ranges(self.begins, self.counts)]
        return events


class Users:
    """The users of a run, and the events that came after its log.

    Args:
        run: see gaterec.inference.run_folder.load_run.
        item_numbers: item id as text -> number.

    Attributes:
        items, offsets: the histories of the log; those of user i are items[offsets[i] : offsets[i + 1]].
        trained: (U,) whether training learned a vector of the user.
    """

    def __init__(self, run: LoadedRun, item_numbers: Mapping[str | None, int]) -> None:
        self.items, self.offsets = load_histories(run)
        self.trained = trained_users(run, self.offsets)
        self._numbers, self._item_numbers = numbers_of(run.users), item_numbers
        self._new_events: dict[str, list[int]] = {}

    def __contains__(self, user: Any) -> bool:
        return text(user) in self._numbers

    def add_event(self, user: str, item: int) -> None:
        """Append an item number to the history of a user, who may be new."""
        self._new_events.setdefault(user, []).append(item)

    def histories(self, users: Sequence[str | None], *, strict: bool = False) -> Histories:
        """The histories of many users; equals Histories.of(self.request_users(users, None)) and is faster.

        Raises:
            RequestError: an unknown user when strict.
        """
        if strict or self._new_events:
            return Histories.of(self.request_users(users, None, strict=strict))
        numbers = np.array([self._numbers.get(user, 0) for user in users])
        begins = self.offsets[numbers]
        return Histories(np.where(self.trained[numbers], numbers, 0), self.items, begins, self.offsets[numbers + 1] - begins)

    def request_users(
        self, users: Iterable[Any] | None, histories: Iterable[Iterable[Any]] | None, *, strict: bool = False
    ) -> list[RequestUser]:
        """The users of requests, with all events whose items the run knows; for the arguments see Recommender.recommend.

        Raises:
            RequestError: an unknown user when strict, neither users nor histories, or not one history for each user.
        """
        newer = None
        if histories is not None:
            each = [several("histories", history, lists=True) for history in several("histories", histories, lists=True)]
            newer = [[text(item) for item in history] for history in each]
        ids: Sequence[str | None] = [None] * len(newer or []) if users is None else [text(user) for user in several("users", users)]
        if newer is not None and len(newer) != len(ids):
            raise RequestError(f"histories: expected one for each of the {len(ids):,} users, found {len(newer):,}")
        if users is None and newer is None:
            raise RequestError("recommend: expected users, histories, or both")
        return [self._request_user(name, [] if newer is None else newer[row], strict=strict) for row, name in enumerate(ids)]

    def _request_user(self, name: str | None, newer: Sequence[str | None], *, strict: bool) -> RequestUser:
        number = 0 if name is None else self._numbers.get(name, 0)
        if strict and not number:
            raise RequestError(
                f"user {name!r}: the run knows no such user" if name is not None else "strict: expected users with ids, found one without"
            )
        past = self.items[self.offsets[number] : self.offsets[number + 1]] if number else self.items[:0]
        later = [] if name is None else self._new_events.get(name, [])
        later = [*later, *(self._item_numbers[item] for item in newer if item in self._item_numbers)]
        left_out = tuple(str(item) for item in newer if item not in self._item_numbers)
        events = np.concatenate([past, np.array(later, dtype=past.dtype)])
        return RequestUser(name, number if self.trained[number] else 0, events, left_out)
