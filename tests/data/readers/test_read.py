"""Reading logs: every format gives the same Log, and every fault gives one line that says where it is."""

import gzip
import os
import subprocess
from datetime import UTC, date, datetime
from pathlib import Path

import polars as pl
import pytest

from gaterec.config.settings import Data
from gaterec.data.readers.read import read_log
from gaterec.errors import DataError
from tests.support.histories import event_rows as rows

HEADER = "user_id:token\titem_id:token\ttimestamp:float\n"
CSV = "user_id,item_id,timestamp\n"


def data(**changes: object) -> Data:
    return Data.model_validate(changes)


def write(folder: Path, name: str, content: str | bytes) -> Path:
    path = folder / name
    raw = content.encode() if isinstance(content, str) else content
    path.write_bytes(gzip.compress(raw, mtime=0) if name.endswith(".gz") else raw)
    return path


def fault(source: object, settings: Data | None = None) -> str:
    """The one line that reading raises."""
    with pytest.raises(DataError) as error:
        read_log(source, settings or Data())  # type: ignore[arg-type]
    message = str(error.value)
    assert message
    assert "\n" not in message
    return message


# -- what reads -------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("ending", ["", ".gz"])
@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("log.inter", HEADER + "u1\ta\t3\nu2\tb\t1\n"),
        ("log.csv", CSV + 'u1,"a",3\nu2,b,1\n'),
        ("log.tsv", CSV.replace(",", "\t") + "u1\ta\t3\nu2\tb\t1\n"),
        ("log.txt", CSV.replace(",", "\t") + "u1\ta\t3\nu2\tb\t1\n"),
        ("log.dat", CSV + "u1,a,3\nu2,b,1\n"),
        ("log.csv", CSV.replace(",", ";") + "u1;a;3\nu2;b;1\n"),
        ("log.csv", CSV.replace(",", "\t") + "u1\ta\t3\nu2\tb\t1\n"),
        ("log.csv", "'user_id','item_id','timestamp'\n'u1','a',3\n'u2','b','1'\n"),
        ("log.tsv", '"user_id"\t"item_id"\t"timestamp"\n"u1"\t"a"\t3\n"u2"\t"b"\t1\n'),
        ("log.jsonl", '{"user_id": "u1", "item_id": "a", "timestamp": 3}\n{"timestamp": 1, "user_id": "u2", "item_id": "b"}\n'),
    ],
)
def test_text_formats(tmp_path: Path, name: str, text: str, ending: str) -> None:
    log = read_log(write(tmp_path, name + ending, text), data())
    assert (log.name, log.source) == ("log", str(tmp_path / (name + ending)))
    assert log.events.schema == {"user_id": pl.String, "item_id": pl.String, "timestamp": pl.Int64}
    assert rows(log) == [("u1", "a", 3), ("u2", "b", 1)]
    assert log.notes == ()


def test_atomic_types(tmp_path: Path) -> None:
    path = write(
        tmp_path,
        "x.inter",
        "user_id:token\titem_id:token\trating:float\ttags:token_seq\tvector:float_seq\n1\t2\t3\ta b\t1 0.5\n1\t3\t\t\t\n",
    )
    log = read_log(path, data())
    assert log.events.dtypes == [pl.Int64, pl.Int64, pl.Float64, pl.List(pl.String), pl.List(pl.Float64)]
    assert rows(log) == [("1", "2", 3.0, ["a", "b"], [1.0, 0.5]), ("1", "3", None, None, None)]


def test_quotes_are_ordinary_characters_in_atomic_files(tmp_path: Path) -> None:
    assert rows(read_log(write(tmp_path, "x.inter", HEADER + 'u"1\t"a\t3\n'), data())) == [('u"1', '"a', 3)]


def test_separators_are_settings(tmp_path: Path) -> None:
    path = write(tmp_path, "x.inter", "user_id:token|item_id:token|tags:token_seq\n1|2|a;b\n")
    assert rows(read_log(path, data(field_separator="|", seq_separator=";"))) == [("1", "2", ["a", "b"])]


def test_features_lie_beside_the_events(tmp_path: Path) -> None:
    path = write(tmp_path, "x.inter", HEADER + "u\ta\t1\n")
    write(tmp_path, "x.user", "user_id:token\tage:float\nu\t30\nu\t31\n\t5\n")
    write(tmp_path, "x.item.gz", "item_id:token\tgenre:token_seq\na\tComedy Drama\n")
    log = read_log(path, data())
    assert log.users is not None
    assert log.items is not None
    assert log.users.rows() == [("u", 30.0)]
    assert log.items.rows() == [("a", ["Comedy", "Drama"])]
    assert "1 rows lack user_id" in log.notes[0]
    assert "x.user:4" in log.notes[0]
    assert "1 rows repeat an id; the first row of each is kept" in log.notes[1]


