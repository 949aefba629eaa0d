"""Run folders and states: what is half there, newer, corrupt or garbage is told in one line, and nothing of it is trusted."""

import json
import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import torch

from gaterec.config.resolve import resolve
from gaterec.errors import RunError
from gaterec.experiments.run import run
from gaterec.inference.run_folder import left_beside, load_histories, load_run, newest_run, read_info, run_name
from gaterec.io.files import read_table, read_tensors, write_tensors
from gaterec.models import MODELS, model_class
from gaterec.training.states import clear_states, load_state, save_state
from gaterec.training.trainer import TrainingHistory, TrainingState
from tests.support.commands import write_log

TENSORS = {"model.a": torch.arange(6.0).reshape(2, 3), "best.a": torch.ones(2, 3), "optimizer.0.0.step": torch.tensor(7.0)}


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A whole run folder, which no test may change."""
    folder = tmp_path_factory.mktemp("trained")
    chosen = {"epochs": 1, "embedding_size": 4, "checkpoint_dir": str(folder / "saved"), "state": "ERROR"}
    return run("HGN", write_log(folder / "a.csv"), config_dict=chosen)["folder"]


@pytest.fixture
def folder(trained: Path, tmp_path: Path) -> Path:
    """A copy of the run folder, to be damaged."""
    return Path(shutil.copytree(trained, tmp_path / "run"))


def refusal(folder: Path) -> str:
    """The one line with which a folder is refused."""
    with pytest.raises(RunError) as caught:
        load_run(folder)
    line = str(caught.value)
    assert "\n" not in line
    assert line.startswith(str(folder))
    return line.removeprefix(str(folder))


# -- run folders ------------------------------------------------------------------------------------------------------------------


def test_a_whole_folder(trained: Path) -> None:
    loaded = load_run(str(trained))
    assert loaded.folder == trained
    assert loaded.info["title"] == "HGN on a"
    assert (len(loaded.users), len(loaded.items)) == (41, 21)
    assert loaded.users["user_id"][0] == "[unknown]"
    tensors, about = read_tensors(trained / "weights.safetensors")
    assert about == {"model": "HGN"}
    assert all(torch.equal(tensors[name], value) for name, value in loaded.model.state_dict().items())


@pytest.mark.parametrize("model", MODELS)
def test_loading_draws_nothing_and_leaves_no_weight_unread(model: str, tmp_path: Path) -> None:
    own: dict[str, Any] = {"epochs": 1, "checkpoint_dir": str(tmp_path / "saved"), "state": "ERROR", "MAX_ITEM_LIST_LENGTH": 5}
    folder = run(model, write_log(tmp_path / "a.csv"), config_dict=own)["folder"]
    torch.manual_seed(1)
    before = torch.get_rng_state()
    loaded = load_run(folder).model.state_dict()
    assert torch.equal(torch.get_rng_state(), before)
    tensors, _ = read_tensors(folder / "weights.safetensors")
    assert loaded.keys() == tensors.keys()
    assert all(torch.equal(loaded[name], tensor) for name, tensor in tensors.items())


def test_the_dataset_is_not_needed(folder: Path) -> None:
    info = json.loads((folder / "run.json").read_text())
    info["settings"]["dataset"] = "/gone/away.csv"
    (folder / "run.json").write_text(json.dumps(info))
    assert load_run(folder).settings.dataset == "/gone/away.csv"


@pytest.mark.parametrize("name", ["weights.safetensors", "users.parquet", "items.parquet"])
def test_a_file_is_missing(folder: Path, name: str) -> None:
    (folder / name).unlink()
    line = refusal(folder)
    assert line.startswith(": is not whole: ")
    assert name in line


@pytest.mark.parametrize("name", ["weights.safetensors", "users.parquet", "items.parquet"])
@pytest.mark.parametrize("share", [0.0, 0.3, 0.9])
def test_a_file_is_cut_short(folder: Path, name: str, share: float) -> None:
    content = (folder / name).read_bytes()
    (folder / name).write_bytes(content[: int(share * len(content))])
    assert refusal(folder).startswith(": is not whole: ")


@pytest.mark.parametrize("place", [5, 40, -1])
def test_corrupt_weights(folder: Path, place: int) -> None:
    file = folder / "weights.safetensors"
    content = bytearray(file.read_bytes())
    content[place] ^= 64
    file.write_bytes(content)
    line = refusal(folder)
    assert line.startswith(f": is not whole: {file}: ")
    assert "corrupt" in line or "can't be read" in line


def test_weights_of_somebody_else(folder: Path) -> None:
    from safetensors.torch import save_file

    (folder / "weights.safetensors").rename(folder / "weights.safetensors.own")
    tensors, _ = read_tensors(folder / "weights.safetensors.own")
    save_file(tensors, folder / "weights.safetensors")
    assert "is corrupt: its content does not match the digest" in refusal(folder)
    write_tensors(folder / "weights.safetensors", {**tensors, "a": torch.zeros(3)}, {})
    assert refusal(folder) == ": is not whole: weights.safetensors: a of HGN: expected no such tensor, found (3,)"
    write_tensors(folder / "weights.safetensors", {name: tensor for name, tensor in tensors.items() if name != "item.weight"}, {})
    line = refusal(folder)
    assert line.startswith(": is not whole: weights.safetensors: item.weight of HGN: expected (")
    assert line.endswith("), found none")


def test_vocabularies_of_another_run(folder: Path) -> None:
    items = pl.read_parquet(folder / "items.parquet")
    items.head(5).write_parquet(folder / "items.parquet")
    assert refusal(folder) == ": is not whole: items.parquet: expected 21 rows, found 5"
    info = json.loads((folder / "run.json").read_text())
    info["data"]["items"] = 4
    (folder / "run.json").write_text(json.dumps(info))
    assert re.fullmatch(r": is not whole: weights\.safetensors: \S+ of HGN: expected \(5,.*\), found \(\d+,.*\)", refusal(folder))


def test_no_folder(tmp_path: Path) -> None:
    assert refusal(tmp_path / "no") == ": there is no such run folder"
    assert refusal(tmp_path) == ": expected a run folder, found no run.json in it"
    (tmp_path / "file").write_text("x")
    assert refusal(tmp_path / "file") == ": there is no such run folder"


def test_a_newer_format(folder: Path) -> None:
    info = json.loads((folder / "run.json").read_text())
    (folder / "run.json").write_text(json.dumps(info | {"format": 2, "gaterec": "7.0"}))
    line = refusal(folder)
    assert line.startswith(": was written by gaterec 7.0 in format 2; this gaterec ")
    assert line.endswith(" reads up to 1: upgrade it")


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"", "can't be read: Expecting value"),
        (b"{", "can't be read: Expecting property name"),
        (b"\xff\xfe", "can't be read: 'utf-8' codec can't decode"),
        (b"[" * 100_000, "can't be read: "),
        (b"[1]", "expected a run of gaterec, found no format number in it"),
        (b'{"format": "1"}', "expected a run of gaterec, found no format number in it"),
        (b'{"format": null}', "expected a run of gaterec, found no format number in it"),
        (b'{"format": 1}', "is damaged: title is missing"),
        (b'{"format": 1, "title": "x", "settings": [1]}', "is damaged: settings is of a wrong type"),
        (b'{"format": 1, "title": "x", "settings": {}, "data": {}}', "is damaged: protocol is missing"),
    ],
)
def test_run_json_is_garbage(folder: Path, content: bytes, told: str) -> None:
    (folder / "run.json").write_bytes(content)
    assert refusal(folder).startswith(f"/run.json: {told}")


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"epochs": -3}, "epochs: expected a number greater than or equal to 0, found -3"),
        ({"model": "Unheard"}, "model: there is no model 'Unheard'"),
        ({"embedding_size": 5}, "weights.safetensors: feature_item.bias of HGN: expected (5,), found (4,)"),
        ({"news": 1}, "news: there is no such setting"),
        ({"epochs": -3, "stopping_step": "x"}, "stopping_step: "),
    ],
)
def test_settings_that_do_not_fit(folder: Path, change: dict[str, Any], told: str) -> None:
    info = json.loads((folder / "run.json").read_text())
    info["settings"] |= change
    (folder / "run.json").write_text(json.dumps(info))
    line = refusal(folder)
    assert line.startswith(": is not whole: ")
    assert told in line
    assert "\n" not in line


def test_read_info_gives_all_of_run_json(trained: Path) -> None:
    assert read_info(trained) == json.loads((trained / "run.json").read_text())


# -- states -----------------------------------------------------------------------------------------------------------------------


def state(epochs: int) -> TrainingState:
    entries = [{"epoch": number, "loss": 1 / number, "seconds": 0.1, "valid": {"mrr@10": 0.1}} for number in range(1, epochs + 1)]
    return TrainingState(
        TrainingHistory(entries, best_epoch=1, best_score=0.1, epochs_without_improvement=epochs - 1),
        {**TENSORS, "model.b": torch.tensor([epochs])},
    )


def same(found: TrainingState | None, wanted: TrainingState) -> bool:
    assert found is not None
    names = found.tensors.keys() == wanted.tensors.keys()
    return (
        names and found.history == wanted.history and all(torch.equal(found.tensors[name], wanted.tensors[name]) for name in wanted.tensors)
    )


def saved(folder: Path, *epochs: int) -> list[Path]:
    for number in epochs:
        save_state(folder, state(number))
    return sorted(folder.iterdir())


def test_a_state_comes_back_bit_by_bit(tmp_path: Path) -> None:
    saved(tmp_path / "x", 3)
    found, problems = load_state(tmp_path / "x")
    assert same(found, state(3))
    assert problems == []


def test_equal_states_make_equal_files(tmp_path: Path) -> None:
    contents = {saved(tmp_path / str(number), 3)[0].read_bytes() for number in range(8)}
    assert len(contents) == 1


def test_no_state(tmp_path: Path) -> None:
    assert load_state(tmp_path / "none") == (None, [])
    assert load_state(tmp_path) == (None, [])


def test_two_states_are_kept(tmp_path: Path) -> None:
    files = saved(tmp_path / "x", 1, 2, 3, 9, 10, 100)
    assert [file.name for file in files] == ["epoch-0000010.safetensors", "epoch-0000100.safetensors"]
    assert same(load_state(tmp_path / "x")[0], state(100))


@pytest.mark.parametrize("share", [0.0, 0.02, 0.5, 0.99])
def test_a_state_that_was_cut_short(tmp_path: Path, share: float) -> None:
    before, last = saved(tmp_path / "x", 4, 5)
    content = last.read_bytes()
    last.write_bytes(content[: int(share * len(content))])
    found, problems = load_state(tmp_path / "x")
    assert same(found, state(4))
    assert len(problems) == 1
    assert problems[0].startswith(f"{last}: ")
    assert problems[0].endswith("; using the one before it")
    assert "\n" not in problems[0]
    assert before.exists()


def test_every_flipped_byte_is_noticed(tmp_path: Path) -> None:
    _, last = saved(tmp_path / "x", 1, 2)
    content = last.read_bytes()
    for place in range(0, len(content), 7):
        last.write_bytes(content[:place] + bytes([content[place] ^ 4]) + content[place + 1 :])
        found, problems = load_state(tmp_path / "x")
        assert same(found, state(1)), place
        assert len(problems) == 1


def test_no_state_is_whole(tmp_path: Path) -> None:
    for file in saved(tmp_path / "x", 1, 2):
        file.write_bytes(b"x" * 100)
    found, problems = load_state(tmp_path / "x")
    assert found is None
    assert [problem.rpartition("; ")[2] for problem in problems] == ["using the one before it", "training begins anew"]


def test_a_file_that_is_no_state(tmp_path: Path) -> None:
    saved(tmp_path / "x", 1)
    write_tensors(tmp_path / "x" / "epoch-0000002.safetensors", TENSORS, {"course": {"future": 1}})
    write_tensors(tmp_path / "x" / "epoch-0000003.safetensors", TENSORS, {})
    found, problems = load_state(tmp_path / "x")
    assert same(found, state(1))
    assert len(problems) == 2
    assert all(line.startswith(f"{tmp_path}/x/epoch-000000") for line in problems)


def test_a_state_that_cannot_be_written_leaves_the_ones_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = saved(tmp_path / "x", 1, 2)
    before = [file.read_bytes() for file in files]

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("gaterec.io.files.save_file", full)
    with pytest.raises(RunError, match=r"epoch-0000003.safetensors: can't be written: No space left on device$"):
        save_state(tmp_path / "x", state(3))
    assert sorted((tmp_path / "x").iterdir()) == files
    assert [file.read_bytes() for file in files] == before


def test_states_are_thrown_away(tmp_path: Path) -> None:
    saved(tmp_path / "x", 1, 2)
    clear_states(tmp_path / "x")
    assert list(tmp_path.iterdir()) == []
    clear_states(tmp_path / "x")


# -- only finished runs, of one piece -----------------------------------------------------------------------------------------------


def rewrite(folder: Path, name: str, change: Callable[[pl.DataFrame], pl.DataFrame], digests: bool = False) -> None:
    """Change a table of a run folder; without digests, as in runs of an older gaterec, unless told otherwise."""
    table = change(pl.read_parquet(folder / f"{name}.parquet"))
    table.write_parquet(folder / f"{name}.parquet")
    if not digests:
        info = json.loads((folder / "run.json").read_text())
        info.pop("digests", None)
        (folder / "run.json").write_text(json.dumps(info))


ID = pl.nth(0)
WRONG: dict[str, tuple[str, Callable[[pl.DataFrame], pl.DataFrame], str]] = {
    "no rows": ("users", lambda table: table.clear(), "users.parquet: expected 41 rows, found 0"),
    "no columns": ("users", lambda table: table.select(), "users.parquet: expected 41 rows, found 0"),
    "another column": ("users", lambda table: table.rename({"user_id": "x"}), "expected user_id of String as the first column, found x of String"),
    "numbers": ("users", lambda table: table.select(pl.int_range(pl.len()).alias("user_id")), "found user_id of Int64"),
    "lists": ("items", lambda table: table.with_columns(pl.concat_list(ID)), "found item_id of List(String)"),
    "a null id": ("users", lambda table: table.with_columns(pl.when(ID != "u3").then(ID)), "users.parquet: expected an id in every row, found 1"),
    "an id twice": ("items", lambda table: table.with_columns(ID.replace("i3", "i4")), "items.parquet: expected every id once, found 'i4' more often"),
    "no counts": ("items", lambda table: table.drop("training_count"), "expected a whole number for every item as training_count"),
    "counts of text": ("items", lambda table: table.with_columns(pl.col("training_count").cast(pl.String)), "as training_count"),
    "a null count": ("items", lambda table: table.with_columns(pl.when(ID != "i3").then(pl.col("training_count"))), "as training_count"),
    "users' counts": ("users", lambda table: table.with_columns(training_count=ID), "as training_count, found String, 0 missing"),
    "a struct": ("items", lambda table: table.with_columns(title=pl.struct(ID)), "expected texts, numbers or lists of them as title, found Struct"),
    "bytes": ("items", lambda table: table.with_columns(title=ID.cast(pl.Binary)), "as title, found Binary"),
}  # fmt: skip


@pytest.mark.parametrize("what", WRONG)
def test_tables_that_are_not_those_of_a_run_are_refused_in_one_line(folder: Path, what: str) -> None:
    name, change, told = WRONG[what]
    rewrite(folder, name, change)
    line = refusal(folder)
    assert line.startswith(": is not whole: ")
    assert told in line


def test_titles_may_be_added_to_the_items_of_a_run(folder: Path) -> None:
    rewrite(folder, "items", lambda table: table.with_columns(title=pl.concat_str(pl.lit("Film "), ID)), digests=True)
    assert load_run(folder).items["title"][3] == "Film " + load_run(folder).items["item_id"][3]


@pytest.mark.parametrize("name", ["people", "items"])
@pytest.mark.parametrize("value", [0, -1, 1.5, None, "40"])
def test_numbers_of_users_and_items_that_are_none_are_refused(folder: Path, name: str, value: object) -> None:
    info = json.loads((folder / "run.json").read_text())
    info["data"][name] = value
    (folder / "run.json").write_text(json.dumps(info))
    assert refusal(folder) == f"/run.json: is damaged: data.{name} is no whole number from 1 on"


@pytest.fixture(scope="module")
def other(trained: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run on another log with as many users and items."""
    place = tmp_path_factory.mktemp("other")
    log = write_log(place / "a.csv", seed=1).read_text()
    head, *events = log.splitlines()
    (place / "a.csv").write_text("\n".join([head, *(event.replace("u", "v").replace("i", "j") for event in events)]))
    chosen = {"epochs": 1, "embedding_size": 4, "checkpoint_dir": str(place / "saved"), "state": "ERROR"}
    return run("HGN", place / "a.csv", config_dict=chosen)["folder"]


