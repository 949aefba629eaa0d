"""How good a ranking is: pure functions of ranks, and of recommended lists.

The definitions are RecBole's (1.2.1, recbole/evaluator/metrics.py), so that figures can be laid side by side; where its code departs
from its own documentation, or counts the padding item as a product, this file follows the documentation and the docstring says so.

A *case* is one query: a person at a moment, with one or more relevant items. Metrics of ranks give one number per case, so that slices
and tests over people can be made of them; the figure that is reported is the mean over cases. A case for which a metric has no value
(nan) is left out of that mean. Everything is computed in float64.

To add a metric: one function and one line in a table at the foot of this file.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

MISSED = 2**62
"""The rank of a relevant item that was not ranked at all, because it was left out as seen, say. Behind every cutoff."""


@dataclass(frozen=True)
class Ranking:
    """Where the relevant items of C cases were ranked.

    Attributes:
        ranks: (N,) int64, from 1; MISSED for an item that was not ranked. Within a case no two items share a rank, save MISSED.
        case: (N,) int64, non-decreasing, the case 0..C-1 that each rank belongs to; every case has at least one.
        candidates: (C,) int64, how many items were ranked, relevant ones among them, missed ones not.
    """

    ranks: Tensor
    case: Tensor
    candidates: Tensor

    def per_case(self, values: Tensor) -> Tensor:
        """(N,) numbers, one per relevant item -> (C,) float64 sums, one per case."""
        sums = torch.zeros(len(self.candidates), dtype=torch.float64, device=values.device)
        return sums.index_add_(0, self.case, values.double())

    def hits(self, k: int) -> Tensor:
        """(C,) how many relevant items stand among the first k."""
        return self.per_case(self.ranks <= k)

    @cached_property
    def relevant(self) -> Tensor:
        """(C,) int64, how many relevant items each case has."""
        return torch.bincount(self.case, minlength=len(self.candidates))

    @cached_property
    def place(self) -> Tensor:
        """(N,) int64, from 1: each item's place among the relevant items of its own case, best first."""
        by_rank = torch.argsort(self.ranks, stable=True)
        order = by_rank[torch.argsort(self.case[by_rank], stable=True)]  # by case, then by rank
        start = self.relevant.cumsum(0) - self.relevant  # (C,)
        place = torch.empty_like(self.case)
        place[order] = torch.arange(1, len(order) + 1, device=order.device) - start[self.case[order]]
        return place


@dataclass(frozen=True)
class Lists:
    """What was recommended in C cases.

    Attributes:
        top: (C, K) int64 item ids, best first; 0 fills up a list that is shorter than K and is never counted as an item.
        counts: (V,) how often each item was chosen in training; counts[0] belongs to the padding and is not looked at.
        tail_ratio: what TailPercentage calls the tail, see `tail`.
    """

    top: Tensor
    counts: Tensor
    tail_ratio: float = 0.1

    def first(self, k: int) -> Tensor:
        """(C, min(k, K)) the first k of each list.

        Raises ValueError when K is less than k although the catalogue holds more items: the lists were cut too early to be judged.
        """
        if self.top.size(1) < min(k, len(self.counts) - 1):
            raise ValueError(f"lists of {self.top.size(1)} items can't be judged at cutoff {k}: pass at least {k}")
        return self.top[:, :k]

    def shown(self, k: int) -> Tensor:
        """(V-1,) int64, in how many lists each item stands among the first k."""
        return torch.bincount(self.first(k).flatten(), minlength=len(self.counts))[1:]

    def mean_in_list(self, of_item: Tensor, k: int) -> Tensor:
        """(V,) a number per item -> (C,) its mean over the first k of each list; nan for an empty list."""
        items = self.first(k)
        real = items > 0
        return (of_item[items] * real).sum(1, dtype=torch.float64) / real.sum(1)


# Metrics of ranks: Ranking, k -> (C,)


def recall(ranking: Ranking, k: int) -> Tensor:
    """The share of a case's relevant items that stand among the first k. (C,) in 0..1."""
    return ranking.hits(k) / ranking.relevant


def precision(ranking: Ranking, k: int) -> Tensor:
    """The share of the first k that is relevant. A list shorter than k still counts as k places. (C,) in 0..1."""
    return ranking.hits(k) / k


def hit(ranking: Ranking, k: int) -> Tensor:
    """1 where at least one relevant item stands among the first k, else 0. (C,)"""
    return (ranking.hits(k) > 0).double()


def mrr(ranking: Ranking, k: int) -> Tensor:
    """1 / rank of the first relevant item, 0 where that is behind k. (C,) in 0..1."""
    best = torch.full_like(ranking.candidates, MISSED, dtype=torch.int64).scatter_reduce_(0, ranking.case, ranking.ranks, "amin")
    return torch.where(best <= k, 1 / best.double(), 0.0)


