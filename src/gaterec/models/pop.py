"""Pop: what most people chose, the same for everyone. Nothing is learned; every other model must beat it."""

from collections.abc import Callable

import torch
from torch import Tensor

from gaterec.config.section import Section
from gaterec.models.encoder import ScoreTerms, SequenceEncoder


class PopSettings(Section):
    """Pop has no settings."""

    trained = False


class Pop(SequenceEncoder):
    """The encoder whose bias is the counts."""

    Settings = PopSettings
    based_on = "popularity"

    counts: Tensor
    weight: Tensor

    def __init__(self, users: int, items: int, window: int, settings: PopSettings) -> None:
        super().__init__()
        self.register_buffer("counts", torch.zeros(items))
        self.register_buffer("weight", torch.zeros(items, 1))

    def fit_counts(self, counts: Tensor, events: Callable[[], tuple[Tensor, Tensor]]) -> None:
        self.counts.copy_(counts)

    def encode(self, user_vectors: Tensor, items: Tensor) -> Tensor:
        return torch.zeros(*items.shape, 1, device=items.device)

    def score_terms(self, user_vector: Tensor, items: Tensor) -> ScoreTerms:
        none = self.weight.new_zeros(len(items), 1)
        return ScoreTerms(none.new_zeros(1), none, none)

    def item_table(self) -> tuple[Tensor, Tensor | None]:
        return self.weight, self.counts
