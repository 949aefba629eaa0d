"""A comparison: one split, one table; what was killed goes on to the same figures, what failed is told and tried again."""

import importlib
import json
import os
import shlex
import signal
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import polars as pl
import pytest

import gaterec
from gaterec.errors import DataError, RunError, SettingsError
from gaterec.experiments.compare import run_process as cells
from gaterec.io import processes
from gaterec.io.files import only_one
from tests.support.commands import LIGHT, gaterec_alone, write_log
from tests.support.commands import gaterec as command
from tests.support.histories import settings
from tests.support.pages import Page

pytestmark = pytest.mark.slow

CHILD = processes._START.replace("from MODULE", f"{LIGHT}from MODULE")
SLOW = CHILD.replace(
    LIGHT,
    f"{LIGHT}import time; import gaterec.training.trainer as train; plain = train.Trainer._train; "
    "train.Trainer._train = lambda *arguments: (time.sleep(0.1), plain(*arguments))[1]; ",
)
"""A run that is still busy when the comparison hears of its third epoch."""
KILLED = f"""{LIGHT}
import importlib, os, signal
import gaterec.io.processes
gaterec.io.processes._START = {SLOW!r}
module = importlib.import_module("gaterec.experiments.compare.compare")
plain = module.follow
def follow(cell):
    for number, entry in enumerate(plain(cell)):
        if number == 2:
            os.kill(os.getpid(), signal.SIGKILL)
        yield entry
module.follow = follow
from gaterec.cli.app import main
main()
"""
"""A comparison that is killed in the third epoch of its first run."""
SETTINGS = ("--epochs=40", "--stopping_step=50", "--embedding_size=4", "--MAX_ITEM_LIST_LENGTH=5", "--loss_type=BPR", "--topk=[5,10]")
MODELS = "--models=HGN,Pop"
TIMES = ("training_seconds", "training_seconds_to_best", "seconds_per_1000", "peak_memory", "run")


@pytest.fixture(scope="module", autouse=True)
def light() -> Iterator[None]:
    with patch.object(processes, "_START", CHILD):
        yield


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_log(tmp_path_factory.mktemp("log") / "tiny_log.csv", people=60)


