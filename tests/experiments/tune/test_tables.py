"""The trials of a search as a frame, as rows of text, and as RecBole's hyper.result."""

from pathlib import Path
from typing import Any

import polars as pl
import pytest

from gaterec.experiments.tune.tables import chosen_text, frame, hyper_result, setting_text, text_rows
from gaterec.io.files import write_parquet
from tests.support.pages import EVIL
from tests.support.searches import search, trial


def chosen(name: str, *values: Any) -> pl.Series:
    """The column of a setting that had these values in trials 0, 1, ..."""
    trials = [trial(number, 0.1, chosen={name: value}) for number, value in enumerate(values)]
    return frame(search(*trials, names=[name]))[name]


def test_a_row_per_trial() -> None:
    table = frame(search(trial(0, 0.25, worker="w1"), trial(1, state="failed", reason="diverged", cost=2.5)))
    assert table.columns == [
        *("number", "state", "score", "cost", "best_epoch", "epochs", "seconds", "reason", "worker"),
        *("learning_rate", "pooling_type", "valid_mrr@10", "valid_recall@10"),
    ]
    assert table.row(0) == (0, "done", 0.25, None, 2, 3, 12.5, "", "w1", 0.1, "average", 0.25, 0.5)
    assert table.row(1) == (1, "failed", None, 2.5, 0, 0, 12.5, "diverged", "", 0.01, "max", None, None)


@pytest.mark.parametrize(
    ("values", "kind", "shown"),
    [
        ((1, 2), pl.Int64, [1, 2]),
        ((1, 0.5), pl.Float64, [1.0, 0.5]),
        ((True, False), pl.Boolean, [True, False]),
        (("a", '"b"'), pl.String, ["a", '"b"']),
        (("a", None), pl.String, ['"a"', "null"]),
        ((True, 1), pl.String, ["true", "1"]),
        (([0.1, 0], {"by": "LS"}), pl.String, ["[0.1, 0]", '{"by": "LS"}']),
        ((2**63, 1), pl.String, [str(2**63), "1"]),
        ((2**62, 1), pl.Int64, [2**62, 1]),
        ((2**62 + 1, 0.5), pl.String, [str(2**62 + 1), "0.5"]),
    ],
)
def test_values_keep_their_type_where_they_share_one(values: tuple[Any, ...], kind: pl.DataType, shown: list[Any]) -> None:
    column = chosen("x", *values)
    assert column.dtype == kind
    assert column.to_list() == shown


def test_a_setting_that_only_some_trials_have_is_null_in_the_others() -> None:
    found = search(trial(0, 0.1, chosen={"a": 1}), trial(1, 0.1, chosen={"b": None}), names=["a", "b", "c"])
    assert frame(found).select("a", "b", "c").rows() == [(1, None, None), (None, "null", None)]


def test_a_setting_may_be_called_as_a_column_is() -> None:
    names = ["epochs", "setting_epochs", "state", "valid_mrr@10"]
    table = frame(search(trial(0, 0.1, chosen={name: place for place, name in enumerate(names)}), names=names))
    assert table.columns[9:] == [
        *("setting_epochs", "setting_setting_epochs", "setting_state", "setting_valid_mrr@10"),
        *("valid_mrr@10", "valid_recall@10"),
    ]
    assert table.row(0)[9:] == (0, 1, 2, 3, 0.1, 0.2)


def test_any_text_can_be_written(tmp_path: Path) -> None:
    found = search(trial(0, 0.1, chosen={EVIL: EVIL}, reason=EVIL, worker=EVIL), names=[EVIL])
    write_parquet(tmp_path / "trials.parquet", frame(found))
    table = pl.read_parquet(tmp_path / "trials.parquet")
    assert table["reason"].to_list() == table["worker"].to_list() == table[table.columns[9]].to_list() == [EVIL.replace("\ud800", "?")]


def test_no_trial_is_an_empty_frame() -> None:
    assert frame(search()).shape == (0, 11)


def test_rows_of_text_hold_the_best() -> None:
    found = search(trial(0, 0.1), trial(1, 0.3, seconds=600), trial(2, 0.2), trial(3, 0.9, "pruned"))
    head, rows = text_rows(found, top=2)
    assert head == ["", "learning_rate", "pooling_type", "MRR@10", "epoch", "time"]
    assert rows == [["1. trial 1", "0.01", "max", "0.3000", "2", "10 min"], ["2. trial 2", "0.001", "average", "0.2000", "2", "12 s"]]
    assert text_rows(search())[1] == []


def test_with_two_objectives_the_front_is_marked() -> None:
    found = search(trial(0, 0.3, cost=5.0), trial(1, 0.2, cost=7.0), trial(2, 0.1, chosen={}), trial(3, 0.05, cost=1.0), cost="seconds")
    head, rows = text_rows(found)
    assert head[0] == "* on the Pareto front"
    assert head[4] == "seconds"
    assert [row[0] for row in rows] == ["1. trial 0 *", "2. trial 1", "3. trial 2", "4. trial 3 *"]
    assert [row[4] for row in rows] == ["5.0000", "7.0000", "–", "1.0000"]
    assert rows[2][1:3] == ["–", "–"]


def test_settings_are_short() -> None:
    assert chosen_text({"a": 0.1 + 0.2, "b": [1, None], "c": "x\n y", "d": True}) == "a=0.3, b=[1, null], c=x y, d=true"
    assert setting_text(float("nan")) == "NaN"
    assert len(setting_text("x" * 1000)) == 40


def test_hyper_result_is_the_file_of_recbole() -> None:
    trials = [
        trial(0, 0.1, chosen={"learning_rate": 0.01, "embedding_size": 64}),
        trial(1, 0.5, "pruned"),
        trial(2, 0.25, chosen={"learning_rate": 0.001, "mlp_sizes": [64, None]}),
    ]
    before = """\
learning_rate:0.01, embedding_size:64
Valid result:
mrr@10 : 0.1    recall@10 : 0.2
Test result:
not computed: settings are chosen on validation alone

learning_rate:0.001, mlp_sizes:[64, None]
Valid result:
mrr@10 : 0.25    recall@10 : 0.5
Test result:
"""
    assert hyper_result(search(*trials), {"mrr@10": 0.2, "recall@10": 0.4}) == before + "mrr@10 : 0.2    recall@10 : 0.4\n\n"
    assert hyper_result(search(*trials), None) == before + "not computed: settings are chosen on validation alone\n\n"
    assert hyper_result(search(trials[1]), None) == ""
