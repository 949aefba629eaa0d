"""An explanation as a picture: what each past event adds to the score, and how far its gates are open.

One Vega-Lite chart, as SVG for notebooks, as PNG, or in a page. Its parts share their rows, the latest event on top: bars, parted into what comes
through the gates and what comes directly; the instance gates; and the feature gates, the stronger the more open.
"""

import json
import math
import re
from collections.abc import Callable
from functools import cache
from importlib.resources import files
from pathlib import Path

import polars as pl

from gaterec.errors import SettingsError
from gaterec.explain import EXACT, Explanation
from gaterec.files import write_whole
from gaterec.output import all_visible, visible
from gaterec.page import SERIES, Json, chart, decimals, figure, render_page, section, sentences, table

EVENTS, FEATURES = 60, 128
"""The largest picture. Of more events those that weigh most are shown and all others are one bar; of more features every n-th by openness is shown."""
COLOURS = {
    "lasting taste": SERIES[2],
    "through the gates": SERIES[0],
    "directly": SERIES[1],
    "the item by itself": SERIES[6],
    "left out": SERIES[0],
}
KINDS = {
    "lasting": "lasting taste",
    "gated": "through the gates",
    "direct": "directly",
    "bias": "the item by itself",
    "left out": "left out",
}
ROW, LABELS = 20, 260


def write(explanation: Explanation, path: Path) -> None:
    """Writes an explanation in the form that the ending of its name asks for: .svg, .png, .html or .json.

    Raises:
        SettingsError: another ending.
        RunError: the file can't be written.
    """
    forms: dict[str, Callable[[], bytes]] = {
        ".svg": lambda: as_svg(explanation).encode(),
        ".png": lambda: as_png(explanation),
        ".html": lambda: as_page(explanation).encode("utf-8", errors="replace"),
        ".json": lambda: json.dumps(explanation.as_dict(), ensure_ascii=False, indent=1).encode("utf-8", "backslashreplace"),
    }
    if path.suffix not in forms:
        raise SettingsError(f"out: expected a name that ends in {', '.join(forms)}; found {path.name!r}")
    content = forms[path.suffix]()
    write_whole(path, lambda part: part.write_bytes(content))


def as_svg(explanation: Explanation) -> str:
    """The picture in light colours, which a browser turns into dark ones for those who prefer them."""
    import vl_convert  # takes a while

    light, dark = _palette("light"), _palette("dark")
    svg: str = vl_convert.vegalite_to_svg(_coloured(explanation))
    rules = [f'svg.gaterec [{part}="{light[name]}"] {{ {part}: {dark[name]}; }}' for name in light for part in ("fill", "stroke")]
    style = "\n".join(["<style>@media (prefers-color-scheme: dark) {", *rules, "}</style>"])
    return svg.replace('class="marks"', 'class="gaterec"', 1).replace(">", f">{style}", 1)


def as_png(explanation: Explanation) -> bytes:
    """The picture in light colours, at twice its size, for screens of many dots."""
    import vl_convert

    picture: bytes = vl_convert.vegalite_to_png(_coloured(explanation), scale=2)
    return picture


def as_page(explanation: Explanation) -> str:
    """The picture, the words and the numbers as one HTML file."""
    frame = explanation.as_frame()
    name = pl.coalesce(*(column for column in ("title", "item") if column in frame.columns)).fill_null("")
    shares = ["–" if share is None else f"{100 * share:.1f} %" for share in frame["share"]]
    columns = [[KINDS[kind] for kind in frame["kind"]], decimals(frame["value"].to_list()), shares]
    numbers = table("Every term, in order of time", ["event", "kind", "value", "share"], frame.select(name).to_series().to_list(), columns)
    words = sentences([f"{explanation}.", f"Score {explanation.score:.4f} ({explanation.method})."])
    return render_page(_title(explanation), [section("Why", words + figure("", "", spec(explanation))), section("The numbers", numbers)])


