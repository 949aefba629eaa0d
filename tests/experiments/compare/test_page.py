"""The page of a comparison: complete, escaped, without a network, its numbers in tables beside the charts."""

import dataclasses
import re

import pytest

import gaterec.io.html
from gaterec.evaluation.slices import SliceRow
from gaterec.experiments.compare.page import render
from gaterec.experiments.compare.results import ComparisonResults
from tests.support.findings import findings, outcome
from tests.support.pages import EVIL, Page

VALUES = (("A", 0.25), ("B", 0.5), ("C", 0.125), ("E", 0.0625))


@pytest.fixture(autouse=True)
def without_the_library(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gaterec.io.html, "_chart_library", lambda: "")


def some() -> ComparisonResults:
    outcomes = [outcome(label, seed, value) for label, value in VALUES for seed in (1, 2)]
    return findings([*outcomes, outcome("D", status="failed: diverged")], references={"Pop": {"ndcg@10": [0.75]}})


def test_it_says_everything() -> None:
    page = Page(render(some()))
    for words in (
        "log: some entries",
        "0.2500 ± 0.0000",
        "3.00 ± 0.00 s",
        "1,234",
        "102 MiB",
        "D, seed 1: failed: diverged",
        "Pop",
        "A – B",
    ):
        assert words in page.text, words
    for words in (
        "Split: leave-one-out.",
        "Nothing found: ties.",
        "gaterec compare --models=A,B",
        "embedding_size",
        "NDCG@10 on the validation part",
    ):
        assert words in page.text, words
    assert "nan" not in page.text.lower()


def test_it_loads_nothing() -> None:
    source = render(some())
    page = Page(source)
    for _, attributes in page.elements:
        assert not {"src", "href", "srcset", "action", "data"} & attributes.keys()
    assert not re.search(r"https?://|url\(|@import", source)
    (policy,) = [attributes["content"] for name, attributes in page.elements if name == "meta" and "http-equiv" in attributes]
    assert policy
    assert policy.startswith("default-src 'none'")


def test_every_chart_has_its_numbers_in_a_table() -> None:
    page = Page(render(some()))
    charts = {chart["description"]: chart["data"] for chart in page.charts()}
    assert list(charts) == ["NDCG@10 by training time", "NDCG@10 by history length"]
    assert charts["NDCG@10 by training time"] == {
        "values": [{"entry": label, "seconds": seconds, "value": value / 2} for label, value in VALUES for seconds in (1.0, 3.0)]
    }
    names = [name for name, _ in page.elements]
    of_settings = 1 + len(some().entries) + 1  # of all, of each, and the environment: these have row heads alone
    assert names.count("table") == names.count("caption") + of_settings == 2 + 1 + len(charts) + of_settings  # figures, costs, tests
    assert all("scope" in attributes for name, attributes in page.elements if name == "th")


def test_the_best_stands_out_and_its_tests_stand_first() -> None:
    source = render(some())
    assert [re.findall(r'<th scope="row">(\w+)', row)[0] for row in re.findall("<tr class=chief>.*", source)] == ["B", "B"]
    shown, folded = source.split("All other pairs and metrics")
    assert "B is better than A on NDCG@10" in shown
    assert "C is better than E on NDCG@10" not in shown
    assert "C is better than E on NDCG@10" in folded


def test_one_part_alone_is_no_chart() -> None:
    found = some()
    for one in found.outcomes:
        one.slices.update(history=[SliceRow("all", 8, {"ndcg@10": 0.5})] if one.done else [])
    page = Page(render(found))
    assert not [chart for chart in page.charts() if chart["description"] == "NDCG@10 by history"]
    assert "By history\n" in page.text


def test_names_from_outside_stay_text() -> None:
    found = findings([outcome(EVIL), outcome("B")], title=EVIL, audit=[EVIL], notes=[EVIL], command=EVIL, protocol=[EVIL])
    page = Page(render(found))
    assert "img" not in [name for name, _ in page.elements]
    assert not [script for script in page.scripts if "stolen = 1<" in script]
    assert page.text.count("window.stolen") > 5


def test_nothing_is_done_yet() -> None:
    page = Page(render(findings([outcome("A", status="waiting"), outcome("B", status="failed: out of memory")])))
    assert "B, seed 1: failed: out of memory" in page.text
    assert page.charts() == []
    assert "Which is better" not in page.text


def test_one_entry_has_nothing_to_be_better_than() -> None:
    page = Page(render(dataclasses.replace(findings([outcome("A")]), tests=[])))
    assert "Which is better" not in page.text
