"""Counting against the plain lines that it equals."""

import pytest
import torch
from torch import Tensor

from gaterec.kernels import rank_counting as counting
from gaterec.kernels.rank_counting import count_above, count_ties_before


def world(size: int, kind: torch.dtype, queries: int = 50, wanted: int = 200) -> tuple[Tensor, Tensor, Tensor]:
    """Scores of seven values, and some of their places."""
    random = torch.Generator().manual_seed(size)
    rows = torch.randint(-3, 4, (queries, size), generator=random).to(kind)
    rows[:, 0] = -torch.inf
    rows[::7, size // 2] = torch.inf
    row = torch.randint(0, queries, (wanted,), generator=random).sort().values
    return rows, row, torch.randint(0, size, (wanted,), generator=random)


@pytest.fixture(params=["NumPy", "torch"])
def either_way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a CPU, and as elsewhere."""
    monkeypatch.setattr(counting, "by_numpy", lambda rows: request.param == "NumPy")


@pytest.mark.usefixtures("either_way")
@pytest.mark.parametrize("block", [1, 1 << 20])
@pytest.mark.parametrize("kind", [torch.float32, torch.float64])
@pytest.mark.parametrize("size", [1, 7, 8, 30, 2041, 5000])
def test_count_above_equals_its_plain_line(size: int, kind: torch.dtype, block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(counting, "CPU_BLOCK", block)
    monkeypatch.setattr(counting, "OTHER_BLOCK", block)
    rows, row, item = world(size, kind)
    threshold = rows[row, item]
    above, upto = count_above(rows, row, threshold)
    assert torch.equal(above, (rows[row] > threshold[:, None]).sum(1))
    assert torch.equal(upto, (rows[row] >= threshold[:, None]).sum(1))


@pytest.mark.usefixtures("either_way")
@pytest.mark.parametrize("block", [1, 1 << 20])
@pytest.mark.parametrize("size", [1, 7, 8, 30, 2041, 5000])
def test_count_ties_before_equals_its_plain_line(size: int, block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(counting, "CPU_BLOCK", block)
    monkeypatch.setattr(counting, "OTHER_BLOCK", block)
    rows, row, item = world(size, torch.float32)
    random = torch.Generator().manual_seed(0)
    lot, draw = torch.randperm(size, generator=random), torch.randint(0, size, (len(rows),), generator=random)
    order = (lot + draw[row, None]) % size
    expected = ((rows[row] == rows[row, item][:, None]) & (order < order.gather(1, item[:, None]))).sum(1)
    assert torch.equal(count_ties_before(rows, row, item, lot, draw), expected)
    assert int(expected.max()) > 0 or size < 8


def test_a_catalogue_too_long_for_one_sum_of_bytes_is_counted_whole() -> None:
    rows = torch.ones(2, 2 * 255 * 8 + 3)
    above, upto = count_above(rows, torch.tensor([0, 1, 1]), torch.tensor([0.0, 1.0, 2.0]))
    assert above.tolist() == [4083, 0, 0]
    assert upto.tolist() == [4083, 4083, 0]


@pytest.mark.usefixtures("either_way")
def test_count_above_of_nothing() -> None:
    nothing = torch.zeros(0, dtype=torch.int64)
    for queries in (0, 3):
        above, upto = count_above(torch.zeros(queries, 4), nothing, torch.zeros(0))
        assert above.shape == upto.shape == (0,)