@pytest.mark.parametrize("name", ["weights.safetensors", "histories.safetensors", "users.parquet", "items.parquet", "run.json"])
def test_files_of_two_runs_are_not_mixed(folder: Path, other: Path, name: str) -> None:
    shutil.copy(other / name, folder / name)
    with pytest.raises(RunError, match="is of another run than the files beside it") as refused:
        load_histories(load_run(folder))
    assert "\n" not in str(refused.value)


def test_a_run_that_is_replaced_while_it_is_read_is_read_again(folder: Path, other: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = read_table

    def replaced(file: Path, rows: int | None = None) -> pl.DataFrame:
        if read_info(folder) != read_info(other):
            shutil.rmtree(folder)
            shutil.copytree(other, folder)
        return whole(file, rows)

    monkeypatch.setattr("gaterec.inference.run_folder.read_table", replaced)
    loaded = load_run(folder)
    assert (loaded.info, loaded.users["user_id"][1][0]) == (read_info(other), "v")


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda found: {"item": found["item"]}, "expected item and offsets in histories.safetensors"),
        (lambda found: found | {"item": found["item"].reshape(1, -1)}, "expected item and offsets in histories.safetensors"),
        (lambda found: found | {"offsets": found["offsets"][:-1]}, "expected the histories of 40 users, found 39"),
        (lambda found: found | {"item": found["item"].long()}, "the histories are of other users or items"),
        (lambda found: found | {"item": found["item"] + 1}, "the histories are of other users or items"),
        (lambda found: found | {"item": found["item"] - 1}, "the histories are of other users or items"),
        (lambda found: found | {"item": found["item"][1:]}, "the histories are of other users or items"),
        (lambda found: found | {"offsets": found["offsets"].flip(0)}, "the histories are of other users or items"),
    ],
)
def test_histories_of_other_users_or_items_are_refused(
    folder: Path, change: Callable[[dict[str, torch.Tensor]], dict[str, torch.Tensor]], told: str
) -> None:
    rewrite(folder, "users", lambda table: table)
    tensors, _ = read_tensors(folder / "histories.safetensors")
    write_tensors(folder / "histories.safetensors", change(tensors), {})
    with pytest.raises(RunError, match=told) as refused:
        load_histories(load_run(folder))
    assert "\n" not in str(refused.value)