def test_byte_order_mark_carriage_returns_and_blank_lines(tmp_path: Path) -> None:
    raw = b"\xef\xbb\xbf" + (CSV + "1,2,3\n\n4,5,6\n\n").replace("\n", "\r\n").encode()
    log = read_log(write(tmp_path, "x.csv", raw), data())
    assert rows(log) == [("1", "2", 3), ("4", "5", 6)]
    assert log.notes == ()


def test_parquet(tmp_path: Path) -> None:
    path = tmp_path / "x.parquet"
    pl.DataFrame({"user_id": [1, 2], "item_id": [196.0, None], "timestamp": [5, 6], "price": [1, 2]}).write_parquet(path)
    log = read_log(path, data(), name="shop")
    assert log.name == "shop"
    assert rows(log) == [("1", "196", 5, 1.0)]
    assert "x.parquet:row 2: 1 rows lack user_id or item_id" in log.notes[0]


def test_pandas_frame() -> None:
    pd = pytest.importorskip("pandas", reason="needs pandas")
    frame = pd.DataFrame({"user_id": [1, 2], "item_id": [7.0, 8.0], "timestamp": pd.to_datetime(["2024-01-01", "2024-01-02"])})
    log = read_log(frame, data())
    assert (log.name, log.source) == ("frame", "DataFrame")
    assert rows(log) == [("1", "7", 1704067200000000), ("2", "8", 1704153600000000)]


def test_polars_frames() -> None:
    frame = pl.DataFrame({"user_id": ["u"], "item_id": ["a"], "timestamp": [1]})
    assert rows(read_log(frame, data())) == rows(read_log(frame.lazy(), data())) == [("u", "a", 1)]


def test_categories_are_ids() -> None:
    frame = pl.DataFrame({"user_id": ["u"], "item_id": ["a"]}, schema_overrides={"item_id": pl.Categorical})
    assert rows(read_log(frame, data())) == [("u", "a")]


def test_floats_of_a_csv_are_the_whole_ids_that_they_were(tmp_path: Path) -> None:
    assert rows(read_log(write(tmp_path, "x.csv", CSV + "196.0,1.5,3\n"), data())) == [("196", "1.5", 3)]


def test_further_columns_of_a_csv_are_numbers_or_text(tmp_path: Path) -> None:
    log = read_log(write(tmp_path, "x.csv", "user_id,item_id,rating,kind\n1,2,3,buy\n1,3,,view\n"), data())
    assert rows(log) == [("1", "2", 3.0, "buy"), ("1", "3", None, "view")]


def test_columns_of_no_use_are_left_out_with_a_note() -> None:
    frame = pl.DataFrame({"user_id": [1], "item_id": [2], "timestamp": [3], "extra": [{"a": 1}]})
    log = read_log(frame, data())
    assert log.events.columns == ["user_id", "item_id", "timestamp"]
    assert "extra: a column of records can't be used here and was left out" in log.notes[0]


def test_a_million_rows_in_a_second_or_so(datasets: Path) -> None:
    start = datetime.now(UTC)
    log = read_log(datasets / "ml-1m-short" / "ml-1m-short.inter", data())
    assert log.events.height == 993_059
    assert (datetime.now(UTC) - start).total_seconds() < 10  # about 0.3 s; the rest is for busy machines


# -- times ------------------------------------------------------------------------------------------------------------------------


def times(tmp_path: Path, *texts: str) -> pl.Series:
    path = write(tmp_path, "x.csv", CSV + "".join(f"u,i,{text}\n" for text in texts))
    return read_log(path, data()).events["timestamp"]


def test_large_times_stay_exact(tmp_path: Path) -> None:
    assert times(tmp_path, "1700000000000000001", "1700000000000000002").to_list() == [1700000000000000001, 1700000000000000002]


def test_whole_floats_become_integers(tmp_path: Path) -> None:
    found = times(tmp_path, "881250949.0", "1e9", " 9007199254740993")
    assert found.dtype == pl.Int64
    assert found.to_list()[:2] == [881250949, 1000000000]


def test_fractions_stay(tmp_path: Path) -> None:
    assert times(tmp_path, "1.5", "2").to_list() == [1.5, 2.0]


def test_dates_are_microseconds_in_utc(tmp_path: Path) -> None:
    found = times(tmp_path, "1970-01-02", "1970-01-01T00:00:01Z", "1970-01-01 01:00:00.5+01:00", "1970-01-01 00:01", "1969-12-31")
    assert found.to_list() == [86_400_000_000, 1_000_000, 500_000, 60_000_000, -86_400_000_000]


