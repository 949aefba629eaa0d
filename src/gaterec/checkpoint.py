"""What a run leaves behind, and the states in between.

A run folder holds all that judging, serving and explaining need, without the dataset and without pickle:

    weights.safetensors   the model's tensors
    histories.safetensors all events: the items of each person in order of time, and where each person's begin
    run.json              settings, protocol, figures, every epoch, environment, fingerprint of the data
    users.parquet         ids of users in the order of their numbers, and how many events of each were for training; row 0 is an unknown user
    items.parquet         ids of items likewise (row 0 is padding) with the columns of the `.item` file, and how often each was chosen
    ranks.parquet         the rank of every held-out test item
    report.html           a page to look at
    index/                an approximate index over the items, where one was asked for (see gaterec.index)

A state is one file per saved epoch in a folder `NAME.training` beside it; the two latest are kept, so that a broken one has a predecessor.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

import gaterec
from gaterec.data.interactions import Interactions
from gaterec.errors import GaterecError, RunError
from gaterec.files import read_tensors, write_tensors
from gaterec.models import model_class
from gaterec.models.encoder import SequenceEncoder
from gaterec.settings import Settings
from gaterec.sources import resolve
from gaterec.train import Course, TrainingState

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
    text = json.dumps([*identity, gaterec.__version__], sort_keys=True)
    safe = "".join(letter if letter.isalnum() or letter in "-_." else "_" for letter in data)[:60]
    return f"{kind}-{safe}-{hashlib.sha256(text.encode()).hexdigest()[:8]}"


def save_state(folder: Path, state: TrainingState) -> None:
    """Save a training's state, and let go of all but the two latest.

    Raises:
        RunError: it can't be written; the states before are still there.
    """
    write_tensors(folder / f"epoch-{len(state.course.epochs):07d}.safetensors", state.tensors, {"course": asdict(state.course)})
    for old in sorted(folder.glob("epoch-*.safetensors"))[:-2]:
        old.unlink(missing_ok=True)


def load_state(folder: Path) -> tuple[TrainingState | None, list[str]]:
    """The latest state that is whole, None when there is none, and a line about each that is not."""
    problems: list[str] = []
    files = sorted(folder.glob("epoch-*.safetensors"), reverse=True)
    for file in files:
        then = "training begins anew" if file is files[-1] else "using the one before it"
        try:
            tensors, about = read_tensors(file)
            return TrainingState(Course(**about["course"]), tensors), problems
        except RunError as error:
            problems.append(f"{error}; {then}")
        except (KeyError, TypeError):
            problems.append(f"{file}: is no state that this gaterec can read; {then}")
    return None, problems


def clear_states(folder: Path) -> None:
    """Throw a training's states away, and their folder if nothing else is in it: what is no state stays."""
    number = "[0-9]" * 7
    for pattern in (f"epoch-{number}.safetensors", f".epoch-{number}.safetensors.*.part"):
        for file in folder.glob(pattern):
            file.unlink(missing_ok=True)
    with suppress(OSError):
        folder.rmdir()


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
    """

    folder: Path
    settings: Settings
    model: SequenceEncoder
    users: pl.DataFrame
    items: pl.DataFrame
    info: dict[str, Any]


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
    try:
        users.write_parquet(folder / "users.parquet")
        items.write_parquet(folder / "items.parquet")
        ranks.write_parquet(folder / "ranks.parquet")
        content = {"format": FORMAT, "gaterec": gaterec.__version__, **info}
        (folder / "run.json").write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    except (OSError, pl.exceptions.PolarsError) as error:
        raise RunError(f"{folder}: can't be written: {str(error).splitlines()[0]}") from None


def read_info(folder: Path) -> dict[str, Any]:
    """All of run.json.

    Raises:
        RunError: there is no run in the folder, or a damaged one, or one of a newer gaterec.
    """
    file = folder / "run.json"
    if not folder.is_dir():
        raise RunError(f"{folder}: there is no such run folder")
    try:
        info = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise RunError(f"{folder}: expected a run folder, found no run.json in it") from None
    except (OSError, ValueError, RecursionError) as error:
        raise RunError(f"{file}: can't be read: {error}") from None
    found = info.get("format") if isinstance(info, dict) else None
    if not isinstance(found, int):
        raise RunError(f"{file}: expected a run of gaterec, found no format number in it")
    if found > FORMAT:
        raise RunError(
            f"{folder}: was written by gaterec {info.get('gaterec')} in format {found}; this gaterec {gaterec.__version__} reads up to {FORMAT}: upgrade it"
        )
    for name, kind in IN_RUN_JSON.items():
        if name not in info or not isinstance(info[name], kind):
            raise RunError(f"{file}: is damaged: {name} is {'of a wrong type' if name in info else 'missing'}")
    if not isinstance(info["data"].get("fingerprint"), str) or not all(isinstance(line, str) for line in info["protocol"]):
        raise RunError(f"{file}: is damaged: data or protocol is of a wrong type")
    return dict(info)


def newest_run(folder: Path) -> Path:
    """The folder itself where it is a run, else the newest run in it.

    Raises:
        RunError: there is neither.
    """
    if (folder / "run.json").exists():
        return folder
    runs = sorted(folder.glob("*/run.json"), key=lambda file: file.stat().st_mtime)
    if not runs:
        raise RunError(
            f"{folder}: expected a run folder, or a folder of them, found {'no run in it' if folder.is_dir() else 'no such folder'}"
        )
    return runs[-1].parent


class _NoStart(TorchFunctionMode):
    """Inside, weights get no random start: drawing one takes longer than reading the weights that take its place."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func.__name__.endswith(("normal_", "uniform_")):  # of tensors, and of torch.nn.init
            return args[0] if args else kwargs["tensor"]
        return func(*args, **kwargs)


