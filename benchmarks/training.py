"""A training of gaterec that stops after every epoch, so that benchmarks can take turns with something else."""

from collections.abc import Callable, Mapping
from typing import Any

import polars as pl
import torch

from benchmarks.harness import Options
from gaterec.config.resolve import resolve
from gaterec.config.settings import Settings
from gaterec.experiments.setup import make_trainer, prepare
from gaterec.models import model_class
from gaterec.training.reproducibility import pick_device, reproducible


def settings_for(options: Options, dataset: str, changed: Mapping[str, Any]) -> Settings:
    """HGN's defaults on a dataset, but for what is changed; trains quietly for as long as one likes and never validates."""
    quiet = {"data_path": str(options.data_path), "state": "WARNING", "show_progress": False}
    endless = {"epochs": 1_000_000, "eval_step": 0}
    return resolve(lambda kind: model_class(kind).Settings, "HGN", dataset, config_dict={**quiet, **endless, **changed})


class Training:
    """A training as in gaterec.run; every call trains one more epoch and answers its seconds, as the run's own log has them."""

    def __init__(self, settings: Settings, frame: pl.DataFrame | None = None) -> None:
        self.settings, self.device = settings, pick_device(settings)
        self.prepared = prepare(settings, frame)
        with reproducible(settings, self.device):
            self.trainer = make_trainer(settings, self.prepared, self.device)
        self.batches, self.epochs = self.trainer.batches, self.trainer.epochs()

    def __call__(self) -> float:
        with reproducible(self.settings, self.device):
            return float(next(self.epochs)["seconds"])


def product_floor(training: Training) -> Callable[[], None]:
    """An epoch's bare matrix products over the catalogue: scores, gradient of the queries, gradient of the table; nothing else.

    They write into memory that is there already, at the very shapes that the training's batches have.
    """
    catalogue, size = len(training.prepared.interactions.items), training.settings.model_settings.embedding_size
    targets = [int(training.batches.count[rows].sum()) for rows in training.batches.plan(1)]
    device = training.device
    table = torch.randn(catalogue, size, device=device)
    queries, of_queries = (torch.randn(max(targets), size, device=device) for _ in range(2))
    scores, of_scores = (torch.randn(max(targets), catalogue, device=device) for _ in range(2))
    of_table = torch.empty_like(table)

    def epoch() -> None:
        for n in targets:
            torch.mm(queries[:n], table.T, out=scores[:n])  # (N, V)
            torch.mm(of_scores[:n], table, out=of_queries[:n])  # (N, D)
            torch.mm(of_scores[:n].T, queries[:n], out=of_table)  # (V, D)
        if device.type == "cuda":
            torch.cuda.synchronize(device)

    return epoch
