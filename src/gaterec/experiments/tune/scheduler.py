"""Leads a search: asks the study what to try, hands it to workers, and tells the study what came of it. One thread per worker, which mostly waits."""

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from gaterec.errors import GaterecError
from gaterec.experiments.tune.live_table import SearchTable
from gaterec.experiments.tune.options import Against
from gaterec.experiments.tune.study import Study
from gaterec.experiments.tune.trials import Trial
from gaterec.experiments.tune.workers import Task, TrialFailedError, Worker, WorkerLostError

ATTEMPTS = 3
"""A trial whose worker was lost so many times without a single epoch in between is taken for the cause of it."""


@dataclass
class Scheduler:
    """A search under way.

    Attributes:
        study: its memory.
        task_of: what a worker has to know of a trial; raises GaterecError for one that can't be trained.
        hire: gives a worker by its slot, 0 and on.
        workers: how many at a time.
        limit: how many trials there are to be.
        metric: "mrr@10", say; bigger: whether more of it is better.
        against: what is weighed against it.
        pruning: whether hopeless trials are ended.
        early_stop: end after so many trials without a better one; None never.
        live: shows what happens.
    """

    study: Study
    task_of: Callable[[Trial], Task]
    hire: Callable[[int], Worker]
    workers: int
    limit: int
    metric: str
    bigger: bool
    against: Against | None
    pruning: bool
    early_stop: int | None
    live: SearchTable

    def __post_init__(self) -> None:
        self._lock = threading.Lock()  # the study is for one thread at a time
        self._running: list[int] = []
        self._hired: dict[int, Worker] = {}
        self._over = False
        self.stopped = False  # because the last trials were no better
        self._problem: BaseException | None = None

    def run(self) -> None:
        """Search to the end.

        Raises:
            GaterecError: no worker can be had.
        """
        threads = [threading.Thread(target=self._work, args=(slot,), daemon=True) for slot in range(self.workers)]
        try:
            for thread in threads:
                thread.start()
            for thread in threads:
                while thread.is_alive():
                    thread.join(0.2)  # not for ever, so that Ctrl+C is heard
        finally:
            self._end()
            for thread in threads:
                if thread.ident is not None:  # it was begun
                    thread.join()
        if self._problem is not None:
            raise self._problem

    def _end(self) -> None:
        self._over = True
        for worker in list(self._hired.values()):
            worker.close()

    def _work(self, slot: int) -> None:
        try:
            while (trial := self._next()) is not None:
                ended = self._tried(slot, trial)
                if ended is None:
                    return
                with self._lock:
                    self.study.end(ended)
                    self._running.remove(trial.number)
                self.live.end(ended)
                self._forget(slot)
        except BaseException as problem:  # raised again by the thread that leads
            self._problem = self._problem or problem
            self._end()
        finally:
            self._dismiss(slot)  # on a cluster that has lost a machine another slot may wait for its room

    def _next(self) -> Trial | None:
        with self._lock:
            self.stopped = self.stopped or self._stale()
            if self._over or self.stopped:
                return None
            trial = self.study.next(self.limit, self._running)
            if trial is not None:
                self._running.append(trial.number)
            return trial

    def _stale(self) -> bool:
        """Whether so many trials have ended behind the best one that the search is to stop."""
        if self.early_stop is None:
            return False
        ended = [trial for trial in self.study.trials() if trial.state in {"done", "pruned"}]
        scores = {trial.number: trial.score for trial in ended if trial.state == "done" and trial.score is not None}
        if not scores:
            return False
        best = (max if self.bigger else min)(scores.values())
        first = min(number for number, score in scores.items() if score == best)
        return sum(trial.number > first for trial in ended) >= self.early_stop

    def _tried(self, slot: int, trial: Trial) -> Trial | None:
        """What the trial came to; None when the search is over before it is."""
        self.live.begin(trial.number, trial.chosen)
        with self._lock:
            twin = self.study.same_as(trial)
        if twin is not None:
            return replace(twin, number=trial.number, seconds=0.0, reason=f"the same point as trial {twin.number}")
        begin, lost = time.monotonic(), 0
        while not self._over:
            course = _Course(trial)
            try:
                task = self.task_of(trial)
            except GaterecError as error:  # values that don't go together
                return replace(trial, state="failed", reason=str(error))
            worker = self._worker(slot)
            try:
                ended = self._followed(worker, task, course)
            except (TrialFailedError, WorkerLostError) as error:
                self._dismiss(slot)
                if self._over:  # whoever ended the search ended the worker too
                    return None
                reason = str(error)
                if isinstance(error, WorkerLostError):
                    lost = 1 if course.epochs else lost + 1
                    if lost < ATTEMPTS:
                        self.live.note(f"trial {trial.number}: its worker {error}; it is run again")
                        continue
                    reason = f"its worker {error}, {ATTEMPTS} times in a row"
                ended = replace(trial, state="failed", reason=reason)
            return replace(ended, seconds=time.monotonic() - begin, worker=worker.name)
        return None

    def _followed(self, worker: Worker, task: Task, course: "_Course") -> Trial:
        """A trial from epoch to epoch, to its end."""
        trial = course.trial
        message = worker.answer({"begin": task.as_json()})
        while "epoch" in message:
            course.epochs += 1
            self.live.epoch(trial.number, message)
            if self.pruning and message["valid"] is not None:
                with self._lock:
                    hopeless, known = self.study.epoch(trial.number, message["epoch"], message["valid"][self.metric])
                if hopeless:
                    return self._pruned(trial, known)
            message = worker.answer({"go": True})
        if "failed" in message:
            return replace(trial, state="failed", reason=message["failed"])
        done = message["done"]
        cost = done[self.against] if self.against is not None else None
        found = {name: done[name] for name in ("score", "valid", "best_epoch", "curve")}
        return replace(trial, state="done", cost=cost, **found)

    def _pruned(self, trial: Trial, known: Mapping[int, float]) -> Trial:
        """A hopeless trial, whose validation figures by epoch are known."""
        curve = sorted(known.items())
        best_epoch, score = (max if self.bigger else min)(curve, key=lambda point: point[1])
        return replace(trial, state="pruned", score=score, best_epoch=best_epoch, curve=curve, reason=f"after epoch {curve[-1][0]}")

    # -- workers -----------------------------------------------------------------------------------------------------------------------

    def _worker(self, slot: int) -> Worker:
        if slot not in self._hired:
            self._hired[slot] = self.hire(slot)
        worker = self._hired[slot]
        if self._over:  # it came too late for _end
            worker.close()
        return worker

    def _dismiss(self, slot: int) -> None:
        if (worker := self._hired.pop(slot, None)) is not None:
            worker.close()

    def _forget(self, slot: int) -> None:
        """Have the worker throw away what it kept of a trial that the study knows to be over."""
        try:
            if slot in self._hired:
                self._hired[slot].answer({"go": False})
        except (WorkerLostError, TrialFailedError):
            self._dismiss(slot)


@dataclass
class _Course:
    """An attempt at a trial, and how many epochs of it are behind."""

    trial: Trial
    epochs: int = 0
