"""HGN: Hierarchical Gating Networks for Sequential Recommendation (Ma, Kang and Liu, KDD 2019).

For user u and event i, p events before the query, p < L:

    S(u,i)     = E_i * sigmoid(W1 E_i + b + W2 u)              feature gate: which features of the item matter to the user
    a(u,i,p)   = sigmoid(w3 . S(u,i) + (W4 u)_p)               instance gate: which events matter to the user
    query(t)   = u + sum_p a S / sum_p a + sum_p E             user term + gated events + item-item product
    score(t,j) = query(t) . Q_j + bias_j

S depends on the user and the item alone, so it is computed once per event and not once for each of the L windows that contain the event. In
training, gaterec.kernels.sliding_windows forms all windows of a row at once. `pooling_type: max` takes the element-wise maximum of a S over the window.

Each equation is one method of HGN. `encode` (all positions of a row), `HGNState` (one more event), `last_query` (export) and `score_terms`
(explanations) call the same methods.
"""

from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from gaterec.config.section import Section
from gaterec.kernels.sliding_windows import gated_average, gated_maximum, sliding_sum
from gaterec.models.encoder import ScoreTerms, SequenceEncoder
from gaterec.models.state import SequenceState, lazy_zeros

Weight = Annotated[float, Field(ge=0.0)]


class HGNSettings(Section):
    embedding_size: int = Field(64, ge=1, le=65536, description="D, the length of all vectors")
    pooling_type: Literal["average", "max"] = Field("average", description="how the gated events of a window become one vector")
    reg_weight: tuple[Weight, Weight] = Field(
        (0.0, 0.0), description="weight of the L2 norms of the gates' weights, and of the embeddings in the batch"
    )
    item_bias: bool = Field(True, description="add a bias of the item to the score")
    tied_tables: bool = Field(False, description="use one table for the items of the history and the items to score")
    dropout: float = Field(0.0, ge=0.0, lt=1.0, description="share of the features of events and users that training hides")
    feature_gate: bool = Field(True, description="use the feature gate")
    instance_gate: bool = Field(True, description="use the instance gate")
    item_item: bool = Field(True, description="use the item-item product")
    user_term: bool = Field(True, description="add the user's vector to the query")


