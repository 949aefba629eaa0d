"""Histories from logs: the example of the docstring, order, ids, fingerprints."""

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from gaterec.data import interactions
from gaterec.data.filters import apply_filters
from gaterec.data.interactions import Interactions, build_interactions, item_columns, stable_argsort
from gaterec.data.log import Log
from gaterec.data.readers.read import read_log
from gaterec.errors import DataError
from tests.support.histories import histories, settings


def log(users: str, items: str, times: list[Any] | None = None, things: pl.DataFrame | None = None) -> Log:
    """A log from ids separated by blanks."""
    columns = {"user_id": users.split(), "item_id": items.split()} | ({} if times is None else {"timestamp": times})
    return Log("test", "test.inter", pl.DataFrame(columns), items=things)


def history(found: Interactions, person: str) -> list[str]:
    p = found.users.to_list().index(person)
    events = found.item[found.offsets[p] : found.offsets[p + 1]]
    return [found.items[int(item)] for item in events]


def test_the_example_of_the_docstring() -> None:
    found = build_interactions(log("ann bob ann bob", "tea jam rye tea", [3, 1, 2, 9]), settings())
    assert found.users.to_list() == ["[unknown]", "ann", "bob"]
    assert found.items.to_list() == ["[padding]", "tea", "jam", "rye"]
    assert found.item.tolist() == [3, 1, 2, 1]
    assert found.offsets.tolist() == [0, 0, 2, 4]
    assert found.time.tolist() == [2, 3, 1, 9]
    assert found.user.tolist() == [1, 1, 2, 2]
    assert found.lengths.tolist() == [0, 2, 2]
    assert [str(array.dtype) for array in (found.item, found.offsets, found.user)] == ["int32", "int64", "int32"]


def test_equal_times_keep_the_order_of_the_file() -> None:
    users, items = "u v " * 50, " ".join(f"i{n}" for n in range(100))
    found = build_interactions(log(users, items, [5] * 40 + [4] * 60), settings())
    rows = [n for n in range(100) if n % 2 == 0]
    expected = [f"i{n}" for n in rows if n >= 40] + [f"i{n}" for n in rows if n < 40]
    assert history(found, "u") == expected


def test_without_times_the_order_of_the_file_is_the_order_of_events() -> None:
    found = build_interactions(log("u v u v u", "c a b d a"), settings())
    assert history(found, "u") == ["c", "b", "a"]
    assert history(found, "v") == ["a", "d"]


def test_times_keep_every_bit() -> None:
    """Neighbours that are one number in float32, and as 64-bit integers beyond what float64 holds."""
    late = 2**60
    found = build_interactions(log("u u u u", "d c b a", [late + 3, late + 2, late + 1, late]), settings())
    assert history(found, "u") == ["a", "b", "c", "d"]
    assert found.time.tolist() == [late, late + 1, late + 2, late + 3]


def test_negative_and_fractional_times_are_in_order() -> None:
    found = build_interactions(log("u u u", "c a b", [0.5, -1e9, 0.25]), settings())
    assert history(found, "u") == ["a", "b", "c"]


def test_field_names_come_from_the_settings() -> None:
    events = pl.DataFrame({"who": ["a", "a"], "what": ["x", "y"], "when": [2, 1]})
    found = build_interactions(Log("t", "t", events), settings(USER_ID_FIELD="who", ITEM_ID_FIELD="what", TIME_FIELD="when"))
    assert history(found, "a") == ["y", "x"]


def random_log() -> Log:
    random = np.random.default_rng(0)
    users = " ".join(f"u{n}" for n in random.integers(0, 20, 400))
    items = " ".join(f"i{n}" for n in random.integers(0, 50, 400))
    return log(users, items, random.permutation(400).tolist())


def test_random_order_is_a_permutation_of_each_history_from_the_seed() -> None:
    by_time = build_interactions(random_log(), settings())
    shuffled, again, other = (build_interactions(random_log(), settings(eval_args={"order": "RO"}, seed=seed)) for seed in (1, 1, 2))
    for person in by_time.users[1:]:
        assert sorted(history(shuffled, person)) == sorted(history(by_time, person))
    assert not np.array_equal(shuffled.item, by_time.item)
    assert np.array_equal(shuffled.item, again.item)
    assert not np.array_equal(shuffled.item, other.item)


