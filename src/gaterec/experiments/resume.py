"""A training that may be killed: states of it are saved on the way, and the same settings go on from the last one, to the same bits."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import torch

from gaterec.config.settings import Settings
from gaterec.experiments.setup import Prepared, make_evaluator, make_trainer
from gaterec.training.loggers import Logger
from gaterec.training.states import clear_states, load_state, save_state
from gaterec.training.trainer import Metrics, Trainer


def resumed(settings: Settings, prepared: Prepared, device: torch.device, states: Path, resume: bool) -> tuple[Trainer, list[str]]:
    """A trainer that goes on where the states of an earlier training end, and a line about each state that can't be read.

    Its model is drawn from torch's seed, so call it inside gaterec.training.reproducibility.reproducible.

    Args:
        states: the folder of the states.
        resume: false throws earlier states away and begins anew.
    """
    if not resume:
        clear_states(states)
    state, problems = load_state(states)
    return make_trainer(settings, prepared, device, state), problems


@contextmanager
def epoch_recorder(trainer: Trainer, states: Path, loggers: Sequence[Logger] = ()) -> Iterator[Callable[[Mapping[str, Any]], None]]:
    """A function to call with each entry of Trainer.epochs: it passes the entry to the loggers and saves states; the loggers are closed in the end."""
    last_save, cost = time.monotonic(), 0.0

    def record(entry: Mapping[str, Any]) -> None:
        nonlocal last_save, cost
        for logger in loggers:
            logger.epoch(entry)
        # Saving may take a twentieth of the time, so that short epochs are not spent on writing files.
        if time.monotonic() - last_save >= 20 * cost:
            begin = time.monotonic()
            save_state(states, trainer.state())
            last_save = time.monotonic()
            cost = last_save - begin

    with ExitStack() as closing:
        for logger in loggers:
            closing.callback(logger.close)
        yield record


def best_valid(trainer: Trainer, prepared: Prepared, device: torch.device) -> Metrics | None:
    """The validation metrics of the weights that a finished training leaves; None where nothing is held out or nothing was validated."""
    settings = trainer.settings
    if trainer.optimizers or not len(prepared.valid):
        return trainer.history.best_metrics
    # A model that is counted and not trained has no epochs, so nothing was validated on the way.
    return make_evaluator(trainer.model.eval(), settings, prepared, "valid", device).evaluate()
