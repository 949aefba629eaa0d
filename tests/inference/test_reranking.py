"""Lists whose items are unlike each other, beside the definition."""

import pytest
import torch
from torch import Tensor

from gaterec.inference.reranking import CANDIDATES, candidates, diverse


def plain(scores: Tensor, vectors: Tensor, k: int, diversity: float) -> list[int]:
    """The definition, item by item."""
    span = float(scores[0] - scores[-1])
    relevance = [float(score - scores[-1]) / span for score in scores]

    def alike(i: int, j: int) -> float:
        return float(torch.nn.functional.cosine_similarity(vectors[i], vectors[j], dim=0))

    chosen = [0]
    while len(chosen) < k:
        left = [i for i in range(len(scores)) if i not in chosen]
        chosen.append(max(left, key=lambda i: (1 - diversity) * relevance[i] - diversity * max(alike(i, j) for j in chosen)))
    return chosen


@pytest.mark.parametrize("diversity", [0.05, 0.3, 0.9, 1.0])
def test_it_is_the_definition(diversity: float) -> None:
    random = torch.Generator().manual_seed(0)
    scores = torch.randn(30, generator=random, dtype=torch.float64).sort(descending=True).values
    vectors = torch.randn(30, 5, generator=random, dtype=torch.float64)
    assert diverse(scores, vectors, 12, diversity).tolist() == plain(scores, vectors, 12, diversity)


def test_none_changes_nothing_and_all_takes_the_most_unlike() -> None:
    scores, vectors = torch.tensor([3.0, 2.0, 1.0]), torch.tensor([[1.0, 0.0], [2.0, 0.1], [-1.0, 0.0]])
    assert diverse(scores, vectors, 2, 0.0).tolist() == [0, 1]
    assert diverse(scores, vectors, 2, 1.0).tolist() == [0, 2]
    assert diverse(scores, vectors, 10, 1.0).tolist() == [0, 2, 1]


def test_few_or_equal_candidates() -> None:
    assert diverse(torch.zeros(0), torch.zeros(0, 2), 5, 0.5).tolist() == []
    assert diverse(torch.ones(1), torch.ones(1, 2), 5, 0.5).tolist() == [0]
    assert sorted(diverse(torch.ones(4), torch.eye(4), 4, 0.5).tolist()) == [0, 1, 2, 3]
    assert (candidates(10), candidates(50)) == (CANDIDATES, 250)