@pytest.mark.parametrize(
    ("column", "found"),
    [
        (pl.Series([date(1970, 1, 2)]), 86_400_000_000),
        (pl.Series([datetime(1970, 1, 1, 0, 0, 1)]), 1_000_000),
        (pl.Series([datetime(1970, 1, 1, 0, 0, 1)]).dt.replace_time_zone("Asia/Tokyo"), 1_000_000 - 9 * 3_600_000_000),
        (pl.Series([7.0]), 7),
        (pl.Series(["7"]), 7),
    ],
)
def test_times_of_frames(column: pl.Series, found: int) -> None:
    frame = pl.DataFrame({"user_id": [1], "item_id": [2], "timestamp": column})
    log = read_log(frame, data())
    assert log.events["timestamp"].dtype == pl.Int64
    assert log.events["timestamp"].to_list() == [found]


def test_odd_times_are_kept_with_a_note(tmp_path: Path) -> None:
    log = read_log(write(tmp_path, "x.csv", CSV + "u,a,-5\nu,b,1700000000000\n"), data())
    assert log.events["timestamp"].to_list() == [-5, 1700000000000]
    assert "1 negative times" in log.notes[0]
    assert "1 times lie beyond the year 9999" in log.notes[1]


def test_order_of_ml_100k_user_373(datasets: Path) -> None:
    """RecBole reads times as float32 and loses the order of this person's events."""
    path = datasets / "ml-100k" / "ml-100k.inter"
    events = read_log(path, data()).events
    assert events["timestamp"].dtype == pl.Int64
    expected = []
    for line in path.read_text().splitlines()[1:]:
        user, item, _, time = line.split("\t")
        if user == "373":
            expected.append((int(time), item))
    expected.sort(key=lambda event: event[0])
    own = events.filter(pl.col("user_id") == 373).sort("timestamp", maintain_order=True)
    assert list(zip(own["timestamp"], own["item_id"].cast(pl.String), strict=True)) == expected
    blurred = own["timestamp"].cast(pl.Float32)
    assert blurred.n_unique() < own["timestamp"].n_unique()


def test_no_time_column_means_the_order_of_the_file(tmp_path: Path) -> None:
    log = read_log(write(tmp_path, "x.csv", "user_id,item_id,when\n1,2,3\n"), data())
    assert "no column timestamp, so the order of the file is the order of events; if one of user_id, item_id, when" in log.notes[0]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "x.csv:3: timestamp: expected a time, found none in 1 row; fill it in, or set missing_time to drop"),
        (" ", "x.csv:3: timestamp: expected a time, found none"),
        ("much", "x.csv:3: timestamp: expected a number, found 'much'"),
        ("n/a", "x.csv:3: timestamp: expected a time, found 'n/a' in 1 row; fill it in, or set missing_time to drop"),
        ("inf", "x.csv:3: timestamp: expected a finite time, found inf"),
        ("nan", "x.csv:3: timestamp: expected a time, found 'nan' in 1 row"),
        ("2024-01-01", "x.csv:3: timestamp: expected a number, found '2024-01-01'"),
    ],
)
def test_wrong_times(tmp_path: Path, text: str, message: str) -> None:
    assert message in fault(write(tmp_path, "x.csv", CSV + f"u,a,1\nu,b,{text}\nu,c,2\n"))


def test_wrong_dates(tmp_path: Path) -> None:
    message = fault(write(tmp_path, "x.csv", CSV + "u,a,2024-01-01\nu,b,2024-13-01\n"))
    assert "x.csv:3: timestamp: expected a number, or a date such as 2024-05-31" in message
    assert "found '2024-13-01'" in message


# -- columns ----------------------------------------------------------------------------------------------------------------------


