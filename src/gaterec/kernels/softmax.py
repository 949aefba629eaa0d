"""Cross-entropy over a whole catalogue, forward and gradients in one sweep, without ever holding all scores.

Per tile of queries the work is three matrix products and one pass of exponentials in between:

    e = exp(q W' + b)          the scores of the tile, which stay in the cache
    [n | s] = e [W | 1]        the unscaled gradient of the queries, and with it the sum of each row
    [dW | db] += e' [q/s | 1/s]

The sum, the division and the gradient of the bias ride along with the products. What belongs to the targets alone is added at the end.
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

TILE = 512_000
"""Scores per tile: about what the cache of a core holds."""
SAFE = 60.0
"""Scores whose size is below this can be exponentiated as they are: a float32 holds exp(60) times a billion."""


def mean_cross_entropy(queries: Tensor, targets: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """The mean over all targets of -log softmax(queries @ weight.T + bias), item 0 left out of the softmax.

    With one target each it equals `F.cross_entropy((queries @ weight.T + bias)[:, 1:], targets[:, 0] - 1)`.

    Args:
        queries: (N, D).
        targets: (N, K) int64, in 1 .. V-1, or 0 for none.
        weight: (V, D), bias: (V,) or None.

    Returns:
        A scalar. Memory beyond the gradients is one tile, whatever the size of the catalogue.
    """
    result: Tensor = _MeanCrossEntropy.apply(queries, targets, weight, bias)  # type: ignore[no-untyped-call]
    return result


class _MeanCrossEntropy(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, queries: Tensor, targets: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        count, size = len(queries), len(weight)
        real = (targets > 0).to(queries.dtype)  # (N, K)
        share = real.sum(1, keepdim=True) / real.sum()  # (N, 1) how much of the mean each query's softmax is
        rows = max(1, min(count, TILE // size))
        wanted = any(ctx.needs_input_grad)
        open_bias = queries.new_zeros(size) if bias is None else bias.clone()
        open_bias[0] = -torch.inf
        safe = _bound(queries, weight, bias) < SAFE
        table = torch.cat([weight, weight.new_ones(size, 1)], dim=1)  # [W | 1]
        tile = queries.new_empty(rows, size)
        d_queries = torch.empty_like(queries)
        d_table = torch.zeros_like(table)
        log_sums = queries.new_empty(count)
        for begin in range(0, count, rows):
            part = queries[begin : begin + rows]
            scores = torch.addmm(open_bias, part, weight.T, out=tile[: len(part)])
            top = None if safe else scores.amax(1, keepdim=True)
            e = scores.exp_() if top is None else scores.sub_(top).exp_()
            sums = e @ table  # [n | s]
            total = sums[:, -1:]
            log_sums[begin : begin + rows] = total[:, 0].log() + (0 if top is None else top[:, 0])
            if wanted:
                scale = share[begin : begin + rows] / total
                torch.mul(sums[:, :-1], scale, out=d_queries[begin : begin + rows])
                d_table.addmm_(e.T, torch.cat([part * scale, scale], dim=1))
        each = real / real.sum()  # (N, K) how much of the mean each target is
        chosen = F.embedding(targets, weight) * each[:, :, None]  # (N, K, D)
        loss = (log_sums * share[:, 0]).sum() - (queries * chosen.sum(1)).sum()
        if bias is not None:
            loss -= (bias[targets] * each).sum()
        if wanted:
            d_queries -= chosen.sum(1)
            at_targets = torch.cat([queries[:, None] * each[:, :, None], each[:, :, None]], dim=2)  # (N, K, D + 1)
            d_table.index_add_(0, targets.flatten(), at_targets.flatten(0, 1), alpha=-1)
            ctx.save_for_backward(d_queries, d_table)
            ctx.has_bias = bias is not None
        return loss

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        (scale,) = gradients
        d_queries, d_table = ctx.saved_tensors
        d_bias = d_table[:, -1] * scale if ctx.has_bias else None
        return d_queries * scale, None, d_table[:, :-1] * scale, d_bias


def _bound(queries: Tensor, weight: Tensor, bias: Tensor | None) -> float:
    """No score is larger than this in size (Cauchy-Schwarz)."""
    longest = queries.norm(dim=1).amax() * weight.norm(dim=1).amax()
    return float(longest if bias is None else longest + bias.abs().amax())
