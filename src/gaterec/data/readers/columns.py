"""One column as it was found to one column of the log: ids, times, numbers, text, lists.

Each function takes a Polars column and `where`, which gives the place of a row, and raises DataError at the first wrong value:
`ratings.csv:17: timestamp: expected a number, found 'n/a'`.
"""

import re
from collections.abc import Collection
from typing import Any

import polars as pl

from gaterec.data.readers.delimited import Where, shortened
from gaterec.errors import DataError

MAX_ID_LENGTH = 1000
ROUNDED_ID = r"^[+-]?\d\.\d+[eE]\+?\d+$"
LIST_ID = r"""^(\[(.*[,'"].*|[\d\s]*)\]|\{.*['"].*\})$"""
"""A list, an array as NumPy prints it, a set or an object of JSON."""
YEAR_9999 = 253_402_300_799
"""The last second of the year 9999."""

_ISO_FORMATS = ("%Y-%m-%d %H:%M:%S%.f", "%Y-%m-%d", "%Y-%m-%d %H:%M", "%Y-%m-%d %H:%M:%S%.f%z", "%Y-%m-%d %H:%M%z")
_POSTED = "%a %b %d %H:%M:%S %z %Y"
"""Tue Apr 03 18:00:09 +0000 2012, as in the check-ins of Foursquare."""


def as_ids(column: pl.Series, where: Where, trim: bool = False, missing: Collection[str] = ()) -> pl.Series:
    """Ids as String, or as Int64 where they come as integers; empty and blank ones are null, and so are words for a missing value.

    Numbers must be whole: 196.0 becomes "196", which is what was meant before a missing value made the column one of floats.

    Args:
        trim: the same for text, where every id of the column has the form 196.0 (CSV).
        missing: words for a missing value, such as NA.
    """
    dtype = column.dtype
    if dtype.is_integer() and (numbers := column.cast(pl.Int64, strict=False)).null_count() == column.null_count():
        absent = [int(word) for word in missing if re.fullmatch(r"-?\d{1,18}", word, re.ASCII)]
        return numbers.set(numbers.is_in(absent), None) if absent else numbers
    if dtype.is_float() or dtype.is_decimal():
        texts = _whole(column, where).cast(pl.String)
    elif dtype.is_integer() or dtype in (pl.String, pl.Categorical, pl.Enum, pl.Boolean, pl.Null):
        texts = column.cast(pl.String)
    else:
        raise DataError(f"{where(0)}: {column.name}: expected ids (numbers or text), found {kind_of(dtype)}")
    texts = texts.set(is_missing(texts, missing), None)
    _check(texts.str.len_chars() <= MAX_ID_LENGTH, texts, where, f"an id of at most {MAX_ID_LENGTH} characters")
    _check(~texts.str.contains(r"[\r\n\x00]"), texts, where, "an id on one line; check the quotes from here on")
    _check(~texts.str.contains(ROUNDED_ID), texts, where, "an id with all its digits; save ids as integers or text")
    if texts.str.contains(r"[\]}]$").any():
        _check(~texts.str.contains(LIST_ID), texts, where, "one id, with one row for each")
    if trim and texts.str.contains(r"^-?\d+\.0$").all(ignore_nulls=True):
        texts = texts.str.strip_suffix(".0")
    return texts


def as_times(column: pl.Series, where: Where) -> tuple[pl.Series, list[str]]:
    """Times as Int64 when all are whole, exactly, else as Float64; dates as microseconds since 1970 (UTC). With notes on odd times.

    An infinite time is an error: it has no place in the order. The column has no missing times (is_missing).
    """
    name, dtype = column.name, column.dtype
    if dtype in (pl.Date, pl.Datetime):
        return _microseconds(column), []
    if dtype in (pl.Categorical, pl.Enum, pl.String):
        texts = column.cast(pl.String).str.strip_chars()
        if texts[0] is not None and _floats(texts[:1])[0] is None:
            return _microseconds(_dates(texts, where)), []
        times = _text_times(texts, where)
    elif dtype.is_integer() or dtype.is_float() or dtype.is_decimal():
        times = _number_times(column)
    else:
        raise DataError(f"{where(0)}: {name}: expected times (numbers, dates or text), found {kind_of(dtype)}")
    if times.dtype == pl.Float64:
        _check(times.is_finite(), times, where, "a finite time")
    return times, _odd_times(times)


