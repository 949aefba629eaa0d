"""Paths that users name: taken literally, and opened only where they lead to a regular file."""

import errno
import os
import stat
from pathlib import Path
from typing import BinaryIO

KINDS = (
    (stat.S_ISDIR, "a folder"),
    (stat.S_ISFIFO, "a named pipe"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
)


def check_regular(path: str | Path) -> os.stat_result:
    """The size and times of a regular file, which is not opened; symbolic links are followed.

    Raises:
        OSError: there is no such file, no file can have this name, or it is a folder, a named pipe, a socket or a device, which
            could block or never end; `strerror` says which.
    """
    try:
        found = Path(path).stat()
    except ValueError:  # a NUL character, or one that the file system cannot encode
        raise OSError(errno.EINVAL, "no file can have this name", str(path)) from None
    _check_kind(found, path)
    return found


def open_regular(path: str | Path) -> BinaryIO:
    """A regular file, open for reading bytes. This never blocks: anything else is refused before it is read.

    Raises:
        OSError: as check_regular.
    """
    check_regular(path)  # before opening, which may act on a device
    descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    try:
        _check_kind(os.fstat(descriptor), path)  # another file may have taken its place
        return os.fdopen(descriptor, "rb")
    except BaseException:
        os.close(descriptor)
        raise


def read_bytes(path: str | Path) -> bytes:
    """All bytes of a regular file.

    Raises:
        OSError: as check_regular.
    """
    with open_regular(path) as file:
        return file.read()


def read_text(path: str | Path, encoding: str = "utf-8") -> str:
    """The text of a regular file.

    Raises:
        OSError: as check_regular.
        UnicodeDecodeError: it is no text in this encoding.
    """
    return read_bytes(path).decode(encoding).replace("\r\n", "\n").replace("\r", "\n")


def _check_kind(found: os.stat_result, path: str | Path) -> None:
    if not stat.S_ISREG(found.st_mode):
        kind = next((name for is_kind, name in KINDS if is_kind(found.st_mode)), "another kind")
        number = errno.EISDIR if stat.S_ISDIR(found.st_mode) else errno.EINVAL
        raise OSError(number, f"expected a regular file, found {kind}", str(path))
