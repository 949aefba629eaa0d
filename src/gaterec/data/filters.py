"""RecBole's filters, in RecBole's order: repeated events, values, unknown ids, people and items with too few or too many events.

Each takes a Log and gives a Log; the order of the events stays. The examples in the docstrings are held by tests.
"""

import difflib
from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from functools import partial, reduce
from itertools import pairwise
from math import isfinite
from operator import or_
from typing import Literal, NamedTuple

import polars as pl

from gaterec.config.intervals import Interval, parse_intervals
from gaterec.config.settings import Data, as_interval
from gaterec.data.log import Log
from gaterec.data.readers.columns import parse_dates
from gaterec.errors import DataError, short


class FilterStep(NamedTuple):
    """What was there after a filter."""

    name: str
    events: int
    users: int
    items: int


def apply_filters(log: Log, settings: Data) -> tuple[Log, list[FilterStep]]:
    """All filters that the settings ask for, one after the other.

    Returns:
        the log that remains, and the counts as read and after each filter.

    Raises:
        DataError: a filter doesn't fit the columns, or no event remains; then it says what each filter took.
    """
    steps = [_counted("as read", log, settings)]
    for name, apply in _filters(log, settings):
        log = apply(log)
        steps.append(_counted(name, log, settings))
        if log.events.height == 0:
            raise DataError(f"{log.source}: no event is left after the filters: {_told(steps)}; loosen {name}")
    return log, steps


def _filters(log: Log, settings: Data) -> list[tuple[str, Callable[[Log], Log]]]:
    user, item, time = settings.USER_ID_FIELD, settings.ITEM_ID_FIELD, settings.TIME_FIELD
    chosen: list[tuple[str, Callable[[Log], Log]]] = []
    if settings.rm_dup_inter is not None:
        apply = partial(drop_repeats, user=user, item=item, time=time, keep=settings.rm_dup_inter)
        chosen.append((f"rm_dup_inter {settings.rm_dup_inter}", apply))
    for column, wanted in (settings.val_interval or {}).items():
        chosen.append((f"val_interval {column}", partial(keep_values, column=column, wanted=wanted, ids=(user, item))))
    if settings.filter_inter_by_user_or_item and (log.users is not None or log.items is not None):
        chosen.append(("filter_inter_by_user_or_item", partial(keep_known, user=user, item=item)))
    per_user, per_item = _limits(settings.user_inter_num_interval), _limits(settings.item_inter_num_interval)
    if per_user or per_item:
        apply = partial(keep_active, user=user, item=item, per_user=per_user, per_item=per_item)
        chosen.append(("user_inter_num_interval and item_inter_num_interval", apply))
    return chosen


def drop_repeats(log: Log, user: str, item: str, time: str, keep: Literal["first", "last"]) -> Log:
    """Of events with the same user and item only the first or the last in time (of equal times: in the file).

    keep="first":

        user item time         user item time
        u1   a    30
        u1   b    20           u1   b    20
        u1   a    10     ->    u1   a    10
        u2   a    40           u2   a    40
        u2   a    50
    """
    pairs = log.events.select(
        user=pl.col(user), item=pl.col(item), time=pl.col(time) if time in log.events.columns else pl.lit(0), row=pl.int_range(pl.len())
    )
    rows = pairs.sort("time", maintain_order=True).unique(["user", "item"], keep=keep, maintain_order=True)["row"].sort()
    return replace(log, events=log.events[rows])


