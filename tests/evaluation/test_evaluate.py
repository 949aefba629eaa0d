"""Ranking: against a plain sort, among equals, against drawn items, and by a model."""

from dataclasses import replace
from typing import Any, get_args

import numpy as np
import pytest
import torch
from torch import Tensor

from gaterec.config.metric_names import Metric
from gaterec.config.settings import Settings
from gaterec.data.interactions import Interactions
from gaterec.data.split import EvalQueries, Split, make_eval_queries, split_interactions
from gaterec.errors import DataError, RunError
from gaterec.evaluation.evaluate import EvaluationResult, evaluate, wanted_metrics
from gaterec.evaluation.metrics import MISSED
from gaterec.evaluation.protocol import describe_protocol
from gaterec.evaluation.scorer import EncoderScorer, Scorer
from gaterec.kernels.ranking import ranks
from gaterec.kernels.topk import top_items
from gaterec.models.hgn import HGN, HGNSettings
from gaterec.models.sasrec import SASRec, SASRecSettings
from tests.support.histories import histories, random_histories, settings, training_counts

CPU = torch.device("cpu")


def fixed_scores(interactions: Interactions, levels: int | None = None, seed: int = 0) -> Scorer:
    """Scores that depend on person, position and item alone; with `levels`, there are only so many different ones."""

    def score(user: np.ndarray, position: np.ndarray) -> Tensor:
        rows = []
        for someone, place in zip(user.tolist(), position.tolist(), strict=True):
            random = torch.Generator().manual_seed(seed + 10_000 * someone + place)
            row = torch.rand(len(interactions.items), generator=random)
            row = row if levels is None else (row * levels).floor()
            row[0] = -torch.inf
            rows.append(row)
        return torch.stack(rows)

    return score


def all_equal(user: np.ndarray, position: np.ndarray, items: int) -> Tensor:
    scores = torch.zeros(len(user), items)
    scores[:, 0] = -torch.inf
    return scores


def world(target: str = "next", **values: Any) -> tuple[Interactions, EvalQueries, Tensor, Settings]:
    """Forty people with histories of up to twenty events among thirty items, and what is asked of the test part."""
    chosen = settings(eval_args={"split": {"RS": [5, 2, 3]}, "target": target} | values.pop("eval_args", {}), **values)
    interactions = random_histories(40, 30, 20, shortest=3)
    split = split_interactions(interactions, chosen.eval_args)
    return (
        interactions,
        make_eval_queries(interactions, split, "test", chosen.eval_args.target),
        training_counts(interactions, split),
        chosen,
    )


def judge(score: Scorer, target: str = "next", **values: Any) -> EvaluationResult:
    interactions, cases, counts, chosen = world(target, **values)
    return evaluate(score, interactions, cases, chosen, part="test", counts=counts)


def history(interactions: Interactions, cases: EvalQueries, case: int) -> list[int]:
    found: list[int] = interactions.item[interactions.offsets[cases.user[case]] : cases.position[case]].tolist()
    return found


# Ranks


@pytest.mark.parametrize("target", ["next", "all"])
@pytest.mark.parametrize("repeatable", [True, False])
def test_ranks_equal_a_plain_sort(target: str, repeatable: bool) -> None:
    interactions, cases, _, _ = world(target)
    score = fixed_scores(interactions)
    found = judge(score, target, repeatable=repeatable)
    missed = 0
    for case in range(len(cases)):
        scores = score(cases.user[case : case + 1], cases.position[case : case + 1])[0].tolist()
        allowed = set(range(1, 31)) - (set() if repeatable else set(history(interactions, cases, case)))
        order = sorted(allowed, key=lambda item: -scores[item])
        right = cases.relevant[cases.case == case].tolist()
        expected = [order.index(item) + 1 if item in allowed else MISSED for item in right]
        assert found.ranks[torch.from_numpy(cases.case == case)].tolist() == expected
        assert int(found.candidates[case]) == len(allowed)
        missed += expected.count(MISSED)
    assert (missed > 0) == (not repeatable)


