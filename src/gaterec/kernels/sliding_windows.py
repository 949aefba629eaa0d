"""Sums and maxima over the last L events of every position; sums are computed once per event and not once per window.

A window of L reaches from a position t back over p = 0 .. L-1. Row t of a banded matrix holds the L weights of window t, so all windows
of a row together are one product of that matrix with the events. Long rows are cut into blocks, each of which also sees the L - 1 events
before it, so that the band stays narrow. What belongs to single weights is done on the L diagonals of the band alone, which lie in its memory
one number further on in every row. The gradients are written out by hand: they are the same products turned round.

A maximum is no product. It is swept over the L distances p in place, whole rows at a time, and remembers of every winner how far back it stands.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

BLOCK = 40
"""About how long blocks are: shorter ones spend more on copying the events before them than they save in products."""


@dataclass(frozen=True)
class Blocks:
    """How rows of T positions are cut so that every window of a block lies within the block and what it sees before it.

    Attributes:
        length: T.
        reach: how many events before its own position a window sees, at most T - 1.
        count: n, how many blocks.
        size: S, positions per block.
        before: how many positions before a block it also sees: `reach`, or none where there is but one block.
    """

    length: int
    reach: int
    count: int
    size: int
    before: int

    @classmethod
    def of(cls, length: int, window: int) -> "Blocks":
        reach = min(window, length) - 1
        # A single block sees nothing twice and needs no copies, so it may do somewhat more work.
        count = 1 if length <= 2 * (BLOCK + reach) else length // BLOCK
        size = -(-length // count)
        return cls(length, reach, -(-length // size), size, reach if count > 1 else 0)

    @property
    def width(self) -> int:
        """How many positions a block sees: before + S."""
        return self.before + self.size

    def split(self, x: Tensor) -> Tensor:
        """(B, T, ...) -> (B, n, S, ...), filled up with zeros at the end."""
        after = self.count * self.size - self.length
        x = F.pad(x, (0, 0) * (x.dim() - 2) + (0, after)) if after else x
        return x.reshape(len(x), self.count, self.size, *x.shape[2:])

    def join(self, x: Tensor) -> Tensor:
        """(B, n, S, ...) -> (B, T, ...), the inverse of split."""
        return x.flatten(1, 2)[:, : self.length]

    def seen(self, x: Tensor) -> Tensor:
        """(B, T, ...) -> (B, n, before + S, ...): what each block sees; zeros where there is nothing."""
        if self.count == 1:
            return x[:, None]
        seen = x.new_empty(len(x), self.count, self.width, *x.shape[2:])
        for block, (begin, end, at) in enumerate(self._spans()):
            seen[:, block, :at] = 0.0
            seen[:, block, at : at + end - begin] = x[:, begin:end]
            seen[:, block, at + end - begin :] = 0.0
        return seen

    def unsee(self, x: Tensor) -> Tensor:
        """(B, n, before + S, ...) -> (B, T, ...): adds up what belongs to the same position, the gradient of `seen`."""
        if self.count == 1:
            return x[:, 0]
        total = x.new_zeros(len(x), self.length, *x.shape[3:])
        for block, (begin, end, at) in enumerate(self._spans()):
            total[:, begin:end] += x[:, block, at : at + end - begin]
        return total

    def _spans(self) -> Iterator[tuple[int, int, int]]:
        """For every block the positions begin..end that it sees, and where in its own window they begin."""
        for start in range(0, self.count * self.size, self.size):
            begin = max(0, start - self.before)
            yield begin, min(start + self.size, self.length), begin - (start - self.before)

    def windows(self, x: Tensor, fill: float) -> Tensor:
        """(B, T) -> (B, n, S, reach + 1), a view: what the windows see, the latest last."""
        x = F.pad(x, (self.reach, self.count * self.size - self.length), value=fill)
        return x.unfold(1, self.reach + 1, 1).view(len(x), self.count, self.size, self.reach + 1)

    def band(self, batch: int, like: Tensor) -> tuple[Tensor, Tensor]:
        """A banded matrix of zeros (B, n, S, before + S), and its diagonals (B, n, S, reach + 1) in the order of `windows`; both are views.

        Where a window reaches back over the first event, its diagonal runs on into the end of the row above, outside of the band. What is
        written there must be zero.
        """
        gap = self.reach - self.before
        flat = like.new_zeros(batch, self.count, gap + self.size * self.width)
        strides = flat.stride()[:2]
        matrix = flat.as_strided((batch, self.count, self.size, self.width), (*strides, self.width, 1), gap)
        return matrix, flat.as_strided((batch, self.count, self.size, self.reach + 1), (*strides, self.width + 1, 1))

    def diagonals_of_product(self, left: Tensor, right: Tensor) -> Tensor:
        """(B, n, S, D), (B, n, before + S, D) -> (B, n, S, reach + 1): the diagonals of left @ right' in the order of `windows`.

        Where a window reaches back over the first event, there are other entries of the products.
        """
        gap = self.reach - self.before
        shape = (len(left), self.count, self.size, self.width)
        flat = left.new_empty(gap + math.prod(shape))
        flat[:gap] = 0.0
        product = flat[gap:].view(-1, self.size, self.width)
        torch.bmm(left.flatten(0, 1), right.flatten(0, 1).mT, out=product)
        strides = (self.count * self.size * self.width, self.size * self.width, self.width + 1, 1)
        return flat.as_strided((*shape[:3], self.reach + 1), strides)


def sliding_sum(x: Tensor, window: int) -> Tensor:
    """(B, T, D) -> (B, T, D): the sum over each position and the `window - 1` before it.

    Equals the sum of x moved 0, 1, .. window - 1 positions later in time, with zeros coming in at the start.
    """
    result: Tensor = _SlidingSum.apply(x, window)  # type: ignore[no-untyped-call]
    return result


class _SlidingSum(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, window: int) -> Tensor:
        ctx.blocks = blocks = Blocks.of(x.shape[1], window)
        ctx.band = x.new_ones(blocks.size, blocks.width).tril_(blocks.before).triu_(blocks.before - blocks.reach)
        with torch.autocast(x.device.type, enabled=False):
            return blocks.join(ctx.band @ blocks.seen(x))

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        return ctx.blocks.unsee(ctx.band.T @ ctx.blocks.split(gradients[0])), None


def gated_average(values: Tensor, item_gate: Tensor, position_gate: Tensor) -> Tensor:
    """The average of each position's last L events, each weighted by its gate.

    out[b, t] = sum_p a_p values[b, t - p] / sum_p a_p   with   a_p = sigmoid(item_gate[b, t - p] + position_gate[b, p])

    Args:
        values: (B, T, D) the events.
        item_gate: (B, T) the part of each gate that depends on the event; -inf where there is none, which shuts the gate.
        position_gate: (B, L) the part that depends on the distance p to the query.

    Returns:
        (B, T, D); zero where no event is in reach.
    """
    result: Tensor = _GatedAverage.apply(values, item_gate.to(values.dtype), position_gate.to(values.dtype))  # type: ignore[no-untyped-call]
    return result


class _GatedAverage(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, values: Tensor, item_gate: Tensor, position_gate: Tensor) -> Tensor:
        ctx.window = position_gate.shape[1]
        ctx.blocks = blocks = Blocks.of(values.shape[1], ctx.window)
        with torch.autocast(values.device.type, enabled=False):
            by_distance = position_gate[:, : blocks.reach + 1].flip(1)[:, None, None]  # (B, 1, 1, reach + 1)
            gates = (blocks.windows(item_gate, -torch.inf) + by_distance).sigmoid_()  # (B, n, S, reach + 1)
            share = gates.sum(-1, keepdim=True).reciprocal_()  # (B, n, S, 1)
            share.masked_fill_(share == torch.inf, 0.0)
            band, diagonals = blocks.band(len(values), gates)
            diagonals.copy_(gates)
            events = blocks.seen(values)  # (B, n, before + S, D)
            average = (band @ events).mul_(share)  # (B, n, S, D)
        ctx.save_for_backward(gates, band, events, share, average)
        return blocks.join(average)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        gates, band, events, share, average = ctx.saved_tensors
        blocks: Blocks = ctx.blocks
        d_total = blocks.split(gradients[0]) * share  # (B, n, S, D)
        d_values = blocks.unsee(band.mT @ d_total)
        # A gate moves the average towards its event, away from the average; one that has no event is 0 and has no gradient.
        moved = blocks.diagonals_of_product(d_total, events) - (d_total * average).sum(-1, keepdim=True)
        d_gates = torch.ops.aten.sigmoid_backward(moved, gates)  # (B, n, S, reach + 1)
        d_band, diagonals = blocks.band(len(gates), gates)
        diagonals.copy_(d_gates)
        d_distance = F.pad(d_gates.sum((1, 2)).flip(1), (0, ctx.window - blocks.reach - 1))
        return d_values, blocks.unsee(d_band.sum(2)), d_distance


def gated_maximum(values: Tensor, item_gate: Tensor, position_gate: Tensor) -> Tensor:
    """The element-wise maximum of each position's last L events, each multiplied by its gate.

    out[b, t, d] = max_p a_p values[b, t - p, d]   with   a_p as in gated_average, over the events that there are

    Args and result as in gated_average. Of events that give the same maximum the latest takes the whole gradient.
    """
    result: Tensor = _GatedMaximum.apply(values, item_gate.to(values.dtype), position_gate.to(values.dtype))  # type: ignore[no-untyped-call]
    return result


class _GatedMaximum(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, values: Tensor, item_gate: Tensor, position_gate: Tensor) -> Tensor:
        length, window = values.shape[1], min(position_gate.shape[1], values.shape[1])
        # What is no event is -inf behind an open gate: it wins only where nothing else is in reach.
        absent = (item_gate == -torch.inf)[:, :, None]
        events = values.masked_fill(absent, -torch.inf)
        gates = (item_gate[:, :, None] + position_gate[:, None, :window]).sigmoid_().masked_fill_(absent, 1.0)  # (B, T, window)
        best, candidates = torch.full_like(values, -torch.inf), torch.empty_like(values)
        winner = torch.zeros_like(values, dtype=torch.uint8 if window <= 256 else torch.int32)  # (B, T, D): its p
        for p in range(window):
            candidate, so_far, latest = candidates[:, p:], best[:, p:], winner[:, p:]  # (B, T - p, D)
            torch.mul(events[:, : length - p], gates[:, : length - p, p, None], out=candidate)
            if any(ctx.needs_input_grad):
                # The winner that came last has the largest p; a maximum is several times faster than writing under a mask.
                torch.maximum(latest, (candidate > so_far).to(winner.dtype).mul_(p), out=latest)
            torch.maximum(so_far, candidate, out=so_far)
        ctx.save_for_backward(values, absent, gates, winner)
        ctx.window = position_gate.shape[1]
        return best.masked_fill_(best == -torch.inf, 0.0)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        values, absent, gates, winner = ctx.saved_tensors
        distance = winner.long()  # (B, T, D)
        source = torch.arange(values.shape[1], device=values.device)[:, None] - distance  # where each winner stands
        at = (source * gates.shape[2] + distance).flatten(1)  # (B, T D): where its gate stands
        gate = gates.flatten(1).gather(1, at).view_as(values)
        d_values = torch.zeros_like(values).scatter_add_(1, source, gradients[0] * gate).masked_fill_(absent, 0.0)
        d_winner = (gradients[0] * values.gather(1, source)).flatten(1)
        d_gates = torch.zeros_like(gates).flatten(1).scatter_add_(1, at, d_winner).view_as(gates)
        # The open gates of what is no event have no gradient.
        d_gates = torch.ops.aten.sigmoid_backward(d_gates, gates)
        return d_values, d_gates.sum(2), F.pad(d_gates.sum(1), (0, ctx.window - gates.shape[2]))
