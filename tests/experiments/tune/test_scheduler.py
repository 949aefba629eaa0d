"""Who leads a search: every trial is kept once, whatever becomes of its worker; what is stopped, what is pruned, what is told."""

import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from gaterec.errors import RunError, SettingsError
from gaterec.experiments.tune.live_table import SearchTable
from gaterec.experiments.tune.scheduler import ATTEMPTS, Scheduler
from gaterec.experiments.tune.search_space import Space, read_space
from gaterec.experiments.tune.study import Study, storage_address
from gaterec.experiments.tune.trials import Trial
from gaterec.experiments.tune.workers import Message, Task, TrialFailedError, WorkerLostError
from gaterec.io.console import Terminal
from tests.support.histories import settings

pytestmark = pytest.mark.slow

RATES = read_space({"learning_rate": [0.1, 0.2, 0.3, 0.4, 0.5, 0.6]})
PATIENCE = 20
"""Seconds after which a test has failed that waits for another thread."""

Play = Callable[["Scripted", int, int], Iterator[Message]]
"""What a worker answers in a trial, from the worker, the trial's number and how often the trial was begun before."""


def epoch(number: int, value: float | None = None) -> Message:
    return {"epoch": number, "loss": 0.5, "seconds": 1.0, "valid": None if value is None else {"mrr@10": value}}


def done(score: float, **changes: Any) -> Message:
    found = {"score": score, "valid": {"mrr@10": score}, "best_epoch": 1, "curve": [(1, score)], "training_time": 7.0}
    return {"done": {**found, "recommendation_time": 0.25, **changes}}


def usual(worker: "Scripted", number: int, attempt: int) -> Iterator[Message]:
    """An epoch, and the score is the trial's number."""
    yield epoch(1, number)
    yield done(number)


@dataclass
class Scripted:
    """A worker that plays a part."""

    office: "Office"
    slot: int
    name: str
    closed: threading.Event = field(default_factory=threading.Event)

    def answer(self, request: Message) -> Message:
        if "begin" in request:
            self.number = request["begin"]["settings"]["number"]
            attempt = sum(trial == self.number for trial, _, _ in self.office.begun)
            self.office.begun.append((self.number, self.name, request["begin"]))
            self._part = self.office.play(self, self.number, attempt)
        elif not request["go"]:
            self.office.let_go(self)
            return {"ended": True}
        return next(self._part)

    def wait(self) -> Message:
        """Train for ever, or until it is closed."""
        assert self.closed.wait(PATIENCE)
        raise WorkerLostError("was killed (SIGKILL)")

    def close(self) -> None:
        self.closed.set()


class Office:
    """Hires workers that all play the same part, and remembers what they were asked."""

    def __init__(self, play: Play = usual) -> None:
        self.play = play
        self.workers: list[Scripted] = []
        self.begun: list[tuple[int, str, Message]] = []
        self.over: list[tuple[int, str]] = []  # of each trial that a worker was told to let go of: its number, and its state in the study
        self.study: Study | None = None

    def hire(self, slot: int) -> Scripted:
        worker = Scripted(self, slot, f"worker {len(self.workers) + 1}")
        self.workers.append(worker)
        return worker

    def let_go(self, worker: Scripted) -> None:
        if self.study is not None:  # with a single worker alone, as a study is for one thread at a time
            self.over.append((worker.number, self.study.trials()[worker.number].state))


class Seen(SearchTable):
    """A display that prints nothing and remembers."""

    def __init__(self) -> None:
        super().__init__(Terminal(settings(state="ERROR")), "MRR@10", True, 6, 3, 1)
        self.notes: list[str] = []
        self.ended: list[int] = []

    def note(self, text: str) -> None:
        self.notes.append(text)

    def end(self, trial: Trial) -> None:
        super().end(trial)
        self.ended.append(trial.number)


def task(trial: Trial) -> Task:
    return Task({"number": trial.number, **dict(trial.chosen)}, f"states/{trial.number}")


