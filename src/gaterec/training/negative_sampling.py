"""Negatives: items drawn as wrong answers for the losses that need some."""

import math

import numpy as np
import torch
from torch import Tensor

from gaterec.config.settings import NegativeSampling
from gaterec.data.batches import Batch
from gaterec.data.interactions import Interactions
from gaterec.data.split import Split
from gaterec.errors import DataError
from gaterec.kernels.gathered_scores import gathered_scores
from gaterec.models.encoder import SequenceEncoder

TRIES = 64
"""How often an item that must not be drawn is drawn anew before the items that may be are looked up one by one."""


class NegativeSampler:
    """Draws items from 1 to V-1, never padding.

    Args:
        counts: (V,) how often each item was chosen in training; the catalogue's size is its length.
        alpha: None draws every item alike; a number draws items with probability proportional to counts ** alpha.
        own: (M,) int64, sorted `user * V + item` of the pairs that must not be drawn; None allows all.
    """

    def __init__(self, counts: Tensor, alpha: float | None = None, own: Tensor | None = None) -> None:
        self.items, self.own, self.uniform = len(counts), own, alpha is None
        chosen = counts.double()
        self.likelihood = torch.ones_like(chosen) if alpha is None else torch.where(chosen > 0, chosen**alpha, 0.0)
        self.likelihood[0] = 0
        self.cumulative = _cumulative(self.likelihood)

    def draw(self, users: Tensor, shape: tuple[int, ...], generator: torch.Generator | None = None) -> Tensor:
        """(N, *shape) int64: negatives for each of the N users.

        Items that a user owns are drawn anew until none is left, so what remains is exactly the distribution without them.

        Raises:
            DataError: a user owns every item that can be drawn.
        """
        drawn = self._draw((len(users), *shape), users.device, generator)
        if self.own is None:
            return drawn
        owners = users.long().view(-1, *[1] * len(shape)).expand_as(drawn)
        clash = self._owned(owners, drawn)
        for _ in range(TRIES):
            if not clash.any():
                return drawn
            drawn[clash] = self._draw((int(clash.sum()),), users.device, generator)
            clash = self._owned(owners, drawn)
        for owner in sorted(set(owners[clash].tolist())):  # people who own nearly all that is ever drawn
            theirs = clash & (owners == owner)
            drawn[theirs] = self._draw_for(owner, int(theirs.sum()), generator)
        return drawn

    def draw_shared(self, count: int) -> tuple[Tensor, Tensor]:
        """(count,) int64 negatives for everybody, drawn with replacement, and (count,) log of how often each was to be expected among them.

        Nobody's own items are left out.
        """
        drawn = self._draw((count,), self.likelihood.device, None)
        if self.uniform:
            return drawn, torch.full((count,), math.log(count / (self.items - 1)), device=drawn.device)
        return drawn, (self.likelihood[drawn] * (count / self.cumulative[-1])).log()

    def _draw(self, shape: tuple[int, ...], device: torch.device, generator: torch.Generator | None) -> Tensor:
        if self.uniform:
            return torch.randint(1, self.items, shape, device=device, generator=generator)
        return _draw_by(self.cumulative, shape, generator)

    def _draw_for(self, owner: int, count: int, generator: torch.Generator | None) -> Tensor:
        """(count,) int64: items that one user doesn't own."""
        assert self.own is not None
        theirs = self.own[torch.div(self.own, self.items, rounding_mode="floor") == owner] % self.items
        likelihood = self.likelihood.index_fill(0, theirs, 0.0)
        if not likelihood.any():
            raise DataError(
                f"there is no negative to draw: all {int(self.likelihood.count_nonzero())} items that can be drawn are one person's own, "
                "or right answers of one query"
            )
        return _draw_by(_cumulative(likelihood), (count,), generator)

    def _owned(self, owners: Tensor, drawn: Tensor) -> Tensor:
        assert self.own is not None
        key = owners * self.items + drawn
        found = torch.searchsorted(self.own, key).clamp(max=len(self.own) - 1)
        return self.own[found] == key


def _cumulative(likelihood: Tensor) -> Tensor:
    """(V,) its cumulative sums, formed on the CPU: CUDA has no reproducible way for floating point."""
    return likelihood.cpu().cumsum(0).to(likelihood.device)


def _draw_by(cumulative: Tensor, shape: tuple[int, ...], generator: torch.Generator | None) -> Tensor:
    """Items in proportion to the steps of (V,) cumulative."""
    points = torch.rand(shape, dtype=torch.float64, device=cumulative.device, generator=generator) * cumulative[-1]
    return torch.searchsorted(cumulative, points, right=True).clamp(max=len(cumulative) - 1)


@torch.no_grad()
def draw_negatives(queries: Tensor, batch: Batch, how: NegativeSampling, sampler: NegativeSampler, model: SequenceEncoder) -> Tensor:
    """(N, K, sample_num) int64: the negatives of each target; when dynamic, the best scored of candidate_num draws each."""
    shape = (batch.targets.shape[1], how.sample_num)
    if not how.dynamic:
        return sampler.draw(batch.target_users, shape)
    drawn = sampler.draw(batch.target_users, (*shape, how.candidate_num))  # (N, K, S, C)
    scores = gathered_scores(queries, drawn.flatten(1), *model.item_table()).view_as(drawn)
    return drawn.gather(3, scores.argmax(3, keepdim=True)).squeeze(3)


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
