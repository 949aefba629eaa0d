"""Why an item was recommended, exactly: a score is a sum, and every term of it belongs to something that a person can see.

    score = user . Q_j + sum over events of (gated event . Q_j) + sum over events of (event . Q_j) + bias_j

Models that are no such sum (attention, recurrence, convolution) are explained by leaving one event out at a time, and say so.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
import torch
from torch import Tensor

from gaterec.errors import RequestError
from gaterec.recommend import Person, Recommender

EXACT, LEFT_OUT = "exact sum", "leave-one-event-out"


@dataclass(frozen=True)
class Explanation:
    """A score and its parts.

    Attributes:
        user, item: whose, and of what.
        score: the model's.
        method: EXACT, where lasting + bias + all of `events` is the score; or LEFT_OUT, where each event's part is how much the score falls without it.
        lasting: of the person's lasting taste; None where the model doesn't part it off.
        bias: of the item alone; None likewise.
        events: one row per event in reach, the latest last: item, title where there is one, gated, direct (their parts), total, instance_gate, and
            what_if: the score without that event, computed anew.
        feature_gates: (T, D) how far each feature of each event is open; None without such a gate.
    """

    user: str | None
    item: str
    score: float
    method: str
    lasting: float | None
    bias: float | None
    events: pl.DataFrame
    feature_gates: Tensor | None

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "user": self.user,
            "item": self.item,
            "score": self.score,
            "method": self.method,
            "lasting": self.lasting,
            "bias": self.bias,
            "events": self.events.to_dicts(),
        }

    def __str__(self) -> str:
        """In words: because you chose A (41%) and B (22%), and your taste over the long run (30%). Shares are of all that speaks for the item; the
        three events that say most are named."""
        names = pl.coalesce("title", "item") if "title" in self.events.columns else pl.col("item")
        chosen = list(self.events.select(names, "total").iter_rows())
        others = [("your taste over the long run", self.lasting or 0.0), ("that many choose it", self.bias or 0.0)]
        together = sum(value for _, value in [*chosen, *others] if value > 0)
        best = sorted(((name, value) for name, value in chosen if value > 0), key=lambda part: -part[1])[:3]
        events = _listed([f"{name} ({100 * value / together:.0f}%)" for name, value in best])
        reasons = [f"{name} ({100 * value / together:.0f}%)" for name, value in others if value >= 0.005 * together > 0]
        told = ", and ".join(filter(None, [f"you chose {events}" if events else "", _listed(reasons)]))
        return f"because {'of ' if reasons and not events else ''}{told}" if told else "though nothing in the history speaks for it"


def _listed(words: list[str]) -> str:
    """
    >>> _listed(["A", "B", "C"]), _listed(["A"]), _listed([])
    ('A, B and C', 'A', '')
    """
    return " and ".join(filter(None, [", ".join(words[:-1]), *words[-1:]]))


def explain(recommender: Recommender, user: Any, item: Any, history: Iterable[Any] | None = None) -> Explanation:
    """Why an item would be recommended to a person.

    Args:
        user: an id, or None for someone with a history alone.
        history: newer events of a known person, all events of another.

    Raises:
        RequestError: an unknown item, or someone of whom nothing is known.
    """
    (person,) = recommender.people(None if user is None else [user], [list(history or [])])
    return explain_to(recommender, person, item)


@torch.inference_mode()
def explain_to(recommender: Recommender, person: Person, item: Any) -> Explanation:
    """The same for a person who was found already (see Recommender.people)."""
    target = recommender.item_number(item)
    if not len(person.items):
        raise RequestError(
            f"user {person.id!r}: nothing is known of this person, so popular items are recommended, and there is nothing to explain"
        )
    items = person.items[-recommender.settings.MAX_ITEM_LIST_LENGTH :]
    before = len(person.items) - len(items)
    without = [Person(person.id, person.number, np.delete(person.items, before + place)) for place in range(len(items))]
    score, *what_if = recommender.scores([person, *without])[:, target].tolist()
    model = recommender.model
    terms = model.terms(torch.tensor(person.number), torch.from_numpy(items.astype("int64")))
    if terms is None:
        total = torch.tensor([score - other for other in what_if])
        gated = direct = gate = None
        lasting = bias = features = None
    else:
        weight, biases = model.item_table()
        vector = weight[target]
        gated, direct = terms.gated @ vector, terms.direct @ vector
        total, gate, features = gated + direct, terms.instance_gate, terms.feature_gate
        lasting, bias = float(terms.lasting @ vector), 0.0 if biases is None else float(biases[target])
        found = lasting + bias + float(total.sum())
        assert abs(found - score) <= 1e-5 * max(1.0, abs(score), float(total.abs().sum())), f"terms sum to {found}, the score is {score}"
    ids, titles = recommender.items.to_series(0), recommender.titles
    events = pl.DataFrame({"item": ids.gather(items)})
    if titles is not None:
        events = events.with_columns(titles.gather(items).alias("title"))
    columns = {"gated": gated, "direct": direct, "total": total, "instance_gate": gate}
    events = events.with_columns(
        *(pl.lit(None, pl.Float64).alias(name) if values is None else pl.Series(name, values.tolist()) for name, values in columns.items()),
        pl.Series("what_if", what_if),
    )
    return Explanation(person.id, ids[target], score, LEFT_OUT if terms is None else EXACT, lasting, bias, events, features)
