"""A trained run that recommends: to users of its log, also with new events, to new users with a history, and to anonymous ones.

Ids are those of the log, as text or as values whose text they are. The dataset is not needed: the folder of the run holds the histories.
"""

import math
import warnings
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, Unpack

import numpy as np
import polars as pl
from torch import Tensor

from gaterec.config.settings import Settings
from gaterec.errors import RequestError, RequestWarning
from gaterec.inference.ann_index import Index, read_index
from gaterec.inference.bulk import USERS_PER_FILE, values, write_lists
from gaterec.inference.explain import explain
from gaterec.inference.explanation import Explanation
from gaterec.inference.filters import FilterOptions, Filters, checked_k
from gaterec.inference.fold_in import FoldIn
from gaterec.inference.ids import of_pandas, several, text, with_ids
from gaterec.inference.items import ItemFilter, Items
from gaterec.inference.lists import frame_of_answers, frame_of_best
from gaterec.inference.notes import history_notes
from gaterec.inference.query_cache import QueryCache
from gaterec.inference.ranker import Ranker
from gaterec.inference.requests import Answer, Request
from gaterec.inference.run_folder import LoadedRun, load_run
from gaterec.inference.users import Histories, RequestUser, Users
from gaterec.models.encoder import SequenceEncoder

__all__ = ["Answer", "Filters", "Recommender", "Request", "RequestUser", "load"]


def _warn(note: str) -> None:
    warnings.warn(note, RequestWarning, stacklevel=3)


