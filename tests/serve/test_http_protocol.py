"""Bytes on a socket: what is no HTTP, too large, too slow, or cut off; the server answers or hangs up, soon, and goes on with all others."""

import json
import re
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.support.servers import Running, serving

pytestmark = pytest.mark.slow

HANGS = 10.0
POST = b"POST /recommend HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: application/json\r\n"
PATIENCE = """
from functools import partial
from gaterec.cli.app import main
from gaterec.serve import http_protocol as connections, server as start
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


def test_the_second_head_of_a_connection_is_not_waited_for_either(server: Running) -> None:
    with connected(server) as there:
        there.sendall(b"GET /health HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n")
        assert statuses(there.recv(65536)) == [200]
        there.sendall(b"GET /health")
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


DELETE = b"DELETE /users/u1 HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n"
"""Sent as the body of another request: carried out only where the server takes a body as the next request."""
LAST = b"GET /health HTTP/1.1\r\nhost: 127.0.0.1\r\nconnection: close\r\n\r\n"
BODY = b'{"user":"u7","k":3}'


def sent(server: Running, *parts: bytes) -> bytes:
    """All that the server answers to parts that arrive one after the other, until it closes the connection."""
    with connected(server) as there:
        try:
            for number, part in enumerate(parts):
                time.sleep(0.05 if number else 0)
                there.sendall(part)
        except OSError:  # it hung up
            pass
        return told(there)


def with_body(headers: bytes, body: bytes = BODY) -> bytes:
    return POST + headers + b"\r\ncontent-length: %d\r\n\r\n" % len(body)


def deleted(answers: bytes) -> bool:
    return b'"deleted"' in answers


UPGRADES = {
    "Java's HttpClient": b"Connection: Upgrade, HTTP2-Settings\r\nHTTP2-Settings: AAEAAEAAAAIAAAABAAMAAABkAAQBAAAAAAUAAEAA\r\nUpgrade: h2c",
    "upper case": b"CONNECTION: UPGRADE\r\nUPGRADE: H2C",
    "websocket": b"Connection: keep-alive, Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==",
    "without connection": b"Upgrade: h2c",
    "connection alone": b"Connection: upgrade",
    "two connections": b"Connection: keep-alive\r\nConnection: upgrade\r\nUpgrade: h2c, TLS/1.3",
    "empty": b"Connection: upgrade\r\nUpgrade:",
}


@pytest.mark.parametrize("name", UPGRADES)
@pytest.mark.parametrize("apart", [False, True], ids=["at once", "in two segments"])
def test_the_body_of_an_upgrade_belongs_to_its_request(server: Running, name: str, apart: bool) -> None:
    parts = [with_body(UPGRADES[name]), BODY]
    answers = sent(server, *(parts if apart else [b"".join(parts)]), LAST)
    assert statuses(answers) == [200, 200]
    assert answers.count(b'"rank"') == 3


@pytest.mark.parametrize("name", UPGRADES)
def test_no_request_is_read_out_of_the_body_of_an_upgrade(server: Running, name: str) -> None:
    answers = sent(server, with_body(UPGRADES[name], DELETE), DELETE, LAST)
    assert statuses(answers) == [422, 200]
    assert not deleted(answers)


SMUGGLED = {
    "length and chunks": POST + b"content-length: 4\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
    "chunks and length": POST + b"transfer-encoding: chunked\r\ncontent-length: 4\r\n\r\n0\r\n\r\n",
    "chunks in HTTP/1.0": POST.replace(b"1.1", b"1.0") + b"transfer-encoding: chunked\r\n\r\n0\r\n\r\n",
    "two lengths": POST + b"content-length: 0\r\ncontent-length: 5\r\n\r\n",
    "two lengths in one": POST + b"content-length: 0, 5\r\n\r\n",
    "a length with a sign": POST + b"content-length: +0\r\n\r\n",
    "a length in hexadecimal": POST + b"content-length: 0x0\r\n\r\n",
    "a length with an underscore": POST + b"content-length: 0_0\r\n\r\n",
    "a space before the colon": POST + b"content-length : 500\r\n\r\n",
    "a NUL in the name": POST + b"content\0-length: 500\r\n\r\n",
    "a return in a value": POST + b"x: y\rcontent-length: 500\r\n\r\n",
    "an unknown coding": POST + b"transfer-encoding: gzip\r\n\r\n",
    "two codings": POST + b"transfer-encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
    "a coding that is almost chunked": POST + b"transfer-encoding: xchunked\r\n\r\n0\r\n\r\n",
    "identity and chunks": POST + b"transfer-encoding: identity\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
    "a negative chunk": POST + b"transfer-encoding: chunked\r\n\r\n-1\r\n\r\n",
    "a chunk in 0x": POST + b"transfer-encoding: chunked\r\n\r\n0x0\r\n\r\n",
    "a chunk with a large size": POST + b"transfer-encoding: chunked\r\n\r\nfffffffffffffffffffff\r\n\r\n",
    "a chunk that ends elsewhere": POST + b"transfer-encoding: chunked\r\n\r\n2\r\n{}xx0\r\n\r\n",
    "a chunk that ends by a newline": POST + b"transfer-encoding: chunked\r\n\r\n2\n{}\n0\n\n",
    "an absolute address": b"GET http://127.0.0.1/health HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n",
    "a tunnel": b"CONNECT 127.0.0.1:80 HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n",
    "all of the server": b"OPTIONS * HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n",
    "two hosts": b"GET /health HTTP/1.1\r\nhost: 127.0.0.1\r\nhost: evil.example\r\n\r\n",
    "no host": b"GET /health HTTP/1.1\r\n\r\n",
    "HTTP/0.9": b"GET /health\r\n\r\n",
    "HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "a version that is none": b"GET /health HTTP/1.11\r\nhost: 127.0.0.1\r\n\r\n",
}


@pytest.mark.parametrize("name", SMUGGLED)
def test_a_request_whose_end_is_in_doubt_ends_its_connection(server: Running, name: str) -> None:
    """Whatever follows on the connection is not read as another request."""
    answers = sent(server, SMUGGLED[name] + DELETE, DELETE)
    assert statuses(answers) in ([400], [501], [431], [])
    assert not deleted(answers)
    assert_well(server)


def test_folded_headers_and_lone_newlines_end_a_request_where_they_say(server: Running) -> None:
    for head in (POST + b"x: a\r\n b\r\n", POST.replace(b"\r\n", b"\n"), b"\r\n\r\n" + POST):
        request = head + b"content-length: %d\r\n\r\n" % len(BODY) + BODY
        assert statuses(sent(server, request + LAST)) == [200, 200]


def test_trailers_change_nothing_of_a_request(server: Running) -> None:
    chunks = b"%x\r\n%s\r\n0\r\n" % (len(BODY), BODY)
    trailers = b"content-type: text/plain\r\nhost: evil.example\r\norigin: http://evil.example\r\ncontent-length: 3\r\n\r\n"
    answers = sent(server, POST + b"connection: close\r\ntransfer-encoding: chunked\r\n\r\n" + chunks + trailers)
    assert statuses(answers) == [200]


def test_a_client_that_waits_for_a_continue_gets_one_and_its_body_is_its_own(server: Running) -> None:
    parts = sent(server, with_body(b"expect: 100-continue"), BODY, LAST)
    assert statuses(parts) == [100, 200, 200]
    refused = sent(server, POST + b"expect: 100-continue\r\ncontent-length: 99999999\r\n\r\n", DELETE)
    assert statuses(refused) == [413]


def memory(server: Running, what: str) -> int:
    """Megabytes that the process holds ("VmRSS"), or has held at most since it was last asked ("VmHWM")."""
    lines = Path(f"/proc/{server.process.pid}/status").read_text().splitlines()
    Path(f"/proc/{server.process.pid}/clear_refs").write_text("5")  # forget the most
    return next(int(line.split()[1]) // 1000 for line in lines if line.startswith(what))


def flood(server: Running, head: bytes, part: bytes, times: int) -> int:
    """Send a head, then a part many times, and read nothing: the bytes that were taken until the server closed or stopped reading."""
    taken = 0
    with connected(server) as there:
        there.settimeout(0.3)
        try:
            there.sendall(head)
            for _ in range(times):
                taken += there.send(part)
        except (TimeoutError, OSError):
            pass
    return taken


MEGABYTES = 40
FLOODS = {
    "trailers": (POST + b"transfer-encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n", b"x: yyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyy\r\n"),
    "one trailer": (POST + b"transfer-encoding: chunked\r\n\r\n0\r\nx: ", b"y"),
    "an extension of a chunk": (POST + b"transfer-encoding: chunked\r\n\r\n2;x=", b"y"),
    "digits of a chunk's size": (POST + b"transfer-encoding: chunked\r\n\r\n", b"0"),
    "one-byte chunks": (POST + b"transfer-encoding: chunked\r\n\r\n", b"1\r\n \r\n"),
    "one-byte chunks of a refused request": (b"POST /health HTTP/1.1\r\nhost: evil\r\ntransfer-encoding: chunked\r\n\r\n", b"1\r\n \r\n"),
    "trailers of a refused request": (b"POST /health HTTP/1.1\r\nhost: evil\r\ntransfer-encoding: chunked\r\n\r\n0\r\n", b"x: y\r\n"),
    "requests": (b"", b"GET /health HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n"),
    "requests of large answers": (b"", b"GET /openapi.json HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n"),
    "requests with bodies": (b"", POST + b"content-length: 12\r\n\r\n" + b'{"user":"u"}'),
    "requests that are refused": (b"", b"POST /reload HTTP/1.1\r\nhost: evil\r\n\r\n"),
    "upgrades": (b"", b"GET /health HTTP/1.1\r\nhost: 127.0.0.1\r\nconnection: upgrade\r\nupgrade: h2c\r\n\r\n"),
    "empty lines": (b"", b"\r\n"),
}


@pytest.mark.parametrize("name", FLOODS)
def test_what_never_ends_or_is_never_read_takes_no_memory(server: Running, name: str) -> None:
    head, part = FLOODS[name]
    block = part * (400_000 // len(part))
    before = memory(server, "VmRSS")
    taken = flood(server, head, block, MEGABYTES * 1_000_000 // len(block))
    assert_well(server)
    assert memory(server, "VmHWM") - before < 15
    assert taken < MEGABYTES * 1_000_000 // 2 or name == "empty lines"


def test_a_body_of_many_small_chunks_is_refused_and_says_what_to_do(server: Running) -> None:
    answers = sent(server, POST + b"transfer-encoding: chunked\r\n\r\n" + b"1\r\n \r\n" * 1001)
    assert statuses(answers) == [413]
    assert b"send larger chunks, or a content-length" in answers
    body = b" " * 900 + BODY
    chunks = b"".join(b"1\r\n%c\r\n" % byte for byte in body)
    assert statuses(sent(server, POST + b"transfer-encoding: chunked\r\n\r\n" + chunks + b"0\r\n\r\n", LAST)) == [200, 200]


def test_a_refused_body_that_does_not_end_is_not_waited_for(server: Running) -> None:
    head = b"POST /health HTTP/1.1\r\nhost: evil\r\ntransfer-encoding: chunked\r\n\r\n"
    assert statuses(sent(server, head, b"1\r\n \r\n")) == [421]  # and then it closes
