"""Negatives: items drawn as wrong answers for the losses that need some."""

import numpy as np
import torch
from torch import Tensor

from gaterec.data.interactions import Interactions
from gaterec.data.split import Split
from gaterec.errors import DataError


class NegativeSampler:
    """Draws items from 1 to V-1, never padding.

    Args:
        counts: (V,) how often each item was chosen in training; the catalogue's size is its length.
        alpha: None draws every item alike; a number draws items with probability proportional to counts ** alpha.
        own: (M,) int64, sorted `user * V + item` of the pairs that must not be drawn; None allows all.
    """

    def __init__(self, counts: Tensor, alpha: float | None = None, own: Tensor | None = None) -> None:
        self.items, self.own = len(counts), own
        self.cumulative: Tensor | None = None
        if alpha is not None:
            chosen = counts.double().clone()
            chosen[0] = 0
            likelihood = torch.where(chosen > 0, chosen**alpha, 0.0)
            self.cumulative = likelihood.cumsum(0) / likelihood.sum()

    def draw(self, users: Tensor, shape: tuple[int, ...], generator: torch.Generator | None = None) -> Tensor:
        """(N, *shape) int64: negatives for each of the N users.

        Items that a user owns are drawn anew until none is left, so what remains is exactly the distribution without them.
        """
        drawn = self._draw((len(users), *shape), users.device, generator)
        if self.own is None:
            return drawn
        owners = users.long().view(-1, *[1] * len(shape)).expand_as(drawn)
        clash = self._owned(owners, drawn)
        while clash.any():
            drawn[clash] = self._draw((int(clash.sum()),), users.device, generator)
            clash = self._owned(owners, drawn)
        return drawn

    def _draw(self, shape: tuple[int, ...], device: torch.device, generator: torch.Generator | None) -> Tensor:
        if self.cumulative is None:
            return torch.randint(1, self.items, shape, device=device, generator=generator)
        points = torch.rand(shape, dtype=torch.float64, device=device, generator=generator)
        return torch.searchsorted(self.cumulative, points, right=True).clamp(1, self.items - 1)

    def _owned(self, owners: Tensor, drawn: Tensor) -> Tensor:
        assert self.own is not None
        key = owners * self.items + drawn
        found = torch.searchsorted(self.own, key).clamp(max=len(self.own) - 1)
        return self.own[found] == key


def own_items(interactions: Interactions, split: Split) -> Tensor:
    """(M,) int64, sorted: `user * V + item` of every item that a person chose in training.

    Raises:
        DataError: someone chose every item, so that no negative is left for them.
    """
    size = len(interactions.items)
    lengths = split.train_end - interactions.offsets[:-1]
    position = np.arange(len(interactions.item))
    in_training = position < np.repeat(split.train_end, interactions.lengths)
    pairs = np.unique(interactions.user[in_training].astype(np.int64) * size + interactions.item[in_training])
    busiest = np.bincount(pairs // size, minlength=len(lengths))
    if busiest.max(initial=0) >= size - 1:
        someone = interactions.users[int(busiest.argmax())]
        raise DataError(
            f"{interactions.name}: user {someone!r} chose all {size - 1} items, so there is no negative to draw; "
            "set negatives_may_be_own to true or loss_type to CE"
        )
    return torch.from_numpy(pairs)
