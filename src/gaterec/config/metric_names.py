"""The names of metrics: RecBole's, their cutoffs, and which way is better."""

import difflib
import re
from typing import Any, Literal, get_args

from gaterec.errors import short

Metric = Literal[
    "Recall", "MRR", "NDCG", "Hit", "Precision", "MAP", "GAUC",
    "ItemCoverage", "AveragePopularity", "GiniIndex", "ShannonEntropy", "TailPercentage",
]  # fmt: skip


METRICS: dict[str, str] = {name.lower(): name for name in get_args(Metric)}


SMALLER_IS_BETTER = {"giniindex", "averagepopularity"}


NO_CUTOFF = {"GAUC"}
"""Metrics of the whole ranking, which take no @K."""


METRIC_SYNONYMS = {
    "hr": "Hit", "hits": "Hit", "hitrate": "Hit", "hit_rate": "Hit", "hit_ratio": "Hit", "rec": "Recall", "prec": "Precision",
    "coverage": "ItemCoverage", "popularity": "AveragePopularity", "gini": "GiniIndex", "entropy": "ShannonEntropy",
}  # fmt: skip


OF_LABELS = {"auc", "logloss", "mae", "rmse"}
"""RecBole's metrics of predicted labels and ratings."""


def _metrics_named(names: list[Any]) -> list[Any]:
    """The metrics of these names, written in any case; one ValueError for all that there are not."""
    unknown = []
    for name in names:
        if not isinstance(name, str) or name.strip().lower() in METRICS:
            continue
        lower = name.strip().lower()
        near = METRIC_SYNONYMS.get(lower) or next((METRICS[one] for one in difflib.get_close_matches(lower[:80], METRICS, n=1)), None)
        hint = f": did you mean {near}?" if near else ""
        unknown.append(
            f"{name} is a metric of predicted labels, not of rankings;" if lower in OF_LABELS else f"unknown metric {short(name)}{hint}"
        )
    if unknown:
        raise ValueError(f"{' '.join(unknown)} Known: {', '.join(METRICS.values())}")
    return [METRICS[name.strip().lower()] if isinstance(name, str) else name for name in names]


def split_metric(name: str) -> tuple[str, int | None]:
    """The metric and its cutoff in a name like NDCG@10 (None for a metric of the whole ranking).

    >>> split_metric("ndcg@10")
    ('NDCG', 10)

    Raises ValueError when there is no such metric or the cutoff is missing or superfluous.
    """
    base, _, cutoff = name.partition("@")
    known = _metrics_named([base])[0]
    if known in NO_CUTOFF:
        if cutoff:
            raise ValueError(f"{known} is a metric of the whole ranking and takes no @{cutoff}")
        return known, None
    if not re.fullmatch(r"\s*[1-9]\d{0,8}\s*", cutoff):
        raise ValueError(f"expected a cutoff, as in {known}@10, found {name!r}")
    return known, int(cutoff)


def shown_name(key: str) -> str:
    """recall@10 -> Recall@10"""
    base, at, cutoff = key.partition("@")
    return METRICS.get(base, base) + at + cutoff


def smaller_is_better(metric: str) -> bool:
    """Whether less of a metric is better; its cutoff doesn't matter."""
    return metric.partition("@")[0].lower() in SMALLER_IS_BETTER
