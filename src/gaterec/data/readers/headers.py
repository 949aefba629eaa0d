"""Whether the first line of a text table names the columns, or is an event already."""

import re
from collections.abc import Sequence

from gaterec.config.settings import Data
from gaterec.data.readers.delimited import NUMBER, Delimited, shortened
from gaterec.errors import DataError

TIME = re.compile(r"\s*(\d{4}[-/.]\d\d?[-/.]\d\d?|\d\d?[-/.]\d\d?[-/.]\d{2,4}|(Mon|Tue|Wed|Thu|Fri|Sat|Sun),? ).*")
MAX_COLUMNS = 10_000
YEAR = re.compile(r"(19|20)\d\d")


def column_names(file: Delimited, settings: Data, typed: bool = False) -> list[str]:
    """The names of the columns: of the setting column_names, or else of the first line, once it is clear that it is a header.

    Args:
        file: the table.
        settings: the names of the columns of users, items and times, and column_names.
        typed: whether a name is name:type (atomic files).

    Raises:
        DataError: the first line is an event and column_names is not set, or a header and it is.
    """
    columns = len(file.first_lines(1)[0])
    if columns > MAX_COLUMNS:
        raise DataError(f"{file.path}:1: expected at most {MAX_COLUMNS:,} columns, found {columns:,}; is the separator right?")
    if settings.column_names is None:
        names = file.first_lines(1)[0]
        _refuse_event(file, names, settings, typed)
        return names
    _refuse_header(file, settings.column_names, settings)
    if len(settings.column_names) != columns:
        raise DataError(
            f"{file.path}:1: expected {len(settings.column_names)} fields, as column_names names them, found {columns} "
            f"({shortened(file.separator.join(file.first_lines(1)[0]))}); name every column of the file in column_names, or correct the line"
        )
    return settings.column_names


def _refuse_event(file: Delimited, fields: Sequence[str], settings: Data, typed: bool) -> None:
    keys = (settings.USER_ID_FIELD, settings.ITEM_ID_FIELD)
    plain = [field.rpartition(":")[0] if typed else field for field in fields]
    used = {*keys, settings.TIME_FIELD} & set(plain)
    if used.issuperset(keys) and not any(_is_data(name) for name in used):
        return
    data = [field for field in fields if _is_data(field) and not YEAR.fullmatch(field)]
    if data and not (typed and all(":" in field and not TIME.fullmatch(field) for field in fields)):
        shown = " and ".join(repr(shortened(field)) for field in data[:2])
        raise DataError(
            f"{file.path}:1: expected a header line with the names of the columns, found what looks like an event ({shown}); "
            f"name the {len(fields)} columns in their order, such as --column_names={shortened(','.join(_example(fields, settings, typed)), 200)}, "
            "with the columns of users, items and times where they belong, or add such a header line"
        )


def _refuse_header(file: Delimited, names: Sequence[str], settings: Data) -> None:
    first, *rest = file.first_lines(2)
    plain = [name.partition(":")[0].strip().casefold() for name in names]
    named = any(field.partition(":")[0].strip().casefold() in plain for field in first)
    keys = [plain.index(key.casefold()) for key in (settings.USER_ID_FIELD, settings.ITEM_ID_FIELD) if key.casefold() in plain]
    if rest and max(keys, default=len(first)) < min(len(first), len(rest[0])):
        named = named or all(not _is_data(first[key]) and _is_data(rest[0][key]) for key in keys)
    if named:
        raise DataError(
            f"{file.path}:1: expected an event, as column_names is set, found a header line ({shortened(', '.join(first))}); leave out "
            "column_names and set USER_ID_FIELD, ITEM_ID_FIELD and TIME_FIELD to names of this line, or remove the line"
        )


def _example(fields: Sequence[str], settings: Data, typed: bool) -> list[str]:
    """Names for as many columns: the time where a field looks like one, and the ids first of the others."""
    dates = [place for place, field in enumerate(fields) if TIME.fullmatch(field)]
    epochs = [place for place, field in enumerate(fields) if re.fullmatch(r"\d{10,19}(\.\d+)?", field)]
    time = next(iter(dates + epochs), None)
    keys = [
        Data.model_fields[setting].default if _is_data(getattr(settings, setting)) else getattr(settings, setting)
        for setting in ("USER_ID_FIELD", "ITEM_ID_FIELD", "TIME_FIELD")
    ]
    ids = iter([f"{keys[0]}:token", f"{keys[1]}:token"])
    names = [f"{keys[2]}:float" if place == time else next(ids, f"column{place + 1}:token") for place in range(len(fields))]
    return names if typed else [name.partition(":")[0] for name in names]


def _is_data(field: str) -> bool:
    return bool(NUMBER.fullmatch(field) or TIME.fullmatch(field))
