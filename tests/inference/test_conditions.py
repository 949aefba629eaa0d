"""Conditions on the columns of items: values are compared as what the column holds."""

from datetime import UTC, date, datetime, time
from typing import Any

import numpy as np
import polars as pl
import pytest

from gaterec.errors import RequestError
from gaterec.inference.conditions import as_texts, matching

ITEMS = pl.DataFrame(
    {
        "id": ["[padding]", "a", "b", "c"],
        "year": [None, 1995.0, 1996.5, 2001.0],
        "pages": [None, 9007199254740993, 7, 0],
        "small": pl.Series([None, 1, 2, 3], dtype=pl.UInt8),
        "share": pl.Series([None, 0.1, 0.5, None], dtype=pl.Float32),
        "new": [None, True, False, None],
        "day": [None, date(2020, 1, 31), date(2020, 2, 1), None],
        "moment": [None, datetime(2020, 1, 31, 12), datetime(2020, 1, 31), None],
        "zoned": pl.Series([None, datetime(2020, 1, 31, 12, tzinfo=UTC), None, None], dtype=pl.Datetime("us", "UTC")),
        "clock": [None, time(12, 30), time(0), None],
        "kind": [None, "War", "1995", "War and peace"],
        "bought": [None, "True", "TRUE?", "False"],
        "sort": pl.Series([None, "x", "y", "x"], dtype=pl.Categorical),
        "words": [None, ["War", "story"], ["Comedy"], None],
        "sizes": [None, [1.0, 2.5], [3.0], None],
        "empty": pl.Series([None] * 4, dtype=pl.Float64),
        "training_count": [0, 1, 1, 1],
    }
)


def found(column: str, value: Any) -> str:
    """The ids of the items that have a value, in one text."""
    has, _ = matching(ITEMS, column, as_texts(column, value))
    assert not has.has_nulls()
    return "".join(ITEMS["id"].filter(has))


@pytest.mark.parametrize(
    ("column", "values", "items"),
    [
        ("year", [1995, 1995.0, "1995", "1995.0", " 1995 ", "1.995e3", np.int32(1995), np.float32(1995)], "a"),
        ("year", [1996.5, "1996.50"], "b"),
        ("year", [1996, "1e400", 10**30], ""),
        ("pages", [9007199254740993, "9007199254740993"], "a"),
        ("pages", [9007199254740992, "9007199254740992", 0.5, 10**30], ""),
        ("pages", [7, 7.0, "7.0"], "b"),
        ("pages", [0, "-0"], "c"),
        ("small", [2, "2.0"], "b"),
        ("small", [300, -1], ""),
        ("share", [0.1, "0.1", np.float32(0.1)], "a"),
        ("new", [True, "true", "True", np.bool_(True)], "a"),
        ("new", [False, "FALSE"], "b"),
        ("day", [date(2020, 1, 31), "2020-01-31", datetime(2020, 1, 31), "2020-01-31T00:00:00"], "a"),
        ("moment", [datetime(2020, 1, 31, 12), "2020-01-31T12:00:00", "2020-01-31 12:00", "2020-01-31T13:00:00+01:00"], "a"),
        ("moment", [date(2020, 1, 31), "2020-01-31"], "b"),
        ("zoned", [datetime(2020, 1, 31, 12, tzinfo=UTC), "2020-01-31T12:00:00", "2020-01-31T12:00:00Z"], "a"),
        ("clock", [time(12, 30), "12:30"], "a"),
        ("kind", ["War"], "a"),
        ("kind", [1995, 1995.0, "1995"], "b"),
        ("kind", ["war", "Wa", "1995.0", ""], ""),
        ("sort", ["x"], "ac"),
        ("bought", [True, "true", "True", np.bool_(True)], "a"),
        ("bought", [False], "c"),
        ("words", ["War", "War story"], "a"),
        ("words", ["war", "story War"], ""),
        ("sizes", [1, "1", 2.5, "2.50"], "a"),
        ("year", [[1995, "2001"], (2001, 1995.0), pl.Series([1995, 2001]), np.array([1995.0, 2001.0]), {1995, 2001}], "ac"),
        ("words", [["Comedy", "War", "nothing"]], "ab"),
        ("empty", [1], ""),
    ],
)
def test_values_are_compared_as_what_the_column_holds(column: str, values: list[Any], items: str) -> None:
    for value in values:
        assert found(column, value) == items, value


