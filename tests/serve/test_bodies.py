"""Bodies of requests: what no question needs is refused before it costs the event loop anything. One server process is attacked."""

import json
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from gaterec.serve.bodies import MAX_KEYS, MAX_VALUES, read_json
from gaterec.serve.schemas import MAX_COLUMNS, MAX_FILTER, MAX_HISTORY, EventRequest, ExplainRequest, RecommendRequest
from gaterec.serve.schemas import MAX_VALUES as COLUMN_VALUES
from tests.support.servers import serving

pytestmark = pytest.mark.slow

JSON = {"content-type": "application/json"}


@pytest.fixture(scope="module")
def server(run_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    with (
        serving(run_folder, tmp_path_factory.mktemp("bodies") / "events.db", "--watch=0") as running,
        httpx.Client(base_url=running.address, headers=JSON) as client,
    ):
        yield client


def listed(value: str, times: int, name: str = "deny") -> str:
    return f'{{"{name}": [{",".join([value] * times)}]}}'


REFUSED: dict[str, tuple[str | bytes, str]] = {
    "100,000 fields": (
        "{" + ",".join(f'"a{number}":0' for number in range(70_000)) + "}",
        "body: expected at most 25,000 values, found more",
    ),
    "fields that hold commas": (
        "{" + ",".join(f'",:[{number}":0' for number in range(60_000)) + "}",
        "body: expected at most 25,000 values",
    ),
    "33 fields": ("{" + ",".join(f'"a{number}":0' for number in range(33)) + "}", "body: expected at most 32 keys in an object, found 33"),
    "20,000 fields": ("{" + ",".join(f'"a{number}":0' for number in range(10_000)) + "}", "at most 32 keys in an object, found 10,000"),
    "500,000 numbers": (listed("0", 500_000), "body: expected at most 25,000 values"),
    "300,000 empty objects": (listed("{}", 300_000), "body: expected at most 25,000 values"),
    "300,000 empty lists": (listed("[]", 300_000), "body: expected at most 25,000 values"),
    "20,000 nulls": (listed("null", 20_000), "deny[0]: "),
    "20,000 empty texts": (listed('""', 20_000, "history"), "history[0]: "),
    "a list that is too long": (listed('"i3"', 20_000), "deny: "),
    "nested lists": ("[" * 20_000, "body: expected objects and lists, found them nested too deeply"),
    "nested objects": ('{"where":' * 10_000, "body: expected objects and lists, found them nested too deeply"),
    "a long number": ('{"k": ' + "9" * 1_000_000 + "}", "body: expected numbers of at most 4,300 digits, found a longer one"),
    "a number that is no k": ('{"k": ' + "9" * 4000 + "}", "k: "),
    "a number beyond floats": ('{"diversity": 1e400}', "diversity: "),
    "a key twice": ('{"user": "u1", "user": "u2"}', "body: expected each key once, found 'user' twice"),
    "a column twice": ('{"where": {"kind": "sad", "kind": "funny"}}', "body: expected each key once, found 'kind' twice"),
    "a long text": ('{"user": "' + "a" * 1_000_000 + '"}', "user: "),
    "a long key": ('{"' + "a" * 900_000 + '": 0}', ": "),
    "half a text": ('{"user": "' + "\\" * 500_001, "expected JSON, found text that is malformed or ends too early"),
    "UTF-16": ('{"user": "u7"}'.encode("utf-16"), "body: expected JSON in UTF-8, found byte 0xff at position 0"),
    "no UTF-8": (b'{"user": "\xff"}', "body: expected JSON in UTF-8, found byte 0xff at position 10"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_body_that_no_question_needs_is_refused_in_a_short_answer(server: httpx.Client, name: str) -> None:
    content, says = REFUSED[name]
    answer = server.post("/recommend", content=content)
    told = answer.json()
    assert (answer.status_code, told["type"]) == (422, "urn:gaterec:problem:input")
    assert says in told["detail"]
    assert told["detail"].count(";") < 5
    assert len(answer.content) < 2000
    assert server.get("/health").status_code == 200


def test_the_largest_question_is_answered(server: httpx.Client) -> None:
    item = "i3"
    asked = {"user": "u7", "deny": [item] * MAX_FILTER, "allow": ["i4"] * MAX_FILTER, "history": [item] * MAX_HISTORY, "k": 1}
    answer = server.post("/recommend", content=json.dumps(asked))
    assert answer.status_code == 200, answer.text


def test_ids_may_hold_the_marks_of_json(server: httpx.Client) -> None:
    asked = {"history": ["i3"], "user": ',:[{\\"', "k": 1}
    assert server.post("/recommend", content=json.dumps(asked)).json()["user"] == ',:[{\\"'
    ids = [",:[{" * 20] * 2000  # 160,000 marks, and 2,000 values
    assert read_json(json.dumps({"deny": ids}).encode()) == {"deny": ids}


def test_the_limits_leave_room_for_every_question() -> None:
    assert MAX_VALUES > 2 * MAX_FILTER + MAX_HISTORY + MAX_COLUMNS * (COLUMN_VALUES + 2) + 2 * MAX_KEYS
    assert max(len(kind.model_fields) for kind in (RecommendRequest, ExplainRequest, EventRequest)) <= MAX_KEYS >= MAX_COLUMNS


@pytest.mark.parametrize("path", ["/explain", "/events"])
def test_every_path_reads_its_body_so(server: httpx.Client, path: str) -> None:
    answer = server.post(path, content='{"item": "i1", "item": "i2"}')
    assert (answer.status_code, answer.json()["detail"]) == (422, "body: expected each key once, found 'item' twice")
