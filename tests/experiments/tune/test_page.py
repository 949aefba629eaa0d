"""The page of a search: complete, escaped, without a network, its numbers in tables beside the charts, whatever came of the trials."""

import json
import math
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

import gaterec.io.html
from gaterec.experiments.tune.page import CURVES, FIFTHS, Axis, best_so_far, render
from gaterec.experiments.tune.trials import Search
from gaterec.io.html import write_page
from tests.support.pages import CHROMIUM, EVIL, Page, browsed, drawings
from tests.support.searches import search, trial

STRANGE: list[Any] = [None, [1, None], {"a": EVIL}, EVIL, "\"quo'te[0].x\\", "x" * 5000, True, 1]
ALL = ["trials in parallel coordinates", "importance of settings", "score by learning_rate", "score by pooling_type", "score by epoch"]


@pytest.fixture
def without_the_library(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gaterec.io.html, "_chart_library", lambda: "")


quickly = pytest.mark.usefixtures("without_the_library")


def some(**changes: Any) -> Search:
    """Six that are done, one pruned, two failed (one with a score), one that runs."""
    done = [trial(number, score) for number, score in enumerate((0.1, 0.3, 0.2, 0.4, 0.15, 0.25))]
    pruned = trial(6, 0.05, "pruned", reason="below the median")
    failed = [trial(7, state="failed", reason="out of memory"), trial(8, 0.02, "failed", reason="diverged")]
    return search(*done, pruned, *failed, trial(9, state="running"), **{"total": 12, **changes})


def two_objectives() -> Search:
    costs = ((0.1, 1.0), (0.3, 5.0), (0.2, 6.0), (0.4, 9.0))
    return search(*(trial(number, score, cost=cost) for number, (score, cost) in enumerate(costs)), cost="seconds per epoch")


def evil() -> Search:
    """Names, values and sentences that would break a page that took them for anything but text."""
    names = [EVIL, "a[0].b", "it's \\", *(f"a_setting_with_a_long_name_{i}" for i in range(5))]
    trials = [
        trial(
            number,
            0.1 + number / 100,
            ("done", "done", "pruned")[number % 3],
            chosen={name: STRANGE[(number + i) % len(STRANGE)] for i, name in enumerate(names)},
            valid={EVIL: 0.1},
            reason=EVIL,
            worker=EVIL,
            cost=float(number),
        )
        for number in range(20)
    ]
    everywhere: dict[str, Any] = {"settings": {EVIL: EVIL}, "environment": {EVIL: EVIL}, "command": EVIL, "how": [EVIL]}
    return search(*trials, title=EVIL, metric=EVIL, cost=EVIL, names=names, importance=dict.fromkeys(names, 0.1), **everywhere)


def values(page: Page, description: str) -> list[dict[str, Any]]:
    """The data of a chart."""
    (found,) = [chart["data"] for chart in page.charts() if chart["description"] == description]
    assert isinstance(found, dict)
    return list(found["values"])


def headings(source: str) -> list[str]:
    return re.findall("<h2>(.*)</h2>", source)


