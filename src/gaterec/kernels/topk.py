"""The best items of each row of scores, equal scores in an order that is drawn by lot.

The k largest of many numbers lie in the k blocks with the largest maxima. A pass over all numbers for their blocks' maxima runs at the speed
of memory, and what is left to sort out is small.
"""

import torch
from torch import Tensor

BLOCK = 64
"""So many numbers of a row share a maximum."""


def top_items(scores: Tensor, k: int, lot: Tensor, draw: Tensor) -> Tensor:
    """(C, min(k, V - 1)) int64: the best items of each row, best first, at the ranks that kernels.ranking.ranks gives them; 0 where none is left.

    Args:
        scores: (C, V); -inf leaves an item out, padding above all.
        lot, draw: see kernels.ranking.ranks.
    """
    values, items = best_items(scores, min(k, scores.shape[1] - 1), lot, draw)
    return items.masked_fill(values == -torch.inf, 0)


def best_items(scores: Tensor, k: int, lot: Tensor, draw: Tensor) -> tuple[Tensor, Tensor]:
    """As top_items, for k < V: (C, k) scores and (C, k) items; an item of score -inf is any."""
    values, items = topk(scores, k + 1)
    tied = ((values[:, 1:] == values[:, :-1]) & (values[:, 1:] > -torch.inf)).any(1).nonzero().squeeze(1)
    values, items = values[:, :k], items[:, :k]
    if len(tied):
        values[tied], items[tied] = _by_lot(scores[tied], values[tied], items[tied], (lot + draw[tied, None]) % len(lot))
    return values, items


def topk(scores: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """`scores.topk(k, dim=1)`: (C, V) -> (C, k) values and (C, k) int64 items, the largest first; which of equal ones come is left open."""
    size = scores.shape[1]
    blocks = size // BLOCK
    if blocks < 4 * k or scores.device.type != "cpu":
        values, items = scores.topk(k, dim=1)
        return values, items
    maxima = scores[:, : blocks * BLOCK].view(len(scores), blocks, BLOCK).amax(2)  # (C, blocks)
    best = maxima.topk(k, dim=1, sorted=False).indices
    inside = (best[:, :, None] * BLOCK + torch.arange(BLOCK)).flatten(1)  # (C, k BLOCK)
    items = torch.cat([inside, torch.arange(blocks * BLOCK, size).expand(len(scores), -1)], 1)
    values, places = scores.gather(1, items).topk(k, dim=1)
    return values, items.gather(1, places)


def merge(values: Tensor, items: Tensor, k: int, lot: Tensor) -> tuple[Tensor, Tensor]:
    """The k best of each row of candidates (C, M), of equal ones those of the smaller lot: (C, k) values and (C, k) items."""
    by_lot = lot[items].argsort(1)
    order = by_lot.gather(1, values.gather(1, by_lot).argsort(stable=True, dim=1, descending=True)[:, :k])
    return values.gather(1, order), items.gather(1, order)


def _by_lot(scores: Tensor, values: Tensor, items: Tensor, turn: Tensor) -> tuple[Tensor, Tensor]:
    """The k best of each row (C, V) where some are equal, from any k best ones (C, k) and whose turn comes first (C, V)."""
    k, last = items.shape[1], values[:, -1:]
    # Those above the last one are known, but for their order; of those that equal it the first k may come in.
    first, equals = turn.masked_fill(scores != last, len(turn[0])).topk(k, dim=1, largest=False)
    values = torch.cat([values.masked_fill(values == last, -torch.inf), last.where(first < len(turn[0]), -torch.inf)], 1)  # (C, 2 k)
    items = torch.cat([items, equals], 1)
    by_turn = turn.gather(1, items).argsort(1)
    order = by_turn.gather(1, values.gather(1, by_turn).argsort(stable=True, dim=1, descending=True)[:, :k])
    return values.gather(1, order), items.gather(1, order)
