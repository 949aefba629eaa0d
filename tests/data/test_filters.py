"""RecBole's filters: the examples of the docstrings, and what the filters say when nothing remains."""

import ast
import re
from datetime import date, datetime
from pathlib import Path

import polars as pl
import pytest

from gaterec.config.intervals import parse_intervals
from gaterec.config.settings import Data
from gaterec.data.filters import FilterStep, apply_filters, drop_repeats, keep_active, keep_known, keep_values
from gaterec.data.log import Log
from gaterec.data.readers.read import read_log
from gaterec.errors import DataError

SETTINGS = Data(USER_ID_FIELD="user", ITEM_ID_FIELD="item", TIME_FIELD="time")


def log(users: str, items: str, **columns: object) -> Log:
    """A log from ids separated by blanks."""
    return Log("test", "test.inter", pl.DataFrame({"user": users.split(), "item": items.split(), **columns}))


def rows(found: Log) -> list[tuple[object, ...]]:
    return found.events.rows()


def settings(**changes: object) -> Data:
    return Data.model_validate(SETTINGS.model_dump() | changes)


def test_drop_repeats_shows_its_example() -> None:
    before = log("u1 u1 u1 u2 u2", "a b a a a", time=[30, 20, 10, 40, 50])
    assert rows(drop_repeats(before, "user", "item", "time", "first")) == [("u1", "b", 20), ("u1", "a", 10), ("u2", "a", 40)]


def test_drop_repeats_keeps_the_last() -> None:
    before = log("u1 u1 u1 u2 u2", "a b a a a", time=[30, 20, 10, 40, 50])
    assert rows(drop_repeats(before, "user", "item", "time", "last")) == [("u1", "a", 30), ("u1", "b", 20), ("u2", "a", 50)]


@pytest.mark.parametrize(("keep", "kept"), [("first", 1.0), ("last", 3.0)])
def test_drop_repeats_takes_the_order_of_the_file_for_equal_times(keep: str, kept: float) -> None:
    before = log("u u u", "a a a", time=[7, 7, 7], rating=[1.0, 2.0, 3.0])
    after, _ = apply_filters(before, settings(rm_dup_inter=keep))
    assert after.events["rating"].to_list() == [kept]


def test_drop_repeats_takes_the_order_of_the_file_without_times() -> None:
    before = log("u u", "a a", rating=[1.0, 2.0])
    assert rows(drop_repeats(before, "user", "item", "time", "last")) == [("u", "a", 2.0)]


def test_drop_repeats_allows_columns_of_any_name() -> None:
    before = Log("x", "x", pl.DataFrame({"row": ["u", "u"], "user": ["a", "a"], "item": [2, 1]}))
    assert rows(drop_repeats(before, "row", "user", "item", "first")) == [("u", "a", 1)]


def test_keep_values_shows_its_example() -> None:
    before = log("u1 u1 u2 u2 u3", "a b a c b", rating=[5.0, 3.0, 4.0, None, 1.0])
    assert rows(keep_values(before, "rating", "[4,inf)")) == [("u1", "a", 5.0), ("u2", "a", 4.0)]


def test_several_intervals_mean_any_of_them() -> None:
    before = log("u u u u", "a b c d", rating=[1.0, 2.0, 3.0, float("nan")])
    assert keep_values(before, "rating", "[1,1];(2,inf)").events["item"].to_list() == ["a", "c"]


def test_text_is_kept_by_value() -> None:
    before = log("u u u", "a b c", kind=["buy", "view", None])
    assert keep_values(before, "kind", ["buy"]).events["item"].to_list() == ["a"]


@pytest.mark.parametrize("source", ["frame", "csv"])
def test_true_and_false_are_kept_by_value(tmp_path: Path, source: str) -> None:
    frame = pl.DataFrame({"user_id": ["u"] * 3, "item_id": list("abc"), "timestamp": [1, 2, 3], "bought": [True, False, None]})
    frame.write_csv(tmp_path / "log.csv")
    for wanted in ([True], ["true"]):
        chosen = Data.model_validate({"val_interval": {"bought": wanted}})
        after, _ = apply_filters(read_log(frame if source == "frame" else tmp_path / "log.csv", chosen), chosen)
        assert after.events["item_id"].to_list() == ["a"]


@pytest.mark.parametrize("wanted", [[2, 4], [2.0, 4.0], "[2,4]"])
def test_a_list_of_two_numbers_is_their_closed_interval_on_a_column_of_numbers(wanted: object) -> None:
    before = log("u u u u u", "a b c d e", rating=[1.0, 2.0, 3.0, 4.0, 5.0])
    after, _ = apply_filters(before, settings(val_interval={"rating": wanted}))
    assert after.events["item"].to_list() == ["b", "c", "d"]


