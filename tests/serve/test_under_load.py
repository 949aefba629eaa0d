"""Too many requests, reloads while others are answered, and sudden death: small forms of benchmarks/serving_*.py, which say how fast."""

import json
import time
from pathlib import Path

import httpx
import pytest

from benchmarks.load import Running, request, run_closed, run_open
from benchmarks.served import recommendations, served
from benchmarks.serving_kills import kills
from benchmarks.serving_overload import overload
from benchmarks.serving_reload import reloads

pytestmark = pytest.mark.slow

PEOPLE = [f"u{number}" for number in range(60)]


def test_what_is_too_much_is_refused_and_the_rest_answered(run_folder: Path, tmp_path: Path) -> None:
    with served(run_folder, tmp_path / "events.db", "--queue=8", "--batch=4") as server:
        found = overload(server, recommendations(PEOPLE), seconds=1.5, warm=0.3, after=0.5)
        with server.client() as client:
            assert client.ready().status == "ready"
    for load in (found.before, found.during, found.beside, found.after):
        assert load.statuses[200] > 0
        assert (load.failed, load.without_retry) == (0, 0)
    assert found.during.statuses[503] > 0
    assert json.loads(found.during.bodies[503])["type"] == "urn:gaterec:problem:busy"
    assert len(json.loads(found.during.bodies[200])["items"]) == 10


def test_the_refused_are_counted_and_others_are_not_refused(run_folder: Path, tmp_path: Path) -> None:
    with served(run_folder, tmp_path / "events.db", "--queue=1", "--batch=1") as server:
        found = run_closed(server.port, recommendations(PEOPLE), 32, 0.5)
        beside = run_open(server.port, [request("GET", "/health")], 200, 0.5, 8)
        text = httpx.get(f"http://127.0.0.1:{server.port}/metrics").text
    assert found.statuses[503] > 0
    assert beside.statuses == {200: 100, 0: 0}
    (line,) = (line for line in text.splitlines() if line.startswith('gaterec_requests_total{path="refused",status="503"}'))
    assert float(line.split()[1]) <= found.statuses[503]  # others got as far as the queue


def test_no_request_fails_while_runs_are_taken(run_folder: Path, tmp_path: Path) -> None:
    with served(run_folder, tmp_path / "events.db") as server:
        found, took = reloads(server, recommendations(PEOPLE), 10, 2.0)
    assert len(took) == 10
    assert found.statuses[200] > 0
    assert found.statuses == {200: found.statuses[200]}


def test_what_was_acknowledged_survives_sudden_death(run_folder: Path, tmp_path: Path) -> None:
    found = kills(run_folder, tmp_path / "events.db", 2, item="i3")
    assert found.acknowledged
    assert found.acknowledged <= found.kept <= found.sent


@pytest.mark.parametrize("body", [b"{}", b" " * 60_000 + b"{}"], ids=["small", "large"])
def test_a_refusal_leaves_its_connection_in_order(run_folder: Path, tmp_path: Path, body: bytes) -> None:
    """The body of a refused request is no request: what comes after it on the same connection is."""
    with served(run_folder, tmp_path / "events.db", "--queue=1", "--batch=1") as server, httpx.Client() as client:
        statuses: set[int] = set()
        until = time.monotonic() + 20
        while statuses < {200, 503} and time.monotonic() < until:
            load = Running("closed", server.port, recommendations(PEOPLE), 16, 1.0)
            for _ in range(200):
                answer = client.post(
                    f"http://127.0.0.1:{server.port}/recommend", content=body, headers={"content-type": "application/json"}
                )
                statuses.add(answer.status_code)
                assert client.get(f"http://127.0.0.1:{server.port}/health").json() == {"status": "up"}
            load.result()
        assert statuses == {200, 503}
