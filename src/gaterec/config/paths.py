"""Paths that users name: taken literally, and opened only where they lead to a regular file."""

import errno
import os
import stat
from pathlib import Path
from typing import BinaryIO

from gaterec.errors import SettingsError

KINDS = (
    (stat.S_ISDIR, "a folder"),
    (stat.S_ISFIFO, "a named pipe"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
)


def check_name(path: str | Path) -> None:
    """Raise OSError where no file can have this name: a NUL character in it, or one that the file system cannot encode."""
    try:
        if b"\0" not in os.fsencode(path):
            return
    except UnicodeEncodeError:
        pass
    raise OSError(errno.EINVAL, "no file can have this name", str(path))


def expanded(path: str | Path, setting: str) -> Path:
    """The path that a setting names. As in a shell, `~` or `~user` at its beginning is a home folder, unless something is there under that very
    name; `./~` is always a name.

    Raises:
        SettingsError: there is no such user, or no file can have this name.
    """
    text = str(path)
    try:
        check_name(text)
        return Path(text) if not text.startswith("~") or os.path.lexists(text) else Path(text).expanduser()
    except OSError as error:
        raise SettingsError(f"{setting}: {text}: {error.strerror}") from None
    except RuntimeError:
        user = text.partition("/")[0]
        raise SettingsError(f"{setting}: {text}: there is no home folder {user}; write ./{text} for a folder of that name") from None


def check_regular(path: str | Path) -> os.stat_result:
    """The size and times of a regular file, which is not opened; symbolic links are followed.

    Raises:
        OSError: there is no such file, no file can have this name, or it is a folder, a named pipe, a socket or a device, which
            could block or never end; `strerror` says which.
    """
    check_name(path)
    found = Path(path).stat()
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
        return read_all(file)


def read_all(file: BinaryIO) -> bytes:
    """What is left of a regular file, as long as it is now.

    Raises:
        OSError: it can't be read, or does not fit into memory.
    """
    size = os.fstat(file.fileno()).st_size - file.tell()
    try:
        return file.read(size)
    except MemoryError:
        raise OSError(errno.ENOMEM, f"its {size:,} bytes do not fit into memory") from None


def read_text(path: str | Path, encoding: str = "utf-8") -> str:
    """The text of a regular file.

    Raises:
        OSError: as check_regular.
        UnicodeDecodeError: the bytes are not text in this encoding.
    """
    return read_bytes(path).decode(encoding).replace("\r\n", "\n").replace("\r", "\n")


def _check_kind(found: os.stat_result, path: str | Path) -> None:
    if not stat.S_ISREG(found.st_mode):
        kind = next((name for is_kind, name in KINDS if is_kind(found.st_mode)), "another kind")
        number = errno.EISDIR if stat.S_ISDIR(found.st_mode) else errno.EINVAL
        raise OSError(number, f"expected a regular file, found {kind}", str(path))
