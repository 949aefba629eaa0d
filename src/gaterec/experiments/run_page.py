"""The report of a run: one HTML page (see gaterec.io.html) that says how good the model is, under which protocol, and how to get the same again.

The data is plain: nothing here knows of models, tensors or settings files.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypedDict

from gaterec.config.metric_names import shown_name
from gaterec.evaluation.slices import SliceRow
from gaterec.io.html import (
    ACCENT,
    MARK,
    Json,
    chart,
    commands,
    decimals,
    escape,
    figure,
    metric_names,
    number,
    pairs,
    render_page,
    section,
    sentences,
    table,
    write_page,
)


class Epoch(TypedDict):
    """One pass over the training part."""

    epoch: int
    loss: float
    seconds: float
    valid: dict[str, float] | None  # None where the epoch was not validated


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
    write_page(render(report), Path(path))


def render(report: Report) -> str:
    """The page as text."""
    sections = [
        section("Result", _headline(report.headline)),
        section("Notes", sentences(report.notes)),
        section("How it was measured", sentences(report.protocol)),
        section("Training", _training(report.epochs, report.best_epoch)),
        section("Where it is good, and where not", "".join(_slice(name, rows) for name, rows in report.slices.items())),
        section("To run it again", commands(report.commands)),
        section("Settings and environment", pairs("Settings", report.settings) + pairs("Environment", report.environment)),
    ]
    return render_page(report.title, sections)


# Tables


def _headline(rows: Sequence[tuple[str, Mapping[str, float]]]) -> str:
    if not rows:
        return ""
    names = metric_names(metrics for _, metrics in rows)
    columns = [[metrics.get(name, math.nan) for _, metrics in rows] for name in names]
    return table(
        "On the test part.",
        ["", *map(shown_name, names)],
        [label for label, _ in rows],
        [decimals(column) for column in columns],
        chief=0,
    )


def _epoch_table(epochs: Sequence[Epoch], best: int | None) -> str:
    names = metric_names(epoch["valid"] or {} for epoch in epochs)
    columns = [[epoch["loss"] for epoch in epochs]]
    columns += [[(epoch["valid"] or {}).get(name, math.nan) for epoch in epochs] for name in names]
    labels = [f"{epoch['epoch']} (kept)" if epoch["epoch"] == best else str(epoch["epoch"]) for epoch in epochs]
    chief = next((row for row, epoch in enumerate(epochs) if epoch["epoch"] == best), None)
    seconds = [f"{epoch['seconds']:,.2f}" for epoch in epochs]
    return table(
        "Every epoch; metrics are those of the validation part.",
        ["epoch", "loss", *map(shown_name, names), "seconds"],
        labels,
        [*map(decimals, columns), seconds],
        chief=chief,
        tall=True,
    )


def _slice_table(name: str, rows: Sequence[SliceRow]) -> str:
    names = metric_names(row.metrics for row in rows)
    columns = [[row.metrics.get(metric, math.nan) for row in rows] for metric in names]
    return table(
        f"Test cases by {name}.",
        [name, "cases", *map(shown_name, names)],
        [row.label for row in rows],
        [[f"{row.cases:,}" for row in rows], *map(decimals, columns)],
    )


# Charts


def _training(epochs: Sequence[Epoch], best: int | None) -> str:
    if not epochs:
        return ""
    remark = f"epoch {best} was kept" if best is not None else ""
    curves = [("Loss", "training part", {epoch["epoch"]: epoch["loss"] for epoch in epochs})]
    for name in metric_names(epoch["valid"] or {} for epoch in epochs):
        points = {epoch["epoch"]: epoch["valid"][name] for epoch in epochs if epoch["valid"] and name in epoch["valid"]}
        curves.append((shown_name(name), remark, points))
    charts = [figure(name, aside, _curve(name, points, best)) for name, aside, points in curves if len(points) > 1]
    numbers = _epoch_table(epochs, best)
    if not charts:
        return numbers
    return f'<div class="charts">\n{"".join(charts)}</div>\n<details>\n<summary>The numbers of all epochs</summary>\n{numbers}</details>'


def _slice(name: str, rows: Sequence[SliceRow]) -> str:
    if not rows:
        return ""
    bars = figure("", "", _bars(name, rows))
    return f'<h3>By {escape(name)}</h3>\n<div class="beside">\n{bars}{_slice_table(name, rows)}</div>\n'


def _curve(name: str, points: Mapping[int, float], best: int | None) -> Json:
    """Vega-Lite: a line over the epochs; a dashed rule and a dot mark the best epoch; the nearest point tells its numbers."""
    few = len(points) <= 30
    nearest = {"type": "point", "on": "pointerover", "nearest": True, "clear": "pointerout"}
    # What `nearest` puts under the pointer is a cell around the point, whose datum is the point; a list of fields would miss that.
    tooltip = {"expr": "{epoch: (datum.datum || datum).epoch, value: (datum.datum || datum).shown}"}
    is_best = [{"filter": "datum.best"}]
    marks = [
        {"transform": is_best, "mark": {"type": "rule", "strokeDash": [3, 3]}, "encoding": {"y": None}},
        {"transform": is_best, "mark": {"type": "point", "size": 60, "color": MARK}},
    ]
    marked = best is not None and math.isfinite(points.get(best, math.nan))  # a layer of nothing would have no extent
    ticks = {"tickMinStep": 1, "tickCount": 6, "labelOverlap": True, "labelSeparation": 6, "grid": False}
    return chart(
        f"{name} by epoch",
        [
            {"epoch": epoch, "value": number(value), "shown": shown, "best": epoch == best}
            for (epoch, value), shown in zip(points.items(), decimals(list(points.values())), strict=True)
        ],
        height=170,
        encoding={
            "x": {"field": "epoch", "type": "quantitative", "scale": {"zero": False, "nice": False}, "axis": ticks},
            "y": {"field": "value", "type": "quantitative", "scale": {"zero": False}, "title": None, "axis": {"tickCount": 5}},
        },
        layer=[
            {"mark": {"type": "line", "point": {"size": 18, "color": ACCENT} if few else False}},
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
    names = metric_names(row.metrics for row in rows)
    for name in names:
        column = [row.metrics.get(name, math.nan) for row in rows]
        data += [
            {"part": row.label, "cases": row.cases, "metric": shown_name(name), "value": number(value), "shown": shown}
            for row, value, shown in zip(rows, column, decimals(column), strict=True)
        ]
    options = [shown_name(name) for name in names]
    menu = {"name": "metric", "value": options[0] if options else "", "bind": {"input": "select", "options": options, "name": "Metric"}}
    tooltip = [{"field": "part"}, {"field": "cases", "format": ","}, {"field": "metric"}, {"field": "shown", "title": "value"}]
    parts = list(dict.fromkeys(row.label for row in rows))  # also those without a value, which Vega would leave out
    axis = {"labelLimit": 150, "domain": False}
    return chart(
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
