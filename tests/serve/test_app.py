"""The paths of the server: what they answer, and what they say to bad questions."""

import json
import shutil
import time
from pathlib import Path
from typing import Any

import httpx2 as httpx
import pytest
from starlette.testclient import TestClient

from gaterec.inference.recommender import load
from gaterec.serve.app import Options, make_app
from gaterec.serve.events.store import Event, EventsError, open_store
from gaterec.serve.metrics import Metrics
from gaterec.serve.reloading import Live
from gaterec.serve.service import Service
from tests.support import postgres
from tests.support.servers import Make, problem


def items(answer: httpx.Response) -> list[str]:
    assert answer.status_code == 200, answer.text
    return [row["item"] for row in answer.json()["items"]]


def recommend(client: TestClient, **asked: Any) -> list[str]:
    return items(client.post("/recommend", json=asked))


def test_the_server_recommends_what_the_run_recommends(client: TestClient, run_folder: Path) -> None:
    answer = client.post("/recommend", json={"user": "u7", "k": 4}).json()
    frame = load(run_folder).recommend(["u7"], k=4)
    assert [row["item"] for row in answer["items"]] == frame["item"].to_list()
    assert [row["score"] for row in answer["items"]] == pytest.approx(frame["score"].to_list(), abs=1e-5)
    assert [row["title"] for row in answer["items"]] == frame["title"].to_list()
    assert [row["rank"] for row in answer["items"]] == [1, 2, 3, 4]
    assert (answer["user"], answer["based_on"], answer["model"]) == ("u7", "person and history", run_folder.name)


def test_anyone_gets_an_answer(client: TestClient) -> None:
    answers = {
        name: client.post("/recommend", json=asked).json()["based_on"]
        for name, asked in {
            "history": {"history": ["i3", "i4"]},
            "unknown with history": {"user": "stranger", "history": ["i3"]},
            "unknown": {"user": "stranger"},
            "nobody": {},
        }.items()
    }
    assert answers == {"history": "history", "unknown with history": "history", "unknown": "popularity", "nobody": "popularity"}


def test_filters(client: TestClient) -> None:
    best = recommend(client, user="u7", k=20)
    assert recommend(client, user="u7", k=20, deny=best[:2]) == best[2:]
    assert recommend(client, user="u7", k=20, allow=best[1:3]) == best[1:3]
    assert recommend(client, user="u7", k=20, where={"kind": "funny"}) == [item for item in best if int(item[1:]) % 2]
    assert len(recommend(client, user="u7", k=20, seen=True)) == 20 > len(best)


def test_conditions_are_compared_as_what_the_column_holds(client: TestClient) -> None:
    for year in (1997, 1997.0, "1997", "1997.0", [1997], ["1997", 5]):
        assert recommend(client, user="stranger", where={"year": year}) == ["i7"]
    assert set(recommend(client, user="stranger", where={"year": [1997, "1998"], "kind": ["sad"]})) == {"i7", "i8"}
    answer = client.post("/recommend", json={"user": "stranger", "where": {"year": 1997.5}}).json()
    assert answer["items"] == []
    assert answer["notes"][0] == "where: year: no item has '1997.5'; the nearest values are 1997 and 1998"
    assert answer["notes"][1].startswith("no item is left to recommend to user 'stranger'")
    for bad in ([], None, {"a": 1}, [[1]], [None], [1] * 101, "x" * 600):
        told = problem(client.post("/recommend", json={"where": {"year": bad}}), 422, "input")
        assert told == "where.year: expected text of at most 512 bytes, a number, true or false, or a list of 1 to 100 of these"


def test_unknown_items_are_left_out_with_a_note(client: TestClient) -> None:
    asked: dict[str, Any] = {"user": "stranger", "history": ["i3", "NEW1"], "deny": ["NEW2"], "allow": ["i4", "i5", "NEW3"]}
    answer = client.post("/recommend", json=asked).json()
    assert [row["item"] for row in answer["items"]] == recommend(client, user="stranger", history=["i3"], allow=["i4", "i5"])
    assert answer["notes"] == [
        "user 'stranger': the run does not know item 'NEW1' of the history, which is left out",
        "deny: left out item 'NEW2', which the run does not know",
        "allow: left out item 'NEW3', which the run does not know",
    ]
    assert client.post("/recommend", json={"user": "u7"}).json()["notes"] == []
    why = client.post("/explain", json={"user": "u7", "history": ["NEW1"], "item": "i3"}).json()
    assert why["notes"] == ["user 'u7': the run does not know item 'NEW1' of the history, which is left out"]
    assert why["score"] == client.post("/explain", json={"user": "u7", "item": "i3"}).json()["score"]


