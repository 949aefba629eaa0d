"""The parts that a judgement is cut into."""

import numpy as np
import pytest
import torch

from gaterec.data.split import Split, make_eval_queries
from gaterec.evaluation import metrics
from gaterec.evaluation.evaluate import EvaluationResult
from gaterec.evaluation.slices import SliceRow, _quantile_parts, slice_rows
from tests.support.histories import histories, random_histories


def judged() -> tuple[EvaluationResult, dict[str, list[SliceRow]]]:
    """Person 1 asks after 2 and 3 events, person 2 after 1, person 3 after 4: four answers at ranks 1, 4, 2 and 30."""
    interactions = histories([1, 2, 1, 5], [3, 4], [1, 2, 3, 4, 2])
    split = Split(np.array([0, 2, 5, 10]), np.array([0, 2, 5, 10]))
    cases = make_eval_queries(interactions, split, "test", "next")
    result = EvaluationResult({}, cases, torch.tensor([1, 4, 2, 30]), torch.full((4,), 5))
    return result, slice_rows(result, interactions, np.array([0, 7, 7, 2, 1, 0]), 3)


def test_slices_by_hand() -> None:
    _, found = judged()
    assert {question: [(row.label, row.cases, row.metrics["recall@3"]) for row in rows] for question, rows in found.items()} == {
        "history length": [("1–2 events", 2, 1.0), ("3 events", 1, 0.0), ("4 events", 1, 0.0)],
        "item popularity": [("0–1 times chosen", 2, 0.5), ("2–7 times chosen", 2, 0.5)],
        "repeated or new items": [("chosen before by the same person", 2, 0.5), ("new to the person", 2, 0.5)],
    }


def test_a_slice_has_recall_and_ndcg_of_its_answers_each_on_its_own() -> None:
    _, found = judged()
    again = found["repeated or new items"][0]  # ranks 1 and 30
    assert again.metrics == pytest.approx({"recall@3": 0.5, "ndcg@3": 0.5})
    new = found["repeated or new items"][1]  # ranks 4 and 2
    assert new.metrics == pytest.approx({"recall@3": 0.5, "ndcg@3": 0.5 / np.log2(3)})


@pytest.mark.parametrize("target", ["next", "all"])
def test_every_answer_is_in_one_part_of_each_question(target: str) -> None:
    interactions = random_histories(80, 30, 40, shortest=5)
    end = interactions.offsets[:-1] + interactions.lengths // 2
    cases = make_eval_queries(interactions, Split(end, end), "test", target)  # type: ignore[arg-type]
    random = np.random.default_rng(0)
    ranks = torch.from_numpy(random.integers(1, 30, len(cases.relevant)))
    counts = np.bincount(interactions.item)
    found = slice_rows(EvaluationResult({}, cases, ranks, torch.full((len(cases),), 30)), interactions, counts, 10)
    for rows in found.values():
        assert sum(row.cases for row in rows) == len(cases.relevant)
        mean = sum(row.metrics["recall@10"] * row.cases for row in rows) / len(cases.relevant)
        assert mean == pytest.approx(float((ranks <= 10).double().mean()))
    repeated = [
        item in interactions.item[interactions.offsets[cases.user[case]] : cases.position[case]]
        for case, item in zip(cases.case, cases.relevant, strict=True)
    ]
    assert found["repeated or new items"][0].cases == sum(repeated)


@pytest.mark.parametrize("values", [[4], [4, 4, 4], [1, 2], [1] * 50 + [2, 3, 9], list(range(100)), [0, 0, 0, 1000]])
def test_parts_are_disjoint_and_leave_nothing_out(values: list[int]) -> None:
    parts = _quantile_parts(np.array(values), "events")
    inside = np.stack([mask for _, mask in parts])
    assert (inside.sum(0) == 1).all()
    assert len({label for label, _ in parts}) == len(parts)


def test_parts_hold_about_equally_many() -> None:
    parts = _quantile_parts(np.random.default_rng(0).permutation(1000), "events")
    assert len(parts) == 5
    assert all(190 <= mask.sum() <= 210 for _, mask in parts)


def test_no_answers_no_slices() -> None:
    interactions = histories([1, 2])
    cases = make_eval_queries(interactions, Split(interactions.offsets[1:], interactions.offsets[1:]), "test", "next")
    none = torch.zeros(0, dtype=torch.int64)
    found = slice_rows(EvaluationResult({}, cases, none, none), interactions, np.zeros(3), 10)
    assert found == {"history length": [], "item popularity": [], "repeated or new items": []}


def test_a_missed_answer_counts_as_not_found() -> None:
    interactions = histories([1, 2, 1])
    cases = make_eval_queries(interactions, Split(np.array([0, 2]), np.array([0, 2])), "test", "next")
    found = slice_rows(EvaluationResult({}, cases, torch.tensor([metrics.MISSED]), torch.tensor([2])), interactions, np.zeros(3), 10)
    (row,) = found["history length"]
    assert row.metrics == {"recall@10": 0.0, "ndcg@10": 0.0}