class HGN(SequenceEncoder):
    """See the equations above; every switch of the settings removes one term (the paper's ablation)."""

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
        for table in dict.fromkeys((self.user, self.item, self._output)):
            nn.init.normal_(table.weight, std=1 / size)
            with torch.no_grad():
                table.weight[0] = 0.0
        for linear in (self.feature_item, self.feature_user, self.instance_item, self.instance_user):
            nn.init.xavier_uniform_(linear.weight)
        nn.init.zeros_(self.feature_item.bias)

    # -- the equations ---------------------------------------------------------------------------------------------------------------

    def feature_gate(self, of_item: Tensor, of_user: Tensor) -> Tensor:
        """sigmoid(W1 E + b + W2 u): the features of an event, from what depends on the item and on the user."""
        return torch.sigmoid(of_item + of_user)

    def instance_logit(self, gated: Tensor, *, row_by_row: bool = False) -> Tensor:
        """w3 . S: (..., D) -> (...). row_by_row sums each event alone, so that the bits don't depend on the size of the batch."""
        return (gated * self.instance_item.weight).sum(-1) if row_by_row else self.instance_item(gated).squeeze(-1)

    def gate_window(self, gated: Tensor, logit: Tensor | None, of_distance: Tensor | None, outside: Tensor) -> Tensor:
        """a: (B, P), for one window whose events are (B, P, D); 0 for positions outside of the window, 1 without an instance gate."""
        gate = gated.new_ones(outside.shape) if logit is None or of_distance is None else torch.sigmoid(logit + of_distance)
        return gate.masked_fill(outside, 0.0)

    def pool_window(self, gated: Tensor, gate: Tensor, outside: Tensor) -> Tensor:
        """sum_p a S / sum_p a, or max_p a S: (B, P, D), (B, P), (B, P) -> (B, D); zeros for a window without events."""
        if self.settings.pooling_type == "average":
            share = gate.sum(1, keepdim=True).reciprocal()
            return (gate[:, None] @ gated).squeeze(1) * share.masked_fill(share == torch.inf, 0.0)
        pooled = (gate[:, :, None] * gated).masked_fill(outside[:, :, None], -torch.inf).amax(1)
        return pooled.masked_fill(pooled == -torch.inf, 0.0)

    def parts_of_window(self, gated: Tensor, gate: Tensor) -> Tensor:
        """(P, D), (P,) -> (P, D): the share of each event in pool_window, for one window without outside; its sum over P is pool_window."""
        weighted = gate[:, None] * gated
        if self.settings.pooling_type == "average":
            return weighted / gate.sum()
        # Of equal events the latest wins, as in gated_maximum.
        winner = len(gated) - 1 - weighted.flip(0).argmax(0)  # (D,)
        return torch.zeros_like(weighted).scatter(0, winner[None], weighted.gather(0, winner[None]))

    def combine(self, user: Tensor, pooled: Tensor, events: Tensor | None) -> Tensor:
        """u + pooled events + sum of events, without the terms that the settings switch off."""
        query = pooled
        if self.settings.item_item and events is not None:
            query = query + events
        return query + user if self.settings.user_term else query

    # -- the contract ----------------------------------------------------------------------------------------------------------------

    def user_vectors(self, users: Tensor) -> Tensor:
        return self.user(users)  # type: ignore[no-any-return]

    def user_table(self) -> Tensor:
        return self.user.weight

    def encode(self, user_vectors: Tensor, items: Tensor) -> Tensor:
        user, event, padding = self.dropout(user_vectors), self.dropout(self.item(items)), items == 0  # (B, D), (B, T, D), (B, T)
        gated = event
        if self.settings.feature_gate:
            gated = event * self.feature_gate(self.feature_item(event), self.feature_user(user)[:, None])
        if self.settings.instance_gate:
            logit, of_distance = self.instance_logit(gated), self.instance_user(user)  # (B, T), (B, L)
        else:  # gates so wide open that they are 1
            logit, of_distance = gated.new_full(padding.shape, 1e4), gated.new_zeros(len(user), self.window)
        pool = gated_average if self.settings.pooling_type == "average" else gated_maximum
        pooled = pool(gated, logit.masked_fill(padding, -torch.inf), of_distance)  # gate_window and pool_window, at every position
        return self.combine(user[:, None], pooled, sliding_sum(event, self.window) if self.settings.item_item else None)

    def last_query(self, user_vectors: Tensor, items: Tensor) -> Tensor:
        """(B, D), (B, T) -> (B, D): the query after the last event of each row, by operations that ONNX has."""
        user, event = user_vectors, self.item(items)
        distance = (items != 0).sum(1, keepdim=True) - 1 - torch.arange(items.shape[1], device=items.device)  # (B, T) p
        outside = (distance < 0) | (distance >= self.window)
        gated, logit, of_distance = event, None, None
        if self.settings.feature_gate:
            gated = event * self.feature_gate(self.feature_item(event), self.feature_user(user)[:, None])
        if self.settings.instance_gate:
            logit = self.instance_logit(gated)
            of_distance = self.instance_user(user).gather(1, distance.clamp(0, self.window - 1))
        gate = self.gate_window(gated, logit, of_distance, outside)
        pooled = self.pool_window(gated, gate, outside)
        return self.combine(user, pooled, event.masked_fill(outside[:, :, None], 0.0).sum(1))

    def sequence_state(self, capacity: int, window: int) -> "HGNState":
        """See SequenceEncoder.sequence_state; L is the model's own."""
        return HGNState(self, capacity)

    def score_terms(self, user_vector: Tensor, items: Tensor) -> ScoreTerms:
        event = self.item(items)  # (T, D)
        features, gated, logit, of_distance = None, event, None, None
        if self.settings.feature_gate:
            features = self.feature_gate(self.feature_item(event), self.feature_user(user_vector))
            gated = event * features
        if self.settings.instance_gate:
            distance = torch.arange(len(items) - 1, -1, -1, device=items.device)
            logit, of_distance = self.instance_logit(gated)[None], self.instance_user(user_vector)[distance][None]
        gate = self.gate_window(gated[None], logit, of_distance, (items == 0)[None])[0]
        direct = event if self.settings.item_item else torch.zeros_like(event)
        user = user_vector if self.settings.user_term else torch.zeros_like(user_vector)
        return ScoreTerms(user, self.parts_of_window(gated, gate), direct, gate if self.settings.instance_gate else None, features)

    def item_table(self) -> tuple[Tensor, Tensor | None]:
        return self._output.weight, self.bias

    @property
    def _output(self) -> nn.Embedding:
        """Q."""
        return self.item if self.settings.tied_tables else self.output

    def penalty(self, users: Tensor, items: Tensor, targets: Tensor) -> Tensor | None:
        gates, embeddings = self.settings.reg_weight
        if not gates and not embeddings:
            return None
        linears = (self.feature_item, self.feature_user, self.instance_item, self.instance_user)
        of_gates = torch.stack([linear.weight.norm() for linear in linears]).sum()
        looked_up = (self.user(users), self.item(items), self._output(targets))
        return gates * of_gates + embeddings * torch.stack([vectors.norm() for vectors in looked_up]).sum()