@pytest.fixture(scope="module")
def whole(log: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A comparison that nothing disturbed, and what it printed."""
    out = tmp_path_factory.mktemp("whole") / "out"
    more = (f"--valid_latex={out}/v.tex", f"--test_latex={out}/t.tex")
    found = command("compare", MODELS, "-d", log, "--seeds=2", f"--out={out}", *SETTINGS, *more)
    assert found.code == 0, found.err
    return out, found.out


def figures(out: Path) -> pl.DataFrame:
    return pl.read_parquet(out / "results.parquet").drop(TIMES)


def test_all_is_told(whole: tuple[Path, str]) -> None:
    printed = whole[1]
    assert "[4/4] Pop, seed 2021: " in printed
    assert "leave-one-out" in printed
    assert "Audit: " in printed
    assert printed.index("Audit: ") < printed.index("[1/4]")
    assert "standard deviation over seeds" in printed
    assert "on MRR@10" in printed  # a sentence about HGN and Pop


def test_the_files_hold_the_figures(whole: tuple[Path, str]) -> None:
    out, _ = whole
    table = pl.read_parquet(out / "results.parquet")
    assert set(table["entry"]) == {"HGN", "Pop"}
    assert set(table["status"]) == {"done"}
    assert set(table["seed"]) == {2020, 2021}
    run = json.loads((out / "runs" / table["run"][0] / "run.json").read_text())
    row = table.filter((pl.col("run") == table["run"][0]) & (pl.col("part") == "test") & (pl.col("metric") == "ndcg@10"))
    assert row["value"].to_list() == [run["test"]["ndcg@10"]]
    assert row["training_seconds"][0] == sum(epoch["seconds"] for epoch in run["epochs"])
    assert table.filter(pl.col("entry") == "HGN")["peak_memory"].min() > 2**26  # type: ignore[operator]
    mean = table.filter((pl.col("entry") == "HGN") & (pl.col("part") == "test") & (pl.col("metric") == "ndcg@10"))["value"]
    shown = f"{np.mean(mean.to_numpy()):.4f} ± {np.std(mean.to_numpy(), ddof=1):.4f}"
    assert shown in (out / "results.md").read_text()
    about = json.loads((out / "comparison.json").read_text())
    assert about["seeds"] == [2020, 2021]
    assert about["not done"] == []
    assert len(about["tests"]) == 3
    assert about["settings"]["HGN"]["embedding_size"] == 4
    assert not list(out.glob(".*"))


def test_latex_of_both_parts(whole: tuple[Path, str]) -> None:
    out, _ = whole
    test, valid = (out / "t.tex").read_text(), (out / "v.tex").read_text()
    assert test == (out / "results.tex").read_text() != valid
    assert "tiny\\_log" in test
    assert "\\toprule" in test
    assert "\\textbf{" in test
    assert "\\underline{" in test
    assert test.count("&") == test.count("\\\\") * 10


def test_the_page_is_whole_and_loads_nothing(whole: tuple[Path, str]) -> None:
    source = (whole[0] / "comparison.html").read_text()
    page = Page(source)
    charts = [chart["description"] for chart in page.charts()]
    assert charts[:3] == ["MRR@10 by training time", "NDCG@10 by history length", "NDCG@10 by item popularity"]
    for _, attributes in page.elements:
        assert not {"src", "href", "srcset", "action"} & attributes.keys()
    for words in ("Which is better", "each person", "leave-one-out", "Memory", "gaterec compare"):
        assert words in page.text


def test_a_finished_comparison_is_not_trained_again(whole: tuple[Path, str], log: Path) -> None:
    out, _ = whole
    before = {path: path.stat().st_mtime_ns for path in out.glob("runs/*/*")}
    found = command("compare", MODELS, "-d", log, "--seeds=2", f"--out={out}", *SETTINGS)
    assert "4 of 4 runs are finished already" in found.out
    assert {path: path.stat().st_mtime_ns for path in out.glob("runs/*/*")} == before


def children(out: Path) -> list[int]:
    """The processes that run a cell of this comparison."""
    found = []
    for place in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            line = place.read_bytes().decode(errors="replace")
        except OSError:
            continue
        if "gaterec.experiments.compare.run_process" in line and str(out) in line:
            found.append(int(place.parent.name))
    return found


def until(reached: Callable[[], Any], seconds: float = 60) -> Any:
    end = time.monotonic() + seconds
    while not (found := reached()) and time.monotonic() < end:
        time.sleep(0.005)
    assert found
    return found


@pytest.mark.skipif(sys.platform != "linux", reason="looks for processes in /proc")
def test_killed_midway_it_goes_on_to_the_same_figures(
    whole: tuple[Path, str], log: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """First the whole comparison is killed, then it is interrupted, then one run of it is killed; after each it goes on."""
    out, plain, module = tmp_path / "out", cells.follow, importlib.import_module("gaterec.experiments.compare.compare")
    arguments = ("compare", MODELS, "-d", log, "--seeds=1", f"--out={out}", *SETTINGS)

    def interrupted(cell: cells.RunSpec, signals: Callable[[], object], epochs: int = 2) -> Iterator[dict[str, Any]]:
        """Epochs of a run, and something that happens after so many."""
        for number, entry in enumerate(plain(cell)):
            yield entry
            if number == epochs and cell.label == "HGN":
                signals()

    monkeypatch.setattr(processes, "_START", SLOW)
    assert gaterec_alone(*arguments, program=KILLED).code == -signal.SIGKILL
    until(lambda: not children(out))

    monkeypatch.setattr(module, "follow", lambda cell: interrupted(cell, lambda: signal.raise_signal(signal.SIGINT)))
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # the processes that run tests side by side ignore it
    found = command(*arguments)
    signal.signal(signal.SIGINT, before)
    assert found.code == 130
    assert found.err.splitlines()[-1] == "gaterec: stopped; the same command goes on from there"
    assert not children(out)
    assert "Going on after epoch" in next(out.glob("runs/HGN-*.log")).read_text()

    monkeypatch.setattr(module, "follow", lambda cell: interrupted(cell, lambda: os.kill(children(out)[0], signal.SIGKILL)))
    found = command(*arguments)
    assert found.code == 1
    assert "HGN, seed 2020: failed: was killed (SIGKILL)" in found.err
    assert figures(out).filter(pl.col("status") != "done").select("entry", "seed").rows() == [("HGN", 2020)]
    assert figures(out).filter(pl.col("status") == "done")["entry"].unique().to_list() == ["Pop"]
    assert "0 of 1" in (out / "results.md").read_text()

    monkeypatch.undo()
    assert command(*arguments).code == 0
    assert "Going on after epoch" in next(out.glob("runs/HGN-*.log")).read_text()
    assert figures(out).equals(figures(whole[0]).filter(pl.col("seed") == 2020))


def test_two_comparisons_do_not_write_into_one_folder(log: Path, tmp_path: Path) -> None:
    with only_one(tmp_path), pytest.raises(RunError, match="another process is writing there"):
        gaterec.compare("Pop", log, out=tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_run_that_diverges_is_told_though_nothing_else_is_left(log: Path, tmp_path: Path) -> None:
    models = "--models=HGN(learner=sgd,learning_rate=1000.0,epochs=30)"
    found = command("compare", models, "-d", log, "--seeds=1", f"--out={tmp_path}", "--MAX_ITEM_LIST_LENGTH=5")
    assert found.code == 1
    assert "diverged" in found.err
    assert "diverged" in pl.read_parquet(tmp_path / "results.parquet")["status"].item()
    assert "diverged" in (tmp_path / "comparison.html").read_text()


def test_mistakes_are_told_before_anything_is_trained(log: Path, tmp_path: Path) -> None:
    found = command("compare", "--models=HGN,SASRek", "-d", log, f"--out={tmp_path}")
    assert (found.code, found.err.count("\n")) == (2, 1)
    assert "did you mean SASRec?" in found.err
    with pytest.raises(SettingsError, match="seeds: expected how many"):
        gaterec.compare("Pop", log, seeds=0, out=tmp_path)
    with pytest.raises(SettingsError, match="nothing is held out for test"):
        gaterec.compare("Pop", log, config_dict={"eval_args": {"split": {"LS": "valid_only"}}}, out=tmp_path)
    two = pl.DataFrame({"user_id": ["a", "b"], "item_id": ["x", "y"], "timestamp": [1, 2]})
    with pytest.raises(DataError, match="nobody has two events"):
        gaterec.compare("Pop", two, out=tmp_path)
    (tmp_path / "file").touch()
    with pytest.raises(RunError, match=r"^test_latex: .*there is a file where a folder should be"):
        gaterec.compare("Pop", log, out=tmp_path / "out", test_latex=tmp_path / "file" / "test.tex")
    with pytest.raises(RunError, match=r"^test_latex: .*expected a regular file, found a folder"):
        gaterec.compare("Pop", log, out=tmp_path / "out", test_latex=tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_another_log_in_the_same_folder_is_refused(whole: tuple[Path, str], tmp_path: Path) -> None:
    other = write_log(tmp_path / "other.csv", seed=1)
    with pytest.raises(DataError, match="holds another log"):
        gaterec.compare("Pop", other, out=whole[0])


def test_a_protocol_that_was_changed_is_not_told_under_its_name_alone() -> None:
    named = importlib.import_module("gaterec.experiments.compare.compare")._named_protocol
    assert named("paper", settings(protocol="paper")) == "Protocol: paper."
    assert (
        named("paper", settings(protocol="paper", topk=[10], eval_args={"mode": "uni100"}))
        == "Protocol: paper, but for its eval_args and topk."
    )


def test_the_command_that_is_told_makes_the_same_comparison_again() -> None:
    command_of = importlib.import_module("gaterec.experiments.compare.compare")._command
    shared = [("a.yaml", {"epochs": 3, "dataset": "other", "topk": [5]}), ("command line", {"epochs": 4, "data_path": "my logs"})]
    told = command_of({"A": "HGN(dropout=0.1)", "B": "Pop"}, shared, "my log.csv", [4, 5], True, "out folder")
    flags = ["--models=HGN(dropout=0.1),Pop", "--dataset=my log.csv", "--seeds=[4,5]", "--epochs=4", "--topk=[5]", "--data_path=my logs"]
    assert shlex.split(told) == ["gaterec", "compare", *flags, "--out=out folder", "--ablation"]
    assert command_of("Pop", [], "demo", [1], False, None) == "gaterec compare --models=Pop --dataset=demo --seeds='[1]'"


def test_a_frame_in_python(log: Path, tmp_path: Path) -> None:
    result = gaterec.compare(iter(["Pop"]), pl.read_csv(log), config_dict={"protocol": "paper", "checkpoint_dir": str(tmp_path)}, seeds=[7])
    assert result["folder"].parent == tmp_path
    assert result["folder"].name.startswith("compare-frame-")
    assert result["protocol"][0] == "Protocol: paper."
    assert result["failed"] == []
    assert set(result["table"]["seed"]) == {7}
    assert result["sentences"] == []
    about = json.loads((result["folder"] / "comparison.json").read_text())
    assert about["title"] == "frame: 1 entry, 1 seed"
    assert f"--models=Pop --dataset={result['folder'] / 'data'} " in about["command"]
