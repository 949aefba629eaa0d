"""JSON lines as logs: values in their types, and every fault with its line."""

import gzip
from pathlib import Path

import polars as pl
import pytest

from gaterec.config.settings import Data
from gaterec.data.readers.read import read_log
from gaterec.errors import DataError
from tests.support.histories import event_rows

FIRST = '{"user_id": "u1", "item_id": 7, "timestamp": 3, "tags": ["a", "b"]}\n'


@pytest.mark.parametrize("name", ["x.jsonl", "x.ndjson", "x.json", "x.jsonl.gz", "x.json.gz"])
def test_objects_are_events(tmp_path: Path, name: str) -> None:
    content = ("\ufeff" + FIRST + '\n{"item_id": 8, "user_id": "u2", "timestamp": 12345678901}\r\n').encode()
    path = tmp_path / name
    path.write_bytes(gzip.compress(content) if name.endswith(".gz") else content)
    log = read_log(path, Data())
    assert event_rows(log) == [("u1", "7", 3, ["a", "b"]), ("u2", "8", 12345678901, None)]


def test_numbers_and_text_as_ids_are_text(tmp_path: Path) -> None:
    path = tmp_path / "x.jsonl"
    path.write_text('{"user_id": 1, "item_id": 12345678901234567890}\n{"user_id": "01", "item_id": 2}\n')
    log = read_log(path, Data())
    assert event_rows(log) == [("1", "12345678901234567890"), ("01", "2")]


@pytest.mark.parametrize(
    ("second", "message"),
    [
        ('{"user_id": "u", "item_id": 1', "x.jsonl:3: expected a JSON object on one line, found an error at character 30: "),
        ("{'user_id': 1}", "x.jsonl:3: expected a JSON object on one line, found an error at character 2: "),
        ("[1, 2]", "x.jsonl:3: expected a JSON object on one line, found a list"),
        ('"text"', "x.jsonl:3: expected a JSON object on one line, found a value"),
        ('{"user_id": ["u"], "item_id": 1}', "x.jsonl:3: user_id: expected one id, with one row for each, found '[\"u\"]'"),
        ('{"user_id": "u", "item_id": 1, "tags": 1}', "x.jsonl:3: tags: expected a list as in the lines before, found a value"),
        ('{"user_id": "u", "item_id": 1, "timestamp": "soon"}', "x.jsonl:3: timestamp: expected a number, found 'soon'"),
        ('{"user_id": "u", "item_id": 1}', "x.jsonl:3: timestamp: expected a time, found none"),
        ("[" * 100_000, "x.jsonl:3: expected a JSON object on one line, found one that is nested too deeply"),
    ],
)
def test_faults_have_their_line(tmp_path: Path, second: str, message: str) -> None:
    path = tmp_path / "x.jsonl"
    path.write_text(FIRST + "\n" + second + "\n")
    with pytest.raises(DataError) as error:
        read_log(path, Data())
    assert message in str(error.value)


def test_other_bytes_than_utf8(tmp_path: Path) -> None:
    path = tmp_path / "x.jsonl"
    path.write_bytes(FIRST.encode() + b'{"user_id": "\xff"}\n')
    with pytest.raises(DataError, match=r"x\.jsonl:2: expected UTF-8 text"):
        read_log(path, Data())


def test_an_array_is_refused_with_what_reads_it(tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    path.write_text('[\n{"user_id": 1, "item_id": 2},\n{"user_id": 1, "item_id": 3}]')
    with pytest.raises(
        DataError, match=r"x\.json:1: expected one JSON object per line, found an array; in Python give the frame polars\.read_json"
    ):
        read_log(path, Data())
    assert event_rows(read_log(pl.read_json(path), Data())) == [("1", "2"), ("1", "3")]


def test_an_empty_file(tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    path.write_bytes(b"\n")
    with pytest.raises(DataError, match=r"x\.json: expected one JSON object per line, found an empty file"):
        read_log(path, Data())