@dataclass
class Led:
    """A search in a folder; `lead` may be called again, as a command is given again."""

    folder: Path
    office: Office
    seen: Seen = field(default_factory=Seen)

    def lead(self, space: Space = RATES, limit: int = 6, workers: int = 1, **changes: Any) -> list[Trial]:
        """Search to the end, and give all trials; whatever comes of it, no thread is left."""
        how = {name: changes.pop(name) for name in ("sampler", "pruner", "bigger") if name in changes}
        usually: dict[str, Any] = {"sampler": "grid", "pruner": "none", "bigger": True, "seed": 1, "epochs": 3}
        address, alone = storage_address(None, self.folder)
        study = Study(address, "a", {}, space, costs=changes.get("against") is not None, alone=alone, **(usually | how))
        self.office.study = study if workers == 1 else None
        content: dict[str, Any] = {"against": None, "pruning": False, "early_stop": None, "task_of": task, "hire": self.office.hire}
        content |= {"metric": "mrr@10", "bigger": how.get("bigger", True), "live": self.seen} | changes
        before = set(threading.enumerate())
        try:
            Scheduler(study, workers=workers, limit=limit, **content).run()
            return study.trials()
        finally:
            assert set(threading.enumerate()) <= before
            study.close()

    def kept(self, space: Space = RATES) -> list[Trial]:
        """The trials as the next one to open the storage will see them."""
        address, alone = storage_address(None, self.folder)
        study = Study(address, "a", {}, space, sampler="grid", pruner="none", seed=1, bigger=True, costs=False, epochs=3, alone=alone)
        try:
            return study.trials()
        finally:
            study.close()


@pytest.fixture
def led(tmp_path: Path) -> Callable[..., Led]:
    return lambda play=usual: Led(tmp_path, Office(play))


Start = Callable[..., Led]


def states(trials: Sequence[Trial]) -> list[str]:
    return [trial.state for trial in trials]


# -- all trials -------------------------------------------------------------------------------------------------------------------


def test_every_trial_is_kept_once(led: Start) -> None:
    one = led()
    trials = one.lead()
    assert [(trial.number, trial.state, trial.score) for trial in trials] == [(number, "done", number) for number in range(6)]
    assert [trial.chosen for trial in trials] == list(RATES.points())
    first = replace(trials[1], seconds=0.0)
    valid = {"mrr@10": 1}
    assert first == Trial(1, "done", {"learning_rate": 0.2}, 1, None, valid, 1, [(1, 1)], 0.0, "", "worker 1")
    assert one.office.begun[1] == (1, "worker 1", {"settings": {"number": 1, "learning_rate": 0.2}, "states": "states/1", "timed": False})
    assert one.seen.ended == list(range(6))
    assert one.kept() == trials
    assert len(one.office.workers) == 1
    assert one.office.workers[0].closed.is_set()


def test_a_search_that_is_done_hires_nobody_and_more_trials_go_on(led: Start) -> None:
    one = led()
    before = one.lead(limit=2)
    assert len(before) == 2
    assert one.lead(limit=2) == before
    assert len(one.office.workers) == 1
    after = one.lead(limit=5)
    assert after[:2] == before
    assert [number for number, _, _ in one.office.begun] == [0, 1, 2, 3, 4]


def test_several_workers_share_the_trials(led: Start) -> None:
    together = threading.Barrier(3)

    def meeting(worker: Scripted, number: int, attempt: int) -> Iterator[Message]:
        together.wait(PATIENCE)  # three trials run at a time, or this one fails
        yield from usual(worker, number, attempt)

    one = led(meeting)
    trials = one.lead(workers=3)
    assert [(trial.state, trial.score) for trial in trials] == [("done", number) for number in range(6)]
    assert sorted(number for number, _, _ in one.office.begun) == list(range(6))
    assert sorted(worker.slot for worker in one.office.workers) == [0, 1, 2]
    assert {trial.worker for trial in trials} == {"worker 1", "worker 2", "worker 3"}


def test_a_worker_lets_go_of_a_trial_when_it_is_kept_and_not_before(led: Start) -> None:
    def one_fails(worker: Scripted, number: int, attempt: int) -> Iterator[Message]:
        yield epoch(1, number)
        yield {"failed": "diverged"} if number == 1 else done(number)

    one = led(one_fails)
    one.lead(limit=3)
    assert one.office.over == [(0, "done"), (1, "failed"), (2, "done")]


def test_a_worker_that_is_lost_when_it_is_to_let_go_is_replaced(led: Start) -> None:
    one = led()

    def lost(worker: Scripted) -> None:
        raise WorkerLostError("was killed (SIGKILL)")

    one.office.let_go = lost  # type: ignore[method-assign]
    trials = one.lead(limit=2)
    assert [(trial.state, trial.worker) for trial in trials] == [("done", "worker 1"), ("done", "worker 2")]


