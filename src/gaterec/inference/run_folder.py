"""What a run leaves behind, and the states in between.

A run folder holds all that judging, serving and explaining need, without the dataset and without pickle:

    weights.safetensors   the model's tensors
    histories.safetensors all events: the items of each person in order of time, and where each person's begin
    run.json              settings, protocol, figures, every epoch, environment, fingerprint of the data, digests of the files beside it
    users.parquet         ids of users in the order of their numbers, and how many events of each were for training; row 0 is an unknown user
    items.parquet         ids of items likewise (row 0 is padding) with the columns of the `.item` file, and how often each was chosen
    ranks.parquet         the rank of every held-out test item
    report.html           a page to look at
    index/                an approximate index over the items, where one was asked for (see gaterec.inference.ann_index)

A state is one file per saved epoch in a folder `NAME.training` beside it; the two latest are kept, so that a broken one has a predecessor.
"""

import hashlib
import json
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import torch
from torch.overrides import TorchFunctionMode

from gaterec._version import __version__
from gaterec.config.paths import check_name, read_text
from gaterec.config.resolve import resolve
from gaterec.config.settings import Settings
from gaterec.data.interactions import Interactions
from gaterec.errors import GaterecError, RunError
from gaterec.io.files import digest_of, leftovers, read_table, read_tensors, reason, told_of, unfinished, write_table, write_tensors
from gaterec.models import model_class
from gaterec.models.encoder import SequenceEncoder

FORMAT = 1
"""The version of the run folder's layout; a folder of a newer one is refused."""

IN_RUN_JSON: dict[str, type | tuple[type, ...]] = {
    "title": str,
    "settings": dict,
    "data": dict,
    "protocol": list,
    "best_epoch": int,
    "best_valid_score": (int, float, type(None)),
    "valid": (dict, type(None)),
    "test": (dict, type(None)),
    "baselines": dict,
    "epochs": list,
}
"""What run.json can't lack, and the type of each."""

TRIES, PAUSE = 3, 0.05
"""How often a run that is replaced while it is read is read again, and seconds between."""

SAME_BITS_ANYWAY = frozenset(
    {"checkpoint_dir", "data_path", "show_progress", "state", "log_wandb", "wandb_project", "log_tensorboard", "index"}
    | {"loss_decimal_place", "metric_decimal_place"}
)
"""Settings that change where things go or how they look, but not what comes out."""


def run_name(settings: Settings, data: str, fingerprint: str) -> str:
    """The name of a run's folder: equal for equal settings on equal data, so that --resume finds it again."""
    content = {name: value for name, value in settings.as_dict().items() if name not in SAME_BITS_ANYWAY}
    return folder_name(settings.model, data, [content, fingerprint])


def folder_name(kind: str, data: str, identity: Iterable[Any]) -> str:
    """KIND-DATA-DIGEST, with a digest of anything that JSON can hold and of this version of gaterec."""
    text = json.dumps([*identity, __version__], sort_keys=True)
    safe = "".join(letter if letter.isalnum() or letter in "-_." else "_" for letter in data)[:60]
    return f"{kind}-{safe}-{hashlib.sha256(text.encode()).hexdigest()[:8]}"


@dataclass(frozen=True)
class LoadedRun:
    """A run folder in memory.

    Attributes:
        folder: where it was read from.
        settings: what it was trained with.
        model: the trained model, in evaluation mode on the CPU.
        users: one row per person, ids in the first column.
        items: one row per item, ids in the first column.
        info: all of run.json.
        digest: of the weights, by which an index knows whose it is.
    """

    folder: Path
    settings: Settings
    model: SequenceEncoder
    users: pl.DataFrame
    items: pl.DataFrame
    info: dict[str, Any]
    digest: str


