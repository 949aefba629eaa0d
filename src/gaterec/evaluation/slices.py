"""Where a model is good and where it is not: the held-out events by length of the history, by popularity of the item, by whether it is new."""

from dataclasses import dataclass

import numpy as np
import torch

from gaterec.data.interactions import Interactions
from gaterec.data.split import chosen_before
from gaterec.evaluation import metrics
from gaterec.evaluation.evaluate import EvaluationResult


@dataclass(frozen=True)
class SliceRow:
    """How good the model is on a part of the test cases."""

    label: str
    cases: int
    metrics: dict[str, float]


def slice_rows(result: EvaluationResult, interactions: Interactions, counts: np.ndarray, k: int) -> dict[str, list[SliceRow]]:
    """Recall@k and NDCG@k of parts of the right answers, each taken as a question of its own.

    Args:
        judgement: the ranks of all right answers.
        counts: (V,) how often each item was chosen in training.
        k: the cutoff.

    Returns:
        question -> rows; a part without answers has no row.
    """
    cases = result.cases
    length = (cases.position - interactions.offsets[cases.user])[cases.case]
    chosen = counts[cases.relevant]
    repeated = chosen_before(interactions, cases)
    parts = {
        "history length": _quantile_parts(length, "events"),
        "item popularity": _quantile_parts(chosen, "times chosen"),
        "repeated or new items": [("chosen before by the same person", repeated), ("new to the person", ~repeated)],
    }
    ranks = result.ranks.cpu()
    return {
        question: [_row(label, ranks[torch.from_numpy(mask)], k) for label, mask in rows if mask.any()] for question, rows in parts.items()
    }


def _row(label: str, ranks: torch.Tensor, k: int) -> SliceRow:
    each = torch.arange(len(ranks))
    figures = metrics.measure(["Recall", "NDCG"], [k], ranks, each, torch.full_like(each, metrics.MISSED))
    return SliceRow(label, len(ranks), figures)


def _quantile_parts(values: np.ndarray, unit: str, parts: int = 5) -> list[tuple[str, np.ndarray]]:
    """About equally many answers in each part, cut at whole numbers: "3-8 events" and so on."""
    if not len(values):
        return []
    edges = np.unique(np.quantile(values, np.linspace(0, 1, parts + 1), method="lower")).astype(np.int64)
    lows, highs = edges[:-1] + (np.arange(len(edges) - 1) > 0), edges[1:]
    if len(edges) == 1:
        lows = highs = edges
    return [
        (f"{low:,} {unit}" if low == high else f"{low:,}–{high:,} {unit}", (values >= low) & (values <= high))
        for low, high in zip(lows, highs, strict=True)
    ]
