"""Sums over the last L events of every position, computed once per event and not once per window.

A window of L reaches from a position t back over p = 0 .. L-1. Row t of a banded matrix holds the L weights of window t, so all windows
of a row together are one product of that matrix with the events. Long rows are cut into blocks, each of which also sees the L - 1 events
before it, so that the band stays narrow; the gradients are written out by hand, since the same products turned round give them.
"""

from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

BLOCK = 32
"""Blocks are at least so long: shorter ones spend more on copying the events before them than they save in products."""


def shift(x: Tensor, steps: int, fill: float = 0.0) -> Tensor:
    """(B, T, ...) moved `steps` positions later in time; what comes in at the start is `fill`."""
    if steps == 0:
        return x
    start = x.new_full((x.shape[0], min(steps, x.shape[1]), *x.shape[2:]), fill)
    return torch.cat([start, x[:, : -steps if steps < x.shape[1] else 0]], dim=1)


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
        count = max(1, min(length // BLOCK, length // max(reach, 1)))
        return cls(length, reach, count, -(-length // count), reach if count > 1 else 0)

    def split(self, x: Tensor, fill: float = 0.0) -> Tensor:
        """(B, T, ...) -> (B, n, S, ...), filled up at the end."""
        after = self.count * self.size - self.length
        x = F.pad(x, (0, 0) * (x.dim() - 2) + (0, after), value=fill) if after else x
        return x.reshape(len(x), self.count, self.size, *x.shape[2:])

    def join(self, x: Tensor) -> Tensor:
        """(B, n, S, ...) -> (B, T, ...), the inverse of split."""
        return x.flatten(1, 2)[:, : self.length]

    def seen(self, x: Tensor, fill: float = 0.0) -> Tensor:
        """(B, T, ...) -> (B, n, before + S, ...): what each block sees."""
        if self.count == 1:
            return x[:, None]
        x = F.pad(x, (0, 0) * (x.dim() - 2) + (self.before, self.count * self.size - self.length), value=fill)
        return x.unfold(1, self.before + self.size, self.size).movedim(-1, 2).contiguous()

    def unsee(self, x: Tensor) -> Tensor:
        """(B, n, before + S, ...) -> (B, T, ...): adds up what belongs to the same position, the gradient of `seen`."""
        if self.count == 1:
            return x[:, 0]
        own = x[:, :, self.before :].contiguous()
        own[:, :-1, self.size - self.before :] += x[:, 1:, : self.before]
        return self.join(own)

    def band(self, of_distance: Tensor) -> Tensor:
        """(B, reach + 1) -> (B, S, before + S): row t, column k holds the value at distance p = before + t - k, and -inf outside the window."""
        width = self.size + self.reach
        row = F.pad(
            of_distance.flip(1), (0, self.size), value=-torch.inf
        )  # (B, width + 1): laid end to end, each row starts one further on
        laid = row[:, None].expand(-1, self.size, -1).flatten(1)[:, : self.size * width]
        return laid.view(-1, self.size, width)[:, :, self.reach - self.before :]

    def unband(self, x: Tensor) -> Tensor:
        """(B, S, before + S) -> (B, reach + 1): adds up what belongs to the same distance, the gradient of `band`."""
        x = F.pad(x, (self.reach - self.before, 0)).flatten(1)
        return F.pad(x, (0, self.size)).view(len(x), self.size, -1).sum(1)[:, : self.reach + 1].flip(1)


def sliding_sum(x: Tensor, window: int) -> Tensor:
    """(B, T, D) -> (B, T, D): the sum over each position and the `window - 1` before it.

    Equals `sum(shift(x, p) for p in range(window))`.
    """
    result: Tensor = _SlidingSum.apply(x, window)  # type: ignore[no-untyped-call]
    return result


class _SlidingSum(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, window: int) -> Tensor:
        ctx.blocks = blocks = Blocks.of(x.shape[1], window)
        ctx.band = x.new_ones(blocks.size, blocks.before + blocks.size).tril_(blocks.before).triu_(blocks.before - blocks.reach)
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
            of_event = blocks.seen(item_gate, fill=-torch.inf)[:, :, None]  # (B, n, 1, before + S)
            gates = (of_event + blocks.band(position_gate[:, : blocks.reach + 1])[:, None]).sigmoid_()  # (B, n, S, before + S)
            events = blocks.seen(values)  # (B, n, before + S, D)
            share = gates.sum(-1, keepdim=True).reciprocal_()  # (B, n, S, 1)
            share.masked_fill_(share == torch.inf, 0.0)
            average = (gates @ events).mul_(share)  # (B, n, S, D)
        ctx.save_for_backward(gates, events, share, average)
        return blocks.join(average)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        gates, events, share, average = ctx.saved_tensors
        blocks: Blocks = ctx.blocks
        d_total = blocks.split(gradients[0]) * share  # (B, n, S, D)
        d_values = blocks.unsee(gates.transpose(2, 3) @ d_total)
        # A gate moves the average towards its event, away from the average.
        d_gates = (d_total @ events.transpose(2, 3)).sub_((d_total * average).sum(-1, keepdim=True))  # (B, n, S, before + S)
        d_gates = torch.ops.aten.sigmoid_backward(d_gates, gates)
        d_position = F.pad(blocks.unband(d_gates.sum(1)), (0, ctx.window - blocks.reach - 1))
        return d_values, blocks.unsee(d_gates.sum(2)), d_position


def gated_maximum(values: Tensor, item_gate: Tensor, position_gate: Tensor) -> Tensor:
    """The element-wise maximum of each position's last L events, each multiplied by its gate.

    out[b, t, d] = max_p a_p values[b, t - p, d]   with   a_p as in gated_average, over the events that there are

    Args and result as in gated_average. The winners are found without a gradient, which then flows through them alone: memory stays
    at (B, T, D) whatever the window.
    """
    length, window = values.shape[1], min(position_gate.shape[1], values.shape[1])
    position_gate = position_gate[:, :window]
    with torch.no_grad():
        best = values.new_full(values.shape, -torch.inf)
        winner = torch.zeros_like(values, dtype=torch.int64)
        for p in range(window):
            gate = shift(item_gate, p, -torch.inf) + position_gate[:, p, None]  # (B, T)
            candidate = (torch.sigmoid(gate)[:, :, None] * shift(values, p)).masked_fill(gate[:, :, None] == -torch.inf, -torch.inf)
            better = candidate > best
            best = torch.where(better, candidate, best)
            winner = torch.where(better, p, winner)
        source = torch.arange(length, device=values.device)[:, None] - winner  # (B, T, D): where each winner stands
    gate = item_gate.masked_fill(item_gate == -torch.inf, 0.0)[:, :, None].expand_as(values).gather(1, source)
    distance = position_gate[:, :, None].expand(-1, -1, values.shape[2]).gather(1, winner)
    chosen = torch.sigmoid(gate + distance) * values.gather(1, source)
    return chosen.masked_fill(best == -torch.inf, 0.0)