def test_load_and_unload(tmp_path: Path) -> None:
    path = write(tmp_path, "x.inter", "user_id:token\titem_id:token\trating:float\tkind:token\n1\t2\t3\tbuy\n")
    write(tmp_path, "x.item", "item_id:token\tgenre:token\n2\tDrama\n")
    log = read_log(path, data(load_col={"inter": ["user_id", "item_id", "kind"]}))
    assert log.events.columns == ["user_id", "item_id", "kind"]
    assert log.items is None  # as in RecBole: load_col doesn't mention the file
    log = read_log(path, data(unload_col={"inter": ["rating"], "item": ["genre"]}))
    assert log.events.columns == ["user_id", "item_id", "kind"]
    assert log.items is not None
    assert log.items.columns == ["item_id"]
    assert read_log(path, data(load_col={"inter": "*"})).events.width == 4
    assert read_log(path, data(unload_col={"item": "*"})).items is None


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"load_col": {"inter": ["user_id", "timestamp"]}}, "load_col.inter: expected it to leave item_id (ITEM_ID_FIELD)"),
        ({"unload_col": {"inter": ["user_id"]}}, "unload_col.inter: expected it to leave user_id (USER_ID_FIELD)"),
        ({"load_col": {"item": "*"}}, "load_col.inter: expected it to leave user_id"),
        ({"load_col": {"inter": ["user_id", "item_id", "tmestamp"]}}, "tmestamp: expected a column of this name"),
        ({"USER_ID_FIELD": "userid"}, "x.inter:1: userid: expected a column of this name, found user_id, item_id, timestamp (did you mean user_id?); set USER_ID_FIELD"),
        ({"TIME_FIELD": "when"}, "x.inter:1: when: expected a column of this name, found user_id, item_id, timestamp; set TIME_FIELD"),
        ({"ITEM_ID_FIELD": "user_id"}, "expected three different columns, found user_id, user_id, timestamp"),
        ({"field_separator": "é"}, "field_separator: expected one plain character"),
        ({"field_separator": ","}, "(is the separator right?); set USER_ID_FIELD"),
    ],
)  # fmt: skip
def test_settings_that_don_t_fit_the_columns(tmp_path: Path, settings: dict[str, object], message: str) -> None:
    assert message in fault(write(tmp_path, "x.inter", HEADER + "u\ta\t1\n"), data(**settings))


def test_rows_without_ids_are_dropped_with_a_note(tmp_path: Path) -> None:
    log = read_log(write(tmp_path, "x.inter", HEADER + "u\ta\t1\n\ta\t\n\nu\t\t2\nu\tb\t3\n"), data())
    assert rows(log) == [("u", "a", 1), ("u", "b", 3)]
    assert log.notes == (f"{tmp_path}/x.inter:3: 2 rows lack user_id or item_id and were dropped (this is the first)",)


MISSING = ["NA", "N/A", "null", "NULL", "None", "nan", "NaN", "<NA>", "\\N", "(null)", " NA ", " "]


def test_all_missing_columns_of_load_col_are_named_at_once(tmp_path: Path) -> None:
    path = write(tmp_path, "a.csv", "user_id,item_id\nu,i\n")
    found = fault(path, data(load_col={"inter": ["user_id", "item_id", "price", "brand"]}))
    named = f"{path}:1: price, brand: expected columns of these names, found user_id, item_id"
    assert found == f"{named}; leave them out of load_col.inter"
    assert len(read_log(path, data(load_col={"inter": ["user_id", "item_id"]})).events) == 1


@pytest.mark.parametrize("word", MISSING)
@pytest.mark.parametrize("name", ["x.csv", "x.tsv", "x.inter", "x.jsonl", "x.parquet", "frame"])
def test_words_for_missing_are_no_ids(tmp_path: Path, name: str, word: str) -> None:
    frame = pl.DataFrame({"user_id": ["u", word, "u", "u"], "item_id": ["a", "b", word, "c"], "timestamp": [1, 2, 3, 4]})
    kept = [("u", "a", 1), ("u", "c", 4)]
    log = read_log(stored(frame, tmp_path, name), data())
    assert rows(log) == kept
    assert "2 rows lack user_id or item_id and were dropped (this is the first)" in log.notes[0]
    found = f"; found {word.strip()!r} 2 times, which stands for a missing value (if it is an id, set missing_ids to [])"
    assert log.notes[0].endswith(found if word.strip() else "(this is the first)")
    if word.strip():
        log = read_log(stored(frame, tmp_path, name), data(missing_ids=[]))
        assert rows(log) == [("u", "a", 1), (word, "b", 2), ("u", word, 3), ("u", "c", 4)]
        assert log.notes == ()
        assert rows(read_log(stored(frame, tmp_path, name), data(missing_ids=f"zero,{word.strip()}"))) == kept


def stored(frame: pl.DataFrame, folder: Path, name: str) -> Path | pl.DataFrame:
    """A frame as a file of the format that the name tells."""
    path = folder / name
    match path.suffix:
        case ".parquet":
            frame.write_parquet(path)
        case ".jsonl":
            frame.write_ndjson(path)
        case ".inter":
            path.write_text(HEADER + frame.write_csv(separator="\t", quote_style="never", include_header=False))
        case ".csv" | ".tsv":
            frame.write_csv(path, separator="," if name == "x.csv" else "\t", quote_style="never")
        case _:
            return frame
    return path


def test_words_for_missing_are_no_ids_of_features(tmp_path: Path) -> None:
    path = write(tmp_path, "x.inter", HEADER + "u\ta\t1\n")
    write(tmp_path, "x.item", "item_id:token\tgenre:token\na\tDrama\nNA\tNA\n")
    log = read_log(path, data())
    assert log.items is not None
    assert log.items.rows() == [("a", "Drama")]
    assert "x.item:3: 1 rows lack item_id" in log.notes[0]