def test_nothing_that_is_not_finished_is_a_run(folder: Path) -> None:
    runs, old = folder.parent, 1_000_000_000
    os.utime(folder / "run.json", (old, old))
    for name in (".run.0123abcd.part", ".run.0123abcd.old", ".new.0123abcd.part"):
        shutil.copytree(folder, runs / name)
        os.utime(runs / name / "run.json")
        with pytest.raises(RunError, match=r"is no finished run, but is being written, or was left by a process that was stopped"):
            newest_run(runs / name)
        with pytest.raises(RunError, match=r"is no finished run"):
            load_run(runs / name)
    assert newest_run(runs) == newest_run(folder) == folder
    assert len(left_beside(runs)) == 3
    assert [line.partition(":")[0] for line in left_beside(folder)] == [f"{runs}/.run.0123abcd.{kind}" for kind in ("old", "part")]
    shutil.rmtree(folder)
    with pytest.raises(
        RunError, match=r"found no run in it; .*part: was left by a process that was stopped, and is not read; the next command"
    ):
        newest_run(runs)


def test_the_newest_of_several_runs_is_taken_whatever_their_names(folder: Path) -> None:
    for name, seconds in (("a", 300), ("b", 100), ("c", 200)):
        shutil.copytree(folder, folder.parent / name)
        os.utime(folder.parent / name / "run.json", (seconds, seconds))
    os.utime(folder / "run.json", (50, 50))
    assert newest_run(folder.parent).name == "a"


