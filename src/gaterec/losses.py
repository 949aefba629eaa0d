"""Losses: pure functions of queries, targets and the item table. A loss never sees a model.

All take
    queries: (N, D)
    targets: (N, K) int64, the items that should score high for each query; 0 is none (at least one per query)
    weight: (V, D) and bias: (V,) or None, the item table; row 0 is padding
and return the mean over all targets, a scalar.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from gaterec.kernels.softmax import mean_cross_entropy


def cross_entropy(queries: Tensor, targets: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """-log softmax over the whole catalogue (padding left out), at each target.

    Range: 0 to infinity; log(V - 1) when all scores are equal.
    """
    return mean_cross_entropy(queries, targets, weight, bias)


def bpr(queries: Tensor, targets: Tensor, negatives: Tensor, weight: Tensor, bias: Tensor | None, sparse: bool = False) -> Tensor:
    """-log sigmoid(score of the target - score of a negative), the mean over all pairs (Rendle et al., UAI 2009).

    Args:
        negatives: (N, K, S) int64, S items for each target that should score lower.
        sparse: whether the gradient of weight holds the rows of these items alone.

    Range: 0 to infinity; log 2 when all scores are equal.
    """
    ids = torch.cat([targets[:, :, None], negatives], dim=2)  # (N, K, 1 + S)
    scores = item_scores(queries, ids.flatten(1), weight, bias, sparse).view_as(ids)
    losses = -F.logsigmoid(scores[:, :, :1] - scores[:, :, 1:]).mean(2)  # (N, K)
    if targets.shape[1] == 1:
        return losses.mean()
    real = targets > 0
    return (losses * real).sum() / real.sum()


def item_scores(queries: Tensor, ids: Tensor, weight: Tensor, bias: Tensor | None, sparse: bool = False) -> Tensor:
    """(N, D), (N, M) -> (N, M): the score of M items for each query."""
    scores = (F.embedding(ids, weight, sparse=sparse) @ queries[:, :, None]).squeeze(2)
    return scores if bias is None else scores + F.embedding(ids, bias[:, None]).squeeze(2)