def test_a_list_of_numbers_means_values_on_a_column_of_text_and_of_ids() -> None:
    before = log("u u u", "2 3 4", grade=["2", "3", "4"])
    after, _ = apply_filters(before, settings(val_interval={"grade": [2, 4]}))
    assert after.events["item"].to_list() == ["2", "4"]
    after, _ = apply_filters(before, settings(val_interval={"item": [2, 4]}))
    assert after.events["item"].to_list() == ["2", "4"]


@pytest.mark.parametrize("wanted", [[1, 2, 4], [4, 1], [3]])
def test_a_list_of_numbers_that_is_no_interval_is_refused_with_both_spellings_which_work(wanted: list[int]) -> None:
    before = log("u u u u u", "a b c d e", rating=[1.0, 2.0, 3.0, 4.0, 5.0])
    with pytest.raises(DataError) as caught:
        apply_filters(before, settings(val_interval={"rating": wanted}))
    found = re.fullmatch(
        r"val_interval: rating: expected an interval, .* write '(.*)' for all from .*, or (\[.*\]) for these .*", str(caught.value)
    )
    assert found is not None
    interval, _ = apply_filters(before, settings(val_interval={"rating": found[1]}))
    assert interval.events["rating"].to_list() == [rating for rating in range(1, 6) if min(wanted) <= rating <= max(wanted)]
    values, _ = apply_filters(before, settings(val_interval={"rating": ast.literal_eval(found[2])}))
    assert values.events["rating"].to_list() == sorted(wanted)


def test_a_column_of_lists_of_numbers_is_refused() -> None:
    before = log("u u", "a b", sizes=[[1.0], [2.0]])
    with pytest.raises(DataError, match="sizes: is a column of lists of numbers"):
        apply_filters(before, settings(val_interval={"sizes": [1, 2]}))


def test_numbers_are_kept_by_value_where_the_list_holds_text() -> None:
    before = log("u u u", "a b c", rating=[1.0, 2.0, 3.0])
    assert keep_values(before, "rating", ["1", "3"]).events["item"].to_list() == ["a", "c"]


def test_text_that_holds_numbers_takes_an_interval() -> None:
    before = log("u u", "a b", age=["17", "18"])
    assert keep_values(before, "age", "[18,inf)").events["item"].to_list() == ["b"]


def test_of_a_list_column_one_value_is_enough() -> None:
    items = pl.DataFrame({"item": ["a", "b", "c"], "genre": [["Comedy", "Drama"], ["Drama"], None]})
    before = Log("x", "x", log("u u u", "a b c").events, items=items)
    after, _ = apply_filters(before, settings(val_interval={"genre": ["Comedy"]}))
    assert after.items is not None
    assert after.items["item"].to_list() == ["a"]
    assert after.events["item"].to_list() == ["a"]


def test_values_of_people_drop_their_events() -> None:
    users = pl.DataFrame({"user": ["u1", "u2"], "age": [20.0, 40.0]})
    before = Log("x", "x", log("u1 u2 u1", "a b c").events, users=users)
    after, steps = apply_filters(before, settings(val_interval={"age": "[30,inf)"}))
    assert rows(after) == [("u2", "b")]
    assert [step.name for step in steps] == ["as read", "val_interval age", "filter_inter_by_user_or_item"]


def test_features_don_t_drop_events_when_that_is_switched_off() -> None:
    users = pl.DataFrame({"user": ["u1"]})
    before = Log("x", "x", log("u1 u2", "a b").events, users=users)
    after, _ = apply_filters(before, settings(filter_inter_by_user_or_item=False))
    assert after.events.height == 2


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        ({"ratng": "[1,2]"}, "'ratng': expected a column of test.inter, found item, kind, rating, user; did you mean rating"),
        ({"kind": "[1,2]"}, "kind: expected a list of values"),
        ({"rating": ["much"]}, r"rating: expected an interval such as '\[4,inf\)' .* found \['much'\]"),
    ],
)
def test_values_that_don_t_fit_the_column(wanted: dict[str, object], message: str) -> None:
    before = log("u u", "a b", rating=[1.0, 2.0], kind=["buy", "view"])
    with pytest.raises(DataError, match=message):
        apply_filters(before, settings(val_interval=wanted))


def test_keep_known_shows_its_example() -> None:
    before = Log("x", "x", log("u1 u3 u2 u1 u4", "a a b b c").events, users=pl.DataFrame({"user": ["u1", "u2"]}))
    assert rows(keep_known(before, "user", "item")) == [("u1", "a"), ("u2", "b"), ("u1", "b")]


