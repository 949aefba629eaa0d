"""A trained run that recommends: for people of the log, for them with newer events, for people with a history alone, and for anybody.

Ids are the outside world's own, as text or as anything whose text they are. Nothing of the dataset is needed: the run's folder holds the histories.
"""

import math
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cached_property, lru_cache
from operator import index as whole
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import torch
from torch import Tensor

from gaterec.config.settings import Settings
from gaterec.errors import RequestError, RequestWarning, nearest
from gaterec.inference.ann_index import Index, Nearest, read_index
from gaterec.inference.bulk import FILE, values, write_lists
from gaterec.inference.conditions import as_texts, matching
from gaterec.inference.explain import explain
from gaterec.inference.explanation import Explanation
from gaterec.inference.fold_in import FoldIn
from gaterec.inference.ids import as_series, of_pandas, several, text, with_ids
from gaterec.inference.notes import history_notes, named
from gaterec.inference.query_cache import AT_A_TIME, QueryCache
from gaterec.inference.requests import Answer, ExclusionMask, Request
from gaterec.inference.reranking import candidates, diverse
from gaterec.inference.run_folder import LoadedRun, load_histories, load_run, trained_users
from gaterec.inference.users import Histories, Person
from gaterec.kernels.tiled_topk import TiledTopK, product
from gaterec.models.encoder import SequenceEncoder

__all__ = ["Answer", "Person", "Recommender", "Request", "load"]

WHERES = 16
"""So many conditions on items are remembered, each with a number for every item."""

HINTS = 2_000
"""Among more items no nearest one is sought: it is found letter by letter, and a request is to be refused soon."""


def _warn(note: str) -> None:
    warnings.warn(note, RequestWarning, stacklevel=3)


