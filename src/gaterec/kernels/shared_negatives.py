"""Queries against negatives that all of them share: value and gradients in one sweep, without ever holding all scores.

Per tile of queries the scores are formed, turned into their own gradients where they stand, and given to the two products that gather them:

    s = q R' + b                         the scores of the tile, which stay in the cache; those of a query's own targets count for nothing
    g = share * d value / d s
    dq = g R        dR += g' q        db += the sums of g's columns
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

TILE = 256_000
"""Scores per tile: about what the cache of a core holds."""
NOTHING = -1e30
"""A score that counts for nothing: its exponential is zero in any precision, and unlike -inf it gives no NaN where nothing else is there."""

Value = Callable[[Tensor, Tensor, Tensor], tuple[Tensor, Tensor, Tensor]]
"""(n, S) scores, (n, K) what each query is compared with beside them, (n, K) what each of these counts -> (n,) values, (n, S) and (n, K) gradients.

The scores may be overwritten.
"""


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
    return _shared(_log_sum, queries, targets, negatives, rows, offset, first[:, None], share[:, None])


def shared_softplus(queries: Tensor, targets: Tensor, negatives: Tensor, rows: Tensor, offset: Tensor, share: Tensor) -> Tensor:
    """The sum over all queries of share * the sum of log(1 + e^score) over the negatives that are no targets of the query.

    Equals `(share * F.softplus(scores).sum(1)).sum()`; scores and arguments as in shared_log_sum.
    """
    return _shared(_softplus, queries, targets, negatives, rows, offset, rows.new_zeros(len(queries), 1), share[:, None])


def shared_bpr_max(
    queries: Tensor, targets: Tensor, negatives: Tensor, rows: Tensor, offset: Tensor, right: Tensor, share: Tensor, regularization: float
) -> Tensor:
    """The sum over all targets of share * (regularization * (p * scores^2).sum() - log (p * sigmoid(right - scores)).sum()).

    p = softmax(scores); scores and the other arguments as in shared_log_sum. A query whose targets are all the negatives has the value 0.

    Args:
        right: (N, K) the targets' scores.
        share: (N, K) what each target counts; it gets no gradient.
    """
    return _shared(partial(_bpr_max, regularization=regularization), queries, targets, negatives, rows, offset, right, share)


def shared_top1_max(
    queries: Tensor, targets: Tensor, negatives: Tensor, rows: Tensor, offset: Tensor, right: Tensor, share: Tensor
) -> Tensor:
    """The sum over all targets of share * (p * (sigmoid(scores - right) + sigmoid(scores^2))).sum(); all else as in shared_bpr_max."""
    return _shared(_top1_max, queries, targets, negatives, rows, offset, right, share)


def _log_sum(scores: Tensor, first: Tensor, share: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    top = torch.maximum(scores.amax(1, keepdim=True), first)
    e, alone = scores.sub_(top).exp_(), (first - top).exp()
    total = e.sum(1, keepdim=True) + alone
    scale = share / total
    return ((total.log() + top) * share).squeeze(1), e.mul_(scale), alone * scale


def _softplus(scores: Tensor, nothing: Tensor, share: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    values = F.softplus(scores).sum(1) * share.squeeze(1)
    return values, scores.sigmoid_().mul_(share), nothing


def _bpr_max(scores: Tensor, right: Tensor, share: Tensor, regularization: float) -> tuple[Tensor, Tensor, Tensor]:
    (p, log_total), known = _softmax(scores), _known(scores)
    # The penalty: of sum p s^2 the gradient is p (s^2 + 2 s - sum p s^2).
    squares = known.square()
    penalty = (p * squares).sum(1, keepdim=True)
    slope = squares.add_(known, alpha=2).sub_(penalty).mul_(p).mul_(regularization * share.sum(1, keepdim=True))
    values = (regularization * penalty * share).sum(1)
    # The rank: of -log sum p sigmoid the gradient is p - w sigmoid, with w the part that each summand has in the sum.
    d_right = torch.empty_like(right)
    for k in range(right.shape[1]):
        log_sigmoid = F.logsigmoid(right[:, k, None] - scores)
        w, log_sum = _softmax(scores + log_sigmoid)
        values += (log_total - log_sum) * share[:, k]
        sigmoid = log_sigmoid.exp_()
        d_right[:, k] = (w * sigmoid).sum(1).sub_(1).mul_(share[:, k])
        slope.addcmul_(p - w.mul_(sigmoid), share[:, k, None])
    return values, slope, d_right


def _top1_max(scores: Tensor, right: Tensor, share: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    p, known = _softmax(scores)[0], _known(scores)
    p.mul_(scores.amax(1, keepdim=True) > NOTHING / 2)  # where no negative is left, none counts
    near = known.square().sigmoid_()
    # Of sum p h the gradient is p (h + h' - sum p h), and of both sigmoids x (1 - x) times that of what is inside.
    of_near = near + known.mul_(2).mul_(near).mul_(1 - near)
    slope, values, d_right = torch.zeros_like(scores), scores.new_zeros(len(scores)), torch.empty_like(right)
    for k in range(right.shape[1]):
        above = torch.sigmoid(scores - right[:, k, None])
        moved = above * (1 - above)
        value = (p * (above + near)).sum(1)
        d_right[:, k] = -(p * moved).sum(1) * share[:, k]
        slope.addcmul_(p * (moved.add_(above).add_(of_near) - value[:, None]), share[:, k, None])
        values += value * share[:, k]
    return values, slope, d_right


def _softmax(scores: Tensor) -> tuple[Tensor, Tensor]:
    """(n, S) softmax, and (n,) log of the sum of exponentials."""
    top = scores.amax(1, keepdim=True)
    e = (scores - top).exp_()
    total = e.sum(1, keepdim=True)
    return e.div_(total), (total.log() + top).squeeze(1)


def _known(scores: Tensor) -> Tensor:
    """(n, S) the scores, 0 where one counts for nothing."""
    return F.threshold(scores, NOTHING / 2, 0.0)


def _shared(
    value: Value, queries: Tensor, targets: Tensor, negatives: Tensor, rows: Tensor, offset: Tensor, beside: Tensor, share: Tensor
) -> Tensor:
    result: Tensor = _Shared.apply(value, queries.to(rows.dtype), targets, negatives, rows, offset, beside, share)  # type: ignore[no-untyped-call]
    return result


class _Shared(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        value: Value,
        queries: Tensor,
        targets: Tensor,
        negatives: Tensor,
        rows: Tensor,
        offset: Tensor,
        beside: Tensor,
        share: Tensor,
    ) -> Tensor:
        count, size = len(queries), len(rows)
        step = max(1, min(count, TILE // size))
        hit_query, hit_negative = hits(targets, negatives)
        ends = torch.searchsorted(hit_query, torch.arange(0, count + step, step, device=queries.device)).tolist()
        tile = queries.new_empty(step, size)
        d_queries, d_rows, d_offset, d_beside = (torch.zeros_like(part) for part in (queries, rows, offset, beside))
        values = queries.new_empty(count)
        for number, begin in enumerate(range(0, count, step)):
            part = queries[begin : begin + step]
            scores = torch.addmm(offset, part, rows.T, out=tile[: len(part)])
            here = slice(ends[number], ends[number + 1])
            scores.index_put_((hit_query[here] - begin, hit_negative[here]), scores.new_tensor(NOTHING))
            values[begin : begin + step], slope, d_beside[begin : begin + step] = value(
                scores, beside[begin : begin + step], share[begin : begin + step]
            )
            torch.mm(slope, rows, out=d_queries[begin : begin + step])
            d_rows.addmm_(slope.T, part)
            d_offset += slope.sum(0)
        ctx.save_for_backward(d_queries, d_rows, d_offset, d_beside)
        return values.sum()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, scale: Tensor) -> tuple[Tensor | None, ...]:
        d_queries, d_rows, d_offset, d_beside = ctx.saved_tensors
        return None, d_queries * scale, None, None, d_rows * scale, d_offset * scale, d_beside * scale, None


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
