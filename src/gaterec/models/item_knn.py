"""ItemKNN: what goes with the latest items, by who chose what (Sarwar, Karypis, Konstan and Riedl, WWW 2001).

    similarity(i,j) = people who chose both / (sqrt(people who chose i) sqrt(people who chose j) + shrink)
    score(t,j)      = sum of similarity(i,j) over those of the last L events, each item once, that are among the k nearest of j

Nothing is learned. A query is the window itself: the numbers of its L items.
"""

from collections.abc import Callable
from typing import Literal

import numpy as np
import torch
import torch.nn.functional as F
from pydantic import Field, field_validator
from torch import Tensor

from gaterec.config.section import Section
from gaterec.errors import DataError
from gaterec.models.encoder import SequenceEncoder

EXACT = 2**24
"""Whole numbers up to here are exact in float32, in which queries are held."""
ITEMS_AT_A_TIME, PAIRS_AT_A_TIME = 2**10, 5_000_000
"""The neighbours of so many items are found at a time, at most, from so many pairs of events of one person, or of one item from all it is in."""


class ItemKNNSettings(Section):
    trained = False

    k: int = Field(100, ge=1, le=100_000, description="how many nearest items are kept of each item")
    shrink: float = Field(0.0, ge=0.0, description="added to the denominator of similarities, so that rare items look less alike")
    knn_method: Literal["item"] = Field("item", description="similarities are between items")

    @field_validator("knn_method", mode="before")
    @classmethod
    def _items_alone(cls, value: object) -> object:
        if value == "user":
            raise ValueError(
                "expected item, found user: a query is a history, which may be longer than in training or of someone new, and users could be compared as they were in training alone"
            )
        return value


