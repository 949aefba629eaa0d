"""Text tables (atomic files, CSV, TSV) to columns of strings, or of whole numbers where that loses nothing.

Polars reads, on all cores. Only when it stumbles, or when a row may be incomplete, Python goes over the file line by line and says
which line is wrong: the common case is fast, the rare one is exact.
"""

import csv
import gzip
import io
import zlib
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import polars as pl

from gaterec.errors import DataError

BOM = b"\xef\xbb\xbf"
GZIP_MAGIC = b"\x1f\x8b"
MAX_HEADER_BYTES = 1_000_000

Where = Callable[[int], str]
"""Gives the place of a row, counted from 0, for a message: `ratings.csv:17`."""


@dataclass(frozen=True)
class Delimited:
    """A text table: where it is and how it is written.

    Attributes:
        path: the file.
        separator: one character between fields.
        quoted: whether fields may stand in double quotes (CSV), or quotes are ordinary characters (atomic files).
        content: the unpacked bytes of a gzip file; None when the file is read from disk as it is.
    """

    path: Path
    separator: str
    quoted: bool
    content: bytes | None = None

    def header(self) -> list[str]:
        """The fields of the first line."""
        with self._open() as stream:
            first = stream.readline(MAX_HEADER_BYTES + 1)
        if not first:
            raise DataError(f"{self.path}: expected a header line with the names of the columns, found an empty file")
        if len(first) > MAX_HEADER_BYTES:
            raise DataError(f"{self.path}:1: expected a header line, found one of more than {MAX_HEADER_BYTES:,} bytes")
        text = self._decode(1, first).rstrip("\r\n")
        if not text.strip():
            raise DataError(f"{self.path}:1: expected a header line with the names of the columns, found a blank line")
        if "\r" in text or "\0" in text:
            odd = "a line end of old Macs (\\r)" if "\r" in text else "a NUL character"
            raise DataError(f"{self.path}:1: expected a header line, found {odd} in it; save the file as plain UTF-8 text")
        if not self.quoted:
            return text.split(self.separator)
        try:
            return next(csv.reader([text], delimiter=self.separator, strict=True))
        except csv.Error as error:
            raise DataError(f"{self.path}:1: expected a header line: {error}") from None

    def columns(self, names: Sequence[str], whole: Collection[str] = ()) -> pl.DataFrame:
        """The rows under the header: String columns of these names; empty fields are null, blank lines rows of nulls.

        Args:
            whole: columns that come as Int64 where every field is a whole number as Python would write it: quicker and smaller than text,
                and the text can be had back (which "007" or "+7" would not allow).
        """
        try:
            frame = self._read([number for number, name in enumerate(names) if name in whole])
        except (Exception, pl.exceptions.PanicException) as error:
            self._diagnose(names)
            raise DataError(f"{self.path}: can't be read as a table: {first_line(error)}") from None
        if frame.width != len(names) or _suspicious(frame):
            self._diagnose(names)
        if frame.width != len(names):
            raise DataError(f"{self.path}: expected {len(names)} columns, found {frame.width}; check the quotes in the header")
        frame.columns = list(names)
        return frame

    def where(self, row: int) -> str:
        """The place of a row, counted from 0 after the header."""
        for index, (line, _) in enumerate(self._records()):
            if index == row + 1:
                return f"{self.path}:{line}"
        return str(self.path)

    def _read(self, whole: list[int]) -> pl.DataFrame:
        """All columns, those of these numbers as Int64 where that loses nothing."""
        table = self._scan()
        names = table.collect_schema().names()
        start = table.head(1000).collect()
        candidates = [names[number] for number in whole if number < len(names) and _as_whole(start[names[number]]) is not None]
        # Texts are let go as soon as they are numbers; their lengths stay, to tell afterwards whether anything was lost.
        numbers = [pl.col(name).cast(pl.Int64, strict=False) for name in candidates]
        lengths = [pl.col(name).str.len_bytes().clip(upper_bound=255).cast(pl.UInt8).alias(f"{name}\0") for name in candidates]
        frame = table.with_columns(*numbers, *lengths).collect(engine="streaming")
        lost = [name for name in candidates if not _is_whole(frame[name], frame[f"{name}\0"])]
        if lost:
            frame = frame.with_columns(table.select(lost).collect(engine="streaming").get_columns())
        return frame.select(names)

    def _scan(self) -> pl.LazyFrame:
        """The rows as String columns."""
        return pl.scan_csv(
            self.path.absolute() if self.content is None else io.BytesIO(self.content),
            separator=self.separator,
            quote_char='"' if self.quoted else None,
            infer_schema=False,
            glob=False,
        )

    def _open(self) -> IO[bytes]:
        return self.path.open("rb") if self.content is None else io.BytesIO(self.content)

    def _decode(self, line: int, raw: bytes) -> str:
        raw = raw.removeprefix(BOM) if line == 1 else raw
        try:
            return raw.decode("utf-8")
        except UnicodeDecodeError as error:
            raise DataError(
                f"{self.path}:{line}: expected UTF-8 text, found byte 0x{raw[error.start]:02x} at byte {error.start + 1} of the line; "
                "save the file as UTF-8"
            ) from None

    def _records(self) -> Iterator[tuple[int, list[str]]]:
        """(first line, fields) of every record, the header and blank lines among them."""
        with self._open() as stream:
            lines = (self._decode(number, raw) for number, raw in enumerate(stream, start=1))
            if not self.quoted:
                for number, text in enumerate(lines, start=1):
                    text = text.rstrip("\r\n")
                    yield number, text.split(self.separator) if text else []
                return
            yield from self._quoted_records(lines)

    def _quoted_records(self, lines: Iterator[str]) -> Iterator[tuple[int, list[str]]]:
        reader, line = csv.reader(lines, delimiter=self.separator, strict=True), 1
        limit = csv.field_size_limit(2**31 - 1)  # Polars has none, and what it reads must not be an error here
        try:
            for fields in reader:
                yield line, fields
                line = reader.line_num + 1
        except csv.Error as error:
            raise DataError(f"{self.path}:{line}: expected fields of CSV: {error}; check the quotes from this line on") from None
        finally:
            csv.field_size_limit(limit)

    def _diagnose(self, names: Sequence[str]) -> None:
        """Goes over the file line by line and raises DataError at the first line that is wrong."""
        for line, fields in self._records():
            if fields and len(fields) != len(names):
                raise DataError(
                    f"{self.path}:{line}: expected {len(names)} fields ({shortened(', '.join(names))}), found {len(fields)}; "
                    f"mend the line (fields are separated by {self.separator!r})"
                )
            for name, field in zip(names, fields, strict=False):
                if "\0" in field:
                    raise DataError(f"{self.path}:{line}: {name}: expected text, found a NUL character; the file is damaged or binary")


