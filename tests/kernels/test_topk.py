"""The best items of rows of scores."""

import pytest
import torch

from gaterec.kernels.topk import BLOCK, best_items, merge, top_items, topk


@pytest.mark.parametrize("size", [5, BLOCK, 40 * BLOCK, 40 * BLOCK + 7, 300 * BLOCK + 1])
@pytest.mark.parametrize("k", [1, 4, 10])
def test_topk_is_that_of_torch(size: int, k: int) -> None:
    scores = torch.randn(3, size, dtype=torch.float64, generator=torch.Generator().manual_seed(size))
    scores[1, ::2] = -torch.inf
    k = min(k, size)
    values, items = topk(scores, k)
    plain = scores.topk(k, dim=1)
    assert torch.equal(values, plain.values)
    assert torch.equal(scores.gather(1, items), values)
    there = values > -torch.inf
    assert torch.equal(items[there], plain.indices[there])


def test_where_hardly_any_item_is_left_or_all_are_equal() -> None:
    scores = torch.full((2, 50 * BLOCK), -torch.inf)
    scores[0, 7 * BLOCK + 3] = 1.0
    lot, none = torch.randperm(50 * BLOCK, generator=torch.Generator().manual_seed(0)), torch.zeros(2, dtype=torch.int64)
    assert top_items(scores, 3, lot, none).tolist() == [[7 * BLOCK + 3, 0, 0], [0, 0, 0]]
    assert top_items(torch.zeros_like(scores), 3, lot, none).tolist() == [lot.argsort()[:3].tolist()] * 2


def test_the_best_of_parts_are_the_best_of_the_whole() -> None:
    random = torch.Generator().manual_seed(1)
    scores = torch.randint(0, 30, (6, 40), generator=random).float()  # many are equal
    lot, none = torch.randperm(40, generator=random), torch.zeros(6, dtype=torch.int64)
    parts = [slice(0, 13), slice(13, 26), slice(26, 40)]
    found = [best_items(scores[:, part], 5, lot[part].argsort().argsort(), none) for part in parts]
    items = torch.cat([items + part.start for (_, items), part in zip(found, parts, strict=True)], 1)
    values, items = merge(torch.cat([values for values, _ in found], 1), items, 5, lot)
    whole = best_items(scores, 5, lot, none)
    assert torch.equal(values, whole[0])
    assert torch.equal(items, whole[1])
