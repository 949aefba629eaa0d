"""Paired tests: by hand, by simulation, and what is said of them."""

import math
from itertools import product

import numpy as np
import pytest
from scipy import stats  # type: ignore[import-untyped, unused-ignore]

from gaterec.config.metric_names import smaller_is_better
from gaterec.evaluation import significance
from gaterec.evaluation.significance import Comparison, PairedTest, compare_all, holm, paired_test


def figures(people: int, seed: int = 0, hits: float = 0.1) -> np.ndarray:
    """What NDCG of one held-out event looks like: 0 for most, 1 / log2(1 + rank) for some."""
    random = np.random.default_rng(seed)
    return (random.random(people) < hits) / np.log2(1 + random.integers(1, 11, people))


def compared(test: PairedTest, p: float, metric: str = "ndcg@10") -> Comparison:
    return Comparison("HGN", "SASRec", metric, test, p, p, 0.05)


def test_the_example_of_the_docstring_by_enumeration() -> None:
    """All 27 ways to draw three of three people, against the draws."""
    a, b = np.array([0.5, 0.0, 0.63]), np.array([0.3, 0.1, 0.63])
    found = paired_test(a, b, resamples=99_999)
    means = sorted(sum(drawn) / 3 for drawn in product([0.2, -0.1, 0.0], repeat=3))
    assert found.people == 3
    assert found.difference == pytest.approx(0.1 / 3)
    assert (found.low, found.high) == pytest.approx((means[0], means[-1]))  # each of the two is 1 of 27, more than 2.5 %
    below = sum(mean <= 1e-9 for mean in means) / 27
    assert found.p_bootstrap == pytest.approx(min(1, 2 * below), abs=0.01)


@pytest.mark.parametrize("people", [40, 300])
def test_it_equals_the_plain_bootstrap(people: int) -> None:
    a, b = figures(people, 1), figures(people, 2)
    found = paired_test(a, b, seed=3)
    random, difference = np.random.default_rng(4), a - b
    means = np.array([difference[random.integers(0, people, people)].mean() for _ in range(9_999)])
    spread = difference.std() / math.sqrt(people)
    assert (found.low, found.high) == pytest.approx(tuple(np.quantile(means, [0.025, 0.975])), abs=0.1 * spread)
    assert found.p_bootstrap == pytest.approx(2 * min((means <= 0).mean(), (means >= 0).mean()), abs=0.03)


def test_many_people_are_drawn_in_random_groups_of_the_same_spread(monkeypatch: pytest.MonkeyPatch) -> None:
    a, b = figures(5_000, 1), figures(5_000, 2)
    monkeypatch.setattr(significance, "AT_A_TIME", 20_000)  # several draws at a time, and not all
    one_by_one = paired_test(a, b, resamples=1_999)
    monkeypatch.setattr(significance, "UNITS", 2_048)  # groups of two and of three
    in_groups = paired_test(a, b, resamples=1_999)
    assert in_groups.difference == one_by_one.difference
    assert in_groups.p_wilcoxon == one_by_one.p_wilcoxon
    assert in_groups.high - in_groups.low == pytest.approx(one_by_one.high - one_by_one.low, rel=0.1)
    assert in_groups != one_by_one


@pytest.mark.slow
def test_the_interval_covers_the_truth_as_often_as_it_says() -> None:
    """True difference 0.03: 0.05 of all gain, 0.02 lose. Of 600 intervals at 95 %, 570 are to be expected, give or take three times 5.3."""
    random = np.random.default_rng(0)
    gains = random.choice([1.0, 0.0, -1.0], (600, 300), p=[0.05, 0.93, 0.02])
    found = [paired_test(each, np.zeros(300), resamples=399, seed=number) for number, each in enumerate(gains)]
    covered = sum(test.low <= 0.03 <= test.high for test in found)
    assert 554 <= covered <= 586
    narrower = [paired_test(each, np.zeros(300), resamples=399, alpha=0.2, seed=number) for number, each in enumerate(gains)]
    assert 450 <= sum(test.low <= 0.03 <= test.high for test in narrower) <= 510


