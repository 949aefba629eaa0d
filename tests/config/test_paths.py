"""Paths that users name: nothing but regular files is opened."""

import os
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from gaterec.config.paths import check_regular, expanded, open_regular, read_bytes, read_text
from gaterec.errors import SettingsError


def a_socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as made:
        made.bind(str(path))


def a_link_to_a_device(path: Path) -> None:
    path.symlink_to("/dev/zero")


KINDS: dict[str, Callable[[Path], object]] = {
    "a named pipe": os.mkfifo,
    "a folder": Path.mkdir,
    "a socket": a_socket,
    "a device": a_link_to_a_device,
}


@pytest.mark.parametrize("opened", [check_regular, open_regular, read_bytes, read_text])
@pytest.mark.parametrize("kind", KINDS)
def test_what_is_no_regular_file_is_refused_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, opened: Callable[[Path], object]
) -> None:
    monkeypatch.chdir(tmp_path)  # a socket's path may be 100 letters long
    KINDS[kind](Path("x"))
    with pytest.raises(OSError, match=f"expected a regular file, found {kind}"):
        opened(Path("x"))


def test_a_pipe_that_takes_the_place_of_a_file_while_it_is_opened_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "x"
    file.write_bytes(b"")
    before = check_regular(file)
    file.unlink()
    os.mkfifo(file)
    monkeypatch.setattr("gaterec.config.paths.check_regular", lambda path: before)
    with pytest.raises(OSError, match="found a named pipe"):
        open_regular(file)


@pytest.mark.parametrize("name", ["a\0b", "\ud800"])
def test_a_name_that_no_file_can_have_is_an_error_of_the_system(name: str) -> None:
    with pytest.raises(OSError, match="no file can have this name"):
        read_bytes(name)


def test_links_to_regular_files_are_followed(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"a\r\nb\rc\n")
    (tmp_path / "link").symlink_to("x")
    assert read_bytes(tmp_path / "link") == b"a\r\nb\rc\n"
    assert read_text(tmp_path / "link") == "a\nb\nc\n"
    assert check_regular(tmp_path / "link").st_size == 7
    with pytest.raises(FileNotFoundError):
        read_text(tmp_path / "none")


def test_a_tilde_is_a_home_folder_unless_something_has_that_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", "/home/of/one")
    assert expanded("~/x", "out") == Path("/home/of/one/x")
    assert expanded("x/~/y", "out") == Path("x/~/y")
    assert expanded("./~/x", "out") == Path("~/x")
    Path("~").mkdir()
    assert expanded("~", "out") == Path("~")


def test_a_home_of_no_user_is_told_and_the_remedy_helps() -> None:
    with pytest.raises(
        SettingsError, match=r"^out: ~nosuch/x: there is no home folder ~nosuch; write \./~nosuch/x for a folder of that name$"
    ):
        expanded("~nosuch/x", "out")
    assert expanded("./~nosuch/x", "out") == Path("~nosuch/x")


@pytest.mark.parametrize("name", ["a\0b", "~\0", "\ud800"])
def test_a_setting_with_a_name_that_no_file_can_have_is_refused(name: str) -> None:
    with pytest.raises(SettingsError, match=r"^out: .*no file can have this name"):
        expanded(name, "out")
