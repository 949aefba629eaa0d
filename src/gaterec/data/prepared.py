"""Logs made ready: read, filtered and put in order once, then kept as a folder of arrays that opens at once, whatever its size.

    prepared.json             format, name, source, settings, counts, fingerprint, notes, what each filter left, sizes of the files
    item.npy, offsets.npy, time.npy     the histories (see interactions.py); large ones are mapped, so that only what is used is read
    row.npy                   the order of the log's rows, which eval_args.group_by none needs at equal times; not in every folder
    counts.npy                how often each item was chosen
    users.parquet             ids of people in the order of their numbers; row 0 is "someone we don't know"
    items.parquet             ids of items likewise; row 0 is padding
    user_features.parquet, item_features.parquet    what the `.user` and `.item` files say, where there are such files

How a log is read, filtered and ordered was settled when it was prepared; how it is split is up to each run.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from pydantic import ValidationError

from gaterec._version import __version__
from gaterec.config.paths import expanded, read_text
from gaterec.config.settings import Data, Settings
from gaterec.data.datasets.registry import load_dataset
from gaterec.data.filters import FilterStep, apply_filters
from gaterec.data.interactions import Interactions, build_interactions
from gaterec.data.log import Log
from gaterec.errors import DataError, SettingsError
from gaterec.io.files import folder_written_whole, reason

FORMAT = 1
"""The version of the folder's layout; a folder of a newer one is refused."""

MAPPED_FROM = 2**25
"""Bytes of a file of more than which an array is mapped into memory and not read."""

ABOUT = "prepared.json"
ARRAYS: dict[str, tuple[type, ...]] = {
    "item": (np.int32,),
    "offsets": (np.int64,),
    "time": (np.int64, np.float64),
    "row": (np.int32, np.int64),
    "counts": (np.int64,),
}
TABLES = ("users", "items", "user_features", "item_features")
FILES = {ABOUT, *(f"{name}.npy" for name in ARRAYS), *(f"{name}.parquet" for name in TABLES)}
FIXED = tuple(name for name in Data.model_fields if name != "MAX_ITEM_LIST_LENGTH")
"""The settings that are settled when a log is prepared."""

IN_ABOUT: dict[str, type] = {"name": str, "source": str, "settings": dict, "fingerprint": str, "notes": list, "steps": list, "files": dict}
"""What prepared.json can't lack, and the type of each."""

Tell = Callable[[str], object]


@dataclass(frozen=True)
class PreparedLog:
    """A log that was read, filtered and put in order.

    Attributes:
        interactions: the histories.
        source: the path that the log came from, or a word such as "DataFrame"; for messages.
        users, items: what the `.user` and `.item` files say, one row per person or item; None where there is no such file.
        notes: lines that a person should read.
        steps: what was read, and what each filter left.
    """

    interactions: Interactions
    source: str
    users: pl.DataFrame | None
    items: pl.DataFrame | None
    notes: tuple[str, ...]
    steps: tuple[FilterStep, ...]


def prepare_log(dataset: Any, settings: Settings, tell: Tell = lambda text: None, keep_rows: bool = False) -> PreparedLog:
    """What `dataset` means, made ready: a log is read, filtered and ordered, a prepared folder is opened.

    Args:
        dataset: a Log, or anything that load_dataset takes, or the path of a prepared folder.
        tell: told what is being done.
        keep_rows: whether to keep the order of the log's rows even where eval_args.group_by needs no such order.

    Raises:
        DataError: the log can't be read, or nothing is left of it; or the folder is damaged.
    """
    folder = prepared_folder(dataset, settings.data_path)
    if folder is not None:
        return open_prepared(folder)
    tell("reading the log")
    log = dataset if isinstance(dataset, Log) else load_dataset(dataset, settings.data_path, settings, show_progress=settings.show_progress)
    tell("filtering")
    log, steps = apply_filters(log, settings)
    tell("putting events in order")
    interactions = build_interactions(log, settings, keep_rows or settings.eval_args.group_by is None)
    return PreparedLog(interactions, log.source, log.users, log.items, log.notes, tuple(steps))


# -- folders --------------------------------------------------------------------------------------------------------------------------


def prepared_folder(dataset: Any, data_path: str | Path) -> Path | None:
    """The prepared folder that `dataset` names, as a path or in data_path; None if it is something else."""
    if not isinstance(dataset, str | Path) or str(dataset) in ("", "demo"):
        return None
    try:
        places = (expanded(dataset, "dataset"), expanded(data_path, "data_path") / dataset)
        return next((place for place in places if (place / ABOUT).is_file()), None)
    except (OSError, ValueError, SettingsError):  # no path at all, which is told where it is looked for as a log
        return None