@pytest.mark.parametrize(
    ("column", "value", "note"),
    [
        ("year", 1996, "where: year: no item has '1996'; the nearest values are 1995 and 1996.5"),
        ("year", 1, "where: year: no item has '1'; the nearest values are 1995"),
        ("year", "1e400", "where: year: no item has '1e400'; the nearest values are 2001"),
        ("pages", 10**30, f"where: pages: no item has '{10**30}'; the nearest values are 9007199254740993"),
        ("day", "2020-03-01", "where: day: no item has '2020-03-01'; the nearest values are 2020-02-01"),
        ("kind", "Warr", "where: kind: no item has 'Warr'; the nearest values are 'War'"),
        ("kind", "?", "where: kind: no item has '?'; its values are 'War', '1995', 'War and peace'"),
        ("words", "Comedies", "where: words: no item has 'Comedies'; the nearest values are 'Comedy'"),
        ("sizes", 2, "where: sizes: no item has '2'; the nearest values are 1 and 2.5"),
        ("empty", 1, "where: empty: no item has '1'; the column is empty"),
    ],
)
def test_a_value_that_no_item_has_is_noted_with_the_nearest(column: str, value: Any, note: str) -> None:
    assert matching(ITEMS, column, as_texts(column, value))[1] == [note]


def test_of_several_values_each_that_no_item_has_is_noted() -> None:
    has, notes = matching(ITEMS, "kind", ["War", "Wars", "Peace"])
    assert has.to_list() == [False, True, False, False]
    assert [note.partition(";")[0] for note in notes] == ["where: kind: no item has 'Wars'", "where: kind: no item has 'Peace'"]


@pytest.mark.parametrize(
    ("column", "value", "told"),
    [
        ("year", "old", "where: year: expected a number, found 'old'"),
        ("year", "nan", "where: year: expected a number, found 'nan'"),
        ("year", True, "where: year: expected a number, found 'true'"),
        ("pages", "1_000", "where: pages: expected a number, found '1_000'"),
        ("sizes", "big", "where: sizes: expected a number, found 'big'"),
        ("new", 1, "where: new: expected true or false, found '1'"),
        ("day", "31.1.2020", "where: day: expected a date such as 2020-01-31, found '31.1.2020'"),
        ("day", "2020-01-31T12:00", "where: day: expected a date such as 2020-01-31, found '2020-01-31T12:00'"),
        ("moment", "noon", "where: moment: expected a time such as 2020-01-31T12:00:00, found 'noon'"),
        ("clock", "noon", "where: clock: expected a time of day such as 12:00:00, found 'noon'"),
        ("kind", None, "where: kind: expected text, a number, a boolean or a date, found None"),
        ("kind", {"War": 1}, "where: kind: expected text, a number, a boolean or a date, found {'War': 1}"),
        ("kind", [["War"]], "where: kind: expected text, a number, a boolean or a date, found ['War']"),
        ("year", float("nan"), "where: year: expected text, a number, a boolean or a date, found nan"),
        ("kind", [], "where: kind: expected one value or several, found an empty list"),
        ("yaer", 1995, "where: yaer: items have no such column; did you mean year?; the columns are year, pages, "),
        ("training_count", 1, "where: training_count: items have no such column; "),
        ("id", "a", "where: id: items have no such column; "),
    ],
)
def test_what_is_no_value_of_the_column_is_refused(column: str, value: Any, told: str) -> None:
    with pytest.raises(RequestError) as refused:
        found(column, value)
    assert str(refused.value).startswith(told)
    assert "\n" not in str(refused.value)


def test_a_run_without_columns_says_so() -> None:
    with pytest.raises(RequestError, match=r"where: year: the run has no columns of items, as it was trained without an \.item file"):
        matching(pl.DataFrame({"id": ["a"], "training_count": [1]}), "year", ["1995"])
