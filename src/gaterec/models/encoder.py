"""The contract of every model: histories in, queries out.

    score(t, j) = queries[t] . weight[j] + bias[j]

A model knows nothing of datasets, settings files, losses, training or serving, so a loss, a metric, an index or an explanation that is
written once works with every model. Item 0 is padding; user 0 is the unknown user.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from gaterec.config.section import Section
from gaterec.models.state import SequenceState


@dataclass(frozen=True)
class ScoreTerms:
    """A query as a sum: user + gated.sum(0) + item_item.sum(0).

    Attributes:
        user: (D,) the user term.
        gated: (T, D) what each event adds through the gates.
        item_item: (T, D) what each event adds by itself.
        instance_gate: (T,) 0 to 1, one for each event; None for a model without this gate.
        feature_gate: (T, D) 0 to 1, one for each feature of each event; None for a model without this gate.
    """

    user: Tensor
    gated: Tensor
    item_item: Tensor
    instance_gate: Tensor | None = None
    feature_gate: Tensor | None = None


class SequenceEncoder(nn.Module, ABC):
    """Base class of all models. `model(users, items)` is `model.encode(model.user_vectors(users), items)`.

    Args (of every subclass):
        users: U, the number of users, user 0 included.
        items: V, the number of items, padding included.
        window: L, the number of latest events that a query sees.
        settings: the model's own settings.

    Attributes:
        full_context: whether a query sees its whole row (attention, recurrence) instead of its last L events. Rows of such a model have at most
            L events; other models may get longer rows.
        based_on: what the queries of a user with training events come from: the user's own vector and the history, the history alone, or nothing
            of the user.
        dot_product: whether a score is the dot product of a query and an item's vector. A model for which this is false overrides `scores` and has
            no item table.
    """

    Settings: ClassVar[type[Section]]
    full_context: ClassVar[bool] = False
    based_on: ClassVar[Literal["person and history", "history", "popularity"]] = "history"
    dot_product: ClassVar[bool] = True

    @abstractmethod
    def encode(self, user_vectors: Tensor, items: Tensor) -> Tensor:
        """The queries at every position.

        Args:
            user_vectors: (B, E) see user_vectors.
            items: (B, T) events in order of time from the left. Padding (0) stands to the right of the events and changes no query.

        Returns:
            (B, T, D) queries. Query t sees items[:, : t + 1] and no later ones. Queries at padding are finite and have no meaning.
        """

    @abstractmethod
    def item_table(self) -> tuple[Tensor, Tensor | None]:
        """The item vectors that queries are multiplied with: weight (V, D), and bias (V,) or None."""

    def user_vectors(self, users: Tensor) -> Tensor:
        """(B,) -> (B, E) what encode needs to know of users; E is 0 for a model that uses the history alone."""
        return users.new_zeros((users.shape[0], 0), dtype=torch.float32)

    def user_table(self) -> Tensor | None:
        """(U, E) all user vectors, for a model that can fold in new users (see gaterec.inference.fold_in); None for others."""
        return None

    def forward(self, users: Tensor, items: Tensor) -> Tensor:
        """(B,), (B, T) -> (B, T, D); see encode."""
        return self.encode(self.user_vectors(users), items)

    def last_query(self, user_vectors: Tensor, items: Tensor) -> Tensor:
        """(B, E), (B, T) -> (B, D) the query after the last event of each row. A model overrides this where ONNX can't hold its encode."""
        queries = self.encode(user_vectors, items)
        last = (items != 0).sum(1) - 1
        return queries.gather(1, last[:, None, None].expand(-1, 1, queries.shape[2])).squeeze(1)

    def sequence_state(self, capacity: int, window: int) -> SequenceState:
        """A place for the last L events of `capacity` users, from which the query after one more event is cheap."""
        size = self.user_vectors(torch.zeros(1, dtype=torch.int64, device=next(self.parameters(), torch.empty(0)).device))
        return SequenceState(self.encode, size.shape[1], capacity, window, size.dtype)

    def score_terms(self, user_vector: Tensor, items: Tensor) -> ScoreTerms | None:
        """The terms of the query after the last event; None for a model whose query is not a sum of terms.

        Args:
            user_vector: (E,) see user_vectors.
            items: (T,) events in order of time, at most L, without padding.
        """
        return None

    def penalty(self, users: Tensor, items: Tensor, targets: Tensor) -> Tensor | None:
        """The regularization term of a batch, a scalar added to the loss; None for no term.

        Args:
            users: (B,) the users of the batch.
            items: (B, T) their events.
            targets: (N, K) the items to predict.
        """
        return None

    def fit_counts(self, counts: Tensor, events: Callable[[], tuple[Tensor, Tensor]]) -> None:
        """Fit what is counted and not trained.

        Args:
            counts: (V,) how often each item was chosen in training.
            events: returns (M,) users and (M,) items of all training events, ordered by user, then time.
        """

    def scores(self, queries: Tensor) -> Tensor:
        """(..., D) queries -> (..., V) scores of all items; padding scores -inf."""
        return queries @ self.item_table()[0].T + masked_bias(*self.item_table())


def masked_bias(weight: Tensor, bias: Tensor | None) -> Tensor:
    """(V,) the items' bias, with -inf for padding."""
    start = weight.new_zeros(len(weight)) if bias is None else bias
    mask = torch.zeros(len(weight), dtype=torch.bool, device=weight.device)
    mask[0] = True
    return start.masked_fill(mask, -torch.inf)
