"""The report page: complete, escaped, without a network, written whole or not at all, and drawn by a real browser where there is one."""

import dataclasses
import math
import re
import resource
from pathlib import Path

import pytest

from gaterec.errors import RunError
from gaterec.evaluation.slices import SliceRow
from gaterec.experiments.run_page import Epoch, Report, render, write_report
from gaterec.io.output import visible
from tests.support.pages import CHROMIUM, EVIL, Page, browsed, drawings

REPORT = Report(
    title="HGN on ml-100k",
    headline=[("HGN", {"recall@10": 0.12345, "gauc": 0.9}), ("Pop", {"recall@10": 0.05, "gauc": math.nan})],
    protocol=["Each person's last event is the test case."],
    epochs=[
        Epoch(epoch=1, loss=7.25, seconds=2.5, valid={"recall@10": 0.1}),
        Epoch(epoch=2, loss=6.5, seconds=1234.5, valid=None),
        Epoch(epoch=3, loss=math.nan, seconds=2.4, valid={"recall@10": 0.11}),
    ],
    best_epoch=3,
    slices={
        "history length": [SliceRow("1–5", 12, {"recall@10": 0.2}), SliceRow("6–20", 1931, {"recall@10": 0.3125})],
        "item popularity": [SliceRow("rare", 0, {"recall@10": math.nan}), SliceRow("common", 9, {"recall@10": 0.5})],
    },
    settings={"embedding_size": 64, "eval_args": {"split": {"LS": "valid_and_test"}}, "weight_decay": None},
    environment={"torch": "2.13.0"},
    notes=["A note."],
    commands=["gaterec run --model=HGN --dataset=ml-100k"],
)


@pytest.fixture(scope="module")
def source() -> str:
    return render(REPORT)


@pytest.fixture(scope="module")
def page(source: str) -> Page:
    return Page(source)


def test_it_says_everything(page: Page) -> None:
    words = ["HGN on ml-100k", "Recall@10", "GAUC", "0.1235", "0.0500", "Each person's last event is the test case."]
    words += ["7.2500", "1,234.50", "3 (kept)", "epoch 3 was kept", "By history length", "6–20", "1,931", "0.3125"]
    words += ["embedding_size", "64", '{"split": {"LS": "valid_and_test"}}', "null", "2.13.0", "A note.", "gaterec run --model=HGN"]
    for word in words:
        assert word in page.text, word
    assert "nan" not in page.text.lower()


def test_it_loads_nothing(page: Page, source: str) -> None:
    for _, attributes in page.elements:
        assert not {"src", "href", "srcset", "action", "data"} & attributes.keys()
    assert not re.search(r"url\(|@import", source.partition("</style>")[0])
    policy = next(attributes["content"] for name, attributes in page.elements if name == "meta" and "http-equiv" in attributes)
    assert policy
    assert policy.startswith("default-src 'none'")


def test_it_is_readable_without_eyes(page: Page) -> None:
    names = [name for name, _ in page.elements]
    assert ("html", {"lang": "en"}) in page.elements
    assert names.count("h1") == names.count("main") == 1
    assert names.count("table") == names.count("thead") + 2 == names.count("caption") + 2  # settings and environment have row heads alone
    assert all("scope" in attributes for name, attributes in page.elements if name == "th")


def test_charts_hold_the_numbers(page: Page) -> None:
    by_name = {chart["description"]: chart["data"] for chart in page.charts()}
    assert list(by_name) == ["Loss by epoch", "Recall@10 by epoch", "Metrics by history length", "Metrics by item popularity"]
    assert by_name["Loss by epoch"] == {
        "values": [
            {"epoch": 1, "value": 7.25, "shown": "7.2500", "best": False},
            {"epoch": 2, "value": 6.5, "shown": "6.5000", "best": False},
            {"epoch": 3, "value": None, "shown": "–", "best": True},
        ]
    }
    assert by_name["Recall@10 by epoch"] == {
        "values": [
            {"epoch": 1, "value": 0.1, "shown": "0.1000", "best": False},
            {"epoch": 3, "value": 0.11, "shown": "0.1100", "best": True},
        ]
    }
    assert by_name["Metrics by history length"] == {
        "values": [
            {"part": "1–5", "cases": 12, "metric": "Recall@10", "value": 0.2, "shown": "0.2000"},
            {"part": "6–20", "cases": 1931, "metric": "Recall@10", "value": 0.3125, "shown": "0.3125"},
        ]
    }


def evil() -> Report:
    return Report(
        title=EVIL,
        headline=[(EVIL, {EVIL: 0.5})],
        protocol=[EVIL],
        epochs=[Epoch(epoch=epoch, loss=1.0, seconds=1.0, valid={EVIL: 0.25}) for epoch in (1, 2)],
        best_epoch=1,
        slices={EVIL: [SliceRow(EVIL, 1, {EVIL: 0.75})]},
        settings={EVIL: EVIL, "list": [EVIL]},
        environment={EVIL: EVIL},
        notes=[EVIL],
        commands=[EVIL],
    )


