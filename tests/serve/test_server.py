"""From a command line to a listening server, and down again."""

import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import httpx
import pytest

from gaterec.errors import SettingsError
from gaterec.serve.app import Options
from gaterec.serve.server import is_loopback, read_token
from gaterec.serve.service import Service
from tests.support.commands import gaterec, start
from tests.support.servers import Make, serving

pytestmark = pytest.mark.slow

TOKEN = "a-token-that-nobody-guesses"


def test_a_server_comes_up_answers_and_goes_down_in_good_order(run_folder: Path, tmp_path: Path) -> None:
    with serving(run_folder, tmp_path / "events.db") as server, httpx.Client(base_url=server.address) as client:
        assert client.get("/ready").json() == {"status": "ready"}
        assert client.post("/events", json={"user": "u7", "item": "i3"}).status_code == 201
        assert "server" not in client.get("/").headers
        server.process.send_signal(signal.SIGTERM)
        out, err = server.process.communicate(timeout=30)
        assert (server.process.returncode, out, err) == (0, "", "")
    assert not Path(f"{tmp_path / 'events.db'}-wal").exists()  # the store was closed


def test_a_slow_client_slows_nobody_and_is_answered_before_the_end(run_folder: Path, tmp_path: Path) -> None:
    with serving(run_folder, tmp_path / "events.db") as server:
        host, port = server.address.removeprefix("http://").split(":")
        with socket.create_connection((host, int(port)), timeout=20) as connection:
            body = b'{"user": "u7"}'
            head = f"POST /recommend HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n".encode()
            connection.sendall(head + body[:5])
            assert httpx.post(f"{server.address}/recommend", json={"user": "u7"}).status_code == 200
            server.process.send_signal(signal.SIGTERM)
            time.sleep(0.3)
            connection.sendall(body[5:])
            assert connection.recv(100).startswith(b"HTTP/1.1 200")
        assert server.process.wait(timeout=30) == 0


def test_ctrl_c_ends_it_without_a_traceback(run_folder: Path, tmp_path: Path) -> None:
    with serving(run_folder, tmp_path / "events.db") as server:
        server.process.send_signal(signal.SIGINT)
        out, err = server.process.communicate(timeout=30)
        assert "Traceback" not in out + err
        assert server.process.returncode == 0


def test_a_port_in_use(run_folder: Path, tmp_path: Path) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        found = gaterec("serve", run_folder, f"--port={port}", f"--events={tmp_path / 'events.db'}")
    assert found == (
        2,
        "",
        f"gaterec: port: {port} on 127.0.0.1 is in use by another program; choose another one, as in --port={port + 1}\n",
    )


def test_another_address_wants_a_token(run_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("GATEREC_TOKEN", raising=False)
    found = gaterec("serve", run_folder, "--host=0.0.0.0", "--port=0", f"--events={tmp_path / 'events.db'}")
    assert found.code == 2
    assert found.err.startswith(
        "gaterec: host: 0.0.0.0 can be reached from other machines, so a token is needed: set GATEREC_TOKEN, or give --token_file"
    )
    monkeypatch.setenv("GATEREC_TOKEN", "short")
    assert "GATEREC_TOKEN: expected a token of at least 16 characters" in gaterec("serve", run_folder, "--host=0.0.0.0").err
    assert "token_file: nothing: can't be read: No such file" in gaterec("serve", run_folder, "--token_file=nothing").err


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--host=no.such.host.invalid"], "host: no.such.host.invalid: is no address of this machine"),
        (["--host=203.0.113.7"], "port: 8000 on 203.0.113.7 can't be used: Cannot assign requested address"),
        (["--port=70000"], "port"),
        (["--queue=0"], "queue"),
    ],
)
def test_bad_options(run_folder: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], says: str) -> None:
    monkeypatch.setenv("GATEREC_TOKEN", TOKEN)
    found = gaterec("serve", run_folder, *arguments)
    assert found.code == 2
    assert says in found.err
    assert "Traceback" not in found.err


