"""What all pages share: one HTML file each that works from a disk, without a network; sections, tables and charts to fill it with.

The charts (Vega-Lite) come with their JavaScript inside, and the page forbids itself, by its content security policy, to load anything. Every
chart has its numbers in a table next to it; without JavaScript the tables remain. Nothing here knows what a page is about.
"""

import html
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

from gaterec.io.files import write_whole
from gaterec.io.output import all_visible, visible

Json = dict[str, Any]


def render_page(title: str, sections: Iterable[str]) -> str:
    """A page as text; sections that are empty are left out."""
    return _PAGE.format(
        title=escape(title), style=_style(), sections="\n".join(filter(None, sections)), library=_chart_library(), start=_START
    )


def write_page(page: str, path: Path) -> None:
    """Writes the page. A reader of `path` finds the old page or the whole new one, never a part.

    Raises:
        RunError: the file can't be written.
    """
    write_whole(path, lambda part: part.write_bytes(page.encode("utf-8", errors="replace")))


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
    return files("gaterec.io").joinpath("report.css").read_text(encoding="utf-8").strip()


@cache
def _chart_library() -> str:
    """Vega, Vega-Lite and Vega-Embed as one script, about 0.9 MB."""
    import vl_convert  # takes a while, and nothing but a report needs it

    bundle: str = vl_convert.javascript_bundle("window.vegaEmbed = vegaEmbed;")
    return bundle.replace("</script", "<\\/script")


def escape(text: str) -> str:
    """Text for HTML, with control characters as escapes (see gaterec.io.output)."""
    return html.escape(visible(text, lines=True))


def section(heading: str, content: str) -> str:
    """A part of the page; nothing without content."""
    return f"<section>\n<h2>{escape(heading)}</h2>\n{content}\n</section>" if content else ""


def sentences(lines: Sequence[str]) -> str:
    """A list of sentences."""
    return "<ul>\n" + "".join(f"<li>{escape(line)}</li>\n" for line in lines) + "</ul>" if lines else ""


def commands(lines: Sequence[str]) -> str:
    """Lines for a shell."""
    return f'<pre tabindex="0"><code>{escape(chr(10).join(lines))}</code></pre>' if lines else ""


def pairs(heading: str, values: Mapping[str, Any]) -> str:
    """Names and values, folded away."""
    return f"<details>\n<summary>{escape(heading)}</summary>\n{pair_table(values)}</details>\n" if values else ""


def pair_table(values: Mapping[str, Any]) -> str:
    """Names and values, in full."""
    rows = "".join(f'<tr><th scope="row">{escape(name)}</th><td>{escape(plain(value))}</td></tr>\n' for name, value in values.items())
    return f'<table class="pairs"><tbody>\n{rows}</tbody></table>\n' if values else ""


def plain(value: Any) -> str:
    """A value as text: JSON, but for text, which stays as it is."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)


# Tables


def table(
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


def metric_names(rows: Iterable[Mapping[str, float]]) -> list[str]:
    """The names in all rows, in the order of their first appearance."""
    return list(dict.fromkeys(name for metrics in rows for name in metrics))


def decimals(column: Sequence[float]) -> list[str]:
    """The numbers of a column as text, with as many decimals each, so that points stand under each other.

    >>> decimals([0.25, 0.01234, math.nan]), decimals([1234.5, 2])
    (['0.2500', '0.0123', '–'], ['1,234.5', '2.0'])
    """
    largest = max((abs(value) for value in column if math.isfinite(value)), default=0)
    places = 4 if largest < 100 else 1
    return [f"{value:,.{places}f}" if math.isfinite(value) else "–" for value in column]


# Charts


def figure(caption: str, remark: str, spec: Json) -> str:
    """A chart; its description stands beside the data for the script that draws it."""
    aside = f" <small>{escape(remark)}</small>" if remark else ""
    head = f"<figcaption>{escape(caption)}{aside}</figcaption>\n" if caption else ""
    return f'<figure>\n{head}<div class="chart"><script type="application/json">{_script_json(spec)}</script></div>\n</figure>\n'


def _script_json(value: Any) -> str:
    """JSON that can stand in a script element: nothing in it can end the element or open another."""
    text = json.dumps(all_visible(value), allow_nan=False, ensure_ascii=False, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def number(value: float) -> float | None:
    """JSON and charts have no nan: None leaves a gap."""
    return value if math.isfinite(value) else None


ACCENT, MARK = "var(--accent)", "var(--mark)"
SERIES = [f"var(--series-{number})" for number in range(1, 9)]
"""Colours that are told apart, also by eyes that don't see all of them (Okabe and Ito 2008)."""


def chart(description: str, data: Sequence[Json], **parts: Any) -> Json:
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
        "line": {"color": ACCENT, "strokeWidth": 2},
        "bar": {"color": ACCENT},
        "point": {"color": ACCENT, "filled": True},
        "rule": {"color": MARK},
        "text": {"color": "var(--ink)", "fontSize": 12},
        "range": {"category": SERIES},
        "legend": {"labelColor": "var(--ink)", "labelFontSize": 12, "labelLimit": 320, "title": None, "orient": "top", "columns": 3},
    }
    values = {"values": list(data)}
    return {"description": description, "width": "container", "data": values, **parts, "config": config}
