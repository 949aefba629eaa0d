"""How many numbers of a row are above, or not below, a threshold; and how many of its equals a lot puts before a number.

On a CPU NumPy counts: a comparison leaves one byte per number, eight of these bytes are read as one 64-bit number, and those
are added, at most 255 of them so that no byte overflows. (Torch compares several times slower than NumPy, and its own sum of truth values
turns each of them into 64 bits first.) Work is cut so small that it stays in a core's cache.
"""

import numpy as np
import torch
from torch import Tensor

CPU_BLOCK, OTHER_BLOCK = 1 << 20, 1 << 27
"""About how many bytes of truth values are held at a time: on a CPU they must fit into a core's second-level cache, beside a row or two."""


def count_above(rows: Tensor, row: Tensor, threshold: Tensor) -> tuple[Tensor, Tensor]:
    """(C, V), (R,), (R,) -> (R,), (R,) int64: how many numbers of row row[i] are > threshold[i], and how many are >=; row never falls.

    Equals `(rows[row] > threshold[:, None]).sum(1), (rows[row] >= threshold[:, None]).sum(1)`. Fastest where no row has more thresholds
    than the one before it.
    """
    if by_numpy(rows) and len(row):
        return _count_above_by_numpy(rows, row, threshold)
    above, upto = torch.empty_like(row), torch.empty_like(row)
    for part in _parts(len(row), rows):
        these, limit = rows[row[part]], threshold[part, None]
        above[part], upto[part] = (these > limit).sum(1), (these >= limit).sum(1)
    return above, upto


def _count_above_by_numpy(rows: Tensor, row: Tensor, threshold: Tensor) -> tuple[Tensor, Tensor]:
    number = torch.bincount(row, minlength=len(rows))  # (C,) how many thresholds each row has
    place = torch.arange(len(row)) - (number.cumsum(0) - number)[row]
    (queries, size), most = rows.shape, 2 * int(number.max())
    # What is not below a threshold is above the next number below it.
    limits = rows.new_full((queries, most), torch.inf)
    limits[row, 2 * place] = threshold
    limits[row, 2 * place + 1] = threshold.nextafter(threshold.new_tensor(-torch.inf))
    memory = _truth_memory(size)
    lanes, truths = memory.numpy(), _truths(memory, size)
    values, bounds, widths = rows.numpy()[:, None], limits.numpy()[..., None], (2 * number).tolist()
    found = np.zeros((queries, most, lanes.shape[1]), dtype=np.int64)
    begin = 0
    while begin < queries:
        # A block is some rows, and all their thresholds, or as many as there is memory for.
        end = min(begin + max(1, len(lanes) // max(widths[begin], 1)), queries)
        width, step = max(widths[begin:end]), max(1, len(lanes) // (end - begin))
        for first in range(0, width, step):
            last = min(first + step, width)
            shape, count = (end - begin, last - first, -1), (end - begin) * (last - first)
            np.greater(values[begin:end], bounds[begin:end, first:last], out=truths[:count].reshape(*shape[:2], size))
            np.add.reduce(lanes[:count].reshape(*shape, lanes.shape[2]), axis=-1, out=found[begin:end, first:last])
        begin = end
    counts = _bytes(torch.from_numpy(found))
    above, upto = counts[row, 2 * place], counts[row, 2 * place + 1]
    return above, torch.where(threshold == -torch.inf, size, upto)


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
    memory = _truth_memory(size)
    lanes, truths, step = memory.numpy(), _truths(memory, size), max(1, len(memory) // 2)
    found = np.empty((2, len(row), lanes.shape[1]), dtype=np.int64)
    between = np.empty((min(step, len(row)), size), dtype=np.bool_)
    for begin in range(0, len(row), step):
        part = slice(begin, begin + step)
        these = row[part].numpy()
        tied, inside = truths[: len(these)], between[: len(these)]
        np.equal(values[these], mine[part], out=tied)
        np.add.reduce(lanes[: len(these)], axis=-1, out=found[0, part])
        np.greater_equal(lots, low[part], out=inside)
        tied &= inside
        np.less(lots, high[part], out=inside)
        tied &= inside
        np.add.reduce(lanes[: len(these)], axis=-1, out=found[1, part])
    equals, ties = _bytes(torch.from_numpy(found))
    return torch.where(around, equals - ties, ties)


def by_numpy(rows: Tensor) -> bool:
    """Whether NumPy counts."""
    return rows.device.type == "cpu"


def _parts(count: int, rows: Tensor) -> list[slice]:
    """count copies of rows, cut into slices that fit into memory."""
    step = max(1, OTHER_BLOCK // max(rows.shape[1] * rows.element_size(), 1))
    return [slice(begin, min(begin + step, count)) for begin in range(0, count, step)]


def _truth_memory(size: int) -> Tensor:
    """(rows, sums, lanes) int64: memory for rows of `size` truth values, eight to a lane; at most 255 lanes, so that their bytes can be added."""
    lanes = -(-size // 8)
    sums = -(-lanes // 255)
    lanes = -(-lanes // sums)
    return torch.empty(max(1, CPU_BLOCK // (8 * sums * lanes)), sums, lanes, dtype=torch.int64)


def _truths(memory: Tensor, size: int) -> np.ndarray:
    """(rows, size) the truth values in memory; what lies behind them is false."""
    truths = memory.numpy().view(np.bool_).reshape(len(memory), -1)
    truths[:, size:] = False
    return truths[:, :size]


def _bytes(sums: Tensor) -> Tensor:
    """(..., sums) int64 sums of lanes -> (...) int64 the sum of all their bytes."""
    return sums.contiguous().view(torch.uint8).double().sum(-1).long()
