"""Sums over the last L events of every position, computed once per event and not once per window.

A window of L reaches from a position t back over p = 0 .. L-1. Row t of a banded matrix holds the L weights of window t, so all windows
of a row together are one product of that matrix with the events. Rows longer than a block are cut into blocks, each of which reaches
L - 1 events back into its predecessor.
"""

import torch
import torch.nn.functional as F
from torch import Tensor


def shift(x: Tensor, steps: int, fill: float = 0.0) -> Tensor:
    """(B, T, ...) moved `steps` positions later in time; what comes in at the start is `fill`."""
    if steps == 0:
        return x
    start = x.new_full((x.shape[0], min(steps, x.shape[1]), *x.shape[2:]), fill)
    return torch.cat([start, x[:, : -steps if steps < x.shape[1] else 0]], dim=1)


def sliding_sum(x: Tensor, window: int) -> Tensor:
    """(B, T, ...) -> (B, T, ...): the sum over each position and the `window - 1` before it.

    Equals `sum(shift(x, p) for p in range(window))`. Sums of 1, 2, 4, ... positions are doubled up, so it takes about 2 log2(window)
    additions, and no differences of large sums, which would lose precision.
    """
    window = min(window, x.shape[1])
    total: Tensor | None = None
    reach, width, part = 0, 1, x  # part[t] is the sum of `width` positions up to t; total[t] of `reach`
    while window:
        if window & width:
            total = part if total is None else total + shift(part, reach)
            reach += width
            window -= width
        if window:
            part = part + shift(part, width)
            width *= 2
    assert total is not None
    return total


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
    length, window = values.shape[1], position_gate.shape[1]
    block = min(length, max(32, window))
    reach = min(window, length) - 1
    blocks = -(-length // block)
    after = blocks * block - length
    # Block n asks from positions n*block .. n*block + block-1 and sees `reach` more events before them.
    gates = F.pad(item_gate, (reach, after), value=-torch.inf).unfold(1, block + reach, block)  # (B, n, block + reach)
    events = F.pad(values, (0, 0, reach, after)).unfold(1, block + reach, block)  # (B, n, D, block + reach)
    weights = torch.sigmoid(gates[:, :, None] + _band(position_gate[:, : reach + 1], block)[:, None])  # (B, n, block, block + reach)
    total = weights @ events.transpose(2, 3)  # (B, n, block, D)
    amount = weights.sum(-1, keepdim=True)
    average = total / amount.masked_fill(amount == 0, 1.0)
    return average.flatten(1, 2)[:, :length]


def _band(position_gate: Tensor, block: int) -> Tensor:
    """(B, L) -> (B, block, block + L - 1): row t, column k holds the gate of distance p = t + L - 1 - k, and -inf outside the window."""
    window = position_gate.shape[1]
    row = F.pad(position_gate.flip(1), (0, block), value=-torch.inf)  # (B, L + block): laid end to end, each row starts one further on
    laid = row[:, None].expand(-1, block, -1).flatten(1)[:, : block * (window + block - 1)]
    return laid.view(-1, block, window + block - 1)


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
