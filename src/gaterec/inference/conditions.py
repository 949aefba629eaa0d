"""Conditions on the columns of the `.item` file: a value is compared as what its column holds, whether it comes as text or not.

`--where=year=1995`, `where={"year": 1995}`, 1995.0 and "1995" over HTTP all mean the items whose year is the number 1995.
"""

import difflib
from collections.abc import Callable, Iterable
from datetime import date, datetime, time
from typing import Any

import numpy as np
import polars as pl

from gaterec.errors import RequestError, nearest
from gaterec.inference.ids import text

MANY = 2_000
"""Among more values of a column than these none is looked for that is spelled like the one that no item has."""
SHOWN = 5


def as_texts(column: str, value: Any) -> tuple[str, ...]:
    """The text of one value, or of each of several; an item is to have one of them.

    Raises:
        RequestError: it is neither a value nor a list of values, or an empty list.
    """
    values = list(value) if isinstance(value, Iterable) and not isinstance(value, str | bytes | dict) else [value]
    if not values:
        raise RequestError(f"where: {column}: expected one value or several, found an empty list")
    return tuple(_as_text(column, one) for one in values)


def _as_text(column: str, value: Any) -> str:
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, date | time):  # a datetime is a date
        return value.isoformat()
    found = text(value) if isinstance(value, str | int | float) else None
    if found is None:
        raise RequestError(f"where: {column}: expected text, a number, a boolean or a date, found {value!r:.80}")
    return found


def matching(items: pl.DataFrame, column: str, texts: Iterable[str]) -> tuple[pl.Series, list[str]]:
    """Which items have one of the values, and a note about each value that no item has.

    Args:
        items: the run's, ids in the first column.
        column: of the `.item` file.
        texts: of the values; see as_texts.

    Returns:
        (V,) booleans, and the notes.

    Raises:
        RequestError: there is no such column, or a text is no value of the column's type.
    """
    columns = [name for name in items.columns[1:] if name != "training_count"]  # those of the .item file
    if column not in columns:
        if not columns:
            raise RequestError(f"where: {column}: the run has no columns of items, as it was trained without an .item file")
        near = nearest(column, columns)
        listed = f"; the columns are {', '.join(columns)}" if near.startswith("did") else ""
        raise RequestError(f"where: {column}: items have no such column; {near}{listed}")
    values, has, notes = items[column], pl.Series([False] * len(items)), []
    parts = values[1:].drop_nulls()
    parts = parts.list.explode() if isinstance(values.dtype, pl.List) else parts
    for one in texts:
        here = _has(values, one)
        has = has | here
        if not here[1:].any():
            notes.append(f"where: {column}: no item has {one!r:.80}{_near(parts.drop_nulls(), one)}")
    return has, notes


def _has(values: pl.Series, asked: str) -> pl.Series:
    """(V,) whether each item has the value."""
    listed = isinstance(values.dtype, pl.List)
    dtype = values.dtype.inner if isinstance(values.dtype, pl.List) else values.dtype
    value = _parsed(values.name, dtype, asked)
    if value is None:
        return pl.Series([False] * len(values))
    if not listed:
        if _parser(dtype):
            same: pl.Series = values == value
        elif value.lower() in ("true", "false"):  # pandas writes True, JSON true
            same = values.cast(pl.String).str.to_lowercase() == value.lower()
        else:
            same = values.cast(pl.String) == value
        return same.fill_null(False)
    found: pl.Series = values.list.contains(value)
    if dtype == pl.String:  # a title is a list of words, and printed as their text
        found = found | (values.list.join(" ") == value)
    return found.fill_null(False)


def _parsed(column: str, dtype: Any, asked: str) -> Any:
    """The text as a value of that type; None for a value that the type cannot hold, such as half a whole number.

    Raises:
        RequestError: it is no such value.
    """
    parser = _parser(dtype)
    if parser is None:
        return asked
    expected, parse = parser
    try:
        value = parse(asked.strip())
    except (ValueError, OverflowError):
        raise RequestError(f"where: {column}: expected {expected}, found {asked!r:.80}") from None
    try:
        return pl.Series([value], dtype=dtype, strict=True).item() if not dtype.is_float() or np.isfinite(value) else value
    except (TypeError, OverflowError, pl.exceptions.PolarsError):
        return None


def _parser(dtype: Any) -> tuple[str, Callable[[str], Any]] | None:
    """What a column's values are called, and how one is read from text; None for text."""
    if dtype.is_float():
        return "a number", lambda asked: float(_number(asked))
    if dtype.is_numeric():
        return "a number", _number
    if dtype == pl.Boolean:
        return "true or false", lambda asked: ["false", "true"].index(asked.lower()) == 1
    if dtype == pl.Datetime:
        zone = dtype.time_zone
        return "a time such as 2020-01-31T12:00:00", lambda asked: _moment(asked, zone)
    if dtype == pl.Date:
        return "a date such as 2020-01-31", lambda asked: _day(datetime.fromisoformat(asked))
    return ("a time of day such as 12:00:00", time.fromisoformat) if dtype == pl.Time else None


def _number(asked: str) -> int | float:
    """The number; a whole one exactly, also beyond 2^53.

    >>> _number("1995"), _number("1995.0"), _number("9007199254740993"), _number("0.5")
    (1995, 1995, 9007199254740993, 0.5)
    """
    if "_" in asked:
        raise ValueError
    try:
        return int(asked)
    except ValueError:
        value = float(asked)
    if np.isnan(value):
        raise ValueError
    return int(value) if value.is_integer() else value


def _moment(asked: str, zone: str | None) -> datetime:
    """The time; one without a zone is in UTC, as those of columns are."""
    from datetime import UTC

    value = datetime.fromisoformat(asked)
    value = value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)
    return value if zone is not None else value.replace(tzinfo=None)


def _day(moment: datetime) -> date:
    if moment.time() != time():
        raise ValueError
    return moment.date()


def _near(values: pl.Series, asked: str) -> str:
    """What there is in place of a value that no item has."""
    if values.is_empty():
        return "; the column is empty"
    parser = _parser(values.dtype)
    if parser is not None and values.dtype != pl.Boolean:
        value = parser[1](asked.strip())
        if values.dtype.is_numeric():
            value = float(max(min(value, 1e300), -1e300))  # of whole numbers that no column holds too
        near = [values.filter(values < value).max(), values.filter(values > value).min()]
        return f"; the nearest values are {' and '.join(_shown(one) for one in near if one is not None)}"
    known = [_shown(one) for one in values.cast(pl.String).unique(maintain_order=True).head(MANY + 1)]
    close = difflib.get_close_matches(asked, known, n=3, cutoff=0.5) if len(known) <= MANY else []
    if close:
        return f"; the nearest values are {', '.join(map(repr, close))}"
    return f"; its values are {', '.join(map(repr, known[:SHOWN]))}{' and others' if len(known) > SHOWN else ''}"


def _shown(value: Any) -> str:
    return str(text(value)) if isinstance(value, float) else str(value)
