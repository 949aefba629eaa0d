"""Where histories are cut, and what is asked of the held-out parts."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction
from itertools import pairwise
from typing import Any

import numpy as np
import polars as pl
import pytest

from gaterec.config.settings import EvalArgs
from gaterec.data.interactions import Interactions
from gaterec.data.prepared import prepare_log
from gaterec.data.split import (
    EvalQueries,
    Split,
    _by_share,
    _leave_out,
    chosen_before,
    make_eval_queries,
    ranges,
    split_interactions,
    training_events,
)
from gaterec.errors import DataError
from tests.support.histories import histories, random_histories, settings


def protocol(**values: object) -> EvalArgs:
    return EvalArgs.model_validate(values)


def parts(interactions: Interactions, split: Split) -> list[tuple[list[int], list[int], list[int]]]:
    """The training, validation and test items of each person, from person 1."""
    cut = zip(interactions.offsets[1:], split.train_end[1:], split.valid_end[1:], interactions.offsets[2:], strict=False)
    return [(interactions.item[a:b].tolist(), interactions.item[b:c].tolist(), interactions.item[c:d].tolist()) for a, b, c, d in cut]


def sizes(interactions: Interactions, split: Split) -> list[tuple[int, ...]]:
    return [tuple(len(part) for part in person) for person in parts(interactions, split)]


def by_length(longest: int) -> Interactions:
    """One person for each length from 1."""
    return histories(*(range(1, length + 1) for length in range(1, longest + 1)))


def asked(cases: EvalQueries) -> list[tuple[int, int, list[int]]]:
    """(user, position, right items) of each query."""
    return [(int(cases.user[c]), int(cases.position[c]), cases.relevant[cases.case == c].tolist()) for c in range(len(cases))]


def test_the_example_of_the_docstring() -> None:
    interactions = histories([1, 2, 3, 4])
    assert parts(interactions, split_interactions(interactions, protocol())) == [([1, 2], [3], [4])]


@pytest.mark.parametrize(
    ("which", "expected"),
    [
        ("valid_and_test", [(1, 0, 0), (2, 0, 0), (2, 0, 1), (2, 1, 1), (3, 1, 1), (4, 1, 1)]),
        ("valid_only", [(1, 0, 0), (2, 0, 0), (2, 1, 0), (3, 1, 0), (4, 1, 0), (5, 1, 0)]),
        ("test_only", [(1, 0, 0), (2, 0, 0), (2, 0, 1), (3, 0, 1), (4, 0, 1), (5, 0, 1)]),
    ],
)
def test_leave_one_out_of_histories_of_1_to_6(which: str, expected: list[tuple[int, ...]]) -> None:
    interactions = by_length(6)
    split = split_interactions(interactions, protocol(split={"LS": which}))
    assert sizes(interactions, split) == expected


def test_leave_out_shows_its_example() -> None:
    train, valid = _leave_out(np.array([1, 2, 3, 4]), "valid_and_test")
    assert (train.tolist(), valid.tolist()) == ([1, 2, 2, 2], [0, 0, 0, 1])


def test_by_share_shows_its_example() -> None:
    train, valid = _by_share(np.array([1, 2, 3, 10]), [0.8, 0.1, 0.1])
    assert (train.tolist(), valid.tolist()) == ([1, 1, 1, 8], [0, 0, 1, 1])


def recbole_shares(length: int, shares: list[str]) -> tuple[int, ...]:
    """Dataset._calcu_split_ids of RecBole 1.2.1, in exact fractions."""
    exact = [Fraction(share) for share in shares]
    ratios = [share / sum(exact) for share in exact]
    counts = [int(ratio * length) for ratio in ratios]
    counts[0] = length - sum(counts[1:])
    for i in range(1, len(ratios)):
        if counts[0] <= 1:
            break
        if 0 < ratios[-i] * length < 1:
            counts[-i] += 1
            counts[0] -= 1
    return tuple(counts)


@pytest.mark.parametrize(
    "shares",
    [
        ["0.8", "0.1", "0.1"],
        ["8", "1", "1"],
        ["0.7", "0.1", "0.2"],
        ["7", "0", "3"],
        ["6", "4", "0"],
        ["1", "1", "1"],
        ["0.1", "0.2", "0.7"],
        ["45", "2", "2"],
    ],
)
def test_shares_of_each_history_are_recboles(shares: list[str]) -> None:
    """In binary, 0.7 of 90 is a little less than 63, and 2/49 of 49 a little less than 2."""
    interactions = by_length(120)
    split = split_interactions(interactions, protocol(split={"RS": [float(share) for share in shares]}))
    assert sizes(interactions, split) == [recbole_shares(length, shares) for length in range(1, 121)]


def log_with_equal_times(seed: int = 0) -> pl.DataFrame:
    """400 events of 40 users at 60 moments, in no order of user or time."""
    random = np.random.default_rng(seed)
    columns = {"user_id": random.integers(1, 41, 400), "item_id": random.integers(1, 9, 400), "timestamp": random.integers(0, 60, 400)}
    return pl.DataFrame({name: values.astype(str) if name != "timestamp" else values for name, values in columns.items()})


def together(shares: Sequence[float]) -> dict[str, Any]:
    return {"eval_args": {"split": {"RS": list(shares)}, "group_by": "none"}}


def events_of(part: int, interactions: Interactions, split: Split) -> Counter[tuple[str, str, int]]:
    """(user, item, time) of the events of training (0), validation (1) or test (2), and how often each is there."""
    position = np.arange(len(interactions.item))
    parts = sum((position >= np.repeat(ends, interactions.lengths)).astype(int) for ends in (split.train_end, split.valid_end))
    chosen = np.flatnonzero(parts == part)
    users, items = interactions.users.gather(interactions.user[chosen]), interactions.items.gather(interactions.item[chosen])
    return Counter(zip(users, items, interactions.time[chosen].tolist(), strict=True))


@pytest.mark.parametrize("shares", [[8, 1, 1], [5, 2, 3], [1, 0, 1], [3, 2, 0]])
@pytest.mark.parametrize("seed", range(5))
def test_shares_of_all_events_cut_the_log_sorted_by_time_and_at_equal_times_by_row(shares: list[float], seed: int) -> None:
    frame, chosen = log_with_equal_times(seed), settings(**together(shares))
    interactions = prepare_log(frame, chosen).interactions
    split = split_interactions(interactions, chosen.eval_args)
    rows = frame.sort("timestamp", maintain_order=True).rows()
    ends = np.cumsum([0, *recbole_shares(len(rows), [str(share) for share in shares])])
    for part in range(3):
        assert events_of(part, interactions, split) == Counter(rows[ends[part] : ends[part + 1]])
    alone = split_interactions(interactions, protocol(split={"RS": shares}))
    assert not np.array_equal(alone.train_end, split.train_end)


def test_shares_of_all_events_of_a_log_without_times_are_its_first_and_last_rows() -> None:
    frame, chosen = log_with_equal_times().drop("timestamp"), settings(**together([6, 2, 2]))
    interactions = prepare_log(frame, chosen).interactions
    split = split_interactions(interactions, chosen.eval_args)
    for part, (begin, end) in enumerate(pairwise([0, 240, 320, 400])):
        assert events_of(part, interactions, split) == Counter((*frame.row(row), row) for row in range(begin, end))


def test_equal_times_of_several_users_at_a_cut_need_the_order_of_the_log() -> None:
    interactions = histories([1, 2], [3, 4, 5], [6], times=[[0, 5], [1, 5, 5], [9]])
    halves = EvalArgs(split={"RS": [1, 0, 1]}, group_by=None)
    assert sizes(interactions, split_interactions(interactions, halves)) == [(2, 0, 0), (1, 0, 2), (0, 0, 1)]
    later = replace(interactions, row=np.array([0, 5, 1, 2, 3, 4]))  # user 1's second event is the last row of the log
    assert sizes(later, split_interactions(later, halves)) == [(1, 0, 1), (2, 0, 1), (0, 0, 1)]
    with pytest.raises(DataError, match=r"test: 3 events of several users happen at the time 5 of a cut.*again with `gaterec prepare`"):
        split_interactions(replace(interactions, row=None), halves)


def test_equal_times_that_a_cut_does_not_part_or_of_one_user_need_no_order_of_the_log() -> None:
    interactions = replace(histories([1, 2], [3, 4], [5, 6], times=[[0, 5], [1, 5], [9, 9]]), row=None)
    split = split_interactions(interactions, EvalArgs(split={"RS": [4, 1, 1]}, group_by=None))
    assert sizes(interactions, split) == [(2, 0, 0), (2, 0, 0), (0, 1, 1)]


def test_one_moment_for_all_ends_training_and_validation() -> None:
    """Twenty events at times 0..19; a test share of a fifth leaves 0..15 before the moment, of which 6/8 of each history trains."""
    early, late, late_only = [0, 1, 2, 3, 4, 5, 6, 7], [8, 9, 10, 11, 12, 13, 14, 15, 16, 17], [18, 19]
    interactions = histories(*([1] * len(times) for times in (early, late, late_only)), times=[early, late, late_only])
    split = split_interactions(interactions, protocol(split={"TS": [6, 2, 2]}))
    assert sizes(interactions, split) == [(6, 2, 0), (6, 2, 2), (0, 0, 2)]
    moment = np.percentile(interactions.time, 80)
    position = np.arange(len(interactions.item))
    test = position >= np.repeat(split.valid_end, interactions.lengths)
    assert (interactions.time[test] > moment).all()
    assert (interactions.time[~test] <= moment).all()


def test_equal_times_fall_on_one_side_of_the_moment() -> None:
    interactions = histories([1, 1, 1, 1], [1, 1, 1, 1], times=[[0, 5, 5, 5], [0, 5, 5, 9]])
    split = split_interactions(interactions, protocol(split={"TS": [1, 0, 1]}))
    assert sizes(interactions, split) == [(4, 0, 0), (3, 0, 1)]


@pytest.mark.parametrize(
    ("items", "split", "remain"),
    [
        ([[1], [2]], {"LS": "test_only"}, "of 2 people, 2 would have training events, 0 validation events, 0 test events"),
        ([[1, 2], [2, 1], []], {"RS": [1, 1, 1]}, "of 2 people, 2 would have training events, 0 validation events, 2 test events"),
        ([[1, 2], [2, 1, 3], [4]], {"RS": [1, 1, 1]}, "of 3 people, 3 would have training events, 1 validation events, 2 test events"),
    ],
)
def test_nobody_with_two_training_events_is_an_error(items: list[list[int]], split: dict[str, object], remain: str) -> None:
    with pytest.raises(DataError, match="nobody has two training events") as found:
        split_interactions(histories(*items), protocol(split=split))
    assert f": {remain}; it takes longer histories" in str(found.value)


@pytest.mark.parametrize("split", [{"LS": "valid_and_test"}, {"LS": "valid_only"}, {"LS": "test_only"}])
def test_nothing_held_out_although_asked_for_is_an_error(split: dict[str, object]) -> None:
    with pytest.raises(DataError, match="too short to hold anything out") as found:
        split_interactions(histories([1, 2], [2, 1]), protocol(split=split))
    remain = "of 2 people, 2 would have training events, 0 validation events, 0 test events"
    assert f": {remain}; it takes three events of one person" in str(found.value)


def test_no_share_for_validation_and_test_trains_on_everything() -> None:
    interactions = by_length(4)
    split = split_interactions(interactions, protocol(split={"RS": [1, 0, 0]}))
    assert sizes(interactions, split) == [(length, 0, 0) for length in (1, 2, 3, 4)]
    for part in ("valid", "test"):
        cases = make_eval_queries(interactions, split, part, "next")
        assert (len(cases), len(cases.relevant), cases.skipped) == (0, 0, 0)


def two_people() -> tuple[Interactions, Split]:
    """Person 1: train 1 2, valid 3 4 3, test 5 5; person 2: all held out, valid 6, test 7 6; person 3: train alone."""
    interactions = histories([1, 2, 3, 4, 3, 5, 5], [6, 7, 6], [8, 1])
    return interactions, Split(np.array([0, 2, 7, 12]), np.array([0, 5, 8, 12]))


def test_next_asks_before_each_held_out_event() -> None:
    interactions, split = two_people()
    valid = make_eval_queries(interactions, split, "valid", "next")
    assert asked(valid) == [(1, 2, [3]), (1, 3, [4]), (1, 4, [3])]
    assert valid.skipped == 1  # nothing stands before person 2's first event
    test = make_eval_queries(interactions, split, "test", "next")
    assert asked(test) == [(1, 5, [5]), (1, 6, [5]), (2, 8, [7]), (2, 9, [6])]
    assert test.skipped == 0


def test_all_asks_once_at_the_end_and_counts_each_right_item_once() -> None:
    interactions, split = two_people()
    valid = make_eval_queries(interactions, split, "valid", "all")
    assert asked(valid) == [(1, 2, [3, 4])]
    assert valid.skipped == 1
    test = make_eval_queries(interactions, split, "test", "all")
    assert asked(test) == [(1, 5, [5]), (2, 8, [6, 7])]
    assert test.skipped == 0


def test_all_skips_events_and_not_items() -> None:
    interactions = histories([1, 1, 1, 2], [1, 2, 3])
    split = Split(np.array([0, 0, 6]), np.array([0, 0, 6]))  # person 1 has nothing but test events
    cases = make_eval_queries(interactions, split, "test", "all")
    assert asked(cases) == [(2, 6, [3])]
    assert cases.skipped == 4


@pytest.mark.parametrize("target", ["next", "all"])
@pytest.mark.parametrize("part", ["valid", "test"])
def test_cases_equal_plain_lists(target: str, part: str) -> None:
    interactions = random_histories(30, 6, 15, shortest=0)
    random = np.random.default_rng(1)
    train = random.integers(0, interactions.lengths + 1)
    split = Split(interactions.offsets[:-1] + train, interactions.offsets[:-1] + random.integers(train, interactions.lengths + 1))
    expected, skipped = [], 0
    for person in range(1, 31):
        first, last = interactions.offsets[person], interactions.offsets[person + 1]
        begin, end = (split.train_end[person], split.valid_end[person]) if part == "valid" else (split.valid_end[person], last)
        for position in range(begin, end):
            query = position if target == "next" else begin
            if query == first:
                skipped += 1
            elif target == "next":
                expected.append((person, query, [int(interactions.item[position])]))
            elif position == begin:
                expected.append((person, query, sorted(set(interactions.item[begin:end].tolist()))))
    cases = make_eval_queries(interactions, split, part, target)  # type: ignore[arg-type]
    assert asked(cases) == expected
    assert cases.skipped == skipped
    assert skipped > 0
    assert (np.diff(cases.case) >= 0).all()


@pytest.mark.parametrize("block", [1, 7, 1 << 20])
@pytest.mark.parametrize("target", ["next", "all"])
def test_chosen_before_looks_at_what_stands_before_the_query(target: str, block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gaterec.data.interactions.AT_A_TIME", block)
    interactions = random_histories(30, 12, 15, shortest=0)
    cases = make_eval_queries(interactions, split_interactions(interactions, protocol(split={"RS": [2, 1, 2]})), "test", target)  # type: ignore[arg-type]
    expected = [
        item in interactions.item[interactions.offsets[cases.user[case]] : cases.position[case]]
        for case, item in zip(cases.case, cases.relevant, strict=True)
    ]
    assert chosen_before(interactions, cases).tolist() == expected
    assert 0 < sum(expected) < len(expected)


def test_ranges_shows_its_example() -> None:
    assert ranges(np.array([10, 20]), np.array([2, 3])).tolist() == [10, 11, 20, 21, 22]
    assert ranges(np.array([10, 20, 30]), np.array([0, 2, 0])).tolist() == [20, 21]
    assert ranges(np.array([], dtype=np.int64), np.array([], dtype=np.int64)).tolist() == []


def test_training_events_are_what_stands_before_the_cut() -> None:
    interactions = histories([1, 2, 3, 9, 8], [4, 5, 7])
    people, items = training_events(interactions, Split(np.array([0, 3, 7]), np.array([0, 4, 7])))
    assert people.tolist() == [1, 1, 1, 2, 2]
    assert items.tolist() == [1, 2, 3, 4, 5]
    assert items.dtype == np.int64
