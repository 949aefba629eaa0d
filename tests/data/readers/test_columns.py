"""Single columns: lists, and times that keep every bit."""

import polars as pl
import pytest

from gaterec.data.readers.columns import as_number_list, as_text_list, as_times


def where(row: int) -> str:
    return f"row {row}"


def test_separators_in_a_row_count_as_one() -> None:
    column = pl.Series("kind", ["a b", "a  b", " a b ", "a", "", "  ", None])
    assert as_text_list(column, " ").to_list() == [["a", "b"], ["a", "b"], ["a", "b"], ["a"], [], [], None]
    assert as_number_list(pl.Series("sizes", ["1,,2.5", ",", None]), where, ",").to_list() == [[1.0, 2.5], [], None]


@pytest.mark.parametrize("dtype", [pl.Int64, pl.UInt64, pl.String])
def test_times_that_are_whole_keep_every_bit(dtype: type[pl.DataType]) -> None:
    """Floats would round numbers beyond 2^53, and those near 2^63 to 2^63, which is no Int64."""
    for times in ([2**53 + 1, 2**53 + 2], [2**63 - 1, 2**63 - 2], [1, 0]):
        found, _ = as_times(pl.Series("timestamp", times, dtype=pl.UInt64).cast(dtype), where)
        assert found.dtype == pl.Int64
        assert found.to_list() == times