def test_a_log_whose_users_are_all_missing(tmp_path: Path) -> None:
    message = fault(write(tmp_path, "x.csv", CSV + "NA,a,1\nNA,b,2\n"))
    assert "expected rows with user_id and item_id, found none; found 'NA' 2 times, which stands for a missing value" in message


@pytest.mark.parametrize("name", ["x.csv", "x.inter", "x.parquet", "x.jsonl", "frame"])
def test_rows_without_time_are_dropped_where_asked(tmp_path: Path, name: str) -> None:
    frame = pl.DataFrame({"user_id": ["u", "u", "u"], "item_id": ["a", "b", "c"], "timestamp": [3.0, None, 1.0]})
    source = stored(frame, tmp_path, name)
    message = fault(source)
    assert message.endswith(
        "timestamp: expected a time, found none in 1 row; fill it in, or set missing_time to drop to leave out such rows"
    )
    log = read_log(source, data(missing_time="drop"))
    assert rows(log) == [("u", "a", 3), ("u", "c", 1)]
    assert "1 rows lack timestamp and were dropped (this is the first), as missing_time is drop" in log.notes[0]


def test_a_log_without_any_time_in_its_time_column(tmp_path: Path) -> None:
    assert fault(write(tmp_path, "x.csv", CSV + "u,a,\n"), data(missing_time="drop")).endswith("found none in 1 row; check TIME_FIELD")


@pytest.mark.parametrize("name", ["x.csv", "x.inter", "x.parquet", "x.jsonl", "frame"])
@pytest.mark.parametrize("left_out", [{"load_col": {"inter": ["user_id", "item_id"]}}, {"unload_col": {"inter": ["timestamp"]}}])
def test_the_time_is_read_where_load_col_leaves_it_out(tmp_path: Path, name: str, left_out: dict[str, object]) -> None:
    frame = pl.DataFrame({"user_id": ["u", "u"], "item_id": ["a", "b"], "timestamp": [2, 1]})
    log = read_log(stored(frame, tmp_path, name), data(**left_out))
    assert rows(log) == [("u", "a", 2), ("u", "b", 1)]
    (setting,) = left_out
    assert log.notes == (f"{setting}.inter: leaves out timestamp (TIME_FIELD), which is read all the same: events are put in order by it",)


@pytest.mark.parametrize(
    ("ids", "message"),
    [
        (pl.Series([1.0, 1.2345678901234567e18]), "DataFrame:row 2: item_id: expected an id below 9,007,199,254,740,992, as floats beyond it are rounded"),
        (pl.Series([1.0, 2.0**53]), "DataFrame:row 2: item_id: expected an id below"),
        (pl.Series([1.0, 2.0**24], dtype=pl.Float32), "DataFrame:row 2: item_id: expected an id below 16,777,216"),
        (pl.Series(["1", "1.2345678901234567e18"]), "DataFrame:row 2: item_id: expected an id with all its digits; save ids as integers or text"),
        (pl.Series([1.0, float("inf")]), "DataFrame:row 2: item_id: expected an id: a whole number or text, found inf"),
        (pl.Series(["1", "[1, 2]"]), "DataFrame:row 2: item_id: expected one id, with one row for each, found '[1, 2]'"),
        (pl.Series(["1", "[1 2 30]"]), "DataFrame:row 2: item_id: expected one id, with one row for each"),  # as NumPy prints it
        (pl.Series(["1", "{'a', 'b'}"]), "DataFrame:row 2: item_id: expected one id, with one row for each"),
        (pl.Series(["1", "['a']"]), "DataFrame:row 2: item_id: expected one id, with one row for each"),
        (pl.Series(["1", "[7]"]), "DataFrame:row 2: item_id: expected one id, with one row for each"),
    ],
)  # fmt: skip
def test_values_that_are_no_ids(tmp_path: Path, ids: pl.Series, message: str) -> None:
    frame = pl.DataFrame({"user_id": ["u", "u"], "item_id": ids})
    assert message in fault(frame)
    if ids.dtype == pl.String:
        frame.write_csv(tmp_path / "x.csv")
        assert message.replace("DataFrame:row 2", "x.csv:3") in fault(tmp_path / "x.csv")
    frame.write_parquet(tmp_path / "x.parquet")
    assert message.replace("DataFrame", "x.parquet") in fault(tmp_path / "x.parquet")


def test_large_numbers_are_ids_where_nothing_is_lost() -> None:
    frame = pl.DataFrame({"user_id": [2.0**53 - 1, 1.0], "item_id": ["[v1]", "1e5"]})
    assert rows(read_log(frame, data())) == [("9007199254740991", "[v1]"), ("1", "1e5")]


