"""Requests that come together are answered together.

One thread has the model. While it answers one batch, requests gather; it then takes all of them, up to a limit, as its next batch. So a single
request never waits for others, and under load one matrix product answers many. The queue is bounded: what finds it full is refused at once, and
what waited beyond its deadline is refused instead of being answered too late. What can't be answered together with others stands in a queue of its
own, of which a few are taken with each batch, so that they keep nobody waiting for long.
"""

import asyncio
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from gaterec.errors import GaterecError

ALONE = 4
"""So many requests that are answered by themselves are taken with each batch."""


class BusyError(GaterecError):
    """Refused: too many are waiting, the deadline is past, or the server is going down."""


@dataclass
class Waiting:
    """A request in the queue.

    Attributes:
        asked: what is asked for.
        until: on time.monotonic's clock, after which nobody wants the answer.
        loop, answer: where the answer goes.
    """

    asked: Any
    until: float
    loop: asyncio.AbstractEventLoop
    answer: "asyncio.Future[Any]"
    since: float = field(default_factory=time.monotonic)


class Batcher:
    """A bounded queue before a thread.

    Args:
        work: answers a batch: one answer, or one exception, for each of what is asked. Called in the thread alone.
        limit: how many may wait.
        batch: how many are answered together at most; a few that are answered alone come to that.
        watch: told the size of each batch, and how long its oldest request waited, in seconds.
    """

    def __init__(
        self,
        work: Callable[[Sequence[Any]], Sequence[Any]],
        *,
        limit: int,
        batch: int,
        watch: Callable[[int, float], object] = lambda size, waited: None,
    ) -> None:
        self._work, self._limit, self._batch, self._watch = work, limit, batch, watch
        self._queue: deque[Waiting] = deque()
        self._alone: deque[Waiting] = deque()
        self._changed = threading.Condition()
        self._closed = False
        self._thread = threading.Thread(target=self._run, name="gaterec-model", daemon=True)
        self._thread.start()

    def __len__(self) -> int:
        return len(self._queue) + len(self._alone)

    @property
    def full(self) -> bool:
        """Whether another one would be refused."""
        return len(self) >= self._limit

    def behind(self, seconds: float) -> bool:
        """Whether more than a batch waits, and its first for longer than that: another one is likely to wait in vain."""
        try:
            return len(self._queue) > self._batch and time.monotonic() - self._queue[0].since > seconds
        except IndexError:  # the thread took it meanwhile
            return False

    async def ask(self, asked: Any, seconds: float, *, alone: bool = False, whatever: bool = False) -> Any:
        """The answer.

        Args:
            seconds: the deadline.
            alone: whether it is answered by itself.
            whatever: whether it is taken also where the queue is full.

        Raises:
            BusyError: see there.
            Exception: whatever the work gave instead of an answer.
        """
        loop = asyncio.get_running_loop()
        waiting = Waiting(asked, time.monotonic() + seconds, loop, loop.create_future())
        with self._changed:
            if self._closed:
                raise BusyError("the server is going down")
            if self.full and not whatever:
                raise BusyError(f"{self._limit:,} requests are waiting already")
            (self._alone if alone else self._queue).append(waiting)
            self._changed.notify()
        return await waiting.answer

    def close(self) -> None:
        """Answer what waits, then end the thread."""
        with self._changed:
            self._closed = True
            self._changed.notify()
        self._thread.join()

    def _run(self) -> None:
        while True:
            with self._changed:
                while not len(self) and not self._closed:
                    self._changed.wait()
                if not len(self):
                    return
                queues = ((self._queue, self._batch), (self._alone, min(ALONE, self._batch)))
                batch = [queue.popleft() for queue, most in queues for _ in range(min(len(queue), most))]
            now = time.monotonic()
            self._watch(len(batch), now - min(waiting.since for waiting in batch))
            late = [waiting for waiting in batch if waiting.until < now or waiting.answer.done()]
            batch = [waiting for waiting in batch if not (waiting.until < now or waiting.answer.done())]
            answers: Sequence[Any] = []
            if batch:
                try:
                    answers = self._work([waiting.asked for waiting in batch])
                except Exception as error:  # a fault of ours: each of them is told, and the thread lives on
                    answers = [error] * len(batch)
            told = [(waiting, BusyError("the deadline passed while the request waited")) for waiting in late]
            _tell([*told, *zip(batch, answers, strict=True)])


def _tell(answers: Sequence[tuple[Waiting, Any]]) -> None:
    """Hand answers to those who wait, in their own event loop, all of a loop's at once."""
    loops: dict[asyncio.AbstractEventLoop, list[tuple[Waiting, Any]]] = {}
    for waiting, answer in answers:
        loops.setdefault(waiting.loop, []).append((waiting, answer))
    for loop, part in loops.items():
        if not loop.is_closed():
            loop.call_soon_threadsafe(_settle, part)


def _settle(answers: Sequence[tuple[Waiting, Any]]) -> None:
    for waiting, answer in answers:
        if waiting.answer.done():  # who asked has gone
            continue
        if isinstance(answer, Exception):
            waiting.answer.set_exception(answer)
        else:
            waiting.answer.set_result(answer)
