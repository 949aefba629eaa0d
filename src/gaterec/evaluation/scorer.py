"""Scores of all items for the queries of an evaluation."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from gaterec.data.interactions import Interactions
from gaterec.kernels.threads import in_threads
from gaterec.models.encoder import SequenceEncoder

Scorer = Callable[[np.ndarray, np.ndarray], Tensor]
"""(C,) people and (C,) positions in the flat array of events -> (C, V) scores of all items given what stands before; padding -inf."""


CPU_EVENTS, OTHER_EVENTS = 3_000, 500_000
"""About how many events are encoded at a time; on a CPU they must stay in a core's cache."""


@dataclass(frozen=True)
class EncoderScorer:
    """Scores by a model: every query sees the last `window` events before its position."""

    model: SequenceEncoder
    interactions: Interactions
    window: int
    device: torch.device

    def __call__(self, user: np.ndarray, position: np.ndarray) -> Tensor:
        """See Scorer."""
        with torch.inference_mode():
            return self.model.scores(self.queries(user, position))

    @torch.inference_mode()
    def queries(self, user: np.ndarray, position: np.ndarray) -> Tensor:
        """(C,) people and (C,) positions -> (C, D), C > 0."""
        # Queries of one person that stand side by side share a row: events from `window` before the first of them up to the last.
        # Where a query sees the whole row, each has one of its own.
        new = np.ones(len(user), dtype=bool)
        new[1:] = self.model.full_context | (user[1:] != user[:-1])
        first = np.flatnonzero(new)
        begin = np.maximum(position[first] - self.window, self.interactions.offsets[user[first]])
        length = np.append(position[first[1:] - 1], position[-1]) - begin
        # Rows of like length go together, so that hardly anything is padding.
        order = np.argsort(length, kind="stable")
        row = np.argsort(order)[np.cumsum(new) - 1]  # (C,) in that order
        by_row = np.argsort(row, kind="stable")
        first, begin, length, row = first[order], begin[order], length[order], row[by_row]
        at_a_time = CPU_EVENTS if self.device.type == "cpu" else OTHER_EVENTS
        cuts = [0, *(np.flatnonzero(np.diff(np.cumsum(length) // at_a_time)) + 1).tolist(), len(first)]
        edges = np.searchsorted(row, cuts)  # where the queries of each batch begin
        events = torch.from_numpy(self.interactions.item)
        found = [torch.empty(0)] * (len(cuts) - 1)

        def encode(number: int) -> None:
            rows, asked = slice(cuts[number], cuts[number + 1]), slice(edges[number], edges[number + 1])
            places = np.arange(length[rows][-1])
            at = np.minimum(begin[rows, None] + places, len(events) - 1)
            items = torch.where(torch.from_numpy(places < length[rows, None]), events[torch.from_numpy(at)], 0)
            encoded = self.model(torch.from_numpy(user[first[rows]]).to(self.device), items.to(self.device))
            place = position[by_row[asked]] - 1 - begin[row[asked]]
            found[number] = encoded[torch.from_numpy(row[asked] - cuts[number]).to(self.device), torch.from_numpy(place).to(self.device)]

        in_threads(encode, len(found), self.device)
        return torch.cat(found)[torch.from_numpy(np.argsort(by_row)).to(self.device)]
