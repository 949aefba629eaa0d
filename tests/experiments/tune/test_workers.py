"""Who trains the trials: a workshop, and one in a process of its own."""

import os
import re
import signal
import sys
from pathlib import Path
from typing import Any

import pytest

import gaterec.experiments.resume
from gaterec.data.prepared import prepare_log, write_prepared
from gaterec.experiments.run import run
from gaterec.experiments.setup import prepare
from gaterec.experiments.tune.workers import LocalWorker, Task, TrialFailedError, TrialRunner, WorkerLostError, shares
from tests.support.commands import write_log
from tests.support.histories import settings
from tests.support.workers import CHANGES, messages, task


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)  # states are thrown away here: never where something else lies
    own = settings(dataset=str(write_log(tmp_path / "log.csv")))
    write_prepared(prepare_log(own.dataset, own), own, tmp_path / "data")
    return tmp_path / "data"


@pytest.mark.parametrize("timed", [True, False])
def test_a_trial_is_the_training_of_a_run(data: Path, timed: bool, tmp_path: Path) -> None:
    *epochs, last = messages(TrialRunner(), task(data, timed))
    done = last["done"]
    result = run("HGN", str(data), config_dict={**CHANGES, "checkpoint_dir": str(tmp_path / "saved")})
    assert [epoch["loss"] for epoch in epochs] == [epoch["loss"] for epoch in result["epochs"]]
    assert done["valid"] == result["best_valid_result"]
    assert done["score"] == result["best_valid_score"]
    assert done["best_epoch"] == result["best_epoch"]
    assert done["curve"] == [(epoch["epoch"], epoch["valid"]["mrr@10"]) for epoch in result["epochs"]]
    assert done["training_time"] == sum(epoch["seconds"] for epoch in epochs)
    assert (done["recommendation_time"] is not None) == timed


def test_data_is_opened_once(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []

    def counting(*arguments: Any) -> Any:
        calls.append(arguments)
        return prepare(*arguments)

    monkeypatch.setattr(sys.modules["gaterec.experiments.setup"], "prepare", counting)
    workshop = TrialRunner()
    for length in (3, 4):
        messages(workshop, task(data, MAX_ITEM_LIST_LENGTH=length))
        workshop.answer({"go": False})
    assert len(calls) == 1


def test_a_trial_that_was_killed_goes_on(data: Path) -> None:
    whole_one = TrialRunner()
    whole = messages(whole_one, task(data))
    whole_one.answer({"go": False})
    killed = TrialRunner()
    first = killed.answer(task(data))
    killed._trial.close()  # type: ignore[attr-defined]  # nothing more is asked of this one
    assert first["loss"] == whole[0]["loss"]
    *rest, last = messages(TrialRunner(), task(data))
    assert [epoch["epoch"] for epoch in rest] == [2, 3]
    assert last["done"]["valid"] == whole[-1]["done"]["valid"]
    assert last["done"]["curve"] == whole[-1]["done"]["curve"]


def test_a_trial_that_is_over_leaves_no_states_and_takes_nothing_else_along(data: Path) -> None:
    workshop = TrialRunner()
    assert workshop.answer({"go": False}) == {"ended": True}  # before it has done anything
    assert data.exists()
    states = data.parent / "trials" / "0"
    workshop.answer(task(data))
    assert list(states.glob("epoch-*"))
    (states / "mine.txt").touch()
    assert workshop.answer({"go": False}) == {"ended": True}
    assert [file.name for file in states.iterdir()] == ["mine.txt"]
    (states / "mine.txt").unlink()
    workshop.answer({"go": False})
    assert not states.exists()


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"learning_rate": 1000.0, "learner": "sgd", "epochs": 100}, "diverged"),
        ({"eval_step": 0}, r"nothing was validated in 3 epochs \(eval_step is 0\)"),
        ({"learning_rate": 0.5}, "out of memory"),
    ],
)
def test_what_can_not_be_trained_fails_with_its_reason(
    data: Path, changes: dict[str, Any], reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def out_of_memory(*arguments: Any) -> Any:
        raise MemoryError

    if "memory" in reason:
        monkeypatch.setattr(gaterec.experiments.resume, "make_trainer", out_of_memory)
    workshop = TrialRunner()
    last = messages(workshop, task(data, **changes))[-1]
    assert list(last) == ["failed"]
    assert re.search(reason, last["failed"])
    workshop.answer({"go": False})
    monkeypatch.undo()
    assert "done" in messages(workshop, task(data))[-1]  # the workshop is still good


@pytest.mark.parametrize("model", ["Pop", "ItemKNN"])
def test_models_that_are_counted_have_no_epochs(data: Path, model: str) -> None:
    own = settings(dataset=str(data), model=model)
    (last,) = messages(TrialRunner(), {"begin": Task(own.as_dict(), str(data.parent / "x")).as_json()})
    assert 0 < last["done"]["score"] < 1
    assert last["done"]["curve"] == []


@pytest.mark.slow
def test_a_worker_answers_like_a_workshop_and_its_death_is_told(data: Path, tmp_path: Path) -> None:
    here = TrialRunner()
    expected = messages(here, task(data))[-1]["done"]
    here.answer({"go": False})
    cores = sorted(os.sched_getaffinity(0))[:1] if hasattr(os, "sched_getaffinity") else []
    worker = LocalWorker(1, cores, 1, tmp_path / "log")
    assert worker.name == "worker 2"
    worker.answer(task(data))
    assert worker.answer({"go": False}) == {"ended": True}
    assert messages(worker, task(data))[-1]["done"]["valid"] == expected["valid"]
    if cores:
        status = Path(f"/proc/{worker._child.pid}/status").read_text()
        assert status.split("Cpus_allowed_list:\t")[1].split()[0] == str(cores[0])
    os.kill(worker._child.pid, signal.SIGKILL)
    with pytest.raises(WorkerLostError, match=r"^was killed \(SIGKILL\)"):
        worker.answer({"go": False})
    worker.close()


def test_a_worker_that_fails_says_why(tmp_path: Path) -> None:
    worker = LocalWorker(0, [], 1, tmp_path / "log")
    with pytest.raises(TrialFailedError, match=r"^KeyError: 'go' \(see .*log\)"):
        worker.answer({"nonsense": 1})
    worker.close()


@pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="this system has no affinities")
def test_cores_are_split() -> None:
    every = sorted(os.sched_getaffinity(0))
    assert shares(1)[0] == [[]]
    split, threads = shares(len(every))
    if len(every) > 1:
        assert split == [[core] for core in every]
    assert threads == 1
    split, threads = shares(3 * len(every))  # more workers than cores share them
    assert sorted(core for cores in split for core in cores) == sorted(every * 3)
    assert threads == 1
