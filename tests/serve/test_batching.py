"""The queue before the model: together, bounded, in time, and down in good order."""

import asyncio
import threading
from collections.abc import Sequence

import pytest

from gaterec.serve.batching import Batcher, BusyError


class Slow:
    """Work that waits until it is let go, and remembers its batches."""

    def __init__(self) -> None:
        self.batches: list[list[int]] = []
        self.begun, self.go = threading.Event(), threading.Event()

    def __call__(self, asked: Sequence[int]) -> list[int | Exception]:
        self.batches.append(list(asked))
        self.begun.set()
        assert self.go.wait(10)
        return [ValueError(f"odd: {one}") if one % 2 else one * 10 for one in asked]

    async def until_begun(self) -> None:
        assert await asyncio.to_thread(self.begun.wait, 10)


def test_what_gathers_meanwhile_is_answered_together() -> None:
    async def scene() -> None:
        work, sizes = Slow(), []
        batcher = Batcher(work, limit=10, batch=3, watch=lambda size, waited: sizes.append(size))
        first = asyncio.create_task(batcher.ask(0, 10))
        await work.until_begun()
        others = [asyncio.create_task(batcher.ask(number, 10)) for number in (2, 4, 6, 8)]
        await asyncio.sleep(0)
        assert len(batcher) == 4
        work.go.set()
        assert await asyncio.gather(first, *others) == [0, 20, 40, 60, 80]
        assert work.batches == [[0], [2, 4, 6], [8]]
        assert sizes == [1, 3, 1]
        batcher.close()

    asyncio.run(scene())


def test_an_error_belongs_to_its_own_request() -> None:
    async def scene() -> None:
        work = Slow()
        work.go.set()
        batcher = Batcher(work, limit=10, batch=3)
        answers = await asyncio.gather(*(batcher.ask(number, 10) for number in range(4)), return_exceptions=True)
        assert [str(answer) for answer in answers] == ["0", "odd: 1", "20", "odd: 3"]
        batcher.close()

    asyncio.run(scene())


