"""What does not fit into memory is refused before it is read: by its rows, or by what it unpacks to."""

import gzip
from pathlib import Path

import polars as pl
import pytest

from gaterec.config.settings import Data
from gaterec.data.readers import memory, read, unpack
from gaterec.data.readers.read import read_log
from gaterec.data.readers.unpack import read_gzip
from gaterec.errors import DataError


def test_free_memory_is_of_this_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert 100_000_000 < memory.available_memory() < 1 << 50
    (tmp_path / "memory.max").write_text("3000\n")
    (tmp_path / "memory.current").write_text("1000\n")
    monkeypatch.setattr(memory, "CGROUP", tmp_path)
    assert memory.available_memory() == 2000
    (tmp_path / "memory.max").write_text("max\n")
    assert memory.available_memory() > 100_000_000


def test_a_parquet_file_of_very_many_equal_rows_is_refused_by_its_metadata(tmp_path: Path) -> None:
    path = tmp_path / "x.parquet"
    rows = memory.available_memory() // memory.BYTES_PER_EVENT + 1_000_000_000
    part = pl.select(user_id=pl.lit(1, pl.Int8).repeat_by(1_000_000).explode(), item_id=pl.lit(2, pl.Int8).repeat_by(1_000_000).explode())
    part.write_parquet(path)
    claim_rows(path, 1_000_000, rows)
    with pytest.raises(
        DataError, match=rf"x\.parquet: expected a log that fits into memory, found {rows:,} rows in a file of .* bytes, which need about"
    ):
        read_log(path, Data())


def claim_rows(path: Path, found: int, claimed: int) -> None:
    """Let the metadata of a Parquet file name another number of rows: written as zigzag varints, which keep their length."""

    def varint(number: int) -> bytes:
        number, pieces = number << 1, []
        while number:
            number, piece = number >> 7, number & 0x7F
            pieces.append(piece | (0x80 if number else 0))
        return bytes(pieces)

    content = path.read_bytes()
    length = int.from_bytes(content[-8:-4], "little")
    footer = content[-8 - length : -8].replace(varint(found), varint(claimed))
    path.write_bytes(content[: -8 - length] + footer + len(footer).to_bytes(4, "little") + b"PAR1")


def test_a_parquet_file_that_fits_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "x.parquet"
    pl.DataFrame({"user_id": [1] * 10, "item_id": [2] * 10}).write_parquet(path)
    monkeypatch.setattr(read, "available_memory", lambda: 10 * memory.BYTES_PER_EVENT)
    assert read_log(path, Data()).events.height == 10
    monkeypatch.setattr(read, "available_memory", lambda: 10 * memory.BYTES_PER_EVENT - 1)
    with pytest.raises(DataError, match="found 10 rows in a file of"):
        read_log(path, Data())


def test_a_gzip_file_that_unpacks_to_too_much_is_named_with_its_size(tmp_path: Path) -> None:
    path = tmp_path / "x.csv.gz"
    path.write_bytes(gzip.compress(b"user_id,item_id\n" + b"1,2\n" * 1_000_000))
    with pytest.raises(
        DataError, match=r"x\.csv\.gz: expected at most 10,000 bytes when unpacked .*, found 4,000,016 bytes \(0\.0 GB\); unpack the file"
    ):
        read_gzip(path, limit=10_000)
    with pytest.raises(DataError, match="found more than 3,"):
        read_gzip(path, limit=10_000, counted=2_500_000)
    assert len(read_gzip(path)) == len(read_gzip(path, limit=4_000_016)) == 4_000_016


@pytest.mark.parametrize("name", ["x.csv.gz", "x.inter.gz", "x.jsonl.gz"])
def test_every_packed_format_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    path = tmp_path / name
    path.write_bytes(gzip.compress(b" " * 100_000))
    monkeypatch.setattr(unpack, "available_memory", lambda: 20_000)
    with pytest.raises(DataError, match="expected at most 10,000 bytes when unpacked"):
        read_log(path, Data())
