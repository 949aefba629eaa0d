"""Files and folders that are written whole or not at all, and tensors and tables that are checked when they are read back.

A folder is filled as `.NAME.xxxxxxxx.part` beside its place, and what stood there is `.NAME.xxxxxxxx.old` for a moment. A process that is killed
leaves them behind. While a process fills one it holds a lock on it, so that others can tell what is left over from what is being written.
"""

import hashlib
import io
import json
import os
import re
import shutil
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO

import polars as pl
import torch
from safetensors import SafetensorError
from safetensors.torch import load as load_tensors
from safetensors.torch import save_file
from torch import Tensor

from gaterec.config.paths import check_name, check_regular, open_regular, read_all, read_bytes
from gaterec.errors import RunError

LARGEST_HEADER = 100_000_000
"""Bytes of a safetensors header, as that format has it."""
UNPACKED, ALWAYS_UNPACKED, BYTES_OF_A_ROW = 100, 2**26, 8
"""A Parquet file may unpack to so many times its size, or to so many bytes if that is more; a row counts at least so many bytes."""


PART = re.compile(r"\.(.+)\.([0-9a-f]{8})\.(part|old)")
"""The names of files and folders on the way: of what, a number that is drawn, and whether it is to be or was."""
STALE = 3600
"""Seconds without a write after which a file on the way belongs to no process."""


