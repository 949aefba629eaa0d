"""Bad input through the command line: exit code 2, one clear line that says where and what to do, and nothing lost."""

import gzip
import json
import os
import sqlite3
import sys
from contextlib import closing
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest

from gaterec.models import MODELS
from tests.support.commands import TINY, gaterec, gaterec_alone, write_log

HEADER = b"user_id,item_id,timestamp\n"


@pytest.fixture
def good(tmp_path: Path) -> bytes:
    """The bytes of a log with which nothing is wrong."""
    return write_log(tmp_path / "good.csv").read_bytes()


@pytest.fixture
def saved(tmp_path: Path) -> str:
    """The flag that says where runs go."""
    return f"--checkpoint_dir={tmp_path / 'saved'}"


def refusal(*arguments: object) -> str:
    """The one line with which a command ends."""
    found = gaterec(*arguments)
    assert found.code == 2, found
    assert found.err.startswith("gaterec: ")
    assert found.err.count("\n") == 1
    assert found.err.endswith("\n")
    assert "Traceback" not in found.err
    assert len(found.err) < 1000
    return found.err.removeprefix("gaterec: ").rstrip("\n")


def refused_file(path: Path, content: bytes, *arguments: object) -> str:
    """How a log is refused, without the name of its folder; it must stay as it was, and no run may appear."""
    path.write_bytes(content)
    saved = path.parent / "saved"
    line = refusal("run", "-d", path, f"--checkpoint_dir={saved}", *TINY, *arguments)
    assert path.read_bytes() == content
    assert list(saved.iterdir()) == []
    return line.replace(f"{path.parent}/", "")


# -- logs -------------------------------------------------------------------------------------------------------------------------


def test_an_empty_file(tmp_path: Path) -> None:
    assert refused_file(tmp_path / "a.csv", b"") == (
        "a.csv: expected a header line with the names of the columns, found an empty file"
    )  # fmt: skip


def test_no_rows(tmp_path: Path) -> None:
    assert refused_file(tmp_path / "a.csv", HEADER) == "a.csv: expected rows after the header, found none"


def test_a_missing_column(tmp_path: Path, good: bytes) -> None:
    assert refused_file(tmp_path / "a.csv", good.replace(b"item_id", b"item")) == (
        "a.csv:1: item_id: expected a column of this name, found user_id, item, timestamp (did you mean item?); "
        "set ITEM_ID_FIELD to the name of its column"
    )


def test_a_wrong_type_in_one_line(tmp_path: Path) -> None:
    content = HEADER + b"a,x,1\n" * 15 + b"a,x,soon\n" + b"a,x,2\n"
    assert refused_file(tmp_path / "a.csv", content) == "a.csv:17: timestamp: expected a number, found 'soon'"


def test_a_wrong_type_in_an_atomic_file(tmp_path: Path) -> None:
    content = b"user_id:token\titem_id:token\trating:float\ttimestamp:float\n" + b"a\tx\t5\t1\n" * 3 + b"a\tx\tgood\t1\n"
    assert refused_file(tmp_path / "a.inter", content) == "a.inter:5: rating: expected a number, found 'good'"


def test_too_few_fields(tmp_path: Path, good: bytes) -> None:
    lines = good.splitlines()
    lines[6] = lines[6].rpartition(b",")[0]
    assert refused_file(tmp_path / "a.csv", b"\n".join(lines)) == (
        "a.csv:7: expected 3 fields (user_id, item_id, timestamp), found 2; correct the line (fields are separated by ',')"
    )


def test_broken_utf8(tmp_path: Path) -> None:
    assert refused_file(tmp_path / "a.csv", HEADER + b"a,x,1\na,caf\xe9,2\n") == (
        "a.csv:3: expected UTF-8 text, found byte 0xe9 at byte 6 of the line; save the file as UTF-8"
    )


