"""Which trial wins, and which are worth their cost."""

import math
from collections.abc import Sequence

from gaterec.experiments.tune.trials import Trial
from tests.support.searches import search, trial


def numbers(trials: Sequence[Trial]) -> list[int]:
    return [one.number for one in trials]


def test_the_best_score_wins_and_of_equal_ones_the_earlier() -> None:
    found = search(trial(0, 0.1), trial(1, 0.3), trial(2, 0.2), trial(3, 0.3))
    assert numbers(found.ranked) == [1, 3, 2, 0]
    assert found.best == found.trials[1]


def test_where_less_is_better_the_least_wins() -> None:
    found = search(trial(0, 0.2), trial(1, 0.1), trial(2, 0.1), bigger=False)
    assert numbers(found.ranked) == [1, 2, 0]


def test_what_is_not_done_never_wins() -> None:
    found = search(trial(0, 0.9, "pruned"), trial(1, 0.8, "failed"), trial(2, 0.7, "running"), trial(3, 0.1), trial(4, math.nan), trial(5))
    assert numbers(found.ranked) == [3]
    assert numbers(found.of("pruned", "failed")) == [0, 1]


def test_nothing_done_has_no_winner_and_no_front() -> None:
    found = search(trial(0, 0.9, "pruned"))
    assert found.best is None
    assert found.front == []


def test_the_front_holds_what_nothing_is_both_better_and_cheaper_than() -> None:
    trials = [trial(0, 0.4, cost=9.0), trial(1, 0.3, cost=9.0), trial(2, 0.3, cost=5.0), trial(3, 0.2, cost=7.0), trial(4, 0.1, cost=1.0)]
    assert numbers(search(*trials, cost="seconds").front) == [0, 2, 4]
    assert numbers(search(*trials).front) == [0]


def test_of_equally_good_ones_the_cheaper_is_on_the_front() -> None:
    found = search(trial(0, 0.4, cost=9.0), trial(1, 0.4, cost=5.0), trial(2, 0.4, cost=7.0), cost="seconds")
    assert numbers(found.front) == [1]


def test_what_has_no_cost_is_on_the_front_only_where_nothing_is_as_good() -> None:
    found = search(trial(0, 0.4), trial(1, 0.3, cost=5.0), trial(2, 0.2), trial(3, 0.1, cost=math.nan), cost="seconds")
    assert numbers(found.front) == [0, 1]


def test_of_equally_dear_ones_the_better_alone_is_on_the_front() -> None:
    found = search(trial(0, 0.4, cost=9.0), trial(1, 0.3, cost=9.0), trial(2, 0.4, cost=9.0), trial(3, 0.2, cost=8.0), cost="seconds")
    assert numbers(found.front) == [0, 3]
