"""What a person sees: tables that fit, text that is not taken for markup, and the reason for stopping."""

import re

import pytest
from rich.progress import Progress

from gaterec.config.resolve import resolve
from gaterec.io.console import Terminal
from gaterec.models import model_class


@pytest.fixture
def display(monkeypatch: pytest.MonkeyPatch) -> Terminal:
    monkeypatch.setenv("COLUMNS", "80")
    return Terminal(resolve(lambda name: model_class(name).Settings))


def test_a_table_too_wide_is_turned_round(display: Terminal, capsys: pytest.CaptureFixture[str]) -> None:
    names = [f"metric{i}@10" for i in range(12)]
    display.figures("wide", [("HGN", dict.fromkeys(names, 0.1234)), ("Pop", dict.fromkeys(names, 0.5678))])
    shown = capsys.readouterr().out
    assert all(name in shown for name in names)
    assert shown.count("0.1234") == shown.count("0.5678") == 12
    assert max(map(len, shown.splitlines())) <= 80


def test_a_table_too_wide_either_way_comes_in_parts(display: Terminal, capsys: pytest.CaptureFixture[str]) -> None:
    names, models = [f"metric{i}@10" for i in range(12)], [f"Model{i}" for i in range(12)]
    display.figures("wide", [(model, dict.fromkeys(names, 0.1234)) for model in models])
    shown = capsys.readouterr().out
    assert all(shown.count(name) == 1 for name in names)
    parts = shown.count("Model5 ")
    assert parts == shown.count("Model11 ") > 1
    assert shown.count("0.1234") == 144
    assert max(map(len, shown.splitlines())) <= 80


def test_text_is_not_taken_for_markup(display: Terminal, capsys: pytest.CaptureFixture[str]) -> None:
    display.figures("HGN on log [draft]", [("[/x]", {"recall@10": 1.0})])
    display.table("[a]", ["rate[/x]"], [["[bold]"]])
    shown = capsys.readouterr().out
    assert all(text in shown for text in ("[draft]", "[/x]", "[a]", "[bold]"))


def test_control_characters_are_shown_as_escapes(display: Terminal, capsys: pytest.CaptureFixture[str]) -> None:
    display.line("line\x1b\nnext")
    display.answer("answer\x1b")
    display.warn("note\x1b")
    display.table("title\x1b", ["column\x1b"], [["cell\x1b\n"]])
    found = capsys.readouterr()
    assert found.err == "note: note\\x1b\n"
    assert "\x1b" not in found.out
    assert found.out.startswith("line\\x1b\nnext\nanswer\\x1b\n")
    assert all(f"{part}\\x1b" in found.out for part in ("title", "column", "cell"))
    assert "cell\\x1b\\n" in found.out


def test_the_last_epoch_and_the_reason_for_stopping_are_told(display: Terminal, capsys: pytest.CaptureFixture[str]) -> None:
    with display.training(10, 0) as progress:
        for number in (1, 2, 3):
            progress.epoch({"epoch": number, "loss": 0.5, "seconds": 0.1, "valid": {"mrr@10": 0.25}}, 1)
        progress.end(stale=2)
    shown = capsys.readouterr().out
    assert "epoch 3/300" in shown
    assert "stopped after epoch 3: 2 validations without progress" in shown


def test_without_a_terminal_the_number_of_users_is_told_in_lines(
    display: Terminal, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with display.users(2_000) as tell:
        tell(1_000)
        assert capsys.readouterr().out == ""
        monkeypatch.setattr(Terminal, "SECONDS_BETWEEN_LINES", 0.0)
        tell(1_500)
    assert re.fullmatch(r"1,500 of 2,000 users, [\d,]+ users/s\n", capsys.readouterr().out)


def test_bars_show_how_far_it_is(display: Terminal) -> None:
    def shown(bar: Progress) -> tuple[float | None, float, str]:
        (task,) = bar.tasks
        return task.total, task.completed, task.description

    bars: list[Progress] = []
    plain = display._bar
    display._bar = lambda unit: bars.append(plain(unit)) or bars[-1]  # type: ignore[func-returns-value, method-assign]
    with display.users(20) as tell:
        tell(5)
        assert shown(bars[0])[:2] == (20, 5)
        assert re.fullmatch(r"[\d,]+ users/s", shown(bars[0])[2])
    with display.training(100, 2) as training:
        training.step(20)
        training.step(30)
        assert shown(bars[1]) == (300, 2.5, "")
        training.epoch({"epoch": 3, "loss": 0.5, "seconds": 0.1, "valid": {"mrr@10": 0.25}}, 1)
        training.step(50)
        assert shown(bars[1]) == (300, 3.5, "loss 0.5000  MRR@10 0.2500 (best: epoch 1)")
    with display.matrix(4, 1) as matrix:
        matrix.begin("HGN, seed 1", 10)
        matrix.epoch({"epoch": 5, "valid": {"mrr@10": 0.25}}, "MRR@10")
        assert shown(bars[2]) == (4, 1.5, "HGN, seed 1: epoch 5/10  MRR@10 0.2500")
        matrix.end("done")
        assert shown(bars[2])[:2] == (4, 2)
