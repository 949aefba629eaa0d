"""Work in threads: all of it done, torch as before, errors heard."""

import os

import pytest
import torch

from gaterec.kernels.threads import in_threads


@pytest.fixture(params=[torch.device("cpu"), None], ids=["threads", "one after another"])
def device(request: pytest.FixtureRequest) -> torch.device | None:
    found: torch.device | None = request.param
    return found


@pytest.mark.parametrize("count", [0, 1, 50])
def test_every_piece_is_done_once_without_gradients(count: int, device: torch.device | None) -> None:
    done: list[int] = []
    modes: set[bool] = set()

    def work(number: int) -> None:
        done.append(number)
        modes.add(torch.is_inference_mode_enabled())

    in_threads(work, count, device)
    assert sorted(done) == list(range(count))
    assert modes <= {True}


def test_each_piece_has_one_thread_and_torch_has_all_of_them_again_afterwards() -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    threads: list[int] = []
    try:
        in_threads(lambda number: threads.append(torch.get_num_threads()), 8, torch.device("cpu"))
        assert threads == [1] * 8
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


def test_an_error_comes_out_and_leaves_torch_as_it_was(device: torch.device | None) -> None:
    before = torch.get_num_threads()

    def broken(number: int) -> None:
        raise RuntimeError(f"piece {number}")

    with pytest.raises(RuntimeError, match="piece 0"):
        in_threads(broken, 3, device)
    assert torch.get_num_threads() == before


@pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="this system doesn't tell which cores a thread may run on")
def test_where_torch_has_all_cores_each_thread_keeps_to_one_and_may_run_anywhere_again_afterwards() -> None:
    cores = os.sched_getaffinity(0)
    if len(cores) < 2:
        pytest.skip("there is one core")
    before = torch.get_num_threads()
    torch.set_num_threads(len(cores))
    kept: list[set[int]] = []
    try:
        in_threads(lambda number: kept.append(os.sched_getaffinity(0)), 8 * len(cores), torch.device("cpu"))
        torch.set_num_threads(len(cores) + 1)
        in_threads(lambda number: kept.append(os.sched_getaffinity(0)), 1, torch.device("cpu"))
    finally:
        torch.set_num_threads(before)
    assert all(len(where) == 1 for where in kept[:-1])
    assert kept[-1] == cores
    assert os.sched_getaffinity(0) == cores
