"""What data and protocol do to the figures: by hand, against plain loops, and on a real log."""

from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from gaterec.config.settings import Settings
from gaterec.data.interactions import Interactions
from gaterec.data.split import EvalQueries, Split, make_eval_queries, split_interactions, training_counts
from gaterec.evaluation.audit import Finding, audit
from gaterec.experiments.setup import prepare
from tests.support.histories import histories, settings

REPEATED = "events that repeat another of the same person, item and time"
TIED = "events at the same time as another of the same person"
FUTURE = "test events earlier than some event of training"
NO_VALID, NO_TEST = "people without a validation query", "people without a test query"
ALONE = "people judged by one test answer"
NEW = "test answers never seen in training"
AGAIN = "test answers that the person chose before"


def ready(interactions: Interactions, **values: Any) -> tuple[Settings, Split, EvalQueries, EvalQueries]:
    chosen = settings(**values)
    split = split_interactions(interactions, chosen.eval_args)
    valid, test = (make_eval_queries(interactions, split, part, chosen.eval_args.target) for part in ("valid", "test"))
    return chosen, split, valid, test


def audited(interactions: Interactions, **values: Any) -> dict[str, Finding]:
    chosen, split, valid, test = ready(interactions, **values)
    found = audit(interactions, split, valid, test, chosen, training_counts(interactions, split))
    assert [finding.name for finding in found] == [REPEATED, TIED, FUTURE, NO_VALID, NO_TEST, ALONE, NEW, AGAIN]
    assert all(finding.meaning.endswith(".") for finding in found)
    return {finding.name: finding for finding in found}


def counted(found: dict[str, Finding]) -> dict[str, tuple[int, int]]:
    return {name: (finding.count, finding.of) for name, finding in found.items()}


def shop() -> Interactions:
    """Leave-one-out leaves | valid | test:

    person 1   items 1 2 | 3 | 1     times 10 20 | 30 | 40     the test item is an old one
    person 2   items 2 2 | 1 | 4     times 10 10 | 10 | 15     item 2 twice at one time, and all but the last at that time; 4 is new
    person 3   items 3 1   |   5     times 50 60 |    | 90     no validation; 5 is new
    person 4   items 1 2             times  1  2               neither
    """
    items = [[1, 2, 3, 1], [2, 2, 1, 4], [3, 1, 5], [1, 2]]
    return histories(*items, times=[[10, 20, 30, 40], [10, 10, 10, 15], [50, 60, 90], [1, 2]])


def test_by_hand() -> None:
    found = audited(shop())
    assert counted(found) == {
        REPEATED: (1, 13),
        TIED: (3, 13),
        FUTURE: (2, 3),
        NO_VALID: (2, 4),
        NO_TEST: (1, 4),
        ALONE: (3, 3),
        NEW: (2, 3),
        AGAIN: (1, 3),
    }
    assert found[NO_TEST].share == 0.25
    # 8 training events at 10 20 10 10 50 60 1 2: of these, 2 are later than 40, 3 than 15, none than 90; 5 of 24 pairs
    assert "On average 20.8 % of training is later than the test event" in found[FUTURE].meaning
    assert "Recall can't pass 0.3333" in found[NEW].meaning
    assert "over 3 such people is known to within ±0.566" in found[ALONE].meaning
    assert "repeatable true" in found[AGAIN].meaning


def test_seen_items_that_are_left_out_are_a_ceiling_of_recall() -> None:
    found = audited(shop(), repeatable=False)[AGAIN]
    assert (found.count, found.of) == (1, 3)
    assert "repeatable false" in found.meaning
    assert "Recall can't pass 0.6667" in found.meaning