class Recommender:
    """A trained run in memory, on the CPU.

    `recommend` answers with a frame, for people; `request` and `answer` with arrays, for a server: many threads may make requests, but one at a
    time may have them answered.

    Args:
        run: see gaterec.inference.run_folder.load_run.
        index: finds the nearest items without scoring all of them (see gaterec.inference.ann_index); None scores all.
        room: the windows of so many people are remembered.
        fold_in: whether users without a trained vector get one from their history (see gaterec.inference.fold_in), where the model has vectors of users;
            else they are user 0, a vector of zeros. Users of the log with fewer than two training events have no trained vector either.

    Attributes:
        run, index: likewise.
        fold_in: what gives vectors to users without a trained one, or None.
        bases: what recommendations are based on: without events, without a trained vector of the user, and with one.
        following: the windows of the people who were here last; its hits and misses are counted.
        trained: (U,) whether training learned anything about each user.
        titles: (V,) what people know items by; None where the `.item` file has nothing of the kind.
    """

    def __init__(self, run: LoadedRun, *, index: Index | None = None, room: int = 10_000, fold_in: bool = True) -> None:
        self.run, self.index = run, index
        self._item, self._offsets = load_histories(run)
        self.trained = trained_users(run, self._offsets)
        self.fold_in = FoldIn(run.model, run.settings.seed, self.trained) if fold_in and run.model.user_table() is not None else None
        self.following = QueryCache(run.model, run.settings.MAX_ITEM_LIST_LENGTH, room, self.fold_in)
        self.bases = ("popularity", "popularity" if run.model.based_on == "popularity" else "history", run.model.based_on)
        self._where = lru_cache(WHERES)(self._bar)
        self._users: dict[str | None, int] = _numbers(run.users)
        self._items: dict[str | None, int] = _numbers(run.items)
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
        diversity: float = 0.0,
        note: Callable[[str], object] = _warn,
    ) -> Any:
        """The best items for each request.

        Items that the run does not know, such as items that are newer than it, are left out of histories, deny and allow, with a note.

        Args:
            users: ids; someone unknown gets popular items, unless a history says more. None: nobody has an id.
            k: how many items each; where fewer are left, those.
            histories: a list of item ids for each request, the latest last: newer events of known users, all events of others.
            seen: whether items of the history may come again.
            deny: items that may not come.
            allow: the only items that may.
            where: column of the `.item` file -> value, or list of values: only items that have it, or one of them. Values are compared as what
                the column holds, numbers as numbers; where it holds lists, the item's list is to contain the value.
            strict: refuse unknown users.
            diversity: 0 to 1, how much unlike each other the items of a list are to be; see gaterec.inference.reranking.
            note: called with each note; a RequestWarning where it is left out.

        Returns:
            One row per recommended item, in the order asked: user, rank, item, score, based_on, and title where the `.item` file has one. A pandas
            frame where users are a pandas Series or Index, else a Polars frame. Users come back in the type in which they were given, so that the
            frame can be joined with theirs; in a list of several types, as text.

        Raises:
            RequestError: an unknown column, a value of another type than the column's, an unknown user when strict, or a number out of its range.
        """
        if users is not None and not isinstance(users, pl.Series) and not of_pandas(users):
            users = list(several("users", users))
        people = self.people(users, histories, strict=strict)
        filters = self._filters(k, seen, deny, allow, where, diversity)
        frame, row = self._lists(people, filters)
        for told in (*history_notes(people), *filters["notes"]):
            note(told)
        return frame if users is None else with_ids(frame, users, row)

    def _lists(self, people: Sequence[Person], filters: Mapping[str, Any]) -> tuple[pl.DataFrame, np.ndarray]:
        """What recommend returns, ids as text, for people who are all asked for with the same filters; and whose row it is, for each."""
        answers = self.answer([Request(person, **filters) for person in people])
        row = np.repeat(np.arange(len(people)), [len(answer.items) for answer in answers])
        ranks, items, scores = (
            np.concatenate([np.zeros(0, dtype), *arrays])
            for dtype, arrays in (
                (np.int64, [np.arange(1, len(answer.items) + 1) for answer in answers]),
                (np.int64, [answer.items for answer in answers]),
                (np.float32, [answer.scores for answer in answers]),
            )
        )
        ids = as_series([person.id for person in people]).gather(row)
        return self._frame(ids, ranks, items, scores, Histories.of(people).basis()[row] if people else row), row

    def _frame(self, ids: pl.Series, ranks: np.ndarray, items: np.ndarray, scores: np.ndarray, based_on: np.ndarray) -> pl.DataFrame:
        """Likewise, of one row per item; based_on is a place in `bases`."""
        columns = {
            "user": ids,
            "rank": ranks,
            "item": self.run.items.to_series(0).gather(items),
            "score": scores,
            "based_on": pl.Series(self.bases).gather(based_on),
        }
        return pl.DataFrame(columns if self.titles is None else {**columns, "title": self.titles.gather(items)})

    def recommend_to(
        self,
        folder: str | Path,
        users: Iterable[Any] | None = None,
        k: int = 10,
        *,
        seen: bool = False,
        deny: Iterable[Any] = (),
        allow: Iterable[Any] | None = None,
        where: Mapping[str, Any] | None = None,
        strict: bool = False,
        diversity: float = 0.0,
        tell: Callable[[int], object] = lambda done: None,
        per_file: int = FILE,
        note: Callable[[str], object] = _warn,
    ) -> int:
        """As recommend, for any number of people, into a folder of Parquet files part-00000.parquet, ..., which appears when it is whole.

        Memory doesn't grow with the people. For the other arguments see recommend.

        Args:
            folder: a new one, or one of such files, which are replaced.
            users: ids, one after the other as they are needed; None for everybody in the log.
            tell: called with how many are done, now and then.
            per_file: so many people go into one file.

        Returns:
            How many people.

        Raises:
            RequestError: see recommend; or there is a file at the place, or something else in the folder. Nothing is written then.
            RunError: it can't be written.
        """
        filters = self._filters(k, seen, deny, allow, where, diversity)
        everywhere = self._everywhere(filters)

        def lists(ids: list[str | None]) -> pl.DataFrame:
            if diversity:
                return self._lists(self.people(ids, None, strict=strict), filters)[0]
            histories = self.histories(ids, strict=strict)
            items, scores = self.best_of(histories, filters["k"], everywhere, seen=seen)
            row, place = np.nonzero(items)
            return self._frame(as_series(ids).gather(row), place + 1, items[row, place], scores[row, place], histories.basis()[row])

        asked = values(self.run.users.to_series(0)[1:]) if users is None else map(text, several("users", users))
        count = write_lists(Path(folder), asked, lists, tell, per_file)
        for told in filters["notes"]:
            note(told)
        return count

    def request(
        self,
        user: Any = None,
        history: Iterable[Any] | None = None,
        k: int = 10,
        *,
        seen: bool = False,
        deny: Iterable[Any] = (),
        allow: Iterable[Any] | None = None,
        where: Mapping[str, Any] | None = None,
        strict: bool = False,
        diversity: float = 0.0,
    ) -> Request:
        """What is asked for one person, checked and in the run's numbers; for the arguments see recommend.

        Raises:
            RequestError: see recommend.
        """
        newer = () if history is None else several("history", history)
        (person,) = self.people(None if user is None else [user], [newer], strict=strict)
        filters = self._filters(k, seen, deny, allow, where, diversity)
        return Request(person, **filters | {"notes": (*history_notes([person]), *filters["notes"])})

    def warm(self) -> None:
        """Make now what the first request would have to wait for."""
        self.answer([self.request(history=[self.run.items.item(1, 0)])])

    @torch.inference_mode()
    def answer(self, requests: Sequence[Request]) -> list[Answer]:
        """The best items for each request, whatever each asks, by one matrix product for all of them.

        What a request is answered doesn't depend on which others stand beside it, but for float noise in equally good items' scores.
        """
        if not requests:
            return []
        wanted = [candidates(request.k) if request.diversity else request.k for request in requests]
        people = [request.person for request in requests]
        # Whoever is one of very many isn't waited for by others, and would drive out those who are.
        queries = self.following.queries(people, follow=len(people) <= AT_A_TIME)
        features = self._features(queries, _nobody(people))
        best, found = self._catalogue.best(features, min(max(wanted), len(self._items)), ExclusionMask.of(requests))
        answers = []
        for request, most, items, scores in zip(requests, wanted, best, found, strict=True):
            count = min(int(items.count_nonzero()), most)
            if request.diversity:
                order = diverse(scores[:count], self._vectors[items[:count]], request.k, request.diversity)
                answers.append(Answer(items[order].numpy(), scores[order].numpy()))
            else:
                answers.append(Answer(items[:count].numpy(), scores[:count].numpy()))
        return answers

    def score(self, user: Any, items: Iterable[Any], history: Iterable[Any] | None = None) -> list[float]:
        """The score of each item for one user, who may have newer events; nan, with a RequestWarning, for an item that the run does not know."""
        (person,) = self.people([user], None if history is None else [several("history", history)])
        names = [text(item) for item in several("items", items)]
        scores = self.scores([person])[0]
        for told in (
            *history_notes([person]),
            *self._unknown_note("items", "no score for", [one for one in names if one not in self._items]),
        ):
            _warn(told)
        return [float(scores[self._items[name]]) if name in self._items else math.nan for name in names]

    def explain(self, user: Any, item: Any, history: Iterable[Any] | None = None) -> Explanation:
        """Why an item would be recommended; see gaterec.inference.explain.explain."""
        return explain(self, user, item, history)

    def similar_items(self, item: Any, k: int = 10) -> pl.DataFrame:
        """The items whose vectors in the item table point most nearly the same way (cosine): item, score, and title where there is one.

        Raises:
            RequestError: an unknown item, a k below 1, or a model without vectors of items.
        """
        number, k = self.item_number(item), _count(k)
        if not self.model.dot_product:
            raise RequestError(f"similar_items: {self.settings.model} has no vectors of items")
        alike = self._vectors @ self._vectors[number] / (self._lengths * self._lengths[number])
        alike[[0, number]] = -torch.inf
        values, found = alike.topk(min(k, len(alike) - 2))
        frame = pl.DataFrame({"item": self.run.items.to_series(0).gather(found.numpy()), "score": values.numpy()})
        return frame if self.titles is None else frame.with_columns(self.titles.gather(found.numpy()).alias("title"))

    def update(self, user: Any, event: Any) -> None:
        """One more event of a user, known or not, which counts in every later answer. Kept in memory alone.

        An item that the run does not know changes no answer: the event is left out, with a RequestWarning.

        Raises:
            RequestError: the event of no user.
        """
        name = text(user)
        if name is None:
            raise RequestError("update: whose event? expected a user, found None")
        if self.knows(event):
            self._newer.setdefault(name, []).append(self.item_number(event))
        for told in self._unknown_note(f"update: user {name!r}", "left out", [] if self.knows(event) else [text(event)]):
            _warn(told)

    # -- people and items ----------------------------------------------------------------------------------------------------------

    def knows(self, item: Any) -> bool:
        """Whether the run has this item."""
        return text(item) in self._items

    def knows_person(self, user: Any) -> bool:
        """Whether the log of the run has this user."""
        return text(user) in self._users

    def item_number(self, item: Any) -> int:
        """Raises RequestError for an unknown item."""
        number = self._items.get(text(item), 0)
        if not number:
            name = str(item)[:80]
            raise RequestError(f"item {name!r}: the run knows no such item{self._hint(name) or '; train again on a log that has it'}")
        return number

    def _hint(self, name: str) -> str:
        """The item whose id is spelled most like an unknown one, where the run has few items and one is near."""
        hint = nearest(name, self._names) if self._names else ""
        return f"; {hint}" if hint.startswith("did") else ""

    def _unknown_note(self, where: str, what: str, ids: Sequence[str | None]) -> list[str]:
        """A note about the items that the run does not know, where there are any."""
        if not ids:
            return []
        hint = self._hint(str(ids[0])[:80]) if len(ids) == 1 else ""
        return [f"{where}: {what} {named(ids, 'item')}, which the run does not know{hint}"]

    @cached_property
    def _names(self) -> list[str]:
        """The items' ids, among which the nearest to an unknown one is found soon; none where they are many."""
        return [name for name in self._items if name is not None] if len(self._items) <= HINTS else []

    def histories(self, users: Sequence[str | None], *, strict: bool = False) -> Histories:
        """What counts for many people at once, by their ids alone; as `people` without histories, which it equals.

        Raises:
            RequestError: someone unknown when strict.
        """
        if strict or self._newer:
            return Histories.of(self.people(users, None, strict=strict))
        numbers = np.array([self._users.get(user, 0) for user in users])
        begins = self._offsets[numbers]
        return Histories(np.where(self.trained[numbers], numbers, 0), self._item, begins, self._offsets[numbers + 1] - begins)

    def people(self, users: Iterable[Any] | None, histories: Iterable[Iterable[Any]] | None, *, strict: bool = False) -> list[Person]:
        """Whom the requests are for, with all their events whose items the run knows; for the arguments see recommend.

        Raises:
            RequestError: an unknown user when strict, or not as many histories as users.
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
        found = []
        for place, name in enumerate(ids):
            number = self._users.get(name, 0) if name is not None else 0
            if strict and not number:
                raise RequestError(
                    f"user {name!r}: the run knows no such user"
                    if name is not None
                    else "strict: expected users with ids, found one without"
                )
            past = self._item[self._offsets[number] : self._offsets[number + 1]] if number else self._item[:0]
            given = newer[place] if newer is not None else []
            later = [
                *(self._newer.get(name, []) if name is not None else []),
                *(self._items[item] for item in given if item in self._items),
            ]
            left_out = tuple(str(item) for item in given if item not in self._items)
            events = np.concatenate([past, np.array(later, dtype=past.dtype)])
            found.append(Person(name, number if self.trained[number] else 0, events, left_out))
        return found

    # -- ranking -------------------------------------------------------------------------------------------------------------------

    def queries(self, people: Sequence[Person]) -> Tensor:
        """(C, D) the queries of people who have events; nobody else's means anything."""
        return self.following.queries(people, follow=False)

    @torch.inference_mode()
    def scores(self, people: Sequence[Person]) -> Tensor:
        """(C, V) the scores of all items, -inf for padding; of people without events the items' counts in training."""
        scores = self._catalogue.score(self._features(self.queries(people), _nobody(people)), slice(None), None)
        scores[:, 0] = -torch.inf
        return scores

    @torch.inference_mode()
    def best(self, people: Sequence[Person], k: int, *, seen: bool) -> tuple[np.ndarray, np.ndarray]:
        """(C, k) the numbers of the best items, 0 where none is left, and (C, k) their scores.

        Args:
            seen: whether items of the history may come again.
        """
        if not people:
            k = min(k, len(self._items))
            return np.zeros((0, k), dtype=np.int64), np.zeros((0, k), dtype=np.float32)
        return self.best_of(Histories.of(people), k, None, seen=seen)

    @torch.inference_mode()
    def best_of(self, histories: Histories, k: int, everywhere: Tensor | None, *, seen: bool) -> tuple[np.ndarray, np.ndarray]:
        """As best; everywhere (V,) is 0 for items that may come and -inf for others."""
        events = histories.items[:0] if seen else histories.events()
        restriction = ExclusionMask(events, np.zeros_like(histories.counts) if seen else histories.counts, everywhere=everywhere)
        features = self._features(self.following.queries_of(histories), histories.counts == 0)
        items, scores = self._catalogue.best(features, min(k, len(self._items)), restriction)
        return items.numpy(), scores.numpy()

    @cached_property
    def _catalogue(self) -> TiledTopK | Nearest:
        """All items by features of the queries, the item's bias, and how often it was chosen."""
        size, model = len(self._items) + 1, self.model
        counts = torch.from_numpy(self.run.items["training_count"].to_numpy().astype(np.float32))
        lot = torch.randperm(size, generator=torch.Generator().manual_seed(self.settings.seed))
        if model.dot_product:
            weight, bias = (part if part is None else part.detach() for part in model.item_table())
            assert weight is not None
            table = torch.cat([weight.T, (torch.zeros(size) if bias is None else bias)[None], counts[None]])
            catalogue = TiledTopK(product(table), lot)
            return catalogue if self.index is None else Nearest(self.index, catalogue)

        def score(queries: Tensor, items: slice, memory: Tensor | None) -> Tensor:
            scores = model.scores(queries[:, :-2])
            return torch.where(queries[:, -1:] > 0, counts, scores)

        return TiledTopK(score, lot, most=size)

    def _features(self, queries: Tensor, nobody: np.ndarray) -> Tensor:
        """(C, D) -> (C, D + 2): what is multiplied with the catalogue. Of people without events (C,) what is popular counts, and nothing else."""
        features = torch.cat([queries, queries.new_ones(len(queries), 1), queries.new_zeros(len(queries), 1)], 1)
        if nobody.any():
            rows = torch.from_numpy(nobody)
            features[rows] = 0.0
            features[rows, -1] = 1.0
        return features

    @property
    def _vectors(self) -> Tensor:
        """(V, D) by which items are alike."""
        return self.model.item_table()[0].detach()

    @cached_property
    def _lengths(self) -> Tensor:
        """(V,) theirs, above 0."""
        lengths: Tensor = torch.linalg.vector_norm(self._vectors, dim=1)
        return lengths.clamp_(min=1e-12)

    def _filters(
        self, k: Any, seen: bool, deny: Iterable[Any], allow: Iterable[Any] | None, where: Mapping[str, Any] | None, diversity: float
    ) -> dict[str, Any]:
        """All of a Request but the person."""
        if not isinstance(diversity, int | float) or not 0 <= diversity <= 1:
            raise RequestError(f"diversity: expected a number from 0 to 1, found {diversity!r}")
        if diversity and not self.model.dot_product:
            raise RequestError(f"diversity: {self.settings.model} has no vectors of items")
        if where is not None and not isinstance(where, Mapping):
            raise RequestError(f"where: expected a dictionary of columns and values, found {type(where).__name__}")
        found = [self._where(column, as_texts(column, value)) for column, value in (where or {}).items()]
        notes = [told for _, told_of_it in found for told in told_of_it]
        bar = sum((one for one, _ in found[1:]), found[0][0]) if found else None
        if bar is not None and not notes and not bar[1:].isfinite().any():
            notes.append("where: no item meets all of these conditions")
        denied, told = self._known("deny", deny)
        notes += told
        allowed = None
        if allow is not None:
            allowed, told = self._known("allow", allow)
            notes += told
        return {
            "k": _count(k),
            "seen": seen,
            "deny": denied,
            "allow": allowed,
            "where": bar,
            "diversity": float(diversity),
            "notes": tuple(notes),
        }

    def _everywhere(self, filters: Mapping[str, Any]) -> Tensor | None:
        """(V,) 0 for items that may come by these filters, -inf for others; None where all may."""
        if filters["where"] is None and filters["allow"] is None and not len(filters["deny"]):
            return None
        everywhere = torch.zeros(len(self._items) + 1) if filters["where"] is None else filters["where"].clone()
        if filters["allow"] is not None:
            allowed = torch.from_numpy(filters["allow"])
            everywhere = torch.full_like(everywhere, -torch.inf).index_copy_(0, allowed, everywhere[allowed])
        everywhere[torch.from_numpy(filters["deny"])] = -torch.inf
        return everywhere

    def _known(self, name: str, items: Iterable[Any]) -> tuple[np.ndarray, list[str]]:
        """The numbers of the items that the run knows, and a note about the others."""
        ids = [text(item) for item in several(name, items)]
        numbers = np.array([self._items[one] for one in ids if one in self._items], dtype=np.int64)
        return numbers, self._unknown_note(name, "left out", [one for one in ids if one not in self._items])

    def _bar(self, column: str, texts: tuple[str, ...]) -> tuple[Tensor, list[str]]:
        """(V,) 0 for items that have one of these values, -inf for others; and a note about each value that no item has."""
        has, notes = matching(self.run.items, column, texts)
        return torch.zeros(len(has)).masked_fill_(torch.from_numpy(~has.to_numpy()), -torch.inf), notes