def test_gzip_cut_short(tmp_path: Path, good: bytes) -> None:
    packed = gzip.compress(good, mtime=0)
    assert refused_file(tmp_path / "a.csv.gz", packed[: len(packed) // 2]) == (
        "a.csv.gz: the gzip data ends too early: the file was cut short; copy or download it again"
    )


def test_no_user_left_after_filtering(tmp_path: Path, good: bytes) -> None:
    line = refused_file(tmp_path / "a.csv", good, "--user_inter_num_interval=[500,inf)", "--val_interval={'timestamp': '[0,9000]'}")
    assert line.startswith("a.csv: no event is left after the filters: ")
    assert "events as read; val_interval timestamp took " in line
    assert line.endswith("; loosen user_inter_num_interval and item_inter_num_interval")


def test_every_user_has_a_single_event(tmp_path: Path) -> None:
    content = HEADER + b"a,x,1\nb,y,2\nc,x,3\n"
    assert refused_file(tmp_path / "a.csv", content).startswith("a.csv: nobody has two events, so there is no next item to learn from")


def test_nothing_can_be_held_out(tmp_path: Path) -> None:
    content = HEADER + b"a,x,1\na,y,2\nb,x,3\nb,y,4\n"
    assert "too short to hold anything out under eval_args.split" in refused_file(tmp_path / "a.csv", content)


def test_ten_megabytes_in_one_field(tmp_path: Path) -> None:
    content = HEADER + b"a,x,1\na," + b"y" * 10_000_000 + b",2\n"
    line = refused_file(tmp_path / "a.csv", content)
    assert line.startswith("a.csv:3: item_id: expected an id of at most 1000 characters, found 'yyy")
    assert line.endswith("(10,000,000 characters)")


def test_no_log_at_all(tmp_path: Path, good: bytes) -> None:
    line = refused_file(tmp_path / "a.xlsx", good)
    assert line.startswith("a.xlsx: expected a .inter, .csv, ")
    assert line.endswith(
        "or a .parquet file, found .xlsx; give the file the ending of its format, .tsv for text with tabs, .csv for text with commas"
    )


def test_a_file_that_is_not_there(saved: str) -> None:
    assert refusal("run", "-d", "nothing.csv", saved) == "nothing.csv: there is no such file or folder"


def test_a_column_that_is_filtered_by_and_not_there(tmp_path: Path, good: bytes) -> None:
    assert refused_file(tmp_path / "a.csv", good, "--val_interval={'ratin': '[4,inf)'}").startswith(
        "val_interval: 'ratin': expected a column"
    )


# -- odd logs that are fine -------------------------------------------------------------------------------------------------------


def test_a_user_with_a_single_event_among_others(tmp_path: Path, good: bytes, saved: str) -> None:
    (tmp_path / "a.csv").write_bytes(good + b"lonely,i1,5\n")
    assert gaterec("run", "-d", tmp_path / "a.csv", saved, *TINY)[::2] == (0, "")


def test_duplicate_events(tmp_path: Path, good: bytes, saved: str) -> None:
    (tmp_path / "a.csv").write_bytes(good + good.removeprefix(HEADER))
    found = gaterec("run", "-d", tmp_path / "a.csv", saved, *TINY)
    assert found[::2] == (0, "")
    assert f"{2 * (len(good.splitlines()) - 1):,} events" in found.out


def test_negative_and_absurd_times(tmp_path: Path, good: bytes, saved: str) -> None:
    content = good.replace(b",1000\n", b",-5\n").replace(b",1001\n", b",99999999999999\n")
    path = tmp_path / "a.csv"
    path.write_bytes(content)
    found = gaterec("run", "-d", path, saved, *TINY)
    assert found.code == 0
    assert found.err.splitlines() == [
        f"note: {path}: timestamp: 1 negative times; they are kept, as only their order matters",
        f"note: {path}: timestamp: 1 times lie beyond the year 9999 if they are seconds; they are kept, as only their order matters",
    ]


# -- settings ---------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("flag", "line"),
    [
        ("--epochs=-1", "command line: epochs: expected a number greater than or equal to 0, found -1"),
        ("--learning_rat=1", "command line: learning_rat: there is no such setting; did you mean learning_rate?"),
        ("--model=HNG", "model: there is no model 'HNG'; did you mean HGN?"),
        ("--config_files=no.yaml", "no.yaml: can't be read: No such file or directory"),
    ],
)
def test_settings(tmp_path: Path, good: bytes, saved: str, flag: str, line: str) -> None:
    assert refusal("run", "-d", tmp_path / "good.csv", saved, flag) == line
    assert not (tmp_path / "saved").exists()


