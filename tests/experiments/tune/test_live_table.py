"""What a person sees while a search runs: a table on a terminal, lines in a log file, from any thread."""

import io
import threading
from collections.abc import Sequence
from typing import Any

import pytest
from rich.console import Console

from gaterec.experiments.tune.live_table import BEST, RUNNING, SearchTable
from gaterec.experiments.tune.trials import Trial
from gaterec.io.console import Terminal
from tests.support.histories import settings
from tests.support.searches import trial


def display(width: int | None = None, **changes: Any) -> Terminal:
    """One that writes to standard output; to a terminal of so many columns that is a text in memory."""
    made = Terminal(settings(**changes))
    if width:
        made.console = Console(soft_wrap=True, highlight=False, force_terminal=True, width=width, height=40, file=io.StringIO())
    return made


def shown(live: SearchTable, width: int = 80) -> list[str]:
    """The lines of the table as it is now."""
    console = Console(width=width, file=io.StringIO())
    console.print(live)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue().splitlines()


def live_table(of: Terminal, finished: Sequence[Trial] = (), *, bigger: bool = True, total: int = 40, workers: int = 1) -> SearchTable:
    return SearchTable(of, "MRR@10", bigger, total, 30, workers, finished)


def entry(number: int, value: float | None) -> dict[str, Any]:
    return {"epoch": number, "loss": 0.5, "seconds": 1.0, "valid": None if value is None else {"mrr@10": value}}


def test_a_log_has_a_line_for_each_trial_that_ends(capsys: pytest.CaptureFixture[str]) -> None:
    with live_table(display(), [trial(0, 0.0433, seconds=50.0)], total=4) as live:
        for number in (1, 2, 3):
            live.begin(number, {})
            live.epoch(number, entry(1, 0.5))
        live.end(trial(2, 0.0421, seconds=50.0))
        live.end(trial(1, state="failed", reason="diverged", seconds=50.0))
        live.end(trial(3, 0.01, "pruned", reason="below the median", seconds=50.0))
    assert capsys.readouterr().out.splitlines() == [
        "[2/4] trial 2: learning_rate=0.001, pooling_type=average: MRR@10 0.0421 (epoch 2, 50.0 s)  best so far: trial 0 0.0433, about 100 s left",
        "[3/4] trial 1: learning_rate=0.01, pooling_type=max: failed: diverged (50.0 s)  best so far: trial 0 0.0433, about 50 s left",
        "[4/4] trial 3: learning_rate=0.1, pooling_type=max: pruned: below the median (50.0 s)  best so far: trial 0 0.0433",
    ]


def test_before_one_is_done_there_is_no_best(capsys: pytest.CaptureFixture[str]) -> None:
    with live_table(display(), total=1) as live:
        live.end(trial(0, 0.5, "pruned"))
    assert capsys.readouterr().out.endswith("pruned (12.5 s)  none is done so far\n")


def test_where_less_is_better_the_least_is_best(capsys: pytest.CaptureFixture[str]) -> None:
    with live_table(display(), bigger=False) as live:
        live.end(trial(0, 0.1))
        live.end(trial(1, 0.2))
    assert capsys.readouterr().out.count("best so far: trial 0 0.1000") == 2


@pytest.mark.parametrize(("workers", "left"), [(1, "about 15 min left"), (4, "about 4 min left"), (100, "about 100 s left")])
def test_the_time_left_is_that_of_the_trials_to_come(workers: int, left: str) -> None:
    live = live_table(display(), [trial(0, 0.1, seconds=100.0)], total=10, workers=workers)
    assert shown(live)[0].endswith(left)


def test_what_runs_is_taken_off_the_time_left(monkeypatch: pytest.MonkeyPatch) -> None:
    live = live_table(display(), [trial(0, 0.1, seconds=100.0)], total=2)
    monkeypatch.setattr("time.monotonic", lambda: 1000.0)
    live.begin(1, {})
    monkeypatch.setattr("time.monotonic", lambda: 1070.0)
    assert shown(live)[0].endswith("about 30 s left")
    monkeypatch.setattr("time.monotonic", lambda: 5000.0)
    assert shown(live)[0].endswith("about 0 s left")


