"""The optimizer that the settings name, and whether it moves whole tables or the rows that a step touches."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from gaterec.config.loss_names import FULL_LOSSES, SHARED_NEGATIVES
from gaterec.config.settings import Settings
from gaterec.errors import SettingsError
from gaterec.models.encoder import SequenceEncoder
from gaterec.training.row_adam import RowAdam

LARGE = 200_000
"""Rows of a table up to which a step over all of them is cheap anyway."""
FEW = 0.1
"""The share of a table's rows above which a step may as well go over all of them."""


@dataclass(frozen=True)
class UpdatePlan:
    """How the tables are updated.

    Attributes:
        by_row: only the rows that a step touches, by RowAdam; else whole tables, by the learner.
        reason: why, as a sentence.
    """

    by_row: bool
    reason: str


def update_plan(model: SequenceEncoder, settings: Settings) -> UpdatePlan:
    """Whether a step moves the rows that it touches, or whole tables.

    Args:
        model: may stand on the meta device; only the sizes of its tables are looked at.

    Raises:
        SettingsError: row-wise updates are asked for where they can't be.
    """
    by_name = settings.learner == "sparse_adam"
    name, remedy = ("learner: sparse_adam", "use adam") if by_name else ("sparse_updates: true", "leave it out")
    obstacle, other = _obstacle(settings)
    if by_name or settings.sparse_updates is True:
        if obstacle:
            raise SettingsError(f"{name} moves only the rows that a step touches, and {obstacle}; {remedy}, or {other}")
        return UpdatePlan(True, f"the rows that a step touches are updated: {name}")
    if settings.sparse_updates is False:
        return UpdatePlan(False, "whole tables are updated: sparse_updates: false")
    if obstacle:
        return UpdatePlan(False, f"whole tables are updated: {obstacle}")
    size, touched = _largest_table(model, settings)
    if size <= LARGE:
        return UpdatePlan(False, f"whole tables are updated: none has more than {LARGE:,} rows")
    share = f"a step touches at most about {touched:,} of the {size:,} rows of the largest table"
    if touched >= FEW * size:
        return UpdatePlan(False, f"whole tables are updated: {share}")
    return UpdatePlan(True, f"the rows that a step touches are updated: {share}")


def _obstacle(settings: Settings) -> tuple[str, str]:
    """What stands against row-wise updates (nothing: empty), and what to do about it."""
    if settings.learner not in ("adam", "sparse_adam"):
        return f"{settings.learner} moves whole tables", "use learner adam"
    if settings.learner == "sparse_adam" and settings.sparse_updates is False:
        return "sparse_updates: false moves whole tables", "leave sparse_updates out"
    if settings.loss_type in FULL_LOSSES:
        return f"{settings.loss_type} touches every row", "loss_type SSM, gBCE or BPR"
    if settings.weight_decay:
        return "weight_decay moves every row", "take reg_weight in its place"
    if settings.clip_grad_norm is not None:
        return "clip_grad_norm needs the norm of all gradients", "leave clip_grad_norm out"
    return "", ""


def _largest_table(model: SequenceEncoder, settings: Settings) -> tuple[int, int]:
    """The rows of the model's largest table, and how many of them a step touches at most, or nearly so."""
    items, size = len(model.item_table()[0]), max((len(table) for table in tables(model)), default=0)
    targets = settings.train_batch_size
    if size > items:  # people: at most one for each target
        return size, min(size, targets)
    scored, drawn = targets * settings.next_items, settings.negatives.sample_num
    return size, min(size, scored + drawn if settings.loss_type in SHARED_NEGATIVES else scored * (1 + drawn))


def tables(model: SequenceEncoder) -> list[Tensor]:
    """The parameters of which a step touches a few rows: embeddings, and the items' weight and bias."""
    found = [module.weight for module in model.modules() if isinstance(module, nn.Embedding)]
    found += [part for part in model.item_table() if isinstance(part, nn.Parameter)]
    return list(dict.fromkeys(found))


def make_optimizers(model: SequenceEncoder, settings: Settings) -> list[torch.optim.Optimizer]:
    """The optimizer that `learner` names; none for a model without parameters.

    Where only touched rows are to be moved (see update_plan), one for the tables and Adam for the rest; the tables are told to give their
    gradients by row.
    """
    parameters = list(model.parameters())
    rate, decay = settings.learning_rate, settings.weight_decay
    if not parameters:
        return []
    if update_plan(model, settings).by_row:
        return _by_row(model, rate)
    match settings.learner:
        case "adam":
            return [torch.optim.Adam(parameters, lr=rate, weight_decay=decay, fused=True)]
        case "adamw":
            return [torch.optim.AdamW(parameters, lr=rate, weight_decay=decay, fused=True)]
        case "sgd":
            return [torch.optim.SGD(parameters, lr=rate, weight_decay=decay, fused=True)]
        case "adagrad":
            return [torch.optim.Adagrad(parameters, lr=rate, weight_decay=decay)]
        case "rmsprop":
            return [torch.optim.RMSprop(parameters, lr=rate, weight_decay=decay)]
        case "sparse_adam":
            raise AssertionError("sparse_adam always moves touched rows")


def _by_row(model: SequenceEncoder, rate: float) -> list[torch.optim.Optimizer]:
    for module in model.modules():
        if isinstance(module, nn.Embedding):
            module.sparse = True
    rows = tables(model)
    rest = [parameter for parameter in model.parameters() if all(parameter is not table for table in rows)]
    optimizers: list[torch.optim.Optimizer] = [RowAdam(rows, lr=rate)]
    return [*optimizers, torch.optim.Adam(rest, lr=rate)] if rest else optimizers


def rate_factor(settings: Settings, epoch: float) -> float:
    """What the step size is multiplied by when so many epochs are behind, 0 to 1.

    Warming up it rises in a line from nothing; then it stays (constant), or falls to nothing at the end of the last epoch in a line or along half a
    cosine (Loshchilov and Hutter, ICLR 2017, without restarts).
    """
    if epoch < settings.warmup_epochs:
        return epoch / settings.warmup_epochs
    left = (settings.epochs - epoch) / max(settings.epochs - settings.warmup_epochs, 1e-9)
    match settings.learning_rate_schedule:
        case "linear":
            return max(left, 0.0)
        case "cosine":
            return (1 - math.cos(math.pi * max(left, 0.0))) / 2
    return 1.0
