"""Quotes in text tables: ordinary characters in TSV, fields of one row in CSV; nothing vanishes in a field."""

from pathlib import Path

import polars as pl
import pytest

from gaterec.config.settings import Data
from gaterec.data.readers.delimited import shortened
from gaterec.data.readers.read import read_log
from gaterec.errors import DataError

HEADER = ("user_id", "item_id", "title", "timestamp")
TITLES = ['12" Mix', '"Heroes', "b", 'c"', '"d"', "e"]


def table(titles: list[str], separator: str) -> str:
    rows = [("u", f"i{number}", title, str(number)) for number, title in enumerate(titles)]
    return "".join(separator.join(row) + "\n" for row in (HEADER, *rows))


@pytest.mark.parametrize("name", ["x.tsv", "x.txt", "x.csv", "x.dat"])
def test_between_tabs_a_quote_is_an_ordinary_character(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.write_text(table(TITLES, "\t"))
    assert read_log(path, Data()).events["title"].to_list() == TITLES


def test_a_quote_inside_a_field_of_csv_is_an_ordinary_character(tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    path.write_text(table(['12" Mix', "b", '7" Edit', "d"], ","))
    log = read_log(path, Data())
    assert log.events["title"].to_list() == ['12" Mix', "b", '7" Edit', "d"]
    assert log.events["timestamp"].to_list() == [0, 1, 2, 3]


@pytest.mark.parametrize("end", [2, 5])
def test_rows_in_a_field_of_csv_are_refused(tmp_path: Path, end: int) -> None:
    path = tmp_path / "x.csv"
    titles = ["a", '"Heroes', "b", "c", "d", "e", "f"]
    titles[end] += '"'
    path.write_text(table(titles, ","))
    with pytest.raises(
        DataError, match=rf"x\.csv:3: title: expected a field of one row, found one in quotes that holds the rows up to line {end + 2};"
    ):
        read_log(path, Data())
    path.write_text(table(["a", '"""Heroes"', "b", "c", "d", "e", "f"], ","))  # what the message says
    assert read_log(path, Data()).events["title"].to_list() == ["a", '"Heroes', "b", "c", "d", "e", "f"]


def test_text_of_several_lines_is_a_field(tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    path.write_text(table(["a", '"two\nlines, and a comma"', '"three\n\nlines"', "d"], ","))
    assert read_log(path, Data()).events["title"].to_list() == ["a", "two\nlines, and a comma", "three\n\nlines", "d"]


def test_all_quoted_fields_between_tabs_are_unquoted(tmp_path: Path) -> None:
    path = tmp_path / "x.tsv"
    rows = [HEADER, ("u", "i", 'a ""b""\tc', "1")]
    path.write_text("".join("\t".join(f'"{field}"' for field in row) + "\n" for row in rows))
    assert read_log(path, Data()).events["title"].to_list() == ['a "b"\tc']


def test_zstandard_is_named(tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    path.write_bytes(b"\x28\xb5\x2f\xfd" + b"x" * 20)
    with pytest.raises(DataError, match="expected plain text or gzip, found Zstandard data; unpack the file"):
        read_log(path, Data())


@pytest.mark.parametrize(
    ("ids", "kept"),
    [
        (["1", "", "10", "100"], pl.Int64),
        (["0", "9", "10", "99"], pl.Int64),
        (["-1", "1", "10", "9"], pl.String),
        (["-1", "-10"], pl.String),
        (["1", "01"], pl.String),
        (["+1", "1"], pl.String),
        (["7", "x"], pl.String),
    ],
    ids=str,
)
def test_ids_are_numbers_where_python_would_write_each_of_them_so(tmp_path: Path, ids: list[str], kept: type) -> None:
    path = tmp_path / "x.csv"
    path.write_text("user_id,item_id\n" + "".join(f"{name},i\n" for name in ids))
    found = read_log(path, Data()).events["user_id"]
    assert found.dtype == kept
    assert found.cast(pl.String).to_list() == [name for name in ids if name]


def test_text_in_a_message_has_at_most_60_characters_and_stays_on_its_line() -> None:
    assert shortened("x" * 60) == "x" * 60
    assert shortened("x" * 61) == "x" * 57 + "..."
    assert shortened("x" * 20, 10) == "x" * 7 + "..."
    assert shortened("a\tb\nc\x1b") == r"a\tb\nc\x1b"
