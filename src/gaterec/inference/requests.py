"""A request for recommendations in the run's own numbers, and what many different ones strike out of a tile of scores."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from gaterec.inference.users import Person

NONE = np.zeros(0, dtype=np.int64)


@dataclass(frozen=True, eq=False)
class Request:
    """What is asked for one person; gaterec.inference.recommender.Recommender.request makes it of ids, and refuses what can't be answered.

    Attributes:
        person: whom it is for.
        k: how many items; where fewer are left, those.
        seen: whether items of the history may come again.
        deny: numbers of items that may not come.
        allow: numbers of the only items that may; None for all.
        where: (V,) 0 for items that may come and -inf for others; None for all. It may be shared with other requests, and isn't changed.
        diversity: 0 to 1, how much unlike each other the items are to be; see gaterec.inference.reranking.
        notes: what of the request could not be done, and was left out.
    """

    person: Person
    k: int = 10
    seen: bool = False
    deny: np.ndarray = field(default_factory=lambda: NONE)
    allow: np.ndarray | None = None
    where: Tensor | None = None
    diversity: float = 0.0
    notes: tuple[str, ...] = ()


class Answer(NamedTuple):
    """What is recommended.

    Attributes:
        items: (n,) int64, the numbers of the items, the best first; n <= k.
        scores: (n,) float32, the model's; of somebody of whom nothing is known, how many chose the item.
    """

    items: np.ndarray
    scores: np.ndarray


class ExclusionMask:
    """What each query of a batch may not be answered with.

    Args:
        items: (N,) numbers of items that may not come, those of the first query first.
        counts: (C,) how many of them belong to each query.
        allow: query -> the only items that may, for those that have such.
        where: query -> (V,) 0 or -inf, added to its scores, likewise.
        everywhere: (V,) such numbers for all queries.
    """

    def __init__(
        self,
        items: np.ndarray,
        counts: np.ndarray,
        allow: Mapping[int, np.ndarray] | None = None,
        where: Mapping[int, Tensor] | None = None,
        everywhere: Tensor | None = None,
    ) -> None:
        self._items, self._rows = items, np.repeat(np.arange(len(counts)), counts)
        self._edges = np.concatenate([[0], counts.cumsum()])
        self._allow, self._where, self._everywhere = allow or {}, where or {}, everywhere

    @classmethod
    def of(cls, requests: Sequence[Request]) -> "ExclusionMask":
        """Of each request its own."""
        struck = [request.deny if request.seen else np.concatenate([request.deny, request.person.items]) for request in requests]
        return cls(
            np.concatenate(struck),
            np.array([len(items) for items in struck]),
            {row: request.allow for row, request in enumerate(requests) if request.allow is not None},
            {row: request.where for row, request in enumerate(requests) if request.where is not None},
        )

    @property
    def most(self) -> np.ndarray:
        """(C,) at most so many items may not come; all of them, more or less, where only some may."""
        most = np.diff(self._edges) + (0 if self._everywhere is None else int(self._everywhere.isinf().sum()))
        most[[*self._allow, *self._where]] = np.iinfo(np.int64).max // 2
        return most

    def bars(self, rows: np.ndarray, items: np.ndarray) -> np.ndarray:
        """(R, n) whether each of the items (R, n) may not come for the queries (R,), for whom nothing but items that may not come was said."""
        barred: np.ndarray = items == 0
        if self._everywhere is not None:
            barred = barred | np.isneginf(self._everywhere.numpy()[items])
        wide = max(int(items.max(initial=0)), int(self._items.max(initial=0))) + 1
        here = np.isin(self._rows, rows)
        return barred | np.isin(rows[:, None] * wide + items, self._rows[here] * wide + self._items[here])

    def of_rows(self, rows: np.ndarray) -> "ExclusionMask":
        """The same for these queries (R,) alone, in rising order."""
        here, place = np.isin(self._rows, rows), {int(row): number for number, row in enumerate(rows)}
        return ExclusionMask(
            self._items[here],
            np.diff(self._edges)[rows],
            {place[row]: allowed for row, allowed in self._allow.items() if row in place},
            {place[row]: bar for row, bar in self._where.items() if row in place},
            self._everywhere,
        )

    def __call__(self, scores: Tensor, rows: slice, items: slice) -> None:
        """See gaterec.kernels.tiled_topk.Restrict."""
        if self._everywhere is not None:
            scores += self._everywhere[items]
        for row, bar in self._where.items():
            if rows.start <= row < rows.stop:
                scores[row - rows.start] += bar[items]
        for row, allowed in self._allow.items():
            if rows.start <= row < rows.stop:
                here = torch.from_numpy(allowed[(allowed >= items.start) & (allowed < items.stop)] - items.start)
                kept = scores[row - rows.start, here]
                scores[row - rows.start] = -torch.inf
                scores[row - rows.start, here] = kept
        part = slice(self._edges[rows.start], self._edges[rows.stop])
        row, item = self._rows[part] - rows.start, self._items[part] - items.start
        inside = (item >= 0) & (item < scores.shape[1])
        at = torch.from_numpy((row * scores.shape[1] + item)[inside])
        scores.view(-1).index_fill_(0, at, -torch.inf)
        if items.start == 0:
            scores[:, 0] = -torch.inf