def test_a_ceiling_is_the_mean_over_queries_and_not_over_answers() -> None:
    """Person 1 is asked for 1 and 4 after 1 2 3, of which 1 is old; person 2 for 4 after 1: half of one, all of the other."""
    interactions = histories([1, 2, 3, 1, 4], [1, 4], times=[[5, 6, 7, 8, 9], [1, 8]])
    split = Split(np.array([0, 3, 6]), np.array([0, 3, 6]))
    chosen = settings(repeatable=False)
    test = make_eval_queries(interactions, split, "test", "all")
    found = audit(interactions, split, test, test, chosen, training_counts(interactions, split))
    assert (found[-1].count, found[-1].of) == (1, 3)
    assert "Recall can't pass 0.7500" in found[-1].meaning


def test_one_moment_for_all_leaves_no_future_in_training() -> None:
    for eval_args in ({"split": {"TS": [6, 1, 3]}}, {"split": {"RS": [6, 1, 3]}, "group_by": None}):
        found = audited(shop(), eval_args=eval_args)[FUTURE]
        assert found.count == 0
        assert found.of > 0
        assert found.meaning == "There are none, so this does nothing to the figures."
    assert audited(shop(), eval_args={"split": {"RS": [6, 1, 3]}})[FUTURE].count > 0


