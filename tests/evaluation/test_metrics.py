"""Metrics against examples worked by hand, slow plain definitions, the level of chance, and scikit-learn."""

import itertools
import math
from collections import Counter
from collections.abc import Callable, Sequence
from random import Random
from typing import get_args

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import label_ranking_average_precision_score, ndcg_score, roc_auc_score  # type: ignore[import-untyped]
from torch import Tensor

from gaterec.config.metric_names import NO_CUTOFF, Metric
from gaterec.evaluation import metrics
from gaterec.evaluation.metrics import AT_K, MISSED, OF_LISTS, OF_WHOLE_RANKING, measure, per_case, tail

NAN = float("nan")


def flatten(cases: Sequence[Sequence[int]], candidates: Sequence[int] | int = 100) -> tuple[Tensor, Tensor, Tensor]:
    """The ranks of each case's relevant items -> ranks, case, candidates."""
    ranks = torch.tensor([rank for case in cases for rank in case], dtype=torch.int64)
    case = torch.repeat_interleave(torch.arange(len(cases)), torch.tensor([len(case) for case in cases], dtype=torch.int64))
    sizes = [candidates] * len(cases) if isinstance(candidates, int) else candidates
    return ranks, case, torch.tensor(sizes, dtype=torch.int64)


def values(name: str, k: int | None, cases: Sequence[Sequence[int]], candidates: Sequence[int] | int = 100) -> list[float]:
    result = per_case(name, k, *flatten(cases, candidates))
    assert result.dtype == torch.float64
    return [float(value) for value in result]


def log2(x: float) -> float:
    return math.log(x) / math.log(2)


# Worked by hand

SINGLE = [[1], [3], [11], [MISSED]]
SEVERAL = [[3, 1], [2, 9, 40], [MISSED, 4]]


@pytest.mark.parametrize(
    ("name", "single", "several"),
    [
        ("Recall", [1, 1, 0, 0], [1, 2 / 3, 1 / 2]),
        ("Hit", [1, 1, 0, 0], [1, 1, 1]),
        ("Precision", [0.1, 0.1, 0, 0], [0.2, 0.2, 0.1]),
        ("MRR", [1, 1 / 3, 0, 0], [1, 1 / 2, 1 / 4]),
        (
            "NDCG",
            [1, 1 / 2, 0, 0],
            [(1 + 1 / 2) / (1 + 1 / log2(3)), (1 / log2(3) + 1 / log2(10)) / (1 + 1 / log2(3) + 1 / 2), (1 / log2(5)) / (1 + 1 / log2(3))],
        ),
        ("MAP", [1, 1 / 3, 0, 0], [(1 + 2 / 3) / 2, (1 / 2 + 2 / 9) / 3, (1 / 4) / 2]),
    ],
)
def test_first_ten_by_hand(name: str, single: list[float], several: list[float]) -> None:
    assert values(name, 10, SINGLE) == pytest.approx(single, abs=1e-15)
    assert values(name, 10, SEVERAL) == pytest.approx(several, abs=1e-15)


@pytest.mark.parametrize(("name", "expected"), [("Recall", 1 / 3), ("NDCG", 1), ("MAP", 1), ("Precision", 1), ("Hit", 1), ("MRR", 1)])
def test_more_relevant_items_than_places(name: str, expected: float) -> None:
    """What is possible is min(relevant, k): one place filled with one of three relevant items is a perfect NDCG@1 and MAP@1."""
    assert values(name, 1, [[1, 2, 3]]) == pytest.approx([expected])


@pytest.mark.parametrize("name", AT_K)
def test_cutoff_beyond_the_ranking(name: str) -> None:
    """A cutoff of more items than there are candidates never reaches a missed item."""
    found = {"Recall": 1 / 2, "Precision": 1e-6, "Hit": 1, "MRR": 1, "NDCG": 1 / (1 + 1 / log2(3)), "MAP": 1 / 2}[name]
    assert values(name, 1_000_000, [[1, MISSED]], 5) == pytest.approx([found])


