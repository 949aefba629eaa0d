"""A log in several files: a folder of parts, as Spark and others write it, or the files that a pattern names."""

import glob
import re
from collections.abc import Iterable
from itertools import takewhile
from pathlib import Path

from gaterec.errors import DataError

PART_FORMATS = (".parquet", ".pq", ".csv", ".tsv", ".jsonl", ".ndjson", ".json")
NUMBERS = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}|\d+", re.IGNORECASE)
"""What tells parts of one log from each other in their names: numbers and UUIDs."""


def format_of(path: Path) -> str:
    """The ending that tells the format, without .gz."""
    return Path(path.stem).suffix.lower() if path.suffix.lower() == ".gz" else path.suffix.lower()


def is_pattern(path: Path) -> bool:
    """Whether a path is a pattern such as log/*.parquet; where something has this very name it is a path."""
    try:
        return glob.has_magic(str(path)) and not path.exists()
    except (OSError, ValueError):
        return False


def base_of(pattern: Path) -> Path:
    """The folder before the first part of a pattern that is one.

    >>> base_of(Path("logs/shop/*/part-*.csv"))
    PosixPath('logs/shop')
    """
    return Path(*takewhile(lambda part: not glob.has_magic(part), pattern.parts))


def parts_in(folder: Path) -> list[Path]:
    """The numbered files of one format in a folder, in the order of their numbers; empty where the folder holds anything else.

    Names that begin with a dot or an underscore (_SUCCESS, .part-00000.crc) are passed over, as Spark does.
    """
    files = [file for file in folder.iterdir() if file.name[0] not in "._"]
    alike = {NUMBERS.sub("", file.name) for file in files}
    if not files or format_of(files[0]) not in PART_FORMATS or len(alike) > 1 or not all(map(_is_part, files)):
        return []
    return _in_order(files)


def _is_part(file: Path) -> bool:
    return bool(NUMBERS.search(file.name)) and file.is_file()


def matching(pattern: Path) -> list[Path]:
    """The files that a pattern names, without those that parts_in passes over, in the order of the numbers in their names.

    Raises:
        DataError: it names none.
    """
    files = [Path(name) for name in glob.glob(str(pattern), recursive=True)]  # noqa: PTH207 - takes absolute patterns too
    files = [file for file in files if file.name[0] not in "._" and not file.is_dir()]
    if not files:
        raise DataError(f"{pattern}: there is no file of this name, and none that the pattern matches")
    return _in_order(files)


def _in_order(files: Iterable[Path]) -> list[Path]:
    """part.2 before part.10."""
    return sorted(
        files, key=lambda file: [(int(piece), "") if piece.isdecimal() else (0, piece) for piece in re.split(r"(\d+)", str(file))]
    )