class HGNState(SequenceState):
    """HGN's sequence state: one more event costs O(D) and the query after it O(L D), where encoding the window costs O(L D D).

    S(u,i) and w3 . S(u,i) depend on the user and the item alone, so they are stored for each event of the window. W1 E + b is stored for every
    item, so a new event is an addition, a sigmoid and an element-wise product.
    """

    def __init__(self, model: HGN, capacity: int) -> None:
        size, dtype = model.settings.embedding_size, model.user.weight.dtype
        super().__init__(model.encode, size, capacity, model.window, dtype)
        self.model, self.settings = model, model.settings
        self.of_user = lazy_zeros((capacity, size), dtype)  # W2 u
        self.of_distance = lazy_zeros((capacity, model.window), dtype)  # W4 u
        self.gated = lazy_zeros((capacity, model.window, size), dtype)  # S
        self.logit = lazy_zeros((capacity, model.window), dtype)  # w3 . S
        self.of_item = model.feature_item(model.item.weight) if self.settings.feature_gate else None  # (V, D) W1 E + b

    def start(self, slots: Tensor, user_vectors: Tensor) -> None:
        super().start(slots, user_vectors)
        self.of_user[slots] = self.model.feature_user(user_vectors)
        self.of_distance[slots] = self.model.instance_user(user_vectors)

    def append(self, slots: Tensor, events: Tensor, items: Tensor) -> None:
        super().append(slots, events, items)
        gated, at = self.model.item.weight[items], events % self.window  # (N, D), (N,)
        if self.of_item is not None:
            gated = gated * self.model.feature_gate(self.of_item[items], self.of_user[slots])
        self.gated[slots, at] = gated
        self.logit[slots, at] = self.model.instance_logit(gated, row_by_row=True)

    def query(self, slots: Tensor, counts: Tensor) -> Tensor:
        distance = (counts[:, None] - 1 - torch.arange(self.window)) % self.window  # (B, L) p
        outside = distance >= counts[:, None]
        gated, logit, of_distance = self.gated[slots], None, None  # (B, L, D)
        if self.settings.instance_gate:
            logit, of_distance = self.logit[slots], self.of_distance[slots].gather(1, distance)
        gate = self.model.gate_window(gated, logit, of_distance, outside)
        pooled, events = self.model.pool_window(gated, gate, outside), None
        if self.settings.item_item:
            events = self.model.item.weight[self.items[slots].masked_fill(outside, 0)].sum(1)  # padding is a vector of zeros
        return self.model.combine(self.user[slots], pooled, events)
