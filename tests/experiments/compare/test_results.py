"""What cells found: read from their folders, and put together over seeds."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch

import gaterec.io.html
from gaterec.data.split import EvalQueries
from gaterec.errors import RunError
from gaterec.evaluation.evaluate import EvaluationResult
from gaterec.experiments.compare import results as outcomes
from gaterec.experiments.compare.results import WAITING, Summary, read_outcome
from gaterec.experiments.compare.run_process import MEASURED, RunSpec
from gaterec.experiments.run import run
from gaterec.experiments.setup import prepare
from tests.support.commands import write_log
from tests.support.findings import findings, outcome
from tests.support.histories import settings


def test_figures_are_means_over_the_seeds_that_are_done() -> None:
    found = findings([outcome("A", 1, 0.25), outcome("A", 2, 0.5), outcome("A", 3, status="failed: diverged")])
    (summary,) = found.summaries
    assert summary.figures("test")["ndcg@10"] == pytest.approx((0.375, 0.25 / math.sqrt(2)))
    assert summary.figures("valid")["recall@10"][0] == 0.375
    assert summary.people["ndcg@10"] == pytest.approx(np.linspace(0, 0.75, 50))
    assert [row.metrics["ndcg@10"] for row in summary.slices("history length")] == [0.25, 0.5]
    assert found.status == ["A, seed 3: failed: diverged"]


def test_costs() -> None:
    found = findings([outcome("A", 1, seconds=(1.0, 2.0)), outcome("A", 5, seconds=(3.0, 4.0))])
    (summary,) = found.summaries
    assert summary.seconds == pytest.approx((5.0, math.sqrt(8)))
    assert summary.seconds_to_best[0] == 2.0
    assert summary.seconds_per_1000[0] == 0.125
    assert summary.parameters == 1234
    assert summary.peak_memory == 2**20 * 105


def test_what_is_not_done_has_no_figures() -> None:
    found = findings([outcome("A", status=WAITING)])
    (summary,) = found.summaries
    assert summary.figures("test") == summary.people == {}
    assert summary.parameters is None
    assert summary.peak_memory is None
    assert found.best is None
    assert found.primary_tests == []


def test_the_first_and_the_best_are_tested_against_each_other_one() -> None:
    found = findings([outcome(label, ndcg=ndcg) for label, ndcg in zip("ABCD", (0.1, 0.4, 0.2, 0.3), strict=True)])
    assert found.best == "B"
    assert [test.a + test.b for test in found.tests] == ["AB", "AC", "AD", "BC", "BD", "CD"]
    assert [test.a + test.b for test in found.primary_tests] == ["AB", "AC", "AD", "BC", "BD"]
    smaller = [outcome(label, ndcg=value, valid_metric="giniindex@10") for label, value in (("A", 0.1), ("B", 0.4))]
    assert findings(smaller).best == "A"


def test_a_reference_is_no_entry_and_stands_behind_them() -> None:
    found = findings([outcome("Pop")], references={"Pop": {"ndcg@10": [0.5]}, "best possible": {"ndcg@10": [0.75]}})
    assert [summary.label for summary in found.summaries] == ["Pop", "best possible"]
    assert Summary("x", reference={"ndcg@10": [0.5, 1.0]}).figures("valid") == {}
    assert found.summaries[1].figures("test")["ndcg@10"][0] == 0.75


def test_tested_are_the_metric_that_is_followed_and_two_more_near_ten() -> None:
    assert outcomes.tested_metrics(settings(topk=[5, 12, 50], valid_metric="Hit@5")) == ["hit@5", "ndcg@12", "recall@12"]
    assert outcomes.tested_metrics(settings(valid_metric="ItemCoverage@10", metrics=["ItemCoverage"])) == ["ndcg@10", "recall@10"]


def test_a_folder_is_read_and_a_damaged_one_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gaterec.io.html, "_chart_library", lambda: "")
    log = write_log(tmp_path / "log.csv")
    own = settings(model="Pop", dataset=str(log), checkpoint_dir=str(tmp_path / "saved"), state="ERROR")
    folder = run(config_dict=own.as_dict())["folder"]
    cell, prepared = RunSpec("Pop", own, folder), prepare(own, None)
    with pytest.raises(RunError, match="is damaged"):
        read_outcome(cell, prepared)
    (folder / MEASURED).write_text(json.dumps({"seconds_per_1000": 1.0, "parameters": 0, "peak_memory": None}))
    found = read_outcome(cell, prepared)
    for name, each in found.people.items():  # a case each, so that people's mean is the metric
        assert each.mean() == pytest.approx(found.info["test"][name])
    assert len(found.people) == 3
    assert sum(row.cases for row in found.slices["item popularity"]) == len(prepared.test)
    (folder / "ranks.parquet").write_bytes(b"PAR1")
    with pytest.raises(RunError, match="remove it, and it is trained anew"):
        read_outcome(cell, prepared)


def test_a_users_figure_is_the_mean_over_the_users_queries() -> None:
    users, nothing = np.array([3, 3, 3, 5]), np.zeros(4, dtype=np.int64)
    cases = EvalQueries(users, nothing, nothing, np.arange(4), 0)
    result = EvaluationResult({}, cases, torch.tensor([1, 11, 11, 2]), torch.full((4,), 20))
    assert outcomes._by_person(result, ["hit@10"])["hit@10"].tolist() == pytest.approx([1 / 3, 1.0])
