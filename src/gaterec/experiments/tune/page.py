"""The page of a search (see gaterec.io.html): what won, how the search went, and what the settings do to the score."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from gaterec.config.metric_names import shown_name
from gaterec.experiments.tune.tables import chosen_text, dashed, setting_column, setting_text
from gaterec.experiments.tune.trials import Search, State, Trial
from gaterec.io.console import counted, duration
from gaterec.io.html import (
    MARK,
    SERIES,
    Json,
    chart,
    commands,
    decimals,
    escape,
    figure,
    pair_table,
    pairs,
    render_page,
    section,
    sentences,
    table,
)

CURVES = 50
"""So many trials' curves are drawn."""
SHORT_LIST = 10
"""A longer one is folded away."""
NUMBERS_BELOW = "the numbers stand in the table of all trials"
CHOICE = 6
"""Numbers of which there are no more are values of a choice, where trials drew them again and again."""
KINDS: dict[State, tuple[str, str]] = {
    "done": (SERIES[0], "circle"),
    "pruned": (SERIES[1], "triangle-down"),
    "failed": (SERIES[3], "cross"),
}
"""States are told apart by colour and by shape."""
FIFTHS = ["best fifth", "second", "middle", "fourth", "last fifth"]
RAMP = [f"var(--ramp-{place})" for place in range(1, len(FIFTHS) + 1)]


def render(search: Search) -> str:
    """The page as text."""
    axes = [axis for axis in (Axis.of(search, name) for name in search.names) if axis.values]
    sections = [
        section("Result", _result(search)),
        section("History", _history(search)),
        section("Parallel coordinates", _parallel(search, axes)),
        section("Importance", _importance(search.importance)),
        section("Slices", _slices(search, axes)),
        section("Curves", _curves(search)),
        section("Pruned", _reasons(search.of("pruned"), "pruned trial")),
        section("Failed", _reasons(search.of("failed"), "failed trial")),
        section("All trials", _all_trials(search)),
        section("How it was searched", sentences(search.how)),
        section("To run it again", commands([search.command] if search.command else [])),
        section("Settings and environment", pairs("Settings of all trials", search.settings) + pairs("Environment", search.environment)),
    ]
    return render_page(search.title, sections)


def _finite(value: float | None) -> bool:
    return value is not None and math.isfinite(value)


def _brief(value: float | None) -> float | None:
    """A number as a chart needs it; none for nan."""
    return float(f"{value:.6g}") if value is not None and math.isfinite(value) else None


def _point(trial: Trial) -> Json:
    """What every chart of trials knows of one."""
    return {"trial": trial.number, "state": trial.state, "score": _brief(trial.score), "chosen": chosen_text(trial.chosen)}


def _scored(search: Search, *states: State) -> list[Trial]:
    return [trial for trial in search.of(*states) if _finite(trial.score)]


TOLD: list[Json] = [{"field": "trial"}, {"field": "state"}, {"field": "score", "format": ".4f"}, {"field": "chosen", "title": "settings"}]
"""What pointing at a trial tells."""


def _by_state(states: Sequence[State]) -> Json:
    """A colour and a shape for each of these states."""
    domain = {"domain": list(states)}
    return {
        "color": {"field": "state", "type": "nominal", "scale": {**domain, "range": [KINDS[state][0] for state in states]}},
        "shape": {"field": "state", "type": "nominal", "scale": {**domain, "range": [KINDS[state][1] for state in states]}},
    }


def _upwards(field: str, values: Sequence[float | None], ticks: int) -> Json:
    """An upward scale; where there is but one value, Vega would find no step to round its label to, and write 0."""
    labels = {"tickCount": ticks} if len(set(values)) > 1 else {"format": ".6~g"}
    return {"field": field, "type": "quantitative", "scale": {"zero": False}, "title": None, "axis": labels}


# -- result ----------------------------------------------------------------------------------------------------------------------------