def test_auc_by_hand() -> None:
    cases = [[1], [5], [2, 4], [2, MISSED], [MISSED], [1, 2]]
    candidates = [5, 5, 5, 5, 5, 2]
    # [2, 4] of 5: 3 irrelevant; before rank 2 one, before rank 4 two -> (2 + 1) / 6 right pairs
    # [2, missed] of 5: 4 irrelevant; three behind rank 2, none behind the missed one -> 3 / 8
    expected = [1, 0, 1 / 2, 3 / 8, 0, NAN]
    assert values("GAUC", None, cases, candidates) == pytest.approx(expected, nan_ok=True)
    weighted = (1 * 1 + 1 * 0 + 2 / 2 + 2 * 3 / 8 + 1 * 0) / 7  # the last case has nothing irrelevant and is left out
    assert measure(["GAUC"], [10], *flatten(cases, candidates)) == pytest.approx({"gauc": weighted})


TOP = torch.tensor([[1, 2, 3], [1, 3, 0], [1, 2, 4]])
COUNTS = torch.tensor([99, 8, 5, 1, 1, 0])


@pytest.mark.parametrize(
    ("name", "at_2", "at_3"),
    [
        ("ItemCoverage", 3 / 5, 4 / 5),
        ("AveragePopularity", ((8 + 5) / 2 + (8 + 1) / 2 + (8 + 5) / 2) / 3, ((8 + 5 + 1) / 3 + (8 + 1) / 2 + (8 + 5 + 1) / 3) / 3),
        # in how many lists, ascending: at 2 [0 0 1 2 3], at 3 [0 1 2 2 3]; weights -4 -2 0 2 4
        ("GiniIndex", (2 * 2 + 4 * 3) / (5 * 6), (-2 * 1 + 2 * 2 + 4 * 3) / (5 * 8)),
        (
            "ShannonEntropy",
            -(3 / 6 * math.log(3 / 6) + 2 / 6 * math.log(2 / 6) + 1 / 6 * math.log(1 / 6)),
            -(3 / 8 * math.log(3 / 8) + 2 * 2 / 8 * math.log(2 / 8) + 1 / 8 * math.log(1 / 8)),
        ),
        # the tail is half of the four chosen items: 3 and 4
        ("TailPercentage", (0 + 1 / 2 + 0) / 3, (1 / 3 + 1 / 2 + 1 / 3) / 3),
    ],
)
def test_lists_by_hand(name: str, at_2: float, at_3: float) -> None:
    figures = measure([name], [2, 3], *flatten([[1], [2], [3]]), TOP, COUNTS, tail_ratio=0.5)
    assert figures == pytest.approx({f"{name.lower()}@2": at_2, f"{name.lower()}@3": at_3})


@pytest.mark.parametrize(
    ("ratio", "items"),
    [(0.01, [3]), (0.5, [3, 4]), (0.75, [2, 3, 4]), (1, [1, 2, 3, 4]), (1.5, [3, 4]), (5, [2, 3, 4]), (8, [1, 2, 3, 4])],
)
def test_tail(ratio: float, items: list[int]) -> None:
    assert tail(COUNTS, ratio).nonzero().flatten().tolist() == items


def test_tail_of_nothing_chosen_is_empty() -> None:
    assert not tail(torch.tensor([3, 0, 0]), 0.5).any()


def test_evenly_spread_lists() -> None:
    figures = measure(list(OF_LISTS), [1], *flatten([[1]] * 4), torch.tensor([[1], [2], [3], [4]]), torch.ones(5))
    assert figures["itemcoverage@1"] == 1
    assert figures["giniindex@1"] == pytest.approx(0)
    assert figures["shannonentropy@1"] == pytest.approx(math.log(4))


def test_an_empty_list_is_left_out_of_the_mean() -> None:
    figures = measure(["AveragePopularity"], [2], *flatten([[1], [MISSED]]), torch.tensor([[1, 2], [0, 0]]), torch.tensor([0, 3, 5]))
    assert figures == {"averagepopularity@2": 4.0}


# The entry


def test_names_are_those_of_the_settings() -> None:
    assert sorted(metrics.known_names()) == sorted(get_args(Metric))
    assert set(OF_WHOLE_RANKING) == NO_CUTOFF


def test_keys_are_recboles() -> None:
    figures = measure(["NDCG", "GAUC", "Recall"], [5, 10], *flatten(SINGLE))
    assert list(figures) == ["ndcg@5", "ndcg@10", "gauc", "recall@5", "recall@10"]
    assert all(type(value) is float for value in figures.values())


def test_the_figure_is_the_mean_over_cases() -> None:
    for name in AT_K:
        assert measure([name], [3], *flatten(SEVERAL)) == pytest.approx({f"{name.lower()}@3": np.mean(values(name, 3, SEVERAL))})


