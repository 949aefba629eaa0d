"""The windows of people who come again: what a model keeps of their last L events, so that one more event costs little.

Event n of a history (n = 0, 1, ...) stands at n % L, so a newer event takes the place of the one that leaves the window, and nothing moves. What
is kept of an event depends on the person and that event alone; then a query is the same whether its events came one by one or all at once.
"""

from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

if TYPE_CHECKING:
    from gaterec.models.encoder import SequenceEncoder


class SequenceState:
    """The windows of people by a model of which nothing but their items is kept; their queries are encoded anew.

    Weights must not change as long as this is used.

    Args:
        model: in evaluation mode.
        room: for so many people.
        window: L.
    """

    def __init__(self, model: "SequenceEncoder", room: int, window: int) -> None:
        self.model, self.window = model, window
        self.users = zeros((room,), torch.int64)
        self.items = zeros((room, window), torch.int64)
        table = model.user_table()
        self.person = None if table is None else zeros((room, table.shape[1]), table.dtype)  # u

    def begin(self, places: Tensor, users: Tensor) -> None:
        """People (B,) take these places (B,), which then hold no events; user 0 is someone unknown."""
        self.users[places] = users
        table = self.model.user_table()
        if table is not None:
            self.begin_from(places, table[users])

    def begin_from(self, places: Tensor, people: Tensor) -> None:
        """As begin, for people of whom their vectors (B, D) are known (see SequenceEncoder.user_table)."""
        assert self.person is not None
        self.person[places] = people

    def add(self, places: Tensor, events: Tensor, items: Tensor) -> None:
        """Events of people who have begun.

        Args:
            places: (N,) whose.
            events: (N,) which of their history, from 0; those from the L-th last on, of each person, must have been added before a query.
            items: (N,) what was chosen.
        """
        self.items[places, events % self.window] = items

    def queries(self, places: Tensor, counts: Tensor) -> Tensor:
        """(B, D) the queries of people (B,) whose histories have so many events (B,), of which the last L are known here."""
        lengths = counts.clamp(max=self.window)
        place = torch.arange(max(int(lengths.max()), 1))  # in order of time from the first event in the window
        there = (counts - lengths)[:, None] + place
        items = self.items[places[:, None], there % self.window].masked_fill(place >= lengths[:, None], 0)  # (B, T)
        encoded = self.model.encode(self.users[places], items) if self.person is None else self.model.encode_as(self.person[places], items)
        return encoded[torch.arange(len(places)), (lengths - 1).clamp(min=0)]


def zeros(shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
    """As torch.zeros, but memory that nobody writes to costs nothing."""
    return torch.from_numpy(np.zeros(shape, dtype=torch.empty(0, dtype=dtype).numpy().dtype))
