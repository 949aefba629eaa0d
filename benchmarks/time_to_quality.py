"""How many seconds of training it takes to reach the paper's figure on its own data, under its own protocol, by whatever settings get there."""

import time
from collections.abc import Iterator
from statistics import median
from typing import Any

from benchmarks.harness import Benchmark, Options, Row, Skipped
from benchmarks.quality import PAPER, PAPER_FLAGS
from benchmarks.training import settings_for
from gaterec.evaluation.evaluate import evaluate
from gaterec.experiments.setup import make_trainer, prepare, scorer_for
from gaterec.training.reproducibility import pick_device, reproducible

DATASET = "amazon-cds"
GOAL = PAPER["recall@10"]

AUTHORS = 410.0
"""Seconds that the authors' code trains until then, 45 epochs of 9 s each: measured once, on another machine."""

FAST: dict[str, Any] = {
    "loss_type": "SSM",
    "train_neg_sample_args": {"sample_num": 2048, "distribution": "popularity", "alpha": 0.5},
    "negatives_may_be_own": True,
    "learning_rate": 0.005,
    "dropout": 0.5,
    "epochs": 9,
    "eval_step": 1,
    "stopping_step": 2,
}
"""What is changed of the paper's settings, chosen on the validation part alone."""


def measure(options: Options) -> Iterator[Row | Skipped]:
    """One row: a training until validation no longer gets better, and its test figure."""
    if missing := options.missing(DATASET):
        yield missing
        return
    limit = {} if options.epochs is None else {"epochs": options.epochs}
    settings = settings_for(options, DATASET, {**PAPER_FLAGS, **FAST, **limit})
    device = pick_device(settings)
    prepared = prepare(settings, None)
    test: list[dict[str, float]] = []
    with reproducible(settings, device):
        trainer = make_trainer(settings, prepared, device)
        score, counts = scorer_for(trainer.model, settings, prepared, device), prepared.counts.to(device)
        whole, epochs = [0.0], trainer.epochs()
        while True:
            begin = time.perf_counter()
            entry = next(epochs, None)
            if entry is None:
                break
            whole.append(whole[-1] + time.perf_counter() - begin)
            options.tell(
                f"time_to_quality: epoch {entry['epoch']}, {whole[-1]:.1f} s, validation Recall@10 {entry['valid']['recall@10']:.4f}"
            )
        trainer.model.eval()
        test.append(evaluate(score, prepared.interactions, prepared.test, settings, part="test", counts=counts).figures)
    best = trainer.history.best_epoch
    training = [entry["seconds"] for entry in trainer.history.epochs]
    yield {
        "training": "amazon-cds, paper's protocol",
        "best epoch": best,
        "epochs": len(training),
        "an epoch": median(training),
        "training until then": sum(training[:best]),
        "with validation": whole[best],
        "Recall@10": test[0]["recall@10"],
        "paper": GOAL,
        "Recall@10 / paper": test[0]["recall@10"] / GOAL,
        "authors (another machine) / gaterec": AUTHORS / whole[best] if test[0]["recall@10"] >= GOAL else None,
    }


BENCHMARK = Benchmark(
    name="time_to_quality",
    title="Seconds of training until the paper's figure",
    about=(
        "HGN on amazon-cds under the paper's protocol and settings, but for what was chosen on the validation part to be there sooner "
        f"({', '.join(f'{name} {value}' for name, value in FAST.items())}). Weights of the epoch that validation liked best; seconds of the training "
        "loop alone, and with a validation after every epoch, until that epoch. The authors' code trains 45 epochs of 9 s until then: "
        f"{AUTHORS:.0f} s, a figure from another machine, to be read as a magnitude."
    ),
    columns={
        "training": "{}",
        "best epoch": "{}",
        "epochs": "{}",
        "an epoch": "{:.2f} s",
        "training until then": "{:.1f} s",
        "with validation": "{:.1f} s",
        "Recall@10": "{:.4f}",
        "paper": "{:.4f}",
        "Recall@10 / paper": "{:.3f}x",
        "authors (another machine) / gaterec": "{:.0f}x",
    },
    ratio="Recall@10 / paper",
    measure=measure,
)
