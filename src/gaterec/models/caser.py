"""Caser: Personalized Top-N Sequential Recommendation via Convolutional Sequence Embedding (Tang and Wang, WSDM 2018).

With e_1 .. e_L the vectors of the last L events before the query, zeros where there were fewer:

    v_k        = sum_l a_kl e_l + a_k                                             vertical filters, k = 1 .. nv
    h_nk       = relu(max_l (sum_i<n W_nki . e_l+i + b_nk))                       horizontal filters, nh of every height n = 1 .. L
    z          = relu(W1 [v; h] + b1)
    query(t)   = relu(W2 [z; u] + b2)
    score(t,j) = query(t) . E_j

As in RecBole, E is also what the events are looked up in, and the query goes through a relu; the paper has an item table of its own for the scores,
twice as long and with a bias, no last layer, and fewer heights.

What a horizontal filter finds at an event is the same in every window that the event falls into. So each filter goes over the row once, and a
window takes the maximum of the places that lie within it.
"""

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from gaterec.config.section import Section
from gaterec.models.encoder import SequenceEncoder

TOGETHER = 10
"""So many heights are computed as one convolution, the lower filters filled up with zeros: more to multiply, but in larger pieces."""


class CaserSettings(Section):
    embedding_size: int = Field(64, ge=1, le=65536, description="D, the length of all vectors")
    nv: int = Field(4, ge=1, le=10_000, description="vertical filters")
    nh: int = Field(8, ge=1, le=10_000, description="horizontal filters of each height, of which there are as many as events in a window")
    dropout_prob: float = Field(0.4, ge=0.0, lt=1.0, description="share of what the filters find that is hidden in training")
    reg_weight: float = Field(1e-4, ge=0.0, description="weight of the L2 norms of all layers' weights, and of the embeddings in the batch")


class Caser(SequenceEncoder):
    """See the equations above."""

    Settings = CaserSettings
    based_on = "person and history"

    def __init__(self, users: int, items: int, window: int, settings: CaserSettings) -> None:
        super().__init__()
        size = settings.embedding_size
        self.window, self.reg_weight = window, settings.reg_weight
        self.user = nn.Embedding(users, size, padding_idx=0)  # u
        self.item = nn.Embedding(items, size, padding_idx=0)  # E
        self.vertical = nn.Conv1d(1, settings.nv, window)  # a
        self.horizontal = nn.ModuleList(nn.Conv1d(size, settings.nh, height) for height in range(1, window + 1))  # W, b
        self.found = nn.Linear(settings.nv * size + settings.nh * window, size)  # W1, b1
        self.query = nn.Linear(2 * size, size)  # W2, b2
        self.dropout = nn.Dropout(settings.dropout_prob)
        for table in (self.user, self.item):
            nn.init.normal_(table.weight, std=1 / size)
            with torch.no_grad():
                table.weight[0] = 0.0
        for linear in (self.found, self.query):
            nn.init.xavier_normal_(linear.weight)
            nn.init.zeros_(linear.bias)

    def user_vectors(self, users: Tensor) -> Tensor:
        return self.user(users)  # type: ignore[no-any-return]

    def encode(self, user_vectors: Tensor, items: Tensor) -> Tensor:
        events = F.pad(self.item(items).mT, (self.window - 1, 0))  # (B, D, L - 1 + T), so that window t begins at t
        found = torch.cat([self._vertical(events), self._horizontal(events)], 2)  # (B, T, nv D + nh L)
        z = F.relu(self.found(self.dropout(found)))  # (B, T, D)
        return F.relu(self.query(torch.cat([z, user_vectors[:, None].expand_as(z)], 2)))

    def _vertical(self, events: Tensor) -> Tensor:
        """(B, D, L - 1 + T) -> (B, T, nv D)"""
        found: Tensor = self.vertical(events.flatten(0, 1)[:, None])  # (B D, nv, T)
        return found.view(*events.shape[:2], *found.shape[1:]).permute(0, 3, 2, 1).flatten(2)

    def _horizontal(self, events: Tensor) -> Tensor:
        """(B, D, L - 1 + T) -> (B, T, nh L)"""
        filters = [conv for conv in self.horizontal if isinstance(conv, nn.Conv1d)]
        found = [self._of_heights(events, filters[low : low + TOGETHER], low + 1) for low in range(0, self.window, TOGETHER)]
        return F.relu(torch.cat(found, 1)).mT

    def _of_heights(self, events: Tensor, filters: list[nn.Conv1d], lowest: int) -> Tensor:
        """(B, D, L - 1 + T) -> (B, nh of each, T): the most that filters of rising height find in each window."""
        highest = lowest + len(filters) - 1
        weight = torch.cat([F.pad(conv.weight, (0, highest - height)) for height, conv in enumerate(filters, lowest)])
        bias = torch.cat([conv.bias for conv in filters if conv.bias is not None])
        places = F.conv1d(F.pad(events, (0, highest - lowest)), weight, bias)  # (B, nh of each, L + T - lowest)
        with torch.no_grad():
            best = [
                F.max_pool1d(part[:, :, : events.shape[2] - height + 1], self.window - height + 1, stride=1, return_indices=True)[1]
                for height, part in enumerate(places.chunk(len(filters), 1), lowest)
            ]
        return places.gather(2, torch.cat(best, 1))

    def item_table(self) -> tuple[Tensor, Tensor | None]:
        return self.item.weight, None

    def penalty(self, users: Tensor, items: Tensor, targets: Tensor) -> Tensor | None:
        if not self.reg_weight:
            return None
        layers = [module for module in self.modules() if isinstance(module, nn.Conv1d | nn.Linear)]
        looked_up = (self.user(users), self.item(items), self.item(targets))
        norms = [part.norm() for part in (*(layer.weight for layer in layers), *looked_up)]
        return self.reg_weight * torch.stack(norms).sum()
