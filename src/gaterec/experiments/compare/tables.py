"""The table of a comparison: as rows of text, Markdown, LaTeX and Parquet."""

import math
import re
from collections.abc import Callable, Sequence

import polars as pl

from gaterec.config.metric_names import shown_name, smaller_is_better
from gaterec.experiments.compare.results import ComparisonResults, RunOutcome, Spread, Summary
from gaterec.io.output import visible

COSTS = ("seeds", "training", "to best epoch", "1,000 lists", "parameters", "memory")
"""What stands behind the metrics."""
MEANINGS = (
    "Figures are means over seeds, ± the sample standard deviation over seeds.",
    "Training: seconds of all epochs, validation not counted; to best epoch: of those up to the one whose weights were kept.",
    "1,000 lists: seconds from 1,000 histories to their ten best items. Memory: the most that the whole process of a run had, the largest over seeds.",
)


def metric_names(summaries: Sequence[Summary], part: str) -> list[str]:
    """All metrics, in the order of their first appearance."""
    return list(dict.fromkeys(name for summary in summaries for name in summary.figures(part)))


def places(summaries: Sequence[Summary], part: str) -> dict[tuple[str, str], int]:
    """(label, metric) -> 1 for the best mean, 2 for the second best; equals share a place. References don't compete."""
    found: dict[tuple[str, str], int] = {}
    for name in metric_names(summaries, part):
        means = {s.label: s.figures(part)[name][0] for s in summaries if s.reference is None and name in s.figures(part)}
        order = sorted({mean for mean in means.values() if math.isfinite(mean)}, reverse=not smaller_is_better(name))
        if len(order) > 1:
            found |= {(label, name): order.index(mean) + 1 for label, mean in means.items() if mean in order[:2]}
    return found


def text_rows(
    findings: ComparisonResults, mark: Callable[[str, int | None], str] = lambda text, place: text
) -> tuple[list[str], list[list[str]]]:
    """The head and the rows of the table.

    Args:
        mark: given a metric's text and its place (1, 2 or None), what to show.
    """
    names, place = metric_names(findings.summaries, "test"), places(findings.summaries, "test")
    rows = []
    for summary in findings.summaries:
        figures = summary.figures("test")
        cells = [
            mark(shown(figures[name], findings.decimals), place.get((summary.label, name))) if name in figures else "–" for name in names
        ]
        rows.append([summary.label, *cells, *_costs(summary)])
    return ["", *map(shown_name, names), *COSTS], rows


def shown(value: Spread, decimals: int) -> str:
    """0.1234 ± 0.0012; the mean alone where there is one seed."""
    mean, deviation = value
    if not math.isfinite(mean):
        return "–"
    return f"{mean:.{decimals}f}" + (f" ± {deviation:.{decimals}f}" if math.isfinite(deviation) else "")


def _costs(summary: Summary) -> list[str]:
    if summary.reference is not None:
        return ["–"] * len(COSTS)
    seeds = f"{len(summary.done)} of {len(summary.outcomes)}" if len(summary.done) < len(summary.outcomes) else f"{len(summary.done)}"
    if not summary.done:
        return [seeds, *["–"] * (len(COSTS) - 1)]
    trained = any(outcome.info["epochs"] for outcome in summary.done)
    times = [_seconds(summary.seconds), _seconds(summary.seconds_to_best)] if trained else ["–", "–"]
    memory = summary.peak_memory
    size = "–" if memory is None else f"{memory / 2**20:,.0f} MiB"
    return [seeds, *times, f"{summary.seconds_per_1000[0]:.3g} s", f"{summary.parameters:,}", size]


def _seconds(value: Spread) -> str:
    mean, deviation = value
    places = 0 if mean >= 100 else 1 if mean >= 10 else 2
    return f"{mean:,.{places}f}" + (f" ± {deviation:,.{places}f}" if math.isfinite(deviation) else "") + " s"


# -- Markdown --------------------------------------------------------------------------------------------------------------------------


