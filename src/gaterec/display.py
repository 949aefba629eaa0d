"""What a person sees in a terminal: lines, tables, progress bars. Where no one looks (a log file), a line now and then."""

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from gaterec.settings import Settings

QUIET_STATES = {"WARNING", "ERROR", "CRITICAL"}


class Display:
    """Prints what a run tells.

    Args:
        settings: state (WARNING and above print nothing but warnings), show_progress, decimals.
    """

    SECONDS_BETWEEN_LINES = 10.0

    def __init__(self, settings: Settings) -> None:
        self.console = Console(soft_wrap=True, highlight=False, quiet=settings.state in QUIET_STATES)
        self.warnings = Console(stderr=True, soft_wrap=True, highlight=False, quiet=settings.state in {"ERROR", "CRITICAL"})
        self.settings = settings

    def line(self, text: str) -> None:
        """A sentence."""
        self.console.print(text, markup=False)

    def warn(self, text: str) -> None:
        """A sentence that a person should not miss, on standard error."""
        self.warnings.print(f"note: {text}", markup=False)

    def figures(self, title: str, rows: Sequence[tuple[str, Mapping[str, float]]]) -> None:
        """A table of metrics: one row per model, one column per metric."""
        columns = list(dict.fromkeys(name for _, figures in rows for name in figures))
        table = Table(title=title, title_justify="left", title_style="bold")
        table.add_column("")
        for column in columns:
            table.add_column(column, justify="right")
        for name, figures in rows:
            table.add_row(name, *(self.number(figures[column]) if column in figures else "" for column in columns))
        self.console.print(table)

    def table(self, title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        """Any other table; the first column is text, the others are numbers."""
        table = Table(title=title, title_justify="left", title_style="bold")
        for i, column in enumerate(columns):
            table.add_column(column, justify="right" if i else "left")
        for row in rows:
            table.add_row(*row)
        self.console.print(table)

    def number(self, value: float) -> str:
        """A metric with metric_decimal_place decimals."""
        return f"{value:.{self.settings.metric_decimal_place}f}"

    @contextmanager
    def training(self, targets: int, done: int) -> Iterator["TrainingProgress"]:
        """The progress of a training of `epochs` epochs of so many targets, `done` of which are behind."""
        visible = self.settings.show_progress and self.console.is_terminal and not self.console.quiet
        columns = (
            TextColumn("epoch"),
            MofNCompleteColumn(),
            BarColumn(),
            TextColumn("{task.description}"),
            TimeRemainingColumn(elapsed_when_finished=True),
        )
        with Progress(*columns, console=self.console, disable=not visible, transient=True) as bar:
            yield TrainingProgress(self, bar, targets, done)


class TrainingProgress:
    """Told of steps and epochs while a model trains."""

    def __init__(self, display: Display, bar: Progress, targets: int, done: int) -> None:
        self.display, self.bar, self.targets = display, bar, max(targets, 1)
        self.task = bar.add_task("", total=display.settings.epochs, completed=done)
        self.done, self.part, self.spoke = done, 0, time.monotonic()

    def step(self, targets: int) -> None:
        """One more step, on so many targets."""
        self.part += targets

    def epoch(self, entry: Mapping[str, Any], best_epoch: int) -> None:
        """One more epoch is done."""
        self.done, self.part = entry["epoch"], 0
        settings = self.display.settings
        text = f"loss {entry['loss']:.{settings.loss_decimal_place}f}"
        if entry["valid"] is not None:
            text += (
                f"  {settings.valid_metric} {self.display.number(entry['valid'][settings.valid_metric.lower()])} (best: epoch {best_epoch})"
            )
        self.bar.update(self.task, completed=self.done, description=text)
        due = time.monotonic() - self.spoke >= Display.SECONDS_BETWEEN_LINES
        if self.bar.disable and (due or self.done == 1):
            self.display.line(f"epoch {self.done}/{settings.epochs}  {text}  {entry['seconds']:.2f} s")
            self.spoke = time.monotonic()
