"""The page of a comparison (see gaterec.io.html): the table, which differences can be trusted, quality against training time and by slices."""

import math
from collections.abc import Sequence
from itertools import accumulate

from gaterec.config.metric_names import shown_name
from gaterec.evaluation.significance import Comparison
from gaterec.experiments.compare.results import ComparisonResults, Summary, cutoff_near_ten
from gaterec.experiments.compare.tables import COSTS, MEANINGS, text_rows
from gaterec.io.html import Json, chart, commands, decimals, figure, number, pairs, render_page, section, sentences, table

SHAPES = ["circle", "square", "triangle-up", "diamond", "cross", "triangle-down"]
"""Lines are told apart by colour and by shape."""


def render(findings: ComparisonResults) -> str:
    """The page as text."""
    entries = [summary for summary in findings.summaries if summary.done]
    settings = findings.settings
    sections = [
        section("Result", _result(findings)),
        section("Failed, or not yet run", sentences(findings.status)),
        section("Which is better", _tests(findings)),
        section("How it was measured", sentences(findings.protocol)),
        section("The data and the split", sentences(findings.audit)),
        section("Notes", sentences(findings.notes)),
        section("Quality against training time", _against_time(entries)),
        section(
            "Where each is good, and where not",
            "".join(_by_slice(entries, question) for question in (entries[0].done[0].slices if entries else ())),
        ),
        section("To run it again", commands([findings.command])),
        section(
            "Settings and environment",
            pairs("Settings of all entries", settings["all"])
            + "".join(pairs(f"Settings of {label}", own) for label, own in settings.items() if label != "all")
            + pairs("Environment", findings.environment),
        ),
    ]
    return render_page(findings.title, sections)


def _result(findings: ComparisonResults) -> str:
    head, rows = text_rows(findings)
    labels, *columns = zip(*rows, strict=True)
    best = next((place for place, row in enumerate(rows) if row[0] == findings.best), None)
    costs, own = len(head) - len(COSTS), len(findings.entries)  # the rows behind these are references, which cost nothing
    figures = table("On the test part.", head[:costs], labels, columns[: costs - 1], chief=best)
    spent = table("What it took.", ["", *head[costs:]], labels[:own], columns[costs - 1 :], chief=best)
    return figures + spent + sentences(MEANINGS)


# -- tests -----------------------------------------------------------------------------------------------------------------------------


def _tests(findings: ComparisonResults) -> str:
    tests, chief = findings.tests, findings.primary_tests
    if not tests:
        return ""
    explained = (
        f"Paired tests on each person's figures, the means over seeds and over the person's cases: differences with {100 * (1 - tests[0].alpha):g} % intervals "
        "of the bootstrap over people; p-values corrected by Holm over the whole table, intervals not, so one that leaves out 0 may still prove nothing. They tell how far a difference holds for other people; "
        "how far it holds for other seeds, the ± above tells."
    )
    others = [test.sentence for test in tests if test not in chief]
    rest = f"<details>\n<summary>All other pairs and metrics</summary>\n{sentences(others)}</details>\n" if others else ""
    return f"<p>{explained}</p>\n" + sentences([test.sentence for test in chief]) + rest + _test_table(tests)


def _test_table(tests: Sequence[Comparison]) -> str:
    columns = [
        [shown_name(test.metric) for test in tests],
        [f"{test.test.difference:+.5f}" for test in tests],
        [f"{test.test.low:+.5f} to {test.test.high:+.5f}" for test in tests],
        [f"{test.p:.2g}" for test in tests],
        [f"{test.p_wilcoxon:.2g}" for test in tests],
        [f"{test.test.people:,}" for test in tests],
    ]
    head = ["a – b", "metric", "difference", "interval", "p, bootstrap", "p, Wilcoxon", "people"]
    numbers = table("All pairs; p-values are corrected.", head, [f"{test.a} – {test.b}" for test in tests], columns, tall=True)
    return f"<details>\n<summary>The numbers of all tests</summary>\n{numbers}</details>\n"


# -- quality against time --------------------------------------------------------------------------------------------------------------