def test_figures_are_the_means_over_the_ranks() -> None:
    found = judge(fixed_scores(world()[0]), metrics=["Recall", "MRR"], topk=[3, 5], valid_metric="NDCG@7")
    ranks = found.ranks.double()
    assert found.figures["recall@3"] == pytest.approx(float((ranks <= 3).double().mean()))
    assert found.figures["recall@5"] == pytest.approx(float((ranks <= 5).double().mean()))
    assert found.figures["mrr@5"] == pytest.approx(float(torch.where(ranks <= 5, 1 / ranks, 0.0).mean()))
    assert found.figures["ndcg@7"] == pytest.approx(float(torch.where(ranks <= 7, 1 / torch.log2(ranks + 1), 0.0).mean()))
    assert set(found.figures) == {"recall@3", "recall@5", "mrr@3", "mrr@5", "ndcg@7"}


def test_wanted_metrics_are_the_settings_own_and_the_one_that_is_followed() -> None:
    chosen = settings(metrics=["Recall", "GAUC"], topk=[5, 10], valid_metric="recall@10")
    assert wanted_metrics(chosen) == [("Recall", 5), ("Recall", 10), ("GAUC", None)]
    assert wanted_metrics(settings(metrics=["GAUC"], valid_metric="Hit@3")) == [("GAUC", None), ("Hit", 3)]


@pytest.mark.parametrize("repeatable", [True, False])
@pytest.mark.parametrize("mode", ["full", "uni7", "pop7"])
@pytest.mark.parametrize("target", ["next", "all"])
@pytest.mark.parametrize("levels", [None, 3])
def test_nothing_depends_on_the_evaluation_batch_size(levels: int | None, target: str, mode: str, repeatable: bool) -> None:
    score = fixed_scores(world()[0], levels)
    rest = {"repeatable": repeatable, "eval_args": {"mode": mode}, "metrics": list(get_args(Metric))}
    whole, pieces = judge(score, target, **rest), judge(score, target, eval_batch_size=7, **rest)
    assert torch.equal(whole.ranks, pieces.ranks)
    assert torch.equal(whole.candidates, pieces.candidates)
    assert whole.figures == pytest.approx(pieces.figures, rel=1e-12, nan_ok=True)


def test_all_metrics_are_finite() -> None:
    figures = judge(fixed_scores(world()[0]), metrics=list(get_args(Metric)), topk=[1, 10]).figures
    assert len(figures) == 1 + 2 * (len(get_args(Metric)) - 1)
    assert all(np.isfinite(value) for value in figures.values())


def test_no_case_no_figure() -> None:
    interactions, _, counts, chosen = world(metrics=["Recall", "ItemCoverage", "GAUC"])
    none = make_eval_queries(interactions, Split(interactions.offsets[1:], interactions.offsets[1:]), "test", "next")
    found = evaluate(fixed_scores(interactions), interactions, none, chosen, part="test", counts=counts)
    assert set(found.figures) == {"recall@10", "itemcoverage@10", "gauc", "mrr@10"}
    assert all(np.isnan(value) for value in found.figures.values())


@pytest.mark.parametrize("where", ["a right item", "another item"])
def test_scores_that_are_not_numbers_are_an_error(where: str) -> None:
    interactions, cases, _, _ = world()
    good = fixed_scores(interactions)

    def score(user: np.ndarray, position: np.ndarray) -> Tensor:
        scores = good(user, position)
        right = int(cases.relevant[3])
        scores[3, right if where == "a right item" else right % 30 + 1] = torch.nan
        return scores

    with pytest.raises(RunError, match="not numbers"):
        judge(score)


# Among equals


