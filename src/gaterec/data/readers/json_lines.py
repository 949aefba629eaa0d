"""JSON lines to columns: one object per line, each key a column."""

import io
import json
from pathlib import Path
from typing import Any

import polars as pl

from gaterec.config.paths import read_bytes
from gaterec.data.readers.delimited import BOM, shortened, unpacked
from gaterec.errors import DataError


def read_json_lines(path: Path) -> tuple[pl.DataFrame, list[int]]:
    """The columns, and the line of each row; blank lines are no rows.

    Raises:
        DataError: the file can't be read, or a line is no JSON object.
    """
    try:
        content = unpacked(path)
        content = (read_bytes(path) if content is None else content).removeprefix(BOM)
    except OSError as error:
        raise DataError(f"{path}: can't be read: {error.strerror or error}") from None
    if not content.strip():
        raise DataError(f"{path}: expected one JSON object per line, found an empty file")
    if content.lstrip()[:1] == b"[":
        raise DataError(
            f"{path}:1: expected one JSON object per line, found an array; in Python give the frame polars.read_json({str(path)!r})"
        )
    lines = [number for number, line in enumerate(content.split(b"\n"), start=1) if line.strip()]
    try:
        frame = pl.read_ndjson(io.BytesIO(content), infer_schema_length=None)
    except (Exception, pl.exceptions.PanicException):
        _check_lines(path, content)
        raise DataError(f"{path}: expected one JSON object per line, found lines that can't be read as one table") from None
    if frame.height != len(lines):
        _check_lines(path, content)
    return frame, lines


def _check_lines(path: Path, content: bytes) -> None:
    """Raises DataError at the first line that is wrong."""
    kinds: dict[str, str] = {}
    for number, line in enumerate(content.split(b"\n"), start=1):
        if not line.strip():
            continue
        try:
            found = json.loads(line)
        except UnicodeDecodeError:
            raise DataError(f"{path}:{number}: expected UTF-8 text, found other bytes; save the file as UTF-8") from None
        except json.JSONDecodeError as error:
            raise DataError(
                f"{path}:{number}: expected a JSON object on one line, found an error at character {error.pos + 1}: "
                f"{shortened(error.doc[max(error.pos - 20, 0) : error.pos + 20])!r}"
            ) from None
        except (ValueError, RecursionError):
            raise DataError(
                f"{path}:{number}: expected a JSON object on one line, found one that is nested too deeply or too long"
            ) from None
        if not isinstance(found, dict):
            raise DataError(f"{path}:{number}: expected a JSON object on one line, found {_kind(found)}")
        for name, value in found.items():
            if value is not None and kinds.setdefault(name, _kind(value)) != _kind(value):
                raise DataError(
                    f"{path}:{number}: {shortened(name)}: expected {kinds[name]} as in the lines before, found {_kind(value)}; "
                    "give all lines one form"
                )


def _kind(value: Any) -> str:
    return "a list" if isinstance(value, list) else "an object" if isinstance(value, dict) else "a value"
