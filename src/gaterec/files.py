"""Files that are written whole or not at all, and tensors that are checked when they are read back."""

import hashlib
import json
import os
import re
import shutil
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from gaterec.errors import RunError


def write_whole(path: Path, write: Callable[[Path], object]) -> None:
    """Let `write` make a file beside `path`, flush it to the disk, and put it in the place of `path` in one step.

    Raises:
        RunError: the disk is full or the folder can't be written; what stood at `path` is untouched.
    """
    part = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write(part)
        with part.open("rb+") as file:
            os.fsync(file.fileno())
        part.replace(path)
    except (OSError, SafetensorError) as error:
        raise RunError(f"{path}: can't be written: {reason(error)}") from None
    finally:
        with suppress(OSError):
            part.unlink(missing_ok=True)


@contextmanager
def folder_written_whole(folder: Path) -> Iterator[Path]:
    """A folder to fill, which takes the place of `folder` when all went well and vanishes when anything failed.

    Where `folder` is a link, what it leads to is replaced.

    Raises:
        RunError: the disk is full, the place can't be written, or a file stands there; what stood at `folder` is untouched.
    """
    place = Path(os.path.realpath(folder))  # "." has no name of its own; and unlike Path.resolve it takes links that lead in a circle
    if not place.name:
        raise RunError(f"{folder}: can't be written: it is the root of all folders")
    part = place.with_name(f".{place.name}.{uuid.uuid4().hex[:8]}.part")
    old = part.with_suffix(".old")
    replaced = False
    try:
        if place.exists() and not place.is_dir():
            raise FileExistsError
        part.mkdir(parents=True)
        yield part
        if place.is_dir():
            place.rename(old)
        part.rename(place)
        replaced = True
    except RunError as error:  # the names of files that nobody will find any more say nothing
        raise RunError(str(error).replace(str(part), str(folder))) from None
    except (OSError, SafetensorError) as error:
        raise RunError(f"{folder}: can't be written: {reason(error)}") from None
    finally:
        shutil.rmtree(part, ignore_errors=True)
        if replaced:
            shutil.rmtree(old, ignore_errors=True)
        elif not place.exists():
            with suppress(OSError):
                old.rename(place)


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


@contextmanager
def only_one(folder: Path) -> Iterator[None]:
    """Keeps a folder, made if need be, for one process while inside; one that ends in whatever way lets go of it.

    Where the system or the disk knows no locks, nothing is kept.

    Raises:
        RunError: another process has it, or it can't be made.
    """
    try:
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


def write_tensors(path: Path, tensors: Mapping[str, Tensor], about: Mapping[str, Any]) -> None:
    """Write tensors and a JSON note about them as one safetensors file with a digest of both.

    Raises:
        RunError: the file can't be written.
    """
    plain = {name: tensor.detach().cpu().contiguous() for name, tensor in sorted(tensors.items())}
    note = json.dumps(about, sort_keys=True)
    # One entry alone: safetensors writes several in any order, and equal tensors are to make equal files.
    write_whole(path, lambda part: save_file(plain, part, metadata={"gaterec": f"{_digest(plain, note)} {note}"}))


def read_tensors(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """The tensors of a file and the note about them.

    Raises:
        RunError: the file is not there, cut short, changed since it was written, or no such file at all.
    """
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in sorted(file.keys())}
    except (OSError, SafetensorError, ValueError) as error:
        raise RunError(f"{path}: can't be read: {reason(error)}") from None
    digest, _, note = metadata.get("gaterec", "").partition(" ")
    if digest != _digest(tensors, note):
        raise RunError(f"{path}: is corrupt: its content does not match the digest that was written with it")
    return tensors, json.loads(note)


def digest_of(path: Path) -> str:
    """The digest that stands in a file of tensors, which is not read any further.

    Raises:
        RunError: it can't be read.
    """
    try:
        with safe_open(path, framework="pt") as file:
            return str((file.metadata() or {}).get("gaterec", "")).partition(" ")[0]
    except (OSError, SafetensorError, ValueError) as error:
        raise RunError(f"{path}: can't be read: {reason(error)}") from None


def _digest(tensors: Mapping[str, Tensor], note: str) -> str:
    digest = hashlib.blake2b(note.encode(), digest_size=16)
    for name, tensor in tensors.items():
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def reason(error: Exception) -> str:
    """What the operating system says, without numbers and paths; a full disk seen through a library says the same."""
    if isinstance(error, FileExistsError | NotADirectoryError):
        return "there is a file where a folder should be"
    told = (error.strerror if isinstance(error, OSError) else None) or str(error).splitlines()[0]
    number = re.search(r"os error (\d+)", told)
    return os.strerror(int(number[1])) if number else told
