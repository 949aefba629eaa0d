"""A web server on this machine for tests of downloads, which can be told to misbehave."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass
class Site:
    """What the server has, how it behaves, and what it was asked.

    Attributes:
        base: its address.
        files: bodies by path, such as "/a.zip".
        etag: sent with every file, "" for none.
        modified: Last-Modified, the same.
        ranges: whether it honours Range.
        checks_if_range: whether it looks at If-Range, as it should.
        cuts: after how many bytes each of the next answers breaks off; None lets one through.
        statuses: what the next answers say in place of the file.
        requests: the headers of every request, in order.
    """

    base: str = ""
    files: dict[str, bytes] = field(default_factory=dict)
    etag: str = '"one"'
    modified: str = ""
    ranges: bool = True
    checks_if_range: bool = True
    cuts: list[int | None] = field(default_factory=list)
    statuses: list[int] = field(default_factory=list)
    requests: list[dict[str, str]] = field(default_factory=list)


@contextmanager
def serving() -> Iterator[Site]:
    """A site at a free port of 127.0.0.1, as long as the block lasts."""
    site = Site()
    server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(site))
    thread = threading.Thread(target=lambda: server.serve_forever(poll_interval=0.01))
    site.base = f"http://127.0.0.1:{server.server_address[1]}"
    thread.start()
    try:
        yield site
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _handler(site: Site) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            site.requests.append(dict(self.headers))
            body = site.files.get(self.path)
            if site.statuses:
                self.answer(site.statuses.pop(0), b"", {})
            elif body is None:
                self.answer(404, b"", {})
            else:
                self.file(body)

        def file(self, body: bytes) -> None:
            headers = {name: value for name, value in (("ETag", site.etag), ("Last-Modified", site.modified)) if value}
            start = self.wanted_start()
            if start is None:
                self.answer(200, body, headers)
            elif start >= len(body):
                self.answer(416, b"", {"Content-Range": f"bytes */{len(body)}"})
            else:
                self.answer(206, body[start:], headers | {"Content-Range": f"bytes {start}-{len(body) - 1}/{len(body)}"})

        def wanted_start(self) -> int | None:
            wanted = self.headers.get("Range")
            same = self.headers.get("If-Range") in {site.etag, site.modified} or not site.checks_if_range
            return int(wanted.removeprefix("bytes=").removesuffix("-")) if wanted and site.ranges and same else None

        def answer(self, status: int, body: bytes, headers: dict[str, str]) -> None:
            cut = site.cuts.pop(0) if site.cuts and body else None
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body[:cut])

        def log_message(self, format: str, *args: Any) -> None:
            """Quiet: the tests look at `site.requests`."""

    return Handler