@pytest.mark.parametrize("target", ["next", "all"])
@pytest.mark.parametrize("seed", [0, 2020, 2**63 - 1])
def test_a_model_that_scores_everything_equal_gets_the_figures_of_chance(target: str, seed: int) -> None:
    items, people = 200, 4000
    random = np.random.default_rng(seed)
    interactions = histories(*random.choice(np.arange(1, items + 1) // 3 + 1, (people, 6)).tolist(), catalogue=items)
    chosen = settings(seed=seed, eval_args={"split": {"RS": [3, 0, 3]}, "target": target})
    cases = make_eval_queries(interactions, split_interactions(interactions, chosen.eval_args), "test", chosen.eval_args.target)
    counts = torch.ones(items + 1)
    found = evaluate(lambda user, position: all_equal(user, position, items + 1), interactions, cases, chosen, part="test", counts=counts)
    assert found.figures["recall@10"] == pytest.approx(10 / items, abs=4 * (0.05 * 0.95 / people) ** 0.5)
    assert float(found.ranks.double().mean()) == pytest.approx((items + 1) / 2, abs=3.0)
    for rank in (1, items):
        assert 0 < int((found.ranks == rank).sum()) < 4 * len(found.ranks) / items


def test_chance_also_where_one_item_is_always_right() -> None:
    """The lot is drawn anew for every query, so the same item is lucky in some and unlucky in others."""
    items, people = 50, 1000
    interactions = histories(*[[1, 2, 3]] * people, catalogue=items)
    chosen = settings()
    cases = make_eval_queries(interactions, split_interactions(interactions, chosen.eval_args), "test", "next")
    counts = torch.ones(items + 1)
    found = evaluate(lambda user, position: all_equal(user, position, items + 1), interactions, cases, chosen, part="test", counts=counts)
    assert found.figures["recall@10"] == pytest.approx(10 / items, abs=0.04)
    assert sorted(set(found.ranks.tolist())) == list(range(1, items + 1))


@pytest.mark.parametrize("levels", [1, 3])
def test_no_two_right_items_of_a_case_share_a_rank(levels: int) -> None:
    found = judge(fixed_scores(world()[0], levels), "all")
    pairs = list(zip(found.cases.case.tolist(), found.ranks.tolist(), strict=True))
    assert len(set(pairs)) == len(pairs)
    assert 1 <= int(found.ranks.min()) <= int(found.ranks.max()) <= 30


@pytest.mark.parametrize("levels", [1, 2, 5, None])
@pytest.mark.parametrize("k", [1, 4, 29, 40])
def test_top_items_stand_at_the_ranks_that_ranks_says(levels: int | None, k: int) -> None:
    random = torch.Generator().manual_seed(0)
    scores = torch.rand(20, 31, generator=random)
    scores = scores if levels is None else (scores * levels).floor()
    scores[:, 0] = -torch.inf
    scores[::3, 5:28] = -torch.inf  # seven items left
    scores[4] = -torch.inf
    lot, draw = torch.randperm(31, generator=random), torch.randint(0, 31, (20,), generator=random)
    row, right = torch.arange(20).repeat_interleave(30), torch.arange(1, 31).repeat(20)
    places = ranks(scores, row, right, lot, draw).view(20, 30)
    top = top_items(scores, k, lot, draw)
    assert top.shape == (20, min(k, 30))
    for r in range(20):
        by_rank = {int(rank): item + 1 for item, rank in enumerate(places[r]) if rank}
        assert sorted(by_rank) == list(range(1, len(by_rank) + 1))
        assert top[r].tolist() == [by_rank.get(place, 0) for place in range(1, min(k, 30) + 1)]


def test_the_same_seed_breaks_ties_alike_and_another_one_otherwise() -> None:
    score = fixed_scores(world()[0], 2)
    first, again, other = (judge(score, seed=seed).ranks for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


# Against drawn items


def ranked(mode: str, target: str = "next", **values: Any) -> tuple[list[set[int]], EvaluationResult]:
    """The items that each query ranked, told by lists that are long enough for all, and the judgement."""
    interactions, cases, counts, chosen = world(target, eval_args={"mode": mode}, metrics=["ItemCoverage"], topk=[30], **values)
    plain = fixed_scores(interactions)
    tables: dict[tuple[int, int], Tensor] = {}

    def score(user: np.ndarray, position: np.ndarray) -> Tensor:
        scores = plain(user, position)
        tables.update(zip(zip(user.tolist(), position.tolist(), strict=True), scores, strict=True))  # evaluate shuts out items in place
        return scores

    found = evaluate(score, interactions, cases, chosen, part="test", counts=counts)
    asked = zip(cases.user.tolist(), cases.position.tolist(), strict=True)
    return [set((tables[query] > -torch.inf).nonzero().squeeze(1).tolist()) for query in asked], found


@pytest.mark.parametrize("target", ["next", "all"])
@pytest.mark.parametrize("mode", ["uni5", "pop5"])
def test_drawn_items_are_as_many_as_asked_and_never_right(mode: str, target: str) -> None:
    kept, found = ranked(mode, target)
    for case, items in enumerate(kept):
        right = set(found.cases.relevant[found.cases.case == case].tolist())
        assert right <= items
        assert 0 not in items
        assert 1 <= len(items - right) <= 5  # one item may be drawn twice
        assert int(found.candidates[case]) == len(items)
    assert max(len(items) for items in kept) >= 6
    assert found.ranks.max() <= found.candidates.max()


@pytest.mark.parametrize("mode", ["uni5", "pop5"])
def test_drawn_items_are_fixed_by_the_seed_and_not_by_the_batches(mode: str) -> None:
    first = ranked(mode, seed=1)[0]
    assert first == ranked(mode, seed=1, eval_batch_size=3)[0]
    assert first != ranked(mode, seed=2)[0]


def test_popular_items_are_drawn_by_their_counts() -> None:
    interactions = histories(*[[1, 2, 3]] * 300, [4, 4, 4], [5] * 90, catalogue=9)
    chosen = settings(eval_args={"mode": "pop1"}, metrics=["AveragePopularity"], topk=[1])
    split = split_interactions(interactions, chosen.eval_args)
    cases, counts = make_eval_queries(interactions, split, "test", "next"), training_counts(interactions, split)
    shown: list[int] = []

    def score(user: np.ndarray, position: np.ndarray) -> Tensor:
        tables.append(all_equal(user, position, 10))
        return tables[-1]

    tables: list[Tensor] = []
    evaluate(score, interactions, cases, chosen, part="test", counts=counts)
    for table, right in zip(tables[0], cases.relevant, strict=True):
        shown += [int(item) for item in (table > -torch.inf).nonzero() if item != right]
    share = np.bincount(shown, minlength=10) / len(shown)
    assert counts.tolist() == [0, 300, 300, 0, 2, 88, 0, 0, 0, 0]
    assert share[[0, 3, 6, 7, 8, 9]].sum() == 0  # never chosen in training
    assert share[1] == pytest.approx(300 / 690, abs=0.1)
    assert share[5] == pytest.approx(88 / 690, abs=0.08)


def test_drawn_items_that_were_seen_are_left_out_too() -> None:
    kept, found = ranked("uni20", repeatable=False)
    interactions = world()[0]
    for case, items in enumerate(kept):
        assert not items & set(history(interactions, found.cases, case))
    assert (found.ranks == MISSED).any()


def test_nothing_to_draw_beside_the_right_items_is_an_error() -> None:
    interactions = histories([1, 2, 1, 2], [1, 2, 2, 1], [1, 1, 3, 1])
    chosen = settings(eval_args={"split": {"RS": [2, 0, 2]}, "target": "all", "mode": "pop5"})
    split = split_interactions(interactions, chosen.eval_args)
    cases, counts = make_eval_queries(interactions, split, "test", "all"), training_counts(interactions, split)
    with pytest.raises(DataError, match="all 2 items that can be drawn are"):
        evaluate(fixed_scores(interactions), interactions, cases, chosen, part="test", counts=counts)


# By a model


@pytest.mark.parametrize("target", ["next", "all"])
def test_EncoderScorer_equals_each_query_scored_alone_from_its_own_window(target: str) -> None:
    interactions, cases, _, _ = world(target)
    torch.manual_seed(0)
    model = HGN(len(interactions.users), len(interactions.items), 4, HGNSettings.model_validate({"embedding_size": 8})).double().eval()
    scores = EncoderScorer(model, interactions, 4, CPU)(cases.user, cases.position)
    for case in range(len(cases)):
        window = torch.tensor([history(interactions, cases, case)[-4:]])
        alone = model.scores(model(torch.tensor([int(cases.user[case])]), window)[:, -1])[0]
        torch.testing.assert_close(scores[case], alone.detach(), rtol=0, atol=1e-12)


@pytest.mark.parametrize("target", ["next", "all"])
def test_where_queries_see_the_whole_row_each_has_a_row_of_its_own(target: str) -> None:
    interactions, cases, _, _ = world(target)
    torch.manual_seed(0)
    small = SASRecSettings.model_validate({"hidden_size": 8, "inner_size": 8, "initializer_range": 0.5})
    model = SASRec(len(interactions.users), len(interactions.items), 4, small).double().eval()
    scores = EncoderScorer(model, interactions, 4, CPU)(cases.user, cases.position)
    for case in range(len(cases)):
        window = torch.tensor([history(interactions, cases, case)[-4:]])
        alone = model.scores(model(torch.tensor([int(cases.user[case])]), window)[:, -1])[0]
        torch.testing.assert_close(scores[case], alone.detach(), rtol=0, atol=1e-12)


def test_figures_of_a_model_do_not_depend_on_the_evaluation_batch_size() -> None:
    interactions, _, _, _ = world()
    torch.manual_seed(0)
    model = HGN(len(interactions.users), len(interactions.items), 4, HGNSettings.model_validate({"embedding_size": 8})).eval()
    score = EncoderScorer(model, interactions, 4, CPU)
    assert judge(score).figures == pytest.approx(judge(score, eval_batch_size=3).figures, rel=1e-12)


# What is said of it


def sentences(target: str = "next", **values: Any) -> list[str]:
    interactions, cases, _, chosen = world(target, **values)
    return describe_protocol(chosen, interactions, cases)


def test_the_protocol_in_sentences() -> None:
    _, cases, _, _ = world()
    people = len(set(cases.user.tolist()))
    assert sentences() == [
        "Split: 50/20/30 by time, of each user's events.",
        f"Asked: the next item before each held-out event; {len(cases):,} queries of {people} people, {len(cases.relevant):,} right answers.",
        "Ranked: full: the whole catalogue of 30 items; items seen before are kept.",
    ]


@pytest.mark.parametrize(
    ("values", "line"),
    [
        ({"eval_args": {"split": {"LS": "test_only"}}}, "Split: leave-one-out (test_only), each user's events by time."),
        ({"eval_args": {"split": {"RS": [8, 1, 1]}, "order": "RO"}}, "Split: 80/10/10 in random order, of each user's events."),
        ({"eval_args": {"group_by": None}}, "Split: 50/20/30 by time, of all events together."),
        ({"eval_args": {"split": {"TS": [7, 1, 2]}}}, "Split: 70/10/20 by time, test is what came after one moment for all."),
        ({"repeatable": False}, "Ranked: full: the whole catalogue of 30 items; items seen before are left out."),
        ({"eval_args": {"mode": "uni100"}}, "Ranked: 100 items drawn with replacement (uni100); items seen before are kept."),
    ],
)
def test_the_protocol_says_what_was_chosen(values: dict[str, Any], line: str) -> None:
    assert line in sentences(**values)


@pytest.mark.parametrize(
    ("values", "line"),
    [
        ({}, "Split: 50/20/30 in the order of the file (it has no times), of each user's events."),
        (
            {"eval_args": {"split": {"LS": "test_only"}}},
            "Split: leave-one-out (test_only), each user's events in the order of the file (it has no times).",
        ),
        ({"eval_args": {"group_by": None}}, "Split: 50/20/30 in the order of the file (it has no times), of all events together."),
        ({"eval_args": {"order": "RO"}}, "Split: 50/20/30 in random order, of each user's events."),
    ],
)
def test_the_protocol_says_that_a_log_without_times_is_not_in_order_of_time(values: dict[str, Any], line: str) -> None:
    interactions, cases, _, chosen = world(**values)
    assert describe_protocol(chosen, replace(interactions, timed=False), cases)[0] == line


def test_the_protocol_says_what_validation_ranked_where_that_is_not_what_test_did() -> None:
    for mode, line in (
        ({"valid": "uni10"}, "Ranked in validation, for early stopping: 10 items drawn with replacement (uni10)."),
        ({"test": "pop10"}, "Ranked in validation, for early stopping: the whole catalogue of 30 items."),
    ):
        assert line in sentences(eval_args={"mode": mode})
    assert not any("validation" in line for line in sentences(eval_args={"mode": "uni10"}))


def test_the_protocol_counts_queries_people_and_answers_of_the_papers_way() -> None:
    _, cases, _, _ = world("all")
    asked = sentences("all")[1]
    assert asked.startswith("Asked: all held-out items, once at the end of the history; ")
    assert f"{len(cases)} queries of {len(cases)} people, {len(cases.relevant)} right answers" in asked
    assert len(cases.relevant) > len(cases)


@pytest.mark.parametrize(("mode", "warned"), [("full", False), ("uni5", True), ("pop5", True)])
def test_drawn_items_are_warned_of(mode: str, warned: bool) -> None:
    assert any(line.startswith("Warning: metrics on drawn items mislead") for line in sentences(eval_args={"mode": mode})) == warned


def test_what_can_not_be_asked_for_is_said() -> None:
    interactions = histories([1, 2], [1, 2])
    split = Split(np.array([0, 0, 4]), np.array([0, 0, 4]))
    cases = make_eval_queries(interactions, split, "test", "next")
    assert "Left out: 1 held-out events with no earlier event of the same person." in describe_protocol(settings(), interactions, cases)


# Every setting reaches its use


def test_the_tail_is_the_share_that_the_settings_say() -> None:
    score = fixed_scores(world()[0])
    rest: dict[str, Any] = {"metrics": ["TailPercentage"], "topk": [5]}
    shares = [judge(score, **rest, tail_ratio=ratio).figures["tailpercentage@5"] for ratio in (0.1, 0.4, 1.0)]
    assert 0 < shares[0] < shares[1] < shares[2] == 1.0
    assert judge(score, **rest).figures["tailpercentage@5"] == shares[0]


@pytest.mark.parametrize("where", ["user.weight", "item.weight", "output.weight", "bias"])
@pytest.mark.parametrize("value", [torch.nan, torch.inf, 3e38])
def test_a_model_that_has_diverged_is_an_error(where: str, value: float) -> None:
    """The largest finite numbers too: the sum of their products is none."""
    interactions = world()[0]
    torch.manual_seed(0)
    model = HGN(len(interactions.users), len(interactions.items), 4, HGNSettings.model_validate({"embedding_size": 8})).eval()
    score = EncoderScorer(model, interactions, 4, CPU)
    judge(score)
    with torch.no_grad():
        weight = dict(model.named_parameters())[where]
        weight[1:] = value
        if where == "bias":
            model.user.weight[1:] = 3e38
            model.output.weight[1:] = -3e38
    with pytest.raises(RunError, match="the model's scores are not numbers"):
        judge(score)


@pytest.mark.parametrize("mode", ["uni1", "pop1"])
def test_seen_items_are_not_drawn_where_they_are_left_out(mode: str) -> None:
    """So each query has as many items to rank as were asked for, beside a right one that it may rank."""
    found = judge(fixed_scores(world()[0]), repeatable=False, eval_args={"mode": mode})
    missed = found.ranks == MISSED
    assert 0 < int(missed.sum()) < len(missed)
    assert set(found.candidates[~missed].tolist()) == {2}
    assert set(found.candidates[missed].tolist()) == {1}


def test_validation_and_test_draw_different_items() -> None:
    interactions, cases, counts, chosen = world(eval_args={"mode": "uni5"})
    score = fixed_scores(interactions)
    by_part = [evaluate(score, interactions, cases, chosen, part=part, counts=counts).ranks for part in ("valid", "test")]
    assert not torch.equal(by_part[0], by_part[1])


def test_each_part_is_ranked_in_its_own_mode() -> None:
    interactions, cases, counts, chosen = world(eval_args={"mode": {"valid": "uni5", "test": "full"}})
    score = fixed_scores(interactions)
    found = [evaluate(score, interactions, cases, chosen, part=part, counts=counts).candidates for part in ("valid", "test")]
    assert int(found[0].max()) <= 6
    assert (found[1] == 30).all()


@pytest.mark.parametrize("size", [1, 7])
def test_no_more_queries_are_scored_at_a_time_than_eval_batch_size(size: int) -> None:
    plain, asked = fixed_scores(world()[0]), []

    def score(user: np.ndarray, position: np.ndarray) -> Tensor:
        asked.append(len(user))
        return plain(user, position)

    found = judge(score, eval_batch_size=size)
    assert max(asked) == size
    assert sum(asked) == len(found.cases)