def test_an_unknown_model(saved: str) -> None:
    assert refusal("run", "-m", "Transformer9", saved) == "model: there is no model 'Transformer9'; known: " + ", ".join(MODELS)


def test_an_optimizer_that_does_not_fit_the_loss(tmp_path: Path, good: bytes, saved: str) -> None:
    line = refusal("run", "-d", tmp_path / "good.csv", saved, "--learner=sparse_adam")
    assert line.startswith("learner: sparse_adam moves only the rows that a step touches")
    assert line.endswith("use adam, or loss_type SSM, gBCE or BPR")


def test_an_unknown_dataset(saved: str) -> None:
    assert refusal("run", "-d", "ml-100", saved).startswith(
        "ml-100: no file of this name, no dataset/ml-100/ml-100.inter, and no known dataset; did you mean ml-100k?"
    )


def test_a_known_dataset_without_a_network(tmp_path: Path, saved: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GATEREC_CACHE", str(tmp_path / "cache"))
    for name in ("http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")  # nobody listens there
        monkeypatch.setenv(name.upper(), "http://127.0.0.1:9")
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)
    line = refusal("run", "-d", "ml-1m", f"--data_path={tmp_path}", saved)
    assert "can't be fetched from its publisher" in line
    assert "put ml-1m.zip from https://files.grouplens.org/datasets/movielens/ml-1m.zip" in line
    assert f"into {tmp_path}/cache/downloads/, or ml-1m.inter into {tmp_path}/ml-1m/" in line


# -- folders ----------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("below", ["", "/deeper"])
def test_a_file_in_the_place_of_checkpoint_dir(tmp_path: Path, good: bytes, below: str) -> None:
    (tmp_path / "saved").write_text("mine")
    assert refusal("run", "-d", tmp_path / "good.csv", f"--checkpoint_dir={tmp_path}/saved{below}", *TINY) == (
        f"checkpoint_dir: {tmp_path}/saved{below}: can't be written: there is a file where a folder should be; give a folder that can"
    )
    assert (tmp_path / "saved").read_text() == "mine"


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_without_permission(tmp_path: Path, good: bytes) -> None:
    (tmp_path / "saved").mkdir(mode=0o500)
    assert "Permission denied" in refusal("run", "-d", tmp_path / "good.csv", f"--checkpoint_dir={tmp_path}/saved", *TINY)


def test_judging_what_is_no_run(tmp_path: Path) -> None:
    assert refusal("evaluate", tmp_path / "no") == f"{tmp_path}/no: there is no such run folder"
    assert refusal("evaluate", tmp_path) == f"{tmp_path}: expected a run folder, found no run.json in it"


def test_a_run_folder_of_another_version(tmp_path: Path, good: bytes, saved: str) -> None:
    begin = ("run", "-d", tmp_path / "good.csv", saved, *TINY)
    assert gaterec(*begin).code == 0
    (folder,) = (tmp_path / "saved").iterdir()
    content: dict[str, Any] = json.loads((folder / "run.json").read_text())
    (folder / "run.json").write_text(json.dumps(content | {"format": 99, "gaterec": "9.9"}))
    before = {file: file.read_bytes() for file in folder.iterdir()}
    for command in (("evaluate", folder), (*begin, "--resume")):
        line = refusal(*command)
        assert line.startswith(f"{folder}: was written by gaterec 9.9 in format 99; this gaterec ")
        assert line.endswith("reads up to 1: upgrade it")
    assert {file: file.read_bytes() for file in folder.iterdir()} == before


