"""The passes do what their docstrings show, and in the order that they are listed."""

import doctest

import polars as pl
from hypothesis import given
from hypothesis import strategies as st

from gaterec.data.datasets import preprocessing as passes
from gaterec.data.datasets.preprocessing import KeepRatings, MinItemEvents, MinUserDistinctItems, MinUserEvents, OrderByTime, apply_steps

EVENTS = pl.DataFrame(
    {
        "user_id": ["ann", "ann", "ann", "bob", "bob"],
        "item_id": ["x", "y", "x", "x", "z"],
        "rating": [5.0, 4.0, 4.0, 3.0, 5.0],
        "timestamp": [30, 10, 20, 50, 40],
    }
)


def test_the_examples_in_the_docstrings() -> None:
    result = doctest.testmod(passes, extraglobs={"pl": pl, "events": EVENTS})
    assert (result.failed, result.attempted) == (0, 7)


def test_the_example_of_the_module_is_the_frame_used_here() -> None:
    scope = {"pl": pl}
    source = doctest.script_from_examples(passes.__doc__ or "")
    exec(source, scope)
    assert EVENTS.equals(scope["events"])  # type: ignore[arg-type]


def test_each_pass_is_made_once_and_in_its_place() -> None:
    users_first = apply_steps((MinUserEvents(2), MinItemEvents(2)), EVENTS)
    assert users_first["user_id"].to_list() == ["ann", "ann", "bob"], "bob now has one event, and stays"
    items_first = apply_steps((MinItemEvents(2), MinUserEvents(2)), EVENTS)
    assert items_first["user_id"].to_list() == ["ann", "ann"]


def test_every_pass_says_what_it_does() -> None:
    said = [str(one) for one in (KeepRatings(4), MinUserEvents(5), MinItemEvents(8), MinUserDistinctItems(10), OrderByTime())]
    assert said == [
        "keep ratings >= 4",
        "keep users with >= 5 events",
        "keep items with >= 8 events",
        "keep users with >= 10 different items",
        "order by time within each user",
    ]


def test_no_events_are_no_trouble() -> None:
    every = (KeepRatings(4), MinUserEvents(5), MinItemEvents(8), MinUserDistinctItems(10), OrderByTime())
    assert apply_steps(every, EVENTS.clear()).equals(EVENTS.clear())


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5), st.integers(1, 5), st.integers(0, 3)), max_size=60))
def test_against_plain_python(rows: list[tuple[int, int, int, int]]) -> None:
    """The authors' order for Amazon-CDs, with small thresholds, event by event."""
    events = pl.DataFrame(rows, schema=EVENTS.columns, orient="row").cast({"timestamp": pl.Int64})
    kept = [row for row in rows if row[2] >= 3]
    kept = [row for row in kept if sum(other[0] == row[0] for other in kept) >= 3]
    kept = [row for row in kept if sum(other[1] == row[1] for other in kept) >= 2]
    kept = [row for row in kept if len({other[1] for other in kept if other[0] == row[0]}) >= 2]
    kept.sort(key=lambda row: (row[0], row[3]))
    ours = apply_steps((KeepRatings(3), MinUserEvents(3), MinItemEvents(2), MinUserDistinctItems(2), OrderByTime()), events)
    assert ours.rows() == kept