def test_an_event_counts_in_the_next_answer(client: TestClient) -> None:
    before = recommend(client, user="u7", k=20)
    answer = client.post("/events", json={"user": "u7", "item": before[0]})
    assert answer.status_code == 201
    assert answer.json()["new"]
    after = recommend(client, user="u7", k=20)
    assert before[0] not in after
    assert after == recommend(client, user="u7", history=[], k=20)
    assert client.get("/users/u7", params={"limit": 1}).json()["history"][0]["item"] == before[0]


def test_events_of_a_stranger_are_their_history(client: TestClient) -> None:
    client.post("/events", json={"user": "stranger", "item": "i3", "timestamp": 20})
    client.post("/events", json={"user": "stranger", "item": "i4", "timestamp": 10})
    assert recommend(client, user="stranger", k=20) == recommend(client, history=["i4", "i3"], k=20)
    person = client.get("/users/stranger").json()
    assert (person["known"], person["events"], person["newer"]) == (False, 2, 2)


def test_an_event_sent_again_counts_once(client: TestClient) -> None:
    event = {"user": "stranger", "item": "i3", "id": "order-17"}
    assert [client.post("/events", json=event).json()["new"] for _ in range(2)] == [True, False]
    assert client.get("/users/stranger").json()["events"] == 1
    assert "gaterec_events_total 1.0" in client.get("/metrics").text


@pytest.mark.parametrize(
    ("timestamp", "says"),
    [
        (1_796_000_000_000, "expected seconds since 1970, found 1796000000000, which looks like milliseconds: divide it by 1,000"),
        (1_796_000_000_000_000, "found 1.796e+15, which looks like microseconds: divide it by 1,000,000"),
        (1_796_000_000_000_000_000, "found 1.796e+18, which looks like nanoseconds: divide it by 1,000,000,000"),
        (1e300, "looks like nanoseconds"),
    ],
)
def test_times_in_another_unit_are_refused_with_its_name(client: TestClient, timestamp: float, says: str) -> None:
    detail = problem(client.post("/events", json={"user": "stranger", "item": "i3", "timestamp": timestamp}), 422, "input")
    assert says in detail
    assert detail.startswith("timestamp")
    assert client.get("/users/stranger").json()["events"] == 0


def test_times_that_retention_would_delete_at_once_are_refused(make: Make) -> None:
    with make(retention=30.0) as client:
        for days, status in ((29.9, 201), (30.1, 422), (20_000, 422)):
            answer = client.post("/events", json={"user": "stranger", "item": "i3", "timestamp": time.time() - days * 86_400})
            assert answer.status_code == status
        detail = problem(client.post("/events", json={"user": "stranger", "item": "i3", "timestamp": 17}), 422, "request")
        assert "timestamp: 17 is 2" in detail
        assert "events older than 30 days are deleted" in detail


def test_positions_are_times_only_where_the_times_of_the_log_are_no_clock(run_folder: Path, tmp_path: Path, make: Make) -> None:
    info = json.loads((run_folder / "run.json").read_text())
    assert info["data"]["times"][0] < info["data"]["times"][1] == 59_000 + 11 or info["data"]["times"][1] < 60_000
    position = {"user": "stranger", "item": "i3", "timestamp": 17}
    folder = tmp_path / "clock"
    shutil.copytree(run_folder, folder)
    for times, status in (([0, 59_011], 201), ([874_724_710, 893_286_638], 422), (None, 201), ("long ago", 201)):
        info["data"]["times"] = times
        (folder / "run.json").write_text(json.dumps(info))
        with make(folder=folder) as client:
            answer = client.post("/events", json=position)
            assert answer.status_code == status
            if status == 422:
                assert "as the times of the log are of a clock, found 17, which is in 1970" in problem(answer, 422, "request")
                assert client.post("/events", json={**position, "timestamp": 893_286_638}).status_code == 201