@pytest.mark.parametrize(
    ("times", "reason"),
    [
        ([[0, 1, 2, 3], [0, 1, 2], [0, 1, 2]], "positions"),
        ([[1, 2, 3, 4], [1, 2, 3], [1, 2, 3]], "positions"),
        ([[1.0, 2.0, 3.0, 4.0], [0.0, 1.0, 2.0], [1.0, 2.0, 3.0]], "positions"),
        ([[0, 3, 6, 9], [1, 4, 7], [2, 5, 8]], "no times"),
        ([[0, 1, 2, 3], [4, 5, 6], [7, 8, 9]], "no times"),
    ],
)
@pytest.mark.parametrize("block", [1, 1 << 20])
def test_times_that_are_none_are_not_judged_by(times: list[list[float]], reason: str, block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gaterec.data.interactions.AT_A_TIME", block)
    found = audited(histories([1, 2, 1, 3], [2, 2, 2], [1, 2, 3], times=times))
    for name in (REPEATED, TIED, FUTURE):
        assert (found[name].count, found[name].of, found[name].share) == (0, 0, None)
        assert found[name].meaning.startswith("This can't be judged: ")
        assert reason in found[name].meaning
    assert found[AGAIN].of == 3


@pytest.mark.parametrize(
    "times",
    [
        [[0, 1, 2, 4], [0, 1, 2], [0, 1, 2]],
        [[0, 1, 2, 3], [0, 0, 1], [0, 1, 2]],
        [[0, 1, 2, 3], [2, 3, 4], [0, 1, 2]],
        [[0, 2, 3, 4], [0, 1, 2], [0, 1, 2]],
    ],
)
def test_times_that_are_nearly_positions_are_times(times: list[list[float]]) -> None:
    assert audited(histories([1, 2, 1, 3], [2, 2, 2], [1, 2, 3], times=times))[TIED].of == 10


def test_a_log_without_times_is_not_judged_by_its_rows() -> None:
    assert "the log has no times" in audited(replace(shop(), timed=False))[FUTURE].meaning


def test_shuffled_events_have_no_times() -> None:
    found = audited(shop(), eval_args={"order": "RO"})
    assert found[FUTURE].of == 0
    assert "RO shuffled the events" in found[FUTURE].meaning


def test_nothing_to_test_is_nothing_to_judge() -> None:
    found = audited(shop(), eval_args={"split": {"LS": "valid_only"}})
    for name in (FUTURE, ALONE, NEW, AGAIN):
        assert found[name].share is None
        assert found[name].meaning.startswith("There are no test ")
    assert counted(found)[NO_TEST] == (4, 4)


def by_loops(interactions: Interactions, split: Split, valid: EvalQueries, test: EvalQueries) -> dict[str, tuple[int, int]]:
    """The same counts from plain lists, one event at a time."""
    events = len(interactions.item)
    owner, items, times = interactions.user.tolist(), interactions.item.tolist(), interactions.time.tolist()
    triples = Counter(zip(owner, items, times, strict=True))
    moments = Counter(zip(owner, times, strict=True))
    training = [event for event in range(events) if event < split.train_end[owner[event]]]
    tests = [event for event in range(events) if event >= split.valid_end[owner[event]]]
    learnt = {items[event] for event in training}
    people = len(interactions.users) - 1
    asked = [(int(test.user[case]), int(test.position[case]), int(item)) for case, item in zip(test.case, test.relevant, strict=True)]
    answers = Counter(person for person, _, _ in asked)
    return {
        REPEATED: (sum(count - 1 for count in triples.values()), events),
        TIED: (sum(count for count in moments.values() if count > 1), events),
        FUTURE: (sum(any(times[other] > times[event] for other in training) for event in tests), len(tests)),
        NO_VALID: (people - len(set(valid.user.tolist())), people),
        NO_TEST: (people - len(answers), people),
        ALONE: (sum(count == 1 for count in answers.values()), len(answers)),
        NEW: (sum(item not in learnt for _, _, item in asked), len(asked)),
        AGAIN: (sum(item in items[interactions.offsets[person] : position] for person, position, item in asked), len(asked)),
    }


@pytest.mark.parametrize("block", [5, 1 << 20])
@pytest.mark.parametrize(
    "eval_args",
    [
        {},
        {"split": {"LS": "test_only"}},
        {"split": {"RS": [6, 2, 2]}, "target": "all"},
        {"split": {"RS": [6, 2, 2]}, "group_by": None},
        {"split": {"TS": [6, 2, 2]}},
    ],
)
def test_it_equals_plain_loops(eval_args: dict[str, Any], block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gaterec.data.interactions.AT_A_TIME", block)
    random = np.random.default_rng(0)
    lengths = random.integers(0, 9, 60).tolist()
    times = [sorted(random.integers(0, 25, length).tolist()) for length in lengths]
    interactions = histories(*(np.minimum(random.geometric(0.15, length), 40).tolist() for length in lengths), times=times, catalogue=40)
    _, split, valid, test = ready(interactions, eval_args=eval_args)
    expected = by_loops(interactions, split, valid, test)
    assert counted(audited(interactions, eval_args=eval_args)) == expected
    assert all(count > 0 for name, (count, _) in expected.items() if name != FUTURE)
    assert (expected[FUTURE][0] > 0) == ("TS" not in str(eval_args) and "group_by" not in eval_args)


def test_a_real_log(datasets: Path) -> None:
    chosen = settings(dataset="ml-100k", data_path=str(datasets))
    prepared = prepare(chosen, None)
    found = audit(prepared.interactions, prepared.split, prepared.valid, prepared.test, chosen, prepared.counts.numpy())
    events = pl.read_csv(datasets / "ml-100k" / "ml-100k.inter", separator="\t", new_columns=["user", "item", "rating", "time"])
    events = events.sort("user", "time", maintain_order=True).with_columns(left=pl.int_range(pl.len(), 0, -1).over("user"))
    training, tests = events.filter(pl.col("left") > 2), events.filter(pl.col("left") == 1)
    assert counted({finding.name: finding for finding in found}) == {
        REPEATED: (events.height - events.n_unique(["user", "item", "time"]), 100_000),
        TIED: (events.filter(pl.len().over("user", "time") > 1).height, 100_000),
        FUTURE: (tests.filter(pl.col("time") < training["time"].max()).height, 943),
        NO_VALID: (0, 943),
        NO_TEST: (0, 943),
        ALONE: (943, 943),
        NEW: (tests.join(training, on="item", how="anti").height, 943),
        AGAIN: (tests.join(events.filter(pl.col("left") > 1), on=["user", "item"], how="semi").height, 943),
    }