def _result(search: Search) -> str:
    best = search.best
    if best is None:
        return f"<p>No trial is done, so there is no winner. {_states(search)}</p>\n"
    figures = table(
        "On the validation part, after its best epoch.",
        ["", *map(shown_name, best.valid), "epoch", "time"],
        [f"trial {best.number}"],
        [*(decimals([value]) for value in best.valid.values()), [str(best.best_epoch)], [duration(best.seconds)]],
        chief=0,
    )
    extreme = "highest" if search.bigger else "lowest"
    return (
        f"<p>Trial {best.number} has the {extreme} {escape(search.metric)}: {escape(setting_text(best.score))}. {_states(search)} "
        "Validation chose it among them, so its figures here flatter it; how good it is, only the test part tells.</p>\n"
        f"{figures}{_confirmed(search)}<h3>Its settings</h3>\n{pair_table(best.chosen)}{_front(search)}"
    )


def _confirmed(search: Search) -> str:
    return f"<h3>Trained again, and judged on test</h3>\n{sentences(search.confirmed)}" if search.confirmed else ""


def _states(search: Search) -> str:
    """How many trials came to what."""
    counts = [(state, len(search.of(state))) for state in ("done", "pruned", "failed", "running")]
    counts.append(("not begun", search.total - len(search.trials)))
    return f"Of {counted(search.total, 'trial')}: {', '.join(f'{number:,} {state}' for state, number in counts if number > 0) or 'none begun'}."


def _front(search: Search) -> str:
    """With two objectives: the trials of which none other is both better and cheaper."""
    if search.cost is None:
        return ""
    priced = [trial for trial in search.ranked if _finite(trial.cost)]
    front = [trial for trial in search.front if _finite(trial.cost)]
    if not front:
        return ""
    on_front = {trial.number for trial in front}
    data = [{**_point(trial), "cost": _brief(trial.cost), "front": trial.number in on_front} for trial in priced]
    of_front = {"transform": [{"filter": "datum.front"}]}
    spec = chart(
        "score by cost",
        data,
        height=300,
        encoding={
            "x": {
                "field": "cost",
                "type": "quantitative",
                "scale": {"zero": False},
                "title": None,
                "axis": {"grid": False, "tickCount": 8},
            },
            "y": _upwards("score", [trial.score for trial in priced], 6),
            "tooltip": [TOLD[0], TOLD[2], {"field": "cost", "format": ",.4~f"}, TOLD[3]],
        },
        layer=[
            {**of_front, "mark": {"type": "line", "color": MARK, "interpolate": "step-after"}},
            {"mark": {"type": "point", "size": 40, "opacity": 0.6}},
            {**of_front, "mark": {"type": "point", "size": 90, "color": MARK, "opacity": 1}},
        ],
    )
    numbers = table(
        "The Pareto front, the best score first.",
        ["", search.metric, search.cost, *search.names],
        [f"trial {trial.number}" for trial in front],
        [
            dashed([trial.score for trial in front]),
            dashed([trial.cost for trial in front]),
            *(setting_column(front, name) for name in search.names),
        ],
        tall=True,
    )
    remark = f"to the right: {search.cost}; the line joins those of which none other is both better and cheaper"
    return f"<h3>Pareto front</h3>\n{figure(search.metric, remark, spec)}{numbers}"


# -- history ---------------------------------------------------------------------------------------------------------------------------


def _history(search: Search) -> str:
    """Every trial's score by its number; what failed without a score stands at the bottom."""
    scored = _scored(search, "done", "pruned", "failed")
    if not scored:
        return ""
    lost = [trial for trial in search.of("failed") if not _finite(trial.score)]
    states = [state for state in KINDS if any(trial.state == state for trial in [*scored, *lost])]
    so_far = best_so_far(search)
    x = {"field": "trial", "type": "quantitative", "scale": {"zero": False, "nice": False, "padding": 12}, "title": "trial"}
    x["axis"] = {"grid": False, "tickMinStep": 1, "tickCount": 10, "format": "d"}
    y = _upwards("score", [trial.score for trial in scored], 6)
    told = {**_by_state(states), "tooltip": TOLD}
    layer = [{"mark": {"type": "point", "size": 50}, "encoding": {"y": y, **told}}]
    if lost:
        layer.append(
            {
                "data": {"values": [_point(trial) for trial in lost]},
                "mark": {"type": "point", "size": 50},
                "encoding": {"y": {"value": {"expr": "height - 5"}}, **told},
            }
        )
    if so_far:
        line = {"type": "line", "interpolate": "step-after", "color": MARK, "strokeWidth": 1.5}
        values = [{"trial": number, "best": _brief(value)} for number, value in so_far.items()]
        layer.insert(0, {"data": {"values": values}, "mark": line, "encoding": {"y": {**y, "field": "best"}}})
    spec = chart("score by trial", [_point(trial) for trial in scored], height=280, encoding={"x": x}, layer=layer)
    remark = ["the line is the best so far", "failed trials without a score stand at the bottom" if lost else "", NUMBERS_BELOW]
    return figure(search.metric, "; ".join(filter(None, remark)), spec)


