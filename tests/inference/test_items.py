"""Items of a run: numbers of ids, and which may be recommended."""

import polars as pl
import pytest
import torch

from gaterec.errors import RequestError
from gaterec.inference.filters import Filters
from gaterec.inference.items import Items

FRAME = pl.DataFrame(
    {"id": [None, "a", "b", "c"], "name": [None, "A", "B", "C"], "year": [None, 1990, 1991, 1990], "training_count": [0, 3, 2, 1]}
)


def test_ids_have_numbers_and_titles() -> None:
    items = Items(FRAME)
    assert (len(items), items.number("b"), "c" in items, "d" in items, None in items) == (3, 2, True, False, False)
    assert items.titles is not None
    assert items.titles.to_list() == [None, "A", "B", "C"]
    assert items.counts.tolist() == [0, 3, 2, 1]
    with pytest.raises(RequestError, match="item 'd': the run knows no such item"):
        items.number("d")


@pytest.mark.parametrize(
    ("filters", "allowed", "notes"),
    [
        (Filters(), None, 0),
        (Filters(deny=["a", "x"]), [False, True, True], 1),
        (Filters(allow=["a", "b"]), [True, True, False], 0),
        (Filters(where={"year": 1990}), [True, False, True], 0),
        (Filters(allow=["a", "b"], deny=["b"], where={"year": [1990, 1991]}), [True, False, False], 0),
        (Filters(where={"year": 1991, "name": "A"}), [False, False, False], 1),
    ],
)
def test_one_mask_holds_all_conditions(filters: Filters, allowed: list[bool] | None, notes: int) -> None:
    items = Items(FRAME)
    found, told = items.filter(filters)
    mask = found.mask(len(FRAME))
    assert len(told) == notes
    if allowed is None:
        assert mask is None
    else:
        assert mask is not None
        torch.testing.assert_close(mask[1:], torch.tensor([0.0 if one else -torch.inf for one in allowed]))
    again, _ = items.filter(filters)
    assert found.where is None or (again.where is not None and torch.equal(found.where, again.where))  # the mask of a condition is shared
