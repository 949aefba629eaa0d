"""What a search might have found, for tests of what is shown of it; nothing is trained."""

from typing import Any

from gaterec.experiments.tune.trials import Search, Trial


def trial(number: int, score: float | None = None, state: Any = "done", **changes: Any) -> Trial:
    """A trial that learned for three epochs, the second of which was the best."""
    curve = () if score is None else ((1, score / 2), (2, score), (3, score * 0.9))
    content: dict[str, Any] = {
        "chosen": {"learning_rate": 10.0 ** -(1 + number % 3), "pooling_type": ["average", "max"][number % 2]},
        "valid": {} if score is None else {"mrr@10": score, "recall@10": 2 * score},
        "best_epoch": 0 if score is None else 2,
        "curve": curve,
        "seconds": 12.5,
    }
    return Trial(number=number, state=state, score=score, **{**content, **changes})


def search(*trials: Trial, **changes: Any) -> Search:
    """A search over two settings, or over those that are given."""
    content: dict[str, Any] = {
        "title": "HGN on log: 2 settings",
        "metric": "MRR@10",
        "bigger": True,
        "names": ["learning_rate", "pooling_type"],
        "logarithmic": frozenset({"learning_rate"}),
        "total": max(len(trials), 1),
        "how": ["Sampler: TPE."],
        "importance": {"learning_rate": 0.75, "pooling_type": 0.25},
        "settings": {"embedding_size": 4},
        "environment": {"torch": "2"},
        "command": "gaterec tune --model=HGN",
    }
    return Search(trials=list(trials), **{**content, **changes})
