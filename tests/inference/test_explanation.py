"""The picture of an explanation: what stands in it, for every kind of model, and that no title can break it."""

import re
import xml.etree.ElementTree
from dataclasses import replace

import polars as pl
import pytest
import torch

from gaterec.inference import explanation as explanation_picture
from gaterec.inference.explanation import EXACT, LEFT_OUT, Explanation, as_page, as_png, as_svg, spec

NASTY = """</svg><script>alert("1")</script> datum['x'] ${y} & "var(--ink)" \\"""


def explanation(events: int = 3, features: int | None = 4) -> Explanation:
    gates = None if features is None else torch.linspace(0.1, 0.9, events * features).view(events, features)
    frame = pl.DataFrame(
        {
            "item": [f"i{number}" for number in range(events)],
            "title": [f"Film {number}" for number in range(events)],
            "gated": [0.5 + number for number in range(events)],
            "direct": [-0.25] * events,
            "total": [0.25 + number for number in range(events)],
            "instance_gate": [0.5] * events,
            "what_if": [1.0] * events,
        }
    )
    return Explanation("ann", "jam", 3.0, EXACT, 0.5, -0.1, frame, gates)


def left_out() -> Explanation:
    events = explanation().events.with_columns(pl.lit(None, pl.Float64).alias(name) for name in ("gated", "direct", "instance_gate"))
    return replace(explanation(), method=LEFT_OUT, lasting=None, bias=None, events=events, feature_gates=None)


def bars(of: Explanation) -> list[tuple[str, str, float]]:
    layer = spec(of)["hconcat"][0]["layer"][0]
    return [(bar["row"], bar["kind"], bar["value"]) for bar in layer["data"]["values"]]


def test_a_bar_for_each_term_the_latest_event_first() -> None:
    assert bars(explanation(events=2)) == [
        ("1 · Film 1", "through the gates", 1.5),
        ("1 · Film 1", "directly", -0.25),
        ("2 · Film 0", "through the gates", 0.5),
        ("2 · Film 0", "directly", -0.25),
        ("lasting taste", "lasting taste", 0.5),
        ("the item by itself", "the item by itself", -0.1),
    ]
    ends = spec(explanation(events=2))["hconcat"][0]["layer"][1]["data"]["values"]
    assert [end["text"] for end in ends] == ["+1.250", "+0.250", "+0.500", "−0.100"]
    assert bars(left_out())[0] == ("1 · Film 2", "left out", 2.25)


def test_gates_stand_beside_their_events() -> None:
    _, instance, features = spec(explanation(events=2, features=3))["hconcat"]
    assert [(cell["row"], cell["gate"]) for cell in instance["data"]["values"]] == [("1 · Film 1", 0.5), ("2 · Film 0", 0.5)]
    assert [[layer["mark"]["type"] for layer in chart["layer"]] for chart in (instance, features)] == [["rect", "text"], ["rect"]]
    cells = {(cell["row"], cell["feature"]): cell["gate"] for cell in features["data"]["values"]}
    gates = explanation(events=2, features=3).feature_gates
    assert gates is not None
    assert cells == {(f"{2 - event} · Film {event}", number): float(gates[event, number]) for event in range(2) for number in range(3)}
    assert len(spec(explanation(features=None))["hconcat"]) == 2
    assert len(spec(left_out())["hconcat"]) == 1


def test_what_is_too_much_is_summed_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(explanation_picture, "EVENTS", 2)
    monkeypatch.setattr(explanation_picture, "FEATURES", 2)
    whole = explanation(events=5)
    assert bars(whole)[4:6] == [("3 other events", "through the gates", 0.5 + 1.5 + 2.5), ("3 other events", "directly", -0.75)]
    assert sum(value for *_, value in bars(whole)) == pytest.approx(whole.as_frame()["value"].sum())
    cells = spec(whole)["hconcat"][2]["data"]["values"]
    assert {cell["row"] for cell in cells} == {"1 · Film 4", "2 · Film 3"}
    assert [cell["feature"] for cell in cells] == [3, 1, 3, 1]


@pytest.mark.parametrize("whole", [explanation(), explanation(features=None), replace(explanation(events=1), user=None), left_out()])
def test_it_can_be_drawn(whole: Explanation) -> None:
    svg = as_svg(whole)
    xml.etree.ElementTree.fromstring(svg)
    assert "var(--" not in svg
    assert "prefers-color-scheme: dark" in svg
    assert svg.count("Film ") >= len(whole.events)
    assert as_png(whole).startswith(b"\x89PNG")
    bundle = whole._repr_mimebundle_()
    assert bundle == {"image/svg+xml": svg, "text/plain": str(whole)}


def test_no_title_breaks_it() -> None:
    events = explanation().events.with_columns(pl.lit(NASTY).alias("title"))
    whole = replace(explanation(), user=NASTY, item=NASTY, title=NASTY, events=events)
    for text in xml.etree.ElementTree.fromstring(as_svg(whole)).itertext():
        assert "script" not in text or "alert" in text  # it is text, and no element
    assert "<script>alert" not in as_svg(whole)
    page = as_page(whole)
    assert "<script>alert" not in page
    assert "</svg><script" not in page
    assert re.findall(r"<td>(directly|through the gates|lasting taste|the item by itself)</td>", page) == [
        "lasting taste",
        *["through the gates", "directly"] * 3,
        "the item by itself",
    ]
