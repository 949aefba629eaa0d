"""Which of two models is better, and how sure that is: paired tests on figures of the same people.

    person   HGN    SASRec   difference
    ann      0.50   0.30      0.20            people are drawn again and again, with both of their figures each time (the paired bootstrap,
    bob      0.00   0.10     -0.10      ->    Efron and Tibshirani 1993): how far the mean difference swings is how far it can be trusted
    cid      0.63   0.63      0.00

A figure of a model is a mean over people, so the bootstrap of that mean decides. Wilcoxon's signed-rank test (1945) stands beside it and asks
something else: whether those who gain and those who lose balance, by ranks. Where many pairs and metrics are tested, some would come out by chance;
Holm's correction (1979) keeps the chance of even one false claim in the whole table at alpha. Intervals are not corrected: each one holds for its
own comparison alone. So they say how large a difference is and don't widen when another model joins the table, and a difference whose interval
leaves out 0 may still fail the corrected test; then nothing is claimed.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from gaterec.config.metric_names import METRICS, smaller_is_better

RESAMPLES = 9_999
"""How often people are drawn anew, at least. The smallest p-value is 2 / 10,000, the error of a p-value of 0.05 about 0.003."""
UNITS = 16_384
"""So many people are drawn one by one; more of them in as many random groups, of which the mean swings just as much."""
AT_A_TIME = 1 << 20
"""How many draws are held in memory together."""
EXACT = 50
"""Up to so many differences Wilcoxon's test is exact; of more, the normal approximation serves."""
NOISE = 1e-12
"""Differences smaller than this part of the largest figure come from rounding, and are none."""


@dataclass(frozen=True)
class PairedTest:
    """What the figures of P people say of the difference between two models, taken by itself: nothing here is corrected.

    Attributes:
        people: how many have a figure of both models.
        difference: the mean of a - b; nan without people.
        low, high: the ends of its confidence interval at level 1 - alpha; nan with fewer than two people.
        p_bootstrap: two-sided, for the mean difference.
        p_wilcoxon: two-sided, for the signed ranks of those differences that are not 0; 1 where all are.
    """

    people: int
    difference: float
    low: float
    high: float
    p_bootstrap: float
    p_wilcoxon: float


@dataclass(frozen=True)
class Comparison:
    """Two models on one metric, as one of all comparisons of a table.

    Attributes:
        a, b: the models; differences are a - b.
        metric: its name, "ndcg@10".
        test: the comparison by itself.
        p: test.p_bootstrap after Holm's correction over the table; a claim is made where it is at most alpha.
        p_wilcoxon: test.p_wilcoxon likewise.
        alpha: the chance of even one false claim in the table, at most.
    """

    a: str
    b: str
    metric: str
    test: PairedTest
    p: float
    p_wilcoxon: float
    alpha: float

    @property
    def better(self) -> str | None:
        """The better model; None where they can't be told apart. Where a metric should be small, that is the one with less of it."""
        if not (self.p <= self.alpha and (self.test.low > 0 or self.test.high < 0)):
            return None
        return self.a if (self.test.low > 0) != smaller_is_better(self.metric) else self.b

    @property
    def sentence(self) -> str:
        """What was found, in one sentence: "HGN is better than SASRec on NDCG@10 by 0.0021 [0.0012, 0.0030] (corrected p = 0.0004)"."""
        test, name = self.test, _title(self.metric)
        if test.people == 0:
            return f"{self.a} and {self.b} can't be compared on {name}: nobody has a figure of both"
        ends = [test.difference, test.low, test.high]
        corrected = f"corrected p = {self.p:.2g}"
        if self.better is None:
            return f"{self.a} and {self.b} can't be told apart on {name}: difference {_interval(*ends)} ({corrected})"
        if test.high < 0:
            ends = [-test.difference, -test.high, -test.low]
        note = "smaller is better; " if smaller_is_better(self.metric) else ""
        other = self.b if self.better == self.a else self.a
        return f"{self.better} is better than {other} on {name} by {_interval(*ends)} ({note}{corrected})"


