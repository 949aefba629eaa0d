"""A request for recommendations in item numbers, and the mask of the items that a batch of requests excludes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from gaterec.inference.filters import Filters
from gaterec.inference.items import ItemFilter
from gaterec.inference.users import RequestUser


@dataclass(frozen=True, eq=False)
class Request:
    """A validated request of one user; see gaterec.inference.recommender.Recommender.request.

    Attributes:
        user: the user to recommend to.
        filters: as they were asked for, and checked.
        items: which items may be recommended.
        notes: the parts of the request that were left out.
    """

    user: RequestUser
    filters: Filters
    items: ItemFilter
    notes: tuple[str, ...] = ()


class Answer(NamedTuple):
    """The recommendations for one request.

    Attributes:
        items: (n,) int64, the item numbers, the best first; n <= k.
        scores: (n,) float32, the scores of the model; the training counts of the items for a user without events.
    """

    items: np.ndarray
    scores: np.ndarray


class ExclusionMask:
    """The items that are excluded from the lists of a batch of queries.

    Args:
        items: (N,) numbers of excluded items, those of the first query first.
        counts: (C,) the number of these items for each query.
        allow: query -> the only items that are not excluded, for queries with such a list.
        where: query -> (V,) 0 or -inf, which is added to the scores, for queries with conditions.
        for_all: (V,) 0 or -inf, which is added to the scores of all queries.
    """

    def __init__(
        self,
        items: np.ndarray,
        counts: np.ndarray,
        allow: Mapping[int, np.ndarray] | None = None,
        where: Mapping[int, Tensor] | None = None,
        for_all: Tensor | None = None,
    ) -> None:
        self._items, self._rows = items, np.repeat(np.arange(len(counts)), counts)
        self._edges = np.concatenate([[0], counts.cumsum()])
        self._allow, self._where, self._for_all = allow or {}, where or {}, for_all

    @classmethod
    def of(cls, requests: Sequence[Request]) -> "ExclusionMask":
        """The mask of a batch of requests."""
        excluded = [
            request.items.deny if request.filters.seen else np.concatenate([request.items.deny, request.user.items]) for request in requests
        ]
        return cls(
            np.concatenate(excluded),
            np.array([len(items) for items in excluded]),
            {row: request.items.allow for row, request in enumerate(requests) if request.items.allow is not None},
            {row: request.items.where for row, request in enumerate(requests) if request.items.where is not None},
        )

    @property
    def max_excluded(self) -> np.ndarray:
        """(C,) upper bounds on the number of excluded items; larger than the catalog for queries with `allow` or `where`."""
        bounds = np.diff(self._edges) + (0 if self._for_all is None else int(self._for_all.isinf().sum()))
        bounds[[*self._allow, *self._where]] = np.iinfo(np.int64).max // 2
        return bounds

    def excludes(self, rows: np.ndarray, items: np.ndarray) -> np.ndarray:
        """(R, n) whether each of the items (R, n) is excluded for the queries (R,), which must have neither `allow` nor `where`."""
        excluded: np.ndarray = items == 0
        if self._for_all is not None:
            excluded = excluded | np.isneginf(self._for_all.numpy()[items])
        size = max(int(items.max(initial=0)), int(self._items.max(initial=0))) + 1
        of_rows = np.isin(self._rows, rows)
        return excluded | np.isin(rows[:, None] * size + items, self._rows[of_rows] * size + self._items[of_rows])

    def of_rows(self, rows: np.ndarray) -> "ExclusionMask":
        """The mask of these queries (R,), in ascending order."""
        of_rows, new_row = np.isin(self._rows, rows), {int(row): number for number, row in enumerate(rows)}
        return ExclusionMask(
            self._items[of_rows],
            np.diff(self._edges)[rows],
            {new_row[row]: allowed for row, allowed in self._allow.items() if row in new_row},
            {new_row[row]: mask for row, mask in self._where.items() if row in new_row},
            self._for_all,
        )

    def __call__(self, scores: Tensor, rows: slice, items: slice) -> None:
        """See gaterec.kernels.tiled_topk.Restrict."""
        if self._for_all is not None:
            scores += self._for_all[items]
        for row, mask in self._where.items():
            if rows.start <= row < rows.stop:
                scores[row - rows.start] += mask[items]
        for row, allowed in self._allow.items():
            if rows.start <= row < rows.stop:
                columns = torch.from_numpy(allowed[(allowed >= items.start) & (allowed < items.stop)] - items.start)
                kept = scores[row - rows.start, columns]
                scores[row - rows.start] = -torch.inf
                scores[row - rows.start, columns] = kept
        part = slice(self._edges[rows.start], self._edges[rows.stop])
        row, item = self._rows[part] - rows.start, self._items[part] - items.start
        inside = (item >= 0) & (item < scores.shape[1])
        cells = torch.from_numpy((row * scores.shape[1] + item)[inside])
        scores.view(-1).index_fill_(0, cells, -torch.inf)
        if items.start == 0:
            scores[:, 0] = -torch.inf
