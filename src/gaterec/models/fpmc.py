"""FPMC: a factorised Markov chain of each person's own (Rendle, Freudenthaler and Schmidt-Thieme, WWW 2010).

    score(t,j) = u . IU_j + LI_last . IL_j        lasting taste + what follows the last item

Baskets hold one item each. Both products are one, of query(t) = [u; LI_last] and the item's [IU_j; IL_j], so the items have one table.
"""

from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from pydantic import Field
from torch import Tensor, nn

from gaterec.config.section import Section
from gaterec.models.encoder import ScoreTerms, SequenceEncoder


class FPMCSettings(Section):
    general: ClassVar[Mapping[str, Any]] = {"loss_type": "BPR"}

    embedding_size: int = Field(64, ge=1, le=65536, description="D, the length of each of the four vectors; queries have 2 D")


class FPMC(SequenceEncoder):
    """See the equation above."""

    Settings = FPMCSettings
    based_on = "person and history"

    def __init__(self, users: int, items: int, window: int, settings: FPMCSettings) -> None:
        super().__init__()
        size = settings.embedding_size
        self.user = nn.Embedding(users, size, padding_idx=0)  # u
        self.last = nn.Embedding(items, size, padding_idx=0)  # LI
        self.item = nn.Embedding(items, 2 * size, padding_idx=0)  # [IU; IL]
        with torch.no_grad():
            for table in (self.user.weight, self.last.weight, *self.item.weight.chunk(2, 1)):
                nn.init.xavier_normal_(table)
                table[0] = 0.0

    def user_vectors(self, users: Tensor) -> Tensor:
        return self.user(users)  # type: ignore[no-any-return]

    def encode(self, user_vectors: Tensor, items: Tensor) -> Tensor:
        last = self.last(items)  # (B, T, D)
        return torch.cat([user_vectors[:, None].expand_as(last), last], 2)  # (B, T, 2 D)

    def score_terms(self, user_vector: Tensor, items: Tensor) -> ScoreTerms:
        last, size = self.last(items), len(user_vector)  # (T, D)
        follows = last.new_zeros(len(items), 2 * size)
        follows[-1, size:] = last[-1]
        return ScoreTerms(torch.cat([user_vector, torch.zeros_like(user_vector)]), torch.zeros_like(follows), follows)

    def item_table(self) -> tuple[Tensor, Tensor | None]:
        return self.item.weight, None
