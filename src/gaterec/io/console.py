"""What a terminal shows: lines, tables, progress bars. Where standard output is no terminal (a log file), a line now and then."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import Any

from rich.console import Console
from rich.measure import Measurement
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from gaterec.config.settings import Settings
from gaterec.io import output
from gaterec.io.output import visible

QUIET_STATES = {"WARNING", "ERROR", "CRITICAL"}


class Terminal:
    """Prints what a command says: its answer, and beside it progress and notes.

    Control characters in the text are printed as escapes (see gaterec.io.output).

    Args:
        settings: state, show_progress, decimals. WARNING and above print no progress, ERROR and above no notes either. The answer is printed by
            every command of the command line; a function that is called from Python returns it, and prints it too where progress is printed.
        state: a state in place of the settings': a command about a finished run is not to be as quiet as its training was.
    """

    SECONDS_BETWEEN_LINES = 10.0

    def __init__(self, settings: Settings, state: str | None = None) -> None:
        state = state or settings.state
        quiet = state in QUIET_STATES
        self.console = Console(soft_wrap=True, highlight=False, quiet=quiet)
        self.answers = Console(soft_wrap=True, highlight=False, quiet=quiet and not output.in_command)
        self.warnings = Console(stderr=True, soft_wrap=True, highlight=False, quiet=state in {"ERROR", "CRITICAL"})
        self.settings = settings

    @property
    def animated(self) -> bool:
        """Whether progress is shown in a place that is drawn again and again: on a terminal alone."""
        return self.settings.show_progress and self.console.is_terminal and not self.console.quiet

    def line(self, text: str) -> None:
        """A sentence about the progress."""
        self.console.print(visible(text, lines=True), markup=False)

    def answer(self, text: str) -> None:
        """A sentence of the answer."""
        self.answers.print(visible(text, lines=True), markup=False)

    def warn(self, text: str) -> None:
        """A note, on standard error where it can be written."""
        with suppress(OSError):
            self.warnings.print(f"note: {visible(text, lines=True)}", markup=False)

    def figures(self, title: str, rows: Sequence[tuple[str, Mapping[str, float]]]) -> None:
        """A table of metrics: one row per model, one column per metric; the other way round where that is too wide for the screen."""
        names = list(dict.fromkeys(name for _, figures in rows for name in figures))
        cells = [[self.number(figures[name]) if name in figures else "" for name in names] for _, figures in rows]
        self.either_way(title, ["", *names], [[model, *row] for (model, _), row in zip(rows, cells, strict=True)])

    def either_way(self, title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        """A table whose rows and columns change places where it is too wide for the screen; in parts where that doesn't help."""
        first, *others = zip(columns, *rows, strict=True)
        if not self._fits(columns, rows) and self._fits(first, others):
            self.answers.print(_table(title, first, others))
            return
        for number, (head, body) in enumerate(self._parts(columns, rows)):
            self.answers.print(_table("" if number else title, head, body))

    def _fits(self, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> bool:
        options = self.console.options.update(max_width=10_000)
        return Measurement.get(self.console, options, _table("", columns, rows)).maximum <= self.console.width

    def _parts(self, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> list[tuple[list[str], list[list[str]]]]:
        """A table cut between its columns into parts as wide as the screen, each with the first column."""
        parts: list[list[int]] = [[0]]
        for column in range(1, len(columns)):
            chosen = [*parts[-1], column]
            fits = self._fits([columns[i] for i in chosen], [[row[i] for i in chosen] for row in rows])
            if fits or parts[-1] == [0]:
                parts[-1] = chosen
            else:
                parts.append([0, column])
        return [([columns[i] for i in part], [[row[i] for i in part] for row in rows]) for part in parts]

    def table(self, title: str, columns: Sequence[str], rows: Sequence[Sequence[str]], *, progress: bool = False) -> None:
        """Any other table, of the answer or of the progress; the first column is text, the others are numbers."""
        (self.console if progress else self.answers).print(_table(title, columns, rows))

    def number(self, value: float) -> str:
        """A metric with metric_decimal_place decimals."""
        return f"{value:.{self.settings.metric_decimal_place}f}"

    @contextmanager
    def stages(self) -> Iterator[Callable[[str], object]]:
        """Shows what is being done while it is done: call what this gives with each stage's name, "reading the log" say."""
        if not self.animated:
            yield lambda text: None
            return
        with Progress(
            SpinnerColumn(), TextColumn("{task.description}", markup=False), TimeElapsedColumn(), console=self.console, transient=True
        ) as bar:
            task = bar.add_task("")
            yield lambda text: bar.update(task, description=text)

    @contextmanager
    def training(self, targets: int, done: int) -> Iterator["TrainingProgress"]:
        """The progress of a training of `epochs` epochs of so many targets, `done` of which are behind."""
        with self._bar("epoch") as bar:
            yield TrainingProgress(self, bar, targets, done)

    @contextmanager
    def matrix(self, cells: int, done: int) -> Iterator["MatrixProgress"]:
        """The progress of a comparison of so many cells, `done` of which are behind."""
        with self._bar("cell") as bar:
            yield MatrixProgress(self, bar, cells, done)

    @contextmanager
    def users(self, total: int | None) -> Iterator[Callable[[int], object]]:
        """The progress of answers to so many users, where that is known: call what this gives with how many are done."""
        begin = spoke = time.monotonic()
        with self._bar("users") as bar:
            task = bar.add_task("", total=total)

            def tell(done: int) -> None:
                nonlocal spoke
                now = time.monotonic()
                speed = f"{done / max(now - begin, 1e-9):,.0f} users/s"
                bar.update(task, completed=done, description=speed)
                if bar.disable and now - spoke >= Terminal.SECONDS_BETWEEN_LINES:
                    self.line(f"{done:,}{'' if total is None else f' of {total:,}'} users, {speed}")
                    spoke = now

            yield tell

    def _bar(self, unit: str) -> Progress:
        """A bar that counts units, shown on a terminal alone."""
        columns = (
            TextColumn(unit),
            MofNCompleteColumn(),
            BarColumn(),
            TextColumn("{task.description}", markup=False),
            TimeRemainingColumn(elapsed_when_finished=True),
        )
        return Progress(*columns, console=self.console, disable=not self.animated, transient=True)


def counted(number: int, one: str, many: str = "") -> str:
    """A number and what is counted.

    >>> counted(1, "seed"), counted(3, "seed"), counted(2, "entry", "entries")
    ('1 seed', '3 seeds', '2 entries')
    """
    return f"{number:,} {one if number == 1 else many or one + 's'}"


def duration(seconds: float) -> str:
    """About how long something takes.

    >>> duration(3.21), duration(100), duration(1800), duration(10_000)
    ('3.2 s', '100 s', '30 min', '2.8 h')
    """
    if seconds < 120:
        return f"{seconds:.2g} s" if seconds < 10 else f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


def _table(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> Table:
    """A table of plain text: what looks like markup in a title or an id stays as it is."""
    table = Table(title=plain(title) if title else None, title_justify="left", title_style="bold")
    for i, column in enumerate(columns):
        table.add_column(plain(column), justify="right" if i else "left")
    for row in rows:
        table.add_row(*map(plain, row))
    return table


def plain(text: str) -> Text:
    """Text for rich in which nothing is markup, and no control character acts."""
    return Text(visible(text))


class TrainingProgress:
    """Told of steps and epochs while a model trains."""

    def __init__(self, display: Terminal, bar: Progress, targets: int, done: int) -> None:
        self.display, self.bar, self.targets = display, bar, max(targets, 1)
        self.task = bar.add_task("", total=display.settings.epochs, completed=done)
        self.done, self.part, self.text, self.spoke = done, 0, "", time.monotonic()

    def step(self, targets: int) -> None:
        """One more step, on so many targets."""
        self.part += targets
        self.bar.update(self.task, completed=self.done + self.part / self.targets)

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
        self.text = f"epoch {self.done}/{settings.epochs}  {text}  {entry['seconds']:.2f} s"
        due = time.monotonic() - self.spoke >= Terminal.SECONDS_BETWEEN_LINES
        if self.bar.disable and (due or self.done == 1):
            self._say()

    def end(self, stale: int) -> None:
        """Training is over, after so many validations without progress."""
        self._say()
        if self.done and self.done < self.display.settings.epochs:
            self.display.line(f"stopped after epoch {self.done}: {stale} validations without progress")

    def _say(self) -> None:
        if self.text:
            self.display.line(self.text)
        self.text, self.spoke = "", time.monotonic()


class MatrixProgress:
    """Told of cells and their epochs while a comparison runs."""

    def __init__(self, display: Terminal, bar: Progress, cells: int, done: int) -> None:
        self.display, self.bar, self.cells, self.done = display, bar, cells, done
        self.task = bar.add_task("", total=cells, completed=done)
        self.name, self.epochs, self.spoke = "", 1, time.monotonic()

    def begin(self, name: str, epochs: int) -> None:
        """A cell is begun that trains for so many epochs, at most."""
        self.name, self.epochs = name, max(epochs, 1)
        self.bar.update(self.task, description=visible(name))

    def epoch(self, entry: Mapping[str, Any], metric: str) -> None:
        """One more epoch of it is done."""
        text = f"{self.name}: epoch {entry['epoch']}/{self.epochs}"
        if entry["valid"] is not None:
            text += f"  {metric} {self.display.number(entry['valid'][metric.lower()])}"
        self.bar.update(self.task, completed=self.done + entry["epoch"] / self.epochs, description=visible(text))
        if self.bar.disable and time.monotonic() - self.spoke >= Terminal.SECONDS_BETWEEN_LINES:
            self.display.line(text)
            self.spoke = time.monotonic()

    def end(self, text: str) -> None:
        """The cell is done, or failed; what came of it."""
        self.done += 1
        self.bar.update(self.task, completed=self.done)
        self.display.line(f"[{self.done}/{self.cells}] {self.name}: {text}")
        self.spoke = time.monotonic()