def test_without_a_difference_one_of_twenty_tests_errs_and_with_one_nearly_all_see_it() -> None:
    """400 tests at alpha 0.05 err 20 times, give or take three times 4.4."""
    random = np.random.default_rng(1)
    same = random.choice([0.5, 0.0, -0.5], (400, 200), p=[0.1, 0.8, 0.1])
    tests = [paired_test(each, np.zeros(200), resamples=399, seed=number) for number, each in enumerate(same)]
    assert 7 <= sum(test.p_bootstrap <= 0.05 for test in tests) <= 33
    assert 7 <= sum(test.p_wilcoxon <= 0.05 for test in tests) <= 33
    better = random.choice([0.5, 0.0, -0.5], (100, 200), p=[0.2, 0.75, 0.05])
    tests = [paired_test(each, np.zeros(200), resamples=399, seed=number) for number, each in enumerate(better)]
    assert sum(test.p_bootstrap <= 0.05 for test in tests) >= 95
    assert all(test.difference > 0 for test in tests)


@pytest.mark.parametrize("seed", range(20))
def test_p_is_at_most_alpha_exactly_where_the_interval_leaves_out_nothing(seed: int) -> None:
    random = np.random.default_rng(seed)
    a = random.choice([1.0, 0.0, -1.0], 60, p=[0.3, 0.55, 0.15])
    for alpha in (0.01, 0.05, 0.1, 0.3):
        found = paired_test(a, np.zeros(60), alpha=alpha, resamples=999)
        assert (found.p_bootstrap <= alpha) == (found.low > 0 or found.high < 0)


def test_turned_round_it_says_the_opposite() -> None:
    a, b = figures(200, 1, 0.3), figures(200, 2)
    one, other = paired_test(a, b), paired_test(b, a)
    assert one.difference == -other.difference > 0
    assert (one.low, one.high) == pytest.approx((-other.high, -other.low))
    assert (one.p_bootstrap, one.p_wilcoxon) == pytest.approx((other.p_bootstrap, other.p_wilcoxon))


def test_equal_seeds_give_equal_bits_and_others_do_not() -> None:
    a, b = figures(100, 1), figures(100, 2)
    assert paired_test(a, b, seed=5) == paired_test(a, b, seed=5) != paired_test(a, b, seed=6)


def test_wilcoxon_by_hand() -> None:
    """Differences 1, 2, 3, 4, 5 and a 0, which is left out: all five positive have chance 2 / 2^5."""
    found = paired_test(np.array([1.0, 2, 3, 4, 5, 7]), np.array([0.0, 0, 0, 0, 0, 7]))
    assert found.p_wilcoxon == pytest.approx(2 / 32)


@pytest.mark.parametrize("people", [1, 2, 7])
def test_wilcoxon_of_few_people_is_exact_with_shared_ranks_too(people: int) -> None:
    """Against all ways to choose the signs."""
    random = np.random.default_rng(people)
    for values in ([1.0, 2, 3], np.arange(1.0, 100)):
        differences = random.choice(values, people) * random.choice([-1, 1], people)
        ranks = stats.rankdata(np.abs(differences))
        sums = np.array([ranks[np.array(signs)].sum() for signs in product([True, False], repeat=people)])
        found = ranks[differences > 0].sum()
        expected = min(1, 2 * min((sums <= found).mean(), (sums >= found).mean()))
        assert paired_test(differences, np.zeros(people)).p_wilcoxon == pytest.approx(expected)


def test_wilcoxon_is_scipys_exact_one_up_to_50_and_its_usual_one_beyond() -> None:
    differences = np.random.default_rng(0).normal(0.2, 1, 50)
    exact = paired_test(differences, np.zeros(50)).p_wilcoxon
    assert exact == pytest.approx(stats.wilcoxon(differences, method="exact").pvalue)
    assert paired_test(np.append(differences, 9.0), np.zeros(51)).p_wilcoxon == pytest.approx(
        stats.wilcoxon(np.append(differences, 9)).pvalue
    )