def _against_time(entries: Sequence[Summary]) -> str:
    """Each entry's first seed: the validation metric after every epoch, by the seconds spent on training until then."""
    curves = {summary.label: _curve(summary) for summary in entries}
    curves = {label: points for label, points in curves.items() if points}
    if not curves:
        return ""
    metric = entries[0].outcomes[0].cell.settings.valid_metric
    data = [
        {"entry": label, "seconds": seconds, "value": number(value)} for label, points in curves.items() for _, seconds, value in points
    ]
    labels = list(curves)
    spec = chart(
        f"{metric} by training time",
        data,
        height=340,
        encoding={
            "x": {
                "field": "seconds",
                "type": "quantitative",
                "title": "seconds of training",
                "axis": {"grid": False, "labelOverlap": True, "tickCount": 8},
            },
            "y": {"field": "value", "type": "quantitative", "scale": {"zero": False}, "title": None, "axis": {"tickCount": 6}},
            **_told_apart(labels),
            "tooltip": [{"field": "entry"}, {"field": "seconds", "format": ".2f"}, {"field": "value", "format": ".4f"}],
        },
        layer=[{"mark": {"type": "line"}}, {"mark": {"type": "point", "size": 36}}],
    )
    rows = [(label, *point) for label, points in curves.items() for point in points]
    numbers = table(
        f"{metric} on the validation part after each epoch that was validated, of each entry's first seed.",
        ["entry", "epoch", "seconds", metric],
        [row[0] for row in rows],
        [[f"{row[1]}" for row in rows], [f"{row[2]:,.2f}" for row in rows], decimals([row[3] for row in rows])],
        tall=True,
    )
    shown = figure(metric, "on the validation part, each entry's first seed", spec)
    return f"{shown}<details>\n<summary>The numbers of all epochs</summary>\n{numbers}</details>\n"


def _curve(summary: Summary) -> list[tuple[int, float, float]]:
    """Epoch, seconds until then, and the metric there."""
    first = summary.done[0]
    epochs, metric = first.info["epochs"], first.cell.settings.valid_metric.lower()
    seconds = accumulate(epoch["seconds"] for epoch in epochs)
    return [(epoch["epoch"], spent, epoch["valid"][metric]) for epoch, spent in zip(epochs, seconds, strict=True) if epoch["valid"]]


# -- slices ----------------------------------------------------------------------------------------------------------------------------


def _by_slice(entries: Sequence[Summary], question: str) -> str:
    """NDCG of every entry on every part of the right answers."""
    name = f"ndcg@{cutoff_near_ten(entries[0].outcomes[0].cell.settings)}"
    rows = {summary.label: summary.slices(question) for summary in entries}
    parts = next(iter(rows.values()))
    if not parts:
        return ""
    data = [
        {"entry": label, "part": row.label, "cases": row.cases, "value": number(row.metrics[name])}
        for label, of in rows.items()
        for row in of
    ]
    order = [part.label for part in parts]
    spec = chart(
        f"{shown_name(name)} by {question}",
        data,
        height=220,
        encoding={
            "x": {
                "field": "part",
                "type": "nominal",
                "sort": None,
                "scale": {"domain": order},
                "title": None,
                "axis": {"labelAngle": 0, "labelLimit": 150},
            },
            "y": {"field": "value", "type": "quantitative", "title": None, "axis": {"tickCount": 5}},
            **_told_apart(list(rows)),
            "tooltip": [{"field": "entry"}, {"field": "part"}, {"field": "cases", "format": ","}, {"field": "value", "format": ".4f"}],
        },
        layer=[{"mark": {"type": "line", "strokeOpacity": 0.5}}, {"mark": {"type": "point", "size": 60}}],
    )
    columns = [[f"{part.cases:,}" for part in parts], *(decimals([row.metrics.get(name, math.nan) for row in of]) for of in rows.values())]
    numbers = table(f"{shown_name(name)} on test cases by {question}, means over seeds.", [question, "cases", *rows], order, columns)
    shown = figure(shown_name(name), "", spec) if len(parts) > 1 else ""
    return f"<h3>By {question}</h3>\n{shown}{numbers}\n"


def _told_apart(labels: Sequence[str]) -> Json:
    """A colour and a shape for each entry."""
    domain = {"domain": list(labels)}
    return {
        "color": {"field": "entry", "type": "nominal", "sort": None, "scale": domain},
        "shape": {
            "field": "entry",
            "type": "nominal",
            "sort": None,
            "scale": {**domain, "range": [SHAPES[i % len(SHAPES)] for i in range(len(labels))]},
        },
    }