def paired_test(a: np.ndarray, b: np.ndarray, *, alpha: float = 0.05, resamples: int = RESAMPLES, seed: int = 0) -> PairedTest:
    """How two models differ on one metric, from their figures of the same people in the same order.

    The interval is the percentile one: differences of ranking metrics are mostly 0 and go both ways, and there it keeps its level from some tens of
    people on, while BCa, which corrects for skew, falls short of it and gains little elsewhere. The p-value is made of the same draws, twice the
    share of means on the other side of 0, so it is at most alpha exactly where the interval leaves out 0. Few people prove nothing, though
    all their draws may agree: as m people who differ all do so to the same side by chance once in 2^(m - 1) times, no p-value is smaller than that.

    Args:
        a, b: (P,) float, the figures; who has nan in either is left out.
        alpha: 1 minus the level of the interval.
        resamples: how often people are drawn; more than UNITS people in that many random groups, so memory stays bounded.
        seed: of the draws; equal seeds draw the same people.

    Raises:
        ValueError: a and b don't match, or resamples are too few for alpha.
    """
    return _paired_tests([(a, b)], alpha, resamples, seed)[0]


def compare_all(
    figures: Mapping[str, Mapping[str, np.ndarray]], *, alpha: float = 0.05, resamples: int | None = None, seed: int = 0
) -> list[Comparison]:
    """All pairs of models on all metrics; metrics in the order of the first model, pairs in the order of the models.

    Args:
        figures: model -> metric ("ndcg@10") -> (P,) its figure of each person, nan where there is none; the same people everywhere.
        alpha: the chance of even one false claim among all comparisons, and 1 minus the level of each interval by itself.
        resamples: how often people are drawn; None takes RESAMPLES, and more where the table is so large that Holm's correction needs
            smaller p-values than those can give.
        seed: of the draws.

    Raises:
        ValueError: a model lacks a metric of another, or the people don't match.
    """
    metrics = list(next(iter(figures.values()), {}))
    for model, of_model in figures.items():
        if set(of_model) != set(metrics):
            raise ValueError(f"{model}: expected figures of {', '.join(metrics)}, found {', '.join(of_model) or 'none'}")
    asked = [(metric, a, b) for metric in metrics for a, b in combinations(figures, 2)]
    resamples = max(RESAMPLES, math.ceil(4 * len(asked) / alpha)) if resamples is None else resamples
    tests = _paired_tests([(figures[a][metric], figures[b][metric]) for metric, a, b in asked], alpha, resamples, seed)
    p, p_wilcoxon = (holm(np.array(raw)).tolist() for raw in ([t.p_bootstrap for t in tests], [t.p_wilcoxon for t in tests]))
    return [Comparison(a, b, metric, tests[i], p[i], p_wilcoxon[i], alpha) for i, (metric, a, b) in enumerate(asked)]


def holm(p: np.ndarray) -> np.ndarray:
    """(M,) p-values -> (M,) corrected ones: the smallest times M, the next times M - 1, ...; none below one before it, none above 1.

    >>> holm(np.array([0.01, 0.04, 0.03, 0.005]))
    array([0.03, 0.06, 0.06, 0.02])
    """
    order = np.argsort(p, kind="stable")
    corrected = np.empty(len(p))
    corrected[order] = np.minimum(np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1)), 1)
    return corrected


@dataclass(frozen=True)
class _Differences:
    """One comparison, ready to be drawn from: n units, each one person or one random group.

    Attributes:
        who: tells apart different sets of people.
        people: how many they are.
        mean: the mean difference, nan without people.
        differing: how many people's difference is not 0.
        p_wilcoxon: see PairedTest.
        rounding: means up to this size are 0.
        sums, sizes: (n,) the sum of the differences in each unit, and its number of people.
    """

    who: bytes
    people: int
    mean: float
    differing: int
    p_wilcoxon: float
    rounding: float
    sums: np.ndarray
    sizes: np.ndarray


def _paired_tests(pairs: Sequence[tuple[np.ndarray, np.ndarray]], alpha: float, resamples: int, seed: int) -> list[PairedTest]:
    """Comparisons of the same people are drawn together."""
    tail = math.floor(alpha / 2 * (resamples + 1) + 1e-9)  # so many means lie beyond each end of the interval, the end itself among them
    if tail < 1:
        raise ValueError(f"expected at least {math.ceil(2 / alpha) - 1:,} resamples for alpha {alpha:g}, found {resamples:,}")
    found = [_differences(a, b, seed) for a, b in pairs]
    together: dict[bytes, list[int]] = {}
    for place, one in enumerate(found):
        together.setdefault(one.who, []).append(place)
    tests: dict[int, PairedTest] = {}
    for places in together.values():
        sizes = found[places[0]].sizes
        means = _drawn_means(np.stack([found[place].sums for place in places], axis=1), sizes, resamples, seed)
        for place, drawn in zip(places, means, strict=True):
            tests[place] = _test(found[place], drawn, tail)
    return [tests[place] for place in range(len(pairs))]