class Recommender:
    """A trained run in memory, on the CPU.

    `recommend` returns a frame; `request` and `answer` work with arrays, for a server: many threads may make requests, one at a time may answer.

    Args:
        run: see gaterec.inference.run_folder.load_run.
        index: finds about the best items without scoring all of them (see gaterec.inference.ann_index); None scores all.
        capacity: the number of users in the query cache.
        fold_in: whether users without a trained vector get one from their history (see gaterec.inference.fold_in), in models with user vectors;
            otherwise they have a vector of zeros. Users of the log with fewer than two training events have no trained vector either.

    Attributes:
        run, index: the arguments.
        fold_in: computes the vectors of users without a trained one, or None.
        bases: what recommendations are based on: without events, without a trained user vector, and with one.
        following: the query cache; its hits and misses are counted.
        trained: (U,) whether training learned a vector of each user.
        titles: (V,) the titles of the items; None where the `.item` file has none.
    """

    def __init__(self, run: LoadedRun, *, index: Index | None = None, capacity: int = 10_000, fold_in: bool = True) -> None:
        self.run, self.index, model, settings = run, index, run.model, run.settings
        self._items = Items(run.items)
        self._users = Users(run, self._items.numbers)
        self.trained, self.titles = self._users.trained, self._items.titles
        self.fold_in = FoldIn(model, settings.seed, self.trained) if fold_in and model.user_table() is not None else None
        self.following = QueryCache(model, settings.MAX_ITEM_LIST_LENGTH, capacity, self.fold_in)
        self._ranker = Ranker(model, self._items.counts, settings.seed, self.following, index)
        self.bases = ("popularity", "popularity" if model.based_on == "popularity" else "history", model.based_on)

    @property
    def settings(self) -> Settings:
        """The settings that the run was trained with."""
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
        """One row per user, ids in the first column, padding first."""
        return self.run.users

    # -- recommendations -----------------------------------------------------------------------------------------------------------

    def recommend(
        self,
        users: Iterable[Any] | None = None,
        k: int = 10,
        *,
        histories: Iterable[Iterable[Any]] | None = None,
        filters: Filters | None = None,
        note: Callable[[str], object] = _warn,
        **options: Unpack[FilterOptions],
    ) -> Any:
        """The best items for each user.

        Items that the run does not know, such as new ones, are left out of histories, deny and allow, with a note.

        Args:
            users: ids; an unknown user without a history gets popular items. None: all are anonymous.
            k: the number of items for each user; fewer where fewer are left.
            histories: a list of item ids for each user, the latest last: new events of known users, all events of others.
            filters: replaces k and the options.
            note: called with each note; by default a RequestWarning.
            options: seen, deny, allow, where, strict and diversity; see gaterec.inference.filters.Filters.

        Returns:
            One row per recommended item, in the order of the users: user, rank, item, score, based_on, and title where the `.item` file has one.
            A pandas frame where users are a pandas Series or Index, else a Polars frame. Users keep the type in which they were given, so that
            the frame can be joined with theirs; in a list of several types, they are text.

        Raises:
            RequestError: an unknown column, a value of another type than the column's, an unknown user when strict, or a number out of its range.
        """
        if users is not None and not isinstance(users, pl.Series) and not of_pandas(users):
            users = list(several("users", users))
        filters = filters or Filters(k, **options)
        request_users = self.request_users(users, histories, strict=filters.strict)
        checked, of_items, notes = self._checked(filters)
        answers = self.answer([Request(user, checked, of_items) for user in request_users])
        frame, row = frame_of_answers(self._items, self.bases, request_users, answers)
        for line in (*history_notes(request_users), *notes):
            note(line)
        return frame if users is None else with_ids(frame, users, row)

    def recommend_to(
        self,
        folder: str | Path,
        users: Iterable[Any] | None = None,
        k: int = 10,
        *,
        filters: Filters | None = None,
        tell: Callable[[int], object] = lambda done: None,
        per_file: int = USERS_PER_FILE,
        note: Callable[[str], object] = _warn,
        **options: Unpack[FilterOptions],
    ) -> int:
        """Like recommend, for any number of users, into a folder of Parquet files part-00000.parquet, ..., which appears when it is complete.

        Memory does not grow with the number of users. For the other arguments see recommend.

        Args:
            folder: a new one, or one of such files, which are replaced.
            users: ids, read one after the other; None for all users of the log.
            tell: called now and then with the number of users that are done.
            per_file: users per file.

        Returns:
            The number of users.

        Raises:
            RequestError: see recommend; or `folder` is a file or holds other files. Nothing is written then.
            RunError: it can't be written.
        """
        checked, of_items, notes = self._checked(filters or Filters(k, **options))
        for_all = of_items.mask(len(self.run.items))

        def lists(ids: list[str | None]) -> pl.DataFrame:
            if checked.diversity:
                request_users = self.request_users(ids, None, strict=checked.strict)
                answers = self.answer([Request(user, checked, of_items) for user in request_users])
                return frame_of_answers(self._items, self.bases, request_users, answers)[0]
            histories = self.histories(ids, strict=checked.strict)
            best = self._ranker.best(histories, checked.k, for_all, seen=checked.seen)
            return frame_of_best(self._items, self.bases, ids, histories, *best)

        ids = values(self.run.users.to_series(0)[1:]) if users is None else map(text, several("users", users))
        count = write_lists(Path(folder), ids, lists, tell, per_file)
        for line in notes:
            note(line)
        return count

    def request(
        self,
        user: Any = None,
        history: Iterable[Any] | None = None,
        k: int = 10,
        *,
        filters: Filters | None = None,
        **options: Unpack[FilterOptions],
    ) -> Request:
        """A validated request of one user for `answer`; for the arguments see recommend.

        Raises:
            RequestError: see recommend.
        """
        filters = filters or Filters(k, **options)
        newer = () if history is None else several("history", history)
        (request_user,) = self.request_users(None if user is None else [user], [newer], strict=filters.strict)
        checked, of_items, notes = self._checked(filters)
        return Request(request_user, checked, of_items, (*history_notes([request_user]), *notes))

    def warm(self) -> None:
        """Compute now what the first request would wait for."""
        self.answer([self.request(history=[self.run.items.item(1, 0)])])

    def answer(self, requests: Sequence[Request]) -> list[Answer]:
        """The best items for each request, by one matrix product for all of them.

        An answer does not depend on the other requests, except for float noise in the scores of equally good items.
        """
        return self._ranker.answer(requests)

    def score(self, user: Any, items: Iterable[Any], history: Iterable[Any] | None = None) -> list[float]:
        """The scores of items for a user, who may have new events; nan, with a RequestWarning, for an item that the run does not know."""
        users = self.request_users([user], None if history is None else [several("history", history)])
        names = [text(item) for item in several("items", items)]
        scores = self.scores(users)[0]
        for line in (*history_notes(users), *self._items.unknown_notes("items", "no score for", names)):
            _warn(line)
        return [float(scores[self._items.numbers[name]]) if name in self._items.numbers else math.nan for name in names]

    def explain(self, user: Any, item: Any, history: Iterable[Any] | None = None) -> Explanation:
        """Explain the score of an item; see gaterec.inference.explain.explain."""
        return explain(self, user, item, history)

    def similar_items(self, item: Any, k: int = 10) -> pl.DataFrame:
        """The items with the most similar vectors in the item table (cosine): item, score, and title where there is one.

        Raises:
            RequestError: an unknown item, a k below 1, or a model without vectors of items.
        """
        number, k = self.item_number(item), checked_k(k)
        self._ranker.check_vectors("similar_items", self.settings.model)
        items, scores = self._ranker.similar(number, k)
        return self._items.with_titles(pl.DataFrame({"item": self._items.ids.gather(items), "score": scores}), items)

    def update(self, user: Any, event: Any) -> None:
        """Append an event to the history of a user, known or new, for all later answers. It is kept in memory only.

        An item that the run does not know changes no answer: the event is left out, with a RequestWarning.

        Raises:
            RequestError: the user is None.
        """
        name = text(user)
        if name is None:
            raise RequestError("update: whose event? expected a user, found None")
        if self.knows(event):
            self._users.add_event(name, self.item_number(event))
        for line in self._items.unknown_notes(f"update: user {name!r}", "left out", [text(event)]):
            _warn(line)

    # -- users, items and scores ---------------------------------------------------------------------------------------------------

    def knows(self, item: Any) -> bool:
        """Whether the run has this item."""
        return item in self._items

    def knows_user(self, user: Any) -> bool:
        """Whether the log of the run has this user."""
        return user in self._users

    def item_number(self, item: Any) -> int:
        """Raises RequestError for an unknown item."""
        return self._items.number(item)

    def histories(self, users: Sequence[str | None], *, strict: bool = False) -> Histories:
        """See gaterec.inference.users.Users.histories."""
        return self._users.histories(users, strict=strict)

    def request_users(
        self, users: Iterable[Any] | None, histories: Iterable[Iterable[Any]] | None, *, strict: bool = False
    ) -> list[RequestUser]:
        """See gaterec.inference.users.Users.request_users."""
        return self._users.request_users(users, histories, strict=strict)

    def queries(self, users: Sequence[RequestUser]) -> Tensor:
        """(C, D) the queries; the rows of users without events are undefined."""
        return self._ranker.queries(users)

    def scores(self, users: Sequence[RequestUser]) -> Tensor:
        """(C, V) the scores of all items, -inf for padding; the training counts for users without events."""
        return self._ranker.scores(users)

    def best(self, users: Sequence[RequestUser], k: int, *, seen: bool) -> tuple[np.ndarray, np.ndarray]:
        """See gaterec.inference.ranker.Ranker.best."""
        if not users:
            k = min(k, len(self._items))
            return np.zeros((0, k), dtype=np.int64), np.zeros((0, k), dtype=np.float32)
        return self._ranker.best(Histories.of(users), k, None, seen=seen)

    def _checked(self, filters: Filters) -> tuple[Filters, ItemFilter, list[str]]:
        """Filters with checked numbers, as item numbers, and notes of what was left out."""
        checked = filters.checked()
        if checked.diversity:
            self._ranker.check_vectors("diversity", self.settings.model)
        return checked, *self._items.filter(checked)


def load(folder: str | Path, *, index: bool = True, fold_in: bool = True) -> Recommender:
    """A run folder as a Recommender; nothing in it is executed and the dataset is not needed.

    Args:
        index: whether the index in the folder is used, where there is one.
        fold_in: see Recommender.

    Raises:
        RunError: it is missing, incomplete, corrupt, or of another version.
        SettingsError: it has an index, and FAISS is not installed.
    """
    run = load_run(folder)
    return Recommender(run, index=read_index(run) if index else None, fold_in=fold_in)
