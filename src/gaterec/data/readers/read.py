"""Logs from files and frames: RecBole's atomic files, CSV, TSV, JSON lines, Parquet, pandas and Polars.

The source is never changed, and whatever is wrong with it comes as one line: where, what was expected, what was found, what to do.
"""

import difflib
import os
from bisect import bisect_right
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate
from pathlib import Path
from typing import Any, Literal, Protocol
from urllib.parse import unquote

import polars as pl

from gaterec.config.paths import check_regular, open_regular
from gaterec.config.settings import MISSING_WORDS, Data
from gaterec.data.log import Log
from gaterec.data.readers.columns import as_found, as_ids, as_number_list, as_numbers, as_text_list, as_times, is_missing, kind_of
from gaterec.data.readers.delimited import Delimited, Where, open_delimited, shortened, unpacked
from gaterec.data.readers.headers import column_names
from gaterec.data.readers.json_lines import read_json_lines
from gaterec.data.readers.memory import BYTES_PER_EVENT, available_memory, in_gb
from gaterec.data.readers.parts import base_of, format_of, is_pattern, matching, parts_in
from gaterec.errors import DataError

Kind = Literal["inter", "user", "item"]
ATOMIC_TYPES = ("token", "token_seq", "float", "float_seq")
TEXT_SEPARATORS = {".csv": ",\t;|", ".tsv": "\t,;|", ".txt": "\t,;|", ".dat": "\t,;|"}
"""The ending of a text table -> the separators of which, unless field_separator says so, the first that line 1 holds is taken."""

PARQUET = (".parquet", ".pq")
JSON_LINES = (".jsonl", ".ndjson", ".json")
FORMATS = "a .inter, .csv, .tsv, .txt, .dat, .jsonl, .ndjson or .json file (each may be .gz), or a .parquet file"


class PandasFrame(Protocol):
    """What tells a pandas frame from the other sources; pandas itself is optional and never imported here."""

    @property
    def iloc(self) -> Any: ...


@dataclass(frozen=True)
class Table:
    """Columns as they were found, before they become ids, times and numbers.

    Attributes:
        source: the path, or "DataFrame"; for messages.
        frame: the columns; all String when they come from text.
        where: gives the place of a row.
        named_by_line_1: whether the first line of a text file, which could be an event, was taken for the names.
        types: the atomic type by column; None where the format declares none, or has types of its own.
    """

    source: str
    frame: pl.DataFrame
    where: Where
    types: Mapping[str, str] | None = None
    named_by_line_1: bool = False

    def keep(self, mask: pl.Series) -> "Table":
        """The rows where the mask is true, which still know their old places."""
        rows = mask.arg_true()
        return replace(self, frame=self.frame.filter(mask), where=lambda row: self.where(int(rows[row])))


def read_log(source: str | Path | pl.DataFrame | pl.LazyFrame | PandasFrame, settings: Data, name: str | None = None) -> Log:
    """The log in a file or a frame, with the `.user` and `.item` files beside a `.inter` file.

    Args:
        source: the path of a file (FORMATS says which), of a folder of numbered parts, a pattern such as log/*.parquet, or a pandas or
            Polars frame.
        settings: names of columns, separators, which columns to read.
        name: the dataset's name; by default the file's.

    Raises:
        DataError: the source can't be read, or something in it is not what it should be; says where.
    """
    try:
        if not isinstance(source, str | Path):
            _refuse_column_names("DataFrame", settings)
            frame = _as_polars(source)
            return _log(Table("DataFrame", frame, _row_of("DataFrame")), {}, settings, name or "frame")
        path = Path(source)
        files = _files(path)
        if files == [path]:
            return _log(_read_table(path, settings), _siblings(path), settings, name or _stem(path))
        base = base_of(path) if is_pattern(path) else path
        first, last = (os.path.relpath(file, base) for file in (files[0], files[-1]))
        note = (
            f"{path}: {len(files):,} files are read as one log, from {first} to {last}"
            if len(files) > 1
            else f"{path}: {first} is read as the whole log"
        )
        parts = [file for file in files if file.stat().st_size] or files[:1]  # writers leave empty parts
        tables = [_with_folder_columns(_read_table(file, settings, may_be_empty=True), os.path.relpath(file, base)) for file in parts]
        table = _joined(path, [table for table in tables if table.frame.height] or tables[:1])
        if table.frame.height == 0:
            raise DataError(f"{path}: expected rows in {len(files):,} files, found none")
        return _log(table, {}, settings, name or _stem(base.resolve()), [note])
    except pl.exceptions.PanicException:
        raise DataError(f"{shortened(str(source))}: can't be read: its content is damaged; write it again") from None


