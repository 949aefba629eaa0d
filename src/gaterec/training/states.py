"""Saved states of a training: what a killed run needs to resume to the same bits."""

from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

from gaterec.errors import RunError
from gaterec.io.files import read_tensors, write_tensors
from gaterec.training.trainer import TrainingHistory, TrainingState

SAVED_NAMES = {"epochs_without_improvement": "stale"}
"""Fields of TrainingHistory that have another name in files."""


def save_state(folder: Path, state: TrainingState) -> None:
    """Save a training's state, and let go of all but the two latest.

    Raises:
        RunError: it can't be written; the states before are still there.
    """
    write_tensors(folder / f"epoch-{len(state.history.epochs):07d}.safetensors", state.tensors, {"course": _as_saved(state.history)})
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
            return TrainingState(_from_saved(about["course"]), tensors), problems
        except RunError as error:
            problems.append(f"{error}; {then}")
        except (KeyError, TypeError):
            problems.append(f"{file}: is no state that this gaterec can read; {then}")
    return None, problems


def _as_saved(history: TrainingHistory) -> dict[str, Any]:
    """The history under the names that states have in files."""
    return {SAVED_NAMES.get(name, name): value for name, value in asdict(history).items()}


def _from_saved(saved: dict[str, Any]) -> TrainingHistory:
    names = {saved_name: name for name, saved_name in SAVED_NAMES.items()}
    return TrainingHistory(**{names.get(name, name): value for name, value in saved.items()})


def clear_states(folder: Path) -> None:
    """Throw a training's states away, and their folder if nothing else is in it: what is no state stays."""
    number = "[0-9]" * 7
    for pattern in (f"epoch-{number}.safetensors", f".epoch-{number}.safetensors.*.part"):
        for file in folder.glob(pattern):
            file.unlink(missing_ok=True)
    with suppress(OSError):
        folder.rmdir()
