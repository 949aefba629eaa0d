"""Downloads, against a server on this machine that breaks off, changes its file, and worse."""

import hashlib
import os
import resource
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from gaterec.data.datasets import download as module
from gaterec.data.datasets.download import UnreachableError, download
from gaterec.errors import DataError
from tests.support.web import Site, serving

BODY = bytes(range(256)) * 4_000
MD5 = hashlib.md5(BODY).hexdigest()
NOTHING_MORE = (0,) * module.TRIES
SHA256 = hashlib.sha256(BODY).hexdigest()


@pytest.fixture(autouse=True)
def _direct_and_quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "BACKOFF_SECONDS", (0.0,))
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")


@pytest.fixture
def site() -> Iterator[Site]:
    with serving() as site:
        site.files["/a.bin"] = BODY
        yield site


def ranges(site: Site) -> list[str | None]:
    return [headers.get("Range") for headers in site.requests]


def left_behind(folder: Path) -> list[str]:
    return sorted(file.name for file in folder.iterdir() if file.suffix != ".lock")


def test_the_file_arrives_whole_and_alone(site: Site, tmp_path: Path) -> None:
    path = tmp_path / "new" / "folder" / "a.bin"
    assert download(site.base + "/a.bin", path, size=len(BODY), md5=MD5, sha256=SHA256.upper()) == path
    assert path.read_bytes() == BODY
    assert left_behind(path.parent) == ["a.bin"]


def test_an_empty_file(site: Site, tmp_path: Path) -> None:
    site.files["/a.bin"] = b""
    assert download(site.base + "/a.bin", tmp_path / "a.bin").read_bytes() == b""


def test_after_a_break_only_the_rest_is_asked_for(site: Site, tmp_path: Path) -> None:
    site.cuts = [300_000, 200_000]
    download(site.base + "/a.bin", tmp_path / "a.bin", sha256=SHA256)
    assert ranges(site) == [None, "bytes=300000-", "bytes=500000-"]
    assert site.requests[1]["If-Range"] == '"one"'


def test_a_later_run_goes_on_where_the_first_gave_up(site: Site, tmp_path: Path) -> None:
    site.cuts = [300_000, *NOTHING_MORE]
    with pytest.raises(UnreachableError, match=r"a\.bin\.part keeps the 300,000 bytes that came, and the same command goes on") as told:
        download(site.base + "/a.bin", tmp_path / "a.bin")
    assert "\n" not in str(told.value)
    assert left_behind(tmp_path) == ["a.bin.part", "a.bin.part.version"]
    site.cuts, site.requests = [], []
    assert download(site.base + "/a.bin", tmp_path / "a.bin", md5=MD5).read_bytes() == BODY
    assert ranges(site) == ["bytes=300000-"]


def test_the_date_serves_where_the_tag_is_weak(site: Site, tmp_path: Path) -> None:
    site.etag, site.modified, site.cuts = 'W/"one"', "Mon, 17 Oct 2016 15:00:00 GMT", [1_000]
    assert download(site.base + "/a.bin", tmp_path / "a.bin").read_bytes() == BODY
    assert site.requests[1]["If-Range"] == site.modified


@pytest.mark.parametrize("versioned", [True, False], ids=["ignores Range", "names no version"])
def test_a_server_that_sends_no_pieces_starts_again(site: Site, tmp_path: Path, versioned: bool) -> None:
    site.ranges, site.cuts = False, [300_000]
    site.etag = '"one"' if versioned else ""
    assert download(site.base + "/a.bin", tmp_path / "a.bin").read_bytes() == BODY
    assert ranges(site) == [None, "bytes=300000-" if versioned else None]


@pytest.mark.parametrize("checks_if_range", [True, False], ids=["honours If-Range", "ignores If-Range"])
def test_a_file_that_changed_in_between_is_fetched_anew(site: Site, tmp_path: Path, checks_if_range: bool) -> None:
    site.cuts = [300_000, *NOTHING_MORE]
    with pytest.raises(UnreachableError):
        download(site.base + "/a.bin", tmp_path / "a.bin")
    site.files["/a.bin"], site.etag, site.cuts, site.checks_if_range = BODY[::-1], '"two"', [], checks_if_range
    assert download(site.base + "/a.bin", tmp_path / "a.bin").read_bytes() == BODY[::-1]


def half_done(folder: Path, content: bytes) -> None:
    (folder / "a.bin.part").write_bytes(content)
    (folder / "a.bin.part.version").write_text('"one"')


def test_a_part_that_lacks_nothing_is_taken(site: Site, tmp_path: Path) -> None:
    half_done(tmp_path, BODY)
    assert download(site.base + "/a.bin", tmp_path / "a.bin", md5=MD5).read_bytes() == BODY
    assert left_behind(tmp_path) == ["a.bin"]


def test_a_part_longer_than_the_file_is_thrown_away(site: Site, tmp_path: Path) -> None:
    half_done(tmp_path, BODY + b"more")
    assert download(site.base + "/a.bin", tmp_path / "a.bin", md5=MD5).read_bytes() == BODY


@pytest.mark.parametrize(
    ("expected", "message"),
    [
        ({"md5": "0" * 32}, f"expected md5 {'0' * 32}, found {MD5}"),
        ({"sha256": "0" * 64}, f"expected sha256 {'0' * 64}, found {SHA256}"),
        ({"size": 7}, "expected 7 bytes, found 1,024,000"),
    ],
)
def test_another_file_than_expected_is_removed(site: Site, tmp_path: Path, expected: dict[str, str], message: str) -> None:
    with pytest.raises(DataError, match=message):
        download(site.base + "/a.bin", tmp_path / "a.bin", **expected)  # type: ignore[arg-type]
    assert left_behind(tmp_path) == []


