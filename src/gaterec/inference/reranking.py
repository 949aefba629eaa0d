"""Lists whose items are unlike each other: Maximal Marginal Relevance (Carbonell and Goldstein, SIGIR 1998).

    next = argmax over what is left of   (1 - diversity) relevance_i - diversity max over chosen j of cosine(i, j)

Relevance is the score, scaled so that the best candidate has 1 and the worst 0. The first item is always the best one.
"""

import torch
from torch import Tensor

CANDIDATES = 100
"""Lists are chosen from so many of the best items, or from five times as many as are asked for, where that is more."""


def candidates(k: int) -> int:
    """How many of the best items a list of k is chosen from."""
    return max(CANDIDATES, 5 * k)


def diverse(scores: Tensor, vectors: Tensor, k: int, diversity: float) -> Tensor:
    """(min(k, M),) int64: which candidates come, in this order; of equally good ones the earlier.

    Args:
        scores: (M,) of the candidates, the best first, finite.
        vectors: (M, D) of the candidates.
        diversity: 0 (the candidates as they are) to 1 (unlike each other, whatever their scores but the first one's).
    """
    count = min(k, len(scores))
    if diversity == 0 or count == 0:
        return torch.arange(count)
    unit = torch.nn.functional.normalize(vectors, dim=1)
    span = scores[0] - scores[-1]
    relevance = (1 - diversity) * ((scores - scores[-1]) / span if span > 0 else torch.ones_like(scores))
    nearest = torch.full_like(scores, -torch.inf)  # the cosine with the most alike of those chosen
    chosen = torch.zeros(count, dtype=torch.int64)
    for place in range(1, count):
        before = chosen[place - 1]
        relevance[before] = -torch.inf
        nearest = torch.maximum(nearest, unit @ unit[before])
        chosen[place] = (relevance - diversity * nearest).argmax()
    return chosen