def ndcg(ranking: Ranking, k: int) -> Tensor:
    """The discounted cumulative gain, sum of 1 / log2(1 + rank) over the relevant items among the first k, divided by the most that
    was possible: all min(relevant, k) of them at the top. (C,) in 0..1. Järvelin and Kekäläinen 2002, with gain 1 and RecBole's cut.
    """
    found = ranking.ranks <= k
    gain = torch.where(found, 1 / torch.log2(ranking.ranks.double() + 1), 0.0)
    filled = ranking.relevant.clamp(max=k)  # (C,) how many of the first k the best ranking fills
    places = torch.arange(1, int(filled.max()) + 1 if len(filled) else 1, dtype=torch.float64, device=gain.device)
    best = (1 / torch.log2(places + 1)).cumsum(0)
    return ranking.per_case(gain) / best[filled - 1]


def average_precision(ranking: Ranking, k: int) -> Tensor:
    """The precision at each relevant item among the first k, summed and divided by min(relevant, k). (C,) in 0..1; its mean is MAP."""
    at_item = torch.where(ranking.ranks <= k, ranking.place / ranking.ranks.double(), 0.0)
    return ranking.per_case(at_item) / ranking.relevant.clamp(max=k)


# Metrics of the whole ranking: Ranking -> (C,)


def auc(ranking: Ranking) -> Tensor:
    """The share of (relevant, irrelevant) pairs that are in the right order. (C,) in 0..1, nan where nothing irrelevant was ranked.

    An item of rank r that is the j-th relevant one has r - j irrelevant items before it. A missed item counts as ranked behind them
    all. (RecBole counts a left-out relevant item in some terms of its formula and not in others, and can leave 0..1 then. It gives
    equal scores the mean of their ranks; here ranks are whole numbers and whoever ranks decides on equals.)
    """
    ranked = ranking.ranks < MISSED
    irrelevant = (ranking.candidates - ranking.per_case(ranked)).double()  # (C,)
    behind = irrelevant[ranking.case] - (ranking.ranks - ranking.place)  # (N,) irrelevant items in the right place, behind this one
    return ranking.per_case(torch.where(ranked, behind, 0.0)) / (ranking.relevant * irrelevant)


# Metrics of the recommended lists: Lists, k -> (), or (C,) to be averaged


def item_coverage(lists: Lists, k: int) -> Tensor:
    """The share of the catalogue's V-1 items that is recommended to anyone. () in 0..1. (RecBole divides by V, padding included.)"""
    return (lists.shown(k) > 0).double().mean()


def average_popularity(lists: Lists, k: int) -> Tensor:
    """How often the items of a list were chosen in training, on average. (C,) from 0; nan for an empty list.

    (RecBole always divides by k, also where fewer items could be recommended.)
    """
    return lists.mean_in_list(lists.counts, k)


def gini_index(lists: Lists, k: int) -> Tensor:
    """How unequally the catalogue's items are recommended: 0 all alike, near 1 one item for all. () nan when nothing is recommended.

    sum_i (2i - n - 1) x_i / (n sum_i x_i), where x_1 <= ... <= x_n are the numbers of lists that the n = V-1 items stand in.
    (RecBole's n is V, padding included.)
    """
    x = lists.shown(k).sort().values.double()
    n = len(x)
    weight = 2 * torch.arange(1, n + 1, dtype=torch.float64, device=x.device) - n - 1
    return (weight * x).sum() / (n * x.sum())


def shannon_entropy(lists: Lists, k: int) -> Tensor:
    """How evenly recommendations are spread: -sum_i p_i log p_i in nats, p_i an item's share of all places. () in 0..log(V-1).

    This is the formula of RecBole's documentation. RecBole's code divides it once more, by the number of distinct recommended items,
    which makes a more diverse recommender look less diverse; to compare, divide by coverage times catalogue size.
    """
    shown = lists.shown(k).double()
    share: Tensor = torch.special.entr(shown / shown.sum())  # (V-1,) -p log p, 0 where p is 0
    return share.sum()


def tail_percentage(lists: Lists, k: int) -> Tensor:
    """The share of a list that is from the tail, the least chosen items. (C,) in 0..1; nan for an empty list.

    (RecBole always divides by k, also where fewer items could be recommended.)
    """
    return lists.mean_in_list(tail(lists.counts, lists.tail_ratio), k)


def tail(counts: Tensor, ratio: float) -> Tensor:
    """Which items are the tail, as RecBole has it. (V,) bool.

    Only items that were chosen in training can belong to it. A ratio above 1: the items chosen at most so often. Up to 1: this share
    of the items, rounded down but at least one item, the least chosen first, equals by item id.

    >>> tail(torch.tensor([0, 3, 1, 0, 2]), 0.5)  # item 3 was never chosen; of three others one (1.5 rounded down) is the tail
    tensor([False, False,  True, False, False])
    """
    chosen = counts > 0
    chosen[0] = False
    if ratio > 1:
        return chosen & (counts <= ratio)
    items = chosen.nonzero().squeeze(1)
    least = items[torch.argsort(counts[items], stable=True)][: max(int(len(items) * ratio), 1)]
    return torch.zeros_like(chosen).index_fill_(0, least, True)


