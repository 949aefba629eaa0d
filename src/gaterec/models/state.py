"""The sequence state: what a model keeps of a user between events, so that one more event costs little.

Event n of a history (n = 0, 1, ...) is stored at n % L, so a new event takes the place of the one that leaves the window, and nothing moves. What
is stored of an event depends on the user and that event alone; the query is the same whether events arrived one by one or all at once.
"""

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor


class SequenceState:
    """The windows of some users, each in a slot; a query encodes its window again. HGNState keeps more and encodes less.

    The weights of the model must not change while this is used.

    Args:
        encode: see SequenceEncoder.encode; of a model in evaluation mode.
        user_size: E, the length of user vectors.
        capacity: the number of slots.
        window: L.
    """

    def __init__(self, encode: Callable[[Tensor, Tensor], Tensor], user_size: int, capacity: int, window: int, dtype: torch.dtype) -> None:
        self.encode, self.window = encode, window
        self.user = lazy_zeros((capacity, user_size), dtype)  # u
        self.items = lazy_zeros((capacity, window), torch.int64)

    def start(self, slots: Tensor, user_vectors: Tensor) -> None:
        """Put users with these vectors (B, E) into these slots (B,), which then hold no events."""
        self.user[slots] = user_vectors

    def append(self, slots: Tensor, events: Tensor, items: Tensor) -> None:
        """Add events of users who were started.

        Args:
            slots: (N,) the user of each event.
            events: (N,) the position of each event in its history, from 0. A query needs the last L events of its history.
            items: (N,) the item of each event.
        """
        self.items[slots, events % self.window] = items

    def query(self, slots: Tensor, counts: Tensor) -> Tensor:
        """(B, D) the queries of users (B,) whose histories have `counts` (B,) events."""
        lengths = counts.clamp(max=self.window)
        position = torch.arange(max(int(lengths.max()), 1))  # from the first event of the window, in order of time
        event = (counts - lengths)[:, None] + position
        items = self.items[slots[:, None], event % self.window].masked_fill(position >= lengths[:, None], 0)  # (B, T)
        return self.encode(self.user[slots], items)[torch.arange(len(slots)), (lengths - 1).clamp(min=0)]


def lazy_zeros(shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
    """Like torch.zeros, but pages that are never written take no memory."""
    return torch.from_numpy(np.zeros(shape, dtype=torch.empty(0, dtype=dtype).numpy().dtype))