@pytest.mark.parametrize("width", [80, 140])
def test_the_table_shows_the_best_and_what_runs(width: int) -> None:
    live = live_table(display(), [trial(number, 0.01 * number, chosen={"a": "x" * 30, "b": [1] * 30}) for number in range(8)])
    live.begin(8, {"a": "[bold]"})
    live.begin(9, {"a": 2})
    live.epoch(8, entry(3, 0.1234))
    live.epoch(8, entry(4, None))
    lines = shown(live, width)
    assert max(map(len, lines)) <= width
    assert lines[0].startswith("trial 8/40 ━")
    assert lines[1].startswith("best so far: trial 7, MRR@10 0.0700, a=xxx")
    assert [line.split()[:2] for line in lines[3 : 3 + BEST]] == [["trial", f"{number}"] for number in (7, 6, 5, 4, 3)]
    assert lines[3].split()[-4:] == ["2", "0.0700", "12", "s"]
    assert lines[-2].split() == ["trial", "8", "a=[bold]", "4/30", "0.1234", "0", "s"]
    assert lines[-1].split() == ["trial", "9", "a=2", "0/30", "0", "s"]
    live.end(trial(8, 0.5))
    assert not [line for line in shown(live) if "a=[bold]" in line]


def test_before_anything_there_is_a_bar_alone() -> None:
    assert len(shown(live_table(display()))) == 1


def test_a_trial_that_goes_on_begins_anew_and_one_that_never_began_is_no_matter() -> None:
    live = live_table(display())
    live.begin(0, {"a": 1})
    live.epoch(0, entry(3, 0.25))
    live.begin(0, {"a": 1})
    live.epoch(7, entry(3, 0.25))
    assert shown(live)[-1].split() == ["trial", "0", "a=1", "0/30", "0", "s"]


def test_of_many_that_run_some_are_shown() -> None:
    live = live_table(display())
    for number in range(RUNNING + 3):
        live.begin(number, {"a": number})
    assert shown(live)[-1] == "and 3 more"


def test_a_terminal_gets_the_table_and_keeps_what_must_not_be_lost() -> None:
    of = display(80)
    with live_table(of) as live:
        live.begin(0, {"a": 1})
        live.end(trial(0, 0.5, reason="unseen"))
        live.end(trial(1, 0.1, "pruned", reason="below the median"))
        live.end(trial(2, state="failed", reason="diverged [x]"))
        live.note("a worker died [y]")
    assert isinstance(of.console.file, io.StringIO)
    text = of.console.file.getvalue()
    assert "best so far" in text
    assert "[3/40] trial 2: learning_rate=0.001, pooling_type=average: failed: diverged [x] (12.5 s)\n" in text
    assert "note: a worker died [y]\n" in text
    assert "below the median" not in text


@pytest.mark.parametrize("changes", [{"show_progress": False}, {"state": "WARNING"}])
def test_no_table_where_none_is_wanted(changes: dict[str, Any]) -> None:
    of = display(80, **changes)
    of.console.quiet = "state" in changes
    with live_table(of) as live:
        live.end(trial(0, 0.5))
    assert isinstance(of.console.file, io.StringIO)
    assert of.console.file.getvalue().count("\n") == (0 if "state" in changes else 1)


def test_elsewhere_a_note_goes_to_standard_error(capsys: pytest.CaptureFixture[str]) -> None:
    with live_table(display()) as live:
        live.note("a worker died")
    assert capsys.readouterr().err == "note: a worker died\n"


@pytest.mark.parametrize("width", [None, 80])
def test_threads_lose_nothing_and_never_wait_for_each_other(width: int | None, capsys: pytest.CaptureFixture[str]) -> None:
    of = display(width)

    def work(first: int) -> None:
        for number in range(first, first + 20):
            live.begin(number, {"a": number})
            live.epoch(number, entry(1, 0.1))
            live.end(trial(number, state="failed", reason="diverged"))

    with live_table(of, total=80, workers=4) as live:
        threads = [threading.Thread(target=work, args=(20 * i,), daemon=True) for i in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(timeout=60)
        assert not any(thread.is_alive() for thread in threads)
    text = of.console.file.getvalue() if isinstance(of.console.file, io.StringIO) else capsys.readouterr().out
    assert text.count("failed: diverged") == 80
    assert all(f"[{count}/80]" in text for count in range(1, 81))