def write_run(
    folder: Path,
    model: SequenceEncoder,
    interactions: Interactions,
    users: pl.DataFrame,
    items: pl.DataFrame,
    ranks: pl.DataFrame,
    info: Mapping[str, Any],
) -> None:
    """Fill an empty folder with everything but the report.

    Raises:
        RunError: a file can't be written.
    """
    write_tensors(folder / "weights.safetensors", model.state_dict(), {"model": type(model).__name__})
    histories = {"item": torch.from_numpy(interactions.item), "offsets": torch.from_numpy(interactions.offsets)}
    write_tensors(folder / "histories.safetensors", histories, {})
    digests = {name: digest_of(folder / f"{name}.safetensors") for name in ("weights", "histories")}
    digests |= {"users": _digest_of_ids(users), "items": _digest_of_ids(items)}
    content = {"format": FORMAT, "gaterec": __version__, **info, "digests": digests}
    try:
        for name, table in {"users": users, "items": items, "ranks": ranks}.items():
            write_table(table, folder / f"{name}.parquet")
        (folder / "run.json").write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    except OSError as error:
        raise RunError(f"{folder}: can't be written: {reason(error)}") from None


def read_info(folder: Path) -> dict[str, Any]:
    """All of run.json.

    Raises:
        RunError: there is no run in the folder, or a damaged one, or one of a newer gaterec.
    """
    file = folder / "run.json"
    try:
        info = json.loads(read_text(file))
    except (FileNotFoundError, NotADirectoryError):
        there = folder.is_dir()
        raise RunError(
            f"{folder}: {'expected a run folder, found no run.json in it' if there else 'there is no such run folder'}"
        ) from None
    except (OSError, ValueError, RecursionError) as error:
        raise RunError(f"{file}: can't be read: {reason(error)}") from None
    found = info.get("format") if isinstance(info, dict) else None
    if not isinstance(found, int):
        raise RunError(f"{file}: expected a run of gaterec, found no format number in it")
    if found > FORMAT:
        raise RunError(
            f"{folder}: was written by gaterec {info.get('gaterec')} in format {found}; this gaterec {__version__} reads up to {FORMAT}: upgrade it"
        )
    for name, kind in IN_RUN_JSON.items():
        if name not in info or not isinstance(info[name], kind):
            raise RunError(f"{file}: is damaged: {name} is {'of a wrong type' if name in info else 'missing'}")
    if not isinstance(info["data"].get("fingerprint"), str) or not all(isinstance(line, str) for line in info["protocol"]):
        raise RunError(f"{file}: is damaged: data or protocol is of a wrong type")
    for name in ("people", "items"):
        if not isinstance(info["data"].get(name), int) or info["data"][name] < 1:
            raise RunError(f"{file}: is damaged: data.{name} is no whole number from 1 on")
    if not isinstance(info.get("digests", {}), dict):
        raise RunError(f"{file}: is damaged: digests is of a wrong type")
    return dict(info)


def newest_run(folder: Path) -> Path:
    """The folder itself where it is a run, else the newest run in it; one that is still being written, or was left half written, is none.

    Raises:
        RunError: there is neither.
    """
    try:
        check_name(folder)
        if (folder / "run.json").exists():
            return _finished(folder)
        runs = [(run.stat().st_mtime_ns, run.parent) for run in _files_of_runs(folder)]
    except OSError as error:
        raise RunError(f"{folder}: can't be read: {reason(error)}") from None
    if not runs:
        left = "".join(f"; {told_of(leftover)}" for leftover in leftovers(folder)[:1])
        found = f"no run in it{left}" if folder.is_dir() else "no such folder"
        raise RunError(f"{folder}: expected a run folder, or a folder of them, found {found}")
    return max(runs)[1]


def _files_of_runs(folder: Path) -> Iterator[Path]:
    for run in folder.iterdir() if folder.is_dir() else ():
        if not unfinished(run) and (run / "run.json").exists():
            yield run / "run.json"


def _finished(folder: Path) -> Path:
    """Raise RunError where a folder is one that is being written, or was left half written."""
    if unfinished(folder.absolute()):
        raise RunError(f"{folder}: is no finished run, but is being written, or was left by a process that was stopped; give another")
    return folder


def left_beside(folder: Path) -> list[str]:
    """A line about everything that killed processes left in a run folder or a folder of runs, or beside a run while they replaced it."""
    return [told_of(leftover) for leftover in (*leftovers(folder), *leftovers(folder.absolute().parent, folder.absolute().name))]


