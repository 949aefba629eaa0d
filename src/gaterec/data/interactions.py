"""Histories in memory: one flat array of items, sorted by person and time, and the places where each person's history begins.

    user_id item_id timestamp
    ann     tea     3                   people:  0 [unknown], 1 ann, 2 bob      items: 0 [padding], 1 tea, 2 jam, 3 rye
    bob     jam     1          ->       item:    3 1 2 1        ann's rye, ann's tea, bob's jam, bob's tea
    ann     rye     2                   offsets: 0 0 2 4        person p's events are item[offsets[p]:offsets[p + 1]]
    bob     tea     9

Nothing is padded and nothing is copied out: a split is two more cut points per person, a training row is a slice.
"""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import polars as pl

from gaterec.config.settings import Settings
from gaterec.data.log import Log
from gaterec.errors import DataError

UNKNOWN = "[unknown]"
PADDING = "[padding]"
AT_A_TIME = 1 << 20
"""How many events are looked at together where all must be: few enough that what is made of them takes no memory to speak of."""


@dataclass(frozen=True)
class Interactions:
    """All histories of a log.

    Attributes:
        name: the dataset's name.
        users: (U,) ids of people; index 0 is "someone we don't know", who has no events.
        items: (V,) ids of items; index 0 is padding, which no event has.
        item: (N,) int32, the item of each event, sorted by person, then by time; equal times keep the order of the log.
        offsets: (U + 1,) int64, person p's events are `item[offsets[p]:offsets[p + 1]]`.
        time: (N,) int64 or float64, what the events were sorted by: times, or row numbers where the log has no times.
        row: (N,) integers that order events as the rows of the log do; None where they were not kept. Only equal times of several users need them.
        timed: whether the log has times; otherwise its rows are in order of time.
        digest: the fingerprint, where it is known already.
        counts: (V,) int64, how often each item was chosen, where it is known already.
    """

    name: str
    users: pl.Series
    items: pl.Series
    item: np.ndarray
    offsets: np.ndarray
    time: np.ndarray
    row: np.ndarray | None = None
    timed: bool = True
    digest: str | None = None
    counts: np.ndarray | None = None

    @property
    def lengths(self) -> np.ndarray:
        """(U,) the number of events of each person."""
        return np.diff(self.offsets)

    @property
    def user(self) -> np.ndarray:
        """(N,) int32, the person of each event."""
        return np.repeat(np.arange(len(self.users), dtype=np.int32), self.lengths)

    def blocks(self) -> Iterator[tuple[slice, slice]]:
        """All people and their events, a part at a time: about AT_A_TIME events, or one longer history."""
        marks = np.arange(0, len(self.item) + AT_A_TIME, AT_A_TIME)
        edges = np.unique(np.append(np.searchsorted(self.offsets[:-1], marks), len(self.users))).tolist()
        for first, last in pairwise(edges):
            yield slice(first, last), slice(int(self.offsets[first]), int(self.offsets[last]))

    def item_counts(self) -> np.ndarray:
        """(V,) int64, how often each item was chosen."""
        if self.counts is not None:
            return self.counts
        counts = np.zeros(len(self.items), dtype=np.int64)
        for begin in range(0, len(self.item), AT_A_TIME):  # NumPy counts 64-bit numbers, and would copy all events at once
            counts += np.bincount(self.item[begin : begin + AT_A_TIME], minlength=len(self.items))
        return counts

    def fingerprint(self) -> str:
        """A digest of all histories and ids: equal for equal data, however it was read."""
        if self.digest is not None:
            return self.digest
        digest = hashlib.sha256()
        for array in (self.item, self.offsets, self.time):
            digest.update(np.ascontiguousarray(array).data)
        for ids in (self.users, self.items):
            digest.update(str(len(ids)).encode())
            digest.update("\0".join(ids.to_list()).encode())
        return digest.hexdigest()


def build_interactions(log: Log, settings: Settings, keep_rows: bool = False) -> Interactions:
    """The histories of a log, ordered as eval_args asks: by time (TO) or at random from the seed (RO).

    Users and items are numbered from 1 in the order in which the log first names them.

    Args:
        keep_rows: whether to keep the row of each event in the log (4 bytes per event), which eval_args.group_by none needs.

    Raises:
        DataError: when nobody has two events, so that there is nothing to learn from.
    """
    users, person = _numbered(log.events[settings.USER_ID_FIELD], UNKNOWN)
    items, thing = _numbered(log.events[settings.ITEM_ID_FIELD], PADDING)
    counts = np.bincount(person, minlength=len(users))
    if counts.max(initial=0) < 2:
        raise DataError(f"{log.source}: nobody has two events, so there is no next item to learn from ({len(log.events):,} events)")
    offsets = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
    order, time = _in_order(person, _keys(log, settings), offsets)
    rows = order.astype(np.int32 if len(order) < 2**31 else np.int64) if keep_rows else None
    return Interactions(log.name, users, items, thing[order], offsets, time, rows, settings.TIME_FIELD in log.events.columns)


