"""Bad input through the command line: exit code 2, one clear line that says where and what to do, and nothing lost."""

import gzip
import json
import os
from pathlib import Path
from typing import Any

import pytest

from gaterec.models import MODELS
from tests.commands import TINY, gaterec, gaterec_alone, write_log

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
    content = HEADER + b"a,x,1\n" * 15 + b"a,x,n/a\n" + b"a,x,2\n"
    assert refused_file(tmp_path / "a.csv", content) == "a.csv:17: timestamp: expected a number, found 'n/a'"


def test_a_wrong_type_in_an_atomic_file(tmp_path: Path) -> None:
    content = b"user_id:token\titem_id:token\trating:float\ttimestamp:float\n" + b"a\tx\t5\t1\n" * 3 + b"a\tx\tgood\t1\n"
    assert refused_file(tmp_path / "a.inter", content) == "a.inter:5: rating: expected a number, found 'good'"


def test_too_few_fields(tmp_path: Path, good: bytes) -> None:
    lines = good.splitlines()
    lines[6] = lines[6].rpartition(b",")[0]
    assert refused_file(tmp_path / "a.csv", b"\n".join(lines)) == (
        "a.csv:7: expected 3 fields (user_id, item_id, timestamp), found 2; mend the line (fields are separated by ',')"
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
    assert refused_file(tmp_path / "a.txt", good) == "a.txt: expected a .inter, .csv, .tsv (each may be .gz) or .parquet file, found .txt"


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
    path.write_bytes(HEADER + b"a,x,1\na,x,n/a\n")
    found = gaterec_alone("run", "-d", path, cwd=tmp_path)
    assert found == (2, "", f"gaterec: {path}:3: timestamp: expected a number, found 'n/a'\n")
