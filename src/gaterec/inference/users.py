"""The users of a request: ids and histories in the run's own numbers."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from gaterec.data.split import ranges


@dataclass(frozen=True)
class Person:
    """Whom a query is for.

    Attributes:
        id: the outside world's, or None for a user without one.
        number: of the user's vector; 0 for a user whom the run does not know, or of whom training learned nothing.
        items: numbers of all events, the latest last.
        left_out: ids of events that are not in `items`, as the run does not know these items.
    """

    id: str | None
    number: int
    items: np.ndarray
    left_out: tuple[str, ...] = ()

    @property
    def basis(self) -> int:
        """Which of Recommender.bases the recommendations have: 0 without events, 1 without a vector of the user's own, else 2."""
        return 0 if not len(self.items) else 1 if not self.number else 2


class Histories(NamedTuple):
    """Many people at once.

    Attributes:
        numbers: (C,) int64, of the users' vectors; 0 for users without one, see Person.
        items: (N,) events, and those of others maybe.
        begins, counts: (C,) int64, person i's are items[begins[i] : begins[i] + counts[i]], the latest last.
    """

    numbers: np.ndarray
    items: np.ndarray
    begins: np.ndarray
    counts: np.ndarray

    @classmethod
    def of(cls, people: Sequence[Person]) -> "Histories":
        """Theirs, one after the other."""
        counts = np.array([len(person.items) for person in people])
        items = np.concatenate([person.items for person in people])
        return cls(np.array([person.number for person in people]), items, counts.cumsum() - counts, counts)

    def of_person(self, row: int) -> np.ndarray:
        """Their events."""
        begin = self.begins[row]
        events: np.ndarray = self.items[begin : begin + self.counts[row]]
        return events

    def basis(self) -> np.ndarray:
        """(C,) see Person.basis."""
        return np.where(self.counts == 0, 0, np.where(self.numbers == 0, 1, 2))

    def events(self) -> np.ndarray:
        """(M,) those of the first person, then those of the second, and so on."""
        events: np.ndarray = self.items[ranges(self.begins, self.counts)]
        return events