def test_wilcoxon_is_scipys_and_rounding_makes_no_difference() -> None:
    a, b = figures(400, 1), figures(400, 2)
    expected = stats.wilcoxon(np.round((a - b)[a != b], 12)).pvalue
    noise = np.random.default_rng(0).normal(0, 1e-16, 400)
    assert paired_test(a, b).p_wilcoxon == pytest.approx(expected, abs=1e-12)
    noisy, plain = paired_test(a + noise, b), paired_test(a, b)
    assert noisy.p_wilcoxon == plain.p_wilcoxon
    assert noisy.p_bootstrap == plain.p_bootstrap
    assert paired_test(np.array([0.1 + 0.2, 0.5]), np.array([0.3, 0.5])).p_wilcoxon == 1


def test_identical_models() -> None:
    a = figures(50)
    assert paired_test(a, a) == PairedTest(50, 0.0, 0.0, 0.0, 1.0, 1.0)


def test_people_without_a_figure_are_left_out() -> None:
    a, b = figures(60, 1, 0.5), figures(60, 2, 0.5)
    with_gaps, other_gaps = a.copy(), b.copy()
    with_gaps[:7], other_gaps[5:10] = np.nan, np.nan
    assert paired_test(with_gaps, other_gaps) == paired_test(a[10:], b[10:])


def test_nobody_and_one_person() -> None:
    nobody = paired_test(np.array([np.nan, 1.0]), np.array([1.0, np.nan]))
    assert nobody.people == 0
    assert all(map(math.isnan, (nobody.difference, nobody.low, nobody.high)))
    assert (nobody.p_bootstrap, nobody.p_wilcoxon) == (1, 1)
    assert paired_test(np.zeros(0), np.zeros(0)).people == 0
    alone = paired_test(np.array([1.0]), np.array([0.5]))
    assert (alone.people, alone.difference, alone.p_bootstrap, alone.p_wilcoxon) == (1, 0.5, 1, 1)
    assert math.isnan(alone.low)


@pytest.mark.parametrize("people", [2, 5, 6])
def test_a_few_people_prove_no_more_than_as_many_coins(people: int) -> None:
    found = paired_test(np.append(np.ones(people), np.zeros(3)), np.zeros(people + 3))
    assert found.p_bootstrap >= 2.0 ** (1 - people)
    assert paired_test(np.ones(people), np.zeros(people)).p_bootstrap == 2.0 ** (1 - people)


@pytest.mark.parametrize(("a", "b"), [(np.zeros(2), np.zeros(3)), (np.zeros((2, 2)), np.zeros((2, 2)))])
def test_arrays_that_do_not_match(a: np.ndarray, b: np.ndarray) -> None:
    with pytest.raises(ValueError, match=r"expected two arrays \(P,\)"):
        paired_test(a, b)


def test_too_few_resamples_for_alpha() -> None:
    paired_test(np.zeros(3), np.zeros(3), alpha=0.01, resamples=199)
    with pytest.raises(ValueError, match=r"at least 199 resamples for alpha 0\.01, found 198"):
        paired_test(np.zeros(3), np.zeros(3), alpha=0.01, resamples=198)


@pytest.mark.parametrize(
    ("p", "corrected"),
    [
        ([], []),
        ([0.04], [0.04]),
        ([0.01, 0.04, 0.03, 0.005], [0.03, 0.06, 0.06, 0.02]),  # 0.005 * 4, 0.01 * 3, 0.03 * 2, and 0.04 * 1 lifted to that
        ([0.02, 0.02, 0.02], [0.06, 0.06, 0.06]),
        ([0.5, 0.9, 0.001], [1.0, 1.0, 0.003]),
    ],
)
def test_holm_by_hand(p: list[float], corrected: list[float]) -> None:
    assert holm(np.array(p)).tolist() == pytest.approx(corrected)