@pytest.mark.parametrize(
    ("path", "asked", "says"),
    [
        ("/events", {"user": "u7", "item": "i3", "timestamp": time.time() + 3600}, "expected a time that is past, found one 3,"),
        ("/events", {"user": "u7", "item": "nothing"}, "item 'nothing': the run knows no such item"),
        ("/recommend", {"user": "u7", "where": {"year": "old"}}, "where: year: expected a number, found 'old'"),
        ("/recommend", {"user": "u7", "where": {"colour": "red"}}, "where: colour: items have no such column"),
        ("/explain", {"user": "stranger", "item": "i3"}, "nothing is known of this person"),
        ("/explain", {"user": "u7", "item": "nothing"}, "item 'nothing': the run knows no such item"),
    ],
)
def test_what_can_not_be_answered_is_told_in_one_line(client: TestClient, path: str, asked: dict[str, Any], says: str) -> None:
    detail = problem(client.post(path, json=asked), 422, "request")
    assert says in detail
    assert "\n" not in detail


@pytest.mark.parametrize(
    ("path", "content", "says"),
    [
        ("/recommend", '{"k": 0}', "k: expected a number greater than or equal to 1, found 0"),
        ("/recommend", '{"k": 1001}', "k: expected a number less than or equal to 1000, found 1001"),
        ("/recommend", json.dumps({"history": ["i3"] * 1001}), "history: expected at most 1000 of them"),
        ("/recommend", '{"history": ["i3", ""]}', "history[1]: expected text of at least 1 characters, found ''"),
        ("/recommend", '{"user": "\\ud800"}', "user: "),
        ("/recommend", '{"user": "a\\u0000"}', "user: "),
        ("/recommend", '{"colour": "red"}', "colour: there is no such field; leave it out"),
        ("/recommend", "{", "expected JSON, found text that is malformed or ends too early"),
        ("/recommend", '{"user": "u7", "k": "many"}', "k: expected a whole number, found 'many'"),
        ("/events", '{"user": "u7", "item": "i3", "timestamp": NaN}', "timestamp: expected a finite number"),
        ("/explain", '{"user": "u7"}', "item: expected a value, found none"),
    ],
)
def test_bad_questions_are_told_where_they_are_bad(client: TestClient, path: str, content: str, says: str) -> None:
    answer = client.post(path, content=content, headers={"content-type": "application/json"})
    assert says in problem(answer, 422, "input")


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("{", "body, letter 1: expected JSON, found text that is malformed or ends too early"),
        ("[1", "body, letter 2: expected JSON, found text that is malformed or ends too early"),
    ],
)
def test_what_is_no_json_is_told_where_it_ends(client: TestClient, content: str, says: str) -> None:
    assert says in problem(client.post("/recommend", content=content, headers={"content-type": "application/json"}), 422, "input")


def test_json_must_say_that_it_is(client: TestClient) -> None:
    for headers in ({"content-type": "text/plain"}, {"content-type": "application/x-www-form-urlencoded"}):
        told = problem(client.post("/recommend", content='{"user": "u7"}', headers=headers), 415, "content")
        assert told == f"content-type: expected application/json, found {headers['content-type']}"


def test_what_is_no_text_is_told_by_its_name(client: TestClient) -> None:
    for path, name in (("/item?item=%00", "item"), ("/users/%00", "user"), ("/items?q=%00", "q")):
        assert problem(client.get(path), 422, "request").startswith(f"{name}: expected text without NUL")
    assert problem(client.delete("/users/%00"), 422, "request").startswith("user: expected text")


def test_numbers_are_ids_too(client: TestClient) -> None:
    assert client.post("/recommend", json={"user": 7, "k": 1}).json()["user"] == "7"


def test_an_explanation_sums_to_the_score(client: TestClient) -> None:
    (best,) = recommend(client, user="u7", k=1)
    found = client.post("/explain", json={"user": "u7", "item": best}).json()
    assert found["method"] == "exact sum"
    assert found["lasting"] + found["bias"] + sum(event["total"] for event in found["events"]) == pytest.approx(found["score"], abs=1e-5)
    assert all(event["gated"] + event["direct"] == pytest.approx(event["total"], abs=1e-6) for event in found["events"])
    assert len(found["feature_gates"]) == len(found["events"])
    assert found["words"].startswith("because you chose")


def test_an_explanation_is_of_the_score_that_was_recommended_by(client: TestClient) -> None:
    client.post("/events", json={"user": "u7", "item": "i3"})
    best = client.post("/recommend", json={"user": "u7", "k": 1}).json()["items"][0]
    found = client.post("/explain", json={"user": "u7", "item": best["item"]}).json()
    assert found["score"] == pytest.approx(best["score"], abs=1e-5)
    assert found["events"][-1]["item"] == "i3"


def test_explanations_name_nobody_else(client: TestClient) -> None:
    text = client.post("/explain", json={"user": "u7", "item": "i3"}).text
    assert not [f"u{number}" for number in range(60) if number != 7 and f'"u{number}"' in text]


