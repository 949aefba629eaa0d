"""What a person sees while a search runs: on a terminal a table that is drawn again and again, elsewhere a line for every trial that ends."""

import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

from rich.console import Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from gaterec.experiments.tune.tables import chosen_text
from gaterec.experiments.tune.trials import Search, Trial
from gaterec.io.console import Terminal, duration, plain
from gaterec.io.output import visible

BEST, RUNNING = 5, 16
"""So many trials are shown of the best, and of those that run."""
REFRESHES = 4
"""A second."""


@dataclass
class _Running:
    """A trial that has begun and not ended."""

    chosen: Mapping[str, Any]
    begun: float  # by time.monotonic
    epoch: int = 0
    value: float | None = None  # of the last epoch that was validated


class SearchTable:
    """Told of trials and their epochs, from any thread, while a search runs.

    Nothing is printed while the lock is held: the thread that draws holds the terminal's and waits for this one.

    Args:
        display: where to.
        metric, bigger: what trials are chosen by, as in "MRR@10", and whether more of it is better.
        total: how many trials there are to be.
        epochs: how many a trial has, at most.
        workers: how many trials run at once.
        finished: the trials that have ended before, of a search that goes on.
    """

    def __init__(
        self, display: Terminal, metric: str, bigger: bool, total: int, epochs: int, workers: int, finished: Sequence[Trial] = ()
    ) -> None:
        self.display, self.metric, self.bigger = display, metric, bigger
        self.total, self.epochs, self.workers = total, epochs, max(workers, 1)
        self._lock = threading.Lock()
        self._ended = {trial.number: trial for trial in finished}
        self._running: dict[int, _Running] = {}
        live = Live(self, console=display.console, refresh_per_second=REFRESHES, transient=True)
        self._live = live if display.animated else None

    def __enter__(self) -> Self:
        if self._live:
            self._live.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None) -> None:
        if self._live:
            self._live.stop()

    def begin(self, number: int, chosen: Mapping[str, Any]) -> None:
        """A trial begins, or goes on."""
        with self._lock:
            self._running[number] = _Running(chosen, time.monotonic())

    def epoch(self, number: int, entry: Mapping[str, Any]) -> None:
        """One more epoch of it is done (see gaterec.training.trainer.TrainingHistory.epochs)."""
        with self._lock:
            running = self._running.get(number)
            if running is not None:
                running.epoch = entry["epoch"]
                if entry["valid"] is not None:
                    running.value = entry["valid"][self.metric.lower()]

    def end(self, trial: Trial) -> None:
        """It is done, pruned or failed."""
        with self._lock:
            self._running.pop(trial.number, None)
            self._ended[trial.number] = trial
            best, left = self._ranked()[:1], self._left()
            text = f"[{len(self._ended)}/{self.total}] {self._outcome(trial)}"
        if self._live and trial.state != "failed":
            return  # it is in the table
        if not self._live:
            text += f"  best so far: trial {best[0].number} {self._number(best[0].score)}" if best else "  none is done so far"
            text += f", {left}" if left else ""
        self.display.line(text)

    def note(self, text: str) -> None:
        """A sentence that must not be lost."""
        if self._live:
            self.display.line(f"note: {text}")  # above the table, which standard error would break
        else:
            self.display.warn(text)

    def _outcome(self, trial: Trial) -> str:
        """What a trial came to, in a line."""
        named = f"trial {trial.number}: {chosen_text(trial.chosen)}"
        if trial.state == "done":
            return f"{named}: {self.metric} {self._number(trial.score)} (epoch {trial.best_epoch}, {trial.seconds:.1f} s)"
        return f"{named}: {trial.state}{': ' if trial.reason else ''}{trial.reason} ({trial.seconds:.1f} s)"

    def _ranked(self) -> list[Trial]:
        return Search("", self.metric, self.bigger, (), list(self._ended.values()), self.total).ranked

    def _number(self, value: float | None) -> str:
        return "" if value is None else self.display.number(value)

    def _left(self) -> str:
        """How long the rest will take, when every trial takes as long as those that have ended; nothing before one has, or after the last."""
        rest = self.total - len(self._ended)
        if not self._ended or rest <= 0:
            return ""
        each = sum(trial.seconds for trial in self._ended.values()) / len(self._ended)
        now = time.monotonic()
        spent = sum(min(now - running.begun, each) for running in self._running.values())
        return f"about {duration(max(rest * each - spent, 0) / min(self.workers, rest))} left"

    # -- the table -----------------------------------------------------------------------------------------------------------------

    def __rich__(self) -> RenderableType:
        """What a terminal shows now."""
        with self._lock:
            best, left = self._ranked()[:BEST], self._left()
            running = sorted(self._running.items())
            ended = len(self._ended)
        parts: list[RenderableType] = [self._bar(ended, left)]
        if best:
            told = f"best so far: trial {best[0].number}, {self.metric} {self._number(best[0].score)}, {chosen_text(best[0].chosen)}"
            parts += [
                Text(visible(told), style="bold", no_wrap=True, overflow="ellipsis"),
                self._table(
                    ["best", "settings", "epoch", self.metric, "time"],
                    [
                        [
                            f"trial {trial.number}",
                            chosen_text(trial.chosen),
                            str(trial.best_epoch),
                            self._number(trial.score),
                            duration(trial.seconds),
                        ]
                        for trial in best
                    ],
                ),
            ]
        if running:
            now = time.monotonic()
            rows = [
                [
                    f"trial {number}",
                    chosen_text(one.chosen),
                    f"{one.epoch}/{self.epochs}",
                    self._number(one.value),
                    duration(int(now - one.begun)),
                ]
                for number, one in running[:RUNNING]
            ]
            parts.append(self._table(["running", "settings", "epoch", self.metric, "time"], rows))
            if len(running) > RUNNING:
                parts.append(Text(f"and {len(running) - RUNNING} more"))
        return Group(*parts)

    def _bar(self, ended: int, left: str) -> Table:
        grid = Table.grid(padding=(0, 1), expand=True)
        grid.add_column(no_wrap=True)
        grid.add_column(ratio=1)
        grid.add_column(no_wrap=True)
        grid.add_row(Text(f"trial {ended}/{self.total}"), ProgressBar(total=max(self.total, 1), completed=ended), Text(left))
        return grid

    def _table(self, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> Table:
        """As wide as the screen; settings are cut off where they don't fit."""
        table = Table(expand=True, box=None, padding=(0, 1), header_style="dim", pad_edge=False)
        for i, column in enumerate(columns):
            wide = column == "settings"
            table.add_column(
                Text(column),
                no_wrap=True,
                overflow="ellipsis",
                ratio=1 if wide else None,
                justify="left" if i == 0 or wide else "right",
                min_width=None if wide else 7,
            )
        for row in rows:
            table.add_row(*map(plain, row))
        return table