def test_what_is_weighed_against_quality(led: Start) -> None:
    assert [trial.cost for trial in led().lead(limit=1, against="training_time")] == [7.0]


def test_the_other_cost(led: Start) -> None:
    assert [trial.cost for trial in led().lead(limit=1, against="recommendation_time")] == [0.25]


def test_without_a_second_objective_there_is_no_cost(led: Start) -> None:
    assert [trial.cost for trial in led().lead(limit=1)] == [None]


# -- what goes wrong --------------------------------------------------------------------------------------------------------------


def test_a_trial_whose_worker_is_lost_is_run_again_under_its_number(led: Start) -> None:
    def lost_once(worker: Scripted, number: int, attempt: int) -> Iterator[Message]:
        yield epoch(1, number)
        if number == 1 and attempt == 0:
            raise WorkerLostError("was killed (SIGKILL)")
        yield done(number)

    one = led(lost_once)
    trials = one.lead(limit=3)
    assert states(trials) == ["done"] * 3
    assert [(number, name) for number, name, _ in one.office.begun] == [
        (0, "worker 1"), (1, "worker 1"), (1, "worker 2"), (2, "worker 2"),
    ]  # fmt: skip
    assert one.office.begun[1][2] == one.office.begun[2][2]  # the same folder of states, so that it goes on from there
    assert one.office.workers[0].closed.is_set()
    assert one.seen.notes == ["trial 1: its worker was killed (SIGKILL); it is run again"]


def test_a_trial_that_loses_every_worker_before_its_first_epoch_is_the_cause_of_it(led: Start) -> None:
    def deadly(worker: Scripted, number: int, attempt: int) -> Iterator[Message]:
        if number == 0:
            raise WorkerLostError("was killed (SIGKILL)")
        yield done(number)

    one = led(deadly)
    trials = one.lead(limit=2)
    assert states(trials) == ["failed", "done"]
    assert trials[0].reason == f"its worker was killed (SIGKILL), {ATTEMPTS} times in a row"
    assert trials[0].worker == f"worker {ATTEMPTS}"
    assert len(one.seen.notes) == ATTEMPTS - 1


def test_losses_with_an_epoch_in_between_are_bad_luck(led: Start) -> None:
    def unlucky(worker: Scripted, number: int, attempt: int) -> Iterator[Message]:
        if attempt < 3 * ATTEMPTS:
            if attempt % (ATTEMPTS - 1):  # every second attempt gets somewhere
                yield epoch(1)
            raise WorkerLostError("was lost (another machine)")
        yield done(number)

    one = led(unlucky)
    assert states(one.lead(limit=1)) == ["done"]
    assert len(one.seen.notes) == 3 * ATTEMPTS


def test_a_worker_that_ends_by_itself_fails_its_trial_alone(led: Start) -> None:
    def broken(worker: Scripted, number: int, attempt: int) -> Iterator[Message]:
        if number == 1:
            raise TrialFailedError("ZeroDivisionError: division by zero (see 1.log)")
        yield done(number)

    one = led(broken)
    trials = one.lead(limit=3)
    assert [(trial.state, trial.worker) for trial in trials] == [("done", "worker 1"), ("failed", "worker 1"), ("done", "worker 2")]
    assert trials[1].reason == "ZeroDivisionError: division by zero (see 1.log)"
    assert one.office.workers[0].closed.is_set()
    assert one.seen.notes == []


def test_a_trial_that_a_worker_says_failed(led: Start) -> None:
    def diverged(worker: Scripted, number: int, attempt: int) -> Iterator[Message]:
        yield epoch(1, 0.5)
        yield {"failed": "the loss is not finite"}

    one = led(diverged)
    trials = one.lead(limit=2)
    assert [(trial.state, trial.reason, trial.score) for trial in trials] == [("failed", "the loss is not finite", None)] * 2
    assert len(one.office.workers) == 1


def test_values_that_do_not_go_together_need_no_worker(led: Start) -> None:
    def choosy(trial: Trial) -> Task:
        if trial.number < 2:
            raise SettingsError("k: HGN does not have it")
        return task(trial)

    one = led()
    trials = one.lead(limit=3, task_of=choosy)
    assert [(trial.state, trial.reason) for trial in trials] == [("failed", "k: HGN does not have it")] * 2 + [("done", "")]
    assert [number for number, _, _ in one.office.begun] == [2]


