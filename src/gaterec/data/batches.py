"""Batches of training rows: slices of histories, rows of like length together.

    ann's training events      rye tea jam        row: items rye tea -> targets tea jam
    bob's                      tea ham            row: items tea [0] -> targets ham

A row is a slice of one history in which every position is a training target; a long history is cut into several rows, each of which
sees the events before its first target that a window of L reaches. Nothing is cut into windows, nothing is copied out.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from gaterec.data.interactions import Interactions, stable_argsort
from gaterec.data.split import Split


@dataclass(frozen=True)
class Batch:
    """B rows of at most T events with N training targets among them.

    Attributes:
        users: (B,) whose history each row is a slice of.
        items: (B, T) int32, the events of each row from the left, then 0.
        positions: (N,) int64, where in `items.flatten()` the trained queries stand.
        targets: (N, K) int64, the K items that follow each of these positions; 0 where the history has ended.
    """

    users: Tensor
    items: Tensor
    positions: Tensor
    targets: Tensor

    @property
    def target_users(self) -> Tensor:
        """(N,) the person of each trained query."""
        return self.users[self.positions // self.items.shape[1]]


class TrainingBatches:
    """All training targets of a split, in batches of about `batch_size` of them, in a new order every epoch.

    Args:
        interactions: the histories.
        split: where training ends.
        window: L, how many events a query sees.
        whole_rows: whether a query sees all of its row, so that none may be longer than L.
        batch_size: targets per batch.
        next_items: K, how many of the following items each query is trained on.
        shuffle: false keeps the order of the log.
        seed: epoch e of seed s is always the same.
        device: where the batches are assembled.
    """

    POOL = 32
    """Rows are sorted by length within so many batches' worth of shuffled rows: little padding, and still a new mixture every epoch."""

    def __init__(
        self,
        interactions: Interactions,
        split: Split,
        *,
        window: int,
        full_context: bool = False,
        batch_size: int,
        next_items: int = 1,
        shuffle: bool = True,
        seed: int = 0,
        device: torch.device | str = "cpu",
    ) -> None:
        self.batch_size, self.next_items, self.shuffle, self.seed = batch_size, next_items, shuffle, seed
        self.device = torch.device(device)
        self.item = torch.from_numpy(interactions.item).to(self.device)
        self.train_end = torch.from_numpy(split.train_end).to(self.device)
        self.user, self.first, self.count, self.context = _rows(interactions, split, window, full_context, batch_size)

    @property
    def targets(self) -> int:
        """How many positions are trained on in an epoch."""
        return int(self.count.sum())

    def __len__(self) -> int:
        return -(-self.targets // self.batch_size)

    def epoch(self, number: int) -> Iterator[Batch]:
        """The batches of epoch `number`; the same number gives the same batches."""
        for rows in self.plan(number):
            yield self._assemble(rows)

    def plan(self, number: int) -> list[np.ndarray]:
        """The rows of each batch of epoch `number`."""
        random = np.random.default_rng([self.seed, number])
        order = random.permutation(len(self.user)) if self.shuffle else np.arange(len(self.user))
        length = (self.context + self.count)[order]
        if self.shuffle:
            pool = np.cumsum(self.count[order]) // (self.POOL * self.batch_size)
            order = order[stable_argsort(pool * (length.max(initial=0) + 1) + length)]  # by pool, then by length
        batch = (np.cumsum(self.count[order]) - 1) // self.batch_size
        batches = np.split(order, np.flatnonzero(np.diff(batch)) + 1)
        return [batches[i] for i in random.permutation(len(batches))] if self.shuffle else batches

    def padding(self, number: int = 0) -> float:
        """The share of positions in epoch `number` that hold no event."""
        length = self.context + self.count
        cells = sum(len(rows) * int(length[rows].max()) for rows in self.plan(number))
        return 1 - int(length.sum()) / cells

    def _assemble(self, rows: np.ndarray) -> Batch:
        first, count, context, user = (
            torch.from_numpy(part[rows]).to(self.device) for part in (self.first, self.count, self.context, self.user)
        )
        length = context + count
        step = torch.arange(int((self.context + self.count)[rows].max()), device=self.device)
        trained = int(self.count[rows].sum())  # known here, so that a GPU need not be asked for it
        at = (first - context)[:, None] + step  # (B, T)
        items = torch.where(step < length[:, None], self.item[at.clamp(max=len(self.item) - 1)], 0)
        start = torch.arange(len(rows), device=self.device) * len(step) + context - (count.cumsum(0) - count)
        positions = start.repeat_interleave(count, output_size=trained) + torch.arange(trained, device=self.device)
        following = at.flatten()[positions][:, None] + torch.arange(1, self.next_items + 1, device=self.device)  # (N, K)
        targets = self.item[following.clamp(max=len(self.item) - 1)].long()
        if self.next_items > 1:
            ends = self.train_end[user][positions // len(step)]
            targets = torch.where(following < ends[:, None], targets, 0)
        return Batch(user, items, positions, targets)


def _rows(
    interactions: Interactions, split: Split, window: int, whole: bool, batch_size: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """The training rows: (R,) whose, where the first trained query stands, how many there are, how many events stand before it.

    A query stands at an event and is asked for the next one, so a history of n training events has n - 1 of them. A row has the L - 1 events
    before its first query in front, so that each query's last L events are all there. Where queries see the whole row, it has at most L events in
    all: a history that is longer is cut into rows of at most L / 2 queries, so that each sees the last L / 2 events at least, or all there are.
    """
    queries = np.maximum(split.train_end - interactions.offsets[:-1] - 1, 0)
    longest = np.full(len(queries), min(batch_size, max(128, 2 * window)))
    if whole:
        longest = np.minimum(batch_size, np.where(queries <= window, window, (window + 1) // 2))
    pieces = -(-queries // longest)
    user = np.repeat(np.arange(len(queries)), pieces)
    piece = np.arange(len(user)) - np.repeat(np.cumsum(pieces) - pieces, pieces)
    # Pieces of one history are as equal as can be, so that none is a short stub.
    share, rest = np.divmod(queries, np.maximum(pieces, 1))
    count = share[user] + (piece < rest[user])
    done = piece * share[user] + np.minimum(piece, rest[user])
    return user, interactions.offsets[user] + done, count, np.minimum(done, window - (count if whole else 1))
