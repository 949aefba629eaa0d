"""A trained run that recommends: for people of the log, for them with newer events, for people with a history alone, and for anybody.

Ids are the outside world's own, as text or as anything whose text they are. Nothing of the dataset is needed: the run's folder holds the histories.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import torch
from torch import Tensor

from gaterec.checkpoint import LoadedRun, load_histories, load_run
from gaterec.errors import RequestError, nearest
from gaterec.index import Index, read_index
from gaterec.kernels.ranking import SCORES_AT_A_TIME
from gaterec.kernels.topk import top_items
from gaterec.models.encoder import SequenceEncoder, masked_bias
from gaterec.settings import Settings

ROWS = 4096
"""So many histories are encoded at a time."""
MOST_CANDIDATES = 2048
"""An index that must be asked for more is no faster than scoring all items."""


@dataclass(frozen=True)
class Person:
    """Whom a query is for.

    Attributes:
        id: the outside world's, or None for someone without one.
        number: in the run; 0 for someone whom it doesn't know.
        items: numbers of all events, the latest last.
    """

    id: str | None
    number: int
    items: np.ndarray

    @property
    def basis(self) -> str:
        """What recommendations for them are based on."""
        if not len(self.items):
            return "popularity"
        return "person and history" if self.number else "history"


class Recommender:
    """A trained run in memory, on the CPU.

    Args:
        run: see gaterec.checkpoint.load_run.
        index: an index over its items, see gaterec.index.read_index.

    Attributes:
        run, index: likewise; without an index all items are scored.
        titles: (V,) what people know items by; None where the `.item` file has nothing of the kind.
    """

    def __init__(self, run: LoadedRun, index: Index | None = None) -> None:
        self.run, self.index = run, index
        self._item, self._offsets = load_histories(run)
        self._users = _numbers(run.users)
        self._items = _numbers(run.items)
        self._newer: dict[str, list[int]] = {}
        self.titles = titles(run.items)

    @property
    def settings(self) -> Settings:
        """What the run was trained with."""
        return self.run.settings

    @property
    def model(self) -> SequenceEncoder:
        """The trained model, in evaluation mode."""
        return self.run.model

    @property
    def info(self) -> dict[str, Any]:
        """All of run.json."""
        return self.run.info

    @property
    def items(self) -> pl.DataFrame:
        """One row per item, ids in the first column, padding first."""
        return self.run.items

    @property
    def users(self) -> pl.DataFrame:
        """One row per person, likewise."""
        return self.run.users

    # -- asking --------------------------------------------------------------------------------------------------------------------

    def recommend(
        self,
        users: Iterable[Any] | None = None,
        k: int = 10,
        *,
        histories: Iterable[Iterable[Any]] | None = None,
        seen: bool = False,
        deny: Iterable[Any] = (),
        allow: Iterable[Any] | None = None,
        where: Mapping[str, Any] | None = None,
        strict: bool = False,
    ) -> Any:
        """The best items for each request.

        Args:
            users: ids; someone unknown gets popular items, unless a history says more. None: nobody has an id.
            k: how many items each; where fewer are left, those.
            histories: a list of item ids for each request, the latest last: newer events of known people, all events of others.
            seen: whether items of the history may come again.
            deny: items that may not come.
            allow: the only items that may.
            where: column of the `.item` file -> value: only items that have it (among others, where the column holds lists).
            strict: refuse unknown people.

        Returns:
            One row per recommended item, in the order asked: user, rank, item, score, based_on, and title where the `.item` file has one. A pandas
            frame where users are a pandas Series or Index, else a Polars frame.

        Raises:
            RequestError: an unknown item (which one), an unknown column, or someone unknown when strict.
        """
        people = self.people(users, histories, strict=strict)
        if not isinstance(k, int) or k < 1:
            raise RequestError(f"k: expected a whole number from 1 on, found {k!r}")
        barred = self._barred(deny, allow, where)
        lists, scores = self.best(people, k, barred, seen=seen)
        filled = lists > 0
        row, place = np.nonzero(filled)
        items = lists[row, place]
        frame = pl.DataFrame(
            {
                "user": pl.Series([people[number].id for number in row], dtype=pl.String),
                "rank": pl.Series(place + 1, dtype=pl.Int64),
                "item": self.run.items.to_series(0).gather(items),
                "score": pl.Series(scores[row, place], dtype=pl.Float32),
                "based_on": pl.Series([people[number].basis for number in row], dtype=pl.String),
            }
        )
        if self.titles is not None:
            frame = frame.with_columns(self.titles.gather(items).alias("title"))
        return frame.to_pandas() if type(users).__module__.partition(".")[0] == "pandas" else frame

    def score(self, user: Any, items: Iterable[Any], history: Iterable[Any] | None = None) -> list[float]:
        """The score of each item for one person, who may have newer events."""
        (person,) = self.people([user], None if history is None else [history])
        numbers = [self.item_number(item) for item in items]
        return [float(value) for value in self.scores([person])[0, numbers]]

    def similar_items(self, item: Any, k: int = 10) -> pl.DataFrame:
        """The items whose vectors in the item table point most nearly the same way (cosine): item, score, and title where there is one."""
        number = self.item_number(item)
        if not self.model.inner_product:
            raise RequestError(f"similar_items: {self.settings.model} has no vectors of items")
        table = torch.nn.functional.normalize(self.model.item_table()[0].detach(), dim=1)
        alike = table @ table[number]
        alike[[0, number]] = -torch.inf
        values, found = alike.topk(min(k, len(alike) - 2))
        frame = pl.DataFrame({"item": self.run.items.to_series(0).gather(found.numpy()), "score": values.numpy()})
        return frame if self.titles is None else frame.with_columns(self.titles.gather(found.numpy()).alias("title"))

    def update(self, user: Any, event: Any) -> None:
        """One more event of a person, known or not, which counts in every later answer. Kept in memory alone."""
        self._newer.setdefault(str(user), []).append(self.item_number(event))

    # -- people and items ----------------------------------------------------------------------------------------------------------

    def item_number(self, item: Any) -> int:
        """Raises RequestError for an unknown item."""
        number = self._items.get(str(item), 0)
        if not number:
            known = list(self._items)
            hint = nearest(item, known) if len(known) < 100_000 else ""
            raise RequestError(f"item {str(item)[:80]!r}: the run knows no such item{'; ' + hint if hint.startswith('did') else ''}")
        return number

    def people(self, users: Iterable[Any] | None, histories: Iterable[Iterable[Any]] | None, *, strict: bool = False) -> list[Person]:
        """Whom the requests are for; see recommend."""
        newer = None if histories is None else [[self.item_number(item) for item in history] for history in histories]
        ids: Sequence[str | None] = [str(user) for user in users] if users is not None else [None] * len(newer or [])
        if newer is not None and len(newer) != len(ids):
            raise RequestError(f"histories: expected one for each of the {len(ids):,} users, found {len(newer):,}")
        if users is None and newer is None:
            raise RequestError("recommend: expected users, histories, or both")
        found = []
        for place, name in enumerate(ids):
            number = self._users.get(name, 0) if name is not None else 0
            if strict and not number:
                raise RequestError(f"user {name!r}: the run knows no such person")
            past = self._item[self._offsets[number] : self._offsets[number + 1]] if number else self._item[:0]
            later = [*self._newer.get(name or "", []), *(newer[place] if newer is not None else [])]
            found.append(Person(name, number, np.concatenate([past, np.array(later, dtype=past.dtype)])))
        return found

    # -- ranking -------------------------------------------------------------------------------------------------------------------

    @torch.inference_mode()
    def queries(self, people: Sequence[Person]) -> Tensor:
        """(C, D) the queries of people who have events; nobody else's means anything."""
        window, parts = self.settings.MAX_ITEM_LIST_LENGTH, []
        for begin in range(0, len(people), ROWS):
            part = people[begin : begin + ROWS]
            lengths = np.array([min(max(len(person.items), 1), window) for person in part])
            items = np.zeros((len(part), lengths.max()), dtype=np.int64)
            for row, person in enumerate(part):
                recent = person.items[-window:]
                items[row, : len(recent)] = recent
            encoded = self.model.encode(torch.tensor([person.number for person in part]), torch.from_numpy(items))
            parts.append(encoded[torch.arange(len(part)), torch.from_numpy(lengths - 1)])
        return torch.cat(parts)

    @torch.inference_mode()
    def scores(self, people: Sequence[Person], queries: Tensor | None = None) -> Tensor:
        """(C, V) the scores of all items, -inf for padding; of people without events the items' counts in training.

        Args:
            queries: (C, D), where they are known already.
        """
        scores = self.model.scores(self.queries(people) if queries is None else queries)
        nobody = [row for row, person in enumerate(people) if not len(person.items)]
        if nobody:
            scores[nobody] = self._popularity
        return scores

    @cached_property
    def _popularity(self) -> Tensor:
        counts = torch.from_numpy(self.run.items["training_count"].to_numpy().astype(np.float32))
        return masked_bias(counts[:, None], counts)

    @torch.inference_mode()
    def best(self, people: Sequence[Person], k: int, barred: Tensor | None = None, *, seen: bool) -> tuple[np.ndarray, np.ndarray]:
        """(C, k) the numbers of the best items, 0 where none is left, and (C, k) their scores.

        Args:
            barred: (V,) which items may not come.
            seen: whether items of the history may come again.
        """
        size = len(self._items) + 1
        k = min(k, size - 1)
        if not people:
            return np.zeros((0, k), dtype=np.int64), np.zeros((0, k), dtype=np.float32)
        queries = self.queries(people)
        if self.index is not None:
            return self._nearest(self.index, people, queries, k, barred, seen=seen)
        return self._exact(people, queries, k, barred, seen=seen)

    def _exact(
        self, people: Sequence[Person], queries: Tensor, k: int, barred: Tensor | None, *, seen: bool
    ) -> tuple[np.ndarray, np.ndarray]:
        """As `best`, by scoring all items."""
        size = len(self._items) + 1
        lists, found = np.zeros((len(people), k), dtype=np.int64), np.zeros((len(people), k), dtype=np.float32)
        lot, step = torch.randperm(size, generator=torch.Generator().manual_seed(self.settings.seed)), max(1, SCORES_AT_A_TIME // size)
        for begin in range(0, len(people), step):
            part = slice(begin, begin + step)
            scores = self.scores(people[part], queries[part])
            if barred is not None:
                scores.masked_fill_(barred, -torch.inf)
            if not seen:
                at = np.concatenate([row * size + person.items.astype(np.int64) for row, person in enumerate(people[part])])
                scores.view(-1).index_fill_(0, torch.from_numpy(at), -torch.inf)
            best = top_items(scores, k, lot, torch.zeros(len(scores), dtype=torch.int64))
            lists[part], found[part] = best.numpy(), scores.gather(1, best).numpy()
        return lists, found

    def _nearest(
        self, index: Index, people: Sequence[Person], queries: Tensor, k: int, barred: Tensor | None, *, seen: bool
    ) -> tuple[np.ndarray, np.ndarray]:
        """As `best`, by an index: it is asked for more than k, and what may not come is left out.

        All items are scored for people without events, where too much is barred, and where fewer than k are left of what was found.
        """
        out = np.zeros(1, dtype=np.int64) if barred is None else np.flatnonzero(barred.numpy())
        asked = np.array([k + len(out) + (0 if seen else len(person.items)) for person in people])
        exact = (asked > MOST_CANDIDATES) | np.array([not len(person.items) for person in people])
        lists, found = np.zeros((len(people), k), dtype=np.int64), np.zeros((len(people), k), dtype=np.float32)
        asked = 2 ** np.ceil(np.log2(asked)).astype(np.int64)
        for candidates in np.unique(asked[~exact]):  # powers of two, so these are few
            rows = np.flatnonzero((asked == candidates) & ~exact).tolist()
            numbers, scores = (part.numpy() for part in index.search(queries[rows], int(candidates)))
            keep = ~np.isin(numbers, out)
            if not seen:
                own = [line * len(self.run.items) + people[row].items.astype(np.int64) for line, row in enumerate(rows)]
                keep &= ~np.isin(numbers + np.arange(len(rows))[:, None] * len(self.run.items), np.concatenate(own))
            order = np.argsort(~keep, axis=1, kind="stable")[:, :k]
            lists[rows], found[rows] = (np.take_along_axis(values, order, 1) for values in (numbers, scores))
            exact[rows] = keep.sum(1) < k
        if exact.any():
            rows = np.flatnonzero(exact).tolist()
            lists[rows], found[rows] = self._exact([people[row] for row in rows], queries[rows], k, barred, seen=seen)
        return lists, found

    def _barred(self, deny: Iterable[Any], allow: Iterable[Any] | None, where: Mapping[str, Any] | None) -> Tensor:
        """(V,) which items may not be recommended to anybody."""
        barred = torch.zeros(len(self._items) + 1, dtype=torch.bool)
        if allow is not None:
            barred[:] = True
            barred[[self.item_number(item) for item in allow]] = False
        for column, value in (where or {}).items():
            if column not in self.run.items.columns:
                raise RequestError(f"where: {column}: items have no such column; {nearest(column, self.run.items.columns[1:])}")
            values = self.run.items[column]
            has = values.list.contains(str(value)) if values.dtype == pl.List(pl.String) else values.cast(pl.String) == str(value)
            barred |= ~torch.from_numpy(has.fill_null(False).to_numpy().copy())
        barred[[self.item_number(item) for item in deny]] = True
        barred[0] = True
        return barred


def load(folder: str | Path, *, index: bool = True) -> Recommender:
    """A run folder as a Recommender; nothing in it is executed and the dataset is not needed.

    Args:
        index: whether the folder's index is used, where it has one.

    Raises:
        RunError: it is not there, half there, corrupt, or of another version.
        SettingsError: it has an index, and FAISS is not installed.
    """
    run = load_run(folder)
    return Recommender(run, read_index(run) if index else None)


def titles(items: pl.DataFrame) -> pl.Series | None:
    """(V,) what people know items by: the first column of text whose name says title or name; None without one."""
    for column in items.columns[1:]:
        if any(word in column.lower() for word in ("title", "name")):
            if items.schema[column] == pl.List(pl.String):
                return items[column].list.join(" ")
            if items.schema[column] == pl.String:
                return items[column]
    return None


def _numbers(ids: pl.DataFrame) -> dict[str, int]:
    """id -> number; the first row stands for none."""
    return {name: number for number, name in enumerate(ids.to_series(0).cast(pl.String).to_list()) if number}
