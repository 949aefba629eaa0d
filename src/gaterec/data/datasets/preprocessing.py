"""What a paper did to a log before it trained: passes over the events, each a pure function, listed as data.

    passes = (KeepRatings(4), MinUserEvents(5), MinItemEvents(8), MinUserDistinctItems(10), OrderByTime())

A pass is made once, in its place: after MinItemEvents a user may have fewer events than MinUserEvents asked for. That is what the
authors of HGN did, and why their numbers of users and items can be met. (The settings `user_inter_num_interval` and
`item_inter_num_interval` are RecBole's, and repeat until both hold.)

The frames have the columns user_id, item_id, rating and timestamp. The examples below start from these five events:

>>> events = pl.DataFrame({
...     "user_id": ["ann", "ann", "ann", "bob", "bob"],
...     "item_id": ["x", "y", "x", "x", "z"],
...     "rating": [5.0, 4.0, 4.0, 3.0, 5.0],
...     "timestamp": [30, 10, 20, 50, 40],
... })
"""

import functools
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol

import polars as pl


class PreprocessingStep(Protocol):
    """Events to events; `str(a_pass)` says in words what it does."""

    def __call__(self, events: pl.DataFrame) -> pl.DataFrame: ...


@dataclass(frozen=True)
class KeepRatings:
    """Events with a rating of at least `minimum`: what the person liked.

    >>> KeepRatings(4)(events).rows()
    [('ann', 'x', 5.0, 30), ('ann', 'y', 4.0, 10), ('ann', 'x', 4.0, 20), ('bob', 'z', 5.0, 40)]
    """

    minimum: float

    def __call__(self, events: pl.DataFrame) -> pl.DataFrame:
        return events.filter(pl.col("rating") >= self.minimum)

    def __str__(self) -> str:
        return f"keep ratings >= {self.minimum:g}"


@dataclass(frozen=True)
class MinUserEvents:
    """People with at least `least` events, repeats counted.

    >>> MinUserEvents(3)(events).rows()
    [('ann', 'x', 5.0, 30), ('ann', 'y', 4.0, 10), ('ann', 'x', 4.0, 20)]
    """

    least: int

    def __call__(self, events: pl.DataFrame) -> pl.DataFrame:
        return events.filter(pl.len().over("user_id") >= self.least)

    def __str__(self) -> str:
        return f"keep users with >= {self.least} events"


@dataclass(frozen=True)
class MinItemEvents:
    """Items with at least `least` events, repeats counted.

    >>> MinItemEvents(2)(events).rows()
    [('ann', 'x', 5.0, 30), ('ann', 'x', 4.0, 20), ('bob', 'x', 3.0, 50)]
    """

    least: int

    def __call__(self, events: pl.DataFrame) -> pl.DataFrame:
        return events.filter(pl.len().over("item_id") >= self.least)

    def __str__(self) -> str:
        return f"keep items with >= {self.least} events"


@dataclass(frozen=True)
class MinUserDistinctItems:
    """People with at least `least` different items.

    >>> MinUserDistinctItems(2)(events).height, MinUserDistinctItems(3)(events).height
    (5, 0)
    """

    least: int

    def __call__(self, events: pl.DataFrame) -> pl.DataFrame:
        return events.filter(pl.col("item_id").n_unique().over("user_id") >= self.least)

    def __str__(self) -> str:
        return f"keep users with >= {self.least} different items"


@dataclass(frozen=True)
class OrderByTime:
    """Each person's events in the order of time, people by name; of equal times the file's order stays.

    >>> OrderByTime()(events).rows()
    [('ann', 'y', 4.0, 10), ('ann', 'x', 4.0, 20), ('ann', 'x', 5.0, 30), ('bob', 'z', 5.0, 40), ('bob', 'x', 3.0, 50)]
    """

    def __call__(self, events: pl.DataFrame) -> pl.DataFrame:
        return events.sort("user_id", "timestamp", maintain_order=True)

    def __str__(self) -> str:
        return "order by time within each user"


def apply_steps(passes: Iterable[PreprocessingStep], events: pl.DataFrame) -> pl.DataFrame:
    """One pass after the other, each once.

    >>> apply_steps((KeepRatings(4), MinUserEvents(2), MinItemEvents(2)), events).rows()
    [('ann', 'x', 5.0, 30), ('ann', 'x', 4.0, 20)]
    """
    return functools.reduce(lambda frame, one: one(frame), passes, events)
