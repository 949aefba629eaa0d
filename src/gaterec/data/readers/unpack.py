"""Reading archives that come from elsewhere: only the members asked for, never more bytes than a stated limit.

An archive is a stranger's word. Its names may point outside the folder, and a few kilobytes may unpack to a full disk; so nothing is
ever unpacked under a name that the archive chose, and the bytes are counted while they come.
"""

import gzip
import io
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import IO

from gaterec.config.paths import open_regular
from gaterec.data.readers.memory import available_memory, in_gb
from gaterec.errors import DataError

MEMBER_LIMIT = 4_000_000_000
"""The largest member of a zip, in bytes; ml-20m's ratings.csv has 533 million."""

GZIP_LIMIT = 30_000_000_000
"""The most that a gzip file may unpack to; it is never on the disk unpacked."""

BLOCK = 64 * 1024 * 1024
"""How many bytes of a gzip file are in memory at a time; a line of more than twice that is refused."""

_COPY = 1024 * 1024


def extract_member(archive: Path, member_suffix: str, target: Path, *, limit: int = MEMBER_LIMIT) -> Path:
    """Unpack the one member of a zip whose path ends with `member_suffix` (whole parts of it) to the file `target`.

    Args:
        archive: the zip.
        member_suffix: such as "ml-100k/u.data" or "u.data".
        target: the file to write; the member's own name plays no part in it.
        limit: the most bytes that it may unpack to.

    Raises:
        DataError: no zip, no such member or several, a name that leaves the archive's folder, too large, or damaged.
    """
    where = f"{archive}: {member_suffix}"
    try:
        with zipfile.ZipFile(archive) as opened:
            member = _only_member(opened, member_suffix, where)
            if member.file_size > limit:
                raise DataError(f"{where}: expected at most {limit:,} bytes, found {member.file_size:,}")
            with opened.open(member) as source, target.open("wb") as sink:
                _copy(source, sink, limit, where)
    except (NotImplementedError, RuntimeError):
        raise DataError(f"{where}: expected a plain zip file, found an encrypted one or an unknown compression") from None
    except (zipfile.BadZipFile, zlib.error, EOFError):
        raise DataError(f"{where}: expected a sound zip file, found a damaged one, one that was cut short, or another file") from None
    except OSError as error:
        raise DataError(f"{where}: can't be unpacked to {target} ({error.strerror or error})") from None
    return target


def gzip_blocks(path: Path, *, limit: int = GZIP_LIMIT, block: int = BLOCK) -> Iterator[bytes]:
    r"""The lines of a gzip file in blocks of about `block` bytes; a block ends where a line ends.

    Of the lines "aa", "bb" and "cc" with blocks of 6 bytes come b"aa\nbb" and b"cc".

    Raises:
        DataError: no gzip file, damaged, cut short, larger than `limit`, or a line much longer than a block.
    """
    try:
        with gzip.open(path, "rb") as file:
            yield from _whole_lines(file, path, limit, block)
    except (EOFError, zlib.error, gzip.BadGzipFile):
        raise DataError(f"{path}: expected a whole gzip file, found a damaged one, one that was cut short, or another file") from None
    except OSError as error:
        raise DataError(f"{path}: can't be read: {error.strerror or error}") from None


def read_gzip(path: Path, *, limit: int | None = None, counted: int = GZIP_LIMIT) -> bytes:
    """All that a gzip file unpacks to, in memory.

    Args:
        path: the file.
        limit: the most bytes that it may unpack to; by default half of the memory that is free, as the table is made beside it.
        counted: beyond the limit nothing is kept, but counted for the message, up to this many bytes.

    Raises:
        DataError: no gzip file, damaged, cut short, or larger than the limit.
    """
    limit = available_memory() // 2 if limit is None else limit
    kept = io.BytesIO()
    total = 0
    try:
        with open_regular(path) as packed, gzip.open(packed) as file:
            while chunk := file.read(_COPY):
                total += len(chunk)
                if total <= limit:
                    kept.write(chunk)
                else:
                    kept = io.BytesIO()
                    if total > counted:
                        break
    except EOFError:
        raise DataError(f"{path}: the gzip data ends too early: the file was cut short; copy or download it again") from None
    except (gzip.BadGzipFile, zlib.error):
        raise DataError(f"{path}: expected gzip data, found damaged data; copy or download the file again") from None
    except OSError as error:
        raise DataError(f"{path}: can't be read: {error.strerror or error}") from None
    if total > limit:
        more = "more than " if total > counted else ""
        raise DataError(
            f"{path}: expected at most {limit:,} bytes when unpacked (half of the free memory), found {more}{total:,} bytes ({in_gb(total)}); "
            "unpack the file (gunzip -k) and give the unpacked one, or use a machine with more memory"
        )
    return kept.getvalue()


def _whole_lines(file: gzip.GzipFile, path: Path, limit: int, block: int) -> Iterator[bytes]:
    rest, total = b"", 0
    while chunk := file.read(block):
        total += len(chunk)
        if total > limit:
            raise DataError(f"{path}: expected at most {limit:,} bytes when unpacked, found more")
        lines, end, rest = (rest + chunk).rpartition(b"\n")
        if end:
            yield lines
        elif len(rest) > 2 * block:
            raise DataError(f"{path}: expected lines of at most {block:,} bytes, found a longer one")
    if rest:
        yield rest


def _only_member(opened: zipfile.ZipFile, suffix: str, where: str) -> zipfile.ZipInfo:
    """The member whose last parts are `suffix`."""
    wanted = PurePosixPath(suffix).parts
    found = [member for member in opened.infolist() if _parts(member.filename)[-len(wanted) :] == wanted and not member.is_dir()]
    if len(found) != 1:
        names = ", ".join(sorted(member.filename for member in found or opened.infolist())[:8])
        raise DataError(f"{where}: expected one such file in the archive, found {len(found)} (of: {names})")
    if not _is_inside(found[0].filename):
        raise DataError(f"{where}: expected a name inside the archive's folder, found {found[0].filename!r}")
    return found[0]


def _parts(name: str) -> tuple[str, ...]:
    return PurePosixPath(name.replace("\\", "/")).parts


def _is_inside(name: str) -> bool:
    parts = _parts(name)
    return not name.startswith(("/", "\\")) and ".." not in parts and ":" not in parts[0]


def _copy(source: IO[bytes], sink: IO[bytes], limit: int, where: str) -> None:
    """Count while copying: the size in the archive's table is a claim."""
    total = 0
    while chunk := source.read(_COPY):
        total += len(chunk)
        if total > limit:
            raise DataError(f"{where}: expected at most {limit:,} bytes, found more")
        sink.write(chunk)
