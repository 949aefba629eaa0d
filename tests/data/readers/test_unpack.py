"""Archives, sound and hostile."""

import gzip
import zipfile
from pathlib import Path

import pytest

from gaterec.data.readers.unpack import extract_member, gzip_blocks
from gaterec.errors import DataError


def zipped(path: Path, members: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return path


def test_one_member_and_nothing_else_is_unpacked(tmp_path: Path) -> None:
    archive = zipped(tmp_path / "a.zip", {"ml/u.data": b"1 2", "ml/other/u.data2": b"no", "ml/README": b"read"})
    assert extract_member(archive, "ml/u.data", tmp_path / "out").read_bytes() == b"1 2"
    assert extract_member(archive, "README", tmp_path / "out").read_bytes() == b"read"
    assert sorted(file.name for file in tmp_path.iterdir()) == ["a.zip", "out"]


@pytest.mark.parametrize("name", ["../evil/u.data", "/etc/u.data", "ml/../../u.data", "..\\evil\\u.data", "C:\\evil\\u.data"])
def test_a_name_that_leaves_the_folder_is_refused(tmp_path: Path, name: str) -> None:
    archive = zipped(tmp_path / "a.zip", {name: b"evil"})
    with pytest.raises(DataError, match="expected a name inside the archive's folder"):
        extract_member(archive, "u.data", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_bomb_is_refused_before_it_unpacks(tmp_path: Path) -> None:
    archive = zipped(tmp_path / "a.zip", {"u.data": b"0" * 1_000_000})
    assert archive.stat().st_size < 2_000
    with pytest.raises(DataError, match="expected at most 1,000 bytes, found 1,000,000"):
        extract_member(archive, "u.data", tmp_path / "out", limit=1_000)
    assert not (tmp_path / "out").exists()


def test_a_bomb_that_lies_about_its_size_is_stopped(tmp_path: Path) -> None:
    archive = zipped(tmp_path / "a.zip", {"u.data": b"0" * 1_000_000})
    size = (1_000_000).to_bytes(4, "little")
    archive.write_bytes(archive.read_bytes().replace(size, (500).to_bytes(4, "little")))
    with pytest.raises(DataError, match="expected a sound zip file"):
        extract_member(archive, "u.data", tmp_path / "out", limit=1_000)
    assert not (tmp_path / "out").exists() or (tmp_path / "out").stat().st_size <= 1_000


@pytest.mark.parametrize(
    ("members", "message"),
    [({"a/x": b""}, r"found 0 \(of: a/x\)"), ({"a/u.data": b"", "b/u.data": b""}, r"found 2 \(of: a/u.data, b/u.data\)")],
)
def test_the_member_must_be_there_once(tmp_path: Path, members: dict[str, bytes], message: str) -> None:
    with pytest.raises(DataError, match=message):
        extract_member(zipped(tmp_path / "a.zip", members), "u.data", tmp_path / "out")


def test_no_zip_at_all(tmp_path: Path) -> None:
    (tmp_path / "a.zip").write_text("<html>please log in</html>")
    with pytest.raises(DataError, match=r"a\.zip: u\.data: expected a sound zip file"):
        extract_member(tmp_path / "a.zip", "u.data", tmp_path / "out")
    with pytest.raises(DataError, match="No such file"):
        extract_member(tmp_path / "b.zip", "u.data", tmp_path / "out")


def packed(path: Path, content: bytes) -> Path:
    path.write_bytes(gzip.compress(content, mtime=0))
    return path


@pytest.mark.parametrize(
    ("content", "blocks"),
    [(b"aa\nbb\ncc\n", [b"aa\nbb", b"cc"]), (b"aaaaa\nbb\ncc", [b"aaaaa", b"bb", b"cc"]), (b"", []), (b"abcdefgh\n", [b"abcdefgh"])],
)
def test_blocks_end_where_lines_end(tmp_path: Path, content: bytes, blocks: list[bytes]) -> None:
    assert list(gzip_blocks(packed(tmp_path / "a.gz", content), block=6)) == blocks


@pytest.mark.parametrize(
    ("content", "message"),
    [(b"a\n" * 501, "expected at most 1,000 bytes when unpacked"), (b"a" * 900, "expected lines of at most 100 bytes")],
)
def test_a_gzip_bomb_is_stopped(tmp_path: Path, content: bytes, message: str) -> None:
    with pytest.raises(DataError, match=message):
        list(gzip_blocks(packed(tmp_path / "a.gz", content), limit=1_000, block=100))


def test_a_damaged_gzip_file(tmp_path: Path) -> None:
    whole = packed(tmp_path / "a.gz", bytes(range(256)) * 100)
    for content in (whole.read_bytes()[:-20], b"<html>", whole.read_bytes()[:30] + b"\xff" * 50):
        whole.write_bytes(content)
        with pytest.raises(DataError, match=r"a\.gz: expected a"):
            list(gzip_blocks(whole))
