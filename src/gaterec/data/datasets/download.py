"""A file from the web to the disk: streamed, resumed after a break, checked, and in its place whole or not at all.

While it grows, NAME is called NAME.part, and NAME.part.version says which version of the file the bytes belong to (the server's ETag
or Last-Modified). A download that breaks off goes on from there, in the same run or in a later one; if the file has changed in
between, or the server can't send a piece, it starts again. Proxies are taken from the environment, as httpx does.
"""

import contextlib
import errno
import hashlib
import os
import re
import stat
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO

import httpx
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

from gaterec.config.paths import check_regular, open_regular, read_text
from gaterec.errors import DataError

TRIES = 4
"""So many tries in a row may bring nothing new before we give up."""

BACKOFF_SECONDS = (0.5, 1.0, 2.0)
TIMEOUT = httpx.Timeout(30.0, connect=10.0)
TRY_LATER = {408, 425, 429, 500, 502, 503, 504}


class UnreachableError(DataError):
    """The address doesn't answer, doesn't have the file, or broke off for good (what came so far is kept)."""


class _TryAgainError(Exception):
    """This request brought nothing of use, and the next one may."""


def download(
    url: str,
    path: Path,
    *,
    size: int | None = None,
    md5: str | None = None,
    sha256: str | None = None,
    progress: bool = True,
) -> Path:
    """Fetch `url` to `path`. A file that is there already is checked and left as it is.

    Args:
        url: an http or https address; redirects are followed.
        path: the final place; its folder is made.
        size: how many bytes to expect, where it is known.
        md5: the digest to expect, in hexadecimal.
        sha256: the same.
        progress: show a bar, on a terminal.

    Raises:
        UnreachableError: no answer, not found, or broken off; the part is kept and the next call goes on from there.
        DataError: the file is not the one expected (then the part is removed), or it can't be written.
    """
    part = path.with_name(path.name + ".part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with exclusive(path.with_name(path.name + ".lock")):
            if path.exists():
                _check_present(path, size, md5, sha256)
                return path
            with _client() as client, _bar(path.name, size, progress) as show:
                _fetch(client, url, part, show)
            _check_fetched(url, part, size, md5, sha256)
            part.replace(path)
            _version_file(part).unlink(missing_ok=True)
            return path
    except OSError as error:
        raise DataError(f"{path}: can't be written ({error.strerror or error})") from None


@contextlib.contextmanager
def exclusive(path: Path) -> Iterator[None]:
    """Hold a lock among processes and threads, with an empty file for its name; released when the process ends, however it ends."""
    with _open_own(path, os.O_RDWR | os.O_CREAT) as file:
        if sys.platform == "win32":
            import msvcrt

            msvcrt.locking(file.fileno(), msvcrt.LK_LOCK, 1)
        else:
            import fcntl

            # A file system without locks: the final rename is still all or nothing, only the saving of double work is lost.
            with contextlib.suppress(OSError):
                fcntl.flock(file, fcntl.LOCK_EX)
        yield


# -- fetching -----------------------------------------------------------------------------------------------------------------------


def _fetch(client: httpx.Client, url: str, part: Path, show: Callable[[int, int | None], None]) -> None:
    """Make `part` whole, over as many requests as it takes, as long as they bring something."""
    failures = 0
    while True:
        before = _bytes_in(part)
        try:
            _request(client, url, part, show)
            return
        except (httpx.TransportError, _TryAgainError) as error:
            failures = 1 if _bytes_in(part) > before else failures + 1
            if failures == TRIES or isinstance(error, httpx.UnsupportedProtocol):
                raise UnreachableError(_gave_up(url, part, error)) from None
            time.sleep(BACKOFF_SECONDS[min(failures, len(BACKOFF_SECONDS)) - 1])
        except (httpx.RequestError, httpx.InvalidURL) as error:
            raise UnreachableError(f"{url}: {_reason(error)}") from None


def _request(client: httpx.Client, url: str, part: Path, show: Callable[[int, int | None], None]) -> None:
    """One request: add to `part` what is missing, or start it again where the server can't go on."""
    have, version = _bytes_in(part), _version_known(part)
    # If-Range: the rest, if the file is still the one we began with, and otherwise all of the new one.
    headers = {"Range": f"bytes={have}-", "If-Range": version} if have and version else {}
    with client.stream("GET", url, headers=headers) as response:
        if response.status_code == httpx.codes.REQUESTED_RANGE_NOT_SATISFIABLE and headers:
            _nothing_missing(response, part, have)
            return
        _check_status(url, response)
        partial = response.status_code == httpx.codes.PARTIAL_CONTENT
        if partial and not (_first_byte(response) == have and _version_of(response) in {version, ""}):
            part.unlink(missing_ok=True)
            raise _TryAgainError("the server sent another piece than the one that was asked for")
        # A new part is begun before its version is noted: a crash in between costs bytes, never mixes versions.
        with _open_own(part, os.O_WRONLY | os.O_APPEND) if partial else _new_own(part) as file:
            if not partial:
                with _new_own(_version_file(part)) as version_file:
                    version_file.write(_version_of(response).encode())
            _write_body(response, file.write, have if partial else 0, show)


def _write_body(response: httpx.Response, write: Callable[[bytes], int], start: int, show: Callable[[int, int | None], None]) -> None:
    length = response.headers.get("Content-Length", "")
    total = start + int(length) if length.isdecimal() else None
    done = start
    for chunk in response.iter_raw():  # raw: a .gz file sent with Content-Encoding: gzip must stay a .gz file
        write(chunk)
        done += len(chunk)
        show(done, total)


def _nothing_missing(response: httpx.Response, part: Path, have: int) -> None:
    """After a 416: fine if the part is as long as the file; otherwise it belongs to no file that is there now."""
    if response.headers.get("Content-Range", "").strip() != f"bytes */{have}":
        part.unlink(missing_ok=True)
        raise _TryAgainError("the file is shorter than what came before")


def _check_status(url: str, response: httpx.Response) -> None:
    answer = f"the server answered {response.status_code} {response.reason_phrase}".rstrip()
    if response.status_code in TRY_LATER:
        raise _TryAgainError(answer)
    if response.status_code not in {httpx.codes.OK, httpx.codes.PARTIAL_CONTENT}:
        raise UnreachableError(f"{url}: expected the file, {answer}")


def _gave_up(url: str, part: Path, error: Exception) -> str:
    reason, have = _reason(error), _bytes_in(part)
    kept = f"; {part} keeps the {have:,} bytes that came, and the same command goes on from there" if have else ""
    return f"{url}: {reason}{kept}"


def _client() -> httpx.Client:
    try:
        return httpx.Client(follow_redirects=True, timeout=TIMEOUT, headers={"Accept-Encoding": "identity"})
    except (ImportError, ValueError, httpx.InvalidURL):
        raise UnreachableError(
            "the proxy that the environment names (HTTPS_PROXY, HTTP_PROXY, ALL_PROXY) can't be used; expected an address such as http://proxy:3128"
        ) from None


def _reason(error: Exception) -> str:
    """What went wrong between us and the server, in words."""
    if isinstance(error, _TryAgainError):
        return str(error)
    reasons: dict[type[Exception], str] = {
        httpx.UnsupportedProtocol: "expected an http or https address",
        httpx.InvalidURL: "expected an http or https address",
        httpx.ProxyError: "the proxy did not let the connection through",
        httpx.ConnectTimeout: "no connection in time",
        httpx.TimeoutException: "no answer in time",
        httpx.ConnectError: "the server refused the connection, or can't be found",
        httpx.TooManyRedirects: "the server redirects too often",
    }
    return next((reason for kind, reason in reasons.items() if isinstance(error, kind)), "the connection broke off")


# -- what the part is a part of -----------------------------------------------------------------------------------------------------


def _is_own(found: os.stat_result) -> bool:
    """Whether it is a regular file with a single name. A link could lead to a file that is not ours."""
    return stat.S_ISREG(found.st_mode) and found.st_nlink == 1


def _bytes_in(part: Path) -> int:
    """The bytes that came so far; 0 where there is none, or something that is no part of ours."""
    try:
        found = part.lstat()
    except FileNotFoundError:
        return 0
    return found.st_size if _is_own(found) else 0


def _open_own(path: Path, flags: int) -> BinaryIO:
    """A file of ours, open for writing; links are not followed and pipes not waited for.

    Raises:
        OSError: something else stands there.
    """
    descriptor = os.open(path, flags | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0), 0o666)
    if not _is_own(os.fstat(descriptor)):
        os.close(descriptor)
        raise OSError(errno.EEXIST, f"expected a file of this download, found a link or another kind of file at {path.name}; remove it")
    return os.fdopen(descriptor, "r+b" if flags & os.O_RDWR else "wb")


