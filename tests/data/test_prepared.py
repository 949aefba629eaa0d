"""Prepared folders: they hold what the log held, refuse what is damaged, and replace nothing that isn't theirs."""

import json
import os
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch

from gaterec.data.interactions import build_interactions
from gaterec.data.log import Log
from gaterec.data.prepared import (
    FILES,
    FORMAT,
    PreparedLog,
    check_target,
    kept_prepared,
    open_prepared,
    prepare_log,
    prepared_folder,
    with_prepared_settings,
    write_prepared,
)
from gaterec.data.split import split_interactions, training_counts
from gaterec.errors import DataError, RunError, SettingsError
from tests.support import histories
from tests.support.histories import settings

INTER = "user_id:token\titem_id:token\trating:float\ttimestamp:float\n"


def same(one: PreparedLog, other: PreparedLog) -> bool:
    a, b = one.interactions, other.interactions
    arrays = all(
        np.array_equal(getattr(a, name), getattr(b, name)) and getattr(a, name).dtype == getattr(b, name).dtype
        for name in ("item", "offsets", "time")
    )
    tables = all(
        (x is None and y is None) or (x is not None and y is not None and x.equals(y))
        for x, y in ((one.users, other.users), (one.items, other.items))
    )
    return (
        arrays
        and tables
        and a.users.equals(b.users)
        and a.items.equals(b.items)
        and a.fingerprint() == b.fingerprint()
        and np.array_equal(a.item_counts(), b.item_counts())
        and (a.name, one.source, one.notes, one.steps) == (b.name, other.source, other.notes, other.steps)
    )


def round_trip(source: Any, folder: Path, **chosen: Any) -> PreparedLog:
    log = prepare_log(source, settings(**chosen))
    write_prepared(log, settings(**chosen), folder)
    found = open_prepared(folder)
    assert same(log, found)
    assert found.interactions.digest == log.interactions.fingerprint()
    return found


@pytest.mark.parametrize("columns", [["user_id", "item_id"], ["user_id", "item_id", "timestamp"]])
def test_a_prepared_folder_knows_whether_the_log_has_times(tmp_path: Path, columns: list[str]) -> None:
    frame = pl.DataFrame({"user_id": ["a", "a", "b"], "item_id": ["x", "y", "x"], "timestamp": [5, 2, 9]}).select(columns)
    log = prepare_log(frame, settings())
    write_prepared(log, settings(), tmp_path / "ready")
    assert log.interactions.timed == open_prepared(tmp_path / "ready").interactions.timed == ("timestamp" in columns)
    about = json.loads((tmp_path / "ready" / "prepared.json").read_text())
    del about["timed"]  # as gaterec 0.1.0 wrote it
    (tmp_path / "ready" / "prepared.json").write_text(json.dumps(about))
    assert open_prepared(tmp_path / "ready").interactions.timed == ("timestamp" in columns)


