"""The client: against a server in a process of its own, and against answers that a server gives in its bad hours."""

import json
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import polars as pl
import pytest

from gaterec import GaterecError
from gaterec.errors import RequestError
from gaterec.serve import client
from gaterec.serve.client import Client, ServerError
from tests.support.servers import serving, train

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    place = tmp_path_factory.mktemp("client")
    with serving(train(place), place / "events.db") as running:
        yield running.address


@pytest.fixture
def server(address: str) -> Iterator[Client]:
    with Client(address + "/") as there:
        yield there


def test_it_asks_about_people(server: Client) -> None:
    best = server.recommend("u7", k=20)
    assert (best.user, best.based_on, len(best.items)) == ("u7", "person and history", len({row.item for row in best.items}))
    top = [row.item for row in best.items]
    assert [row.item for row in server.recommend("u7", k=20, deny=top[:2]).items] == top[2:]
    assert [row.item for row in server.recommend("u7", k=20, allow=top[1:3]).items] == top[1:3]
    assert [row.item for row in server.recommend("u7", k=20, where={"kind": "funny"}).items] == [item for item in top if int(item[1:]) % 2]
    assert len(server.recommend("u7", k=20, seen=True).items) == 20
    assert server.recommend(history=["i3"]).based_on == "history"
    why = server.explain(top[0], "u7")
    assert why.score == pytest.approx(best.items[0].score, abs=1e-4)
    assert "u7" in server.users("u7").users
    assert server.user("u7").known


def test_it_sends_conditions_and_ids_of_any_type(server: Client) -> None:
    for year in (1997, 1997.0, "1997", [1997], pl.Series([1997.0])):
        assert [row.item for row in server.recommend("stranger", where={"year": year}).items] == ["i7"]
    assert server.recommend(where={"year": 5}).notes[0] == "where: year: no item has '5'; the nearest values are 1990"
    assert server.recommend("stranger", ["i3", "NEW1"]).notes == [
        "user 'stranger': the run does not know item 'NEW1' of the history, which is left out"
    ]
    assert server.add_event(7.0, "i3").user == server.user(7).user == "7"
    assert server.delete_user(7.0).deleted == 1
    with pytest.raises(RequestError, match="where: year: expected text, a number, a boolean or a date, found None"):
        server.recommend(where={"year": None})
    with pytest.raises(RequestError, match="deny: expected a list of ids, found text"):
        server.recommend(deny="i3")


def test_the_earlier_names_of_methods_warn_and_answer_the_same(server: Client) -> None:
    with pytest.warns(DeprecationWarning, match=r"Client\.users"):
        assert server.people("u7").people == server.users("u7").users
    with pytest.warns(DeprecationWarning, match=r"Client\.user"):
        assert server.person("u7") == server.user("u7")


def test_it_asks_about_items_and_the_run(server: Client) -> None:
    assert len(server.similar("i3", k=4).items) == 4
    assert [row.title for row in server.items("film 7").items] == ["Film 7"]
    assert server.item("i7").columns["kind"] == "funny sad"
    assert server.model().users == 60
    assert server.version().model == server.model().model == server.reload().before
    assert (server.health().status, server.ready().status) == ("up", "ready")


@pytest.mark.parametrize("user", ["fresh", "a/b", "/", "..", ".", "a?b=c#d&e %2F+", "Ж ☂", "line\nbreak", "end\n", " ", "a" * 512])
def test_an_event_counts_and_is_deleted_whatever_the_persons_id(server: Client, user: str) -> None:
    with pytest.raises(RequestError, match="which looks like milliseconds: divide it by 1,000"):
        server.add_event(user, "i3", timestamp=1_796_000_000_000)
    added = server.add_event(user, "i3", timestamp=5)
    assert (added.user, added.item, added.timestamp, added.new) == (user, "i3", 5.0, True)
    assert server.user(user).newer == 1
    assert server.recommend(user).based_on == "history"
    assert (deleted := server.delete_user(user)).deleted == 1
    assert deleted.user == user
    assert server.user(user).newer == 0


def test_an_event_of_one_id_counts_once(server: Client) -> None:
    assert [server.add_event("twice", "i3", id="one").new for _ in range(2)] == [True, False]
    assert [server.add_event("often", "i3").new for _ in range(2)] == [True, True]


def test_what_the_server_refuses_is_told_in_one_line(server: Client) -> None:
    with pytest.raises(ServerError, match="i3000") as refused:
        server.similar("i3000")
    assert (refused.value.status, refused.value.name) == (422, "urn:gaterec:problem:request")
    assert "\n" not in str(refused.value)
    assert isinstance(refused.value, GaterecError)


@pytest.mark.parametrize(
    "ask",
    [
        lambda server: server.recommend("u7", k=0),
        lambda server: server.recommend("u7", history=[""]),
        lambda server: server.explain(None, "u7"),
        lambda server: server.add_event("u\0", "i3"),
        lambda server: server.item("\ud800"),
        lambda server: server.items("\ud800"),
        lambda server: server.delete_user(""),
    ],
)
def test_what_cannot_be_asked_is_told_in_one_line(server: Client, ask: Callable[[Client], object]) -> None:
    with pytest.raises(RequestError) as refused:
        ask(server)
    assert "\n" not in str(refused.value)


def test_nobody_there_is_told_in_one_line() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{free.getsockname()[1]}"
        with Client(address) as there, pytest.raises(ServerError, match=r"can't be reached: .*refused") as failed:
            there.health()
    assert (failed.value.status, str(failed.value).startswith(address)) == (0, True)