def test_in_a_process_of_its_own(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes(HEADER + b"a,x,1\na,x,soon\n")
    found = gaterec_alone("run", "-d", path, cwd=tmp_path)
    assert found == (2, "", f"gaterec: {path}:3: timestamp: expected a number, found 'soon'\n")


# -- searches ---------------------------------------------------------------------------------------------------------------------

DIVERGING = (*TINY[1:], "--epochs=9", "--learner=sgd", "--reg_weight=[9,9]", "--train_batch_size=16", "--seeds=1")
"""With a learning rate beyond all reason."""
FOUR_FORMS = "expected `choice [a,b,...]` or `uniform low,high` or `quniform low,high,q` or `loguniform ln(low),ln(high)` or `loguniform_values low,high`"
RATES = "learning_rate choice [0.01,0.02]\n"


def contents(folder: Path) -> dict[str, bytes]:
    """All files below a folder."""
    return {str(file.relative_to(folder)): file.read_bytes() for file in sorted(folder.rglob("*")) if file.is_file()}


def _beside_saved(folder: Path) -> dict[str, bytes]:
    return {name: content for name, content in contents(folder).items() if not name.startswith("saved/")}


def refused_search(tmp_path: Path, space: str | bytes | None, *arguments: object) -> str:
    """How a search is refused, without the name of its folder; nothing may change, and nothing be trained.

    What `space` says stands in hyper.test; without one, the arguments name the file.
    """
    if not (tmp_path / "log.csv").exists():
        write_log(tmp_path / "log.csv")
    if space is not None:
        (tmp_path / "hyper.test").write_bytes(space if isinstance(space, bytes) else space.encode())
        arguments = (f"--params_file={tmp_path / 'hyper.test'}", *arguments)
    before = _beside_saved(tmp_path)
    with patch("gaterec.experiments.tune.tune.LocalWorker", side_effect=AssertionError("a worker was hired")):
        line = refusal("tune", "-d", tmp_path / "log.csv", f"--checkpoint_dir={tmp_path / 'saved'}", "--epochs=1", *arguments)
    assert _beside_saved(tmp_path) == before
    return line.replace(f"{tmp_path}/", "")


@pytest.mark.parametrize(
    ("space", "line"),
    [
        (
            f"{RATES}nonsense\n",
            f"hyper.test:2: expected a setting and its form, found 'nonsense'; {FOUR_FORMS} after the setting's name",
        ),
        (f"{RATES}\nthis is nonsense\n", f"hyper.test:3: this: {FOUR_FORMS}, found 'is'"),
        ("learning_rate chioce [1,2]\n", f"hyper.test:1: learning_rate: {FOUR_FORMS}, found 'chioce'; did you mean choice?"),
        (
            "learning_rat choice [0.01,0.02]\n",
            "hyper.test:1: learning_rat=0.01: there is no such setting; did you mean learning_rate?",
        ),
        (
            "learning_rate uniform 0.5,0.1\n",
            "hyper.test:1: learning_rate: expected the low end below the high end, found 0.5 and 0.1; write `uniform 0.1,0.5`",
        ),
        ("learning_rate choice []\n", "hyper.test:1: learning_rate: expected a list of one value or more after choice, found none"),
        ("", "hyper.test: there is nothing to choose: expected at least one setting with its values, found none"),
        ("learning_rate choice [0.01,-5]\n", "hyper.test:1: learning_rate=-5: expected a number greater than 0, found -5"),
        ("pooling_type choice [average,maxx]\n", "hyper.test:1: pooling_type='maxx': expected 'average' or 'max', found 'maxx'"),
        (
            "train_batch_size uniform 1,2\n",
            "hyper.test:1: train_batch_size=1.618033988749895: expected a whole number, "
            "found 1.618033988749895; for whole numbers write `quniform 1,2,1`",
        ),
        ("k choice [5,10]\n", "hyper.test:1: k=5: k is a setting of ItemKNN, and HGN does not have it. HGN has: "),
        (
            "MAX_ITEM_LIST_LENGTH quniform 1,200,1\ntrain_batch_size quniform 1,200,1\n",
            "search space: the grid has 40,000 points, more than 10,000; say --yes to try them all, --trials=N for the first N, "
            "or --sampler=tpe",
        ),
    ],
)  # fmt: skip
def test_a_space_that_is_none(tmp_path: Path, space: str, line: str) -> None:
    found = refused_search(tmp_path, space)
    assert found.startswith(line) if line.endswith(": ") else found == line
    assert not (tmp_path / "saved").exists()


@pytest.mark.parametrize(
    "space",
    [
        "learning_rate choice [CALL,0.1]\n",
        "learning_rate choice ['CALL',0.1]\n",
        "learning_rate uniform CALL,0.1\n",
        "learning_rate CALL [1,2]\n",
        "CALL choice [1,2]\n",
    ],
)
def test_code_in_a_space_is_not_run(tmp_path: Path, space: str) -> None:
    line = refused_search(tmp_path, space.replace("CALL", f'__import__("os").system("touch {tmp_path}/run")'))
    assert "expected" in line
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("name", ["topk", "seed", "eval_args", "data_path", "protocol", "metric_decimal_place"])
def test_settings_that_must_not_be_searched(tmp_path: Path, name: str) -> None:
    assert refused_search(tmp_path, f"{name} choice [1,2]\n") == (
        f"hyper.test:1: {name}: can't be searched, as it makes no model better, but decides what is measured, where, or how it looks; "
        f"leave it out, and give it for all trials: --{name}=..."
    )


def test_a_space_that_can_not_be_read(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    for name, reason in (("missing", "No such file or directory"), ("folder", "expected a regular file, found a folder")):
        assert refused_search(tmp_path, None, f"--params_file={tmp_path / name}") == f"{name}: can't be read: {reason}"
    assert refused_search(tmp_path, b"a\xff\x00\x1b") == "hyper.test: expected UTF-8 text, found byte 0xff at position 1"


def test_no_space_at_all() -> None:
    found = gaterec("tune")
    assert found.code == 2
    assert "Missing option '--params_file'" in found.err
    assert "Traceback" not in found.err


@pytest.mark.parametrize(
    ("flags", "line"),
    [
        (["--sampler=nonsense"], "sampler: expected 'grid', 'random' or 'tpe', found 'nonsense'"),
        (["--pruner=nonsense"], "pruner: expected 'none', 'median' or 'hyperband', found 'nonsense'"),
        (["--tool=nonsense"], "tool: expected 'local' or 'Ray', found 'nonsense'"),
        (["--against=nonsense"], "against: expected 'training_time' or 'recommendation_time', found 'nonsense'"),
        (["--trials=0"], "trials: expected a number greater than or equal to 1, found 0"),
        (["--workers=0"], "workers: expected a number greater than or equal to 1, found 0"),
        (["--seeds=-1"], "seeds: expected a number greater than or equal to 0, found -1"),
        (
            ["--against=training_time", "--pruner=median"],
            "pruner: a search with two objectives can't be pruned, found median; leave --pruner or --against out",
        ),
        (["--learning_rate=0.1"], "hyper.test:1: learning_rate: is searched, and given by the command line too; leave one of them out"),
        (
            ["--eval_args={'split': {'LS': 'test_only'}}"],
            "eval_args: nothing is held out for validation under split {'LS': 'test_only'}, so there is nothing to choose by",
        ),
    ],
)
def test_options_of_a_search(tmp_path: Path, flags: list[str], line: str) -> None:
    assert refused_search(tmp_path, RATES, *flags) == line
    assert contents(tmp_path / "saved") == {}


def test_a_grid_of_a_range_without_end(tmp_path: Path) -> None:
    assert refused_search(tmp_path, "learning_rate uniform 0.1,0.2\n", "--sampler=grid") == (
        "sampler: a grid needs a space that can be counted, and learning_rate is a continuous range; "
        "give choices or quniform, or --sampler=tpe"
    )


def test_ray_is_not_installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    assert refused_search(tmp_path, RATES, "--tool=Ray") == (
        "tool: Ray is not installed; pip install 'gaterec[ray]', or leave --tool out"
    )  # fmt: skip


def test_a_storage_that_is_none(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("mine, and no database")
    (tmp_path / "folder").mkdir()
    with closing(sqlite3.connect(tmp_path / "photos.db")) as other:
        other.execute("create table photos (name text)")
        other.commit()
    for storage, line in (
        ("mine.txt", "mine.txt: can't be used: file is not a database; give another --storage"),
        ("folder", "expected a file, found the folder folder"),
        ("no/where.db", "no/where.db: can't be used: unable to open database file; give another --storage"),
        ("photos.db", "photos.db: is a database of another program (it has photos); give another --storage"),
    ):
        assert refused_search(tmp_path, RATES, f"--storage={tmp_path / storage}") == f"storage: {line}"
    assert refused_search(tmp_path, RATES, "--storage=mysql://me:secret@here/search") == (
        "storage: expected a file, or an address that begins with postgresql:// or sqlite:///, found mysql://me:***@here/search"
    )


def test_what_belongs_to_another_search(tmp_path: Path) -> None:
    out, storage = tmp_path / "out", tmp_path / "trials.db"
    space = tmp_path / "first.test"
    space.write_text("k choice [1,2]\n")
    log = write_log(tmp_path / "log.csv")
    shared = ("-m", "ItemKNN", "--seeds=1", "--eval_args={'split': {'LS': 'valid_only'}}")
    found = gaterec("tune", "-d", log, f"--params_file={space}", f"--out={out}", f"--storage={storage}", *shared, "--state=WARNING")
    assert (found.code, found.err) == (0, "note: nothing is held out for test, so the winner is not judged\n")
    assert "the best of 2 trials, on validation" in found.out
    assert "trials" not in found.out.replace("the best of 2 trials, on validation", "")
    assert "The winner's settings are in" in found.out
    assert not (out / "winner").exists()
    assert refused_search(tmp_path, "k choice [1,3]\n", f"--out={out}", *shared) == (
        'out: belongs to another search: space.k was {"choice": [1, 2]}, is {"choice": [1, 3]}; give another --out, or leave it out'
    )
    assert refused_search(tmp_path, "k choice [1,3]\n", f"--storage={storage}", *shared).startswith(
        "storage: trials.db: belongs to another search, tune-ItemKNN-log-"
    )
    (out / "search.json").write_text("{")
    assert refused_search(tmp_path, "k choice [1,2]\n", f"--out={out}", *shared).startswith("out/search.json: can't be read: ")


def test_all_trials_fail(tmp_path: Path) -> None:
    space = tmp_path / "hyper.test"
    space.write_text("learning_rate choice [900,1000]\n")
    log = write_log(tmp_path / "log.csv")
    found = gaterec("tune", "-d", log, f"--params_file={space}", f"--out={tmp_path / 'out'}", *DIVERGING)
    assert found.code == 2
    *notes, line = found.err.splitlines()
    assert line.startswith(f"gaterec: {tmp_path}/out: 2 trials, and none came to an end; the first to fail, trial 0: ")
    assert "Traceback" not in found.err
    assert notes == []