def test_no_case_gives_nan() -> None:
    figures = measure(metrics.known_names(), [1, 10], *flatten([]), torch.zeros(0, 10, dtype=torch.int64), COUNTS)
    assert len(figures) == 23
    assert all(math.isnan(value) for value in figures.values())


def test_errors() -> None:
    with pytest.raises(ValueError, match="unknown metric 'Recal'"):
        measure(["Recal"], [10], *flatten(SINGLE))
    with pytest.raises(ValueError, match="pass top and counts"):
        measure(["GiniIndex"], [10], *flatten(SINGLE))
    with pytest.raises(ValueError, match="lists of 3 items can't be judged at cutoff 4"):
        measure(["GiniIndex"], [4], *flatten([[1]] * 3), TOP, COUNTS)
    with pytest.raises(ValueError, match="with a cutoff"):
        per_case("Recall", None, *flatten(SINGLE))
    with pytest.raises(ValueError, match="found 'GiniIndex'"):
        per_case("GiniIndex", 3, *flatten(SINGLE))


# Slow plain definitions: walk down one ranked list of True (relevant) and False


def plain(name: str, ranked: list[bool], relevant: int, k: int) -> float:
    first = ranked[:k]
    if name == "Recall":
        return sum(first) / relevant
    if name == "Precision":
        return sum(first) / k
    if name == "Hit":
        return float(any(first))
    if name == "MRR":
        return 1 / (first.index(True) + 1) if any(first) else 0.0
    if name == "NDCG":
        gain = sum(1 / math.log2(place + 2) for place, right in enumerate(first) if right)
        return gain / sum(1 / math.log2(place + 2) for place in range(min(relevant, k)))
    assert name == "MAP"
    return sum(sum(first[: place + 1]) / (place + 1) for place, right in enumerate(first) if right) / min(relevant, k)


def plain_auc(ranked: list[bool], relevant: int) -> float:
    whole = ranked + [True] * (relevant - sum(ranked))  # what was missed stands behind all
    pairs = [i < j for i, right in enumerate(whole) if right for j, other in enumerate(whole) if not other]
    return sum(pairs) / len(pairs) if pairs else NAN


RANKED = st.lists(
    st.tuples(st.lists(st.booleans(), max_size=12), st.integers(0, 2)).filter(lambda case: sum(case[0]) + case[1] > 0),
    min_size=1,
    max_size=6,
)


@given(cases=RANKED, k=st.integers(1, 15), order=st.randoms(use_true_random=False))
def test_equals_the_plain_definitions(cases: list[tuple[list[bool], int]], k: int, order: Random) -> None:
    given_ranks = [[place + 1 for place, right in enumerate(ranked) if right] + [MISSED] * missed for ranked, missed in cases]
    for ranks in given_ranks:
        order.shuffle(ranks)  # a case's ranks may come in any order
    sizes = [len(ranked) for ranked, _ in cases]
    for name in AT_K:
        expected = [plain(name, ranked, sum(ranked) + missed, k) for ranked, missed in cases]
        assert values(name, k, given_ranks, sizes) == pytest.approx(expected, abs=1e-12), name
    expected = [plain_auc(ranked, sum(ranked) + missed) for ranked, missed in cases]
    assert values("GAUC", None, given_ranks, sizes) == pytest.approx(expected, abs=1e-12, nan_ok=True)


def plain_lists(name: str, lists: list[list[int]], counts: list[int], ratio: float) -> float:
    """RecBole's printed formulas, over lists of distinct items that hold no padding."""
    times = Counter(item for one in lists for item in one)
    total, catalogue = sum(times.values()), range(1, len(counts))
    chosen = sorted((counts[item], item) for item in catalogue if counts[item])
    rare = {item for count, item in chosen if count <= ratio} if ratio > 1 else {i for _, i in chosen[: max(int(len(chosen) * ratio), 1)]}
    of_list: dict[str, Callable[[list[int]], float]] = {
        "AveragePopularity": lambda one: sum(counts[item] for item in one) / len(one),
        "TailPercentage": lambda one: sum(item in rare for item in one) / len(one),
    }
    if name in of_list:
        filled = [of_list[name](one) for one in lists if one]
        return sum(filled) / len(filled) if filled else NAN
    if name == "ItemCoverage":
        return len(times) / len(catalogue)
    if not total:
        return NAN
    if name == "ShannonEntropy":
        return -sum(n / total * math.log(n / total) for n in times.values())
    ascending = sorted(times[item] for item in catalogue)
    n = len(catalogue)
    return sum((2 * i - n - 1) * x for i, x in enumerate(ascending, start=1)) / (n * total)


