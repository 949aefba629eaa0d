"""The training loop: batches in, a better model out; early stopping; states from which a killed training goes on to the same bits.

Epoch e of seed s always sees the same batches, negatives and dropout, whatever came before it in the process. So a state needs no random
number generator in it: weights, the optimizer's moments and what was measured so far are all there is.
"""

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from gaterec.config.loss_names import FULL_LOSSES
from gaterec.config.settings import Settings, Training
from gaterec.data.batches import Batch, TrainingBatches
from gaterec.errors import RunError
from gaterec.models.encoder import SequenceEncoder
from gaterec.training.losses import LOSSES
from gaterec.training.negative_sampling import NegativeSampler, draw_negatives
from gaterec.training.optimizers import make_optimizers, rate_factor, update_plan
from gaterec.training.reproducibility import hash_seed

Metrics = dict[str, float]
"""Metric -> value, such as "recall@10"."""


class SupportsEvaluate(Protocol):
    """Measures the model that is being trained; gaterec.evaluation.evaluate.Evaluator is one."""

    def evaluate(self) -> Metrics:
        """The metrics of the model as it is now."""


@dataclass
class TrainingHistory:
    """The epochs of a training so far.

    Attributes:
        epochs: one entry per finished epoch: epoch, loss, seconds, valid (metrics, or None without validation).
        best_epoch: the epoch (from 1) whose weights are the best so far; the last one where nothing is validated.
        best_score: the value of valid_metric there.
        epochs_without_improvement: validations since then.
    """

    epochs: list[dict[str, Any]] = field(default_factory=list)
    best_epoch: int = 0
    best_score: float | None = None
    epochs_without_improvement: int = 0

    @property
    def best_metrics(self) -> Metrics | None:
        """The validation metrics of the best epoch."""
        return self.epochs[self.best_epoch - 1]["valid"] if self.best_epoch else None


@dataclass
class TrainingState:
    """Everything that the next epoch depends on, and the best weights so far."""

    history: TrainingHistory
    tensors: dict[str, Tensor]


