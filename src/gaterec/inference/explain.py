"""Exact explanations: a score is a sum, and each term belongs to the user, to one event or to the item.

    score = user . Q_j + sum over events of (gated event . Q_j) + sum over events of (event . Q_j) + bias_j

Scores that are not such a sum (attention, recurrence, convolution) are explained by leaving one event out at a time.
"""

from collections.abc import Iterable, Sequence
from typing import Any, Protocol

import numpy as np
import polars as pl
import torch
from torch import Tensor

from gaterec.config.settings import Settings
from gaterec.errors import RequestError
from gaterec.inference.explanation import EXACT, LEFT_OUT, Explanation
from gaterec.inference.fold_in import FoldIn
from gaterec.inference.ids import several
from gaterec.inference.notes import history_notes
from gaterec.inference.users import RequestUser
from gaterec.models.encoder import SequenceEncoder

SCORES_PER_BATCH = 2**26
"""Scores held at a time where the score of one item needs the scores of all."""


class Explainable(Protocol):
    """The part of Recommender that explanations use."""

    fold_in: FoldIn | None
    titles: pl.Series | None

    @property
    def settings(self) -> Settings: ...
    @property
    def model(self) -> SequenceEncoder: ...
    @property
    def items(self) -> pl.DataFrame: ...
    def item_number(self, item: Any) -> int: ...
    def request_users(self, users: Iterable[Any] | None, histories: Iterable[Iterable[Any]] | None) -> list[RequestUser]: ...
    def queries(self, users: Sequence[RequestUser]) -> Tensor: ...
    def scores(self, users: Sequence[RequestUser]) -> Tensor: ...


def explain(recommender: Explainable, user: Any, item: Any, history: Iterable[Any] | None = None) -> Explanation:
    """Explain the score of an item for a user.

    Args:
        user: an id, or None for an anonymous user with a history.
        history: new events of a known user, all events of a new one. Items that the run does not know are left out, see Explanation.notes.

    Raises:
        RequestError: an unknown item to explain, or a user without a history.
    """
    events = [] if history is None else list(several("history", history))
    if user is None and not events:
        raise RequestError("explain: for whom? expected a user, or the history of somebody without an id")
    (request_user,) = recommender.request_users(None if user is None else [user], [events])
    return explain_to(recommender, request_user, item)


@torch.inference_mode()
def explain_to(recommender: Explainable, user: RequestUser, item: Any) -> Explanation:
    """Like explain, for a user of Recommender.request_users."""
    target = recommender.item_number(item)
    if not len(user.items):
        whom = "explain: neither a user nor a history" if user.id is None else f"user {user.id!r}"
        raise RequestError(f"{whom}: nothing is known of this person, so popular items are recommended, and there is nothing to explain")
    items = user.items[-recommender.settings.MAX_ITEM_LIST_LENGTH :]
    before = len(user.items) - len(items)
    without = [RequestUser(user.id, user.number, np.delete(user.items, before + place)) for place in range(len(items))]
    score, *others = _scores(recommender, [user, *without], target)
    # Without the only event the scores are training counts, which do not compare with scores of the model.
    what_if = [value if len(other.items) else None for other, value in zip(without, others, strict=True)]
    model = recommender.model
    places = torch.from_numpy(items.astype("int64"))
    if user.number or recommender.fold_in is None:
        vector = model.user_vectors(torch.tensor([user.number]))[0]
    else:
        vector = recommender.fold_in([user.items])[0]
    terms = model.score_terms(vector, places)
    if terms is None:
        total = torch.tensor([score - (value or 0.0) for value in what_if])
        gated = direct = gate = None
        lasting = bias = features = None
    else:
        weight, biases = model.item_table()
        vector = weight[target]
        gated, direct = terms.gated @ vector, terms.item_item @ vector
        total, gate, features = gated + direct, terms.instance_gate, terms.feature_gate
        lasting, bias = float(terms.user @ vector), 0.0 if biases is None else float(biases[target])
        # Summed in float64, and held to the size of the products that the model summed in float32, however they cancel out.
        found = lasting + bias + float(total.double().sum())
        size = float((torch.cat([terms.user[None], terms.gated, terms.item_item]).abs() @ vector.abs()).double().sum()) + abs(bias)
        assert abs(found - score) <= 1e-5 * max(1.0, size), f"terms sum to {found}, the score is {score}"
    ids, titles = recommender.items.to_series(0), recommender.titles
    frame = pl.DataFrame({"item": ids.gather(items)})
    if titles is not None:
        frame = frame.with_columns(titles.gather(items).alias("title"))
    columns = {"gated": gated, "direct": direct, "total": total, "instance_gate": gate}
    frame = frame.with_columns(
        *(pl.lit(None, pl.Float64).alias(name) if values is None else pl.Series(name, values.tolist()) for name, values in columns.items()),
        pl.Series("what_if", what_if, dtype=pl.Float64),
    )
    method, title = LEFT_OUT if terms is None else EXACT, None if titles is None else titles[target]
    return Explanation(user.id, ids[target], score, method, lasting, bias, frame, features, title, tuple(history_notes([user])))


def _scores(recommender: Explainable, users: Sequence[RequestUser], item: int) -> list[float]:
    """(C,) the scores of an item for users with events."""
    if recommender.model.dot_product:
        weight, bias = recommender.model.item_table()
        scores = recommender.queries(users) @ weight[item]
        return (scores if bias is None else scores + bias[item]).tolist()
    step = max(1, SCORES_PER_BATCH // len(recommender.items))
    parts = [recommender.scores(users[begin : begin + step])[:, item] for begin in range(0, len(users), step)]
    return [float(score) for score in torch.cat(parts)]