@pytest.mark.parametrize("name", ["run.json", "weights.safetensors", "histories.safetensors", "users.parquet", "items.parquet"])
def test_a_named_pipe_in_a_run_folder_is_refused_and_never_waited_for(folder: Path, name: str) -> None:
    (folder / name).unlink()
    os.mkfifo(folder / name)
    with pytest.raises(RunError, match="expected a regular file, found a named pipe") as refused:
        load_histories(load_run(newest_run(folder)))
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("name", ["[v1]", "a?b", "*", "~", "file:", "~nosuch"])
def test_runs_in_folders_of_any_name(folder: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.chdir(folder.parent)
    for decoy in ("v", "1", "axb"):
        rewrite(Path(shutil.copytree(folder, folder.parent / decoy)), "users", lambda table: table.reverse())
    before = load_run(folder).users
    folder.rename(name)
    for path in (Path(name), folder.parent / name):
        assert load_run(newest_run(path)).users.equals(before)


@pytest.mark.parametrize("name", ["a\0b", "x" * 300, "file/x", "~nosuch/x"])
def test_a_folder_that_can_not_be_is_told_in_one_line(tmp_path: Path, name: str) -> None:
    (tmp_path / "file").touch()
    for read in (newest_run, load_run):
        with pytest.raises(RunError) as refused:
            read(tmp_path / name)
        assert "\n" not in str(refused.value)


# -- names --------------------------------------------------------------------------------------------------------------------------


def test_a_run_is_named_by_its_settings_and_its_data() -> None:
    def name(fingerprint: str = "a", **settings: Any) -> str:
        return run_name(resolve(lambda kind: model_class(kind).Settings, config_dict=settings), "log", fingerprint)

    assert name() == name() == name(checkpoint_dir="elsewhere", data_path="there", state="ERROR")
    others = [name("b"), name(seed=7), name(epochs=3), name(learning_rate=0.5), name(embedding_size=8), name(model="Pop")]
    assert len({name(), *others}) == 1 + len(others)
    assert name().startswith("HGN-log-")


def test_clearing_states_leaves_what_is_none(tmp_path: Path) -> None:
    save_state(tmp_path, state(1))
    kept = ["epoch-best.safetensors", "epoch-1.safetensors", "epoch-00000001.safetensors", ".epoch-0000001.safetensors.keep"]
    for name in [*kept, ".epoch-0000002.safetensors.0123abcd.part"]:
        (tmp_path / name).write_text("dear")
    clear_states(tmp_path)
    assert sorted(file.name for file in tmp_path.iterdir()) == sorted(kept)