@pytest.mark.parametrize("workers", [1, 3])
def test_when_no_worker_can_be_had_the_search_ends(led: Start, workers: int) -> None:
    one = led(lambda worker, number, attempt: iter([worker.wait()]))

    def hire(slot: int) -> Scripted:
        if slot == workers - 1:
            raise RunError("worker.log: can't be written: No space left on device")
        return one.office.hire(slot)

    with pytest.raises(RunError, match=r"^worker\.log: can't be written: No space left on device$"):
        one.lead(workers=workers, hire=hire)
    assert set(states(one.kept())) == {"running"}
    assert all(worker.closed.is_set() for worker in one.office.workers)


# -- pruning ----------------------------------------------------------------------------------------------------------------------


def one_is_hopeless(worker: Scripted, number: int, attempt: int) -> Iterator[Message]:
    """The median pruner lets five trials pass; the sixth lies below their median from the second epoch on."""
    for at, value in enumerate((0.1, 0.2, 0.3) if number < 5 else (0.15, 0.12, 0.13), start=1):
        yield epoch(at, value)
    yield done(0.3)


def test_a_hopeless_trial_is_ended(led: Start) -> None:
    one = led(one_is_hopeless)
    trials = one.lead(pruner="median", pruning=True)
    assert states(trials) == ["done"] * 5 + ["pruned"]
    curve = [(1, 0.15), (2, 0.12)]
    pruned = replace(trials[5], seconds=0.0)
    assert pruned == Trial(5, "pruned", {"learning_rate": 0.6}, 0.15, None, {}, 1, curve, 0.0, "after epoch 2", "worker 1")
    assert one.office.over[5] == (5, "pruned")
    assert len(one.office.workers) == 1  # it is told to let go, and lives


def test_nothing_is_pruned_unless_that_is_on(led: Start) -> None:
    assert states(led(one_is_hopeless).lead(pruner="median")) == ["done"] * 6


def test_the_best_epoch_of_a_pruned_trial_where_less_is_better(led: Start) -> None:
    def less_is_better(worker: Scripted, number: int, attempt: int) -> Iterator[Message]:
        yield epoch(1, 0.5 if number < 5 else 0.3)
        yield epoch(2, None)  # not validated
        yield epoch(3, 0.2 if number < 5 else 0.4)
        yield done(0.2)

    trials = led(less_is_better).lead(pruner="median", pruning=True, bigger=False)
    assert states(trials) == ["done"] * 5 + ["pruned"]
    assert (trials[5].best_epoch, trials[5].score, trials[5].curve) == (1, 0.3, [(1, 0.3), (3, 0.4)])


@pytest.mark.parametrize("told_again", [[], [epoch(1, 0.15)]])
def test_a_trial_that_goes_on_after_a_kill_keeps_its_earlier_curve(led: Start, told_again: list[Message]) -> None:
    def killed(worker: Scripted, number: int, attempt: int) -> Iterator[Message]:
        if number < 5:
            yield from one_is_hopeless(worker, number, attempt)
        if attempt == 0:
            yield epoch(1, 0.15)
            raise WorkerLostError("was killed (SIGKILL)")
        yield from told_again
        yield epoch(2, 0.12)

    pruned = led(killed).lead(pruner="median", pruning=True)[5]
    assert (pruned.state, pruned.best_epoch, pruned.curve) == ("pruned", 1, [(1, 0.15), (2, 0.12)])


# -- when to stop -----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("bigger", "scores"), [(True, [0.2, 0.5, 0.4, 0.5, 0.1, 0.9]), (False, [0.5, 0.2, 0.4, 0.2, 0.6, 0.1])])
def test_the_search_stops_after_so_many_trials_behind_the_best(led: Start, bigger: bool, scores: list[float]) -> None:
    def scored(worker: Scripted, number: int, attempt: int) -> Iterator[Message]:
        yield done(scores[number])

    one = led(scored)
    assert len(one.lead(early_stop=3, bigger=bigger)) == 5  # trial 3 is no better than trial 1
    assert len(one.lead(early_stop=3, bigger=bigger)) == 5
    assert len(one.lead(early_stop=4, bigger=bigger)) == 6


def test_without_early_stop_it_goes_on(led: Start) -> None:
    def worse_and_worse(worker: Scripted, number: int, attempt: int) -> Iterator[Message]:
        yield done(-number)

    assert len(led(worse_and_worse).lead()) == 6


def test_failed_trials_stop_nothing(led: Start) -> None:
    def failing(worker: Scripted, number: int, attempt: int) -> Iterator[Message]:
        yield {"failed": "diverged"} if number != 1 else done(0.5)

    assert states(led(failing).lead(early_stop=1)) == ["failed", "done", "failed", "failed", "failed", "failed"]


