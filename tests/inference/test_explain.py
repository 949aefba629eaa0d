"""Why an item was recommended: the parts sum to the score, and are what they are called."""

import json
import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch

import gaterec
from gaterec.errors import RequestError
from gaterec.inference.explain import explain
from gaterec.inference.explanation import EXACT, LEFT_OUT, Explanation
from gaterec.inference.recommender import Recommender, RequestUser, load
from tests.support.commands import write_log

SMALL = {"MAX_ITEM_LIST_LENGTH": 5, "epochs": 3, "state": "WARNING"}
OFF: dict[str, Any] = {"user_term": False, "feature_gate": False, "instance_gate": False, "item_item": False, "item_bias": False}


def trained(place: Path, model: str = "HGN", **changes: Any) -> Recommender:
    result = gaterec.run(model, write_log(place / "log.csv"), config_dict={**SMALL, **changes, "checkpoint_dir": str(place)})
    return load(result["folder"])


@pytest.mark.parametrize("pooling", ["average", "max"])
@pytest.mark.parametrize("off", [None, *OFF])
def test_the_terms_of_hgn_sum_to_the_score(tmp_path: Path, pooling: str, off: str | None) -> None:
    changes: dict[str, Any] = {} if off is None else {off: False}
    recommender = trained(tmp_path, embedding_size=8, pooling_type=pooling, **changes)
    for user in ("u1", "u2", "u3"):
        for item in recommender.recommend([user], k=3)["item"]:
            found = explain(recommender, user, item)
            assert found.method == EXACT
            assert found.lasting is not None
            assert found.bias is not None
            assert found.lasting + found.bias + float(found.events["total"].sum()) == pytest.approx(found.score, abs=1e-5)
            assert found.score == pytest.approx(recommender.score(user, [item])[0], abs=1e-6)
            assert found.events["total"].to_list() == pytest.approx((found.events["gated"] + found.events["direct"]).to_list())
    assert (found.lasting == 0) == (off == "user_term")
    assert (found.bias == 0) == (off == "item_bias")
    assert (found.events["direct"].sum() == 0) == (off == "item_item")
    assert (found.feature_gates is None) == (off == "feature_gate")
    assert found.events["instance_gate"].is_null().all() == (off == "instance_gate")


def test_gates_are_shares(tmp_path: Path) -> None:
    found = explain(trained(tmp_path, embedding_size=8), "u1", "i1")
    assert found.events["instance_gate"].is_between(0, 1).all()
    assert found.feature_gates is not None
    assert found.feature_gates.shape == (len(found.events), 8)
    assert bool(((found.feature_gates > 0) & (found.feature_gates < 1)).all())


@pytest.mark.parametrize("model", ["BPR", "FPMC", "SASRec", "GRU4Rec", "ItemKNN"])
def test_what_if_an_event_were_gone_is_computed_anew(tmp_path: Path, model: str) -> None:
    recommender = trained(tmp_path, model)
    found = explain(recommender, "u1", "i1")
    assert found.method == (EXACT if model in {"BPR", "FPMC"} else LEFT_OUT)
    (person,) = recommender.request_users(["u1"], None)
    for place, score in enumerate(found.events["what_if"]):
        at = len(person.items) - len(found.events) + place
        without = RequestUser("u1", person.number, np.delete(person.items, at))
        assert score == pytest.approx(float(recommender.scores([without])[0, recommender.item_number("i1")]), abs=1e-5)
    if found.method == LEFT_OUT:
        assert found.events["total"].to_list() == pytest.approx([found.score - score for score in found.events["what_if"]], abs=1e-5)
        assert found.lasting is None
    else:
        assert (found.lasting or 0.0) + float(found.events["total"].sum()) == pytest.approx(found.score, abs=1e-5)


def test_in_words_and_as_a_dictionary(tmp_path: Path) -> None:
    recommender = trained(tmp_path, embedding_size=8)
    item = recommender.recommend(["u1"], k=1)["item"][0]
    found = explain(recommender, "u1", item)
    assert str(found).startswith("because ")
    assert "%)" in str(found)
    content = json.loads(json.dumps(found.as_dict(), allow_nan=False))
    assert content["score"] == found.score
    assert content["words"] == str(found)
    assert len(content["events"]) == len(found.events)
    assert np.shape(content["feature_gates"]) == (len(found.events), 8)
    for event, gates in zip(content["events"], content["feature_gates"], strict=True):
        assert event["most_open"] == sorted(range(8), key=lambda feature: -gates[feature])[:3]
    assert explain(recommender, None, item, ["i3", "i5"]).events["item"].to_list() == ["i3", "i5"]


