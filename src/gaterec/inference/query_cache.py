"""Query cache: for a returning user only new events are encoded.

Each request carries the whole history of its user. Where the cached events are not a prefix of that history, the state of the sequence is
computed anew, so an answer never depends on earlier requests.
"""

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from gaterec.data.split import ranges
from gaterec.inference.fold_in import FoldIn
from gaterec.inference.users import Histories, RequestUser
from gaterec.kernels.threads import in_threads
from gaterec.models.encoder import SequenceEncoder

USERS_PER_BATCH = 256
"""Users whose queries are computed together; the states of so many sequences stay in the processor's cache."""
EVENTS_PER_BATCH = 20_000
"""Events that are encoded together when nothing is cached."""


@dataclass
class _Entry:
    """A cached user: the slot of the state, the number of the user vector it was computed with, and the number of encoded events."""

    slot: int
    number: int
    count: int


class QueryCache:
    """Computes queries, and caches the sequence states of the users who came last.

    Args:
        model: in evaluation mode; its weights must not change any more.
        window: L.
        capacity: the number of cached users, 0 to cache none. Users without an id are never cached.
        fold_in: computes the vectors of users without a trained one. Each event changes such a vector, so these users are never cached.
            None gives them the vector of user 0.

    Attributes:
        hits: the number of queries that continued a cached state.
        misses: the number of queries of users with an id that did not.
    """

    def __init__(self, model: SequenceEncoder, window: int, capacity: int = 10_000, fold_in: FoldIn | None = None) -> None:
        self.window, self.capacity, self.fold_in = window, capacity, fold_in
        self.hits = self.misses = 0
        self._threads = torch.get_num_threads()
        # More short histories fit into the processor's cache, and larger batches spend less time in Python.
        self._batch = max(USERS_PER_BATCH, EVENTS_PER_BATCH // window)
        # The slots after the cached ones are scratch memory, one batch for each thread.
        self._model, self._state = model, model.sequence_state(capacity + self._batch * self._threads, window)
        # One array: small arrays that live long, between large ones that do not, would make the process grow.
        self._events = np.zeros((capacity, window), dtype=np.int32)
        self._entries: OrderedDict[str, _Entry] = OrderedDict()
        self._free: list[int] = []  # slots of users who were deleted

    def __len__(self) -> int:
        """The number of cached users."""
        return len(self._entries)

    @torch.inference_mode()
    def queries(self, users: Sequence[RequestUser], *, cache: bool = True) -> Tensor:
        """(B, D), B > 0, the queries; the rows of users without events are undefined.

        Args:
            cache: whether to look users up in the cache and to keep them there.
        """
        cache = cache and self.capacity > 0
        step, queries = min(USERS_PER_BATCH, self.capacity) if cache else USERS_PER_BATCH, []
        for start in range(0, len(users), step):
            batch = users[start : start + step]
            slots, known = np.arange(self.capacity, self.capacity + len(batch)), np.zeros(len(batch), dtype=np.int64)
            fresh = np.ones(len(batch), dtype=bool)
            ids: set[str] = set()
            for row, user in enumerate(batch if cache else ()):
                folded_in = self.fold_in is not None and not user.number
                if user.id is None or user.id in ids or not len(user.items) or folded_in:
                    continue  # of several requests of one user, whose histories may differ, the first is cached
                ids.add(user.id)
                slots[row], known[row] = self._slot_of(user)
                fresh[row] = not known[row]
            counts = np.array([len(user.items) for user in batch])
            first = np.maximum(known, counts - self.window)
            recent = [user.items[begin:] for user, begin in zip(batch, first.tolist(), strict=True)]
            numbers = np.array([user.number for user in batch])
            self._start(slots[fresh], numbers[fresh], [batch[row].items for row in np.flatnonzero(fresh & (numbers == 0)).tolist()])
            queries.append(self._append_and_query(slots, first, counts, np.concatenate(recent)))
        return torch.cat(queries)

    def queries_of(self, histories: Histories) -> Tensor:
        """(B, D), B > 0, without the cache."""
        starts = range(0, len(histories.numbers), self._batch)
        queries: list[Tensor] = [torch.empty(0)] * len(starts)
        scratch = [self.capacity + self._batch * number for number in range(self._threads)]  # first slots that no thread uses

        def compute(number: int) -> None:
            part = slice(starts[number], starts[number] + self._batch)
            numbers, counts = histories.numbers[part], histories.counts[part]
            newer = np.minimum(counts, self.window)
            recent = histories.items[ranges(histories.begins[part] + counts - newer, newer)]
            slot = scratch.pop()
            slots = np.arange(slot, slot + len(newer))
            self._start(slots, numbers, [histories.of_user(part.start + row) for row in np.flatnonzero(numbers == 0).tolist()])
            queries[number] = self._append_and_query(slots, counts - newer, counts, recent)
            scratch.append(slot)

        in_threads(compute, len(starts), torch.device("cpu") if torch.get_num_threads() <= self._threads else None)
        return torch.cat(queries)

    @torch.inference_mode()
    def forget(self, user: str) -> None:
        """Remove a user: neither events nor a vector of the user stay in memory."""
        entry = self._entries.pop(user, None)
        if entry is None:
            return
        slot, padding = torch.tensor([entry.slot]), torch.zeros(self.window, dtype=torch.int64)
        self._state.start(slot, self._model.user_vectors(torch.zeros(1, dtype=torch.int64)))
        self._state.append(slot.expand(self.window), torch.arange(self.window), padding)
        self._events[entry.slot] = 0
        self._free.append(entry.slot)

    def _start(self, slots: np.ndarray, numbers: np.ndarray, histories: Sequence[np.ndarray]) -> None:
        """Start the states in these slots; users without a trained vector get one from their `histories`."""
        if not len(slots):
            return
        vectors = self._model.user_vectors(torch.from_numpy(numbers))
        if self.fold_in is not None and histories:
            vectors[torch.from_numpy(numbers == 0)] = self.fold_in(histories)
        self._state.start(torch.from_numpy(slots), vectors)

    def _append_and_query(self, slots: np.ndarray, first: np.ndarray, counts: np.ndarray, items: np.ndarray) -> Tensor:
        """(B, D): append the events from number `first` to number `counts` of each user to the started states, and compute the queries."""
        newer = counts - first
        if len(items):
            events = torch.from_numpy(ranges(first, newer))
            self._state.append(torch.from_numpy(np.repeat(slots, newer)), events, torch.from_numpy(items.astype(np.int64)))
        return self._state.query(torch.from_numpy(slots), torch.from_numpy(counts))

    def _slot_of(self, user: RequestUser) -> tuple[int, int]:
        """The slot of a user, and the number of events that its state has encoded; 0 for a state to start."""
        assert user.id is not None
        entry, count = self._entries.pop(user.id, None), len(user.items)
        recent = user.items[max(0, count - self.window) :]
        known = 0
        if entry is None:
            # Free slots first, then unused ones, then the slot of the least recently used entry.
            if self._free:
                slot = self._free.pop()
            else:
                slot = len(self._entries) if len(self._entries) < self.capacity else self._entries.popitem(last=False)[1].slot
            entry = _Entry(slot, user.number, count)
        else:
            before = user.items[max(0, entry.count - self.window) : entry.count]
            if entry.count <= count and entry.number == user.number and np.array_equal(before, self._events[entry.slot, : len(before)]):
                known = entry.count
            entry.number, entry.count = user.number, count
        self._events[entry.slot, : len(recent)] = recent
        self._entries[user.id] = entry
        self.hits, self.misses = self.hits + (known > 0), self.misses + (known == 0)
        return entry.slot, known