def item_columns(interactions: Interactions, features: pl.DataFrame | None, item_field: str) -> pl.DataFrame:
    """One row per item in the order of the ids, padding first: its id, and what the `.item` file says of it (null where nothing)."""
    ids = pl.DataFrame({item_field: interactions.items})
    return ids if features is None else ids.join(features, on=item_field, how="left", maintain_order="left")


def _numbered(ids: pl.Series, first: str) -> tuple[pl.Series, np.ndarray]:
    """All ids in order of first appearance, behind one that stands for none of them, and the number of each event's id, (N,) int32."""
    keys = _keys_for(ids)
    firsts = keys.arg_unique()
    known, number = ids.gather(firsts), _places(keys.gather(firsts).to_numpy(), keys.to_numpy())
    if keys is not ids and not _are_at(ids, known, number):  # two ids have the same hash
        known = ids.unique(maintain_order=True)
        number = ids.cast(pl.String).cast(pl.Enum(known.cast(pl.String))).to_physical().cast(pl.Int32).to_numpy(writable=True)
    texts = known.cast(pl.String)
    while first in texts:  # in more brackets, where a log has that very id
        first = f"[{first}]"
    number += 1
    return pl.concat([pl.Series(ids.name, [first]), texts]), number


def _keys_for(ids: pl.Series) -> pl.Series:
    """(N,) numbers that stand for ids: themselves where they lie close together, else their hashes (UInt64)."""
    if ids.dtype == pl.Int64 and len(ids):
        low, high = int(ids.to_numpy().min()), int(ids.to_numpy().max())
        if high - low <= max(4 * len(ids), 1_000_000):
            return ids
    return ids.hash()


def _places(known: np.ndarray, keys: np.ndarray) -> np.ndarray:
    """(N,) int32: where each key stands in `known`, whose keys are all different.

    A table tells, by the key itself or by the last bits of a hash; those few whose last bits several have are searched for.
    """
    hashed = keys.dtype == np.uint64
    low = known.min() if len(known) and not hashed else 0
    size = 1 << (16 * len(known)).bit_length() if hashed else int(known.max() - low) + 1
    slots, slot_of = (np.bitwise_and(part, np.uint64(size - 1)).view(np.int64) if hashed else part - low for part in (known, keys))
    table = np.full(size, -1, dtype=np.int32)
    table[slots] = np.arange(len(known), dtype=np.int32)
    if hashed:
        table[np.bincount(slots, minlength=size) > 1] = -1
    places: np.ndarray = table[slot_of]
    shared = np.flatnonzero(places < 0)
    if len(shared):
        order = np.argsort(known)
        places[shared] = order[np.searchsorted(known, keys[shared], sorter=order)]
    return places


def _are_at(ids: pl.Series, known: pl.Series, places: np.ndarray) -> bool:
    """Whether every id is the known one at its place."""
    blocks = (slice(begin, begin + AT_A_TIME) for begin in range(0, len(ids), AT_A_TIME))
    return all(bool((ids[block] == known.gather(places[block])).all()) for block in blocks)


def _in_order(person: np.ndarray, key: np.ndarray, offsets: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(N,), (N,): the events sorted by person, then by key, and their keys; equal ones keep their order.

    >>> _in_order(np.array([1, 2, 1, 2]), np.array([3, 1, 2, 9]), np.array([0, 0, 2, 4]))
    (array([2, 0, 1, 3]), array([2, 3, 1, 9]))
    """
    order = stable_argsort(person)
    ordered = key[order]
    falls = np.zeros(len(order), dtype=bool)
    falls[1:] = ordered[1:] < ordered[:-1]
    falls[offsets[offsets < len(order)]] = False  # where another person's history begins
    if falls.any():  # someone's events are not in order of time yet
        order = stable_argsort(key)
        order = order[stable_argsort(person[order])]
        ordered = key[order]
    return order, ordered


def stable_argsort(values: np.ndarray) -> np.ndarray:
    """Equals np.argsort(values, kind="stable"), but several times faster where value and row number fit into 63 bits together.

    Such pairs are all different, so the quickest sort of integers is a stable one.
    """
    bits = len(values).bit_length()
    low, high = (values.min(), values.max()) if len(values) else (0, 0)
    if not np.issubdtype(values.dtype, np.integer) or (int(high) - int(low)).bit_length() + bits > 63:
        return np.argsort(values, kind="stable")
    packed = values.astype(np.int64) - low
    packed <<= bits
    packed |= np.arange(len(values))
    packed.sort()
    packed &= (1 << bits) - 1
    return packed


def _keys(log: Log, settings: Settings) -> np.ndarray:
    """(N,) what events are sorted by."""
    if settings.eval_args.order == "RO":
        return np.random.default_rng(settings.seed).permutation(len(log.events))
    if settings.TIME_FIELD in log.events.columns:
        return log.events[settings.TIME_FIELD].to_numpy()
    return np.arange(len(log.events))
