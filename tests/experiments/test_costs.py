"""What a model costs: the time of its lists, and memory."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch

from gaterec.experiments.costs import peak_memory, seconds_per_1000
from gaterec.experiments.setup import make_model, prepare
from tests.support.commands import write_log
from tests.support.histories import settings


@pytest.mark.slow
def test_memory_is_that_of_the_process_alone() -> None:
    own = peak_memory()
    if own is None or sys.platform != "linux":
        pytest.skip("this system doesn't tell")
    ballast = torch.ones(2**27)  # 512 MiB that a process begun from here never had
    program = "from gaterec.experiments.costs import peak_memory; print(peak_memory())"
    child = int(subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout)
    assert 2**23 < child < ballast.nbytes < peak_memory()  # type: ignore[operator]


@pytest.mark.parametrize("repeatable", [True, False])
def test_lists_are_timed(tmp_path: Path, repeatable: bool) -> None:
    own = settings(model="Pop", dataset=str(write_log(tmp_path / "log.csv")), repeatable=repeatable)
    prepared = prepare(own, None)
    device = torch.device("cpu")
    seconds, queries = seconds_per_1000(own, prepared, prepared.test, make_model(own, prepared, device), device)
    assert seconds > 0
    assert queries == len(prepared.test) == 40


def test_the_time_is_that_of_1000_lists(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own = settings(model="Pop", dataset=str(write_log(tmp_path / "log.csv")))
    prepared, device = prepare(own, None), torch.device("cpu")
    clock = iter((100.0, 102.0))
    monkeypatch.setattr("gaterec.experiments.costs.time.perf_counter", lambda: next(clock))
    assert seconds_per_1000(own, prepared, prepared.test, make_model(own, prepared, device), device) == (50.0, 40)
