"""What a comparison might have found, for tests of what is shown of it; nothing is trained."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from gaterec.evaluation.significance import compare_all
from gaterec.evaluation.slices import SliceRow
from gaterec.experiments.compare.results import DONE, ComparisonResults, RunOutcome
from gaterec.experiments.compare.run_process import RunSpec
from tests.support.histories import settings

SLICES = {"history length": [SliceRow("1–5 events", 4, {"ndcg@10": 0.25}), SliceRow("6–9 events", 4, {"ndcg@10": 0.5})]}


def outcome(
    label: str, seed: int = 1, ndcg: float = 0.5, *, status: str = DONE, seconds: Sequence[float] = (1.0, 2.0), **changes: Any
) -> RunOutcome:
    """One cell; its Recall is twice its NDCG, its validation figures are half of those of the test, and the first epoch was the best."""
    own = settings(seed=seed, metrics=["Recall", "NDCG"], **{"valid_metric": "NDCG@10", **changes})
    cell = RunSpec(label, own, Path("runs") / f"{label}-{seed}")
    if status != DONE:
        return RunOutcome(cell, status)
    test = {"recall@10": 2 * ndcg, "ndcg@10": ndcg}
    test.setdefault(own.valid_metric.lower(), ndcg)
    valid = {name: value / 2 for name, value in test.items()}
    epochs = [{"epoch": number, "loss": 1.0, "seconds": spent, "valid": valid} for number, spent in enumerate(seconds, 1)]
    info = {"valid": valid, "test": test, "epochs": epochs, "best_epoch": min(1, len(epochs)), "baselines": {}}
    measured = {"seconds_per_1000": 0.125, "parameters": 1234, "peak_memory": 2**20 * (100 + seed)}
    people = {"ndcg@10": np.linspace(0, 2 * ndcg, 50)}
    return RunOutcome(cell, DONE, info, measured, people, dict(SLICES))


def findings(outcomes: Sequence[RunOutcome], **changes: Any) -> ComparisonResults:
    """All cells of a comparison, with tests of those that are done."""
    labels = dict.fromkeys(one.cell.label for one in outcomes)
    content: dict[str, Any] = {
        "title": "log: some entries",
        "references": {},
        "protocol": ["Split: leave-one-out."],
        "tests": [],
        "audit": ["Nothing found: ties."],
        "notes": [],
        "settings": {"all": {"epochs": 2}, **{label: {"embedding_size": 4} for label in labels}},
        "environment": {"torch": "2"},
        "command": "gaterec compare --models=A,B",
    }
    found = ComparisonResults(outcomes=list(outcomes), **{**content, **changes})
    people = {summary.label: summary.people for summary in found.summaries if summary.done}
    if len(people) > 1:
        found.tests.extend(compare_all(people))
    return found