def test_fingerprints_are_equal_for_equal_data(tmp_path: Path) -> None:
    first = random_log()
    file = tmp_path / "log.csv"
    first.events.write_csv(file)
    fingerprint = build_interactions(first, settings()).fingerprint()
    assert build_interactions(read_log(file, settings()), settings()).fingerprint() == fingerprint
    assert (
        build_interactions(read_log(first.events.with_columns(pl.col("timestamp").cast(pl.Float64)), settings()), settings()).fingerprint()
        == fingerprint
    )


@pytest.mark.parametrize(
    "changed",
    [
        log("u u v v", "a b a c", [1, 2, 3, 4]),
        log("u u v v", "a b a b", [1, 2, 3, 5]),
        log("u u v v", "a c a c", [1, 2, 3, 4]),
        log("u u w w", "a b a b", [1, 2, 3, 4]),
        log("u u u v", "a b a b", [1, 2, 3, 4]),
        log("u u v v", "ab b ab b", [1, 2, 3, 4]),
    ],
    ids=["an item", "a time", "an item's id", "a person's id", "whose event", "a longer id"],
)
def test_fingerprints_differ_for_different_data(changed: Log) -> None:
    before = build_interactions(log("u u v v", "a b a b", [1, 2, 3, 4]), settings())
    assert build_interactions(changed, settings()).fingerprint() != before.fingerprint()


def test_ids_that_look_like_padding_and_unknown_are_ids_as_any_other() -> None:
    found = build_interactions(log("[unknown] ann [unknown]", "[padding] [padding] [[padding]]"), settings())
    assert found.users.n_unique() == len(found.users) == 3
    assert found.items.n_unique() == len(found.items) == 3
    assert (found.item > 0).all()
    assert found.lengths.tolist() == [0, 2, 1]
    assert history(found, "[unknown]") == ["[padding]", "[[padding]]"]


def test_ids_of_all_kinds_stay_apart() -> None:
    found = build_interactions(
        Log("t", "t", pl.DataFrame({"user_id": ["é", "e", "é", ""], "item_id": ["1", "01", "1.0", "1 "]})), settings()
    )
    assert found.items.to_list()[1:] == ["1", "01", "1.0", "1 "]
    assert found.users.to_list()[1:] == ["é", "e", ""]


def test_more_items_than_a_byte_or_two_can_number() -> None:
    names = [f"i{n}" for n in range(70_000)]
    found = build_interactions(Log("t", "t", pl.DataFrame({"user_id": ["u"] * 70_000, "item_id": names})), settings())
    assert found.item.tolist() == list(range(1, 70_001))


@pytest.mark.parametrize("users", ["a b c", ""])
def test_nobody_with_two_events_is_an_error(users: str) -> None:
    events = pl.DataFrame(
        {"user_id": users.split(), "item_id": ["x"] * len(users.split())}, schema={"user_id": pl.String, "item_id": pl.String}
    )
    with pytest.raises(DataError, match=r"test\.inter: nobody has two events") as found:
        build_interactions(Log("test", "test.inter", events), settings())
    assert f"({len(users.split())} events)" in str(found.value)


def test_item_columns_stand_in_the_order_of_the_items() -> None:
    things = pl.DataFrame({"item_id": ["jam", "tea", "pie"], "title": ["Jam", "Tea", "Pie"]})
    source = log("ann ann ann", "tea rye jam", things=things)
    found = item_columns(build_interactions(source, settings()), source.items, "item_id")
    assert found.rows() == [("[padding]", None), ("tea", "Tea"), ("rye", None), ("jam", "Jam")]


def test_without_an_item_file_there_are_ids_alone() -> None:
    source = log("ann ann", "tea rye")
    found = item_columns(build_interactions(source, settings()), source.items, "item_id")
    assert found.rows() == [("[padding]",), ("tea",), ("rye",)]


def test_user_373_of_ml_100k_comes_out_in_true_order(datasets: Path) -> None:
    """Their times differ by less than float32 can tell."""
    file = datasets / "ml-100k" / "ml-100k.inter"
    rows = [line.split("\t") for line in file.read_text().splitlines()[1:]]
    mine = sorted((int(time), n) for n, (user, _, _, time) in enumerate(rows) if user == "373")
    assert len({np.float32(time) for time, _ in mine}) < len({time for time, _ in mine})
    found = build_interactions(apply_filters(read_log(file, settings()), settings())[0], settings())
    assert history(found, "373") == [rows[n][1] for _, n in mine]
    assert len(mine) == 233