def test_a_table_has_every_pair_on_every_metric_and_corrects_over_all_of_them() -> None:
    table = {name: {"ndcg@10": figures(150, seed), "recall@5": figures(150, seed + 9)} for seed, name in enumerate("ABC")}
    table["B"]["recall@5"][:3] = np.nan
    found = compare_all(table, seed=2)
    expected = [(metric, a, b) for metric in ("ndcg@10", "recall@5") for a, b in (("A", "B"), ("A", "C"), ("B", "C"))]
    assert [(one.metric, one.a, one.b) for one in found] == expected
    for one in found:
        alone = paired_test(table[one.a][one.metric], table[one.b][one.metric], seed=2)
        assert vars(one.test) == pytest.approx(vars(alone))
    assert [one.p for one in found] == holm(np.array([one.test.p_bootstrap for one in found])).tolist()
    assert [one.p_wilcoxon for one in found] == holm(np.array([one.test.p_wilcoxon for one in found])).tolist()
    assert [one.test.people for one in found] == [150, 150, 150, 147, 150, 147]


def test_a_clear_difference_stays_clear_in_a_large_table() -> None:
    """With 9,999 draws the smallest p-value is 0.0002; 276 times that is above 0.05, so such a table is drawn more often."""
    random = np.random.default_rng(0)
    worst, others = np.zeros(40), {f"m{number}": {"hit@1": 1 + random.random(40)} for number in range(23)}
    found = compare_all({"worst": {"hit@1": worst}, **others})
    assert len(found) == 276
    assert [one.better for one in found[:23]] == [one.b for one in found[:23]]


def test_among_many_equal_models_hardly_any_claim_is_made() -> None:
    """Of 40 tables of ten comparisons without a difference, 2 may hold a claim, give or take three times 1.4."""
    random = np.random.default_rng(0)
    tables = [{name: {"hit@1": (random.random(150) < 0.3).astype(float)} for name in "ABCDE"} for _ in range(40)]
    wrong = [any(one.better for one in compare_all(table, resamples=1_999, seed=number)) for number, table in enumerate(tables)]
    assert sum(wrong) <= 6


def test_one_model_has_nothing_to_be_compared_with() -> None:
    assert compare_all({}) == compare_all({"HGN": {"ndcg@10": np.zeros(3)}}) == []


def test_models_must_have_the_same_metrics() -> None:
    with pytest.raises(ValueError, match=r"SASRec: expected figures of ndcg@10, found recall@10"):
        compare_all({"HGN": {"ndcg@10": np.zeros(3)}, "SASRec": {"recall@10": np.zeros(3)}})


def test_the_sentence_of_a_difference() -> None:
    better = PairedTest(900, 0.0021, 0.0012, 0.0030, 0.0002, 0.001)
    assert compared(better, 0.0004).sentence == "HGN is better than SASRec on NDCG@10 by 0.0021 [0.0012, 0.0030] (corrected p = 0.0004)"
    worse = PairedTest(900, -0.0021, -0.0030, -0.0012, 0.0002, 0.001)
    assert compared(worse, 0.0004).sentence == "SASRec is better than HGN on NDCG@10 by 0.0021 [0.0012, 0.0030] (corrected p = 0.0004)"


def test_the_sentence_of_no_difference() -> None:
    unclear = PairedTest(900, 0.0002, -0.0007, 0.0011, 0.6, 0.6)
    expected = "HGN and SASRec can't be told apart on NDCG@10: difference 0.0002 [-0.0007, 0.0011] (corrected p = 1)"
    assert compared(unclear, 1.0).sentence == expected
    assert compared(unclear, 1.0).better is None
    not_after_correction = PairedTest(900, 0.0021, 0.0012, 0.0030, 0.04, 0.04)
    assert compared(not_after_correction, 0.12).better is None
    assert compared(not_after_correction, 0.12).sentence.startswith("HGN and SASRec can't be told apart on NDCG@10: difference 0.0021 [")


