"""Each fast function against the plain line that it equals."""

import itertools
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from gaterec.kernels.sliding_windows import BLOCK, Blocks, gated_average, gated_maximum, sliding_sum

Pool = Callable[[Tensor, Tensor, Tensor], Tensor]

SHAPES = [  # (batch, length, window)
    (1, 1, 1),
    (2, 1, 5),
    (3, 7, 1),
    (3, 7, 3),
    (2, 7, 7),
    (2, 7, 20),
    (2, 32, 5),
    (2, 33, 5),
    (2, 100, 5),  # several blocks of 32
    (1, 130, 40),  # several blocks of the window's own length
    (2, 64, 64),
]


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def gates(batch: int, length: int, window: int, empty: float = 0.2, seed: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    """Values, item gates of which some are shut as padding, position gates."""
    item_gate = random(batch, length, seed=seed + 1)
    item_gate[random(batch, length, seed=seed + 2).sigmoid() < empty] = -torch.inf
    return random(batch, length, 3, seed=seed), item_gate, random(batch, window, seed=seed + 3)


def shift(x: Tensor, steps: int, fill: float = 0.0) -> Tensor:
    """(B, T, ...) moved `steps` positions later in time; what comes in at the start is `fill`."""
    if steps == 0:
        return x
    start = x.new_full((x.shape[0], min(steps, x.shape[1]), *x.shape[2:]), fill)
    return torch.cat([start, x[:, : -steps if steps < x.shape[1] else 0]], dim=1)


def window_events(item_gate: Tensor, position_gate: Tensor, b: int, t: int) -> list[tuple[int, Tensor]]:
    """Where the real events of window t stand, and their gates."""
    reach = range(min(position_gate.shape[1], t + 1))
    return [(t - p, torch.sigmoid(item_gate[b, t - p] + position_gate[b, p])) for p in reach if item_gate[b, t - p] > -torch.inf]


def plain_average(values: Tensor, item_gate: Tensor, position_gate: Tensor) -> Tensor:
    out = torch.zeros_like(values)
    for b, t in itertools.product(range(values.shape[0]), range(values.shape[1])):
        events = window_events(item_gate, position_gate, b, t)
        if events:
            total = sum((gate * values[b, at] for at, gate in events), torch.zeros_like(values[b, t]))
            out[b, t] = total / sum(float(gate) for _, gate in events)
    return out


def plain_maximum(values: Tensor, item_gate: Tensor, position_gate: Tensor) -> Tensor:
    out = torch.zeros_like(values)
    for b, t in itertools.product(range(values.shape[0]), range(values.shape[1])):
        events = window_events(item_gate, position_gate, b, t)
        if events:
            out[b, t] = torch.stack([gate * values[b, at] for at, gate in events]).amax(0)
    return out


@pytest.mark.parametrize("window", [1, 2, 3, 4, 5, 6, 7, 8, 13, 50])
@pytest.mark.parametrize("length", [1, 2, 7, 13])
def test_sliding_sum_equals_its_plain_line(length: int, window: int) -> None:
    x = random(2, length, 3)
    torch.testing.assert_close(sliding_sum(x, window), sum((shift(x, p) for p in range(window)), torch.zeros_like(x)))


def test_sliding_sum_takes_no_differences_of_large_sums() -> None:
    x = random(1, 300, 2).float()
    x[:, :100] += 1e7  # a running total would lose what comes after these
    exact = sliding_sum(x.double(), 50)
    assert (sliding_sum(x, 50)[:, 150:] - exact[:, 150:]).abs().max() < 1e-5


@pytest.mark.parametrize("window", [1, 5, 20, 50, 300])
def test_blocks_of_any_row_cover_it_and_none_lies_behind_it(window: int) -> None:
    for length in (*range(1, 400), *range(1601, 4200, 40), 1881, 2481, 3681):
        blocks = Blocks.of(length, window)
        assert (blocks.count - 1) * blocks.size < length <= blocks.count * blocks.size


def test_windows_of_a_long_row() -> None:
    x = random(1, 1881, 2).requires_grad_()
    total = sliding_sum(x, 5)
    torch.testing.assert_close(total, sum((shift(x, p) for p in range(5)), torch.zeros_like(x)))
    (gradient,) = torch.autograd.grad(total.sum(), x)
    assert gradient[0, :, 0].tolist() == [5.0] * 1877 + [4.0, 3.0, 2.0, 1.0]
    open_gates = torch.full((1, 1881), 1e4, dtype=torch.float64)
    average = gated_average(x, open_gates, torch.zeros(1, 5, dtype=torch.float64))
    torch.testing.assert_close(average[:, 4:], total[:, 4:] / 5)


@pytest.mark.parametrize("shape", SHAPES)
def test_gated_average_equals_its_plain_line(shape: tuple[int, int, int]) -> None:
    parts = gates(*shape)
    torch.testing.assert_close(gated_average(*parts), plain_average(*parts), rtol=0, atol=1e-12)


def test_an_average_of_nearly_shut_gates_is_still_an_average() -> None:
    values, item_gate, position_gate = gates(2, 40, 5)
    parts = values, item_gate - 60, position_gate
    torch.testing.assert_close(gated_average(*parts), plain_average(*parts), rtol=0, atol=1e-12)
    assert gated_average(*parts).abs().max() > 0.5


@pytest.mark.parametrize("shape", SHAPES)
def test_gated_maximum_equals_its_plain_line(shape: tuple[int, int, int]) -> None:
    parts = gates(*shape)
    torch.testing.assert_close(gated_maximum(*parts), plain_maximum(*parts), rtol=0, atol=1e-12)


@pytest.mark.parametrize("shape", SHAPES)
def test_gradients_of_the_gated_maximum_are_those_of_its_plain_line(shape: tuple[int, int, int]) -> None:
    inputs = tuple(part.requires_grad_() for part in gates(*shape))
    towards = random(shape[0], shape[1], 3, seed=9)
    for fast, plain in zip(*(torch.autograd.grad(pool(*inputs), inputs, towards) for pool in (gated_maximum, plain_maximum)), strict=True):
        torch.testing.assert_close(fast, plain, rtol=0, atol=1e-12)


def test_the_latest_of_equal_events_takes_the_gradient_of_the_maximum() -> None:
    values = torch.tensor([[[2.0], [2.0], [1.0], [1.0]]], requires_grad=True)
    gated_maximum(values, torch.full((1, 4), 1e4), torch.zeros(1, 3)).sum().backward()  # type: ignore[no-untyped-call]
    assert values.grad is not None
    assert values.grad.flatten().tolist() == [1.0, 3.0, 0.0, 0.0]


def test_a_maximum_is_found_however_far_back_it_stands() -> None:
    values = torch.zeros(1, 300, 1)
    values[0, 0] = 1.0
    values.requires_grad_()
    out = gated_maximum(values, torch.full((1, 300), 1e4), torch.zeros(1, 300))
    assert (out == 1.0).all()
    out.sum().backward()  # type: ignore[no-untyped-call]
    assert values.grad is not None
    assert values.grad.flatten().tolist() == [300.0] + [0.0] * 299


def test_negative_values_stay_negative_in_the_maximum() -> None:
    values, item_gate, position_gate = gates(2, 40, 5)
    values = -values.abs() - 0.1
    item_gate[0, :10] = -torch.inf
    events = torch.stack([shift(item_gate, p, -torch.inf) > -torch.inf for p in range(5)]).any(0)
    assert events.any()
    assert not events.all()
    out = gated_maximum(values, item_gate, position_gate)
    assert (out[events] < 0).all()
    assert (out[~events] == 0).all()


@pytest.mark.parametrize("pool", [gated_average, gated_maximum])
def test_a_window_without_events_is_zero_and_its_gradient_finite(pool: Pool) -> None:
    values, item_gate, position_gate = gates(2, 9, 3)
    item_gate[:] = -torch.inf
    values.requires_grad_()
    position_gate.requires_grad_()
    out = pool(values, item_gate, position_gate)
    assert not out.any()
    out.sum().backward()  # type: ignore[no-untyped-call]
    assert values.grad is not None
    assert position_gate.grad is not None
    assert not values.grad.any()
    assert not position_gate.grad.any()


@pytest.mark.parametrize("pool", [gated_average, gated_maximum])
@pytest.mark.parametrize("shape", [(2, 5, 3), (1, 4, 9), (1, 34, 2)])
def test_gradients_are_those_of_finite_differences(pool: Pool, shape: tuple[int, int, int]) -> None:
    values, item_gate, position_gate = gates(*shape, empty=0.0)
    hole = torch.zeros_like(item_gate, dtype=torch.bool)
    hole[:, 1] = True
    inputs = tuple(part.requires_grad_() for part in (values[:, :, :2].detach().clone(), item_gate, position_gate))
    assert torch.autograd.gradcheck(lambda v, i, p: pool(v, i.masked_fill(hole, -torch.inf), p), inputs)


@pytest.mark.parametrize("window", [1, 5, 50])
def test_a_row_is_cut_into_no_more_blocks_than_it_has_times_their_length(window: int) -> None:
    for length in range(1, 1000):
        assert Blocks.of(length, window).count <= max(1, length // BLOCK)
