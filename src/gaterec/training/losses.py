"""Losses: pure functions of queries, targets and the item table. A loss never sees a model.

All take
    queries: (N, D)
    targets: (N, K) int64, the items that should score high for each query; 0 is none (at least one per query)
    weight: (V, D) and bias: (V,) or None, the item table; row 0 is padding
and return the mean over all targets, a scalar. Those that look at a few items alone take
    negatives: items that should score lower, (N, K, S) for each target its own, or (S,) shared by all
    sparse: whether the gradients of weight and bias hold the rows of these items alone

To add a loss, decorate a function with `loss`, here or in a file of your own that is imported before the run; see there.

docs/losses.md tells which to take when, and what each costs.
"""

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal, TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor

from gaterec.config.loss_names import add_loss_name
from gaterec.kernels.gathered_scores import gathered_scores, table_rows
from gaterec.kernels.shared_negatives import NOTHING, shared_bpr_max, shared_log_sum, shared_softplus, shared_top1_max
from gaterec.kernels.tiled_softmax import WIDE, mean_cross_entropy

Function = TypeVar("Function", bound=Callable[..., Tensor])


@dataclass(frozen=True)
class RegisteredLoss:
    """A loss and what it is called with.

    Attributes:
        negatives: drawn for each target (own), once a step for all targets (shared), or not at all (none).
        parameters: the names of the function's parameters.
        settings: parameter -> the setting that is passed for it.
    """

    function: Callable[..., Tensor]
    negatives: Literal["none", "own", "shared"]
    parameters: frozenset[str]
    settings: Mapping[str, str]


LOSSES: dict[str, RegisteredLoss] = {}
"""loss_type -> the loss."""


def loss(name: str, *, own_negatives: bool = False, shared_negatives: int | None = None, **settings: str) -> Callable[[Function], Function]:
    """Register a function as the loss that `loss_type: NAME` chooses.

        @loss("hinge", shared_negatives=64)
        def hinge(queries, targets, negatives, weight, bias):
            right = (queries[:, None] * weight[targets]).sum(2)  # (N, K)
            wrong = queries @ weight[negatives].T  # (N, S)
            real = targets > 0
            return ((1 - right[:, :, None] + wrong[:, None]).relu().mean(2) * real).sum() / real.sum()

        gaterec.run(config_dict={"loss_type": "hinge"})

    The function gets those of queries, targets, negatives, log_expected, weight, bias and sparse that are among its parameters (see the head of
    this file; log_expected: see sampled_softmax). Without negatives it is a loss over the whole catalog. One of gaterec's own is also listed in
    gaterec.config.loss_names, and a test in tests/training/test_losses.py compares it with a loop in plain Python.

    Args:
        own_negatives: negatives (N, K, S) are drawn for each target; S is sample_num, 1 by default.
        shared_negatives: negatives (S,) are drawn once a step for all targets; S is sample_num, this by default.
        settings: parameter="setting", for the parameters of which the value is a setting.

    Raises:
        ValueError: another loss has that name, or both kinds of negatives are asked for.
    """
    if own_negatives and shared_negatives is not None:
        raise ValueError(f"loss {name!r}: expected own_negatives or shared_negatives, found both")

    def register(function: Function) -> Function:
        before = LOSSES.get(name)
        if before is not None and _full_name(before.function) != _full_name(function):
            raise ValueError(f"loss {name!r}: is registered already, by {_full_name(before.function)}; choose another name")
        add_loss_name(name, own_negatives, shared_negatives)
        kind: Literal["none", "own", "shared"] = "own" if own_negatives else "none" if shared_negatives is None else "shared"
        LOSSES[name] = RegisteredLoss(function, kind, frozenset(inspect.signature(function).parameters), settings)
        return function

    return register


def _full_name(function: Callable[..., Tensor]) -> str:
    return f"{function.__module__}.{function.__qualname__}"