def test_a_broken_batch_is_told_to_all_of_it_and_the_thread_lives_on() -> None:
    async def scene() -> None:
        def work(asked: Sequence[int]) -> list[int]:
            return [100 // one for one in asked]

        batcher = Batcher(work, limit=10, batch=3)
        with pytest.raises(ZeroDivisionError):
            await batcher.ask(0, 10)
        assert await batcher.ask(4, 10) == 25
        batcher.close()

    asyncio.run(scene())


def test_a_full_queue_refuses_at_once() -> None:
    async def scene() -> None:
        work = Slow()
        batcher = Batcher(work, limit=2, batch=1)
        first = asyncio.create_task(batcher.ask(0, 10))
        await work.until_begun()
        others = [asyncio.create_task(batcher.ask(number, 10)) for number in (2, 4)]
        await asyncio.sleep(0)
        with pytest.raises(BusyError, match="2 requests are waiting already"):
            await batcher.ask(6, 10)
        work.go.set()
        assert await asyncio.gather(first, *others) == [0, 20, 40]
        batcher.close()

    asyncio.run(scene())


def test_what_waited_too_long_is_refused_and_costs_no_work() -> None:
    async def scene() -> None:
        work = Slow()
        batcher = Batcher(work, limit=10, batch=1)
        first = asyncio.create_task(batcher.ask(0, 10))
        await work.until_begun()
        late = asyncio.create_task(batcher.ask(2, 0.0))
        await asyncio.sleep(0.01)
        work.go.set()
        assert await first == 0
        with pytest.raises(BusyError, match="deadline"):
            await late
        assert work.batches == [[0]]
        batcher.close()

    asyncio.run(scene())


def test_who_has_gone_costs_no_work() -> None:
    async def scene() -> None:
        work = Slow()
        batcher = Batcher(work, limit=10, batch=1)
        first = asyncio.create_task(batcher.ask(0, 10))
        await work.until_begun()
        gone = asyncio.create_task(batcher.ask(2, 10))
        await asyncio.sleep(0)
        gone.cancel()
        await asyncio.sleep(0)
        work.go.set()
        assert await first == 0
        batcher.close()
        assert work.batches == [[0]]

    asyncio.run(scene())


def test_closing_answers_what_waits_and_refuses_the_rest() -> None:
    async def scene() -> None:
        work = Slow()
        batcher = Batcher(work, limit=10, batch=1)
        first = asyncio.create_task(batcher.ask(0, 10))
        await work.until_begun()
        second = asyncio.create_task(batcher.ask(2, 10))
        await asyncio.sleep(0)
        closing = asyncio.create_task(asyncio.to_thread(batcher.close))
        await asyncio.sleep(0.05)
        with pytest.raises(BusyError, match="going down"):
            await batcher.ask(4, 10)
        work.go.set()
        assert list(await asyncio.wait_for(asyncio.gather(first, second), 10)) == [0, 20]
        await closing

    before = threading.active_count()
    asyncio.run(scene())
    assert threading.active_count() == before


def test_closing_answers_all_that_waits_however_many_batches_it_takes() -> None:
    async def scene() -> None:
        work = Slow()
        batcher = Batcher(work, limit=10, batch=1)
        asked = [asyncio.create_task(batcher.ask(0, 10))]
        await work.until_begun()
        asked += [asyncio.create_task(batcher.ask(number, 10, alone=number == 6)) for number in (2, 4, 6)]
        await asyncio.sleep(0)
        closing = asyncio.create_task(asyncio.to_thread(batcher.close))
        while not batcher._closed:
            await asyncio.sleep(0.001)
        work.go.set()
        assert await asyncio.wait_for(asyncio.gather(*asked), 10) == [0, 20, 40, 60]
        await closing

    asyncio.run(scene())


def test_it_knows_when_it_is_full_and_when_it_is_behind() -> None:
    async def scene() -> None:
        work = Slow()
        batcher = Batcher(work, limit=3, batch=1)
        assert not batcher.full
        first = asyncio.create_task(batcher.ask(0, 10))
        await work.until_begun()
        waiting = [asyncio.create_task(batcher.ask(2, 10))]
        await asyncio.sleep(0.02)
        assert not batcher.behind(0.01)  # one batch alone waits, and is the next
        waiting += [asyncio.create_task(batcher.ask(number, 10)) for number in (4, 6)]
        await asyncio.sleep(0)
        assert batcher.full
        assert batcher.behind(0.01)
        assert not batcher.behind(60)
        work.go.set()
        await asyncio.gather(first, *waiting)
        assert not batcher.full
        assert not batcher.behind(0.0)
        batcher.close()

    asyncio.run(scene())


def test_what_is_answered_alone_keeps_nobody_waiting_for_long() -> None:
    async def scene() -> None:
        work = Slow()
        batcher = Batcher(work, limit=100, batch=10)
        first = asyncio.create_task(batcher.ask(0, 10))
        await work.until_begun()
        alone = [asyncio.create_task(batcher.ask(100 + 2 * number, 10, alone=True)) for number in range(6)]
        quick = [asyncio.create_task(batcher.ask(2 * number, 10)) for number in range(1, 4)]
        await asyncio.sleep(0)
        assert len(batcher) == 9
        work.go.set()
        await asyncio.gather(first, *alone, *quick)
        assert work.batches == [[0], [2, 4, 6, 100, 102, 104, 106], [108, 110]]
        batcher.close()

    asyncio.run(scene())


def test_some_requests_are_taken_whatever_waits() -> None:
    async def scene() -> None:
        work = Slow()
        batcher = Batcher(work, limit=1, batch=1)
        asked = [asyncio.create_task(batcher.ask(0, 10))]
        await work.until_begun()
        asked.append(asyncio.create_task(batcher.ask(2, 10)))
        await asyncio.sleep(0)
        asked.append(asyncio.create_task(batcher.ask(4, 10, whatever=True)))
        await asyncio.sleep(0)
        work.go.set()
        assert await asyncio.gather(*asked) == [0, 20, 40]
        batcher.close()

    asyncio.run(scene())
