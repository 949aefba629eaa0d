"""RowAdam: the bits of its meaning are torch.optim.SparseAdam's."""

import torch
from torch import Tensor

from gaterec.training.row_adam import RowAdam


def gradients(steps: int, *shape: int) -> list[Tensor]:
    """Sparse gradients in which some rows come twice and most not at all."""
    random = torch.Generator().manual_seed(0)
    found = []
    for _ in range(steps):
        rows = torch.randint(0, shape[0], (5,), generator=random)
        values = torch.randn(5, *shape[1:], generator=random, dtype=torch.float64)
        found.append(torch.sparse_coo_tensor(rows[None], values, shape, check_invariants=True))
    return found


def path(kind: type[torch.optim.Optimizer], table: Tensor, slopes: list[Tensor]) -> Tensor:
    table = table.clone().requires_grad_()
    optimizer = kind([table], lr=0.1)  # type: ignore[call-arg]
    for slope in slopes:
        table.grad = slope
        optimizer.step()
    return table.detach()


def test_it_goes_where_sparse_adam_goes() -> None:
    start = torch.randn(20, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    slopes = gradients(12, 20, 3)
    found = path(RowAdam, start, slopes)
    torch.testing.assert_close(found, path(torch.optim.SparseAdam, start, slopes), rtol=1e-12, atol=1e-12)
    assert not torch.equal(found, start)


def test_rows_without_a_gradient_stay_where_they_are_to_the_bit() -> None:
    start = torch.randn(20, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    slopes = gradients(2, 20, 3)
    touched = {int(row) for slope in slopes for row in slope.coalesce().indices()[0]}
    found = path(RowAdam, start, slopes)
    assert {int(row) for row in (found != start).any(1).nonzero()} == touched


def test_a_table_of_single_numbers() -> None:
    start = torch.zeros(20, dtype=torch.float64)
    slopes = gradients(5, 20)
    wide = [slope.to_dense()[:, None].to_sparse(1) for slope in slopes]
    torch.testing.assert_close(path(RowAdam, start, slopes), path(RowAdam, start[:, None], wide)[:, 0])


def test_a_dense_gradient_that_touches_every_row_makes_it_adam() -> None:
    start = torch.randn(20, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    slopes = [torch.randn(20, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(seed)) for seed in range(6)]
    torch.testing.assert_close(path(RowAdam, start, slopes), path(torch.optim.Adam, start, slopes), rtol=1e-4, atol=1e-5)
