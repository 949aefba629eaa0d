"""Ids as people give them (lists, pandas, Polars), and the text that each of them is in a run."""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import polars as pl

from gaterec.errors import RequestError


def text(value: Any) -> str | None:
    """None, and what pandas holds in its place, is nobody's id; a whole number stays one where missing values made its column one of floats.

    >>> [text(value) for value in ("u1", 7, 7.0, None, float("nan"))]
    ['u1', '7', '7', None, None]
    """
    if type(value) is str:
        return value
    if isinstance(value, float | np.floating):
        return None if np.isnan(value) else str(int(value) if value.is_integer() else value)
    return None if value is None or type(value).__name__ == "NAType" else str(value)


def as_series(ids: Sequence[str | None]) -> pl.Series:
    """Ids as a Series of text.

    Raises:
        RequestError: one is no text in UTF-8, as of an argument of the command line in another encoding.
    """
    try:
        return pl.Series(ids, dtype=pl.String)
    except UnicodeEncodeError as error:
        raise RequestError(f"users: expected text in UTF-8, found {error.object[:80]!r}") from None


def several(name: str, values: Iterable[Any], *, lists: bool = False) -> Iterable[Any]:
    """The same values, if they are several: the letters of a text and the columns of a frame are no ids.

    Args:
        name: of the argument, for the line that refuses them.
        lists: whether a list of lists is wanted, of which this is all, or one.

    Raises:
        RequestError: they are text, a frame, or no values at all.
    """
    if type(values).__name__ in {"DataFrame", "LazyFrame"}:
        found, hint = "a frame", "give one of its columns"
    elif isinstance(values, str | bytes):
        found, hint = "text", f"did you mean {'[' * lists}[{values[:80]!r}]{']' * lists}?"
    elif not isinstance(values, Iterable):
        found, hint = type(values).__name__, "put it into one"
    else:
        return values
    raise RequestError(f"{name}: expected a list of {'lists of ' * lists}ids, found {found}; {hint}")


def with_ids(frame: pl.DataFrame, users: Any, row: np.ndarray) -> Any:
    """A frame whose column user holds what was given: users[row], in their own type where they have one for all.

    Args:
        frame: with the ids as text, which stand where the users given are of several types, or neither text nor numbers.
        users: a Series, an Index or a list.
        row: (N,) whose row it is, for each.

    Returns:
        A pandas frame where users are of pandas, else a Polars one.
    """
    if of_pandas(users):
        result, ids = frame.to_pandas(), users.take(row)
        result["user"] = getattr(ids, "array", ids)
        return result
    if not isinstance(users, pl.Series):
        kinds = {type(user) for user in users if user is not None}
        if len(kinds) != 1 or kinds == {bool} or not issubclass(kinds.pop(), int | float | np.integer | np.floating):
            return frame
        try:
            users = pl.Series(users)
        except (TypeError, OverflowError, pl.exceptions.PolarsError):
            return frame
    return frame.with_columns(users.gather(row).alias("user"))


def of_pandas(values: Any) -> bool:
    """Whether they are a pandas Series, Index or array."""
    return type(values).__module__.partition(".")[0] == "pandas"


def numbers_of(frame: pl.DataFrame) -> dict[str | None, int]:
    """id as text -> number of the row; the first row, padding, has no id."""
    names = frame.to_series(0)[1:].cast(pl.String).to_list()
    return dict(zip(names, range(1, len(frame)), strict=True))
