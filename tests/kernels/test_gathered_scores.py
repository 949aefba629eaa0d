"""Scores of a few items per query, and rows of a table, against the plain lines that define them."""

import pytest
import torch
from torch import Tensor

from gaterec.kernels import gathered_scores as gathered
from gaterec.kernels.gathered_scores import gathered_scores, table_rows

N, V, D = 7, 11, 5


def parts(dtype: torch.dtype = torch.float64) -> tuple[Tensor, Tensor, Tensor]:
    random = torch.Generator().manual_seed(0)
    queries, weight, bias = (torch.randn(*shape, dtype=dtype, generator=random).requires_grad_() for shape in ((N, D), (V, D), (V,)))
    return queries, weight, bias


def items(*shape: int) -> Tensor:
    """Some twice, some never, padding among them."""
    return torch.randint(0, V - 2, shape, generator=torch.Generator().manual_seed(1))


def plain(queries: Tensor, ids: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    scores = (weight[ids] * queries[:, None]).sum(-1)
    return scores if bias is None else scores + bias[ids]


@pytest.fixture(params=["one by one", "in order of their items"])
def form(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Either way of forming the table's gradient, on small tables."""
    monkeypatch.setattr(gathered, "FEW", 10**9 if request.param == "one by one" else 0)


def assert_same_gradients(ours: Tensor, theirs: Tensor, inputs: tuple[Tensor, ...], sparse: bool) -> None:
    """Where sparse, all of them but the first of several, the queries, hold the touched rows alone."""
    slope = torch.randn(ours.shape, dtype=ours.dtype, generator=torch.Generator().manual_seed(2))
    found = torch.autograd.grad(ours, inputs, slope)
    expected = torch.autograd.grad(theirs, inputs, slope)
    assert [mine.is_sparse for mine in found] == [sparse and (len(inputs) == 1 or place > 0) for place in range(len(inputs))]
    for mine, other in zip(found, expected, strict=True):
        torch.testing.assert_close(mine.to_dense() if mine.is_sparse else mine, other, rtol=1e-12, atol=1e-12)


@pytest.mark.usefixtures("form")
@pytest.mark.parametrize("sparse", [True, False])
@pytest.mark.parametrize("with_bias", [True, False])
@pytest.mark.parametrize("count", [1, 2, 40])
def test_scores_equal_the_plain_line(count: int, with_bias: bool, sparse: bool) -> None:
    queries, weight, bias = parts()
    ids = items(N, count)
    ours = gathered_scores(queries, ids, weight, bias if with_bias else None, sparse)
    theirs = plain(queries, ids, weight, bias if with_bias else None)
    torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=1e-12)
    assert_same_gradients(ours, theirs, (queries, weight, bias) if with_bias else (queries, weight), sparse)


@pytest.mark.parametrize("sparse", [True, False])
def test_rows_equal_the_plain_line(sparse: bool) -> None:
    _, weight, bias = parts()
    for table in (weight, bias):
        ours, theirs = table_rows(table, items(20), sparse), table[items(20)]
        assert torch.equal(ours, theirs)
        assert_same_gradients(ours, theirs, (table,), sparse)


def test_a_sparse_gradient_has_each_touched_row_once_and_in_order() -> None:
    queries, weight, bias = parts()
    ids = items(N, 3)
    of_scores = torch.autograd.grad(gathered_scores(queries, ids, weight, bias, True).sum(), (weight, bias))
    of_rows = torch.autograd.grad(table_rows(weight, ids.flatten(), True).sum(), weight)
    for gradient in (*of_scores, *of_rows):
        assert gradient.is_sparse
        assert gradient.is_coalesced()
        assert gradient.indices()[0].tolist() == sorted(set(ids.flatten().tolist()))


def test_a_gradient_that_is_one_number_spread_out_is_taken() -> None:
    """`sum` hands down a view without strides."""
    queries, weight, _ = parts()
    gathered_scores(queries, items(N, 3), weight).sum().backward()  # type: ignore[no-untyped-call]
    torch.testing.assert_close(queries.grad, weight.detach()[items(N, 3)].sum(1))


def test_queries_of_lower_precision_get_their_gradient_in_it() -> None:
    queries, weight, _ = parts(torch.float32)
    coarse = queries.detach().bfloat16().requires_grad_()
    scores = gathered_scores(coarse, items(N, 3), weight)
    assert scores.dtype == torch.float32
    scores.sum().backward()  # type: ignore[no-untyped-call]
    assert coarse.grad is not None
    assert coarse.grad.dtype == torch.bfloat16


@pytest.mark.usefixtures("form")
def test_the_same_bits_again() -> None:
    random = torch.Generator().manual_seed(3)
    queries, weight = (torch.randn(shape, generator=random).requires_grad_() for shape in ((500, 16), (50, 16)))
    ids = torch.randint(0, 50, (500, 8), generator=random)
    first, again = (torch.autograd.grad(gathered_scores(queries, ids, weight).square().sum(), (queries, weight)) for _ in range(2))
    assert all(torch.equal(one, other) for one, other in zip(first, again, strict=True))


def test_no_vector_is_gathered_for_a_score() -> None:
    """Not one tensor of the forward or backward pass is as large as (N, M, D)."""
    from torch.utils._python_dispatch import TorchDispatchMode

    largest = 0

    class Watch(TorchDispatchMode):  # type: ignore[no-untyped-call]
        def __torch_dispatch__(self, func, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
            nonlocal largest
            result = func(*args, **(kwargs or {}))
            for part in result if isinstance(result, tuple | list) else (result,):
                if isinstance(part, Tensor) and part.layout == torch.strided:
                    largest = max(largest, part.numel())
            return result

    queries, weight = torch.randn(300, 32, requires_grad=True), torch.randn(40, 32, requires_grad=True)
    ids = torch.randint(0, 40, (300, 60))
    with Watch():  # type: ignore[no-untyped-call]
        gathered_scores(queries, ids, weight).sum().backward()  # type: ignore[no-untyped-call]
    assert 0 < largest <= 300 * 60
