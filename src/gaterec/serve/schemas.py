"""What the server and its clients say to each other, as pydantic models: the one place where a field, its limits and its meaning are told.

Ids are the outside world's own; numbers are taken as their text.
"""

from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints, WithJsonSchema
from pydantic_core import PydanticCustomError

MAX_K = 1000
MAX_HISTORY = 1000
MAX_FILTER = 10_000
MAX_COLUMNS = 20
MAX_VALUES = 100
ID_LENGTH = 512


def _as_text(value: Any) -> Any:
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


def _clean(value: str) -> str:
    if any(letter == "\0" or "\ud800" <= letter <= "\udfff" for letter in value):
        raise ValueError("expected text without NUL and without halves of surrogate pairs")
    if len(value.encode()) > ID_LENGTH:
        raise ValueError(f"expected at most {ID_LENGTH} bytes in UTF-8")
    return value


_TEXT = {"type": "string", "minLength": 1, "maxLength": ID_LENGTH, "pattern": "^[^\\u0000]+$"}
Id = Annotated[
    str,
    StringConstraints(min_length=1, max_length=ID_LENGTH),
    AfterValidator(_clean),
    BeforeValidator(_as_text),
    WithJsonSchema({"anyOf": [_TEXT, {"type": "integer"}]}, mode="validation"),
]
"""A person's or an item's id: text of 1 to 512 bytes in UTF-8, or a whole number, which is taken as its text."""
Value = Annotated[str, StringConstraints(max_length=ID_LENGTH), AfterValidator(_clean)]
Scalar = Value | bool | int | Annotated[float, Field(allow_inf_nan=False)]
"""A value of a condition, which is compared as what its column holds."""


LATEST = 1e11
"""Larger timestamps are not in seconds since 1970 (the year 5138) but in a smaller unit."""


def _seconds(value: float) -> float:
    if value > LATEST:
        unit, size = next(
            ((unit, size) for unit, size in (("milliseconds", 1e3), ("microseconds", 1e6)) if value / size < LATEST), ("nanoseconds", 1e9)
        )
        told = f"expected seconds since 1970, found {value:.15g}, which looks like {unit}: divide it by {size:,.0f}"
        raise PydanticCustomError("seconds", "{told}", {"told": told})
    return value


class Question(BaseModel):
    """What clients send: nothing but what is named here, and no number in quotation marks."""

    model_config = ConfigDict(extra="forbid", strict=True)


class Filters(Question):
    """Which items may come."""

    seen: bool = Field(False, description="whether items of the history may come again")
    deny: list[Id] = Field([], max_length=MAX_FILTER, fail_fast=True, description="items that are not recommended")
    allow: list[Id] | None = Field(None, max_length=MAX_FILTER, fail_fast=True, description="the only items that may")
    where: dict[Value, Scalar | Annotated[list[Scalar], Field(min_length=1, max_length=MAX_VALUES, fail_fast=True)]] = Field(
        {},
        max_length=MAX_COLUMNS,
        description="column of the .item file -> value, or list of values: only items that have it, or one of them. Numbers are compared as "
        "numbers, also as text; a list of the column is to contain the value",
    )


class RecommendRequest(Filters):
    """Recommend to one person: of the log, with newer events, with a history alone, or somebody of whom nothing is known."""

    user: Id | None = Field(None, description="a person's id; someone unknown gets popular items, unless there are events")
    history: list[Id] = Field(
        [], max_length=MAX_HISTORY, fail_fast=True, description="newer events of a known person, all of another; the latest last"
    )
    k: int = Field(10, ge=1, le=MAX_K, description="how many items; where fewer are left, those")
    diversity: float = Field(
        0.0,
        ge=0.0,
        le=1.0,
        allow_inf_nan=False,
        description="how much unlike each other the items are to be (MMR); 0 for the best items alone",
    )


class ExplainRequest(Question):
    """Why an item would be recommended to a person."""

    user: Id | None = Field(None, description="a person's id")
    history: list[Id] = Field(
        [], max_length=MAX_HISTORY, fail_fast=True, description="newer events of a known person, all of another; the latest last"
    )
    item: Id = Field(description="the item in question")


