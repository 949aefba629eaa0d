"""Queries against shared negatives, beside the plain lines that define the sums."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from gaterec.kernels import shared_negatives as shared
from gaterec.kernels.shared_negatives import hits, shared_bpr_max, shared_log_sum, shared_softplus, shared_top1_max

N, S, V, D = 23, 9, 12, 5


@pytest.fixture(params=[1, 4, 10**6], ids=["a query a tile", "some queries a tile", "all in one tile"], autouse=True)
def tiles(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shared, "TILE", request.param * S)


def parts(scale: float = 1.0) -> tuple[list[Tensor], Tensor, Tensor, Tensor]:
    """Queries, rows, offset, first (all with gradients); share, targets, negatives with some of them among the targets."""
    random = torch.Generator().manual_seed(0)
    shapes: list[tuple[int, ...]] = [(N, D), (S, D), (S,), (N,)]
    inputs = [(scale * torch.randn(shape, dtype=torch.float64, generator=random)).requires_grad_() for shape in shapes]
    targets = torch.randint(0, V, (N, 3), generator=random)
    negatives = torch.randint(1, V, (S,), generator=random)
    return inputs, torch.rand(N, dtype=torch.float64, generator=random), targets, negatives


def plain_scores(queries: Tensor, rows: Tensor, offset: Tensor, targets: Tensor, negatives: Tensor) -> Tensor:
    return (queries @ rows.T + offset).masked_fill((targets[:, :, None] == negatives).any(1), -torch.inf)


def assert_same(ours: Tensor, theirs: Tensor, inputs: list[Tensor]) -> None:
    torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=1e-12)
    for mine, other in zip(torch.autograd.grad(3 * ours, inputs), torch.autograd.grad(3 * theirs, inputs), strict=True):
        torch.testing.assert_close(mine, other, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("scale", [1.0, 100.0], ids=["small scores", "scores that overflow an exponential"])
def test_the_log_sum_equals_the_plain_line(scale: float) -> None:
    inputs, share, targets, negatives = parts(scale)
    queries, rows, offset, first = inputs
    ours = shared_log_sum(queries, targets, negatives, rows, offset, first, share)
    scores = plain_scores(queries, rows, offset, targets, negatives)
    assert_same(ours, (share * torch.cat([first[:, None], scores], 1).logsumexp(1)).sum(), inputs)


@pytest.mark.parametrize("scale", [1.0, 100.0])
def test_the_softplus_equals_the_plain_line(scale: float) -> None:
    inputs, share, targets, negatives = parts(scale)
    queries, rows, offset, _ = inputs
    ours = shared_softplus(queries, targets, negatives, rows, offset, share)
    assert_same(ours, (share * F.softplus(plain_scores(queries, rows, offset, targets, negatives)).sum(1)).sum(), inputs[:3])


def ranked(scale: float) -> tuple[list[Tensor], Tensor, Tensor, Tensor, Tensor, Tensor]:
    """As parts, with several right answers in place of first; and the scores that count, 0 elsewhere, and their softmax."""
    (queries, rows, offset, _), _, targets, negatives = parts(scale)
    random = torch.Generator().manual_seed(1)
    right = (scale * torch.randn(N, 3, dtype=torch.float64, generator=random)).requires_grad_()
    share = torch.rand(N, 3, dtype=torch.float64, generator=random)
    scores = plain_scores(queries, rows, offset, targets, negatives)
    return [queries, rows, offset, right], share, targets, negatives, scores.masked_fill(scores == -torch.inf, 0), scores.softmax(1)


@pytest.mark.parametrize("scale", [1.0, 3.0])
def test_bpr_max_equals_the_plain_line(scale: float) -> None:
    inputs, share, targets, negatives, scores, p = ranked(scale)
    queries, rows, offset, right = inputs
    ours = shared_bpr_max(queries, targets, negatives, rows, offset, right, share, 0.4)
    above = (p[:, None] * torch.sigmoid(right[:, :, None] - scores[:, None])).sum(2)
    assert_same(ours, (share * (0.4 * (p * scores**2).sum(1)[:, None] - above.log())).sum(), inputs)


@pytest.mark.parametrize("scale", [1.0, 100.0])
def test_top1_max_equals_the_plain_line(scale: float) -> None:
    inputs, share, targets, negatives, scores, p = ranked(scale)
    queries, rows, offset, right = inputs
    ours = shared_top1_max(queries, targets, negatives, rows, offset, right, share)
    each = torch.sigmoid(scores[:, None] - right[:, :, None]) + torch.sigmoid(scores**2)[:, None]
    assert_same(ours, (share * (p[:, None] * each).sum(2)).sum(), inputs)


def test_hits_are_all_pairs_in_order_of_queries() -> None:
    _, _, targets, negatives = parts()
    query, place = hits(targets, negatives)
    assert set(zip(query.tolist(), place.tolist(), strict=True)) == {
        (n, s) for n, row in enumerate(targets.tolist()) for s, item in enumerate(negatives.tolist()) if item in row
    }
    assert len(query)
    assert (query.diff() >= 0).all()


def test_no_hits_are_no_trouble() -> None:
    inputs, share, targets, negatives = parts()
    queries, rows, offset, _ = inputs
    ours = shared_softplus(queries, torch.zeros_like(targets), negatives, rows, offset, share)
    assert_same(ours, (share * F.softplus(queries @ rows.T + offset).sum(1)).sum(), inputs[:3])


def test_it_does_not_change_what_it_is_given() -> None:
    inputs, share, targets, negatives = parts()
    queries, rows, offset, first = inputs
    before = [part.detach().clone() for part in (*inputs, share)]
    shared_log_sum(queries, targets, negatives, rows, offset, first, share).backward()  # type: ignore[no-untyped-call]
    assert all(torch.equal(part, copy) for part, copy in zip((*inputs, share), before, strict=True))
