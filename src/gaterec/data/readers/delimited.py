"""Text tables (atomic files, CSV, TSV) to columns of strings, or of whole numbers where that loses nothing.

Polars reads, on all cores. Only when it fails, or when a row may be incomplete or hold several lines, Python reads the file line by
line: it says which line is wrong, and what it reads counts. The common case is fast, the rare one is exact.
"""

import csv
import io
import re
import shlex
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import polars as pl

from gaterec.config.paths import open_regular
from gaterec.data.readers.unpack import read_gzip
from gaterec.errors import DataError

BOM = b"\xef\xbb\xbf"
GZIP_MAGIC = b"\x1f\x8b"
ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"
NUMBER = re.compile(r"\s*[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?\s*")
MAX_HEADER_BYTES = 1_000_000

Where = Callable[[int], str]
"""Gives the place of a row, counted from 0, for a message: `ratings.csv:17`."""


@dataclass(frozen=True)
class Delimited:
    """A text table: where it is and how it is written.

    Attributes:
        path: the file.
        separator: one character between fields.
        quote: the character that fields may stand in (CSV); None where quotes are ordinary characters (atomic files and TSV).
        content: the unpacked bytes of a gzip file; None when the file is read from disk as it is.
        headed: whether the first line names the columns.
    """

    path: Path
    separator: str
    quote: str | None
    content: bytes | None = None
    headed: bool = True

    def first_lines(self, count: int) -> list[list[str]]:
        """The fields of the first lines, at most `count`; the first must not be empty."""
        with self._open() as stream:
            lines = [stream.readline(MAX_HEADER_BYTES + 1) for _ in range(count)]
        return [self._fields(number, line) for number, line in enumerate(lines, start=1) if line or number == 1]

    def _fields(self, number: int, first: bytes) -> list[str]:
        expected = "a header line with the names of the columns" if self.headed else "events"
        if not first:
            raise DataError(f"{self.path}: expected {expected}, found an empty file")
        if len(first) > MAX_HEADER_BYTES:
            raise DataError(f"{self.path}:{number}: expected {expected}, found a line of more than {MAX_HEADER_BYTES:,} bytes")
        text = self._decode(number, first).rstrip("\r\n")
        if number == 1 and not text.strip():
            raise DataError(f"{self.path}:1: expected {expected}, found a blank line")
        if number == 1 and ("\r" in text or "\0" in text):
            odd = "a line end of old Macs (\\r)" if "\r" in text else "a NUL character"
            raise DataError(f"{self.path}:1: expected {expected}, found {odd}; save the file as plain UTF-8 text")
        if self.quote is None:
            return text.split(self.separator)
        return next(csv.reader([text], delimiter=self.separator, quotechar=self.quote), [])

    def columns(self, names: Sequence[str], whole: Collection[str] = ()) -> pl.DataFrame:
        """The rows under the header: String columns of these names; empty fields are null, blank lines rows of nulls.

        Args:
            whole: columns that come as Int64 where every field is a whole number as Python would write it: quicker and smaller than text,
                and the text can be had back (which "007" or "+7" would not allow).
        """
        try:
            frame = self._read(len(names), [number for number, name in enumerate(names) if name in whole])
        except (Exception, pl.exceptions.PanicException):  # the file is at fault, or written as Polars does not read it
            frame = None
        if frame is None or frame.width != len(names) or self._is_suspicious(frame):
            rows = self._check_lines(names)
            if frame is None or frame.width != len(names) or _filled_rows(frame) != rows:
                frame = self._read_slowly(names, whole)
        frame.columns = list(names)
        return frame

    def where(self, row: int) -> str:
        """The place of a row, counted from 0 (after the header, where there is one)."""
        for index, (line, _) in enumerate(self._records()):
            if index == row + self.headed:
                return f"{self.path}:{line}"
        return str(self.path)

    def _read(self, width: int, whole: list[int]) -> pl.DataFrame:
        """All columns, those of these numbers as Int64 where that loses nothing."""
        table = self._scan(width)
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

    def _scan(self, width: int) -> pl.LazyFrame:
        """The rows as String columns."""
        return pl.scan_csv(
            self.path.absolute() if self.content is None else io.BytesIO(self.content),
            separator=self.separator,
            quote_char=self.quote,
            has_header=self.headed,
            schema=None if self.headed else {str(number): pl.String for number in range(width)},
            infer_schema=False,
            glob=False,
        )

    def _read_slowly(self, names: Sequence[str], whole: Collection[str]) -> pl.DataFrame:
        """The same by Python's csv, for the few files that Polars reads otherwise or not at all, such as CSV with a quote inside a field."""
        records = (fields for _, fields in self._records())
        if self.headed:
            next(records, None)
        rows = [fields or [""] * len(names) for fields in records]
        texts = [pl.Series(str(number), [row[number] or None for row in rows], dtype=pl.String) for number in range(len(names))]
        numbers = [_as_whole(column) if name in whole else None for name, column in zip(names, texts, strict=True)]
        return pl.DataFrame([column if number is None else number for column, number in zip(texts, numbers, strict=True)])

    def _is_suspicious(self, frame: pl.DataFrame) -> bool:
        """Whether a row may be too short (Polars fills up with nulls, so the last column tells), or a field holds NUL or several lines."""
        if frame.height == 0:
            return False
        if frame.to_series(-1).null_count():
            return True
        odd = "\0" if self.quote is None else "[\0\n]"
        return any(column.str.contains(odd, literal=self.quote is None).any() for column in frame if column.dtype == pl.String)

    def _open(self) -> IO[bytes]:
        return open_regular(self.path) if self.content is None else io.BytesIO(self.content)

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
            if self.quote is None:
                for number, text in enumerate(lines, start=1):
                    text = text.rstrip("\r\n")
                    yield number, text.split(self.separator) if text else []
                return
            yield from self._quoted_records(lines, self.quote)

    def _quoted_records(self, lines: Iterator[str], quote: str) -> Iterator[tuple[int, list[str]]]:
        reader, line = csv.reader(lines, delimiter=self.separator, quotechar=quote, strict=True), 1
        limit = csv.field_size_limit(2**31 - 1)  # Polars has none, and what it reads must not be an error here
        try:
            for fields in reader:
                yield line, fields
                line = reader.line_num + 1
        except csv.Error as error:  # strict: it ends inside quotes, or something stands between a closing quote and the separator
            found = "the end of the file before the closing quote" if "end of data" in str(error) else "text after a closing quote"
            raise DataError(
                f"{self.path}:{line}: expected fields of CSV, found {found}; write a quote that belongs to the text twice, "
                f"and the field in quotes ({quote}12{quote}{quote} Mix{quote})"
            ) from None
        finally:
            csv.field_size_limit(limit)

    def _check_lines(self, names: Sequence[str]) -> int:
        """The number of rows that hold anything; raises DataError at the first line that is wrong."""
        filled = -1 if self.headed else 0
        for line, fields in self._records():
            if fields and len(fields) != len(names):
                raise DataError(
                    f"{self.path}:{line}: expected {len(names)} fields ({shortened(', '.join(names))}), found {len(fields)}; "
                    f"correct the line (fields are separated by {self.separator!r})"
                )
            for place, (name, field) in enumerate(zip(names, fields, strict=False)):
                if "\0" in field:
                    raise DataError(f"{self.path}:{line}: {name}: expected text, found a NUL character; the file is damaged or binary")
                if self.quote is not None and "\n" in field:
                    self._check_swallowed(line, name, place, len(names), field)
            filled += any(fields)
        return filled

    def _check_swallowed(self, line: int, name: str, place: int, width: int, field: str) -> None:
        """Refuses a field of several lines each of which would be a row: a quote that belongs to the text was taken for an opening one."""
        first, *inner, last = (part.count(self.separator) for part in field.split("\n"))
        if first == width - 1 - place and last == place and all(count == width - 1 for count in inner):
            raise DataError(
                f"{self.path}:{line}: {name}: expected a field of one row, found one in quotes that holds the rows up to line "
                f"{line + len(inner) + 1}; write a quote that belongs to the text twice, and the field in quotes "
                f"({self.quote}12{self.quote}{self.quote} Mix{self.quote})"
            )