class EventRequest(Question):
    """One more event of a person."""

    user: Id = Field(description="who chose; someone new is welcome")
    item: Id = Field(description="what, an item that the run knows")
    timestamp: (
        Annotated[float, Field(ge=0, allow_inf_nan=False, json_schema_extra={"maximum": LATEST}), AfterValidator(_seconds)] | None
    ) = Field(None, description="when, in seconds since 1970; now where it is left out")
    id: Id | None = Field(None, description="a name of this event alone: sent again, it counts once")


class Item(BaseModel):
    """An item, and what people know it by."""

    item: str
    title: str | None = Field(None, description="where the .item file has one")


class Recommended(Item):
    rank: int
    score: float


class RecommendAnswer(BaseModel):
    user: str | None
    based_on: str = Field(
        description="person and history; history, where training learned nothing of the user, or the model has no vectors of users; or popularity, "
        "where the history is empty"
    )
    items: list[Recommended]
    notes: list[str] = Field([], description="what of the request was left out, such as items that the run does not know")
    model: str = Field(description="the run that answered")


class Similar(Item):
    score: float = Field(description="cosine of the two items' vectors")


class SimilarAnswer(BaseModel):
    item: Item
    items: list[Similar]
    model: str


class ExplainedEvent(Item):
    gated: float | None = Field(None, description="through the gates; none where the score is no sum")
    direct: float | None = Field(None, description="directly, item to item; likewise")
    total: float = Field(description="both; or how far the score falls without this event, where the score is no sum")
    instance_gate: float | None = Field(None, description="how far the event is let in, 0 to 1")
    what_if: float | None = Field(description="the score if this event had not been, computed anew; none for an only event")


class ExplainAnswer(BaseModel):
    user: str | None
    item: Item
    score: float
    method: str = Field(description="'exact sum': lasting + bias + all totals are the score; or 'leave-one-event-out'")
    lasting: float | None = Field(description="of the person's lasting taste; none where the score is no sum")
    bias: float | None = Field(description="of the item alone; likewise")
    events: list[ExplainedEvent] = Field(description="the latest last")
    feature_gates: list[list[float]] | None = Field(
        description="how far each feature of each event is let in, 0 to 1; none without such a gate"
    )
    words: str
    notes: list[str] = Field([], description="what of the history was left out: items that the run does not know")
    model: str


class EventAnswer(BaseModel):
    user: str
    item: str
    timestamp: float
    new: bool = Field(description="false where an event of this id was there already")


class ItemsAnswer(BaseModel):
    items: list[Item]


class ItemAnswer(Item):
    columns: dict[str, str | int | float | bool | None] = Field(description="what else the .item file says")
    training_count: int = Field(description="how often it was chosen in training")


class UsersAnswer(BaseModel):
    users: list[str]
    total: int = Field(description="number of users in the run")


class PeopleAnswer(BaseModel):
    """Answer of the deprecated route GET /people."""

    people: list[str]
    total: int


class UserAnswer(BaseModel):
    user: str
    known: bool = Field(description="whether the log of the run has events of this user")
    events: int = Field(description="number of events in the history: those of the log and newer ones")
    newer: int = Field(description="number of these events that came after the log")
    history: list[Item] = Field(description="the latest events, the latest last")


class DeleteAnswer(BaseModel):
    user: str
    deleted: int = Field(description="events that were here and are gone")
    left: list[str] = Field(description="what is left of this person, where, and until when")


class ReloadAnswer(BaseModel):
    model: str = Field(description="the run that answers now")
    before: str = Field(description="the run that answered until now")


class HealthAnswer(BaseModel):
    status: str


class VersionAnswer(BaseModel):
    gaterec: str
    model: str
    title: str
    loaded: float = Field(description="when, in seconds since 1970")


class Curve(BaseModel):
    name: str
    values: list[float | None] = Field(description="one per epoch")


class ModelAnswer(BaseModel):
    """What the page shows of the run."""

    model: str
    title: str
    users: int
    people: int = Field(description="the same as users", deprecated=True)
    items: int
    data: dict[str, Any]
    protocol: list[str]
    figures: dict[str, dict[str, float]] = Field(description="model, baselines -> metric -> value, on test")
    curves: list[Curve]
    best_epoch: int
    settings: dict[str, Any]


class Problem(BaseModel):
    """What went wrong (RFC 9457)."""

    type: str = Field("about:blank", description="urn:gaterec:problem:NAME")
    title: str
    status: int
    detail: str