def write_whole(path: Path, write: Callable[[Path], object]) -> None:
    """Let `write` make a file beside `path`, flush it to the disk, and put it in the place of `path` in one step.

    Raises:
        RunError: the disk is full, the folder can't be written, or anything but a regular file stands at `path`: a device or a named pipe
            must not be replaced by a file. What stood at `path` is untouched.
    """
    part = path.parent / f".{path.name}.{uuid.uuid4().hex[:8]}.part"
    try:
        _check_replaceable(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        write(part)
        _flush(part)
        part.replace(path)
    except (OSError, SafetensorError) as error:
        raise RunError(f"{path}: can't be written: {reason(error)}") from None
    finally:
        with suppress(OSError, ValueError):
            part.unlink(missing_ok=True)


def _check_replaceable(path: Path) -> None:
    """Raise OSError unless a regular file, or none, is at `path`; symbolic links are followed."""
    with suppress(FileNotFoundError):
        check_regular(path)


@contextmanager
def folder_written_whole(folder: Path) -> Iterator[Path]:
    """A folder to fill, which takes the place of `folder` when all went well and vanishes when anything failed.

    Where `folder` is a link, what it leads to is replaced. What a killed process left on the way to the same place is swept before.

    Raises:
        RunError: the disk is full, the place can't be written, or a file stands there; what stood at `folder` is untouched.
    """
    replaced, locks, part = False, list[int](), None
    try:
        check_name(folder)
        place = Path(os.path.realpath(folder))  # "." has no name of its own; and unlike Path.resolve it takes links that lead in a circle
        if not place.name:
            raise RunError(f"{folder}: can't be written: it is the root of all folders")
        part = place.with_name(f".{place.name}.{uuid.uuid4().hex[:8]}.part")
        old = part.with_suffix(".old")
        if place.exists() and not place.is_dir():
            raise FileExistsError
        sweep(place.parent, place.name)
        locks += _made_and_locked(part)
        yield part
        for file in sorted(part.rglob("*")):
            _flush(file)
        _flush(part)
        if place.is_dir():
            locks += _lock(place, wait=False)  # once it is old it is no leftover yet
            place.rename(old)
        part.rename(place)
        replaced = True
        _flush(place.parent)
    except RunError as error:  # the names of files that no user will find any more say nothing
        raise RunError(str(error).replace(str(part), str(folder))) from None
    except (OSError, SafetensorError) as error:
        raise RunError(f"{folder}: can't be written: {reason(error)}") from None
    finally:
        if part is not None:
            if replaced:
                shutil.rmtree(old, ignore_errors=True)
            with suppress(OSError):
                if not replaced and not place.exists():
                    old.rename(place)
            shutil.rmtree(part, ignore_errors=True)
        for lock in locks:
            os.close(lock)


def unfinished(folder: str | Path) -> bool:
    """Whether this is the name of a folder that is being written or was left over, and so of none to be read."""
    return PART.fullmatch(Path(folder).name) is not None


def leftovers(folder: Path, name: str | None = None) -> list[Path]:
    """What killed processes left in a folder while they wrote into it.

    Args:
        name: of the file or folder that they were writing; None for any.
    """
    found = []
    with suppress(OSError, ValueError):
        for entry in sorted(folder.iterdir()):
            of = PART.fullmatch(entry.name)
            if of and name in (None, of[1]) and not entry.is_symlink() and (lock := _abandoned(entry)):
                found.append(entry)
                os.close(*lock)
    return found


def sweep(folder: Path, name: str | None = None) -> list[str]:
    """Remove what killed processes left in a folder; what is whole, and was on the way when its writer was killed, gets its place back.

    Args:
        name: of the file or folder that they were writing; None for any.

    Returns:
        A line about each.
    """
    lines = []
    for entry in leftovers(folder, name):  # .old before its .part
        with suppress(OSError):
            if not (lock := _abandoned(entry)):
                continue
            of = PART.fullmatch(entry.name)
            assert of is not None
            place, whole = folder / of[1], next(file for file in (entry.with_suffix(".part"), entry) if file.exists())
            try:
                if of[3] == "old" and not place.exists():  # it was on its way out, so what was to take its place is whole
                    whole.rename(place)
                    lines.append(f"{place}: was put back from {whole.name}, which a process that was stopped left")
                else:
                    lines.append(f"{entry}: was left by a process that was stopped; removed")
                if entry.is_dir():
                    shutil.rmtree(entry)
                else:
                    entry.unlink(missing_ok=True)
            finally:
                os.close(*lock)
    return lines


def told_of(leftover: Path) -> str:
    """A line about something that was left over."""
    return f"{leftover}: was left by a process that was stopped, and is not read; the next command that writes there removes it"


def _made_and_locked(folder: Path) -> list[int]:
    """Make a folder that other processes can see is being filled; what lets go of it is to be closed."""
    while True:
        folder.mkdir(parents=True)
        lock = _lock(folder)
        with suppress(FileNotFoundError):  # swept in between
            if not lock or os.fstat(*lock).st_ino == folder.stat().st_ino:
                return lock
        os.close(*lock)


def _lock(folder: Path, wait: bool = True) -> list[int]:
    """A descriptor that keeps a folder or file for this process, in a list; none where another has it, or where there are no locks."""
    try:
        import fcntl
    except ImportError:
        return []
    descriptor = os.open(folder, os.O_RDONLY | os.O_NONBLOCK)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except OSError:
        os.close(descriptor)
        return []
    return [descriptor]


def _abandoned(entry: Path) -> list[int]:
    """The lock of something on the way that belongs to no living process; none where one does, or where that can't be known."""
    if not entry.is_dir() and time.time() - entry.stat().st_mtime < STALE:  # files are written in one go, and not locked
        return []
    return _lock(entry, wait=False)


def _flush(path: Path) -> None:
    """Put a file or a folder's entries on the disk."""
    if path.is_dir() and os.name == "nt":  # which knows no such thing
        return
    descriptor = os.open(path, os.O_RDONLY if path.is_dir() else os.O_RDWR)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def in_the_way(folder: Path, ours: Callable[[set[str]], set[str]]) -> str | None:
    """What keeps a folder from being written, or written over; None where it is new, or holds nothing but files of ours.

    Args:
        folder: any path.
        ours: which of the names in it are ours.
    """
    try:
        if not folder.exists():
            return None
        if not folder.is_dir():
            return "a file"
        entries = {entry.name: entry for entry in folder.iterdir()}
    except OSError as error:
        return f"one that can't be read: {reason(error)}"
    ourselves = {name for name in ours(set(entries)) if entries[name].is_file()}
    strange = sorted(entries.keys() - ourselves)
    return f"{strange[0]} in it" if strange else None


def check_writable(folder: Path, setting: str = "checkpoint_dir") -> None:
    """Raise RunError now, and not after an hour of training, when nothing can be written into `folder`, which `setting` names."""
    trial = folder / ".gaterec-can-write"
    try:
        write_whole(trial, lambda path: path.write_bytes(b"gaterec"))
    except RunError as error:
        raise RunError(f"{setting}: {str(error).replace(str(trial), str(folder), 1)}; give a folder that can") from None
    trial.unlink(missing_ok=True)


def check_output(file: Path, setting: str) -> None:
    """Raise RunError now, and not after an hour of training, when nothing can be written to the file `file`, which `setting` names."""
    try:
        _check_replaceable(file)
    except OSError as error:
        raise RunError(f"{setting}: {file}: can't be written: {reason(error)}") from None
    check_writable(file.parent, setting)


@contextmanager
def only_one(folder: Path) -> Iterator[None]:
    """Keeps a folder, made if need be, for one process while inside; one that ends in whatever way lets go of it.

    Where the system or the disk knows no locks, nothing is kept.

    Raises:
        RunError: another process has it, or it can't be made.
    """
    try:
        check_name(folder)
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RunError(f"{folder}: can't be written: {reason(error)}") from None
    try:
        import fcntl
    except ImportError:
        yield
        return
    place = os.open(folder, os.O_RDONLY)
    try:
        try:
            fcntl.flock(place, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise RunError(f"{folder}: another process is writing there; wait for its end, or give another folder") from None
        except OSError:
            pass
        yield
    finally:
        os.close(place)


# -- tensors ---------------------------------------------------------------------------------------------------------------------------


def write_tensors(path: Path, tensors: Mapping[str, Tensor], about: Mapping[str, Any]) -> None:
    """Write tensors and a JSON note about them as one safetensors file with a digest of both.

    Raises:
        RunError: the file can't be written.
    """
    plain = {name: tensor.detach().cpu().contiguous() for name, tensor in sorted(tensors.items())}
    note = json.dumps(about, sort_keys=True)
    # One entry alone: safetensors writes several in any order, and equal tensors are to make equal files.
    write_whole(path, lambda part: save_file(plain, part, metadata={"gaterec": f"{_digest(plain, note)} {note}"}))


def read_tensors(
    path: Path, check: Callable[[Mapping[str, tuple[int, ...]]], object] = lambda shapes: None, digest: str | None = None
) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """The tensors of a file and the note about them, read into memory: a file that is changed later changes neither.

    Args:
        check: given the shapes of the tensors before they are read; raises what is wrong with them.
        digest: the one that the file must have (see digest_of).

    Raises:
        RunError: the file is not there, cut short, changed since it was written, another one than expected, or is no such file.
    """
    try:
        with open_regular(path) as file:
            shapes, _ = _header(file)
            check(shapes)
            file.seek(0)
            content = read_all(file)
        _, metadata = _header(io.BytesIO(content))  # of what was read, whatever was written over the file meanwhile
        tensors = load_tensors(content)
    except (OSError, SafetensorError, ValueError) as error:
        raise RunError(f"{path}: can't be read: {reason(error)}") from None
    written, _, note = metadata.get("gaterec", "").partition(" ")
    if written != _digest(dict(sorted(tensors.items())), note):
        raise RunError(f"{path}: is corrupt: its content does not match the digest that was written with it")
    if digest not in (None, written):
        raise RunError(f"{path}: is of another run than the files beside it")
    return tensors, json.loads(note)


def digest_of(path: Path) -> str:
    """The digest that stands in a file of tensors, which is not read any further.

    Raises:
        RunError: it can't be read.
    """
    try:
        with open_regular(path) as file:
            return _header(file)[1].get("gaterec", "").partition(" ")[0]
    except (OSError, ValueError) as error:
        raise RunError(f"{path}: can't be read: {reason(error)}") from None


def _header(file: BinaryIO) -> tuple[dict[str, tuple[int, ...]], dict[str, str]]:
    """The shapes and the metadata of a safetensors file, from its first bytes; its size must be the size of its tensors.

    Raises:
        ValueError: it is no such file, or cut short.
    """
    size = file.seek(0, os.SEEK_END)
    file.seek(0)
    length = int.from_bytes(file.read(8), "little")
    if not 2 <= length <= min(size - 8, LARGEST_HEADER):
        raise ValueError("it is no safetensors file, or cut short")
    try:
        header = json.loads(file.read(length))
        metadata = header.pop("__metadata__", {})
        shapes = {name: tuple(map(int, tensor["shape"])) for name, tensor in header.items()}
        end = max((int(tensor["data_offsets"][1]) for tensor in header.values()), default=0)
        metadata = {str(name): str(value) for name, value in metadata.items()}
    except (ValueError, TypeError, KeyError, AttributeError, IndexError, RecursionError):
        raise ValueError("its header is damaged") from None
    if size != 8 + length + end:
        raise ValueError(f"expected {8 + length + end:,} bytes by its header, found {size:,}")
    return shapes, metadata


def _digest(tensors: Mapping[str, Tensor], note: str) -> str:
    digest = hashlib.blake2b(note.encode(), digest_size=16)
    for name, tensor in tensors.items():
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


# -- tables ----------------------------------------------------------------------------------------------------------------------------


def write_table(table: pl.DataFrame, path: Path) -> None:
    """Write a Parquet file at exactly this path: Polars itself would expand `~` and take `file:` for an address.

    Raises:
        OSError: it can't be written.
    """
    with path.open("wb") as file:
        try:
            table.write_parquet(file)
        except pl.exceptions.PolarsError as error:
            raise OSError(reason(error)) from None


def read_table(path: Path, rows: int | None = None, columns: Sequence[int] | None = None) -> pl.DataFrame:
    """The table of a Parquet file at exactly this path, read into memory; what it takes is known before it is unpacked.

    Args:
        rows: how many it must have.
        columns: their places, where not all are wanted.

    Raises:
        OSError: there is no such regular file.
        ValueError: it is damaged, has another number of rows, or unpacks to more than any file of its size should (UNPACKED times it).
    """
    content = read_bytes(path)
    found, size = _footer(content)
    if rows is not None and found != rows:
        raise ValueError(f"{path.name}: expected {rows:,} rows, found {found:,}")
    most = max(UNPACKED * len(content), ALWAYS_UNPACKED)
    if max(size, found * BYTES_OF_A_ROW) > most:
        raise ValueError(
            f"{path.name}: expected a file of {len(content):,} bytes to unpack to at most {most:,}, found {found:,} rows and {size:,} bytes"
        )
    try:
        table = pl.read_parquet(content, columns=None if columns is None else list(columns))
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException) as error:
        raise ValueError(f"{path.name}: is damaged: {reason(error)}") from None
    texts = sum(int(table[name].str.len_bytes().sum()) for name, kind in table.schema.items() if kind == pl.String)
    if texts > most:  # one text in many rows is there once in the file, and in the table
        raise ValueError(
            f"{path.name}: expected a file of {len(content):,} bytes to unpack to at most {most:,}, found {texts:,} bytes of text"
        )
    return table


def _footer(content: bytes) -> tuple[int, int]:
    """The number of rows of a Parquet file, and the number of bytes of its columns when they are unpacked; from its last bytes alone.

    Raises:
        ValueError: it is no such file, or cut short.
    """
    length = int.from_bytes(content[-8:-4], "little")
    if content[:4] != b"PAR1" or content[-4:] != b"PAR1" or not 0 < length <= len(content) - 12:
        raise ValueError("it is no Parquet file, or cut short")
    try:
        about = _Thrift(content[-8 - length : -8]).struct()
        return int(about[3]), sum(int(group[2]) for group in about[4])  # num_rows; row_groups, of each total_byte_size
    except (IndexError, KeyError, TypeError, RecursionError):
        raise ValueError("its footer is damaged") from None


class _Thrift:
    """Thrift's compact protocol, in which the footers of Parquet files are written: structs as dictionaries by the fields' numbers."""

    def __init__(self, content: bytes) -> None:
        self._content, self._at = content, 0

    def struct(self) -> dict[int, Any]:
        found: dict[int, Any] = {}
        field = 0
        while head := self._byte():
            field = field + (head >> 4) if head >> 4 else self._number()
            found[field] = head & 15 == 1 if head & 15 in (1, 2) else self._value(head & 15)
        return found

    def _value(self, kind: int) -> Any:
        if kind in (1, 2, 3):  # true and false, where they are elements of a list, and bytes
            return self._byte()
        if kind in (4, 5, 6):
            return self._number()
        if kind in (7, 8):
            size = 8 if kind == 7 else self._varint()
            self._at += size
            return self._content[self._at - size : self._at]
        if kind in (9, 10):
            head = self._byte()
            size = head >> 4 if head >> 4 < 15 else self._varint()
            return [self._value(head & 15) for _ in range(size)]
        if kind == 12:
            return self.struct()
        raise KeyError(kind)  # maps, which footers have none of

    def _byte(self) -> int:
        self._at += 1
        return self._content[self._at - 1]

    def _varint(self) -> int:
        value = 0
        for shift in range(0, 70, 7):
            byte = self._byte()
            value |= (byte & 127) << shift
            if not byte & 128:
                return value
        raise KeyError("a number of more than 64 bits")

    def _number(self) -> int:
        value = self._varint()
        return value >> 1 ^ -(value & 1)


def reason(error: Exception) -> str:
    """What the operating system says, without numbers and paths; a full disk seen through a library says the same."""
    if isinstance(error, FileExistsError | NotADirectoryError):
        return "there is a file where a folder should be"
    told = (error.strerror if isinstance(error, OSError) else None) or (str(error).splitlines() or [type(error).__name__])[0]
    number = re.search(r"os error (\d+)", told)
    return os.strerror(int(number[1])) if number else told


def write_text(path: Path, text: str) -> None:
    """Write a text file whole or not at all.

    Raises:
        RunError: it can't be written.
    """
    write_whole(path, lambda part: part.write_text(text, encoding="utf-8", errors="replace"))


def write_parquet(path: Path, table: pl.DataFrame) -> None:
    """Write a Parquet file whole or not at all.

    Raises:
        RunError: it can't be written.
    """
    write_whole(path, lambda part: write_table(table, part))
