"""Ranges of numbers in RecBole's notation."""

import datetime
import math
import re
from typing import NamedTuple

from gaterec.errors import short

DATE = re.compile(r"\d{4}-\d\d-\d\d")


DAY = re.compile(r"\s*\d{4}-\d\d-\d\d\s*")


DAY_MICROSECONDS = 86_400_000_000


class Interval(NamedTuple):
    """A range of numbers or dates, from text like `[5,inf)`: square brackets include the end, round ones leave it out.

    The ends of a range of dates are microseconds since 1970 (UTC).
    """

    low: float
    high: float
    closed_low: bool
    closed_high: bool
    dates: bool = False

    def __contains__(self, value: object) -> bool:
        assert isinstance(value, int | float)
        above = value >= self.low if self.closed_low else value > self.low
        below = value <= self.high if self.closed_high else value < self.high
        return above and below


def parse_intervals(text: str) -> list[Interval]:
    """The intervals in RecBole's notation: `[3,inf)`, or several joined by semicolons, `[1,2];(4,5]`.

    An end may be an ISO date or time. A date means the whole day: `[2024-01-01,2024-01-31]` are all moments of January.

    >>> parse_intervals("[5,inf)")
    [Interval(low=5.0, high=inf, closed_low=True, closed_high=False, dates=False)]
    >>> parse_intervals("(-inf,1970-01-01]")
    [Interval(low=-inf, high=86400000000.0, closed_low=False, closed_high=False, dates=True)]

    Raises ValueError when the text is no interval or its ends are in the wrong order.
    """
    intervals = []
    for part in text.split(";"):
        found = re.fullmatch(r"\s*([\[(])\s*([^,]+?)\s*,\s*([^,]+?)\s*([\])])\s*", part)
        if not found:
            raise ValueError(f"expected an interval such as '[5,inf)', found {short(part)}")
        dates = bool(DATE.match(found[2]) or DATE.match(found[3]))
        try:
            low, high = _end(found[2], dates), _end(found[3], dates)
        except (ValueError, OverflowError):
            raise ValueError(f"expected {'dates such as 2024-05-31' if dates else 'numbers'} at both ends of {short(part)}") from None
        if math.isnan(low) or math.isnan(high) or low > high:
            raise ValueError(f"expected an interval from low to high, found {short(part)}")
        if low == high and found[1] + found[4] != "[]":
            raise ValueError(f"expected an interval that holds a number, found {short(part)}; '[{found[2]},{found[3]}]' holds its ends")
        closed_low, closed_high = found[1] == "[", found[4] == "]"
        if DAY.fullmatch(found[2]) and not closed_low:
            low, closed_low = low + DAY_MICROSECONDS, True
        if DAY.fullmatch(found[3]) and closed_high:
            high, closed_high = high + DAY_MICROSECONDS, False
        intervals.append(Interval(low, high, closed_low, closed_high, dates))
    return intervals


def _end(text: str, dates: bool) -> float:
    """One end of an interval; a date as microseconds since 1970."""
    if not dates or text.lstrip("+-").lower() in ("inf", "infinity"):
        return float(text)
    date = datetime.datetime.fromisoformat(text)
    date = date.replace(tzinfo=datetime.UTC) if date.tzinfo is None else date
    return float((date - datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)) // datetime.timedelta(microseconds=1))