def _log(table: Table, siblings: Mapping[Kind, Path], settings: Data, name: str, notes: Sequence[str] = ()) -> Log:
    user, item = settings.USER_ID_FIELD, settings.ITEM_ID_FIELD
    if len({user, item, settings.TIME_FIELD}) < 3:
        raise DataError(
            f"USER_ID_FIELD, ITEM_ID_FIELD and TIME_FIELD: expected three different columns, found {user}, {item}, {settings.TIME_FIELD}"
        )
    notes = list(notes)
    time = _time_column(table, settings, notes)
    chosen = _chosen(table, "inter", settings, notes)
    dates = frozenset([time] if time and _holds_dates(chosen.frame[time]) else [])
    events = _typed(chosen, (user, item), time, settings, notes)
    features: dict[Kind, pl.DataFrame] = {}
    for kind, path in siblings.items():
        if _is_wanted(kind, settings):
            features[kind] = _features(path, kind, user if kind == "user" else item, settings, notes)
    return Log(name, table.source, events, features.get("user"), features.get("item"), tuple(notes), dates)


def _features(path: Path, kind: Kind, key: str, settings: Data, notes: list[str]) -> pl.DataFrame:
    """What a `.user` or `.item` file says, one row per id: of several the first."""
    _check_file(path)
    frame = _typed(_chosen(_read_table(path, settings), kind, settings, notes), (key,), None, settings, notes)
    unique = frame.unique(subset=key, keep="first", maintain_order=True)
    if unique.height < frame.height:
        notes.append(f"{path}: {key}: {frame.height - unique.height:,} rows repeat an id; the first row of each is kept")
    return unique


# -- columns: which, and of what type ---------------------------------------------------------------------------------------------


def _is_wanted(kind: Kind, settings: Data) -> bool:
    """Whether a `.user` or `.item` file is read: as in RecBole a load_col that doesn't mention it leaves it out."""
    if settings.load_col is not None and kind not in settings.load_col:
        return False
    return (settings.unload_col or {}).get(kind) != "*" and (settings.load_col or {}).get(kind) != []


def _chosen(table: Table, kind: Kind, settings: Data, notes: list[str]) -> Table:
    """The columns that load_col and unload_col leave, checked for the ones that can't be missing.

    The time column of the events stays all the same, with a note, as the order of the events is that of time.
    """
    found = table.frame.columns
    keys = {"inter": ("USER_ID_FIELD", "ITEM_ID_FIELD"), "user": ("USER_ID_FIELD",), "item": ("ITEM_ID_FIELD",)}[kind]
    for setting in keys:
        _require(table, getattr(settings, setting), f"set {setting} to the name of its column")
    load = None if settings.load_col is None else settings.load_col.get(kind, [])
    unload = (settings.unload_col or {}).get(kind, [])
    unused = (settings.unused_col or {}).get(kind, [])
    for setting, names in (("load_col", load), ("unload_col", unload), ("unused_col", unused)):
        missing = [column for column in names if column not in found] if isinstance(names, list) else []
        if len(missing) == 1:
            _require(table, missing[0], f"leave it out of {setting}.{kind}")
        elif missing:
            place = table.source if table.source == "DataFrame" else f"{table.source}:1"
            raise DataError(
                f"{place}: {_listed(missing)}: expected columns of these names, found {_listed(found)}; leave them out of {setting}.{kind}"
            )
    kept = [column for column in found if (load is None or load == "*" or column in load) and unload != "*" and column not in unload]
    which = "load_col" if load is not None else "unload_col"
    if kind == "inter" and settings.TIME_FIELD in found and settings.TIME_FIELD not in kept:
        kept.append(settings.TIME_FIELD)
        notes.append(
            f"{which}.inter: leaves out {settings.TIME_FIELD} (TIME_FIELD), which is read all the same: events are put in order by it"
        )
    for setting in keys:
        if getattr(settings, setting) not in kept:
            raise DataError(
                f"{which}.{kind}: expected it to leave {getattr(settings, setting)} ({setting}), which can't be missing, "
                f"found that it leaves {_listed(kept) or 'nothing'}"
            )
    return replace(table, frame=table.frame.select(kept))


