"""The contract that every model fulfils: histories in, queries out.

    score(t, j) = queries[t] . weight[j] + bias[j]

A model knows nothing of datasets, settings files, losses, training or serving, so a loss, a metric, an index or an explanation that was
written once works with every model. Item 0 is padding; user 0 is someone we don't know.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from gaterec.config.section import Section
from gaterec.models.window_state import SequenceState


@dataclass(frozen=True)
class ScoreTerms:
    """A query as the sum that it is: lasting + gated.sum(0) + direct.sum(0).

    Attributes:
        lasting: (D,) what belongs to the person alone.
        gated: (T, D) what each event adds through the gates.
        direct: (T, D) what each event adds by itself.
        instance_gate: (T,) how far each event is let in, 0 to 1; None without such a gate.
        feature_gate: (T, D) how far each feature of each event is, 0 to 1; None likewise.
    """

    lasting: Tensor
    gated: Tensor
    direct: Tensor
    instance_gate: Tensor | None = None
    feature_gate: Tensor | None = None


class SequenceEncoder(nn.Module, ABC):
    """A model.

    Args (of every subclass):
        users: U, how many people there are, user 0 included.
        items: V, how many items there are, padding included.
        window: L, how many of the latest events a query sees.
        settings: the model's own settings.

    Attributes:
        whole_rows: whether a query sees all of its row, be it by attention or by a state that is handed on, and not its last L events alone.
            Such a model is given rows of at most L events; others may get longer ones, whose queries each see the last L events.
        based_on: what the queries of a user with training events come from: the user's own vector and the history, the history alone, or nothing of
            the user.
        inner_product: false for a model whose scores are no product of a query and an item, which then has `scores` of its own and no item table.
    """

    Settings: ClassVar[type[Section]]
    full_context: ClassVar[bool] = False
    based_on: ClassVar[Literal["person and history", "history", "popularity"]] = "history"
    dot_product: ClassVar[bool] = True

    @abstractmethod
    def encode(self, users: Tensor, items: Tensor) -> Tensor:
        """What each person wants after each event.

        Args:
            users: (B,) whose histories these are.
            items: (B, T) events in order from the left; 0 is padding, stands to the right of them and changes no query.

        Returns:
            (B, T, D) queries. Query t sees items[:, : t + 1] and nothing later. What stands at padding is undefined but finite.
        """

    @abstractmethod
    def item_table(self) -> tuple[Tensor, Tensor | None]:
        """The items to compare queries with: weight (V, D) and bias (V,), or None for no bias."""

    def user_table(self) -> Tensor | None:
        """(U, D) the vectors that encode_as and terms_as take in the place of users; None for a model without these."""
        return None

    def encode_as(self, people: Tensor, items: Tensor) -> Tensor:
        """As encode, for people (B, D) of whom their vectors are known."""
        raise NotImplementedError

    def terms_as(self, person: Tensor, items: Tensor) -> ScoreTerms | None:
        """As terms, for a person (D,) likewise."""
        raise NotImplementedError

    def windows(self, room: int, window: int) -> SequenceState:
        """Where the last L events of so many people are kept, for queries after newer events; see gaterec.models.window_state."""
        return SequenceState(self, room, window)

    def terms(self, user: Tensor, items: Tensor) -> ScoreTerms | None:
        """The terms of the query behind the last event, for a model whose query is such a sum; None for any other.

        Args:
            user: () whose history it is.
            items: (T,) events in order, at most L of them, no padding.
        """
        return None

    def penalty(self, users: Tensor, items: Tensor, targets: Tensor) -> Tensor | None:
        """What the model adds to the loss of a batch to keep its weights small; None for nothing.

        Args:
            users: (B,) people in the batch.
            items: (B, T) their events.
            targets: (N, K) the items to be predicted.
        """
        return None

    def count(self, counts: Tensor, events: Callable[[], tuple[Tensor, Tensor]]) -> None:
        """Take what can be counted instead of learned.

        Args:
            counts: (V,) how often each item was chosen in training.
            events: gives (M,) people and (M,) items of all training events, in order of person, then time; for models that need more than counts.
        """

    def scores(self, queries: Tensor) -> Tensor:
        """(..., D) queries -> (..., V) scores of all items; padding scores -inf."""
        return queries @ self.item_table()[0].T + masked_bias(*self.item_table())


def masked_bias(weight: Tensor, bias: Tensor | None) -> Tensor:
    """(V,) the items' bias with -inf for padding, so that one addition adds the one and rules out the other."""
    start = weight.new_zeros(len(weight)) if bias is None else bias
    mask = torch.zeros(len(weight), dtype=torch.bool, device=weight.device)
    mask[0] = True
    return start.masked_fill(mask, -torch.inf)
