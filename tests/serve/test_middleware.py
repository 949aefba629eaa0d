"""What stands before every request."""

import asyncio
import json
from collections.abc import Iterator
from typing import Any

import pytest
from starlette.testclient import TestClient

from gaterec.serve.metrics import Metrics
from gaterec.serve.middleware import RequestGuard
from tests.support.servers import Make, problem

TOKEN = "a-token-that-nobody-guesses"
ALMOST = [f"Bearer {token}" for token in (TOKEN[:-1], TOKEN[:1], TOKEN[1:], TOKEN + "s", TOKEN.upper(), TOKEN.title(), f"{TOKEN} {TOKEN}")]


@pytest.fixture
def locked(make: Make) -> Iterator[TestClient]:
    with make(token=TOKEN) as client:
        yield client


@pytest.mark.parametrize("shown", [None, "Bearer wrong", f"Basic {TOKEN}", TOKEN, "Bearer ", "Bearer t\xf6ken", *ALMOST])
def test_without_the_token_nothing_is_told(locked: TestClient, shown: str | None) -> None:
    headers = [] if shown is None else [(b"authorization", shown.encode("latin-1"))]
    for path in ("/users", "/model", "/metrics", "/version", "/nothing", "/items"):
        answer = locked.get(path, headers=headers)
        problem(answer, 401, "token")
        assert answer.headers["www-authenticate"] == "Bearer"
    problem(locked.post("/reload", headers=headers), 401, "token")
    problem(locked.delete("/users/u7", headers=headers), 401, "token")


def test_with_the_token_all_is_as_ever(locked: TestClient) -> None:
    headers = {"authorization": f"Bearer {TOKEN}"}
    assert locked.get("/users", headers=headers).status_code == 200
    assert locked.post("/recommend", json={"user": "u7"}, headers=headers).status_code == 200


def test_what_tells_nothing_needs_no_token(locked: TestClient) -> None:
    for path in ("/", "/health", "/ready", "/docs", "/openapi.json", "/page/docs.js"):
        assert locked.get(path).status_code == 200, path


def test_a_page_of_another_site_can_change_nothing(client: TestClient) -> None:
    problem(client.post("/reload", headers={"origin": "http://evil.example"}), 403, "origin")
    for odd in ("null", "http://[", "127.0.0.1", "http://127.0.0.1@evil.example"):
        problem(client.post("/reload", headers={"origin": odd}), 403, "origin")
    assert client.post("/reload", headers={"origin": "http://127.0.0.1"}).status_code == 200
    answer = client.get("/health", headers={"origin": "http://evil.example"})
    assert "access-control-allow-origin" not in answer.headers


def test_a_server_called_by_a_strange_name_answers_nothing(make: Make) -> None:
    with make(hosts=frozenset({"127.0.0.1", "[::1]"})) as client:
        assert client.get("/health").status_code == 200
        assert client.get("/health", headers={"host": "[::1]:8000"}).status_code == 200
        assert "this server is called 127.0.0.1 or [::1]" in problem(client.get("/users", headers={"host": "evil.example"}), 421, "host")


def test_a_body_has_a_limit(make: Make) -> None:
    with make(body=100) as client:
        told = {"content-type": "application/json"}
        problem(client.post("/recommend", content=b" " * 101, headers=told), 413, "large")

        def parts() -> Iterator[bytes]:  # without a length
            yield from [b" " * 60] * 2

        problem(client.post("/recommend", content=parts(), headers=told), 413, "large")
        assert client.post("/recommend", json={"user": "u7"}).status_code == 200


def test_headers_of_the_page_and_of_answers(client: TestClient) -> None:
    page, docs, answer, missing = (client.get(path) for path in ("/", "/docs", "/items", "/nothing"))
    for response in (page, docs, answer, missing):
        assert response.headers["x-content-type-options"] == "nosniff"
        assert "default-src 'none'" in response.headers["content-security-policy"]
        assert "frame-ancestors 'none'" in response.headers["content-security-policy"]
        assert "server" not in response.headers
    assert "unsafe" not in page.headers["content-security-policy"]
    assert answer.headers["cache-control"] == "no-store"
    assert page.headers["cache-control"] == "no-cache"


def guarded(app: Any, **options: Any) -> RequestGuard:
    return RequestGuard(
        app, **{"metrics": Metrics(), "token": None, "hosts": None, "body": 100, "body_seconds": 5.0, "at_a_time": 2, **options}
    )


async def ask(app: Any, *messages: dict[str, Any], headers: tuple[tuple[bytes, bytes], ...] = ()) -> list[Any]:
    """Send one request to an ASGI app: the messages that it sends back. After the last message nothing comes any more."""
    waiting, sent = list(messages), []

    async def receive() -> Any:
        if waiting:
            return waiting.pop(0)
        await asyncio.sleep(60)

    async def send(message: Any) -> None:
        sent.append(message)

    await app({"type": "http", "method": "POST", "path": "/recommend", "headers": list(headers)}, receive, send)
    return sent


def test_a_body_that_does_not_come_is_not_waited_for() -> None:
    async def app(*whatever: Any) -> None:
        raise AssertionError("nothing is asked of the app")

    part = {"type": "http.request", "body": b"{", "more_body": True}
    sent = asyncio.run(ask(guarded(app, body_seconds=0.05), part, headers=((b"content-length", b"50"),)))
    assert sent[0]["status"] == 408


def test_who_goes_while_sending_breaks_nothing() -> None:
    async def app(*whatever: Any) -> None:
        raise AssertionError("nothing is asked of the app")

    assert asyncio.run(ask(guarded(app), {"type": "http.disconnect"}, headers=((b"content-length", b"50"),))) == []


def test_what_breaks_tells_nothing_of_the_inside(caplog: pytest.LogCaptureFixture) -> None:
    async def app(*whatever: Any) -> None:
        raise RuntimeError("secret of the inside")

    sent = asyncio.run(ask(guarded(app)))
    assert sent[0]["status"] == 500
    assert b"secret" not in sent[1]["body"]
    assert "secret of the inside" in caplog.text


def test_too_many_at_a_time_are_refused_at_once() -> None:
    async def scene() -> None:
        go = asyncio.Event()

        async def app(scope: Any, receive: Any, send: Any) -> None:
            await go.wait()
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.body", "body": b""})

        guard = guarded(app, at_a_time=2)
        under_way = [asyncio.create_task(ask(guard)) for _ in range(2)]
        await asyncio.sleep(0)
        refused = await asyncio.wait_for(ask(guard), 5)  # the third one
        assert refused[0]["status"] == 503
        assert (b"retry-after", b"1") in refused[0]["headers"]
        go.set()
        assert [sent[0]["status"] for sent in await asyncio.gather(*under_way)] == [200, 200]
        assert (await ask(guard))[0]["status"] == 200

    asyncio.run(scene())


def test_what_has_no_room_is_refused_before_its_body_is_read() -> None:
    async def app(*whatever: Any) -> None:
        raise AssertionError("nothing is asked of the app")

    metrics = Metrics()
    begin, body = asyncio.run(ask(guarded(app, metrics=metrics, full=lambda method, path: (method, path) == ("POST", "/recommend"))))
    headers = dict(begin["headers"])
    assert (begin["status"], headers[b"retry-after"], headers[b"cache-control"]) == (503, b"1", b"no-store")
    assert json.loads(body["body"])["type"] == "urn:gaterec:problem:busy"
    assert b'gaterec_requests_total{path="refused",status="503"} 1.0' in metrics.text()
