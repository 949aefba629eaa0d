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
    if len(tied):
        by_lot = ((lot + draw[tied, None]) % len(lot)).argsort(1)
        by_score = scores[tied].gather(1, by_lot).argsort(stable=True, dim=1, descending=True)
        items[tied] = by_lot.gather(1, by_score)[:, : k + 1]
        values[tied] = scores[tied].gather(1, items[tied])
    return items[:, :k].masked_fill(values[:, :k] == -torch.inf, 0)