def is_missing(column: pl.Series, words: Collection[str]) -> pl.Series:
    """Row by row, whether there is no value: null, not-a-number, blank text, or one of the words."""
    if column.dtype.is_float():
        return column.is_null() | column.is_nan().fill_null(False)
    if column.dtype not in (pl.String, pl.Categorical, pl.Enum):
        return column.is_null()
    texts = column.cast(pl.String)
    if texts.str.starts_with(" ").any() or texts.str.ends_with(" ").any():  # few columns are, and stripping takes ten times as long
        texts = texts.str.strip_chars()
    return texts.is_null() | texts.is_in(["", *words]).fill_null(False)


def as_numbers(column: pl.Series, where: Where) -> pl.Series:
    """Numbers as Float64; empty ones are null."""
    numbers = _floats(column)
    _check(numbers.is_not_null() | column.is_null(), column, where, "a number")
    return numbers


def as_text_list(column: pl.Series, separator: str) -> pl.Series:
    """A token_seq: text to List(String). Separators in a row count as one, as in RecBole."""
    return column.str.split(separator).list.eval(pl.element().filter(pl.element() != ""))


def as_number_list(column: pl.Series, where: Where, separator: str) -> pl.Series:
    """A float_seq: text to List(Float64)."""
    numbers = as_text_list(column, separator).cast(pl.List(pl.Float64), strict=False)
    failed = numbers.list.eval(pl.element().is_null()).list.any()
    _check(~failed, column, where, f"numbers separated by {separator!r}")
    return numbers


def as_found(column: pl.Series) -> pl.Series | None:
    """A further column of a format without declared types: Float64, String or a list of these; None when it is none of them."""
    dtype = column.dtype
    if dtype == pl.String:
        numbers = _floats(column)
        return numbers if numbers.null_count() == column.null_count() else column
    if dtype == pl.Boolean:
        return column.cast(pl.String)
    if dtype.is_numeric():
        return column.cast(pl.Float64, strict=False)
    if isinstance(dtype, pl.Datetime) and dtype.time_zone is not None:
        return column.dt.convert_time_zone("UTC").dt.replace_time_zone(None).cast(pl.String)
    if dtype in (pl.Categorical, pl.Enum, pl.Date, pl.Datetime, pl.Null):
        return column.cast(pl.String, strict=False)
    if isinstance(dtype, pl.List):
        inner = dtype.inner
        if inner == pl.String or inner in (pl.Categorical, pl.Enum):
            return column.cast(pl.List(pl.String))
        if isinstance(inner, pl.DataType) and inner.is_numeric():
            return column.cast(pl.List(pl.Float64), strict=False)
    return None


def _whole(column: pl.Series, where: Where) -> pl.Series:
    """Floats or decimals that are whole, as Int128."""
    if column.dtype.is_float():
        column = column.fill_nan(None)
    if column.dtype.is_float():
        limit = 2**24 if column.dtype == pl.Float32 else 2**53  # whole numbers below it are all different as floats
        expected = f"an id below {limit:,}, as floats beyond it are rounded; save ids as integers or text"
        _check(~column.is_finite() | (column.abs() < limit), column, where, expected)
    whole = column.cast(pl.Int128, strict=False)
    _check((whole.is_not_null() & (column == column.floor())) | column.is_null(), column, where, "an id: a whole number or text")
    return whole


def _floats(texts: pl.Series) -> pl.Series:
    """Text to Float64, null where it is no number. Blanks around numbers are allowed, and removed only if there are some."""
    numbers = texts.cast(pl.Float64, strict=False)
    if numbers.null_count() == texts.null_count():
        return numbers
    return texts.str.strip_chars().cast(pl.Float64, strict=False)