def test_every_option_of_the_server_reaches_its_use(run_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found: dict[str, Any] = {}

    def made(service: Service, options: Options) -> None:
        found.update(queue=service._batcher._limit, batch=service._batcher._batch, seconds=service._seconds, options=options)

    monkeypatch.setattr("gaterec.serve.server.make_app", made)
    monkeypatch.setattr("gaterec.serve.server._until_told", lambda *_: found.update(events=(tmp_path / "e.db").exists()))
    monkeypatch.setenv("GATEREC_TOKEN", "of the environment, 16")
    (tmp_path / "token").write_text(TOKEN)
    flags = ["--queue=7", "--batch=3", "--deadline=0.5", "--watch=9", "--retention_days=2", "--hosts=shop,till", "--port=0"]
    assert gaterec("serve", run_folder, *flags, f"--token_file={tmp_path / 'token'}", f"--events={tmp_path / 'e.db'}").code == 0
    hosts = frozenset({"shop", "till", "127.0.0.1", "localhost", "[::1]"})
    options = Options(TOKEN, hosts, watch=9.0, retention=2.0)
    assert found == {"queue": 7, "batch": 3, "seconds": 0.5, "options": options, "events": True}


def test_every_option_of_the_application_reaches_its_guard(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gaterec.serve.app.RequestGuard", lambda app, **named: found.update(named) or app)
    found: dict[str, Any] = {}
    chosen = {"token": TOKEN, "hosts": frozenset({"shop"}), "body": 7, "body_seconds": 0.5, "at_a_time": 3}
    with make(**chosen):
        assert {name: found[name] for name in chosen} == chosen


def test_no_run_to_serve(tmp_path: Path) -> None:
    (tmp_path / "half").mkdir()
    assert "expected a run folder, or a folder of them, found no run in it" in gaterec("serve", tmp_path / "half", "--port=0").err


def test_a_server_with_a_token(run_folder: Path, tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text(TOKEN + "\n")
    with serving(run_folder, tmp_path / "events.db", f"--token_file={file}", "--host=0.0.0.0") as server:
        address = server.address.replace("0.0.0.0", "127.0.0.1")
        assert httpx.get(f"{address}/users").status_code == 401
        assert httpx.get(f"{address}/users", headers={"authorization": f"Bearer {TOKEN}"}).status_code == 200


def test_tokens(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("GATEREC_TOKEN", raising=False)
    assert read_token(None) is None
    monkeypatch.setenv("GATEREC_TOKEN", TOKEN)
    assert read_token(None) == TOKEN
    (tmp_path / "token").write_bytes(b"\xff\xfe")
    with pytest.raises(SettingsError, match="it is no text"):
        read_token(tmp_path / "token")


def test_a_named_pipe_as_token_file_is_refused_and_never_waited_for(run_folder: Path, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "token")
    found = gaterec("serve", run_folder, "--port=0", f"--token_file={tmp_path / 'token'}")
    assert found == (2, "", f"gaterec: token_file: {tmp_path / 'token'}: can't be read: expected a regular file, found a named pipe\n")


STUCK = """
import time
from gaterec.cli.app import main
from gaterec.serve import server as start
def stuck(folder):
    print("reading", flush=True)
    time.sleep(600)
start.Live = stuck
main()
"""
"""`gaterec serve` with a run folder that never answers, as on a file system that hangs."""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_start_that_hangs_is_ended_by_a_signal(tmp_path: Path, number: signal.Signals) -> None:
    """Also where SIGTERM does nothing by default, as for the first process of a container."""

    def as_in_a_container() -> None:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)

    process = start("serve", tmp_path, "--port=0", program=STUCK, preexec_fn=as_in_a_container)
    assert process.stdout is not None
    assert process.stdout.readline() == "reading\n"
    process.send_signal(number)
    out, err = process.communicate(timeout=30)
    assert process.returncode == 128 + number
    assert "Traceback" not in out + err


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "0", "0x0", "::ffff:0.0.0.0", "*", "", "localhost.", "[::]", "192.0.2.1", "example.org"])
def test_an_address_that_others_may_reach_wants_a_token(run_folder: Path, monkeypatch: pytest.MonkeyPatch, host: str) -> None:
    monkeypatch.delenv("GATEREC_TOKEN", raising=False)
    found = gaterec("serve", run_folder, f"--host={host}", "--port=0")
    assert found.code == 2
    assert "can be reached from other machines, so a token is needed" in found.err


def test_loopback() -> None:
    assert [is_loopback(host) for host in ("127.0.0.1", "localhost", "::1", "127.8.9.1")] == [True] * 4
    assert [is_loopback(host) for host in ("0.0.0.0", "::", "192.168.1.2", "example.org")] == [False] * 4


def test_without_the_extra_it_says_what_to_install(run_folder: Path) -> None:
    program = "import sys; sys.modules['fastapi'] = None; sys.modules['uvicorn'] = None; from gaterec.cli.app import main; main()"
    found = subprocess.run(
        [sys.executable, "-c", program, "serve", str(run_folder)], capture_output=True, text=True, timeout=60, check=False
    )
    assert (found.returncode, found.stderr) == (2, "gaterec: serve: needs uvicorn, which is not installed: pip install 'gaterec[serve]'\n")


def test_sigkill_loses_no_event(run_folder: Path, tmp_path: Path) -> None:
    """Whatever was answered 201 is there when the server comes up again."""
    answered: list[str] = []
    for turn in range(int(os.environ.get("GATEREC_KILLS", "2"))):
        with serving(run_folder, tmp_path / "events.db") as server, httpx.Client(base_url=server.address) as client:
            assert len(answered) <= _events(client) <= len(answered) + turn  # the last one may have been kept and not answered

            def send(client: httpx.Client = client, turn: int = turn) -> None:
                for number in range(10_000):
                    try:
                        if client.post("/events", json={"user": "stranger", "item": "i3", "id": f"{turn}-{number}"}).status_code == 201:
                            answered.append(f"{turn}-{number}")
                    except httpx.TransportError:
                        return

            thread = threading.Thread(target=send)
            thread.start()
            time.sleep(0.05 + 0.1 * (turn % 5))
            server.process.kill()
            thread.join(30)
    assert answered


def _events(client: httpx.Client) -> int:
    return int(re.search(r'"newer":(\d+)', client.get("/users/stranger").text)[1])  # type: ignore[index]