def test_as_a_frame_the_values_sum_to_the_score(tmp_path: Path) -> None:
    found = trained(tmp_path, embedding_size=8).explain("u1", "i1")
    frame = found.as_frame()
    assert frame.columns == ["kind", "item", "value", "share"]
    assert frame["kind"].to_list() == ["lasting", *["gated", "direct"] * len(found.events), "bias"]
    assert frame["item"].to_list() == [None, *(item for item in found.events["item"] for _ in range(2)), None]
    assert frame["value"].sum() == pytest.approx(found.score, abs=1e-5)
    for part in ("gated", "direct"):
        assert frame.filter(kind=part)["value"].to_list() == found.events[part].to_list()
    speaks = sum(max(value, 0) for value in frame["value"])
    assert frame["share"].to_list() == [None if value < 0 else pytest.approx(value / speaks) for value in frame["value"]]
    assert frame["share"].sum() == pytest.approx(1)
    against = replace(found, lasting=-1.0, bias=0.0, events=found.events.with_columns(gated=pl.lit(-1.0), direct=pl.lit(0.0)))
    assert against.as_frame()["share"].is_null().all()


def test_the_item_is_called_by_its_title(tmp_path: Path) -> None:
    found = trained(tmp_path, embedding_size=8).explain("u1", "i1")
    assert (found.title, found.name, found.as_dict()["title"]) == (None, "i1", None)
    titled = replace(found, title="Jam")
    assert (titled.name, titled.as_dict()["title"]) == ("Jam (i1)", "Jam")


@pytest.mark.parametrize("history", [[], ["i3"]])
def test_what_many_choose_is_explained_by_that_alone(tmp_path: Path, history: list[str]) -> None:
    recommender = trained(tmp_path, "Pop")
    for item in recommender.recommend(["u1"], k=3)["item"]:
        found = recommender.explain("u1" if not history else None, item, history)
        assert (found.method, found.lasting, found.bias) == (EXACT, 0.0, found.score)
        assert found.events["total"].to_list() == [0.0] * len(found.events)
        assert str(found) == "because many choose it (100%)"


def test_the_frame_of_a_model_that_is_no_sum(tmp_path: Path) -> None:
    found = trained(tmp_path, "ItemKNN").explain("u1", "i1")
    frame = found.as_frame()
    assert set(frame["kind"]) == {"left out"}
    assert frame["value"].to_list() == found.events["total"].to_list()


def test_long_histories_and_large_scores_still_sum(tmp_path: Path) -> None:
    recommender = trained(tmp_path, embedding_size=32, MAX_ITEM_LIST_LENGTH=300, epochs=1)
    with torch.no_grad():
        for weight in recommender.model.parameters():
            weight.mul_(50)
    recommender = Recommender(recommender.run)  # which keeps what follows from the weights
    dice = random.Random(0)
    found = recommender.explain("u1", "i1", [f"i{dice.randrange(20)}" for _ in range(400)])
    assert len(found.events) == 300
    assert found.as_frame()["value"].sum() == pytest.approx(found.score, rel=1e-3)


def test_nothing_to_explain(tmp_path: Path) -> None:
    recommender = trained(tmp_path)
    with pytest.raises(RequestError, match="nothing is known of this person"):
        explain(recommender, "nobody", "i1")
    with pytest.raises(RequestError, match="item 'x': the run knows no such item"):
        explain(recommender, "u1", "x")
    with pytest.raises(RequestError, match="nothing is known of this person"):
        explain(recommender, "nobody", "i1", ["y"])
    with pytest.raises(RequestError, match=r"explain: for whom\? expected a user, or the history of somebody without an id"):
        explain(recommender, None, "i1", [])


@pytest.mark.parametrize("model", ["HGN", "SASRec", "ItemKNN"])
def test_without_the_only_event_there_is_no_score_to_compare_with(tmp_path: Path, model: str) -> None:
    found = trained(tmp_path, model, epochs=1).explain(None, "i1", ["i2"])
    assert found.events["what_if"].to_list() == [None]
    if found.method == LEFT_OUT:
        assert found.events["total"].to_list() == pytest.approx([found.score])


def told(totals: list[float], lasting: float = 0.0, bias: float = 0.0) -> str:
    """The words for events A, B, ... with these parts of the score."""
    events = pl.DataFrame({"item": list("ABCDEF")[: len(totals)], "total": totals}, schema_overrides={"total": pl.Float64})
    return str(Explanation("u", "x", sum(totals) + lasting + bias, EXACT, lasting, bias, events, None))


def test_the_words_name_the_three_events_that_say_most_and_what_share_each_has() -> None:
    assert told([1.0, 4.0, 2.0, 3.0]) == "because you chose B (40%), D (30%) and C (20%)"
    assert told([1.0, 3.0]) == "because you chose B (75%) and A (25%)"
    assert told([1.0, -9.0, 0.0]) == "because you chose A (100%)"
    assert told([2.0], 1.0, 1.0) == "because you chose A (50%), and your taste over the long run (25%) and that many choose it (25%)"
    assert told([-2.0], 1.0) == "because of your taste over the long run (100%)"
    assert told([-2.0], 0.0, 3.0) == "because many choose it (100%)"
    assert told([199.0], 1.0) == "because you chose A (100%), and your taste over the long run (0%)"
    assert told([201.0], 1.0) == "because you chose A (100%)"
    assert told([-1.0], -1.0, -1.0) == "though nothing in the history speaks for it"