def best_so_far(search: Search) -> dict[int, float]:
    """Trial number -> the best score of the trials up to it that are done, from the first of those on to the last trial of all."""
    better = max if search.bigger else min
    found: dict[int, float] = {}
    best: float | None = None
    for trial in search.trials:
        if trial.state == "done" and trial.score is not None and math.isfinite(trial.score):
            best = trial.score if best is None else better(best, trial.score)
        if best is not None:
            found[trial.number] = best
    return found


# -- the searched settings as axes -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Axis:
    """A scale for the values of a setting, or for the scores.

    Attributes:
        values: number of trial -> a number, or one of `domain`.
        domain: the texts of values that are not to scale but stand side by side; empty for numbers.
        log: whether the scale is logarithmic.
    """

    name: str
    values: Mapping[int, Any]
    domain: Sequence[str] = ()
    log: bool = False

    @classmethod
    def of(cls, search: Search, name: str) -> "Axis":
        """The axis of a searched setting.

        Numbers are to scale, but for those of which there are few, in many trials: of a choice, [0, 0.001, 0.1] say, one wants to see all values.
        """
        values = {trial.number: trial.chosen[name] for trial in _scored(search, "done", "pruned") if name in trial.chosen}
        numeric = all(isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e300 for value in values.values())
        log = name in search.logarithmic and numeric and min(values.values(), default=0) > 0
        different = len(set(map(repr, values.values())))
        if numeric and (log or different > CHOICE or 2 * different > len(values)):
            return cls(name, {number: _brief(value) for number, value in values.items()}, log=log)
        texts: dict[str, str] = {}
        for value in sorted(values.values()) if numeric else values.values():
            text = setting_text(value)
            texts.setdefault(repr(value), f"{text} ({len(texts) + 1})" if text in texts.values() else text)
        return cls(name, {number: texts[repr(value)] for number, value in values.items()}, domain=list(texts.values()))

    def place(self, value: Any) -> float:
        """Where a value stands, from 0 (the lowest) to 1."""
        if self.domain:
            return self.domain.index(value) / (len(self.domain) - 1) if len(self.domain) > 1 else 0.5
        low, high = min(self.values.values()), max(self.values.values())
        if self.log:
            low, high, value = math.log(low), math.log(high), math.log(value)
        return float((value - low) / (high - low)) if high > low else 0.5

    def ticks(self) -> list[tuple[float, str]]:
        """What is written beside the axis, and where."""
        if self.domain:
            every = 1 + (len(self.domain) - 1) // 12
            return [(self.place(text), text) for text in self.domain[::every]]
        low, high = min(self.values.values()), max(self.values.values())
        steps = _powers(low, high) if self.log else _round_numbers(low, high)
        return [(self.place(value), f"{value:.6g}") for value in (steps if len(steps) > 1 else sorted({low, high}))]


def _round_numbers(low: float, high: float) -> list[float]:
    """Multiples of 1, 2 or 5 times a power of ten, at most six.

    >>> _round_numbers(0, 50), _round_numbers(3, 3)
    ([0.0, 10.0, 20.0, 30.0, 40.0, 50.0], [])
    """
    if low == high:
        return []
    power = 10.0 ** math.floor(math.log10((high - low) / 5))
    step = next(step for step in (power, 2 * power, 5 * power, 10 * power) if high - low <= 5 * step)
    return [number * step for number in range(math.ceil(low / step), math.floor(high / step) + 1)]


