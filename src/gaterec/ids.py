"""Ids as people give them (lists, pandas, Polars), and the text that each of them is in a run."""

from collections.abc import Iterable
from typing import Any

import numpy as np

from gaterec.errors import RequestError


def text(value: Any) -> str | None:
    """None is nobody's id; a whole number stays one where missing values made its column one of floats, as in a log.

    >>> [text(value) for value in ("u1", 7, 7.0, None)]
    ['u1', '7', '7', None]
    """
    if isinstance(value, float | np.floating) and value.is_integer():
        return str(int(value))
    return None if value is None else str(value)


def several(name: str, values: Iterable[Any]) -> Iterable[Any]:
    """The same values, if they are several: the letters of a text and the columns of a frame are no ids.

    Args:
        name: of the argument, for the line that refuses them.

    Raises:
        RequestError: they are text, a frame, or no values at all.
    """
    if isinstance(values, str | bytes):
        raise RequestError(f"{name}: expected a list of ids, found text; did you mean [{values[:80]!r}]?")
    if type(values).__name__ in {"DataFrame", "LazyFrame"}:
        raise RequestError(f"{name}: expected a list of ids, found a frame; give one of its columns")
    if not isinstance(values, Iterable):
        raise RequestError(f"{name}: expected a list of ids, found {type(values).__name__}; did you mean [{str(values)[:80]}]?")
    return values
