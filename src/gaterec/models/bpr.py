"""BPR: matrix factorisation, the classic of personal taste without order (Rendle et al., UAI 2009).

query(t)   = u                what a person likes, the same after every event
score(t,j) = u . Q_j
"""

from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from pydantic import Field
from torch import Tensor, nn

from gaterec.config.section import Section
from gaterec.models.encoder import ScoreTerms, SequenceEncoder


class BPRSettings(Section):
    general: ClassVar[Mapping[str, Any]] = {"loss_type": "BPR", "negatives_may_be_own": False}

    embedding_size: int = Field(64, ge=1, le=65536, description="D, the length of all vectors")


class BPR(SequenceEncoder):
    """See the equations above. Someone unknown is a vector of zeros, to whom all items score alike."""

    Settings = BPRSettings
    based_on = "person and history"

    def __init__(self, users: int, items: int, window: int, settings: BPRSettings) -> None:
        super().__init__()
        self.user = nn.Embedding(users, settings.embedding_size, padding_idx=0)  # u
        self.item = nn.Embedding(items, settings.embedding_size, padding_idx=0)  # Q
        for table in (self.user, self.item):
            nn.init.xavier_normal_(table.weight)
            with torch.no_grad():
                table.weight[0] = 0.0

    def user_vectors(self, users: Tensor) -> Tensor:
        return self.user(users)  # type: ignore[no-any-return]

    def encode(self, user_vectors: Tensor, items: Tensor) -> Tensor:
        return user_vectors[:, None].expand(-1, items.shape[1], -1)  # (B, T, D)

    def score_terms(self, user_vector: Tensor, items: Tensor) -> ScoreTerms:
        none = user_vector.new_zeros(len(items), len(user_vector))
        return ScoreTerms(user_vector, none, none)

    def user_table(self) -> Tensor:
        return self.user.weight

    def item_table(self) -> tuple[Tensor, Tensor | None]:
        return self.item.weight, None