def open_delimited(path: Path, separators: str, quotes: bool, headed: bool = True) -> Delimited:
    """The table in a file, unpacked when it is gzip.

    Args:
        path: the file.
        separators: one character, or several of which the first that the first line holds is taken.
        quotes: whether fields may stand in quotes. Between tabs they do only where every field of the first line that is not a number
            does, for TSV has no quotes; elsewhere quotes are double ones, or single ones where those fields stand in single ones.
        headed: whether the first line names the columns.

    Raises:
        DataError: the file can't be opened, is no regular file, or its gzip data is damaged, cut short or too large.
    """
    content = unpacked(path)
    try:
        with open_regular(path) if content is None else io.BytesIO(content) as stream:
            line = stream.readline(MAX_HEADER_BYTES).removeprefix(BOM).decode("utf-8", "replace").rstrip("\r\n")
    except OSError as error:
        raise DataError(f"{path}: can't be read: {error.strerror or error}") from None
    separator = next((sign for sign in separators if sign in line), separators[0])
    if "::" in line and separator not in line:
        raise DataError(
            f"{path}:1: expected fields with one character between them, found two (::); replace them, for example with "
            f"sed 's/::/\\t/g' {shlex.quote(str(path))} > {shlex.quote(f'{path.stem}.tsv')}"
        )
    quote = '"' if quotes and separator != "\t" else None
    for sign in "\"'" if quotes else "":
        words = [field for field in line.split(separator) if not NUMBER.fullmatch(field)]
        if words and all(len(field) > 1 and field[0] == field[-1] == sign for field in words):
            quote = sign
    return Delimited(path, separator, quote, content, headed)