def load(folder: str | Path, *, index: bool = True, fold_in: bool = True) -> Recommender:
    """A run folder as a Recommender; nothing in it is executed and the dataset is not needed.

    Args:
        index: whether the folder's index is used, where it has one.
        fold_in: see Recommender.

    Raises:
        RunError: it is not there, half there, corrupt, or of another version.
        SettingsError: it has an index, and FAISS is not installed.
    """
    run = load_run(folder)
    return Recommender(run, index=read_index(run) if index else None, fold_in=fold_in)


def titles(items: pl.DataFrame) -> pl.Series | None:
    """(V,) what people know items by: the first column of text whose name says title or name; None without one."""
    for column in items.columns[1:]:
        if any(word in column.lower() for word in ("title", "name")):
            if items.schema[column] == pl.List(pl.String):
                return items[column].list.join(" ")
            if items.schema[column] == pl.String:
                return items[column]
    return None


def _count(k: Any) -> int:
    """How many items are asked for; NumPy's whole numbers are some too."""
    try:
        count = 0 if isinstance(k, bool) else whole(k)
    except TypeError:
        count = 0
    if count < 1:
        raise RequestError(f"k: expected a whole number from 1 on, found {k!r}")
    return count


def _nobody(people: Sequence[Person]) -> np.ndarray:
    """(C,) of whom nothing is known."""
    return np.array([not len(person.items) for person in people])


def _numbers(ids: pl.DataFrame) -> dict[str | None, int]:
    """id -> number; the first row stands for none."""
    names = ids.to_series(0)[1:].cast(pl.String).to_list()
    return dict(zip(names, range(1, len(ids)), strict=True))
