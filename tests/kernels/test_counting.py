"""Counting against the plain line that it equals."""

import pytest
import torch

from gaterec.kernels.counting import count_above


@pytest.mark.parametrize("kind", [torch.float32, torch.float64])
def test_count_above_equals_its_plain_line_also_among_equals_and_infinities(kind: torch.dtype) -> None:
    rows = torch.randint(-3, 4, (50, 30), generator=torch.Generator().manual_seed(0)).to(kind)
    rows[:, 0] = -torch.inf
    rows[::7, 5] = torch.inf
    threshold = rows[torch.arange(50), torch.arange(50) % 30]
    above, upto = count_above(rows, threshold)
    assert above.tolist() == (rows > threshold[:, None]).sum(1).tolist()
    assert upto.tolist() == (rows >= threshold[:, None]).sum(1).tolist()
    assert above.dtype == upto.dtype == torch.int64


def test_count_above_of_no_rows() -> None:
    above, upto = count_above(torch.zeros(0, 4), torch.zeros(0))
    assert above.shape == upto.shape == (0,)
