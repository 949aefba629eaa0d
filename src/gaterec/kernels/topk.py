"""The best items of each row of scores, equal scores in an order that is drawn by lot."""

import torch
from torch import Tensor


def top_items(scores: Tensor, k: int, lot: Tensor, draw: Tensor) -> Tensor:
    """(C, min(k, V - 1)) int64: the best items of each row, best first, at the ranks that kernels.ranking.ranks gives them; 0 where none is left.

    Args:
        scores: (C, V); -inf leaves an item out, padding above all.
        lot, draw: see kernels.ranking.ranks.
    """
    k = min(k, scores.shape[1] - 1)
    values, items = scores.topk(k + 1, dim=1)
    tied = ((values[:, 1:] == values[:, :-1]) & (values[:, 1:] > -torch.inf)).any(1).nonzero().squeeze(1)
    values, items = values[:, :k], items[:, :k]
    if len(tied):
        values[tied], items[tied] = _by_lot(scores[tied], values[tied], items[tied], (lot + draw[tied, None]) % len(lot))
    return items.masked_fill(values == -torch.inf, 0)


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
