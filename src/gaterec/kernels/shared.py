"""Queries against negatives that all of them share: value and gradients in one sweep, without ever holding all scores.

Per tile of queries the scores are formed, turned into their own gradients where they stand, and given to the two products that gather them:

    s = q R' + b                         the scores of the tile, which stay in the cache; those of a query's own targets count for nothing
    g = share * d value / d s
    dq = g R        dR += g' q        db += the sums of g's columns
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

TILE = 256_000
"""Scores per tile: about what the cache of a core holds."""
NOTHING = -1e30
"""A score that counts for nothing: its exponential is zero in any precision, and unlike -inf it gives no NaN where nothing else is there."""


def shared_log_sum(
    queries: Tensor, targets: Tensor, negatives: Tensor, rows: Tensor, offset: Tensor, first: Tensor, share: Tensor
) -> Tensor:
    """The sum over all queries of share * log(e^first + the sum of e^score over the negatives that are no targets of the query).

    Equals `(share * torch.cat([first[:, None], scores], 1).logsumexp(1)).sum()` with
    `scores = (queries @ rows.T + offset).masked_fill((targets[:, :, None] == negatives).any(1), -inf)`.

    Args:
        queries: (N, D).
        targets: (N, K) int64; 0 is none.
        negatives: (S,) int64, never 0.
        rows: (S, D) the negatives' vectors, and offset: (S,) what is added to their scores.
        first: (N,).
        share: (N,) what each query counts; it gets no gradient.
    """
    result: Tensor = _Shared.apply(queries.to(rows.dtype), targets, negatives, rows, offset, first, share)  # type: ignore[no-untyped-call]
    return result


def shared_softplus(queries: Tensor, targets: Tensor, negatives: Tensor, rows: Tensor, offset: Tensor, share: Tensor) -> Tensor:
    """The sum over all queries of share * the sum of log(1 + e^score) over the negatives that are no targets of the query.

    Equals `(share * F.softplus(scores).sum(1)).sum()`; scores and arguments as in shared_log_sum.
    """
    result: Tensor = _Shared.apply(queries.to(rows.dtype), targets, negatives, rows, offset, None, share)  # type: ignore[no-untyped-call]
    return result


class _Shared(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, queries: Tensor, targets: Tensor, negatives: Tensor, rows: Tensor, offset: Tensor, first: Tensor | None, share: Tensor
    ) -> Tensor:
        count, size = len(queries), len(rows)
        step = max(1, min(count, TILE // size))
        hit_query, hit_negative = hits(targets, negatives)
        ends = torch.searchsorted(hit_query, torch.arange(0, count + step, step, device=queries.device)).tolist()
        tile = queries.new_empty(step, size)
        d_queries, d_rows, d_offset = torch.empty_like(queries), torch.zeros_like(rows), torch.zeros_like(offset)
        d_first = None if first is None else torch.empty_like(first)
        values = queries.new_empty(count)
        for number, begin in enumerate(range(0, count, step)):
            part, weight = queries[begin : begin + step], share[begin : begin + step, None]
            scores = torch.addmm(offset, part, rows.T, out=tile[: len(part)])
            here = slice(ends[number], ends[number + 1])
            scores.index_put_((hit_query[here] - begin, hit_negative[here]), scores.new_tensor(NOTHING))
            if first is None or d_first is None:
                values[begin : begin + step] = F.softplus(scores).sum(1)
                slope = scores.sigmoid_().mul_(weight)
            else:
                alone = first[begin : begin + step, None]
                top = torch.maximum(scores.amax(1, keepdim=True), alone)
                e, alone = scores.sub_(top).exp_(), (alone - top).exp()
                total = e.sum(1, keepdim=True) + alone
                values[begin : begin + step] = (total.log() + top).squeeze(1)
                scale = weight / total
                slope = e.mul_(scale)
                d_first[begin : begin + step] = (alone * scale).squeeze(1)
            torch.mm(slope, rows, out=d_queries[begin : begin + step])
            d_rows.addmm_(slope.T, part)
            d_offset += slope.sum(0)
        ctx.save_for_backward(d_queries, d_rows, d_offset, d_first)
        return (values * share).sum()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, scale: Tensor) -> tuple[Tensor | None, ...]:
        d_queries, d_rows, d_offset, d_first = ctx.saved_tensors
        return d_queries * scale, None, None, d_rows * scale, d_offset * scale, None if d_first is None else d_first * scale, None


def hits(targets: Tensor, negatives: Tensor) -> tuple[Tensor, Tensor]:
    """Where a negative is a target of a query: (H,) the queries, in order, and (H,) the places among the negatives.

    The pairs of `(targets[:, :, None] == negatives).any(1).nonzero()`, one that a query has as a target twice twice.
    """
    ordered, place = negatives.sort()
    first = torch.searchsorted(ordered, targets).flatten()
    count = torch.searchsorted(ordered, targets, right=True).flatten() - first
    pair = torch.arange(len(count), device=count.device).repeat_interleave(count)  # (H,) which target is hit
    within = torch.arange(len(pair), device=count.device) - (count.cumsum(0) - count)[pair]
    return pair // targets.shape[1], place[first[pair] + within]