def _new_own(path: Path) -> BinaryIO:
    """A new file, open for writing; what stood under this name is removed, and not written to."""
    path.unlink(missing_ok=True)
    return _open_own(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL)


def _version_file(part: Path) -> Path:
    return part.with_name(part.name + ".version")


def _version_known(part: Path) -> str:
    try:
        return read_text(_version_file(part)).strip() if _is_own(_version_file(part).lstat()) else ""
    except (OSError, UnicodeDecodeError):
        return ""


def _version_of(response: httpx.Response) -> str:
    """A strong ETag, else the date; "" for neither. A weak ETag doesn't promise equal bytes, and HTTP forbids it in If-Range."""
    tag: str = response.headers.get("ETag", "")
    date: str = response.headers.get("Last-Modified", "")
    return tag if tag and not tag.startswith("W/") else date


def _first_byte(response: httpx.Response) -> int | None:
    found = re.match(r"bytes (\d+)-", response.headers.get("Content-Range", ""))
    return int(found[1]) if found else None


# -- checking -----------------------------------------------------------------------------------------------------------------------


def _check_fetched(url: str, part: Path, size: int | None, md5: str | None, sha256: str | None) -> None:
    fault = _fault(part, size, md5, sha256)
    if fault:
        part.unlink()
        _version_file(part).unlink(missing_ok=True)
        raise DataError(f"{url}: {fault}; what came is removed, as it is damaged or another file than the one we know")