def test_keep_known_looks_at_items_too() -> None:
    before = Log("x", "x", log("u1 u2", "a b").events, items=pl.DataFrame({"item": ["b"]}))
    assert rows(keep_known(before, "user", "item")) == [("u2", "b")]


def test_keep_active_shows_its_example() -> None:
    two = parse_intervals("[2,inf)")
    before = log("u1 u1 u2 u2 u3", "a b a b c")
    assert rows(keep_active(before, "user", "item", two, two)) == [("u1", "a"), ("u1", "b"), ("u2", "a"), ("u2", "b")]


def test_keep_active_repeats_until_both_hold() -> None:
    before = log("u1 u1 u2 u2 u3 u3", "a b a b b c")  # c goes, then u3 has one event left and goes too
    after, _ = apply_filters(before, settings(user_inter_num_interval="[2,inf)", item_inter_num_interval="[2,inf)"))
    assert set(after.events["user"]) == {"u1", "u2"}


def test_keep_active_judges_both_on_the_same_counts() -> None:
    """u1 has too many events and a has too many people: judged one after the other, one of them would stay."""
    before = log("u1 u1 u1 u2 u3 u4", "a b c a a d")
    at_most_two = parse_intervals("[1,2]")
    assert rows(keep_active(before, "user", "item", at_most_two, at_most_two)) == [("u4", "d")]


def test_keep_active_drops_the_features_of_those_who_go() -> None:
    users = pl.DataFrame({"user": ["u1", "u2", "never"]})
    before = Log("x", "x", log("u1 u1 u2", "a b a").events, users=users)
    after, _ = apply_filters(before, settings(user_inter_num_interval="[2,inf)"))
    assert after.users is not None
    assert after.users["user"].to_list() == ["u1"]


def test_intervals_that_allow_every_count_are_no_filter() -> None:
    before = log("u1 u2", "a b")
    after, steps = apply_filters(before, SETTINGS)
    assert after is before
    assert steps == [FilterStep("as read", 2, 2, 2)]


def test_nothing_left_says_what_each_filter_took() -> None:
    before = log("u1 u1 u2", "a b a", rating=[5.0, 1.0, 4.0])
    with pytest.raises(DataError) as error:
        apply_filters(before, settings(val_interval={"rating": "[4,inf)"}, user_inter_num_interval="[2,inf)"))
    assert str(error.value) == (
        "test.inter: no event is left after the filters: 3 events as read; val_interval rating took 1; "
        "user_inter_num_interval and item_inter_num_interval took 2; loosen user_inter_num_interval and item_inter_num_interval"
    )


@pytest.mark.parametrize(
    ("wanted", "kept"), [("[1,2]", "a b c"), ("(1,2]", "b c"), ("[1,2)", "a b"), ("(1,2)", "b"), ("(-inf,1];[2,2]", "a c"), ("(2,3)", "")]
)
def test_the_ends_of_an_interval_are_kept_where_they_are_closed(wanted: str, kept: str) -> None:
    before = log("u u u u u", "a b c d e", rating=[1.0, 1.5, 2.0, float("nan"), None])
    assert keep_values(before, "rating", wanted).events["item"].to_list() == kept.split()


def test_the_ends_of_an_interval_of_counts_too() -> None:
    before = log("u1 u2 u2 u3 u3 u3", "a a a a a a")
    for wanted, kept in (("[1,3)", {"u1", "u2"}), ("(1,3]", {"u2", "u3"}), ("(1,3)", {"u2"}), ("[3,inf)", {"u3"})):
        after, _ = apply_filters(before, settings(user_inter_num_interval=wanted))
        assert set(after.events["user"]) == kept


@pytest.mark.parametrize("value", [float("nan"), None])
@pytest.mark.parametrize("wanted", ["[0,inf)", "(-inf,inf)", "(-inf,5]"])
def test_not_a_number_lies_in_no_interval(value: float | None, wanted: str) -> None:
    before = log("u u", "a b", rating=[1.0, value])
    assert keep_values(before, "rating", wanted).events["item"].to_list() == ["a"]


def test_features_of_ids_without_events_count_as_0() -> None:
    users, items = pl.DataFrame({"user": ["u1", "never"]}), pl.DataFrame({"item": ["a", "never"]})
    before = Log("x", "x", log("u1", "a").events, users=users, items=items)
    for wanted, kept in (("[1,inf)", 1), ("[0,1]", 2)):
        after, _ = apply_filters(before, settings(user_inter_num_interval=wanted, item_inter_num_interval=wanted))
        assert after.users is not None
        assert after.items is not None
        assert (after.users.height, after.items.height) == (kept, kept)


