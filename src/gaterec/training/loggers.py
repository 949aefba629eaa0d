"""Optional loggers of a training's course: TensorBoard and Weights & Biases. Nothing is imported that was not asked for."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

from gaterec.config.settings import Settings
from gaterec.errors import SettingsError


class Logger(Protocol):
    """Told of every epoch."""

    def epoch(self, entry: Mapping[str, Any]) -> None:
        """One more epoch (see gaterec.training.trainer.TrainingHistory.epochs)."""

    def close(self) -> None:
        """No more is to come."""


class TensorBoard:
    """Writes event files into the run's folder."""

    def __init__(self, folder: Path) -> None:
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError:
            raise SettingsError("log_tensorboard: TensorBoard is not installed; pip install 'gaterec[tensorboard]'") from None
        self.writer: Any = SummaryWriter(str(folder))

    def epoch(self, entry: Mapping[str, Any]) -> None:
        for name, value in _flat(entry).items():
            self.writer.add_scalar(name, value, entry["epoch"])

    def close(self) -> None:
        self.writer.close()


class WandB:
    """Sends the course to Weights & Biases."""

    def __init__(self, settings: Settings, name: str) -> None:
        try:
            import wandb  # type: ignore[import-not-found, unused-ignore]
        except ImportError:
            raise SettingsError("log_wandb: Weights & Biases is not installed; pip install 'gaterec[wandb]'") from None
        self.run: Any = wandb.init(project=settings.wandb_project, name=name, config=settings.as_dict())

    def epoch(self, entry: Mapping[str, Any]) -> None:
        self.run.log(_flat(entry), step=entry["epoch"])

    def close(self) -> None:
        self.run.finish()


def make_loggers(settings: Settings, folder: Path) -> list[Logger]:
    """The loggers that the settings ask for.

    Args:
        folder: where TensorBoard's files go.

    Raises:
        SettingsError: one is asked for that is not installed.
    """
    loggers: list[Logger] = []
    if settings.log_tensorboard:
        loggers.append(TensorBoard(folder))
    if settings.log_wandb:
        loggers.append(WandB(settings, folder.name))
    return loggers


def _flat(entry: Mapping[str, Any]) -> dict[str, float]:
    return {"train/loss": entry["loss"], "train/seconds": entry["seconds"]} | {
        f"valid/{name}": value for name, value in (entry["valid"] or {}).items()
    }
