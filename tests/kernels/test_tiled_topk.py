"""The best items for many queries at once, beside the plain way: all scores, struck out, in order."""

import pytest
import torch
from torch import Tensor

from gaterec.kernels import tiled_topk as module
from gaterec.kernels.tiled_topk import TiledTopK, product

V, F = 1_000, 8


def made(queries: int = 9, dtype: torch.dtype = torch.float64) -> tuple[Tensor, Tensor, Tensor]:
    random = torch.Generator().manual_seed(0)
    table, asked = torch.randn(F, V, generator=random, dtype=dtype), torch.randn(queries, F, generator=random, dtype=dtype)
    table[:, 500:520] = table[:, 480:500]  # equal scores, in other parts
    return table, asked, torch.randperm(V, generator=random)


def strike(scores: Tensor, rows: slice, items: slice) -> None:
    """Each query its own multiples, and padding."""
    for row in range(rows.start, rows.stop):
        out = torch.arange(items.start, items.stop) % (row + 2) == 0
        scores[row - rows.start, out] = -torch.inf


def plain(table: Tensor, queries: Tensor, lot: Tensor, k: int) -> list[list[int]]:
    found = []
    for row, query in enumerate(queries):
        scores = (query @ table).tolist()
        left = [item for item in range(V) if item % (row + 2)]
        found.append(sorted(left, key=lambda item: (-scores[item], int(lot[item])))[:k])
    return found


@pytest.mark.parametrize("most", [V, 300, 64])
@pytest.mark.parametrize("k", [1, 10, 200])
def test_the_best_are_those_of_the_plain_way(most: int, k: int) -> None:
    table, queries, lot = made()
    items, scores = TiledTopK(product(table), lot, most).best(queries, k, strike)
    for row, expected in enumerate(plain(table, queries, lot, k)):
        assert [item for item in items[row].tolist() if item] == expected
        torch.testing.assert_close(scores[row, : len(expected)], (queries[row] @ table)[expected])
    assert bool(((items == 0) == (scores == -torch.inf)).all())


@pytest.mark.parametrize("threads", [1, 2])
def test_a_query_finds_the_same_alone_and_in_company(monkeypatch: pytest.MonkeyPatch, threads: int) -> None:
    monkeypatch.setattr(module, "ROWS", 4)
    table, queries, lot = made(dtype=torch.float32)
    catalogue = TiledTopK(product(table), lot, 300)
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        items, scores = catalogue.best(queries, 10, lambda scores, rows, parts: None)
        for row in range(len(queries)):
            alone = catalogue.best(queries[row : row + 1], 10, lambda scores, rows, parts: None)
            assert torch.equal(alone[0][0], items[row])
            torch.testing.assert_close(alone[1][0], scores[row], rtol=1e-6, atol=1e-6)
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize(("most", "parts"), [(V, 1), (300, 4), (64, 16), (V - 1, 2)])
def test_no_more_items_are_scored_at_a_time_than_may_be(most: int, parts: int) -> None:
    table, queries, lot = made()
    score, seen = product(table), []

    def watched(queries: Tensor, items: slice, memory: Tensor | None) -> Tensor:
        seen.append((items.start, items.stop))
        return score(queries, items, memory)

    TiledTopK(watched, lot, most).best(queries, 1, strike)
    assert len(set(seen)) == parts
    assert all(stop - start <= most for start, stop in seen)
    assert sorted({place for start, stop in seen for place in range(start, stop)}) == list(range(V))