def keep_values(log: Log, column: str, wanted: str | Sequence[int | float | str], ids: Collection[str] = ()) -> Log:
    """The rows whose column has one of the values, in the events and in the user and item features alike; empty fields go.

    column="rating", wanted="[4,inf)":

        user item rating       user item rating
        u1   a    5            u1   a    5
        u1   b    3
        u2   a    4      ->    u2   a    4
        u2   c    (empty)
        u3   b    1

    Args:
        wanted: for numbers (in the unit of the file) an interval, several joined by semicolons, or a list of its two ends; for dates
            the same with ISO dates as ends; for text a list of values (of a list column one is enough). A list of text keeps numbers
            by value, and dates by day or moment.
        ids: the columns of ids, whose values are text however they are kept.

    Raises:
        DataError: there is no such column, or it is of the other kind.
    """
    tables = {"events": log.events, "users": log.users, "items": log.items}
    holding = {name: table for name, table in tables.items() if table is not None and column in table.columns}
    if not holding:
        found = sorted({name for table in tables.values() if table is not None for name in table.columns})
        near = difflib.get_close_matches(column[:200], found, n=1)
        raise DataError(
            f"val_interval: {column!r}: expected a column of {log.source}, found {', '.join(found)}"
            f"{f'; did you mean {near[0]}?' if near else '; mend the name'}"
        )
    values = {name: table[column].cast(pl.String) if column in ids else table[column] for name, table in holding.items()}
    dates = column in log.dates
    kept = {name: table.filter(_has_value(values[name], wanted, dates and name == "events")) for name, table in holding.items()}
    return replace(log, events=kept.get("events", log.events), users=kept.get("users", log.users), items=kept.get("items", log.items))


def keep_known(log: Log, user: str, item: str) -> Log:
    """The events of people and items that the `.user` and `.item` files know, where there are such files.

    With a `.user` file that knows u1 and u2:

        user item         user item
        u1   a            u1   a
        u3   a
        u2   b      ->    u2   b
        u1   b            u1   b
        u4   c
    """
    events = log.events
    for key, features in ((user, log.users), (item, log.items)):
        if features is not None:
            ids = events[key].unique()
            known = ids.filter(ids.cast(pl.String).is_in(features[key].implode()))
            events = events.filter(pl.col(key).is_in(known.implode()))
    return replace(log, events=events)


def keep_active(log: Log, user: str, item: str, per_user: list[Interval], per_item: list[Interval]) -> Log:
    """The events of people and of items with so many events, repeated until both hold (the k-core).

    A round judges people and items on the same counts, as RecBole does. An empty list of intervals asks for nothing.

    per_user=[2,inf), per_item=[2,inf):

        user item         user item
        u1   a            u1   a
        u1   b            u1   b
        u2   a      ->    u2   a
        u2   b            u2   b
        u3   c
    """
    events = log.events
    while True:
        active = events.filter(_within(pl.len().over(user), per_user) & _within(pl.len().over(item), per_item))
        if active.height == events.height:
            break
        events = active
    users = None if log.users is None else _active_rows(log.users, user, events, per_user)
    items = None if log.items is None else _active_rows(log.items, item, events, per_item)
    return replace(log, events=events, users=users, items=items)


def _active_rows(features: pl.DataFrame, key: str, events: pl.DataFrame, intervals: list[Interval]) -> pl.DataFrame:
    """The features of ids that the intervals allow; an id without events counts as 0."""
    counts = events.group_by(key).len("events").with_columns(pl.col(key).cast(pl.String))
    of_row = features.select(key).join(counts, on=key, how="left", maintain_order="left")["events"].fill_null(0)
    return features.filter(pl.select(_within(pl.lit(of_row), intervals)).to_series())


def _limits(text: str | None) -> list[Interval]:
    """The intervals of a count; empty when every count is allowed."""
    intervals = parse_intervals(text) if text is not None else []
    return [] if any(interval.low <= 0 and interval.high == float("inf") and 0 in interval for interval in intervals) else intervals


def _within(number: pl.Expr, intervals: list[Interval]) -> pl.Expr:
    """Whether a number lies in any of the intervals; no intervals allow all."""
    return reduce(or_, (_in(number, interval) for interval in intervals)) if intervals else pl.lit(True)


def _in(number: pl.Expr, interval: Interval) -> pl.Expr:
    above = number >= interval.low if interval.closed_low else number > interval.low
    below = number <= interval.high if interval.closed_high else number < interval.high
    return above & below