def _powers(low: float, high: float) -> list[float]:
    """Powers of ten; of a short scale twice and five times these too.

    >>> _powers(0.0001, 0.1), _powers(0.001, 0.03)
    ([0.0001, 0.001, 0.01, 0.1], [0.001, 0.002, 0.005, 0.01, 0.02])
    """
    first, last = math.floor(math.log10(low)), math.ceil(math.log10(high))
    every, factors = 1 + (last - first) // 7, (1, 2, 5) if last - first < 3 else (1,)
    return [value for power in range(first, last + 1, every) for factor in factors if low <= (value := float(f"{factor}e{power}")) <= high]


# -- parallel coordinates --------------------------------------------------------------------------------------------------------------


def _parallel(search: Search, axes: Sequence[Axis]) -> str:
    """A line per trial that is done, over an axis per setting and one for the score."""
    trials = search.ranked
    if len(trials) < 2 or not axes:
        return ""
    axes = [*axes, Axis(search.metric, {trial.number: _brief(trial.score) for trial in trials})]
    data = [
        {
            **_point(trial),
            "fifth": FIFTHS[len(FIFTHS) * rank // len(trials)],
            "rank": rank,
            **{f"a{i}": round(axis.place(axis.values[trial.number]), 4) for i, axis in enumerate(axes) if trial.number in axis.values},
        }
        for rank, trial in enumerate(trials)
    ]
    crowded, faint = len(axes) > 6, max(0.25, min(1.0, 100 / len(trials)))
    names = [{"axis": i, "text": axis.name, "up": -14 - 16 * (crowded and i % 2)} for i, axis in enumerate(axes)]
    ticks = [{"axis": i, "place": round(place, 4), "text": text} for i, axis in enumerate(axes) for place, text in axis.ticks()]
    x = {"field": "axis", "type": "quantitative", "axis": None, "scale": {"domain": [-0.25, len(axes) - 0.5], "nice": False}}
    y = {"field": "place", "type": "quantitative", "axis": None, "scale": {"domain": [0, 1]}}
    unfolded = [
        {"fold": [f"a{i}" for i in range(len(axes))], "as": ["key", "place"]},
        {"filter": "isValid(datum.place)"},
        {"calculate": "toNumber(substring(datum.key, 1))", "as": "axis"},
    ]
    line = {"x": x, "y": y, "detail": {"field": "trial"}, "tooltip": [TOLD[0], TOLD[2], TOLD[3]]}
    legend = {"columns": len(FIFTHS), "symbolOpacity": 1, "offset": 42 if crowded else 26}  # above the names of the axes
    colour = {"field": "fifth", "type": "ordinal", "sort": None, "scale": {"domain": FIFTHS, "range": RAMP}, "legend": legend}
    of_axis = {"x": x, "y": y, "text": {"field": "text"}}
    text = {"type": "text", "align": "left", "dx": 6, "limit": 95 if crowded else 110}
    spec = chart(
        "trials in parallel coordinates",
        data[::-1],  # the best are drawn last, so on top
        height=320,
        padding={"left": 0, "top": 4, "bottom": 8, "right": 0},
        layer=[
            {"data": {"values": names}, "mark": {"type": "rule", "color": "var(--muted)"}, "encoding": {"x": x}},
            {"transform": unfolded, "mark": {"type": "line", "strokeWidth": 1.5, "opacity": faint}, "encoding": {**line, "color": colour}},
            {
                "transform": [{"filter": "datum.rank === 0"}, *unfolded],
                "mark": {"type": "line", "strokeWidth": 3, "color": MARK},
                "encoding": line,
            },
            {"data": {"values": ticks}, "mark": {**text, "stroke": "var(--paper)", "strokeWidth": 4}, "encoding": of_axis},
            {"data": {"values": ticks}, "mark": text, "encoding": of_axis},
            {
                "data": {"values": names},
                "mark": {"type": "text", "fontWeight": 600, "limit": 210 if crowded else 140},
                "encoding": {"x": x, "y": {"field": "up", "type": "quantitative", "scale": None}, "text": {"field": "text"}},
            },
        ],
        resolve={"scale": {"y": "independent"}},
    )
    remark = f"the thick line is the best, trial {trials[0].number}; pruned and failed trials are left out; {NUMBERS_BELOW}"
    width = (7 if crowded else 9) * len(axes)
    return f'<div class="scroll">\n<div style="min-width: {width}rem">\n{figure("Trials that are done", remark, spec)}</div>\n</div>\n'


# -- importance and slices -------------------------------------------------------------------------------------------------------------


def _importance(importance: Mapping[str, float]) -> str:
    """Each setting's share of what makes the difference."""
    found = {name: share for name, share in sorted(importance.items(), key=lambda pair: -pair[1]) if math.isfinite(share)}
    if not found:
        return ""
    shares = [f"{100 * share:.0f} %" for share in found.values()]
    spec = chart(
        "importance of settings",
        [{"setting": name, "share": _brief(share), "shown": shown} for (name, share), shown in zip(found.items(), shares, strict=True)],
        height=30 * len(found),
        padding={"left": 0, "top": 0, "bottom": 0, "right": 48},  # the numbers stand outside the bars
        encoding={
            "y": {
                "field": "setting",
                "type": "nominal",
                "sort": None,
                "scale": {"domain": list(found)},
                "title": None,
                "axis": {"labelLimit": 180, "domain": False},
            },
            "x": {"field": "share", "type": "quantitative", "axis": None},
        },
        layer=[
            {"mark": {"type": "bar", "height": 16, "cornerRadiusEnd": 2}},
            {"mark": {"type": "text", "align": "left", "dx": 6}, "encoding": {"text": {"field": "shown"}}},
        ],
    )
    numbers = table("Share of the differences.", ["setting", "share"], list(found), [shares])
    return f'<div class="beside">\n{figure("", "", spec)}{numbers}</div>\n'


def _slices(search: Search, axes: Sequence[Axis]) -> str:
    """A small chart for each setting: its value against the score."""
    trials = _scored(search, "done", "pruned")
    if len(trials) < 2:
        return ""
    charts = [figure(axis.name, "on a logarithmic scale" if axis.log else "", _slice(axis, trials)) for axis in axes]
    if not charts:
        return ""
    explained = f"{search.metric} by the value of each setting; circles are trials that are done, triangles those that were pruned; {NUMBERS_BELOW}."
    return f'<p>{escape(explained)}</p>\n<div class="charts">\n{"".join(charts)}</div>\n'


def _slice(axis: Axis, trials: Sequence[Trial]) -> Json:
    if axis.domain:
        wide = sum(map(len, axis.domain)) > 36
        x: Json = {"type": "nominal", "sort": None, "scale": {"domain": axis.domain}}
        x["axis"] = {"labelAngle": -30 if wide else 0, "labelLimit": 110}
    else:
        x = {"type": "quantitative", "scale": {"type": "log"} if axis.log else {"zero": False}}
        x["axis"] = {"grid": False, "tickCount": 5, "labelOverlap": True, "format": ".6~g"}
    told = _by_state([state for state in KINDS if state != "failed"])
    for channel in told.values():
        channel["legend"] = None
    return chart(
        f"score by {axis.name}",
        [
            {"trial": trial.number, "state": trial.state, "score": _brief(trial.score), "value": axis.values[trial.number]}
            for trial in trials
            if trial.number in axis.values
        ],
        height=170,
        mark={"type": "point", "size": 36, "opacity": 0.7},
        encoding={
            "x": {"field": "value", "title": None, **x},
            "y": _upwards("score", [trial.score for trial in trials], 5),
            **told,
            "tooltip": [TOLD[0], {"field": "value"}, TOLD[2]],
        },
    )


# -- curves ----------------------------------------------------------------------------------------------------------------------------


def _curves(search: Search) -> str:
    """The score on the validation part after every epoch, of the best trials."""
    found = {trial.number: [point for point in trial.curve if math.isfinite(point[1])] for trial in search.of(*KINDS)}
    if all(len(points) < 2 for points in found.values()):
        return ""
    trials = sorted((trial for trial in search.of(*KINDS) if found[trial.number]), key=lambda trial: _from_best(search, trial))
    drawn = sorted(trials[:CURVES], key=lambda trial: trial.number)
    best = search.best.number if search.best else None
    points = {
        trial.number: [
            {"trial": trial.number, "state": trial.state, "epoch": epoch, "value": _brief(value)} for epoch, value in found[trial.number]
        ]
        for trial in drawn
    }
    ends = [points[trial.number][-1] for trial in drawn if trial.state != "done"]
    states = [state for state in KINDS if any(trial.state == state for trial in drawn)]
    told = _by_state(states)
    line = {"color": told["color"], "detail": {"field": "trial"}}
    tooltip = {"tooltip": [TOLD[0], TOLD[1], {"field": "epoch"}, {"field": "value", "format": ".4f"}]}
    thick = {"type": "line", "strokeWidth": 3, "color": MARK}
    layer = [
        {"mark": {"type": "line", "strokeWidth": 1.25, "opacity": 0.6}, "encoding": {**line, **tooltip}},
        *([{"data": {"values": ends}, "mark": {"type": "point", "size": 40}, "encoding": {**told, **tooltip}}] if ends else []),
        *(
            [{"transform": [{"filter": f"datum.trial === {best}"}], "mark": thick, "encoding": tooltip}]
            if best in {t.number for t in drawn}
            else []
        ),
    ]
    ticks = {"tickMinStep": 1, "tickCount": 8, "grid": False}
    spec = chart(
        "score by epoch",
        [point for of_trial in points.values() for point in of_trial],
        height=300,
        encoding={
            "x": {"field": "epoch", "type": "quantitative", "scale": {"zero": False, "nice": False}, "axis": ticks},
            "y": _upwards("value", [value for trial in drawn for _, value in found[trial.number]], 6),
        },
        layer=layer,
    )
    of = f"of the {CURVES} best of {len(trials):,} trials" if len(trials) > CURVES else "of every trial"
    by_trial = [dict(found[trial.number]) for trial in drawn]
    epochs = sorted({epoch for values in by_trial for epoch in values})
    numbers = table(
        f"{search.metric} on the validation part, {of}.",
        ["epoch", *(f"trial {trial.number}" for trial in drawn)],
        [str(epoch) for epoch in epochs],
        [dashed([values.get(epoch) for epoch in epochs]) for values in by_trial],
        tall=True,
    )
    remark = f"{of}, on the validation part" + (f"; the thick line is the best, trial {best}" if best is not None else "")
    return f"{figure(search.metric, remark, spec)}<details>\n<summary>The numbers of these curves</summary>\n{numbers}</details>\n"


def _from_best(search: Search, trial: Trial) -> tuple[float, int]:
    """A key that sorts trials, whatever became of them, by their score, the best first."""
    score = trial.score if trial.score is not None and math.isfinite(trial.score) else math.inf
    return (-score if search.bigger and score != math.inf else score), trial.number


# -- lists -----------------------------------------------------------------------------------------------------------------------------


def _reasons(trials: Sequence[Trial], what: str) -> str:
    """Which trials came to nothing, and why; folded away where there are many."""
    lines = sentences([f"Trial {trial.number} ({chosen_text(trial.chosen)}): {trial.reason or 'no reason is known'}" for trial in trials])
    if len(trials) <= SHORT_LIST:
        return lines
    return f"<details>\n<summary>{counted(len(trials), what)}</summary>\n{lines}</details>\n"


def _all_trials(search: Search) -> str:
    trials, so_far = search.trials, best_so_far(search)
    if not trials:
        return ""
    columns: list[tuple[str, Sequence[str]]] = [
        ("state", [trial.state for trial in trials]),
        *((name, setting_column(trials, name)) for name in search.names),
        (search.metric, dashed([trial.score for trial in trials])),
        ("best so far", dashed([so_far.get(trial.number) for trial in trials])),
        *([(search.cost, dashed([trial.cost for trial in trials]))] if search.cost else []),
        ("best epoch", [str(trial.best_epoch) if trial.best_epoch else "–" for trial in trials]),
        ("time", [duration(trial.seconds) for trial in trials]),
    ]
    best = search.best
    return table(
        "In the order in which they were begun.",
        ["trial", *(head for head, _ in columns)],
        [str(trial.number) for trial in trials],
        [column for _, column in columns],
        chief=next((row for row, trial in enumerate(trials) if best and trial.number == best.number), None),
        tall=True,
    )
