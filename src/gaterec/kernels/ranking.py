"""Where items stand among all items, and which ones stand first, without ever holding all scores.

Scores come in tiles of a few queries by the whole catalogue. On a CPU every core takes one tile after another and does all that is to be done
with it while it is in the cache, by itself; what a tile gives doesn't depend on who takes it, so results are the same bits every time.
"""

import threading
from collections.abc import Callable

import torch
from torch import Tensor

from gaterec.kernels.rank_counting import count_above, count_ties_before
from gaterec.kernels.threads import in_threads
from gaterec.kernels.topk import top_items

Rows = Callable[[int, int], Tensor]
"""begin, end -> (end - begin, V) scores of these queries; -inf leaves an item out of the ranking."""

SCORES_AT_A_TIME = 3_000_000
"""How many scores a tile holds; larger tiles leave the cache and are no faster."""


def products(queries: Tensor, weight: Tensor, bias: Tensor) -> Callable[[int, int], Tensor]:
    """Rows of `queries @ weight.T + bias`: (C, D), (V, D), (V,). The bias is one more feature, so that a tile is one product and nothing else.

    A tile is written where the last one of the same thread was.
    """
    left = torch.cat([queries, queries.new_ones(len(queries), 1)], 1)  # (C, D + 1)
    right = torch.cat([weight, bias[:, None]], 1).T.contiguous()  # (D + 1, V)
    memory = threading.local()

    def rows(begin: int, end: int) -> Tensor:
        if not hasattr(memory, "tile") or len(memory.tile) < end - begin:
            memory.tile = left.new_empty(end - begin, right.shape[1])
        return torch.mm(left[begin:end], right, out=memory.tile[: end - begin])

    return rows


def rank(
    rows: Rows,
    shape: tuple[int, int],
    row: Tensor,
    item: Tensor,
    lot: Tensor,
    draw: Tensor,
    *,
    k: int = 0,
    step: int | None = None,
    together: bool = True,
) -> tuple[Tensor, Tensor]:
    """Ranks of given items, and the first k items of every query.

    Args:
        rows: the scores, asked for once.
        shape: C queries, V items.
        row, item: (R,) int64, which ranks are wanted: of item item[i] for query row[i]; row never falls. Fastest where no query has more
            of them than the one before it.
        lot, draw: (V,) and (C,), what puts equal scores in order, see `ranks`.
        k: how many items to list.
        step: at most so many queries at a time.
        together: whether rows may be asked for several tiles at a time, on a CPU.

    Returns:
        (R,) int64, see `ranks`, and (C, min(k, V - 1)) int64, see kernels.topk.top_items.
    """
    queries, size = shape
    found = torch.empty_like(row)
    lists = row.new_zeros(queries, min(k, size - 1))
    share = -(-queries // torch.get_num_threads()) if together and row.device.type == "cpu" else queries
    step = max(1, min(step or queries, SCORES_AT_A_TIME // size, share))
    begins = range(0, queries, step)
    edges = torch.searchsorted(row, torch.tensor([*begins, queries], device=row.device)).tolist()

    def tile(number: int) -> None:
        begin, end = begins[number], min(begins[number] + step, queries)
        scores, part = rows(begin, end), slice(edges[number], edges[number + 1])
        found[part] = ranks(scores, row[part] - begin, item[part], lot, draw[begin:end])
        if k:
            lists[begin:end] = top_items(scores, k, lot, draw[begin:end])

    in_threads(tile, len(begins), row.device if together else None)
    return found, lists


def ranks(scores: Tensor, row: Tensor, item: Tensor, lot: Tensor, draw: Tensor) -> Tensor:
    """(R,) int64, from 1: the rank of item[i] in row row[i] of scores (C, V); 0 where it is left out, its score -inf.

    lot (V,), a permutation of 0..V-1, and draw (C,), in 0..V-1, put equal scores in order: of two the one with the smaller
    (lot[item] + draw[row]) % V comes first.
    """
    own = scores[row, item]
    above, upto = count_above(scores, row, own)
    tied = ((upto - above > 1) & (own > -torch.inf)).nonzero().squeeze(1)
    if len(tied):
        above[tied] += count_ties_before(scores, row[tied], item[tied], lot, draw)
    return (above + 1).masked_fill_(own == -torch.inf, 0)