def _time_column(table: Table, settings: Data, notes: list[str]) -> str | None:
    """The name of the time column; None when there is none, and then a note says so unless it was left out on purpose."""
    time = settings.TIME_FIELD
    if time not in table.frame.columns:
        if time != Data.model_fields["TIME_FIELD"].default:
            _require(table, time, "set TIME_FIELD to the name of its column")
        notes.append(
            f"{table.source}: no column {time}, so the order of the file is the order of events; "
            f"if one of {_listed(table.frame.columns)} is the time, set TIME_FIELD to it"
        )
        return None
    return time


def _typed(table: Table, keys: tuple[str, ...], time: str | None, settings: Data, notes: list[str]) -> pl.DataFrame:
    """Every column in its type; rows without an id are dropped, with a note, as RecBole does."""
    ids = {key: as_ids(_single(table, key), table.where, trim=table.types is None, missing=settings.missing_ids) for key in keys}
    words = Counter(word for key in keys for word in _words(table.frame[key], ids[key]))
    table = _drop_without_ids(replace(table, frame=table.frame.with_columns(**ids)), keys, words, notes)
    if len(keys) > 1:
        _refuse_names_as_ids(table, *keys)
    if time is not None:
        table = _drop_without_time(table, time, settings, notes)
    columns: list[pl.Series] = []
    for column in table.frame:
        if column.name in keys:
            columns.append(column)
        elif column.name == time:
            times, odd = as_times(_single(table, column.name), table.where)
            columns.append(times)
            notes += [f"{table.source}: {line}" for line in odd]
        else:
            columns += _further(table, column, settings, notes)
    return pl.DataFrame(columns)


def _further(table: Table, column: pl.Series, settings: Data, notes: list[str]) -> list[pl.Series]:
    """A column that is neither id nor time: by its atomic type, or as it was found."""
    match (table.types or {}).get(column.name):
        case "token":
            return [column]
        case "token_seq":
            return [as_text_list(column, settings.seq_separator)]
        case "float":
            return [as_numbers(column, table.where)]
        case "float_seq":
            return [as_number_list(column, table.where, settings.seq_separator)]
    found = as_found(column)
    if found is None:
        notes.append(f"{table.source}: {column.name}: a column of {kind_of(column.dtype)} can't be used here and was left out")
        return []
    return [found]


def _single(table: Table, name: str) -> pl.Series:
    """A column that must hold one value per row."""
    declared = (table.types or {}).get(name, "")
    if declared.endswith("_seq"):
        raise DataError(f"{table.source}:1: {name}: expected type token or float (one value per row), found {declared}")
    return table.frame[name]


def _holds_dates(column: pl.Series) -> bool:
    """Whether a column of times holds dates, which become microseconds, and not numbers; of text the first that is there tells."""
    if column.dtype not in (pl.String, pl.Categorical, pl.Enum):
        return column.dtype in (pl.Date, pl.Datetime)
    texts = column.cast(pl.String).str.strip_chars()
    first = texts.filter(~is_missing(texts, MISSING_WORDS)).head(1)
    return first.cast(pl.Float64, strict=False).null_count() > 0


def _words(found: pl.Series, ids: pl.Series) -> list[str]:
    """What stands where an id is missing, empty fields aside."""
    if found.dtype not in (pl.String, pl.Categorical, pl.Enum):
        return []
    texts = found.cast(pl.String).filter(ids.is_null()).str.strip_chars()
    return texts.filter(texts != "").to_list()


def _drop_without_time(table: Table, time: str, settings: Data, notes: list[str]) -> Table:
    """The rows that have a time; without missing_time drop all must."""
    missing = is_missing(_single(table, time), MISSING_WORDS)
    if not missing.any():
        return table
    row = int(missing.arg_true()[0])
    if settings.missing_time == "refuse" or missing.all():
        found = table.frame[time][row]
        shown = repr(shortened(found)) if isinstance(found, str) and found.strip() else "none"
        count = int(missing.sum())
        remedy = "check TIME_FIELD" if missing.all() else "fill it in, or set missing_time to drop to leave out such rows"
        raise DataError(f"{table.where(row)}: {time}: expected a time, found {shown} in {count:,} row{'s' * (count > 1)}; {remedy}")
    notes.append(
        f"{table.where(row)}: {int(missing.sum()):,} rows lack {time} and were dropped (this is the first), as missing_time is drop"
    )
    return table.keep(~missing)