def spec(explanation: Explanation) -> Json:
    """The chart, in the colours of gaterec.page."""
    events = _shown_events(explanation)
    bars, ends = _bars(explanation, events)
    rows = [end["row"] for end in ends]
    data = {row["row"]: row for row in events if row["place"] is not None}
    parts = [_bar_chart(bars, ends, rows)]
    instance = [{"row": row, "gate": event["instance_gate"]} for row, event in data.items()]
    if any(cell["gate"] is not None for cell in instance):
        parts.append(_heat_map("Instance gate", [{**cell, "feature": 0} for cell in instance], rows, told=True))
    if explanation.feature_gates is not None:
        gates = explanation.feature_gates[[event["place"] for event in data.values()]]  # (R, D)
        order = gates.mean(0).argsort(descending=True)
        order = order[:: math.ceil(len(order) / FEATURES)]
        cells = [
            {"row": row, "feature": feature, "gate": gate}
            for row, values in zip(data, gates[:, order].tolist(), strict=True)
            for feature, gate in zip(order.tolist(), values, strict=True)
        ]
        head = f"Feature gates, {float(gates.min()):.2f} (faint) to {float(gates.max()):.2f} (strong)"
        parts.append(_heat_map(head, cells, rows, told=False))
    whole = chart(
        _title(explanation),
        [],
        hconcat=parts,
        spacing=16,
        resolve={"scale": {"color": "independent", "opacity": "independent"}},
    )
    return {key: all_visible(value) for key, value in whole.items() if key not in {"width", "data"}}


def _title(explanation: Explanation) -> str:
    whom = "somebody with this history" if explanation.user is None else explanation.user
    return f"Why {explanation.name} for {whom}: score {explanation.score:.4f}"


def _shown_events(explanation: Explanation) -> list[Json]:
    """The rows of the events, the latest first, with their place in the history; those that are too many as one without a place."""
    events = explanation.events.with_row_index("place")
    parts = [name for name in ("gated", "direct", "total") if not events[name].is_null().all()]
    weight = sum((events[name].abs() for name in parts), pl.zeros(len(events), eager=True))
    shown = events.filter(weight.rank("ordinal", descending=True) <= EVENTS).reverse()
    hidden = events.join(shown, on="place", how="anti")
    rows = [
        {**row, "row": f"{len(events) - row['place']} · {visible(row.get('title') or row['item'])}"} for row in shown.iter_rows(named=True)
    ]
    if len(hidden):
        others = {name: hidden[name].sum() if name in parts else None for name in ("gated", "direct", "total")}
        rows.append({**others, "place": None, "row": f"{len(hidden):,} other events"})
    return rows


def _bars(explanation: Explanation, events: list[Json]) -> tuple[list[Json], list[Json]]:
    """One bar for each term, and one number for each row, which stands where its bars end."""
    exact = explanation.method == EXACT
    terms = {
        event["row"]: {"gated": event["gated"], "direct": event["direct"]} if exact else {"left out": event["total"]} for event in events
    }
    if exact:
        terms |= {"lasting taste": {"lasting": explanation.lasting}, "the item by itself": {"bias": explanation.bias}}
    bars = [{"row": row, "kind": KINDS[kind], "value": value} for row, parts in terms.items() for kind, value in parts.items()]
    ends = []
    for row, parts in terms.items():
        values = [value or 0.0 for value in parts.values()]
        ends.append({"row": row, "end": sum(max(value, 0.0) for value in values), "text": f"{sum(values):+.3f}".replace("-", "−")})
    return bars, ends