def test_a_prepared_folder_keeps_the_order_of_the_log_for_splits_of_all_events(tmp_path: Path) -> None:
    rows = [(f"u{row % 7}", f"i{row % 5}", row // 20) for row in np.random.default_rng(0).permutation(200).tolist()]
    frame = pl.DataFrame(rows, schema=["user_id", "item_id", "timestamp"], orient="row")
    together = settings(eval_args={"split": {"RS": [5, 2, 4]}, "group_by": None})
    direct = split_interactions(prepare_log(frame, together).interactions, together.eval_args)
    write_prepared(prepare_log(frame, settings(), keep_rows=True), settings(), tmp_path / "ready")
    opened = open_prepared(tmp_path / "ready").interactions
    assert isinstance(opened.row, np.ndarray)
    assert opened.row.dtype == np.int32
    found = split_interactions(opened, together.eval_args)
    assert np.array_equal(found.train_end, direct.train_end)
    assert np.array_equal(found.valid_end, direct.valid_end)
    write_prepared(prepare_log(frame, settings()), settings(), tmp_path / "old")  # as earlier versions and searches write it
    with pytest.raises(DataError, match=r"order of the log.*was not kept"):
        split_interactions(open_prepared(tmp_path / "old").interactions, together.eval_args)


@pytest.fixture
def inter(tmp_path: Path) -> Path:
    """A log with features, repeats and a row without an item."""
    path = tmp_path / "shop.inter"
    rows = [
        "1\t7\t5\t30",
        "1\t8\t3\t10",
        "2\t7\t4\t20",
        "2\t9\t1\t5",
        "1\t7\t2\t40",
        "3\t9\t4\t1",
        "3\t\t4\t2",
        "2\t8\t5\t50",
        "3\t7\t4\t9",
    ]
    path.write_text(INTER + "\n".join(rows) + "\n")
    path.with_suffix(".item").write_text("item_id:token\ttitle:token\n7\tTea\n8\tJam\n9\tRye\n")
    path.with_suffix(".user").write_text("user_id:token\tage:float\n1\t30\n2\t40\n3\t50\n")
    return path


@pytest.fixture
def folder(inter: Path, tmp_path: Path) -> Path:
    write_prepared(prepare_log(inter, settings()), settings(), tmp_path / "ready")
    return tmp_path / "ready"


# -- what goes in comes out -------------------------------------------------------------------------------------------------------


LOGS = {
    "numbers": "1,7,30\n2,8,10\n1,8,20\n2,7,5\n",
    "text": "ann,tea,30\nbob,jam,10\nann,jam,20\nbob,tea,5\n",
    "numbers that are text": "01,7,30\n2,+8,10\n1,8,20\n2,7,5\n01,8,7\n",
    "negative numbers": "-1,7,-30\n2,8,10\n-1,8,20\n2,7,5\n",
    "far apart": "9000000000000000000,7,30\n2,8,10\n9000000000000000000,8,20\n2,7,5\n",
    "too large for 64 bits": "99999999999999999999,7,30\n2,8,10\n99999999999999999999,8,20\n",
    "dates": "1,a,2024-01-02\n1,b,2024-01-01T10:00:00Z\n2,b,2023-12-31\n",
    "fractions": "1,a,1.5\n1,b,0.25\n2,b,3\n",
    "no ids here and there": "1,7,30\n,7,31\n1,8,20\n2,,1\n2,7,5\n",
    "ids as floats": "1.0,7,30\n1.0,8,20\n2.0,7,5\n",
}


@pytest.mark.parametrize("name", LOGS)
@pytest.mark.parametrize("ending", ["csv", "tsv", "parquet"])
def test_a_folder_holds_what_the_log_held(tmp_path: Path, name: str, ending: str) -> None:
    text = "user_id,item_id,timestamp\n" + LOGS[name]
    file = tmp_path / f"log.{ending}"
    if ending == "parquet":
        pl.read_csv(text.encode(), infer_schema_length=None if name != "too large for 64 bits" else 0).write_parquet(file)
    else:
        file.write_text(text.replace(",", "\t") if ending == "tsv" else text)
    round_trip(file, tmp_path / "ready")


@pytest.mark.parametrize("name", LOGS)
def test_ids_kept_as_numbers_and_as_text_give_the_same_histories(tmp_path: Path, name: str) -> None:
    file = tmp_path / "log.csv"
    file.write_text("user_id,item_id,timestamp\n" + LOGS[name])
    log = prepare_log(file, settings())
    texts = pl.read_csv(file, infer_schema=False).drop_nulls(["user_id", "item_id"])
    if name == "ids as floats":
        texts = texts.with_columns(pl.col("user_id").str.strip_suffix(".0"))
    assert prepare_log(texts, settings()).interactions.fingerprint() == log.interactions.fingerprint()


def test_features_notes_and_filters_come_along(inter: Path, tmp_path: Path) -> None:
    found = round_trip(inter, tmp_path / "ready", rm_dup_inter="last", val_interval={"rating": "[2,5]"}, user_inter_num_interval="[2,inf)")
    assert found.items is not None
    assert found.items["title"].to_list() == ["Tea", "Jam", "Rye"]
    assert found.users is not None
    assert found.interactions.name == "shop"
    assert "1 rows lack user_id or item_id" in found.notes[0]
    assert [step.events for step in found.steps] == [8, 7, 6, 6, 6]


def test_filters_are_the_same_on_numbers_and_on_text(inter: Path, tmp_path: Path) -> None:
    chosen: dict[str, Any] = {"rm_dup_inter": "first", "val_interval": {"item_id": ["7", "8"]}, "item_inter_num_interval": "[2,inf)"}
    number = prepare_log(inter, settings(**chosen))
    for file in (inter, inter.with_suffix(".item"), inter.with_suffix(".user")):
        head, *lines = file.read_text().splitlines()
        which = (0,) if file.suffix != ".inter" else (0, 1)
        rows = [[f"x{cell}" if place in which and cell else cell for place, cell in enumerate(line.split("\t"))] for line in lines]
        (tmp_path / "text").mkdir(exist_ok=True)
        (tmp_path / "text" / file.name).write_text("\n".join([head, *("\t".join(row) for row in rows)]) + "\n")
    chosen["val_interval"] = {"item_id": ["x7", "x8"]}
    text = prepare_log(tmp_path / "text" / "shop.inter", settings(**chosen))
    assert np.array_equal(number.interactions.item, text.interactions.item)
    assert ["[unknown]", *(f"x{user}" for user in number.interactions.users[1:])] == text.interactions.users.to_list()
    assert number.steps == text.steps
    assert number.users is not None
    assert text.users is not None
    assert [f"x{user}" for user in number.users["user_id"]] == text.users["user_id"].to_list()


def test_large_arrays_are_mapped_and_torch_takes_them_without_a_copy(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gaterec.data.prepared.MAPPED_FROM", 0)
    interactions = open_prepared(folder).interactions
    assert isinstance(interactions.item.base, np.memmap)
    assert torch.from_numpy(interactions.item).data_ptr() == interactions.item.ctypes.data


def test_a_folder_of_small_arrays_may_be_cut_under_a_run(folder: Path) -> None:
    interactions = open_prepared(folder).interactions
    arrays = [
        array for array in (interactions.item, interactions.offsets, interactions.time, interactions.item_counts()) if array is not None
    ]
    assert not any(
        isinstance(array, np.memmap) or isinstance(array.base, np.memmap) for array in arrays
    )  # else the next lines end this process
    before = [array.tolist() for array in arrays]
    for file in folder.iterdir():
        os.truncate(file, 0)
    assert [array.tolist() for array in arrays] == before


def test_training_counts_are_those_of_the_training_events() -> None:
    world = histories.random_histories(people=30, items=12, longest=9)
    for how in ({"LS": "valid_and_test"}, {"RS": [0.6, 0.2, 0.2]}, {"RS": [1, 0, 0]}):
        split = split_interactions(world, settings(eval_args={"split": how}).eval_args)
        assert training_counts(world, split).tolist() == histories.training_counts(world, split).tolist()


def test_steps_are_told(inter: Path) -> None:
    told: list[str] = []
    prepare_log(inter, settings(), told.append)
    assert told == ["reading the log", "filtering", "putting events in order"]


# -- which folder -----------------------------------------------------------------------------------------------------------------


def test_a_folder_is_known_by_its_path_or_by_its_name_in_data_path(folder: Path, inter: Path) -> None:
    assert prepared_folder(folder, "dataset/") == prepared_folder(str(folder), "dataset/") == folder
    assert prepared_folder("ready", folder.parent) == folder
    for other in (inter, "ml-100k", "", "demo", "\0", "x" * 5000, pl.DataFrame(), folder.parent):
        assert prepared_folder(other, folder.parent) is None


def test_an_earlier_folder_is_replaced(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "other.csv").write_text("user_id,item_id,timestamp\n" + LOGS["text"])
    round_trip(tmp_path / "other.csv", folder)
    assert {file.name for file in folder.iterdir()} < FILES
    assert sorted(tmp_path.glob(".*")) == []


def test_an_empty_folder_is_taken(inter: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    round_trip(inter, tmp_path / "empty")


@pytest.mark.parametrize("name", ["notes.txt", "weights.safetensors"])
def test_what_is_not_ours_is_not_replaced(folder: Path, name: str, inter: Path) -> None:
    (folder / name).write_text("mine")
    with pytest.raises(DataError, match=f"ready: expected a new folder, or one that was prepared before, found {name}; give another"):
        write_prepared(open_prepared(folder), settings(), folder)
    assert (folder / name).read_text() == "mine"
    with pytest.raises(DataError, match="found a file; give another name"):
        check_target(inter)


def test_nothing_is_left_where_it_can_t_be_written(inter: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    with pytest.raises(RunError, match="can't be written"):
        write_prepared(prepare_log(inter, settings()), settings(), tmp_path / "file" / "ready")


# -- damage -----------------------------------------------------------------------------------------------------------------------


def refusal(folder: Path) -> str:
    with pytest.raises(DataError) as error:
        open_prepared(folder)
    assert "\n" not in str(error.value)
    return str(error.value).replace(f"{folder.parent}/", "")


def rewrite(folder: Path, **changed: Any) -> None:
    about = json.loads((folder / "prepared.json").read_text())
    (folder / "prepared.json").write_text(json.dumps({**about, **changed}))


def test_a_newer_version(folder: Path) -> None:
    rewrite(folder, format=FORMAT + 1, gaterec="9.9")
    assert refusal(folder).startswith("ready: was prepared by gaterec 9.9 in format 2; this gaterec ")


def test_a_file_that_is_cut_short_or_gone(folder: Path) -> None:
    file = folder / "item.npy"
    whole = file.read_bytes()
    file.write_bytes(whole[:-4])
    assert refusal(folder) == (
        f"ready/item.npy: expected the file of {len(whole)} bytes that was prepared, found {len(whole) - 4} bytes; prepare the log again"
    )
    file.unlink()
    assert refusal(folder).endswith("that was prepared, found none; prepare the log again")


@pytest.mark.parametrize("content", ["", "{", "[]", "{}", '{"format": "1"}', '{"format": 1}', '{"format": 1, "name": 3}', "[" * 100_000])
def test_a_damaged_note(folder: Path, content: str) -> None:
    (folder / "prepared.json").write_text(content)
    assert refusal(folder).startswith("ready/prepared.json: ")


def test_an_item_that_there_is_not(folder: Path) -> None:
    items = np.load(folder / "item.npy")
    items[1] = 10_000
    np.save(folder / "item.npy", items)
    assert "don't fit together" in refusal(folder)


@pytest.mark.parametrize("name", ["users.parquet", "items.parquet", *(f"{array}.npy" for array in ("item", "offsets", "time", "counts"))])
def test_any_byte_of_a_file_may_be_wrong(folder: Path, name: str) -> None:
    whole = (folder / name).read_bytes()
    random = np.random.default_rng(0)
    for _ in range(40):
        damaged = bytearray(whole)
        damaged[random.integers(0, len(whole))] = random.integers(0, 256)
        damaged[random.integers(0, min(len(whole), 128))] = ord("(")
        (folder / name).write_bytes(damaged)
        with suppress(DataError):  # most damage is seen, and none fails in another way
            open_prepared(folder)


@pytest.mark.parametrize(
    "changed",
    [
        {"steps": [1]},
        {"steps": [["a"]]},
        {"steps": [["a", 1, 2, "x"]]},
        {"files": {}},
        {"settings": {"TIME_FIELD": []}},
        {"settings": {"epochs": 3}},
    ],
)
def test_a_note_that_says_odd_things(folder: Path, changed: dict[str, Any]) -> None:
    rewrite(folder, **changed)
    if "settings" in changed:
        with pytest.raises(DataError, match="is damaged: its settings are none of this gaterec"):
            with_prepared_settings(settings(dataset=str(folder)))
    elif "steps" in changed:
        assert refusal(folder).startswith("ready: is damaged: ")
    else:
        (folder / "item.npy").unlink()
        assert refusal(folder).startswith("ready: is damaged: ")


@pytest.mark.parametrize(
    ("name", "array"),
    [
        ("item", np.arange(8)),
        ("item", np.zeros((2, 4), np.int32)),
        ("item", np.zeros(3, np.int32)),
        ("item", np.array([None, "x"])),
        ("offsets", np.array([0, 8, 4, 8, 8])),
        ("time", np.array(["x"] * 8)),
        ("counts", np.array([1])),
    ],
)
def test_arrays_that_don_t_fit(folder: Path, name: str, array: Any) -> None:
    np.save(folder / f"{name}.npy", array, allow_pickle=True)
    about = json.loads((folder / "prepared.json").read_text())
    rewrite(folder, files=about["files"] | {f"{name}.npy": (folder / f"{name}.npy").stat().st_size})
    assert refusal(folder).startswith("ready: is damaged: ")


# -- settings ---------------------------------------------------------------------------------------------------------------------


def test_the_settings_of_the_folder_hold(inter: Path, tmp_path: Path) -> None:
    chosen = settings(rm_dup_inter="last", USER_ID_FIELD="user_id")
    write_prepared(prepare_log(inter, chosen), chosen, tmp_path / "ready")
    dataset = str(tmp_path / "ready")
    assert with_prepared_settings(settings(dataset=dataset, epochs=3, MAX_ITEM_LIST_LENGTH=7)).rm_dup_inter == "last"
    assert with_prepared_settings(settings(dataset=dataset, rm_dup_inter="last")).MAX_ITEM_LIST_LENGTH == 50
    with pytest.raises(SettingsError, match=r"rm_dup_inter: .*ready was prepared with 'last', found None; leave it out"):
        with_prepared_settings(settings(dataset=dataset, rm_dup_inter=None))
    with pytest.raises(SettingsError, match=r"eval_args.order: .*ready is in order of time \(TO\), found RO"):
        with_prepared_settings(settings(dataset=dataset, eval_args={"order": "RO"}))


def test_other_datasets_keep_their_settings(inter: Path) -> None:
    chosen = settings(dataset=str(inter), eval_args={"order": "RO"})
    assert with_prepared_settings(chosen) is chosen


def test_a_log_in_memory_is_prepared_too() -> None:
    events = pl.DataFrame({"user_id": ["a", "a"], "item_id": ["x", "y"], "timestamp": [2, 1]})
    log = Log("tiny", "memory", events)
    assert prepare_log(log, settings()).interactions.fingerprint() == build_interactions(log, settings()).fingerprint()


@pytest.mark.parametrize("name", ["[v1]", "a?b", "file:", "~", "*"])
def test_a_folder_of_any_name_is_opened_literally(tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    decoy = pl.DataFrame({"user_id": ["no", "no"], "item_id": ["no", "yes"]})
    for other in ("v", "1", "axb"):
        write_prepared(prepare_log(decoy, settings()), settings(), Path(other))
    log = prepare_log(pl.DataFrame({"user_id": ["a", "a"], "item_id": ["x", "y"]}), settings())
    write_prepared(log, settings(), Path(name))
    assert same(open_prepared(Path(name)), log)


def test_a_folder_of_another_log_is_not_taken_for_the_log_of_several_runs(tmp_path: Path) -> None:
    logs = []
    for name, last in (("a", "i2"), ("b", "i3")):
        lines = [f"u{user}\ti{item}\t1\t{item}" for user in range(3) for item in range(4)]
        (tmp_path / f"{name}.inter").write_text(INTER + "\n".join([*lines, f"u0\t{last}\t1\t9"]) + "\n")
        logs.append(prepare_log(str(tmp_path / f"{name}.inter"), settings()))
    folder = tmp_path / "data"
    assert kept_prepared(logs[0], settings(), folder, named=False) == folder
    assert kept_prepared(logs[0], settings(), folder, named=False) == folder
    with pytest.raises(DataError, match=r"holds another log than .*; give another --out"):
        kept_prepared(logs[1], settings(), folder, named=False)
    assert same(open_prepared(folder), logs[0])