@loss("CE")
def cross_entropy(queries: Tensor, targets: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """-log softmax over the whole catalogue (padding left out), at each target.

    Range: 0 to infinity; log(V - 1) when all scores are equal.
    """
    return mean_cross_entropy(queries, targets, weight, bias)


@loss("BPR", own_negatives=True)
def bpr(queries: Tensor, targets: Tensor, negatives: Tensor, weight: Tensor, bias: Tensor | None, sparse: bool = False) -> Tensor:
    """-log sigmoid(score of the target - score of a negative), the mean over all pairs (Rendle et al., UAI 2009).

    Args:
        negatives: (N, K, S) int64, S items for each target that should score lower.

    Range: 0 to infinity; log 2 when all scores are equal.
    """
    ids = torch.cat([targets[:, :, None], negatives], dim=2)  # (N, K, 1 + S)
    scores = gathered_scores(queries, ids.flatten(1), weight, bias, sparse).view_as(ids)
    losses = -F.logsigmoid(scores[:, :, :1] - scores[:, :, 1:])  # (N, K, S)
    if targets.shape[1] == 1:
        return losses.mean()
    real = targets > 0
    return (losses.mean(2) * real).sum() / real.sum()


@loss("SSM", shared_negatives=1024)
def sampled_softmax(
    queries: Tensor,
    targets: Tensor,
    negatives: Tensor,
    log_expected: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    sparse: bool = False,
) -> Tensor:
    """Cross-entropy whose sum over the catalogue is estimated from drawn items (Bengio and Senecal, IEEE TNN 2008; Yi et al., RecSys 2019).

        -log e^s(target) / (sum of e^s over the query's targets + sum of e^(s - log expected) over the negatives that are none of them)

    A negative stands for all the items that were not drawn, so each is divided by how often it was to be expected among the draws (the log-Q
    correction). The query's own targets are summed as they are, each once, and left out of the draws: they are always there, so nothing is
    to be corrected. What is inside the logarithm is then an unbiased estimate of the whole sum, and with every item drawn just once it is that sum.

    Args:
        negatives: (S,) int64, drawn once for all targets, with replacement.
        log_expected: (S,) log of how often each was to be expected among the S draws: log(S q).

    Range: 0 to infinity; about log(V - 1) when all scores are equal.
    """
    right, share = _right(queries, targets, weight, bias, sparse)
    ordered, order = targets.sort(1)
    again = F.pad(ordered[:, 1:] == ordered[:, :-1], (1, 0)) | (ordered == 0)  # an item that is a target twice is one item of the sum
    of_targets = right.gather(1, order).masked_fill(again, NOTHING).logsumexp(1)  # (N,)
    rows, offset = _shared_rows(negatives, weight, bias, sparse)
    log_sum = shared_log_sum(queries, targets, negatives, rows, offset - log_expected.to(rows.dtype), of_targets, share.sum(1))
    return log_sum - (right * share).sum()


@loss("gBCE", shared_negatives=256, calibration="gbce_t")
def gbce(
    queries: Tensor,
    targets: Tensor,
    negatives: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    calibration: float = 0.75,
    sparse: bool = False,
) -> Tensor:
    """Binary cross-entropy that does not overrate what it knows (gSASRec; Petrov and Macdonald, RecSys 2023).

        (-beta log sigmoid(s(target)) - sum of log(1 - sigmoid(s)) over the negatives that are no targets of the query) / (S + 1)

    Few negatives make plain binary cross-entropy overconfident: it sees a share alpha = S / (items - 1) of all that are wrong. With
    beta = alpha (t (1 - 1/alpha) + 1/alpha) = 1 - t (1 - alpha) the target weighs less: t = 0 is plain binary cross-entropy, and t = 1 gives
    scores whose sigmoids are probabilities.

    Args:
        negatives: (S,) int64, drawn once for all targets, uniformly.
        calibration: t, 0 to 1.

    Range: 0 to infinity; (beta + S) / (S + 1) log 2 when all scores are zero and no target is among the negatives.
    """
    count = len(negatives)
    alpha = min(1.0, count / max(len(weight) - 2, 1))  # row 0 is no item, and the target is no wrong one
    beta = 1 - calibration * (1 - alpha)
    right, share = _right(queries, targets, weight, bias, sparse)
    of_wrong = shared_softplus(queries, targets, negatives, *_shared_rows(negatives, weight, bias, sparse), share.sum(1))
    return (of_wrong - beta * (F.logsigmoid(right) * share).sum()) / (count + 1)


@loss("BPRmax", shared_negatives=2048, regularization="bprmax_reg")
def bpr_max(
    queries: Tensor,
    targets: Tensor,
    negatives: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    regularization: float = 1.0,
    sparse: bool = False,
) -> Tensor:
    """BPR against the best scored of many negatives, softly (GRU4Rec+; Hidasi and Karatzoglou, CIKM 2018).

        -log( sum of p sigmoid(s(target) - s) )  +  regularization * sum of p s^2        sums over the negatives that are no targets of the query

    p is the softmax of the negatives' scores, so those count that are near the top; with plain BPR the many that are far below already thin the
    gradient out. The second sum keeps just these scores near zero.

    Args:
        negatives: (S,) int64, drawn once for all targets.
        regularization: weight of the second sum, at least 0.

    Range: 0 to infinity; log 2 when all scores are zero.
    """
    right, share = _right(queries, targets, weight, bias, sparse)
    return shared_bpr_max(queries, targets, negatives, *_shared_rows(negatives, weight, bias, sparse), right, share, regularization)


@loss("TOP1max", shared_negatives=2048)
def top1_max(queries: Tensor, targets: Tensor, negatives: Tensor, weight: Tensor, bias: Tensor | None, sparse: bool = False) -> Tensor:
    """The relative rank of the target among many negatives, those near the top counting most (GRU4Rec+; Hidasi and Karatzoglou, CIKM 2018).

        sum of p ( sigmoid(s - s(target)) + sigmoid(s^2) )        over the negatives that are no targets of the query, p the softmax of their scores

    Args:
        negatives: (S,) int64, drawn once for all targets.

    Range: 0 to 2; 1 when all scores are zero.
    """
    right, share = _right(queries, targets, weight, bias, sparse)
    return shared_top1_max(queries, targets, negatives, *_shared_rows(negatives, weight, bias, sparse), right, share)


def _right(queries: Tensor, targets: Tensor, weight: Tensor, bias: Tensor | None, sparse: bool) -> tuple[Tensor, Tensor]:
    """(N, K) the targets' scores, and (N, K) how much of the mean each target is."""
    right = gathered_scores(queries, targets, weight, bias, sparse)
    real = (targets > 0).to(right.dtype)
    return right, real / real.sum()


def _shared_rows(negatives: Tensor, weight: Tensor, bias: Tensor | None, sparse: bool) -> tuple[Tensor, Tensor]:
    """(S, D) and (S,): the negatives' vectors and biases."""
    rows = table_rows(weight, negatives, sparse)
    return rows, rows.new_zeros(len(rows)) if bias is None else table_rows(bias, negatives, sparse)


def form(loss_type: str, items: int, negatives: int) -> str:
    """How a loss is computed for a catalogue of so many items, and why, in words.

    Args:
        negatives: how many items a target, or a step, is compared with, for the losses that draw some.
    """
    match loss_type:
        case "CE" if items > WIDE:
            return f"CE over all {items:,} items in two sweeps, since all scores of a tile of queries would leave the cache (more than {WIDE:,} items)"
        case "CE":
            return f"CE over all {items:,} items in one sweep, since all scores of a tile of queries stay in the cache (at most {WIDE:,} items)"
    match LOSSES[loss_type].negatives:
        case "none":
            return f"{loss_type} over all {items:,} items"
        case "own":
            return f"{loss_type} against {negatives:,} of {items:,} items for each target"
    return f"{loss_type} against {negatives:,} of {items:,} items, the same for a whole step"
