"""A training that may be killed: states of it are saved on the way, and the same settings go on from the last one, to the same bits."""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import torch

from gaterec.config.settings import Settings
from gaterec.evaluation.evaluate import evaluate
from gaterec.experiments.setup import Prepared, make_trainer, scorer_for
from gaterec.training.loggers import Logger
from gaterec.training.states import clear_states, load_state, save_state
from gaterec.training.trainer import Figures, Trainer


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


def saved_epochs(
    trainer: Trainer, states: Path, loggers: Sequence[Logger] = (), on_step: Callable[[int], object] = lambda targets: None
) -> Iterator[dict[str, Any]]:
    """Train to the end, epoch by epoch (see gaterec.training.trainer.Trainer.epochs), saving states; loggers are told of every epoch, and closed."""
    last_save, cost = time.monotonic(), 0.0
    with ExitStack() as closing:
        for logger in loggers:
            closing.callback(logger.close)
        for entry in trainer.epochs(on_step):
            for logger in loggers:
                logger.epoch(entry)
            # Saving may take a twentieth of the time, so that short epochs are not spent on writing files.
            if time.monotonic() - last_save >= 20 * cost:
                begin = time.monotonic()
                save_state(states, trainer.state())
                last_save = time.monotonic()
                cost = last_save - begin
            yield entry


def best_valid(trainer: Trainer, prepared: Prepared, device: torch.device) -> Figures | None:
    """The validation figures of the weights that a finished training leaves; None where nothing is held out or nothing was validated."""
    settings = trainer.settings
    if trainer.optimizers or not len(prepared.valid):
        return trainer.course.best_figures
    # A model that is counted and not trained has no epochs, so nothing was validated on the way.
    score, counts = scorer_for(trainer.model.eval(), settings, prepared, device), prepared.counts.to(device)
    return evaluate(score, prepared.interactions, prepared.valid, settings, part="valid", counts=counts).figures