class ItemKNN(SequenceEncoder):
    """See the equations above.

    Attributes:
        neighbours: (V, k) int32, the nearest items of each item, the nearest first; 0 where there are fewer.
        similarity: (V, k) of these, 0 where there are fewer.
    """

    Settings = ItemKNNSettings
    dot_product = False

    neighbours: Tensor
    similarity: Tensor
    begins: Tensor
    places: Tensor

    def __init__(self, users: int, items: int, window: int, settings: ItemKNNSettings) -> None:
        super().__init__()
        if items > EXACT:
            raise DataError(
                f"ItemKNN: expected at most {EXACT - 1:,} items, found {items - 1:,}; filter rare ones with item_inter_num_interval"
            )
        self.window, self.shrink, self.items = window, settings.shrink, items
        width = min(settings.k, max(items - 2, 1))
        self.register_buffer("neighbours", torch.zeros(items, width, dtype=torch.int32))
        self.register_buffer("similarity", torch.zeros(items, width))
        # The same the other way round, made anew whenever these change.
        self.register_buffer("begins", torch.zeros(items + 1, dtype=torch.int64), persistent=False)
        self.register_buffer("places", torch.zeros(items * width, dtype=torch.int64), persistent=False)
        self.register_load_state_dict_post_hook(lambda model, keys: model._turn_round())  # type: ignore[no-untyped-call]

    def fit_counts(self, counts: Tensor, events: Callable[[], tuple[Tensor, Tensor]]) -> None:
        people, items = (part.cpu().numpy() for part in events())
        neighbours, similarity = nearest(people, items, self.items, self.neighbours.shape[1], self.shrink)
        self.neighbours.copy_(torch.from_numpy(neighbours))
        self.similarity.copy_(torch.from_numpy(similarity))
        self._turn_round()

    def _turn_round(self) -> None:
        """From the nearest of each item to those that have it among theirs: places[begins[i] : begins[i + 1]] of the flat neighbours are i."""
        flat = self.neighbours.flatten()
        self.places.copy_(flat.argsort(stable=True))
        torch.cumsum(flat.bincount(minlength=self.items), 0, out=self.begins[1:])

    def encode(self, user_vectors: Tensor, items: Tensor) -> Tensor:
        return F.pad(items, (self.window - 1, 0)).unfold(1, self.window, 1).float()  # (B, T, L)

    def scores(self, queries: Tensor) -> Tensor:
        events = queries.long().flatten(0, -2).sort(1).values  # (N, L)
        events[:, 1:].masked_fill_(events[:, 1:] == events[:, :-1], 0)  # an item that stands twice counts once
        scores, similarity = queries.new_zeros(len(events) * self.items), self.similarity.flatten()
        start = torch.arange(len(events), device=queries.device) * self.items
        for event in events.unbind(1):  # one at a time, as the items that have it among their nearest may be many
            begin = self.begins[event]
            count = (self.begins[event + 1] - begin) * (event > 0)
            row = torch.arange(len(event), device=queries.device).repeat_interleave(count)
            at = self.places[torch.arange(len(row), device=queries.device) + (begin - count.cumsum(0) + count)[row]]
            scores.index_add_(0, start[row] + at // self.neighbours.shape[1], similarity[at])
        found = scores.view(*queries.shape[:-1], self.items)
        found[..., 0] = -torch.inf
        return found

    def item_table(self) -> tuple[Tensor, Tensor | None]:
        raise TypeError("ItemKNN has no item table: its scores are sums of similarities and no products")


def nearest(people: np.ndarray, items: np.ndarray, size: int, k: int, shrink: float) -> tuple[np.ndarray, np.ndarray]:
    """(size, k) int32, the k nearest other items of each, and (size, k) float32, their similarities, as in the equations above.

    Args:
        people: (M,) and items: (M,), who chose what; a pair that comes again counts once.

    The nearest come first; of equally near ones those of the lowest numbers. 0 where there are fewer than k. Memory grows with the events, with
    what is returned and with PAIRS_AT_A_TIME, never with size * size.
    """
    from scipy.sparse import csr_array

    shape = (int(people.max(initial=0)) + 1, size)
    chose = csr_array((np.ones(len(people), dtype=np.float32), (people, items)), shape=shape)
    chose.data[:] = 1.0
    by_item = chose.T.tocsr()
    norm = np.sqrt(np.diff(by_item.indptr))
    # In how many pairs of events of one person each item is: what it costs to count them; it has no more neighbours than that.
    pairs = np.cumsum(by_item @ np.diff(chose.indptr).astype(np.float64))
    found, similarity = np.zeros((size, k), dtype=np.int32), np.zeros((size, k), dtype=np.float32)
    begin = 0
    while begin < size:
        enough = int(np.searchsorted(pairs, PAIRS_AT_A_TIME + (pairs[begin - 1] if begin else 0.0), side="right"))
        end = min(max(enough, begin + 1), begin + ITEMS_AT_A_TIME)
        both = by_item[begin:end] @ chose  # (items here, size), how many people chose both
        counts = np.diff(both.indptr)
        row = np.repeat(np.arange(end - begin), counts)
        value = (both.data / (norm[row + begin] * norm[both.indices] + shrink)).astype(np.float32)
        value[both.indices == row + begin] = 0.0  # an item is no neighbour of its own
        ordered = np.sort(_key(row, value, both.indices))
        kept = np.minimum(counts, k)
        row = np.repeat(np.arange(end - begin), kept)
        place = np.arange(len(row)) - np.repeat(np.cumsum(kept) - kept, kept)
        value, other = _value_and_item(ordered[both.indptr[row] + place])
        found[row + begin, place], similarity[row + begin, place] = np.where(value > 0, other, 0), value
        begin = end
    return found, similarity


def _key(row: np.ndarray, value: np.ndarray, item: np.ndarray) -> np.ndarray:
    """(M,) uint64 that stand in order of row, then of falling value, then of item: 10 bits, 30 bits and 24.

    The bits of a float32 that is not negative grow as it does, and of one below 2 there are 30.
    """
    falling = (2**30 - 1) - value.view(np.uint32)
    return row.astype(np.uint64) << 54 | falling.astype(np.uint64) << 24 | item.astype(np.uint64)


def _value_and_item(key: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """What _key was made of."""
    falling = (key >> 24 & (2**30 - 1)).astype(np.uint32)
    return ((2**30 - 1) - falling).view(np.float32), (key & (2**24 - 1)).astype(np.int32)