def unpacked(path: Path) -> bytes | None:
    """The content of a gzip file, or None of a file that is read as it is.

    Raises:
        DataError: as open_delimited.
    """
    try:
        with open_regular(path) as stream:
            magic = stream.read(4)
    except OSError as error:
        raise DataError(f"{path}: can't be read: {error.strerror or error}") from None
    if magic == ZSTD_MAGIC:
        raise DataError(
            f"{path}: expected plain text or gzip, found Zstandard data; unpack the file (zstd -d) and name it after its content"
        )
    if magic[:2] == GZIP_MAGIC:
        return read_gzip(path)
    if path.suffix == ".gz" and magic:
        raise DataError(f"{path}: expected gzip data, as the name says, found something else; rename or unpack the file")
    return None


def _as_whole(texts: pl.Series) -> pl.Series | None:
    """Text as Int64, if every one is a whole number as Python would write it."""
    numbers = texts.cast(pl.Int64, strict=False)
    return numbers if _is_whole(numbers, texts.str.len_bytes()) else None


def _is_whole(numbers: pl.Series, lengths: pl.Series) -> bool:
    """Whether texts of these lengths are these numbers (null: no number), none negative, as Python would write them, for no other way is as short.

    A negative number counts as one digit, which is less than the length of its text.
    """
    if numbers.null_count() != lengths.null_count():
        return False
    (largest,) = pl.select(pl.lit(numbers).max().fill_null(0)).row(0)
    digits = len(numbers) - numbers.null_count() + sum(int((numbers >= 10**power).sum()) for power in range(1, len(str(largest))))
    return digits == int(lengths.sum())


def _filled_rows(frame: pl.DataFrame) -> int:
    """The number of rows that hold anything."""
    return int(frame.select(~pl.all_horizontal(pl.all().is_null())).to_series().sum()) if frame.width else 0


def shortened(text: str, limit: int = 60) -> str:
    """Text fit for a message: on one line, and not too long."""
    text = text if len(text) <= limit else text[: limit - 3] + "..."
    return "".join(sign if sign.isprintable() else repr(sign)[1:-1] for sign in text)