# -- the same point ---------------------------------------------------------------------------------------------------------------


def test_the_same_point_is_not_trained_again(led: Start) -> None:
    space = read_space({"learning_rate": [0.1, 0.2]})
    one = led()
    trials = one.lead(space, limit=6, sampler="tpe")  # which draws points again, unlike the others
    assert len(trials) == 6
    assert len(one.office.begun) == len({trial.chosen["learning_rate"] for trial in trials}) <= 2
    trained = {trial.chosen["learning_rate"]: trial for trial in trials if not trial.reason}
    for trial in trials:
        if trial.reason:
            twin = trained[trial.chosen["learning_rate"]]
            assert trial == replace(twin, number=trial.number, seconds=0.0, reason=f"the same point as trial {twin.number}")


# -- Ctrl+C -----------------------------------------------------------------------------------------------------------------------


class Interrupting(threading.Thread):
    """A thread in whose joining Ctrl+C is pressed once all workers are at work."""

    at_work: threading.Semaphore
    needed: int

    def join(self, timeout: float | None = None) -> None:
        if timeout is not None and Interrupting.needed:
            for _ in range(Interrupting.needed):
                assert Interrupting.at_work.acquire(timeout=PATIENCE)
            Interrupting.needed = 0
            raise KeyboardInterrupt
        super().join(timeout)


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("before", [0, ATTEMPTS - 1])
@pytest.mark.parametrize("end", [WorkerLostError, TrialFailedError])
def test_ctrl_c(led: Start, monkeypatch: pytest.MonkeyPatch, workers: int, before: int, end: type[Exception]) -> None:
    Interrupting.at_work, Interrupting.needed = threading.Semaphore(0), workers

    def endless(worker: Scripted, number: int, attempt: int) -> Iterator[Message]:
        if attempt < before:
            raise WorkerLostError("was killed (SIGKILL)")
        Interrupting.at_work.release()
        assert worker.closed.wait(PATIENCE)
        raise end("was killed (SIGKILL)")  # the end that Ctrl+C gave it is not the trial's fault
        yield

    one = led(endless)
    with monkeypatch.context() as patch:
        patch.setattr("gaterec.experiments.tune.scheduler.threading.Thread", Interrupting)
        with pytest.raises(KeyboardInterrupt):
            one.lead(workers=workers)
    assert states(one.kept()) == ["running"] * workers
    assert all(worker.closed.is_set() for worker in one.office.workers)
    assert len(one.seen.notes) == before * workers
    one.office.play, one.office.begun = usual, []
    assert states(one.lead()) == ["done"] * 6
    assert [number for number, _, _ in one.office.begun] == list(range(6))


def test_a_worker_that_is_hired_when_the_search_is_over_is_closed(led: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    Interrupting.at_work, Interrupting.needed = threading.Semaphore(0), 1
    over = threading.Event()
    one = led(lambda worker, number, attempt: iter([worker.wait()]))

    def hire(slot: int) -> Scripted:
        Interrupting.at_work.release()
        assert over.wait(PATIENCE)
        return one.office.hire(slot)

    end = Scheduler._end

    def ending(leader: Scheduler) -> None:
        end(leader)
        over.set()

    monkeypatch.setattr(Scheduler, "_end", ending)
    monkeypatch.setattr("gaterec.experiments.tune.scheduler.threading.Thread", Interrupting)
    with pytest.raises(KeyboardInterrupt):
        one.lead(hire=hire)
    assert one.office.workers[0].closed.is_set()
    assert states(one.kept()) == ["running"]


def test_the_score_of_a_pruned_trial_is_never_the_best_one(led: Start) -> None:
    def play(worker: Scripted, number: int, attempt: int) -> Iterator[Message]:
        yield epoch(1, 9.0 if number == 1 else 0.1)
        yield done({0: 0.5, 2: 0.6}.get(number, 0.1))

    one = led(play)
    one.lead(limit=4)
    trials = [replace(trial, state="pruned", score=9.0) if trial.number == 1 else trial for trial in one.lead(limit=4)]
    stale = Scheduler._stale(SimpleNamespace(early_stop=2, bigger=True, study=SimpleNamespace(trials=lambda: trials)))  # type: ignore[arg-type]
    assert not stale  # after trial 2, the best one that is done, there is one more