@pytest.mark.parametrize("address", ["nowhere", "http://[", "ftp://127.0.0.1"])
def test_what_is_no_address_is_told_in_one_line(address: str) -> None:
    with pytest.raises(GaterecError, match=r"address|can't be reached"), Client(address) as there:
        there.health()


@pytest.mark.parametrize("proxy", ["junk", "junk://there", "http://[", "http://:x", "socks9://x", "http://127.0.0.1:1"])
def test_a_junk_proxy_is_told_in_one_line_and_its_remedy_helps(address: str, proxy: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", proxy)
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.delenv("no_proxy", raising=False)
    with pytest.raises(GaterecError, match=r"HTTP_PROXY, HTTPS_PROXY or ALL_PROXY|can't be reached") as refused:
        Client(address).health()
    assert "\n" not in str(refused.value)
    monkeypatch.delenv("HTTP_PROXY")
    with Client(address) as there:
        assert there.health().status == "up"


# -- bad hours -------------------------------------------------------------------------------------------------------------------------


class Script(httpx.BaseTransport):
    """Answers in turn; an exception is raised. It remembers what was asked."""

    def __init__(self, *answers: httpx.Response | Exception) -> None:
        self.answers, self.asked = list(answers), list[httpx.Request]()

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        self.asked.append(request)
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer


def busy(after: str | None = "2") -> httpx.Response:
    content = {"type": "urn:gaterec:problem:busy", "title": "Service Unavailable", "status": 503, "detail": "too many"}
    return httpx.Response(503, json=content, headers={} if after is None else {"retry-after": after})


UP = {"status": "up"}
ADDED = {"user": "u", "item": "i", "timestamp": 1.0, "new": True}


@pytest.fixture
def slept(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The waits, none of which is waited."""
    waits: list[float] = []
    monkeypatch.setattr("gaterec.serve.client.time.sleep", waits.append)
    return waits


def there(*answers: httpx.Response | Exception, **options: Any) -> tuple[Client, Script]:
    script = Script(*answers)
    return Client("http://127.0.0.1", transport=script, **options), script


def test_what_is_busy_is_asked_again_after_what_it_says(slept: list[float]) -> None:
    server, _ = there(busy("2"), busy(None), httpx.Response(200, json=UP))
    assert server.health().status == "up"
    assert slept == [2.0, 1.0]


def test_it_gives_up(slept: list[float]) -> None:
    server, script = there(*[busy("1")] * 9)
    with pytest.raises(ServerError, match="too many") as refused:
        server.health()
    assert (refused.value.status, refused.value.name, refused.value.retry_after) == (503, "urn:gaterec:problem:busy", 1.0)
    assert len(script.asked) == 1 + client.RETRIES


def test_it_is_not_more_patient_than_said(slept: list[float]) -> None:
    server, script = there(busy("3600"))
    with pytest.raises(ServerError) as refused:
        server.health()
    assert (refused.value.retry_after, slept, len(script.asked)) == (3600.0, [], 1)


def test_an_event_sent_again_is_the_same_event(slept: list[float]) -> None:
    server, script = there(busy(), httpx.ReadError("lost"), httpx.Response(201, json=ADDED))
    assert server.add_event("u", "i").new
    ids = {json.loads(request.content)["id"] for request in script.asked}
    assert (len(script.asked), len(ids)) == (3, 1)


@pytest.mark.parametrize("ask", [Client.reload, Client.ready])
@pytest.mark.parametrize("answer", [busy(), httpx.ReadError("lost")])
def test_what_may_not_be_repeated_is_asked_once(slept: list[float], ask: Callable[[Client], object], answer: Any) -> None:
    server, script = there(answer)
    with pytest.raises(ServerError):
        ask(server)
    assert (len(script.asked), slept) == (1, [])


def test_the_timeout_that_is_given_is_that_of_every_request() -> None:
    server, script = there(httpx.Response(200, json=UP), timeout=0.25)
    server.health()
    assert set(script.asked[0].extensions["timeout"].values()) == {0.25}


def test_the_history_of_an_explanation_is_sent(server: Client) -> None:
    with_history = server.explain("i7", "u7", ["i3", "i4"])
    assert [event.item for event in with_history.events][-2:] == ["i3", "i4"]
    assert with_history.score != server.explain("i7", "u7").score


def test_the_token_goes_along() -> None:
    server, script = there(httpx.Response(200, json=UP), token="secret")
    server.health()
    assert script.asked[0].headers["authorization"] == "Bearer secret"


@pytest.mark.parametrize("answer", [httpx.Response(200, text="<html>"), httpx.Response(502, text="<html>"), httpx.Response(200, json={})])
def test_another_program_that_answers_is_told_from_a_server_of_ours(answer: httpx.Response) -> None:
    server, _ = there(answer)
    with pytest.raises(ServerError, match="gaterec") as failed:
        server.health()
    assert (failed.value.status, failed.value.name) == (answer.status_code, "about:blank")


def test_a_slow_answer_is_told_in_one_line() -> None:
    server, _ = there(httpx.ReadTimeout("timed out"))
    with pytest.raises(ServerError, match="no answer in time"):
        server.health()


def test_it_needs_nothing_of_the_server() -> None:
    heavy = "{'fastapi', 'starlette', 'uvicorn'} & set(sys.modules)"
    for program in ("import gaterec.client", "import gaterec; gaterec.Client"):
        subprocess.run([sys.executable, "-c", f"import sys; {program}; assert not {heavy}, {heavy}"], check=True)
