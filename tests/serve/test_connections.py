"""Bytes on a socket: what is no HTTP, too large, too slow, or cut off; the server answers or hangs up, soon, and goes on with all others."""

import json
import re
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.servers import Running, serving

HANGS = 10.0
POST = b"POST /recommend HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: application/json\r\n"
PATIENCE = """
from functools import partial
from gaterec.cli import main
from gaterec.serve import connections, start
connections.HEAD_SECONDS = 0.5
start.Options = partial(start.Options, body_seconds=0.5)
main()
"""
"""`gaterec serve` with half a second for heads and bodies."""


@pytest.fixture(scope="module")
def server(run_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with serving(run_folder, tmp_path_factory.mktemp("connections") / "events.db", "--watch=0", program=PATIENCE) as running:
        yield running


def connected(server: Running) -> socket.socket:
    host, _, port = server.address.removeprefix("http://").partition(":")
    return socket.create_connection((host, int(port)), timeout=HANGS)


def told(there: socket.socket) -> bytes:
    """All that the server says until it hangs up."""
    parts = []
    try:
        while part := there.recv(65536):
            parts.append(part)
    except ConnectionResetError:  # it hung up with bytes of ours unread
        pass
    return b"".join(parts)


def statuses(answers: bytes) -> list[int]:
    return [int(status) for status in re.findall(rb"HTTP/1\.1 (\d{3}) ", answers)]


def assert_well(server: Running) -> None:
    assert httpx.get(f"{server.address}/ready", timeout=HANGS).status_code == 200
    assert server.process.poll() is None


GARBAGE = {
    "noise": bytes(range(256)) * 8,
    "no version": b"GET /\r\n\r\n",
    "no method": b"/health HTTP/1.1\r\n\r\n",
    "TLS": bytes.fromhex("16030100c8010000c40303") + b"\7" * 190,
    "a length that is none": POST + b"content-length: many\r\n\r\n{}",
    "a negative length": POST + b"content-length: -1\r\n\r\n{}",
    "two lengths": POST + b"content-length: 2\r\ncontent-length: 3\r\n\r\n{}",
    "length and chunks": POST + b"content-length: 2\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
    "chunks that are none": POST + b"transfer-encoding: chunked\r\n\r\nxyz\r\n\r\n",
    "a header of NUL": b"GET /health HTTP/1.1\r\nhost: 127.0.0.1\r\nx: \0\r\n\r\n",
    "a path of noise": b"GET /\xff\xfe HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n",
    "an address that is none": b"GET http://[::1 HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n",
}


@pytest.mark.parametrize("name", GARBAGE)
def test_what_is_no_http_is_refused_and_the_connection_ends(server: Running, name: str) -> None:
    with connected(server) as there:
        there.sendall(GARBAGE[name])
        answer = told(there)
    assert statuses(answer) in ([400], [408], [421]), answer
    body = json.loads(answer.partition(b"\r\n\r\n")[2])
    assert body["type"].startswith("urn:gaterec:problem:")
    assert_well(server)


@pytest.mark.parametrize("head", [b"GET /health HTTP/1.1\r\nx: ", b"GET /" + b"a" * 10], ids=["header", "path"])
def test_a_head_without_an_end_is_refused_while_it_comes(server: Running, head: bytes) -> None:
    with connected(server) as there:
        try:
            there.sendall(head)
            for _ in range(1000):
                there.sendall(b"a" * 10_000)
        except OSError:  # it hung up
            pass
        else:
            pytest.fail("10 MB of head were taken")
        assert statuses(told(there)) in ([431], [])  # a reset may overtake the answer
    assert_well(server)


def test_many_headers_are_refused(server: Running) -> None:
    with connected(server) as there:
        there.sendall(b"GET /health HTTP/1.1\r\nhost: 127.0.0.1\r\n" + b"".join(b"x%d: y\r\n" % number for number in range(9000)))
        assert statuses(told(there)) == [431]


@pytest.mark.parametrize("begun", [b"", b"\r\n", b"G", b"GET /health HTTP/1.1\r\nhost: 127.0.0.1\r\n"])
def test_a_head_that_does_not_come_is_not_waited_for(server: Running, begun: bytes) -> None:
    with connected(server) as there:
        there.sendall(begun)
        assert statuses(told(there)) == [408]


def test_a_head_that_drips_is_not_waited_for(server: Running) -> None:
    begin = time.monotonic()
    with connected(server) as there:
        try:
            for byte in b"GET /health HTTP/1.1\r\n" + b"x: y\r\n" * 1000:
                there.sendall(bytes([byte]))
                time.sleep(0.02)
        except OSError:
            pass
    assert time.monotonic() - begin < HANGS


def test_a_body_that_drips_is_not_waited_for_and_its_connection_ends(server: Running) -> None:
    with connected(server) as there:
        there.sendall(POST + b"content-length: 1000\r\n\r\n{")
        assert statuses(told(there)) == [408]
    assert_well(server)


def test_a_half_body_holds_up_nobody(server: Running) -> None:
    for _ in range(20):
        with connected(server) as there:
            there.sendall(POST + b'content-length: 1000\r\n\r\n{"user"')
    assert_well(server)


@pytest.mark.parametrize("lying", [False, True], ids=["chunked", "declared"])
def test_a_body_over_the_limit_is_refused_while_it_comes(server: Running, lying: bool) -> None:
    chunk = b"10000\r\n" + b" " * 0x10000 + b"\r\n"
    with connected(server) as there:
        there.sendall(POST + (b"content-length: 99999999\r\n\r\n" if lying else b"transfer-encoding: chunked\r\n\r\n"))
        try:
            for _ in range(2000):
                there.sendall(chunk)
        except OSError:
            pass
        else:
            pytest.fail("130 MB of body were taken")
        assert statuses(told(there)) in ([413], [])
    assert_well(server)


def test_a_declared_body_over_the_limit_is_refused_before_it_comes(server: Running) -> None:
    with connected(server) as there:
        there.sendall(POST + b"content-length: 99999999\r\n\r\n")
        assert statuses(told(there)) == [413]


def test_requests_sent_at_once_are_answered_in_order(server: Running) -> None:
    bodies = [json.dumps({"user": f"u{number}", "k": 1}).encode() for number in range(20)]
    with connected(server) as there:
        there.sendall(b"".join(POST + b"content-length: %d\r\n\r\n" % len(body) + body for body in bodies))
        there.sendall(b"GET /health HTTP/1.1\r\nhost: 127.0.0.1\r\nconnection: close\r\n\r\n")
        answers = told(there)
    assert statuses(answers) == [200] * 21
    assert re.findall(rb'"user":"(u\d+)"', answers) == [b"u%d" % number for number in range(20)]


def test_chunks_are_put_together(server: Running) -> None:
    body = b'{"user":"u7","k":3}'
    with connected(server) as there:
        there.sendall(POST + b"connection: close\r\ntransfer-encoding: chunked\r\n\r\n")
        for byte in body:
            there.sendall(b"1\r\n" + bytes([byte]) + b"\r\n")
        there.sendall(b"0\r\n\r\n")
        answers = told(there)
    assert statuses(answers) == [200]
    assert answers.count(b'"rank"') == 3


def test_silent_connections_hold_up_nobody(server: Running) -> None:
    silent = [connected(server) for _ in range(200)]
    try:
        assert_well(server)
        assert all(statuses(told(there)) == [408] for there in silent)
    finally:
        for there in silent:
            there.close()
