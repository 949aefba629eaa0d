"""Whose windows are remembered, and that an answer never depends on it."""

import numpy as np
import pytest
import torch

from gaterec.inference.query_cache import QueryCache
from gaterec.inference.users import Histories, RequestUser
from gaterec.models.hgn import HGN
from tests.support.models import L, anew, hgn


@pytest.fixture
def model() -> HGN:
    return hgn()


def someone(name: str | None, *items: int, number: int = 1) -> RequestUser:
    return RequestUser(name, number, np.array(items, dtype=np.int32))


def check(following: QueryCache, model: HGN, *people: RequestUser) -> None:
    with torch.no_grad():
        found = following.queries(people)
        for row, person in enumerate(people):
            if len(person.items):
                torch.testing.assert_close(found[row], anew(model, person.number, person.items.tolist()), rtol=1e-6, atol=1e-6)


def test_newer_events_are_hits(model: HGN) -> None:
    following = QueryCache(model, L, 300)
    check(following, model, someone("a", 1, 2, 3))
    assert (following.hits, following.misses, len(following)) == (0, 1, 1)
    for items in ((1, 2, 3), (1, 2, 3, 4), (1, 2, 3, 4, 5, 6), (1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12)):
        check(following, model, someone("a", *items))
    assert (following.hits, following.misses) == (4, 1)


def test_another_history_or_another_number_begins_anew(model: HGN) -> None:
    following = QueryCache(model, L, 300)
    for person in (
        someone("a", 1, 2, 3, 4, 5),
        someone("a", 1, 2, 3, 9, 5),  # another event
        someone("a", 1, 2, 3),  # fewer
        someone("a", 1, 2, 3, 4, number=2),  # another person under this name
        someone("a", 7, 2, 3, 4, number=2),
    ):
        check(following, model, person)
    assert (following.hits, following.misses) == (0, 5)
    check(following, model, someone("a", 7, 2, 3, 4, 8, number=2))
    assert following.hits == 1


def test_whoever_came_longest_ago_is_forgotten(model: HGN) -> None:
    following = QueryCache(model, L, 2)
    for name in "abacabb":
        check(following, model, someone(name, 1, 2))
    assert len(following) == 2
    assert (following.hits, following.misses) == (3, 4)


def test_without_an_id_without_events_and_twice_in_a_batch(model: HGN) -> None:
    following = QueryCache(model, L, 300)
    check(following, model, someone(None, 1, 2), someone("a", 1), someone("a", 3, 4), someone("b"), someone(None, 5, number=0))
    assert (following.hits, following.misses, len(following)) == (0, 1, 1)
    check(following, model, someone("a", 1, 2))
    assert following.hits == 1


def test_many_at_once_and_nobody_remembered(model: HGN) -> None:
    random = np.random.default_rng(0)
    people = [someone(f"p{n}", *random.integers(1, 20, 1 + n % 9), number=n % 5) for n in range(600)]
    following = QueryCache(model, L, 7)
    check(following, model, *people)
    before = len(following)
    plain = following.queries(people, cache=False)
    torch.testing.assert_close(plain, following.queries_of(Histories.of(people)))
    assert len(following) == before
    nobody = QueryCache(model, L, 0)
    check(nobody, model, *people[:3])
    assert (len(nobody), nobody.misses) == (0, 0)


def test_histories_tell_what_they_are() -> None:
    people = [someone("a", 1, 2), someone("b", number=3), someone(None, 5, number=0)]
    histories = Histories.of(people)
    assert histories.events().tolist() == [1, 2, 5]
    assert histories.basis().tolist() == [2, 0, 1]
    assert [person.basis for person in people] == [2, 0, 1]


def test_nothing_stays_of_who_is_forgotten_and_their_place_is_used_again(model: HGN) -> None:
    following = QueryCache(model, L, 3)
    people = [someone(name, 1, 2, 3, number=number) for number, name in enumerate("abc", 1)]
    check(following, model, *people)
    following.forget("b")
    following.forget("nobody")
    assert len(following) == 2
    windows = following._state
    left = [part for part in vars(windows).values() if isinstance(part, torch.Tensor) and part.shape[0] == len(windows.user)]
    assert len(left) >= 4
    place = following._free[0]
    assert all(float(part[place].abs().sum()) == 0 for part in left)
    assert not following._events[place].any()
    # Everybody else is as they were, and new people find room.
    check(following, model, people[0], people[2], someone("d", 4, 5, number=2))
    assert (following.hits, len(following)) == (2, 3)
    check(following, model, someone("e", 6, number=2), people[1])
    assert len(following) == 3