def _refuse_names_as_ids(table: Table, user: str, item: str) -> None:
    """Refuses rows that hold the names of the columns: a header line inside the file, or an event that was taken for a header."""
    users, items = (table.frame[name].cast(pl.String) for name in (user, item))
    both = (users == user) & (items == item)
    named = both if both.any() or (not (items == item).any() and not any(sign.isdecimal() for sign in user)) else users == user
    if named.any():
        raise DataError(
            f"{table.where(int(named.arg_true()[0]))}: expected an event, found {shortened(user)} in the column {shortened(user)}; if it is the header line "
            "once more, remove it; if the first line is an event, name the columns with column_names"
        )


def _drop_without_ids(table: Table, keys: tuple[str, ...], words: Mapping[str, int], notes: list[str]) -> Table:
    missing = table.frame.select(pl.any_horizontal(pl.col(key).is_null() for key in keys)).to_series()
    if not missing.any():
        return table
    if missing.all():
        raise DataError(
            f"{table.where(0)}: expected rows with {' and '.join(keys)}, found none{_told(words)}; check the columns and separators"
        )
    blank = table.frame.select(pl.all_horizontal(pl.all().is_null())).to_series()
    lost = (missing & ~blank).arg_true()  # a blank line is no row: nothing is lost with it
    if len(lost):
        first = table.where(int(lost[0]))
        notes.append(f"{first}: {len(lost):,} rows lack {' or '.join(keys)} and were dropped (this is the first){_told(words)}")
    return table.keep(~missing)


def _told(words: Mapping[str, int]) -> str:
    if not words:
        return ""
    counts = _listed(f"{shortened(word)!r} {times:,} times" for word, times in words.items())
    return f"; found {counts}, which stands for a missing value (if it is an id, set missing_ids to [])"


def _require(table: Table, name: str, remedy: str) -> None:
    found = table.frame.columns
    if name in found:
        return
    near = difflib.get_close_matches(name[:200], found, n=1)
    hint = f" (did you mean {shortened(near[0])}?)" if near else ""
    if len(found) == 1 and table.frame.dtypes == [pl.String]:
        hint = " (is the separator right?)"
    headerless = ", or name the columns with column_names if line 1 is an event" if table.named_by_line_1 and not near else ""
    place = table.source if table.source == "DataFrame" else f"{table.source}:1"
    raise DataError(f"{place}: {shortened(name)}: expected a column of this name, found {_listed(found)}{hint}; {remedy}{headerless}")


def _listed(names: Iterable[str]) -> str:
    return shortened(", ".join(names), 200)


# -- formats ----------------------------------------------------------------------------------------------------------------------


def _read_table(path: Path, settings: Data, may_be_empty: bool = False) -> Table:
    """A file of any known format; at least one row, unless it is a part of a log."""
    suffix = format_of(path)
    if suffix in PARQUET or suffix in JSON_LINES:
        _refuse_column_names(str(path), settings)
        table = _read_parquet(path) if suffix in PARQUET else _read_json(path)
    elif suffix in TEXT_SEPARATORS:
        separators = TEXT_SEPARATORS[suffix] if settings.field_separator == "\t" else settings.field_separator
        _check_separator(separators[0])
        file = open_delimited(path, separators, quotes=True, headed=settings.column_names is None)
        table = replace(_text_table(file, column_names(file, settings), settings), named_by_line_1=file.headed)
    elif suffix in (".inter", ".user", ".item"):
        table = _read_atomic(path, settings if suffix == ".inter" else settings.model_copy(update={"column_names": None}))
    else:
        if suffix == ".zst":
            unpacked(path)  # says what to do
        raise DataError(
            f"{path}: expected {FORMATS}, found {suffix or 'a name without an ending'}; give the file the ending of its format, .tsv for text "
            "with tabs, .csv for text with commas"
        )
    if table.frame.height == 0 and not may_be_empty:
        raise DataError(f"{path}: expected rows after the header, found none")
    return table


def _refuse_column_names(source: str, settings: Data) -> None:
    if settings.column_names is not None:
        raise DataError(
            f"column_names: {source} names its columns itself; leave column_names out (it is for text files without a header line)"
        )


