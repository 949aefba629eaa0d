"""The items of a run: ids, titles, and the masks of conditions on them."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any

import numpy as np
import polars as pl
import torch
from torch import Tensor

from gaterec.errors import RequestError, nearest
from gaterec.inference.conditions import as_texts, matching
from gaterec.inference.filters import Filters
from gaterec.inference.ids import numbers_of, several, text
from gaterec.inference.notes import named

CACHED_CONDITIONS = 16
"""Conditions on items whose masks are kept, each with one number per item."""

MAX_ITEMS_FOR_HINTS = 2_000
"""Larger catalogs get no "did you mean": the search compares all ids."""


@dataclass(frozen=True, eq=False)
class ItemFilter:
    """Which items may be recommended, as item numbers.

    Attributes:
        deny: numbers of items that are not recommended.
        allow: numbers of the only items that may be recommended; None allows all.
        where: (V,) 0 for items that may be recommended and -inf for others; None allows all. Shared between requests: read only.
    """

    deny: np.ndarray
    allow: np.ndarray | None
    where: Tensor | None

    def mask(self, size: int) -> Tensor | None:
        """(V,) the three in one; V is `size`. None where all items may be recommended."""
        if self.where is None and self.allow is None and not len(self.deny):
            return None
        mask = torch.zeros(size) if self.where is None else self.where.clone()
        if self.allow is not None:
            allowed = torch.from_numpy(self.allow)
            mask = torch.full_like(mask, -torch.inf).index_copy_(0, allowed, mask[allowed])
        mask[torch.from_numpy(self.deny)] = -torch.inf
        return mask


class Items:
    """The items of a run.

    Args:
        frame: one row per item, ids in the first column, padding first.

    Attributes:
        frame: see above.
        ids: (V,) the first column.
        numbers: id as text -> number, without padding.
        titles: (V,) see `titles`.
    """

    def __init__(self, frame: pl.DataFrame) -> None:
        self.frame, self.ids = frame, frame.to_series(0)
        self.numbers = numbers_of(frame)
        self.titles = titles(frame)
        self._condition = lru_cache(CACHED_CONDITIONS)(self._condition_mask)

    def __len__(self) -> int:
        """The number of items, without padding."""
        return len(self.numbers)

    @property
    def counts(self) -> Tensor:
        """(V,) float32, the training counts of the items."""
        return torch.from_numpy(self.frame["training_count"].to_numpy().astype(np.float32))

    def __contains__(self, item: Any) -> bool:
        return text(item) in self.numbers

    def number(self, item: Any) -> int:
        """Raises RequestError for an unknown item."""
        number = self.numbers.get(text(item), 0)
        if not number:
            name = str(item)[:80]
            raise RequestError(f"item {name!r}: the run knows no such item{self._hint(name) or '; train again on a log that has it'}")
        return number

    def with_titles(self, frame: pl.DataFrame, items: np.ndarray) -> pl.DataFrame:
        """A frame of items with their titles in a last column, where the run has titles."""
        return frame if self.titles is None else frame.with_columns(self.titles.gather(items).alias("title"))

    def filter(self, filters: Filters) -> tuple[ItemFilter, list[str]]:
        """The filters as item numbers, and notes of unknown items and of values that no item has.

        Raises:
            RequestError: `where` names an unknown column or a value of another type, or deny or allow is not a list.
        """
        conditions = [self._condition(column, as_texts(column, value)) for column, value in (filters.where or {}).items()]
        notes = [note for _, of_condition in conditions for note in of_condition]
        where = sum((mask for mask, _ in conditions[1:]), conditions[0][0]) if conditions else None
        if where is not None and not notes and not where[1:].isfinite().any():
            notes.append("where: no item meets all of these conditions")
        deny, of_deny = self._known("deny", filters.deny)
        allow, of_allow = (None, []) if filters.allow is None else self._known("allow", filters.allow)
        return ItemFilter(deny, allow, where), [*notes, *of_deny, *of_allow]

    def unknown_notes(self, where: str, what: str, ids: Iterable[str | None]) -> list[str]:
        """A note of those of the items that the run does not know; none where it knows all."""
        unknown = [item for item in ids if item not in self.numbers]
        if not unknown:
            return []
        hint = self._hint(str(unknown[0])[:80]) if len(unknown) == 1 else ""
        return [f"{where}: {what} {named(unknown, 'item')}, which the run does not know{hint}"]

    def _known(self, name: str, items: Iterable[Any]) -> tuple[np.ndarray, list[str]]:
        """The numbers of the known items, and a note of the others."""
        ids: Sequence[str | None] = [text(item) for item in several(name, items)]
        numbers = np.array([self.numbers[item] for item in ids if item in self.numbers], dtype=np.int64)
        return numbers, self.unknown_notes(name, "left out", ids)

    def _hint(self, name: str) -> str:
        """A "did you mean" for an unknown item; empty in large catalogs and where no id is similar."""
        hint = nearest(name, self._names) if self._names else ""
        return f"; {hint}" if hint.startswith("did") else ""

    @cached_property
    def _names(self) -> list[str]:
        """The ids to search for hints; empty in large catalogs."""
        return [name for name in self.numbers if name is not None] if len(self) <= MAX_ITEMS_FOR_HINTS else []

    def _condition_mask(self, column: str, texts: tuple[str, ...]) -> tuple[Tensor, list[str]]:
        """(V,) 0 for items that have one of these values, -inf for others; and a note for each value that no item has."""
        has, notes = matching(self.frame, column, texts)
        return torch.zeros(len(has)).masked_fill_(torch.from_numpy(~has.to_numpy()), -torch.inf), notes


def titles(items: pl.DataFrame) -> pl.Series | None:
    """(V,) the first column of text whose name contains "title" or "name"; None without one."""
    for column in items.columns[1:]:
        if any(word in column.lower() for word in ("title", "name")):
            if items.schema[column] == pl.List(pl.String):
                return items[column].list.join(" ")
            if items.schema[column] == pl.String:
                return items[column]
    return None
