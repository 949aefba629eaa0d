"""Load over HTTP, as light as it can be, since it shares the cores with the server: requests are whole bytes made beforehand, answers are cut at
Content-Length, and nothing of a body is parsed.

A client process runs an event loop of its own with any number of connections. Closed: each connection sends its next request when the answer to the
last has come. Open: requests leave at a given rate whatever comes back; where no connection is free, they wait for one, and how long is told apart.
"""

import asyncio
import json
import multiprocessing
import time
from collections import Counter, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from multiprocessing.connection import Connection as PipeConnection
from statistics import quantiles
from typing import cast

CONNECTIONS = 512
"""At most so many connections in an open loop."""


@dataclass
class Load:
    """What came back.

    Attributes:
        seconds: how long it went on.
        statuses: of HTTP -> how many; 0 for a connection that broke.
        took: status -> how long each answer took, from when it was asked for, in seconds.
        behind: the longest that a request waited for a free connection, in seconds.
        bodies: one body a status.
        without_retry: refusals (503) that don't say when to try again.
    """

    seconds: float = 0.0
    statuses: Counter[int] = field(default_factory=Counter)
    took: dict[int, list[float]] = field(default_factory=dict)
    behind: float = 0.0
    bodies: dict[int, bytes] = field(default_factory=dict)
    without_retry: int = 0

    @property
    def rate(self) -> float:
        """Requests answered with success, a second."""
        return (self.statuses[200] + self.statuses[201]) / self.seconds

    @property
    def failed(self) -> int:
        """Requests that were neither answered with success nor refused as the server was busy."""
        return self.statuses.total() - self.statuses[200] - self.statuses[201] - self.statuses[503]

    def quantile(self, percent: int, status: int = 200) -> float:
        """So many percent of the answers of a status came within these seconds."""
        took = self.took.get(status, [])
        return quantiles(took, n=100, method="inclusive")[percent - 1] if len(took) > 1 else sum(took)


def request(method: str, path: str, body: object = None) -> bytes:
    """A request as bytes."""
    content = b"" if body is None else json.dumps(body).encode()
    head = f"{method} {path} HTTP/1.1\r\nhost: 127.0.0.1\r\n"
    if content:
        head += f"content-type: application/json\r\ncontent-length: {len(content)}\r\n"
    return head.encode() + b"\r\n" + content


class Connection(asyncio.Protocol):
    """One connection, with one request under way at most.

    Args:
        idle: called with the connection when its answer has come.
    """

    def __init__(self, load: Load, idle: Callable[["Connection"], object]) -> None:
        self._load, self._idle, self._buffer, self._wanted, self._since = load, idle, b"", -1, 0.0
        self.transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)  # uvloop's is none by its class

    def send(self, request: bytes, due: float | None = None) -> None:
        """Send it, which was due at a time."""
        assert self.transport is not None
        self._since = time.perf_counter()
        if due is not None:
            self._load.behind = max(self._load.behind, self._since - due)
        self.transport.write(request)

    def data_received(self, data: bytes) -> None:
        buffer = self._buffer = self._buffer + data if self._buffer else data
        if self._wanted < 0:
            end = buffer.find(b"\r\n\r\n")
            if end < 0:
                return
            begin = buffer.find(b"content-length: ", 0, end) + 16
            self._wanted = end + 4 + int(buffer[begin : buffer.find(b"\r", begin)])
        if len(buffer) < self._wanted:
            return
        status = int(buffer[9:12])
        load = self._load
        load.statuses[status] += 1
        load.took.setdefault(status, []).append(time.perf_counter() - self._since)
        if status == 503 and b"\r\nretry-after: " not in buffer:
            load.without_retry += 1
        if status not in load.bodies:
            load.bodies[status] = buffer[buffer.find(b"\r\n\r\n") + 4 :]
        self._buffer, self._wanted, self._since = b"", -1, 0.0
        self._idle(self)

    def connection_lost(self, error: Exception | None) -> None:
        self.transport = None
        if self._since:
            self._load.statuses[0] += 1
            self._since = 0.0
        self._idle(self)


async def closed(port: int, requests: Sequence[bytes], connections: int, seconds: float) -> Load:
    """So many connections, each with one request under way at any time."""
    load, loop = Load(), asyncio.get_running_loop()
    place, end, open_ = 0, 0.0, 0
    done = loop.create_future()

    def idle(there: Connection) -> None:
        nonlocal place, open_
        if there.transport is None or time.perf_counter() >= end:
            open_ -= 1
            if not open_ and not done.done():
                done.set_result(None)
            return
        place = (place + 1) % len(requests)
        there.send(requests[place])

    opened = [await loop.create_connection(lambda: Connection(load, idle), "127.0.0.1", port) for _ in range(connections)]
    begin, open_ = time.perf_counter(), connections
    end = begin + seconds
    for _, there in opened:
        idle(there)
    await asyncio.wait_for(done, seconds + 60)
    load.seconds = time.perf_counter() - begin
    for transport, _ in opened:
        transport.close()
    return load


async def opened(port: int, requests: Sequence[bytes], rate: float, seconds: float, connections: int = CONNECTIONS) -> Load:
    """So many requests a second, whatever comes back."""
    load, loop = Load(), asyncio.get_running_loop()
    free: list[Connection] = []
    waiting: deque[tuple[bytes, float]] = deque()
    gone = 0

    def idle(there: Connection) -> None:
        nonlocal gone
        if there.transport is None:
            gone += 1
        elif waiting:
            there.send(*waiting.popleft())
        else:
            free.append(there)

    made = [await loop.create_connection(lambda: Connection(load, idle), "127.0.0.1", port) for _ in range(connections)]
    free += [there for _, there in made]
    begin, sent, all_ = time.perf_counter(), 0, int(rate * seconds)
    while sent < all_:
        due = min(int((time.perf_counter() - begin) * rate), all_)
        while sent < due:
            what = requests[sent % len(requests)], begin + sent / rate
            sent += 1
            if free:
                free.pop().send(*what)
            else:
                waiting.append(what)
        await asyncio.sleep(0.001)
    load.seconds = time.perf_counter() - begin
    until = time.perf_counter() + 60
    while len(free) + gone < connections and time.perf_counter() < until:
        await asyncio.sleep(0.01)
    load.statuses[0] += len(waiting) + connections - len(free) - gone  # never answered
    for transport, _ in made:
        transport.close()
    return load


def _in_process(kind: str, sends: "PipeConnection[Load, Load]", arguments: tuple[object, ...]) -> None:
    import uvloop

    work = {"closed": closed, "opened": opened}[kind]
    sends.send(uvloop.run(work(*arguments)))  # type: ignore[operator]


class Running:
    """Load that a process of its own makes."""

    def __init__(self, kind: str, *arguments: object) -> None:
        context = multiprocessing.get_context("spawn")
        self._receives, sends = context.Pipe(duplex=False)
        self._process = context.Process(target=_in_process, args=(kind, sends, arguments), daemon=True)
        self._process.start()
        sends.close()

    def result(self) -> Load:
        """Wait for its end."""
        found: Load = self._receives.recv()
        self._process.join()
        return found


def run_closed(port: int, requests: Sequence[bytes], connections: int, seconds: float) -> Load:
    """`closed` in a process of its own."""
    return Running("closed", port, requests, connections, seconds).result()


def run_open(port: int, requests: Sequence[bytes], rate: float, seconds: float, connections: int = CONNECTIONS) -> Load:
    """`opened` in a process of its own."""
    return Running("opened", port, requests, rate, seconds, connections).result()
