"""Text logs without a header line, in the forms that publishers give them: told apart from headers, and read with column_names."""

import re
from pathlib import Path

import polars as pl
import pytest

import gaterec
from gaterec.config.settings import Data
from gaterec.data.readers.read import read_log
from gaterec.errors import DataError
from tests.support.commands import gaterec as command
from tests.support.histories import event_rows

PUBLISHED = {  # name -> content, the names of its columns, the first event
    "yoochoose-clicks.dat": (
        "1,2014-04-07T10:51:09.277Z,214536502,0\n1,2014-04-07T10:54:09.868Z,214536500,0\n",
        "user_id,timestamp,item_id,category",
        ("1", "214536502"),
    ),
    "UserBehavior.csv": ("1,2268318,2520377,pv,1511544070\n1,2333346,2520771,pv,1511561733\n", "user_id,item_id,category,kind,timestamp", ("1", "2268318")),
    "loc-gowalla_totalCheckins.txt": (
        "0\t2010-10-19T23:55:27Z\t30.2359\t-97.7951\t22847\n0\t2010-10-18T22:17:43Z\t30.2691\t-97.7494\t420315\n",
        "user_id,timestamp,latitude,longitude,item_id",
        ("0", "22847"),
    ),
    "dataset_TSMC2014_NYC.txt": (
        "470\t49bbd6c0f964a520f4531fe3\t4bf58dd8d48988d127951735\tArts & Crafts Store\t40.7\t-74.0\t-240\tTue Apr 03 18:00:09 +0000 2012\n" * 2,
        "user_id,item_id,kind_id,kind,latitude,longitude,offset,timestamp",
        ("470", "49bbd6c0f964a520f4531fe3"),
    ),
    "ratings_Beauty.csv": ("A39HTATAQ9V7YF,0205616461,5.0,1369699200\nA3JM6GV9MNOF9X,0558925278,3.0,1355443200\n", "user_id,item_id,rating,timestamp", ("A39HTATAQ9V7YF", "0205616461")),
    "userid-timestamp-artid.tsv": (
        "user_000001\t2009-05-04T23:08:57Z\tf1b1cf71\tDeep Dish\t\tFuck Me Im Famous\nuser_000001\t2009-05-04T13:54:10Z\ta7f7df4a\t坂本龍一\tm1\t12\" Mix\n",
        "user_id,timestamp,artist,name,track,item_id",
        ("user_000001", "Fuck Me Im Famous"),
    ),
    "part.csv": ("'u1','a',10\n'u2','b',20\n", "user_id,item_id,timestamp", ("u1", "a")),
    "bom.csv": ("\ufeff7,a,10\n8,b,20\n", "user_id,item_id,timestamp", ("7", "a")),
}  # fmt: skip


@pytest.mark.parametrize("name", PUBLISHED)
def test_a_log_without_header_is_refused_and_read_with_column_names(tmp_path: Path, name: str) -> None:
    content, names, first = PUBLISHED[name]
    path = tmp_path / name
    path.write_text(content)
    with pytest.raises(DataError, match=rf":1: expected a header line .* looks like an event .* name the {names.count(',') + 1} columns"):
        read_log(path, Data())
    log = read_log(path, Data(column_names=names))
    assert log.events.height == 2
    assert (str(log.events["user_id"][0]), str(log.events["item_id"][0])) == first
    assert log.events["timestamp"].dtype == pl.Int64


def test_the_remedy_of_the_message_gives_all_events(tmp_path: Path) -> None:
    path = tmp_path / "clicks.csv"
    path.write_text("".join(f"{line % 4},2014-04-07T10:51:{line:02}Z,{100 + line % 5},0\n" for line in range(20)))
    refused = command("prepare", path, tmp_path / "out")
    found = re.search(r"--column_names=\S+(?=,)", refused.err)
    assert found, refused
    assert found[0] == "--column_names=user_id,timestamp,item_id,column4"
    prepared = command("prepare", path, tmp_path / "out", found[0])
    assert prepared.code == 0
    assert "4 people, 5 items, 20 events" in prepared.out
    assert gaterec.prepare(path, tmp_path / "again", config_dict={"column_names": ["user_id", "timestamp", "item_id", "category"]})


def test_values_of_the_first_event_are_no_names(tmp_path: Path) -> None:
    path = tmp_path / "clicks.csv"
    path.write_text("1,2014-04-07T10:51:09.277Z,214536502,0\n" * 3)
    with pytest.raises(DataError, match="looks like an event"):
        read_log(path, Data(USER_ID_FIELD="1", ITEM_ID_FIELD="214536502", TIME_FIELD="2014-04-07T10:51:09.277Z"))


def test_an_atomic_file_without_header_takes_names_with_types(tmp_path: Path) -> None:
    path = tmp_path / "x.inter"
    path.write_text("u1\ta\t1300000000\nu1\tb\t1300000001\n")
    with pytest.raises(DataError, match="--column_names=user_id:token,item_id:token,timestamp:float,"):
        read_log(path, Data())
    log = read_log(path, Data(column_names="user_id:token,item_id:token,timestamp:float"))
    assert event_rows(log) == [("u1", "a", 1300000000), ("u1", "b", 1300000001)]


def test_columns_named_by_a_year_are_a_header(tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    path.write_text("user_id,item_id,2019,7\nu,a,1,2\n")
    assert read_log(path, Data()).events.columns == ["user_id", "item_id", "2019", "7"]
    path.write_text("user_id,item_id,2019\nu,a,1\n")
    with pytest.raises(DataError, match="user: expected a column of this name, found user_id, item_id"):
        read_log(path, Data(USER_ID_FIELD="user"))


@pytest.mark.parametrize("names", ["user_id,item_id,timestamp", "a,item_id,timestamp,user_id"])
def test_column_names_beside_a_header_are_refused(tmp_path: Path, names: str) -> None:
    path = tmp_path / "x.csv"
    path.write_text("user_id,item_id,timestamp\n1,2,3\n")
    with pytest.raises(
        DataError, match=r"x\.csv:1: expected an event, as column_names is set, found a header line \(user_id, item_id, timestamp\)"
    ):
        read_log(path, Data(column_names=names))


def test_column_names_beside_a_header_of_other_words_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    path.write_text("person,film\n1,2\n")
    with pytest.raises(DataError, match=r"found a header line \(person, film\)"):
        read_log(path, Data(column_names="user_id,item_id"))


def test_column_names_must_be_as_many_as_the_fields(tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    path.write_text("1,2,3\n4,5,6\n")
    for names in ("user_id,item_id", "user_id,item_id,timestamp,kind"):
        with pytest.raises(DataError, match=r"x\.csv:1: expected \d fields, as column_names .*, found 3 \(1,2,3\); name every column"):
            read_log(path, Data(column_names=names))


def test_places_are_lines_where_there_is_no_header(tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    path.write_text("u,a,1\n\nu,b,x\n")
    with pytest.raises(DataError, match=r"x\.csv:3: timestamp: expected a number, found 'x'"):
        read_log(path, Data(column_names="user_id,item_id,timestamp"))


def test_column_names_are_of_text_files_alone(tmp_path: Path) -> None:
    frame = pl.DataFrame({"user_id": [1], "item_id": [2]})
    frame.write_parquet(tmp_path / "x.parquet")
    for source in (frame, tmp_path / "x.parquet"):
        with pytest.raises(DataError, match=r"column_names: .* names its columns itself; leave column_names out"):
            read_log(source, Data(column_names="user_id,item_id"))