def load_run(folder: str | Path) -> LoadedRun:
    """Read a run folder; nothing in it is executed and the dataset is not needed.

    Raises:
        RunError: it is not there, half there, corrupt, or of a newer version.
    """
    folder = Path(folder)
    info = read_info(folder)
    try:
        saved = {
            name: value for name, value in info["settings"].items() if name != "valid_metric_bigger"
        }  # once it could contradict the metric
        settings = resolve(lambda name: model_class(name).Settings, config_dict=saved)
        users, items = pl.read_parquet(folder / "users.parquet"), pl.read_parquet(folder / "items.parquet")
        with _NoStart():
            model = model_class(settings.model)(len(users), len(items), settings.MAX_ITEM_LIST_LENGTH, settings.model_settings)
        tensors, _ = read_tensors(folder / "weights.safetensors")
        _check_fit(model, tensors)
        model.load_state_dict(tensors)
    except (OSError, KeyError, RuntimeError, pl.exceptions.PolarsError) as error:
        raise RunError(f"{folder}: is not whole: {str(error).splitlines()[0]}") from None
    except GaterecError as error:
        raise RunError(f"{folder}: is not whole: {error}") from None
    return LoadedRun(folder, settings, model.eval(), users, items, info)


def _check_fit(model: SequenceEncoder, tensors: Mapping[str, Tensor]) -> None:
    """Raise RunError where weights are of another model, or of another number of people or items: the first tensor, and its shapes."""
    expected, found = ({name: tuple(tensor.shape) for name, tensor in of.items()} for of in (model.state_dict(), tensors))
    for name in sorted(expected.keys() | found.keys()):
        if expected.get(name) != found.get(name):
            shapes = f"expected {expected.get(name, 'no such tensor')}, found {found.get(name, 'none')}"
            raise RunError(f"weights.safetensors: {name} of {type(model).__name__}: {shapes}")


def load_histories(run: LoadedRun) -> tuple[np.ndarray, np.ndarray]:
    """(N,) int32 and (U + 1,) int64: the items of all events, and where each person's begin (see gaterec.data.interactions).

    Raises:
        RunError: they are not there, as in runs of a gaterec before them, or damaged.
    """
    if not (run.folder / "histories.safetensors").exists():
        raise RunError(f"{run.folder}: has no histories, as it was made by an older gaterec; train it again")
    tensors, _ = read_tensors(run.folder / "histories.safetensors")
    item, offsets = tensors["item"].numpy(), tensors["offsets"].numpy()
    if len(offsets) != len(run.users) + 1:
        raise RunError(f"{run.folder}: is not whole: expected the histories of {len(run.users) - 1:,} people, found {len(offsets) - 2:,}")
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
        "gaterec": gaterec.__version__,
        "torch": torch.__version__,
        "polars": pl.__version__,
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu",
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
    }
