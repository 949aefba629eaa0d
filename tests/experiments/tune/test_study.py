"""The memory of a search: what is tried, that it is kept, and each trial once; on SQLite, and on a real PostgreSQL server."""

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from gaterec.errors import RunError, SettingsError
from gaterec.experiments.tune.search_space import read_space
from gaterec.experiments.tune.study import Study, check_same, storage_address
from gaterec.experiments.tune.trials import Trial
from gaterec.io.database_urls import shown

pytestmark = pytest.mark.slow

GRID = read_space({"learning_rate": [0.1, 0.01, 0.001], "reg_weight": [[0.0, 0.0], [0.5, 0.25]], "pooling_type": ["average", "max"]})
RANGES = read_space({"learning_rate": "loguniform -8, -2", "dropout": "uniform 0, 0.5"})


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgres)])
def storage(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[str, bool]:
    """An address, and whether the study is alone there."""
    if request.param == "sqlite":
        return storage_address(None, tmp_path)
    return storage_address(request.getfixturevalue("server"), tmp_path)


def study(storage: tuple[str, bool], name: str, space: Any = GRID, **changes: Any) -> Study:
    usual: dict[str, Any] = {"sampler": "grid", "pruner": "none", "seed": 1, "bigger": True, "costs": False, "epochs": 10}
    identity = changes.pop("identity", {"space": 1})
    return Study(storage[0], name, identity, space, alone=storage[1], **{**usual, **changes})


def begun(study: Study, ours: tuple[int, ...] = ()) -> Trial:
    """The next trial, of which there must be one."""
    trial = study.next(100, ours)
    assert trial is not None
    return trial


def ended(trial: Trial, score: float = 0.5, **changes: Any) -> Trial:
    return replace(trial, state="done", score=score, valid={"mrr@10": score}, best_epoch=2, curve=[(1, 0.0), (2, score)], **changes)


def tried(study: Study, limit: int) -> list[dict[str, Any]]:
    """All points until there are no more; a trial's score is its learning rate."""
    points = []
    while (trial := study.next(limit, [])) is not None:
        points.append(dict(trial.chosen))
        study.end(ended(trial, trial.chosen["learning_rate"]))
    return points


def in_rounds(place: Path, rounds: tuple[int, ...], **changes: Any) -> list[dict[str, Any]]:
    """All points of a search that was closed and opened again in between."""
    points = []
    for limit in rounds:
        one = study(storage_address(place, place.parent), "a", **changes)
        points += tried(one, limit)
        one.close()
    return points


def test_a_grid_is_tried_in_order_and_kept(storage: tuple[str, bool], request: pytest.FixtureRequest) -> None:
    name = request.node.name
    one = study(storage, name)
    assert tried(one, 5) == list(GRID.points())[:5]
    kept = one.trials()
    one.close()
    other = study(storage, name)
    assert other.trials() == kept
    assert kept[1] == ended(Trial(1, "running", kept[1].chosen), 0.1)
    assert tried(other, 100) == list(GRID.points())[5:]
    assert [trial.number for trial in other.trials()] == list(range(12))
    other.close()


def test_what_was_left_unfinished_is_tried_again_under_its_number(storage: tuple[str, bool], request: pytest.FixtureRequest) -> None:
    name = request.node.name
    one = study(storage, name)
    first, second = begun(one), begun(one, (0,))
    assert one.next(2, [0, 1]) is None
    one.end(ended(first))
    one.close()
    other = study(storage, name)
    assert begun(other) == second
    assert begun(other, (1,)).chosen == list(GRID.points())[2]
    assert [trial.state for trial in other.trials()] == ["done", "running", "running"]
    other.close()


def test_a_search_that_was_killed_between_choosing_and_beginning_loses_no_point(tmp_path: Path) -> None:
    one = study(storage_address(None, tmp_path), "a")
    one.end(ended(begun(one)))
    one._study.enqueue_trial(GRID.params(list(GRID.points())[1]))
    one.close()
    other = study(storage_address(None, tmp_path), "a")
    assert [trial.number for trial in other.trials()] == [0]
    assert tried(other, 100) == list(GRID.points())[1:]
    assert [trial.number for trial in other.trials()] == list(range(12))
    other.close()


@pytest.mark.postgres
def test_two_processes_can_not_lead_one_search_on_a_server(server: str, tmp_path: Path) -> None:
    address = storage_address(server, tmp_path)
    one = study(address, "twice")
    with pytest.raises(RunError, match="another process is running the search twice"):
        study(address, "twice")
    other = study(address, "beside", identity={"space": 2})  # a server holds many
    other.close()
    one.close()
    study(address, "twice").close()


def test_two_processes_can_not_lead_one_search_on_a_file(tmp_path: Path) -> None:
    address = storage_address(tmp_path / "x.db", tmp_path)
    one = study(address, "twice")
    with pytest.raises(RunError, match="another process is running the search twice"):
        study(address, "twice")
    one.close()
    study(address, "twice").close()


@pytest.mark.parametrize(
    ("storage", "told"),
    [
        ("postgresql://me:hunter2@host/db", "postgresql://me:***@host/db"),
        ("postgresql+psycopg://me:hun@ter2@host/db", "postgresql://me:***@host/db"),
        ("postgresql://host/db?user=me&password=hunter2", "postgresql://host/db?user=me&password=***"),
        ("postgresql://me@host/db", "postgresql://me@host/db"),
        ("sqlite:////home/me/x.db", "/home/me/x.db"),
    ],
)
def test_no_password_is_shown(storage: str, told: str, tmp_path: Path) -> None:
    assert shown(storage) == told
    if "host" in storage:
        here = storage_address(storage.replace("host/", "127.0.0.1:1/").replace("+psycopg", ""), tmp_path)
        with pytest.raises(RunError, match="can't be used") as error:
            study(here, "a")
        assert not re.search("hunter2|hun|ter2", str(error.value))


def test_another_search_is_refused(storage: tuple[str, bool], request: pytest.FixtureRequest) -> None:
    name = request.node.name
    study(storage, name).close()
    for _ in range(2):  # the refused one lets go of it
        with pytest.raises(RunError, match=r"storage: .*: belongs to another search: space was 1, is 2; give another --out"):
            study(storage, name, identity={"space": 2})


def test_a_file_is_for_one_search(tmp_path: Path) -> None:
    address = storage_address(tmp_path / "x.db", tmp_path)
    study(address, "a").close()
    with pytest.raises(RunError, match=r"storage: .*x\.db: belongs to another search, a; give another"):
        study(address, "b")


def test_storages_that_can_not_be_used_are_told_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "text.db").write_text("this is no database, but a text that is long enough to be taken for the head of one" * 20)
    (tmp_path / "folder.db").mkdir()
    for place, told in (
        (tmp_path / "text.db", "file is not a database"),
        (tmp_path / "folder.db", "unable to open database file"),
        (tmp_path / "nowhere" / "x.db", "unable to open database file"),
        ("postgresql://tester:secret@127.0.0.1:1/none", "onnection refused|failed"),
    ):
        with pytest.raises(RunError, match=rf"^storage: .*: can't be used: .*{told}") as error:
            study(storage_address(place, tmp_path), "a")
        assert "secret" not in str(error.value)
        assert "\n" not in str(error.value)
    expected = r"storage: expected a file, or an address that begins with postgresql:// or sqlite:///, found mysql://me:\*\*\*@host/x"
    with pytest.raises(SettingsError, match="storage: expected a file"):
        storage_address("sqlite://", tmp_path)  # in memory, where nothing would be kept
    with pytest.raises(SettingsError, match=expected):
        storage_address("mysql://me:secret@host/x", tmp_path)


