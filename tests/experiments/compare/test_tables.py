"""The table of a comparison in all its forms, from figures that nobody measured."""

from pathlib import Path

import polars as pl
import pytest

from gaterec.errors import RunError
from gaterec.experiments.compare.results import ComparisonResults
from gaterec.experiments.compare.tables import COSTS, escape_latex, frame, latex, markdown, places, text_rows
from gaterec.io.files import write_parquet, write_text
from tests.support.findings import findings, outcome

STRANGE = "HGN(reg_weight=[0.1,0],a|b)\n50%"


@pytest.fixture
def found() -> ComparisonResults:
    outcomes = [outcome("A", 1, 0.25), outcome("A", 2, 0.5), outcome(STRANGE, 1, 0.375), outcome(STRANGE, 2, 0.375)]
    outcomes += [outcome("C", 1, 0.125), outcome("C", 2, status="failed: diverged"), outcome("D", 1, status="failed: was killed")]
    return findings(outcomes, references={"Pop": {"ndcg@10": [0.75]}})


def test_equals_share_the_best_place_and_references_have_none(found: ComparisonResults) -> None:
    assert places(found.summaries, "test") == {
        (label, metric): place for metric in ("recall@10", "ndcg@10") for label, place in (("A", 1), (STRANGE, 1), ("C", 2))
    }


def test_where_less_is_better_the_least_is_best() -> None:
    outcomes = [outcome("A"), outcome("B")]
    for one, gini in zip(outcomes, (0.9, 0.2), strict=True):
        one.info["test"] = {"giniindex@10": gini}
    assert places(findings(outcomes).summaries, "test") == {("B", "giniindex@10"): 1, ("A", "giniindex@10"): 2}


def test_one_entry_alone_is_not_the_best_of_anything() -> None:
    assert places(findings([outcome("A")]).summaries, "test") == {}


def test_rows(found: ComparisonResults) -> None:
    head, rows = text_rows(found)
    assert head == ["", "Recall@10", "NDCG@10", *COSTS]
    assert rows[0] == ["A", "0.7500 ± 0.3536", "0.3750 ± 0.1768", "2", "3.00 ± 0.00 s", "1.00 ± 0.00 s", "0.125 s", "1,234", "102 MiB"]
    assert rows[2][1:4] == ["0.2500", "0.1250", "1 of 2"]
    assert rows[3] == ["D", "–", "–", "0 of 1", "–", "–", "–", "–", "–"]
    assert rows[4] == ["Pop", "–", "0.7500", *["–"] * len(COSTS)]


def test_what_is_not_trained_takes_no_time() -> None:
    _, rows = text_rows(findings([outcome("Pop", seconds=())]))
    assert rows[0][4:6] == ["–", "–"]


def test_markdown(found: ComparisonResults) -> None:
    text = markdown(found)
    assert "| A | **0.7500 ± 0.3536** |" in text
    assert "| HGN(reg_weight=[0.1,0],a\\|b) 50% | **" in text
    assert "- C, seed 2: failed: diverged\n- D, seed 1: failed: was killed\n" in text
    assert "## Notes" not in text
    assert text.endswith("    gaterec compare --models=A,B\n")
    table = [line for line in text.splitlines() if line.startswith("|")]
    assert len({line.replace("\\|", "").count("|") for line in table}) == 1


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a_b & 50% #1 $x {y}", r"a\_b \& 50\% \#1 \$x \{y\}"),
        ("C:\\x", r"C:\textbackslash{}x"),
        ("~^", r"\textasciitilde{}\textasciicircum{}"),
    ],
)
def test_latex_prints_text_as_it_is(text: str, shown: str) -> None:
    assert escape_latex(text) == shown


def test_latex(found: ComparisonResults) -> None:
    text = latex(found, "test")
    lines = text.splitlines()
    assert r"A & \textbf{0.7500} {\scriptsize$\pm$0.3536} & \textbf{0.3750} {\scriptsize$\pm$0.1768} \\" in lines
    assert r"C & \underline{0.2500} & \underline{0.1250} \\" in lines
    assert r"D & -- & -- \\" in lines
    assert r"Pop & -- & 0.7500 \\" in lines
    assert r"HGN(reg\_weight=[0.1,0]" in text
    assert "log: some entries, test; mean" in text
    assert r"\begin{tabular}{lrr}" in lines
    valid = latex(found, "valid")
    assert "validation" in valid
    assert "Pop" not in valid
    assert "deviation" not in latex(findings([outcome("A")]), "test")


def test_parquet_has_a_row_for_each_figure_and_one_for_what_failed(found: ComparisonResults, tmp_path: Path) -> None:
    write_parquet(tmp_path / "results.parquet", frame(found.outcomes))
    table = pl.read_parquet(tmp_path / "results.parquet")
    assert len(table) == 5 * 4 + 2
    assert table.filter(pl.col("value").is_null())["status"].to_list() == ["failed: diverged", "failed: was killed"]
    row = table.row(
        by_predicate=(pl.col("entry") == "A") & (pl.col("seed") == 2) & (pl.col("part") == "test") & (pl.col("metric") == "ndcg@10"),
        named=True,
    )
    assert (row["value"], row["epochs"], row["best_epoch"], row["training_seconds"], row["training_seconds_to_best"]) == (
        0.5,
        2,
        1,
        3.0,
        1.0,
    )


def test_what_can_not_be_written_is_told(found: ComparisonResults, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(RunError, match="can't be written"):
        write_text(tmp_path / "file" / "x.md", "")
    with pytest.raises(RunError, match="can't be written"):
        write_parquet(tmp_path / "file" / "x.parquet", frame(found.outcomes))