AT_K: dict[str, Callable[[Ranking, int], Tensor]] = {
    "Recall": recall,
    "MRR": mrr,
    "NDCG": ndcg,
    "Hit": hit,
    "Precision": precision,
    "MAP": average_precision,
}
"""Metrics of the first k places: the plain mean over cases is the figure."""

OF_WHOLE_RANKING: dict[str, Callable[[Ranking], Tensor]] = {
    "GAUC": auc,
}
"""Metrics without a cutoff: the mean weighted by the cases' numbers of relevant items is the figure (Zhu et al., KDD 2018, as RecBole)."""

OF_LISTS: dict[str, Callable[[Lists, int], Tensor]] = {
    "ItemCoverage": item_coverage,
    "AveragePopularity": average_popularity,
    "GiniIndex": gini_index,
    "ShannonEntropy": shannon_entropy,
    "TailPercentage": tail_percentage,
}
"""Metrics of what is recommended, whether it is right or not."""


def per_case(name: str, k: int | None, ranks: Tensor, case: Tensor, candidates: Tensor) -> Tensor:
    """One metric of ranks, case by case. (C,) float64; nan where a case has no value.

    Args:
        name: a key of AT_K, which takes a cutoff k >= 1, or of OF_WHOLE_RANKING, which takes None.
        ranks, case, candidates: see Ranking.

    Raises:
        ValueError: there is no such metric of ranks.
    """
    ranking = Ranking(ranks, case, candidates)
    if name in OF_WHOLE_RANKING:
        return OF_WHOLE_RANKING[name](ranking)
    if name not in AT_K or k is None:
        raise ValueError(f"expected one of {', '.join(AT_K)} with a cutoff, or {', '.join(OF_WHOLE_RANKING)}; found {name!r} at {k}")
    return AT_K[name](ranking, k)


def measure(
    names: Sequence[str],
    topk: Sequence[int],
    ranks: Tensor,
    case: Tensor,
    candidates: Tensor,
    top: Tensor | None = None,
    counts: Tensor | None = None,
    tail_ratio: float = 0.1,
) -> dict[str, float]:
    """All metrics of one evaluation at all cutoffs.

    Args:
        names: keys of the tables above.
        topk: cutoffs, from 1, for those that take one.
        The others, the result and the errors are those of measure_all.
    """
    wanted = [(name, k) for name in names for k in ((None,) if name in OF_WHOLE_RANKING else topk)]
    return measure_all(wanted, ranks, case, candidates, top, counts, tail_ratio)


def measure_all(
    wanted: Sequence[tuple[str, int | None]],
    ranks: Tensor,
    case: Tensor,
    candidates: Tensor,
    top: Tensor | None = None,
    counts: Tensor | None = None,
    tail_ratio: float = 0.1,
) -> dict[str, float]:
    """The metrics of one evaluation, under RecBole's names: `{"recall@10": 0.21, "gauc": 0.9}`. Without a single case all are nan.

    Args:
        wanted: keys of the tables above, with cutoffs; None for a metric of the whole ranking.
        ranks, case, candidates: see Ranking.
        top, counts, tail_ratio: see Lists; top and counts are needed for the metrics of OF_LISTS alone.

    Raises:
        ValueError: there is no such metric, or one needs lists and none (or too short ones) are given.
    """
    ranking = Ranking(ranks, case, candidates)
    lists = None if top is None or counts is None else Lists(top, counts, tail_ratio)
    figures: dict[str, float] = {}
    for name, k in wanted:
        if name in OF_WHOLE_RANKING:
            figures[name.lower()] = _mean(OF_WHOLE_RANKING[name](ranking), ranking.relevant)
        else:
            assert k is not None
            figures[f"{name.lower()}@{k}"] = _mean(_at(name, k, ranking, lists))
    return figures


def _at(name: str, k: int, ranking: Ranking, lists: Lists | None) -> Tensor:
    if name in AT_K:
        return AT_K[name](ranking, k)
    if name not in OF_LISTS:
        raise ValueError(f"unknown metric {name!r}, expected one of {', '.join(known_names())}")
    if lists is None:
        raise ValueError(f"{name} is a metric of recommended lists: pass top and counts")
    if not len(lists.top):
        return lists.top.new_empty(0, dtype=torch.float64)  # no case, no figure: not even a coverage of 0
    return OF_LISTS[name](lists, k)


def known_names() -> list[str]:
    """The names of all metrics."""
    tables: tuple[Mapping[str, object], ...] = (AT_K, OF_WHOLE_RANKING, OF_LISTS)
    return [name for table in tables for name in table]


def _mean(values: Tensor, weight: Tensor | None = None) -> float:
    """The mean of the values that are not nan; nan when there is none. A single value () is its own mean."""
    weight = torch.ones_like(values) if weight is None else weight
    valid = ~values.isnan()
    return float((values[valid] * weight[valid]).sum() / weight[valid].sum())