class Trainer:
    """Trains a model.

    Args:
        model: on its device, freshly initialised.
        batches: the training data.
        sampler: draws negatives for the losses that need some.
        evaluator: measures the model on the validation part; None without one.
        settings: loss_type, epochs, learner and so on.
        state: where an earlier training of the same settings stopped; None begins.
    """

    def __init__(
        self,
        model: SequenceEncoder,
        batches: TrainingBatches,
        sampler: NegativeSampler,
        evaluator: SupportsEvaluate | None,
        settings: Settings,
        state: TrainingState | None = None,
    ) -> None:
        self.model, self.batches, self.sampler, self.settings = model, batches, sampler, settings
        self.evaluator = evaluator if settings.eval_step else None
        self.eval_step = min(settings.eval_step, settings.epochs)
        self.history = TrainingHistory()
        self.plan = update_plan(model, settings)
        self.optimizers = make_optimizers(model, settings)
        self.best = {name: value.clone() for name, value in model.state_dict().items()}
        if state is not None:
            self._restore(state)

    @property
    def finished(self) -> bool:
        """Whether the last epoch is done, or early stopping says so, or there is nothing to learn."""
        done = len(self.history.epochs) >= self.settings.epochs or self.history.epochs_without_improvement > self.settings.stopping_step
        return done or not self.optimizers

    def epochs(self, on_step: Callable[[int], object] = lambda targets: None) -> Iterator[dict[str, Any]]:
        """Train epoch after epoch until finished, yielding an entry for each (see TrainingHistory.epochs).

        Args:
            on_step: told the number of targets after every step.

        Raises:
            RunError: the loss is no longer a number.
        """
        while not self.finished:
            number, begin = len(self.history.epochs) + 1, time.perf_counter()
            loss = self._train(number, on_step)
            if not math.isfinite(loss):
                raise RunError(
                    f"epoch {number}: the loss is {loss}: training has diverged; a lower learning_rate (now {self.settings.learning_rate:g}) "
                    "or clip_grad_norm may help"
                )
            entry: dict[str, Any] = {"epoch": number, "loss": loss, "seconds": time.perf_counter() - begin, "valid": None}
            self.history.epochs.append(entry)
            self._validate(number, entry)
            yield entry
        self.model.load_state_dict(self.best)

    def _train(self, number: int, on_step: Callable[[int], object]) -> float:
        """One pass over the training data; the mean loss per target."""
        device = self.batches.device
        torch.manual_seed(hash_seed(self.settings.seed, number))
        self.model.train()
        total, seen = torch.zeros((), dtype=torch.float64, device=device), 0
        clip = self.settings.clip_grad_norm
        for batch in self.batches.epoch(number):
            targets = len(batch.positions)
            # The middle of the step, so that neither the first nor the last has no size.
            self._set_rate(number - 1 + (seen + targets / 2) / self.batches.targets)
            with torch.autocast(device.type, dtype=torch.bfloat16, enabled=self.settings.enable_amp):
                loss = batch_loss(self.model, batch, self.settings, self.sampler, self.plan.by_row)
            for optimizer in self.optimizers:
                optimizer.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]
            if clip is not None:
                nn.utils.clip_grad_norm_(self.model.parameters(), clip.max_norm, clip.norm_type)
            for optimizer in self.optimizers:
                optimizer.step()
            total += loss.detach() * targets
            seen += targets
            on_step(targets)
        return float(total) / max(seen, 1)

    def _set_rate(self, epoch: float) -> None:
        """The step size when so many epochs are behind."""
        rate = self.settings.learning_rate * rate_factor(self.settings, epoch)
        for optimizer in self.optimizers:
            for group in optimizer.param_groups:
                group["lr"] = rate

    def _validate(self, number: int, entry: dict[str, Any]) -> None:
        """Measure the model where an epoch is validated, and save the best weights."""
        if self.evaluator is not None and number % self.eval_step == 0:
            self.model.eval()
            entry["valid"] = self.evaluator.evaluate()
            self._update_early_stopping(number, entry["valid"][self.settings.valid_metric.lower()])
        elif self.history.best_score is None:  # nothing was validated yet: the last epoch is the best known
            self._save_best(number)

    def _update_early_stopping(self, number: int, score: float) -> None:
        """Compare the score, in full precision, with the best so far. The first of equal epochs wins."""
        best = self.history.best_score
        better = best is None or (score > best if self.settings.valid_metric_bigger else score < best)
        if better:
            self.history.best_score, self.history.epochs_without_improvement = score, 0
            self._save_best(number)
        else:
            self.history.epochs_without_improvement += 1

    def _save_best(self, number: int) -> None:
        self.history.best_epoch = number
        for name, value in self.model.state_dict().items():
            self.best[name].copy_(value)

    def state(self) -> TrainingState:
        """What to save so that training can go on from here."""
        tensors = {f"model.{name}": value for name, value in self.model.state_dict().items()}
        tensors |= {f"best.{name}": value for name, value in self.best.items()}
        for i, optimizer in enumerate(self.optimizers):
            for index, moments in optimizer.state_dict()["state"].items():
                tensors |= {f"optimizer.{i}.{index}.{name}": torch.as_tensor(value) for name, value in moments.items()}
        return TrainingState(self.history, tensors)

    def _restore(self, state: TrainingState) -> None:
        self.history = state.history
        self.model.load_state_dict({name[6:]: value for name, value in state.tensors.items() if name.startswith("model.")})
        for name, value in self.best.items():
            value.copy_(state.tensors[f"best.{name}"])
        for i, optimizer in enumerate(self.optimizers):
            content = optimizer.state_dict()
            for key, value in state.tensors.items():
                kind, _, rest = key.partition(".")
                which, _, rest = rest.partition(".")
                if kind == "optimizer" and int(which) == i:
                    index, _, name = rest.partition(".")
                    # RowAdam counts its steps in a Python integer, and reckons in other bits with a tensor.
                    whole = value.dim() == 0 and not value.is_floating_point()
                    content["state"].setdefault(int(index), {})[name] = int(value) if whole else value.clone()
            optimizer.load_state_dict(content)