def _has_value(column: pl.Series, wanted: str | Sequence[int | float | str], dates: bool = False) -> pl.Series:
    """Row by row, whether the value is wanted; null and not-a-number are not.

    Args:
        dates: whether the column holds dates as microseconds since 1970.
    """
    if dates and not isinstance(wanted, str):
        wanted = ";".join(f"[{day},{day}]" for day in wanted)
    if isinstance(wanted, str):
        intervals = _intervals(column.name, wanted)
        as_dates = {interval.dates for interval in intervals}
        numbers = (_as_microseconds(column, wanted, dates) if True in as_dates else _as_numbers(column, dates)).cast(pl.Float64)
        if len(as_dates) > 1:
            raise DataError(f"val_interval: {column.name}: expected intervals of dates or of numbers, found both: {short(wanted)}")
        # Polars takes not-a-number for greater than infinity, so it lies in no interval.
        return pl.select(_within(pl.lit(numbers), intervals)).to_series().fill_null(False)
    if column.dtype in (pl.String, pl.List(pl.String)):
        texts = [str(value) for value in wanted]
        if column.dtype == pl.String:
            return column.is_in(texts).fill_null(False)
        return column.list.eval(pl.element().is_in(texts)).list.any().fill_null(False)
    if isinstance(column.dtype, pl.List):
        raise DataError(f"val_interval: {column.name}: is a column of lists of numbers, by which events can't be filtered; leave it out")
    if not all(isinstance(value, str) for value in wanted):
        return _has_value(column, _as_interval(column.name, wanted))
    values = pl.Series(wanted, dtype=pl.String).cast(pl.Float64, strict=False)
    if values.null_count():
        raise DataError(
            f"val_interval: {column.name}: expected an interval such as '[4,inf)' or '[1,2];[4,5]', or a list of numbers, as the column holds "
            f"numbers, found {short(wanted)}"
        )
    return column.is_in(values.implode()).fill_null(False)


def _as_interval(column: str, wanted: Sequence[int | float | str]) -> str:
    """The interval between two numbers, as RecBole reads a list on a column of numbers."""
    try:
        text = str(as_interval(list(wanted)))
        parse_intervals(text)
    except ValueError:
        numbers = [value for value in wanted if not isinstance(value, str)]
        low, high, values = min(numbers), max(numbers), [str(value) for value in wanted]
        raise DataError(
            f"val_interval: {column}: expected an interval, as the column holds numbers, found {short(wanted)}; "
            f"write '[{low},{high}]' for all from {low} to {high}, or {short(values)} for these values alone"
        ) from None
    return text


def _intervals(column: str, text: str) -> list[Interval]:
    try:
        return parse_intervals(text)
    except ValueError as error:  # of values that were made intervals; intervals are checked with the settings
        raise DataError(f"val_interval: {column}: {error}") from None


def _as_numbers(column: pl.Series, dates: bool) -> pl.Series:
    if not dates and not column.dtype.is_nested():
        numbers = column.cast(pl.Float64, strict=False)
        if numbers.null_count() == column.null_count():
            return numbers
    if dates or (column.dtype == pl.String and parse_dates(column).null_count() == column.null_count()):
        raise DataError(
            f"val_interval: {column.name}: expected dates, as in '[2024-01-01,2024-12-31]', as the column holds dates, found numbers"
        )
    raise DataError(f"val_interval: {column.name}: expected a list of values, as the column holds text, found an interval")


def _as_microseconds(column: pl.Series, wanted: str, dates: bool) -> pl.Series:
    """A column of dates as microseconds since 1970."""
    if dates:
        return column
    if column.dtype == pl.String:
        found = parse_dates(column)
        odd = column.filter(found.is_null() & column.is_not_null())
        if len(odd) == 0:
            return found.cast(pl.Int64)
        raise DataError(f"val_interval: {column.name}: expected a column of dates, as the interval has dates, found {short(odd[0])}")
    end = next(
        abs(end) for interval in parse_intervals(wanted) for end in (interval.low, interval.high) if interval.dates and isfinite(end)
    )
    raise DataError(
        f"val_interval: {column.name}: expected numbers, as the column holds numbers, found dates: {short(wanted)}; write them in the unit of "
        f"the column: an end is {end / 1e6:.0f} in seconds, {end / 1e3:.0f} in milliseconds"
    )


def _counted(name: str, log: Log, settings: Data) -> FilterStep:
    people, things = log.events.select(pl.col(settings.USER_ID_FIELD, settings.ITEM_ID_FIELD).n_unique()).row(0)
    return FilterStep(name, log.events.height, people, things)


def _told(steps: list[FilterStep]) -> str:
    """1,000 events as read; rating took 200; ..."""
    taken = [f"{after.name} took {before.events - after.events:,}" for before, after in pairwise(steps)]
    return "; ".join([f"{steps[0].events:,} events as read", *taken])