def _bar_chart(bars: list[Json], ends: list[Json], rows: list[str]) -> Json:
    kinds = list(dict.fromkeys(bar["kind"] for bar in bars))
    axis = {"labelLimit": LABELS, "grid": False, "labelColor": "var(--ink)"}
    y = {"field": "row", "type": "nominal", "scale": {"domain": rows}, "title": None, "axis": axis}
    colours = {"domain": kinds, "range": [COLOURS[kind] for kind in kinds]}
    legend = {"columns": len(kinds)} if len(kinds) > 1 else None
    colour = {"field": "kind", "type": "nominal", "scale": colours, "legend": legend}
    room = 1.2 * max(0.0, *(end["end"] for end in ends))  # also for the numbers behind the bars
    x = {"field": "value", "type": "quantitative", "title": None, "axis": {"tickCount": 5}, "scale": {"domainMax": room}}
    tooltip = [{"field": "row", "title": "event"}, {"field": "kind"}, {"field": "value", "format": ".5f"}]
    return {
        "title": _heading("What each adds to the score" if len(kinds) > 1 else "How far the score falls without it"),
        "width": 340,
        "height": {"step": ROW},
        "layer": [
            {
                "data": {"values": bars},
                "mark": {"type": "bar", "height": {"band": 0.7}},
                "encoding": {"x": x, "y": y, "color": colour, "tooltip": tooltip},
            },
            {
                "data": {"values": ends},
                "mark": {"type": "text", "align": "left", "dx": 5, "color": "var(--muted)", "fontSize": 11},
                "encoding": {"x": {"field": "end", "type": "quantitative"}, "y": y, "text": {"field": "text"}},
            },
        ],
    }


def _heat_map(head: str, cells: list[Json], rows: list[str], *, told: bool) -> Json:
    """Cells of one colour, the stronger the more open; the numbers stand in them when they are told."""
    columns = len({cell["feature"] for cell in cells})
    step = 44 if told else max(3, min(12, 400 // columns))  # whole units, so that no seams show
    y = {"field": "row", "type": "nominal", "scale": {"domain": rows}, "axis": None}
    x = {"field": "feature", "type": "nominal", "sort": None, "axis": None}
    values = [cell["gate"] for cell in cells]
    opacity = {
        "field": "gate",
        "type": "quantitative",
        "legend": None,
        "scale": {"domain": [min(values), max(values)], "range": [0.06, 0.6 if told else 1.0], "zero": False},
    }
    tooltip = [{"field": "row", "title": "event"}, {"field": "gate", "format": ".3f"}]
    if not told:
        tooltip.insert(1, {"field": "feature"})
    squares = {
        "mark": {"type": "rect", "color": "var(--accent)", "aria": False},
        "encoding": {"x": x, "y": y, "opacity": opacity, "tooltip": tooltip},
    }
    number = {
        "mark": {"type": "text", "fontSize": 11, "color": "var(--ink)"},
        "encoding": {"x": x, "y": y, "text": {"field": "gate", "format": ".2f"}},
    }
    return {
        "title": _heading(head),
        "width": {"step": step},
        "height": {"step": ROW},
        "data": {"values": cells},
        "layer": [squares, *([number] if told else [])],
    }


def _heading(text: str, size: int = 12) -> Json:
    return {"text": text, "anchor": "start", "fontSize": size, "color": "var(--ink)"}


def _coloured(explanation: Explanation) -> Json:
    """The chart on a ground of its own, in colours that any renderer knows."""
    light = _palette("light")
    whole: Json = {**spec(explanation), "title": _heading(visible(_title(explanation)), 14), "padding": 14}
    text = re.sub(r'"var\(--([a-z0-9-]+)\)"', lambda found: f'"{light.get(found[1], "")}"', json.dumps(whole))
    whole = json.loads(text)
    whole["config"] |= {"background": light["paper"], "font": "DejaVu Sans, Verdana, sans-serif"}
    return whole


@cache
def _palette(name: str) -> dict[str, str]:
    """Name -> colour, of the pages' style; light or dark."""
    style = files("gaterec").joinpath("report.css").read_text(encoding="utf-8")
    light, dark = (
        dict(re.findall(r"--([a-z0-9-]+): (#[0-9a-f]+);", block)) for block in re.findall(r":root \{(.*?)\}", style, re.DOTALL)[:2]
    )
    return {"light": light, "dark": dark}[name]