def rows(source: str, caption: str) -> list[list[str]]:
    """The cells of a table."""
    (body,) = re.findall(rf"<caption>{re.escape(caption)}</caption>.*?</table>", source, re.DOTALL)
    return [re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", row) for row in re.findall("<tr.*?</tr>", body, re.DOTALL)]


@quickly
def test_it_says_everything() -> None:
    source = render(some())
    page = Page(source)
    assert headings(source) == [
        *("Result", "History", "Parallel coordinates", "Importance", "Slices", "Curves", "Pruned", "Failed", "All trials"),
        *("How it was searched", "To run it again", "Settings and environment"),
    ]
    for words in (
        "HGN on log: 2 settings",
        "Trial 3 has the highest MRR@10: 0.4. Of 12 trials: 6 done, 1 pruned, 2 failed, 1 running, 2 not begun.",
        "Trial 6 (learning_rate=0.1, pooling_type=average): below the median",
        "Trial 7 (learning_rate=0.01, pooling_type=max): out of memory",
        "Sampler: TPE.",
        "gaterec tune --model=HGN",
        "embedding_size",
    ):
        assert words in page.text, words
    assert "nan" not in page.text.lower().replace("learning", "")
    assert [chart["description"] for chart in page.charts()] == ["score by trial", *ALL]


@quickly
def test_it_loads_nothing() -> None:
    source = render(some())
    for _, attributes in Page(source).elements:
        assert not {"src", "href", "srcset", "action", "data"} & attributes.keys()
    assert not re.search(r"https?://|url\(|@import", source)


@quickly
def test_the_numbers_of_all_trials_stand_in_one_table() -> None:
    source = render(some())
    table = rows(source, "In the order in which they were begun.")
    assert table[0] == ["trial", "state", "learning_rate", "pooling_type", "MRR@10", "best so far", "best epoch", "time"]
    assert table[1] == ["0", "done", "0.1", "average", "0.1000", "0.1000", "2", "12 s"]
    assert table[7] == ["6", "pruned", "0.1", "average", "0.0500", "0.4000", "2", "12 s"]
    assert table[8] == ["7", "failed", "0.01", "max", "–", "0.4000", "–", "12 s"]
    assert len(table) == 1 + 10
    assert [re.findall(r'<th scope="row">(.*?)</th>', row)[0] for row in re.findall("<tr class=chief>.*", source)] == ["trial 3", "3"]


@quickly
def test_history_tells_states_apart_and_draws_the_best_so_far() -> None:
    page = Page(render(some()))
    assert [(point["trial"], point["state"]) for point in values(page, "score by trial")] == [
        *((number, "done") for number in range(6)),
        *((6, "pruned"), (8, "failed")),
    ]
    layers: list[Any] = [chart["layer"] for chart in page.charts() if chart["description"] == "score by trial"]
    line, points, lost = layers[0]
    assert [point["best"] for point in line["data"]["values"]] == [0.1, 0.3, 0.3, *[0.4] * 7]
    assert [point["trial"] for point in lost["data"]["values"]] == [7]
    assert len(set(points["encoding"]["shape"]["scale"]["range"])) == len(set(points["encoding"]["color"]["scale"]["range"])) == 3


def test_the_best_so_far_counts_what_is_done_alone() -> None:
    trials = [trial(0, 0.9, "pruned"), trial(1, 0.2), trial(2, math.nan), trial(3, 0.1), trial(4, state="failed")]
    assert best_so_far(search(*trials)) == {1: 0.2, 2: 0.2, 3: 0.2, 4: 0.2}
    assert best_so_far(search(*trials, bigger=False)) == {1: 0.2, 2: 0.2, 3: 0.1, 4: 0.1}


@quickly
def test_a_line_per_trial_coloured_by_its_rank() -> None:
    lines = values(Page(render(some())), "trials in parallel coordinates")
    assert [(line["trial"], line["fifth"]) for line in lines] == [
        *((0, FIFTHS[4]), (4, FIFTHS[3]), (2, FIFTHS[2]), (5, FIFTHS[1]), (1, FIFTHS[0]), (3, FIFTHS[0])),
    ]
    assert [line["rank"] for line in lines] == [5, 4, 3, 2, 1, 0]
    assert [line["a2"] for line in lines] == [0.0, 0.1667, 0.3333, 0.5, 0.6667, 1.0]
    assert [(line["a0"], line["a1"]) for line in lines[:2]] == [(1.0, 0.0), (0.5, 0.0)]  # trials 0 and 4: the rates are 0.1 and 0.01


@pytest.mark.parametrize(
    ("logarithmic", "chosen", "domain", "places", "ticks"),
    [
        (True, [0.0001, 0.1, 0.01], [], [0.0, 1.0, 0.6667], ["0.0001", "0.001", "0.01", "0.1"]),
        (True, [1.0, 4.0, 2.0], [], [0.0, 1.0, 0.5], ["1", "2"]),
        (True, [0, 0.5, 1.0], [], [0.0, 0.5, 1.0], ["0", "0.2", "0.4", "0.6", "0.8", "1"]),
        (False, [0.0, 0.5, 0.25], [], [0.0, 1.0, 0.5], ["0", "0.1", "0.2", "0.3", "0.4", "0.5"]),
        (False, [3, 3, 5], [], [0.0, 0.0, 1.0], ["3", "3.5", "4", "4.5", "5"]),
        (False, [128, 64, 128, 512, 64, 64], ["64", "128", "512"], [0.5, 0.0, 0.5, 1.0, 0.0, 0.0], None),
        (False, [64, 64], ["64"], [0.5, 0.5], ["64"]),
        (False, ["max", None, [1], {"a": 1}], ["max", "null", "[1]", '{"a": 1}'], [0.0, 0.3333, 0.6667, 1.0], None),
        (False, [True, 1], ["true", "1"], [0.0, 1.0], None),
        (False, ["null", None], ["null", "null (2)"], [0.0, 1.0], None),
        (False, ["x" * 99 + "a", "x" * 99 + "b"], ["x" * 39 + "…", "x" * 39 + "… (2)"], [0.0, 1.0], None),
        (False, [math.nan, math.inf, 10**400], ["NaN", "Infinity", "1" + "0" * 38 + "…"], [0.0, 0.5, 1.0], None),
    ],
)
def test_axes(logarithmic: bool, chosen: Sequence[Any], domain: list[str], places: list[float], ticks: list[str] | None) -> None:
    trials = [trial(number, 0.1, chosen={"x": value}) for number, value in enumerate(chosen)]
    axis = Axis.of(search(*trials, logarithmic=frozenset({"x"} if logarithmic else ())), "x")
    assert list(axis.domain) == domain
    assert [round(axis.place(value), 4) for value in axis.values.values()] == places
    assert [text for _, text in axis.ticks()] == (domain if ticks is None else ticks)
    assert all(0 <= place <= 1 for place, _ in axis.ticks())


@quickly
def test_a_setting_that_some_trials_lack_is_left_out_of_their_lines() -> None:
    source = render(search(trial(0, 0.1, chosen={"a": 1}), trial(1, 0.2, chosen={"b": 2}), names=["a", "b", "c"]))
    lines = values(Page(source), "trials in parallel coordinates")
    assert [set(line) & {"a0", "a1", "a2", "a3"} for line in lines] == [{"a0", "a2"}, {"a1", "a2"}]
    assert rows(source, "In the order in which they were begun.")[1][2:5] == ["1", "–", "–"]


@quickly
def test_a_slice_of_a_logarithmic_setting_is_logarithmic() -> None:
    x = {chart["description"]: chart["encoding"]["x"] for chart in Page(render(some())).charts() if "mark" in chart}  # type: ignore[index]
    assert x["score by learning_rate"]["scale"] == {"type": "log"}
    assert x["score by pooling_type"]["scale"] == {"domain": ["average", "max"]}
    points = values(Page(render(some())), "score by learning_rate")
    assert points[6] == {"trial": 6, "state": "pruned", "score": 0.05, "value": 0.1}


@quickly
def test_importance_has_bars_and_numbers() -> None:
    source = render(some(importance={"a": 0.25, "b": 0.75}))
    assert rows(source, "Share of the differences.")[1:] == [["b", "75 %"], ["a", "25 %"]]
    assert [bar["setting"] for bar in values(Page(source), "importance of settings")] == ["b", "a"]
    assert "Importance" not in headings(render(some(importance={})))


@quickly
def test_curves_have_a_column_for_each_trial() -> None:
    source = render(some())
    table = rows(source, "MRR@10 on the validation part, of every trial.")
    assert table[0] == ["epoch", *(f"trial {number}" for number in (*range(7), 8))]
    assert [row[1] for row in table[1:]] == ["0.0500", "0.1000", "0.0900"]
    points = values(Page(source), "score by epoch")
    assert points[0] == {"trial": 0, "state": "done", "epoch": 1, "value": 0.05}
    assert {point["state"] for point in points if point["trial"] == 6} == {"pruned"}


@quickly
def test_curves_of_single_points_are_left_out() -> None:
    assert "Curves" not in headings(render(search(trial(0, 0.1, curve=[(1, 0.1)]), trial(1, 0.2, curve=[(1, math.nan), (2, 0.2)]))))


@quickly
@pytest.mark.parametrize("bigger", [True, False])
def test_of_many_curves_the_best_are_drawn_and_a_long_list_is_folded(bigger: bool) -> None:
    trials = [trial(number, (number + 1) / 2000, "pruned" if number % 4 == 0 else "done", reason="slow") for number in range(1000)]
    source = render(search(*trials, bigger=bigger))
    page = Page(source)
    drawn = {point["trial"] for point in values(page, "score by epoch")}
    assert drawn == set(range(1000 - CURVES, 1000) if bigger else range(CURVES))
    assert f"of the {CURVES} best of 1,000 trials" in page.text
    assert "<summary>250 pruned trials</summary>" in source
    assert len(source) < 1_000_000
    assert len(rows(source, "In the order in which they were begun.")) == 1001


@quickly
def test_two_objectives_have_a_front() -> None:
    source = render(two_objectives())
    assert rows(source, "The Pareto front, the best score first.") == [
        ["", "MRR@10", "seconds per epoch", "learning_rate", "pooling_type"],
        ["trial 3", "0.4000", "9.0000", "0.1", "max"],
        ["trial 1", "0.3000", "5.0000", "0.01", "max"],
        ["trial 0", "0.1000", "1.0000", "0.1", "average"],
    ]
    assert [(point["trial"], point["cost"], point["front"]) for point in values(Page(source), "score by cost")] == [
        (3, 9.0, True), (1, 5.0, True), (2, 6.0, False), (0, 1.0, True)
    ]  # fmt: skip
    assert "score by cost" not in [chart["description"] for chart in Page(render(some())).charts()]


@quickly
def test_nothing_is_done_yet() -> None:
    source = render(search(total=5, importance={}))
    assert "No trial is done, so there is no winner. Of 5 trials: 5 not begun." in Page(source).text
    assert headings(source) == ["Result", "How it was searched", "To run it again", "Settings and environment"]
    assert not Page(source).charts()


@quickly
def test_all_failed() -> None:
    source = render(search(trial(0, state="failed", reason="out of memory"), trial(1, state="failed"), importance={}, cost="seconds"))
    assert headings(source)[:3] == ["Result", "Failed", "All trials"]
    assert "Trial 1 (learning_rate=0.01, pooling_type=max): no reason is known" in Page(source).text
    assert not Page(source).charts()


@quickly
def test_one_trial_has_nothing_to_be_compared_with() -> None:
    page = Page(render(search(trial(0, 0.5), importance={})))
    assert [chart["description"] for chart in page.charts()] == ["score by trial", "score by epoch"]


@quickly
def test_empty_parts_are_left_out() -> None:
    source = render(search(total=0, how=[], importance={}, settings={}, environment={}, command=""))
    assert headings(source) == ["Result"]
    assert "Of 0 trials: none begun." in source


@quickly
def test_text_stays_text() -> None:
    page = Page(render(evil()))
    assert "img" not in {name for name, _ in page.elements}
    assert len(page.scripts) == len(page.charts()) + 2
    assert page.text.count("window.stolen") > 20
    for chart in page.charts():
        names = json.dumps([_named(chart, key) for key in ("field", "title", "as", "filter", "calculate", "expr", "fold")])
        assert not any(word in names for word in ("script", "a[0]", "it's", "long_name"))


def _named(value: Any, name: str) -> list[Any]:
    """What stands under a name, anywhere in a chart but in its data."""
    if isinstance(value, list):
        return [found for each in value for found in _named(each, name)]
    if not isinstance(value, dict):
        return []
    own = [value[name]] if name in value else []
    return own + [found for key, each in value.items() if key != "values" for found in _named(each, name)]


@quickly
def test_there_is_no_nan() -> None:
    nan = trial(1, math.nan, valid={"mrr@10": math.nan}, cost=math.nan, curve=[(1, math.nan), (2, 0.1)])
    source = render(
        search(trial(0, 0.1, cost=1.0), nan, trial(2, math.nan, "pruned", cost=math.inf), cost="seconds", importance={"a": math.nan})
    )
    assert "nan" not in Page(source).text.lower()
    assert "Importance" not in headings(source)


@pytest.mark.slow
@pytest.mark.browser
@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine: charts in the page of a search were not drawn")
@pytest.mark.parametrize("make", [some, two_objectives, evil], ids=["one objective", "two objectives", "strange names"])
def test_chromium_draws_every_chart(make: Any, tmp_path: Path) -> None:
    source = render(make())
    write_page(source, tmp_path / "page.html")
    drawn = drawings(browsed(tmp_path / "page.html"))
    assert len(drawn) == len(Page(source).charts())
    assert all("<path" in svg for svg in drawn)
