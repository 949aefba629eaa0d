"""Searches by `gaterec tune` in processes of their own, as a person would begin them, and when their trials began and ended."""

import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import optuna
import yaml

from benchmarks.harness import Options

COMMAND = "from gaterec.cli.app import main; main()"


@dataclass(frozen=True)
class Searched:
    """A search that has come to its end; times in seconds since its process was begun.

    Attributes:
        trials: when each trial began and ended.
        whole: when the process ended, with the winner trained and judged and everything written.
        best: the best trial's score on validation.
    """

    trials: list[tuple[float, float]]
    whole: float
    best: float

    @property
    def begun(self) -> float:
        """The first trial begins."""
        return min(begin for begin, _ in self.trials)

    @property
    def ended(self) -> float:
        """The last trial ends."""
        return max(end for _, end in self.trials)


def searched(options: Options, settings: Mapping[str, Any], space: str, workers: int, seeds: int) -> Searched:
    """Search a space with settings that all trials share.

    Args:
        settings: with model and dataset.
        space: in RecBole's grammar.
        seeds: how many times the winner and the defaults are trained at the end; 0 leaves that out.
    """
    with tempfile.TemporaryDirectory(prefix="gaterec-tune-") as parent:
        folder = Path(parent)
        (folder / "space.test").write_text(space, encoding="utf-8")
        shared = {"data_path": str(options.data_path), "checkpoint_dir": parent, "state": "WARNING", **settings}
        (folder / "settings.yaml").write_text(yaml.safe_dump(shared), encoding="utf-8")
        files = [f"--params_file={folder / 'space.test'}", f"--config_files={folder / 'settings.yaml'}", f"--out={folder / 'search'}"]
        begin = time.time()
        subprocess.run(
            [sys.executable, "-c", COMMAND, "tune", *files, f"--workers={workers}", f"--seeds={seeds}"],
            check=True,
            stdin=subprocess.DEVNULL,
        )
        whole = time.time() - begin
        return read_search(folder / "search" / "trials.db", begin, whole)


def read_search(storage: Path, begin: float, whole: float) -> Searched:
    """What a search has left in its storage.

    Args:
        begin: when its process was begun, as time.time() has it.
    """
    kept = optuna.storages.RDBStorage(f"sqlite:///{storage}")
    try:
        (name,) = optuna.get_all_study_names(kept)
        study = optuna.load_study(study_name=name, storage=kept)
        trials: list[tuple[float, float]] = []
        for trial in study.trials:
            assert trial.state == optuna.trial.TrialState.COMPLETE, f"trial {trial.number} came to no end: {trial.state.name}"
            assert trial.datetime_start is not None
            assert trial.datetime_complete is not None
            trials.append((trial.datetime_start.timestamp() - begin, trial.datetime_complete.timestamp() - begin))
        return Searched(trials, whole, study.best_value)
    finally:
        kept.remove_session()
        kept.engine.dispose()