def check_target(folder: Path) -> None:
    """Raise DataError unless a prepared folder may be written there: nothing stands there, or an empty folder, or an earlier one of ours."""
    try:
        if not folder.exists():
            return
        found = sorted(file.name for file in folder.iterdir()) if folder.is_dir() else None
    except OSError as error:
        raise DataError(f"{folder}: can't be written: {error.strerror}") from None
    if found is None or (found and (ABOUT not in found or not FILES.issuperset(found))):
        what = "a file" if found is None else ", ".join([name for name in found if name not in FILES or ABOUT not in found][:5])
        raise DataError(f"{folder}: expected a new folder, or one that was prepared before, found {what}; give another name")


def write_prepared(log: PreparedLog, settings: Settings, folder: Path) -> None:
    """Write the folder whole or not at all; an earlier prepared folder of that name is replaced.

    Raises:
        DataError: something else stands there.
        RunError: the disk is full or the place can't be written.
    """
    check_target(folder)
    interactions = log.interactions
    tables = {
        "users": pl.DataFrame({"id": interactions.users}),
        "items": pl.DataFrame({"id": interactions.items}),
        "user_features": log.users,
        "item_features": log.items,
    }
    arrays = {"item": interactions.item, "offsets": interactions.offsets, "time": interactions.time, "counts": interactions.item_counts()}
    if interactions.row is not None:
        arrays["row"] = interactions.row
    about = {
        "format": FORMAT,
        "gaterec": __version__,
        "name": interactions.name,
        "source": log.source,
        "people": len(interactions.users) - 1,
        "items": len(interactions.items) - 1,
        "events": len(interactions.item),
        "timed": interactions.timed,
        "fingerprint": interactions.fingerprint(),
        "settings": settings.model_dump(mode="json", include=set(FIXED)),
        "notes": list(log.notes),
        "steps": [list(step) for step in log.steps],
    }
    with folder_written_whole(folder) as part:
        for name, array in arrays.items():
            np.save(part / f"{name}.npy", array, allow_pickle=False)
        for name, table in tables.items():
            if table is not None:
                _write_table(table, part / f"{name}.parquet")
        about["files"] = {file.name: file.stat().st_size for file in sorted(part.iterdir())}
        (part / ABOUT).write_text(json.dumps(about, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def open_prepared(folder: Path) -> PreparedLog:
    """The log in a prepared folder; large arrays are mapped, so that opening reads little whatever their size.

    Raises:
        DataError: the folder is half there, damaged, or of a newer version.
    """
    about = read_about(folder)
    for name, size in about["files"].items():
        file = folder / name
        found = file.stat().st_size if file.is_file() else None
        if found != size:
            what = "none" if found is None else f"{found:,} bytes"
            raise DataError(f"{file}: expected the file of {size:,} bytes that was prepared, found {what}; prepare the log again")
    try:
        arrays = {
            name: _array(folder / f"{name}.npy", dtypes) for name, dtypes in ARRAYS.items() if name != "row" or "row.npy" in about["files"]
        }
        tables = {
            name: pl.read_parquet((folder / f"{name}.parquet").absolute(), glob=False, hive_partitioning=False)
            for name in TABLES
            if f"{name}.parquet" in about["files"]
        }
        users, items = (tables[name].to_series(0).rename(name) for name in ("users", "items"))
        steps = tuple(FilterStep(str(name), *map(int, left)) for name, *left in about["steps"])
        # Earlier versions told of missing times in a note alone.
        timed = bool(about.get("timed", not any("the order of the file is the order of events" in note for note in about["notes"])))
        interactions = Interactions(about["name"], users, items, **arrays, timed=timed, digest=about["fingerprint"])
        _check_content(interactions)
    except (Exception, pl.exceptions.PanicException):  # damaged files make their readers fail in any way
        raise DataError(f"{folder}: is damaged: its files can't be read, or don't fit together; prepare the log again") from None
    return PreparedLog(
        interactions, about["source"], tables.get("user_features"), tables.get("item_features"), tuple(map(str, about["notes"])), steps
    )


def read_about(folder: Path) -> dict[str, Any]:
    """All of prepared.json.

    Raises:
        DataError: it is damaged, or of a newer gaterec.
    """
    file = folder / ABOUT
    try:
        about = json.loads(read_text(file))
    except OSError as error:
        raise DataError(f"{file}: can't be read: {reason(error)}; prepare the log again") from None
    except (ValueError, RecursionError):
        raise DataError(f"{file}: is damaged: expected JSON in UTF-8; prepare the log again") from None
    found = about.get("format") if isinstance(about, dict) else None
    if not isinstance(found, int):
        raise DataError(f"{file}: expected a log that gaterec prepared, found no format number in it")
    if found > FORMAT:
        raise DataError(
            f"{folder}: was prepared by gaterec {about.get('gaterec')} in format {found}; this gaterec {__version__} reads up to {FORMAT}: upgrade it"
        )
    for name, kind in IN_ABOUT.items():
        if not isinstance(about.get(name), kind):
            raise DataError(f"{file}: is damaged: {name} is {'of a wrong type' if name in about else 'missing'}; prepare the log again")
    if not all(isinstance(size, int) for size in about["files"].values()):
        raise DataError(f"{file}: is damaged: the sizes of the files are of a wrong type; prepare the log again")
    return dict(about)


def with_prepared_settings(settings: Settings) -> Settings:
    """The settings of a run on a prepared folder, with those that were settled when it was prepared; as they are on any other dataset.

    Raises:
        SettingsError: one of those was given, and differs.
        DataError: the folder is damaged.
    """
    folder = prepared_folder(settings.dataset, settings.data_path)
    if folder is None:
        return settings
    try:
        before = Data.model_validate(read_about(folder)["settings"])
    except ValidationError:
        raise DataError(f"{folder / ABOUT}: is damaged: its settings are none of this gaterec; prepare the log again") from None
    for name in FIXED:
        then, now = getattr(before, name), getattr(settings, name)
        if name in settings.model_fields_set and then != now:
            raise SettingsError(f"{name}: {folder} was prepared with {then!r}, found {now!r}; leave it out, or prepare the log anew")
    if settings.eval_args.order != "TO":
        raise SettingsError(f"eval_args.order: {folder} is in order of time (TO), found {settings.eval_args.order}; run on the log itself")
    return settings.model_copy(update={name: getattr(before, name) for name in FIXED})


def kept_prepared(log: PreparedLog, settings: Settings, folder: Path, named: bool) -> Path:
    """Where several runs find a log that was prepared once for all: where it comes from if that is a prepared folder, else `folder`, where it
    is written unless it is there.

    Args:
        named: whether the settings' dataset is what the log was read from, and no frame was.

    Raises:
        DataError: the folder holds another log.
    """
    given = prepared_folder(settings.dataset, settings.data_path) if named else None
    if given is not None:
        return given.absolute()
    if (folder / ABOUT).exists():
        if read_about(folder)["fingerprint"] != log.interactions.fingerprint():
            raise DataError(f"{folder}: holds another log than {log.source}, or one that was filtered otherwise; give another --out")
    else:
        write_prepared(log, settings, folder)
    return folder


def _write_table(table: pl.DataFrame, file: Path) -> None:
    try:
        table.write_parquet(file)
    except pl.exceptions.PolarsError as error:
        raise OSError(reason(error)) from None


def _array(file: Path, dtypes: tuple[type, ...]) -> np.ndarray:
    """An array in memory, or one on the disk where it is large: if another program cuts its file, the process is ended by SIGBUS.

    Pages are copied if they are ever written to, which nothing does: torch takes no array that can't be.
    """
    array = np.asarray(np.load(file, mmap_mode="c" if file.stat().st_size > MAPPED_FROM else None, allow_pickle=False))
    if array.ndim != 1 or array.dtype not in dtypes:
        raise ValueError(f"{file.name} holds {array.dtype} of {array.ndim} dimensions")
    return array


def _check_content(interactions: Interactions) -> None:
    """That the files fit together, and that no event has an item that there isn't; the one pass over all events that opening takes."""
    users, items, offsets = interactions.users, interactions.items, interactions.offsets
    events = len(interactions.item)
    good = (
        len(offsets) == len(users) + 1
        and offsets[0] == 0
        and offsets[-1] == events == len(interactions.time)
        and (interactions.row is None or len(interactions.row) == events)
        and bool(np.all(offsets[1:] >= offsets[:-1]))
        and len(interactions.item_counts()) == len(items)
        and users.dtype == items.dtype == pl.String
        and (not events or (interactions.item.min() >= 1 and interactions.item.max() < len(items)))
    )
    if not good:
        raise ValueError("its files don't fit together")
