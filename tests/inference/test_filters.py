"""The options of a request: one object, and keywords of the same names."""

from dataclasses import fields

import numpy as np
import pytest

from gaterec.errors import RequestError
from gaterec.inference.filters import FilterOptions, Filters


def test_every_field_but_k_is_a_keyword() -> None:
    assert ["k", *FilterOptions.__annotations__] == [field.name for field in fields(Filters)]


def test_numbers_are_checked_and_become_those_of_python() -> None:
    checked = Filters(np.int64(3), diversity=1).checked()  # type: ignore[arg-type]
    assert (type(checked.k), checked.k, type(checked.diversity)) == (int, 3, float)
    for filters, message in (
        (Filters(0), "k: expected a whole number from 1 on, found 0"),
        (Filters(True), "k: expected a whole number from 1 on, found True"),
        (Filters(diversity=2.0), "diversity: expected a number from 0 to 1, found 2.0"),
        (Filters(where=["year"]), "where: expected a dictionary of columns and values, found list"),  # type: ignore[arg-type]
    ):
        with pytest.raises(RequestError, match=message):
            filters.checked()
