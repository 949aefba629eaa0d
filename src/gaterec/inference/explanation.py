"""An explanation as a picture: what each past event adds to the score, and how far its gates are open.

One Vega-Lite chart, as SVG for notebooks, as PNG, or in a page. Its parts share their rows, the latest event on top: bars, parted into what comes
through the gates and what comes directly; the instance gates; and the feature gates, the stronger the more open.
"""

import json
import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

import polars as pl
from torch import Tensor

from gaterec.errors import SettingsError
from gaterec.io.files import write_whole
from gaterec.io.html import SERIES, Json, chart, decimals, figure, render_page, section, sentences, table
from gaterec.io.output import all_visible, visible

EXACT, LEFT_OUT = "exact sum", "leave-one-event-out"


MOST_OPEN = 3
"""So many features of an event are named: those whose gates are most open."""


@dataclass(frozen=True)
class Explanation:
    """A score and its parts.

    Attributes:
        user, item: whose, and of what.
        score: the model's.
        method: EXACT, where lasting + bias + all of `events` is the score; or LEFT_OUT, where each event's part is how much the score falls without it.
        lasting: of the person's lasting taste; None where the model doesn't part it off.
        bias: of the item alone; None likewise.
        events: one row per event in reach, the latest last: item, title where there is one, gated, direct (their parts), total, instance_gate, and
            what_if: the score without that event, computed anew; None for an only event.
        feature_gates: (T, D) how far each feature of each event is open; None without such a gate.
        title: what people know the item by; None where there is none.
        notes: what of the history was left out, as the run does not know these items.
    """

    user: str | None
    item: str
    score: float
    method: str
    lasting: float | None
    bias: float | None
    events: pl.DataFrame
    feature_gates: Tensor | None
    title: str | None = None
    notes: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """The item as people know it."""
        return self.item if self.title is None else f"{self.title} ({self.item})"

    def as_dict(self) -> dict[str, Any]:
        """For JSON: everything, the gates as lists, and of each event the numbers (from 0) of the features that are most open."""
        events, gates = self.events.to_dicts(), self.feature_gates
        if gates is not None:
            widest = gates.topk(min(MOST_OPEN, gates.shape[1])).indices.tolist()
            events = [{**event, "most_open": features} for event, features in zip(events, widest, strict=True)]
        return {
            "user": self.user,
            "item": self.item,
            "title": self.title,
            "notes": list(self.notes),
            "score": self.score,
            "method": self.method,
            "words": str(self),
            "lasting": self.lasting,
            "bias": self.bias,
            "events": events,
            "feature_gates": None if gates is None else gates.tolist(),
        }

    def as_frame(self) -> pl.DataFrame:
        """One row per term: kind (lasting, gated, direct or bias), item and title of its event, value, and share of all terms that speak for the item,
        None where a term speaks against it.

        Where the method is EXACT, the values sum to the score. Else there is one kind, left out, and the values sum to nothing in particular.
        """
        exact = self.method == EXACT
        names = [name for name in ("item", "title") if name in self.events.columns]
        of_events = self.events.select(*names, *(["gated", "direct"] if exact else [pl.col("total").alias("left out")]))
        terms = of_events.with_row_index("place").unpivot(index=["place", *names], variable_name="kind")
        terms = terms.sort("place", maintain_order=True).drop("place")
        alone = pl.DataFrame({"kind": ["lasting", "bias"], "value": [self.lasting, self.bias]}, schema_overrides={"value": pl.Float64})
        frame = pl.concat([alone[:1], terms, alone[1:]], how="diagonal") if exact else terms
        value = pl.col("value")
        share = pl.when(value > 0).then(value / value.filter(value > 0).sum()).when((value == 0) & (value > 0).any()).then(0.0)
        return frame.select("kind", *names, "value", share.alias("share"))

    def _others(self) -> list[tuple[str, float]]:
        """What belongs to no event, by its name in words."""
        return [("your taste over the long run", self.lasting or 0.0), ("that many choose it", self.bias or 0.0)]

    def _speaks_for(self) -> float:
        """The sum of all events and other parts that raise the score."""
        return float(sum(value for value in [*self.events["total"], *(value for _, value in self._others())] if value > 0))

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, str]:
        """What a notebook shows: the picture, and the words where there are no pictures."""
        pass

        return {"image/svg+xml": as_svg(self), "text/plain": str(self)}

    def __str__(self) -> str:
        """In words: because you chose A (41%) and B (22%), and your taste over the long run (30%). Shares are of all that speaks for the item; the
        three events that say most are named."""
        names = pl.coalesce("title", "item") if "title" in self.events.columns else pl.col("item")
        chosen = list(self.events.select(names, "total").iter_rows())
        others, together = self._others(), self._speaks_for()
        best = sorted(((name, value) for name, value in chosen if value > 0), key=lambda part: -part[1])[:3]
        events = _listed([f"{name} ({100 * value / together:.0f}%)" for name, value in best])
        reasons = [f"{name} ({100 * value / together:.0f}%)" for name, value in others if value >= 0.005 * together > 0]
        told = ", and ".join(filter(None, [f"you chose {events}" if events else "", _listed(reasons)]))
        if told.startswith("that "):
            return f"because {told.removeprefix('that ')}"
        return f"because {'of ' if reasons and not events else ''}{told}" if told else "though nothing in the history speaks for it"


def _listed(words: list[str]) -> str:
    """
    >>> _listed(["A", "B", "C"]), _listed(["A"]), _listed([])
    ('A, B and C', 'A', '')
    """
    return " and ".join(filter(None, [", ".join(words[:-1]), *words[-1:]]))


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
    """The chart, in the colours of gaterec.io.html."""
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
    style = files("gaterec.io").joinpath("report.css").read_text(encoding="utf-8")
    light, dark = (
        dict(re.findall(r"--([a-z0-9-]+): (#[0-9a-f]+);", block)) for block in re.findall(r":root \{(.*?)\}", style, re.DOTALL)[:2]
    )
    return {"light": light, "dark": dark}[name]
