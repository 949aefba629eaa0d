"""A run that recommends: who is asked for, what may come, and that it is what the model says."""

import re
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd  # type: ignore[import-untyped, unused-ignore]
import polars as pl
import pytest
import torch

import gaterec
from gaterec.data.interactions import Interactions
from gaterec.errors import RequestError, RequestWarning, RunError
from gaterec.evaluation.scorer import EncoderScorer
from gaterec.inference.explain import explain_to
from gaterec.inference.filters import Filters
from gaterec.inference.recommender import Answer, Recommender, load
from gaterec.inference.run_folder import load_run
from gaterec.models import MODELS
from tests.support.commands import write_log

SMALL = {"embedding_size": 4, "MAX_ITEM_LIST_LENGTH": 5, "epochs": 2, "state": "WARNING"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A trained HGN on a log whose items have titles and kinds."""
    place = tmp_path_factory.mktemp("recommend") / "log"
    place.mkdir()
    events = pl.read_csv(write_log(place / "log.csv", people=60))
    (place / "log.csv").unlink()
    events.rename({"user_id": "user_id:token", "item_id": "item_id:token", "timestamp": "timestamp:float"}).write_csv(
        place / "log.inter", separator="\t"
    )
    lines = [f"i{number}\tFilm {number}\t{'funny sad' if number % 2 else 'sad'}" for number in range(20)]
    (place / "log.item").write_text("\n".join(["item_id:token\ttitle:token_seq\tkind:token_seq", *lines]) + "\n")
    result = gaterec.run("HGN", "log", config_dict={**SMALL, "data_path": str(place.parent), "checkpoint_dir": str(place.parent / "saved")})
    return result["folder"]


@pytest.fixture
def recommender(folder: Path) -> Recommender:
    return load(folder)


def lists(frame: pl.DataFrame) -> dict[Any, list[str]]:
    return {user: part["item"].to_list() for (user,), part in frame.group_by("user", maintain_order=True)}


def test_one_row_per_item_in_the_order_asked(recommender: Recommender) -> None:
    frame = recommender.recommend(["u7", "u3", "u7"], k=4)
    assert frame.columns == ["user", "rank", "item", "score", "based_on", "title"]
    assert frame["user"].to_list() == ["u7"] * 4 + ["u3"] * 4 + ["u7"] * 4
    assert frame["rank"].to_list() == [1, 2, 3, 4] * 3
    assert frame[:4].equals(frame[8:])
    assert frame["title"].to_list() == [f"Film {item[1:]}" for item in frame["item"]]
    assert set(frame["based_on"]) == {"person and history"}
    for (_, user), part in frame.with_row_index().with_columns(pl.col("index") // 4).group_by("index", "user"):
        assert part["score"].is_sorted(descending=True), user


def test_it_says_what_the_model_says_and_leaves_out_what_was_chosen(recommender: Recommender) -> None:
    settings, everybody = recommender.settings, recommender.users.to_series(0).to_list()[1:]
    item, offsets = recommender._users.items, recommender._users.offsets
    interactions = Interactions("log", recommender.users.to_series(0), recommender.items.to_series(0), item, offsets, np.arange(len(item)))
    numbers = np.arange(1, len(offsets) - 1)
    scores = EncoderScorer(recommender.model, interactions, settings.MAX_ITEM_LIST_LENGTH, torch.device("cpu"))(
        numbers, offsets[2:]
    ).clone()
    for person in numbers:
        scores[person - 1, item[offsets[person] : offsets[person + 1]]] = -torch.inf
    ids = recommender.items.to_series(0)
    found = lists(recommender.recommend(everybody, k=3))
    for name, row in zip(everybody, scores, strict=True):
        assert found[name] == ids.gather(row.topk(3).indices.numpy()).to_list()


def test_seen_items_come_when_they_may(recommender: Recommender) -> None:
    every = lists(recommender.recommend(["u1"], k=100, seen=True))["u1"]
    fresh = lists(recommender.recommend(["u1"], k=100))["u1"]
    (person,) = recommender.request_users(["u1"], None)
    seen = set(recommender.items.to_series(0).gather(person.items).to_list())
    assert len(every) == 20
    assert fresh == [item for item in every if item not in seen]
    assert seen


def test_filters(recommender: Recommender) -> None:
    plain = lists(recommender.recommend(["u1"], k=100))["u1"]
    assert lists(recommender.recommend(["u1"], k=100, deny=plain[:2]))["u1"] == plain[2:]
    assert lists(recommender.recommend(["u1"], k=100, allow=plain[1:4]))["u1"] == plain[1:4]
    funny = lists(recommender.recommend(["u1"], k=100, where={"kind": "funny"}))["u1"]
    assert funny == [item for item in plain if int(item[1:]) % 2]
    assert lists(recommender.recommend(["u1"], k=2, where={"kind": "funny"}))["u1"] == funny[:2]
    assert recommender.recommend(["u1"], allow=[]).is_empty()
    assert recommender.recommend([]).is_empty()


@pytest.mark.parametrize("options", [{"seen": True}, {"deny": ["i4"]}, {"allow": ["i5"]}, {"where": {"kind": "funny"}}, {"diversity": 0.9}])
def test_a_filters_object_means_the_same_as_keywords(recommender: Recommender, tmp_path: Path, options: dict[str, Any]) -> None:
    filters, expected = Filters(4, **options), recommender.recommend(["u1"], 4, **options)
    assert recommender.recommend(["u1"], filters=filters).equals(expected)
    (answer,) = recommender.answer([recommender.request("u1", filters=filters)])
    assert answered(recommender, answer) == expected["item"].to_list()
    recommender.recommend_to(tmp_path / "lists", ["u1"], filters=filters)
    assert pl.read_parquet(tmp_path / "lists" / "*.parquet")["item"].to_list() == expected["item"].to_list()
    strict = Filters(strict=True)
    for ask in (
        lambda: recommender.recommend(["new"], filters=strict),
        lambda: recommender.request("new", filters=strict),
        lambda: recommender.recommend_to(tmp_path / "refused", ["new"], filters=strict),
    ):
        with pytest.raises(RequestError, match="user 'new': the run knows no such user"):
            ask()


def test_newer_events_count_whether_given_or_told(recommender: Recommender, folder: Path) -> None:
    before = recommender.recommend(["u1"], k=5)
    after = recommender.recommend(["u1"], k=5, histories=[["i3", "i4"]])
    assert not after.equals(before)
    assert recommender.recommend(["u1"], k=5).equals(before)
    recommender.update("u1", "i3")
    recommender.update("u1", "i4")
    assert recommender.recommend(["u1"], k=5).equals(after)
    recommender.update("somebody", "i3")
    new = recommender.recommend(["somebody"], k=3)
    assert set(new["based_on"]) == {"history"}
    assert new.drop("user").equals(load(folder).recommend(histories=[["i3"]], k=3).drop("user"))


def test_someone_unknown_gets_what_is_popular_and_is_told_so(recommender: Recommender) -> None:
    frame = recommender.recommend(["nobody"], k=20)
    counts = dict(recommender.items.select(recommender.items.columns[0], "training_count").iter_rows())
    assert set(frame["based_on"]) == {"popularity"}
    assert [counts[item] for item in frame["item"]] == sorted((counts[item] for item in frame["item"]), reverse=True)
    mixed = recommender.recommend(["u1", "nobody", "u2"], k=2, histories=[[], ["i1"], []])
    assert mixed["based_on"].to_list() == ["person and history"] * 2 + ["history"] * 2 + ["person and history"] * 2


def test_pandas_gets_pandas(recommender: Recommender) -> None:
    frame = recommender.recommend(pd.Series(["u1", "u2"]), k=2)
    assert isinstance(frame, pd.DataFrame)
    assert pl.from_pandas(frame)["item"].to_list() == recommender.recommend(pl.Series(["u1", "u2"]), k=2)["item"].to_list()


def test_users_come_back_as_they_were_given(tmp_path: Path) -> None:
    log = write_log(tmp_path / "log.csv")
    log.write_text(log.read_text().replace("\nu", "\n"))
    recommender = load(gaterec.run("HGN", log, config_dict={**SMALL, "checkpoint_dir": str(tmp_path)})["folder"])
    expected = recommender.recommend(["7", "3"], k=2)
    assert expected["user"].to_list() == ["7", "7", "3", "3"]
    for users in (
        pd.Series([7, 3], index=[4, 4]),
        pd.Series([7, 3], dtype="Int64"),
        pd.Series([7.0, 3.0]),
        pd.Series(["7", "3"], dtype="category"),
        pd.Index([7, 3], dtype="int32"),
    ):
        frame = recommender.recommend(users, k=2)
        assert frame["user"].dtype == users.dtype
        assert frame["user"].tolist() == [users.tolist()[row] for row in (0, 0, 1, 1)]
        assert frame["item"].tolist() == expected["item"].to_list()
        assert len(frame.merge(pd.DataFrame({"user": users.array, "name": ["ann", "bob"]}), on="user")) == 4
    for given, kind in (
        (pl.Series([7, 3], dtype=pl.Int32), pl.Int32),
        (pl.Series(["7", "3"], dtype=pl.Categorical), pl.Categorical),
        ([7, 3], pl.Int64),
        (iter([7, 3]), pl.Int64),
        (np.array([7, 3]), pl.Int64),
        (np.array([7, 3], dtype=np.float32), pl.Float32),
        ([7, "3"], pl.String),
    ):
        found = recommender.recommend(given, k=2)
        assert found.schema["user"] == kind
        assert found.drop("user").equals(expected.drop("user"))
        assert recommender.recommend(given, k=2, allow=[]).is_empty()
    assert recommender.recommend([2**80, 7], k=1)["user"].dtype in (pl.String, pl.Int128)
    missing = recommender.recommend(pd.Series([7, None, 3]), k=2)
    assert missing["based_on"].tolist() == ["person and history"] * 2 + ["popularity"] * 2 + ["person and history"] * 2
    assert missing["user"].isna().tolist() == [False] * 2 + [True] * 2 + [False] * 2


def test_scores_and_similar_items(recommender: Recommender) -> None:
    frame = recommender.recommend(["u1"], k=3)
    assert recommender.score("u1", frame["item"]) == pytest.approx(frame["score"].to_list(), abs=1e-6)
    alike = recommender.similar_items("i5", k=4)
    assert alike.columns == ["item", "score", "title"]
    assert "i5" not in alike["item"]
    assert alike["score"].is_sorted(descending=True)
    table = torch.nn.functional.normalize(recommender.model.item_table()[0].detach(), dim=1)
    numbers = [recommender.item_number(item) for item in ("i5", alike["item"][0])]
    assert alike["score"][0] == pytest.approx(float(table[numbers[0]] @ table[numbers[1]]), abs=1e-6)
    assert len(recommender.similar_items("i5", k=1000)) == 19
    assert recommender.similar_items("i5", k=np.int64(4)).equals(alike)  # type: ignore[arg-type]
    assert len(recommender.recommend(["u1"], k=np.int64(3))) == 3  # type: ignore[arg-type]


@pytest.mark.parametrize("model", MODELS)
def test_every_model_recommends(model: str, tmp_path: Path) -> None:
    own = {name: value for name, value in SMALL.items() if name != "embedding_size"}
    result = gaterec.run(model, write_log(tmp_path / "log.csv"), config_dict={**own, "epochs": 1, "checkpoint_dir": str(tmp_path)})
    frame = load(result["folder"]).recommend(["u1", "nobody"], k=3)
    assert len(frame) == 6
    assert frame["score"].is_finite().all()


def test_what_can_not_be_answered_is_told(recommender: Recommender) -> None:
    for ask, told in (
        (lambda: recommender.similar_items("i99"), r"item 'i99': the run knows no such item; did you mean i\d+\?"),
        (lambda: recommender.similar_items("x" * 200), "item 'x{80}': the run knows no such item; train again on a log that has it"),
        (lambda: recommender.explain("u1", "x"), "item 'x': the run knows no such item; train again on a log that has it"),
        (lambda: recommender.recommend(["\udcff"]), r"users: expected text in UTF-8, found '\\udcff'"),
        (lambda: recommender.recommend(["u1"], where={"knd": "sad"}), "where: knd: items have no such column; did you mean kind?"),
        (
            lambda: recommender.recommend(["u1"], where={"training_count": "3"}),
            "where: training_count: items have no such column; known: title, kind",
        ),
        (lambda: recommender.recommend(["u1"], where={"item_id": "i3"}), "where: item_id: items have no such column; did you mean title?"),
        (lambda: recommender.recommend(["u1"], where=["kind"]), "where: expected a dictionary of columns and values, found list"),  # type: ignore[arg-type]
        (lambda: recommender.recommend(["nobody"], strict=True), "user 'nobody': the run knows no such user"),
        (lambda: recommender.recommend(["u1"], histories=[[], []]), "histories: expected one for each of the 1 users, found 2"),
        (lambda: recommender.recommend(["u1"], k=0), "k: expected a whole number from 1 on, found 0"),
        (lambda: recommender.request("u1", k=True), "k: expected a whole number from 1 on, found True"),
        (lambda: recommender.recommend(["u1"], diversity=1.5), "diversity: expected a number from 0 to 1, found 1.5"),
        (lambda: recommender.recommend(["u1"], diversity=float("nan")), "diversity: expected a number from 0 to 1, found nan"),
        (lambda: recommender.recommend(), "expected users, histories, or both"),
        (lambda: recommender.similar_items("i99"), "no such item"),
        (lambda: recommender.similar_items("i1", k=-3), "k: expected a whole number from 1 on, found -3"),
        (lambda: recommender.similar_items("i1", k=0), "k: expected a whole number from 1 on, found 0"),
        (lambda: recommender.similar_items("i1", k=2.0), "k: expected a whole number from 1 on, found 2.0"),  # type: ignore[arg-type]
    ):
        with pytest.raises(RequestError, match=told):
            ask()


def test_a_condition_is_compared_as_what_its_column_holds(recommender: Recommender, tmp_path: Path) -> None:
    items = recommender.items.with_columns(year=1990.0 + pl.int_range(pl.len()))
    recommender = Recommender(replace(recommender.run, items=items))
    for year in (1995, 1995.0, "1995", "1995.0", [1995]):
        assert recommender.recommend(["u1"], where={"year": year}, seen=True)["item"].to_list() == [items.item(5, 0)]
        assert recommender.recommend_to(tmp_path / "lists", ["u1"], where={"year": year}, seen=True) == 1
        assert pl.read_parquet(tmp_path / "lists" / "*.parquet")["item"].to_list() == [items.item(5, 0)]
    assert set(recommender.recommend(["u1"], where={"year": [1995, 1996], "kind": "sad"}, seen=True)["item"]) == set(
        items[5:7].to_series(0)
    )
    for where, told in (
        ({"year": 1995.5}, r"where: year: no item has '1995\.5'; the nearest values are 1995 and 1996"),
        ({"year": 1995, "title": f"Film {items.item(6, 0)[1:]}"}, "where: no item meets all of these conditions"),
    ):
        with pytest.warns(RequestWarning, match=told):
            assert recommender.recommend(["u1"], where=where).is_empty()
        with pytest.warns(RequestWarning, match=told):
            recommender.recommend_to(tmp_path / "lists", ["u1"], where=where)
        assert re.fullmatch(told, recommender.request("u1", where=where).notes[0])
    with pytest.raises(RequestError, match="where: year: expected a number, found 'old'"):
        recommender.recommend(["u1"], where={"year": "old"})


def test_an_item_that_the_run_does_not_know_is_left_out_with_a_note(recommender: Recommender, tmp_path: Path) -> None:
    cases: list[tuple[dict[str, Any], dict[str, Any], str]] = [
        ({"deny": ["i3", "NEW1"]}, {"deny": ["i3"]}, "deny: left out item 'NEW1', which the run does not know"),
        (
            {"allow": ["i3", "i4", "NEW1", "NEW2"]},
            {"allow": ["i3", "i4"]},
            "allow: left out items 'NEW1', 'NEW2', which the run does not know",
        ),
        ({"allow": ["NEW1"]}, {"allow": []}, "allow: left out item 'NEW1', which the run does not know"),
        ({"deny": [f"N{number}" for number in range(9)]}, {}, "deny: left out items 'N0', 'N1', 'N2', 'N3', 'N4' and 4 others, which"),
    ]
    for filters, same, told in cases:
        with pytest.warns(RequestWarning, match=told):
            assert recommender.recommend(["u1"], **filters).equals(recommender.recommend(["u1"], **same))
        with pytest.warns(RequestWarning, match=told):
            recommender.recommend_to(tmp_path / "lists", ["u1"], **filters)
        assert pl.read_parquet(tmp_path / "lists" / "*.parquet").equals(recommender.recommend(["u1"], **same))
        assert recommender.request("u1", **filters).notes[0].startswith(told)
    told = "user 'b': the run does not know item 'NEW1' of the history, which is left out$"
    with pytest.warns(RequestWarning, match=told):
        batch = recommender.recommend(["a", "b", "c"], histories=[["i3"], ["i4", "NEW1"], ["i5"]], k=3)
    assert batch.equals(recommender.recommend(["a", "b", "c"], histories=[["i3"], ["i4"], ["i5"]], k=3))
    with pytest.warns(RequestWarning, match=told):
        assert recommender.score("b", ["i3", "i7"], ["i4", "NEW1"]) == recommender.score("b", ["i3", "i7"], ["i4"])
    why = recommender.explain("b", "i7", ["i4", "NEW1"])
    assert re.search(told, why.notes[0])
    assert why.score == recommender.explain("b", "i7", ["i4"]).score
    assert recommender.explain("b", "i7", ["i4"]).notes == ()
    with pytest.warns(RequestWarning, match=r"history 2: the run does not know items 'NEW1', 'NEW2' of the history, which are left out"):
        recommender.recommend(histories=[["i3"], ["NEW1", "i4", "NEW2"]])
    notes: list[str] = []
    recommender.recommend([f"v{number}" for number in range(8)], histories=[["i3", "NEW1"]] * 8, note=notes.append)
    assert len(notes) == 6
    assert notes[5] == "the histories of 3 more users have items that the run does not know and that are left out"


def test_a_history_of_unknown_items_alone_is_no_history(recommender: Recommender) -> None:
    told = "user 'b': the run does not know item 'NEW1' of the history, which is left out; nothing of the history is left, so the user is treated"
    with pytest.warns(RequestWarning, match=told):
        found = recommender.recommend(["b"], histories=[["NEW1"]])
    assert found.equals(recommender.recommend(["b"]))
    assert found["based_on"].to_list() == ["popularity"] * 10
    with pytest.warns(RequestWarning, match=r"of the history, which is left out$"):  # the log's own events are left
        known = recommender.recommend(["u1"], histories=[["NEW1"]])
    assert known.equals(recommender.recommend(["u1"]))


def test_unknown_items_have_no_score_and_change_no_answer(recommender: Recommender) -> None:
    with pytest.warns(RequestWarning, match="items: no score for item 'NEW1', which the run does not know"):
        found = recommender.score("u1", ["i3", "NEW1", "i4"])
    assert [found[0], found[2]] == recommender.score("u1", ["i3", "i4"])
    assert np.isnan(found[1])
    with pytest.warns(RequestWarning, match="update: user 'u1': left out item 'NEW1', which the run does not know"):
        recommender.update("u1", "NEW1")
    assert recommender.score("u1", ["i3", "i4"]) == [found[0], found[2]]


def late_log(place: Path) -> tuple[Path, dict[str, list[str]]]:
    """A log of people who like even or odd items, of whom the last 20 came after the moment at which test begins, or chose once before it."""
    rows, histories = [], {}
    for user in range(60):
        late = user >= 40
        history = [f"i{(user % 2) + 2 * ((user + 3 * step) % 8)}" for step in range(5)]
        name = f"late{user}" if late else f"u{user}"
        first = [50.0] if user % 4 >= 2 and late else []
        times = [*first, *(1000.0 + step for step in range(5 - len(first)))] if late else [float(user + 10 * step) for step in range(5)]
        histories[name] = history
        rows += [(name, item, when) for item, when in zip(history, times, strict=True)]
    file = place / "late.csv"
    pl.DataFrame(rows, schema=["user_id", "item_id", "timestamp"], orient="row").write_csv(file)
    return file, histories


@pytest.mark.parametrize("model", ["HGN", "BPR", "SASRec", "FPMC", "Caser", "Pop"])
def test_a_user_of_the_log_without_training_is_answered_as_a_stranger_with_that_history(model: str, tmp_path: Path) -> None:
    file, histories = late_log(tmp_path)
    own = SMALL | {"checkpoint_dir": str(tmp_path / "saved"), "eval_args": {"split": {"TS": [0.6, 0, 0.4]}}, "learning_rate": 0.1}
    if model in {"SASRec", "Pop"}:
        del own["embedding_size"]
    recommender = load(gaterec.run(model, str(file), config_dict=own)["folder"])
    late = [name for name in histories if name.startswith("late")]
    counts = dict(recommender.users.select("user_id", "training_count").iter_rows())
    assert {counts[name] for name in late} == {0, 1}
    strangers = [f"stranger of {name}" for name in late]
    found = recommender.recommend(late, k=5)
    expected = recommender.recommend(strangers, k=5, histories=[histories[name] for name in late])
    assert found.drop("user").equals(expected.drop("user"))
    assert set(found["based_on"]) == {"popularity" if model == "Pop" else "history"}
    personal = {"HGN", "BPR", "FPMC", "Caser"}
    trained = next(name for name in histories if counts[name] > 1)
    basis = set(recommender.recommend([trained])["based_on"])
    assert basis == {"popularity" if model == "Pop" else "person and history" if model in personal else "history"}
    recommender.recommend_to(tmp_path / "lists", late, 5)
    assert pl.read_parquet(tmp_path / "lists" / "*.parquet").drop("score").equals(found.drop("score"))
    assert recommender.score(late[0], ["i0", "i1"]) == recommender.score("stranger", ["i0", "i1"], histories[late[0]])
    why = recommender.explain(late[0], "i0")
    assert why.score == pytest.approx(recommender.explain(None, "i0", histories[late[0]]).score, abs=1e-6)
    recommender.recommend(late[:2], strict=True)  # they are of the log


def test_vectors_without_training_say_nothing_of_a_newcomer(tmp_path: Path) -> None:
    file, _ = late_log(tmp_path)
    own = SMALL | {"checkpoint_dir": str(tmp_path / "saved"), "eval_args": {"split": {"TS": [0.6, 0, 0.4]}}}
    recommender = load(gaterec.run("HGN", str(file), config_dict=own)["folder"])
    assert recommender.fold_in is not None
    trained = torch.from_numpy(recommender.users["training_count"].to_numpy() > 1)
    torch.testing.assert_close(recommender.fold_in.mean, recommender.model.user_table()[trained].mean(0))  # type: ignore[index]


def test_a_run_that_does_not_say_how_many_events_were_for_training(folder: Path) -> None:
    run = load_run(folder)
    old = Recommender(replace(run, users=run.users.drop("training_count")))
    assert old.trained.sum() == 60
    assert old.recommend(["u1"]).equals(load(folder).recommend(["u1"]))


def test_the_remedy_for_an_unknown_item_works(tmp_path: Path) -> None:
    log = write_log(tmp_path / "log.csv")
    own = SMALL | {"checkpoint_dir": str(tmp_path / "saved"), "epochs": 1}
    before = load(gaterec.run("HGN", str(log), config_dict=own)["folder"])
    with pytest.raises(RequestError, match="item 'NEW1': the run knows no such item; train again on a log that has it"):
        before.explain("u1", "NEW1")
    with log.open("a") as file:
        file.write("u1,NEW1,99999\n")
    after = load(gaterec.run("HGN", str(log), config_dict=own)["folder"])
    assert after.explain("u1", "NEW1").item == "NEW1"


def test_a_list_is_wanted(recommender: Recommender, tmp_path: Path) -> None:
    frame = pd.DataFrame({"user": ["u1"]})
    one: Any = "u1"
    for ask, told in (
        (lambda: recommender.recommend(one), r"users: expected a list of ids, found text; did you mean ['u1']?"),
        (lambda: recommender.recommend(b"u1"), r"users: expected a list of ids, found text; did you mean [b'u1']?"),
        (lambda: recommender.recommend(frame), "users: expected a list of ids, found a frame; give one of its columns"),
        (lambda: recommender.recommend(pl.from_pandas(frame)), "users: expected a list of ids, found a frame"),
        (lambda: recommender.recommend(7), "users: expected a list of ids, found int; put it into one"),  # type: ignore[arg-type]
        (lambda: recommender.recommend_to(tmp_path / "out", one), "users: expected a list of ids, found text; did you mean ['u1']?"),
        (lambda: recommender.recommend(["u1"], deny="i1"), "deny: expected a list of ids, found text; did you mean ['i1']?"),
        (lambda: recommender.recommend(["u1"], allow="i1"), "allow: expected a list of ids, found text; did you mean ['i1']?"),
        (lambda: recommender.recommend(histories="i1"), "histories: expected a list of lists of ids, found text; did you mean [['i1']]?"),
        (lambda: recommender.recommend(histories=["i1"]), "histories: expected a list of lists of ids, found text; did you mean [['i1']]?"),
        (lambda: recommender.request("u1", "i1"), "history: expected a list of ids, found text; did you mean ['i1']?"),
        (lambda: recommender.score("u1", "i1"), "items: expected a list of ids, found text; did you mean ['i1']?"),
        (lambda: recommender.explain("u1", "i1", "i2"), "history: expected a list of ids, found text; did you mean ['i2']?"),
    ):
        with pytest.raises(RequestError, match=re.escape(told)):
            ask()
    assert list(tmp_path.iterdir()) == []
    for history in (pd.Series(["i1", "i2"]), np.array(["i1", "i2"]), pl.Series(["i1", "i2"])):
        assert recommender.request("x", history).user.items.tolist() == recommender.request("x", ["i1", "i2"]).user.items.tolist()
        assert len(recommender.explain("x", "i3", history).events) == 2


def test_an_explanation_knows_the_title_of_its_item(recommender: Recommender) -> None:
    assert recommender.explain("u1", "i3").title == "Film 3"


def test_among_many_items_no_nearest_one_is_sought(recommender: Recommender, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gaterec.inference.items.MAX_ITEMS_FOR_HINTS", 19)
    with pytest.raises(RequestError, match=r"item 'i99': the run knows no such item; train again on a log that has it$"):
        recommender.item_number("i99")


def test_a_run_without_histories_is_refused(folder: Path, tmp_path: Path) -> None:
    copy = tmp_path / "run"
    shutil.copytree(folder, copy)
    (copy / "histories.safetensors").unlink()
    with pytest.raises(RunError, match="has no histories, as it was made by an older gaterec; train it again"):
        load(copy)


def answered(recommender: Recommender, answer: Answer) -> list[str]:
    return recommender.items.to_series(0).gather(answer.items).to_list()


def test_each_request_of_a_batch_has_its_own_filters(recommender: Recommender) -> None:
    asked: list[dict[str, Any]] = [
        {"k": 3},
        {"k": 30, "seen": True},
        {"k": 5, "deny": ["i1", "i2"], "where": {"kind": "funny"}},
        {"k": 20, "allow": ["i4", "i5", "i6"]},
        {"k": 4, "allow": ["i4", "i5", "i6", "i7", "i8"], "deny": ["i5"], "where": {"kind": "funny"}, "seen": True},
        {"k": 2, "allow": []},
        {"k": 3, "diversity": 0.5},
    ]
    users = ["u1", "u2", "u1", "nobody", "u3", "u4", "u5"]
    answers = recommender.answer([recommender.request(user, **filters) for user, filters in zip(users, asked, strict=True)])
    for user, filters, answer in zip(users, asked, answers, strict=True):
        alone = recommender.recommend([user], **filters)
        assert answered(recommender, answer) == alone["item"].to_list()
        assert answer.scores == pytest.approx(alone["score"].to_numpy(), abs=1e-6)
    assert [len(answer.items) for answer in answers[:3]] == [3, 20, 5]
    assert answered(recommender, answers[4]) == [item for item in answered(recommender, answers[4]) if item in {"i7"}]
    assert len(answers[5].items) == 0
    assert recommender.answer([]) == []


def test_the_order_of_a_batch_changes_no_answer(recommender: Recommender) -> None:
    requests = [recommender.request(f"u{n}", ["i1"] * (n % 3), k=1 + n % 7) for n in range(40)]
    forwards, backwards = recommender.answer(requests), recommender.answer(requests[::-1])[::-1]
    for request, one, other in zip(requests, forwards, backwards, strict=True):
        (alone,) = recommender.answer([request])
        assert one.items.tolist() == other.items.tolist() == alone.items.tolist()
        assert one.scores == pytest.approx(alone.scores, abs=1e-6)


def test_a_history_from_outside_goes_on_where_it_was(recommender: Recommender, folder: Path) -> None:
    fresh = load(folder)
    for length in range(1, 9):
        history = [f"i{n}" for n in range(length)]
        (answer,) = recommender.answer([recommender.request("u1", history, k=5)])
        (stranger,) = recommender.answer([recommender.request("visitor", history, k=5)])
        for user, found in (("u1", answer), ("visitor", stranger)):
            person = fresh.request_users([user], [history])
            assert found.items.tolist() == fresh.best(person, 5, seen=False)[0][0].tolist()
    assert (recommender.following.hits, recommender.following.misses) == (7, 1)  # the stranger has another vector after each event


def test_very_many_at_once_drive_nobody_out(recommender: Recommender) -> None:
    recommender.warm()
    recommender.recommend(["u1"])
    recommender.recommend([f"visitor {n}" for n in range(300)], histories=[["i1"]] * 300)
    assert len(recommender.following) == 1
    recommender.recommend(["u1"], histories=[["i2"]])
    assert (recommender.following.hits, recommender.following.misses) == (1, 1)


def test_diverse_lists_hold_the_best_item_and_more_kinds_of_others(recommender: Recommender) -> None:
    plain, diverse = (lists(recommender.recommend(["u1"], k=6, diversity=diversity))["u1"] for diversity in (0.0, 0.9))
    assert plain[0] == diverse[0]
    assert plain != diverse
    vectors = torch.nn.functional.normalize(recommender.model.item_table()[0].detach(), dim=1)

    def alike(items: list[str]) -> float:
        chosen = vectors[[recommender.item_number(item) for item in items]]
        return float((chosen @ chosen.T).sum())

    assert alike(diverse) < alike(plain)


def test_lists_in_files_are_those_on_the_screen(recommender: Recommender, tmp_path: Path) -> None:
    everybody = recommender.users.to_series(0).to_list()[1:]
    done: list[int] = []
    filters: dict[str, Any] = {"k": 4, "deny": ["i1"], "allow": [f"i{n}" for n in range(15)], "where": {"kind": "sad"}, "seen": True}
    assert recommender.recommend_to(tmp_path / "all", **filters, tell=done.append, per_file=25) == 60
    assert done == [25, 50, 60]
    assert len(list((tmp_path / "all").glob("part-*.parquet"))) == 3
    found = pl.read_parquet(tmp_path / "all" / "*.parquet")
    expected = recommender.recommend(everybody, **filters)
    assert found.drop("score").equals(expected.drop("score"))
    assert found["score"].to_list() == pytest.approx(expected["score"].to_list(), abs=1e-6)
    assert set(found["item"]) <= set(filters["allow"]) - {"i1"}

    recommender.update("u2", "i9")
    for diversity in (0.0, 0.5):
        asked = (name for name in ("u2", "nobody", 7))
        assert recommender.recommend_to(tmp_path / "some", asked, 3, diversity=diversity) == 3
        found = pl.read_parquet(tmp_path / "some" / "*.parquet")
        assert found.equals(recommender.recommend(["u2", "nobody", 7], 3, diversity=diversity))
        assert found["based_on"].unique(maintain_order=True).to_list() == ["person and history", "popularity"]


def test_lists_are_written_whole_or_not_at_all(recommender: Recommender, tmp_path: Path) -> None:
    with pytest.raises(RequestError, match="user 'nobody': the run knows no such user"):
        recommender.recommend_to(tmp_path / "out", ["u1", "nobody"], strict=True, per_file=1)
    assert list(tmp_path.iterdir()) == []
    assert recommender.recommend_to(tmp_path / "out", []) == 0
    (tmp_path / "out" / "letter.txt").write_text("dear")
    with pytest.raises(RequestError, match=r"expected a new folder, or one of such lists, found letter\.txt in it"):
        recommender.recommend_to(tmp_path / "out")
    (tmp_path / "file").write_text("dear")
    (tmp_path / "link").symlink_to("file")
    for name in ("file", "link"):
        with pytest.raises(RequestError, match=f"{name}: expected a new folder, or one of such lists, found a file; nothing was written"):
            recommender.recommend_to(tmp_path / name)
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "part-00000-of-another-program.parquet").touch()
    with pytest.raises(RequestError, match="found part-00000-of-another-program"):
        recommender.recommend_to(tmp_path / "other")
    assert (tmp_path / "link").read_text() == "dear"
    assert not list(tmp_path.glob(".*"))


def test_lists_go_where_one_is(recommender: Recommender, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    assert recommender.recommend_to(".", ["u1"]) == 1
    assert [file.name for file in tmp_path.rglob("*")] == ["here", "part-00000.parquet"]


def test_nobodys_id_is_no_text(tmp_path: Path) -> None:
    log = write_log(tmp_path / "log.csv")
    log.write_text(log.read_text().replace("u7,", "None,"))
    result = gaterec.run("HGN", log, config_dict={**SMALL, "checkpoint_dir": str(tmp_path), "missing_ids": []})
    recommender = load(result["folder"])
    recommender.update("None", "i3")
    named, nobody = recommender.request_users(["None", None], None)
    assert (named.id, named.basis) == ("None", 2)
    assert (nobody.id, nobody.number, nobody.basis) == (None, 0, 0)
    assert recommender.knows_user("None")
    assert not recommender.knows_user(None)
    frame = recommender.recommend([None, "None"], k=2)
    assert frame["user"].to_list() == [None, None, "None", "None"]
    assert frame["based_on"].to_list() == ["popularity"] * 2 + ["person and history"] * 2
    recommender.recommend_to(tmp_path / "lists", [None, "None"], k=2)
    assert pl.read_parquet(tmp_path / "lists" / "*.parquet").drop("score").equals(frame.drop("score"))
    assert recommender.explain(None, "i1", ["i2"]).events["item"].to_list() == ["i2"]
    (person,) = recommender.request_users([None], None)
    for ask, told in (
        (lambda: explain_to(recommender, person, "i1"), "explain: neither a user nor a history: nothing is known of this person"),
        (lambda: recommender.recommend([None], strict=True), "strict: expected users with ids, found one without"),
        (lambda: recommender.update(None, "i1"), "update: whose event"),
    ):
        with pytest.raises(RequestError, match=told):
            ask()


def test_events_that_were_told_come_before_those_of_the_request(recommender: Recommender) -> None:
    past = recommender.request_users(["u2"], None)[0].items.tolist()
    recommender.update("u2", "i9")
    (person,) = recommender.request_users(["u2"], [["i3", "i5"]])
    assert person.items.tolist() == [*past, *(recommender.item_number(item) for item in ("i9", "i3", "i5"))]


@pytest.mark.parametrize("fold", [True, False])
def test_the_scores_of_popular_items_are_their_counts_and_nothing_else(folder: Path, fold: bool) -> None:
    recommender = load(folder, fold_in=fold)
    with torch.no_grad():
        bias = recommender.model.item_table()[1]
        assert bias is not None
        bias += 100.0
    counts = dict(recommender.run.items.select("item_id", "training_count").iter_rows())
    frame = recommender.recommend(["stranger"], k=100)
    assert frame["based_on"].unique().to_list() == ["popularity"]
    assert frame["score"].to_list() == [counts[item] for item in frame["item"]] == sorted(frame["score"], reverse=True)


def test_allow_and_where_both_hold_and_a_value_may_stand_anywhere_in_a_list(recommender: Recommender, tmp_path: Path) -> None:
    allowed = [f"i{number}" for number in range(6)]
    for value, kept in (("funny", {"i1", "i3", "i5"}), ("sad", set(allowed))):
        filters: dict[str, Any] = {"k": 20, "seen": True, "allow": allowed, "where": {"kind": value}}
        assert set(recommender.recommend(["u1"], **filters)["item"]) == kept
        recommender.recommend_to(tmp_path / value, ["u1"], **filters)
        assert set(pl.read_parquet(tmp_path / value / "*.parquet")["item"]) == kept
