"""Ranking in tiles against the plain lines that define it."""

import pytest
import torch
from torch import Tensor

from gaterec.kernels import rank_counting as counting
from gaterec.kernels import ranking
from gaterec.kernels.ranking import products, rank, ranks
from gaterec.kernels.topk import top_items


def world(levels: int | None, queries: int = 40, items: int = 31) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Scores of so many values, what is asked of them, and a lot."""
    random = torch.Generator().manual_seed(0)
    scores = torch.rand(queries, items, generator=random)
    scores = scores if levels is None else (scores * levels).floor()
    scores[:, 0] = -torch.inf
    scores[::3, 5:28] = -torch.inf
    row = torch.arange(queries).repeat_interleave(torch.arange(queries).flip(0) // 6)
    item = torch.randint(1, items, (len(row),), generator=random)
    return scores, row, item, torch.randperm(items, generator=random), torch.randint(0, items, (queries,), generator=random)


def plain_order(scores: Tensor, lot: Tensor, draw: Tensor) -> list[list[int]]:
    """Each row's items, best first, equal ones by lot, those that are left out not at all."""
    found = []
    for row, start in zip(scores, draw, strict=True):
        place = ((lot + start) % len(lot)).tolist()
        ranked = [item for item in range(len(row)) if row[item] > -torch.inf]
        found.append(sorted(ranked, key=lambda item: (-float(row[item]), place[item])))
    return found


@pytest.mark.parametrize("numpy", [True, False])
@pytest.mark.parametrize("levels", [1, 2, 5, None])
def test_ranks_are_places_in_a_plain_sort(levels: int | None, numpy: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(counting, "by_numpy", lambda rows: numpy)
    scores, row, item, lot, draw = world(levels)
    order = plain_order(scores, lot, draw)
    expected = [order[r].index(i) + 1 if i in order[r] else 0 for r, i in zip(row.tolist(), item.tolist(), strict=True)]
    assert ranks(scores, row, item, lot, draw).tolist() == expected
    assert 0 in expected


@pytest.mark.parametrize("levels", [1, 5, None])
@pytest.mark.parametrize("k", [0, 1, 4, 30, 99])
def test_top_items_are_the_first_of_a_plain_sort(k: int, levels: int | None) -> None:
    scores, _, _, lot, draw = world(levels)
    width = min(k, 30)
    expected = [(order[:width] + [0] * width)[:width] for order in plain_order(scores, lot, draw)]
    assert top_items(scores, k, lot, draw).tolist() == expected


@pytest.mark.parametrize("tile", [1, 31 * 7, 10**9])
@pytest.mark.parametrize("together", [True, False])
@pytest.mark.parametrize("levels", [3, None])
def test_rank_in_tiles_equals_all_at_once(levels: int | None, together: bool, tile: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ranking, "SCORES_AT_A_TIME", tile)
    scores, row, item, lot, draw = world(levels)
    before = torch.get_num_threads()
    found, lists = rank(lambda begin, end: scores[begin:end], (40, 31), row, item, lot, draw, k=4, together=together)
    assert torch.get_num_threads() == before
    assert torch.equal(found, ranks(scores, row, item, lot, draw))
    assert torch.equal(lists, top_items(scores, 4, lot, draw))


def test_nothing_to_rank() -> None:
    nothing = torch.zeros(0, dtype=torch.int64)
    lot, draw = torch.randperm(31), torch.zeros(2, dtype=torch.int64)
    for queries in (0, 2):
        found, lists = rank(lambda begin, end: torch.zeros(end - begin, 31), (queries, 31), nothing, nothing, lot, draw[:queries], k=3)
        assert found.shape == (0,)
        assert lists.shape == (queries, 3)


@pytest.mark.parametrize("together", [True, False])
def test_an_error_in_a_tile_comes_out_and_leaves_torch_as_it_was(together: bool) -> None:
    def broken(begin: int, end: int) -> Tensor:
        raise RuntimeError("no scores")

    _, row, item, lot, draw = world(None)
    before = torch.get_num_threads()
    with pytest.raises(RuntimeError, match="no scores"):
        rank(broken, (40, 31), row, item, lot, draw, together=together)
    assert torch.get_num_threads() == before


def test_products_equal_their_plain_line() -> None:
    random = torch.Generator().manual_seed(0)
    queries, weight, bias = (torch.randn(*shape, generator=random, dtype=torch.float64) for shape in ((9, 5), (20, 5), (20,)))
    bias[0] = -torch.inf
    rows = products(queries, weight, bias)
    for begin, end in ((0, 4), (4, 9), (8, 9)):
        torch.testing.assert_close(rows(begin, end), queries[begin:end] @ weight.T + bias, rtol=0, atol=1e-12)
