"""The swept cross-entropy against the plain line that defines it, values and gradients."""

import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from gaterec.kernels import tiled_softmax as softmax
from gaterec.kernels.tiled_softmax import mean_cross_entropy

V, D = 37, 6


SWEEPS = {  # name -> (TILE, NARROWEST, WIDE)
    "a query a tile": (1, 1, 10**6),
    "five queries a tile": (5 * V, 1, 10**6),
    "one tile": (10**6, 64, 10**6),
    "two sweeps, tiles of 4 x 3": (12, 1, 1),
    "two sweeps, one tile": (10**6, 64, 1),
}


@pytest.fixture(params=list(SWEEPS), autouse=True)
def sweep(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in zip(("TILE", "NARROWEST", "WIDE"), SWEEPS[request.param], strict=True):
        monkeypatch.setattr(softmax, name, value)


def plain(queries: Tensor, targets: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    scores = queries @ weight.T if bias is None else queries @ weight.T + bias
    query, place = (targets > 0).nonzero(as_tuple=True)
    return F.cross_entropy(scores[query, 1:], targets[query, place] - 1)


def parts(dtype: torch.dtype, scale: float, next_items: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    random = torch.Generator().manual_seed(3)
    queries = (scale * torch.randn(23, D, generator=random, dtype=dtype)).requires_grad_()
    weight = torch.randn(V, D, generator=random, dtype=dtype).requires_grad_()
    bias = torch.randn(V, generator=random, dtype=dtype).requires_grad_()
    targets = torch.randint(1, V, (23, next_items), generator=random)
    targets[::3, 1:] = 0
    return queries, targets, weight, bias


@pytest.mark.parametrize("next_items", [1, 3])
@pytest.mark.parametrize("with_bias", [True, False])
@pytest.mark.parametrize("scale", [1.0, 100.0], ids=["small scores", "scores that overflow an exponential"])
def test_it_equals_the_plain_line(scale: float, with_bias: bool, next_items: int) -> None:
    queries, targets, weight, bias = parts(torch.float64, scale, next_items)
    inputs = (queries, weight, bias) if with_bias else (queries, weight)
    ours = mean_cross_entropy(queries, targets, weight, bias if with_bias else None)
    theirs = plain(queries, targets, weight, bias if with_bias else None)
    torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=1e-12)
    for mine, expected in zip(torch.autograd.grad(3 * ours, inputs), torch.autograd.grad(3 * theirs, inputs), strict=True):
        torch.testing.assert_close(mine, expected, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("scale", [1.0, 1000.0])
def test_float32_is_as_precise_as_torch(scale: float) -> None:
    queries, targets, weight, bias = parts(torch.float32, scale, 1)
    exact = plain(*(part.double() if part.is_floating_point() else part for part in (queries, targets, weight, bias)))
    assert mean_cross_entropy(queries, targets, weight, bias).item() == pytest.approx(exact.item(), rel=2e-6)


def test_padding_gets_no_probability_and_no_gradient() -> None:
    queries, targets, weight, bias = parts(torch.float64, 1.0, 1)
    with torch.no_grad():
        bias[0] = 50.0
    loss = mean_cross_entropy(queries, targets, weight, bias)
    assert loss.item() < 2 * math.log(V)
    of_weight, of_bias = torch.autograd.grad(loss, (weight, bias))
    assert not of_weight[0].any()
    assert not of_bias[0].any()


def test_it_does_not_change_what_it_is_given() -> None:
    given = parts(torch.float64, 1.0, 3)
    before = [part.detach().clone() for part in given]
    mean_cross_entropy(*given).backward()  # type: ignore[no-untyped-call]
    assert all(torch.equal(part, copy) for part, copy in zip(given, before, strict=True))


def test_without_gradients_it_gives_the_same_value() -> None:
    given = parts(torch.float64, 1.0, 1)
    with torch.no_grad():
        assert torch.equal(mean_cross_entropy(*given), mean_cross_entropy(*(part.detach() for part in given)))


def test_a_second_backward_gives_the_same_gradients_or_raises() -> None:
    given = parts(torch.float64, 1.0, 1)
    loss, inputs = mean_cross_entropy(*given), (given[0], given[2], given[3])
    first = [gradient.clone() for gradient in torch.autograd.grad(2 * loss, inputs, retain_graph=True)]
    if softmax.WIDE < V:
        with pytest.raises(RuntimeError, match="modified by an inplace operation"):
            torch.autograd.grad(2 * loss, inputs)
    else:
        assert all(torch.equal(a, b) for a, b in zip(first, torch.autograd.grad(2 * loss, inputs), strict=True))


@pytest.mark.parametrize(("count", "most", "size"), [(10, 4, 4), (9, 4, 3), (3, 64, 3), (0, 5, 1), (7, 1, 1)])
def test_pieces_are_about_alike(count: int, most: int, size: int) -> None:
    assert softmax._even(count, most) == size


@pytest.mark.parametrize("large", [200.0, -200.0, 1000.0])
def test_a_bias_that_overflows_an_exponential_by_itself_does_no_harm(large: float) -> None:
    queries, targets, weight, bias = parts(torch.float32, 0.01, 1)
    with torch.no_grad():
        bias[5] = large
    ours, theirs = mean_cross_entropy(queries, targets, weight, bias), plain(queries, targets, weight, bias)
    torch.testing.assert_close(ours, theirs)
    for mine, expected in zip(*(torch.autograd.grad(loss, (queries, weight, bias)) for loss in (ours, theirs)), strict=True):
        torch.testing.assert_close(mine, expected)
