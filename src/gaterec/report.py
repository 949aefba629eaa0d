"""The report of a run: one HTML page that says how good the model is, under which protocol, and how to get the same again.

The page is a single file that works from a disk, without a network: the charts (Vega-Lite) come with their JavaScript inside, and the
page forbids itself, by its content security policy, to load anything. Every chart has its numbers in a table next to it; without
JavaScript the tables remain. The data is plain: nothing here knows of models, tensors or settings files.
"""

import json
import math
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from html import escape
from importlib.resources import files
from pathlib import Path
from typing import Any, TypedDict

from gaterec.errors import RunError
from gaterec.settings import METRICS

Json = dict[str, Any]


class Epoch(TypedDict):
    """One pass over the training part."""

    epoch: int
    loss: float
    seconds: float
    valid: dict[str, float] | None  # None where the epoch was not validated


@dataclass(frozen=True)
class SliceRow:
    """How good the model is on a part of the test cases."""

    label: str
    cases: int
    metrics: dict[str, float]


@dataclass(frozen=True)
class Report:
    """What the page shows. A part that is empty is left out; a number that is nan is shown as a dash.

    Attributes:
        title: what ran on what, say "HGN on ml-100k".
        headline: rows of test metrics; the first is the model, the others are what it is held against ("Pop", "best possible").
        protocol: sentences that say how it was measured.
        epochs: the course of the training.
        best_epoch: the epoch whose weights were kept, None when nothing was trained.
        slices: rows by the question they answer, "history length" say.
        settings, environment: by name.
        notes: sentences that a reader should know.
        commands: shell lines that make this run again.
    """

    title: str
    headline: list[tuple[str, dict[str, float]]]
    protocol: list[str] = field(default_factory=list)
    epochs: list[Epoch] = field(default_factory=list)
    best_epoch: int | None = None
    slices: dict[str, list[SliceRow]] = field(default_factory=dict)
    settings: dict[str, Any] = field(default_factory=dict)
    environment: dict[str, Any] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    commands: list[str] = field(default_factory=list)


def write_report(report: Report, path: str | Path) -> None:
    """Writes the page. A reader of `path` finds the old page or the whole new one, never a part.

    Raises:
        RunError: the file can't be written.
    """
    path = Path(path)
    page = render(report).encode("utf-8", errors="replace")
    unfinished = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        try:
            unfinished.write_bytes(page)
            unfinished.replace(path)
        finally:
            unfinished.unlink(missing_ok=True)
    except OSError as error:
        raise RunError(f"{path}: can't write the report: {error.strerror}") from None


# The page


def render(report: Report) -> str:
    """The page as text."""
    sections = [
        _section("Result", _headline(report.headline)),
        _section("Notes", _sentences(report.notes)),
        _section("How it was measured", _sentences(report.protocol)),
        _section("Training", _training(report.epochs, report.best_epoch)),
        _section("Where it is good, and where not", "".join(_slice(name, rows) for name, rows in report.slices.items())),
        _section("To run it again", _commands(report.commands)),
        _section("Settings and environment", _pairs("Settings", report.settings) + _pairs("Environment", report.environment)),
    ]
    return _PAGE.format(
        title=escape(report.title),
        style=_style(),
        sections="\n".join(filter(None, sections)),
        library=_chart_library(),
        start=_START,
    )


_PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy"
  content="default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'">