def test_a_file_that_is_there_is_checked_and_left(site: Site, tmp_path: Path) -> None:
    path = tmp_path / "a.bin"
    path.write_bytes(BODY)
    assert download(site.base + "/a.bin", path, md5=MD5) == path
    path.write_bytes(b"other")
    with pytest.raises(DataError, match=r"a\.bin: expected md5 .*; remove it"):
        download(site.base + "/a.bin", path, md5=MD5)
    assert path.read_bytes() == b"other"
    assert site.requests == []


def test_not_found_is_said_at_once(site: Site, tmp_path: Path) -> None:
    with pytest.raises(UnreachableError, match=r"/b\.bin: expected the file, the server answered 404 Not Found$"):
        download(site.base + "/b.bin", tmp_path / "b.bin")
    assert len(site.requests) == 1
    assert left_behind(tmp_path) == []


def test_a_busy_server_is_asked_again(site: Site, tmp_path: Path) -> None:
    site.statuses = [503, 429]
    assert download(site.base + "/a.bin", tmp_path / "a.bin").read_bytes() == BODY
    site.statuses = [503] * module.TRIES
    with pytest.raises(UnreachableError, match="the server answered 503 Service Unavailable"):
        download(site.base + "/a.bin", tmp_path / "b.bin")


def test_nobody_listening(tmp_path: Path) -> None:
    with socket.socket() as taken:  # bound and not listening: a port where certainly nobody answers
        taken.bind(("127.0.0.1", 0))
        with pytest.raises(UnreachableError, match="refused"):
            download(f"http://127.0.0.1:{taken.getsockname()[1]}/a.bin", tmp_path / "a.bin")
    assert left_behind(tmp_path) == []


@pytest.mark.parametrize("url", ["ftp://127.0.0.1/a.bin", "http://[::1", "a.bin"])
def test_no_web_address(tmp_path: Path, url: str) -> None:
    with pytest.raises(UnreachableError):
        download(url, tmp_path / "a.bin")


def test_a_proxy_of_the_environment_is_used(site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_PROXY")
    monkeypatch.setenv("HTTP_PROXY", site.base)
    site.files = {"http://elsewhere.invalid/a.bin": BODY}
    assert download("http://elsewhere.invalid/a.bin", tmp_path / "a.bin").read_bytes() == BODY


def test_a_proxy_that_makes_no_sense_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "gopher://127.0.0.1:1")
    with pytest.raises(UnreachableError, match="the proxy that the environment names"):
        download("http://elsewhere.invalid/a.bin", tmp_path / "a.bin")


def test_a_file_where_a_folder_is_needed(site: Site, tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("a file")
    with pytest.raises(DataError, match=r"cache/a\.bin: can't be written"):
        download(site.base + "/a.bin", tmp_path / "cache" / "a.bin")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_disk_keeps_no_file_under_the_final_name(site: Site, tmp_path: Path) -> None:
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, before[1]))  # as a full disk, writing fails after so many bytes
    try:
        with pytest.raises(DataError, match="can't be written \\(File too large"):
            download(site.base + "/a.bin", tmp_path / "a.bin")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert not (tmp_path / "a.bin").exists()


@pytest.mark.parametrize("link", [Path.symlink_to, Path.hardlink_to])
@pytest.mark.parametrize("ending", [".part", ".part.version"])
def test_a_file_behind_a_link_is_not_written_to(site: Site, tmp_path: Path, link: Callable[[Path, Path], None], ending: str) -> None:
    victim, folder = tmp_path / "victim", tmp_path / "downloads"
    victim.write_bytes(b"mine")
    folder.mkdir()
    link(folder / f"a.bin{ending}", victim)
    download(site.base + "/a.bin", folder / "a.bin", md5=MD5)
    assert victim.read_bytes() == b"mine"
    assert (folder / "a.bin").read_bytes() == BODY
    assert not (folder / "a.bin").is_symlink()


def test_a_part_behind_a_link_is_no_beginning(site: Site, tmp_path: Path) -> None:
    """What lies behind it could be changed by somebody else while it grows, and is not resumed."""
    (tmp_path / "elsewhere").write_bytes(BODY[:1000])
    (tmp_path / "a.bin.part").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "a.bin.part.version").write_text('"one"')
    download(site.base + "/a.bin", tmp_path / "a.bin", md5=MD5)
    assert ranges(site) == [None]
    assert (tmp_path / "elsewhere").read_bytes() == BODY[:1000]


@pytest.mark.parametrize("ending", ["", ".part", ".part.version", ".lock"])
def test_pipes_are_not_waited_for(site: Site, tmp_path: Path, ending: str) -> None:
    os.mkfifo(tmp_path / f"a.bin{ending}")
    if ending in ("", ".lock"):
        with pytest.raises(DataError, match=r"a named pipe|expected a file of this download"):
            download(site.base + "/a.bin", tmp_path / "a.bin", md5=MD5)
    else:
        assert download(site.base + "/a.bin", tmp_path / "a.bin", md5=MD5).read_bytes() == BODY


def test_a_link_in_place_of_the_lock_makes_no_file(site: Site, tmp_path: Path) -> None:
    (tmp_path / "a.bin.lock").symlink_to(tmp_path / "victim")
    with pytest.raises(DataError, match="can't be written"):
        download(site.base + "/a.bin", tmp_path / "a.bin")
    assert not (tmp_path / "victim").exists()


def test_two_at_once_fetch_it_once(site: Site, tmp_path: Path) -> None:
    threads = [threading.Thread(target=download, args=(site.base + "/a.bin", tmp_path / "a.bin"), kwargs={"md5": MD5}) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (tmp_path / "a.bin").read_bytes() == BODY
    assert len(site.requests) == 1
