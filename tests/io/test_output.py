"""What leaves the program: control characters as escapes at every door, any encoding of standard output, and an output that can't be written."""

import io
import json
import logging
import os
import sys
from pathlib import Path
from typing import IO, Any
from unittest.mock import patch

import pytest

import gaterec as library
from gaterec.cli.app import main
from gaterec.experiments.run import evaluate_run
from gaterec.io.output import VisibleFormatter, all_visible, visible
from tests.support.commands import TINY, gaterec

EVIL = "\x1b]0;owned\x07\x1b[31m[red]\ufffe\x1f\u202e"
"""Sets a terminal's title and color, is markup for rich, holds what neither XML nor the charts take, and turns the text that follows round."""
HIDDEN = [
    *map(chr, [*range(10), *range(11, 32), *range(0x7F, 0xA0)]),
    "\u202e",
    "\u2066",
    "\u2028",
    "\ufffe",
    "\ufdd0",
    "\ud800",
    "\U0010ffff",
]


@pytest.fixture(scope="module")
def run_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run whose items have hostile titles, in a folder with a hostile name."""
    place = tmp_path_factory.mktemp("output")
    log = place / "log"
    log.mkdir()
    events = [f"u{user}\ti{(user + step) % 9}\t{step}" for user in range(12) for step in range(5)]
    (log / "log.inter").write_text("\n".join(["user_id:token\titem_id:token\ttimestamp:float", *events]) + "\n")
    titles = [f"i{number}\tFilm {number} {EVIL}" for number in range(9)]
    (log / "log.item").write_text("\n".join(["item_id:token\ttitle:token_seq", *titles]) + "\n")
    small = {"embedding_size": 4, "MAX_ITEM_LIST_LENGTH": 5, "epochs": 1, "state": "CRITICAL"}
    folder: Path = library.run("HGN", "log", config_dict={**small, "data_path": str(place), "checkpoint_dir": str(place / "a\x1b7")})[
        "folder"
    ]
    return folder


def assert_nothing_hidden(text: str) -> None:
    assert not [letter for letter in HIDDEN if letter in text]


@pytest.mark.parametrize("letter", [*HIDDEN, "\n", "\t"])
def test_a_hidden_character_is_shown_as_an_escape(letter: str) -> None:
    assert visible(f"a{letter}b") == f"a{letter.encode('unicode_escape').decode()}b"


def test_other_characters_stay(tmp_path: Path) -> None:
    text = "Amélie – 千と千尋 👩\u200d👩\u200d👧 می\u200cخواهم שלום \\ [red] &amp;"
    assert visible(text) == text
    assert visible("a\nb\x1b", lines=True) == "a\nb\\x1b"
    assert all_visible({"a": [1, None, "\x1b", {"b": ("\ufffe",)}]}) == {"a": [1, None, "\\x1b", {"b": ["\\ufffe"]}]}


def test_a_log_shows_escapes() -> None:
    record = logging.LogRecord("gaterec", logging.INFO, "", 0, "%s is read\nnext", ("a\x1b[31m",), None)
    assert VisibleFormatter("%(message)s").format(record) == "a\\x1b[31m is read\nnext"


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_note_that_can_not_be_written_takes_no_answer_with_it(run_folder: Path) -> None:
    with Path("/dev/full").open("w", encoding="utf-8") as full, patch.object(sys, "stderr", full):
        out = io.StringIO()
        argv = patch.object(sys, "argv", ["gaterec", "recommend", str(run_folder), "--users=nosuch"])
        with argv, patch.object(sys, "stdout", out), pytest.raises(SystemExit) as end:
            main()
        os.dup2(os.open(os.devnull, os.O_WRONLY), full.fileno())
    assert not end.value.code
    assert "nosuch" in out.getvalue()


def test_commands_print_escapes(run_folder: Path) -> None:
    answered: list[tuple[object, ...]] = [
        ("recommend", run_folder, "--users=u1,\x1b[31mme", "--history=", "--seen"),
        ("recommend", run_folder, "--users=u1", "--why"),
        ("recommend", run_folder, "--users=u1", "--out", run_folder.parent / "lists\x1b[31m"),
        ("explain", run_folder, "--user=u1", "--item=i7"),
        ("explain", run_folder, "--history=i1,i2", "--item=i7", "--out", run_folder.parent / "why\x1b[31m.json"),
    ]
    for command in answered:
        found = gaterec(*command)
        assert found.code == 0, found
        assert_nothing_hidden(found.out + found.err)
        assert "\\x1b" in found.out, command
    refused: list[tuple[object, ...]] = [
        ("recommend", run_folder.parent / "none\x1b[31m", "--users=u1"),
        ("recommend", run_folder, "--users=u1", "--where=\x1b[31m=1"),
        ("explain", run_folder, "--user=u1", "--item=\x1b[31m"),
        ("explain", run_folder, "--user=u1", "--item=i7", "--out", run_folder.parent / "why.\x1b[31m"),
    ]
    for command in refused:
        found = gaterec(*command)
        assert (found.code, found.out, found.err.count("\n")) == (2, "", 1)
        assert_nothing_hidden(found.err)
        assert "\\x1b[31m" in found.err


def test_pictures_and_pages_show_escapes(run_folder: Path) -> None:
    why = library.load(run_folder).explain("u1", "i7")
    assert why.title == f"Film 7 {EVIL}"
    for form in ("svg", "png", "html", "json"):
        assert gaterec("explain", run_folder, "--user=u1", "--item=i7", "--out", run_folder.parent / f"why.{form}").code == 0
    picture, page = ((run_folder.parent / f"why.{form}").read_text("utf-8") for form in ("svg", "html"))
    library_of_charts = page.index("<footer>")
    for text in (picture, page[:library_of_charts], (run_folder / "report.html").read_text("utf-8").partition("<footer>")[0]):
        assert_nothing_hidden(text)
    assert "\\x1b]0;owned\\x07\\x1b[31m[red]\\ufffe\\x1f\\u202e" in page
    assert json.loads((run_folder.parent / "why.json").read_text("utf-8"))["title"] == why.title


def run_main(stdout: IO[str] | None, *arguments: object) -> tuple[int, str]:
    """The code of a command that writes to a file, and what it said on standard error."""
    code: Any = 0
    said = io.StringIO()
    with (
        patch.object(sys, "argv", ["gaterec", *map(str, arguments)]),
        patch.object(sys, "stdout", stdout),
        patch.object(sys, "stderr", said),
    ):
        try:
            main()
        except SystemExit as end:
            code = end.code or 0
    return code, said.getvalue()


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "cp1252", "utf-8"])
def test_characters_that_the_encoding_lacks_are_replaced(run_folder: Path, encoding: str) -> None:
    for command in (
        ("explain", run_folder, "--history=i1", "--item=i7", f"--out={run_folder.parent}/千.json"),
        ("recommend", run_folder, "--users=千"),
    ):
        raw = io.BytesIO()
        stdout = io.TextIOWrapper(raw, encoding=encoding)
        assert run_main(stdout, *command)[0] == 0
        text = raw.getvalue().decode(encoding)
        assert ("千" if encoding == "utf-8" else "?") in text


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_disk_ends_a_command_in_one_line(run_folder: Path) -> None:
    for command in (
        ("models",),
        ("--help",),
        ("settings",),
        ("recommend", run_folder, "--users=u1"),
        ("recommend", run_folder, "--users=all", "-k9", "--seen", "--history="),
        ("explain", run_folder, "--user=u1", "--item=i7"),
        ("evaluate", run_folder),
        ("run", "-d", run_folder.parents[1] / "log" / "log.inter", f"--checkpoint_dir={run_folder.parent}", *TINY),
    ):
        with Path("/dev/full").open("w", encoding="utf-8") as full:
            code, said = run_main(full, *command)
        assert (code, said.count("\n")) == (2, 1), (command, said)
        assert said == "gaterec: standard output: can't be written: No space left on device; give it a place with room, as in > FILE\n"


def test_a_standard_output_that_is_closed_is_no_fault() -> None:
    assert run_main(None, "models") == (0, "")


@pytest.mark.parametrize("state", ["INFO", "WARNING", "CRITICAL"])
def test_a_command_answers_whatever_the_state(run_folder: Path, state: str, tmp_path: Path) -> None:
    log = run_folder.parents[1] / "log" / "log.inter"
    found = gaterec("run", "-d", log, f"--checkpoint_dir={tmp_path}", f"--state={state}", *TINY)
    assert (found.code, "ndcg@10" in found.out) == (0, True)
    assert ("Run folder:" in found.out) == (state == "INFO")
    (folder,) = tmp_path.glob("HGN-*")
    for command, part in (
        (("recommend", folder, "--users=u1"), "HGN on log: recommended"),
        (("recommend", folder, "--users=u1", "--why"), "because"),
        (("recommend", folder, "--users=u1", "--out", tmp_path / "lists"), "lists/*.parquet"),
        (("explain", folder, "--user=u1", "--item=i7"), "In words:"),
        (("explain", folder, "--user=u1", "--item=i7", "--out", tmp_path / "why.json"), "why.json"),
        (("evaluate", folder), "ndcg@10"),
        (("evaluate", folder, "--state=ERROR"), "ndcg@10"),
        (("export", folder, "--out", tmp_path / "items", "--format=numpy"), "README.txt"),
    ):
        told = gaterec(*command)
        assert (told.code, part in told.out) == (0, True), (command, told)
    unknown = gaterec("recommend", folder, "--users=nosuch")
    assert "nosuch" in unknown.err


def test_a_function_prints_nothing_under_a_quiet_state(run_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    evaluate_run(run_folder, {"state": "WARNING"})
    assert capsys.readouterr().out == ""
    evaluate_run(run_folder)
    assert "ndcg@10" in capsys.readouterr().out
