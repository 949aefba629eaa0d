"""The trials of a search as tables: a frame for Parquet, rows of text for a terminal, and RecBole's hyper.result."""

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

import polars as pl

from gaterec.experiments.tune.trials import Search, Trial
from gaterec.io.console import duration
from gaterec.io.html import decimals, plain

NOT_COMPUTED = "not computed: settings are chosen on validation alone"


# -- settings as text ------------------------------------------------------------------------------------------------------------------


def setting_text(value: Any, limit: int = 40) -> str:
    """A setting's value on one line, cut off where it is longer than `limit`.

    >>> setting_text(0.00123456789), setting_text("max"), setting_text([0.1, 0]), setting_text(None), setting_text("x" * 9, limit=4)
    ('0.0012346', 'max', '[0.1, 0]', 'null', 'xxx…')
    """
    text = f"{value:.5g}" if isinstance(value, float) and math.isfinite(value) else " ".join(plain(value).split())
    return text if len(text) <= limit else text[: limit - 1] + "…"


def chosen_text(chosen: Mapping[str, Any]) -> str:
    """What a trial tries, on one line: "learning_rate=0.01, pooling_type=max"."""
    return ", ".join(f"{name}={setting_text(value)}" for name, value in chosen.items())


def setting_column(trials: Sequence[Trial], name: str) -> list[str]:
    """A searched setting in every trial, as text; a dash where a trial has no such setting."""
    return [setting_text(trial.chosen[name]) if name in trial.chosen else "–" for trial in trials]


def dashed(values: Sequence[float | None]) -> list[str]:
    """A column of numbers as text, with a dash for what is not there."""
    return decimals([math.nan if value is None else value for value in values])


# -- for the terminal ------------------------------------------------------------------------------------------------------------------


def text_rows(search: Search, top: int = 10) -> tuple[list[str], list[list[str]]]:
    """The head and the rows of the best trials, the best first; with two objectives a star marks those on the Pareto front."""
    best, front = search.ranked[:top], {trial.number for trial in search.front} if search.cost else set()
    marks = [f"{rank}. trial {trial.number}{' *' if trial.number in front else ''}" for rank, trial in enumerate(best, 1)]
    columns = {name: setting_column(best, name) for name in search.names}
    cells = [marks, *columns.values(), dashed([trial.score for trial in best])]
    if search.cost:
        cells.append(dashed([trial.cost for trial in best]))
    cells += [[str(trial.best_epoch) for trial in best], [duration(trial.seconds) for trial in best]]
    head = [
        "* on the Pareto front" if search.cost else "",
        *columns,
        search.metric,
        *([search.cost] if search.cost else []),
        "epoch",
        "time",
    ]
    return head, [list(row) for row in zip(*cells, strict=True)]


# -- Parquet ---------------------------------------------------------------------------------------------------------------------------

_SCHEMA = {
    "number": pl.Int64, "state": pl.String, "score": pl.Float64, "cost": pl.Float64, "best_epoch": pl.Int64, "epochs": pl.Int64,
    "seconds": pl.Float64, "reason": pl.String, "worker": pl.String,
}  # fmt: skip


def frame(search: Search) -> pl.DataFrame:
    """One row per trial: what came of it, then a column per searched setting, then the figures of its best epoch ("valid_recall@10").

    A setting whose name is taken has `setting_` before it: `setting_epochs` is what was tried, `epochs` the last epoch that was validated.
    """
    trials = search.trials
    fixed = [
        {
            "number": trial.number,
            "state": trial.state,
            "score": trial.score,
            "cost": trial.cost,
            "best_epoch": trial.best_epoch,
            "epochs": trial.curve[-1][0] if trial.curve else 0,
            "seconds": trial.seconds,
            "reason": _encodable(trial.reason),
            "worker": _encodable(trial.worker),
        }
        for trial in trials
    ]
    figures = {f"valid_{name}": name for trial in trials for name in trial.valid}
    columns: dict[str, pl.Series] = {}
    for name in search.names:
        column = _encodable(name)
        while column in _SCHEMA or column in figures or column in columns:
            column = f"setting_{column}"
        columns[column] = _typed([trial.chosen.get(name) for trial in trials], [name in trial.chosen for trial in trials])
    for column, name in figures.items():
        columns[column] = pl.Series([trial.valid.get(name) for trial in trials], dtype=pl.Float64)
    return pl.DataFrame(fixed, schema=_SCHEMA).with_columns(**columns)


def _typed(values: Sequence[Any], there: Sequence[bool]) -> pl.Series:
    """Numbers, truth values or text where all are of that type; else JSON."""
    found = [value for value, has in zip(values, there, strict=True) if has]
    kinds = {type(value) for value in found}
    if kinds <= {bool}:
        return pl.Series(values, dtype=pl.Boolean)
    if kinds == {int} and all(abs(value) < 2**63 for value in found):
        return pl.Series(values, dtype=pl.Int64)
    if kinds <= {int, float} and all(isinstance(value, float) or abs(value) <= 2**53 for value in found):
        return pl.Series([None if value is None else float(value) for value in values], dtype=pl.Float64)
    as_text = _encodable if kinds == {str} else lambda value: json.dumps(value, default=str)
    return pl.Series([as_text(value) if has else None for value, has in zip(values, there, strict=True)], dtype=pl.String)


def _encodable(text: str) -> str:
    """Text without what UTF-8 can't hold (lone surrogates)."""
    return text.encode("utf-8", errors="replace").decode("utf-8")


# -- RecBole's file --------------------------------------------------------------------------------------------------------------------


def hyper_result(search: Search, test: Mapping[str, float] | None) -> str:
    """The finished trials as RecBole's `HyperTuning.export_result` writes them.

    Args:
        test: the winner's figures on the test part. RecBole tests every trial; here only the winner meets the test part, so the others have none.
    """
    text, winner = "", search.best
    for trial in search.of("done"):
        settings = ", ".join(f"{name}:{value}".replace("\n", " ") for name, value in trial.chosen.items())
        tested = _figures(test) if test and winner and trial.number == winner.number else NOT_COMPUTED
        text += f"{settings}\nValid result:\n{_figures(trial.valid)}\nTest result:\n{tested}\n\n"
    return text


def _figures(values: Mapping[str, float]) -> str:
    return "    ".join(f"{name} : {value}" for name, value in values.items())