<title>{title}</title>
<style>
{style}
</style>
</head>
<body>
<header>
<h1>{title}</h1>
</header>
<main>
{sections}
</main>
<footer>Written by gaterec. This page is one file and loads nothing from a network.</footer>
<script>
{library}
</script>
<script>
{start}
</script>
</body>
</html>
"""

# `ast` has Vega interpret its expressions rather than compile them, which the page's policy forbids.
_START = """for (const place of document.querySelectorAll(".chart")) {
  const spec = JSON.parse(place.querySelector("script").textContent);
  vegaEmbed(place, spec, { mode: "vega-lite", renderer: "svg", ast: true, actions: false, tooltip: { theme: "custom" } });
}
let closed = [];
addEventListener("beforeprint", () => {
  closed = [...document.querySelectorAll("details:not([open])")];
  closed.forEach((part) => (part.open = true));
});
addEventListener("afterprint", () => closed.forEach((part) => (part.open = false)));"""


def _style() -> str:
    return files("gaterec").joinpath("report.css").read_text(encoding="utf-8").strip()


@cache
def _chart_library() -> str:
    """Vega, Vega-Lite and Vega-Embed as one script, about 0.9 MB."""
    import vl_convert  # takes a while, and nothing but a report needs it

    bundle: str = vl_convert.javascript_bundle("window.vegaEmbed = vegaEmbed;")
    return bundle.replace("</script", "<\\/script")


def _section(heading: str, content: str) -> str:
    return f"<section>\n<h2>{escape(heading)}</h2>\n{content}\n</section>" if content else ""


def _sentences(sentences: Sequence[str]) -> str:
    return "<ul>\n" + "".join(f"<li>{escape(sentence)}</li>\n" for sentence in sentences) + "</ul>" if sentences else ""


def _commands(lines: Sequence[str]) -> str:
    return f'<pre tabindex="0"><code>{escape(chr(10).join(lines))}</code></pre>' if lines else ""


def _pairs(heading: str, values: Mapping[str, Any]) -> str:
    """Names and values, folded away."""
    if not values:
        return ""
    rows = "".join(f'<tr><th scope="row">{escape(name)}</th><td>{escape(_plain(value))}</td></tr>\n' for name, value in values.items())
    return f'<details>\n<summary>{escape(heading)}</summary>\n<table class="pairs"><tbody>\n{rows}</tbody></table>\n</details>\n'


def _plain(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)


# Tables


def _headline(rows: Sequence[tuple[str, Mapping[str, float]]]) -> str:
    if not rows:
        return ""
    names = _metric_names(metrics for _, metrics in rows)
    columns = [[metrics.get(name, math.nan) for _, metrics in rows] for name in names]
    return _table(
        "On the test part.",
        ["", *map(_shown_name, names)],
        [label for label, _ in rows],
        [_decimals(column) for column in columns],
        chief=0,
    )


def _epoch_table(epochs: Sequence[Epoch], best: int | None) -> str:
    names = _metric_names(epoch["valid"] or {} for epoch in epochs)
    columns = [[epoch["loss"] for epoch in epochs]]
    columns += [[(epoch["valid"] or {}).get(name, math.nan) for epoch in epochs] for name in names]
    labels = [f"{epoch['epoch']} (kept)" if epoch["epoch"] == best else str(epoch["epoch"]) for epoch in epochs]
    chief = next((row for row, epoch in enumerate(epochs) if epoch["epoch"] == best), None)
    seconds = [f"{epoch['seconds']:,.2f}" for epoch in epochs]
    return _table(
        "Every epoch; metrics are those of the validation part.",
        ["epoch", "loss", *map(_shown_name, names), "seconds"],
        labels,
        [*map(_decimals, columns), seconds],
        chief=chief,
        tall=True,
    )


def _slice_table(name: str, rows: Sequence[SliceRow]) -> str:
    names = _metric_names(row.metrics for row in rows)
    columns = [[row.metrics.get(metric, math.nan) for row in rows] for metric in names]
    return _table(
        f"Test cases by {name}.",
        [name, "cases", *map(_shown_name, names)],
        [row.label for row in rows],
        [[f"{row.cases:,}" for row in rows], *map(_decimals, columns)],
    )


def _table(
    caption: str,
    head: Sequence[str],
    labels: Sequence[str],
    columns: Sequence[Sequence[str]],
    chief: int | None = None,
    tall: bool = False,
) -> str:
    """A table of numbers.

    Args:
        caption: what it shows.
        head: the names of the columns, that of the labels first.
        labels: the name of each row.
        columns: the cells of each further column, as text.
        chief: the row that matters most.
        tall: whether the table may be long, and then scrolls.
    """
    heads = "".join(f'<th scope="col">{escape(name)}</th>' if name else "<td></td>" for name in head)
    body = ""
    for row, label in enumerate(labels):
        cells = "".join(f"<td>{escape(column[row])}</td>" for column in columns)
        body += f'<tr{" class=chief" if row == chief else ""}><th scope="row">{escape(label)}</th>{cells}</tr>\n'
    return (
        f'<div class="scroll{" tall" if tall else ""}" tabindex="0" role="region" aria-label="{escape(caption)}">\n'
        f"<table>\n<caption>{escape(caption)}</caption>\n"
        f"<thead><tr>{heads}</tr></thead>\n<tbody>\n{body}</tbody>\n</table>\n</div>\n"
    )


def _metric_names(rows: Iterable[Mapping[str, float]]) -> list[str]:
    """The names in all rows, in the order of their first appearance."""
    return list(dict.fromkeys(name for metrics in rows for name in metrics))


def _shown_name(key: str) -> str:
    """recall@10 -> Recall@10"""
    base, at, cutoff = key.partition("@")
    return METRICS.get(base, base) + at + cutoff


def _decimals(column: Sequence[float]) -> list[str]:
    """The numbers of a column as text, with as many decimals each, so that points stand under each other.

    >>> _decimals([0.25, 0.01234, math.nan]), _decimals([1234.5, 2])
    (['0.2500', '0.0123', '–'], ['1,234.5', '2.0'])
    """
    largest = max((abs(value) for value in column if math.isfinite(value)), default=0)
    places = 4 if largest < 100 else 1
    return [f"{value:,.{places}f}" if math.isfinite(value) else "–" for value in column]


# Charts


def _training(epochs: Sequence[Epoch], best: int | None) -> str:
    if not epochs:
        return ""
    remark = f"epoch {best} was kept" if best is not None else ""
    curves = [("Loss", "training part", {epoch["epoch"]: epoch["loss"] for epoch in epochs})]
    for name in _metric_names(epoch["valid"] or {} for epoch in epochs):
        points = {epoch["epoch"]: epoch["valid"][name] for epoch in epochs if epoch["valid"] and name in epoch["valid"]}
        curves.append((_shown_name(name), remark, points))
    charts = [_figure(name, aside, _curve(name, points, best)) for name, aside, points in curves if len(points) > 1]
    table = _epoch_table(epochs, best)
    if not charts:
        return table
    return f'<div class="charts">\n{"".join(charts)}</div>\n<details>\n<summary>The numbers of all epochs</summary>\n{table}</details>'


def _slice(name: str, rows: Sequence[SliceRow]) -> str:
    if not rows:
        return ""
    chart = _figure("", "", _bars(name, rows))
    return f'<h3>By {escape(name)}</h3>\n<div class="beside">\n{chart}{_slice_table(name, rows)}</div>\n'


def _figure(caption: str, remark: str, spec: Json) -> str:
    """A chart; its description stands beside the data for the script that draws it."""
    aside = f" <small>{escape(remark)}</small>" if remark else ""
    head = f"<figcaption>{escape(caption)}{aside}</figcaption>\n" if caption else ""
    return f'<figure>\n{head}<div class="chart"><script type="application/json">{_script_json(spec)}</script></div>\n</figure>\n'


def _script_json(value: Any) -> str:
    """JSON that can stand in a script element: nothing in it can end the element or open another."""
    text = json.dumps(value, allow_nan=False, ensure_ascii=False, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _number(value: float) -> float | None:
    """JSON and charts have no nan: None leaves a gap."""
    return value if math.isfinite(value) else None


def _curve(name: str, points: Mapping[int, float], best: int | None) -> Json:
    """Vega-Lite: a line over the epochs; a dashed rule and a dot mark the best epoch; the nearest point tells its numbers."""
    few = len(points) <= 30
    nearest = {"type": "point", "on": "pointerover", "nearest": True, "clear": "pointerout"}
    # What `nearest` puts under the pointer is a cell around the point, whose datum is the point; a list of fields would miss that.
    tooltip = {"expr": "{epoch: (datum.datum || datum).epoch, value: (datum.datum || datum).shown}"}
    is_best = [{"filter": "datum.best"}]
    marks = [
        {"transform": is_best, "mark": {"type": "rule", "strokeDash": [3, 3]}, "encoding": {"y": None}},
        {"transform": is_best, "mark": {"type": "point", "size": 60, "color": _MARK}},
    ]
    marked = best is not None and math.isfinite(points.get(best, math.nan))  # a layer of nothing would have no extent
    ticks = {"tickMinStep": 1, "tickCount": 6, "labelOverlap": True, "labelSeparation": 6, "grid": False}
    return _chart(
        f"{name} by epoch",
        [
            {"epoch": epoch, "value": _number(value), "shown": shown, "best": epoch == best}
            for (epoch, value), shown in zip(points.items(), _decimals(list(points.values())), strict=True)
        ],
        height=170,
        encoding={
            "x": {"field": "epoch", "type": "quantitative", "scale": {"zero": False, "nice": False}, "axis": ticks},
            "y": {"field": "value", "type": "quantitative", "scale": {"zero": False}, "title": None, "axis": {"tickCount": 5}},
        },
        layer=[
            {"mark": {"type": "line", "point": {"size": 18, "color": _ACCENT} if few else False}},
            *(marks if marked else []),
            {
                "params": [{"name": "near", "select": nearest}],
                "mark": {"type": "point", "size": 60, "tooltip": tooltip},
                "encoding": {"opacity": {"condition": {"param": "near", "empty": False, "value": 1}, "value": 0}},
            },
        ],
    )


def _bars(kind: str, rows: Sequence[SliceRow]) -> Json:
    """Vega-Lite: a bar per part with its number at the end; a menu chooses the metric."""
    data = []
    names = _metric_names(row.metrics for row in rows)
    for name in names:
        column = [row.metrics.get(name, math.nan) for row in rows]
        data += [
            {"part": row.label, "cases": row.cases, "metric": _shown_name(name), "value": _number(value), "shown": shown}
            for row, value, shown in zip(rows, column, _decimals(column), strict=True)
        ]
    options = [_shown_name(name) for name in names]
    menu = {"name": "metric", "value": options[0] if options else "", "bind": {"input": "select", "options": options, "name": "Metric"}}
    tooltip = [{"field": "part"}, {"field": "cases", "format": ","}, {"field": "metric"}, {"field": "shown", "title": "value"}]
    parts = list(dict.fromkeys(row.label for row in rows))  # also those without a value, which Vega would leave out
    axis = {"labelLimit": 150, "domain": False}
    return _chart(
        f"Metrics by {kind}",
        data,
        height=30 * len(parts),
        padding={"left": 0, "top": 0, "bottom": 0, "right": 48},  # the numbers stand outside the bars
        params=[menu],
        transform=[{"filter": "datum.metric === metric"}],
        encoding={
            "y": {"field": "part", "type": "nominal", "sort": None, "scale": {"domain": parts}, "title": None, "axis": axis},
            "x": {"field": "value", "type": "quantitative", "axis": None},
            "tooltip": tooltip,
        },
        layer=[
            {"mark": {"type": "bar", "height": 16, "cornerRadiusEnd": 2}},
            {"mark": {"type": "text", "align": "left", "dx": 6}, "encoding": {"text": {"field": "shown"}}},
        ],
    )


_ACCENT, _MARK = "var(--accent)", "var(--mark)"


def _chart(description: str, data: Sequence[Json], **parts: Any) -> Json:
    """A Vega-Lite chart as wide as its place, in the page's own colours.

    Text from outside may stand in the data, the description and lists of values. It may not become a field's name or title: of those
    Vega-Lite makes expressions, and a strange enough name breaks them.
    """
    axis = {
        "labelColor": "var(--muted)",
        "titleColor": "var(--muted)",
        "gridColor": "var(--line)",
        "tickColor": "var(--line)",
        "domainColor": "var(--line)",
        "labelFontSize": 12,
        "titleFontSize": 12,
        "titleFontWeight": "normal",
        "ticks": False,
        "labelPadding": 6,
    }
    config = {
        "background": "transparent",
        "font": "system-ui, sans-serif",
        "view": {"stroke": None},
        "axis": axis,
        "axisY": {"domain": False},
        "line": {"color": _ACCENT, "strokeWidth": 2},
        "bar": {"color": _ACCENT},
        "point": {"color": _ACCENT, "filled": True},
        "rule": {"color": _MARK},
        "text": {"color": "var(--ink)", "fontSize": 12},
    }
    values = {"values": list(data)}
    return {"description": description, "width": "container", "data": values, **parts, "config": config}