def markdown(findings: ComparisonResults) -> str:
    """The table, and what must be known of it."""
    head, rows = text_rows(findings, lambda text, place: f"**{text}**" if place == 1 else text)
    escape = lambda text: visible(text, lines=True).replace("|", "\\|").replace("\n", " ")  # noqa: E731
    parts = [
        ("Failed, or not yet run", findings.status),
        ("How it was measured", findings.protocol),
        ("Which is better", [test.sentence for test in findings.tests]),
        ("The data and the split", findings.audit),
        ("Notes", findings.notes),
    ]
    lines = [f"# {findings.title}", "", "| " + " | ".join(head) + " |", "|" + "---|" + "---:|" * (len(head) - 1)]
    lines += ["| " + " | ".join(map(escape, row)) + " |" for row in rows]
    lines += ["", *(f"{sentence}  " for sentence in MEANINGS)]
    for heading, sentences in parts:
        lines += ["", f"## {heading}", "", *(f"- {sentence}" for sentence in sentences)] if sentences else []
    lines += ["", "## To run it again", "", f"    {findings.command}"]
    return "\n".join(lines) + "\n"


# -- LaTeX -----------------------------------------------------------------------------------------------------------------------------

_LATEX = {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"} | {
    letter: f"\\{letter}" for letter in "&%$#_{}"
}


def escape_latex(text: str) -> str:
    """Text that LaTeX prints as it is.

    >>> escape_latex("HGN(item_item=False) 50%")
    'HGN(item\\\\_item=False) 50\\\\%'
    """
    return re.sub(r"[\\~^&%$#_{}]", lambda found: _LATEX[found[0]], visible(text))


def latex(findings: ComparisonResults, part: str) -> str:
    """A table for a paper (package booktabs): the best of each metric bold, the second best underlined."""
    summaries, decimals = findings.summaries, findings.decimals
    names, place = metric_names(summaries, part), places(summaries, part)
    marks = {1: r"\textbf{%s}", 2: r"\underline{%s}", None: "%s"}
    spread = r"; mean $\pm$ standard deviation over seeds" if any(len(summary.done) > 1 for summary in summaries) else ""
    lines = [
        r"\begin{table}",
        r"\centering",
        rf"\caption{{{escape_latex(findings.title)}, {'test' if part == 'test' else 'validation'}{spread}.}}",
        rf"\begin{{tabular}}{{l{'r' * len(names)}}}",
        r"\toprule",
        " & ".join(["", *(escape_latex(shown_name(name)) for name in names)]) + r" \\",
        r"\midrule",
    ]
    for summary in summaries:
        figures, cells = summary.figures(part), []
        if not figures and summary.reference is not None:
            continue
        for name in names:
            mean, deviation = figures.get(name, (math.nan, math.nan))
            text = f"{mean:.{decimals}f}" if math.isfinite(mean) else "--"
            aside = rf" {{\scriptsize$\pm${deviation:.{decimals}f}}}" if math.isfinite(deviation) else ""
            cells.append(marks[place.get((summary.label, name))] % text + aside)
        lines.append(" & ".join([escape_latex(summary.label), *cells]) + r" \\")
    return "\n".join([*lines, r"\bottomrule", r"\end{tabular}", r"\end{table}"]) + "\n"


# -- Parquet ---------------------------------------------------------------------------------------------------------------------------

_SCHEMA = {
    "entry": pl.String, "model": pl.String, "seed": pl.Int64, "status": pl.String, "part": pl.String, "metric": pl.String, "value": pl.Float64,
    "epochs": pl.Int64, "best_epoch": pl.Int64, "training_seconds": pl.Float64, "training_seconds_to_best": pl.Float64,
    "seconds_per_1000": pl.Float64, "parameters": pl.Int64, "peak_memory": pl.Int64, "run": pl.String,
}  # fmt: skip


def frame(outcomes: Sequence[RunOutcome]) -> pl.DataFrame:
    """One row per entry, seed, part and metric; a cell without figures has one row without them."""
    rows = []
    for outcome in outcomes:
        settings = outcome.cell.settings
        about = {"entry": outcome.cell.label, "model": settings.model, "seed": settings.seed, "status": outcome.status}
        if not outcome.done:
            rows.append(about)
            continue
        about |= {
            "epochs": len(outcome.info["epochs"]),
            "best_epoch": outcome.info["best_epoch"],
            "training_seconds": outcome.seconds,
            "training_seconds_to_best": outcome.seconds_to_best,
            "seconds_per_1000": outcome.measured["seconds_per_1000"],
            "parameters": outcome.measured["parameters"],
            "peak_memory": outcome.measured["peak_memory"],
            "run": outcome.cell.folder.name,
        }
        found = [(part, name, value) for part in ("valid", "test") for name, value in (outcome.info[part] or {}).items()]
        rows += [{**about, "part": part, "metric": name, "value": value} for part, name, value in found]
    return pl.DataFrame(rows, schema=_SCHEMA)