def _text_times(texts: pl.Series, where: Where) -> pl.Series:
    exact = texts.cast(pl.Int64, strict=False)
    if exact.null_count() == 0:
        return exact
    floats = _floats(texts)
    _check(floats.is_not_null(), texts, where, "a number")
    return _exact_if_whole(floats, exact)


def _number_times(column: pl.Series) -> pl.Series:
    exact = column.cast(pl.Int64, strict=False)
    if column.dtype.is_integer() and exact.null_count() == 0:
        return exact
    return _exact_if_whole(column.cast(pl.Float64), exact)


def _exact_if_whole(floats: pl.Series, exact: pl.Series) -> pl.Series:
    """Int64 when every time is whole and fits; `exact` holds those that were read as integers at once."""
    fits = (floats == floats.floor()) & (floats.abs() < 2.0**63)
    if not fits.all():
        return floats
    return exact.zip_with(exact.is_not_null(), floats.cast(pl.Int64, strict=False))


def _dates(texts: pl.Series, where: Where) -> pl.Series:
    """ISO dates and datetimes, and _POSTED, as text to Datetime in UTC; without an offset they are taken for UTC."""
    dates = parse_dates(texts)
    _check(dates.is_not_null(), texts, where, "a number, or a date such as 2024-05-31 or 2024-05-31T12:00:00Z")
    return dates


def parse_dates(texts: pl.Series) -> pl.Series:
    """Text to Datetime in UTC, null where it is no date."""
    plain = texts.str.replace(r"^(\d{4}-\d\d-\d\d)[Tt]", "$1 ").str.replace(r"[Zz]$", "+0000")
    dates: pl.Series = pl.Series(texts.name, [None] * len(texts), dtype=pl.Datetime("us"))
    for form in (*_ISO_FORMATS, _POSTED):
        parsed = plain.str.to_datetime(form, strict=False, time_unit="us")
        dates = dates.zip_with(dates.is_not_null(), parsed.dt.replace_time_zone(None))
        if dates.null_count() == texts.null_count():
            break
    return dates


def _microseconds(dates: pl.Series) -> pl.Series:
    if isinstance(dates.dtype, pl.Datetime) and dates.dtype.time_zone is not None:
        dates = dates.dt.convert_time_zone("UTC")
    return dates.cast(pl.Datetime("us")).cast(pl.Int64)


def _odd_times(times: pl.Series) -> list[str]:
    """Lines on times that can hardly be meant, but have a place in the order."""
    notes = []
    negative = int((times < 0).sum())
    if negative:
        notes.append(f"{times.name}: {negative:,} negative times; they are kept, as only their order matters")
    late = int((times > YEAR_9999).sum())
    if late:
        notes.append(
            f"{times.name}: {late:,} times lie beyond the year 9999 if they are seconds; they are kept, as only their order matters"
        )
    return notes


def kind_of(dtype: pl.DataType) -> str:
    """What a column of this type holds, in words."""
    if dtype in (pl.List, pl.Array):
        return "lists"
    names = {
        pl.Struct: "records",
        pl.Boolean: "true and false",
        pl.Date: "dates",
        pl.Datetime: "dates",
        pl.Binary: "bytes",
        pl.Null: "nothing",
    }
    return next((name for kind, name in names.items() if dtype == kind), "values of another kind")


def _check(good: pl.Series, column: pl.Series, where: Where, expected: str) -> None:
    """Raises DataError at the first row that is not good; null counts as good."""
    bad = ~good.fill_null(True)
    if bad.any():
        row = _first(bad)
        raise DataError(f"{where(row)}: {column.name}: expected {expected}, found {_shown(column[row])}")


def _first(mask: pl.Series) -> int:
    return int(mask.arg_true()[0])


def _shown(value: Any) -> str:
    if isinstance(value, str) and len(value) > 1000:
        return f"{shortened(value)!r} ({len(value):,} characters)"
    return shortened(repr(value))
