"""GRU4Rec: a recurrent network over the events (Hidasi et al., ICLR 2016), with dropout on its input (Tan, Xu and Liu, DLRS 2016).

    x_t        = dropout(E_(i_t))
    r, z       = sigmoid(W_r x_t + U_r h_(t-1)), sigmoid(W_z x_t + U_z h_(t-1))      reset gate, update gate
    n          = tanh(W_n x_t + r * (U_n h_(t-1)))
    h_t        = (1 - z) * n + z * h_(t-1)                                           the state starts at zero
    query(t)   = A h_t + a
    score(t,j) = query(t) . E_j                                                      the items' input vectors are also their output vectors

With `num_layers` above 1 each further layer of gates reads the states of the one below. A step is padded to the right alone, so the states of
events never see padding.
"""

import torch
from pydantic import Field
from torch import Tensor, nn

from gaterec.config.section import Section
from gaterec.models.encoder import SequenceEncoder


class GRU4RecSettings(Section):
    embedding_size: int = Field(64, ge=1, le=65536, description="D, the length of the items' vectors and of queries")
    hidden_size: int = Field(128, ge=1, le=65536, description="length of the state")
    num_layers: int = Field(1, ge=1, le=100, description="recurrent layers on top of each other")
    dropout_prob: float = Field(0.3, ge=0.0, lt=1.0, description="share of the events' features hidden in training")


class GRU4Rec(SequenceEncoder):
    """See the equations above."""

    Settings = GRU4RecSettings
    full_context = True

    def __init__(self, users: int, items: int, window: int, settings: GRU4RecSettings) -> None:
        super().__init__()
        self.item = nn.Embedding(items, settings.embedding_size, padding_idx=0)  # E
        self.dropout = nn.Dropout(settings.dropout_prob)
        self.states = nn.GRU(settings.embedding_size, settings.hidden_size, settings.num_layers, bias=False, batch_first=True)  # W, U
        self.dense = nn.Linear(settings.hidden_size, settings.embedding_size)  # A, a
        nn.init.xavier_normal_(self.item.weight)
        with torch.no_grad():
            self.item.weight[0] = 0.0
        for weight in self.states.parameters():
            nn.init.xavier_uniform_(weight)

    def encode(self, user_vectors: Tensor, items: Tensor) -> Tensor:
        states, _ = self.states(self.dropout(self.item(items)))  # (B, T, hidden)
        queries: Tensor = self.dense(states)
        return queries

    def item_table(self) -> tuple[Tensor, Tensor | None]:
        return self.item.weight, None
