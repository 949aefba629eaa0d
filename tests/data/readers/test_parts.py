"""A log in several files: folders of parts and patterns, by path and by name, in Python and from the command line."""

import re
from pathlib import Path

import polars as pl
import pytest

from gaterec.config.settings import Data
from gaterec.data.datasets.registry import load_dataset
from gaterec.data.log import Log
from gaterec.data.readers.parts import matching, parts_in
from gaterec.errors import DataError
from tests.support.commands import gaterec, write_log
from tests.support.histories import event_rows

FRAME = pl.DataFrame({"user_id": [1, 1, 2, 2, 3], "item_id": ["a", "b", "a", "c", "b"], "timestamp": [1, 2, 3, 4, 5]})
ROWS = [(str(user), item, time) for user, item, time in FRAME.rows()]


def load(dataset: str | Path, **settings: object) -> Log:
    return load_dataset(dataset, "nowhere", Data.model_validate(settings), show_progress=False)


def spark(folder: Path, ending: str = "snappy.parquet", **options: object) -> Path:
    """A folder as Spark writes it."""
    folder.mkdir(parents=True)
    for number, part in enumerate((FRAME[:2], FRAME[2:4], FRAME[4:])):
        name = f"part-0000{number}-4a1c7e0e-8d0b-4b5e-9c3a-1f2e3d4c5b6a-c000.{ending}"
        (folder / f".{name}.crc").write_bytes(b"crc")
        if ending.endswith("parquet"):
            part.write_parquet(folder / name)
        elif "json" in ending:
            part.write_ndjson(folder / name)
        else:
            part.write_csv(folder / name, **options)  # type: ignore[call-overload]
    (folder / "_SUCCESS").write_bytes(b"")
    return folder


@pytest.mark.parametrize(("name", "ending"), [("log.parquet", "snappy.parquet"), ("log", "csv"), ("log.csv", "csv"), ("log", "json")])
def test_a_folder_of_parts_is_one_log(tmp_path: Path, name: str, ending: str) -> None:
    folder = spark(tmp_path / name, ending)
    for dataset in (str(folder), f"{folder}/*.{ending}", f"{folder}/*"):
        log = load(dataset)
        assert log.name == "log"
        assert event_rows(log) == ROWS
        assert "3 files are read as one log, from part-00000-" in log.notes[0]


def test_parts_are_found_by_name_in_data_path(tmp_path: Path) -> None:
    spark(tmp_path / "shop")
    log = load_dataset("shop", tmp_path, Data(), show_progress=False)
    assert (log.name, event_rows(log)) == ("shop", ROWS)


def test_parts_without_header_take_column_names(tmp_path: Path) -> None:
    folder = spark(tmp_path / "log", "csv", include_header=False)
    assert event_rows(load(folder, column_names="user_id,item_id,timestamp")) == ROWS
    with pytest.raises(DataError, match=r"part-00000-.*\.csv:1: expected a header line .*--column_names="):
        load(folder)


def test_parts_stand_in_the_order_of_their_numbers(tmp_path: Path) -> None:
    for number in (1, 10, 2):
        FRAME[:1].write_parquet(tmp_path / f"part.{number}.parquet")
    expected = ["part.1.parquet", "part.2.parquet", "part.10.parquet"]
    assert [file.name for file in parts_in(tmp_path)] == expected
    assert [file.name for file in matching(tmp_path / "*.parquet")] == expected


def test_ids_are_text_where_one_part_needs_text(tmp_path: Path) -> None:
    (tmp_path / "part-1.csv").write_text("user_id,item_id,timestamp\n1,7,1\n")
    (tmp_path / "part-2.csv").write_text("item_id,user_id,timestamp\n007,u,2\n")
    assert event_rows(load(tmp_path)) == [("1", "7", 1), ("u", "007", 2)]


def test_places_are_lines_of_parts(tmp_path: Path) -> None:
    (tmp_path / "part-1.csv").write_text("user_id,item_id,timestamp\n1,7,1\n")
    (tmp_path / "part-2.csv").write_text("user_id,item_id,timestamp\n1,7,1\n1,8,x\n")
    with pytest.raises(DataError, match=r"part-2\.csv:3: timestamp: expected a number, found 'x'"):
        load(tmp_path)


def test_a_pattern_names_any_files_and_those_below_folders(tmp_path: Path) -> None:
    for day in ("2024-01-01", "2024-01-02"):
        spark(tmp_path / "log" / f"date={day}")
    with pytest.raises(DataError, match=r"or the numbered parts of one log, in this folder, .* name them: '.*/log/\*\*'"):
        load(tmp_path / "log")
    for pattern in ("*/*", "**", "*/*.parquet"):
        log = load(f"{tmp_path}/log/{pattern}")
        assert (log.name, [row[:3] for row in event_rows(log)]) == ("log", ROWS * 2)
        assert log.events["date"].to_list() == ["2024-01-01"] * 5 + ["2024-01-02"] * 5
        assert re.search(r"log/.*: 6 files are read as one log, from date=2024-01-01/part-.* to date=2024-01-02/part-", log.notes[0])