def test_where_less_is_better_the_smaller_one_wins() -> None:
    random = np.random.default_rng(0)
    much, little = 5 + random.random(100), 3 + random.random(100)
    names = {"popular": {"averagepopularity@10": much}, "rare": {"averagepopularity@10": little}}
    for order in (["popular", "rare"], ["rare", "popular"]):
        (found,) = compare_all({name: names[name] for name in order})
        assert found.better == "rare"
        assert found.sentence.startswith(f"rare is better than popular on AveragePopularity@10 by {(much - little).mean():.4f} [1.9")
        assert "(smaller is better; corrected p" in found.sentence
    assert [smaller_is_better(name) for name in ("GiniIndex@5", "averagepopularity@10", "NDCG@10", "gauc")] == [True, True, False, False]


def test_the_sentence_of_degenerate_figures() -> None:
    (nobody,) = compare_all({"HGN": {"gauc": np.zeros(0)}, "SASRec": {"gauc": np.zeros(0)}})
    assert nobody.sentence == "HGN and SASRec can't be compared on GAUC: nobody has a figure of both"
    (alone,) = compare_all({"HGN": {"gauc": np.array([1.0])}, "SASRec": {"gauc": np.array([0.5])}})
    assert alone.sentence == "HGN and SASRec can't be told apart on GAUC: difference 0.5000, from one person alone (corrected p = 1)"
    (same,) = compare_all({"HGN": {"gauc": np.ones(5)}, "SASRec": {"gauc": np.ones(5)}})
    assert same.sentence == "HGN and SASRec can't be told apart on GAUC: difference 0.0000 [0.0000, 0.0000] (corrected p = 1)"


def test_a_small_difference_is_told_with_as_many_digits_as_it_needs() -> None:
    tiny = PairedTest(10**6, 0.0000031, 0.0000012, 0.000005, 0.0002, 0.001)
    assert "by 0.0000031 [0.0000012, 0.0000050] " in compared(tiny, 0.0004).sentence


def test_differences_that_are_rounding_count_as_no_difference() -> None:
    """Two of eight users differ, so no p-value is below 1/2, and Wilcoxon's test ranks those two alone."""
    a, b = np.full(8, 0.3), np.full(8, 0.3)
    a[:6] = 0.1 + 0.2  # not 0.3 in binary
    a[6:] = 0.9, 0.8
    found = paired_test(a, b)
    a[:6] = 0.3
    assert found == paired_test(a, b)
    assert found.p_bootstrap >= 0.5
    mixed = np.array([0.1, 0.2, 0.3, -0.25, -0.15])
    noisy = np.append(mixed, np.full(4, 1e-17))
    assert paired_test(noisy, np.zeros(9)).p_wilcoxon == paired_test(mixed, np.zeros(5)).p_wilcoxon


def test_groups_of_users_are_drawn_at_random_and_not_from_neighbors(monkeypatch: pytest.MonkeyPatch) -> None:
    """Users whose figures lie beside those of like users would make groups that differ too much."""
    a = np.sort(figures(3_000, 1, 0.5))
    one_by_one = paired_test(a, np.zeros(3_000), resamples=999)
    monkeypatch.setattr(significance, "UNITS", 100)
    in_groups = paired_test(a, np.zeros(3_000), resamples=999)
    assert in_groups.high - in_groups.low == pytest.approx(one_by_one.high - one_by_one.low, rel=0.3)


def test_means_that_are_rounding_lie_on_both_sides_of_0() -> None:
    """0.3 - 0.1 - 0.2 is not 0 in binary, 3 - 1 - 2 is."""
    binary, whole = (paired_test(np.array(each), np.zeros(3), resamples=1_999) for each in ([0.3, -0.1, -0.2], [3.0, -1.0, -2.0]))
    assert binary.p_bootstrap == whole.p_bootstrap