def open_delimited(path: Path, separator: str, quoted: bool) -> Delimited:
    """The table in a file, unpacked when it is gzip.

    Raises DataError when the file can't be opened, or its gzip data is damaged or cut short.
    """
    try:
        with path.open("rb") as stream:
            packed = stream.read(2) == GZIP_MAGIC
        if not packed:
            if path.suffix == ".gz" and path.stat().st_size:
                raise DataError(f"{path}: expected gzip data, as the name says, found something else; rename or unpack the file")
            return Delimited(path, separator, quoted)
        with gzip.open(path) as unpacked:
            return Delimited(path, separator, quoted, unpacked.read())
    except EOFError:
        raise DataError(f"{path}: the gzip data ends too early: the file was cut short; copy or download it again") from None
    except (gzip.BadGzipFile, zlib.error) as error:
        raise DataError(f"{path}: expected gzip data: {error}; copy or download the file again") from None
    except OSError as error:
        raise DataError(f"{path}: can't be read: {error.strerror or error}") from None


def _as_whole(texts: pl.Series) -> pl.Series | None:
    """Text as Int64, if every one is a whole number as Python would write it."""
    numbers = texts.cast(pl.Int64, strict=False)
    return numbers if _is_whole(numbers, texts.str.len_bytes()) else None


def _is_whole(numbers: pl.Series, lengths: pl.Series) -> bool:
    """Whether texts of these lengths are these numbers (null: no number) as Python would write them, for no other way is as short."""
    if numbers.null_count() != lengths.null_count():
        return False
    smallest, largest = (pl.select(pl.lit(numbers).min().fill_null(0), pl.lit(numbers).max().fill_null(0).alias("max"))).row(0)
    if smallest < 0:
        return False
    digits = len(numbers) - numbers.null_count() + sum(int((numbers >= 10**power).sum()) for power in range(1, len(str(largest))))
    return digits == int(lengths.sum())


def _suspicious(frame: pl.DataFrame) -> bool:
    """Whether a row may be too short (Polars fills up with nulls, so the last column tells), or a field holds NUL."""
    if frame.height == 0:
        return False
    if frame.to_series(-1).null_count():
        return True
    return any(column.str.contains("\0", literal=True).any() for column in frame if column.dtype == pl.String)


def first_line(error: BaseException) -> str:
    """The first line of an error's message, or its type when it has none."""
    return shortened(next(iter(str(error).splitlines()), "") or type(error).__name__, 200)


def shortened(text: str, limit: int = 60) -> str:
    """Text fit for a message: on one line, and not too long."""
    text = text if len(text) <= limit else text[: limit - 3] + "..."
    return "".join(sign if sign.isprintable() else repr(sign)[1:-1] for sign in text)
