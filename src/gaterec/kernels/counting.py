"""How many numbers of a row are above, or not below, a threshold; and how many of its equals a lot puts before a number.

On a CPU NumPy counts: a comparison leaves one byte per number, eight of these bytes are read as one 64-bit number, and those are added, at
most 255 of them so that no byte overflows. (Torch compares several times slower, and its sum of truth values turns each of them into 64 bits
first.) Work is cut so small that it stays in a core's cache.
"""

import math
from collections.abc import Callable
from operator import eq, ge, gt, lt
from typing import Any

import numpy as np
import torch
from torch import Tensor

CPU_BLOCK, OTHER_BLOCK = 1 << 20, 1 << 26
"""How many comparisons are held at a time."""


def count_above(rows: Tensor, row: Tensor, threshold: Tensor) -> tuple[Tensor, Tensor]:
    """(C, V), (R,), (R,) -> (R,), (R,) int64: how many numbers of row row[i] are > threshold[i], and how many are >=; row never falls.

    Equals `(rows[row] > threshold[:, None]).sum(1), (rows[row] >= threshold[:, None]).sum(1)`. Fastest where no row has more thresholds
    than the one before it.
    """
    if not len(row):
        return torch.empty_like(row), torch.empty_like(row)
    number = torch.bincount(row, minlength=len(rows))  # (C,) how many thresholds each row has
    place = torch.arange(len(row), device=row.device) - (number.cumsum(0) - number)[row]
    widths = number.tolist()
    limits = rows.new_full((len(rows), max(widths), 1), torch.inf)
    limits[row, place, 0] = threshold
    found = torch.zeros(2, len(rows), max(widths), dtype=torch.int64, device=rows.device)
    truths = _Truths(rows)
    values, bounds, counts = truths.arrays(rows[:, None], limits, found)
    begin = 0
    while begin < len(rows):
        end = min(begin + max(1, truths.most // max(widths[begin], 1)), len(rows))
        width, step = max(widths[begin:end]), max(1, truths.most // (end - begin))
        for first in range(0, width, step):
            block = slice(begin, end), slice(first, min(first + step, width))
            for count, how in zip(counts, (gt, ge), strict=True):
                count[block] = truths.sum(truths.compare(how, values[begin:end], bounds[block]))
        begin = end
    return found[0, row, place], found[1, row, place]


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
    # Before an item stand the lots from the row's first one up to its own, going around behind the last lot.
    first, own = (size - draw[row]) % size, lot[item]
    around = own < first
    low, high = torch.where(around, own, first).int()[:, None], torch.where(around, first, own).int()[:, None]
    found = torch.empty(2, len(row), dtype=torch.int64, device=rows.device)
    truths = _Truths(rows)
    values, mine, lots, lows, highs, (equal, between) = truths.arrays(rows, rows[row, item][:, None], lot.int()[None], low, high, found)
    (picked,) = truths.arrays(row)
    for begin in range(0, len(row), truths.most):
        part = slice(begin, begin + truths.most)
        same = truths.compare(eq, values[picked[part]], mine[part])
        equal[part] = truths.sum(same)
        same &= truths.compare(ge, lots, lows[part], memory=1)
        same &= truths.compare(lt, lots, highs[part], memory=1)
        between[part] = truths.sum(same)
    return torch.where(around, found[0] - found[1], found[1])


NUMPY = {gt: np.greater, ge: np.greater_equal, lt: np.less, eq: np.equal}


def by_numpy(rows: Tensor) -> bool:
    """Whether NumPy counts."""
    return rows.device.type == "cpu"


class _Truths:
    """What comparisons along rows find, and the sums of it: by NumPy on a CPU, by torch elsewhere.

    Args:
        rows: (C, V).
    """

    def __init__(self, rows: Tensor) -> None:
        self.size, self.numpy = rows.shape[1], by_numpy(rows)
        self.most = max(1, (CPU_BLOCK if self.numpy else OTHER_BLOCK) // max(self.size, 1))  # rows at a time
        lanes = -(-self.size // 8)
        self.sums = max(1, -(-lanes // 255))  # a row's lanes are added in so many sums
        self.memory = np.zeros((2, self.most, self.sums, max(1, -(-lanes // self.sums))) if self.numpy else 0, dtype=np.uint64)

    def arrays(self, *tensors: Tensor) -> Any:
        """The tensors as what is reckoned with."""
        return tuple(tensor.numpy() for tensor in tensors) if self.numpy else tensors

    def compare(self, how: Callable[[Any, Any], Any], left: Any, right: Any, memory: int = 0) -> Any:
        """left (..., V) with right (..., 1), whose shape counts -> what `sum` and & take, until the same memory is used again."""
        if not self.numpy:
            return how(left, right)
        shape = right.shape[:-1]
        lanes = self.memory[memory, : math.prod(shape)].reshape(*shape, self.sums, -1)
        NUMPY[how](left, right, out=lanes.reshape(*shape, -1).view(np.bool_)[..., : self.size])
        return lanes

    def sum(self, truths: Any) -> Any:
        """How many are true, along the last dimension. (...) int64"""
        if not self.numpy:
            return truths.sum(-1)
        bytes_of = torch.from_numpy(np.add.reduce(truths, -1).view(np.uint8))  # (..., 8 sums)
        return bytes_of.double().sum(-1).numpy()
