"""One training step: a batch, its negatives and its loss."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from gaterec.config.settings import NegativeSampling, Settings
from gaterec.data.batches import Batch
from gaterec.kernels.gathered_scores import gathered_scores
from gaterec.models.encoder import SequenceEncoder
from gaterec.training.losses import bpr, bpr_max, cross_entropy, gbce, sampled_softmax, top1_max
from gaterec.training.negative_sampling import NegativeSampler


@dataclass(frozen=True)
class Step:
    """One step as a loss sees it.

    Attributes:
        queries: (N, D).
        sparse: whether the gradients of the item table are to hold the touched rows alone.
    """

    queries: Tensor
    batch: Batch
    model: SequenceEncoder
    settings: Settings
    sampler: NegativeSampler
    sparse: bool

    def own(self) -> Tensor:
        """(N, K, S) negatives of each target's own."""
        return draw_negatives(self.queries, self.batch, self.settings.negatives, self.sampler, self.model)

    def shared(self) -> tuple[Tensor, Tensor]:
        """(S,) negatives for all targets, and (S,) log of how often each was to be expected."""
        return self.sampler.draw_shared(self.settings.negatives.sample_num)


LOSS_OF: dict[str, Callable[[Step, Tensor, Tensor, Tensor, Tensor | None], Tensor]] = {
    "CE": lambda step, *parts: cross_entropy(*parts),
    "BPR": lambda step, q, t, w, b: bpr(q, t, step.own(), w, b, step.sparse),
    "SSM": lambda step, q, t, w, b: sampled_softmax(q, t, *step.shared(), w, b, step.sparse),
    "gBCE": lambda step, q, t, w, b: gbce(q, t, step.shared()[0], w, b, step.settings.gbce_t, step.sparse),
    "BPRmax": lambda step, q, t, w, b: bpr_max(q, t, step.shared()[0], w, b, step.settings.bprmax_reg, step.sparse),
    "TOP1max": lambda step, q, t, w, b: top1_max(q, t, step.shared()[0], w, b, step.sparse),
}
"""loss_type -> the loss of a step, its queries, targets, and the items' weight and bias. To add one: a function in losses.py and a line here."""


def batch_loss(model: SequenceEncoder, batch: Batch, settings: Settings, sampler: NegativeSampler, sparse: bool = False) -> Tensor:
    """The loss of one batch, a scalar: what the settings ask for, plus the model's own penalty.

    Args:
        sparse: whether the gradients of the item table are to hold the touched rows alone.
    """
    queries = model(batch.users, batch.items).flatten(0, 1).index_select(0, batch.positions)
    step = Step(queries, batch, model, settings, sampler, sparse)
    loss = LOSS_OF[settings.loss_type](step, queries, batch.targets, *model.item_table())
    penalty = model.penalty(batch.users, batch.items, batch.targets)
    return loss if penalty is None else loss + penalty


@torch.no_grad()
def draw_negatives(queries: Tensor, batch: Batch, how: NegativeSampling, sampler: NegativeSampler, model: SequenceEncoder) -> Tensor:
    """(N, K, sample_num) int64: the wrong answers of each target; when dynamic, the best scored of candidate_num draws each."""
    shape = (batch.targets.shape[1], how.sample_num)
    if not how.dynamic:
        return sampler.draw(batch.target_users, shape)
    drawn = sampler.draw(batch.target_users, (*shape, how.candidate_num))  # (N, K, S, C)
    scores = gathered_scores(queries, drawn.flatten(1), *model.item_table()).view_as(drawn)
    return drawn.gather(3, scores.argmax(3, keepdim=True)).squeeze(3)