def test_a_header_line_inside_the_file_is_refused(tmp_path: Path) -> None:
    text = "user_id,item_id\nu,a\nuser_id,item_id\nu,b\n"
    assert "x.csv:3: expected an event, found user_id in the column user_id; if it is the header line once more" in fault(
        write(tmp_path, "x.csv", text)
    )
    message = fault(write(tmp_path, "x.csv", "u1,ann\nu1,bob\nu2,ann\n"), data(USER_ID_FIELD="u1", ITEM_ID_FIELD="ann"))
    assert "x.csv:2: expected an event, found u1 in the column u1" in message
    assert message.endswith("if the first line is an event, name the columns with column_names")
    text = "ann,tea\nann,jam\nbob,tea\n"
    assert "or name the columns with column_names if line 1 is an event" in fault(write(tmp_path, "x.csv", text))
    message = fault(write(tmp_path, "x.csv", text), data(USER_ID_FIELD="ann", ITEM_ID_FIELD="tea"))
    assert "x.csv:2: expected an event, found ann in the column ann" in message
    assert rows(read_log(write(tmp_path, "x.csv", text), data(column_names="user_id,item_id"))) == [
        ("ann", "tea"),
        ("ann", "jam"),
        ("bob", "tea"),
    ]
    log = read_log(write(tmp_path, "y.csv", "user,item\nu,b\nuser,a\n"), data(USER_ID_FIELD="user", ITEM_ID_FIELD="item"))
    assert log.events.rows() == [("u", "b"), ("user", "a")]


def test_lines_are_right_after_dropped_rows(tmp_path: Path) -> None:
    assert "x.inter:5: timestamp:" in fault(write(tmp_path, "x.inter", HEADER + "\ta\t1\n\nu\ta\t1\nu\ta\tx\n"))


def test_lines_are_right_after_quoted_line_breaks(tmp_path: Path) -> None:
    text = 'user_id,item_id,title,timestamp\nu,a,"two\nlines",1\nu,b,one,x\n'
    assert "x.csv:4: timestamp: expected a number, found 'x'" in fault(write(tmp_path, "x.csv", text))


# -- faults -----------------------------------------------------------------------------------------------------------------------