def test_similar_items(client: TestClient, run_folder: Path) -> None:
    answer = client.get("/similar", params={"item": "i3", "k": 3})
    assert items(answer) == load(run_folder).similar_items("i3", 3)["item"].to_list()
    assert answer.json()["item"] == {"item": "i3", "title": "Film 3"}


def test_items_are_found_by_title(client: TestClient) -> None:
    assert items(client.get("/items", params={"q": "film 7"})) == ["i7"]
    assert set(items(client.get("/items", params={"q": "FILM 1"}))) == {"i1", *(f"i1{number}" for number in range(10))}
    assert items(client.get("/items", params={"q": "i7"})) == ["i7"]
    assert items(client.get("/items", params={"q": "no such film"})) == []
    assert len(items(client.get("/items", params={"limit": 5}))) == 5
    item = client.get("/item", params={"item": "i7"}).json()
    assert (item["title"], item["columns"]["kind"]) == ("Film 7", "funny sad")


def test_people_are_found_by_id(client: TestClient) -> None:
    assert set(client.get("/users", params={"q": "u5"}).json()["users"]) == {"u5", *(f"u5{number}" for number in range(10))}
    assert client.get("/users").json()["total"] == 60


def test_the_earlier_names_of_routes_and_fields_answer_the_same(client: TestClient) -> None:
    users, old = client.get("/users", params={"q": "u5", "limit": 3}).json(), client.get("/people", params={"q": "u5", "limit": 3}).json()
    assert (old["people"], old["total"]) == (users["users"], users["total"])
    assert client.get("/person", params={"user": "u7", "limit": 2}).json() == client.get("/users/u7", params={"limit": 2}).json()
    assert client.get("/person", params={"user": "u7", "limit": 0}).status_code == 422
    assert client.get("/model").json()["people"] == client.get("/model").json()["users"] == 60
    document = client.get("/openapi.json").json()
    assert {"/users", "/users/{user}"} <= document["paths"].keys()
    assert not {"/people", "/person"} & document["paths"].keys()
    assert document["components"]["schemas"]["ModelAnswer"]["properties"]["people"]["deprecated"]


def test_deleting_a_person(client: TestClient) -> None:
    for item in ("i3", "i4"):
        client.post("/events", json={"user": "u7", "item": item})
    answer = client.delete("/users/u7").json()
    assert answer["deleted"] == 2
    assert "learned from this person" in answer["left"][1]
    # Nothing of the run's is used any more, and they are not offered.
    assert client.post("/recommend", json={"user": "u7"}).json()["based_on"] == "popularity"
    assert client.get("/users/u7").json() == {"user": "u7", "known": False, "events": 0, "newer": 0, "history": []}
    assert "u7" not in client.get("/users", params={"q": "u7"}).json()["users"]
    # Who comes back is somebody new.
    client.post("/events", json={"user": "u7", "item": "i5"})
    assert recommend(client, user="u7", k=20) == recommend(client, history=["i5"], k=20)


