"""RecBole's own way in: its signature, its dictionary, and the two lines of its HGN page."""

import inspect
import json
import queue
import re
from pathlib import Path
from typing import Any

import pytest

from gaterec.errors import SettingsError
from gaterec.experiments.run import run
from gaterec.recbole import run_recbole
from tests.support.commands import write_log

FOUR = ["best_valid_score", "valid_score_bigger", "best_valid_result", "test_result"]
QUICK: dict[str, Any] = {"epochs": 1, "embedding_size": 4, "MAX_ITEM_LIST_LENGTH": 5, "state": "WARNING"}


@pytest.fixture
def log(tmp_path: Path) -> Path:
    """A log in RecBole's format, in data_path."""
    lines = write_log(tmp_path / "raw.csv").read_text().splitlines()[1:]
    (tmp_path / "tiny").mkdir()
    text = "user_id:token\titem_id:token\ttimestamp:float\n" + "".join(line.replace(",", "\t") + "\n" for line in lines)
    (tmp_path / "tiny" / "tiny.inter").write_text(text)
    return tmp_path


def chosen(log: Path, **more: Any) -> dict[str, Any]:
    return QUICK | {"data_path": str(log), "checkpoint_dir": str(log / "saved")} | more


def test_the_signature_is_recboles() -> None:
    parameters = inspect.signature(run_recbole).parameters
    assert {name: parameter.default for name, parameter in parameters.items()} == {
        "model": None,
        "dataset": None,
        "config_file_list": None,
        "config_dict": None,
        "saved": True,
        "queue": None,
    }


@pytest.mark.parametrize("loss", ["CE", "BPR"])
@pytest.mark.parametrize(
    "negatives",
    [{}, {"train_neg_sample_args": None}, {"train_neg_sample_args": {"distribution": "uniform", "sample_num": 1, "alpha": 1.0, "dynamic": False, "candidate_num": 0}}],
    ids=["default", "none", "recboles"],
)  # fmt: skip
def test_either_loss_with_or_without_negatives(log: Path, loss: str, negatives: dict[str, Any]) -> None:
    found = run_recbole(model="HGN", dataset="tiny", config_dict=chosen(log, loss_type=loss) | negatives)
    assert list(found) == FOUR
    assert isinstance(found["best_valid_score"], float)
    assert found["valid_score_bigger"] is True
    for part in ("best_valid_result", "test_result"):
        assert list(found[part]) == ["recall@10", "mrr@10", "ndcg@10", "hit@10", "precision@10"]
        assert all(type(value) is float and round(value, 4) == value for value in found[part].values())
    assert found["best_valid_score"] == found["best_valid_result"]["mrr@10"]


def test_figures_are_those_of_run_rounded(log: Path) -> None:
    exact = run("HGN", "tiny", config_dict=chosen(log))["test_result"] or {}
    found = run_recbole("HGN", "tiny", config_dict=chosen(log, metric_decimal_place=2))["test_result"]
    assert found == {name: round(value, 2) for name, value in exact.items()}
    assert found != exact


def test_files_and_a_queue(log: Path) -> None:
    (log / "a.yaml").write_text("model: HGN\ndataset: tiny\nvalid_metric: Recall@10\n")
    waiting: queue.Queue[dict[str, Any]] = queue.Queue()
    found = run_recbole(config_file_list=[str(log / "a.yaml")], config_dict=chosen(log), queue=waiting)
    assert waiting.get_nowait() == found
    assert found["best_valid_score"] == found["best_valid_result"]["recall@10"]


def test_without_validation(log: Path) -> None:
    found = run_recbole("HGN", "tiny", config_dict=chosen(log, eval_args={"split": {"LS": "test_only"}}))
    assert (found["best_valid_score"], found["best_valid_result"]) == (None, None)
    assert found["test_result"]


def test_what_cannot_be_honoured() -> None:
    with pytest.raises(SettingsError, match="worker: batches are cut from memory"):
        run_recbole("HGN", "demo", config_dict={"worker": 4})


def test_the_two_lines_of_recboles_page(datasets: Path, tmp_path: Path) -> None:
    few: dict[str, Any] = {"data_path": str(datasets), "checkpoint_dir": str(tmp_path), "epochs": 2, "embedding_size": 16, "state": "ERROR"}
    found = run_recbole(model="HGN", dataset="ml-100k", config_dict=few)
    assert list(found) == FOUR
    assert found["test_result"]["recall@10"] > 0.02, "chance is 10 of 1,682"


def test_saved_false_leaves_no_folder(log: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert run_recbole("HGN", "tiny", config_dict=chosen(log), saved=False)["test_result"]
    assert not list(tmp_path.rglob("run.json"))


def script(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> None:
    monkeypatch.setattr("sys.argv", ["script.py", *arguments])


@pytest.fixture(autouse=True)
def _a_script_without_arguments(monkeypatch: pytest.MonkeyPatch) -> None:
    script(monkeypatch)


def test_the_scripts_flags_are_settings_as_in_recbole(log: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script(monkeypatch, "--embedding_size=3", "--pooling_type=max", "--learning_rate=0.02", "--nproc=1", "--topk=[3]")
    found = run_recbole("HGN", "tiny", config_dict=chosen(log))
    assert next(iter(found["test_result"])) == "recall@3"
    (folder,) = (log / "saved").glob("HGN-*")
    settings = json.loads((folder / "run.json").read_text())["settings"]
    assert (settings["embedding_size"], settings["pooling_type"], settings["learning_rate"]) == (3, "max", 0.02)


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["--learning_rate=-1"], "command line: learning_rate: expected a number greater than 0, found -1"),
        (["--hidden_size=8"], "command line: hidden_size is a setting of "),
        (["--nproc=2"], "command line: nproc: gaterec trains in one process; leave it out (found 2)"),
        (["--seed=1", "--seed=2"], "command line: --seed is there twice, with 1 and with 2; leave one out"),
    ],
)
def test_the_scripts_flags_that_are_refused(log: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], line: str) -> None:
    script(monkeypatch, *arguments)
    with pytest.raises(SettingsError, match=re.escape(line)):
        run_recbole("HGN", "tiny", config_dict=chosen(log))


def test_what_is_no_setting_among_the_scripts_arguments_is_passed_over_with_a_warning(log: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script(monkeypatch, "m.seed=3", "--mine=3", "word", "--epochs", "2", "--seed=1")
    line = r"^command line: not settings, and passed over: 'm.seed=3 --mine=3 word --epochs 2'; a setting is written --name=value$"
    with pytest.warns(UserWarning, match=line):
        assert run_recbole("Pop", "tiny", config_dict={"data_path": str(log), "checkpoint_dir": str(log / "saved"), "state": "ERROR"})


def test_a_notebook_has_no_arguments(log: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", ["ipykernel_launcher.py", "-f", "--seed=x"])
    assert run_recbole("Pop", "tiny", config_dict={"data_path": str(log), "checkpoint_dir": str(log / "saved"), "state": "ERROR"})