def batch_loss(model: SequenceEncoder, batch: Batch, settings: Settings, sampler: NegativeSampler, sparse: bool = False) -> Tensor:
    """The loss of one batch, a scalar: the loss that the settings name, plus the model's own penalty.

    Args:
        sparse: whether the gradients of the item table hold the touched rows alone.
    """
    queries = model(batch.users, batch.items).flatten(0, 1).index_select(0, batch.positions)
    loss = LOSSES[settings.loss_type].function(**loss_arguments(queries, batch, model, settings, sampler, sparse))
    penalty = model.penalty(batch.users, batch.items, batch.targets)
    return loss if penalty is None else loss + penalty


def loss_arguments(
    queries: Tensor, batch: Batch, model: SequenceEncoder, settings: Settings, sampler: NegativeSampler, sparse: bool
) -> dict[str, Any]:
    """What the loss that the settings name is called with (see gaterec.training.losses.loss); draws its negatives.

    Args:
        queries: (N, D).
        sparse: whether the gradients of the item table hold the touched rows alone.
    """
    loss = LOSSES[settings.loss_type]
    weight, bias = model.item_table()
    arguments: dict[str, Any] = {"queries": queries, "targets": batch.targets, "weight": weight, "bias": bias, "sparse": sparse}
    if loss.negatives == "own":
        arguments["negatives"] = draw_negatives(queries, batch, settings.negatives, sampler, model)
    elif loss.negatives == "shared":
        arguments["negatives"], arguments["log_expected"] = sampler.draw_shared(settings.negatives.sample_num)
    arguments = {name: value for name, value in arguments.items() if name in loss.parameters}
    return arguments | {parameter: getattr(settings, setting) for parameter, setting in loss.settings.items()}


def without_effect(settings: Settings) -> list[str]:
    """One line for each reason why settings that differ from their defaults change nothing in this training."""
    idle: dict[str, list[str]] = {}

    def note(reason: str, *names: str) -> None:
        changed = [name for name in names if getattr(settings, name) != Settings.model_fields[name].get_default(call_default_factory=True)]
        if changed:
            idle.setdefault(reason, []).extend(changed)

    loss, negatives = settings.loss_type, settings.train_neg_sample_args
    if not settings.model_settings.trained:
        note(
            f"{settings.model} is counted and not trained", *(name for name in Training.model_fields if name not in {"recipe", "loss_type"})
        )
    else:
        if loss in FULL_LOSSES:
            note(
                f"{loss} compares each target with the whole catalogue and draws no negatives",
                "train_neg_sample_args",
                "negatives_may_be_own",
            )
        elif negatives is not None:
            if negatives.distribution != "popularity" and negatives.alpha != 1:
                idle["negatives are drawn uniformly"] = ["train_neg_sample_args.alpha"]
            if not negatives.dynamic and negatives.candidate_num:
                idle["negatives are not dynamic"] = ["train_neg_sample_args.candidate_num"]
        if loss != "gBCE":
            note(f"loss_type is {loss} and not gBCE", "gbce_t")
        if loss != "BPRmax":
            note(f"loss_type is {loss} and not BPRmax", "bprmax_reg")
        if not settings.eval_step:
            note("eval_step is 0, so nothing is validated", "stopping_step")
    if "TailPercentage" not in (*settings.metrics, settings.valid_metric.partition("@")[0]):
        note("TailPercentage is not among the metrics", "tail_ratio")
    return [f"{', '.join(names)}: no effect: {reason}" for reason, names in idle.items()]