def _check_separator(separator: str) -> None:
    if len(separator.encode("utf-8", "replace")) != 1 or separator in '\r\n\0"':
        raise DataError(f"field_separator: expected one plain character, such as a tab or a comma, found {separator!r}")


def _read_atomic(path: Path, settings: Data) -> Table:
    _check_separator(settings.field_separator)
    file = open_delimited(path, settings.field_separator, quotes=False, headed=settings.column_names is None)
    types: dict[str, str] = {}
    names: list[str] = []
    for field in column_names(file, settings, typed=True):
        name, colon, kind = field.rpartition(":")
        if not colon or kind not in ATOMIC_TYPES:
            raise DataError(
                f"{path}:1: {shortened(field)}: expected name:type with one of the types {', '.join(ATOMIC_TYPES)}, "
                f"found {shortened(kind) if colon else 'no type'}; correct the {'header' if file.headed else 'setting column_names'}, or check field_separator"
            )
        names.append(name)
        types[name] = kind
    return replace(_text_table(file, names, settings), types=types)


def _text_table(file: Delimited, names: list[str], settings: Data) -> Table:
    name, times = Counter(names).most_common(1)[0]
    if times > 1:
        raise DataError(f"{file.path}:1: {shortened(name)!r}: expected every column once, found it {times} times; rename one")
    events = settings.USER_ID_FIELD in names and settings.ITEM_ID_FIELD in names  # the ids of features stay text, to be joined by
    whole = (settings.USER_ID_FIELD, settings.ITEM_ID_FIELD, settings.TIME_FIELD) if events else ()
    return Table(str(file.path), file.columns(names, whole), file.where)


def _read_parquet(path: Path) -> Table:
    """A Parquet file. How many rows it has stands in its metadata, so one that does not fit into memory is refused before it is read."""
    try:
        size = check_regular(path).st_size
        if size == 0:
            raise DataError(f"{path}: expected Parquet, found an empty file")
        scan = pl.scan_parquet(path.absolute(), glob=False, hive_partitioning=False)
        width = sum(8 if dtype.is_numeric() else 16 for dtype in scan.collect_schema().dtypes())
        rows = int(scan.select(pl.len()).collect().item())
        needed, free = rows * max(BYTES_PER_EVENT, 2 * width), available_memory()
        if needed > free:
            raise DataError(
                f"{path}: expected a log that fits into memory, found {rows:,} rows in a file of {size:,} bytes, which need about "
                f"{in_gb(needed)} where {in_gb(free)} are free; give fewer rows or columns, or use a machine with more memory"
            )
        frame = scan.collect()
    except OSError as error:
        raise DataError(f"{path}: can't be read: {error.strerror or 'it is no sound Parquet file'}") from None
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException, ValueError, TypeError):
        raise DataError(f"{path}: can't be read as Parquet: it is damaged, cut short or another format; write the file again") from None
    return Table(str(path), frame, _row_of(str(path)))


def _read_json(path: Path) -> Table:
    frame, lines = read_json_lines(path)
    return Table(str(path), frame, lambda row: f"{path}:{lines[row]}")


def _with_folder_columns(table: Table, path: str) -> Table:
    """A part with the columns that folders named COLUMN=VALUE above it hold, as Hive and Spark write them; `path` leads to it from the log's folder."""
    pairs = [folder.partition("=") for folder in Path(path).parent.parts]
    columns = [
        pl.lit(None if value == "__HIVE_DEFAULT_PARTITION__" else unquote(value), dtype=pl.String).alias(name)
        for name, equals, value in pairs
        if equals and name not in table.frame.columns
    ]
    types = None if table.types is None else {**table.types, **{name: "token" for name, equals, _ in pairs if equals}}
    return replace(table, frame=table.frame.with_columns(columns), types=types)


