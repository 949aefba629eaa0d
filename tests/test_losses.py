"""Losses against plain lines, their level at equal scores, and their gradients."""

import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from gaterec.losses import bpr, cross_entropy

N, V, D = 6, 9, 4


def table(seed: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    """Queries, weight with a padding row that would win if it were let, and bias."""
    random = torch.Generator().manual_seed(seed)
    queries, weight, bias = (torch.randn(*shape, dtype=torch.float64, generator=random) for shape in ((N, D), (V, D), (V,)))
    bias[0] = 50.0
    return queries, weight, bias


def items(*shape: int, seed: int = 0) -> Tensor:
    return torch.randint(1, V, shape, generator=torch.Generator().manual_seed(seed))


ONE = items(N, 1)
SEVERAL = torch.tensor([[1, 2, 3], [4, 0, 0], [5, 5, 0], [8, 7, 6], [2, 0, 0], [3, 1, 0]])


def plain_cross_entropy(queries: Tensor, targets: Tensor, weight: Tensor, bias: Tensor | None) -> float:
    losses: list[float] = []
    for query, row in zip(queries, targets.tolist(), strict=True):
        scores = [float(query @ weight[j]) + (0.0 if bias is None else float(bias[j])) for j in range(V)]
        total = sum(math.exp(score) for score in scores[1:])
        losses += [math.log(total) - scores[target] for target in row if target]
    return sum(losses) / len(losses)


@pytest.mark.parametrize("targets", [ONE, SEVERAL], ids=["one", "several"])
@pytest.mark.parametrize("with_bias", [True, False])
def test_cross_entropy_equals_its_plain_line(targets: Tensor, with_bias: bool) -> None:
    queries, weight, bias = table()
    parts = queries, targets, weight, bias if with_bias else None
    assert float(cross_entropy(*parts)) == pytest.approx(plain_cross_entropy(*parts), rel=1e-12)


def test_cross_entropy_of_one_target_equals_torch() -> None:
    queries, weight, bias = table()
    expected = F.cross_entropy((queries @ weight.T + bias)[:, 1:], ONE[:, 0] - 1)
    torch.testing.assert_close(cross_entropy(queries, ONE, weight, bias), expected)


def test_cross_entropy_of_several_equals_torch_over_all_pairs() -> None:
    queries, weight, bias = table()
    query, place = SEVERAL.nonzero(as_tuple=True)
    expected = F.cross_entropy((queries @ weight.T + bias)[query, 1:], SEVERAL[query, place] - 1)
    torch.testing.assert_close(cross_entropy(queries, SEVERAL, weight, bias), expected)


@pytest.mark.parametrize("targets", [ONE, SEVERAL], ids=["one", "several"])
def test_padding_gets_no_probability_and_no_gradient(targets: Tensor) -> None:
    queries, weight, bias = (part.requires_grad_() for part in table())
    loss = cross_entropy(queries, targets, weight, bias)
    assert float(loss.detach()) < 20  # its bias of 50 is not in the sum
    loss.backward()  # type: ignore[no-untyped-call]
    for part in (weight, bias):
        assert part.grad is not None
        assert not part.grad[0].any()
        assert part.grad[1:].any()


@pytest.mark.parametrize("targets", [ONE, SEVERAL], ids=["one", "several"])
def test_equal_scores_have_the_losses_of_chance(targets: Tensor) -> None:
    queries, weight, bias = torch.zeros(N, D), torch.ones(V, D), torch.full((V,), 3.0)
    assert float(cross_entropy(queries, targets, weight, bias)) == pytest.approx(math.log(V - 1), rel=1e-6)
    assert float(bpr(queries, targets, items(*targets.shape, 4), weight, bias)) == pytest.approx(math.log(2), rel=1e-6)


@pytest.mark.parametrize("targets", [ONE, SEVERAL], ids=["one", "several"])
@pytest.mark.parametrize("with_bias", [True, False])
@pytest.mark.parametrize("sample_num", [1, 3])
def test_bpr_equals_its_plain_line(targets: Tensor, with_bias: bool, sample_num: int) -> None:
    queries, weight, bias = table()
    negatives = items(*targets.shape, sample_num, seed=2)

    def score(n: int, item: int) -> float:
        return float(queries[n] @ weight[item]) + (float(bias[item]) if with_bias else 0.0)

    losses = [
        math.log(1 + math.exp(score(n, int(negative)) - score(n, int(target))))
        for n in range(N)
        for k, target in enumerate(targets[n])
        if target
        for negative in negatives[n, k]
    ]
    found = bpr(queries, targets, negatives, weight, bias if with_bias else None)
    assert float(found) == pytest.approx(sum(losses) / len(losses), rel=1e-12)


def test_bpr_gives_padding_no_gradient() -> None:
    queries, weight, bias = (part.requires_grad_() for part in table())
    bpr(queries, SEVERAL, items(N, 3, 2), weight, bias).backward()  # type: ignore[no-untyped-call]
    for part in (weight, bias):
        assert part.grad is not None
        assert not part.grad[0].any()


def test_bpr_stays_finite_at_scores_far_apart() -> None:
    queries, weight = torch.full((1, D), 1e4), torch.zeros(V, D)
    weight[1], weight[2] = 1.0, -1.0
    right, wrong = torch.tensor([[1]]), torch.tensor([[2]])
    assert float(bpr(queries, right, wrong[:, :, None], weight, None)) == 0
    assert float(bpr(queries, wrong, right[:, :, None], weight, None)) == pytest.approx(8e4)


def test_the_sparse_gradient_of_bpr_is_the_dense_one() -> None:
    queries, weight, bias = table()
    found = []
    for sparse in (False, True):
        rows = weight.clone().requires_grad_()
        bpr(queries, SEVERAL, items(N, 3, 2), rows, bias, sparse=sparse).backward()  # type: ignore[no-untyped-call]
        assert rows.grad is not None
        assert rows.grad.is_sparse == sparse
        found.append(rows.grad.to_dense())
    torch.testing.assert_close(found[0], found[1])


@pytest.mark.parametrize("targets", [ONE, SEVERAL], ids=["one", "several"])
def test_gradients_are_those_of_finite_differences(targets: Tensor) -> None:
    inputs = tuple(part.requires_grad_() for part in table())
    negatives = items(*targets.shape, 2, seed=4)
    assert torch.autograd.gradcheck(lambda q, w, b: cross_entropy(q, targets, w, b), inputs)
    assert torch.autograd.gradcheck(lambda q, w, b: bpr(q, targets, negatives, w, b), inputs)