DAYS = pl.DataFrame(
    {
        "user_id": ["u"] * 5,
        "item_id": list("abcde"),
        "timestamp": ["2024-01-01", "2024-01-31T23:59:59.5Z", "2024-02-01T00:00:00Z", "2024-02-29 12:00+00:00", "2024-03-01"],
        "day": ["2024-01-01", "2024-01-31", "2024-02-01", None, "2024-03-01"],
    }
)


TYPED = DAYS.with_columns(
    timestamp=pl.Series(
        [datetime(2024, 1, 1), datetime(2024, 1, 31, 23, 59, 59), datetime(2024, 2, 1), datetime(2024, 2, 29, 12), datetime(2024, 3, 1)]
    ),
    day=pl.Series([date(2024, 1, 1), date(2024, 1, 31), date(2024, 2, 1), None, date(2024, 3, 1)]),
)


@pytest.mark.parametrize("form", ["text", "typed", "csv", "parquet"])
@pytest.mark.parametrize(
    ("column", "wanted", "kept"),
    [
        ("timestamp", "[2024-01-31,2024-02-01]", "bc"),
        ("timestamp", "(2024-01-31,2024-02-29]", "cd"),
        ("timestamp", "[2024-01-31,2024-02-01)", "b"),
        ("timestamp", "[2024-01-31,2024-01-31]", "b"),
        ("timestamp", "[2024-02-01T00:00:00,2024-02-29T12:00:00+00:00]", "cd"),
        ("timestamp", "(-inf,2024-01-01];[2024-02-29,inf)", "ade"),
        ("timestamp", ["2024-01-31", "2024-03-01"], "be"),
        ("timestamp", [date(2024, 1, 31), date(2024, 2, 29)], "bcd"),  # as YAML reads dates without quotes
        ("day", (date(2024, 1, 31), date(2024, 3, 1)), "c"),
        ("day", "[2024-01-31,2024-02-29]", "bc"),
        ("day", "(2024-01-31,inf)", "ce"),
    ],
)
def test_dates_are_kept_by_intervals_of_dates(tmp_path: Path, form: str, column: str, wanted: object, kept: str) -> None:
    frame = TYPED if form in ("typed", "parquet") else DAYS
    source: object = frame
    if form == "csv":
        frame.write_csv(tmp_path / "x.csv")
        source = tmp_path / "x.csv"
    elif form == "parquet":
        frame.write_parquet(tmp_path / "x.parquet")
        source = tmp_path / "x.parquet"
    chosen = Data.model_validate({"val_interval": {column: wanted}})
    after, _ = apply_filters(read_log(source, chosen), chosen)  # type: ignore[arg-type]
    assert "".join(after.events["item_id"]) == kept


@pytest.mark.parametrize(
    ("column", "wanted", "message"),
    [
        ("timestamp", "[1704067200,inf)", r"timestamp: expected dates, as in '\[2024-01-01,2024-12-31\]', as the column holds dates, found numbers"),
        ("day", "[1704067200,inf)", "day: expected dates, as in"),
        ("day", "[2024-01-01,inf);[5,6]", "day: expected intervals of dates or of numbers, found both"),
        ("item_id", "[2024-01-01,inf)", "item_id: expected a column of dates, as the interval has dates, found 'a'"),
        ("rating", "[2024-01-01,inf)", "rating: expected numbers, as the column holds numbers, found dates: .* an end is 1704067200 in seconds, 1704067200000 in milliseconds"),
        ("timestamp", ["soon"], "val_interval: timestamp: expected numbers at both ends"),
        ("timestamp", [1704067200, 1704067300], "val_interval: timestamp: expected dates"),
    ],
)  # fmt: skip
def test_numbers_and_dates_are_not_taken_for_each_other(column: str, wanted: object, message: str) -> None:
    chosen = Data.model_validate({"val_interval": {column: wanted}})
    before = read_log(DAYS.with_columns(rating=pl.lit(5)), chosen)
    with pytest.raises(DataError, match=message):
        apply_filters(before, chosen)


@pytest.mark.parametrize("unit", [1, 1000, 1_000_000])
def test_times_that_are_numbers_are_kept_in_the_unit_of_the_file(unit: int) -> None:
    frame = pl.DataFrame(
        {
            "user_id": ["u"] * 3,
            "item_id": list("abc"),
            "timestamp": [second * unit for second in (1_600_000_000, 1_600_000_001, 1_600_000_002)],
        }
    )
    chosen = Data.model_validate({"val_interval": {"timestamp": f"[{1_600_000_001 * unit},inf)"}})
    after, _ = apply_filters(read_log(frame, chosen), chosen)
    assert "".join(after.events["item_id"]) == "bc"