def test_text_stays_text(page: Page) -> None:
    hostile = Page(render(evil()))
    assert hostile.text.count("window.stolen") >= 12
    assert not any(name == "img" or "onerror" in attributes for name, attributes in hostile.elements)
    assert len(hostile.scripts) == len(hostile.charts()) + 2  # the charts, their library, and the lines that start it
    assert [chart["description"] for chart in hostile.charts()] == [
        "Loss by epoch",
        *map(visible, [f"{EVIL} by epoch", f"Metrics by {EVIL}"]),
    ]


def test_parts_without_content_are_left_out() -> None:
    empty = Page(render(Report(title="Pop on ml-100k", headline=[])))
    assert not empty.charts()
    assert not {"table", "section", "h2", "ul", "pre"} & {name for name, _ in empty.elements}


def test_one_epoch_makes_no_curve() -> None:
    single = Page(render(Report(title="HGN", headline=[], epochs=REPORT.epochs[:1], best_epoch=1)))
    assert not single.charts()
    assert "7.2500" in single.text
    assert "details" not in {name for name, _ in single.elements}


def test_write_replaces_the_old_page(tmp_path: Path) -> None:
    path = tmp_path / "report.html"
    path.write_text("old")
    write_report(evil(), path)  # a lone surrogate among it, which UTF-8 can't hold
    assert path.read_text(encoding="utf-8").startswith("<!DOCTYPE html>")
    assert list(tmp_path.iterdir()) == [path]


def test_a_full_disk_leaves_the_old_page(tmp_path: Path) -> None:
    path = tmp_path / "report.html"
    path.write_text("old")
    render(REPORT)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, limits[1]))
    try:
        with pytest.raises(RunError, match=r"^.*report\.html: can't be written: File too large$"):
            write_report(REPORT, path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_file_in_the_place_of_the_folder_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(RunError, match="can't be written: there is a file where a folder should be"):
        write_report(REPORT, tmp_path / "file" / "report.html")


def rendered(report: Report, folder: Path, then: str = "") -> str:
    """The page's elements after a browser has run its scripts, and `then` a while later."""
    write_report(report, folder / "report.html")
    with (folder / "report.html").open("a") as file:
        file.write(f"<script>setTimeout(() => {{ {then} }}, 2000)</script>")
    return browsed(folder / "report.html")


@pytest.mark.slow
@pytest.mark.browser
@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine: charts in the report page were not drawn")
def test_chromium_draws_every_chart(tmp_path: Path, page: Page) -> None:
    tree = rendered(REPORT, tmp_path)
    drawn = drawings(tree)
    assert len(drawn) == len(page.charts())
    assert tree.count('aria-roledescription="bar"') == 3  # one per part that has a value
    assert "6–20" in drawn[2]
    assert "0.3125" in drawn[2]
    assert len(re.findall(r"<select", tree.rpartition("<script>")[0])) == 2


@pytest.mark.slow
@pytest.mark.browser
@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine: pointing and choosing in charts was not tried")
def test_chromium_answers_the_pointer_and_the_menu(tmp_path: Path) -> None:
    rows = [SliceRow("1–5", 12, {"recall@10": 0.2, "mrr@10": 0.0625})]
    then = """
      document.querySelector(".chart").scrollIntoView();
      const box = document.querySelector(".chart svg").getBoundingClientRect();
      const place = { bubbles: true, clientX: box.left + 40, clientY: box.top + 60 };
      const target = document.elementFromPoint(place.clientX, place.clientY);
      for (const kind of ["pointerover", "pointermove"]) target.dispatchEvent(new PointerEvent(kind, place));
      const menu = document.querySelector("select");
      menu.value = "MRR@10";
      for (const kind of ["input", "change"]) menu.dispatchEvent(new Event(kind, { bubbles: true }));"""
    tree = rendered(dataclasses.replace(REPORT, slices={"history length": rows}), tmp_path, then)
    tip = tree.partition('id="vg-tooltip-element"')[2].partition("</div>")[0]
    assert re.sub(r"<.*?>", " ", tip.partition(">")[2]).split() == ["epoch", "1", "value", "7.2500"]
    assert "0.0625" in drawings(tree)[-1]
    assert "0.2000" not in drawings(tree)[-1]


@pytest.mark.slow
@pytest.mark.browser
@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine: the report page's escaping was not tried in a browser")
def test_chromium_runs_nothing_from_the_text(tmp_path: Path) -> None:
    curious = dataclasses.replace(evil(), notes=[EVIL.replace("window.stolen = 1", "document.title = 'stolen'")])
    tree = rendered(curious, tmp_path)
    assert len(drawings(tree)) == 3
    assert "<title>stolen" not in tree
    assert "img" not in {name for name, _ in Page(tree).elements}
