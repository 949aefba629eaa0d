"""Small worlds for tests: histories from plain lists, and settings from a few words."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import polars as pl
import torch
from torch import Tensor

from gaterec.config.resolve import resolve
from gaterec.config.settings import Settings
from gaterec.data.interactions import Interactions
from gaterec.data.log import Log
from gaterec.data.split import Split
from gaterec.models import model_class


def settings(**values: Any) -> Settings:
    return resolve(lambda name: model_class(name).Settings, config_dict=values)


def event_rows(log: Log) -> list[tuple[object, ...]]:
    """The events of a log; ids as text, whether they are kept as text or as numbers."""
    return log.events.with_columns(pl.col("user_id", "item_id").cast(pl.String)).rows()


def histories(*items: Sequence[int], catalogue: int | None = None, times: Sequence[Sequence[float]] | None = None) -> Interactions:
    """Person 1's items, person 2's items, ...; people are named p1, p2, ..., items i1, i2, ...; the n-th event happens at time n."""
    flat = np.array([item for history in items for item in history], dtype=np.int32)
    size = int(flat.max(initial=0)) + 1 if catalogue is None else catalogue + 1
    lengths = [0, *(len(history) for history in items)]
    when = times if times is not None else [range(len(history)) for history in items]
    return Interactions(
        name="test",
        users=pl.Series(["[unknown]", *(f"p{person + 1}" for person in range(len(items)))]),
        items=pl.Series(["[padding]", *(f"i{item}" for item in range(1, size))]),
        item=flat,
        offsets=np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64),
        time=np.array([time for history in when for time in history]),
        row=np.arange(len(flat)),
    )


def random_histories(people: int, items: int, longest: int, seed: int = 0, shortest: int = 1) -> Interactions:
    random = np.random.default_rng(seed)
    lengths = random.integers(shortest, longest + 1, people)
    return histories(*(random.integers(1, items + 1, length).tolist() for length in lengths), catalogue=items)


def all_for_training(interactions: Interactions) -> Split:
    return Split(interactions.offsets[1:].copy(), interactions.offsets[1:].copy())


def training_counts(interactions: Interactions, split: Split) -> Tensor:
    """(V,) how often each item stands in training."""
    chosen = [item for person in range(len(interactions.users)) for item in training_items(interactions, split, person)]
    return torch.bincount(torch.tensor(chosen, dtype=torch.int64), minlength=len(interactions.items))


def training_items(interactions: Interactions, split: Split, person: int) -> list[int]:
    found: list[int] = interactions.item[interactions.offsets[person] : split.train_end[person]].tolist()
    return found


def no_events() -> tuple[Tensor, Tensor]:
    """For models that count items and not events."""
    raise AssertionError("the events are not needed")
