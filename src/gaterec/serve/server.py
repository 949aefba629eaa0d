"""From a command line to a listening server, and down again."""

import errno
import logging
import os
import signal
import socket
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from ipaddress import ip_address
from pathlib import Path
from types import FrameType

import uvicorn

from gaterec.config.paths import read_text
from gaterec.errors import SettingsError
from gaterec.io.output import VisibleFormatter, visible
from gaterec.serve.app import Options, make_app
from gaterec.serve.events.store import open_store
from gaterec.serve.http_protocol import Connection
from gaterec.serve.metrics import Metrics
from gaterec.serve.reloading import Live
from gaterec.serve.service import Service

TOKEN = "GATEREC_TOKEN"  # noqa: S105 (its name)
SHORTEST = 16
BACKLOG = 2048
"""Connections that may wait to be accepted."""
DRAIN = 30
"""Seconds that requests under way have when the server goes down."""


@contextmanager
def _signals(handler: Callable[[int, FrameType | None], None], *numbers: int) -> Iterator[None]:
    """These signals call this handler inside the block."""
    before = {number: signal.signal(number, handler) for number in numbers}
    try:
        yield
    finally:
        for number, handler_before in before.items():
            signal.signal(number, handler_before)


def _end(number: int, frame: FrameType | None) -> None:
    """End a start. Without a handler, SIGTERM would not end the first process of a container."""
    raise SystemExit(128 + number)


@_signals(_end, signal.SIGTERM)
def serve(
    folder: Path,
    *,
    host: str,
    port: int,
    token_file: Path | None,
    events: str,
    queue: int,
    batch: int,
    deadline: float,
    retention: float | None,
    watch: float,
    hosts: str,
) -> None:
    """Serve a run until SIGTERM or Ctrl+C; see `gaterec serve --help`.

    Raises:
        GaterecError: no run, no store, no token where one is needed, or the port is taken, in one line.
    """
    token = read_token(token_file)
    if token is None and not is_loopback(host):
        raise SettingsError(
            f"host: {host} can be reached from other machines, so a token is needed: set {TOKEN}, or give --token_file=FILE; python -c 'import "
            "secrets; print(secrets.token_urlsafe())' makes one"
        )
    place = listen(host, port)
    try:
        log = logging.StreamHandler(sys.stderr)
        log.setFormatter(VisibleFormatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
        logging.basicConfig(level=logging.INFO, handlers=[log])
        live = Live(folder)
        store = open_store(events)
        service = Service(live, store, Metrics(), queue=queue, batch=batch, seconds=deadline)
        named = frozenset(filter(None, hosts.split(",")))
        options = Options(
            token, None if not is_loopback(host) and not named else LOOPBACK | named | {host}, watch=watch, retention=retention
        )
        config = uvicorn.Config(
            make_app(service, options),
            log_level="error",  # a client's bad request is told to the client, and counted
            access_log=False,
            server_header=False,
            proxy_headers=False,
            timeout_graceful_shutdown=DRAIN,
            timeout_keep_alive=30,
            lifespan="on",
            http=Connection,
            ws="none",
        )
        shown = f"[{host}]" if ":" in host else host
        address = f"http://{shown}:{place.getsockname()[1]}/"
        sys.setswitchinterval(0.001)  # the thread that has the model is not to keep the others waiting
        told = f"gaterec: {live.current.name} at {address} (the API: {address}docs); events in {store.shown}; Ctrl+C ends it"
        _until_told(uvicorn.Server(config), place, told)
        service.close()
        store.close()
    finally:
        place.close()


def _until_told(server: uvicorn.Server, place: socket.socket, told: str) -> None:
    """Serve; SIGTERM and Ctrl+C end it in good order, and as a success, also when they come before uvicorn listens to them itself."""
    with _signals(server.handle_exit, signal.SIGTERM, signal.SIGINT):
        print(visible(told), flush=True)
        server.run([place])


LOOPBACK = frozenset({"localhost", "127.0.0.1", "[::1]"})


def is_loopback(host: str) -> bool:
    """Whether this machine alone can reach it."""
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def read_token(file: Path | None) -> str | None:
    """The token of the file, or of the environment; None where neither is given.

    Raises:
        SettingsError: the file can't be read, or the token is too short to be one.
    """
    try:
        found = os.environ.get(TOKEN) if file is None else read_text(file).strip()
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"token_file: {file}: can't be read: {getattr(error, 'strerror', None) or 'it is no text'}") from None
    if found is None:
        return None
    if len(found) < SHORTEST or not found.isascii() or not found.isprintable() or " " in found:
        raise SettingsError(
            f"{TOKEN if file is None else f'token_file: {file}'}: expected a token of at least {SHORTEST} characters without spaces"
        )
    return found


def listen(host: str, port: int) -> socket.socket:
    """A socket at that address.

    Raises:
        SettingsError: it is taken, or no address of this machine.
    """
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
    except OSError:
        raise SettingsError(f"host: {host}: is no address of this machine") from None
    place = socket.socket(family, kind, protocol)
    try:
        place.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        place.bind(address)
        place.listen(BACKLOG)  # who comes while the run is read waits a moment
    except OSError as error:
        place.close()
        reason = "is in use by another program" if error.errno == errno.EADDRINUSE else f"can't be used: {error.strerror}"
        raise SettingsError(f"port: {port} on {host} {reason}; choose another one, as in --port={port % 65_535 + 1}") from None
    return place
