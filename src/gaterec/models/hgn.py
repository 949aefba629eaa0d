"""HGN: Hierarchical Gating Networks for Sequential Recommendation (Ma, Kang and Liu, KDD 2019).

For person u and one of their last L events i, p events before the query:

    S(u,i)     = E_i * sigmoid(W1 E_i + W2 u + b)              feature gate: which features of the item matter to the person
    a(u,i,p)   = sigmoid(w3 . S(u,i) + (W4 u)_p)               instance gate: which events matter to the person
    query(t)   = u + sum_p a S / sum_p a + sum_p E             lasting taste + short-term interest + item-item product
    score(t,j) = query(t) . Q_j + bias_j

S depends on the person and the item alone, so it is computed once per event and not once for each of the L windows that see the event;
the windows are then formed by gaterec.kernels.sliding_windows. `pooling_type: max` takes the element-wise maximum of a S over the window.
"""

from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from gaterec.config.section import Section
from gaterec.kernels.sliding_windows import gated_average, gated_maximum, sliding_sum
from gaterec.models.encoder import ScoreTerms, SequenceEncoder
from gaterec.models.hgn_window_state import HGNState

Weight = Annotated[float, Field(ge=0.0)]


class HGNSettings(Section):
    embedding_size: int = Field(64, ge=1, le=65536, description="D, the length of all vectors")
    pooling_type: Literal["average", "max"] = Field("average", description="how the gated events of a window become one vector")
    reg_weight: tuple[Weight, Weight] = Field(
        (0.0, 0.0), description="weight of the L2 norms of the gates' weights, and of the embeddings in the batch"
    )
    item_bias: bool = Field(True, description="a score of each item's own")
    tied_tables: bool = Field(False, description="the items' input vectors are also the vectors that queries are compared with")
    dropout: float = Field(0.0, ge=0.0, lt=1.0, description="share of the events' and people's features hidden in training")
    feature_gate: bool = Field(True, description="use the feature gate")
    instance_gate: bool = Field(True, description="use the instance gate")
    item_item: bool = Field(True, description="use the item-item product")
    user_term: bool = Field(True, description="use the person's vector in the score")


class HGN(SequenceEncoder):
    """See the equations above; every switch of the settings takes one term away (the paper's ablation)."""

    Settings = HGNSettings
    based_on = "person and history"

    def __init__(self, users: int, items: int, window: int, settings: HGNSettings) -> None:
        super().__init__()
        size = settings.embedding_size
        self.settings, self.window = settings, window
        self.user = nn.Embedding(users, size, padding_idx=0)  # u
        self.item = nn.Embedding(items, size, padding_idx=0)  # E
        if not settings.tied_tables:
            self.output = nn.Embedding(items, size, padding_idx=0)  # Q
        self.bias = nn.Parameter(torch.zeros(items)) if settings.item_bias else None
        self.feature_item = nn.Linear(size, size)  # W1, b
        self.feature_user = nn.Linear(size, size, bias=False)  # W2
        self.instance_item = nn.Linear(size, 1, bias=False)  # w3
        self.instance_user = nn.Linear(size, window, bias=False)  # W4
        self.dropout = nn.Dropout(settings.dropout)
        for table in dict.fromkeys((self.user, self.item, self._answers)):
            nn.init.normal_(table.weight, std=1 / size)
            with torch.no_grad():
                table.weight[0] = 0.0
        for linear in (self.feature_item, self.feature_user, self.instance_item, self.instance_user):
            nn.init.xavier_uniform_(linear.weight)
        nn.init.zeros_(self.feature_item.bias)

    def encode(self, users: Tensor, items: Tensor) -> Tensor:
        return self.encode_as(self.user(users), items)

    def encode_as(self, people: Tensor, items: Tensor) -> Tensor:
        person = self.dropout(people)  # (B, D)
        event = self.dropout(self.item(items))  # (B, T, D)
        query = self._pool(person, event, items == 0)
        if self.settings.item_item:
            query = query + sliding_sum(event, self.window)
        if self.settings.user_term:
            query = query + person[:, None]
        return query

    def _pool(self, person: Tensor, event: Tensor, padding: Tensor) -> Tensor:
        """(B, D), (B, T, D), (B, T) -> (B, T, D): each window's gated events as one vector."""
        gated = event
        if self.settings.feature_gate:
            gated = event * torch.sigmoid(self.feature_item(event) + self.feature_user(person)[:, None])
        if self.settings.instance_gate:
            item_gate, position_gate = self.instance_item(gated).squeeze(-1), self.instance_user(person)
        else:  # all events alike: gates so wide open that they are one
            item_gate, position_gate = gated.new_full(padding.shape, 1e4), gated.new_zeros(len(person), self.window)
        item_gate = item_gate.masked_fill(padding, -torch.inf)
        pool = gated_average if self.settings.pooling_type == "average" else gated_maximum
        return pool(gated, item_gate, position_gate)

    def windows(self, room: int, window: int) -> HGNState:
        """See SequenceEncoder.windows; L is the model's own."""
        return HGNState(self, room)

    def terms(self, user: Tensor, items: Tensor) -> ScoreTerms:
        return self.terms_as(self.user(user), items)

    def terms_as(self, person: Tensor, items: Tensor) -> ScoreTerms:
        """See SequenceEncoder.terms: the equations above, term by term, for one person; max pooling gives each feature to the event that won it."""
        event = self.item(items)  # (T, D)
        open_features = torch.sigmoid(self.feature_item(event) + self.feature_user(person)) if self.settings.feature_gate else None
        gated = event if open_features is None else event * open_features
        gate = None
        if self.settings.instance_gate:
            distance = torch.arange(len(items) - 1, -1, -1, device=items.device)
            gate = torch.sigmoid(self.instance_item(gated).squeeze(-1) + self.instance_user(person)[distance])  # (T,)
        let_in = gated if gate is None else gate[:, None] * gated
        if self.settings.pooling_type == "average":
            pooled = let_in / (len(items) if gate is None else gate.sum())
        else:
            # Of equal events the latest wins, as in gated_maximum.
            winner = len(items) - 1 - let_in.flip(0).argmax(0)  # (D,)
            pooled = torch.zeros_like(let_in).scatter(0, winner[None], let_in.gather(0, winner[None]))
        none = torch.zeros_like(event)
        lasting = person if self.settings.user_term else torch.zeros_like(person)
        return ScoreTerms(lasting, pooled, event if self.settings.item_item else none, gate, open_features)

    def user_table(self) -> Tensor:
        return self.user.weight

    def item_table(self) -> tuple[Tensor, Tensor | None]:
        return self._answers.weight, self.bias

    @property
    def _answers(self) -> nn.Embedding:
        """Q."""
        return self.item if self.settings.tied_tables else self.output

    def penalty(self, users: Tensor, items: Tensor, targets: Tensor) -> Tensor | None:
        gates, embeddings = self.settings.reg_weight
        if not gates and not embeddings:
            return None
        linears = (self.feature_item, self.feature_user, self.instance_item, self.instance_user)
        of_gates = torch.stack([linear.weight.norm() for linear in linears]).sum()
        looked_up = (self.user(users), self.item(items), self._answers(targets))
        return gates * of_gates + embeddings * torch.stack([vectors.norm() for vectors in looked_up]).sum()