@pytest.mark.parametrize("space", [GRID, RANGES], ids=["grid", "ranges"])
def test_random_points_depend_on_the_seed_alone(tmp_path: Path, space: Any) -> None:
    whole = in_rounds(tmp_path / "a.db", (8,), space=space, sampler="random", seed=7)
    assert in_rounds(tmp_path / "b.db", (3, 4, 8), space=space, sampler="random", seed=7) == whole
    assert in_rounds(tmp_path / "c.db", (8,), space=space, sampler="random", seed=8) != whole
    assert len({str(point) for point in whole}) == 8


def test_random_search_ends_when_all_points_were_tried(tmp_path: Path) -> None:
    found = in_rounds(tmp_path / "a.db", (100,), sampler="random")
    assert sorted(map(str, found)) == sorted(map(str, GRID.points()))
    assert found != list(GRID.points())


def test_tpe_goes_on_as_if_nothing_had_happened_and_finds_what_is_good(tmp_path: Path) -> None:
    whole = in_rounds(tmp_path / "a.db", (30,), space=RANGES, sampler="tpe")
    assert in_rounds(tmp_path / "b.db", (4, 17, 30), space=RANGES, sampler="tpe") == whole
    rates = [point["learning_rate"] for point in whole]
    assert sum(rates[20:]) > 2 * sum(rates[:10])


def test_a_point_that_was_tried_is_known(tmp_path: Path) -> None:
    one = study(storage_address(None, tmp_path), "a")
    first = begun(one)
    assert one.same_as(first) is None
    one.end(ended(first))
    assert one.same_as(replace(first, number=5)) == ended(first)
    assert one.same_as(replace(first, number=5, chosen={**first.chosen, "pooling_type": "max"})) is None
    one.close()


