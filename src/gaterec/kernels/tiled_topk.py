"""The best items for many queries at once, without ever holding all scores: tiles of a few queries by a part of the catalogue.

A tile is one matrix product, then what may not come is struck out of it, then its best items are taken, all while it is in a core's cache. Parts
of the catalogue are the same whatever the queries, and a query alone is asked twice over (a product with one row takes another way through
the library of matrix products), so that a query finds the same bits alone and in company, as far as that library keeps to its ways.
"""

import threading
from collections.abc import Callable

import torch
from torch import Tensor

from gaterec.kernels.threads import in_threads
from gaterec.kernels.topk import best_items, merge

ITEMS = 1 << 17
"""So many items are a part of the catalogue, at most."""
ROWS = 64
"""A tile has so many queries: fewer are slower by the row, and more leave the cache."""

Restrict = Callable[[Tensor, slice, slice], None]
"""Strikes out of the scores of these queries for these items, in place, what may not come, by -inf."""


Score = Callable[[Tensor, slice, Tensor | None], Tensor]
"""(C, F) queries, which items, and memory for at least C times so many numbers that may be used -> (C, items there)."""


def product(table: Tensor) -> Score:
    """Scores by inner product with the columns of (F, V)."""
    table = table.contiguous()

    def score(queries: Tensor, items: slice, memory: Tensor | None) -> Tensor:
        part = table[:, items]
        if len(queries) == 1:
            return (queries.expand(2, -1) @ part)[:1]
        out = None if memory is None else memory[: len(queries) * part.shape[1]].view(len(queries), -1)
        return torch.mm(queries, part, out=out)

    return score


class TiledTopK:
    """Items among which the best are to be found.

    Args:
        score: theirs.
        lot: (V,) a permutation of 0 .. V - 1: of items with equal scores the one of the smaller lot comes first.
        most: at most about so many items are scored at a time.
    """

    def __init__(self, score: Score, lot: Tensor, most: int = ITEMS) -> None:
        self.score, self.lot = score, lot
        self._parts = _cut(len(lot), -(-len(lot) // most))
        self._lots = [lot[part].argsort().argsort() for part in self._parts]

    def best(self, queries: Tensor, k: int, restrict: Restrict) -> tuple[Tensor, Tensor]:
        """(C, F) -> (C, k) the best items, 0 where none is left, and (C, k) their scores, -inf there; k < V."""
        whole = 4 * k > self._parts[-1].stop - self._parts[-1].start  # lists nearly as long as a part are made of the whole
        parts, lots = ([slice(0, len(self.lot))], [self.lot]) if whole else (self._parts, self._lots)
        tiles = max(-(-len(queries) // ROWS), min(torch.get_num_threads(), len(queries) // 2), 1)
        rows, width = _cut(len(queries), tiles), len(parts)
        values = queries.new_empty(len(queries), width, k)
        items = torch.empty(len(queries), width, k, dtype=torch.int64)

        own = threading.local()  # memory that each thread fills again and again

        def tile(number: int) -> None:
            row, at = rows[number // width], number % width
            if not hasattr(own, "memory"):
                own.memory = queries.new_empty(rows[0].stop * parts[0].stop)
            scores = self.score(queries[row], parts[at], own.memory)
            restrict(scores, row, parts[at])
            values[row, at], found = best_items(scores, k, lots[at], torch.zeros(len(scores), dtype=torch.int64))
            items[row, at] = found + parts[at].start

        in_threads(tile, len(rows) * width, queries.device)
        best, found = (values[:, 0], items[:, 0]) if width == 1 else merge(values.flatten(1), items.flatten(1), k, self.lot)
        return found.masked_fill(best == -torch.inf, 0), best


def _cut(count: int, parts: int) -> list[slice]:
    """0 .. count - 1 in so many parts, as even as can be.

    >>> _cut(7, 2)
    [slice(0, 4, None), slice(4, 7, None)]
    """
    step = max(1, -(-count // max(parts, 1)))
    return [slice(begin, min(begin + step, count)) for begin in range(0, count, step)]
