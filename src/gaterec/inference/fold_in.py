"""The vectors of people who were not there in training, folded in from their own history with everything else held still.

Folding in is Sarwar, Karypis, Konstan and Riedl's word (ICCIT 2002). Here the vector is found as in maximum a posteriori estimation: the people of
the training say what vectors are like (mean m and variance v of each feature), the history says what this one should be, and from the mean one step
like Newton's, by a diagonal curvature, leads about to where both together are best:

    u = m - g / (c / v + n h)        g, the gradient at m of -log p(next item), summed over the n latest next items of the history
                                     h, the variance of that feature over the items, which stands for what an event adds to the curvature
                                     c, how much less the prior weighs than it would if vectors were trained to their end

More steps gain nothing. With no next item to learn from, u is the mean.
"""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from gaterec.models.encoder import SequenceEncoder
from gaterec.training.losses import cross_entropy, sampled_softmax

EVENTS = 50
"""n, at most."""
PRIOR = 0.1
"""c, chosen of 0.03, 0.1, 0.3 and 1 by the last but one event of withheld people (ml-100k, amazon-cds)."""
DRAWN = 4096
"""A catalogue of at most so many items is looked at whole; of a larger one so many are drawn, once for everybody. A quarter of them was found wanting."""
AT_A_TIME = 64
"""So many people are folded in at a time."""


class FoldIn:
    """Gives people vectors.

    Args:
        model: in evaluation mode, one that knows people by vectors; its weights must not change any more.
        seed: of the drawn items.
        trained: (U,) which users' vectors were trained, as the others say nothing of what vectors are like; None for all but user 0.
    """

    @torch.inference_mode(False)
    def __init__(self, model: SequenceEncoder, seed: int, trained: np.ndarray | None = None) -> None:
        self.model = model
        table, (weight, bias) = model.user_table(), model.item_table()
        assert table is not None
        users, self.weight = table.detach(), weight.detach()
        people = users[1:] if trained is None else users[torch.from_numpy(trained)]
        self.bias = None if bias is None else bias.detach()
        self.mean = people.mean(0) if len(people) else table.new_zeros(table.shape[1])  # (D,) m
        self.prior = PRIOR / people.var(0, correction=0).clamp(min=1e-12) if len(people) else torch.full_like(self.mean, torch.inf)  # c / v
        self.curvature = self.weight[1:].var(0, correction=0)  # (D,) h
        self.drawn = None
        if len(weight) > DRAWN:
            self.drawn = torch.randint(1, len(weight), (DRAWN,), generator=torch.Generator().manual_seed(seed))

    def __call__(self, histories: Sequence[np.ndarray]) -> Tensor:
        """(B, D) the vectors of people, of each their events in order of time, B > 0."""
        parts = [self._vectors(histories[begin : begin + AT_A_TIME]) for begin in range(0, len(histories), AT_A_TIME)]
        return torch.cat(parts)

    @torch.inference_mode(False)
    @torch.enable_grad()
    def _vectors(self, histories: Sequence[np.ndarray]) -> Tensor:
        recent = [history[-EVENTS - 1 :] for history in histories]
        events = np.zeros((len(recent), max(2, *map(len, recent))), dtype=np.int64)
        for row, history in enumerate(recent):
            events[row, : len(history)] = history
        items = torch.from_numpy(events)
        following = items[:, 1:] > 0  # (B, T - 1)
        start = self.mean.expand(len(items), -1).clone().requires_grad_()
        if not following.any():
            return start.detach()
        queries = self.model.encode(start, items[:, :-1])[following]  # (N, D)
        loss = self._loss(queries, items[:, 1:][following][:, None]) * len(queries)
        (gradient,) = torch.autograd.grad(loss, start)
        counts = following.sum(1, keepdim=True)
        return start.detach() - gradient / (self.prior + counts * self.curvature)

    def _loss(self, queries: Tensor, targets: Tensor) -> Tensor:
        """The mean of -log p(target)."""
        if self.drawn is None:
            return cross_entropy(queries, targets, self.weight, self.bias)
        expected = torch.full((DRAWN,), DRAWN / (len(self.weight) - 1)).log()
        return sampled_softmax(queries, targets, self.drawn, expected, self.weight, self.bias)