def _differences(a: np.ndarray, b: np.ndarray, seed: int) -> _Differences:
    if a.shape != b.shape or a.ndim != 1:
        raise ValueError(f"expected two arrays (P,) of the same people, found {a.shape} and {b.shape}")
    known = ~(np.isnan(a) | np.isnan(b))
    a, b = a[known].astype(np.float64), b[known].astype(np.float64)
    people = len(a)
    largest = float(max(np.abs(a).max(initial=0), np.abs(b).max(initial=0)))
    each = a - b
    each[np.abs(each) <= NOISE * largest] = 0
    differ = each[each != 0]
    units = min(people, UNITS)
    begin = np.arange(units) * people // max(units, 1)
    sizes = np.diff(begin, append=people).astype(np.float64)
    shuffled = each if people == units else np.random.default_rng(seed).permutation(each)
    sums = np.add.reduceat(shuffled, begin) if people else shuffled
    mean = float(each.mean()) if people else math.nan
    return _Differences(np.packbits(known).tobytes(), people, mean, len(differ), _wilcoxon(differ, largest), NOISE * largest, sums, sizes)


def _wilcoxon(differ: np.ndarray, largest: float) -> float:
    """The p-value for differences that are not 0; those that differ by rounding alone share a rank."""
    differ = np.round(differ / largest, 12) if len(differ) else differ
    if len(differ) <= EXACT:
        return _exact_wilcoxon(differ)
    from scipy.stats import wilcoxon  # type: ignore[import-untyped, unused-ignore]  # slow to import, and only for the end of a comparison

    return float(wilcoxon(differ).pvalue)


def _exact_wilcoxon(differ: np.ndarray) -> float:
    """The same without approximation, also where ranks are shared: the chances of all sums of positive ranks when each sign is a fair coin."""
    from scipy.stats import rankdata  # type: ignore[import-untyped, unused-ignore]

    ranks = np.rint(2 * rankdata(np.abs(differ))).astype(np.int64)  # doubled: shared ranks may be halves
    chances = np.ones(1)
    for rank in ranks.tolist():
        chances = (np.pad(chances, (0, rank)) + np.pad(chances, (rank, 0))) / 2
    found = int(ranks[differ > 0].sum())
    return float(min(2 * min(chances[: found + 1].sum(), chances[found:].sum()), 1))


def _drawn_means(sums: np.ndarray, sizes: np.ndarray, resamples: int, seed: int) -> np.ndarray:
    """(n, K) sums of K comparisons and the (n,) sizes of their units -> (K, resamples) means over n units drawn with replacement."""
    random, n = np.random.default_rng(seed), len(sizes)
    means = np.full((sums.shape[1], resamples), np.nan)
    step = max(AT_A_TIME // n, 1) if n else resamples
    for begin in range(0, resamples if n else 0, step):
        rows = min(step, resamples - begin)
        drawn = random.integers(0, n, (rows, n)) + np.arange(rows)[:, None] * n
        times = np.bincount(drawn.ravel(), minlength=rows * n).reshape(rows, n).astype(np.float64)  # how often each unit came
        means[:, begin : begin + rows] = (times @ sums).T / (times @ sizes)
    return means


def _test(of: _Differences, means: np.ndarray, tail: int) -> PairedTest:
    """The percentile interval and its p-value, from means over drawn people."""
    if of.people < 2:
        return PairedTest(of.people, of.mean, math.nan, math.nan, 1.0, of.p_wilcoxon)
    means = np.sort(np.where(np.abs(means) <= of.rounding, 0, means))
    beyond = min(int((means <= 0).sum()), int((means >= 0).sum())) + 1
    p = min(max(2 * beyond / (len(means) + 1), 2.0 ** (1 - of.differing)), 1.0)
    return PairedTest(of.people, of.mean, float(means[tail - 1]), float(means[-tail]), p, of.p_wilcoxon)


def _title(metric: str) -> str:
    """NDCG@10 for ndcg@10."""
    name, at, cutoff = metric.partition("@")
    return METRICS.get(name.lower(), name) + at + cutoff


def _interval(difference: float, low: float, high: float) -> str:
    """0.0021 [0.0012, 0.0030]: at least four decimals, and so many that the interval's width has two digits."""
    if math.isnan(low):
        return f"{difference:z.4f}, from one person alone"
    decimals = max(4, 1 - math.floor(math.log10(high - low))) if high > low else 4
    return f"{difference:z.{decimals}f} [{low:z.{decimals}f}, {high:z.{decimals}f}]"