def test_what_names_of_folders_say_is_a_column(tmp_path: Path) -> None:
    for user, folder in enumerate(("day=2024-01-02/shop=1", "day=2024-01-01/shop=a%2Fb", "day=__HIVE_DEFAULT_PARTITION__/shop=3")):
        (tmp_path / folder).mkdir(parents=True)
        FRAME[user : user + 1].write_parquet(tmp_path / folder / "part-0.parquet")
    log = load(f"{tmp_path}/**", TIME_FIELD="day", missing_time="drop")
    days = [1704067200_000_000, 1704153600_000_000]
    assert sorted(zip(log.events["day"], log.events["shop"], strict=True)) == [(days[0], "a/b"), (days[1], "1")]
    with pytest.raises(DataError, match=r"day=__HIVE_.*/part-0\.parquet:row 1: day: expected a time, found none"):
        load(f"{tmp_path}/**", TIME_FIELD="day")
    kept = load(f"{tmp_path}/day=2024-01-02/**")
    assert kept.events["shop"].to_list() == [1.0]


def test_a_list_of_files_is_pointed_to_a_pattern() -> None:
    with pytest.raises(DataError, match=r"found list; several files are one pattern, such as 'log/\*\.csv'"):
        load_dataset(["a.csv", "b.csv"], "nowhere", Data())  # type: ignore[arg-type]


def test_files_that_are_no_parts_are_not_joined_unasked(tmp_path: Path) -> None:
    for name in ("train.csv", "test.csv"):
        FRAME.write_csv(tmp_path / name)
    with pytest.raises(DataError, match=r"found test\.csv, train\.csv; to read several files as one log, name them: '.*/\*\.csv'"):
        load(tmp_path)
    assert event_rows(load(f"{tmp_path}/*.csv")) == ROWS * 2


def test_parts_of_other_columns_or_types_are_refused(tmp_path: Path) -> None:
    FRAME.write_parquet(tmp_path / "part-1.parquet")
    FRAME.rename({"item_id": "item"}).write_parquet(tmp_path / "part-2.parquet")
    with pytest.raises(
        DataError, match=r"part-2\.parquet: expected the columns of .*part-1\.parquet \(user_id, item_id, timestamp\), found user_id, item"
    ):
        load(tmp_path)
    FRAME.with_columns(timestamp=pl.lit([1])).write_parquet(tmp_path / "part-2.parquet")
    with pytest.raises(DataError, match="expected parts with columns of one type, found several"):
        load(tmp_path)


def test_a_name_with_signs_of_a_pattern_is_taken_literally(tmp_path: Path) -> None:
    for name in ("[v1].parquet", "a?b.parquet", "*.parquet"):
        FRAME[:1].write_parquet(tmp_path / name)
        assert event_rows(load(tmp_path / name)) == ROWS[:1]
    FRAME.write_csv(tmp_path / "[v2].csv")
    assert event_rows(load(tmp_path / "[v2].csv")) == ROWS


def test_a_pattern_without_files(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"/\*\.parquet: there is no file of this name, and none that the pattern matches"):
        load(f"{tmp_path}/*.parquet")


def test_from_the_command_line(tmp_path: Path) -> None:
    log = pl.read_csv(write_log(tmp_path / "log.csv"))
    (tmp_path / "parts").mkdir()
    log[:100].write_parquet(tmp_path / "parts" / "part-0.parquet")
    log[100:].write_parquet(tmp_path / "parts" / "part-1.parquet")
    for source in (tmp_path / "parts", tmp_path / "parts" / "*.parquet"):
        prepared = gaterec("prepare", source, tmp_path / "out")
        assert prepared.code == 0
        assert f"{log.height} events" in prepared.out
        assert "2 files are read as one log, from part-0.parquet to part-1.parquet" in prepared.err


def test_parts_without_rows_are_passed_over(tmp_path: Path) -> None:
    for number, content in enumerate(["user_id,item_id\n", "user_id,item_id\n1,2\n", "", "user_id,item_id\n3,4\n", ""]):
        (tmp_path / f"part-{number}.csv").write_text(content)
    assert event_rows(load(tmp_path)) == [("1", "2"), ("3", "4")]
    for number in (1, 3):
        (tmp_path / f"part-{number}.csv").write_text("user_id,item_id\n")
    (tmp_path / "part-4.csv").write_text("user_id,item_id\n")
    with pytest.raises(DataError, match="expected rows in 5 files, found none"):
        load(tmp_path)