def _check_present(path: Path, size: int | None, md5: str | None, sha256: str | None) -> None:
    fault = _fault(path, size, md5, sha256)
    if fault:
        raise DataError(f"{path}: {fault}; remove it, and the same command fetches it again")


def _fault(path: Path, size: int | None, md5: str | None, sha256: str | None) -> str:
    """What is wrong with the file, or ""."""
    found_size = check_regular(path).st_size
    if size is not None and found_size != size:
        return f"expected {size:,} bytes, found {found_size:,}"
    for kind, expected in (("md5", md5), ("sha256", sha256)):
        if expected and (found := _digest(path, kind)) != expected.lower():
            return f"expected {kind} {expected}, found {found}"
    return ""


def _digest(path: Path, kind: str) -> str:
    with open_regular(path) as file:
        digest = hashlib.new(kind, usedforsecurity=False)
        while chunk := file.read(1 << 20):
            digest.update(chunk)
        return digest.hexdigest()


# -- showing ------------------------------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def _bar(name: str, size: int | None, wanted: bool) -> Iterator[Callable[[int, int | None], None]]:
    """A progress bar on the terminal's error stream; gives a function that takes (bytes so far, bytes in all)."""
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}", markup=False), BarColumn(), DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True, disable=not (wanted and console.is_terminal)) as bar:
        task = bar.add_task(name, total=size)
        yield lambda done, total: bar.update(task, completed=done, total=total if total is not None else size)
