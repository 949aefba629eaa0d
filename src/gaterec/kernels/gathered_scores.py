"""Scores of a few items per query, and rows of a table, at a cost that does not know how many rows the table has.

    scores[n, m] = queries[n] . weight[ids[n, m]] + bias[ids[n, m]]

The plain line gathers a vector for every score, (N, M, D) of them, forward and backward. Here none is ever gathered: with A the sparse matrix
(N, V) that holds the gradient of every score, the gradient of the queries is A W and that of the table A' Q, and both are weighted bags of
embeddings, for which torch has kernels; the scores are what these kernels call the gradient of the bags' weights.

The gradient of a table is dense, or holds the touched rows alone (`sparse`), each of them once and in order.
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

FEW = 16_384
"""With so few scores, adding their products one by one is faster than putting them in order of their items first."""


def gathered_scores(queries: Tensor, ids: Tensor, weight: Tensor, bias: Tensor | None = None, sparse: bool = False) -> Tensor:
    """The scores of M items for each query.

    Equals `(weight[ids] * queries[:, None]).sum(-1) + bias[ids]`.

    Args:
        queries: (N, D).
        ids: (N, M) int64, in 0 .. V-1.
        weight: (V, D), bias: (V,) or None for none.
        sparse: whether the gradients of weight and bias hold the rows of these items alone.

    Returns:
        (N, M). Memory beyond the gradients is a few numbers per score.
    """
    result: Tensor = _GatheredScores.apply(queries.to(weight.dtype), ids, weight, bias, sparse)  # type: ignore[no-untyped-call]
    return result


def table_rows(table: Tensor, ids: Tensor, sparse: bool = False) -> Tensor:
    """(M,) rows of a table (V,) or (V, D); equals `table[ids]`. `sparse` as above."""
    result: Tensor = _TableRows.apply(table, ids, sparse)  # type: ignore[no-untyped-call]
    return result


class _GatheredScores(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, queries: Tensor, ids: Tensor, weight: Tensor, bias: Tensor | None, sparse: bool) -> Tensor:
        ctx.save_for_backward(queries, ids, weight)
        ctx.sparse = sparse
        begins, owner = _bags(ids)
        flat = ids.flatten()
        scores: Tensor = torch.ops.aten._embedding_bag_per_sample_weights_backward(queries, weight, flat, begins, owner, 0, -1)
        return (scores if bias is None else scores + bias.index_select(0, flat)).view_as(ids)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        queries, ids, weight = ctx.saved_tensors
        gradient = gradient.contiguous()
        d_queries = F.embedding_bag(ids, weight, per_sample_weights=gradient, mode="sum") if ctx.needs_input_grad[0] else None
        d_weight, d_bias = _table_gradients(queries, ids, gradient, len(weight), ctx.sparse)
        return d_queries, None, d_weight, d_bias if ctx.needs_input_grad[3] else None, None


class _TableRows(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, table: Tensor, ids: Tensor, sparse: bool) -> Tensor:
        ctx.save_for_backward(ids)
        ctx.shape, ctx.sparse = table.shape, sparse
        return table.index_select(0, ids)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        (ids,) = ctx.saved_tensors
        if not ctx.sparse:
            return gradient.new_zeros(ctx.shape).index_add_(0, ids, gradient), None, None
        rows, place = torch.unique(ids, return_inverse=True)
        values = gradient.new_zeros(len(rows), *ctx.shape[1:]).index_add_(0, place, gradient)
        return _of_rows(rows, values, ctx.shape), None, None


def _table_gradients(queries: Tensor, ids: Tensor, gradient: Tensor, size: int, sparse: bool) -> tuple[Tensor, Tensor]:
    """(V, D) and (V,): the gradients of weight and bias, when the scores' is `gradient` (N, M)."""
    shape = (size, queries.shape[1])
    flat, each = ids.flatten(), gradient.flatten()
    if flat.numel() <= FEW and not sparse:
        products = (gradient[:, :, None] * queries[:, None]).flatten(0, 1)  # (N M, D)
        return queries.new_zeros(shape).index_add_(0, flat, products), each.new_zeros(size).index_add_(0, flat, each)
    ordered, origin = torch.sort(flat.int() if size < 2**31 else flat, stable=True)
    rows, counts = torch.unique_consecutive(ordered, return_counts=True)
    begins = counts.cumsum(0) - counts
    each = each[origin]
    values = F.embedding_bag(origin // ids.shape[1], queries, begins, per_sample_weights=each, mode="sum")  # (R, D)
    sums = F.embedding_bag(torch.arange(len(each), device=each.device), each[:, None], begins, mode="sum").squeeze(1)  # (R,)
    rows = rows.long()
    if sparse:
        return _of_rows(rows, values, shape), _of_rows(rows, sums, shape[:1])
    return queries.new_zeros(shape).index_copy_(0, rows, values), each.new_zeros(size).index_copy_(0, rows, sums)


def _of_rows(rows: Tensor, values: Tensor, shape: tuple[int, ...]) -> Tensor:
    """A sparse table of that shape: (R,) its rows in order, each once, and what stands in them."""
    return torch.sparse_coo_tensor(rows[None], values, shape, is_coalesced=True, check_invariants=False)


def _bags(ids: Tensor) -> tuple[Tensor, Tensor]:
    """(N,) where each query's scores begin, and (N M,) whose each score is."""
    count, length = ids.shape
    begins = torch.arange(count, device=ids.device) * length
    return begins, torch.arange(count, device=ids.device).repeat_interleave(length, output_size=count * length)