class _NoStart(TorchFunctionMode):
    """Inside, weights get no random start: drawing one takes longer than reading the weights that take its place."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func.__name__.endswith(("normal_", "uniform_")):  # of tensors, and of torch.nn.init
            return args[0] if args else kwargs["tensor"]
        return func(*args, **kwargs)


def load_run(folder: str | Path, *, finished: bool = True) -> LoadedRun:
    """Read a run folder into memory; nothing in it is executed, the dataset is not needed, and what happens to its files later changes nothing.

    Args:
        finished: whether a folder that is being written, or was left half written, is refused.

    Raises:
        RunError: it is not there, half there, corrupt, of a newer version, or its files are of different runs.
    """
    folder = _finished(Path(folder)) if finished else Path(folder)
    for _ in range(TRIES - 1):
        info = read_info(folder)
        try:
            return _read_run(folder, info)
        except RunError:
            time.sleep(PAUSE)
            if read_info(folder) == info:
                raise
    return _read_run(folder, read_info(folder))  # it was replaced while it was read


def _read_run(folder: Path, info: dict[str, Any]) -> LoadedRun:
    try:
        saved = {
            name: value for name, value in info["settings"].items() if name != "valid_metric_bigger"
        }  # once it could contradict the metric
        settings = resolve(lambda name: model_class(name).Settings, config_dict=saved)
        kind, number = model_class(settings.model), _numbers(info)
        shape = (number["users"], number["items"], settings.MAX_ITEM_LIST_LENGTH, settings.model_settings)
        with torch.device("meta"):  # shapes alone, so that nothing is read or made that is not of this run
            expected = {name: tuple(tensor.shape) for name, tensor in kind(*shape).state_dict().items()}
        weights = folder / "weights.safetensors"
        digest = _digest(info, "weights") or digest_of(weights)
        tensors, _ = read_tensors(weights, lambda shapes: _check_fit(kind.__name__, expected, shapes), digest)
        users = _read_ids(folder, info, "users", settings.USER_ID_FIELD)
        items = _read_ids(folder, info, "items", settings.ITEM_ID_FIELD)
        _check_columns(items)
        _check_counts(users, "users")  # which runs of an older gaterec do not have
        with _NoStart():
            model = kind(*shape)
        model.load_state_dict(tensors)
    except OSError as error:
        raise RunError(f"{folder}: is not whole: {Path(error.filename or folder).name}: {reason(error)}") from None
    except (KeyError, RuntimeError, ValueError) as error:
        raise RunError(f"{folder}: is not whole: {reason(error)}") from None
    except GaterecError as error:
        raise RunError(f"{folder}: is not whole: {'; '.join(str(error).splitlines())}") from None
    return LoadedRun(folder, settings, model.eval(), users, items, info, digest)


def _numbers(info: Mapping[str, Any]) -> dict[str, int]:
    """How many rows the tables have, the first of which stands for no user and no item."""
    return {"users": info["data"]["people"] + 1, "items": info["data"]["items"] + 1}


def _digest(info: Mapping[str, Any], name: str) -> str | None:
    """The digest of a part of the run, by which files of different runs are told apart; None in runs of a gaterec before there were any."""
    found = info.get("digests", {}).get(name)
    return None if found is None else str(found)


def _check_fit(model: str, expected: Mapping[str, tuple[int, ...]], found: Mapping[str, tuple[int, ...]]) -> None:
    """Raise RunError where weights are of another model, or of another number of users or items: the first tensor, and its shapes."""
    for name in sorted(expected.keys() | found.keys()):
        if expected.get(name) != found.get(name):
            shapes = f"expected {expected.get(name, 'no such tensor')}, found {found.get(name, 'none')}"
            raise RunError(f"weights.safetensors: {name} of {model}: {shapes}")


def _read_ids(folder: Path, info: Mapping[str, Any], name: str, column: str) -> pl.DataFrame:
    """The table of users or items, whose first column is that of their ids.

    Raises:
        OSError, ValueError: it can't be read.
        RunError: it has another number of rows than run.json says, or ids that are missing, twice there, or of another run.
    """
    table, file = read_table(folder / f"{name}.parquet", _numbers(info)[name]), f"{name}.parquet"
    if not table.width or table.columns[0] != column or table.dtypes[0] != pl.String:
        found = f"{table.columns[0]} of {table.dtypes[0]}" if table.width else "none"
        raise RunError(f"{file}: expected {column} of {pl.String} as the first column, found {found}")
    ids = table.to_series(0)
    if ids.null_count():
        raise RunError(f"{file}: expected an id in every row, found {ids.null_count():,} without")
    if ids.n_unique() != len(ids):
        raise RunError(f"{file}: expected every id once, found {ids.filter(ids.is_duplicated())[0]!r} more often")
    if _digest(info, name) not in (None, _digest_of_ids(table)):
        raise RunError(f"{file}: is of another run than the files beside it")
    return table


def _check_columns(items: pl.DataFrame) -> None:
    """Raise RunError unless the columns beside the ids are of types that items may have."""
    for name, kind in list(items.schema.items())[1:]:
        inner = kind.inner if isinstance(kind, pl.List) else kind
        if inner != pl.String and not inner.is_numeric():
            raise RunError(f"items.parquet: expected texts, numbers or lists of them as {name}, found {kind}")
    if "training_count" not in items.columns:
        raise RunError("items.parquet: expected a whole number for every item as training_count, found no such column")
    _check_counts(items, "items")


def _check_counts(table: pl.DataFrame, name: str) -> None:
    """Raise RunError where a table has counts that are none."""
    counts = table["training_count"] if "training_count" in table.columns else None
    if counts is not None and (not counts.dtype.is_integer() or counts.null_count()):
        raise RunError(
            f"{name}.parquet: expected a whole number in every row as training_count, found {counts.dtype}, {counts.null_count():,} missing"
        )


def _digest_of_ids(table: pl.DataFrame) -> str:
    """A digest of the first column, which must be of texts."""
    ids = table.to_series(0)
    digest = hashlib.blake2b(ids.str.len_bytes().to_numpy().tobytes(), digest_size=16)
    digest.update("".join(ids.to_list()).encode())
    return digest.hexdigest()


def load_histories(run: LoadedRun) -> tuple[np.ndarray, np.ndarray]:
    """(N,) int32 and (U + 1,) int64: the items of all events, and where each user's begin (see gaterec.data.interactions).

    Raises:
        RunError: they are not there, as in runs of a gaterec before them, or damaged, or of another run.
    """
    if not (run.folder / "histories.safetensors").exists():
        raise RunError(f"{run.folder}: has no histories, as it was made by an older gaterec; train it again")

    def check(shapes: Mapping[str, tuple[int, ...]]) -> None:
        found = shapes.get("offsets", ())
        if shapes.keys() != {"item", "offsets"} or len(shapes["item"]) != 1 or len(found) != 1:
            raise RunError(f"{run.folder}: is not whole: expected item and offsets in histories.safetensors, found {shapes}")
        if found[0] != len(run.users) + 1:
            raise RunError(f"{run.folder}: is not whole: expected the histories of {len(run.users) - 1:,} users, found {found[0] - 2:,}")

    tensors, _ = read_tensors(run.folder / "histories.safetensors", check, _digest(run.info, "histories"))
    item, offsets = tensors["item"].numpy(), tensors["offsets"].numpy()
    good = item.dtype == np.int32 and offsets.dtype == np.int64 and offsets[0] == 0 and offsets[-1] == len(item)
    if not good or (np.diff(offsets) < 0).any() or (len(item) and not 1 <= item.min() <= item.max() < len(run.items)):
        raise RunError(f"{run.folder}: is not whole: the histories are of other users or items")
    return item, offsets


def trained_users(run: LoadedRun, offsets: np.ndarray) -> np.ndarray:
    """(U,) whether training learned anything about each user: it did from users with two training events or more, as an event is predicted from
    the events before it.

    Args:
        offsets: see load_histories; a run of a gaterec that did not write how many events were for training is judged by all events.
    """
    counts = run.users["training_count"].to_numpy() if "training_count" in run.users.columns else np.diff(offsets)
    trained: np.ndarray = counts > 1
    trained[0] = False
    return trained


def environment(device: torch.device) -> dict[str, Any]:
    """What the figures were made with."""
    import os
    import platform

    return {
        "gaterec": __version__,
        "torch": torch.__version__,
        "polars": pl.__version__,
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu",
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
    }