def test_a_deletion_leaves_nothing_in_memory(run_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = open_store(tmp_path / "events.db")
    service = Service(Live(run_folder), store, Metrics(), queue=64, batch=16, seconds=10.0)
    following = service.live.current.recommender.following
    with TestClient(make_app(service, Options(watch=0.0)), base_url="http://127.0.0.1", raise_server_exceptions=False) as client:
        for user, status in (("u8", 200), ("u9", 503)):
            recommend(client, user=user)
            assert user in following._entries
            assert client.delete(f"/users/{user}").status_code == status
            assert user not in following._entries
            monkeypatch.setattr(store, "delete", broken)  # deleted, but its log could not be cleared, say


def broken(*whatever: Any) -> Any:
    raise EventsError("the disk is gone")


def test_deleting_a_stranger_and_odd_ids(client: TestClient) -> None:
    for user in ("stranger", "a/b c?d"):
        client.post("/events", json={"user": user, "item": "i3"})
        answer = client.delete("/users/" + user.replace("/", "%2F").replace("?", "%3F"))
        assert (answer.json()["user"], answer.json()["deleted"]) == (user, 1)
        assert not any("learned" in line for line in answer.json()["left"])


def test_events_survive_a_restart(make: Make) -> None:
    with make() as first:
        first.post("/events", json={"user": "stranger", "item": "i3"})
    with make() as second:
        assert second.get("/users/stranger").json()["events"] == 1


def test_old_events_are_deleted_again_and_again(make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gaterec.serve.app.EXPIRING", 0.05)
    store = open_store(tmp_path / "events.db")

    def add(days: float) -> None:
        store.submit([Event("stranger", "i3", time.time() - days * 86_400, str(days))]).result(30)

    for days in (29, 31):
        add(days)
    with make(retention=30.0) as client:
        for days in (32, 33):
            until = time.monotonic() + 10
            while client.get("/users/stranger").json()["events"] > 1 and time.monotonic() < until:
                time.sleep(0.02)
            assert client.get("/users/stranger").json()["events"] == 1
            add(days)
    assert not store.submit([Event("stranger", "i3", 1.0, "29")]).result(30)[0]
    store.close()


def test_what_kind_of_server_it_is(client: TestClient, run_folder: Path) -> None:
    assert client.get("/health").json() == {"status": "up"}
    assert client.get("/ready").json() == {"status": "ready"}
    assert client.get("/version").json()["model"] == run_folder.name
    model = client.get("/model").json()
    assert (model["users"], model["items"], model["curves"][0]["name"]) == (60, 20, "loss")
    assert set(model["figures"]) == {"HGN", "Pop"}


def test_figures_for_prometheus(client: TestClient) -> None:
    recommend(client, user="u7")
    recommend(client, user="u7")
    recommend(client, user="stranger")
    client.post("/events", json={"user": "u7", "item": "i3"})
    client.post("/recommend", json={"k": 0})
    lines = client.get("/metrics").text.splitlines()
    assert 'gaterec_requests_total{path="/recommend",status="200"} 3.0' in lines
    assert 'gaterec_requests_total{path="/recommend",status="422"} 1.0' in lines
    assert "gaterec_fallbacks_total 1.0" in lines
    assert "gaterec_events_total 1.0" in lines
    assert "gaterec_queue_length 0.0" in lines
    assert "gaterec_batch_size_count 3.0" in lines
    assert sum(float(line.split()[1]) for line in lines if line.startswith("gaterec_windows_total{")) == 2


def test_paths_and_methods_that_are_not_there(client: TestClient) -> None:
    problem(client.get("/nothing"), 404, "path")
    problem(client.get("/recommend"), 405, "method")
    problem(client.get("/page/../app.py"), 404, "path")
    problem(client.get("/page/%2e%2e/app.py"), 404, "path")


def test_heads_of_pages(client: TestClient) -> None:
    assert [client.head(path).status_code for path in ("/", "/docs")] == [200, 200]


def test_the_document_of_the_api_names_every_path(client: TestClient) -> None:
    paths = set(client.get("/openapi.json").json()["paths"])
    assert {"/recommend", "/explain", "/events", "/similar", "/items", "/users/{user}", "/reload", "/metrics", "/ready"} <= paths
    assert client.get("/docs").status_code == client.get("/docs/swagger/swagger-ui-bundle.js").status_code == 200


@pytest.mark.postgres
@pytest.mark.slow
@pytest.mark.skipif(postgres.programs() is None, reason="PostgreSQL is not installed")
def test_servers_that_share_a_database_see_each_others_events_and_deletions_at_once(make: Make) -> None:
    with postgres.server() as address, make(events=address) as one, make(events=address) as other:
        for item in ("i3", "i4", "i5"):
            assert one.post("/events", json={"user": "stranger", "item": item}).status_code == 201
            assert other.get("/users/stranger", params={"limit": 1}).json()["history"][0]["item"] == item
        assert recommend(other, user="stranger", k=20) == recommend(one, history=["i3", "i4", "i5"], k=20)
        assert other.delete("/users/stranger").json()["deleted"] == 3
        assert one.post("/recommend", json={"user": "stranger"}).json()["based_on"] == "popularity"


def test_where_the_queue_is_full_what_needs_the_model_is_refused_and_nothing_else(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Service, "full", True)
    asked = {"user": "u7", "item": "i3"}
    waits = [("POST", "/recommend"), ("POST", "/explain"), ("GET", "/similar?item=i3"), ("GET", "/users/u7"), ("GET", "/users/a/b")]
    for method, path in waits:
        problem(client.request(method, path, json=asked if method == "POST" else None), 503, "busy")
    for method, path in [("GET", "/users"), ("GET", "/items"), ("GET", "/health"), ("POST", "/events"), ("DELETE", "/users/u7")]:
        assert client.request(method, path, json=asked if method == "POST" else None).status_code in (200, 201), path
    assert f'gaterec_requests_total{{path="refused",status="503"}} {len(waits)}.0' in client.get("/metrics").text