# -- the quick ways equal the plain ones --------------------------------------------------------------------------------------------


def plain(ids: pl.Series) -> tuple[list[str], list[int]]:
    """Ids in order of first appearance, and the number of each."""
    known = list(dict.fromkeys(map(str, ids)))
    return known, [known.index(str(name)) + 1 for name in ids]


FAR = 2**62
SOME_IDS = {
    "close together": pl.Series("x", [5, 3, 5, 9, 3, -2]),
    "far apart": pl.Series("x", [FAR, -FAR, 0, FAR, 1, -FAR]),
    "text": pl.Series("x", ["b", "a", "b", "", "ü", "a"]),
    "many": pl.Series("x", np.random.default_rng(0).integers(0, 700, 3000) * 10**12),
    "much text": pl.Series("x", [f"item {n}" for n in np.random.default_rng(0).integers(0, 700, 3000)]),
    "none": pl.Series("x", [], dtype=pl.Int64),
    "no text": pl.Series("x", [], dtype=pl.String),
}


@pytest.mark.parametrize("name", SOME_IDS)
@pytest.mark.parametrize("hashes", ["true", "few bits", "colliding"])
def test_ids_are_numbered_in_order_of_first_appearance(name: str, hashes: str, monkeypatch: pytest.MonkeyPatch) -> None:
    ids = SOME_IDS[name]
    if hashes == "few bits":  # many share the last bits, and are searched for
        monkeypatch.setattr(interactions, "_keys_for", lambda ids: ids.hash() // 2**24 * 2**24)
    elif hashes == "colliding":
        monkeypatch.setattr(interactions, "_keys_for", lambda ids: ids.hash() % 2)
    vocabulary, number = interactions._numbered(ids, "[first]")
    known, numbers = plain(ids)
    assert vocabulary.to_list() == ["[first]", *known]
    assert number.tolist() == numbers
    assert number.dtype == np.int32


@pytest.mark.parametrize(
    "values",
    [
        np.random.default_rng(0).integers(-50, 50, 1000),
        np.random.default_rng(0).integers(0, 9, 1000).astype(np.int32),
        np.random.default_rng(0).integers(-(2**62), 2**62, 1000) // 2**55 * 2**55,
        np.array([2**63 - 1, -(2**63), 2**63 - 1, 0, -(2**63)]),
        np.round(np.random.default_rng(0).normal(size=1000), 1),
        np.array([], dtype=np.int64),
        np.array([7]),
    ],
)
def test_the_packed_sort_is_the_stable_sort(values: np.ndarray) -> None:
    assert stable_argsort(values).tolist() == np.argsort(values, kind="stable").tolist()


def test_extreme_times_keep_their_order() -> None:
    far = 2**63 - 1
    found = build_interactions(log("u u u v v", "a b c d e", [far, -far, 0, 5, -far]), settings())
    assert history(found, "u") == ["b", "c", "a"]
    assert history(found, "v") == ["e", "d"]


@pytest.mark.parametrize("size", [1, 2, 3, 5, 100])
def test_blocks_hold_everybody_once_and_cut_nobody(size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(interactions, "AT_A_TIME", size)
    small = histories([1, 2, 3], [], [1], [2, 2, 2, 2], [1, 1], [])
    found = list(small.blocks())
    assert [person for people, _ in found for person in range(people.start, people.stop)] == list(range(7))
    assert [event for _, events in found for event in range(events.start, events.stop)] == list(range(10))
    for people, events in found:
        assert (events.start, events.stop) == (small.offsets[people.start], small.offsets[people.stop])
        assert events.stop - events.start < size + 4  # 4 is the longest history


def test_fingerprints_tell_where_one_id_ends_and_the_next_begins() -> None:
    for first, second in (("ab a", "a ba"), ("u1 1u", "u 11u")):
        events = [("u u", first), ("u u", second)], [(first, "x x"), (second, "x x")]
        for one, other in events:
            two = [build_interactions(log(f"{users} {users}", f"{items} {items}"), settings()) for users, items in (one, other)]
            assert two[0].fingerprint() != two[1].fingerprint()
