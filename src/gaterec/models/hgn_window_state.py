"""HGN's windows: one more event costs O(D), and the query after it O(L D), where encoding the window anew costs O(L D D).

S(u,i) and w3 . S(u,i) depend on the person and the item alone (see gaterec.models.hgn), so they are kept of each event in the window. W1 E + b is
kept of every item: then a new event is an addition, a sigmoid and a product by element.
"""

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from gaterec.models.window_state import SequenceState, zeros

if TYPE_CHECKING:
    from gaterec.models.hgn import HGN


class HGNState(SequenceState):
    """See gaterec.models.window_state.SequenceState; equals HGN.encode to float precision."""

    def __init__(self, model: "HGN", room: int) -> None:
        super().__init__(model, room, model.window)
        self.hgn, self.settings = model, model.settings
        size, dtype = model.settings.embedding_size, model.user.weight.dtype
        self.feature = zeros((room, size), dtype)  # W2 u
        self.position = zeros((room, model.window), dtype)  # W4 u
        self.gated = zeros((room, model.window, size), dtype)  # S
        self.gate = zeros((room, model.window), dtype)  # w3 . S
        self.open = model.feature_item(model.item.weight) if self.settings.feature_gate else None  # (V, D) W1 E + b

    def begin_from(self, places: Tensor, people: Tensor) -> None:
        super().begin_from(places, people)
        self.feature[places] = self.hgn.feature_user(people)
        self.position[places] = self.hgn.instance_user(people)

    def add(self, places: Tensor, events: Tensor, items: Tensor) -> None:
        at = events % self.window
        self.items[places, at] = items
        gated = self.hgn.item.weight[items]  # (N, D)
        if self.open is not None:
            gated = gated * (self.open[items] + self.feature[places]).sigmoid_()
        self.gated[places, at] = gated
        # Row by row, so that the bits don't depend on how many events come at once.
        self.gate[places, at] = (gated * self.hgn.instance_item.weight).sum(1)

    def queries(self, places: Tensor, counts: Tensor) -> Tensor:
        distance = (counts[:, None] - 1 - torch.arange(self.window)) % self.window  # (B, L) p
        absent = distance >= counts[:, None]
        gated = self.gated[places]  # (B, L, D)
        if self.settings.instance_gate:
            gate = (self.gate[places] + self.position[places].gather(1, distance)).sigmoid_()
        else:
            gate = gated.new_ones(distance.shape)
        gate.masked_fill_(absent, 0.0)
        if self.settings.pooling_type == "average":
            share = gate.sum(1, keepdim=True).reciprocal_()
            query = (gate[:, None] @ gated).squeeze(1) * share.masked_fill_(share == torch.inf, 0.0)
        else:
            query = (gate[:, :, None] * gated).masked_fill_(absent[:, :, None], -torch.inf).amax(1)
            query.masked_fill_(query == -torch.inf, 0.0)
        if self.settings.item_item:
            events = self.hgn.item.weight[self.items[places].masked_fill(absent, 0)]  # (B, L, D); padding is a vector of zeros
            query = query + events.sum(1)
        if self.settings.user_term:
            assert self.person is not None
            query = query + self.person[places]
        return query
