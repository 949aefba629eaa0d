"""The queries of people, of whom those who come again are remembered: of a known window only newer events are computed.

The truth about someone's history is what is given with each request. Where what is remembered is not how that history began (it changed, or is
of another source), its window is computed anew, so an answer never depends on who was here before.
"""

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from gaterec.data.split import ranges
from gaterec.inference.fold_in import FoldIn
from gaterec.inference.users import Histories, Person
from gaterec.kernels.threads import in_threads
from gaterec.models.encoder import SequenceEncoder

AT_A_TIME = 256
"""So many people are computed at a time; what is kept of their windows stays in the cache."""
EVENTS = 20_000
"""So many events at a time, where nobody is remembered."""


@dataclass
class _Followed:
    """Where someone's window is, whose vector it was made with, and how many events were known."""

    place: int
    number: int
    count: int


class QueryCache:
    """Queries, and the windows of the people who came last.

    Args:
        model: in evaluation mode; its weights must not change any more.
        window: L.
        room: how many people are remembered, 0 for nobody; people without an id never are.
        fold_in: gives vectors to people whom the run doesn't know. As each event gives them another one, they are never remembered either.
            None makes them user 0.

    Attributes:
        hits: how many queries began at a remembered window.
        misses: how many of people with an id did not.
    """

    def __init__(self, model: SequenceEncoder, window: int, room: int = 10_000, fold_in: FoldIn | None = None) -> None:
        self.window, self.room, self.fold_in = window, room, fold_in
        self.hits = self.misses = 0
        self._threads = torch.get_num_threads()
        # Of short windows more fit into the cache, and Python's part of the work is the smaller.
        self._many = max(AT_A_TIME, EVENTS // window)
        self._model, self._windows = model, model.sequence_state(room + self._many * self._threads, window)
        # In one piece: small arrays that live long, among large ones that don't, would make the process grow.
        self._seen = np.zeros((room, window), dtype=np.int32)
        self._followed: OrderedDict[str, _Followed] = OrderedDict()
        self._free: list[int] = []  # places of people who were forgotten

    def __len__(self) -> int:
        """How many people are remembered."""
        return len(self._followed)

    @torch.inference_mode()
    def queries(self, people: Sequence[Person], *, follow: bool = True) -> Tensor:
        """(B, D), B > 0, the queries of people who have events; nobody else's means anything.

        Args:
            follow: whether they are remembered.
        """
        follow = follow and self.room > 0
        step, found = min(AT_A_TIME, self.room) if follow else AT_A_TIME, []
        for start in range(0, len(people), step):
            part = people[start : start + step]
            places, known = np.arange(self.room, self.room + len(part)), np.zeros(len(part), dtype=np.int64)
            fresh = np.ones(len(part), dtype=bool)
            asked: set[str] = set()
            for row, person in enumerate(part if follow else ()):
                changes = self.fold_in is not None and not person.number
                if person.id is None or person.id in asked or not len(person.items) or changes:
                    continue  # of someone who stands here twice, with other events maybe, the first is remembered
                asked.add(person.id)
                places[row], known[row] = self._follow(person)
                fresh[row] = not known[row]
            counts = np.array([len(person.items) for person in part])
            first = np.maximum(known, counts - self.window)
            recent = [person.items[begin:] for person, begin in zip(part, first.tolist(), strict=True)]
            numbers = np.array([person.number for person in part])
            self._begin(places[fresh], numbers[fresh], [part[row].items for row in np.flatnonzero(fresh & (numbers == 0)).tolist()])
            found.append(self._compute(places, first, counts, np.concatenate(recent)))
        return torch.cat(found)

    def queries_of(self, histories: Histories) -> Tensor:
        """(B, D), B > 0; nobody is remembered."""
        begins = range(0, len(histories.numbers), self._many)
        found: list[Tensor] = [torch.empty(0)] * len(begins)
        free = [self.room + self._many * number for number in range(self._threads)]  # where windows may be made for the moment

        def compute(number: int) -> None:
            part = slice(begins[number], begins[number] + self._many)
            numbers, counts = histories.numbers[part], histories.counts[part]
            newer = np.minimum(counts, self.window)
            recent = histories.items[ranges(histories.begins[part] + counts - newer, newer)]
            place = free.pop()
            places = np.arange(place, place + len(newer))
            self._begin(places, numbers, [histories.of_person(part.start + row) for row in np.flatnonzero(numbers == 0).tolist()])
            found[number] = self._compute(places, counts - newer, counts, recent)
            free.append(place)

        in_threads(compute, len(begins), torch.device("cpu") if torch.get_num_threads() <= self._threads else None)
        return torch.cat(found)

    @torch.inference_mode()
    def forget(self, user: str) -> None:
        """Let go of a person: nothing of their events or their vector stays here."""
        one = self._followed.pop(user, None)
        if one is None:
            return
        place, nothing = torch.tensor([one.place]), torch.zeros(self.window, dtype=torch.int64)
        self._windows.start(place, self._model.user_vectors(torch.zeros(1, dtype=torch.int64)))
        self._windows.append(place.expand(self.window), torch.arange(self.window), nothing)
        self._seen[one.place] = 0
        self._free.append(one.place)

    def _begin(self, places: np.ndarray, numbers: np.ndarray, of_new: Sequence[np.ndarray]) -> None:
        """People take these places; those whom the run doesn't know with vectors from their histories, which are `of_new`."""
        if not len(places):
            return
        vectors = self._model.user_vectors(torch.from_numpy(numbers))
        if self.fold_in is not None and of_new:
            vectors[torch.from_numpy(numbers == 0)] = self.fold_in(of_new)
        self._windows.start(torch.from_numpy(places), vectors)

    def _compute(self, places: np.ndarray, first: np.ndarray, counts: np.ndarray, items: np.ndarray) -> Tensor:
        """(B, D): for people at these places, who have begun, after all have got their events from the first .. to the last."""
        place = torch.from_numpy(places)
        newer = counts - first
        if len(items):
            events = torch.from_numpy(ranges(first, newer))
            self._windows.append(torch.from_numpy(np.repeat(places, newer)), events, torch.from_numpy(items.astype(np.int64)))
        return self._windows.query(place, torch.from_numpy(counts))

    def _follow(self, person: Person) -> tuple[int, int]:
        """Where the person's window is, and how many of their events it knows already."""
        assert person.id is not None
        one, count = self._followed.pop(person.id, None), len(person.items)
        window = person.items[max(0, count - self.window) :]
        known = 0
        if one is None:
            # Rooms are taken in turn, and then that of whoever came longest ago.
            if self._free:
                place = self._free.pop()
            else:
                place = len(self._followed) if len(self._followed) < self.room else self._followed.popitem(last=False)[1].place
            one = _Followed(place, person.number, count)
        else:
            before = person.items[max(0, one.count - self.window) : one.count]
            if one.count <= count and one.number == person.number and np.array_equal(before, self._seen[one.place, : len(before)]):
                known = one.count
            one.number, one.count = person.number, count
        self._seen[one.place, : len(window)] = window
        self._followed[person.id] = one
        self.hits, self.misses = self.hits + (known > 0), self.misses + (known == 0)
        return one.place, known
