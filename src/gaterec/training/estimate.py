"""What a person should know before a long run: how much there is to do, how long it will take, how much memory, and what was chosen why."""

import time
from collections.abc import Callable

import torch
from torch import Tensor

from gaterec.io.console import duration
from gaterec.training.losses import form
from gaterec.training.trainer import Trainer

STEPS, SECONDS = 10, 5.0
"""So many steps, or so long, are measured; the very first is not, as it also warms up."""
LONG = 10.0
"""Seconds that all epochs must be expected to take for the lines to be worth reading."""


class TrainingEstimate:
    """Measures the first steps of a training and tells once what is to be expected; says nothing before a short one.

    Args:
        trainer: about to train.
        tell: prints a line.
    """

    def __init__(self, trainer: Trainer, tell: Callable[[str], None]) -> None:
        self.trainer, self.tell = trainer, tell
        self.steps, self.targets, self.begin, self.done = 0, 0, time.perf_counter(), False

    def step(self, targets: int) -> None:
        """One more step is behind, on so many targets."""
        if self.done:
            return
        now = time.perf_counter()
        self.steps += 1
        if self.steps == 1 < len(self.trainer.batches):  # where an epoch is one step, what lies between two is validation
            self.begin = now
            return
        self.targets += targets
        if self.steps > min(STEPS, len(self.trainer.batches) - 1) or now - self.begin > SECONDS:
            self.done = True
            seconds = (now - self.begin) / self.targets * self.trainer.batches.targets
            if seconds * (self.trainer.settings.epochs - len(self.trainer.history.epochs)) > LONG:
                for line in lines(self.trainer, seconds):
                    self.tell(line)


def lines(trainer: Trainer, seconds: float) -> list[str]:
    """What there is to do, at so many seconds per epoch without validation."""
    settings, batches = trainer.settings, trainer.batches
    epochs = settings.epochs - len(trainer.history.epochs)
    parameters = sum(parameter.numel() for parameter in trainer.model.parameters())
    return [
        f"Before you wait: {len(batches.user):,} rows with {batches.targets:,} targets in {len(batches):,} steps an epoch; {parameters:,} parameters; "
        f"{_size(held(trainer))} for weights (also the best), gradients and moments; about {duration(seconds)} an epoch, "
        f"{duration(seconds * epochs)} for {epochs:,} epochs without validation, less when stopped early.",
        f"Loss: {form(settings.loss_type, len(trainer.model.item_table()[0]) - 1, settings.negatives.sample_num)}; {trainer.plan.reason}.",
    ]


def held(trainer: Trainer) -> int:
    """Bytes that a training holds from step to step; what a batch needs comes on top. To be asked when a step has been made."""
    tensors = [*trainer.model.state_dict().values(), *trainer.best.values()]
    tensors += [_stored(parameter.grad) for parameter in trainer.model.parameters() if parameter.grad is not None]
    for optimizer in trainer.optimizers:
        tensors += [moment for moments in optimizer.state.values() for moment in moments.values() if isinstance(moment, torch.Tensor)]
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors)


def _stored(gradient: Tensor) -> Tensor:
    return gradient._values() if gradient.is_sparse else gradient


def _size(count: int) -> str:
    return f"{count / 1e9:.1f} GB" if count >= 1e9 else f"{count / 1e6:.1f} MB"
