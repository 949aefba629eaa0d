"""How many numbers of a row are above, or not below, a threshold; and how many of its equals a lot puts before a number.

On a CPU NumPy compares, and torch adds: a comparison leaves one byte per number, eight of these bytes are read as one 64-bit number, and those
are added, at most 255 of them so that no byte overflows. (Torch compares several times slower than NumPy, and its own sum of truth values
turns each of them into 64 bits first.) Work is cut so small that it stays in a core's cache.
"""

import numpy as np
import torch
from torch import Tensor

CPU_BLOCK, OTHER_BLOCK = 1 << 20, 1 << 27
"""About how many bytes are at work at a time: on a CPU they must fit into a core's second-level cache."""


def count_above(rows: Tensor, row: Tensor, threshold: Tensor) -> tuple[Tensor, Tensor]:
    """(C, V), (R,), (R,) -> (R,), (R,) int64: how many numbers of row row[i] are > threshold[i], and how many are >=; row never falls.

    Equals `(rows[row] > threshold[:, None]).sum(1), (rows[row] >= threshold[:, None]).sum(1)`. Fastest where no row has more thresholds
    than the one before it.
    """
    above, upto = torch.empty_like(row), torch.empty_like(row)
    if by_numpy(rows) and len(row):
        return _count_above_by_numpy(rows, row, threshold)
    for part in _parts(len(row), rows):
        these, limit = rows[row[part]], threshold[part, None]
        above[part], upto[part] = (these > limit).sum(1), (these >= limit).sum(1)
    return above, upto


def _count_above_by_numpy(rows: Tensor, row: Tensor, threshold: Tensor) -> tuple[Tensor, Tensor]:
    number = torch.bincount(row, minlength=len(rows))  # (C,) how many thresholds each row has
    place = torch.arange(len(row)) - (number.cumsum(0) - number)[row]
    widths, (queries, size) = number.tolist(), rows.shape
    limits = rows.new_full((queries, max(widths), 1), torch.inf)
    limits[row, place, 0] = threshold
    values, bounds = rows.numpy()[:, None], limits.numpy()
    most = max(1, CPU_BLOCK // (2 * size))
    lanes, truths = _truths(2, most, size)
    found = torch.zeros(2, queries, max(widths), lanes.shape[2], dtype=torch.int64)
    begin = 0
    while begin < queries:
        # A block is some rows, and all their thresholds, or as many as there is memory for.
        end = min(begin + max(1, CPU_BLOCK // (size * (rows.element_size() + 2 * widths[begin]))), queries)
        width, step = max(widths[begin:end]), max(1, most // (end - begin))
        for first in range(0, width, step):
            limit = bounds[begin:end, first : min(first + step, width)]
            shape, count = limit.shape[:2], limit.size
            np.greater(values[begin:end], limit, out=truths[0, :count].reshape(*shape, size))
            np.greater_equal(values[begin:end], limit, out=truths[1, :count].reshape(*shape, size))
            found[:, begin:end, first : first + shape[1]] = lanes[:, :count].sum(-1).view(2, *shape, -1)
        begin = end
    above, upto = _bytes(found[:, row, place])
    return above, upto


def count_ties_before(rows: Tensor, row: Tensor, item: Tensor, lot: Tensor, draw: Tensor) -> Tensor:
    """How many numbers of a row equal one of them and stand before it in an order drawn by lot. (R,) int64

    Args:
        rows: (C, V).
        row, item: (R,) int64, the numbers rows[row, item].
        lot: (V,) int64, a permutation of 0..V-1.
        draw: (C,) int64 in 0..V-1; the order of the columns of row c is that of (lot + draw[c]) % V.

    Equals, with order = (lot + draw[row, None]) % V, `((rows[row] == rows[row, item][:, None]) & (order < order.gather(1, item[:, None]))).sum(1)`.
    """
    size = rows.shape[1]
    if not by_numpy(rows):
        before = torch.empty_like(row)
        for part in _parts(len(row), rows):
            order = (lot + draw[row[part], None]) % size
            equal = rows[row[part]] == rows[row[part], item[part]][:, None]
            before[part] = (equal & (order < order.gather(1, item[part, None]))).sum(1)
        return before
    # Before an item stand the lots from the row's first one up to its own, going around behind the last lot.
    first, own = (size - draw[row]) % size, lot[item]
    around = own < first
    low, high = torch.where(around, own, first).int()[:, None].numpy(), torch.where(around, first, own).int()[:, None].numpy()
    values, mine, lots = rows.numpy(), rows[row, item][:, None].numpy(), lot.int().numpy()
    step = max(1, CPU_BLOCK // (size * (rows.element_size() + 2)))
    lanes, truths = _truths(2, min(step, len(row)), size)
    found = torch.empty(2, len(row), lanes.shape[2], dtype=torch.int64)
    for begin in range(0, len(row), step):
        part = slice(begin, begin + step)
        these = row[part].numpy()
        equal, between = truths[:, : len(these)]
        np.equal(values[these], mine[part], out=equal)
        np.greater_equal(lots, low[part], out=between)
        between &= lots < high[part]
        between &= equal
        found[:, part] = lanes[:, : len(these)].sum(-1)
    equals, inside = _bytes(found)
    return torch.where(around, equals - inside, inside)


def by_numpy(rows: Tensor) -> bool:
    """Whether NumPy counts."""
    return rows.device.type == "cpu"


def _parts(count: int, rows: Tensor) -> list[slice]:
    """count copies of rows, cut into slices that fit into memory."""
    step = max(1, OTHER_BLOCK // max(rows.shape[1] * rows.element_size(), 1))
    return [slice(begin, min(begin + step, count)) for begin in range(0, count, step)]


def _truths(kinds: int, count: int, size: int) -> tuple[Tensor, np.ndarray]:
    """Memory for truth values: as lanes (kinds, count, sums, at most 255) int64, eight to a lane, and as (kinds, count, size) of them."""
    lanes = -(-size // 8)
    sums = -(-lanes // 255)
    memory = torch.empty(kinds, count, sums, -(-lanes // sums), dtype=torch.int64)
    truths = memory.numpy().view(np.bool_).reshape(kinds, count, -1)
    truths[..., size:] = False
    return memory, truths[..., :size]


def _bytes(sums: Tensor) -> Tensor:
    """(..., sums) int64 sums of lanes -> (...) int64 the sum of all their bytes."""
    return sums.contiguous().view(torch.uint8).double().sum(-1).long()
