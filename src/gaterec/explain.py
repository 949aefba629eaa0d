"""Why an item was recommended, exactly: a score is a sum, and every term of it belongs to something that a person can see.

    score = user . Q_j + sum over events of (gated event . Q_j) + sum over events of (event . Q_j) + bias_j

Models that are no such sum (attention, recurrence, convolution) are explained by leaving one event out at a time, and say so.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
import torch
from torch import Tensor

from gaterec.errors import RequestError
from gaterec.ids import several
from gaterec.recommend import Person, Recommender, history_notes

EXACT, LEFT_OUT = "exact sum", "leave-one-event-out"
AT_A_TIME = 2**26
"""Scores of all items, where an item has none by itself, are computed for so few people at a time that about these numbers are held."""
MOST_OPEN = 3
"""So many features of an event are named: those whose gates are most open."""


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
            what_if: the score without that event, computed anew; None for an only event.
        feature_gates: (T, D) how far each feature of each event is open; None without such a gate.
        title: what people know the item by; None where there is none.
        notes: what of the history was left out, as the run does not know these items.
    """

    user: str | None
    item: str
    score: float
    method: str
    lasting: float | None
    bias: float | None
    events: pl.DataFrame
    feature_gates: Tensor | None
    title: str | None = None
    notes: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """The item as people know it."""
        return self.item if self.title is None else f"{self.title} ({self.item})"

    def as_dict(self) -> dict[str, Any]:
        """For JSON: everything, the gates as lists, and of each event the numbers (from 0) of the features that are most open."""
        events, gates = self.events.to_dicts(), self.feature_gates
        if gates is not None:
            widest = gates.topk(min(MOST_OPEN, gates.shape[1])).indices.tolist()
            events = [{**event, "most_open": features} for event, features in zip(events, widest, strict=True)]
        return {
            "user": self.user,
            "item": self.item,
            "title": self.title,
            "notes": list(self.notes),
            "score": self.score,
            "method": self.method,
            "words": str(self),
            "lasting": self.lasting,
            "bias": self.bias,
            "events": events,
            "feature_gates": None if gates is None else gates.tolist(),
        }

    def as_frame(self) -> pl.DataFrame:
        """One row per term: kind (lasting, gated, direct or bias), item and title of its event, value, and share of all terms that speak for the item,
        None where a term speaks against it.

        Where the method is EXACT, the values sum to the score. Else there is one kind, left out, and the values sum to nothing in particular.
        """
        exact = self.method == EXACT
        names = [name for name in ("item", "title") if name in self.events.columns]
        of_events = self.events.select(*names, *(["gated", "direct"] if exact else [pl.col("total").alias("left out")]))
        terms = of_events.with_row_index("place").unpivot(index=["place", *names], variable_name="kind")
        terms = terms.sort("place", maintain_order=True).drop("place")
        alone = pl.DataFrame({"kind": ["lasting", "bias"], "value": [self.lasting, self.bias]}, schema_overrides={"value": pl.Float64})
        frame = pl.concat([alone[:1], terms, alone[1:]], how="diagonal") if exact else terms
        value = pl.col("value")
        share = pl.when(value > 0).then(value / value.filter(value > 0).sum()).when((value == 0) & (value > 0).any()).then(0.0)
        return frame.select("kind", *names, "value", share.alias("share"))

    def _others(self) -> list[tuple[str, float]]:
        """What belongs to no event, by its name in words."""
        return [("your taste over the long run", self.lasting or 0.0), ("that many choose it", self.bias or 0.0)]

    def _speaks_for(self) -> float:
        """The sum of all events and other parts that raise the score."""
        return float(sum(value for value in [*self.events["total"], *(value for _, value in self._others())] if value > 0))

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, str]:
        """What a notebook shows: the picture, and the words where there are no pictures."""
        from gaterec.explanation_picture import as_svg

        return {"image/svg+xml": as_svg(self), "text/plain": str(self)}

    def __str__(self) -> str:
        """In words: because you chose A (41%) and B (22%), and your taste over the long run (30%). Shares are of all that speaks for the item; the
        three events that say most are named."""
        names = pl.coalesce("title", "item") if "title" in self.events.columns else pl.col("item")
        chosen = list(self.events.select(names, "total").iter_rows())
        others, together = self._others(), self._speaks_for()
        best = sorted(((name, value) for name, value in chosen if value > 0), key=lambda part: -part[1])[:3]
        events = _listed([f"{name} ({100 * value / together:.0f}%)" for name, value in best])
        reasons = [f"{name} ({100 * value / together:.0f}%)" for name, value in others if value >= 0.005 * together > 0]
        told = ", and ".join(filter(None, [f"you chose {events}" if events else "", _listed(reasons)]))
        if told.startswith("that "):
            return f"because {told.removeprefix('that ')}"
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
        history: newer events of a known user, all events of another. Items that the run does not know are left out, see Explanation.notes.

    Raises:
        RequestError: an unknown item to explain, or a user without a history.
    """
    events = [] if history is None else list(several("history", history))
    if user is None and not events:
        raise RequestError("explain: for whom? expected a user, or the history of somebody without an id")
    (person,) = recommender.people(None if user is None else [user], [events])
    return explain_to(recommender, person, item)


@torch.inference_mode()
def explain_to(recommender: Recommender, person: Person, item: Any) -> Explanation:
    """The same for a person who was found already (see Recommender.people)."""
    target = recommender.item_number(item)
    if not len(person.items):
        whom = "explain: neither a user nor a history" if person.id is None else f"user {person.id!r}"
        raise RequestError(f"{whom}: nothing is known of this person, so popular items are recommended, and there is nothing to explain")
    items = person.items[-recommender.settings.MAX_ITEM_LIST_LENGTH :]
    before = len(person.items) - len(items)
    without = [Person(person.id, person.number, np.delete(person.items, before + place)) for place in range(len(items))]
    score, *others = _scores(recommender, [person, *without], target)
    # Without their only event nothing is known of a person, and what is popular is no score to compare with.
    what_if = [value if len(other.items) else None for other, value in zip(without, others, strict=True)]
    model = recommender.model
    places = torch.from_numpy(items.astype("int64"))
    if person.number or recommender.fold_in is None:
        terms = model.terms(torch.tensor(person.number), places)
    else:
        terms = model.terms_as(recommender.fold_in([person.items])[0], places)
    if terms is None:
        total = torch.tensor([score - (value or 0.0) for value in what_if])
        gated = direct = gate = None
        lasting = bias = features = None
    else:
        weight, biases = model.item_table()
        vector = weight[target]
        gated, direct = terms.gated @ vector, terms.direct @ vector
        total, gate, features = gated + direct, terms.instance_gate, terms.feature_gate
        lasting, bias = float(terms.lasting @ vector), 0.0 if biases is None else float(biases[target])
        # Summed in float64, and held to the size of the products that the model summed in float32, however they cancel out.
        found = lasting + bias + float(total.double().sum())
        size = float((torch.cat([terms.lasting[None], terms.gated, terms.direct]).abs() @ vector.abs()).double().sum()) + abs(bias)
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
    return Explanation(person.id, ids[target], score, method, lasting, bias, frame, features, title, tuple(history_notes([person])))


def _scores(recommender: Recommender, people: Sequence[Person], item: int) -> list[float]:
    """(C,) what each of some people, who have events, would score an item."""
    if recommender.model.inner_product:
        weight, bias = recommender.model.item_table()
        scores = recommender.queries(people) @ weight[item]
        return (scores if bias is None else scores + bias[item]).tolist()
    step = max(1, AT_A_TIME // len(recommender.items))
    parts = [recommender.scores(people[begin : begin + step])[:, item] for begin in range(0, len(people), step)]
    return [float(score) for score in torch.cat(parts)]