@pytest.mark.parametrize(("pruner", "bigger"), [("median", True), ("median", False), ("none", True)])
def test_hopeless_trials_are_seen_by_their_curve(tmp_path: Path, pruner: Any, bigger: bool) -> None:
    one = study(storage_address(None, tmp_path), "a", pruner=pruner, bigger=bigger)
    good = 1.0 if bigger else -1.0
    for _ in range(6):
        trial = begun(one)
        assert one.epoch(trial.number, 1, good) == (False, {1: good})
        assert one.epoch(trial.number, 2, 2 * good) == (False, {1: good, 2: 2 * good})
        assert one.epoch(trial.number, 3, 3 * good)[0] is False
        one.end(ended(trial, 3 * good))
    bad = begun(one)
    found = [one.epoch(bad.number, epoch, -9 * good) for epoch in (1, 3, 3)]  # told twice, as by a trial that goes on
    assert [hopeless for hopeless, _ in found] == [False, *[pruner == "median"] * 2]  # no trial is judged by its first epochs
    assert found[-1][1] == {1: -9 * good, 3: -9 * good}
    one.end(replace(bad, state="pruned", score=-9 * good, curve=[(1, -9 * good)], reason="after epoch 1"))
    assert (one.trials()[-1].state, one.trials()[-1].reason) == ("pruned", "after epoch 1")
    one.close()


def test_hyperband_lets_some_trials_go_on(tmp_path: Path) -> None:
    one = study(storage_address(None, tmp_path), "a", RANGES, sampler="random", pruner="hyperband", epochs=9)
    pruned = 0
    for _ in range(20):
        trial = begun(one)
        if any(one.epoch(trial.number, epoch, trial.chosen["learning_rate"])[0] for epoch in range(1, 10)):
            pruned += 1
            one.end(replace(trial, state="pruned", score=0.0, curve=[(1, 0.0)]))
        else:
            one.end(ended(trial))
    assert 5 <= pruned < 20
    one.close()


def test_failures_and_costs_are_kept(tmp_path: Path) -> None:
    one = study(storage_address(None, tmp_path), "a", costs=True)
    one.end(replace(begun(one), state="failed", reason="diverged", seconds=3.0, worker="worker 1"))
    one.end(ended(begun(one), cost=2.0))
    failed, done = one.trials()
    assert (failed.state, failed.reason, failed.score, failed.seconds, failed.worker) == ("failed", "diverged", None, 3.0, "worker 1")
    assert (done.state, done.cost, done.score) == ("done", 2.0, 0.5)
    one.close()


@pytest.mark.parametrize("bigger", [True, False])
def test_importance_tells_what_matters(tmp_path: Path, bigger: bool) -> None:
    one = study(storage_address(None, tmp_path), "a", RANGES, sampler="random", bigger=bigger)
    sign = 1 if bigger else -1
    for number in range(40):
        trial = begun(one)
        one.end(ended(trial, sign * trial.chosen["dropout"]))
        if number in (8, 9):  # nine trials tell nothing, ten do
            assert bool(one.importance()) == (number == 9)
    shares = one.importance()
    assert shares["dropout"] > 0.8
    assert sum(shares.values()) == pytest.approx(1)
    one.close()


def test_what_differs_is_named() -> None:
    check_same("here", {"a": [1], "b": 2}, {"b": 2, "a": [1]})
    with pytest.raises(RunError, match=r"^here: belongs to another search: a was 1, is null; give another --out, or leave it out$"):
        check_same("here", {"a": 1}, {})


@pytest.mark.parametrize("name", ["a?b", "{x}", "%20", "[v1]", "~", "file:", "#"])
def test_a_search_in_a_folder_of_any_name(tmp_path: Path, name: str) -> None:
    (tmp_path / name).mkdir()
    one = study(storage_address(None, tmp_path / name), "a")
    with pytest.raises(RunError, match="another process is running the search"):
        study(storage_address(None, tmp_path / name), "a")
    one.close()
    study(storage_address(str(tmp_path / name / "trials.db"), tmp_path), "a").close()
    assert {file.name for file in (tmp_path / name).iterdir()} == {"trials.db", "trials.db.lock"}
    assert [file.name for file in tmp_path.iterdir()] == [name]


def test_a_trial_that_did_not_end_well_is_no_twin(tmp_path: Path) -> None:
    one = study(storage_address(None, tmp_path), "a")
    for state in ("failed", "pruned", "done"):
        trial = begun(one)
        one.end(replace(ended(trial), state=state))
        twin = one.same_as(replace(trial, number=99))
        assert (twin is not None) == (state == "done")
        assert one.same_as(trial) is None
    one.close()
