"""Cross-entropy over a whole catalogue, forward and gradients in one go, without ever holding all scores.

Per tile of queries the work is three matrix products and one pass of exponentials in between; the sums ride along:

    e = exp(q W')                 the scores of the tile, which stay in the cache
    s = e B                       B = exp(b), so the bias costs no pass over the tile
    dq = e (B W) / s
    dW += e' (q / s)              times B at the very end

A tile holds all scores of some queries, as their sum must be known before the gradients. A catalogue too wide for that is cut the other way as
well and swept twice: once for the sums, once more for the gradients. That is one more product, and memory no longer grows with the catalogue.
Both hold the scores of a few hundred thousand pairs at a time. What belongs to the targets alone is added at the end.
"""

from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

TILE = 512_000
"""Scores per tile: about what the cache of a core holds."""
ON_CHIP = 64
"""A GPU has so many times more to keep busy: its tiles are so many times larger."""
NARROWEST = 64
"""Queries per tile, at least: with fewer, products are slow."""
WIDE = 100_000
"""From so many items on it pays to cut the catalogue as well."""
GRADIENTS = 20_000_000
"""Cores that sweep side by side add to gradients of their own, together no more numbers than this."""
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
        A scalar. Memory beyond the gradients is a tile or two, whatever the size of the catalogue. Of more than WIDE items it can be
        differentiated only once.
    """
    result: Tensor = _MeanCrossEntropy.apply(queries.to(weight.dtype), targets, weight, bias)  # type: ignore[no-untyped-call]
    return result


class _Swept(NamedTuple):
    """What a sweep finds: (N,) the logarithm of each query's sum of exponentials, and the gradients of their weighted sum."""

    log_sums: Tensor
    d_queries: Tensor  # (N, D)
    d_weight: Tensor  # (V - 1, D)
    d_bias: Tensor  # (V - 1,)