FAULTS: list[tuple[str, str, str | bytes, str]] = [
    ("empty", "x.inter", "", "x.inter: expected a header line with the names of the columns, found an empty file"),
    ("blank header", "x.inter", "\nu\ta\t1\n", "x.inter:1: expected a header line with the names of the columns, found a blank line"),
    ("header only", "x.inter", HEADER, "x.inter: expected rows after the header, found none"),
    ("header only, no line end", "x.csv", CSV.strip(), "expected rows after the header, found none"),
    ("blank lines only", "x.csv", CSV + "\n\n", "x.csv:2: expected rows with user_id and item_id, found none"),
    ("too few fields", "x.inter", HEADER + "u\ta\t1\nu\ta\n", "x.inter:3: expected 3 fields (user_id, item_id, timestamp), found 2"),
    ("too many fields", "x.inter", HEADER + "u\ta\t1\nu\ta\t1\t2\n", "x.inter:3: expected 3 fields (user_id, item_id, timestamp), found 4"),
    ("too few in csv", "x.csv", CSV + 'u,"a,b",1\nu\n', "x.csv:3: expected 3 fields (user_id, item_id, timestamp), found 1"),
    ("too many in csv", "x.csv", CSV + "u,a,1\nu,a,b,1\n", "x.csv:3: expected 3 fields (user_id, item_id, timestamp), found 4"),
    ("open quote", "x.csv", CSV + 'u,a,1\nu,"a,1\nu,b,1\n', "x.csv:3: expected fields of CSV, found the end of the file before the closing quote; write a quote that belongs to the text twice"),
    ("text after quote", "x.csv", CSV + 'u,"a"b,1\n', "x.csv:2: expected fields of CSV, found text after a closing quote; write a quote"),
    ("broken UTF-8", "x.inter", HEADER.encode() + b"u\ta\t1\nu\t\xff\t1\n", "x.inter:3: expected UTF-8 text, found byte 0xff at byte 3 of the line"),
    ("UTF-16", "x.csv", CSV.encode("utf-16"), "x.csv:1: expected UTF-8 text, found byte 0xff at byte 1"),
    ("NUL in a field", "x.csv", CSV + "u,a,1\nu,\0,1\n", "x.csv:3: item_id: expected text, found a NUL character"),
    ("NUL in the header", "x.csv", "user_id,\0\n1,2\n", "x.csv:1: expected a header line with the names of the columns, found a NUL character"),
    ("old Mac", "x.csv", "user_id,item_id\r1,2\r", "x.csv:1: expected a header line with the names of the columns, found a line end of old Macs"),
    ("column twice", "x.csv", "user_id,item_id,item_id\n1,2,3\n", "x.csv:1: 'item_id': expected every column once, found it 2 times"),
    ("very many columns", "x.csv", ",".join(map(str, range(100_000))) + "\n1\n", "x.csv:1: expected at most 10,000 columns, found 100,000"),
    ("unknown type", "x.inter", HEADER.replace("float", "int") + "u\ta\t1\n", "x.inter:1: timestamp:int: expected name:type with one of the types token, token_seq, float, float_seq, found int"),
    ("no type", "x.inter", "user_id\titem_id\nu\ta\n", "x.inter:1: user_id: expected name:type"),
    ("ids in a list", "x.inter", HEADER.replace("item_id:token", "item_id:token_seq") + "u\ta\t1\n", "x.inter:1: item_id: expected type token or float (one value per row), found token_seq"),
    ("no number", "x.inter", HEADER.replace("timestamp", "rating") + "u\ta\t1\nu\ta\tmuch\n", "x.inter:3: rating: expected a number, found 'much'"),
    ("no numbers", "x.inter", HEADER.replace("timestamp:float", "v:float_seq") + "u\ta\t1 2\nu\ta\t1 x\n", "x.inter:3: v: expected numbers separated by ' ', found '1 x'"),
    ("long value", "x.csv", CSV + "u,a,1\nu,a," + "x" * 10_000_000 + "\n", "x.csv:3: timestamp: expected a number, found 'xxx"),
    ("long id", "x.csv", CSV + "u," + "x" * 10_000_000 + ",1\n", "(10,000,000 characters)"),
    ("id over two lines", "x.csv", CSV + 'u,"a\nb",1\n', "x.csv:2: item_id: expected an id on one line"),
    ("long header", "x.csv", "x" * 1_000_001, "x.csv:1: expected a header line with the names of the columns, found a line of more than 1,000,000 bytes"),
    ("other format", "x.xlsx", "{}", "x.xlsx: expected a .inter, .csv, .tsv, .txt, .dat, .jsonl, .ndjson or .json file (each may be .gz), or a .parquet file, found .xlsx"),
    ("empty parquet", "x.parquet", "", "x.parquet: expected Parquet, found an empty file"),
    ("corrupt parquet", "x.parquet", b"PAR1" + b"x" * 100 + b"PAR1", "x.parquet: can't be read as Parquet"),
    ("wrong separator", "x.csv", "user_id:item_id\n1:2\n", "x.csv:1: user_id: expected a column of this name, found user_id:item_id (is the separator right?)"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "content", "message"), [row[1:] for row in FAULTS], ids=[row[0] for row in FAULTS])
def test_faults_are_told_in_one_line(tmp_path: Path, name: str, content: str | bytes, message: str) -> None:
    path = write(tmp_path, name, content)
    before = path.read_bytes()
    found = fault(path)
    assert message in found
    assert len(found) < 600
    assert path.read_bytes() == before


