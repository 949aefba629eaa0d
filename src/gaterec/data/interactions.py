"""Histories in memory: one flat array of items, sorted by person and time, and the places where each person's history begins.

    user_id item_id timestamp
    ann     tea     3                   people:  0 [unknown], 1 ann, 2 bob      items: 0 [padding], 1 tea, 2 jam, 3 rye
    bob     jam     1          ->       item:    3 1 2 1        ann's rye, ann's tea, bob's jam, bob's tea
    ann     rye     2                   offsets: 0 0 2 4        person p's events are item[offsets[p]:offsets[p + 1]]
    bob     tea     9

Nothing is padded and nothing is copied out: a split is two more cut points per person, a training row is a slice.
"""

import hashlib
from dataclasses import dataclass

import numpy as np
import polars as pl

from gaterec.data.log import Log
from gaterec.errors import DataError
from gaterec.settings import Settings

UNKNOWN = "[unknown]"
PADDING = "[padding]"


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
    """

    name: str
    users: pl.Series
    items: pl.Series
    item: np.ndarray
    offsets: np.ndarray
    time: np.ndarray

    @property
    def lengths(self) -> np.ndarray:
        """(U,) the number of events of each person."""
        return np.diff(self.offsets)

    @property
    def user(self) -> np.ndarray:
        """(N,) int32, the person of each event."""
        return np.repeat(np.arange(len(self.users), dtype=np.int32), self.lengths)

    def fingerprint(self) -> str:
        """A digest of all histories and ids: equal for equal data, however it was read."""
        digest = hashlib.sha256()
        for array in (self.item, self.offsets, self.time):
            digest.update(np.ascontiguousarray(array).data)
        for ids in (self.users, self.items):
            digest.update(str(len(ids)).encode())
            digest.update("\0".join(ids.to_list()).encode())
        return digest.hexdigest()


def build_interactions(log: Log, settings: Settings) -> Interactions:
    """The histories of a log, ordered as eval_args asks: by time (TO) or at random from the seed (RO).

    People and items are numbered from 1 in the order in which the log first names them.

    Raises:
        DataError: when nobody has two events, so that there is nothing to learn from.
    """
    people, things = settings.USER_ID_FIELD, settings.ITEM_ID_FIELD
    users, items = _vocabulary(log.events[people], UNKNOWN), _vocabulary(log.events[things], PADDING)
    rows = pl.DataFrame({"user": _codes(log.events[people], users), "item": _codes(log.events[things], items), "key": _keys(log, settings)})
    rows = rows.sort("user", "key", maintain_order=True)
    counts = np.bincount(rows["user"].to_numpy(), minlength=len(users))
    if counts.max(initial=0) < 2:
        raise DataError(f"{log.source}: nobody has two events, so there is no next item to learn from ({len(log.events):,} events)")
    return Interactions(
        name=log.name,
        users=users,
        items=items,
        item=rows["item"].cast(pl.Int32).to_numpy(writable=True),
        offsets=np.concatenate([[0], np.cumsum(counts)]).astype(np.int64),
        time=rows["key"].to_numpy(),
    )


def item_columns(interactions: Interactions, log: Log, item_field: str) -> pl.DataFrame:
    """One row per item in the order of the ids, padding first: its id, and what the `.item` file says of it (null where nothing)."""
    ids = pl.DataFrame({item_field: interactions.items})
    return ids if log.items is None else ids.join(log.items, on=item_field, how="left", maintain_order="left")


def _vocabulary(ids: pl.Series, first: str) -> pl.Series:
    """All ids in order of first appearance, behind one that stands for none of them (in more brackets, where a log has that very id)."""
    known = ids.unique(maintain_order=True)
    while first in known:
        first = f"[{first}]"
    return pl.concat([pl.Series(ids.name, [first]), known])


def _codes(ids: pl.Series, vocabulary: pl.Series) -> pl.Series:
    return ids.cast(pl.Enum(vocabulary)).to_physical()


def _keys(log: Log, settings: Settings) -> np.ndarray:
    """(N,) what events are sorted by."""
    if settings.eval_args.order == "RO":
        return np.random.default_rng(settings.seed).permutation(len(log.events))
    if settings.TIME_FIELD in log.events.columns:
        return log.events[settings.TIME_FIELD].to_numpy()
    return np.arange(len(log.events))