class _MeanCrossEntropy(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, queries: Tensor, targets: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        wanted = any(ctx.needs_input_grad)
        real = (targets > 0).to(queries.dtype)  # (N, K)
        each = real / real.sum()  # (N, K) how much of the mean each target is
        share = each.sum(1)  # (N,) how much of the mean each query's softmax is
        d_weight = torch.zeros_like(weight) if wanted else weight.new_zeros(1, 1)
        d_bias = weight.new_zeros(len(weight) if wanted and bias is not None else 1)
        found = _Swept(queries.new_zeros(len(queries)), torch.zeros_like(queries), d_weight[1:], d_bias[1:])
        with torch.autocast(queries.device.type, enabled=False):
            sweep = _sweep_twice if len(weight) > WIDE else _sweep
            sweep(queries, weight[1:], None if bias is None else bias[1:], share if wanted else None, found)
            chosen = F.embedding_bag(targets, weight, per_sample_weights=each, mode="sum")  # (N, D)
            loss = found.log_sums.dot(share) - queries.flatten().dot(chosen.flatten())
            if bias is not None:
                loss -= (bias[targets] * each).sum()
            if wanted:
                found.d_queries.sub_(chosen)
                at_targets = queries[:, None] * each[:, :, None]  # (N, K, D)
                d_weight.index_add_(0, targets.flatten(), at_targets.flatten(0, 1), alpha=-1)
                if bias is not None:
                    d_bias.index_add_(0, targets.flatten(), each.flatten(), alpha=-1)
                ctx.save_for_backward(found.d_queries, d_weight, d_bias if bias is not None else None)
        return loss

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        scale, saved = gradients[0], ctx.saved_tensors
        # A wide table's gradient is not held twice; a second backward then raises, as what was saved has changed.
        scaled = torch.Tensor.mul_ if len(saved[1]) > WIDE else torch.mul
        d_queries, d_weight, d_bias = (None if part is None else scaled(part, scale) for part in saved)
        return d_queries, None, d_weight, d_bias


def _sweep(queries: Tensor, weight: Tensor, bias: Tensor | None, share: Tensor | None, found: _Swept) -> None:
    """Fill in `found`, a tile of queries at a time; without their share of the mean (N,) only the sums."""
    safe = _is_safe(queries, weight, bias)
    lift = bias.exp() if bias is not None and safe else weight.new_ones(len(weight))
    lifted = weight if bias is None or not safe else weight * lift[:, None]
    count, size = queries.shape
    tiles = _side_by_side(weight)
    rows = _even(-(-count // tiles), max(NARROWEST, _tile(queries) // len(weight)))
    steps = -(-count // (tiles * rows))
    missing = steps * tiles * rows - count
    q = F.pad(queries, (0, 0, 0, missing)).view(steps, tiles, rows, size)
    of_mean = F.pad(share, (0, missing)).view(steps, tiles, rows) if share is not None else None
    tile = queries.new_empty(tiles, rows, len(weight))
    log_sums, d_queries = q.new_empty(steps, tiles, rows), torch.empty_like(q)
    d_weight, d_bias = weight.new_zeros(tiles, *weight.shape), weight.new_zeros(tiles, 1, len(weight))
    for step in range(steps):
        e, top = _exponentials(q[step], weight, None if safe else bias, safe, tile)
        sums = (e.flatten(0, 1) @ lift).view(tiles, rows)
        torch.add(sums.log(), top, out=log_sums[step])
        if of_mean is not None:
            scale = of_mean[step] / sums
            torch.bmm(e, lifted.expand(tiles, -1, -1), out=d_queries[step]).mul_(scale[:, :, None])
            d_weight.baddbmm_(e.mT, q[step] * scale[:, :, None])
            if bias is not None:
                d_bias.baddbmm_(scale[:, None], e)
    found.log_sums.copy_(log_sums.flatten()[:count])
    if share is not None:
        found.d_queries.copy_(d_queries.flatten(0, 2)[:count])
        for of_weight, of_bias in zip(d_weight, d_bias, strict=True):
            found.d_weight.addcmul_(of_weight, lift[:, None])
            if bias is not None:
                found.d_bias.addcmul_(of_bias[0], lift)


def _sweep_twice(queries: Tensor, weight: Tensor, bias: Tensor | None, share: Tensor | None, found: _Swept) -> None:
    """The same for a wide catalogue, a tile of queries and items at a time."""
    safe = _is_safe(queries, weight, bias)
    rows = _even(len(queries), 4 * NARROWEST)
    columns = _even(len(weight), max(1, _tile(queries) // rows))
    space = queries.new_empty(rows * columns)
    spans = [slice(begin, begin + rows) for begin in range(0, len(queries), rows)]
    blocks = [slice(begin, begin + columns) for begin in range(0, len(weight), columns)]
    sums, top = torch.zeros_like(found.log_sums), None if safe else torch.full_like(found.log_sums, -torch.inf)
    for block in blocks:
        table, lift = weight[block], None if bias is None else bias[block]
        tile = space[: rows * len(table)].view(1, rows, -1)
        for at in spans:
            (e,), (highest,) = _exponentials(queries[None, at], table, lift, safe, tile[:, : len(queries[at])])
            part = e.sum(1)
            if top is None:
                sums[at] += part
            else:
                higher = torch.maximum(top[at], highest)
                sums[at] = sums[at] * (top[at] - higher).exp() + part * (highest - higher).exp()
                top[at] = higher
    found.log_sums.copy_(sums.log() if top is None else sums.log() + top)
    if share is None:
        return
    scale = (share / sums)[:, None]  # (N, 1)
    scaled = queries * scale
    for block in blocks:
        table, lift = weight[block], None if bias is None else bias[block]
        tile = space[: rows * len(table)].view(1, rows, -1)
        for at in spans:
            (e,), _ = _exponentials(
                queries[None, at], table, lift, safe, tile[:, : len(queries[at])], None if top is None else top[None, at]
            )
            found.d_queries[at].addmm_(e, table)
            found.d_weight[block].addmm_(e.T, scaled[at])
            if bias is not None:
                found.d_bias[block].addmv_(e.T, scale[at, 0])
    found.d_queries.mul_(scale)


def _exponentials(
    queries: Tensor, weight: Tensor, bias: Tensor | None, safe: bool, tile: Tensor, top: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """(P, n, D), (m, D), (m,) -> (P, n, m) exp(score - top), written into the tile, and (P, n) top: zero where safe (then (P, 1)), else the highest score."""
    scores = torch.bmm(queries, weight.T.expand(len(queries), -1, -1), out=tile)
    if bias is not None:
        scores += bias
    if safe:
        return scores.exp_(), scores.new_zeros(len(scores), 1)
    top = scores.amax(-1) if top is None else top
    return scores.sub_(top[..., None]).exp_(), top


def _is_safe(queries: Tensor, weight: Tensor, bias: Tensor | None) -> bool:
    """Whether no score can be too large for an exponential (Cauchy-Schwarz). Not asked on a GPU, which would have to wait for the answer."""
    if queries.device.type != "cpu":
        return False
    longest = queries.norm(dim=1).amax() * weight.norm(dim=1).amax()
    return float(longest if bias is None else longest + bias.abs().amax()) < SAFE


def _tile(queries: Tensor) -> int:
    return TILE if queries.device.type == "cpu" else TILE * ON_CHIP


def _even(count: int, most: int) -> int:
    """The size of the fewest pieces that `count` can be cut into, none larger than `most`, all about alike."""
    pieces = max(1, -(-count // most))
    return max(1, -(-count // pieces))


def _side_by_side(weight: Tensor) -> int:
    """How many tiles are swept at once: one for each core, so that what a core has made is still in its own cache when it is used."""
    return max(1, min(torch.get_num_threads(), GRADIENTS // weight.numel())) if weight.device.type == "cpu" else 1