def test_gzip_cut_short(tmp_path: Path) -> None:
    packed = gzip.compress((HEADER + "u\ta\t1\n" * 1000).encode(), mtime=0)
    path = tmp_path / "x.inter.gz"
    path.write_bytes(packed[: len(packed) // 2])
    assert "the gzip data ends too early: the file was cut short" in fault(path)
    path.write_bytes(packed[:10] + b"\xff" * 20)
    assert "expected gzip data" in fault(path)
    path.write_bytes(HEADER.encode())
    assert "expected gzip data, as the name says" in fault(path)


def test_paths_that_are_no_readable_file(tmp_path: Path) -> None:
    write(tmp_path, "log.csv", CSV + "u,a,1\n")
    assert "found a folder; name the file in it:" in fault(tmp_path)
    assert "there is no such file; did you mean log.csv?" in fault(tmp_path / "log.cvs")
    assert "\\x00.csv: can't be read: no file can have this name" in fault("\0.csv")
    assert "can't be read" in fault("x" * 5000)
    os.mkfifo(tmp_path / "pipe.csv")
    assert "pipe.csv: can't be read: expected a regular file, found a named pipe" in fault(tmp_path / "pipe.csv")
    assert "/dev/zero: can't be read: expected a regular file, found a device" in fault("/dev/zero")


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="needs a user whom permissions bind")
def test_file_without_permission(tmp_path: Path) -> None:
    path = write(tmp_path, "log.csv", CSV + "u,a,1\n")
    path.chmod(0)
    assert "can't be read: Permission denied" in fault(path)


@pytest.mark.parametrize(
    ("frame", "message"),
    [
        (pl.DataFrame({"user_id": [], "item_id": []}), "DataFrame: expected rows, found none"),
        (pl.DataFrame({"user": [1], "item_id": [1]}), "DataFrame: user_id: expected a column of this name, found user, item_id"),
        (pl.DataFrame({"user_id": [[1]], "item_id": [1]}), "DataFrame:row 1: user_id: expected ids (numbers or text), found lists"),
        (pl.DataFrame({"user_id": [1.5], "item_id": [1]}), "DataFrame:row 1: user_id: expected an id: a whole number or text, found 1.5"),
        (pl.DataFrame({"user_id": [1], "item_id": [1], "timestamp": [True]}), "timestamp: expected times (numbers, dates or text)"),
        (pl.DataFrame({"user_id": [1, 1], "item_id": [1, 1], "timestamp": [1, None]}), "DataFrame:row 2: timestamp: expected a time, found none"),
        ([1, 2], "expected a path, or a pandas or Polars frame, found list"),
    ],
)  # fmt: skip
def test_frames_that_are_no_log(frame: object, message: str) -> None:
    assert message in fault(frame)


def test_pandas_columns_of_mixed_objects() -> None:
    pd = pytest.importorskip("pandas", reason="needs pandas")
    assert "DataFrame: can't be read" in fault(pd.DataFrame({"user_id": [1, "a", object()], "item_id": [1, 2, 3]}))


# -- whole numbers ------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("ids", "kept"),
    [
        (["1", "20", "300"], pl.Int64),
        (["0", "9", "10", "99", "100"], pl.Int64),
        (["9223372036854775807", "1"], pl.Int64),
        (["1", "020", "300"], pl.String),
        (["1", "+2"], pl.String),
        (["1", "-2"], pl.String),
        (["1", "-0"], pl.String),
        (["1", " 2"], pl.String),
        (["1", "2_0"], pl.String),
        (["1", "2e3"], pl.String),
        (["1", "x" * 300], pl.String),
        (["1", "9223372036854775808"], pl.String),
        ([*map(str, range(5000)), "007"], pl.String),
        ([*map(str, range(5000)), "x" * 300], pl.String),
        ([*map(str, range(5000)), "seven"], pl.String),
    ],
)
@pytest.mark.parametrize("name", ["x.csv", "x.inter", "x.csv.gz"])
def test_ids_are_kept_as_numbers_only_where_their_text_is_not_lost(tmp_path: Path, ids: list[str], kept: type, name: str) -> None:
    header = HEADER if ".inter" in name else CSV
    separator = "\t" if ".inter" in name else ","
    log = read_log(write(tmp_path, name, header + "".join(f"{found}{separator}a{separator}1\n" for found in ids)), data())
    assert log.events["user_id"].dtype == kept
    assert log.events["item_id"].dtype == pl.String
    assert [row[0] for row in rows(log)] == ids


def test_two_characters_between_fields_are_refused_with_what_replaces_them(tmp_path: Path) -> None:
    path = write(tmp_path, "ratings.dat", "1::1193::5::978300760\n1::661::3::978302109\n")
    command = fault(path).partition("for example with ")[2]
    assert command == rf"sed 's/::/\t/g' {path} > ratings.tsv"
    subprocess.run(command, shell=True, cwd=tmp_path, check=True)
    assert read_log(tmp_path / "ratings.tsv", data(column_names="user_id,item_id,rating,timestamp")).events.height == 2


def test_a_file_of_another_ending_is_read_once_it_has_that_of_its_format(tmp_path: Path) -> None:
    path = write(tmp_path, "u.data", "user_id\titem_id\ttimestamp\nu\ta\t1\n")
    assert "found .data; give the file the ending of its format, .tsv for text with tabs" in fault(path)
    assert rows(read_log(path.rename(tmp_path / "u.tsv"), data())) == [("u", "a", 1)]


def test_whole_numbers_can_stand_for_a_missing_id(tmp_path: Path) -> None:
    frame = pl.DataFrame({"user_id": [-1, 1, 2, 0], "item_id": [0, 1, 2, 3], "timestamp": [1, 2, 3, 4]})
    frame.write_csv(tmp_path / "x.csv")
    for source in (frame, tmp_path / "x.csv"):
        for missing in (["-1", "0"], [-1, 0], "-1,0,none"):
            assert [row[:2] for row in rows(read_log(source, data(missing_ids=missing)))] == [("1", "1"), ("2", "2")]


def test_a_pandas_column_that_is_there_twice() -> None:
    pd = pytest.importorskip("pandas", reason="needs pandas")
    assert "column item_id is there 2 times" in fault(pd.DataFrame([[1, 2, 3]], columns=["user_id", "item_id", "item_id"]))