@given(
    lists=st.lists(st.lists(st.integers(1, 8), unique=True, max_size=8), min_size=1, max_size=6),
    counts=st.lists(st.integers(0, 4), min_size=8, max_size=8),
    k=st.integers(1, 10),
    ratio=st.sampled_from([0.1, 0.3, 0.5, 1, 2, 3]),
)
def test_lists_equal_the_plain_definitions(lists: list[list[int]], counts: list[int], k: int, ratio: float) -> None:
    top = torch.tensor([one + [0] * (8 - len(one)) for one in lists])
    figures = measure(list(OF_LISTS), [k], *flatten([[1]] * len(lists)), top, torch.tensor([0, *counts]), tail_ratio=ratio)
    for name in OF_LISTS:
        expected = plain_lists(name, [one[:k] for one in lists], [0, *counts], ratio)
        assert figures[f"{name.lower()}@{k}"] == pytest.approx(expected, abs=1e-12, nan_ok=True), name


# The level of chance: all rankings, each as likely as the other


def test_chance_with_one_relevant_item() -> None:
    n, k = 50, 10
    figures = measure([*AT_K, "GAUC"], [k], *flatten([[rank] for rank in range(1, n + 1)], n))
    reciprocal = sum(1 / rank for rank in range(1, k + 1)) / n
    assert figures == pytest.approx(
        {
            "recall@10": k / n,
            "hit@10": k / n,
            "precision@10": 1 / n,
            "mrr@10": reciprocal,
            "map@10": reciprocal,
            "ndcg@10": sum(1 / log2(rank + 1) for rank in range(1, k + 1)) / n,
            "gauc": 1 / 2,
        }
    )


def test_chance_with_three_relevant_items() -> None:
    n, r, k = 12, 3, 5
    figures = measure([*AT_K, "GAUC"], [k], *flatten(list(itertools.combinations(range(1, n + 1), r)), n))
    discount = [1 / log2(place + 1) for place in range(1, k + 1)]
    assert figures["recall@5"] == pytest.approx(k / n)
    assert figures["precision@5"] == pytest.approx(r / n)
    assert figures["hit@5"] == pytest.approx(1 - math.comb(n - k, r) / math.comb(n, r))
    assert figures["ndcg@5"] == pytest.approx(r / n * sum(discount) / sum(discount[:r]))
    assert figures["gauc"] == pytest.approx(1 / 2)


# scikit-learn


@pytest.fixture
def scored() -> tuple[np.ndarray, np.ndarray, list[list[int]]]:
    """Relevance (40, 25), scores without ties (40, 25), and the ranks of the relevant items by those scores."""
    random = np.random.default_rng(7)
    relevance = random.random((40, 25)) < 0.2
    relevance[:, 0] = True
    scores = random.permuted(np.tile(np.arange(25.0), (40, 1)), axis=1)
    ranks = [[int((row > row[item]).sum()) + 1 for item in np.flatnonzero(right)] for right, row in zip(relevance, scores, strict=True)]
    return relevance, scores, ranks


@pytest.mark.parametrize("k", [1, 3, 10, 25, 40])
def test_ndcg_is_scikit_learns(scored: tuple[np.ndarray, np.ndarray, list[list[int]]], k: int) -> None:
    relevance, scores, ranks = scored
    assert np.mean(values("NDCG", k, ranks, 25)) == pytest.approx(ndcg_score(relevance, scores, k=k))


def test_map_is_scikit_learns(scored: tuple[np.ndarray, np.ndarray, list[list[int]]]) -> None:
    relevance, scores, ranks = scored
    assert np.mean(values("MAP", 25, ranks, 25)) == pytest.approx(label_ranking_average_precision_score(relevance, scores))


def test_auc_is_scikit_learns(scored: tuple[np.ndarray, np.ndarray, list[list[int]]]) -> None:
    relevance, scores, ranks = scored
    expected = [roc_auc_score(right, row) for right, row in zip(relevance, scores, strict=True)]
    assert values("GAUC", None, ranks, 25) == pytest.approx(expected)