def _joined(path: Path, tables: Sequence[Table]) -> Table:
    """The parts of a log as one table; all must have the same columns, but for JSON lines, where a key may be missing."""
    first = tables[0]
    loose = format_of(Path(first.source)) in JSON_LINES
    frames = [first.frame]
    for table in tables[1:]:
        frame = table.frame
        if not loose and (set(frame.columns) != set(first.frame.columns) or table.types != first.types):
            raise DataError(
                f"{table.source}: expected the columns of {first.source} ({_listed(first.frame.columns)}), "
                f"found {_listed(frame.columns)}; parts of one log have equal columns"
            )
        frames.append(frame)
    try:
        joined = pl.concat(frames, how="diagonal_relaxed")
    except pl.exceptions.PolarsError:
        raise DataError(f"{path}: expected parts with columns of one type, found several; write all parts alike") from None
    ends = list(accumulate(frame.height for frame in frames))

    def where(row: int) -> str:
        part = bisect_right(ends, row)
        return tables[part].where(row - (ends[part - 1] if part else 0))

    return Table(str(path), joined, where, first.types)


def _as_polars(source: object) -> pl.DataFrame:
    """A frame as an eager Polars frame; at least one row."""
    is_pandas = type(source).__module__.partition(".")[0] == "pandas"
    if not is_pandas and not isinstance(source, pl.DataFrame | pl.LazyFrame):
        several = "; several files are one pattern, such as 'log/*.csv'" if isinstance(source, list | tuple) else ""
        raise DataError(f"expected a path, or a pandas or Polars frame, found {type(source).__name__}{several}")
    try:
        frame = source.lazy().collect() if isinstance(source, pl.DataFrame | pl.LazyFrame) else pl.from_pandas(source)
    except ImportError:
        raise DataError("DataFrame: pandas frames are read through Arrow: pip install pyarrow") from None
    except (Exception, pl.exceptions.PanicException):  # a query can fail in any way, and so can Arrow
        raise DataError(f"DataFrame: can't be read{_mixed_column(source)}; make every column hold values of one type") from None
    if not isinstance(frame, pl.DataFrame):
        raise DataError(f"DataFrame: expected a frame, found {type(source).__name__}")
    if frame.height == 0:
        raise DataError("DataFrame: expected rows, found none")
    return frame


def _mixed_column(source: Any) -> str:
    """Which column of a pandas frame can't be read, where it is one."""
    names = list(getattr(source, "columns", ()))
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        return f": column {shortened(str(twice))} is there {names.count(twice)} times"
    for name in names:
        try:
            pl.from_pandas(source[[name]])
        except Exception:
            return f": column {shortened(str(name))} holds values of several types"
    return ""


def _row_of(source: str) -> Where:
    """Places in a source without lines: rows, counted from 1."""
    return lambda row: f"{source}:row {row + 1}"


# -- paths ------------------------------------------------------------------------------------------------------------------------


def _files(path: Path) -> list[Path]:
    """The file of this path, or the parts of a log in the folder or under the pattern that it is. All are regular files."""
    try:
        files = matching(path) if is_pattern(path) else parts_in(path) if path.is_dir() else [path]
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: can't be read: {getattr(error, 'strerror', None) or 'it is no path'}") from None
    for file in files or [path]:
        _check_file(file)
    return files


def _stem(path: Path) -> str:
    return Path(path.stem).stem if path.suffix.lower() == ".gz" else path.stem


def _siblings(path: Path) -> dict[Kind, Path]:
    """The `.user` and `.item` files beside a `.inter` file."""
    if format_of(path) != ".inter":
        return {}
    found: dict[Kind, Path] = {}
    kinds: tuple[Kind, ...] = ("user", "item")
    for kind in kinds:
        for ending in (f".{kind}", f".{kind}.gz"):
            sibling = path.with_name(_stem(path) + ending)
            if kind not in found and sibling.exists():
                found[kind] = sibling
    return found


def _check_file(path: Path) -> None:
    """Refuses what is no regular, readable file (reading a pipe could wait forever)."""
    try:
        if path.is_dir():
            inside = sorted(file.name for file in path.iterdir() if format_of(file) in (".inter", *TEXT_SEPARATORS, *JSON_LINES, *PARQUET))
            hint = f"; name the file in it: {path / inside[0]}" if inside else ""
            raise DataError(f"{path}: expected {FORMATS}, found a folder{hint}")
        with open_regular(path):
            pass
    except FileNotFoundError:
        near = difflib.get_close_matches(path.name, [file.name for file in path.parent.glob("*")], n=1)
        raise DataError(f"{shortened(str(path), 300)}: there is no such file{f'; did you mean {near[0]}?' if near else ''}") from None
    except OSError as error:
        raise DataError(f"{shortened(str(path), 300)}: can't be read: {error.strerror or 'it is no path'}") from None
